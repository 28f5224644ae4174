"""Rigid registration of volumes to one reference volume, fast enough for each volume of a functional series.

Least squares with the Gauss-Newton method, as in Cox and Jesmanowicz, "Real-time 3D image registration for functional
MRI", Magn Reson Med 42:1014-1018 (1999), and Friston et al., "Spatial registration and normalization of images", Hum
Brain Mapp 3:165-189 (1995). Two levels:

1. On a coarse level (larger smoothing, fewer voxels) the gradient of the reference serves for all volumes (inverse
   compositional: Baker and Matthews, Int J Comput Vis 56:221-255, 2004). Each iteration costs one interpolation of few
   voxels.
2. On the fine level the gradient of the moved volume is taken once, at the result of the coarse level, so that the
   result is the minimum of the mean squared difference.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..Model.Errors import FrameError
from ..Model.Frame import Matrix, Pixels
from ..Model.Text import textsOf
from .Grid import Points, centreOf, spacingOf

_ = textsOf(__file__)

Floats = npt.NDArray[np.float32]

FEWEST_SLICES = 4
MASK = 0.2
"""Voxels above this part of the 98th percentile are used, and those beside them."""
COARSE = 8.0
"""Full width at half maximum of the coarse level's smoothing, in millimetres."""
COARSE_STEP = 6.0
"""Distance between the coarse level's voxels, in millimetres."""
RADIUS = 50.0
"""Millimetres from the centre at which a rotation is compared with a shift."""
CLOSE = 1e-3
"""Largest last step, in millimetres."""
MOST_VOXELS = 80_000
"""Voxels of the fine level; a larger head is compared at a part of its voxels."""
DAMPING = 1e-3
"""Part of the shifts' information that is added to each parameter: a sphere has no rotation, and no huge one."""
LEAST_CORRELATION = 0.5
"""Correlation with the reference below which a volume does not show the same head."""

FARTHEST = 200.0
"""Millimetres beyond which a shift is no motion of the head."""
UNLIKE = _("This volume looks unlike the reference volume, so its motion is not known.")


class Level:
    """Voxels of the reference at which volumes are compared.

    :param reference: float32, shape (k, j, i).
    :param mask: bool, shape (k, j, i).
    :param fwhm: full width at half maximum of the smoothing, in millimetres; 0 for none.
    :param step: distance between voxels to compare, in millimetres.
    """

    def __init__(self, reference: Floats, ijkToRAS: Matrix, mask: Pixels, fwhm: float, step: float) -> None:
        self._sigma = fwhm / 2.3548 / spacingOf(ijkToRAS)[::-1]
        steps = np.maximum(np.round(step / spacingOf(ijkToRAS)[::-1]), 1).astype(int)
        chosen = np.zeros_like(mask)
        chosen[:: steps[0], :: steps[1], :: steps[2]] = True
        index = np.argwhere(mask & chosen)
        smooth = self.smoothed(reference)
        self.values = smooth[tuple(index.T)]
        points: Points = index[:, ::-1] @ ijkToRAS[:3, :3].T + ijkToRAS[:3, 3]
        self.points: Points = points - centreOf(reference.shape, ijkToRAS)
        """RAS of the voxels from the centre, in millimetres, (n, 3)."""
        gradient = np.stack([part[tuple(index.T)] for part in _gradients(smooth)])
        self.jacobian = _jacobian(self.points, gradient, np.linalg.inv(ijkToRAS)[:3, :3])

    def smoothed(self, pixels: Floats) -> Floats:
        """Return the volume with this level's smoothing."""
        from scipy import ndimage

        smooth: Floats = ndimage.gaussian_filter(pixels, self._sigma) if self._sigma.any() else pixels
        return smooth


class RigidRegistration:
    """Registration to one reference volume.

    The result is a 4x4 matrix of the motion from the reference to the volume, in millimetres: a point of the head that
    was at p is at ``centre + R (p - centre) + t``. Axes are RAS. The centre is the middle of the reference volume.

    :param reference: shape (k, j, i), at least four slices.
    :param fwhm: full width at half maximum of the smoothing, in millimetres; 0 for none.
    :param brightness: True compares up to a factor and an offset of the values (correlation), False compares the values
        (mean squares).
    :raises FrameError: the reference has too few slices, or shows nothing.
    """

    def __init__(self, reference: Pixels, ijkToRAS: Matrix, fwhm: float = 5.0, brightness: bool = False) -> None:
        if reference.shape[0] < FEWEST_SLICES:
            raise FrameError(
                _("Motion is computed of volumes with at least {fewest} slices; this image has {count}.").format(
                    fewest=FEWEST_SLICES, count=reference.shape[0]
                )
            )
        volume = _finite(reference)
        mask = headMask(volume)
        self.centre = centreOf(volume.shape, ijkToRAS)
        self._brightness = brightness
        coarse = max(COARSE, fwhm)
        self._coarse = Level(volume, ijkToRAS, mask, coarse, COARSE_STEP)
        head = float(mask.sum() * spacingOf(ijkToRAS).prod())
        self._fine = Level(volume, ijkToRAS, mask, fwhm, float(np.cbrt(head / MOST_VOXELS)))
        if len(self._coarse.values) < 50 or not np.ptp(self._coarse.values):
            raise FrameError(_("The reference volume shows nothing that could move."))

    def register(self, pixels: Pixels, ijkToRAS: Matrix, start: Matrix | None = None) -> Matrix:
        """Return the motion of the head from the reference to a volume, see the class.

        :param pixels: shape (k, j, i), on any grid.
        :param start: first estimate, such as the motion of the volume before; None for no motion.
        :raises FrameError: the volume shows something else than the reference.
        """
        from scipy import ndimage

        volume = _finite(pixels)
        toIndex: Matrix = np.linalg.inv(ijkToRAS).astype(np.float64)
        toIndex[:3, 3] += toIndex[:3, :3] @ self.centre
        smooth = self._coarse.smoothed(volume)
        motion = self._nearer(smooth, toIndex, np.eye(4) if start is None else start)
        solve = self._solver(self._coarse.jacobian, self._coarse.values)
        for _iteration in range(40):
            values, inside = _sampled(smooth, self._coarse.points, toIndex @ motion, order=1)
            step = solve(values, inside)
            motion = _moved(motion, step)
            if _size(step) < 10 * CLOSE:
                break

        smooth = self._fine.smoothed(volume)
        coefficients = ndimage.spline_filter(smooth, order=3, output=np.float32, mode="mirror")
        place = toIndex @ motion
        gradient = np.stack(
            [_sampled(part, self._fine.points, place, order=1)[0] for part in _splineGradients(coefficients)]
        )
        jacobian = _jacobian(self._fine.points, gradient, place[:3, :3])
        solve = self._solver(jacobian, self._fine.values)
        for _iteration in range(6):
            values, inside = _sampled(coefficients, self._fine.points, toIndex @ motion, order=3)
            step = solve(values, inside)
            motion = _moved(motion, step)
            if _size(step) < CLOSE:
                break
        if not correlation(values[inside], self._fine.values[inside]) > LEAST_CORRELATION or inside.mean() < 0.5:
            raise FrameError(UNLIKE)
        return motion

    def _nearer(self, smooth: Floats, toIndex: Matrix, start: Matrix) -> Matrix:
        """Return the first estimate, or no motion where that fits better, as after a wrong estimate."""

        def misfit(motion: Matrix) -> float:
            values, inside = _sampled(smooth, self._coarse.points, toIndex @ motion, order=1)
            return -correlation(values[inside], self._coarse.values[inside])

        return min((start, np.eye(4)), key=misfit)

    def _solver(self, jacobian: Floats, reference: Floats) -> Any:
        # The columns behind the motion take up a factor and an offset of the values.
        columns = [jacobian, reference[None], np.ones_like(reference)[None]] if self._brightness else [jacobian]
        matrix = np.concatenate(columns)
        information = (matrix @ matrix.T).astype(np.float64)
        shifts = DAMPING * np.trace(information[:3, :3]) / 3
        information[np.diag_indices(6)] += shifts * np.array([1, 1, 1, *3 * [RADIUS**2]])
        # A volume without any gradient gets no step.
        normal = np.linalg.pinv(information)

        def solve(values: Floats, inside: Pixels) -> npt.NDArray[np.float64]:
            difference = np.where(inside, values - reference, np.float32(0))
            step: npt.NDArray[np.float64] = normal @ (matrix @ difference).astype(np.float64)
            return step[:6]

        return solve


def correlation(values: Floats, others: Floats) -> float:
    """Return the correlation of two lists of values; -1 when one of them has no variation."""
    if len(values) < 2 or not np.ptp(values) or not np.ptp(others):
        return -1.0
    return float(np.corrcoef(values, others)[0, 1])


def headMask(volume: Floats) -> Pixels:
    """Return the voxels with signal and those beside them, without the border of the volume (bool)."""
    from scipy import ndimage

    smooth = ndimage.uniform_filter(volume, 3)
    mask = smooth > MASK * np.percentile(smooth, 98)
    mask = ndimage.binary_dilation(mask)
    inner = np.zeros_like(mask)
    inner[1:-1, 2:-2, 2:-2] = True
    head: Pixels = mask & inner
    return head


def anglesOf(motion: Matrix) -> tuple[float, float, float]:
    """Return the rotations about R, A and S in degrees: first about R, then A, then S, all axes fixed in space.

    Positive is right-handed about the axis: about R from A to S (nose up), about A from S to R, about S from R to A.
    """
    rotation = motion[:3, :3]
    return (
        float(np.degrees(np.arctan2(rotation[2, 1], rotation[2, 2]))),
        float(np.degrees(np.arcsin(np.clip(-rotation[2, 0], -1, 1)))),
        float(np.degrees(np.arctan2(rotation[1, 0], rotation[0, 0]))),
    )


def _finite(pixels: Pixels) -> Floats:
    volume = pixels.astype(np.float32)
    return np.nan_to_num(volume, copy=False, nan=0, posinf=0, neginf=0) if pixels.dtype.kind == "f" else volume


def _gradients(volume: Floats) -> list[Floats]:
    """Return the differences along i, j and k."""
    return [np.gradient(volume, axis=axis) for axis in (2, 1, 0)]


def _splineGradients(coefficients: Floats) -> list[Floats]:
    """Return the derivatives of a cubic spline at the voxels, along i, j and k."""
    from scipy import ndimage

    slope, value = np.array([-0.5, 0, 0.5]), np.array([1, 4, 1]) / 6
    parts = []
    for along in (2, 1, 0):
        part = coefficients
        for axis in (2, 1, 0):
            part = ndimage.correlate1d(part, slope if axis == along else value, axis=axis, mode="mirror")
        parts.append(part)
    return parts


def _jacobian(points: Points, gradient: Floats, toIndex: npt.NDArray[Any]) -> Floats:
    """Return the change of the values by a shift (mm) and a rotation (radians) of the points, (6, n).

    :param points: RAS from the centre, (n, 3).
    :param gradient: change a voxel along i, j and k, (3, n).
    :param toIndex: index of a step in RAS, 3x3.
    """
    slope = toIndex.T.astype(np.float32) @ gradient
    x = points.T.astype(np.float32)
    turn = np.stack(
        [x[1] * slope[2] - x[2] * slope[1], x[2] * slope[0] - x[0] * slope[2], x[0] * slope[1] - x[1] * slope[0]]
    )
    return np.concatenate([slope, turn])


def _sampled(volume: Floats, points: Points, toIndex: Matrix, order: int) -> tuple[Floats, Pixels]:
    """Return the values at points, and which of the points are in the volume."""
    from scipy import ndimage

    index = (toIndex[:3, :3] @ points.T + toIndex[:3, 3:])[::-1]
    values = ndimage.map_coordinates(volume, index, order=order, prefilter=False, mode="mirror")
    size = np.array(volume.shape)[:, None]
    return values, ((index > -0.5) & (index < size - 0.5)).all(axis=0)


def _matrix(step: npt.NDArray[np.float64]) -> Matrix:
    """Return the matrix of a shift and a rotation vector (Rodrigues)."""
    x, y, z = step[3:]
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = float(np.linalg.norm(step[3:]))
    matrix = np.eye(4)
    if angle > 1e-12:
        matrix[:3, :3] += np.sin(angle) / angle * cross + (1 - np.cos(angle)) / angle**2 * cross @ cross
    matrix[:3, 3] = step[:3]
    return matrix


def _moved(motion: Matrix, step: npt.NDArray[np.float64]) -> Matrix:
    """Return a motion without a step in the coordinates of the reference."""
    moved: Matrix = motion @ np.linalg.inv(_matrix(step))
    if not np.abs(moved[:3, 3]).max() < FARTHEST:
        raise FrameError(UNLIKE)
    return moved


def _size(step: npt.NDArray[np.float64]) -> float:
    return float(max(np.abs(step[:3]).max(), RADIUS * np.abs(step[3:]).max()))
