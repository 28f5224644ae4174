"""Exports: single images, and recordings in other formats; each in a process of its own."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..Export.Job import ChecksumJob, ExportJob, RepairJob, Snapshot
from ..Link.WorkFolders import makeWorkFolder, removeWorkFolders
from ..Model.Errors import RealTimeImagingError, SettingsError
from ..Model.Event import Event
from ..Model.Files import makePrivateFolder
from ..Model.Frame import Matrix, Pixels
from .Callbacks import Callbacks
from .ChildProcess import LIBRARY, JobProcess

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
        super().__init__(os.path.join(LIBRARY, "Export", "__main__.py"), name)
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


FEW = 3
"""Most files that are named one by one."""


class Exports:
    """The exports that are under way, and how the last one ended.

    :param onChange: called when something of it has changed.
    """

    def __init__(self, listeners: Callbacks, onChange: Callable[[], None]) -> None:
        self._listeners, self._onChange = listeners, onChange
        self._running: list[ExportProcess] = []
        self._ended: ExportProcess | None = None
        self._progress, self._words, self._failed = 0.0, "", False

    def status(self) -> dict[str, Any]:
        """``running``; ``progress`` from 0 to 1, ``words`` and ``failed`` of the export that told last."""
        return {
            "running": any(isinstance(process.job, ExportJob) for process in self._running),
            "progress": self._progress,
            "words": self._words,
            "failed": self._failed,
        }

    def export(self, job: ExportJob) -> None:
        """Begin an export; events tell of its end.

        :raises AcquisitionError: its process cannot be started.
        """
        self._makeFolder(job)
        self._start(lambda callbacks: ExportProcess(job, *callbacks))

    def snapshot(
        self, folder: str, stream: str, pixels: Pixels, ijkToRAS: Matrix, attributes: Mapping[str, str]
    ) -> None:
        """Begin to save one image as NRRD with its attributes.

        :param pixels: (k, j, i) or (k, j, i, 3|4); copied before this returns.
        :param attributes: of the image; ReceiveTime, DeviceTime (seconds since the epoch, UTC) and FrameNumber among
            them when they are known.
        :raises SettingsError: no folder.
        :raises AcquisitionError: its process cannot be started.
        """
        if not folder.strip():
            raise SettingsError("Choose the folder for recordings and saved images.")
        number = int(attributes.get("FrameNumber", 0))
        snapshot = Snapshot(
            "",
            pixels.shape,
            pixels.dtype.str,
            tuple(ijkToRAS.ravel().tolist()),
            float(attributes.get("ReceiveTime", time.time())),
            float(attributes["DeviceTime"]) if "DeviceTime" in attributes else None,
            number,
            stream,
            dict(attributes),
        )
        name = f"{stream}_{time.strftime('%Y-%m-%d_%H-%M-%S')}_frame{number:06d}.nrrd"
        safe = "".join(letter if letter.isalnum() or letter in "_-." else "_" for letter in name)
        job = ExportJob("nrrd", os.path.join(folder, safe), snapshot=snapshot)
        self._makeFolder(job)
        try:
            self._start(lambda callbacks: ExportProcess.ofPixels(job, pixels, *callbacks))
        except OSError as error:
            raise SettingsError(f"The image cannot be saved: {error.strerror}.") from error

    def checksums(self, headers: Sequence[str]) -> None:
        """Note the SHA-256 of recorded pixels in their manifests; an event tells only when it fails."""
        self._start(lambda callbacks: ExportProcess(ChecksumJob(tuple(headers)), *callbacks), quiet=True)

    def repair(self, folder: str, onDone: Callable[[list[dict[str, Any]]], None]) -> None:
        """Finish the recordings of dead processes in a folder; events report the result.

        :param onDone: gets a line for each recording, as :func:`Acquisition.Store.repairedLine` makes it.
        """
        self._start(lambda callbacks: ExportProcess(RepairJob(folder), *callbacks), quiet=True, onDone=onDone)

    def cancel(self) -> None:
        """Stop all that is being saved; nothing is left of it."""
        for process in [process for process in self._running if isinstance(process.job, ExportJob)]:
            process.cancel()

    def forget(self) -> None:
        """Cancel the exports that the user started, and wait for their end, because the scene is closed."""
        for process in [process for process in self._running if isinstance(process.job, ExportJob)]:
            process.waitForEnd()

    def close(self) -> None:
        """Stop, and wait for the end."""
        for process in list(self._running):
            process.waitForEnd()

    def _makeFolder(self, job: ExportJob) -> None:
        try:
            makePrivateFolder(os.path.dirname(job.destination))
        except OSError as error:
            raise SettingsError(f"{os.path.dirname(job.destination)} cannot be made: {error.strerror}.") from error

    def _start(
        self,
        make: Callable[[tuple[Callable[..., None], ...]], ExportProcess],
        quiet: bool = False,
        onDone: Callable[[list[Any]], None] = lambda found: None,
    ) -> None:
        made: list[ExportProcess] = []

        def progress(part: float, words: str) -> None:
            if quiet:
                return
            self._progress, self._words, self._failed = part, words, False
            self._onChange()

        def done(paths: list[str], events: list[Event]) -> None:
            for event in events:
                self._listeners.report(event)
            text = "" if quiet else f"Saved and compared: {_named(paths)}"
            self._end(made[0], None if quiet else Event("saved", text, subject=paths[0]))
            onDone(paths)

        def failed(words: str) -> None:
            event = Event("not-saved", words, "info" if made[0].cancelled else "error")
            # The user did not start a quiet job, and needs no event when it is cancelled.
            self._end(made[0], None if quiet and made[0].cancelled else event, quiet)
            onDone([])

        made.append(make((progress, done, failed)))
        self._running.append(made[0])
        if not quiet:
            self._progress, self._words, self._failed = 0.0, "", False
        try:
            made[0].start()
        except RealTimeImagingError:
            if made[0] in self._running:
                self._running.remove(made[0])
            raise
        self._onChange()

    def _end(self, process: ExportProcess, event: Event | None, quiet: bool = False) -> None:
        if process in self._running:
            self._running.remove(process)
        self._ended = process  # deleting it in its own signal would crash: the next one takes its place
        if event and not quiet:
            self._words, self._failed = event.text, event.level == "error"
        if event:
            self._listeners.report(event)
        self._onChange()


def _named(paths: Sequence[str]) -> str:
    """Name one file by its path, several by their number and folder."""
    if len(paths) == 1:
        return paths[0]
    folder = os.path.dirname(paths[0])
    if len(paths) <= FEW:
        return f"{', '.join(map(os.path.basename, paths))} in {folder}"
    return f"{len(paths)} files in {folder}"
