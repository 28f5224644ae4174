"""Limit the display rate of each stream, so that drawing leaves Slicer time for the user."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection

SHARE = 0.6
"""Greatest part of the main thread's time for showing and drawing images."""
LONGEST = 1.0
"""Most seconds charged for the drawings of one image: the display never stops, however slow a view is."""
FIRST = 0.1
"""Most seconds charged for the drawings of a stream's first image: a new view compiles shaders and allocates."""
JUDGED = 6
"""Number of latest images from which the drawing time of the next one is estimated."""
SMALL = 1e-9

Stream = str | None
"""A stream's name; None stands for device messages."""


class DrawingBudget:
    """Account of the seconds spent on copying and drawing.

    Each stream is charged the seconds in which views draw it. Passing time pays SHARE of its length: first for copying,
    which delays every stream, then for the drawings of all streams in equal parts. So a stream in fast views is not
    slowed by a stream in slow views, and all together take no more than SHARE.

    :param clock: returns seconds, never backwards.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._paid = clock()
        self._begun = (self._paid, 0.0)
        self._charged = 0.0
        self._copying = 0.0
        self._debts: dict[Stream, float] = {}
        self._rounds: dict[Stream, _Round] = {}
        self._pending: dict[str, set[Stream]] = {}
        self._drawn: dict[str, set[Stream]] = {}

    def wait(self, stream: Stream) -> float:
        """Return the seconds until the next image of a stream may be shown; 0 when it may be shown now."""
        self._pay()
        debt = self._debts.get(stream, 0.0)
        return (self._copying + sum(min(debt, one) for one in self._debts.values())) / SHARE

    def begin(self) -> None:
        """Note that an image is about to be shown."""
        self._begun = (self._clock(), self._charged)

    def shown(self, stream: Stream, views: Collection[str] | None) -> None:
        """Charge the time since :meth:`begin`, and the expected time of drawing.

        :param views: names of the views that will draw the image; None when any view may.
        """
        self._pay()
        began, charged = self._begun
        self.begin()
        # A drawing during the copy is charged as a drawing.
        self._copying += max(0.0, self._paid - began - (self._charged - charged))
        for view in self._pending if views is None else views:
            self._pending.setdefault(view, set()).add(stream)
        if views or views is None or stream in self._rounds:
            drawn = self._rounds.setdefault(stream, _Round())
            self._owe(stream, drawn.begin())

    def drawn(self, view: str, seconds: float, more: bool = False) -> None:
        """Charge a drawing to the streams that were shown in this view since the last one.

        A drawing that no stream caused, such as after a click, is not charged.

        :param more: these seconds belong to the view's last drawing.
        """
        self._pay()
        if not more:
            self._drawn[view], self._pending[view] = self._pending.get(view, set()), set()
        streams = self._drawn.get(view, set())
        for stream in streams:
            self._owe(stream, self._rounds.setdefault(stream, _Round()).add(seconds / len(streams)))
        self._charged += seconds if streams else 0.0

    def forget(self) -> None:
        """Forget all streams before others start."""
        self._copying = 0.0
        self._debts.clear()
        self._rounds.clear()
        self._drawn.clear()
        self._pending = {view: set() for view in self._pending}

    def _owe(self, stream: Stream, seconds: float) -> None:
        if seconds > SMALL:
            self._debts[stream] = self._debts.get(stream, 0.0) + seconds

    def _pay(self) -> None:
        now = self._clock()
        left = SHARE * (now - self._paid)
        self._paid = now
        paid = min(left, self._copying)
        self._copying -= paid
        left -= paid
        while left > SMALL and self._debts:
            part = min(left / len(self._debts), min(self._debts.values()))
            left -= part * len(self._debts)
            self._debts = {stream: debt - part for stream, debt in self._debts.items() if debt - part > SMALL}


class _Round:
    """Drawing time of one image: estimated when it is shown, measured until the next one is shown."""

    def __init__(self) -> None:
        self._known: deque[float] = deque(maxlen=JUDGED)
        self._images = 0
        self._charged = self._measured = 0.0

    def begin(self) -> float:
        """Begin with the next image; return the expected seconds of its drawing."""
        if self._images > 1:
            self._known.append(self._measured)
        self._images += 1
        # The upper quartile ignores one slow drawing, and images that were replaced before they were drawn. Time beyond
        # the estimate is charged when it is measured.
        ordered = sorted(self._known)
        self._charged = ordered[3 * len(ordered) // 4] if ordered else 0.0
        self._measured = 0.0
        return self._charged

    def add(self, seconds: float) -> float:
        """Add a drawing; return the seconds beyond the estimate."""
        self._measured = min(self._measured + seconds, LONGEST if self._images > 1 else FIRST)
        beyond = max(0.0, self._measured - self._charged)
        self._charged += beyond
        return beyond
