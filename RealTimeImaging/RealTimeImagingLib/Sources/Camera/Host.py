"""Slicer's side of the search for cameras: starts the process and hears what it finds."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from typing import Any

import qt

from ...Host.ChildProcess import newProcess, startChild
from ...Model.Packages import checkPackages
from . import CameraSettings
from .Search import CameraOffer

LONGEST = 60_000
"""Milliseconds after which a search is given up: a driver hangs."""


class CameraSearch:
    """One search. All calls and callbacks are on the main thread.

    :param onFound: called with each camera.
    :param onEnd: called once at the end, with words when the search did not come to its end, else with none.
    """

    def __init__(self, onFound: Callable[[CameraOffer], None], onEnd: Callable[[str], None]) -> None:
        self._onFound, self._onEnd = onFound, onEnd
        self._partial, self._ended, self._complete = b"", False, False
        self._process: Any = newProcess()
        self._killer = qt.QTimer()
        self._killer.setSingleShot(True)
        self._connections = [
            (self._process, "readyReadStandardOutput()", self._read),
            (self._process, "finished(int,QProcess::ExitStatus)", self._finished),
            (self._process, "errorOccurred(QProcess::ProcessError)", self._errorOccurred),
            (self._killer, "timeout()", self._process.kill),
        ]
        for sender, signal, slot in self._connections:
            sender.connect(signal, slot)

    def start(self) -> None:
        """Begin; returns at once.

        :raises MissingPackageError: OpenCV is not installed.
        :raises AcquisitionError: there is no Python to run the search.
        """
        checkPackages(CameraSettings.kind)
        startChild(self._process, os.path.join(os.path.dirname(os.path.abspath(__file__)), "__main__.py"))
        self._killer.start(LONGEST)

    def close(self) -> None:
        """End it without another call."""
        if self._ended:
            return
        self._ended = True
        self._killer.stop()
        for sender, signal, slot in self._connections:
            sender.disconnect(signal, slot)
        self._process.kill()
        self._process.waitForFinished(1000)

    def _read(self) -> None:
        self._partial += self._process.readAllStandardOutput().data()
        *lines, self._partial = self._partial.split(b"\n")
        for line in lines:
            values = json.loads(line)
            self._complete = self._complete or "end" in values
            if "camera" in values:
                self._onFound(CameraOffer.fromJSON(values["camera"]))

    def _errorOccurred(self, error: int) -> None:
        if error == 0:  # QProcess::FailedToStart: there will be no finished()
            self._finished(-1)

    def _finished(self, code: int, *_: int) -> None:
        if self._ended:
            return
        self._read()
        words = self._process.readAllStandardError().data().decode(errors="replace").strip()
        if words:
            logging.getLogger(__name__).log(
                logging.WARNING if self._complete else logging.ERROR, "The search for cameras wrote: %s", words
            )
        self.close()
        self._onEnd("" if self._complete else f"The search for cameras ended before it was done (exit code {code}).")
