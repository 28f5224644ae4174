"""The export process: one job, reported in lines. Nothing of Slicer is imported here."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from typing import Any

from ..Formats import Inflate as Streamed
from ..Link.Lines import LONGEST_SILENCE, PERIOD, LineWriter, beginJob, outcome
from ..Link.WorkFolders import PREFIX, removeWorkFolders
from ..Model.Event import Event
from .DICOMFiles import DICOMFolder
from .Frames import openFrames
from .Job import Cancelled, ExportJob, Work, noteChecksums, repairFolder
from .NIfTIFiles import NIfTIFile, PackedNIfTIFile
from .NRRDFiles import SequenceFile, VolumeFile
from .Output import Writer

WRITERS: dict[str, type[Writer]] = {
    "nrrd": VolumeFile,
    "seq.nrrd": SequenceFile,
    "nii": NIfTIFile,
    "nii.gz": PackedNIfTIFile,
    "dicom": DICOMFolder,
}
"""By the formats of :data:`Job.FORMATS`."""


def export(job: ExportJob, work: Work) -> tuple[list[str], list[Event]]:
    """Write, read back, compare, and only then give the files their names.

    :returns: the paths of the files, and what somebody should know of them.
    :raises RealTimeImagingError: it cannot be done as asked, or what was written is another; nothing is left.
    :raises OSError: something cannot be read or written; nothing is left.
    :raises Cancelled: ``work`` was; nothing is left.
    """
    work.step(0, "Opening")
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
"""Seconds in which a cancelled export ends by itself; then it is ended, whatever it waits for."""

log = logging.getLogger(__name__)


def main() -> int:
    """Run as the export process; returns the exit code."""
    lines, given, first = beginJob(finishes=True)
    if first is None:
        return 0
    Streamed.KEPT = 0  # every frame is read once
    work, ended = Work(), threading.Event()
    threading.Thread(target=_listen, args=(given, work, ended, lines), name="cancel", daemon=True).start()
    threading.Thread(target=_tell, args=(work, ended, lines), name="progress", daemon=True).start()
    name, left = "export", "Nothing is left of the export."
    if first.startswith(b'{"checksums"'):
        name, left = "calculation of checksums", "The recording is complete without them."
    elif first.startswith(b'{"repair"'):
        name, left = "repair of recordings", "The next start of a source tries again."
    last = outcome(lambda: _run(first, work, lines), name, left)
    if "cancelled" in last:
        _removePixels(first)
    ended.set()
    lines.close(LONGEST_SILENCE, last)
    return 1 if "failed" in last else 0


def _run(first: bytes, work: Work, lines: LineWriter) -> dict[str, Any]:
    """The last line."""
    try:
        values = json.loads(first)
        if "checksums" in values:
            return {"done": noteChecksums(values["checksums"], work)}
        done: list[Any]
        if "repair" in values:
            done, events = repairFolder(values["repair"])
        else:
            done, events = export(ExportJob.fromJSON(values), work)
    except Cancelled:
        return {"cancelled": True}
    for event in events:
        lines.put({"event": event.toJSON()})
    return {"done": done}


def _listen(given: Iterator[bytes], work: Work, ended: threading.Event, lines: LineWriter) -> None:
    for line in given:
        log.warning("A line after the job is not understood: %r", line[:200])
    if work.cancel() and not ended.wait(GRACE):
        # It waits for a disk or a share, and nobody is left who would wait for it.
        work.breakOff()
        lines.close(GRACE, {"cancelled": True})
        os._exit(0)


def _removePixels(first: bytes) -> None:
    """Remove the pixels of a snapshot from memory: after Slicer's end, no other process does."""
    snapshot = json.loads(first).get("snapshot")
    folder = os.path.dirname(snapshot["rawPath"]) if snapshot else ""
    if os.path.basename(folder).startswith(f"{PREFIX}-"):
        removeWorkFolders([folder])


def _tell(work: Work, ended: threading.Event, lines: LineWriter) -> None:
    while not ended.wait(PERIOD):
        lines.put({"progress": round(work.progress, 4), "words": work.words}, always=False)
