"""Conversion of DICOM files: public API."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any

import qt
import slicer

from ..Conversion import NAME, ConversionSettings
from ..Conversion.Output import readHeader
from ..Conversion.Volumes import natural
from ..Model.Errors import ConversionError, RealTimeImagingError, SettingsError
from ..Model.Event import Event
from ..Scene.MappedSequence import addMappedVolume, addReadSequence
from .Callbacks import Callbacks
from .ChildProcess import LIBRARY, JobProcess

PROGRAM = os.path.join(LIBRARY, "Conversion", "Child.py")


class ConversionProcess(JobProcess):
    """One conversion. All calls and callbacks are on the main thread.

    :param onProgress: gets the part that is done, 0 to 1, words, and the seconds that are left, None while unknown.
    :param onEnd: called once, when the process has ended, with the report as JSON (Report.toJSON), and words when it
        failed or was cancelled. Without a report, what was done is in the output folder, and the next run knows it.
    """

    def __init__(
        self,
        settings: ConversionSettings,
        onProgress: Callable[[float, str, float | None], None],
        onEnd: Callable[[dict[str, Any] | None, str], None],
    ) -> None:
        super().__init__(PROGRAM, "conversion")
        self.settings = settings
        self._onProgress, self._onEnd = onProgress, onEnd

    def start(self) -> None:
        """Begin; returns at once.

        :raises AcquisitionError: there is no Python to run it.
        """
        self.startWith(self.settings.toJSON())

    def take(self, line: dict[str, Any]) -> bool:
        """Progress."""
        if "progress" not in line:
            return False
        if not self.cancelled:
            self._onProgress(line["progress"], line["words"], line["left"])
        return True

    def tellEnd(self, last: dict[str, Any], unexpected: str) -> None:
        """How it ended."""
        words = "The conversion was cancelled; what is done stays." if self.cancelled else ""
        if "report" in last:
            self._onEnd(last["report"], words)
        else:
            self._onEnd(None, last.get("failed") or words or unexpected)


_TOLD = 20
"""Volumes that failed, each of which is an event; the report names all."""
_COUNTED = {"done": "done", "skipped": "already converted", "failed": "failed", "cancelled": "cancelled"}
"""The counts of a report, and their labels."""


class ConversionControl:
    """One conversion at a time.

    :param load: loads a converted file.
    :param onChange: called when something of it has changed.
    """

    def __init__(self, listeners: Callbacks, load: Callable[[str], object], onChange: Callable[[], None]) -> None:
        self._listeners, self._load, self._onChange = listeners, load, onChange
        self._process: ConversionProcess | None = None
        self._loadWhenDone = False
        self._progress, self._words, self._failed = 0.0, "", False
        self._left: float | None = None
        self._waiting: deque[str] = deque()
        self.files: list[str] = []
        """Paths of the files of the last conversion, in the order of their names."""
        self.loaded: dict[tuple[str, int, int], str] = {}
        """Path, size and time of each file that is in the scene, to the ID of its node."""
        self.report: dict[str, Any] | None = None
        """Of the last conversion that told one; see Conversion.Report.toJSON."""
        self._loader = qt.QTimer()
        self._loader.setSingleShot(True)
        self._loader.connect("timeout()", self._loadOne)

    def status(self) -> dict[str, Any]:
        """``running``; ``progress`` from 0 to 1, ``words``, ``left`` (seconds, None while unknown), ``failed``;
        ``loading``: how many files wait to be loaded."""
        return {
            "running": self._process is not None and not self._process.ended,
            "progress": self._progress,
            "words": self._words,
            "left": self._left,
            "failed": self._failed,
            "loading": len(self._waiting),
        }

    def start(self, settings: ConversionSettings, loadWhenDone: bool) -> None:
        """Begin; events tell of its end.

        :raises SettingsError: one is under way.
        :raises AcquisitionError: its process cannot be started.
        """
        if self.status()["running"]:
            raise SettingsError("A conversion is under way; cancel it first.")
        self._loadWhenDone = loadWhenDone
        self._progress, self._words, self._left, self._failed = 0.0, "Starting", None, False
        self.files, self.report = [], None
        self._waiting.clear()
        self._process = ConversionProcess(settings, self._told, self._ended)
        self._process.start()
        self._onChange()

    def cancel(self) -> None:
        """End it; what is done stays."""
        if self._process:
            self._process.cancel()

    def forget(self) -> None:
        """The scene was closed: what waits to be loaded is not."""
        self._waiting.clear()
        self.loaded.clear()

    def close(self) -> None:
        """End it, wait for the end, and load nothing any more."""
        self._loadWhenDone = False
        if self._process:
            self._process.waitForEnd()
        self.forget()
        self._loader.stop()
        self._loader.disconnect("timeout()", self._loadOne)

    def _told(self, part: float, words: str, left: float | None) -> None:
        self._progress, self._words, self._left = part, words, left
        self._onChange()

    def _ended(self, report: dict[str, Any] | None, words: str) -> None:
        self._left = None
        self.report = report
        if report is None:
            self._failed, self._words = not (self._process and self._process.cancelled), words
            self._listeners.report(Event("not-converted", words, "error" if self._failed else "info"))
            self._onChange()
            return
        self._tell(report, words)
        made = [one["file"] for one in report["series"] if one["status"] in ("done", "skipped")]
        self.files = [os.path.join(report["output"], name) for name in sorted(made, key=natural)]
        if self._loadWhenDone and not words:
            self._waiting.extend(self.files)
            self._loader.start(0)
        self._onChange()

    def _tell(self, report: dict[str, Any], words: str) -> None:
        failed = [one for one in report["series"] if one["status"] == "failed"]
        for one in failed[:_TOLD]:
            text = f"{one['series']} was not converted: {one['reason']}"
            self._listeners.report(Event("not-converted", text, "warning", one["series"]))
        counts = [f"{report[name]} {text}" for name, text in _COUNTED.items() if report[name]]
        left = len(report["files"])
        others = f" {left} {'file is' if left == 1 else 'files are'} in no volume." if left else ""
        text = f"{', '.join(counts) or 'No volume'}.{others} The report is {report['output']}{os.sep}conversion.csv."
        self._progress, self._words, self._failed = 1.0, f"{words} {text}".strip(), bool(failed)
        level = "warning" if failed or others else "info"
        self._listeners.report(Event("converted", self._words, level, report["output"]))

    def _loadOne(self) -> None:
        # One in each turn of the event loop: the window stays free.
        if not self._waiting:
            return
        path = self._waiting.popleft()
        try:
            self._load(path)
        except (RealTimeImagingError, OSError) as error:
            self._listeners.report(Event("not-loaded", f"{path} was not loaded: {error}", "error", path))
        if self._waiting:
            self._loader.start(0)
        self._onChange()


class ConversionLogic:
    """One part of :class:`RealTimeImagingLogic`, which makes what it needs."""

    conversions: ConversionControl

    def convertFolder(
        self,
        input: str | PathLike[str],
        output: str | PathLike[str],
        name: str = NAME,
        tags: Sequence[str] | None = None,
        workers: int = 0,
        strict: bool = False,
        loadWhenDone: bool = False,
    ) -> None:
        """Convert all DICOM series below a folder, each to one uncompressed NRRD, in other processes.

        The window stays free; the event "converted" tells the end, "not-converted" each volume that failed and why.
        What was converted before is skipped. Parameters as of ``RealTimeImagingLib.Conversion.convertFolder``.

        :param loadWhenDone: load all files then, one by one.
        :raises SettingsError: a value that cannot work, or a conversion is under way.
        """
        chosen = None if tags is None else tuple(tags)
        settings = ConversionSettings(str(input), str(output), name, chosen, workers, strict)
        self.conversions.start(settings, loadWhenDone)

    def conversionStatus(self) -> dict[str, Any]:
        """``running``, ``progress``, ``words``, ``left``, ``failed``, ``loading``: see :class:`ConversionControl`."""
        return self.conversions.status()

    def conversionReport(self) -> dict[str, Any] | None:
        """The report of the last conversion, with every series: done, skipped, failed and why; None before its end."""
        return self.conversions.report

    def convertedFiles(self) -> list[str]:
        """Paths of the files of the last conversion."""
        return list(self.conversions.files)

    def cancelConversion(self) -> None:
        """End the conversion; what is done stays."""
        self.conversions.cancel()

    def loadConvertedOnce(self, path: str) -> Any:
        """Load a converted file, unless the scene has it already as it is now on disk.

        :returns: as :meth:`loadConverted`, for the node that is there or a new one.
        :raises ConversionError: it is no converted file, or cannot be read.
        """
        try:
            found = os.stat(path)
        except OSError as error:
            raise ConversionError(f"{path} cannot be opened: {error.strerror}.") from error
        key = (path, found.st_size, found.st_mtime_ns)
        node = slicer.mrmlScene.GetNodeByID(self.conversions.loaded.get(key, ""))
        if node is None:
            node = self.loadConverted(path)
            self.conversions.loaded[key] = node.GetID()
        return node

    def loadConverted(self, path: str) -> Any:
        """Load a converted file: a volume is mapped, there at once and read as it is looked at; a sequence is read.

        :returns: the volume node, or the sequence browser node.
        :raises ConversionError: it is no converted file, or cannot be read.
        """
        try:
            found = readHeader(path)
            if found.volumes is None:
                return addMappedVolume(
                    slicer.mrmlScene, path, found.offset, found.dtype, found.shape, found.ijkToRAS, found.pairs
                )
        except (OSError, ValueError) as error:
            raise ConversionError(f"{path} cannot be opened: {error}.") from error
        browser = addReadSequence(slicer.mrmlScene, slicer.modules.sequences.logic(), path)
        if browser is None:
            raise ConversionError(f"Slicer cannot read {path}.")
        return browser
