"""Which slices make a volume, and when it has come: the rules, without files and network.

A volume has come when the first of these holds:

1. It has as many slices as the header says: NumberOfSlices; GE's or Philips' private count; ImagesInAcquisition divided
   by NumberOfTemporalPositions; ImagesInAcquisition alone (not for CT, where a rotation may be an acquisition). Or,
   from the second volume of a series on, it has all the places that the one before had.
2. A slice comes for a place that is taken: the next time point has begun. Slices of another moment (temporal position,
   echo, kind of image) make a volume of their own; they end this one when they begin in the same place and this one
   has two slices or more, as then the moments follow one another and are not interleaved. So do slices that came one
   by one in the order of their numbers and places, and then one with a higher number that lies where the row should
   have begun: the first slices of this time point were lost, and it is of the next.
3. The association that sent two or more of its slices has ended, and no slice is seen to be missing. (Many senders
   open an association for each slice.)
4. No slice came for it for so many seconds.

If a slice comes later that continues it, as after a pause, or as a count in the header was too small, it is shown once
more.

Without TemporalPositionIdentifier and alike, the order in which slices come says which time point they belong to. A
series in which a single slice is repeated is one of single slices, wherever the next ones lie.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from .DICOMShelf import Closed, Shelf, Slice, Volume, among, missingPlaces

_REOPEN = 10
"""For so many times the silence after which it was shown a volume may still get slices."""


class Assembly:
    """Slices in, volumes out.

    :param silence: seconds without a slice after which a volume is shown as it is.
    """

    def __init__(self, silence: float) -> None:
        self._silence = silence
        self._shelves: dict[str, list[Shelf]] = {}

    @property
    def open(self) -> list[Volume]:
        """The volumes that are not shown yet."""
        return [volume for shelves in self._shelves.values() for shelf in shelves for volume in shelf.open]

    @property
    def due(self) -> float:
        """When silence ends the next volume, monotonic seconds."""
        return min((volume.changed + self._silence for volume in self.open), default=math.inf)

    def add(self, slice_: Slice, now: float) -> Iterator[Closed]:
        """Take a slice that has come; the volumes that are ended by it."""
        shelf = self._shelfOf(slice_)
        target: Volume | None = None
        for volume in list(shelf.open):
            if volume.moment == slice_.moment and not volume.has(slice_.height) and not volume.endsBefore(slice_):
                target = volume
            elif volume.moment == slice_.moment or (
                len(volume.slices) > 1 and among(slice_.height, volume.heights[:1])
            ):
                yield self._close(volume, "repeat", now)
        if target is None:
            target = self._reopened(shelf, slice_, now) or Volume(shelf, slice_.moment, now)
            shelf.open.append(target)
        target.slices.append(slice_)
        target.changed = now
        if why := target.why():
            yield self._close(target, why, now)

    def released(self, association: int, now: float) -> Iterator[Closed]:
        """An association has ended."""
        for volume in self.open:
            sent = sum(one.association == association for one in volume.slices)
            if sent > 1 and volume.looksWhole():
                yield self._close(volume, "released", now)

    def silent(self, now: float) -> Iterator[Closed]:
        """Time has passed."""
        for volume in self.open:
            shelf = volume.shelf
            if volume in shelf.open and volume.changed + self._silence <= now:
                yield self._close(volume, "silence", now)
                for other in [one for one in shelf.open if one.why() == "places"]:
                    yield self._close(other, "places", now)
        for shelves in self._shelves.values():
            for shelf in shelves:
                if shelf.last and now > shelf.last.when + _REOPEN * self._silence:
                    shelf.last = None

    def _shelfOf(self, slice_: Slice) -> Shelf:
        shelves = self._shelves.setdefault(slice_.instance.header.series, [])
        shelf = next((one for one in shelves if one.fits(slice_)), None)
        if shelf is None:
            shelf = Shelf(slice_)
            shelves.append(shelf)
        shelf.measure(slice_)
        return shelf

    def _close(self, volume: Volume, why: str, now: float) -> Closed:
        shelf = volume.shelf
        closed = Closed(volume, why, now, volume.announced)
        shelf.learn(closed)
        shelf.open.remove(volume)
        shelf.last = closed
        return closed

    def _reopened(self, shelf: Shelf, slice_: Slice, now: float) -> Volume | None:
        last = shelf.last
        if last is None or last.why in ("repeat", "count") or now > last.when + _REOPEN * self._silence:
            return None
        if last.volume.moment != slice_.moment or last.volume.has(slice_.height):
            return None
        gaps = missingPlaces([*last.volume.heights, slice_.height], [])
        if last.why in ("places", "images") and (gaps or len(last.volume.slices) == 1):
            return None  # another volume, which lies elsewhere
        if gaps is None:
            return None
        # What was known of the volume was too little: places of an incomplete one, a count of a part of it.
        shelf.headerFits = shelf.headerFits and last.why != "images"
        shelf.places = []
        return last.volume
