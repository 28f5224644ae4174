"""Commands to the process of a function, read by the thread that executes them."""

from __future__ import annotations

import logging
import os
import queue
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable

from ..Link.Commands import Command
from ..Link.Lines import LineSplitter
from ..Model.Errors import LinkError
from .Messages import decodeToFunction

CHUNK = 1 << 16

log = logging.getLogger(__name__)


class CommandReader:
    """Reader of the commands in a pipe.

    The thread that waits for a command reads it itself: a thread that read it first would have to wake the other one,
    which takes up to a millisecond. Windows cannot wait for a pipe for a limited time, so there such a thread reads.

    :param descriptor: of the pipe.
    :param onEnd: called in another thread once the writer has closed the pipe, also while nothing reads.
    """

    def __init__(self, descriptor: int, onEnd: Callable[[], object]) -> None:
        self._descriptor, self._onEnd = descriptor, onEnd
        self._splitter = LineSplitter()
        self._lines: deque[bytes] = deque()
        self._pieces: queue.SimpleQueue[bytes] | None = queue.SimpleQueue() if sys.platform == "win32" else None
        threading.Thread(target=self._watch, name="commands", daemon=True).start()

    def next(self, seconds: float | None = None) -> Command | None:
        """Return the next command, or None at the end.

        :param seconds: longest wait; None: no limit.
        :raises TimeoutError: no command came in time.
        """
        end = None if seconds is None else time.monotonic() + seconds
        while True:
            while not self._lines:
                data = self._read(None if end is None else max(0.0, end - time.monotonic()))
                if not data:
                    return None
                self._lines.extend(self._splitter.split(data))
            line = self._lines.popleft()
            try:
                return decodeToFunction(line)
            except LinkError:
                log.exception("A command is not understood: %r", line[:200])

    def _read(self, seconds: float | None) -> bytes:
        if self._pieces is None:
            if not select.select([self._descriptor], [], [], seconds)[0]:
                raise TimeoutError
            return os.read(self._descriptor, CHUNK)
        try:
            data = self._pieces.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError from None
        if not data:
            self._pieces.put(data)  # the end stays the end
        return data

    def _watch(self) -> None:
        if self._pieces is not None:
            while data := os.read(self._descriptor, CHUNK):
                self._pieces.put(data)
            self._pieces.put(b"")
        elif sys.platform != "win32":
            poll = select.poll()
            poll.register(self._descriptor, select.POLLHUP)
            poll.poll()
        self._onEnd()
