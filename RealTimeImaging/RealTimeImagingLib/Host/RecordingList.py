"""Recordings in a folder, read by another process: ``logic.recording.list``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt

from ..Export.Job import ListJob
from ..Model.Errors import AcquisitionError
from ..Model.Event import Event
from ..Model.Quantities import counted
from ..Model.Settings import typedPath
from ..Model.Text import joined, textsOf
from ..Recording import RecordingEntry
from .ExportControl import ExportProcess

_ = textsOf(__file__)

LONGEST = 20_000
"""Milliseconds after which a folder counts as not responding."""


class RecordingList:
    """Recordings in one folder and in the folders below it.

    :param onChange: called when the list or its state has changed.
    """

    def __init__(self, onChange: Callable[[], None]) -> None:
        self._onChange = onChange
        self.entries: list[RecordingEntry] = []
        """Recordings that were found last, the newest first; replaced as a whole."""
        self.folder = ""
        """Folder that was read last."""
        self._words, self._failed = "", False
        self._current: ExportProcess | None = None
        self._processes: list[ExportProcess] = []
        """Processes that have not ended, and the last one that has: to delete it in its own signal would crash."""
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.connect("timeout()", self._giveUp)

    def status(self) -> dict[str, Any]:
        """Return ``reading``, ``words`` about the folder, and ``failed``."""
        return {"reading": self._current is not None, "words": self._words, "failed": self._failed}

    def read(self, folder: str) -> None:
        """Read a folder again, in another process; :attr:`entries` changes when it is done.

        :raises AcquisitionError: the process cannot be started.
        """
        folder = typedPath(folder)
        self._cancel()
        if folder != self.folder:
            self.entries = []
        self.folder, self._words, self._failed = folder, "", False
        if folder:
            self._start(folder)
        self._onChange()

    def partsOf(self, entry: RecordingEntry) -> list[RecordingEntry]:
        """Return the usable entries of all streams and device messages of an entry's recording."""
        found = [one for one in self.entries if (one.folder, one.name) == (entry.folder, entry.name) and one.usable]
        return sorted(found, key=lambda one: one is not entry)

    def close(self) -> None:
        """End the reading. Do not use the object afterwards."""
        self._cancel()
        for process in self._processes:
            process.waitForEnd()
        self._processes = []
        self._timer.disconnect("timeout()", self._giveUp)

    def _start(self, folder: str) -> None:
        def done(found: list[Any], events: list[Event]) -> None:
            if self._current is process:
                self._take(found[0])

        def failed(words: str) -> None:
            if self._current is process:
                self.entries, self._words, self._failed = [], words, True
                self._finish()

        process = ExportProcess(ListJob(folder), lambda part, words: None, done, failed)
        self._current = process
        self._words = _("Reading the list of recordings.")
        try:
            process.start()
        except AcquisitionError:
            self._current = None
            raise
        self._processes = [*(one for one in self._processes[-1:] if one.ended), *self._alive(), process]
        self._timer.start(LONGEST)

    def _alive(self) -> list[ExportProcess]:
        return [one for one in self._processes if not one.ended]

    def _take(self, found: dict[str, Any]) -> None:
        self.entries = [RecordingEntry.fromJSON(one) for one in found["entries"]]
        more = _("There are too many folders: some are not searched.") if found["more"] else ""
        if self.entries:
            count = len({(one.folder, one.name) for one in self.entries})
            self._words = joined(counted(count, _("1 recording."), _("{count:,} recordings.")), more)
        else:
            self._words = joined(_("No recording is in this folder."), more)
        self._finish()

    def _finish(self) -> None:
        self._current = None
        self._timer.stop()
        self._onChange()

    def _giveUp(self) -> None:
        text = _("The folder {folder} does not respond. Is the network drive connected?")
        self.entries, self._words, self._failed = [], text.format(folder=self.folder), True
        self._cancel()
        self._onChange()

    def _cancel(self) -> None:
        self._timer.stop()
        process, self._current = self._current, None
        if process:
            process.cancel()
