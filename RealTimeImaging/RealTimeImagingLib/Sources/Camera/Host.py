"""The search for cameras on Slicer's side: starts the process and takes what it finds."""

from __future__ import annotations

from collections.abc import Callable

import qt

from ...Host.ChildProcess import ChildProcess
from ...Link.Messages import CameraFound, End, Receivers
from ...Model.Packages import checkPackages
from . import CameraSettings
from .Search import CameraOffer

LONGEST = 60_000
"""Milliseconds after which a search is killed: a driver hangs."""
STOP_TIME = 1000
"""Milliseconds to wait for the end of a process that was killed."""


class CameraSearch:
    """A search. All calls and callbacks are on the main thread.

    :param onFound: called with each camera.
    :param onEnd: called once at the end, with a sentence when the search is not complete, else with an empty text.
    """

    def __init__(self, onFound: Callable[[CameraOffer], None], onEnd: Callable[[str], None]) -> None:
        self._onFound, self._onEnd = onFound, onEnd
        self._complete = self._closing = False
        reports = Receivers()
        reports.connect(CameraFound, self._found)
        reports.connect(End, self._completed)
        self._child = ChildProcess("search for cameras", "cameras", reports.deliver, self._ended)
        self._killer = qt.QTimer()
        self._killer.setSingleShot(True)

    def start(self) -> None:
        """Start; return at once.

        :raises MissingPackageError: OpenCV is not installed.
        :raises AcquisitionError: no Python is found to run the search.
        """
        checkPackages(CameraSettings.kind)
        self._child.start()
        self._killer.connect("timeout()", self._child.kill)
        self._killer.start(LONGEST)

    def close(self) -> None:
        """End the search; the callbacks are not called any more."""
        self._closing = True
        self._child.end(STOP_TIME)

    def _found(self, message: CameraFound) -> None:
        if not self._closing:
            self._onFound(CameraOffer.fromJSON(message.camera))

    def _completed(self, message: End) -> None:
        self._complete = True

    def _ended(self, code: int) -> None:
        self._killer.stop()
        self._killer.disconnect("timeout()", self._child.kill)
        if not self._closing:
            self._onEnd("" if self._complete else f"The search for cameras did not complete (exit code {code}).")
