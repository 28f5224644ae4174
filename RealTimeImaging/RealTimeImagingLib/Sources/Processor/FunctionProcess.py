"""The process of a function, as the acquisition process that feeds it sees it. Not for use in Slicer itself."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import IO, cast

from ...Link.Lines import readLines
from ...Link.Messages import LogReport, Message, ProcessID, encode
from ...Model.Frame import Pixels
from ...Processing.Messages import decodeFromFunction

_LIBRARY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.join(_LIBRARY, "Link", "Program.py")
NAME = "function"
"""Name of the program in ``Program.PROGRAMS``."""
TRACE_LINES = 60
"""Lines of standard error that are kept."""
END_TIME = 0.8
"""Seconds for a process to end by itself."""

log = logging.getLogger(__name__)


class FunctionProcess:
    """One run of a function. Its output is read in threads of its own.

    :param python: interpreter; empty for that of this process.
    :param environment: variables that differ from those of this process; None removes one.
    :param onMessage: called in a thread with this object and each report but those of the log.
    :param onEnd: called in that thread with this object, once, when all reports were taken.
    :raises OSError: the interpreter cannot be started.
    """

    def __init__(
        self,
        python: str,
        environment: Mapping[str, str | None],
        onMessage: Callable[[FunctionProcess, Message], object],
        onEnd: Callable[[FunctionProcess], object],
    ) -> None:
        self._onMessage, self._onEnd = onMessage, onEnd
        self.pid = 0
        self.killed = False
        """True after :meth:`kill`."""
        self.target: Pixels | None = None
        """Memory that the process may write, kept until it has answered or ended."""
        self._errors: deque[str] = deque(maxlen=TRACE_LINES)
        variables: dict[str, str | None] = {**os.environ, **environment}
        self._process = subprocess.Popen(
            [python or sys.executable, "-u", PROGRAM, NAME],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env={name: value for name, value in variables.items() if value is not None},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        streams = self._process.stdin, self._process.stdout, self._process.stderr
        self._input, output, errors = (cast(IO[bytes], one) for one in streams)
        self._reading = [
            threading.Thread(target=target, args=(stream,), name=f"function {name}", daemon=True)
            for name, target, stream in (
                ("errors", self._readErrors, errors),
                ("output", self._readOutput, output),
            )
        ]
        for thread in self._reading:
            thread.start()

    def send(self, message: Message) -> None:
        """Send a command; a process that has ended gets nothing."""
        try:
            self._input.write(encode(message))
        except (OSError, ValueError):
            pass  # onEnd follows

    def kill(self) -> None:
        """End the process by force; return at once."""
        self.killed = True
        if self.pid and self.pid != self._process.pid:
            try:
                # A launcher's child may outlive it.
                os.kill(self.pid, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
            except OSError:
                pass
        self._process.kill()

    def close(self) -> None:
        """Let the function finish for at most END_TIME, then end the process by force; wait for its end."""
        try:
            self._input.close()
        except OSError:
            pass
        try:
            self._process.wait(END_TIME)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process.wait()
        self._reading[1].join(END_TIME)

    @property
    def trace(self) -> str:
        """Latest lines on standard error."""
        return "\n".join(self._errors)

    @property
    def exitCode(self) -> int | None:
        """Exit code; negative for a signal, None while the process runs."""
        return self._process.returncode

    def _readOutput(self, stream: IO[bytes]) -> None:
        for line in readLines(stream.fileno()):
            try:
                message = decodeFromFunction(line)
            except (ValueError, TypeError, KeyError):
                log.exception("A line of the function's process could not be used: %r", line[:200])
                continue
            if isinstance(message, ProcessID):
                self.pid = message.pid
            elif isinstance(message, LogReport):
                logging.getLogger(message.logger).log(message.level, message.log)
            else:
                self._onMessage(self, message)
        self._process.wait()
        self.target = None
        self._reading[0].join(END_TIME)
        stream.close()
        self._onEnd(self)

    def _readErrors(self, stream: IO[bytes]) -> None:
        for line in readLines(stream.fileno()):
            self._errors.append(line.decode(errors="replace").rstrip())
        stream.close()
