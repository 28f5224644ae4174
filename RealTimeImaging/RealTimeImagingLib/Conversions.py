"""The conversion of DICOM files that is under way, how the last one ended, and what of it is loaded."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import Any

import qt

from .Conversion.ConversionProcess import ConversionProcess
from .Conversion.Settings import ConversionSettings
from .Conversion.Times import natural
from .Errors import RealTimeImagingError, SettingsError
from .Event import Event
from .Listeners import Listeners

_TOLD = 20
"""Volumes that failed, each of which is an event; the report names all."""
_COUNTED = {"done": "done", "skipped": "already converted", "failed": "failed", "cancelled": "cancelled"}
"""The counts of a report, and their labels."""


class Conversions:
    """One conversion at a time.

    :param load: loads a converted file.
    :param onChange: called when something of it has changed.
    """

    def __init__(self, listeners: Listeners, load: Callable[[str], object], onChange: Callable[[], None]) -> None:
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
