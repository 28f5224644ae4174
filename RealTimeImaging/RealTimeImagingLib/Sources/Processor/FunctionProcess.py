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

from ...Link import PROGRAM
from ...Link.Lines import LineWriter, readLines
from ...Link.Messages import LogReport, Message, ProcessID
from ...Link.WorkFolders import kill
from ...Model.Errors import LinkError
from ...Model.Frame import Pixels
from ...Processing.Messages import decodeFromFunction
from ...Processing.OtherPython import variablesOf

NAME = "function"
"""Name of the program in ``Program.PROGRAMS``."""
TRACE_LINES = 60
"""Lines of standard error that are kept."""
END_TIME = 0.8
"""Seconds for a process to end by itself."""
LAST_LINES = 0.2
"""Seconds for the last commands to leave."""

log = logging.getLogger(__name__)


class FunctionProcess:
    """One run of a function, with the processes that it starts. Its output is read in threads of its own.

    :param python: interpreter; empty for that of this process.
    :param environment: variables that differ from those of this process; None removes one.
    :param onMessage: called in a thread with this object and each report but those of the log.
    :param onEnd: called in another thread with this object, once, when all reports were taken.
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
        self._gone, self._ended = threading.Event(), threading.Event()
        self._errors: deque[str] = deque(maxlen=TRACE_LINES)
        self._process = subprocess.Popen(
            [python or sys.executable, "-u", PROGRAM, NAME],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=variablesOf(environment),
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        streams = self._process.stdin, self._process.stdout, self._process.stderr
        self._input, output, errors = (cast(IO[bytes], one) for one in streams)
        # A process that does not read must not hold up the caller.
        self._writer = LineWriter(self._input.fileno())
        self._reading = [
            threading.Thread(target=target, args=(stream,), name=f"function {name}", daemon=True)
            for name, target, stream in (
                ("errors", self._readErrors, errors),
                ("output", self._readOutput, output),
            )
        ]
        for thread in self._reading:
            thread.start()
        threading.Thread(target=self._waitForEnd, name="function end", daemon=True).start()

    def send(self, message: Message) -> None:
        """Send a command; return at once. A process that has ended gets nothing."""
        self._writer.put(message)

    def kill(self) -> None:
        """End the process and those that it started by force; return at once."""
        self.killed = True
        self._kill()

    def close(self) -> None:
        """Let the function finish for at most END_TIME, then end the process by force; wait for its end."""
        # Only an idle writer lets go of the descriptor, which is then free for another file.
        if self._writer.close(LAST_LINES):
            self._closeInput()
            self._ended.wait(END_TIME)
        if not self._ended.is_set():
            self.kill()
            self._ended.wait(END_TIME)

    @property
    def trace(self) -> str:
        """Latest lines on standard error."""
        return "\n".join(self._errors)

    @property
    def exitCode(self) -> int | None:
        """Exit code; negative for a signal, None while the process runs."""
        return self._process.returncode

    def _kill(self) -> None:
        self._killGroup()
        if self.pid and self.pid != self._process.pid:
            # A launcher's child may outlive it.
            kill(self.pid)
        self._process.kill()

    def _killGroup(self) -> None:
        if self.pid and sys.platform != "win32":
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except OSError:
                pass

    def _closeInput(self) -> None:
        try:
            self._input.close()
        except OSError:
            pass

    def _waitForEnd(self) -> None:
        self._process.wait()
        self._gone.set()
        # Processes that it started would hold its output open.
        self._killGroup()
        for thread in self._reading:
            thread.join(END_TIME)
        self.target = None
        if self._writer.close(END_TIME):
            self._closeInput()
        self._ended.set()
        self._onEnd(self)

    def _readOutput(self, stream: IO[bytes]) -> None:
        for line in readLines(stream.fileno()):
            try:
                message = decodeFromFunction(line)
            except LinkError:
                log.exception("A line of the function's process could not be used: %r", line[:200])
                continue
            if isinstance(message, ProcessID):
                self.pid = message.pid
            elif isinstance(message, LogReport):
                logging.getLogger(message.logger).log(message.level, message.log)
            elif not self._take(message):
                break
        stream.close()
        # A process that closed its output cannot answer.
        if not self._gone.wait(END_TIME):
            self._kill()

    def _take(self, message: Message) -> bool:
        try:
            self._onMessage(self, message)
        except Exception:  # the boundary: a function may write to the output of its process
            log.exception("A message of the function's process could not be used")
            return False
        return True

    def _readErrors(self, stream: IO[bytes]) -> None:
        for line in readLines(stream.fileno()):
            self._errors.append(line.decode(errors="replace").rstrip())
        stream.close()
