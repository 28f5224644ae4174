"""Watch over running streams: images that stay away, and the expected number of images of a run."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import qt

from ..Model.Event import Event
from ..Model.Quantities import durationText, rateText
from ..Model.Signal import Signal
from ..Model.Text import textsOf
from ..Sources import kindOf
from .RunningSource import RunningSource

_ = textsOf(__file__)

PERIOD = 0.25
"""Seconds between two looks at the streams."""
REGULAR = 5
"""Images after which a stream can count as regular."""
KEPT = 100
"""Latest periods of a stream."""
SPREAD = 2.0
"""Most times the median period that nine of ten periods of a regular stream take, and all but one on average."""
LATE, LATE_SECONDS = 3.0, 0.75
"""Periods, and seconds at least, without an image after which a regular stream is late."""
STALLED, STALLED_SECONDS = 10.0, 2.0
"""The same for a stalled stream."""
ENDS = ("replay-ended", "video-ended")
"""Codes of events after which no image is expected."""


@dataclass
class _Rhythm:
    """Periods of a stream, and the time of its last image."""

    number: int
    receiveTime: float
    came: float
    periods: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))

    def add(self, number: int, receiveTime: float, now: float) -> None:
        if number > self.number:
            self.periods.append(max(0.0, receiveTime - self.receiveTime) / (number - self.number))
        self.number, self.receiveTime, self.came = number, receiveTime, now

    @property
    def period(self) -> float | None:
        """Seconds between two images of a regular stream; None for another stream."""
        ordered = sorted(self.periods)
        if len(ordered) < REGULAR:
            return None
        median, rest = ordered[len(ordered) // 2], ordered[:-1]
        # Images in bursts, such as the echoes of each volume, have few long periods; a stall is one of them.
        limit, mean = SPREAD * median, sum(rest) / len(rest)
        steady = median > 0 and mean <= limit and ordered[round(0.9 * (len(ordered) - 1))] <= limit
        return median if steady else None


@dataclass(frozen=True)
class Stall:
    """Silence of a regular stream.

    :param since: monotonic seconds of its last image.
    :param period: seconds between two of its images before.
    :param stalled: False: an image is late; True: the stream has stopped.
    """

    since: float
    period: float
    stalled: bool


class StreamWatch:
    """Alarm for regular streams whose images stay away, and count of the expected images of a run.

    :param report: takes an event.
    :param clock: monotonic seconds.
    """

    def __init__(
        self,
        report: Callable[[Event], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._report, self._clock = report, clock
        self.changed: Signal[[str, Stall | None]] = Signal()
        """Emitted with a stream's name when it becomes late or stalled, each second while it is stalled, and with None
        when images come again."""
        self._rhythms: dict[tuple[RunningSource, str], _Rhythm] = {}
        self._stalls: dict[str, Stall] = {}
        self._told: dict[str, float] = {}
        self._complete: set[tuple[RunningSource, str]] = set()
        self._looked = clock()
        self._timer = qt.QTimer()
        self._timer.setInterval(round(1000 * PERIOD))
        self._timer.connect("timeout()", self.look)

    def close(self) -> None:
        """Release the timer. Do not use the object afterwards."""
        self._timer.stop()
        self._timer.disconnect("timeout()", self.look)

    @property
    def stalls(self) -> dict[str, Stall]:
        """The late and stalled streams by name."""
        return dict(self._stalls)

    def note(self, source: RunningSource, stream: str, number: int, receiveTime: float) -> None:
        """Note a frame, by its number and the time of its arrival in the acquisition process."""
        now, key = self._clock(), (source, stream)
        rhythm = self._rhythms.get(key)
        if rhythm is None:
            self._rhythms[key] = _Rhythm(number, receiveTime, now)
        else:
            rhythm.add(number, receiveTime, now)
        if stream in self._stalls:
            self._end(stream, now)
        expected = source.settings.expectedImages
        if expected and number + 1 >= expected and key not in self._complete:
            self._complete.add(key)
            text = _("All {count} images of {stream} have arrived.").format(count=expected, stream=stream)
            self._report(Event("run-complete", text, subject=stream))
        if not self._timer.isActive():
            self._looked = now
            self._timer.start()

    def heard(self, source: RunningSource, event: Event) -> None:
        """Take an event of a source: after its end no image is expected."""
        if event.code in ENDS:
            self._forget(source)

    def look(self) -> None:
        """Look at all streams once."""
        now = self._clock()
        late, self._looked = now - self._looked, now
        for source in {source for source, _stream in self._rhythms if source.ended}:
            self._checkComplete(source)
            self._forget(source)
        if not self._rhythms:
            self._timer.stop()
        # After a blocked window, images of the meantime are taken first.
        if late < 4 * PERIOD:
            for (source, stream), rhythm in self._rhythms.items():
                steady = kindOf(source.settings).steady and (source, stream) not in self._complete
                if steady and source.state == "running":
                    self._judge(stream, rhythm, now)

    def _judge(self, stream: str, rhythm: _Rhythm, now: float) -> None:
        period = rhythm.period
        if period is None:
            return
        quiet, known = now - rhythm.came, self._stalls.get(stream)
        if quiet > max(STALLED * period, STALLED_SECONDS):
            stall = Stall(rhythm.came, period, True)
            if known is None or not known.stalled:
                values = {"stream": stream, "quiet": durationText(quiet), "rate": rateText(1 / max(period, 1e-3))}
                text = _("{stream}: no image for {quiet}. Before, {rate} images/s arrived.").format(**values)
                self._report(Event("stalled", text, "warning", stream))
            elif now - self._told[stream] < 1.0:
                return
        elif quiet > max(LATE * period, LATE_SECONDS):
            stall = Stall(rhythm.came, period, False)
        else:
            return
        if stall.stalled or known is None:
            self._stalls[stream], self._told[stream] = stall, now
            self.changed.emit(stream, stall)

    def _end(self, stream: str, now: float) -> None:
        stall = self._stalls.pop(stream)
        self._told.pop(stream, None)
        if stall.stalled:
            quiet = durationText(now - stall.since)
            text = _("{stream}: images arrive again, after {quiet}.").format(stream=stream, quiet=quiet)
            self._report(Event("stall-ended", text, subject=stream))
        self.changed.emit(stream, None)

    def _checkComplete(self, source: RunningSource) -> None:
        expected = source.settings.expectedImages
        for one, stream in self._rhythms:
            if one is source and expected and (one, stream) not in self._complete:
                counts = source.counts.get(stream)
                values = {"count": counts.received if counts else 0, "expected": expected, "stream": stream}
                text = _("{count} of {expected} images of {stream} have arrived.").format(**values)
                self._report(Event("run-incomplete", text, "warning", stream))

    def _forget(self, source: RunningSource) -> None:
        for one, stream in [key for key in self._rhythms if key[0] is source]:
            del self._rhythms[one, stream]
            self._complete.discard((one, stream))
            if stream in self._stalls:
                del self._stalls[stream]
                self.changed.emit(stream, None)
