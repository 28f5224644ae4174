"""Standard input and output of the acquisition process, kept for its own lines.

A library that prints must neither break the protocol nor block on a pipe that nobody reads: what C or Python code
writes to standard output or error becomes lines of the log. Only the trace of a crash goes to the real standard error.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any


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
