"""Child processes of Slicer: start one, hear how far it is, cancel it, and report its end."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import qt

from ..Link.WorkFolders import removeWorkFolders
from ..Model.Errors import AcquisitionError

LIBRARY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
"""The folder of this library, in which the programs of the child processes are."""


def pythonProgram() -> str:
    """The Python that runs child processes: Slicer's own, which in Slicer is on the path, else this one.

    :raises AcquisitionError: none is found.
    """
    program = shutil.which("PythonSlicer") or sys.executable
    if not program:
        raise AcquisitionError("Slicer's Python (PythonSlicer) is not on the path; the installation is incomplete.")
    return program


def startChild(process: Any, script: str, *arguments: str) -> None:
    """Start a script in a qt.QProcess; returns at once.

    :raises AcquisitionError: there is no Python to run it.
    """
    process.start(pythonProgram(), ["-u", script, *arguments])


def newProcess() -> Any:
    """A qt.QProcess. Its last Python reference ends the child, so its owner keeps it."""
    return qt.QProcess()


STOP_TIME = 1000
"""Milliseconds after which a process that was told to cancel is killed."""

log = logging.getLogger(__name__)


class JobProcess(ABC):
    """One job. All calls and callbacks are on the main thread.

    :param program: the file that the process runs.
    :param name: what the job is called in words, such as "export".
    """

    def __init__(self, program: str, name: str) -> None:
        self._program, self._name = program, name
        self._partial, self._errors = b"", b""
        self._last: dict[str, Any] = {}
        self._cancelling = self._told = False
        self.folders: list[str] = []
        """Working folders that go when the process has ended."""
        self.pid = self._code = 0
        self.ended = False
        """True once there is no process any more."""
        self._process: Any = newProcess()
        self._killer, self._teller = qt.QTimer(), qt.QTimer()
        for timer, slot in ((self._killer, self.kill), (self._teller, self._tell)):
            timer.setSingleShot(True)
            timer.connect("timeout()", slot)
        for signal_, slot in self._slots():
            self._process.connect(signal_, slot)

    def startWith(self, job: dict[str, Any]) -> None:
        """Begin; returns at once.

        :param job: the line that the process takes.
        :raises AcquisitionError: there is no Python to run it.
        """
        startChild(self._process, self._program)
        # A start that fails may have told so already.
        if not self.ended:
            self._process.write(json.dumps(job).encode() + b"\n")

    @property
    def cancelled(self) -> bool:
        """True once somebody cancelled it."""
        return self._cancelling

    def cancel(self) -> None:
        """Ask it to end; returns at once. A job that is all but done is done."""
        if not self.ended and not self._cancelling:
            self._cancelling = True
            self._process.closeWriteChannel()
            self._killer.start(STOP_TIME)

    def waitForEnd(self) -> None:
        """Cancel and wait: for scene close, reload and exit, when no event loop follows."""
        self.cancel()
        if not self.ended:
            self._process.waitForFinished(STOP_TIME)
        if not self.ended:
            self.kill()
            self._process.waitForFinished(STOP_TIME)
        if not self.ended:
            self._finished(-1)
        self._tell()

    def kill(self) -> None:
        """End the process by force; an unfinished file may stay."""
        if self.ended:
            return
        if self.pid:
            try:
                # Slicer's Python is behind a launcher; killing only that one would leave the process alone.
                os.kill(self.pid, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
            except OSError:
                pass
        self._process.kill()

    @abstractmethod
    def take(self, line: dict[str, Any]) -> bool:
        """A line other than pid and log, while it runs; False when it is the last."""

    @abstractmethod
    def tellEnd(self, last: dict[str, Any], unexpected: str) -> None:
        """The process has ended; called once.

        :param last: its last line, empty when there was none.
        :param unexpected: words for that case.
        """

    def _slots(self) -> list[tuple[str, Callable[..., None]]]:
        return [
            ("readyReadStandardOutput()", self._read),
            ("readyReadStandardError()", self._readErrors),
            ("finished(int,QProcess::ExitStatus)", self._finished),
            ("errorOccurred(QProcess::ProcessError)", self._errorOccurred),
        ]

    def _read(self) -> None:
        self._partial += self._process.readAllStandardOutput().data()
        *lines, self._partial = self._partial.split(b"\n")
        for line in lines:
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError):
                log.exception("A line of the %s process could not be used: %r", self._name, line[:200])

    def _take(self, line: dict[str, Any]) -> None:
        if "log" in line:
            logging.getLogger(f"RealTimeImaging.{line['logger']}").log(line["level"], line["log"])
        elif "pid" in line:
            self.pid = line["pid"]
        elif not self.take(line):
            self._last = line

    def _readErrors(self) -> None:
        self._errors += self._process.readAllStandardError().data()

    def _errorOccurred(self, error: int) -> None:
        if error == 0:  # QProcess::FailedToStart: there will be no finished()
            self._finished(-1)

    def _finished(self, code: int, *_: int) -> None:
        if self.ended:
            return
        self._read()
        self._readErrors()
        self.ended = True
        self._killer.stop()
        self._killer.disconnect("timeout()", self.kill)
        for signal_, slot in self._slots():
            self._process.disconnect(signal_, slot)
        removeWorkFolders(self.folders)
        if self._errors.strip():
            log.error("The %s process wrote: %s", self._name, self._errors.decode(errors="replace").strip())
        self._code = code
        # Whoever is told may let go of this object and so of the process, and deleting that in its own signal crashes.
        self._teller.start(0)

    def _tell(self) -> None:
        if self._told:
            return
        self._told = True
        self._teller.stop()
        self._teller.disconnect("timeout()", self._tell)
        last = self._errors.decode(errors="replace").strip().splitlines()
        words = f"The {self._name} ended unexpectedly (exit code {self._code}). {last[-1] if last else ''}".strip()
        self.tellEnd(self._last, words)
