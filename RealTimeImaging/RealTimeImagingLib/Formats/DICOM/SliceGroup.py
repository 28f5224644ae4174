"""Slices of one series: the volumes that they make, and the completeness of each volume."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ...Model.Files import Stamp
from ...Model.Frame import Image, Pixels
from .Header import SliceHeader
from .Stacking import ARRIVING, haveSameAxes, nearOf, normalOf, stacked


@dataclass(frozen=True)
class Instance:
    """An instance on disk.

    :param stamp: stamp of the complete file.
    :param stored: seconds since the epoch (UTC) at which the file was complete.
    :param known: the same file existed before, bit for bit.
    """

    path: str
    stamp: Stamp
    header: SliceHeader
    stored: float
    known: bool = False


_UNEVEN = 0.05
"""Largest deviation of the distances of consecutive slices from even ones, in slice distances."""


class Slice:
    """One slice that has arrived.

    :param image: image of the slice.
    :param association: number of the association that sent it.
    """

    def __init__(self, instance: Instance, image: Image, association: int) -> None:
        self.instance, self.association = instance, association
        self.matrix, self.time, self.attributes = image.ijkToRAS, image.deviceTime, image.attributes
        self.shape, self.dtype = image.pixels.shape, image.pixels.dtype
        self.pixels: Pixels | None = image.pixels
        """None: the file has to be read again."""
        self.height = 0.0
        """Millimetres along the normal of its group."""
        header = instance.header
        self.moment = (header.echo, header.kinds, header.temporal, header.sequence)


class SliceGroup:
    """Volumes of a series with the same orientation and size."""

    def __init__(self, first: Slice) -> None:
        self._shape, self._plane = first.shape, first.matrix
        self._normal = normalOf(first.matrix)
        self.near = nearOf(first.matrix, float(np.linalg.norm(first.matrix[:3, 2])))
        """Largest distance of two slices in one place, millimetres."""
        self.open: list[Volume] = []
        self.last: Closed | None = None
        self.places: list[float] = []
        """Known heights of the slices of a volume. A single height stands for any."""
        self.headerFits = True
        self._before = 0

    def fits(self, slice_: Slice) -> bool:
        """Return True when the slice belongs to this group."""
        return slice_.shape == self._shape and haveSameAxes(self._plane, slice_.matrix)

    def measure(self, slice_: Slice) -> None:
        """Set the height of the slice."""
        slice_.height = float(slice_.matrix[:3, 3] @ self._normal)

    def expected(self, slice_: Slice) -> int | None:
        """Return the number of slices of a volume according to the header, None when unknown."""
        return slice_.instance.header.slices if self.headerFits else None

    def learn(self, closed: Closed) -> None:
        """Learn from a finished volume about the next ones."""
        volume = closed.volume
        count, expected = len(volume.slices), self.expected(volume.slices[0])
        if closed.why == "repeat" and expected and count < expected:
            # The same lower count twice: the header is wrong.
            self.headerFits = count != self._before
            self._before = count
            if self.headerFits:
                return
        alone = count == 1 and closed.why in ("silence", "released") and not _allSingle(volume, self.open)
        heights = [*volume.heights, *volume.lost]
        if closed.announced > len(heights) != self._before:
            # It was cut off, unless the next one has as many slices: then the header counts several volumes.
            self._before = len(heights)
            return
        if not alone and len(heights) >= len(self.places) and not missingPlaces(heights):
            self.places = sorted(heights)


class Volume:
    """Slices of a volume that have arrived.

    :param now: monotonic seconds.
    """

    def __init__(self, group: SliceGroup, moment: tuple[str, ...], now: float) -> None:
        self.group, self.moment, self.changed = group, moment, now
        self.slices: list[Slice] = []
        self.lost: list[float] = []
        """Heights of missing slices before the first."""
        self.shown = 0
        """Number of slices when the incomplete volume was last shown."""

    @property
    def heights(self) -> list[float]:
        """Heights of the slices, in the order of their arrival."""
        return [one.height for one in self.slices]

    @property
    def expected(self) -> int | None:
        """Number of slices according to the header, None when unknown."""
        return self.group.expected(self.slices[0])

    def has(self, height: float) -> bool:
        """Return True when a slice is at this height."""
        return self._among(height, self.heights)

    def missing(self) -> list[float] | None:
        """Return the heights of the missing slices; None when unevenly spaced slices leave them unknown."""
        places = self.group.places
        if len(places) > 1 and all(self._among(height, places) for height in self.heights):
            found: list[float] | None = [place for place in places if not self.has(place)]
        else:
            found = missingPlaces(self.heights)
        if found is None:
            return None
        return sorted([*found, *(height for height in self.lost if not self._among(height, found))])

    def _among(self, height: float, heights: Sequence[float]) -> bool:
        return any(abs(height - one) <= self.group.near for one in heights)

    def endsBefore(self, slice_: Slice) -> bool:
        """Return True when the slice belongs to the next time point, although its place is free.

        This volume then lost its first slices.
        """
        ordered = [one.instance.header.number for one in (*self.slices, slice_)]
        numbers = [number for number in ordered if number is not None]
        steps = np.diff(self.heights)
        if len(steps) < 2 or len(numbers) < len(ordered) or any(a >= b for a, b in pairwise(numbers)):
            return False
        step = float(np.median(steps))
        before = (self.heights[0] - slice_.height) / step if step else 0.0
        lost = round(before)
        even = bool((np.abs(steps - step) <= _UNEVEN * abs(step)).all()) and abs(before - lost) <= _UNEVEN
        if not even or not 1 <= lost <= min(ARRIVING.few, len(self.slices)):
            return False
        self.lost = [self.heights[0] - number * step for number in range(1, lost + 1)]
        return True

    @property
    def announced(self) -> int:
        """Number of slices that the header announces; 0 without one, or when it counts several volumes."""
        images = self.slices[0].instance.header.images or 0
        together = sum(len(one.slices) for one in self.group.open)
        several = self.group.places or together > len(self.slices)
        return self.expected or (images if images > together and not several else 0)

    def looksWhole(self) -> bool:
        """Return True when there is no sign of a missing slice."""
        return not self.missing() and self.announced <= len(self.slices)

    def why(self) -> str:
        """Return the reason why the volume is complete, "" when it is not; see :class:`Closed`."""
        count, header, places = len(self.slices), self.slices[0].instance.header, self.group.places
        if self.expected:
            return "count" if count >= self.expected else ""
        if header.images == count and self.group.headerFits:
            return "images"
        if len(places) == 1 or (places and count >= len(places) and all(self.has(place) for place in places)):
            return "places"
        return ""


@dataclass(frozen=True)
class Closed:
    """A finished volume.

    :param why: "count" or "images" (in the header), "places", "repeat", "released" or "silence".
    :param when: monotonic seconds.
    :param announced: ``announced`` of the volume when it was finished.
    """

    volume: Volume
    why: str
    when: float
    announced: int


def missingPlaces(heights: Sequence[float]) -> list[float] | None:
    """Return the heights of missing slices, ascending, by gaps in the spacing; None for unevenly spaced slices.

    :param heights: heights of the existing slices, millimetres, all different.
    """
    if len(heights) < 2:
        return []
    positions = np.outer(sorted(heights), (0.0, 0.0, 1.0))
    stack = stacked(positions, np.eye(4), ARRIVING)
    if stack is None:
        return None
    absent = sorted({*range(stack.numbers[-1])}.difference(stack.numbers))
    return [float(positions[0, 2] + number * stack.matrix[2, 2]) for number in absent]


def _allSingle(volume: Volume, volumes: Sequence[Volume]) -> bool:
    # Moments of a single slice: several volumes of one slice each, all in one place.
    return len(volumes) > 1 and all(len(one.slices) == 1 and volume.has(one.slices[0].height) for one in volumes)


_REOPEN = 10
"""A volume that was closed by silence may still get slices for this multiple of the silence."""


class Assembly:
    """Assembly of volumes from slices.

    :param silence: seconds without a slice after which an incomplete volume is closed.
    """

    def __init__(self, silence: float) -> None:
        self._silence = silence
        self._groups: dict[str, list[SliceGroup]] = {}

    @property
    def open(self) -> list[Volume]:
        """The volumes that are not closed yet."""
        return [volume for groups in self._groups.values() for group in groups for volume in group.open]

    @property
    def due(self) -> float:
        """Monotonic seconds at which silence closes the next volume."""
        return min((volume.changed + self._silence for volume in self.open), default=math.inf)

    def add(self, slice_: Slice, now: float) -> Iterator[Closed]:
        """Add a slice and yield the volumes that it closes."""
        group = self._groupOf(slice_)
        target: Volume | None = None
        for volume in list(group.open):
            if volume.moment == slice_.moment and not volume.has(slice_.height) and not volume.endsBefore(slice_):
                target = volume
            elif volume.moment == slice_.moment or (
                len(volume.slices) > 1 and abs(slice_.height - volume.slices[0].height) <= group.near
            ):
                yield self._close(volume, "repeat", now)
        if target is None:
            target = self._reopened(group, slice_, now) or Volume(group, slice_.moment, now)
            group.open.append(target)
        target.slices.append(slice_)
        target.changed = now
        if why := target.why():
            yield self._close(target, why, now)

    def released(self, association: int, now: float) -> Iterator[Closed]:
        """Yield the volumes that the end of an association closes."""
        for volume in self.open:
            sent = sum(one.association == association for one in volume.slices)
            if sent > 1 and volume.looksWhole():
                yield self._close(volume, "released", now)

    def silent(self, now: float) -> Iterator[Closed]:
        """Yield the volumes that silence closes."""
        for volume in self.open:
            group = volume.group
            if volume in group.open and volume.changed + self._silence <= now:
                yield self._close(volume, "silence", now)
                for other in [one for one in group.open if one.why() == "places"]:
                    yield self._close(other, "places", now)
        for groups in self._groups.values():
            for group in groups:
                if group.last and now > group.last.when + _REOPEN * self._silence:
                    group.last = None

    def _groupOf(self, slice_: Slice) -> SliceGroup:
        groups = self._groups.setdefault(slice_.instance.header.series, [])
        group = next((one for one in groups if one.fits(slice_)), None)
        if group is None:
            group = SliceGroup(slice_)
            groups.append(group)
        group.measure(slice_)
        return group

    def _close(self, volume: Volume, why: str, now: float) -> Closed:
        group = volume.group
        closed = Closed(volume, why, now, volume.announced)
        group.learn(closed)
        group.open.remove(volume)
        group.last = closed
        return closed

    def _reopened(self, group: SliceGroup, slice_: Slice, now: float) -> Volume | None:
        last = group.last
        if last is None or last.why in ("repeat", "count") or now > last.when + _REOPEN * self._silence:
            return None
        if last.volume.moment != slice_.moment or last.volume.has(slice_.height):
            return None
        gaps = missingPlaces([*last.volume.heights, slice_.height])
        if last.why in ("places", "images") and (gaps or len(last.volume.slices) == 1):
            return None  # another volume in another place
        if gaps is None:
            return None
        # The known places were those of an incomplete volume, or the known count that of a part of it.
        group.headerFits = group.headerFits and last.why != "images"
        group.places = []
        return last.volume
