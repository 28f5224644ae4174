"""Recording and alarms in Slicer's status bar while another module is open."""

from __future__ import annotations

import time
from collections.abc import Callable

import slicer

PERIOD = 1.0
"""Least seconds between two messages."""


class StatusBar:
    """Messages of this module in the status bar of Slicer's window.

    :param words: returns what the bar shows now; empty for nothing, as while the panel is visible.
    :param clock: monotonic seconds.
    """

    def __init__(self, words: Callable[[], str], clock: Callable[[], float] = time.monotonic) -> None:
        self._words, self._clock = words, clock
        self._shown, self._at = "", -PERIOD

    def refresh(self) -> bool:
        """Show what changed, or clear the bar; return True when a change has to wait for the next refresh."""
        words, now = self._words(), self._clock()
        if words == self._shown:
            return False
        if words and now - self._at < PERIOD:
            return True
        self._shown, self._at = words, now
        slicer.util.showStatusMessage(words)
        return False

    def close(self) -> None:
        """Clear the bar."""
        if self._shown:
            slicer.util.showStatusMessage("")
