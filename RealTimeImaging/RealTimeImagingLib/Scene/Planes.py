"""Poses of planes: of views, transforms and markups planes to send, and of images for a view to follow."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk

from ..Model.Errors import ControlError
from ..Model.Frame import Matrix
from ..Model.Text import textsOf
from .Nodes import ijkToWorld, matrixOf

_ = textsOf(__file__)

TOLERANCE = 1e-3
"""Largest deviation of a matrix that counts as a rotation."""
JUMP = 60.0
"""Degrees between two images from which the second one chooses its orientation in the view again."""

_FACING = ("Sagittal", "Coronal", "Axial")
"""Slicer's orientation names of the views along R, A and S."""


def isPlaneNode(thing: Any) -> bool:
    """Return True for a node of which :func:`poseOf` knows the pose."""
    return _isOf(thing, "vtkMRMLSliceNode", "vtkMRMLTransformNode", "vtkMRMLMarkupsPlaneNode")


def poseOf(thing: Any) -> Matrix:
    """Return the pose as 4x4 float64 in RAS: a right-handed rotation, and a position in millimetres.

    The pose of a slice view has the centre of the view, its horizontal axis and its normal. Where Slicer's axes are
    left-handed, as in axial views, the vertical axis is reversed, as the rows of an image. The pose of a transform is
    its matrix to world. The pose of a markups plane has its centre and axes in world coordinates.

    :param thing: vtkMRMLSliceNode, vtkMRMLTransformNode, vtkMRMLMarkupsPlaneNode, vtkMatrix4x4 or a 4x4 array.
    :raises ControlError: it has no such pose.
    """
    if _isOf(thing, "vtkMRMLSliceNode"):
        matrix = _sliceToRAS(thing)
    elif _isOf(thing, "vtkMRMLTransformNode"):
        matrix = _transformToWorld(thing)
    elif _isOf(thing, "vtkMRMLMarkupsPlaneNode"):
        matrix = _planeToWorld(thing)
    elif _isOf(thing, "vtkMatrix4x4"):
        matrix = matrixOf(thing)
    elif _isOf(thing, "vtkObject"):
        raise ControlError(
            _("A {kind} is no slice view, transform or markups plane.").format(kind=thing.GetClassName())
        )
    else:
        matrix = _numbers(thing)
    checkPose(matrix)
    return matrix


def checkPose(matrix: Matrix) -> None:
    """Check that a 4x4 matrix is a right-handed rotation with a position.

    :raises ControlError: it is not.
    """
    if not np.isfinite(matrix).all():
        raise ControlError(_("The position has NaN or infinite numbers; it is not sent."))
    if not np.allclose(matrix[3], (0, 0, 0, 1), rtol=0, atol=TOLERANCE):
        raise ControlError(_("The last row of the matrix is not 0 0 0 1; it is not sent."))
    axes = matrix[:3, :3]
    products = axes.T @ axes
    if not np.allclose(np.diag(products), 1, rtol=0, atol=2 * TOLERANCE):
        lengths = ", ".join(f"{length:.4g}" for length in np.sqrt(np.diag(products)))
        text = _("The matrix scales: its axes have the lengths {lengths}, not 1; it is not sent.")
        raise ControlError(text.format(lengths=lengths))
    if not np.allclose(products, np.eye(3), rtol=0, atol=2 * TOLERANCE):
        raise ControlError(_("The axes of the matrix are not at right angles to each other; it is not sent."))
    if np.linalg.det(axes) < 0:
        raise ControlError(_("The matrix mirrors left and right, which a scan plane cannot; it is not sent."))


class FollowedPlane:
    """Slice view that follows the plane of images, with rows and columns along its axes.

    The first image chooses the orientation in the view: the nearest to Slicer's display of anatomy. Then the view turns
    with the images, by any angle. An image turned by more than JUMP from the previous one chooses again: a device may
    not know its pose at first, or alternate between planes.

    :param view: the view's name, such as Red.
    """

    def __init__(self, view: str) -> None:
        self.view = view
        self._turn: Matrix | None = None
        self._axes: Matrix | None = None

    def apply(self, sliceNode: Any, volumeNode: Any) -> bool:
        """Turn a vtkMRMLSliceNode into the plane of an image, or of the middle slice of a volume, centred on it.

        The zoom stays. Nothing happens below a nonlinear transform. Returns True when the view turned.
        """
        plane = _imagePlane(volumeNode)
        if plane is None:
            return False
        axes = plane[:3, :3]
        if self._turn is None or self._axes is None or _angle(axes, self._axes) > JUMP:
            self._turn = _turnOf(axes, sliceNode)
        self._axes = axes
        wanted = plane.copy()
        wanted[:3, :3] = axes @ self._turn
        current = sliceNode.GetSliceToRAS()
        if np.abs(matrixOf(current) - wanted).max() <= 1e-9:
            return False
        current.DeepCopy(wanted.ravel().tolist())
        sliceNode.UpdateMatrices()
        return True


def _angle(axes: Matrix, others: Matrix) -> float:
    """Return the rotation between two sets of axes, in degrees."""
    cosine = (np.trace(axes.T @ others) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def _turnOf(axes: Matrix, sliceNode: Any) -> Matrix:
    # Rows and columns can lie in the view in eight ways. The nearest to Slicer's own sagittal, coronal or axial
    # preset is chosen; the user may have set the presets to show the patient's right on either side.
    preset = sliceNode.GetSliceOrientationPreset(_FACING[int(np.abs(axes[:, 2]).argmax())])
    if preset is None:
        return np.diag([1.0, -1.0, 1.0])
    right, up, normal = np.array(preset.GetData()).reshape(3, 3).T
    best, turn = -np.inf, np.eye(3)
    for first, second in ((0, 1), (1, 0)):
        for x in (1.0, -1.0):
            for y in (1.0, -1.0):
                found = x * axes[:, first] @ right + y * axes[:, second] @ up
                if found > best:
                    best, turn = found, np.zeros((3, 3))
                    turn[first, 0], turn[second, 1] = x, y
    turn[2, 2] = 1.0 if axes[:, 2] @ normal >= 0 else -1.0
    return turn


def _imagePlane(node: Any) -> Matrix | None:
    """Return unit vectors along a row, along a column (at a right angle) and along the normal, and the centre, in world
    coordinates."""
    image, matrix = node.GetImageData(), ijkToWorld(node)
    if image is None or matrix is None:
        return None
    columns, rows, slices = image.GetDimensions()
    plane = np.eye(4)
    plane[:, 3] = matrix @ ((columns - 1) / 2, (rows - 1) / 2, slices // 2, 1)
    right = matrix[:3, 0] / np.linalg.norm(matrix[:3, 0])
    normal = np.cross(right, matrix[:3, 1])
    normal /= np.linalg.norm(normal)
    plane[:3, 0], plane[:3, 1], plane[:3, 2] = right, np.cross(normal, right), normal
    return plane if np.isfinite(plane).all() else None


def _sliceToRAS(node: Any) -> Matrix:
    matrix = matrixOf(node.GetSliceToRAS())
    # A drag with the mouse changes XYZOrigin and not the matrix.
    x, y, _z = node.GetXYZOrigin()
    matrix[:, 3] = matrix @ (x, y, 0, 1)
    if np.linalg.det(matrix[:3, :3]) < 0:
        matrix[:3, 1] *= -1
    return matrix


def _transformToWorld(node: Any) -> Matrix:
    if not node.IsTransformToWorldLinear():
        text = _("{name} is a nonlinear transform, or below one: it has no pose; it is not sent.")
        raise ControlError(text.format(name=node.GetName()))
    matrix = vtk.vtkMatrix4x4()
    node.GetMatrixTransformToWorld(matrix)
    return matrixOf(matrix)


def _planeToWorld(node: Any) -> Matrix:
    if not node.GetIsPlaneValid():
        raise ControlError(_("The plane {name} is not placed yet; it is not sent.").format(name=node.GetName()))
    found = vtk.vtkMatrix4x4()
    node.GetObjectToWorldMatrix(found)
    matrix = matrixOf(found)
    # Handles of the plane, and parent transforms, may scale the axes; the plane is the same.
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    if lengths.all():
        matrix[:3, :3] /= lengths
    return matrix


def _numbers(thing: Any) -> Matrix:
    try:
        matrix = np.array(thing, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ControlError(_("A position is a slice view, a transform, a markups plane or a 4x4 matrix.")) from error
    if matrix.shape != (4, 4):
        if not matrix.shape:
            raise ControlError(_("The matrix of a position is 4x4, not a number."))
        text = _("The matrix of a position is 4x4, not {size}.")
        raise ControlError(text.format(size=" x ".join(map(str, matrix.shape))))
    return matrix


def _isOf(thing: Any, *classes: str) -> bool:
    return hasattr(thing, "IsA") and any(thing.IsA(name) for name in classes)
