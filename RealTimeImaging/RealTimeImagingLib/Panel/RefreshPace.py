"""Pace of the panel's refreshes: a window that is slow to paint is painted less often."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from statistics import median

SHORTEST, LONGEST = 0.2, 1.2
"""Least seconds between two refreshes: figures that change faster cannot be read; and most, for slow windows."""
ASKED = 0.1
"""Most seconds to the refresh after an action of the user, and least seconds between two of them."""
PART, SLOW = 0.0005, 0.01
"""Seconds after which a refresh lets the window do other work before it goes on; and of a painting, which follows each
part, above which the refresh is one part."""
SHARE = 1 / 60
"""Part of the time that painting may take in a window that is not slow."""
JUDGED = 5
"""Number of latest paintings from which the next one is estimated."""


class RefreshPace:
    """Times of refreshes and their parts.

    Slicer's window has OpenGL views. For each changed text, Qt composes the whole window again, which takes about 20 ms
    where the computer draws without a graphics card. A native window (WA_NativeWindow) for the module panel would avoid
    that, but it belongs to all modules.

    :param clock: seconds, never backwards.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._paintings: deque[float] = deque(maxlen=JUDGED)
        self._ended = -math.inf

    @property
    def part(self) -> float:
        """Longest part of a refresh in seconds; a refresh of a slow window has one part, as a painting follows each."""
        return PART if self._painting < SLOW else math.inf

    def partEnds(self) -> None:
        """Note the end of a part of a refresh; its painting follows."""
        self._ended = self._clock()

    def painted(self) -> None:
        """Note that the window is idle after the painting."""
        self._paintings.append(self._clock() - self._ended)

    def wait(self, asked: bool = False) -> float:
        """Return the seconds until the next refresh of a panel that has something new to show.

        :param asked: True: the user waits for it, also in a slow window.
        """
        if asked:
            return max(0.0, self._ended + ASKED - self._clock())
        # Each painting of a slow window makes one turn of other timers late: of a timer of 10 ms, one of 120 turns.
        pause = LONGEST if self._painting >= SLOW else self._painting / SHARE
        return max(SHORTEST, self._ended + pause - self._clock())

    @property
    def _painting(self) -> float:
        return median(self._paintings) if self._paintings else 0.0
