"""Repeated events, counted so that a sender with one fault does not fill the list of events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from ..Model.Event import Event
from ..Model.Text import textsOf

_ = textsOf(__file__)

FEW = 3
"""Events of one kind that are reported one by one when their texts differ."""
PERIOD = 10.0
"""Seconds between two reports of repeated events."""
MOST_KINDS = 1000
"""Kinds that are counted one by one; further kinds are counted together, so that no peer fills the memory."""

Kind = tuple[str, str, str]
"""Computer, code and device."""
_OTHERS: Kind = ("others", "others", "others")


@dataclass
class _Repeated:
    due: float
    texts: set[str] = field(default_factory=set)
    last: Event | None = None
    count: int = 0


class Repetitions:
    """Filter of the events that peers cause.

    For each computer, code and device, FEW events with different texts are reported at once. The others are counted,
    and reported together every PERIOD. A kind without events for a PERIOD is new again.

    :param clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kinds: dict[Kind, _Repeated] = {}

    def report(self, event: Event, computer: str, device: str = "") -> Iterator[Event]:
        """Yield the event when it is to be reported now, otherwise count it."""
        kind = computer, event.code, device
        if kind not in self._kinds and len(self._kinds) >= MOST_KINDS:
            kind = _OTHERS
        found = self._kinds.setdefault(kind, _Repeated(self._clock() + PERIOD))
        if event.text not in found.texts and len(found.texts) < FEW:
            found.texts.add(event.text)
            yield event
        else:
            found.count, found.last = found.count + 1, event

    def due(self, gone: str = "") -> Iterator[Event]:
        """Yield one event for the counted events of each kind whose time has come.

        :param gone: a computer that has disconnected: its events are all due, and are forgotten.
        """
        now = self._clock()
        for kind, found in list(self._kinds.items()):
            isGone = bool(gone) and kind[0] == gone
            isDue = isGone or now >= found.due
            if isDue and found.last:
                yield _together(found.last, found.count)
                found.last, found.count, found.due = None, 0, now + PERIOD
            elif isDue:
                isGone = True
            if isGone:
                del self._kinds[kind]

    def rest(self) -> Iterator[Event]:
        """Yield one event for the counted events of each kind: the source stops."""
        for found in self._kinds.values():
            if found.last:
                yield _together(found.last, found.count)
        self._kinds.clear()


def _together(last: Event, count: int) -> Event:
    text = _("{count:,} more. The last: {text}") if count > 1 else _("Again: {text}")
    return replace(last, text=text.format(count=count, text=last.text))
