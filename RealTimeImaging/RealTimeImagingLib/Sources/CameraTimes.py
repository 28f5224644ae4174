"""What a driver's times say: when a picture was taken, and how many are missing before it."""

from __future__ import annotations

import math
import time
from collections import deque
from statistics import median

SAME_CLOCK = 2.0
"""Seconds by which a driver's time may differ from that of a clock of this computer that it is taken from."""
KNOWN = 5
"""Intervals from which the usual one is known."""
REMEMBERED = 9
LONG = 1.5
"""Usual intervals from which one is long: a picture is missing in it."""


class DriverTimes:
    """Turns a driver's times into seconds since the epoch (UTC), with one offset from the first of them.

    Drivers count from the start of the computer (V4L2), from the epoch, or from the first picture (streams, MSMF);
    those of the last kind are set equal to the arrival of the first picture that has one.
    """

    def __init__(self) -> None:
        self._offset: float | None = None
        self._last = 0.0
        self._toEpoch = time.time() - time.monotonic()

    def at(self, seconds: float, arrival: float) -> float | None:
        """When a picture was taken; None when the driver does not say, or says the same as before.

        :param seconds: what the driver says of it.
        :param arrival: when it was here, seconds since the epoch (UTC).
        """
        if not math.isfinite(seconds) or seconds <= self._last:
            return None
        self._last = seconds
        if self._offset is None:
            clocks = (one for one in (self._toEpoch, 0.0) if abs(seconds + one - arrival) < SAME_CLOCK)
            self._offset = next(clocks, arrival - seconds)
        return seconds + self._offset


class Gaps:
    """Counts the pictures that are missing between those that came, by the driver's times.

    A single long interval between usual ones has missing pictures in it. When the next is long too, the camera has
    another rate: many take fewer pictures in the dark.
    """

    def __init__(self) -> None:
        self._intervals: deque[float] = deque(maxlen=REMEMBERED)
        self._last: float | None = None
        self._suspected = 0.0

    def missing(self, seconds: float | None) -> int:
        """How many are now known to be missing before the picture before this one.

        :param seconds: when it was taken; None: not known.
        """
        last, self._last = self._last, seconds
        if seconds is None or last is None or seconds <= last:
            self._suspected = 0.0
            return 0
        interval = seconds - last
        usual = median(self._intervals) if len(self._intervals) >= KNOWN else math.inf
        suspected, self._suspected = self._suspected, 0.0
        if interval <= LONG * usual:
            self._intervals.append(interval)
            return round(suspected / usual) - 1 if suspected else 0
        if suspected:
            self._intervals.clear()
            self._intervals.extend((suspected, interval))
        else:
            self._suspected = interval
        return 0
