"""DICOM series to NRRD, many at a time: one uncompressed file each, at about the speed of the disk.

    folder ──► Scan ──headers──► Volumes ──► Plan ──tasks──► Crew ──► Tasks (in any process) ──► NAME.nrrd.part
               Walker, Tags      Geometry    Naming            │      Values, NRRDText, Readers        │ renamed
                                             State ◄── done, failed, skipped ──► Report                 ▼
                                                                                                    NAME.nrrd

Headers are walked by their lengths; the pixels of uncompressed files go from file to place; all else is decoded by the
Readers. Nothing here knows of Slicer, but for ConversionProcess, its side of a conversion in a process of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .Converting import Progress
    from .Report import Report

__all__ = ["convertFolder"]


def convertFolder(
    input: str | PathLike[str],
    output: str | PathLike[str],
    *,
    name: str | None = None,
    tags: Sequence[str] | None = None,
    workers: int = 0,
    strict: bool = False,
    executor: Executor | None = None,
    onProgress: Callable[[Progress], object] = lambda _: None,
) -> Report:
    """Convert all DICOM series below a folder, each to one ``.nrrd`` or, when it is 4-D, one ``.seq.nrrd``.

    What was converted before, and is whole and unchanged, is skipped. Volumes that fail are named in the report and
    stop no other. Not in Slicer's own Python: there ``logic.convertFolder`` starts a process for it. With several
    workers, a program calls it below ``if __name__ == "__main__":``, as Python's multiprocessing asks for.

    :param input: folder with DICOM files, in any structure; it is only read.
    :param output: folder for the files; it is made when missing.
    :param name: pattern of their names, DICOM keywords in braces; None: ``{SeriesNumber}_{SeriesDescription}``.
    :param tags: DICOM keywords to write as keys; None: those of Tags.SAFE, which identify nobody.
    :param workers: processes, this one among them; 0: one for each processor.
    :param strict: a volume with a missing, doubled or damaged slice fails, instead of being filled and named.
    :param executor: any Executor does the work, such as that of a cluster (Dask: ``client.get_executor()``).
    :param onProgress: called several times a second; setting ``cancelled`` of what it gets ends the conversion.
    :raises SettingsError: a value that cannot work.
    :raises ConversionError: the output folder cannot be written, or another conversion writes there.
    :raises OSError: the report cannot be written; what is done stays.
    """
    from .Converting import Progress, convert
    from .Settings import NAME, ConversionSettings

    chosen = None if tags is None else tuple(tags)
    settings = ConversionSettings(str(input), str(output), name or NAME, chosen, workers, strict)
    return convert(settings, executor, Progress(onProgress))
