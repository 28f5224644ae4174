"""Poses of a tool in time: which matrices are poses, and the pose of any moment between two of them.

Between two poses the translation is linear and the rotation is a spherical linear interpolation (slerp; Shoemake,
"Animating rotation with quaternion curves", SIGGRAPH 1985), as in PLUS (vtkPlusBuffer). A matrix with scales, such as
that of an image, is split into rotation and stretch (polar decomposition; Higham, SIAM J. Sci. Stat. Comput. 7, 1986);
the stretch is linear.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .Frame import Matrix

OK, MISSING, INVALID = "OK", "MISSING", "INVALID"
"""Status of a tool: seen by the tracker; without a pose at that time; with a matrix that is no pose."""
SEEN = ("", OK, "SWITCH_IS_ON", "SWITCH_IS_OFF")
"""Status of a tool that the tracker sees; SWITCH is the button of a stylus. Any other status, such as MISSING or
OUT_OF_VIEW, means that the tracker does not see the tool."""
LARGEST_GAP = 0.5
"""Most seconds between two poses that are interpolated, as in PLUS."""
HELD = 0.02
"""Most seconds before the first and after the last pose for which that pose holds."""
SAME_TIME = 2e-6
"""Most seconds between a pose and a moment that counts as the time of the pose; recorded times have 1e-6."""
_SKEW, _SCALE = 0.02, 0.02
"""Most cosine between two axes of a pose, and largest difference of the length of an axis of a rotation from 1."""


def isPose(numbers: Sequence[float], rigid: bool = False) -> bool:
    """Return True for a matrix with a position and three perpendicular axes, which may have any length.

    Trackers send NaN or zeros for a tool that they do not see.

    :param numbers: 16 numbers of a 4x4 matrix, row by row.
    :param rigid: the axes must be those of a rotation: right-handed, of length 1.
    """
    if len(numbers) != 16 or not all(map(math.isfinite, numbers)) or list(numbers[12:]) != [0, 0, 0, 1]:
        return False
    a, b, c, _x, d, e, f, _y, g, h, i, _z = numbers[:12]
    lengths = [math.hypot(a, d, g), math.hypot(b, e, h), math.hypot(c, f, i)]
    if not all(1e-9 < length < 1e9 for length in lengths):
        return False
    one, two, three = lengths
    skews = ((a * b + d * e + g * h) / one / two, (a * c + d * f + g * i) / one / three)
    if max(map(abs, (*skews, (b * c + e * f + h * i) / two / three))) > _SKEW:
        return False
    if not rigid:
        return True
    rightHanded = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g) > 0
    return rightHanded and all(abs(length - 1) <= _SCALE for length in lengths)


def between(first: Matrix, second: Matrix, fraction: float) -> Matrix:
    """Interpolate between two poses, which are 4x4 float64 in millimetres.

    :param fraction: 0 for the first pose, 1 for the second.
    :returns: 4x4 float64. The nearer pose when only one of them mirrors.
    """
    nearer: Matrix = (first if fraction <= 0.5 else second).copy()
    if fraction <= 0 or fraction >= 1 or np.array_equal(first, second):
        return nearer
    rotation, stretch = _split(first[:3, :3])
    rotation2, stretch2 = _split(second[:3, :3])
    turn = rotation.T @ rotation2
    if np.linalg.det(turn) < 0:
        return nearer
    made = np.eye(4)
    made[:3, :3] = rotation @ _part(turn, fraction) @ (stretch + fraction * (stretch2 - stretch))
    made[:3, 3] = first[:3, 3] + fraction * (second[:3, 3] - first[:3, 3])
    return made


def _split(axes: Matrix) -> tuple[Matrix, Matrix]:
    """Return rotation and stretch, whose product is ``axes``."""
    left, scales, right = np.linalg.svd(axes)
    rotation: Matrix = left @ right
    stretch: Matrix = (right.T * scales) @ right
    return rotation, stretch


def _part(turn: Matrix, fraction: float) -> Matrix:
    """Return the rotation about the same axis by this fraction of the angle."""
    twice = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    sine, cosine = float(np.linalg.norm(twice)) / 2, (float(np.trace(turn)) - 1) / 2
    angle = math.atan2(sine, cosine)
    if angle < 1e-9:
        return np.eye(3)
    if sine > 1e-6 or cosine > 0:
        axis = twice / (2 * sine)
    else:
        # Half a turn: each column of turn + 1 is along the axis.
        columns = (turn + np.eye(3)) / 2
        longest = int(np.argmax(np.linalg.norm(columns, axis=0)))
        axis = columns[:, longest] / np.linalg.norm(columns[:, longest])
    x, y, z = axis
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    part = fraction * angle
    made: Matrix = np.eye(3) + math.sin(part) * cross + (1 - math.cos(part)) * (cross @ cross)
    return made


class PoseAt(NamedTuple):
    """Pose of a tool at a moment.

    :param matrix: 4x4 float64, millimetres; None when the tool has no pose at that moment.
    :param status: OK or another status of SEEN; otherwise MISSING, INVALID, or the status by the tracker.
    """

    matrix: Matrix | None
    status: str


class PoseTrack:
    """Poses of one tool in the order of their times, in seconds on any axis.

    A tool has a pose between two poses that are at most ``largestGap`` apart, and HELD seconds before the first and
    after the last one. Beside a moment at which the tool was not seen it has none. Nothing is extrapolated.
    """

    def __init__(self, largestGap: float = LARGEST_GAP) -> None:
        self.largestGap = largestGap
        self.times: array[float] = array("d")
        """Time of each pose, in order."""
        self.matrices: array[float] = array("d")
        """16 numbers of each pose, row by row."""
        self.statuses: list[str] = []

    def add(self, time: float, numbers: Sequence[float], status: str = OK) -> None:
        """Add a pose, or a moment without one; it replaces another one of the same time.

        :param numbers: 16 numbers row by row; of a tool that is not seen, they are kept and never used.
        :param status: status of the tool.
        """
        if not self.times or time > self.times[-1] + SAME_TIME:
            self.times.append(time)
            self.matrices.extend(numbers)
            self.statuses.append(status)
            return
        place = bisect_left(self.times, time - SAME_TIME)
        if self.times[place] > time + SAME_TIME:
            self.times.insert(place, time)
            self.matrices[16 * place : 16 * place] = array("d", numbers)
            self.statuses.insert(place, status)
        else:
            self.matrices[16 * place : 16 * place + 16] = array("d", numbers)
            self.statuses[place] = status

    def forgetBefore(self, time: float) -> None:
        """Remove the poses that no moment from ``time`` on needs."""
        count = max(0, bisect_left(self.times, time) - 1)
        del self.times[:count], self.matrices[: 16 * count], self.statuses[:count]

    def matrix(self, index: int) -> Matrix:
        """Return a pose of the track, 4x4 float64."""
        return np.array(self.matrices[16 * index : 16 * index + 16]).reshape(4, 4)

    def seen(self, index: int) -> bool:
        """Return True when the tracker saw the tool."""
        return self.statuses[index].upper() in SEEN

    def at(self, time: float) -> PoseAt:
        """Return the pose at a moment."""
        if not self.times:
            return PoseAt(None, MISSING)
        later = bisect_left(self.times, time - SAME_TIME)
        if later < len(self.times) and self.times[later] <= time + SAME_TIME:
            return self._one(later)
        if later in (0, len(self.times)):
            end = min(later, len(self.times) - 1)
            return self._one(end) if abs(self.times[end] - time) <= HELD else PoseAt(None, MISSING)
        earlier, gap = later - 1, self.times[later] - self.times[later - 1]
        fraction = (time - self.times[earlier]) / gap
        nearest = earlier if fraction <= 0.5 else later
        unseen = [index for index in (nearest, earlier, later) if not self.seen(index)]
        if unseen:
            return PoseAt(None, self.statuses[unseen[0]])
        if gap > self.largestGap:
            return PoseAt(None, MISSING)
        return PoseAt(between(self.matrix(earlier), self.matrix(later), fraction), self.statuses[nearest])

    def _one(self, index: int) -> PoseAt:
        return PoseAt(self.matrix(index) if self.seen(index) else None, self.statuses[index])
