"""Stacking of parallel slices: places along the normal, even distances with gaps, tilt, and time points.

Arriving slices (folder and C-STORE), frames of one file, and the conversion stack their slices here. They differ in
their :class:`Tolerance` alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...Model.Frame import Matrix

SAME_PLACE, SAME_PLACE_THIN = 0.01, 0.25
"""Largest distance along the normal of two slices in one place: in sides of a pixel, and in slice thicknesses. The
smaller one counts."""
SAME_AXES = 1e-3
"""Largest difference of the axes of slices of one volume: of direction cosines, and of spacings relative to them."""
EVEN = 0.02
"""Deviation of a slice from its even place, in slice distances, that every tolerance allows in any direction."""
TILT = 1e-3
"""Smallest sine of the angle between stack and normal at which a stack counts as tilted."""
_STRAIGHTENED = 0.0447
"""Largest sine of this angle at which an upright stack takes the place of the tilted one: 2.6 degrees."""


@dataclass(frozen=True)
class Tolerance:
    """Deviations and gaps that the slices of one volume may have.

    :param along: largest deviation from the even place along the normal, in slice distances.
    :param beside: largest deviation in the plane of the slice, in sides of a pixel.
    :param tilted: a tilted stack is a volume with axes that are not at right angles; otherwise it is none.
    :param missing: most missing slices, relative to the existing ones.
    :param few: number of missing slices that is allowed in any case.
    """

    along: float = EVEN
    beside: float = 0.0
    tilted: bool = False
    missing: float = 0.5
    few: int = 0

    def allows(self, deviations: Matrix, step: Matrix, plane: Matrix) -> bool:
        """Return True when slices at these deviations (n x 3) from even places are evenly spaced.

        :param step: vector from slice to slice. ``plane``: 4x4 of the first slice. All in millimetres.
        """
        length = float(np.linalg.norm(step))
        if not self.tilted and _tilt(step, normalOf(plane)) > _STRAIGHTENED:
            return False
        if np.linalg.norm(deviations, axis=1).max() <= EVEN * length:
            return True
        normal = normalOf(plane)
        along = deviations @ normal
        beside = np.linalg.norm(deviations - np.outer(along, normal), axis=1)
        return bool(np.abs(along).max() <= self.along * length and beside.max() <= self.beside * pixelSide(plane))

    def mostMissing(self, count: int) -> float:
        """Return the largest number of missing slices beside ``count`` existing ones."""
        return max(self.few, self.missing * count)


FRAMES = Tolerance()
"""Frames of one file: an image for the scene has axes at right angles."""
ARRIVING = Tolerance(missing=1.0, few=8)
"""Slices that arrive one by one: more may be missing, because they may be under way, or lost."""
CONVERTED = Tolerance(along=0.25, beside=0.5, tilted=True)
"""Slices of the conversion: it keeps tilt, and reports deviations above :data:`EVEN`."""


class Stack(NamedTuple):
    """Evenly spaced parallel slices above one another.

    :param numbers: place of each slice, ascending from 0; a missing slice leaves out a number.
    :param matrix: 4x4 float64, millimetres, in the coordinate system of the slices. The third column is the step from
        place to place, along the normal except in a tilted volume.
    :param tilt: sine of the angle between the steps and the normal.
    :param deviation: largest distance of a slice from its even place, millimetres.
    """

    numbers: list[int]
    matrix: Matrix
    tilt: float
    deviation: float


def stacked(positions: Matrix, plane: Matrix, tolerance: Tolerance) -> Stack | None:
    """Return the stack of slices, perhaps with gaps; None for unevenly spaced slices.

    :param positions: n x 3 (n > 1), millimetres, ascending along the normal, no two in one place.
    :param plane: 4x4 of the first slice; its third column has the direction of the normal.
    """
    gaps = np.diff(positions @ normalOf(plane))
    # The median of the small gaps: np.median() takes as long as all else here.
    count = max(1, int((gaps < 1.5 * gaps.min()).sum()))
    small = np.sort(gaps)[:count]
    single = float(small[(count - 1) // 2] + small[count // 2]) / 2
    multiples = np.concatenate([[0.0], np.cumsum(np.rint(gaps / single))])
    for numbers in (np.arange(len(positions)), multiples):
        if numbers[-1] + 1 - len(positions) > tolerance.mostMissing(len(positions)):
            return None
        step = (positions[-1] - positions[0]) / numbers[-1]
        deviations = positions - (positions[0] + numbers[:, np.newaxis] * step)
        if tolerance.allows(deviations, step, plane):
            matrix, tilt = stackMatrix(plane, positions[0], step, tolerance.tilted)
            return Stack(numbers.astype(int).tolist(), matrix, tilt, float(np.linalg.norm(deviations, axis=1).max()))
    return None


def stackMatrix(plane: Matrix, origin: Matrix, step: Matrix, tilted: bool) -> tuple[Matrix, float]:
    """Return the matrix of the slices that begin at ``origin``, and the sine of their tilt; see :class:`Stack`.

    :param step: vector from slice to slice, millimetres.
    :param tilted: keep the tilt.
    """
    normal, matrix = normalOf(plane), plane.copy()
    tilt = _tilt(step, normal)
    matrix[:3, 2] = step if tilted and tilt > TILT else normal * float(np.linalg.norm(step))
    matrix[:3, 3] = origin
    return matrix, tilt


def _tilt(step: Matrix, normal: Matrix) -> float:
    # Above 1 (no angle at all) for steps against the normal.
    sine = float(np.linalg.norm(step - normal * (step @ normal))) / float(np.linalg.norm(step))
    return sine if step @ normal >= 0 else math.inf


def normalOf(plane: Matrix) -> Matrix:
    """Return the direction of the third axis of a 4x4 matrix: 3 numbers, of length 1."""
    normal: Matrix = plane[:3, 2] / np.linalg.norm(plane[:3, 2])
    return normal


def pixelSide(plane: Matrix) -> float:
    """Return the shorter side of a pixel, millimetres."""
    return float(np.linalg.norm(plane[:3, :2], axis=0).min())


def nearOf(plane: Matrix, thickness: float) -> float:
    """Return the largest distance along the normal of two slices in one place, millimetres.

    :param thickness: of a slice, or the distance from slice to slice, as far as the header has it; millimetres.
    """
    return min(SAME_PLACE * pixelSide(plane), SAME_PLACE_THIN * thickness)


def haveSameAxes(first: Matrix, second: Matrix) -> bool:
    """Return True when slices with these matrices may belong to one volume."""
    return bool(np.abs(first[:3, :2] - second[:3, :2]).max() <= SAME_AXES * pixelSide(first))


def placesOf(heights: Matrix, near: float) -> list[list[int]]:
    """Return the indices of the slices in each place, ascending along the normal; within a place in the given order.

    :param heights: n numbers, along the normal, millimetres.
    :param near: largest distance of two slices in one place, millimetres; see :func:`nearOf`.
    """
    places: list[list[int]] = []
    base = -math.inf
    for number in np.argsort(heights, kind="stable").tolist():
        if heights[number] - base > near:
            places.append([])
            base = heights[number]
        places[-1].append(number)
    return places


def areMoments(keys: Sequence[Sequence[Hashable]]) -> bool:
    """Return True when keys tell the time points apart: no two slices of a place have the same key.

    Keys that differ from slice to slice, such as numbers of files, are no time points.

    :param keys: the key of each slice of each place.
    """
    if any(len(set(place)) < len(place) for place in keys):
        return False
    count, most = sum(map(len, keys)), max(map(len, keys))
    different = len(set(itertools.chain.from_iterable(keys)))
    return different <= 2 * most and (len(keys) == 1 or 2 * different <= count)
