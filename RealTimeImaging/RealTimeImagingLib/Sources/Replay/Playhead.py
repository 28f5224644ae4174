"""Position of a replay, the frame that is due, and the status sentence; no files and no clock."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Any

from ...Model.Quantities import counted
from ...Model.Text import textsOf
from . import ReplaySettings

_ = textsOf(__file__)

DEFAULT_RATE = 10.0
"""Frames per second of a file without times."""
LATE = 1.0
"""Longest delay in seconds to catch up with. A longer one (the computer slept, the disk is too slow) shifts the rest of
the replay instead, because a burst of frames is of no use."""


class Playhead:
    """Position in a file, and the index of the frame that is due.

    Each pass has every frame once and in order, however late :meth:`due` is called; only seek and step change the
    order. The file time runs with the clock from one origin, so that delays of single frames do not add up. It stops
    while the replay is paused or has ended.

    :param count: number of frames, at least 1.
    :param times: seconds of each frame since the first, strictly increasing; None when unknown.
    :param next: index of the next frame, from 0; ``count`` at the end.
    :param now: monotonic seconds, as in all methods.
    """

    def __init__(self, count: int, times: Sequence[float] | None, next: int, now: float) -> None:
        self.count = count
        self.timed = times is not None
        self.times = times or [number / DEFAULT_RATE for number in range(count)]
        self.next = next
        """Index of the frame after the last one."""
        self.paused = False
        self.loop = False
        self.ended = False
        """True from the end of the last frame until a command continues the replay."""
        self.behind = 0.0
        """Seconds by which delays have shifted the replay since the last command."""
        self._speed, self._rate, self._fastest = 1.0, 0.0, False
        self._requested: deque[int] = deque()
        self._position, self._since = self._at(next), now

    @property
    def duration(self) -> float:
        """Seconds from the first frame to the last, at speed 1."""
        return self.times[-1]

    @property
    def position(self) -> dict[str, Any]:
        """``frame`` (the last one, from 0) of ``count``; ``seconds`` of ``duration``, None when unknown; ``paused``
        and ``ended``."""
        frame = max(self.next - 1, 0)
        seconds, duration = (self.times[frame], self.duration) if self.timed else (None, None)
        values = {"frame": frame, "count": self.count, "seconds": seconds, "duration": duration}
        return {**values, "paused": self.paused, "ended": self.ended}

    @property
    def halted(self) -> bool:
        """True while the replay is paused or has ended."""
        return self.paused or self.ended

    def due(self, now: float) -> int | None:
        """Return the index of the frame that is due, until :meth:`taken`; None without one."""
        if self._requested:
            return self._requested[0]
        if self.halted or (self.next == self.count and not self.loop):
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
        """Advance past the frame that is due."""
        if self._requested:
            self._requested.popleft()
        elif self.next < self.count:
            self.next += 1
        else:
            self.next = 1
            self._position -= self._at(self.count)

    def wait(self, now: float) -> float:
        """Return the seconds until a frame is due; infinite while the replay is paused or has ended."""
        if self._requested:
            return 0.0
        if self.halted:
            return math.inf
        return 0.0 if self._fastest else max(0.0, (self._at(self.next) - self._now(now)) / self._factor)

    def endsNow(self, now: float) -> bool:
        """Return True once, after the last frame, and set :attr:`ended`."""
        if self._requested or self.halted or self.loop or self.next < self.count:
            return False
        self._halt(now)
        self.ended = True
        return True

    # ---- commands

    def pause(self, now: float) -> None:
        """Pause; step and seek still make their frames due."""
        self._halt(now)
        self.paused = True

    def resume(self, now: float) -> None:
        """Resume with the rest of the frame's time; restart after the last frame."""
        if not self.paused and not self.ended:
            return
        self.paused = False
        self._continue(now)
        if self.next == self.count and not self.loop:
            self.seek(0, now)

    def step(self, frames: int, now: float) -> None:
        """Pause, and make the frame due that is ``frames`` after the last one; with loop, wrap around.

        :param frames: negative to go back.
        """
        self.pause(now)
        last = max(self.next - 1, 0) if frames < 0 else self.next - 1
        index = last + frames
        if self.loop:
            index %= self.count
        if 0 <= index < self.count:
            self._move(index, now)
            self._requested.append(index)

    def seek(self, index: int, now: float) -> None:
        """Make a frame due and continue from it unless paused; replace earlier steps and seeks.

        :param index: limited to the frames of the file.
        """
        index = min(max(index, 0), self.count - 1)
        self._requested.clear()
        self._move(index, now)
        self._requested.append(index)

    def setPace(self, now: float, speed: float = 1.0, rate: float = 0.0, fastest: bool = False) -> None:
        """Change the pace; the elapsed share of the current frame's time stays.

        :param speed: factor of the recorded pace.
        :param rate: frames per second instead; 0 for the recorded pace.
        :param fastest: make every frame due at once.
        """
        share = self._share(now)
        self._speed, self._rate, self._fastest = speed, rate, fastest
        before, after = self._at(self.next - 1), self._at(self.next)
        self._position, self._since, self.behind = before + share * (after - before), now, 0.0

    def setLoop(self, on: bool, now: float) -> None:
        """Switch looping; with loop, a replay that has ended continues."""
        self.loop = on
        if on and self.ended:
            self._continue(now)

    # ---- time

    @property
    def _factor(self) -> float:
        return 1.0 if self._rate else self._speed

    def _at(self, index: int) -> float:
        # File time of a frame, extrapolated before the first and after the last.
        if self._rate:
            return index / self._rate
        if 0 <= index < self.count:
            return self.times[index]
        period = self.duration / (self.count - 1) if self.count > 1 else 1 / DEFAULT_RATE
        return self.duration + period if index >= self.count else -period

    def _now(self, now: float) -> float:
        return self._position if self.halted else self._position + (now - self._since) * self._factor

    def _share(self, now: float) -> float:
        if self._fastest:
            return 0.0
        before, after = self._at(self.next - 1), self._at(self.next)
        return min(1.0, max(0.0, (self._now(now) - before) / (after - before)))

    def _halt(self, now: float) -> None:
        # After a late pause, at most one frame is due at once.
        self._position = min(self._now(now), self._at(self.next))
        self._since = now

    def _continue(self, now: float) -> None:
        self._since, self.behind = now, 0.0
        self.ended = False

    def _move(self, index: int, now: float) -> None:
        self.next = index + 1
        self._position, self._since, self.behind = self._at(index), now, 0.0
        self.ended = False


def statusOf(name: str, playhead: Playhead, settings: ReplaySettings) -> str:
    """Return the status sentence: file, position and pace.

    :param name: of the file.
    """
    if playhead.ended:
        return endText(name, playhead)
    passed = 0.0
    text = _("frame {frame} of {count}")
    if settings.pace == "recorded" and playhead.timed:
        passed = playhead.times[max(playhead.next - 1, 0)]
        text = _("frame {frame} of {count} ({passed} s of {duration} s)")
    position = text.format(
        frame=playhead.next, count=playhead.count, passed=_number(passed), duration=_number(playhead.duration)
    )
    if playhead.paused:
        return _("{name} is paused at {position}.").format(name=name, position=position)
    text = _("Replaying {name}: {position}, {pace}.")
    if playhead.behind >= 0.05:
        text = _("Replaying {name}: {position}, {pace}, {behind} s behind.")
    pace = _paceOf(settings, playhead.timed)
    return text.format(name=name, position=position, pace=pace, behind=_number(playhead.behind))


def endText(name: str, playhead: Playhead) -> str:
    """Return the sentence about the end of the file."""
    frames = counted(playhead.count, _("1 frame"), _("{count:,} frames"))
    return _("The replay of {name} has ended: {frames}.").format(name=name, frames=frames)


def _paceOf(settings: ReplaySettings, timed: bool) -> str:
    if settings.pace == "fastest":
        return _("as fast as possible")
    if settings.pace == "rate" or not timed:
        rate = settings.rate if settings.pace == "rate" else settings.speed * DEFAULT_RATE
        return _("{rate:g} frames per second").format(rate=rate)
    return _("real time") if settings.speed == 1 else _("{speed:g} times real time").format(speed=settings.speed)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
