"""Frames of a multi-frame DICOM file as images, according to the place and moment of each frame."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...Model.Frame import Matrix, pictureToRAS
from .Geometry import (
    MISSING,
    Placed,
    earliest,
    frameStep,
    frameTimes,
    noPlaceOf,
    numbersOf,
    ownPlane,
    spacingOf,
)
from .Pixels import functionalGroup, itemsOf, valueOf
from .Stacking import FRAMES, SAME_AXES, areMoments, nearOf, normalOf, pixelSide, placesOf, stacked

_PLACES = {0x00209056, 0x00209057, 0x00200032, 0x00200037, 0x00201041, 0x00209301, 0x00209302, 0x0048021E, 0x0048021F}
"""Dimensions of a frame's place: stack, position, orientation, location. All others belong to its moment."""


@dataclass(frozen=True)
class FrameInfo:
    """Description of one frame.

    :param number: index in the file, from 0.
    :param plane: IJKToRAS of the frame, 4x4 float64, None without a position.
    :param time: seconds since the epoch (UTC), None when unknown.
    :param stack: StackID, or the dimension that replaces it.
    :param dimensions: DimensionIndexValues, without the dimensions of the place.
    :param temporal: TemporalPositionIndex, None when the frame has none.
    :param measured: echo, kind, weighting and delays, by keyword; as attributes.
    """

    number: int
    plane: Matrix | None
    time: float | None
    stack: str
    dimensions: tuple[int, ...]
    temporal: int | None
    measured: dict[str, str] = field(default_factory=dict)


def hasOwnPlaces(dataset: Any) -> bool:
    """Return True when functional groups have the positions of the frames."""
    own, shared = (itemsOf(dataset, f"{kind}FunctionalGroupsSequence") for kind in ("PerFrame", "Shared"))
    names = ("PlanePositionSequence", "PlanePositionVolumeSequence")
    return bool(own) and any(name in groups for groups in (*own, *shared) for name in names)


def framesOf(dataset: Any, count: int) -> list[FrameInfo]:
    """Return the descriptions of ``count`` frames."""
    times = frameTimes(dataset, count)
    there = _groupsThere(dataset)
    pointers = [int(valueOf(item, "DimensionIndexPointer") or 0) for item in itemsOf(dataset, "DimensionIndexSequence")]
    found = []
    for frame in range(count):
        content = functionalGroup(dataset, frame, "FrameContentSequence")
        values = integersOf(content, "DimensionIndexValues")
        if len(values) != len(pointers):
            values = []
        pairs = list(zip(pointers, values, strict=True)) if values else []
        index = next((str(value) for pointer, value in pairs if pointer == 0x00209056), "")
        stack = None if content is None else valueOf(content, "StackID")
        temporal = integersOf(content, "TemporalPositionIndex")
        found.append(
            FrameInfo(
                frame,
                ownPlane(dataset, frame),
                times[frame],
                index if stack is None else str(stack),
                tuple(value for pointer, value in pairs if pointer not in _PLACES),
                temporal[0] if temporal else None,
                _measured(dataset, frame, there),
            )
        )
    return found


_MEASURED = (
    ("MREchoSequence", "EffectiveEchoTime", "EchoTime"),
    ("MRDiffusionSequence", "DiffusionBValue", "DiffusionBValue"),
    ("MRDiffusionSequence", "DiffusionDirectionality", "DiffusionDirectionality"),
    ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime", "TriggerTime"),
    ("TemporalPositionSequence", "TemporalPositionTimeOffset", "TemporalPositionTimeOffset"),
    ("MRModifierSequence", "InversionTimes", "InversionTime"),
    ("MRTimingAndRelatedParametersSequence", "FlipAngle", "FlipAngle"),
    ("SegmentIdentificationSequence", "ReferencedSegmentNumber", "SegmentNumber"),
)
"""Functional group, keyword in it, and name as an attribute."""
_TYPES = ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence", "XAXRFFrameCharacteristics")


def _groupsThere(dataset: Any) -> set[str]:
    # Keywords of the groups that any frame has: searching each frame for each group takes long.
    from pydicom.datadict import keyword_for_tag

    kinds = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
    tags = {tag for kind in kinds for groups in itemsOf(dataset, kind) for tag in groups.keys()}  # noqa: SIM118
    return {keyword_for_tag(tag) for tag in tags}


def _measured(dataset: Any, frame: int, there: set[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for group, keyword, name in _MEASURED:
        if group not in there:
            continue
        item = functionalGroup(dataset, frame, group)
        value = None if item is None else valueOf(item, keyword)
        if value is not None:
            found[name] = str(value)
    diffusion = functionalGroup(dataset, frame, "MRDiffusionSequence") if "MRDiffusionSequence" in there else None
    directions = () if diffusion is None else itemsOf(diffusion, "DiffusionGradientDirectionSequence")
    direction = next(iter(directions), None)
    if gradient := numbersOf(direction, "DiffusionGradientOrientation", 3):
        found["DiffusionGradientOrientation"] = "\\".join(f"{value:g}" for value in gradient)
    for name in there.intersection(_TYPES):
        item = functionalGroup(dataset, frame, name)
        if item is not None:
            kinds = valueOf(item, "FrameType")
            if kinds is not None:
                found["ImageType"] = kinds if isinstance(kinds, str) else "\\".join(map(str, kinds))
            component = valueOf(item, "ComplexImageComponent")
            if component is not None:
                found["ComplexImageComponent"] = str(component)
    return found


def integersOf(source: Any | None, name: str) -> list[int]:
    """Return the integers of an element; none where it is missing or damaged."""
    value = None if source is None else valueOf(source, name)
    if value is None:
        return []
    several = hasattr(value, "__len__") and not isinstance(value, str)
    try:
        return [int(number) for number in (value if several else [value])]
    except (ValueError, TypeError):
        return []


_PAUSE, _SAME_TIME = 1.5, 0.01
"""Least length of a pause between time points, in usual intervals of slices; and rounding of times, in periods."""
_NOWHERE = 1e9
"""Replaces the axes of a frame without a position."""
_VECTORS = tuple(
    f"{name}Vector"
    for name in (
        *("EnergyWindow", "Detector", "Phase", "Rotation", "RRInterval"),
        *("TimeSlot", "AngularView", "TimeSlice"),
    )
)

Key = tuple[Hashable, ...]


def placed(dataset: Any, columns: int, rows: int, count: int) -> list[Placed]:
    """Return the images of frames without positions in functional groups, in order."""
    times, own = frameTimes(dataset, count), ownPlane(dataset, 0)
    matrix = pictureToRAS(columns, rows, spacingOf(dataset, 0)) if own is None else own
    noPlace = noPlaceOf(dataset, 0, count)
    single = [Placed([frame], matrix, times[frame], noPlace) for frame in range(count)]
    step = None if own is None else frameStep(dataset, count)
    volumes = _byVectors(dataset, count) if step is not None else []
    if step is None or not volumes:
        return single
    matrix[:3, 2] *= step / np.linalg.norm(matrix[:3, 2])
    return [Placed(frames, matrix, earliest(times, frames), noPlace) for frames in volumes]


def imagesOf(frames: Sequence[FrameInfo], dataset: Any, columns: int, rows: int) -> list[Placed]:
    """Return the images of frames: volumes of evenly spaced frames, else single slices.

    Where a moment lacks a place, as after an aborted scan, the slice is :data:`MISSING`.

    :param frames: from :func:`framesOf` of the data set.
    """
    nowhere = pictureToRAS(columns, rows, spacingOf(dataset, 0))
    made: list[Placed] = []
    for group in stacksOf(frames):
        for image in _imagesOfStack(group, nowhere):
            noPlace = noPlaceOf(dataset, image.first, len(frames)) if image.ijkToRAS is nowhere else {}
            made.append(replace(image, attributes={**image.attributes, **noPlace}) if noPlace else image)
    return made


def stacksOf(frames: Sequence[FrameInfo]) -> list[list[FrameInfo]]:
    """Group the frames by stack and axes."""
    groups: list[list[FrameInfo]] = []
    known: dict[tuple[str, bytes], int] = {}
    axes, limits = np.empty((len(frames), 3, 2)), np.empty(len(frames))
    for frame in frames:
        own = np.full((3, 2), _NOWHERE) if frame.plane is None else frame.plane[:3, :2]
        key = frame.stack, own.tobytes()
        if key not in known:
            # Differences in the last digits do not count.
            near = (np.abs(axes[: len(groups)] - own).max(axis=(1, 2)) <= limits[: len(groups)]).nonzero()[0]
            same = (int(number) for number in near if groups[number][0].stack == frame.stack)
            known[key] = next(same, len(groups))
        number = known[key]
        if number == len(groups):
            axes[number], limits[number] = own, SAME_AXES * pixelSide(own)
            groups.append([])
        groups[number].append(frame)
    return groups


def momentsOf(places: Sequence[Sequence[FrameInfo]]) -> dict[int, Key]:
    """Return the key of the moment of each frame, by frame number; the keys sort in order.

    The key is the first of these that differs between all frames of each place: DimensionIndexValues,
    TemporalPositionIndex, measured values (echo, kind, weighting, delays), and times. Finally it is the rank by time,
    or by the order in the file without times.

    :param places: the frames of each place.
    """
    frames = [frame for place in places for frame in place]
    most = max(map(len, places))
    if most == 1:
        return {frame.number: () for frame in frames}
    names = sorted({name for frame in frames for name in frame.measured})

    def dimensions(frame: FrameInfo) -> Key:
        return frame.dimensions

    def temporal(frame: FrameInfo) -> Key:
        return (-1 if frame.temporal is None else frame.temporal,)

    def measured(frame: FrameInfo) -> Key:
        return tuple(_sortable(frame.measured.get(name, "")) for name in names)

    def time(frame: FrameInfo) -> Key:
        return (-math.inf if frame.time is None else frame.time,)

    choices: tuple[tuple[Callable[[FrameInfo], Key], ...], ...] = (
        (dimensions,),
        (temporal,),
        (dimensions, temporal, measured),
        (temporal, measured),
        (time,),
    )
    for choice in choices:
        keys = {frame.number: tuple(part for one in choice for part in one(frame)) for frame in frames}
        if found := _distinguishing(keys, places, most):
            return found
    timed = all(frame.time is not None for frame in frames)
    ranked = [sorted(place, key=lambda frame: (frame.time or 0.0 if timed else 0.0, frame.number)) for place in places]
    ranks: list[Sequence[int]] = [range(len(place)) for place in ranked]
    if timed and min(map(len, places)) < most:
        ranks = _ranksByTime([np.array([frame.time for frame in place], np.float64) for place in ranked], most)
    return {
        frame.number: (rank,)
        for place, numbers in zip(ranked, ranks, strict=True)
        for frame, rank in zip(place, numbers, strict=True)
    }


def _ranksByTime(places: Sequence[Matrix], most: int) -> list[Sequence[int]]:
    """Return the ranks of the frames of each place, some of which lack moments, as after an aborted scan.

    Each moment begins one period after the one before. It begins after the longest pause in a period; without a pause,
    at the first slice of those that lack no moment.

    :param places: times of the frames of each place, seconds, ascending.
    """
    full = np.array([times for times in places if len(times) == most])
    usual = full.mean(axis=0)
    period = float(np.median(np.diff(usual)))
    if period <= 0:
        return [range(len(times)) for times in places]
    begin = float((full - usual).mean(axis=1).min())
    phases = np.sort([(times[0] - usual[np.abs(usual - times[0]).argmin()]) % period for times in places])
    gaps = np.diff(phases, append=phases[0] + period)
    if gaps.max() > _PAUSE * np.median(gaps):
        first = float(phases[(gaps.argmax() + 1) % len(phases)])
        begin -= (begin - first + _SAME_TIME * period) % period
    else:
        begin -= _SAME_TIME * period
    starts = usual + begin
    ranks: list[Sequence[int]] = []
    for times in places:
        numbers = (np.searchsorted(starts, times) - 1).clip(0).tolist()
        ranks.append(numbers if len(set(numbers)) == len(times) else range(len(times)))
    return ranks


def framePlaces(frames: Sequence[FrameInfo]) -> list[list[FrameInfo]]:
    """Group frames by place, in order along their normal. All frames have a plane and the same axes."""
    plane = _plane(frames[0])
    heights = np.array([_plane(frame)[:3, 3] for frame in frames]) @ normalOf(plane)
    near = nearOf(plane, float(np.linalg.norm(plane[:3, 2])))
    return [[frames[number] for number in place] for place in placesOf(heights, near)]


def _imagesOfStack(frames: Sequence[FrameInfo], nowhere: Matrix) -> list[Placed]:
    if frames[0].plane is None:
        return [Placed([frame.number], nowhere, frame.time, _own([frame])) for frame in frames]
    places = framePlaces(frames)
    moments = momentsOf(places)
    order = sorted(set(moments.values()), key=tuple)
    if len(places) == 1:
        ranks = {key: rank for rank, key in enumerate(order)}
        ordered = sorted(frames, key=lambda frame: (ranks[moments[frame.number]], frame.number))
        return [Placed([frame.number], _plane(frame), frame.time, _own([frame])) for frame in ordered]
    positions = np.array([_plane(place[0])[:3, 3] for place in places])
    stack = stacked(positions, _plane(places[0][0]), FRAMES)
    if stack is None:
        return [Placed([frame.number], _plane(frame), frame.time, _own([frame])) for frame in frames]
    # Segmentations mostly omit empty slices: these are not missing.
    whole = any("SegmentNumber" in frame.measured for frame in frames)
    found: dict[Key, list[FrameInfo | None]] = {key: [None] * (stack.numbers[-1] + 1) for key in order}
    for number, place in zip(stack.numbers, places, strict=True):
        for frame in place:
            found[moments[frame.number]][number] = frame
    made = []
    for key in order:
        slices = found[key]
        there = [frame for frame in slices if frame is not None]
        attributes = _own(there)
        absent = [str(number + 1) for number, frame in enumerate(slices) if frame is None]
        if absent and not whole:
            attributes["MissingSlices"] = " ".join(absent)
        times = [frame.time for frame in there if frame.time is not None]
        members = [MISSING if frame is None else frame.number for frame in slices]
        made.append(Placed(members, stack.matrix, min(times, default=None), attributes))
    return made


def _distinguishing(keys: dict[int, Key], places: Sequence[Sequence[FrameInfo]], most: int) -> dict[int, Key] | None:
    # The keys, without parts that are the same in all frames or differ from slice to slice; None where they tell no
    # moments apart.
    columns = list(zip(*keys.values(), strict=True))
    kept = [number for number, column in enumerate(columns) if 1 < len(set(column)) <= most]
    found: dict[int, Key] = {frame: tuple(key[number] for number in kept) for frame, key in keys.items()}
    return found if areMoments([[found[frame.number] for frame in place] for place in places]) else None


def _byVectors(dataset: Any, count: int) -> list[list[int]]:
    # Volumes of a file with one position: nuclear medicine numbers the slices and moments of the frames.
    slices = integersOf(dataset, "SliceVector")
    others = [values for name in _VECTORS if len(values := integersOf(dataset, name)) == count]
    if len(slices) != count:
        # Views from several directions, or moments of one slice, make no volume.
        return [] if any(len(set(values)) > 1 for values in others) else [list(range(count))]
    volumes: dict[Key, dict[int, int]] = defaultdict(dict)
    for frame, key in enumerate(zip(*others, strict=True) if others else [()] * count):
        volumes[key][slices[frame]] = frame
    if sum(map(len, volumes.values())) < count or len({tuple(sorted(one)) for one in volumes.values()}) > 1:
        return []
    return [[volumes[key][number] for number in sorted(volumes[key])] for key in sorted(volumes, key=tuple)]


def _own(frames: Sequence[FrameInfo]) -> dict[str, str]:
    # Values that all frames of an image share.
    found = {
        name: value
        for name, value in frames[0].measured.items()
        if all(frame.measured.get(name) == value for frame in frames)
    }
    if frames[0].temporal is not None and len({frame.temporal for frame in frames}) == 1:
        found["TemporalPositionIndex"] = str(frames[0].temporal)
    if frames[0].stack:
        found["StackID"] = frames[0].stack
    return found


def _plane(frame: FrameInfo) -> Matrix:
    assert frame.plane is not None
    return frame.plane


def _sortable(text: str) -> Hashable:
    try:
        return (0, float(text), "")
    except ValueError:
        return (1, 0.0, text)
