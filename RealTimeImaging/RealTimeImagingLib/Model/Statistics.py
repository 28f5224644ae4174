"""Counts, rates and stage times of received and shown frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

KEPT = 2000
"""Number of latest values for medians and percentiles."""
RATE_SECONDS = 3.0
"""Seconds before the latest frame over which the rate is measured."""


class Spread:
    """Median, 95th percentile and maximum of the latest values."""

    def __init__(self) -> None:
        self._values: deque[float] = deque(maxlen=KEPT)

    def add(self, value: float) -> None:
        """Add a value."""
        self._values.append(value)

    def toJSON(self) -> dict[str, float | None]:
        """Return ``median``, ``p95`` and ``max`` of the latest values, to three digits; None without values."""
        if not self._values:
            return {"median": None, "p95": None, "max": None}
        ordered = sorted(self._values)
        last = len(ordered) - 1
        return {
            "median": round(ordered[last // 2], 3),
            "p95": round(ordered[round(0.95 * last)], 3),
            "max": round(ordered[last], 3),
        }


STAGES = ("seen", "complete", "decoded", "stored", "handedOver", "copied")
"""Stages of a frame, in their order: its source sees the beginning; the source has all bytes; the pixels are decoded; a
recording has it; its pixels lie in the shared memory; the live volume has it. A frame lacks stages that it did not
pass, such as "stored" without a recording."""


class StageTimes:
    """Times of the stages of the latest shown frames."""

    def __init__(self) -> None:
        self._spreads: dict[str, Spread] = {}
        self._rows: deque[tuple[str, int, Mapping[str, float]]] = deque(maxlen=KEPT)

    def add(self, stream: str, number: int, stages: Mapping[str, float]) -> None:
        """Add a frame with its stages, in seconds since the epoch (UTC)."""
        self._rows.append((stream, number, stages))
        passed = [name for name in STAGES if name in stages]
        for before, name in pairwise(passed):
            self._spreads.setdefault(name, Spread()).add(1000 * (stages[name] - stages[before]))
        if len(passed) > 1:
            self._spreads.setdefault("total", Spread()).add(1000 * (stages[passed[-1]] - stages[passed[0]]))

    def toJSON(self) -> dict[str, dict[str, float | None]]:
        """Return ``median``, ``p95`` and ``max`` of the milliseconds that each stage took after the one before it.

        ``total`` is the time from the first to the last stage.
        """
        return {name: self._spreads[name].toJSON() for name in (*STAGES, "total") if name in self._spreads}

    def columns(self) -> dict[str, list[Any]]:
        """Return the latest frames by column: ``stream``, ``number``, and the time of each stage, NaN where unknown."""
        rows = list(self._rows)
        found: dict[str, list[Any]] = {"stream": [row[0] for row in rows], "number": [row[1] for row in rows]}
        return found | {name: [row[2].get(name, float("nan")) for row in rows] for name in STAGES}


class StreamCounts:
    """Counts of one stream; ``received = shown + skipped`` always holds.

    A frame counts as received when it, or a newer frame of its stream, is shown.
    """

    def __init__(self) -> None:
        self.received = 0
        self.shown = 0
        self._arrivals: deque[tuple[float, int]] = deque(maxlen=256)

    @property
    def skipped(self) -> int:
        """Frames that newer frames replaced before they could be shown."""
        return self.received - self.shown

    def show(self, number: int, receiveTime: float) -> None:
        """Count a shown frame; earlier frames that were not shown count as skipped."""
        self._arrivals.append((receiveTime, number))
        self.received = max(self.received, number + 1)
        self.shown += 1

    def settle(self, received: int) -> None:
        """Set the final total of the acquisition process; frames that were not shown count as skipped."""
        self.received = max(self.received, received)

    def framesPerSecond(self, now: float) -> float:
        """Return the current rate of received frames, including skipped frames; 0 after a pause.

        :param now: seconds since the epoch, like the arrival times.
        """
        # Start at the end: with many streams, reading all stored arrivals would take too long.
        recent: deque[tuple[float, int]] = deque()
        for arrival in reversed(self._arrivals):
            if arrival[0] <= self._arrivals[-1][0] - RATE_SECONDS:
                break
            recent.appendleft(arrival)
        if len(recent) < 2 and len(self._arrivals) > 1:
            recent = deque([self._arrivals[-2], self._arrivals[-1]])
        if len(recent) < 2 or recent[-1][0] <= recent[0][0]:
            return 0.0
        rate = (recent[-1][1] - recent[0][1]) / (recent[-1][0] - recent[0][0])
        quiet = now - recent[-1][0]
        return rate if quiet < max(RATE_SECONDS, 3 / rate) else 0.0

    def toJSON(self, now: float) -> dict[str, Any]:
        """Return counts and rate."""
        fps = round(self.framesPerSecond(now), 2)
        return {"received": self.received, "shown": self.shown, "skipped": self.skipped, "fps": fps}
