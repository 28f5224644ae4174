"""Where slices lie: their order along the normal, even distances, what is missing, uneven or tilted.

Sources: PS3.3 section C.7.6.2.1.1 (image position and orientation). All coordinates are LPS millimetres.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from ..Model.Frame import Matrix
from .Headers import Common, Slice

PROJECTIONS = ("US", "IVUS", "XA", "RF", "ES", "XC", "GM", "SM", "OP", "CR", "DX", "MG", "IO", "PX")
"""Modalities whose files without positions are pictures and never slices of a volume."""
EVEN = 0.02
"""How far a slice may be off its even place without a word, in slice distances."""
UNEVEN = 0.25
"""How far at most, in slice distances, and in a plane 0.5 pixels; farther it is in another place."""
TILT = 1e-3
"""Sine of the angle between the stack and the normal of its slices from which on it is tilted."""
_MISSING = 0.5
"""Most slices that may be missing, as a part of those that are there."""
_MOST_RUNS = 4


class UnevenError(Exception):
    """Slices that make no volume; the message says why."""


@dataclass(frozen=True)
class Stack:
    """Slices that lie evenly on one another.

    :param places: in the order of the stack: the number of the slice among those given, None where one is missing.
    :param ijkToLPS: 4x4 float64; the third column is the step from slice to slice, not at right angles when tilted.
    :param warnings: in words.
    """

    places: list[int | None]
    ijkToLPS: Matrix
    warnings: list[str] = field(default_factory=list)


def normalOf(common: Common) -> Matrix:
    """The normal of the slices, of length 1: across a row, then down a column, then this is right-handed."""
    assert common.orientation is not None
    return _normal(common.orientation)


@lru_cache
def _normal(cosines: tuple[float, ...]) -> Matrix:
    normal = np.cross(cosines[:3], cosines[3:])
    unit: Matrix = normal / np.linalg.norm(normal)
    unit.flags.writeable = False
    return unit


def stacked(slices: Sequence[Slice]) -> list[Stack]:
    """The stacks that slices make, in order.

    :param slices: along the normal, each in another place, with position and orientation. One stack when they lie
        evenly, also with some missing; several where the distance changes on the way.
    """
    positions = np.array([one.position for one in slices])
    first = slices[0].common
    if len(slices) == 1:
        return [Stack([0], _matrix(first, positions[0], normalOf(first) * (first.step or 1.0)))]
    pixel = min(first.spacing or (1.0, 1.0))
    step = (positions[-1] - positions[0]) / (len(slices) - 1)
    even, off = _evenness(positions, positions[0] + np.arange(len(slices))[:, np.newaxis] * step, step, first, pixel)
    if even:
        words = []
        if off > EVEN * float(np.linalg.norm(step)):
            words.append(f"The distance of the slices is uneven: they lie up to {off:.3g} mm beside even places.")
        return [_stack(first, list(range(len(slices))), positions[0], step, words)]
    return _withGaps(first, positions, pixel) or _runs(slices, positions, pixel)


def _evenness(positions: Matrix, expected: Matrix, step: Matrix, common: Common, pixel: float) -> tuple[bool, float]:
    normal, length = normalOf(common), float(np.linalg.norm(step))
    difference = positions - expected
    along = np.abs(difference @ normal)
    beside = np.linalg.norm(difference - np.outer(difference @ normal, normal), axis=1)
    off = float(np.linalg.norm(difference, axis=1).max())
    return bool(along.max() <= UNEVEN * length and beside.max() <= 0.5 * pixel), off


def _withGaps(common: Common, positions: Matrix, pixel: float) -> list[Stack]:
    # Distances that are whole multiples of one of them; never a distance that changes for good.
    gaps = np.diff(positions @ normalOf(common))
    step = float(np.median(gaps[gaps < 1.5 * gaps.min()]))
    numbers = np.rint(gaps / step).astype(int)
    missing = int(numbers.sum() - len(numbers))
    lasting = any(
        numbers[at] > 1 and numbers[at] == numbers[at + 1] == numbers[at + 2] for at in range(len(numbers) - 2)
    )
    if missing < 1 or missing > _MISSING * len(positions) or lasting:
        return []
    places = np.concatenate([[0], np.cumsum(numbers)])
    vector = (positions[-1] - positions[0]) / places[-1]
    even, _ = _evenness(positions, positions[0] + places[:, np.newaxis] * vector, vector, common, pixel)
    if not even:
        return []
    order: list[int | None] = [None] * (int(places[-1]) + 1)
    for number, place in enumerate(places.tolist()):
        order[place] = number
    absent = [str(place + 1) for place, number in enumerate(order) if number is None]
    names = ", ".join(absent[:10]) + (" ..." if len(absent) > 10 else "")
    words = f"{missing} of {len(order)} slices are missing (number {names}); they are filled with the lowest value."
    return [_stack(common, order, positions[0], vector, [words])]


def _runs(slices: Sequence[Slice], positions: Matrix, pixel: float) -> list[Stack]:
    # The longest even pieces, from the first slice on.
    common = slices[0].common
    runs: list[list[int]] = [[0]]
    for number in range(1, len(slices)):
        run = [*runs[-1], number]
        if len(run) > 2:
            at = positions[run]
            step = at[1] - at[0]
            expected = at[0] + np.arange(len(run))[:, np.newaxis] * step
            if not _evenness(at[-2:], expected[-2:], step / 2, common, pixel)[0]:
                runs.append([number])
                continue
        runs[-1] = run
    gaps = np.diff(positions @ normalOf(common))
    if len(runs) > _MOST_RUNS:
        common_, count = Counter(np.round(gaps, 3).tolist()).most_common(1)[0]
        raise UnevenError(
            f"{len(slices)} slices lie unevenly, {gaps.min():.3g} to {gaps.max():.3g} mm apart "
            f"({count} of {len(gaps)} are {common_:.3g} mm apart): they are no volume."
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
    tilted = f"The slices are tilted by {angle:.1f} degrees (gantry tilt): the file says so, its axes are not at right "
    return Stack(places, _matrix(common, origin, step), [*words, f"{tilted}angles."])


def unplaced(slices: Sequence[Slice]) -> Stack:
    """Slices of which the files do not say where they lie, in the order given: axial, beginning at the origin.

    The distance comes from SliceLocation where it tells one, else from SpacingBetweenSlices or SliceThickness.
    """
    common = slices[0].common
    step = common.step or 1.0
    words = []
    if len(slices) > 1:
        source = "that of SpacingBetweenSlices or SliceThickness" if common.step else "taken for 1 mm"
        locations = [one.location for one in slices]
        if all(location is not None for location in locations):
            gaps = np.abs(np.diff(np.array(locations, dtype=float)))
            if gaps.min() > 0 and gaps.max() - gaps.min() <= UNEVEN * gaps.mean():
                step, source = float(gaps.mean()), "that of SliceLocation"
        order = "The files say no position: the order is that of InstanceNumber"
        words.append(f"{order}, the distance of the slices is {source}.")
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
