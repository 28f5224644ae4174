"""Lines of JSON on the child's side of a pipe: written from a queue, read without Python's buffers.

A library that prints must neither break the protocol nor block on a pipe that is not read. Text that C or Python code
writes to standard output or error becomes lines of the log. Only the trace of a crash goes to standard error.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import select
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from ..Model.Errors import RealTimeImagingError
from ..Model.Event import Event
from ..Model.Files import reasonOf, unexpected
from ..Model.Text import joined, textsOf
from .Messages import EventReport, Failed, LogReport, Message, Outcome, encode

_ = textsOf(__file__)

EVENT_LIMIT = 2000
"""Most lines other than frames that wait while Slicer is blocked; further ones are counted and dropped."""
PROGRESS_PERIOD = 0.15
"""Seconds between two reports of progress."""
LONGEST_SILENCE = 30.0
"""Seconds for the last lines to leave while Slicer is blocked."""

MOST_RECORDS, RECORD_PERIOD = 4000, 10.0
"""Most records of the log within so many seconds; what a library prints are records, too."""
LONGEST_RECORD = 20_000
"""Most characters of a record."""

log = logging.getLogger(__name__)


class LineWriter:
    """Writer of messages to a file descriptor, in a thread of its own.

    :param descriptor: where to write; the caller closes it.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._takes = _pipeTakes(descriptor)
        self._closing = self._writing = False
        self._lost = 0
        self._thread = threading.Thread(target=self._run, name="lines", daemon=True)
        self._thread.start()

    def put(self, message: Message, always: bool = True) -> bool:
        """Queue a message; return False when it is dropped.

        :param always: False drops and counts the message when too many lines wait.
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
            if not self._lines and not self._writing:
                line = self.attempt(line)
            if line:
                self._lines.append(line)
                self._changed.notify_all()
            return True

    def attempt(self, line: bytes) -> bytes:
        """Write at once, in the caller's thread, what is possible without a wait; return the rest.

        The thread that writes the rest would have to be woken for each line, which takes longer.
        """
        if not self._takes(len(line)):
            return line
        try:
            return line[self.write(line) :]
        except OSError:
            return line  # the reader is gone

    def write(self, data: bytes) -> int:
        """Write some of the bytes; return how many.

        :raises OSError: the reader is gone.
        """
        return os.write(self._descriptor, data)

    def encoded(self, message: Message) -> bytes:
        """Return the line of a message; empty when it is not to be written."""
        return encode(message)

    def flush(self, seconds: float) -> bool:
        """Wait until all lines are written, at most so many seconds; return True when they are."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._lines and not self._writing, seconds)

    def close(self, seconds: float, last: Message | None = None) -> bool:
        """Write the waiting lines for at most so many seconds; return True when all are written.

        :param last: the last message; messages that other threads put later are dropped.
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
                text = _("{count:,} messages were dropped while Slicer was blocked; no image was.")
                if self._lost == 1:
                    text = _("1 message was dropped while Slicer was blocked; no image was.")
                text = text.format(count=self._lost)
                taken += self.encoded(EventReport(Event("messages-lost", text, "warning")))
                self._lost = 0
            return taken

    def _run(self) -> None:
        while data := self._take():
            while data:
                try:
                    data = data[self.write(data) :]
                except OSError:
                    return  # the reader is gone; the end of input follows and ends the process


def _pipeTakes(descriptor: int) -> Callable[[int], bool]:
    """Return a function that tells whether a pipe takes so many bytes at once; always False where no system tells."""
    if sys.platform == "win32" or descriptor < 0:
        return lambda count: False
    poll, ready = select.poll(), [(descriptor, select.POLLOUT)]
    poll.register(descriptor, select.POLLOUT)
    return lambda count: count <= select.PIPE_BUF and poll.poll(0) == ready


class DirectWriter(LineWriter):
    """Writer in the caller's thread, for a reader that always reads."""

    def attempt(self, line: bytes) -> bytes:
        """Write the line; what a lost reader does not take stays."""
        try:
            while line:
                line = line[self.write(line) :]
        except OSError:
            pass
        return line


class LineSplitter:
    """Splitter of a stream into lines; a long line costs no more for each byte than a short one."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def split(self, data: bytes) -> list[bytes]:
        """Add bytes; return the lines that they complete."""
        first, *others = data.split(b"\n")
        self._pieces.append(first)
        if not others:
            return []
        lines = [b"".join(self._pieces), *others[:-1]]
        self._pieces = [others[-1]]
        return lines


def readLines(descriptor: int) -> Iterator[bytes]:
    """Yield whole lines from a descriptor until its end, read without Python's buffered files.

    A thread that waits in a buffered standard input holds its lock, and the interpreter then cannot end.
    """
    splitter = LineSplitter()
    while data := os.read(descriptor, 1 << 16):
        yield from splitter.split(data)


class LineLogHandler(logging.Handler):
    """Handler that turns log records into reports for Slicer's log. A flood of records is cut off.

    :param put: takes each report.
    """

    def __init__(self, put: Callable[[LogReport], object]) -> None:
        super().__init__()
        self._put = put
        self._count, self._end = 0, 0.0
        """Records in this period, and its end in monotonic seconds."""

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record."""
        now = time.monotonic()
        if now >= self._end:
            self._count, self._end = 0, now + RECORD_PERIOD
        self._count += 1
        if self._count > MOST_RECORDS:
            if self._count == MOST_RECORDS + 1:
                words = _("More than {count:,} records within {seconds:g} s: further ones are left out.")
                words = words.format(count=MOST_RECORDS, seconds=RECORD_PERIOD)
                self._put(LogReport(str.__str__(words), logging.WARNING, __name__))
            return
        try:
            text = record.getMessage()
            if record.exc_info:
                text += "\n" + logging.Formatter().formatException(record.exc_info)
        except Exception:  # noqa: BLE001 - a library's mistake in its message must not end the reading of a file
            self.handleError(record)
            return
        if len(text) > LONGEST_RECORD:
            text = f"{text[:LONGEST_RECORD]} ... ({len(text):,} characters)"
        self._put(LogReport(text, record.levelno, record.name))


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


def takeInput() -> int:
    """Take over standard input; return its new descriptor. All other readers, also child processes, read its end."""
    taken, nothing = os.dup(0), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return taken


def openLines(ignoresEnd: bool = False) -> tuple[LineWriter, Iterator[bytes]]:
    """Take over the standard streams of a child process; return the writer of its reports and the lines of its input.

    :param ignoresEnd: True for a process that has files to finish at the end of a session, and starts no other
        processes.
    """
    return openOutput(LineWriter, ignoresEnd), readLines(takeInput())


def openOutput(writing: type[LineWriter], ignoresEnd: bool = False) -> LineWriter:
    """Take over the standard output and error of a child process; return the writer of its reports.

    :param writing: class of the writer.
    :param ignoresEnd: as for :func:`openLines`.
    """
    # Ctrl+C in a terminal, its closing and the end of a session signal all processes at once. This process ignores
    # them: Slicer decides, and the end of input makes this process finish.
    for name in ("SIGINT", "SIGTERM", "SIGHUP") if ignoresEnd else ("SIGINT",):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    writer = writing(os.dup(1))
    logging.basicConfig(level=logging.INFO, handlers=[LineLogHandler(lambda report: writer.put(report, always=False))])
    captureStandardStreams()
    return writer


def outcomeOf(job: Callable[[], Outcome], name: str, kept: str) -> Outcome:
    """Run a job; return its outcome, or the reason in words why it failed.

    :param job: the work. All unexpected errors end here, with their traceback in the log.
    :param name: of the job, such as "export".
    :param kept: a sentence on what is left of it when the disk fails.
    """
    try:
        return job()
    except RealTimeImagingError as error:
        return Failed(str(error))
    except OSError as error:
        text = _("{file}: {reason}.") if error.filename else _("{reason}.")
        return Failed(joined(text.format(file=error.filename, reason=reasonOf(error)), kept))
    except Exception as error:
        log.exception("The %s failed", name)
        text = _("The {name} failed: {error}")
        return Failed(text.format(name=name, error=unexpected(error)))
