"""What is told of a part and of its frames: one JSON object each, the same in the growing file and in the header.

The first line of a ``.jsonl`` file is a :class:`PartLine`, every other a :class:`FrameLine`. In the header of the
finished part the first is the attribute "Recording", the others are the attribute "Frame" of each frame. The text is
ASCII, so that no line end and no encoding of a value can divide a line.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ..Frame import SCALAR_TYPES, Matrix

FORMAT = "RealTimeImaging recording"
VERSION = 1


def versions() -> dict[str, str]:
    """What wrote a recording."""
    return {
        "format": str(VERSION),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": platform.platform(),
    }


@dataclass(frozen=True)
class PartLine:
    """What all frames of a part have in common.

    :param recording: base name of the recording's files.
    :param part: from 1.
    :param shape: (k, j, i) or (k, j, i, 3|4).
    :param dtype: with byte order, such as ``<u2``.
    :param ijkToRAS: of the first frame, 16 numbers row by row, millimetres.
    :param start: seconds since the epoch (UTC) at which the index is 0.
    :param startClock: "device" or "arrival".
    :param attributes: of the recording.
    """

    recording: str
    stream: str
    part: int
    shape: tuple[int, ...]
    dtype: str
    ijkToRAS: tuple[float, ...]
    start: float
    startClock: str
    attributes: Mapping[str, str]
    versions: Mapping[str, str] = field(default_factory=versions)

    @property
    def type(self) -> np.dtype[Any]:
        """The stored type."""
        return np.dtype(self.dtype)

    @property
    def frameBytes(self) -> int:
        """Bytes of one frame in the file of pixels."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.type.itemsize

    def toBytes(self) -> bytes:
        """One line with its end."""
        return _encode({"format": FORMAT, "version": VERSION, **asdict(self)})

    @classmethod
    def fromText(cls, text: str | bytes) -> PartLine:
        """:raises ValueError: it is none, is damaged or of a later version."""
        values = json.loads(text)
        try:
            if values.pop("format") != FORMAT or values.pop("version") > VERSION:
                raise ValueError("This is no recording that this version of the module can read.")
            line = cls(
                **{
                    **values,
                    "shape": tuple(map(int, values["shape"])),
                    "ijkToRAS": tuple(map(float, values["ijkToRAS"])),
                }
            )
            known = line.type.newbyteorder("=") in SCALAR_TYPES
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"The description of the recording is damaged: {error}") from error
        if not known or len(line.shape) not in (3, 4) or min(line.shape) < 1 or len(line.ijkToRAS) != 16:
            raise ValueError("The description of the recording has an impossible type, shape or matrix.")
        return line


@dataclass(frozen=True)
class Missed:
    """Frames of which nothing is stored, and why.

    :param first: number of the first such frame, ``last`` of the last; ``count`` how many, both included.
    """

    first: int
    last: int
    count: int
    reason: str


@dataclass(frozen=True)
class FrameLine:
    """One stored frame.

    :param time: index: seconds since the recording's first frame, strictly increasing.
    :param clock: what ``time`` comes from: "device", "arrival", or "order" when neither increased.
    :param deviceTime: seconds since the epoch (UTC) or None.
    :param receiveTime: seconds since the epoch (UTC).
    :param ijkToRAS: 16 numbers when it is not that of the part, otherwise None.
    :param missed: the frames before this one that could not be stored.
    """

    number: int
    time: float
    clock: str
    deviceTime: float | None
    receiveTime: float
    attributes: Mapping[str, str]
    ijkToRAS: tuple[float, ...] | None = None
    missed: Missed | None = None

    def toBytes(self) -> bytes:
        """One line with its end."""
        values: dict[str, Any] = {
            "number": self.number,
            "time": self.time,
            "clock": self.clock,
            "deviceTime": self.deviceTime,
            "receiveTime": self.receiveTime,
            "attributes": dict(self.attributes),
        }
        if self.ijkToRAS is not None:
            values["ijkToRAS"] = self.ijkToRAS
        if self.missed is not None:
            values["missed"] = asdict(self.missed)
        return _encode(values)

    @classmethod
    def fromText(cls, text: str | bytes) -> FrameLine:
        """:raises ValueError: it is none or is damaged."""
        try:
            values = json.loads(text)
            if "missed" in values:
                values["missed"] = Missed(**values["missed"])
            if "ijkToRAS" in values:
                values["ijkToRAS"] = tuple(map(float, values["ijkToRAS"]))
            return cls(**values)
        except TypeError as error:
            raise ValueError(f"The description of a frame is damaged: {error}") from error


def flat(ijkToRAS: Matrix) -> tuple[float, ...]:
    """16 numbers, row by row."""
    return tuple(ijkToRAS.ravel().tolist())


def storedType(dtype: np.dtype[Any]) -> str:
    """The type with its byte order: what lies in memory is what is stored."""
    ordered: np.dtype[Any] = dtype.newbyteorder("<" if sys.byteorder == "little" else ">")
    return str(ordered.str)


def _encode(values: dict[str, Any]) -> bytes:
    return json.dumps(values, separators=(",", ":")).encode("ascii") + b"\n"
