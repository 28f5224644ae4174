"""Child processes of Slicer: start one, exchange messages, and end it."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any

import qt

from ..Link import PROGRAM
from ..Link.Lines import LineSplitter
from ..Link.Messages import LogReport, Message, Outcome, ProcessID, Receivers, decode, encode, trace
from ..Link.WorkFolders import kill, removeWorkFolders
from ..Model.Errors import AcquisitionError
from ..Model.Text import joined, textsOf

_ = textsOf(__file__)

READ_TIME = 0.02
"""Seconds of taking messages, after which Slicer handles other events."""
PID_TIME = 1000
"""Milliseconds to wait for the number of a process that is to be killed."""

MOST_ERRORS = 1 << 16
"""Last bytes of standard error that are kept."""

log = logging.getLogger(__name__)


def pythonProgram() -> str:
    """Return the Python that runs child processes: Slicer's own, which in Slicer is on the path, else this one.

    :raises AcquisitionError: none is found.
    """
    program = shutil.which("PythonSlicer") or sys.executable
    if not program:
        text = _("Slicer's Python (PythonSlicer) is not on the path. Install Slicer again.")
        raise AcquisitionError(text)
    return program


class ChildProcess:
    """One run of a program of :mod:`Link.Program`. All calls and callbacks are on the main thread.

    Keep a reference until the call after ``onEnd``: to delete a QProcess within its own signal crashes, and before its
    end kills the process.

    :param name: of the process in words, such as "export process".
    :param program: its name in ``Program.PROGRAMS``.
    :param onMessage: called with each report but those of the log and of the process's number.
    :param onEnd: called once with the exit code, when the process has ended and all its messages were taken.
    :param onBatch: called after the last message that was there.
    """

    def __init__(
        self,
        name: str,
        program: str,
        onMessage: Callable[[Message], object],
        onEnd: Callable[[int], None],
        onBatch: Callable[[], None] = lambda: None,
    ) -> None:
        self._name, self._program = name, program
        self._onMessage, self._onEnd, self._onBatch = onMessage, onEnd, onBatch
        self.pid = 0
        """Number of the process itself, which may run behind a launcher; 0 until the process reports it."""
        self.ended = True
        """True unless the process runs."""
        self.taking = False
        """True while messages are taken."""
        self._heard = time.monotonic()
        self._splitter, self._errors = LineSplitter(), b""
        self._lines: deque[bytes] = deque()
        self._process, self._later = qt.QProcess(), qt.QTimer()
        self._later.setSingleShot(True)
        self._connections: list[tuple[Any, str, Callable[..., None]]] = [
            (self._process, "readyReadStandardOutput()", self._read),
            (self._process, "readyReadStandardError()", self._readErrors),
            (self._process, "finished(int,QProcess::ExitStatus)", self._finished),
            (self._process, "errorOccurred(QProcess::ProcessError)", self._errorOccurred),
            (self._later, "timeout()", self.take),
        ]

    def start(self, *arguments: str) -> None:
        """Start the process; return at once.

        :param arguments: of the program.
        :raises AcquisitionError: no Python is found to run it.
        """
        python = pythonProgram()
        self.ended = False
        for sender, signal_, slot in self._connections:
            sender.connect(signal_, slot)
        self._process.start(python, ["-u", PROGRAM, self._program, *arguments])

    def send(self, message: Any) -> None:
        """Send a command, or the job with ``toJSON``; a process that has ended gets nothing."""
        if not self.ended:
            self._process.write(encode(message))
            trace(self._traceName, "sent", message)

    def closeInput(self) -> None:
        """End the input of the process, which makes it finish; return at once."""
        self._process.closeWriteChannel()

    def restartSilence(self) -> None:
        """Count :attr:`silence` from now."""
        self._heard = time.monotonic()

    @property
    def silence(self) -> float:
        """Milliseconds since the last output of the process."""
        return 1000 * (time.monotonic() - self._heard)

    @property
    def lastError(self) -> str:
        """Last line on standard error; empty when there is none."""
        lines = self._errors.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def take(self) -> None:
        """Take the messages that are there for at most READ_TIME; the event loop takes the rest."""
        self._takeUntil(time.perf_counter() + READ_TIME)

    def pump(self, seconds: float) -> None:
        """Wait for output, at most so many seconds, and take messages; for use without the event loop."""
        self._process.waitForReadyRead(round(1000 * seconds))
        self.take()

    def wait(self, milliseconds: int) -> None:
        """Wait for the end, at most so long, and take all messages; for use without the event loop."""
        if not self.ended:
            self._process.waitForFinished(milliseconds)
        self._read()
        self._takeUntil(float("inf"))

    def kill(self) -> None:
        """End the process by force; wait at most PID_TIME when the process has not reported its number yet."""
        if self.ended:
            return
        if not self.pid:
            # To kill the launcher alone would leave its child behind.
            self._process.waitForReadyRead(PID_TIME)
            self._read()
        self._killChild()
        self._process.kill()

    def end(self, milliseconds: int) -> None:
        """Kill the process and wait for the end, at most so long; do nothing when it has ended."""
        self.kill()
        self.wait(milliseconds)
        if not self.ended:
            self._finished(-1)

    @property
    def _traceName(self) -> str:
        return f"{self._name} {self.pid}"

    def _killChild(self) -> None:
        if self.pid:
            # The launcher's child may outlive it.
            kill(self.pid)

    def _read(self) -> None:
        if self.ended:
            return
        data = self._process.readAllStandardOutput().data()
        if data:
            self._heard = time.monotonic()
        self._lines.extend(self._splitter.split(data))
        self.take()

    def _takeUntil(self, end: float) -> None:
        taken, outer = False, self.taking
        self.taking = True
        while self._lines and time.perf_counter() < end:
            line = self._lines.popleft()
            taken = True
            try:
                self._takeOne(decode(line))
            except Exception:  # the boundary: an error of a receiver must not hold up the messages that follow
                log.exception("A line of the %s could not be used: %r", self._name, line[:200])
        if self._lines:
            self._later.start(0)
        if taken:
            self._onBatch()
        self.taking = outer

    def _takeOne(self, message: Message) -> None:
        if isinstance(message, ProcessID):
            self.pid = message.pid
        trace(self._traceName, "received", message)
        if isinstance(message, LogReport):
            logging.getLogger(f"RealTimeImaging.{message.logger}").log(message.level, message.log)
        elif not isinstance(message, ProcessID):
            self._onMessage(message)

    def _readErrors(self) -> None:
        self._errors = (self._errors + self._process.readAllStandardError().data())[-MOST_ERRORS:]

    def _errorOccurred(self, error: int) -> None:
        if error == 0:  # QProcess::FailedToStart: finished() does not follow
            self._errors += str(self._process.errorString()).encode()
            self._finished(-1)

    def _finished(self, code: int, status: int = 0) -> None:
        if self.ended:
            return
        self._read()
        self._readErrors()
        self.ended = True
        self._takeUntil(float("inf"))
        self._later.stop()
        for sender, signal_, slot in self._connections:
            sender.disconnect(signal_, slot)
        if code or status:
            self._killChild()
        text = self._errors.decode(errors="replace").strip()
        if text:
            log.log(logging.WARNING if code == 0 else logging.ERROR, "The %s wrote: %s", self._name, text)
        self._onEnd(code)


STOP_TIME = 1000
"""Milliseconds after which a cancelled job is killed."""


class JobProcess(ABC):
    """One job in a process of its own. All calls and callbacks are on the main thread.

    :param program: its name in ``Program.PROGRAMS``.
    :param name: of the job in words, such as "export".
    """

    def __init__(self, program: str, name: str) -> None:
        self._name = name
        self._outcome: Outcome | None = None
        self._cancelled = self._reported = False
        self.folders: list[str] = []
        """Working folders that are removed at the end of the process."""
        self._code = 0
        self.reports = Receivers()
        """Delivers the reports of the process."""
        self.reports.connect(Outcome, self._note)
        self._child = ChildProcess(f"{name} process", program, self.reports.deliver, self._ended)
        self._killer, self._reporter = qt.QTimer(), qt.QTimer()
        for timer in (self._killer, self._reporter):
            timer.setSingleShot(True)

    def startWith(self, job: Any) -> None:
        """Start; return at once.

        :param job: has ``toJSON``, the first line of the process.
        :raises AcquisitionError: no Python is found to run it.
        """
        self._killer.connect("timeout()", self.kill)
        self._reporter.connect("timeout()", self._report)
        try:
            self._child.start()
        except AcquisitionError:
            self._killer.disconnect("timeout()", self.kill)
            self._reporter.disconnect("timeout()", self._report)
            self._reported = True
            raise
        self._child.send(job)

    @property
    def ended(self) -> bool:
        """True unless the process runs."""
        return self._child.ended

    @property
    def cancelled(self) -> bool:
        """True after :meth:`cancel`."""
        return self._cancelled

    def cancel(self) -> None:
        """Ask the process to end; return at once. A job that is all but done is finished."""
        if not self.ended and not self._cancelled:
            self._cancelled = True
            self._child.closeInput()
            self._killer.start(STOP_TIME)

    def waitForEnd(self) -> None:
        """Cancel and wait for the end: for scene close, reload and exit, when no event loop follows."""
        self.cancel()
        self._child.wait(STOP_TIME)
        self._child.end(STOP_TIME)
        self._report()

    def kill(self) -> None:
        """End the process by force; an unfinished file may stay."""
        self._child.kill()

    @abstractmethod
    def takeEnd(self, outcome: Outcome | None, unexpected: str) -> None:
        """Take the end of the process; called once.

        :param outcome: its last report, None when there was none.
        :param unexpected: words for that case.
        """

    def _note(self, outcome: Outcome) -> None:
        self._outcome = outcome

    def _ended(self, code: int) -> None:
        self._killer.stop()
        self._killer.disconnect("timeout()", self.kill)
        removeWorkFolders(self.folders)
        self._code = code
        # The receiver may drop this object and so the QProcess, and to delete that within its own signal crashes.
        self._reporter.start(0)

    def _report(self) -> None:
        if self._reported:
            return
        self._reported = True
        self._reporter.stop()
        self._reporter.disconnect("timeout()", self._report)
        text = _("The {name} ended unexpectedly (exit code {code}).").format(name=self._name, code=self._code)
        self.takeEnd(self._outcome, joined(text, self._child.lastError))
