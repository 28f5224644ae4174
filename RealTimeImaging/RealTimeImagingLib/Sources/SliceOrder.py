"""The order in which DICOM slices out of files are put together: files come in any order, senders send in one."""

from __future__ import annotations

import math
from collections.abc import Iterator

from .DICOMShelf import Slice
from .Listing import naturalOrder

Key = tuple[float, float, float, int, list[tuple[int, int, str]]]


def timeOrder(slice_: Slice) -> Key:
    """Sort key: by time, time point and number, so that time points follow one another."""
    attributes = slice_.attributes
    return (
        slice_.time or 0.0,
        _number(attributes.get("TriggerTime")),
        _number(attributes.get("TemporalPositionIdentifier")),
        slice_.instance.header.instanceNumber or 0,
        naturalOrder(slice_.instance.path),
    )


def _number(text: str | None) -> float:
    try:
        number = float(text or 0)
    except ValueError:
        return 0.0
    return number if math.isfinite(number) else 0.0


class SliceOrder:
    """The slices of one series that wait for their turn.

    A slice whose number follows the last one goes on at once. Another one waits for those before it, ``patience``
    seconds at most. Slices that come all at once, or that are of several times at one place, go on in the order of
    their times.

    :param patience: seconds; 0 or more.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._waiting: list[tuple[float, Slice]] = []
        self._last = 0
        """The highest InstanceNumber that went on."""
        self._many = False

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, slice_: Slice, now: float) -> None:
        """Take a slice.

        :param now: monotonic seconds.
        """
        self._waiting.append((now, slice_))

    def more(self) -> None:
        """More files are there that were not read yet: those that wait go on together with them."""
        self._many = self._many or bool(self._waiting)

    @property
    def due(self) -> float:
        """When a slice has waited long enough, monotonic seconds."""
        return min((came for came, _ in self._waiting), default=math.inf) + self._patience

    def take(self, now: float, all_: bool = False) -> Iterator[tuple[float, Slice]]:
        """The slices whose turn it is, with the time at which they came."""
        if all_ or self._many or self._severalTimes():
            self._many = False
            self._waiting.sort(key=lambda pair: timeOrder(pair[1]))
            while self._waiting:
                yield self._go(0)
            return
        while self._waiting:
            places = range(len(self._waiting))
            follow = [place for place in places if self._follows(self._waiting[place][1])]
            if not follow and self.due > now:
                return
            yield self._go(min(follow or places, key=lambda place: timeOrder(self._waiting[place][1])))

    def _go(self, place: int) -> tuple[float, Slice]:
        pair = self._waiting.pop(place)
        self._last = max(self._last, pair[1].instance.header.instanceNumber or 0)
        return pair

    def _follows(self, slice_: Slice) -> bool:
        number = slice_.instance.header.instanceNumber
        return number is None or number <= self._last + 1

    def _severalTimes(self) -> bool:
        times: dict[object, set[float | None]] = {}
        for _, one in self._waiting:
            place = (one.moment, *(round(float(value), 3) for value in one.matrix[:3].ravel()))
            times.setdefault(place, set()).add(one.time)
        return any(len(found) > 1 for found in times.values())
