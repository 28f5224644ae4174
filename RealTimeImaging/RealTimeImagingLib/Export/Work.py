"""How far an export is, and whether it is still wanted; shared by the threads that write, tell and hear."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Cancelled(Exception):
    """The export is not wanted any more."""


class Work:
    """Bytes done of bytes to do, the words for it, and the decision between finished and cancelled."""

    def __init__(self) -> None:
        self.words = "Starting"
        self._done, self._total = 0, 1
        self._lock = threading.Lock()
        self._cancelled = self._committed = False
        self._discard: Callable[[], None] = lambda: None

    @property
    def progress(self) -> float:
        """From 0 to 1."""
        return min(1.0, self._done / self._total)

    def begin(self, total: int) -> None:
        """:param total: bytes to write and to compare."""
        self._total = max(1, total)

    def owns(self, discard: Callable[[], None]) -> None:
        """:param discard: removes what is written so far; called from any thread when the work is broken off."""
        self._discard = discard

    def step(self, nbytes: int = 0, words: str = "") -> None:
        """So many more bytes are done.

        :raises Cancelled: it is not wanted any more.
        """
        self._done += nbytes
        self.words = words or self.words
        if self._cancelled:
            raise Cancelled

    def commit(self) -> None:
        """From here on it can't be cancelled.

        :raises Cancelled: it was.
        """
        with self._lock:
            if self._cancelled:
                raise Cancelled
            self._committed = True

    def cancel(self) -> bool:
        """False when it is too late: all is written and compared."""
        with self._lock:
            self._cancelled = not self._committed
            return self._cancelled

    def breakOff(self) -> None:
        """Remove what is written while another thread may still write."""
        self._discard()
