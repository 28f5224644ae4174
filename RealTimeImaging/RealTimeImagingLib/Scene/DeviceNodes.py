"""Messages of devices in the scene, the newest in one persistent node: transforms, points, surfaces, texts."""

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
from .Nodes import attributeName, plain

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


RESERVED = "RealTimeImaging."
DEVICE_ATTRIBUTE = f"{RESERVED}Device"
KIND_ATTRIBUTE = f"{RESERVED}DeviceKind"
ITEM_ATTRIBUTE = f"{RESERVED}DeviceItem"
"""Node attributes by which a node is found again in the next session or a loaded scene; the item is a trajectory's name
among those of its device."""
MOST_DEVICES = 500
"""More are not shown: every device is a name that anybody on the network may choose."""
MOST_POINTS, MOST_TRAJECTORIES = 5000, 100
"""Of one message; Slicer's window would stand still while it makes more."""

_CLASSES = {
    "transform": "vtkMRMLLinearTransformNode",
    "points": "vtkMRMLMarkupsFiducialNode",
    "trajectory": "vtkMRMLMarkupsLineNode",
    "polydata": "vtkMRMLModelNode",
    "text": "vtkMRMLTextNode",
}


@dataclass(frozen=True)
class DeviceState:
    """The latest that a device said of one kind.

    :param kind: of :class:`DeviceMessage`.
    :param words: a phrase for the panel.
    :param time: the device's time where it gave one, otherwise that of arrival; seconds since the epoch, UTC.
    :param ok: False when the device reports an error, or does not see a tool.
    """

    device: str
    kind: str
    words: str
    time: float
    ok: bool


@dataclass(eq=False)
class _Shown:
    node: Any
    attributes: set[str] = field(default_factory=set)
    look: Look = (0.0, ())


_Key = tuple[str, str, str]


class DeviceNodes:
    """One node for each device and kind of message, made with the first and reused as long as it is in the scene.

    Coordinates are written as they come (RAS): a transform that the user puts above a node registers the device.

    :param scene: the MRML scene.
    """

    def __init__(self, scene: Any) -> None:
        self._scene = scene
        self._shown: dict[_Key, _Shown] = {}
        self._latest: dict[tuple[str, str], DeviceMessage] = {}
        self._matrix = vtk.vtkMatrix4x4()

    def show(self, message: DeviceMessage) -> Any:
        """Put a message into its node; observers see one ModifiedEvent.

        Returns the node, of several trajectories the first; None for kinds that have none, and for a position that is
        none, at which a node that is there keeps the last one.

        :raises DeviceMessageError: it contradicts itself.
        :raises TooManyDevicesError: there are more than MOST_DEVICES; it is a DeviceMessageError.
        """
        key = (message.kind, message.device)
        if key not in self._latest and len(self._latest) >= MOST_DEVICES:
            raise TooManyDevicesError(
                f"More than {MOST_DEVICES} devices sent something; {message.device} is not shown."
            )
        self._latest[key] = message
        if message.kind == "transform":
            return self._showTransform(message)
        if message.kind == "points":
            return self._showPoints(message)
        if message.kind == "polydata":
            surface = polyDataOf(message.values)
            return self._write(message, "polydata", lambda node: node.SetAndObservePolyData(surface))
        if message.kind == "text":
            text = plain(message.values["text"])
            return self._write(message, "text", lambda node: node.SetText(text))
        return None

    def node(self, kind: str, device: str, item: str = "") -> Any:
        """The node of a device; None when there is none.

        :param kind: "transform", "points", "trajectory", "polydata" or "text".
        :param item: of a trajectory: its name.
        """
        shown = self._find((kind, device, item))
        return shown.node if shown else None

    def states(self) -> list[DeviceState]:
        """The latest of every device and kind, by name."""
        return [
            DeviceState(device, kind, words(one), one.time, bool(one.values.get("ok", True)) and not one.unseen)
            for (kind, device), one in sorted(self._latest.items(), key=lambda item: item[0][::-1])
        ]

    def prepare(self) -> None:
        """Before the first of the sources starts: what devices said before is no state of theirs any more."""
        self._latest.clear()

    def forget(self) -> None:
        """The scene was closed: its nodes are gone."""
        self._shown.clear()
        self._latest.clear()

    # ---- kinds

    def _showTransform(self, message: DeviceMessage) -> Any:
        numbers = [float(number) for row in message.values["matrix"] for number in row]
        if message.unseen or not _isPose(numbers):
            # Mostly the origin is sent meanwhile: the tool stays where it was seen last, and its node says so.
            shown = self._find(("transform", message.device, ""))
            if shown is not None and message.unseen:
                for name in message.statusNames:
                    shown.node.SetAttribute(attributeName(name, RESERVED), plain(message.attributes[name]))
                    shown.attributes.add(attributeName(name, RESERVED))
            return None
        self._matrix.DeepCopy(numbers)
        return self._write(message, "transform", lambda node: node.SetMatrixTransformToParent(self._matrix))

    def _showPoints(self, message: DeviceMessage) -> Any:
        received = message.values["points"]
        ways = [point for point in received if "entry" in point]
        if len(ways) > MOST_TRAJECTORIES or len(received) > MOST_POINTS:
            raise DeviceMessageError(f"{message.device} sent {words(message)}, more than can be shown at once.")
        points = [point for point in received if "entry" not in point and isWhole(point)]
        first = None
        if ways or not received:
            first = self._showTrajectories(message, [way for way in ways if isWhole(way)])
        if points or (len(received) > len(ways)) or (not received and self.node("points", message.device)):
            first = self._write(message, "points", lambda node: writePoints(node, points), points[0] if points else {})
        return first

    def _showTrajectories(self, message: DeviceMessage, ways: list[Mapping[str, Any]]) -> Any:
        # Nodes stay, empty, when the device does not name their trajectory any more: it would be shown where it is not.
        gone = set(self._keysInScene("trajectory", message.device))
        first = None
        used: dict[str, int] = {}
        for way in ways:
            name = plain(way.get("name", ""))
            used[name] = used.get(name, 0) + 1
            item = name if used[name] == 1 else f"{name} {used[name]}"
            gone.discard(("trajectory", message.device, item))
            node = self._write(message, "trajectory", lambda node, way=way: writeLine(node, way), way, item)
            first = first or node
        for kind, _, item in gone:
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
        # What the user changed stays until the device says something else.
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
        kind, device, _ = key
        if kind in _CLASSES:
            self._keysInScene(kind, device)
        return self._shown.get(key)

    def _keysInScene(self, kind: str, device: str) -> list[_Key]:
        # Notes what it finds, so that it is looked for once.
        nodes = self._scene.GetNodesByClass(_CLASSES[kind])
        nodes.UnRegister(None)
        found, marks = [], (kind, plain(device))
        for index in range(nodes.GetNumberOfItems()):
            node = nodes.GetItemAsObject(index)
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
            # The device would put back at once what is dragged by hand.
            node.SetLocked(True)
            self._addMarkups(node)
        else:
            self._scene.AddNode(node)
        if kind in ("points", "trajectory", "polydata"):
            node.CreateDefaultDisplayNodes()
        self._shown[key] = _Shown(node)
        return self._shown[key]

    def _addMarkups(self, node: Any) -> None:
        # Slicer makes a markups node that is added the one into which the mouse places points.
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


def _isPose(numbers: list[float]) -> bool:
    # Trackers send NaN, or only zeros, for a tool that they do not see.
    if not math.isfinite(sum(numbers)):
        return False
    a, b, c, _, d, e, f, _, g, h, i, _ = numbers[:12]
    return abs(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)) > 1e-9
