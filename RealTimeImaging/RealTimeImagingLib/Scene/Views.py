"""Slice views that show live volumes. The user's zoom, position and slice change only where it is necessary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import slicer
import vtk

from .Planes import FollowedPlane

LAYERS = ("Background", "Foreground")


def composites(scene: Any) -> Iterator[Any]:
    """Yield the vtkMRMLSliceCompositeNode of each slice view."""
    nodes = scene.GetNodesByClass("vtkMRMLSliceCompositeNode")
    nodes.UnRegister(None)
    for index in range(nodes.GetNumberOfItems()):
        yield nodes.GetItemAsObject(index)


def volumeIn(composite: Any, layer: str) -> str:
    """Return the ID of the volume in "Background" or "Foreground"; empty when there is none."""
    return getattr(composite, f"Get{layer}VolumeID")() or ""


def setVolumeIn(composite: Any, layer: str, nodeID: str) -> None:
    """Put a volume into "Background" or "Foreground"; zoom, position and slice stay."""
    getattr(composite, f"Set{layer}VolumeID")(nodeID)


def layersOf(scene: Any, nodeID: str) -> list[tuple[Any, str]]:
    """Return the composite nodes and layers that show a volume."""
    return [(one, layer) for one in composites(scene) for layer in LAYERS if volumeIn(one, layer) == nodeID]


ALL_VIEWS = "all"
NO_VIEW = "none"
FIRST_NAMES = ("Red", "Yellow", "Green")
"""Views in the order of Slicer's layouts; others follow by name."""
ALIGNED = 0.999
"""Least cosine between the normals of an image and a view that count as parallel."""


class Views:
    """Slice views of the application.

    :param applicationLogic: the vtkMRMLApplicationLogic that owns the slice logics.
    """

    def __init__(self, applicationLogic: Any) -> None:
        self._applicationLogic = applicationLogic
        self._fitted: dict[str, tuple[Any, ...]] = {}
        """Zoom and plane of each view after it was fitted to a volume; a difference is the user's change."""

    def names(self) -> list[str]:
        """Return the names of the slice views: Red, Yellow, Green, then others by name."""
        return [_nameOf(logic) for logic in self._logics()]

    def windows(self) -> dict[str, Any]:
        """Return the vtkRenderWindow of each slice and 3D view by the view's name; empty without a main window."""
        return {name: view.renderWindow() for name, view in self.widgets().items()}

    def widgets(self) -> dict[str, Any]:
        """Return the ctkVTKAbstractView of each slice and 3D view by the view's name; empty without a main window."""
        layout = slicer.app.layoutManager()
        if layout is None:
            return {}
        widgets = [(name, layout.sliceWidget(name)) for name in layout.sliceViewNames()]
        found = {name: widget.sliceView() for name, widget in widgets if widget}
        for index in range(layout.threeDViewCount):
            widget = layout.threeDWidget(index)
            found[widget.mrmlViewNode().GetLayoutName()] = widget.threeDView()
        return found

    def show(self, node: Any, where: str) -> None:
        """Show a volume as the background of all views, of one, or of none. New views are fitted to it once.

        Views that show it as foreground do not change.

        :param where: ALL_VIEWS, NO_VIEW or the name of a view.
        """
        for logic in self._logics():
            composite = logic.GetSliceCompositeNode()
            wanted = where in (ALL_VIEWS, _nameOf(logic))
            if wanted and not _shows(logic, node):
                setVolumeIn(composite, "Background", node.GetID())
                self._fit(logic)
            elif not wanted and volumeIn(composite, "Background") == node.GetID():
                composite.SetBackgroundVolumeID(None)

    def fitAgain(self, node: Any) -> bool:
        """Fit the views to a volume whose size or position changed; return True when a view was fitted.

        Views in which the user changed zoom, position or slice do not change.
        """
        shown = [one for one in self._logics() if volumeIn(one.GetSliceCompositeNode(), "Background") == node.GetID()]
        untouched = [one for one in shown if self._fitted.get(_nameOf(one)) == _lookOf(one)]
        for logic in untouched:
            self._fit(logic)
        return bool(untouched)

    def _fit(self, logic: Any) -> None:
        logic.FitSliceToBackground()
        self._fitted[_nameOf(logic)] = _lookOf(logic)

    def drawing(self, node: Any) -> set[str]:
        """Return the names of the views that draw a volume when it changes.

        A 3D view draws it with volume rendering, or when a slice view that shows it is visible in 3D.
        """
        showing = [logic for logic in self._logics() if _shows(logic, node)]
        found = {_nameOf(logic) for logic in showing}
        if _isRendered(node) or any(logic.GetSliceNode().GetSliceVisible() for logic in showing):
            found |= set(self._threeDNames())
        return found

    def follow(self, node: Any) -> bool:
        """Move the views of a single-slice volume to its plane, where they would be blank otherwise.

        Views parallel to the image move along its normal. If none is parallel, the first view turns into the image's
        plane. Returns True when a view moved.
        """
        image = node.GetImageData()
        if image is None or image.GetDimensions()[2] != 1:
            return False
        normal, centre = _planeOf(node)
        showing = [logic for logic in self._logics() if _shows(logic, node)]
        parallel = [logic for logic in showing if abs(np.dot(_normalOf(logic), normal)) > ALIGNED]
        moved = bool(showing and not parallel)
        if moved:
            showing[0].GetSliceNode().RotateToVolumePlane(node)
            parallel = showing[:1]
        for logic in parallel:
            offset = float(np.dot(_normalOf(logic), centre))
            if abs(logic.GetSliceOffset() - offset) > 1e-6:
                fitted = self._fitted.get(_nameOf(logic)) == _lookOf(logic)
                logic.SetSliceOffset(offset)
                moved = True
                if fitted:
                    self._fitted[_nameOf(logic)] = _lookOf(logic)
        return moved

    def takePlane(self, node: Any, followed: FollowedPlane) -> bool:
        """Turn a view into the plane of a volume, even if it does not show that volume; return True when it turned."""
        logics = [logic for logic in self._logics() if _nameOf(logic) == followed.view]
        # One view has the name.
        return any(followed.apply(logic.GetSliceNode(), node) for logic in logics)

    def _logics(self) -> list[Any]:
        logics = self._applicationLogic.GetSliceLogics()
        found = [logics.GetItemAsObject(index) for index in range(logics.GetNumberOfItems() if logics else 0)]
        return sorted((one for one in found if one.GetSliceNode() and one.GetSliceCompositeNode()), key=_place)

    def _threeDNames(self) -> Iterator[str]:
        logics = self._applicationLogic.GetViewLogics()
        for index in range(logics.GetNumberOfItems() if logics else 0):
            node = logics.GetItemAsObject(index).GetViewNode()
            if node:
                yield node.GetLayoutName()


def _nameOf(logic: Any) -> str:
    return str(logic.GetSliceNode().GetLayoutName())


def _lookOf(logic: Any) -> tuple[Any, ...]:
    node = logic.GetSliceNode()
    return (node.GetFieldOfView(), node.GetXYZOrigin(), node.GetSliceToRAS().GetData())


def _place(logic: Any) -> tuple[int, str]:
    name = _nameOf(logic)
    return (FIRST_NAMES.index(name) if name in FIRST_NAMES else len(FIRST_NAMES), name)


def _shows(logic: Any, node: Any) -> bool:
    return any(volumeIn(logic.GetSliceCompositeNode(), layer) == node.GetID() for layer in LAYERS)


def _isRendered(node: Any) -> bool:
    displays = (node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes()))
    return any(one and one.IsA("vtkMRMLVolumeRenderingDisplayNode") and one.GetVisibility() for one in displays)


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
