"""Slicer's side of an export: starts the process, hears how far it is, and can cancel it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

from ..Acquisition.JobProcess import JobProcess
from ..Acquisition.WorkFolders import makeWorkFolder, removeWorkFolders
from ..Event import Event
from ..Frame import Pixels
from .Checksums import ChecksumJob
from .Job import ExportJob, Snapshot
from .Repairing import RepairJob

NAMES: dict[type, str] = {
    ExportJob: "export",
    ChecksumJob: "calculation of checksums",
    RepairJob: "repair of recordings",
}


class ExportProcess(JobProcess):
    """One export. All calls and callbacks are on the main thread; exactly one of ``onDone`` and ``onFailed`` is called,
    once, when the process has ended.

    :param onProgress: gets the part that is done, 0 to 1, and words for it.
    :param onDone: gets the paths of the files and the events: what somebody should know of them.
    :param onFailed: gets words; also when it was cancelled. Nothing is left of the export then.
    """

    def __init__(
        self,
        job: ExportJob | ChecksumJob | RepairJob,
        onProgress: Callable[[float, str], None],
        onDone: Callable[[list[str], list[Event]], None],
        onFailed: Callable[[str], None],
    ) -> None:
        name = NAMES[type(job)]
        super().__init__(os.path.join(os.path.dirname(os.path.abspath(__file__)), "__main__.py"), name)
        self.job = job
        self._onProgress, self._onDone, self._onFailed = onProgress, onDone, onFailed
        self._events: list[Event] = []

    @classmethod
    def ofPixels(cls, job: ExportJob, pixels: Pixels, *callbacks: Callable[..., None]) -> ExportProcess:
        """The export of a snapshot from memory: its pixels go to a temporary file, which goes with the export.

        :param job: with a snapshot, whose ``rawPath`` is not looked at.
        :raises OSError: the temporary file cannot be written.
        """
        assert job.snapshot is not None
        folder = makeWorkFolder()
        try:
            path = os.path.join(folder, "pixels.raw")
            pixels.tofile(path)
            snapshot: Snapshot = dataclasses.replace(job.snapshot, rawPath=path)
            export = cls(dataclasses.replace(job, snapshot=snapshot), *callbacks)
        except BaseException:
            removeWorkFolders([folder])
            raise
        export.folders = [folder]
        return export

    def start(self) -> None:
        """Begin; returns at once.

        :raises AcquisitionError: there is no Python to run it.
        """
        self.startWith(self.job.toJSON())

    def take(self, line: dict[str, Any]) -> bool:
        """Progress and events."""
        if "progress" in line:
            if not self.cancelled:
                self._onProgress(line["progress"], line["words"])
        elif "event" in line:
            self._events.append(Event.fromJSON(line["event"]))
        else:
            return False
        return True

    def tellEnd(self, last: dict[str, Any], unexpected: str) -> None:
        """How it ended."""
        if "done" in last:
            self._onProgress(1.0, "Saved")
            self._onDone(last["done"], self._events)
        elif "failed" in last:
            self._onFailed(last["failed"])
        elif self.cancelled:
            self._onFailed(f"The {self._name} was cancelled; nothing is left of it.")
        else:
            self._onFailed(unexpected)
