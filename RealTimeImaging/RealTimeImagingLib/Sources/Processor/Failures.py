"""Why frames failed or were skipped, in few events that name all of them, and why a function's process ended."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...Model.Event import Event, Remedy
from ...Model.Quantities import counted
from ...Model.Text import Text, joined, textsOf
from ...Processing.Loading import crashPlace, functionPath
from ...Processing.Runner import LOAD_TIME
from . import ProcessorSettings
from .FunctionProcess import FunctionProcess

_ = textsOf(__file__)

LONGER, LONGEST = 6, 86400.0
"""Times the limit, and at most so many seconds, that are offered for a call that took too long."""
REPORT_PERIOD = 1.0
"""Seconds between two reports of frames that fail for reasons that were reported."""
MOST_REASONS = 8
"""Most reasons that are reported at once; frames that fail for further ones are reported together."""
RELOAD = Remedy(_("Reload"))
"""Restart of the function from its file, which the user has corrected."""
NEWEST = Remedy(_("Process newest only"), {"every": "newest"})
"""Restart of a function that is slower than the images arrive."""
SKIP_PERIOD, SKIPS_GO_ON, SERIES_PAUSE = 1.0, 60.0, 5.0
"""Seconds from the first skipped frame of a series to its report, and from there to the next report while the series
goes on; seconds without a skipped frame that end a series."""

STARTING = _("{function} skipped {count} of {stream}, {range}: it is starting, and {waiting} already wait.")
SLOW = _("{function} skipped {count} of {stream}, {range}: it is slower than they arrive, and {waiting} already wait.")
LOST = _("{function} skipped {count} of {stream}, {range}: they did not reach its process.")
"""Sentences about skipped frames, by reason."""


class Failures:
    """Reports of frames that failed: each new reason at once, frames of the same reasons once in REPORT_PERIOD.

    Reasons that differ in numbers only are the same.

    :param stream: name of the stream of the frames.
    :param function: name of the function.
    :param results: name of the stream of its results, the subject of the events.
    """

    def __init__(self, stream: str, function: str, results: str) -> None:
        self._stream, self._function, self._results = stream, function, results
        self._told: set[str] = set()
        self._count, self._first, self._last = 0, 0, 0
        self._reason, self._remedy = "", RELOAD
        self._due = 0.0

    def add(self, number: int, reason: str, now: float, remedy: Remedy = RELOAD) -> Iterator[Event]:
        """Add a failed frame; yield the event when it is due.

        :param remedy: other settings with which it would not fail.
        """
        kind = re.sub(r"\d+", "0", reason)
        if kind not in self._told and len(self._told) < MOST_REASONS:
            yield from self.rest()
            self._told.add(kind)
            self._due = max(self._due, now + REPORT_PERIOD)
            text = _("{function} failed with frame {number} of {stream}: {reason}")
            yield self._event(text.format(number=number, reason=reason, **self._names), remedy)
            return
        self._first = number if not self._count else self._first
        self._count, self._last, self._reason, self._remedy = self._count + 1, number, reason, remedy
        yield from self.due(now)

    def due(self, now: float) -> Iterator[Event]:
        """Yield the event of the frames that are not reported yet when it is due."""
        if self._count and now >= self._due:
            self._due = now + REPORT_PERIOD
            yield from self.rest()
            if len(self._told) >= MOST_REASONS:
                self._told.clear()

    def rest(self) -> Iterator[Event]:
        """Yield the event of the frames that are not reported yet, with the last reason."""
        if self._count:
            text = _("{function} failed with {count} more frames of {stream}, {first} to {last}: {reason}")
            if self._count == 1:
                text = _("{function} failed with 1 more frame of {stream}, {first}: {reason}")
            values = {"count": self._count, "first": self._first, "last": self._last, "reason": self._reason}
            self._count = 0
            yield self._event(text.format(**values, **self._names), self._remedy)

    @property
    def _names(self) -> dict[str, str]:
        return {"function": self._function, "stream": self._stream}

    def _event(self, text: str, remedy: Remedy) -> Event:
        return Event("processing-failed", text, "error", self._results, remedy=remedy)


class Skips:
    """Reports of frames that were skipped although every frame was wanted.

    :param stream: name of the stream of the frames.
    :param function: name of the function.
    :param results: name of the stream of its results, the subject of the events.
    """

    def __init__(self, stream: str, function: str, results: str) -> None:
        self._names = {"stream": stream, "function": function}
        self._results, self._reason = results, STARTING
        self._count, self._first, self._last, self._waiting = 0, 0, 0, 0
        self._due = self._skippedAt = -SERIES_PAUSE

    def add(self, first: int, count: int, reason: Text, waiting: int, now: float) -> Iterator[Event]:
        """Add frames that follow each other; yield the event of those before that have another reason.

        :param reason: STARTING, SLOW or LOST.
        :param waiting: number of frames that wait.
        """
        if reason is not self._reason:
            yield from self.rest()
        if reason is not self._reason or now > self._skippedAt + SERIES_PAUSE:
            self._due = now + SKIP_PERIOD
        if not self._count:
            self._first, self._waiting = first, waiting
        self._reason, self._skippedAt = reason, now
        self._count, self._last = self._count + count, first + count - 1

    def due(self, now: float) -> Iterator[Event]:
        """Yield the event of the frames that are not reported yet when it is due, or their series has ended."""
        if self._count and (now >= self._due or now > self._skippedAt + SERIES_PAUSE):
            self._due = now + SKIPS_GO_ON
            yield from self.rest()

    def rest(self) -> Iterator[Event]:
        """Yield the event of the frames that are not reported yet."""
        if self._count:
            range_ = str(self._first)
            if self._count > 1:
                range_ = _("{first} to {last}").format(first=self._first, last=self._last)
            text = self._reason.format(
                count=counted(self._count, _("1 image"), _("{count:,} images")),
                range=range_,
                waiting=self._waiting,
                **self._names,
            )
            self._count = 0
            remedy = NEWEST if self._reason is SLOW else None
            yield Event("images-skipped", text, "warning", self._results, remedy=remedy)


def tookTooLong(process: FunctionProcess) -> bool:
    """Return True when a process was ended for the time that a call took."""
    return process.killed or "Timeout (" in process.trace


def reasonOfEnd(process: FunctionProcess, settings: ProcessorSettings, inSetup: bool) -> str:
    """Return why a process ended, and where in the function's file.

    :param inSetup: it ended while it loaded or prepared the function, which may take longer than a frame.
    """
    trace, path = process.trace, functionPath(settings.function)
    place = crashPlace(trace, path)
    if tookTooLong(process):
        text = _("It took longer than {seconds} s ({place}).") if place else _("It took longer than {seconds} s.")
        seconds = max(LOAD_TIME, settings.limit) if inSetup else settings.limit
        return text.format(seconds=f"{seconds:g}", place=place)
    fatal = next((line for line in trace.splitlines() if line.startswith(("Fatal", "Windows fatal"))), "")
    last = fatal or (trace.splitlines()[-1] if trace else "")
    text = _("Exit code {code} ({place}).") if place else _("Exit code {code}.")
    return joined(text.format(code=process.exitCode, place=place), last)


def remedyOfEnd(process: FunctionProcess, limit: float) -> Remedy:
    """Return the offer that may keep the next process from ending like this one.

    :param limit: seconds that a call may take.
    """
    seconds = min(round(LONGER * limit, 1), LONGEST)
    if not tookTooLong(process) or seconds <= limit:
        return RELOAD
    return Remedy(_("Allow {seconds} s").format(seconds=f"{seconds:g}"), {"limit": seconds})
