"""Position of a replay, the frame that is due, and the status in words; no files and no clock."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from . import ReplaySettings

DEFAULT_RATE = 10.0
"""Frames per second of a file that tells no times."""
LATE = 1.0
"""Seconds of delay that are caught up. A longer one (the computer slept, the disk is too slow) moves all that follows
to later, as a burst of frames would help nobody."""


class Playhead:
    """Gives the place of each frame, from 0, when it is due.

    Every frame comes once in each pass, in order, however late it is asked for; seek and step alone leave the order.
    The time of the file runs with the clock from one origin, so that delays of single frames do not add up; it stands
    while the replay is paused or has ended, so that none of it has to be caught up.

    :param count: how many frames, at least 1.
    :param times: seconds of each since the first, strictly increasing; None when they are not known.
    :param next: the place to go on at; ``count`` when all were given.
    :param now: in this class always monotonic seconds.
    """

    def __init__(self, count: int, times: Sequence[float] | None, next: int, now: float) -> None:
        self.count = count
        self.timed = times is not None
        self.times = times or [number / DEFAULT_RATE for number in range(count)]
        self.next = next
        """The place after that of the last frame given."""
        self.paused = False
        self.loop = False
        self.ended = False
        """True when the last frame was given and nothing follows, until a command says otherwise."""
        self.behind = 0.0
        """Seconds by which the replay was moved to later, since the last command."""
        self._speed, self._rate, self._fastest = 1.0, 0.0, False
        self._wanted: deque[int] = deque()
        self._position, self._since = self._at(next), now

    @property
    def duration(self) -> float:
        """Seconds from the first frame to the last, at the speed 1."""
        return self.times[-1]

    def due(self, now: float) -> int | None:
        """The place of the frame that is to be given now; the same until :meth:`taken` is told that it was."""
        if self._wanted:
            return self._wanted[0]
        if self._halted or (self.next == self.count and not self.loop):
            return None
        if not self._fastest:
            lag = (self._now(now) - self._at(self.next)) / self._factor
            if lag < 0:
                return None
            if lag > LATE:
                self._since += lag
                self.behind += lag
        return self.next % self.count

    def taken(self) -> None:
        """The frame that was due was given."""
        if self._wanted:
            self._wanted.popleft()
        elif self.next < self.count:
            self.next += 1
        else:
            self.next = 1
            self._position -= self._at(self.count)

    def wait(self, now: float) -> float:
        """Seconds until a frame is due, infinite while none will be."""
        if self._wanted:
            return 0.0
        if self._halted:
            return math.inf
        return 0.0 if self._fastest else max(0.0, (self._at(self.next) - self._now(now)) / self._factor)

    def endsNow(self, now: float) -> bool:
        """Whether the replay ends with the frame just given; True once, then it has :attr:`ended`."""
        if self._wanted or self._halted or self.loop or self.next < self.count:
            return False
        self._halt(now)
        self.ended = True
        return True

    # ---- commands

    def pause(self, now: float) -> None:
        """Stand still; what is asked for by step and seek is given nevertheless."""
        self._halt(now)
        self.paused = True

    def resume(self, now: float) -> None:
        """Go on, after the same share of a frame's time that was left; after the last frame from the first."""
        if not self.paused and not self.ended:
            return
        self.paused = False
        self._go(now)
        if self.next == self.count and not self.loop:
            self.seek(0, now)

    def step(self, frames: int, now: float) -> None:
        """Pause, and give the frame so many places on (or, below 0, back) from the last one; when looping beyond the
        last or first too."""
        self.pause(now)
        last = max(self.next - 1, 0) if frames < 0 else self.next - 1
        place = last + frames
        if self.loop:
            place %= self.count
        if 0 <= place < self.count:
            self._move(place, now)
            self._wanted.append(place)

    def seek(self, place: int, now: float) -> None:
        """Give the frame at this place, or the nearest there is, and go on from there unless paused. It takes the place
        of all that was asked for and has not been given."""
        place = min(max(place, 0), self.count - 1)
        self._wanted.clear()
        self._move(place, now)
        self._wanted.append(place)

    def setPace(self, now: float, speed: float = 1.0, rate: float = 0.0, fastest: bool = False) -> None:
        """Go on at another pace; the share of the present frame's time that has passed stays.

        :param speed: factor of the file's own times.
        :param rate: frames per second instead; 0 for the file's own times.
        :param fastest: every frame is due at once.
        """
        share = self._share(now)
        self._speed, self._rate, self._fastest = speed, rate, fastest
        before, after = self._at(self.next - 1), self._at(self.next)
        self._position, self._since, self.behind = before + share * (after - before), now, 0.0

    def setLoop(self, on: bool, now: float) -> None:
        """Begin again after the last frame, or do not; a replay that has ended goes on."""
        self.loop = on
        if on and self.ended:
            self._go(now)

    # ---- time

    @property
    def _halted(self) -> bool:
        return self.paused or self.ended

    @property
    def _factor(self) -> float:
        return 1.0 if self._rate else self._speed

    def _at(self, place: int) -> float:
        # The file's time of a place, continued evenly before the first and behind the last.
        if self._rate:
            return place / self._rate
        if 0 <= place < self.count:
            return self.times[place]
        period = self.duration / (self.count - 1) if self.count > 1 else 1 / DEFAULT_RATE
        return self.duration + period if place >= self.count else -period

    def _now(self, now: float) -> float:
        return self._position if self._halted else self._position + (now - self._since) * self._factor

    def _share(self, now: float) -> float:
        if self._fastest:
            return 0.0
        before, after = self._at(self.next - 1), self._at(self.next)
        return min(1.0, max(0.0, (self._now(now) - before) / (after - before)))

    def _halt(self, now: float) -> None:
        # What was due and has not been given is one frame at most when it goes on.
        self._position = min(self._now(now), self._at(self.next))
        self._since = now

    def _go(self, now: float) -> None:
        self._since, self.behind = now, 0.0
        self.ended = False

    def _move(self, place: int, now: float) -> None:
        self.next = place + 1
        self._position, self._since, self.behind = self._at(place), now, 0.0
        self.ended = False


def statusOf(name: str, playhead: Playhead, settings: ReplaySettings) -> str:
    """One sentence: what is replayed, where it is, and how fast.

    :param name: of the file.
    """
    if playhead.ended:
        return f"The replay of {name} has ended: {playhead.count} frames."
    place = f"frame {playhead.next} of {playhead.count}"
    if settings.pace == "recorded" and playhead.timed:
        passed = playhead.times[max(playhead.next - 1, 0)]
        place += f" ({_number(passed)} s of {_number(playhead.duration)} s)"
    if playhead.paused:
        return f"{name} is paused at {place}."
    behind = f", {_number(playhead.behind)} s behind" if playhead.behind >= 0.05 else ""
    return f"Replaying {name}: {place}, {_paceOf(settings, playhead.timed)}{behind}."


def _paceOf(settings: ReplaySettings, timed: bool) -> str:
    if settings.pace == "fastest":
        return "as fast as possible"
    if settings.pace == "rate":
        return f"{settings.rate:g} frames per second"
    if not timed:
        return f"{settings.speed * DEFAULT_RATE:g} frames per second"
    return "real time" if settings.speed == 1 else f"{settings.speed:g} times real time"


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
