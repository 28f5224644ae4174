"""Nodes of devices: the newest transform, points, surface and text of each device, in persistent nodes."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray

from ..Model.DeviceMessage import DeviceMessage, words
from ..Model.Errors import DeviceMessageError, TooManyDevicesError
from ..Model.Text import textsOf
from .Nodes import attributeName, itemsOf, plain

_ = textsOf(__file__)

Look = tuple[float, tuple[int, ...]]

MOVED_AT_MOST = 100
"""More points are replaced, not moved: Slicer's time to move a point grows with their number."""


def isWhole(point: Mapping[str, Any]) -> bool:
    """Return True if all coordinates of a point, or of both ends of a trajectory, are finite."""
    return all(math.isfinite(number) for key in ("position", "entry") for number in point.get(key, ()))


def writePoints(node: Any, points: Sequence[Mapping[str, Any]]) -> None:
    """Write the control points of a vtkMRMLMarkupsFiducialNode.

    Up to MOVED_AT_MOST points with unchanged names move, and keep the user's changes. Otherwise all are replaced.

    :param points: as in :class:`DeviceMessage`; positions in the node's own coordinates, millimetres.
    """
    names = [plain(point.get("name", "")) for point in points]
    descriptions = [", ".join(plain(point[key]) for key in ("group", "owner") if point.get(key)) for point in points]
    _write(node, names, [point["position"] for point in points])
    for index, description in enumerate(descriptions):
        node.SetNthControlPointDescription(index, description)


def writeLine(node: Any, trajectory: Mapping[str, Any]) -> None:
    """Write a trajectory into a vtkMRMLMarkupsLineNode, from the entry to the target."""
    _write(node, ["Entry", "Target"], [trajectory["entry"], trajectory["position"]])


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
    """Return diameter (mm) and (red, green, blue, opacity), each 0 to 255; 0 and () when the device sent none."""
    diameter, rgba = float(point.get("diameter") or 0), tuple(point.get("rgba") or ())
    return diameter if 0 < diameter < math.inf else 0.0, rgba if len(rgba) == 4 and rgba[3] else ()


def setLook(node: Any, look: Look) -> None:
    """Set size and colour of a markups node; missing values change nothing."""
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


_CELLS = {"vertices": "SetVerts", "lines": "SetLines", "polygons": "SetPolys", "strips": "SetStrips"}
"""Cells of a message, in the order of VTK's cell numbers."""

Array = np.ndarray[Any, Any]


def polyDataOf(values: Mapping[str, Any]) -> Any:
    """Return the vtkPolyData of a message of the kind "polydata", in millimetres in RAS.

    :param values: as in :class:`DeviceMessage`.
    :raises DeviceMessageError: a coordinate is not finite, a cell has an index without a point, or the number of values
        differs from the number of points or cells. VTK itself would read beyond its memory.
    """
    points = _decoded(values["points"], "<f4").reshape(-1, 3)
    if not np.isfinite(points).all():
        raise DeviceMessageError(_("A surface has points whose coordinates are not finite."))
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
        text = _("A surface of {points:,} points has a cell with an index outside them.")
        raise DeviceMessageError(text.format(points=points))
    return len(starts)


def _starts(flat: list[int]) -> Array:
    starts, position = [], 0
    while position < len(flat):
        if flat[position] < 0:
            break
        starts.append(position)
        position += flat[position] + 1
    if position != len(flat):
        raise DeviceMessageError(_("The last cell of a surface is cut off."))
    return np.array(starts)


def _addScalars(made: Any, one: Mapping[str, Any], points: int, cells: int) -> None:
    ofPoints = one["of"] == "points"
    values, components = _decoded(one["values"], "<f4"), max(1, int(one["components"]))
    expected = points if ofPoints else cells
    if values.size != expected * components:
        text = _("A surface has {count:,} values of {name}, and {expected:,} times {components} were expected.")
        raise DeviceMessageError(
            text.format(count=values.size, name=str(one["name"]), expected=expected, components=components)
        )
    array = numpy_to_vtk(values.reshape(expected, components), deep=True)
    array.SetName(str(one["name"]) or "Values")
    (made.GetPointData() if ofPoints else made.GetCellData()).AddArray(array)


RESERVED = "RealTimeImaging."
DEVICE_ATTRIBUTE = f"{RESERVED}Device"
KIND_ATTRIBUTE = f"{RESERVED}DeviceKind"
ITEM_ATTRIBUTE = f"{RESERVED}DeviceItem"
"""Node attributes that identify a node in the next session and in a loaded scene. The item is the name of a trajectory
among those of its device."""
MOST_DEVICES = 500
"""Largest number of devices: every program on the network can choose new device names."""
MOST_POINTS, MOST_TRAJECTORIES = 5000, 100
"""Largest numbers in one message: more would block Slicer's window."""

_CLASSES = {
    "transform": "vtkMRMLLinearTransformNode",
    "points": "vtkMRMLMarkupsFiducialNode",
    "trajectory": "vtkMRMLMarkupsLineNode",
    "polydata": "vtkMRMLModelNode",
    "text": "vtkMRMLTextNode",
}


@dataclass(frozen=True)
class DeviceState:
    """Newest message of one kind from a device.

    :param kind: of :class:`DeviceMessage`.
    :param words: phrase for the panel.
    :param time: the device's time, or the time of arrival if it sent none; seconds since the epoch, UTC.
    :param ok: False when the device reports an error, does not see the tool, or sends no valid position.
    :param tool: status of a tool by its tracker: "OK", "MISSING", "OUT_OF_VIEW" or the tracker's own; "INVALID" for a
        matrix that is no position; empty for other kinds.
    """

    device: str
    kind: str
    words: str
    time: float
    ok: bool
    tool: str = ""


@dataclass(eq=False)
class _Shown:
    node: Any
    attributes: set[str] = field(default_factory=set)
    look: Look = (0.0, ())


_Key = tuple[str, str, str]


class DeviceNodes:
    """Nodes of devices, one for each device and kind of message. A node is reused as long as it is in the scene.

    Coordinates stay as received (RAS). A transform that the user sets as parent of a node registers the device.

    :param scene: the MRML scene.
    """

    def __init__(self, scene: Any) -> None:
        self._scene = scene
        self._shown: dict[_Key, _Shown] = {}
        self._latest: dict[tuple[str, str], DeviceMessage] = {}
        self._matrix = vtk.vtkMatrix4x4()

    def show(self, message: DeviceMessage) -> Any:
        """Put a message into its node; observers see one ModifiedEvent.

        Returns the node, or the first of several trajectories; None for kinds without a node, and for an invalid pose,
        after which the node keeps its last pose.

        :raises DeviceMessageError: the message contradicts itself.
        :raises TooManyDevicesError: more than MOST_DEVICES devices; a DeviceMessageError.
        """
        key = (message.kind, message.device)
        if key not in self._latest and len(self._latest) >= MOST_DEVICES:
            text = _("More than {count} devices sent messages; {device} is not shown.")
            raise TooManyDevicesError(text.format(count=MOST_DEVICES, device=message.device))
        self._latest[key] = message
        if message.kind == "transform":
            return self._showTransform(message)
        if message.kind == "points":
            return self._showPoints(message)
        if message.kind == "polydata":
            surface = polyDataOf(message.values)
            return self._write(message, "polydata", lambda node: node.SetAndObservePolyData(surface))
        if message.kind == "text":
            content = plain(message.values["text"])
            return self._write(message, "text", lambda node: node.SetText(content))
        return None

    def node(self, kind: str, device: str, item: str = "") -> Any:
        """Return the node of a device, or None.

        :param kind: "transform", "points", "trajectory", "polydata" or "text".
        :param item: name of a trajectory.
        """
        shown = self._find((kind, device, item))
        return shown.node if shown else None

    def states(self) -> list[DeviceState]:
        """Return the newest message of every device and kind, sorted by name."""
        ordered = sorted(self._latest.items(), key=lambda item: item[0][::-1])
        return [_stateOf(one) for _key, one in ordered]

    def prepare(self) -> None:
        """Forget the states of devices, before the first source of a run starts."""
        self._latest.clear()

    def forget(self) -> None:
        """Forget all nodes after the scene was closed."""
        self._shown.clear()
        self._latest.clear()

    # ---- kinds

    def _showTransform(self, message: DeviceMessage) -> Any:
        if message.lost:
            # Trackers usually send the origin then. The node keeps the last pose, and its attributes have the status.
            shown = self._find(("transform", message.device, ""))
            if shown is not None:
                for name in message.statusNames or ["Status"]:
                    text = message.attributes[name] if message.unseen else message.lost
                    shown.node.SetAttribute(attributeName(name, RESERVED), plain(text))
                    shown.attributes.add(attributeName(name, RESERVED))
            return None
        self._matrix.DeepCopy(message.numbers)
        return self._write(message, "transform", lambda node: node.SetMatrixTransformToParent(self._matrix))

    def _showPoints(self, message: DeviceMessage) -> Any:
        received = message.values["points"]
        trajectories = [point for point in received if "entry" in point]
        if len(trajectories) > MOST_TRAJECTORIES or len(received) > MOST_POINTS:
            text = _("{device} sent {content}, more than can be shown at once.")
            raise DeviceMessageError(text.format(device=message.device, content=words(message)))
        points = [point for point in received if "entry" not in point and isWhole(point)]
        first = None
        if trajectories or not received:
            first = self._showTrajectories(message, [one for one in trajectories if isWhole(one)])
        if points or (len(received) > len(trajectories)) or (not received and self.node("points", message.device)):
            first = self._write(message, "points", lambda node: writePoints(node, points), points[0] if points else {})
        return first

    def _showTrajectories(self, message: DeviceMessage, trajectories: list[Mapping[str, Any]]) -> Any:
        # The node of a trajectory that the device no longer sends stays, without points.
        gone = set(self._keysInScene("trajectory", message.device))
        first = None
        used: dict[str, int] = {}
        for one in trajectories:
            name = plain(one.get("name", ""))
            used[name] = used.get(name, 0) + 1
            item = name if used[name] == 1 else f"{name} {used[name]}"
            gone.discard(("trajectory", message.device, item))
            node = self._write(message, "trajectory", lambda node, one=one: writeLine(node, one), one, item)
            first = first or node
        for kind, _device, item in gone:
            self._write(message, kind, lambda node: node.RemoveAllControlPoints(), {}, item)
        return first

    # ---- nodes

    def _write(
        self, message: DeviceMessage, kind: str, put: Any, point: Mapping[str, Any] | None = None, item: str = ""
    ) -> Any:
        key = (kind, message.device, item)
        shown = self._find(key) or self._make(key)
        node = shown.node
        modifying = node.StartModify()
        put(node)
        self._describe(shown, message)
        node.EndModify(modifying)
        look = lookOf(point) if point else (0.0, ())
        # The user's changes stay until the device sends another size or colour.
        if look != shown.look and point:
            setLook(node, look)
            shown.look = look
        return node

    def _describe(self, shown: _Shown, message: DeviceMessage) -> None:
        attributes = {attributeName(name, RESERVED): plain(value) for name, value in message.attributes.items()}
        attributes["ReceiveTime"] = f"{message.receiveTime:.6f}"
        if message.deviceTime is not None:
            attributes["DeviceTime"] = f"{message.deviceTime:.6f}"
        for name in shown.attributes - attributes.keys():
            shown.node.RemoveAttribute(name)
        for name, value in attributes.items():
            shown.node.SetAttribute(name, value)
        shown.attributes = set(attributes)

    def _find(self, key: _Key) -> _Shown | None:
        shown = self._shown.get(key)
        if shown is not None and shown.node.GetScene() is self._scene:
            return shown
        self._shown.pop(key, None)
        kind, device, _item = key
        if kind in _CLASSES:
            self._keysInScene(kind, device)
        return self._shown.get(key)

    def _keysInScene(self, kind: str, device: str) -> list[_Key]:
        # Found nodes are noted, so that the scene is searched once.
        found, marks = [], (kind, plain(device))
        for node in itemsOf(self._scene.GetNodesByClass(_CLASSES[kind])):
            if (node.GetAttribute(KIND_ATTRIBUTE), node.GetAttribute(DEVICE_ATTRIBUTE)) == marks:
                found.append((kind, device, node.GetAttribute(ITEM_ATTRIBUTE) or ""))
                if found[-1] not in self._shown or self._shown[found[-1]].node.GetScene() is not self._scene:
                    self._shown[found[-1]] = _Shown(node)
        return found

    def _make(self, key: _Key) -> _Shown:
        kind, device, item = key
        node = self._scene.CreateNodeByClass(_CLASSES[kind])
        node.UnRegister(None)
        node.SetName(self._scene.GenerateUniqueName(plain(item or device) or kind))
        node.SetAttribute(DEVICE_ATTRIBUTE, plain(device))
        node.SetAttribute(KIND_ATTRIBUTE, kind)
        if item:
            node.SetAttribute(ITEM_ATTRIBUTE, item)
        if kind in ("points", "trajectory"):
            # The device's next message would undo a drag with the mouse.
            node.SetLocked(True)
            self._addMarkups(node)
        else:
            self._scene.AddNode(node)
        if kind in ("points", "trajectory", "polydata"):
            node.CreateDefaultDisplayNodes()
        self._shown[key] = _Shown(node)
        return self._shown[key]

    def _addMarkups(self, node: Any) -> None:
        # Slicer places points by mouse into the markups node that was added last.
        selection = self._scene.GetFirstNodeByClass("vtkMRMLSelectionNode")
        if selection is None:
            self._scene.AddNode(node)
            return
        placed, placedID = selection.GetActivePlaceNodeClassName(), selection.GetActivePlaceNodeID()
        self._scene.AddNode(node)
        if selection.GetActivePlaceNodeClassName() != placed:
            selection.SetReferenceActivePlaceNodeClassName(placed)
        if selection.GetActivePlaceNodeID() != placedID:
            selection.SetReferenceActivePlaceNodeID(placedID)


def _stateOf(message: DeviceMessage) -> DeviceState:
    tool = ""
    if message.kind == "transform":
        tool = message.lost.upper() or "OK"
    ok = bool(message.values.get("ok", True)) and tool in ("", "OK")
    return DeviceState(message.device, message.kind, words(message), message.time, ok, tool)
