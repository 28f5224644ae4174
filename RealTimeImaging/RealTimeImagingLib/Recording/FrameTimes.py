"""The index of a recording: seconds since its first frame in any stream, strictly increasing in each."""

from __future__ import annotations

import math
from typing import NamedTuple

from ..Frame import Frame

LEAST_STEP = 1e-5
"""Seconds between two frames; times that are closer count as repeated. Slicer needs a distance: see Header.py."""
FARTHEST = 1e9
"""Seconds (31 years) from the origin; a device time beyond is a fault, and would leave no room for the times after."""


class FrameTime(NamedTuple):
    """:param seconds: since the recording's first frame. :param clock: "device", "arrival" or "order"."""

    seconds: float
    clock: str


class Origin:
    """When a recording begins: one object for the recorders of all its streams, whoever is first sets it.

    :param arrival: seconds since the epoch (UTC) at which the recording's first frame arrived; None: not yet known.
    """

    def __init__(self, arrival: float | None = None) -> None:
        self.arrival = arrival


class FrameTimes:
    """Gives each frame of a stream its place in time.

    The device's time counts where it is given and increases, otherwise the arrival time, otherwise (both repeat or run
    backwards) the smallest step after the frame before. The stream's first device time is set equal to that frame's
    arrival time, whatever the device counts from, and arrival times count from the origin. So all clocks, and all
    streams that share the origin, have one axis: a stream that begins 2 s after the recording's first frame begins at
    2. Below 0 lie only frames that arrived before the one that set the origin, and are handed over after it.

    :param origin: shared by the streams of a recording; None for a recording of one stream.
    """

    def __init__(self, origin: Origin | None = None) -> None:
        self.start = 0.0
        """Seconds since the epoch at which the index is 0, by ``startClock``; known with the first frame."""
        self.startClock = ""
        self._origin = origin or Origin()
        self._deviceOrigin: float | None = None
        self._last = -math.inf

    def of(self, frame: Frame) -> FrameTime:
        """The place of the next frame; it counts only when :meth:`take` follows, which a failed frame does not get."""
        arrival = frame.receiveTime - (frame.receiveTime if self._origin.arrival is None else self._origin.arrival)
        device = usable(frame.deviceTime)
        least = self._last + LEAST_STEP
        if device is not None:
            seconds = arrival if self._deviceOrigin is None else device - self._deviceOrigin
            if seconds >= least and abs(seconds) <= FARTHEST:
                return FrameTime(round(seconds, 6), "device")
        if arrival >= least:
            return FrameTime(round(arrival, 6), "arrival")
        return FrameTime(round(least, 6), "order")

    def take(self, frame: Frame, time: FrameTime) -> None:
        """The frame is stored at this time."""
        self.begin(frame)
        if self._deviceOrigin is None and (device := usable(frame.deviceTime)) is not None:
            self._deviceOrigin = device - time.seconds
        self._last = time.seconds

    def begin(self, frame: Frame) -> None:
        """The recording of the stream starts with this frame, unless it has started."""
        if self.startClock:
            return
        if self._origin.arrival is None:
            self._origin.arrival = frame.receiveTime
        device = usable(frame.deviceTime)
        if device is None:
            self.start, self.startClock = self._origin.arrival, "arrival"
        else:
            self.start, self.startClock = device - self.of(frame).seconds, "device"
            self._deviceOrigin = self.start


def usable(time: float | None) -> float | None:
    """A time that is a number, otherwise None."""
    return time if time is not None and math.isfinite(time) else None
