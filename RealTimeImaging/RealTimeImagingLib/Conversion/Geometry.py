"""Stacks of slices: order along the normal, even distances, gaps, and tilt.

Sources: PS3.3 section C.7.6.2.1.1 (image position and orientation). All coordinates are LPS millimetres.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from ..Formats.DICOM.Geometry import EVEN, PROJECTIONS, Tolerance, evenlySpaced
from ..Model.Frame import Matrix
from .Headers import Common, Slice

PICTURES = (*PROJECTIONS, "CR", "DX", "MG", "IO", "PX")
"""Modalities whose files without positions are pictures, and no slices of a volume."""
UNEVEN = 0.25
"""Largest deviation of a slice from its even place along the normal, in slice distances. Above EVEN it is reported."""
BESIDE = 0.5
"""Largest deviation in the plane of the slice, in pixels."""
TILT = 1e-3
"""Smallest sine of the angle between stack and slice normal that is reported as tilt."""
_MOST_RUNS = 4
"""Most parts into which a change of the slice distance divides a series."""


class UnevenError(Exception):
    """The slices make no volume. The message has the reason."""


@dataclass(frozen=True)
class Stack:
    """Evenly spaced slices above one another.

    :param places: index of the slice at each place of the stack, None for a missing slice.
    :param ijkToLPS: 4x4 float64. The third column is the step from slice to slice; in a tilted stack it is not
        perpendicular to the others.
    :param warnings: sentences.
    """

    places: list[int | None]
    ijkToLPS: Matrix
    warnings: list[str] = field(default_factory=list)


def normalOf(common: Common) -> Matrix:
    """Return the normal of the slices, of length 1: right-handed with the directions of a row and a column."""
    assert common.orientation is not None
    return _normal(common.orientation)


@lru_cache
def _normal(cosines: tuple[float, ...]) -> Matrix:
    normal = np.cross(cosines[:3], cosines[3:])
    unit: Matrix = normal / np.linalg.norm(normal)
    unit.flags.writeable = False
    return unit


def stacked(slices: Sequence[Slice]) -> list[Stack]:
    """Return the stacks that slices make, in order.

    Evenly spaced slices make one stack, even with gaps. They make several where the distance changes.

    :param slices: sorted along the normal, each in another place, with position and orientation.
    :raises UnevenError: the slices make no volume.
    """
    positions = np.array([one.position for one in slices])
    first = slices[0].common
    if len(slices) == 1:
        return [Stack([0], _matrix(first, positions[0], normalOf(first) * (first.step or 1.0)))]
    isEven = _toleranceOf(first)
    found = evenlySpaced(positions, normalOf(first), isEven)
    if found is None or _changesForGood(found[1]):
        return _runs(slices, positions, isEven)
    step, numbers = found
    places: list[int | None] = [None] * (numbers[-1] + 1)
    for number, place in enumerate(numbers):
        places[place] = number
    absent = [str(place + 1) for place, number in enumerate(places) if number is None]
    words = []
    if absent:
        names = ", ".join(absent[:10]) + (" ..." if len(absent) > 10 else "")
        words.append(
            f"{len(absent)} of {len(places)} slices are missing (number {names}); "
            "they are filled with the lowest value."
        )
    else:
        deviations = positions - (positions[0] + np.arange(len(slices))[:, np.newaxis] * step)
        off = float(np.linalg.norm(deviations, axis=1).max())
        if off > EVEN * float(np.linalg.norm(step)):
            words.append(f"The slice distance is uneven: slices are up to {off:.3g} mm off their even places.")
    return [_stack(first, places, positions[0], step, words)]


def _toleranceOf(common: Common) -> Tolerance:
    normal, pixel = normalOf(common), min(common.spacing or (1.0, 1.0))

    def isEven(deviations: Matrix, step: Matrix) -> bool:
        along = np.abs(deviations @ normal)
        beside = np.linalg.norm(deviations - np.outer(deviations @ normal, normal), axis=1)
        return bool(along.max() <= UNEVEN * float(np.linalg.norm(step)) and beside.max() <= BESIDE * pixel)

    return isEven


def _changesForGood(numbers: list[int]) -> bool:
    # Three equal gaps in a row mean another slice distance, not missing slices.
    gaps = np.diff(numbers).tolist()
    return any(gaps[at] > 1 and gaps[at] == gaps[at + 1] == gaps[at + 2] for at in range(len(gaps) - 2))


def _runs(slices: Sequence[Slice], positions: Matrix, isEven: Tolerance) -> list[Stack]:
    # The longest even parts, beginning with the first slice.
    common = slices[0].common
    runs: list[list[int]] = [[0]]
    for number in range(1, len(slices)):
        run = [*runs[-1], number]
        if len(run) > 2:
            at = positions[run]
            step = at[1] - at[0]
            expected = at[0] + np.arange(len(run))[:, np.newaxis] * step
            if not isEven(at[-2:] - expected[-2:], step / 2):
                runs.append([number])
                continue
        runs[-1] = run
    gaps = np.diff(positions @ normalOf(common))
    if len(runs) > _MOST_RUNS:
        common_, count = Counter(np.round(gaps, 3).tolist()).most_common(1)[0]
        raise UnevenError(
            f"{len(slices)} slices are unevenly spaced, {gaps.min():.3g} to {gaps.max():.3g} mm apart "
            f"({count} of {len(gaps)} gaps are {common_:.3g} mm): they make no volume."
        )
    stacks = []
    for number, run in enumerate(runs, 1):
        at = positions[run]
        step = (at[-1] - at[0]) / (len(run) - 1) if len(run) > 1 else normalOf(common) * (common.step or 1.0)
        words = f"The distance of the slices changes; this is part {number} of {len(runs)}."
        stacks.append(_stack(common, list(run), at[0], step, [words]))
    return stacks


def _stack(common: Common, places: list[int | None], origin: Matrix, step: Matrix, words: list[str]) -> Stack:
    normal, length = normalOf(common), float(np.linalg.norm(step))
    beside = float(np.linalg.norm(step - normal * (step @ normal))) / length
    if beside <= TILT:
        return Stack(places, _matrix(common, origin, normal * length), words)
    angle = np.degrees(np.arcsin(min(1.0, beside)))
    tilted = f"The stack is tilted by {angle:.1f} degrees (gantry tilt): the axes of the file are not at right angles."
    return Stack(places, _matrix(common, origin, step), [*words, tilted])


def unplaced(slices: Sequence[Slice]) -> Stack:
    """Stack slices without positions in the given order: axial, beginning at the origin.

    The distance comes from SliceLocation, or else from SpacingBetweenSlices or SliceThickness.
    """
    common = slices[0].common
    step = common.step or 1.0
    words = []
    if len(slices) > 1:
        source = "that of SpacingBetweenSlices or SliceThickness" if common.step else "assumed as 1 mm"
        locations = [one.location for one in slices]
        if all(location is not None for location in locations):
            gaps = np.abs(np.diff(np.array(locations, dtype=float)))
            if gaps.min() > 0 and gaps.max() - gaps.min() <= UNEVEN * gaps.mean():
                step, source = float(gaps.mean()), "that of SliceLocation"
        order = "The files have no positions: the order of the slices is that of InstanceNumber"
        words.append(f"{order}, their distance is {source}.")
    matrix = np.eye(4)
    across, down = common.spacing or (1.0, 1.0)
    matrix[:3, :3] = np.diag([across, down, step])
    return Stack(list(range(len(slices))), matrix, words)


def _matrix(common: Common, origin: Matrix, step: Matrix) -> Matrix:
    assert common.orientation is not None
    across, down = common.spacing or (1.0, 1.0)
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1] = np.array(common.orientation[:3]) * across, np.array(common.orientation[3:]) * down
    matrix[:3, 2], matrix[:3, 3] = step, origin
    return matrix
