"""Slice views that show live volumes. The user's zoom, position and slice change only where it is necessary."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import vtk

from .Nodes import STREAM_ATTRIBUTE, itemsOf
from .Planes import FollowedPlane
from .Rendering import isRendered

if TYPE_CHECKING:
    from .Concerns import Concern

LAYERS = ("Background", "Foreground")


def composites(scene: Any) -> Iterator[Any]:
    """Return the vtkMRMLSliceCompositeNode of each slice view."""
    return itemsOf(scene.GetNodesByClass("vtkMRMLSliceCompositeNode"))


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
OPACITY = 0.5
"""Opacity of a foreground volume unless the user chooses another."""


class Views:
    """Slice views of the application.

    :param applicationLogic: the vtkMRMLApplicationLogic that owns the slice logics.
    """

    def __init__(self, applicationLogic: Any) -> None:
        self._applicationLogic = applicationLogic
        self._fitted: dict[str, tuple[Any, ...]] = {}
        """Zoom and plane of each view after it was fitted to a volume; a difference is the user's change."""
        self._sizes: dict[str, tuple[int, ...]] = {}
        """Size of each view when it was fitted to a volume, pixels."""
        self._foregrounds: set[str] = set()
        """Views whose foreground is a live volume that was put there here, not by the user."""
        self._replaced: dict[str, str] = {}
        """ID of the user's background volume that a live volume replaced, by the name of the view."""
        self.concern: Callable[[str], Concern | None] = lambda stream: None
        """Returns the reason why the current image of a stream is not seen: see :meth:`Concerns.of`."""

    def names(self) -> list[str]:
        """Return the names of the slice views: Red, Yellow, Green, then others by name."""
        return [_nameOf(logic) for logic in self._logics()]

    def logics(self) -> dict[str, Any]:
        """Return the vtkMRMLSliceLogic of each slice view by the view's name, in the order of :meth:`names`."""
        return {_nameOf(logic): logic for logic in self._logics()}

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
        return found | {name: widget.threeDView() for name, widget in _threeDWidgets(layout)}

    def show(self, node: Any, where: str, foreground: bool = False, opacity: float = OPACITY) -> None:
        """Show a volume in all views, in one, or in none, and take it out of the others. New views are fitted once.

        A foreground volume of the user is never replaced or taken out. When a live volume moves from the background to
        the foreground, the user's volume that it had replaced comes back.

        :param where: ALL_VIEWS, NO_VIEW or the name of a view.
        :param foreground: False shows the volume as background.
        :param opacity: of the foreground, 0 to 1.
        """
        # A view that draws while its layers are half changed has an empty pipeline, which VTK reports as an error.
        with slicer.util.RenderBlocker():
            for logic in self._logics():
                if where not in (ALL_VIEWS, _nameOf(logic)):
                    self._takeOut(logic, node)
                elif foreground:
                    self._putInFront(logic, node, opacity)
                else:
                    self._putBehind(logic, node)

    def _putBehind(self, logic: Any, node: Any) -> None:
        composite = logic.GetSliceCompositeNode()
        if self._isForeground(logic, node):
            self._takeOut(logic, node)
        if _shows(logic, node):
            return
        before = _volumeNode(composite, "Background")
        if before is not None and before.GetAttribute(STREAM_ATTRIBUTE) is None:
            self._replaced[_nameOf(logic)] = before.GetID()
        setVolumeIn(composite, "Background", node.GetID())
        self._fit(logic, node)

    def _putInFront(self, logic: Any, node: Any, opacity: float) -> None:
        name, composite = _nameOf(logic), logic.GetSliceCompositeNode()
        if volumeIn(composite, "Foreground") != node.GetID():
            if volumeIn(composite, "Foreground") and not self._isForeground(logic):
                return
            if volumeIn(composite, "Background") == node.GetID():
                before = composite.GetScene().GetNodeByID(self._replaced.pop(name, ""))
                composite.SetBackgroundVolumeID(before.GetID() if before else None)
            setVolumeIn(composite, "Foreground", node.GetID())
            self._foregrounds.add(name)
            if not volumeIn(composite, "Background"):
                self._fit(logic, node)
        composite.SetForegroundOpacity(opacity)

    def _takeOut(self, logic: Any, node: Any) -> None:
        composite = logic.GetSliceCompositeNode()
        if volumeIn(composite, "Background") == node.GetID():
            composite.SetBackgroundVolumeID(None)
        if self._isForeground(logic, node):
            composite.SetForegroundVolumeID(None)
            self._foregrounds.discard(_nameOf(logic))

    def _isForeground(self, logic: Any, node: Any = None) -> bool:
        """Return True when a live volume, or this one, is in the foreground, and the user did not put it there."""
        there = _volumeNode(logic.GetSliceCompositeNode(), "Foreground")
        if there is None or there.GetAttribute(STREAM_ATTRIBUTE) is None or _nameOf(logic) not in self._foregrounds:
            return False
        return node is None or there is node

    def fitAgain(self, node: Any) -> bool:
        """Fit the views to a volume whose size or position changed; return True when a view was fitted.

        Views in which the user changed zoom, position or slice do not change.
        """
        shown = [one for one in self._logics() if _lowest(one) == node.GetID()]
        untouched = [one for one in shown if self._fitted.get(_nameOf(one)) == _lookOf(one)]
        for logic in untouched:
            self._fit(logic, node)
        return bool(untouched)

    def fitResized(self, node: Any) -> bool:
        """Fit the views of a volume that have another size than when they were fitted; return True when there is one.

        Slicer keeps the zoom of a view that gets another size, and cuts the image off.
        """
        resized = [
            one
            for one in self._logics()
            if _lowest(one) == node.GetID() and self._sizes.get(_nameOf(one)) != one.GetSliceNode().GetDimensions()
        ]
        for logic in resized:
            self._fit(logic, node)
        return bool(resized)

    def _fit(self, logic: Any, node: Any) -> None:
        size = logic.GetSliceNode().GetDimensions()
        logic.FitSliceToVolume(node, *size[:2])
        self._sizes[_nameOf(logic)] = size
        self._fitted[_nameOf(logic)] = _lookOf(logic)

    def inSight(self, node: Any) -> list[Any]:
        """Return the vtkMRMLSliceLogic of each view in the present layout that draws a volume, unless transparent."""
        found = [logic for logic in self._logics() if logic.GetSliceNode().IsViewVisibleInLayout()]
        return [logic for logic in found if _isDrawn(logic.GetSliceCompositeNode(), node)]

    def showing(self, node: Any) -> list[str]:
        """Return the names of the slice views that show a volume as background or foreground."""
        return [_nameOf(logic) for logic in self._logics() if _shows(logic, node)]

    def visible(self) -> list[str]:
        """Return the names of the slice views in the present layout."""
        return [_nameOf(logic) for logic in self._logics() if logic.GetSliceNode().IsViewVisibleInLayout()]

    def showsOther(self, name: str, node: Any) -> bool:
        """Return True when the background of a view is a live volume, and not this one."""
        there = _volumeNode(self.logics()[name].GetSliceCompositeNode(), "Background")
        return there is not None and there is not node and there.GetAttribute(STREAM_ATTRIBUTE) is not None

    def inForeground(self, node: Any) -> bool:
        """Return True when the foreground of a view is this volume."""
        return any(volumeIn(one.GetSliceCompositeNode(), "Foreground") == node.GetID() for one in self._logics())

    def goTo(self, node: Any) -> None:
        """Move the views that show a volume to its centre, and zoom to its size."""
        for logic in self._logics():
            if _shows(logic, node):
                self._fit(logic, node)
        self.follow(node)

    def drawing(self, node: Any) -> set[str]:
        """Return the names of the views that draw a volume when it changes.

        A 3D view draws it with volume rendering, or when a slice view that shows it is visible in 3D.
        """
        showing = [logic for logic in self._logics() if _shows(logic, node)]
        found = {_nameOf(logic) for logic in showing}
        if isRendered(node) or any(logic.GetSliceNode().GetSliceVisible() for logic in showing):
            found |= {name for name, _ in _threeDWidgets(slicer.app.layoutManager())}
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


def _threeDWidgets(layout: Any) -> Iterator[tuple[str, Any]]:
    """Yield name and widget of each 3D view; nothing without a main window."""
    for index in range(layout.threeDViewCount if layout is not None else 0):
        widget = layout.threeDWidget(index)
        yield widget.mrmlViewNode().GetLayoutName(), widget


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


def _volumeNode(composite: Any, layer: str) -> Any:
    return composite.GetScene().GetNodeByID(volumeIn(composite, layer))


def _lowest(logic: Any) -> str:
    """Return the ID of the volume to which a view is fitted: the background, without one the foreground."""
    composite = logic.GetSliceCompositeNode()
    return volumeIn(composite, "Background") or volumeIn(composite, "Foreground")


def _isDrawn(composite: Any, node: Any) -> bool:
    if volumeIn(composite, "Background") == node.GetID():
        return True
    # Without a background Slicer draws the foreground opaque.
    transparent = volumeIn(composite, "Background") and composite.GetForegroundOpacity() <= 0
    return volumeIn(composite, "Foreground") == node.GetID() and not transparent


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
