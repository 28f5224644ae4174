"""POINT, TRAJ and POLYDATA: fiducials, trajectories and surfaces, in millimetres."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pyigtl.messages import PointMessage as PyigtlPointMessage

from ..Model.Errors import WireError
from ..Model.Text import textsOf
from .Base import Array, Fields, WireMessage, codec, packed, packNames
from .Records import RecordsMessage, fieldText, packRows, recordForm, rows

_ = textsOf(__file__)

RGBA = tuple[int, int, int, int]
Vector = tuple[float, float, float]

_POINT = recordForm("name S64, group S32, rgba 4u1, position 3>f4, diameter >f4, owner S20")


@codec("POINT")
class PointMessage(PyigtlPointMessage):
    """Points. Arguments and attributes are pyigtl's: lists of the same length, or one value for all.

    :param positions: N x 3, or one x, y, z.
    :param names: names, at most 64 bytes each.
    :param rgba_colors: N x 4, 0 to 255.
    :param diameters: diameters in millimetres, 0 allowed.
    :param groups: groups such as "Fiducial", at most 32 bytes each.
    :param owners: device name of the image of each point; may be empty.
    """

    def _pack_content(self) -> bytes:
        positions = np.zeros((0, 3)) if self.positions is None else np.asarray(self.positions, np.float64)
        positions = positions.reshape(-1, 3) if positions.size else positions.reshape(0, 3)
        count = len(positions)
        colors = self.rgba_colors if self.rgba_colors is not None and len(self.rgba_colors) else (255, 255, 0, 255)
        diameters = 0.0 if self.diameters is None or np.size(self.diameters) == 0 else self.diameters
        records = zip(
            _texts(self.names, count),
            _texts(self.groups, count),
            np.broadcast_to(np.asarray(colors), (count, 4)).tolist(),
            positions.tolist(),
            np.broadcast_to(np.asarray(diameters), count).tolist(),
            _texts(self.owners, count),
            strict=True,
        )
        return packRows(_POINT, list(records))

    def _unpack_content(self, content: bytes) -> None:
        found = rows(content, _POINT)
        self.names, self.groups, self.owners = (_column(found, name) for name in ("name", "group", "owner"))
        self.rgba_colors = [tuple(color) for color in found["rgba"].tolist()]
        self.positions = [tuple(position) for position in found["position"].tolist()]
        self.diameters = found["diameter"].tolist()


@dataclass
class Trajectory:
    """A trajectory to a target.

    :param name: name, at most 64 bytes.
    :param group: group such as "Trajectory", at most 32 bytes.
    :param type: 1: entry only; 2: target only; 3: both.
    :param rgba: 0 to 255 each.
    :param entry: x, y, z.
    :param target: x, y, z.
    :param diameter: diameter in millimetres, 0 allowed.
    :param owner: device name of the image of the trajectory; may be empty.
    """

    name: str = ""
    group: str = "Trajectory"
    type: int = 3
    rgba: RGBA = (255, 255, 0, 255)
    entry: Vector = (0.0, 0.0, 0.0)
    target: Vector = (0.0, 0.0, 0.0)
    diameter: float = 0.0
    owner: str = ""


@codec("TRAJ")
class TrajectoryMessage(RecordsMessage):
    """Trajectories; ``items`` are :class:`Trajectory`."""

    TYPE = "TRAJ"
    ITEM = Trajectory
    FORM = recordForm(
        "name S64, group S32, type u1, reserved u1, rgba 4u1, entry 3>f4, target 3>f4, diameter >f4, owner S20"
    )


def _texts(values: str | Sequence[str] | None, count: int) -> list[str]:
    if values is None or isinstance(values, str) or not len(values):
        return [values if isinstance(values, str) else ""] * count
    if len(values) != count:
        raise WireError(_("{count} points have {texts} texts").format(count=count, texts=len(values)))
    return list(values)


def _column(found: Any, name: str) -> list[str]:
    return [fieldText(row, name) for row in found]


_FIXED_COMPONENTS = {1: 3, 2: 3, 3: 9, 4: 4, 5: 3}
_SCALARS = 0x00

MOST_ATTRIBUTES = 4096
"""Most attributes that are read."""


@dataclass
class PolyDataAttribute:
    """Values at points or cells.

    :param name: name, at most 255 bytes.
    :param type: 0 scalars, 1 vectors, 2 normals, 3 tensors, 4 RGBA (0 to 1), 5 texture coordinates; plus 16 for
        values of cells.
    :param values: float32 (n, components); 3 for vectors, normals and texture coordinates, 9 for tensors, 4 for RGBA.
    """

    name: str = ""
    type: int = _SCALARS
    values: Array = field(default_factory=lambda: np.zeros((0, 1), np.float32))


def _none() -> Array:
    return np.zeros(0, np.uint32)


@codec("POLYDATA")
class PolyDataMessage(WireMessage):
    """Points and the cells that they form; names and forms are pyigtl's.

    The four lists of cells are flat: the number of points of a cell, then their indices, then the next cell. Received
    lists are complete, and all their indices are valid.

    :param points: float32 (n, 3), millimetres in the coordinates of the wire.
    :param vertices: uint32.
    :param lines: uint32.
    :param polygons: uint32.
    :param triangle_strips: uint32.
    """

    TYPE = "POLYDATA"
    BULK = True

    def __init__(
        self,
        points: Array | None = None,
        vertices: Array | None = None,
        lines: Array | None = None,
        polygons: Array | None = None,
        triangle_strips: Array | None = None,
        attributes: Sequence[PolyDataAttribute] = (),
        timestamp: float | None = None,
        device_name: str | None = None,
    ) -> None:
        super().__init__(timestamp, device_name)
        self.points: Array = np.zeros((0, 3), np.float32) if points is None else np.asarray(points)
        self.vertices: Array = _none() if vertices is None else np.asarray(vertices)
        self.lines: Array = _none() if lines is None else np.asarray(lines)
        self.polygons: Array = _none() if polygons is None else np.asarray(polygons)
        self.triangle_strips: Array = _none() if triangle_strips is None else np.asarray(triangle_strips)
        self.attributes = list(attributes)

    def _pack_content(self) -> bytes:
        points = np.asarray(self.points, ">f4").reshape(-1, 3)
        cells = [
            np.asarray(flat, np.uint32).ravel()
            for flat in (self.vertices, self.lines, self.polygons, self.triangle_strips)
        ]
        numbers = [number for flat in cells for number in (countCells(flat, len(points)), flat.nbytes)]
        parts = [packed("10I", len(points), *numbers, len(self.attributes)), points.tobytes()]
        parts += [flat.astype(">u4").tobytes() for flat in cells]
        values = [np.asarray(attribute.values, ">f4") for attribute in self.attributes]
        for attribute, sent in zip(self.attributes, values, strict=True):
            if sent.ndim != 2 or sent.shape[1] != _componentsOf(attribute.type, sent.shape[1]):
                raise WireError(
                    _("the values of {name} have shape {shape}, which does not fit their type").format(
                        name=attribute.name, shape=str(sent.shape)
                    )
                )
            parts.append(packed("BBI", attribute.type, sent.shape[1], len(sent)))
        parts.append(packNames([attribute.name for attribute in self.attributes]))
        return b"".join((*parts, *(sent.tobytes() for sent in values)))

    def _unpack_content(self, content: bytes) -> None:
        fields = Fields(content)
        points, *numbers, attributes = fields.unpack("10I")
        self.points = fields.array(">f4", points * 3).reshape(points, 3)
        cells = []
        for count, nbytes in zip(numbers[::2], numbers[1::2], strict=True):
            if nbytes % 4:
                raise WireError(
                    _("a list of cells has {nbytes} bytes, which is not a whole number of indices").format(
                        nbytes=nbytes
                    )
                )
            flat = fields.array(">u4", nbytes // 4)
            if countCells(flat, points) != count:
                raise WireError(
                    _("a list of cells does not have the declared number of {count:,} cells").format(count=count)
                )
            cells.append(flat)
        self.vertices, self.lines, self.polygons, self.triangle_strips = cells
        self.attributes = self._attributes(fields, attributes)
        fields.end()

    @staticmethod
    def _attributes(fields: Fields, count: int) -> list[PolyDataAttribute]:
        if count > MOST_ATTRIBUTES:
            raise WireError(
                _("it has {count:,} attributes; the limit is {limit:,}").format(count=count, limit=MOST_ATTRIBUTES)
            )
        heads = [fields.unpack("BBI") for _place in range(count)]
        names = fields.names(count)
        sizes = [_componentsOf(kind, components) for kind, components, _number in heads]
        # The C library sends 9 numbers for each point or cell of a type that it does not know: all types of
        # cells, and RGBA. The values come first, then other memory.
        sent = [size if kind <= 2 else 9 for (kind, _components, _number), size in zip(heads, sizes, strict=True)]
        total = sum(size * number for size, (_kind, _components, number) in zip(sizes, heads, strict=True))
        if total * 4 == fields.left:
            sent = sizes
        made = []
        for (kind, _components, number), name, size, width in zip(heads, names, sizes, sent, strict=True):
            values = fields.array(">f4", number * width)[: number * size].reshape(number, size)
            made.append(PolyDataAttribute(name, kind, values))
        return made


def countCells(flat: Array, points: int) -> int:
    """Count the cells of a flat list.

    :param flat: the number of points of a cell, their indices, and so on.
    :param points: number of points.
    :raises WireError: the last cell is cut off, or an index is invalid.
    """
    if not flat.size:
        return 0
    width = int(flat[0]) + 1
    if flat.size % width == 0 and (flat[::width] == width - 1).all():
        starts = np.arange(0, flat.size, width)
    else:
        starts = _starts(flat)
    indices = np.delete(flat, starts)
    if indices.size and int(indices.max()) >= points:
        raise WireError(
            _("a cell has point {index:,} of only {points:,} points").format(index=int(indices.max()), points=points)
        )
    return len(starts)


def _starts(flat: Array) -> Array:
    # A list of Python numbers would take ten times the memory of a hostile message.
    numbers, starts, place = np.ascontiguousarray(flat).data, array("q"), 0
    while place < len(numbers):
        starts.append(place)
        place += numbers[place] + 1
    if place != len(numbers):
        raise WireError(_("its last cell is cut off"))
    return np.frombuffer(starts, np.int64)


def _componentsOf(kind: int, components: int) -> int:
    return _FIXED_COMPONENTS.get(kind & 0x0F, components)
