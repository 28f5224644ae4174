"""POLYDATA: a surface or lines, with values at its points or cells.

OpenIGTLink v3, "PolyData Message"; igtlutil/igtl_polydata.h.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..Errors import WireError
from .Base import WireMessage, codec
from .Fields import Array, Fields, packed, packNames

_FIXED_COMPONENTS = {1: 3, 2: 3, 3: 9, 4: 4, 5: 3}
_SCALARS = 0x00

MOST_ATTRIBUTES = 4096
"""More are not believed."""


@dataclass
class PolyDataAttribute:
    """Values at points or cells.

    :param name: at most 255 bytes.
    :param type: 0 scalars, 1 vectors, 2 normals, 3 tensors, 4 RGBA (0 to 1), 5 texture coordinates; 16 more for those
        of cells.
    :param values: float32 (n, components); 3 for vectors, normals and texture coordinates, 9 for tensors, 4 for RGBA.
    """

    name: str = ""
    type: int = _SCALARS
    values: Array = field(default_factory=lambda: np.zeros((0, 1), np.float32))


def _none() -> Array:
    return np.zeros(0, np.uint32)


@codec("POLYDATA")
class PolyDataMessage(WireMessage):
    """Points and what they make; names and forms are pyigtl's.

    The four lists of cells are flat: the number of points of a cell, then their indices, then the next cell. In what
    was received all indices are those of points and the lists are whole.

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
                raise WireError(f"the values of {attribute.name} are {sent.shape}, which does not go with their type")
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
                raise WireError(f"a list of cells has {nbytes} bytes, no whole number of indices")
            flat = fields.array(">u4", nbytes // 4)
            if countCells(flat, points) != count:
                raise WireError(f"a list of cells has another number of cells than {count:,}, as is said")
            cells.append(flat)
        self.vertices, self.lines, self.polygons, self.triangle_strips = cells
        self.attributes = self._attributes(fields, attributes)
        fields.end()

    @staticmethod
    def _attributes(fields: Fields, count: int) -> list[PolyDataAttribute]:
        if count > MOST_ATTRIBUTES:
            raise WireError(f"it has {count:,} attributes, and {MOST_ATTRIBUTES:,} at most are read")
        heads = [fields.unpack("BBI") for _ in range(count)]
        names = fields.names(count)
        sizes = [_componentsOf(kind, components) for kind, components, _ in heads]
        # The C library sends 9 numbers for each point or cell where it does not know the type, which are all types of
        # cells, and RGBA: the values first, then what happens to lie behind them.
        sent = [size if kind <= 2 else 9 for (kind, _, _), size in zip(heads, sizes, strict=True)]
        total = sum(size * number for size, (_, _, number) in zip(sizes, heads, strict=True))
        if total * 4 == fields.left:
            sent = sizes
        made = []
        for (kind, _, number), name, size, width in zip(heads, names, sizes, sent, strict=True):
            values = fields.array(">f4", number * width)[: number * size].reshape(number, size)
            made.append(PolyDataAttribute(name, kind, values))
        return made


def countCells(flat: Array, points: int) -> int:
    """Cells in a flat list of them.

    :param flat: the number of points of a cell, their indices, and so on.
    :param points: how many there are.
    :raises WireError: the last cell is cut off, or an index is none of a point.
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
        raise WireError(f"a cell has the point {int(indices.max()):,}, and there are {points:,} points")
    return len(starts)


def _starts(flat: Array) -> Array:
    # Lists of Python numbers would be ten times as large as a hostile message.
    numbers, starts, place = np.ascontiguousarray(flat).data, array("q"), 0
    while place < len(numbers):
        starts.append(place)
        place += numbers[place] + 1
    if place != len(numbers):
        raise WireError("the last of its cells is cut off")
    return np.frombuffer(starts, np.int64)


def _componentsOf(kind: int, components: int) -> int:
    return _FIXED_COMPONENTS.get(kind & 0x0F, components)
