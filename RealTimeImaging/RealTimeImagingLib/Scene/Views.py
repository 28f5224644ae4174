"""Which slice views show a live volume. Zoom, position and slice are the user's: they change only when they must."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import vtk

from .Planes import FollowedPlane

ALL_VIEWS = "all"
NO_VIEW = "none"
ALIGNED = 0.999
"""Cosine from which an image plane counts as parallel to a view."""


class Views:
    """The slice views of the application.

    :param applicationLogic: the vtkMRMLApplicationLogic that owns the slice logics.
    """

    def __init__(self, applicationLogic: Any) -> None:
        self._applicationLogic = applicationLogic

    def names(self) -> list[str]:
        """Names of the slice views, such as Red, Yellow, Green."""
        return [logic.GetSliceNode().GetLayoutName() for logic in self._logics()]

    def show(self, node: Any, where: str) -> None:
        """Make a volume the background of all views, of one, or of none; a view that gets it is fitted to it once.

        :param where: ALL_VIEWS, NO_VIEW or the name of a view.
        """
        for logic in self._logics():
            composite = logic.GetSliceCompositeNode()
            wanted = where in (ALL_VIEWS, logic.GetSliceNode().GetLayoutName())
            shown = composite.GetBackgroundVolumeID() == node.GetID()
            if wanted and not shown:
                composite.SetBackgroundVolumeID(node.GetID())
                logic.FitSliceToBackground()
            elif shown and not wanted:
                composite.SetBackgroundVolumeID(None)

    def follow(self, node: Any) -> None:
        """Move the views that show a single-slice volume to its plane; without it they would be blank.

        A view parallel to the image moves along its normal. When none is, the first turns into the image's plane.
        """
        image = node.GetImageData()
        if image is None or image.GetDimensions()[2] != 1:
            return
        normal, centre = _planeOf(node)
        showing = [logic for logic in self._logics() if _shows(logic, node)]
        parallel = [logic for logic in showing if abs(np.dot(_normalOf(logic), normal)) > ALIGNED]
        if showing and not parallel:
            showing[0].GetSliceNode().RotateToVolumePlane(node)
            parallel = showing[:1]
        for logic in parallel:
            offset = float(np.dot(_normalOf(logic), centre))
            if abs(logic.GetSliceOffset() - offset) > 1e-6:
                logic.SetSliceOffset(offset)

    def takePlane(self, node: Any, followed: FollowedPlane) -> None:
        """Turn a view into the plane of a volume, whether it shows that volume or not."""
        for logic in self._logics():
            if logic.GetSliceNode().GetLayoutName() == followed.view:
                followed.apply(logic.GetSliceNode(), node)

    def _logics(self) -> Iterator[Any]:
        logics = self._applicationLogic.GetSliceLogics()
        for index in range(logics.GetNumberOfItems() if logics else 0):
            logic = logics.GetItemAsObject(index)
            if logic.GetSliceNode() and logic.GetSliceCompositeNode():
                yield logic


def _shows(logic: Any, node: Any) -> bool:
    composite = logic.GetSliceCompositeNode()
    return node.GetID() in (composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID())


def _normalOf(logic: Any) -> np.ndarray[Any, Any]:
    matrix = logic.GetSliceNode().GetSliceToRAS()
    return np.array([matrix.GetElement(row, 2) for row in range(3)])


def _planeOf(node: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    columns, rows, _ = node.GetImageData().GetDimensions()
    normal = np.array([matrix.GetElement(row, 2) for row in range(3)])
    centre = matrix.MultiplyPoint(((columns - 1) / 2, (rows - 1) / 2, 0, 1))[:3]
    return normal / np.linalg.norm(normal), np.array(centre)
