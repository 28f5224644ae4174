"""Volumes of slices that arrive one by one: when a volume is complete, and the image that it becomes.

A volume holds the slices of one stream with the same average, repetition and heart phase. It ends as soon as one of
these holds:

- It has as many slices as the header declares (encodingLimits), or as the volume before if the header declares nothing.
- A later volume is complete that began after its last slice, or, without a declared number, a later volume begins.
- One of its slices comes again, the measurement ends, no slice has arrived for a time, or the memory is full.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...Formats.DICOM.Stacking import ARRIVING, haveSameAxes, nearOf, normalOf, stacked
from ...Model.Frame import ATTRIBUTE_NAME, LPS_TO_RAS, GetBuffer, Image, Matrix, Pixels
from .Images import Part
from .Protocol import IMAGE_TYPES, ImageHeader

Moment = tuple[int, int, int]
NUMBERS = ("image_series_index", "image_index", "repetition", "acquisition_time_stamp")
"""Fields of the header that each frame has as an attribute."""
SOMETIMES = (
    *("average", "contrast", "phase", "set", "measurement_uid", "flags", "physiology_time_stamp"),
    *("user_int", "user_float", "patient_table_position"),
)
"""Fields that a frame has as an attribute when they are not zero."""
PREFIX = "MRD."
"""Start of the names of these attributes."""


@dataclass(eq=False)
class Volume:
    """Slices of one moment.

    :param declared: number of slices that the header declares; 0: none.
    :param first: serial number of the slice that began it. ``last``: of the latest one.
    :param changed: seconds of listening, as in Silence.py, at which the latest slice arrived.
    """

    stream: str
    moment: Moment
    declared: int
    first: int
    last: int = 0
    changed: float = 0.0
    slices: dict[int, Part] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes of all slices."""
        return sum(part.pixels.nbytes for part in self.slices.values())


@dataclass(frozen=True, eq=False)
class Closed:
    """A volume that has ended.

    :param why: "whole", "overtaken", "next", "repeat", "end", "silence" or "memory".
    :param missing: number of slices that it lacks.
    :param absent: places of missing slices, as far as they are known: the first voxel in LPS, by slice.
    """

    volume: Volume
    why: str
    missing: int = 0
    absent: Mapping[int, Matrix] = field(default_factory=dict)


@dataclass(eq=False)
class _Stream:
    open: dict[Moment, Volume] = field(default_factory=dict)
    places: dict[int, Matrix] = field(default_factory=dict)
    trusted: bool = True
    """False once volumes have ended without the number of slices that the header declares, and none has had it."""
    learnt: int = 0
    whole: Volume | None = None
    """The last volume that was complete by the number of its slices."""

    def count(self, declared: int) -> int:
        """Return the number of slices that make a volume complete, 0 when it is unknown."""
        return declared if declared and self.trusted else self.learnt


class Stacks:
    """The volumes of one measurement that are not complete.

    :param silence: seconds without a slice after which a volume ends.
    :param limit: most bytes of all slices; the largest volume ends above it.
    """

    def __init__(self, silence: float, limit: int) -> None:
        self._silence, self._limit = silence, limit
        self._streams: dict[str, _Stream] = {}
        self._serial = 0
        self._held = 0

    @property
    def open(self) -> list[Volume]:
        """The volumes that have not ended, oldest first."""
        return sorted((one for each in self._streams.values() for one in each.open.values()), key=lambda one: one.first)

    @property
    def due(self) -> float:
        """Seconds of listening at which silence ends the next volume."""
        return min((one.changed + self._silence for one in self.open), default=float("inf"))

    def add(self, stream: str, part: Part, declared: int, now: float) -> Iterator[Closed]:
        """Add a slice and yield the volumes that it ends.

        :param declared: number of slices that the header declares; 0: none.
        """
        state = self._streams.setdefault(stream, _Stream())
        self._serial += 1
        index, moment = part.header.slice, part.moment
        state.places[index] = part.plane[:3, 3]
        if moment in state.open and index in state.open[moment].slices:
            yield self._close(state, state.open[moment], "repeat")
        if not (declared and state.trusted):
            for other in [one for one in state.open.values() if one.moment != moment]:
                yield self._close(state, other, "next")
        volume = state.open.setdefault(moment, Volume(stream, moment, declared, self._serial))
        volume.slices[index] = part
        volume.last, volume.changed = self._serial, now
        self._held += part.pixels.nbytes
        count = state.count(declared)
        if count and len(volume.slices) >= count:
            for other in [one for one in state.open.values() if one.last < volume.first]:
                yield self._close(state, other, "overtaken")
            yield self._close(state, volume, "whole")
        while self._held > self._limit:
            largest = max(self.open, key=lambda one: one.nbytes)
            yield self._close(self._streams[largest.stream], largest, "memory")

    def silent(self, now: float) -> Iterator[Closed]:
        """Yield the volumes that silence ends."""
        for volume in self.open:
            if volume.changed + self._silence <= now:
                yield self._close(self._streams[volume.stream], volume, "silence")

    def end(self) -> Iterator[Closed]:
        """Yield all volumes, because the measurement has ended."""
        for volume in self.open:
            yield self._close(self._streams[volume.stream], volume, "end")

    def _close(self, state: _Stream, volume: Volume, why: str) -> Closed:
        del state.open[volume.moment]
        self._held -= volume.nbytes
        if why == "whole":
            state.whole = volume
            return Closed(volume, why)
        count, had = state.count(volume.declared), len(volume.slices)
        absent = {index: place for index, place in state.places.items() if index not in volume.slices}
        missing = max(0, count - had)
        if volume.declared and state.trusted:
            if state.whole is None and why != "memory":
                state.trusted, state.learnt = False, had
        elif state.whole and state.whole.moment == volume.moment and not {*state.whole.slices} & {*volume.slices}:
            # These slices belong to the volume before: it ended too early. The next volume shows the right number.
            state.learnt, state.whole = 0, None
            return Closed(volume, why, len(absent), absent)
        else:
            state.learnt = max(state.learnt, had)
        return Closed(volume, why, missing, absent if missing and len(absent) <= missing else {})


@dataclass(frozen=True, eq=False)
class Stacked:
    """An image of a volume.

    :param uneven: True when the slices are not evenly spaced: they are shown with equal distances.
    :param assumed: True when directions or sizes are missing, or directions are not perpendicular.
    """

    image: Image
    uneven: bool
    assumed: bool


def imagesOf(closed: Closed, getBuffer: GetBuffer) -> Iterator[Stacked]:
    """Yield the image of a volume; slices of different orientation, size or type become several images.

    Missing slices are zeros where their place is known.

    :param getBuffer: returns memory for the pixels, or None.
    :raises FrameError: an image is not valid.
    """
    groups: list[list[Part]] = []
    for _index, part in sorted(closed.volume.slices.items()):
        group = next((one for one in groups if _fits(one[0], part)), None)
        if group is None:
            groups.append([part])
        else:
            group.append(part)
    absent = list(closed.absent.values()) if len(groups) == 1 else []
    for group in groups:
        yield _stack(group, absent, getBuffer)


def imageOf(part: Part) -> Stacked:
    """Return the image of a part that is a volume of its own.

    :raises FrameError: the image is not valid.
    """
    return _made([part], part.pixels, part.plane, False)


def _fits(first: Part, part: Part) -> bool:
    if first.pixels.shape != part.pixels.shape or first.pixels.dtype != part.pixels.dtype:
        return False
    if (first.plane[:3, :3] == part.plane[:3, :3]).all():
        return True  # nearly always
    return haveSameAxes(first.plane, part.plane) and bool(normalOf(first.plane) @ normalOf(part.plane) > 0)


def _stack(parts: list[Part], absent: Sequence[Matrix], getBuffer: GetBuffer) -> Stacked:
    plane = parts[0].plane
    if len(parts) + len(absent) == 1:
        return _made(parts, parts[0].pixels, plane, False)
    normal, thickness = normalOf(plane), float(np.linalg.norm(plane[:3, 2]))
    places: list[tuple[Matrix, Part | None]] = [(part.plane[:3, 3], part) for part in parts]
    places += [(place, None) for place in absent]
    places.sort(key=lambda one: float(one[0] @ normal))
    positions = np.array([place for place, _part in places])
    apart = bool(np.diff(positions @ normal).min() > nearOf(plane, thickness))
    stack = stacked(positions, plane, ARRIVING) if apart else None
    ordered: list[Part | None]
    if stack is None:
        # No even distances, or several slices in one place: in the order of their numbers.
        ordered, matrix = list(parts), plane.copy()
        span = abs(float((parts[-1].plane[:3, 3] - plane[:3, 3]) @ normal)) / max(1, len(parts) - 1)
        matrix[:3, 2] = normal * (span or thickness)
    else:
        matrix = stack.matrix
        ordered = [None] * (stack.numbers[-1] + 1)
        for number, (_place, part) in zip(stack.numbers, places, strict=True):
            ordered[number] = part
    shape = (len(ordered), *parts[0].pixels.shape[1:])
    pixels = _memory(shape, parts[0].pixels.dtype, getBuffer)
    for layer, part in zip(pixels, ordered, strict=True):
        layer[...] = part.pixels[0] if part else 0
    return _made([part for part in ordered if part], pixels, matrix, stack is None, len(ordered))


def _memory(shape: tuple[int, ...], dtype: np.dtype[np.generic], getBuffer: GetBuffer) -> Pixels:
    nbytes = int(np.prod(shape)) * dtype.itemsize
    lent = getBuffer(nbytes)
    return np.empty(shape, dtype) if lent is None else lent[:nbytes].view(dtype).reshape(shape)


def _made(parts: list[Part], pixels: Pixels, plane: Matrix, uneven: bool, layers: int = 1) -> Stacked:
    times = [part.time for part in parts if part.time is not None]
    attributes = attributesOf(parts)
    if layers > len(parts):
        attributes[PREFIX + "missing_slices"] = str(layers - len(parts))
    image = Image(pixels, LPS_TO_RAS @ plane, min(times, default=None), attributes)
    return Stacked(image, uneven, any(part.assumed for part in parts))


# ---- attributes


def attributesOf(parts: Sequence[Part]) -> dict[str, str]:
    """Return attributes of an image: fields of the first header, and all meta attributes.

    Values that differ among the slices are a JSON list, from the first slice in space to the last. Several values of a
    meta attribute are joined with a backslash, as in DICOM.
    """
    found = _fieldsOf(parts[0].header)
    if len(parts) == 1:
        found[PREFIX + "slice"] = str(parts[0].header.slice)
    stamps = [part.header.acquisition_time_stamp for part in parts]
    if len({*stamps}) > 1:
        found[PREFIX + "acquisition_time_stamp"] = json.dumps(stamps)
    names = dict.fromkeys(name for part in parts for name in part.meta)
    for name in names:
        values = ["\\".join(part.meta[name]) if name in part.meta else None for part in parts]
        first = values[0]
        known = first if first is not None and all(one == first for one in values) else json.dumps(values)
        found["".join(one if ATTRIBUTE_NAME.fullmatch(one) else "_" for one in name)] = known
    return found


def _fieldsOf(header: ImageHeader) -> dict[str, str]:
    found = {PREFIX + "image_type": IMAGE_TYPES.get(header.image_type, str(header.image_type))}
    for name in (*NUMBERS, *SOMETIMES):
        value = getattr(header, name)
        if name in NUMBERS or np.any(value):
            numbers = value if isinstance(value, tuple) else (value,)
            found[PREFIX + name] = ", ".join(
                f"{number:.9g}" if isinstance(number, float) else str(number) for number in numbers
            )
    return found
