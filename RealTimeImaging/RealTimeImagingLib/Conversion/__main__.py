"""python -m RealTimeImagingLib.Conversion IN OUT; or python .../RealTimeImagingLib/Conversion IN OUT."""

from __future__ import annotations

import argparse
import os
import signal
import sys

# Run as a file, Python lacks the library's folder in its path. The folder of this file must not hide other packages.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from RealTimeImagingLib.Conversion import NAME, ConversionSettings
from RealTimeImagingLib.Conversion.Convert import Progress, convert
from RealTimeImagingLib.Conversion.Report import Report, rows
from RealTimeImagingLib.Model.Errors import RealTimeImagingError
from RealTimeImagingLib.Model.Files import reasonOf
from RealTimeImagingLib.Model.Quantities import durationText


def main() -> int:
    """Run the command and return the exit code: 1 when a volume failed, 2 on errors, 130 on Ctrl+C."""
    parser = argparse.ArgumentParser(
        prog="run.py convert",
        description="Convert all DICOM series below a folder, each to one uncompressed NRRD file. Results of earlier "
        "conversions are skipped. OUT/conversion.json and OUT/conversion.csv hold the report.",
    )
    parser.add_argument("input", metavar="IN", help="folder with DICOM files; it is only read")
    parser.add_argument("output", metavar="OUT", help="folder for the files")
    parser.add_argument("--workers", type=int, default=0, help="processes; default: one for each processor")
    parser.add_argument("--name", default=NAME, help="pattern of the names, DICOM keywords in braces; %(default)s")
    parser.add_argument("--tags", help="DICOM keywords to write as keys, separated by commas; default: safe ones")
    parser.add_argument("--strict", action="store_true", help="a volume with a missing, doubled or damaged slice fails")
    options = parser.parse_args()
    tags = None if options.tags is None else tuple(tag.strip() for tag in options.tags.split(",") if tag.strip())
    progress = Progress(_show if sys.stderr.isatty() else lambda _: None)
    for kind in (signal.SIGTERM, signal.SIGINT):
        signal.signal(kind, lambda *_: setattr(progress, "cancelled", True))
    try:
        settings = ConversionSettings(
            options.input, options.output, options.name, tags, options.workers, options.strict
        )
        report = convert(settings, progress=progress)
    except (RealTimeImagingError, OSError) as error:
        sys.stderr.write(f"{reasonOf(error)}\n")
        return 2
    if sys.stderr.isatty():
        sys.stderr.write("\n")
    _write(report)
    return 130 if progress.cancelled else min(1, report.count("failed"))


def _show(progress: Progress) -> None:
    left = "" if progress.left is None else f", {durationText(progress.left)} left"
    sys.stderr.write(f"\r{round(100 * progress.part):3d} % {progress.words}{left}".ljust(79)[:79])
    sys.stderr.flush()


def _write(report: Report) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    for line in [*rows(report), report.words]:
        sys.stdout.write(line.encode(encoding, "replace").decode(encoding) + "\n")


if __name__ == "__main__":
    sys.exit(main())
