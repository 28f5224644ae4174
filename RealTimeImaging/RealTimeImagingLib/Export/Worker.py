"""The export process: runs the job on the first line of its input, and reports progress and outcome."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from typing import Any

from ..Formats.Inflate import limitUnpacked
from ..Link.Lines import LONGEST_SILENCE, PROGRESS_PERIOD, LineWriter, openLines, outcomeOf
from ..Link.Messages import Cancelled, Done, EventReport, Failed, Outcome, Progress
from ..Link.WorkFolders import PREFIX, removeWorkFolders
from ..Model.Event import Event
from ..Model.Text import textsOf
from .DICOMFiles import DICOMFolder
from .Frames import openFrames
from .Job import Cancelled as WorkCancelled
from .Job import ExportJob, Work, listFolder, noteChecksums, repairFolder
from .NIfTIFiles import NIfTIFile, PackedNIfTIFile
from .NRRDFiles import SequenceFile, VolumeFile
from .Output import Writer
from .VideoFiles import MatroskaFile, MP4File

_ = textsOf(__file__)

WRITERS: dict[str, type[Writer]] = {
    "nrrd": VolumeFile,
    "seq.nrrd": SequenceFile,
    "nii": NIfTIFile,
    "nii.gz": PackedNIfTIFile,
    "dicom": DICOMFolder,
    "mp4": MP4File,
    "mkv": MatroskaFile,
}
"""Writers by the formats of :data:`Job.FORMATS`."""


def export(job: ExportJob, work: Work) -> tuple[list[str], list[Event]]:
    """Write, read back, compare, and only then give the files their names.

    :returns: the paths of the files, and events about them.
    :raises RealTimeImagingError: the job cannot be done, or the written files differ; nothing is left.
    :raises OSError: a file cannot be read or written; nothing is left.
    :raises Cancelled: ``work`` was cancelled; nothing is left.
    """
    work.step(0, _("Opening"))
    frames = openFrames(job)
    writer = WRITERS[job.format](frames, job, work)
    output = writer.output(job.base, work)
    if not writer.packs:
        output.needs(frames.bytes)
    work.begin(2 * frames.bytes)
    try:
        writer.write(output)
        writer.compare(output)
        work.commit()
        return output.finish(), writer.events
    except BaseException:
        output.discard()
        raise


GRACE = 0.15
"""Seconds in which a cancelled export ends by itself; then the process ends at once."""

log = logging.getLogger(__name__)


def main() -> int:
    """Run as the export process; return the exit code."""
    writer, lines = openLines(ignoresEnd=True)
    first = next(lines, None)
    if first is None:
        return 0
    limitUnpacked(0)  # an export reads every frame once
    work, ended = Work(), threading.Event()
    threading.Thread(target=_listen, args=(lines, work, ended, writer), name="cancel", daemon=True).start()
    threading.Thread(target=_reportProgress, args=(work, ended, writer), name="progress", daemon=True).start()
    name, left = _("export"), _("Nothing is left of the export.")
    if first.startswith(b'{"checksums"'):
        name, left = _("calculation of checksums"), _("The recording is complete without them.")
    elif first.startswith(b'{"repair"'):
        name, left = _("repair of recordings"), _("The next start of a source tries again.")
    elif first.startswith(b'{"list"'):
        name, left = _("list of recordings"), _("Nothing is changed.")
    outcome = outcomeOf(lambda: _run(first, work, writer), name, left)
    if isinstance(outcome, Cancelled):
        _removePixels(first)
    ended.set()
    writer.close(LONGEST_SILENCE, outcome)
    return 1 if isinstance(outcome, Failed) else 0


def _run(first: bytes, work: Work, writer: LineWriter) -> Outcome:
    """Run the job of the first line."""
    try:
        values = json.loads(first)
        if "checksums" in values:
            return Done(noteChecksums(values["checksums"], work))
        if "list" in values:
            return Done(listFolder(values["list"]))
        done: list[Any]
        if "repair" in values:
            done, events = repairFolder(values)
        else:
            done, events = export(ExportJob.fromJSON(values), work)
    except WorkCancelled:
        return Cancelled()
    for event in events:
        writer.put(EventReport(event))
    return Done(done)


def _listen(lines: Iterator[bytes], work: Work, ended: threading.Event, writer: LineWriter) -> None:
    for line in lines:
        log.warning("A line after the job is not understood: %r", line[:200])
    if work.cancel() and not ended.wait(GRACE):
        # The work waits for a disk or a share, and Slicer does not wait for it.
        work.breakOff()
        writer.close(GRACE, Cancelled())
        os._exit(0)


def _removePixels(first: bytes) -> None:
    """Remove the pixels of a snapshot from memory: after Slicer's end, no other process does."""
    snapshot = json.loads(first).get("snapshot")
    folder = os.path.dirname(snapshot["rawPath"]) if snapshot else ""
    if os.path.basename(folder).startswith(f"{PREFIX}-"):
        removeWorkFolders([folder])


def _reportProgress(work: Work, ended: threading.Event, writer: LineWriter) -> None:
    while not ended.wait(PROGRESS_PERIOD):
        writer.put(Progress(round(work.progress, 4), work.words), always=False)
