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

WINDOW = 10.0
"""Seconds from a stream's first message in which the delay of that message is measured."""
LEAST_SHIFT = 0.005
"""Seconds of delay that are not corrected: every network has them."""
SETTLED = 3
"""Messages that must follow the message with the smallest delay before it counts."""


SET_BACK = 2.0
"""Seconds by which an arrival time may lie before the latest one of its stream. More means that the computer's clock
was set back."""


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


class Delay:
    """Delay of messages: the smallest difference of arrival and index in the first WINDOW seconds.

    The first message may have been delayed. A smaller delay counts only when it has lasted as long as it took to find
    it: messages of a clock that runs faster than ours, as of a simulation, arrive ever earlier instead.
    """

    def __init__(self) -> None:
        self._first = self._least = 0.0
        self._firstAt = self._leastAt = self._lastAt = math.nan
        self._since = 0

    def note(self, arrival: float, delay: float) -> None:
        """Note a message.

        :param arrival: seconds from the origin.
        :param delay: arrival minus index, seconds; infinite when it is not known.
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
        """The smallest delay, or the delay of the first message while a smaller one may be chance."""
        lasted = self._since >= SETTLED and self._lastAt - self._leastAt >= self._leastAt - self._firstAt
        return self._least if lasted else self._first


class Clock:
    """A device's clock.

    :param begin: its time at the origin, if its first message arrived without delay.
    """

    def __init__(self, begin: float) -> None:
        self.begin = begin
        self.delay = Delay()

    @property
    def late(self) -> float:
        """Seconds by which each index of this clock is too high, because its first message was delayed."""
        return max(0.0, -self.delay.seconds)


class Origin:
    """When a recording begins: one object for the recorders of all its streams, whoever is first sets it.

    :param arrival: seconds since the epoch (UTC) at which the recording's first frame or message arrived; None: not yet
        known.
    """

    def __init__(self, arrival: float | None = None) -> None:
        self.arrival = arrival
        self.clocks: list[Clock] = []
        """The clocks of the devices, as far as they are known."""
        self.reference: FrameTimes | None = None
        """The stream of the first poses. Its index is never changed; other streams are moved to it."""

    def shiftOf(self, clock: Clock | None) -> float:
        """Seconds to add to the index of a stream, so that one moment has the same index in all streams.

        :param clock: the stream's; None when the stream has arrival times only.
        """
        reference = self.reference.clock if self.reference else next(iter(self.clocks), None)
        late, lateHere = (one.late if one else 0.0 for one in (reference, clock))
        return 0.0 if abs(late - lateHere) < LEAST_SHIFT else round(late - lateHere, 6)


class FrameTimes:
    """Gives each frame of a stream its place in time.

    The device's time counts where it is given and increases, otherwise the arrival time, otherwise (both repeat or run
    backwards) the smallest step after the frame before. The stream's first device time is set equal to that frame's
    arrival time, whatever the device counts from, and arrival times count from the origin. So all clocks, and all
    streams that share the origin, have one axis: a stream that begins 2 s after the recording's first frame begins at
    2. A stream whose clock is that of an earlier one (SAME_CLOCK) is placed by it from the start: what has one device
    time has one index, however late it comes. An arrival time that has to do counts less the stream's usual delay.
    When the first message of a clock was late, all its index is too high, and :meth:`settle` tells by how much. Below 0
    lie only frames that are older than the one that set the origin, and are handed over after it.

    :param origin: shared by the streams of a recording; None for a recording of one stream.
    """

    def __init__(self, origin: Origin | None = None) -> None:
        self.start = 0.0
        """Seconds since the epoch at which the index is 0, by ``startClock``; known with the first frame."""
        self.startClock = ""
        self.origin = origin or Origin()
        self.clock: Clock | None = None
        """The device's; None before its first time."""
        self._delay = Delay()
        self._shift = 0.0
        self._last = self._latest = -math.inf
        self._setBack = 0.0

    def of(self, frame: Timed) -> FrameTime:
        """The place of the next frame; it counts only when :meth:`take` follows, which a failed frame does not get."""
        seconds, clock = self._place(frame)
        return FrameTime(round(seconds + self._shift, 6), clock)

    def take(self, frame: Timed, time: FrameTime) -> None:
        """The frame is stored at this time."""
        self.begin(frame)
        seconds = time.seconds - self._shift
        first = self._last == -math.inf
        if self.clock is None and (device := usable(frame.deviceTime)) is not None:
            first = True
            self._setClock(device, seconds)
        if self.clock is not None:
            arrival = self._arrival(frame)
            # A repeated time says nothing about the delay, except that the smallest one lasts.
            delay = arrival - seconds if first or time.clock == "device" else math.inf
            self._delay.note(arrival, delay)
            self.clock.delay.note(arrival, delay)
        self._last = seconds
        self._setBack += self._jump(frame)
        self._latest = max(self._latest, frame.receiveTime + self._setBack)

    def settle(self) -> float:
        """Seconds to add to the index of the frames since the last call; later frames include them."""
        before, self._shift = self._shift, self.origin.shiftOf(self.clock)
        return round(self._shift - before, 6)

    def keep(self, change: float) -> None:
        """Undo a change of :meth:`settle` that was not made."""
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
        """The recording of the stream starts with this frame, unless it has started."""
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
        """The stream's clock; None before its first time, unless it is the clock of another stream."""
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
        """What the clock shows at the origin."""
        clock = self._clockOf(device, seconds)
        if clock is None or abs(device - clock.begin - seconds) >= LEAST_STEP:
            clock = Clock(device - seconds)
            self.origin.clocks.append(clock)
        self.clock = clock
        return clock.begin


def usable(time: float | None) -> float | None:
    """A time that is a number, otherwise None."""
    return time if time is not None and math.isfinite(time) else None
