"""Refused requests in words; of those who have no token, at most one event a second for each kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..Event import Event
from .HTTPConnection import Refusal

CODES = {
    0: "connection-cut",
    401: "wrong-token",
    404: "unknown-address",
    405: "unknown-method",
    408: "too-slow",
    411: "no-length",
    413: "too-large",
    415: "unsupported",
    429: "too-many",
    503: "not-ready",
}
"""Status to the code of the event; "not-usable" for others."""
PAUSE = 1.0
"""Seconds from one event of a kind to the next."""


def eventOf(refusal: Refusal, more: int = 0) -> Event:
    """The event that tells of a refused request.

    :param more: how many others of the same kind it stands for.
    """
    method = refusal.head.method if refusal.head else "a request"
    path = refusal.head.path if refusal.head else ""
    what = f"{method} {path[:60]}".strip()
    others = f" ({more} more of this kind)" if more else ""
    text = f"{refusal.sender}: {what} was not taken: {refusal.words}{others}"
    return Event(CODES.get(refusal.status, "not-usable"), text, "warning", refusal.sender)


@dataclass
class _Kind:
    due: float
    latest: Refusal | None = None
    count: int = 0


class Strangers:
    """Tells of the requests of those who have no token, however many they are.

    :param clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kinds: dict[int, _Kind] = {}

    def take(self, refusal: Refusal) -> Iterator[Event]:
        """One more: told at once when it is the first of its kind for a while."""
        kind = self._kinds.get(refusal.status)
        if kind is None or (not kind.count and self._clock() >= kind.due):
            self._kinds[refusal.status] = _Kind(self._clock() + PAUSE)
            yield eventOf(refusal)
            return
        kind.latest, kind.count = refusal, kind.count + 1

    def tell(self) -> Iterator[Event]:
        """Those that were only counted, when it is time."""
        now = self._clock()
        for status, kind in self._kinds.items():
            if kind.latest and now >= kind.due:
                yield eventOf(kind.latest, kind.count - 1)
                self._kinds[status] = _Kind(now + PAUSE)
