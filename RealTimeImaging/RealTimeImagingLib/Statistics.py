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
        self._times: deque[float] = deque(maxlen=256)

    @property
    def skipped(self) -> int:
        """Frames that were received and replaced by newer ones before they could be shown."""
        return self.received - self.shown

    def show(self, number: int, receiveTime: float) -> None:
        """Count a frame that was shown; all before it that were not are skipped."""
        self._times.append(receiveTime)
        self.received = max(self.received, number + 1)
        self.shown += 1

    def settle(self, received: int) -> None:
        """Take over the total that the acquisition process gave at an end: what was not shown will not be."""
        self.received = max(self.received, received)

    def framesPerSecond(self) -> float:
        """Rate of the frames shown of late, by their arrival times."""
        if not self._times:
            return 0.0
        late = [time for time in self._times if time > self._times[-1] - RATE_SECONDS]
        span = late[-1] - late[0]
        return (len(late) - 1) / span if span > 0 else 0.0

    def toJSON(self) -> dict[str, Any]:
        """Counts and rate."""
        fps = round(self.framesPerSecond(), 2)
        return {"received": self.received, "shown": self.shown, "skipped": self.skipped, "fps": fps}
