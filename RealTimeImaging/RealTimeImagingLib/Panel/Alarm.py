"""Sound when a tool or a stream is lost."""

from __future__ import annotations

from collections.abc import Callable

BEEPS_APART = 2.0
"""Least seconds between two sounds."""


class Alarm:
    """Sound when a name joins the lost ones, such as a tool that the tracker no longer sees.

    :param clock: monotonic seconds.
    :param beep: makes the sound.
    """

    def __init__(self, clock: Callable[[], float], beep: Callable[[], object]) -> None:
        self._clock, self._beep = clock, beep
        self._lost: set[str] = set()
        self._due = False
        self._last = -BEEPS_APART

    def look(self, lost: set[str], audible: bool) -> None:
        """Beep for names that were lost since the last call; while the last sound is too recent, beep later.

        :param lost: names of all that is lost now.
        :param audible: False makes no sound.
        """
        self._due = audible and bool(lost) and (self._due or bool(lost - self._lost))
        self._lost = lost
        now = self._clock()
        if self._due and now - self._last >= BEEPS_APART:
            self._due, self._last = False, now
            self._beep()
