"""The export process: one job, told in lines. Nothing of Slicer is imported here.

It takes one JSON line, an ExportJob, a ChecksumJob or a RepairJob, on standard input, whose end cancels. It tells JSON
lines: ``{"pid": n}`` first, ``{"progress": 0..1, "words": ...}`` several times a second, ``{"event": ...}``,
``{"log": ...}``, and at last one of ``{"done": [...]}`` (paths, or what was repaired), ``{"failed": words}`` and
``{"cancelled": true}``.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from typing import Any

from ..Acquisition.Job import LONGEST_SILENCE, PERIOD, beginJob, outcome
from ..Acquisition.Outlet import LineWriter
from ..Acquisition.WorkFolders import PREFIX, removeWorkFolders
from ..Readers import Streamed
from .Checksums import noteChecksums
from .Exporting import export
from .Job import ExportJob
from .Repairing import repairFolder
from .Work import Cancelled, Work

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
