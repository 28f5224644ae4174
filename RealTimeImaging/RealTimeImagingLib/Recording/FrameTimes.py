"""The index of a recording: seconds since the first frame or message that it stored, strictly increasing in each
stream."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

LEAST_STEP = 1e-5
"""Seconds between two frames; times that are closer count as repeated. Slicer needs a distance: see Header.py."""
FARTHEST = 1e9
"""Seconds (31 years) from the origin; a device time beyond is a fault, and would leave no room for the times after."""
SAME_CLOCK = 0.5
"""Seconds by which device and arrival times of two streams may disagree when one clock gives both device times: what
comes may have been under way for longer than what came first. Computers that keep their clocks right agree, too."""


SET_BACK = 2.0
"""Seconds by which an arrival time may lie before one of its stream that came earlier; more is a clock that was set
back."""


class Timed(Protocol):
    """What has a place in time: a frame, or a message of a device."""

    @property
    def receiveTime(self) -> float:
        """Seconds since the epoch (UTC) of its arrival."""

    @property
    def deviceTime(self) -> float | None:
        """Seconds since the epoch (UTC) as the device gave it, None when it gave none."""


class FrameTime(NamedTuple):
    """:param seconds: since the recording's first frame. :param clock: "device", "arrival" or "order"."""

    seconds: float
    clock: str


class Origin:
    """When a recording begins: one object for the recorders of all its streams, whoever is first sets it.

    :param arrival: seconds since the epoch (UTC) at which the recording's first frame or message arrived; None: not yet
        known.
    """

    def __init__(self, arrival: float | None = None) -> None:
        self.arrival = arrival
        self.clocks: list[float] = []
        """What the clocks of the devices showed then, as far as they are known."""


class FrameTimes:
    """Gives each frame of a stream its place in time.

    The device's time counts where it is given and increases, otherwise the arrival time, otherwise (both repeat or run
    backwards) the smallest step after the frame before. The stream's first device time is set equal to that frame's
    arrival time, whatever the device counts from, and arrival times count from the origin. So all clocks, and all
    streams that share the origin, have one axis: a stream that begins 2 s after the recording's first frame begins at
    2. A stream whose clock is that of an earlier one (SAME_CLOCK) is placed by it from the start: what has one device
    time has one index, however late it comes; where an arrival time has to do, it counts less what the stream's first
    was late. Below 0 lie only frames that are older than the one that set the origin, and are handed over after it.

    :param origin: shared by the streams of a recording; None for a recording of one stream.
    """

    def __init__(self, origin: Origin | None = None) -> None:
        self.start = 0.0
        """Seconds since the epoch at which the index is 0, by ``startClock``; known with the first frame."""
        self.startClock = ""
        self.origin = origin or Origin()
        self._deviceOrigin: float | None = None
        self._late = 0.0
        self._last = self._latest = -math.inf
        self._setBack = 0.0

    def of(self, frame: Timed) -> FrameTime:
        """The place of the next frame; it counts only when :meth:`take` follows, which a failed frame does not get."""
        arrival = self._arrival(frame) - self._late
        device = usable(frame.deviceTime)
        least = self._last + LEAST_STEP
        if device is not None:
            begin = self._clockOrigin(device, arrival)
            seconds = arrival if begin is None else device - begin
            if seconds >= least and abs(seconds) <= FARTHEST:
                return FrameTime(round(seconds, 6), "device")
        if arrival >= least:
            return FrameTime(round(arrival, 6), "arrival")
        return FrameTime(round(least, 6), "order")

    def take(self, frame: Timed, time: FrameTime) -> None:
        """The frame is stored at this time."""
        self.begin(frame)
        if self._deviceOrigin is None and (device := usable(frame.deviceTime)) is not None:
            self._setClock(frame, device, time.seconds)
        self._last = time.seconds
        self._setBack += self._jump(frame)
        self._latest = max(self._latest, frame.receiveTime + self._setBack)

    def begin(self, frame: Timed) -> None:
        """The recording of the stream starts with this frame, unless it has started."""
        if self.startClock:
            return
        if self.origin.arrival is None:
            self.origin.arrival = frame.receiveTime
        device = usable(frame.deviceTime)
        if device is None:
            self.start, self.startClock = self.origin.arrival, "arrival"
        else:
            self.start, self.startClock = self._setClock(frame, device, self.of(frame).seconds), "device"

    def _clockOrigin(self, device: float, arrival: float) -> float | None:
        """What the stream's clock shows at the origin; None before its first time, unless it is the clock of another
        stream."""
        if self._deviceOrigin is not None:
            return self._deviceOrigin
        near = min(self.origin.clocks, key=lambda clock: abs(device - clock - arrival), default=math.inf)
        return near if abs(device - near - arrival) <= SAME_CLOCK else None

    def _arrival(self, frame: Timed) -> float:
        # When the computer's clock is set back meanwhile, what comes next follows what came last.
        arrival = frame.receiveTime + self._setBack + self._jump(frame)
        return arrival - (arrival if self.origin.arrival is None else self.origin.arrival)

    def _jump(self, frame: Timed) -> float:
        back = self._latest - frame.receiveTime - self._setBack
        return back + LEAST_STEP if SET_BACK < back < math.inf else 0.0

    def _setClock(self, frame: Timed, device: float, seconds: float) -> float:
        begin = self._clockOrigin(device, seconds)
        if begin is None or abs(device - begin - seconds) >= LEAST_STEP:
            begin = device - seconds
            self.origin.clocks.append(begin)
        elif abs(self._arrival(frame) - seconds) <= SAME_CLOCK:
            self._late = self._arrival(frame) - seconds
        self._deviceOrigin = begin
        return begin


def usable(time: float | None) -> float | None:
    """A time that is a number, otherwise None."""
    return time if time is not None and math.isfinite(time) else None
