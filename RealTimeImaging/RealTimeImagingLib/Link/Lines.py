"""Lines of JSON between processes: the child's side of every process that this module starts.

A library that prints must neither break the protocol nor block on a pipe that nobody reads: what C or Python code
writes to standard output or error becomes lines of the log. Only the trace of a crash goes to standard error.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from ..Model.Errors import RealTimeImagingError
from ..Model.Event import Event

EVENT_LIMIT = 2000
"""Lines other than frames that may wait while Slicer is blocked; more are counted and left out."""


class LineWriter:
    """Writes JSON lines to a file descriptor from a thread of its own.

    :param descriptor: where to write; closed by nobody here.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._closing = self._writing = False
        self._lost = 0
        self._thread = threading.Thread(target=self._run, name="lines", daemon=True)
        self._thread.start()

    def put(self, message: dict[str, Any], always: bool = True) -> bool:
        """Queue a line; return False when it is dropped.

        :param always: False drops and counts the line when too many lines wait.
        """
        line = self.encoded(message)
        if not line:
            return False
        with self._changed:
            if self._closing:
                return False
            if not always and len(self._lines) >= EVENT_LIMIT:
                self._lost += 1
                return False
            self._lines.append(line)
            self._changed.notify_all()
            return True

    def encoded(self, message: dict[str, Any]) -> bytes:
        """The line's bytes; none when it is not to be written."""
        return json.dumps(message, separators=(",", ":")).encode() + b"\n"

    def flush(self, seconds: float) -> bool:
        """Wait until all is written, for so many seconds at most; True when it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._lines and not self._writing, seconds)

    def close(self, seconds: float, last: dict[str, Any] | None = None) -> bool:
        """Write what waits, for so many seconds at most; True when all was written.

        :param last: the last line; what other threads put later is left out.
        """
        line = self.encoded(last) if last else b""
        with self._changed:
            if line and not self._closing:
                self._lines.append(line)
            self._closing = True
            self._changed.notify_all()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _take(self) -> bytes:
        with self._changed:
            self._writing = False
            self._changed.notify_all()
            while not self._lines and not self._closing:
                self._changed.wait()
            taken = b"".join(self._lines)
            self._writing = bool(taken)
            self._lines.clear()
            if self._lost and taken:
                text = f"{self._lost} messages were left out while Slicer did not listen."
                event = Event("messages-lost", text, "warning")
                taken += self.encoded({"event": event.toJSON()})
                self._lost = 0
            return taken

    def _run(self) -> None:
        while data := self._take():
            while data:
                try:
                    data = data[os.write(self._descriptor, data) :]
                except OSError:
                    return  # nobody reads any more; end of input follows and ends the process


def captureStandardStreams() -> None:
    """Point standard output and error at the log, which must not write to either."""
    # Kept open for the life of the process: faulthandler writes to it after everything else is broken.
    faulthandler.enable(file=os.dup(2))
    reading, writing = os.pipe()
    os.dup2(writing, 1)
    os.dup2(writing, 2)
    os.close(writing)

    def relay() -> None:
        for line in readLines(reading):
            logging.getLogger("library").warning("%s", line.decode(errors="replace").rstrip())

    threading.Thread(target=relay, name="library output", daemon=True).start()


def readLines(descriptor: int) -> Iterator[bytes]:
    """Whole lines from a descriptor until its end, read without Python's buffered files.

    A thread that waits in a buffered standard input holds its lock, and the interpreter then cannot end.
    """
    partial = b""
    while data := os.read(descriptor, 1 << 16):
        *lines, partial = (partial + data).split(b"\n")
        yield from lines


class LineLogHandler(logging.Handler):
    """Turns log records into lines for Slicer's log.

    :param put: takes each line's object.
    """

    def __init__(self, put: Callable[[dict[str, Any]], object]) -> None:
        super().__init__()
        self._put = put

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - a library's mistake in its message must not end the reading of a file
            self.handleError(record)
            return
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        self._put({"log": text, "level": record.levelno, "logger": record.name})


PERIOD = 0.15
"""Seconds between two words of progress."""
LONGEST_SILENCE = 30.0
"""Seconds for the last lines to leave while Slicer does not listen."""

log = logging.getLogger(__name__)


def beginJob(finishes: bool = False) -> tuple[LineWriter, Iterator[bytes], bytes | None]:
    """Where to tell lines, the lines that come, and the first of them, the work to do; None when there is none.

    :param finishes: True for a process that has files to finish at the end of a session, and starts no other processes.
    """
    # Ctrl+C in a terminal, its closing and the end of a session signal all processes at once. This process ignores
    # them: Slicer decides, and the end of input tells this process to finish.
    for name in ("SIGINT", "SIGTERM", "SIGHUP") if finishes else ("SIGINT",):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    lines = LineWriter(os.dup(1))
    lines.put({"pid": os.getpid()})
    logging.basicConfig(level=logging.INFO, handlers=[LineLogHandler(lambda line: lines.put(line, always=False))])
    captureStandardStreams()
    given = readLines(0)
    return lines, given, next(given, None)


def outcome(job: Callable[[], dict[str, Any]], name: str, kept: str) -> dict[str, Any]:
    """The last line: what the job gives, or in words why it failed.

    :param job: the work; the boundary for all that is unexpected in it, with its traceback in the log.
    :param name: what it is called, such as "export".
    :param kept: words on what is there of it when the disk fails.
    """
    try:
        return job()
    except RealTimeImagingError as error:
        return {"failed": str(error)}
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return {"failed": f"{where}{error.strerror or error}. {kept}"}
    except Exception as error:
        log.exception("The %s failed", name)
        return {"failed": f"The {name} failed: {type(error).__name__}: {error}"}
