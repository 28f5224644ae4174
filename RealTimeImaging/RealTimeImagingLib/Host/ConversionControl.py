"""Conversion of DICOM folders to NRRD, and loading of the converted files: ``logic.conversion``."""

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
from ..Link.Messages import Converted, Failed, Outcome, Progress
from ..Model.Errors import ConversionError, RealTimeImagingError, SettingsError
from ..Model.Event import Event
from ..Model.Files import naturalOrder, reasonOf
from ..Model.Quantities import counted
from ..Model.Text import joined, sentence, textsOf
from ..Scene.MappedSequence import addMappedVolume, addReadSequence
from .Callbacks import Callbacks
from .ChildProcess import JobProcess

_ = textsOf(__file__)


class ConversionProcess(JobProcess):
    """A conversion. All calls and callbacks are on the main thread.

    :param onProgress: called with the progress, 0 to 1, words, and the seconds that are left, None while unknown.
    :param onEnd: called once, when the process has ended, with the report as JSON (Report.toJSON), and a sentence when
        it failed or was cancelled. Without a report, the next run knows the finished volumes in the output folder.
    """

    def __init__(
        self,
        settings: ConversionSettings,
        onProgress: Callable[[float, str, float | None], None],
        onEnd: Callable[[dict[str, Any] | None, str], None],
    ) -> None:
        super().__init__("conversion", _("conversion"))
        self.settings = settings
        self._onProgress, self._onEnd = onProgress, onEnd
        self.reports.connect(Progress, self._takeProgress)

    def start(self) -> None:
        """Start; return at once.

        :raises AcquisitionError: no Python is found to run it.
        """
        self.startWith(self.settings)

    def takeEnd(self, outcome: Outcome | None, unexpected: str) -> None:
        """Call back with the report."""
        words = _("The conversion was cancelled; converted volumes stay.") if self.cancelled else ""
        if isinstance(outcome, Converted):
            self._onEnd(outcome.report, words)
        else:
            self._onEnd(None, outcome.failed if isinstance(outcome, Failed) else words or unexpected)

    def _takeProgress(self, message: Progress) -> None:
        if not self.cancelled:
            self._onProgress(message.progress, message.words, message.left)


_REPORTED = 20
"""Most events of failed volumes; the report names all."""
_COUNTED = {
    "done": _("{count:,} done"),
    "skipped": _("{count:,} already converted"),
    "failed": _("{count:,} failed"),
    "cancelled": _("{count:,} cancelled"),
}
"""The counts of a report, and their labels."""


_NO_VOLUME = _("{count:,} files are in no volume.")


class ConversionControl:
    """One conversion at a time, in other processes, and the files of the last one.

    The event "converted" reports the end, "not-converted" each volume that failed, with the reason.

    :param callbacks: get the events.
    :param onChange: called when a state or the progress has changed.
    """

    def __init__(self, callbacks: Callbacks, onChange: Callable[[], None]) -> None:
        self._callbacks, self._onChange = callbacks, onChange
        self._process: ConversionProcess | None = None
        self._loadWhenDone = False
        self._progress, self._words, self._failed = 0.0, "", False
        self._left: float | None = None
        self._waiting: deque[str] = deque()
        self.files: list[str] = []
        """Paths of the files of the last conversion, in the order of their names."""
        self.report: dict[str, Any] | None = None
        """Report of the last conversion, with every series: done, skipped, failed and why; None before its end.

        See Conversion.Report.toJSON."""
        self._loaded: dict[tuple[str, int, int], str] = {}
        """Path, size and time of each loaded file, and the ID of its node."""
        self._loader = qt.QTimer()
        self._loader.setSingleShot(True)
        self._loader.connect("timeout()", self._loadNext)

    def status(self) -> dict[str, Any]:
        """Return ``running``; ``progress`` from 0 to 1, ``words``, ``left`` (seconds, None while unknown), ``failed``;
        ``loading`` (number of files that wait to be loaded)."""
        return {
            "running": self._process is not None and not self._process.ended,
            "progress": self._progress,
            "words": self._words,
            "left": self._left,
            "failed": self._failed,
            "loading": len(self._waiting),
        }

    def start(
        self,
        input: str | PathLike[str],
        output: str | PathLike[str],
        name: str = NAME,
        tags: Sequence[str] | None = None,
        workers: int = 0,
        strict: bool = False,
        loadWhenDone: bool = False,
    ) -> None:
        """Convert all DICOM series below a folder, each to one uncompressed NRRD.

        Series that were converted before are skipped. Parameters as of
        ``RealTimeImagingLib.Conversion.convertFolder``.

        :param loadWhenDone: load all files afterwards, one by one.
        :raises SettingsError: a value that cannot work, or a conversion is running.
        :raises AcquisitionError: the process cannot be started.
        """
        chosen = None if tags is None else tuple(tags)
        settings = ConversionSettings(str(input), str(output), name, chosen, workers, strict)
        if self.status()["running"]:
            raise SettingsError(_("A conversion is running; cancel it first."))
        self._loadWhenDone = loadWhenDone
        self._progress, self._words, self._left, self._failed = 0.0, _("Starting"), None, False
        self.files, self.report = [], None
        self._waiting.clear()
        self._process = ConversionProcess(settings, self._advanced, self._ended)
        self._process.start()
        self._onChange()

    def cancel(self) -> None:
        """Cancel the conversion; converted volumes stay."""
        if self._process:
            self._process.cancel()

    def forget(self) -> None:
        """Load none of the waiting files, because the scene was closed."""
        self._waiting.clear()
        self._loaded.clear()

    def close(self) -> None:
        """Cancel the conversion, wait for its end, and load nothing any more. Do not use the object afterwards."""
        self._loadWhenDone = False
        if self._process:
            self._process.waitForEnd()
        self.forget()
        self._loader.stop()
        self._loader.disconnect("timeout()", self._loadNext)

    # ---- converted files

    def loadOnce(self, path: str) -> Any:
        """Load a converted file, unless the scene has this version of the file already.

        :returns: as :meth:`load`, for the existing node or a new one.
        :raises ConversionError: it is no converted file, or cannot be read.
        """
        try:
            found = os.stat(path)
        except OSError as error:
            raise ConversionError(
                _("{path} cannot be opened: {reason}.").format(path=path, reason=reasonOf(error))
            ) from error
        key = (path, found.st_size, found.st_mtime_ns)
        node = slicer.mrmlScene.GetNodeByID(self._loaded.get(key, ""))
        if node is None:
            node = self.load(path)
            self._loaded[key] = node.GetID()
        return node

    def loadAll(self) -> None:
        """Load all files of the last conversion, one by one; files that are in the scene already are not loaded again.

        The event "not-loaded" names each file that cannot be loaded.
        """
        self._waiting = deque(self.files)
        self._loader.start(0)
        self._onChange()

    def load(self, path: str) -> Any:
        """Load a converted file: a volume is mapped into memory and read when it is displayed; a sequence is read.

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
            reason = sentence(reasonOf(error))
            raise ConversionError(_("{path} cannot be opened: {reason}").format(path=path, reason=reason)) from error
        browser = addReadSequence(slicer.mrmlScene, slicer.modules.sequences.logic(), path)
        if browser is None:
            raise ConversionError(_("Slicer cannot read {path}.").format(path=path))
        return browser

    def _loadNext(self) -> None:
        # One file in each turn of the event loop, so that Slicer stays responsive.
        if not self._waiting:
            return
        path = self._waiting.popleft()
        try:
            self.loadOnce(path)
        except (RealTimeImagingError, OSError) as error:
            text = _("{path} was not loaded: {reason}").format(path=path, reason=sentence(reasonOf(error)))
            self._callbacks.report(Event("not-loaded", text, "error", path))
        if self._waiting:
            self._loader.start(0)
        self._onChange()

    # ---- the process

    def _advanced(self, part: float, words: str, left: float | None) -> None:
        self._progress, self._words, self._left = part, words, left
        self._onChange()

    def _ended(self, report: dict[str, Any] | None, words: str) -> None:
        self._left = None
        self.report = report
        if report is None:
            self._failed, self._words = not (self._process and self._process.cancelled), words
            self._callbacks.report(Event("not-converted", words, "error" if self._failed else "info"))
            self._onChange()
            return
        self._reportEnd(report, words)
        made = [one["file"] for one in report["series"] if one["status"] in ("done", "skipped")]
        self.files = [os.path.join(report["output"], name) for name in sorted(made, key=naturalOrder)]
        if self._loadWhenDone and not words:
            self.loadAll()
        self._onChange()

    def _reportEnd(self, report: dict[str, Any], words: str) -> None:
        failed = [one for one in report["series"] if one["status"] == "failed"]
        for one in failed[:_REPORTED]:
            text = _("{series} was not converted: {reason}").format(series=one["series"], reason=one["reason"])
            self._callbacks.report(Event("not-converted", text, "warning", one["series"]))
        counts = [text.format(count=report[name]) for name, text in _COUNTED.items() if report[name]]
        others = len(report["files"])
        self._progress, self._failed = 1.0, bool(failed)
        self._words = joined(
            words,
            _("{counts}.").format(counts=joined(*counts or [_("No volume")], separator=", ")),
            counted(others, _("1 file is in no volume."), _NO_VOLUME) if others else "",
            _("The report is {path}.").format(path=os.path.join(report["output"], "conversion.csv")),
        )
        level = "warning" if failed or others else "info"
        self._callbacks.report(Event("converted", self._words, level, report["output"]))
