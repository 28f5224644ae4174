"""Volume rendering of live volumes, by Slicer's VolumeRendering module."""

from __future__ import annotations

from typing import Any

import slicer

from ..Model.Text import textsOf

_ = textsOf(__file__)

LOOK_ATTRIBUTE = "RealTimeImaging.Look"
"""Attribute of a rendering's display node: its window, level and colours. Until they change, the user's changes stay.
"""
COLOURS = 33
"""Points of a colour map in the volume rendering."""


def renderingLogic() -> Any:
    """Return the logic of Slicer's VolumeRendering module, None when this Slicer lacks the module."""
    module = getattr(slicer.modules, "volumerendering", None)
    return module.logic() if module else None


def renderingProblem(node: Any) -> str:
    """Return the reason why a volume cannot be rendered in 3D; empty when it can, and before its first image.

    :param node: vtkMRMLVolumeNode, or None.
    """
    if renderingLogic() is None:
        return _("This Slicer has no Volume Rendering module.")
    image = node.GetImageData() if node is not None else None
    if image is None:
        return ""
    if node.IsA("vtkMRMLVectorVolumeNode"):
        return _("Colour images cannot be rendered in 3D.")
    return _("A single slice cannot be rendered in 3D.") if min(image.GetDimensions()) < 2 else ""


def isRendered(node: Any) -> bool:
    """Return True while volume rendering shows a volume."""
    displays = (node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes()))
    return any(one and one.IsA("vtkMRMLVolumeRenderingDisplayNode") and one.GetVisibility() for one in displays)


def setRendered(node: Any, on: bool) -> None:
    """Start or end the volume rendering of a volume; do nothing when it cannot be rendered.

    The 3D views are centred at the first time.
    """
    logic = renderingLogic()
    if on == isRendered(node) or logic is None or (on and renderingProblem(node)):
        return
    display = logic.GetFirstVolumeRenderingDisplayNode(node)
    first = display is None
    if first:
        display = logic.CreateDefaultVolumeRenderingNodes(node)
    display.SetVisibility(on)
    matchLook(node)
    layout = slicer.app.layoutManager()
    if first and layout is not None:
        layout.resetThreeDViews()


def matchLook(node: Any) -> None:
    """Give the volume rendering the window, level and colours of the slice views when these have changed.

    Slicer's own synchronization makes values transparent that are larger than those of the first image, and searches
    the whole image for its range.
    """
    logic, shown = renderingLogic(), node.GetDisplayNode()
    display = logic.GetFirstVolumeRenderingDisplayNode(node) if logic else None
    if display is None or shown is None or not display.GetVisibility():
        return
    look = f"{shown.GetWindow()} {shown.GetLevel()} {shown.GetColorNodeID()}"
    propertyNode, colourNode = display.GetVolumePropertyNode(), shown.GetColorNode()
    # The user may have removed the nodes.
    if display.GetAttribute(LOOK_ATTRIBUTE) == look or propertyNode is None or colourNode is None:
        return
    display.SetAttribute(LOOK_ATTRIBUTE, look)
    display.SetFollowVolumeDisplayNode(False)
    bottom, top = shown.GetLevel() - shown.GetWindow() / 2, shown.GetLevel() + shown.GetWindow() / 2
    modifying = propertyNode.StartModify()
    opacity = propertyNode.GetVolumeProperty().GetScalarOpacity()
    opacity.RemoveAllPoints()
    opacity.AddPoint(bottom, 0.0)
    opacity.AddPoint(top, 1.0)
    colours, table = (
        propertyNode.GetVolumeProperty().GetRGBTransferFunction(),
        colourNode.GetScalarsToColors(),
    )
    low, high = table.GetRange()
    colours.RemoveAllPoints()
    for step in range(COLOURS):
        part = step / (COLOURS - 1)
        rgb = [0.0, 0.0, 0.0]
        table.GetColor(low + part * (high - low), rgb)
        colours.AddRGBPoint(bottom + part * (top - bottom), *rgb)
    propertyNode.EndModify(modifying)
