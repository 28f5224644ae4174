"""Points and trajectories of a device in markups nodes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .PlainText import plain

Look = tuple[float, tuple[int, ...]]

MOVED_AT_MOST = 100
"""More points than these are made anew: the time that Slicer takes to move one grows with their number."""


def isWhole(point: Mapping[str, Any]) -> bool:
    """Whether all coordinates of a point, or of both ends of a trajectory, are numbers."""
    return all(math.isfinite(number) for key in ("position", "entry") for number in point.get(key, ()))


def writePoints(node: Any, points: Sequence[Mapping[str, Any]]) -> None:
    """Make these the control points of a vtkMRMLMarkupsFiducialNode.

    Up to MOVED_AT_MOST points of the same names move, so that what the user set for one of them stays; otherwise all
    are made anew.

    :param points: as in :class:`DeviceMessage`; positions in the node's own coordinates, millimetres.
    """
    names = [plain(point.get("name", "")) for point in points]
    descriptions = [", ".join(plain(point[key]) for key in ("group", "owner") if point.get(key)) for point in points]
    _write(node, names, [point["position"] for point in points])
    for index, description in enumerate(descriptions):
        node.SetNthControlPointDescription(index, description)


def writeLine(node: Any, way: Mapping[str, Any]) -> None:
    """Make a trajectory a vtkMRMLMarkupsLineNode, from the entry to the target."""
    _write(node, ["Entry", "Target"], [way["entry"], way["position"]])


def _write(node: Any, names: Sequence[str], positions: Sequence[Sequence[float]]) -> None:
    count = node.GetNumberOfControlPoints()
    if count <= MOVED_AT_MOST and list(names) == [node.GetNthControlPointLabel(index) for index in range(count)]:
        for index, position in enumerate(positions):
            node.SetNthControlPointPosition(index, *position)
        return
    if count:
        node.RemoveAllControlPoints()
    for name, position in zip(names, positions, strict=True):
        node.AddControlPoint(tuple(position), name)


def lookOf(point: Mapping[str, Any]) -> Look:
    """Diameter in millimetres, and red, green, blue, opacity from 0 to 255; 0 and (), when the device gave none."""
    diameter, rgba = float(point.get("diameter") or 0), tuple(point.get("rgba") or ())
    return diameter if 0 < diameter < math.inf else 0.0, rgba if len(rgba) == 4 and rgba[3] else ()


def setLook(node: Any, look: Look) -> None:
    """Let a markups node look so; what is not given stays."""
    display = node.GetDisplayNode()
    if display is None:
        return
    diameter, rgba = look
    modifying = display.StartModify()
    if diameter:
        display.SetUseGlyphScale(False)
        display.SetGlyphSize(diameter)
    if rgba:
        color = [value / 255 for value in rgba]
        display.SetSelectedColor(*color[:3])
        display.SetColor(*color[:3])
        display.SetOpacity(color[3])
    display.EndModify(modifying)
