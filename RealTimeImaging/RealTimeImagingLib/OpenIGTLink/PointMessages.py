"""POINT and TRAJ: fiducials and trajectories, in millimetres and in the coordinates of the wire.

OpenIGTLink v3, "Point Message", "Trajectory Message"; igtlutil/igtl_point.h, igtl_trajectory.h.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pyigtl.messages import PointMessage as PyigtlPointMessage

from ..Errors import WireError
from .Base import WireMessage, codec
from .Fields import packRows, rows
from .Text import fixedText

RGBA = tuple[int, int, int, int]
Vector = tuple[float, float, float]

_POINT = np.dtype(
    [
        ("name", "S64"),
        ("group", "S32"),
        ("rgba", "u1", 4),
        ("position", ">f4", 3),
        ("diameter", ">f4"),
        ("owner", "S20"),
    ]
)
_TRAJECTORY = np.dtype(
    [
        ("name", "S64"),
        ("group", "S32"),
        ("type", "u1"),
        ("reserved", "u1"),
        ("rgba", "u1", 4),
        ("entry", ">f4", 3),
        ("target", ">f4", 3),
        ("diameter", ">f4"),
        ("owner", "S20"),
    ]
)


@codec("POINT")
class PointMessage(PyigtlPointMessage):
    """Points. Arguments and attributes are pyigtl's: lists of the same length, or one value for all.

    :param positions: N x 3, or one x, y, z.
    :param names: at most 64 bytes each.
    :param rgba_colors: N x 4, 0 to 255.
    :param diameters: millimetres, 0 allowed.
    :param groups: such as "Fiducial", at most 32 bytes each.
    :param owners: device name of the image that each lies in, may be empty.
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
    """A way to a target.

    :param name: at most 64 bytes.
    :param group: such as "Trajectory", at most 32 bytes.
    :param type: 1 with an entry only, 2 with a target only, 3 with both.
    :param rgba: 0 to 255 each.
    :param entry: x, y, z.
    :param target: x, y, z.
    :param diameter: millimetres, 0 allowed.
    :param owner: device name of the image that it lies in, may be empty.
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
class TrajectoryMessage(WireMessage):
    """Trajectories."""

    TYPE = "TRAJ"

    def __init__(
        self, trajectories: Sequence[Trajectory] = (), timestamp: float | None = None, device_name: str | None = None
    ) -> None:
        super().__init__(timestamp, device_name)
        self.trajectories = list(trajectories)

    def _pack_content(self) -> bytes:
        return packRows(
            _TRAJECTORY,
            [
                (way.name, way.group, way.type, 0, way.rgba, way.entry, way.target, way.diameter, way.owner)
                for way in self.trajectories
            ],
        )

    def _unpack_content(self, content: bytes) -> None:
        self.trajectories = [
            Trajectory(
                name=fixedText(bytes(row["name"])),
                group=fixedText(bytes(row["group"])),
                type=int(row["type"]),
                rgba=tuple(row["rgba"].tolist()),
                entry=tuple(row["entry"].tolist()),
                target=tuple(row["target"].tolist()),
                diameter=float(row["diameter"]),
                owner=fixedText(bytes(row["owner"])),
            )
            for row in rows(content, _TRAJECTORY)
        ]


def _texts(values: str | Sequence[str] | None, count: int) -> list[str]:
    if values is None or isinstance(values, str) or not len(values):
        return [values if isinstance(values, str) else ""] * count
    if len(values) != count:
        raise WireError(f"there are {count} points and {len(values)} texts for them")
    return list(values)


def _column(found: Any, name: str) -> list[str]:
    return [fixedText(bytes(value)) for value in found[name]]
