"""Description of a function's parameters: a process of its own loads the file, which may do anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import qt

from ..Link.Messages import Done, Failed, Receivers
from ..Model.Text import joined, textFromJSON, textsOf
from ..Processing.Description import Interpreter
from ..Processing.Loading import functionName
from .ChildProcess import ChildProcess

_ = textsOf(__file__)

OnDone = Callable[[dict[str, Any] | None, str, list[str]], None]

LIMIT = 30_000
"""Milliseconds for a file to load; libraries for neural networks need many seconds."""
END_TIME = 1000


class FunctionDescription:
    """One look at a function.

    :param function: path of the file.
    :param onDone: called with the description, see Processing/Description.py, and an empty text; or with None and the
        reason; and with the requirements for pip of missing packages.
    """

    def __init__(self, function: str, onDone: OnDone) -> None:
        self._function, self._onDone = function, onDone
        text = _("{function} did not load within {seconds} s.")
        self._found: dict[str, Any] | None = None
        self._missing: list[str] = []
        self._failed = False
        self._problem: str = text.format(function=functionName(function), seconds=LIMIT // 1000)
        reports = Receivers()
        reports.connect(Done, self._take)
        reports.connect(Failed, self._fail)
        self._child = ChildProcess("process that loads a function", "description", reports.deliver, self._ended)
        self._killer, self._later = qt.QTimer(), qt.QTimer()
        for timer in (self._killer, self._later):
            timer.setSingleShot(True)
        self._closed = False

    def start(self, python: str, environment: Mapping[str, str | None]) -> None:
        """Start; return at once.

        :param python: another Python; empty for Slicer's. The process looks for both: their drive may hang.
        :param environment: how the environment of that Python differs.
        :raises AcquisitionError: no Python is found.
        """
        self._child.start(self._function)
        self._child.send(Interpreter(python, environment))
        self._killer.connect("timeout()", self._child.kill)
        self._later.connect("timeout()", self._deliver)
        self._killer.start(LIMIT)

    def close(self) -> None:
        """End the process; ``onDone`` is not called any more."""
        self._closed = True
        self._child.end(END_TIME)
        self._disconnect()

    def _take(self, message: Done) -> None:
        found = message.done[0]
        if "missing" in found:
            self._missing, self._problem, self._failed = found["missing"], textFromJSON(found["problem"]), True
        else:
            self._found, self._problem = found, ""

    def _fail(self, message: Failed) -> None:
        text = _("{function} cannot be used: {reason}")
        self._problem = text.format(function=functionName(self._function), reason=message.failed)
        self._failed = True

    def _ended(self, code: int) -> None:
        # The timer has run out when it was killed for the time it took.
        if self._found is None and not self._failed and self._killer.isActive():
            text = _("{function} cannot be used: its process ended while it loaded (exit code {code}).")
            text = text.format(function=functionName(self._function), code=code)
            self._problem = joined(text, self._child.lastError)
        self._killer.stop()
        # The receiver may drop this object and so the QProcess, and to delete that within its own signal crashes.
        self._later.start(0)

    def _deliver(self) -> None:
        if not self._closed:
            self.close()
            self._onDone(self._found, self._problem, self._missing)

    def _disconnect(self) -> None:
        self._killer.stop()
        self._later.stop()
        self._killer.disconnect("timeout()", self._child.kill)
        self._later.disconnect("timeout()", self._deliver)
