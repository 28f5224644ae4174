"""Time in which a source listens: after some silence, a volume of slices is closed."""

from __future__ import annotations

import math
from collections.abc import Callable

LONGEST_STEP = 0.25
"""Most seconds that are counted at once."""
LEAST_STEPS = 8
"""Steps without a slice before a sender counts as silent."""


class ListeningTime:
    """Seconds in which this process listened. While it is halted, slices wait, and their senders for its answers.

    :param silence: seconds without a slice after which a volume is closed.
    :param clock: monotonic seconds.
    """

    def __init__(self, silence: float, clock: Callable[[], float]) -> None:
        self._clock, self._counted, self._seconds = clock, clock(), 0.0
        self._longest = min(LONGEST_STEP, silence / LEAST_STEPS)

    def count(self) -> float:
        """Count the time since the last call; return all seconds so far."""
        now = self._clock()
        self._seconds += min(now - self._counted, self._longest)
        self._counted = now
        return self._seconds

    def wait(self, due: float) -> float:
        """Return the longest time until the next call; infinite when nothing is due.

        :param due: count at which silence closes a volume; infinite for none.
        """
        return min(self._longest, max(0.0, due - self._seconds)) if due < math.inf else due
