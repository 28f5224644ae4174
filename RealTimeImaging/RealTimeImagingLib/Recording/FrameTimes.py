"""Index of a recording: seconds since its first stored frame or message, strictly increasing in each stream."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

LEAST_STEP = 1e-5
"""Least seconds between two frames; closer times count as repeated. Header.py explains why Slicer needs a distance."""
FARTHEST = 1e9
"""Most seconds (31 years) from the origin. A later device time is a fault; the following times could not increase."""
SAME_CLOCK = 0.5
"""Most seconds by which device and arrival times of two streams of one sender disagree when they share a clock:
messages travel for different times."""
WINDOW = 10.0
"""Seconds after a stream's first message in which the delay of that message is measured."""
LEAST_SHIFT = 2e-4
"""Least delay in seconds that is corrected; every network has smaller delays."""
SETTLED = 3
"""Messages that must follow the message with the smallest delay before that delay counts."""
SET_BACK = 2.0
"""Most seconds by which an arrival time lies before the latest arrival time of its stream; otherwise the computer's
clock was set back."""


class Timed(Protocol):
    """A frame or a device message; the names are those of :class:`DeviceMessage`."""

    @property
    def receiveTime(self) -> float:
        """Time of arrival, seconds since the epoch (UTC)."""

    @property
    def deviceTime(self) -> float | None:
        """Time by the device, seconds since the epoch (UTC), or None."""

    @property
    def sender(self) -> str:
        """Connection that sent it; empty when unknown."""

    @property
    def timeOffset(self) -> float:
        """Seconds to add to its index; the same for the whole stream."""


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
        self._least = 0.0
        self.seconds = 0.0
        """The smallest delay, or an earlier one while a smaller delay may be chance."""
        self._firstAt = self._leastAt = self._lastAt = math.nan
        self._since = 0

    def note(self, arrival: float, delay: float) -> None:
        """Note a message.

        :param arrival: seconds since the origin.
        :param delay: arrival minus index, seconds; infinite when unknown.
        """
        if math.isnan(self._firstAt):
            self.seconds = self._least = delay
            self._firstAt = self._leastAt = arrival
        if not 0 <= arrival - self._firstAt <= WINDOW:
            return
        self._lastAt = arrival
        self._since += 1
        if delay < self._least - LEAST_SHIFT:
            self._least, self._leastAt, self._since = delay, arrival, 0
        if self._since >= SETTLED and self._lastAt - self._leastAt >= self._leastAt - self._firstAt:
            self.seconds = self._least


class Clock:
    """Clock of a device.

    :param begin: time of the clock at the origin, assuming that its first message was not delayed.
    :param sender: connection of the device.
    """

    def __init__(self, begin: float, sender: str) -> None:
        self.begin, self.sender = begin, sender
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
        """Return the seconds to add to the index of a stream, so that one moment has the same index in all streams.

        :param clock: clock of the stream; None for a stream that has arrival times only.
        """
        late, lateHere = self.late, clock.late if clock else 0.0
        return 0.0 if abs(late - lateHere) < LEAST_SHIFT else round(late - lateHere, 6)

    @property
    def late(self) -> float:
        """Seconds by which the index of a moment exceeds its time since the arrival of the first frame or message."""
        reference = self.reference.clock if self.reference else next(iter(self.clocks), None)
        return reference.late if reference else 0.0


class FrameTimes:
    """Index of the frames of one stream.

    The index comes from the device's time if it exists and increases, else from the arrival time if that increases,
    else it is the previous index plus LEAST_STEP. Arrival times count from the origin. The first device time of a
    stream is set equal to the arrival of that frame, whatever the device counts from. So all clocks, and all streams
    that share the origin, have one axis: a stream that begins 2 s after the recording's first frame begins at 2.

    A stream that shares the clock of an earlier stream (of the same sender, SAME_CLOCK) uses it from the start: equal
    device times have equal indices, whatever their delays. The clocks of two senders are told apart, however well they
    agree: the smallest delays of their messages count as equal. An arrival time used as index is reduced by the
    stream's usual delay. When the first message of a clock was delayed, all its indices are too high, and
    :meth:`settle` corrects them. An index below 0 belongs to a frame that is older than the frame which set the origin,
    and was received after it.

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
        return FrameTime(round(seconds + self._shift + frame.timeOffset, 6), clock)

    def take(self, frame: Timed, time: FrameTime) -> None:
        """Note that the frame is stored with this index."""
        self.begin(frame)
        seconds = time.seconds - self._shift - frame.timeOffset
        first = self._last == -math.inf
        if self.clock is None and (device := usable(frame.deviceTime)) is not None:
            first = True
            self._setClock(device, seconds, frame.sender)
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
            clock = self._clockOf(device, arrival, frame.sender)
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
            seconds = self.of(frame).seconds - frame.timeOffset
            self.start, self.startClock = self._setClock(device, seconds, frame.sender), "device"
        self.start -= frame.timeOffset

    def _clockOf(self, device: float, arrival: float, sender: str) -> Clock | None:
        """Return the clock of the stream, perhaps shared with another stream; None while it is unknown."""
        if self.clock is not None:
            return self.clock
        clocks = (clock for clock in self.origin.clocks if clock.sender == sender)
        near = min(clocks, key=lambda clock: abs(device - clock.begin - arrival), default=None)
        return near if near is not None and abs(device - near.begin - arrival) <= SAME_CLOCK else None

    def _arrival(self, frame: Timed) -> float:
        # After the computer's clock was set back, the next frame follows the last one.
        arrival = frame.receiveTime + self._setBack + self._jump(frame)
        return arrival - (arrival if self.origin.arrival is None else self.origin.arrival)

    def _jump(self, frame: Timed) -> float:
        back = self._latest - frame.receiveTime - self._setBack
        return back + LEAST_STEP if SET_BACK < back < math.inf else 0.0

    def _setClock(self, device: float, seconds: float, sender: str) -> float:
        """Set the clock of the stream; the clock's time at the origin."""
        clock = self._clockOf(device, seconds, sender)
        if clock is None or abs(device - clock.begin - seconds) >= LEAST_STEP:
            clock = Clock(device - seconds, sender)
            self.origin.clocks.append(clock)
        self.clock = clock
        return clock.begin


class Placed(NamedTuple):
    """An entry of a stream with its index.

    :param time: index, seconds. ``clock``: as in :class:`FrameTime`.
    :param deviceTime: seconds since the epoch (UTC) or None.
    :param latest: its arrival on the axis of the index, seconds.
    """

    time: float
    clock: str
    deviceTime: float | None
    latest: float


def spread(entries: Sequence[Placed]) -> list[float]:
    """Return the indices of the entries of one stream, with entries whose device time repeats placed between their
    neighbours: evenly, and no later than they arrived. Devices that round their times repeat them."""
    times, tick, count = [entry.time for entry in entries], -1, 0
    for place, entry in enumerate(entries):
        if entry.clock == "device":
            step = (entry.time - entries[tick].time) / (count + 1)
            if count and tick >= 0 and step >= 2 * LEAST_STEP:
                most = math.inf
                for part in range(count, 0, -1):
                    repeated = entries[tick + part]
                    latest = max(repeated.time, repeated.latest) if repeated.clock == "order" else repeated.time
                    # The times increase, also where a later entry has an early limit.
                    most = min(most - LEAST_STEP, latest)
                    times[tick + part] = round(min(entries[tick].time + part * step, most), 6)
            tick, count = place, 0
        elif tick >= 0 and entry.deviceTime == entries[tick].deviceTime:
            count += 1
        else:
            tick, count = -1, 0
    return times


def usable(time: float | None) -> float | None:
    """Return the time if it is a finite number, otherwise None."""
    return time if time is not None and math.isfinite(time) else None
