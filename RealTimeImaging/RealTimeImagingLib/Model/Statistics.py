"""Counts and times of what was received and shown."""

from __future__ import annotations

from collections import deque
from typing import Any

KEPT = 2000
"""Latest values from which medians and percentiles are taken."""
RATE_SECONDS = 3.0
"""Frames received within so many seconds before the last one make the rate."""


class Spread:
    """Median, 95th percentile and maximum of the latest values."""

    def __init__(self) -> None:
        self._values: deque[float] = deque(maxlen=KEPT)

    def add(self, value: float) -> None:
        """Take one more value."""
        self._values.append(value)

    def toJSON(self) -> dict[str, float | None]:
        """``median``, ``p95`` and ``max`` of the latest values, to three digits; None when there are none."""
        if not self._values:
            return {"median": None, "p95": None, "max": None}
        ordered = sorted(self._values)
        last = len(ordered) - 1
        return {
            "median": round(ordered[last // 2], 3),
            "p95": round(ordered[round(0.95 * last)], 3),
            "max": round(ordered[last], 3),
        }


class StreamCounts:
    """One stream: ``received = shown + skipped`` at every moment.

    A frame counts as received here once it is shown, or a newer one of its stream is.
    """

    def __init__(self) -> None:
        self.received = 0
        self.shown = 0
        self._arrivals: deque[tuple[float, int]] = deque(maxlen=256)

    @property
    def skipped(self) -> int:
        """Frames that were received and replaced by newer ones before they could be shown."""
        return self.received - self.shown

    def show(self, number: int, receiveTime: float) -> None:
        """Count a frame that was shown; all before it that were not are skipped."""
        self._arrivals.append((receiveTime, number))
        self.received = max(self.received, number + 1)
        self.shown += 1

    def settle(self, received: int) -> None:
        """Take over the total that the acquisition process gave at an end: what was not shown will not be."""
        self.received = max(self.received, received)

    def framesPerSecond(self, now: float) -> float:
        """Rate at which frames were received of late, skipped ones included; 0 when none has come for a while.

        :param now: seconds since the epoch, as the arrival times.
        """
        # From the end: of many streams, all arrivals that are kept would take too long to look through.
        late: deque[tuple[float, int]] = deque()
        for arrival in reversed(self._arrivals):
            if arrival[0] <= self._arrivals[-1][0] - RATE_SECONDS:
                break
            late.appendleft(arrival)
        if len(late) < 2 and len(self._arrivals) > 1:
            late = deque([self._arrivals[-2], self._arrivals[-1]])
        if len(late) < 2 or late[-1][0] <= late[0][0]:
            return 0.0
        rate = (late[-1][1] - late[0][1]) / (late[-1][0] - late[0][0])
        quiet = now - late[-1][0]
        return rate if quiet < max(RATE_SECONDS, 3 / rate) else 0.0

    def toJSON(self, now: float) -> dict[str, Any]:
        """Counts and rate."""
        fps = round(self.framesPerSecond(now), 2)
        return {"received": self.received, "shown": self.shown, "skipped": self.skipped, "fps": fps}
