"""Restore the order of DICOM slices: their files may arrive in any order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from .DICOMShelf import Slice
from .Listing import naturalOrder

LONGEST, SHORTEST = 10.0, 0.25
"""Most seconds that a slice waits for others in a series without pauses: at first, and after permanent gaps."""
JOINED = 3
"""Slices in order after which a series that starts in its middle counts as ordered."""

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
    """The waiting slices of one series.

    A slice whose number follows the last one is released at once. Any other slice waits for those before it, until no
    slice has arrived for ``patience`` seconds. Where the numbers do not give the order, or many slices arrive together,
    all wait for that, and are released in the order of their times. A series with permanent gaps waits ever less.

    :param patience: seconds; 0 or more.
    """

    def __init__(self, patience: float) -> None:
        self._patience, self._longest = patience, LONGEST
        self._waiting: list[tuple[float, Slice]] = []
        self._last: int | None = None
        """The highest InstanceNumber that was released."""
        self._many = False

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, slice_: Slice, now: float) -> None:
        """Take a slice.

        :param now: monotonic seconds.
        """
        self._waiting.append((now, slice_))

    def more(self) -> None:
        """Note that more files are not read yet: the waiting slices are released together with theirs."""
        self._many = self._many or bool(self._waiting)

    @property
    def due(self) -> float:
        """When the next slices are released at the latest, monotonic seconds; infinite when none waits."""
        if not self._waiting:
            return math.inf
        return min(self._waiting[-1][0] + self._patience, self._waiting[0][0] + self._longest)

    def take(self, now: float, all_: bool = False) -> Iterator[tuple[float, Slice]]:
        """Release slices; yield them with their arrival times."""
        if not self._waiting:
            return
        enough = now >= self.due
        if enough and not all_ and now < self._waiting[-1][0] + self._patience:
            self._longest = max(SHORTEST, self._longest / 4)
        if all_ or enough or self._many:
            self._many = False
            self._waiting.sort(key=lambda pair: timeOrder(pair[1]))
            while self._waiting:
                yield self._go(0)
            return
        while follow := self._following():
            yield self._go(min(follow, key=lambda place: timeOrder(self._waiting[place][1])))

    def _go(self, place: int) -> tuple[float, Slice]:
        pair = self._waiting.pop(place)
        self._last = max(self._last or 0, pair[1].instance.header.instanceNumber or 0)
        return pair

    def _following(self) -> list[int]:
        # Places of the waiting slices that can be released.
        numbers = [one.instance.header.instanceNumber for _, one in self._waiting]
        if self._timesDecide(numbers):
            return []
        # A series that starts in its middle is in order when a few slices are.
        joined = self._last is None and len(numbers) >= JOINED and None not in numbers
        if joined and all(after == before + 1 for before, after in pairwise(numbers)):  # type: ignore[operator]
            return [0]
        last = self._last or 0
        return [place for place, number in enumerate(numbers) if number is None or number <= last + 1]

    def _timesDecide(self, numbers: Sequence[int | None]) -> bool:
        # True when numbers restart with each time point, or count all times of one place before the next place.
        known: dict[tuple[object, int], tuple[float, ...]] = {}
        places = set()
        for number, (_, one) in zip(numbers, self._waiting, strict=True):
            place = tuple(round(float(value), 3) for value in one.matrix[:3].ravel())
            places.add(place)
            if number is not None:
                if (one.moment, number) in known:
                    return True
                known[one.moment, number] = place
        return len(places) > 1 and any(
            known.get((moment, number + 1)) == place for (moment, number), place in known.items()
        )
