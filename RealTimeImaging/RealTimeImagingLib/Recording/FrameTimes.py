"""Index of a recording: seconds since its first stored frame or message, strictly increasing in each stream."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

LEAST_STEP = 1e-5
"""Least seconds between two frames; closer times count as repeated. Header.py explains why Slicer needs a distance."""
FARTHEST = 1e9
"""Most seconds (31 years) from the origin. A later device time is a fault; the following times could not increase."""
SAME_CLOCK = 0.5
"""Most seconds by which device and arrival times of two streams disagree when they share a clock: messages travel for
different times. Two computers with synchronized clocks agree, too."""
WINDOW = 10.0
"""Seconds after a stream's first message in which the delay of that message is measured."""
LEAST_SHIFT = 0.005
"""Least delay in seconds that is corrected; every network has smaller delays."""
SETTLED = 3
"""Messages that must follow the message with the smallest delay before that delay counts."""
SET_BACK = 2.0
"""Most seconds by which an arrival time lies before the latest arrival time of its stream; otherwise the computer's
clock was set back."""


class Timed(Protocol):
    """A frame or a device message."""

    @property
    def receiveTime(self) -> float:
        """Time of arrival, seconds since the epoch (UTC)."""

    @property
    def deviceTime(self) -> float | None:
        """Time by the device, seconds since the epoch (UTC), or None."""


class FrameTime(NamedTuple):
    """Index of a frame.

    :param seconds: seconds since the recording's first frame.
    :param clock: "device", "arrival" or "order".
    """

    seconds: float
    clock: str


class Delay:
    """Delay of messages: the smallest difference between arrival and index in the first WINDOW seconds.

    The first message may have been delayed. A smaller delay counts only after it has lasted as long as it took to find
    it. Otherwise a clock that runs faster than that of the computer, as in a simulation, would seem ever less delayed.
    """

    def __init__(self) -> None:
        self._first = self._least = 0.0
        self._firstAt = self._leastAt = self._lastAt = math.nan
        self._since = 0

    def note(self, arrival: float, delay: float) -> None:
        """Note a message.

        :param arrival: seconds since the origin.
        :param delay: arrival minus index, seconds; infinite when unknown.
        """
        if math.isnan(self._firstAt):
            self._first = self._least = delay
            self._firstAt = self._leastAt = arrival
        if not 0 <= arrival - self._firstAt <= WINDOW:
            return
        self._lastAt = arrival
        self._since += 1
        if delay < self._least - LEAST_SHIFT:
            self._least, self._leastAt, self._since = delay, arrival, 0

    @property
    def seconds(self) -> float:
        """The smallest delay, or the delay of the first message while a smaller delay may be chance."""
        lasted = self._since >= SETTLED and self._lastAt - self._leastAt >= self._leastAt - self._firstAt
        return self._least if lasted else self._first


class Clock:
    """Clock of a device.

    :param begin: time of the clock at the origin, assuming that its first message was not delayed.
    """

    def __init__(self, begin: float) -> None:
        self.begin = begin
        self.delay = Delay()

    @property
    def late(self) -> float:
        """Seconds by which each index of this clock is too high, because its first message was delayed."""
        return max(0.0, -self.delay.seconds)


class Origin:
    """Start of a recording, shared by the recorders of all its streams; the first frame or message sets it.

    :param arrival: arrival of the recording's first frame or message, seconds since the epoch (UTC); None: not yet
        known.
    """

    def __init__(self, arrival: float | None = None) -> None:
        self.arrival = arrival
        self.clocks: list[Clock] = []
        """Known clocks of the devices."""
        self.reference: FrameTimes | None = None
        """Stream of the first poses. Its index never changes; other streams are moved to match it."""

    def shiftOf(self, clock: Clock | None) -> float:
        """Seconds to add to the index of a stream, so that one moment has the same index in all streams.

        :param clock: clock of the stream; None for a stream that has arrival times only.
        """
        reference = self.reference.clock if self.reference else next(iter(self.clocks), None)
        late, lateHere = (one.late if one else 0.0 for one in (reference, clock))
        return 0.0 if abs(late - lateHere) < LEAST_SHIFT else round(late - lateHere, 6)


class FrameTimes:
    """Index of the frames of one stream.

    The index comes from the device's time if it exists and increases, else from the arrival time if that increases,
    else it is the previous index plus LEAST_STEP. Arrival times count from the origin. The first device time of a
    stream is set equal to the arrival of that frame, whatever the device counts from. So all clocks, and all streams
    that share the origin, have one axis: a stream that begins 2 s after the recording's first frame begins at 2.

    A stream that shares the clock of an earlier stream (SAME_CLOCK) uses it from the start: equal device times have
    equal indices, whatever their delays. An arrival time used as index is reduced by the stream's usual delay. When the
    first message of a clock was delayed, all its indices are too high, and :meth:`settle` corrects them. An index below
    0 belongs to a frame that is older than the frame which set the origin, and was received after it.

    :param origin: shared by the streams of a recording; None for a single stream.
    """

    def __init__(self, origin: Origin | None = None) -> None:
        self.start = 0.0
        """Time of index 0, seconds since the epoch, by ``startClock``; known with the first frame."""
        self.startClock = ""
        self.origin = origin or Origin()
        self.clock: Clock | None = None
        """Clock of the device; None before its first time."""
        self._delay = Delay()
        self._shift = 0.0
        self._last = self._latest = -math.inf
        self._setBack = 0.0

    def of(self, frame: Timed) -> FrameTime:
        """Compute the index of the next frame; :meth:`take` must follow when the frame is stored."""
        seconds, clock = self._place(frame)
        return FrameTime(round(seconds + self._shift, 6), clock)

    def take(self, frame: Timed, time: FrameTime) -> None:
        """Note that the frame is stored with this index."""
        self.begin(frame)
        seconds = time.seconds - self._shift
        first = self._last == -math.inf
        if self.clock is None and (device := usable(frame.deviceTime)) is not None:
            first = True
            self._setClock(device, seconds)
        if self.clock is not None:
            arrival = self._arrival(frame)
            # A repeated time does not measure the delay; it only shows that the smallest delay lasts.
            delay = arrival - seconds if first or time.clock == "device" else math.inf
            self._delay.note(arrival, delay)
            self.clock.delay.note(arrival, delay)
        self._last = seconds
        self._setBack += self._jump(frame)
        self._latest = max(self._latest, frame.receiveTime + self._setBack)

    def settle(self) -> float:
        """Compute the seconds to add to the index of the frames since the last call; later frames include them."""
        before, self._shift = self._shift, self.origin.shiftOf(self.clock)
        return round(self._shift - before, 6)

    def keep(self, change: float) -> None:
        """Undo a change of :meth:`settle` that the recorder did not apply."""
        self._shift -= change

    def _place(self, frame: Timed) -> tuple[float, str]:
        arrival = self._arrival(frame) - self._delay.seconds
        device = usable(frame.deviceTime)
        least = self._last + LEAST_STEP
        if device is not None:
            clock = self._clockOf(device, arrival)
            seconds = arrival if clock is None else device - clock.begin
            if seconds >= least and abs(seconds) <= FARTHEST:
                return seconds, "device"
        return (arrival, "arrival") if arrival >= least else (least, "order")

    def begin(self, frame: Timed) -> None:
        """Start the stream with this frame, unless it has started."""
        if self.startClock:
            return
        if self.origin.arrival is None:
            self.origin.arrival = frame.receiveTime
        device = usable(frame.deviceTime)
        if device is None:
            self.start, self.startClock = self.origin.arrival, "arrival"
        else:
            self.start, self.startClock = self._setClock(device, self.of(frame).seconds), "device"

    def _clockOf(self, device: float, arrival: float) -> Clock | None:
        """The clock of the stream, perhaps shared with another stream; None while it is unknown."""
        if self.clock is not None:
            return self.clock
        near = min(self.origin.clocks, key=lambda clock: abs(device - clock.begin - arrival), default=None)
        return near if near is not None and abs(device - near.begin - arrival) <= SAME_CLOCK else None

    def _arrival(self, frame: Timed) -> float:
        # After the computer's clock was set back, the next frame follows the last one.
        arrival = frame.receiveTime + self._setBack + self._jump(frame)
        return arrival - (arrival if self.origin.arrival is None else self.origin.arrival)

    def _jump(self, frame: Timed) -> float:
        back = self._latest - frame.receiveTime - self._setBack
        return back + LEAST_STEP if SET_BACK < back < math.inf else 0.0

    def _setClock(self, device: float, seconds: float) -> float:
        """Set the clock of the stream; the clock's time at the origin."""
        clock = self._clockOf(device, seconds)
        if clock is None or abs(device - clock.begin - seconds) >= LEAST_STEP:
            clock = Clock(device - seconds)
            self.origin.clocks.append(clock)
        self.clock = clock
        return clock.begin


def usable(time: float | None) -> float | None:
    """The time if it is a finite number, otherwise None."""
    return time if time is not None and math.isfinite(time) else None
