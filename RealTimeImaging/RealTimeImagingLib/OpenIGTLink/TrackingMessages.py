"""POSITION, QTRANS, TDATA and QTDATA: poses of tools. TRANSFORM is pyigtl's, which is correct.

OpenIGTLink v3, "Position Message", "QuaternionTransform Message", "TrackingData Message", "QuaternionTrackingData
Message". Millimetres, in the coordinates of the wire; NaN stays NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..Model.Errors import WireError
from ..Model.Frame import Matrix
from ..Model.Text import textsOf
from .Base import Fields, WireMessage, codec, packed
from .Records import RecordsMessage, fieldText, recordForm

_ = textsOf(__file__)

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]


@dataclass
class TrackedTool:
    """A tool and its pose.

    :param name: name, at most 20 bytes.
    :param type: 1: tracker; 2: instrument with 6 degrees of freedom; 3: tip only; 4: tip and axis.
    :param matrix: 4x4 float64, tool to world.
    """

    name: str
    type: int = 2
    matrix: Matrix = field(default_factory=lambda: np.eye(4))


@dataclass
class QuaternionTool:
    """A tool as in :class:`TrackedTool`, with position and quaternion.

    :param position: x, y, z.
    :param quaternion: x, y, z, w.
    """

    name: str
    type: int = 2
    position: Vector = (0.0, 0.0, 0.0)
    quaternion: Quaternion = (0.0, 0.0, 0.0, 1.0)

    @property
    def matrix(self) -> Matrix:
        """Pose as 4x4 float64, tool to world."""
        return matrixOf(self.position, self.quaternion)


TOOLS_LIMIT = 1 << 20
"""Most bytes of the poses of a tracker, 15,000 tools: each of them becomes a device message."""


def matrixOf(position: Vector, quaternion: Quaternion) -> Matrix:
    """Return the pose as 4x4 float64; a quaternion of length 0 does not rotate.

    :param quaternion: x, y, z, w, of any length.
    """
    made = np.eye(4)
    made[:3, 3] = position
    length = math.sqrt(sum(value * value for value in quaternion))
    if length:
        x, y, z, w = (value / length for value in quaternion)
        made[:3, :3] = [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    return made


@codec("POSITION")
class PositionMessage(WireMessage):
    """A position and an orientation.

    :param position: x, y, z.
    :param quaternion: x, y, z, w.
    """

    TYPE = "POSITION"

    def __init__(
        self,
        position: Vector = (0.0, 0.0, 0.0),
        quaternion: Quaternion = (0.0, 0.0, 0.0, 1.0),
        timestamp: float | None = None,
        device_name: str | None = None,
    ) -> None:
        super().__init__(timestamp, device_name)
        self.position, self.quaternion = position, quaternion

    @property
    def matrix(self) -> Matrix:
        """Pose as 4x4 float64."""
        return matrixOf(self.position, self.quaternion)

    def _pack_content(self) -> bytes:
        return packed("3f4f", *self.position, *self.quaternion)

    def _unpack_content(self, content: bytes) -> None:
        fields = Fields(content)
        self.position = fields.unpack("3f")
        # The C++ library also sends a position alone, or without w (igtlPositionMessage.h, SetPackType).
        if not fields.left:
            self.quaternion = (0.0, 0.0, 0.0, 1.0)
        elif fields.left == 12:
            x, y, z = fields.unpack("3f")
            square = 1 - x * x - y * y - z * z
            self.quaternion = (x, y, z, math.sqrt(square)) if square >= 0 else (0.0, 0.0, 0.0, 1.0)
        else:
            self.quaternion = fields.unpack("4f")
        fields.end()


@codec("QTRANS")
class QuaternionTransformMessage(PositionMessage):
    """POSITION under another name."""

    TYPE = "QTRANS"


@codec("TDATA")
class TrackingDataMessage(RecordsMessage):
    """Poses of the tools of a tracker; ``items`` are :class:`TrackedTool`."""

    TYPE = "TDATA"
    LIMIT = TOOLS_LIMIT
    FORM = recordForm("name S20, type u1, reserved u1, matrix (4,3)>f4")

    def _record(self, item: TrackedTool) -> tuple[Any, ...]:
        if np.shape(item.matrix) != (4, 4):
            raise WireError(
                _("the matrix of {name} has shape {shape}, not 4x4").format(name=item.name, shape=np.shape(item.matrix))
            )
        return item.name, item.type, 0, np.transpose(item.matrix[:3]).tolist()

    def _item(self, row: Any) -> TrackedTool:
        matrix = np.eye(4)
        matrix[:3] = row["matrix"].transpose()
        return TrackedTool(fieldText(row, "name"), int(row["type"]), matrix)


@codec("QTDATA")
class QuaternionTrackingDataMessage(RecordsMessage):
    """TDATA with quaternions; ``items`` are :class:`QuaternionTool`."""

    TYPE = "QTDATA"
    LIMIT = TOOLS_LIMIT
    ITEM = QuaternionTool
    FORM = recordForm("name S20, type u1, reserved u1, position 3>f4, quaternion 4>f4")
