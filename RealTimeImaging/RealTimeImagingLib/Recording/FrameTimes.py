"""The index of a recording: seconds since its first frame, strictly increasing."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..Frame import Frame

LEAST_STEP = 1e-5
"""Seconds between two frames; times that are closer count as repeated. Slicer needs a distance: see Header.py."""


@dataclass(frozen=True)
class FrameTime:
    """:param seconds: since the recording's first frame. :param clock: "device", "arrival" or "order"."""

    seconds: float
    clock: str


class FrameTimes:
    """Gives each frame its place in time.

    The device's time counts where it is given and increases, otherwise the arrival time, otherwise (both repeat or run
    backwards) the smallest step after the frame before. The first device time is set equal to that frame's arrival
    time, so that both clocks have one origin, whatever the device counts from.
    """

    def __init__(self) -> None:
        self.start = 0.0
        """Seconds since the epoch at which the index is 0, by ``startClock``; known with the first frame."""
        self.startClock = ""
        self._arrivalOrigin = 0.0
        self._deviceOrigin: float | None = None
        self._last = -math.inf

    @property
    def started(self) -> bool:
        """True once a frame has its place."""
        return self._last != -math.inf

    def of(self, frame: Frame) -> FrameTime:
        """The place of the next frame; it counts only when :meth:`take` follows, which a failed frame does not get."""
        if not self.started:
            return FrameTime(0.0, "arrival" if usable(frame.deviceTime) is None else "device")
        arrival = frame.receiveTime - self._arrivalOrigin
        device = usable(frame.deviceTime)
        if device is not None:
            seconds = arrival if self._deviceOrigin is None else device - self._deviceOrigin
            if seconds - self._last >= LEAST_STEP:
                return FrameTime(round(seconds, 6), "device")
        if arrival - self._last >= LEAST_STEP:
            return FrameTime(round(arrival, 6), "arrival")
        return FrameTime(round(self._last + LEAST_STEP, 6), "order")

    def take(self, frame: Frame, time: FrameTime) -> None:
        """The frame is stored at this time."""
        device = usable(frame.deviceTime)
        if not self.started:
            self.begin(frame)
        if device is not None and self._deviceOrigin is None:
            self._deviceOrigin = device - time.seconds
        self._last = time.seconds

    def begin(self, frame: Frame) -> None:
        """The recording starts with this frame."""
        device = usable(frame.deviceTime)
        self.start, self.startClock = (frame.receiveTime, "arrival") if device is None else (device, "device")
        self._arrivalOrigin = frame.receiveTime


def usable(time: float | None) -> float | None:
    """A time that is a number, otherwise None."""
    return time if time is not None and math.isfinite(time) else None
