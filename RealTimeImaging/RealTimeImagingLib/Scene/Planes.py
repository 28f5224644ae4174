"""Where planes are: of slice views, transforms and markups planes to be sent, of images to be followed by a view."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk

from ..Model.Errors import ControlError
from ..Model.Frame import Matrix

TOLERANCE = 1e-3
"""Greatest difference of what is taken as a rotation from an exact one."""
JUMP = 60.0
"""Degrees between two images of which the second chooses the way up anew."""

_FACING = ("Sagittal", "Coronal", "Axial")
"""Slicer's names of the views along R, A and S."""


def isPlaneNode(thing: Any) -> bool:
    """Whether it is a node of which :func:`poseOf` knows the place."""
    return _isOf(thing, "vtkMRMLSliceNode", "vtkMRMLTransformNode", "vtkMRMLMarkupsPlaneNode")


def poseOf(thing: Any) -> Matrix:
    """4x4 float64 in RAS: a right-handed rotation and, in millimetres, a place.

    Of a slice view the centre of what it shows, with its horizontal axis and its normal: where Slicer's axes are
    left-handed, as in axial views, the vertical one is turned round, so that it runs as rows of an image
    do. Of a transform the matrix to world, transforms above it counted. Of a markups plane centre and axes in world.

    :param thing: vtkMRMLSliceNode, vtkMRMLTransformNode, vtkMRMLMarkupsPlaneNode, vtkMatrix4x4 or a 4x4 array.
    :raises ControlError: it has no such place.
    """
    if _isOf(thing, "vtkMRMLSliceNode"):
        matrix = _sliceToRAS(thing)
    elif _isOf(thing, "vtkMRMLTransformNode"):
        matrix = _transformToWorld(thing)
    elif _isOf(thing, "vtkMRMLMarkupsPlaneNode"):
        matrix = _planeToWorld(thing)
    elif _isOf(thing, "vtkMatrix4x4"):
        matrix = _array(thing)
    elif _isOf(thing, "vtkObject"):
        raise ControlError(f"A {thing.GetClassName()} is no slice view, transform or markups plane.")
    else:
        matrix = _numbers(thing)
    checkPose(matrix)
    return matrix


def checkPose(matrix: Matrix) -> None:
    """:raises ControlError: unless the 4x4 matrix is a right-handed rotation with a place."""
    if not np.isfinite(matrix).all():
        raise ControlError("The position has numbers that are none (NaN or infinite); it is not sent.")
    if not np.allclose(matrix[3], (0, 0, 0, 1), rtol=0, atol=TOLERANCE):
        raise ControlError("The last row of the matrix is not 0 0 0 1; it is not sent.")
    axes = matrix[:3, :3]
    products = axes.T @ axes
    if not np.allclose(np.diag(products), 1, rtol=0, atol=2 * TOLERANCE):
        lengths = ", ".join(f"{length:.4g}" for length in np.sqrt(np.diag(products)))
        raise ControlError(f"The matrix scales: its axes have the lengths {lengths}, not 1; it is not sent.")
    if not np.allclose(products, np.eye(3), rtol=0, atol=2 * TOLERANCE):
        raise ControlError("The axes of the matrix are not at right angles to each other; it is not sent.")
    if np.linalg.det(axes) < 0:
        raise ControlError("The matrix mirrors left and right, which no scan plane can; it is not sent.")


class FollowedPlane:
    """A slice view that takes the plane of images, with rows and columns along its axes.

    Which of them runs to the right is chosen from the first image, as nearest to the way in which Slicer shows anatomy;
    from then on the view turns with the images, however far they turn. An image that is turned by more than JUMP from
    the one before chooses anew: a device may not know its pose at first, or alternate between planes.

    :param view: the view's name, such as Red.
    """

    def __init__(self, view: str) -> None:
        self.view = view
        self._turn: Matrix | None = None
        self._axes: Matrix | None = None

    def apply(self, sliceNode: Any, volumeNode: Any) -> bool:
        """Turn a vtkMRMLSliceNode into the plane of an image, or of the middle slice of a volume, centred on it.

        Zoom stays; nothing happens when the view is there already, or the image is in a warped space. Returns whether
        the view turned.
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
        if np.abs(_array(current) - wanted).max() <= 1e-9:
            return False
        current.DeepCopy(wanted.ravel().tolist())
        sliceNode.UpdateMatrices()
        return True


def _angle(axes: Matrix, others: Matrix) -> float:
    """Degrees by which one set of axes is rotated from another."""
    cosine = (np.trace(axes.T @ others) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def _turnOf(axes: Matrix, sliceNode: Any) -> Matrix:
    # Of the eight ways to lay rows and columns along right and up, by Slicer's own sagittal, coronal or axial view,
    # which the user may have set to show the patient's right on either side.
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
    """Columns: unit vectors along a row and, at a right angle to it, along a column, and normal; centre. In world."""
    image = node.GetImageData()
    parent = node.GetParentTransformNode()
    if image is None or (parent is not None and not parent.IsTransformToWorldLinear()):
        return None
    ijkToRAS = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(ijkToRAS)
    matrix = _array(ijkToRAS)
    if parent is not None:
        parent.GetMatrixTransformToWorld(ijkToRAS)
        matrix = _array(ijkToRAS) @ matrix
    columns, rows, slices = image.GetDimensions()
    plane = np.eye(4)
    plane[:, 3] = matrix @ ((columns - 1) / 2, (rows - 1) / 2, slices // 2, 1)
    right = matrix[:3, 0] / np.linalg.norm(matrix[:3, 0])
    normal = np.cross(right, matrix[:3, 1])
    normal /= np.linalg.norm(normal)
    plane[:3, 0], plane[:3, 1], plane[:3, 2] = right, np.cross(normal, right), normal
    return plane if np.isfinite(plane).all() else None


def _sliceToRAS(node: Any) -> Matrix:
    matrix = _array(node.GetSliceToRAS())
    # Dragging a view with the mouse moves what it shows and leaves the matrix.
    x, y, _ = node.GetXYZOrigin()
    matrix[:, 3] = matrix @ (x, y, 0, 1)
    if np.linalg.det(matrix[:3, :3]) < 0:
        matrix[:3, 1] *= -1
    return matrix


def _transformToWorld(node: Any) -> Matrix:
    if not node.IsTransformToWorldLinear():
        raise ControlError(f"{node.GetName()} is a warp, or below one: it has no single position; it is not sent.")
    matrix = vtk.vtkMatrix4x4()
    node.GetMatrixTransformToWorld(matrix)
    return _array(matrix)


def _planeToWorld(node: Any) -> Matrix:
    if not node.GetIsPlaneValid():
        raise ControlError(f"The plane {node.GetName()} is not placed yet; it is not sent.")
    found = vtk.vtkMatrix4x4()
    node.GetObjectToWorldMatrix(found)
    matrix = _array(found)
    # Handles, and transforms above the plane, may stretch the axes; the plane is the same.
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    if lengths.all():
        matrix[:3, :3] /= lengths
    return matrix


def _numbers(thing: Any) -> Matrix:
    try:
        matrix = np.array(thing, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ControlError("A position is a slice view, a transform, a markups plane or a 4x4 matrix.") from error
    if matrix.shape != (4, 4):
        raise ControlError(f"The matrix of a position is 4x4, not {' x '.join(map(str, matrix.shape)) or 'a number'}.")
    return matrix


def _isOf(thing: Any, *classes: str) -> bool:
    return hasattr(thing, "IsA") and any(thing.IsA(name) for name in classes)


def _array(matrix: Any) -> Matrix:
    return np.array(matrix.GetData(), dtype=np.float64).reshape(4, 4)
