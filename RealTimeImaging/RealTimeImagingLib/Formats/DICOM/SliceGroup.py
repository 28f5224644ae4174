"""Slices of one series: the volumes that they make, and when each is complete."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ...Model.Files import Stamp
from ...Model.Frame import Image, Pixels
from .Geometry import normalOf
from .Header import Header


@dataclass(frozen=True)
class Instance:
    """An instance on disk.

    :param stamp: of the file when it was whole.
    :param stored: seconds since the epoch (UTC) at which it was whole.
    :param known: it was there before, bit for bit.
    """

    path: str
    stamp: Stamp
    header: Header
    stored: float
    known: bool = False


SAME_PLACE = 1e-3
"""Millimetres along the normal below which two slices are in one place, as in Readers.DICOMGeometry."""
_PLANE = 1e-4
"""How far the axes of two slices of one volume may differ (millimetres for a voxel), as there."""
_UNEVEN = 0.05
"""How far a distance between slices may be off a multiple of the smallest, in parts of the smallest."""
_MOST_MISSING = 8
"""Slices that may be missing by their gaps even where fewer are there; otherwise no more than are there."""
_MOMENT = ("ImageType", "TemporalPositionIdentifier", "SequenceName")


class Slice:
    """One slice that has come.

    :param image: of one slice.
    :param association: with which it came.
    """

    def __init__(self, instance: Instance, image: Image, association: int) -> None:
        self.instance, self.association = instance, association
        self.matrix, self.time, self.attributes = image.ijkToRAS, image.deviceTime, image.attributes
        self.shape, self.dtype = image.pixels.shape, image.pixels.dtype
        self.pixels: Pixels | None = image.pixels
        """None when they are to be read from the file again."""
        self.height = 0.0
        """Millimetres along the normal of its shelf."""
        echo = self.attributes.get("EchoNumbers") or self.attributes.get("EchoTime", "")
        self.moment = (echo, *(self.attributes.get(name, "") for name in _MOMENT))


class SliceGroup:
    """What the volumes of a series that lie in the same directions have in common."""

    def __init__(self, first: Slice) -> None:
        self._shape, self._axes = first.shape, first.matrix[:3, :2]
        self._normal = normalOf(first.matrix)
        self.open: list[Volume] = []
        self.last: Closed | None = None
        self.places: list[float] = []
        """Heights of the slices of a volume, as far as they are known; for one, any height will do."""
        self.headerFits = True
        self._before = 0

    def fits(self, slice_: Slice) -> bool:
        """Whether the slice belongs here."""
        return slice_.shape == self._shape and bool(np.allclose(slice_.matrix[:3, :2], self._axes, rtol=0, atol=_PLANE))

    def measure(self, slice_: Slice) -> None:
        """Note how high the slice lies."""
        slice_.height = float(slice_.matrix[:3, 3] @ self._normal)

    def expected(self, slice_: Slice) -> int | None:
        """How many slices a volume surely has."""
        return slice_.instance.header.slices if self.headerFits else None

    def learn(self, closed: Closed) -> None:
        """Note what a volume that has come tells of the next ones."""
        volume = closed.volume
        count, expected = len(volume.slices), self.expected(volume.slices[0])
        if closed.why == "repeat" and expected and count < expected:
            # Twice as few as before: it is the header that is wrong.
            self.headerFits = count != self._before
            self._before = count
            if self.headerFits:
                return
        alone = count == 1 and closed.why in ("silence", "released") and not _allSingle(volume, self.open)
        heights = [*volume.heights, *volume.lost]
        if not alone and len(heights) >= len(self.places) and not missingPlaces(heights, []):
            self.places = sorted(heights)


class Volume:
    """The slices of a volume that have come.

    :param now: monotonic seconds.
    """

    def __init__(self, shelf: SliceGroup, moment: tuple[str, ...], now: float) -> None:
        self.shelf, self.moment, self.changed = shelf, moment, now
        self.slices: list[Slice] = []
        self.lost: list[float] = []
        """Heights of slices that are known to be missing before the first."""
        self.shown = 0
        """How many slices it had when it was last shown while it grew."""

    @property
    def heights(self) -> list[float]:
        """Of the slices, in the order in which they came."""
        return [one.height for one in self.slices]

    @property
    def expected(self) -> int | None:
        """How many slices it surely is to have."""
        return self.shelf.expected(self.slices[0])

    def has(self, height: float) -> bool:
        """Whether the place is taken."""
        return among(height, self.heights)

    def missing(self) -> list[float] | None:
        """Heights of the slices that are missing; None when the slices lie unevenly and nothing can be told."""
        places = self.shelf.places
        known = len(places) > 1 and all(among(height, places) for height in self.heights)
        found = missingPlaces(self.heights, places if known else [])
        if found is None:
            return None
        return sorted([*found, *(height for height in self.lost if not among(height, found))])

    def endsBefore(self, slice_: Slice) -> bool:
        """Whether the slice is of the next time point, though its place is free: this one lost its first slices."""
        ordered = [one.instance.header.instanceNumber for one in (*self.slices, slice_)]
        numbers = [number for number in ordered if number is not None]
        steps = np.diff(self.heights)
        if len(steps) < 2 or len(numbers) < len(ordered) or any(a >= b for a, b in pairwise(numbers)):
            return False
        step = float(np.median(steps))
        before = (self.heights[0] - slice_.height) / step if step else 0.0
        lost = round(before)
        even = bool((np.abs(steps - step) <= _UNEVEN * abs(step)).all()) and abs(before - lost) <= _UNEVEN
        if not even or not 1 <= lost <= min(_MOST_MISSING, len(self.slices)):
            return False
        self.lost = [self.heights[0] - number * step for number in range(1, lost + 1)]
        return True

    @property
    def announced(self) -> int:
        """How many slices the header lets expect; 0 when it says nothing, or counts those of other volumes too."""
        images = self.slices[0].instance.header.images or 0
        together = sum(len(one.slices) for one in self.shelf.open)
        several = self.shelf.places or together > len(self.slices)
        return self.expected or (images if images > together and not several else 0)

    def looksWhole(self) -> bool:
        """Whether nothing tells that a slice is missing."""
        return not self.missing() and self.announced <= len(self.slices)

    def why(self) -> str:
        """Why it has come, "" when it has not."""
        count, header, places = len(self.slices), self.slices[0].instance.header, self.shelf.places
        if self.expected:
            return "count" if count >= self.expected else ""
        if header.images == count and self.shelf.headerFits:
            return "images"
        if len(places) == 1 or (places and count >= len(places) and all(self.has(place) for place in places)):
            return "places"
        return ""


@dataclass(frozen=True)
class Closed:
    """A volume that is shown.

    :param why: "count" or "images" (in the header), "places", "repeat", "released" or "silence".
    :param announced: as that of the volume when it came.
    :param when: monotonic seconds.
    """

    volume: Volume
    why: str
    when: float
    announced: int


def missingPlaces(heights: Sequence[float], places: Sequence[float]) -> list[float] | None:
    """Heights at which a slice is missing, ascending, by the known places or else by gaps in the spacing.

    :param heights: of the slices that are there, millimetres, all different.
    :param places: of all slices of a volume, where they are known.
    :returns: None: the slices lie neither evenly nor evenly with gaps.
    """
    if places:
        return [place for place in places if not among(place, heights)]
    steps = [after - before for before, after in pairwise(sorted(heights))]
    if not steps:
        return []
    smallest = min(steps)
    gaps = [round(step / smallest) for step in steps]
    # A damaged position must not make a volume of a million slices.
    if sum(gaps) - len(gaps) > max(_MOST_MISSING, len(heights)):
        return None
    if any(abs(step / smallest - gap) > _UNEVEN * gap for step, gap in zip(steps, gaps, strict=True)):
        return None
    return [
        before + number * step / gap
        for before, step, gap in zip(sorted(heights), steps, gaps, strict=False)
        for number in range(1, gap)
    ]


def among(height: float, heights: Sequence[float]) -> bool:
    """Whether the place is one of these."""
    return any(abs(height - one) < SAME_PLACE for one in heights)


def _allSingle(volume: Volume, volumes: Sequence[Volume]) -> bool:
    # Moments of a single slice that wait for others: several of them, all in one place.
    return len(volumes) > 1 and all(len(one.slices) == 1 and volume.has(one.slices[0].height) for one in volumes)


_REOPEN = 10
"""For so many times the silence after which it was shown a volume may still get slices."""


class Assembly:
    """Slices in, volumes out.

    :param silence: seconds without a slice after which a volume is shown as it is.
    """

    def __init__(self, silence: float) -> None:
        self._silence = silence
        self._shelves: dict[str, list[SliceGroup]] = {}

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

    def _shelfOf(self, slice_: Slice) -> SliceGroup:
        shelves = self._shelves.setdefault(slice_.instance.header.series, [])
        shelf = next((one for one in shelves if one.fits(slice_)), None)
        if shelf is None:
            shelf = SliceGroup(slice_)
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

    def _reopened(self, shelf: SliceGroup, slice_: Slice, now: float) -> Volume | None:
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
