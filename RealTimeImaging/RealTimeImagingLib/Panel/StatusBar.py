"""Recording and alarms in Slicer's status bar while another module is open."""

from __future__ import annotations

import time
from collections.abc import Callable

import slicer

PERIOD = 1.0
"""Least seconds between two messages."""


class StatusBar:
    """Messages of this module in the status bar of Slicer's window.

    :param words: returns what the bar shows now; empty for nothing.
    :param clock: monotonic seconds.
    """

    def __init__(self, words: Callable[[], str], clock: Callable[[], float] = time.monotonic) -> None:
        self._words, self._clock = words, clock
        self._open, self._shown, self._at = False, "", -PERIOD

    def setOpen(self, open_: bool) -> None:
        """Note that the module is opened or left; while it is open, the panel itself shows everything."""
        self._open = open_
        self.refresh()

    def refresh(self) -> bool:
        """Show what changed, or clear the bar; return True when a change has to wait for the next refresh."""
        words, now = "" if self._open else self._words(), self._clock()
        if words == self._shown:
            return False
        if words and now - self._at < PERIOD:
            return True
        self._shown, self._at = words, now
        slicer.util.showStatusMessage(words)
        return False

    def close(self) -> None:
        """Clear the bar."""
        self._open = True
        self.refresh()
