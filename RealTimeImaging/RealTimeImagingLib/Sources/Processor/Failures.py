"""Reports of frames that a function failed with: few events that name all of them."""

from __future__ import annotations

from collections.abc import Iterator

from ...Model.Event import Event, Remedy
from ...Model.Text import textsOf

_ = textsOf(__file__)

REPORT_PERIOD = 1.0
"""Seconds between two reports of frames that fail for the same reason."""
RELOAD = Remedy(_("Reload"))
"""Restart of the function from its file, which the user has corrected."""


class Failures:
    """Reports of frames that failed: each new reason at once, the same one again once in REPORT_PERIOD.

    :param stream: name of the stream of the frames.
    :param function: name of the function.
    """

    def __init__(self, stream: str, function: str) -> None:
        self._stream, self._function = stream, function
        self._reason, self._count, self._first, self._last = "", 0, 0, 0
        self._due = 0.0
        self._remedy = RELOAD

    def add(self, number: int, reason: str, now: float, remedy: Remedy = RELOAD) -> Iterator[Event]:
        """Add a failed frame; yield the event when it is due.

        :param remedy: other settings with which it would not fail.
        """
        if reason != self._reason:
            yield from self.rest()
            self._reason, self._due, self._remedy = reason, now + REPORT_PERIOD, remedy
            text = _("{function} failed with frame {number} of {stream}: {reason}")
            yield self._event(text.format(number=number, reason=reason, **self._names))
            return
        self._first = number if not self._count else self._first
        self._count, self._last = self._count + 1, number
        if now >= self._due:
            self._due = now + REPORT_PERIOD
            yield from self.rest()

    def rest(self) -> Iterator[Event]:
        """Yield the event of the frames that are not reported yet."""
        if self._count:
            text = _("{function} failed with {count} more frames of {stream}, {first} to {last}: {reason}")
            values = {"count": self._count, "first": self._first, "last": self._last, "reason": self._reason}
            self._count = 0
            yield self._event(text.format(**values, **self._names))

    @property
    def _names(self) -> dict[str, str]:
        return {"function": self._function, "stream": self._stream}

    def _event(self, text: str) -> Event:
        return Event("processing-failed", text, "error", self._stream, remedy=self._remedy)
