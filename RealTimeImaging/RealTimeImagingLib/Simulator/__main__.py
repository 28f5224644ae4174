"""python .../RealTimeImagingLib/Simulator/__main__.py FOLDER [--input FILE] [--fps 10] [--frames N] ..."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import signal
import sys
import threading

# Slicer's Python knows nothing of the module's folder; the folder of this file must not hide other packages.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from RealTimeImagingLib.Errors import RealTimeImagingError
from RealTimeImagingLib.Simulator.Scanner import MODES, Scanner, shots


def main() -> int:
    """Run the simulated scanner; returns the exit code."""
    parser = argparse.ArgumentParser(prog="Simulator", description="Writes images into a folder as a scanner does.")
    parser.add_argument("folder", help="where the images go")
    parser.add_argument("--input", help="4-D file, multi-frame DICOM or folder of images; without it a beating phantom")
    parser.add_argument("--fps", type=float, default=10.0, help="files each second")
    parser.add_argument("--frames", type=int, help="stop after so many files")
    parser.add_argument("--mode", choices=MODES, default="rename", help="how a file comes to be")
    parser.add_argument("--loop", action="store_true", help="begin again at the end of the input")
    parser.add_argument("--keep", type=int, default=0, help="leave only so many files in the folder")
    parser.add_argument("--log", help="write a line with checksum and time for each file")
    parser.add_argument("--until-input-ends", action="store_true", help="stop when standard input ends")
    options = parser.parse_args()
    stopped = threading.Event()
    for kind in (signal.SIGTERM, signal.SIGINT):
        signal.signal(kind, lambda *_: stopped.set())
    if options.until_input_ends:
        threading.Thread(target=_untilInputEnds, args=(stopped,), daemon=True).start()
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(open(options.log, "w", encoding="utf-8")) if options.log else None
        scanner = Scanner(options.folder, options.fps, options.mode, log, options.keep)
        try:
            scanner.send(itertools.islice(shots(options.input, options.loop), options.frames), stopped.is_set)
        except (RealTimeImagingError, OSError, ValueError) as error:
            sys.stderr.write(f"{error}\n")
            return 1
    return 0


def _untilInputEnds(stopped: threading.Event) -> None:
    while os.read(0, 1 << 12):
        pass
    stopped.set()


if __name__ == "__main__":
    code = main()
    # The thread that waits for input would keep the interpreter from ending.
    sys.stdout.flush()
    os._exit(code)
