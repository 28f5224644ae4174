"""Export of single images, and of recordings in other formats, each in its own process: ``logic.exports``."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..Export.Job import FORMATS, ChecksumJob, ExportJob, ListJob, RepairJob, Snapshot
from ..Link.Messages import Done, EventReport, Failed, Outcome, Progress
from ..Link.WorkFolders import makeWorkFolder, removeWorkFolders
from ..Model.Errors import RealTimeImagingError, SettingsError
from ..Model.Event import Event
from ..Model.Files import makePrivateFolder, reasonOf
from ..Model.Frame import Matrix, Pixels
from ..Model.Packages import checkPackages
from ..Model.Settings import typedPath
from ..Model.Text import textsOf
from .Callbacks import Callbacks
from .ChildProcess import JobProcess

_ = textsOf(__file__)

NAMES: dict[type, str] = {
    ExportJob: _("export"),
    ChecksumJob: _("calculation of checksums"),
    RepairJob: _("repair of recordings"),
    ListJob: _("list of recordings"),
}


class ExportProcess(JobProcess):
    """An export. All calls and callbacks are on the main thread. Either ``onDone`` or ``onFailed`` is called once, when
    the process has ended.

    :param onProgress: called with the progress, 0 to 1, and words for it.
    :param onDone: called with the paths of the files and the events about them.
    :param onFailed: called with a sentence, also after a cancel. The export leaves no files then.
    """

    def __init__(
        self,
        job: ExportJob | ChecksumJob | RepairJob | ListJob,
        onProgress: Callable[[float, str], None],
        onDone: Callable[[list[str], list[Event]], None],
        onFailed: Callable[[str], None],
    ) -> None:
        name = NAMES[type(job)]
        super().__init__("export", name)
        self.job = job
        self.reports.connect(Progress, self._takeProgress)
        self.reports.connect(EventReport, lambda message: self._events.append(message.event))
        self._onProgress, self._onDone, self._onFailed = onProgress, onDone, onFailed
        self._events: list[Event] = []

    @classmethod
    def ofPixels(cls, job: ExportJob, pixels: Pixels, *callbacks: Callable[..., None]) -> ExportProcess:
        """Return the export of a snapshot from memory, whose pixels go to a temporary file until its end.

        :param job: with a snapshot, whose ``rawPath`` is ignored.
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
        """Start; return at once.

        :raises AcquisitionError: no Python is found to run it.
        """
        self.startWith(self.job)

    def takeEnd(self, outcome: Outcome | None, unexpected: str) -> None:
        """Call back with the outcome."""
        if isinstance(outcome, Done):
            self._onProgress(1.0, _("Saved"))
            self._onDone(outcome.done, self._events)
        elif isinstance(outcome, Failed):
            self._onFailed(outcome.failed)
        elif self.cancelled:
            self._onFailed(_("The {name} was cancelled; nothing is left of it.").format(name=self._name))
        else:
            self._onFailed(unexpected)

    def _takeProgress(self, message: Progress) -> None:
        if not self.cancelled:
            self._onProgress(message.progress, message.words)


FEW = 3
"""Most files that are named one by one."""

LiveImage = tuple[str, Pixels, Matrix, dict[str, str]]
"""Stream, pixels, IJKToRAS and attributes of an image in the scene."""


class ExportControl:
    """Running exports, and the result of the last one.

    Every export is written and compared in another process. The events "saved" and "not-saved" report its end.

    :param callbacks: get the events.
    :param onChange: called when a state or the progress has changed.
    :param images: yields the images that are shown now: of one stream, or of all for None.
    :param metadata: returns the names and values that are written into every file.
    """

    def __init__(
        self,
        callbacks: Callbacks,
        onChange: Callable[[], None],
        images: Callable[[str | None], Iterable[LiveImage]],
        metadata: Callable[[], dict[str, str]],
    ) -> None:
        self._callbacks, self._onChange = callbacks, onChange
        self._images, self._metadata = images, metadata
        self._running: list[ExportProcess] = []
        self._ended: ExportProcess | None = None
        self._progress, self._words, self._failed = 0.0, "", False

    def status(self) -> dict[str, Any]:
        """Return ``running``, and ``progress`` from 0 to 1, ``words`` and ``failed`` of the latest export."""
        return {
            "running": any(isinstance(process.job, ExportJob) for process in self._running),
            "progress": self._progress,
            "words": self._words,
            "failed": self._failed,
        }

    def start(self, job: ExportJob) -> None:
        """Write a recording, or some of its frames, in another format.

        :raises MissingPackageError: the format needs a Python package that is not installed.
        :raises RealTimeImagingError: the export cannot be started.
        """
        checkPackages(FORMATS[job.format].packages, _("This format"))
        self._makeFolder(job)
        self._start(lambda callbacks: ExportProcess(job, *callbacks))

    def saveSnapshot(self, folder: str, stream: str | None = None, attributes: Mapping[str, str] | None = None) -> None:
        """Save the present image of one live volume, or of all, as NRRD with the metadata and its attributes.

        :param folder: it is made when missing. Existing files are never overwritten.
        :param attributes: added to the metadata.
        :raises RealTimeImagingError: there is no image or no folder, or a file cannot keep a name.
        """
        saved = 0
        for name, pixels, matrix, known in self._images(stream):
            self._snapshot(typedPath(folder), name, pixels, matrix, {**self._metadata(), **(attributes or {}), **known})
            saved += 1
        if not saved:
            raise SettingsError(_("No image has arrived yet that could be saved."))

    def _snapshot(
        self, folder: str, stream: str, pixels: Pixels, ijkToRAS: Matrix, attributes: Mapping[str, str]
    ) -> None:
        """Begin to save one image; its pixels are copied before this returns.

        :param attributes: ReceiveTime, DeviceTime (seconds since the epoch, UTC) and FrameNumber are among them when
            they are known.
        """
        if not folder.strip():
            raise SettingsError(_("Choose the folder for recordings and saved images."))
        number = int(attributes.get("FrameNumber", 0))
        snapshot = Snapshot(
            rawPath="",
            shape=pixels.shape,
            dtype=pixels.dtype.str,
            ijkToRAS=tuple(ijkToRAS.ravel().tolist()),
            receiveTime=float(attributes.get("ReceiveTime", time.time())),
            deviceTime=float(attributes["DeviceTime"]) if "DeviceTime" in attributes else None,
            number=number,
            stream=stream,
            attributes=dict(attributes),
        )
        name = f"{stream}_{time.strftime('%Y-%m-%d_%H-%M-%S')}_frame{number:06d}.nrrd"
        safe = "".join(letter if letter.isalnum() or letter in "_-." else "_" for letter in name)
        job = ExportJob("nrrd", os.path.join(folder, safe), snapshot=snapshot)
        self._makeFolder(job)
        try:
            self._start(lambda callbacks: ExportProcess.ofPixels(job, pixels, *callbacks))
        except OSError as error:
            raise SettingsError(_("The image cannot be saved: {reason}.").format(reason=reasonOf(error))) from error

    def cancel(self) -> None:
        """Cancel all exports; their files are removed."""
        for process in self._exports():
            process.cancel()

    # ---- for recordings

    def checksums(self, headers: Sequence[str]) -> None:
        """Write the SHA-256 of recorded pixels into their manifests; only a failure is reported."""
        self._start(lambda callbacks: ExportProcess(ChecksumJob(tuple(headers)), *callbacks), quiet=True)

    def repair(self, job: RepairJob, onDone: Callable[[list[dict[str, Any]]], None]) -> None:
        """Finish the recordings of dead processes in a folder; events report the result.

        :param onDone: gets a message for each recording, as :meth:`Repair.toJSON` makes it.
        """
        self._start(lambda callbacks: ExportProcess(job, *callbacks), quiet=True, onDone=onDone)

    def forget(self) -> None:
        """Cancel the exports that the user started, and wait for their end, because the scene is closed."""
        for process in self._exports():
            process.waitForEnd()

    def close(self) -> None:
        """Cancel everything, and wait for the end."""
        while self._running:  # the end of one may start another
            self._running.pop().waitForEnd()

    def _exports(self) -> list[ExportProcess]:
        return [process for process in self._running if isinstance(process.job, ExportJob)]

    def _makeFolder(self, job: ExportJob) -> None:
        folder = os.path.dirname(job.destination)
        try:
            makePrivateFolder(folder)
        except OSError as error:
            raise SettingsError(
                _("{folder} cannot be made: {reason}.").format(folder=folder, reason=reasonOf(error))
            ) from error

    def _start(
        self,
        make: Callable[[tuple[Callable[..., None], ...]], ExportProcess],
        quiet: bool = False,
        onDone: Callable[[list[Any]], None] | None = None,
    ) -> None:
        """Start a process.

        :param quiet: the user did not ask for it: progress is not shown, and success and cancelling are not reported.
        :param onDone: gets the result, empty when the process failed.
        """
        made: list[ExportProcess] = []

        def progress(part: float, words: str) -> None:
            if quiet:
                return
            self._progress, self._words, self._failed = part, words, False
            self._onChange()

        def done(paths: list[str], events: list[Event]) -> None:
            for event in events:
                self._callbacks.report(event)
            saved = None
            if not quiet:
                text = _("Saved and compared: {names}").format(names=_named(paths))
                saved = Event("saved", text, subject=paths[0])
            self._end(made[0], saved)
            if onDone:
                onDone(paths)

        def failed(words: str) -> None:
            event = Event("not-saved", words, "info" if made[0].cancelled else "error")
            self._end(made[0], None if quiet and made[0].cancelled else event, quiet)
            if onDone:
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
            self._callbacks.report(event)
        self._onChange()


def _named(paths: Sequence[str]) -> str:
    """Name few files by their names, many by their number and folder."""
    if len(paths) == 1:
        return paths[0]
    folder = os.path.dirname(paths[0])
    if len(paths) <= FEW:
        names = ", ".join(map(os.path.basename, paths))
        return _("{names} in {folder}").format(names=names, folder=folder)
    return _("{count:,} files in {folder}").format(count=len(paths), folder=folder)
