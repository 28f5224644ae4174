"""A surface, lines or points of a device as vtkPolyData."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray

from ..Errors import DeviceMessageError

_CELLS = {"vertices": "SetVerts", "lines": "SetLines", "polygons": "SetPolys", "strips": "SetStrips"}
"""In the order in which VTK numbers cells."""

Array = np.ndarray[Any, Any]


def polyDataOf(values: Mapping[str, Any]) -> Any:
    """vtkPolyData of a message of the kind "polydata", in millimetres in RAS.

    :param values: as in :class:`DeviceMessage`.
    :raises DeviceMessageError: a number that is none, a cell of points that there are not, or values that are not one
        for each point or cell. VTK itself would read beyond its memory.
    """
    points = _decoded(values["points"], "<f4").reshape(-1, 3)
    if not np.isfinite(points).all():
        raise DeviceMessageError("A surface has points whose coordinates are no numbers.")
    made = vtk.vtkPolyData()
    made.SetPoints(vtk.vtkPoints())
    made.GetPoints().SetData(numpy_to_vtk(points, deep=True))
    count = 0
    for name, put in _CELLS.items():
        flat = _decoded(values.get(name, ""), "<i4").astype(np.int64)
        if flat.size:
            count += _checkCells(flat, len(points))
            cells = vtk.vtkCellArray()
            cells.ImportLegacyFormat(numpy_to_vtkIdTypeArray(flat, deep=True))
            getattr(made, put)(cells)
    for one in values.get("scalars", ()):
        _addScalars(made, one, len(points), count)
    return made


def _decoded(text: str, dtype: str) -> Array:
    found = np.frombuffer(base64.b64decode(text), np.uint8)
    size = np.dtype(dtype).itemsize
    return found[: found.size // size * size].view(dtype).astype(np.dtype(dtype).newbyteorder("="))


def _checkCells(flat: Array, points: int) -> int:
    width = int(flat[0]) + 1
    if width > 0 and flat.size % width == 0 and (flat[::width] == width - 1).all():
        starts = np.arange(0, flat.size, width)
    else:
        starts = _starts(flat.tolist())
    indices = np.delete(flat, starts)
    if indices.size and (indices.min() < 0 or indices.max() >= points):
        raise DeviceMessageError(f"A surface of {points:,} points has a cell of points that are not among them.")
    return len(starts)


def _starts(flat: list[int]) -> Array:
    starts, place = [], 0
    while place < len(flat):
        if flat[place] < 0:
            break
        starts.append(place)
        place += flat[place] + 1
    if place != len(flat):
        raise DeviceMessageError("The last cell of a surface is cut off.")
    return np.array(starts)


def _addScalars(made: Any, one: Mapping[str, Any], points: int, cells: int) -> None:
    ofPoints = one["of"] == "points"
    values, components = _decoded(one["values"], "<f4"), max(1, int(one["components"]))
    expected = points if ofPoints else cells
    if values.size != expected * components:
        raise DeviceMessageError(
            f"A surface has {values.size:,} values of {one['name']}, and {expected:,} times {components} were expected."
        )
    array = numpy_to_vtk(values.reshape(expected, components), deep=True)
    array.SetName(str(one["name"]) or "Values")
    (made.GetPointData() if ofPoints else made.GetCellData()).AddArray(array)
