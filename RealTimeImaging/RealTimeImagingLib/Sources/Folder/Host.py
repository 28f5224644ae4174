"""Slicer's side of a folder: hints that the folder may have changed. The worker also polls by itself."""

from __future__ import annotations

from collections.abc import Callable

import qt

from ...Model.Event import Event

PERIOD = 1000
"""Milliseconds between hints, and between attempts to watch a folder that came back."""


class FolderHints:
    """A file system watcher and a timer.

    :param folder: the folder to watch.
    :param hint: called when the folder may have changed.
    """

    def __init__(self, folder: str, hint: Callable[[], object]) -> None:
        self._folder, self._hint = folder, hint
        # A share that hangs would block the window: only the worker accesses the folder until it reports it as present.
        self._present = False
        self._watcher = qt.QFileSystemWatcher()
        self._watcher.connect("directoryChanged(QString)", self._changed)
        self._timer = qt.QTimer()
        self._timer.connect("timeout()", self._tick)
        self._timer.start(PERIOD)

    def heard(self, event: Event) -> None:
        """Watch the folder while the worker reports it as present."""
        if event.code.startswith("folder-"):
            self._present = event.code in ("folder-there", "folder-back")
            self._watch()

    def close(self) -> None:
        """Stop watching."""
        self._timer.stop()
        self._timer.disconnect("timeout()", self._tick)
        self._watcher.disconnect("directoryChanged(QString)", self._changed)
        if self._watcher.directories():
            self._watcher.removePath(self._folder)

    def _watch(self) -> None:
        if self._present and not self._watcher.directories():
            self._watcher.addPath(self._folder)

    def _changed(self, *_: str) -> None:
        self._hint()

    def _tick(self) -> None:
        self._watch()
        self._hint()
