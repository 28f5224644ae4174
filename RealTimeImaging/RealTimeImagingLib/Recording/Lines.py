"""Lines about a part and its frames, one JSON object each, and the file that grows by whole lines."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any, NamedTuple

import numpy as np

from ..Model.Files import openPrivate, writeAll
from ..Model.Frame import SCALAR_TYPES, Matrix, checkMatrix

LOOK_EVERY = 0.1
"""Seconds between two looks whether the files are still there: one costs more than the line of a frame."""


class PartGone(OSError):
    """The files of a part were removed or replaced, and their folder is there."""


_FLAGS = os.O_RDWR | getattr(os, "O_BINARY", 0)


class GrowingLines:
    """A line is acknowledged when it was written; then a kill cannot take it back.

    :param path: must not exist.
    :param first: the first line.
    :raises FileExistsError: the name is taken.
    :raises OSError: the file cannot be made.
    """

    def __init__(self, path: str, first: bytes) -> None:
        self.path = path
        self.bytes = 0
        """Of the acknowledged lines."""
        self._lookAt = 0.0
        self._handle = openPrivate(path, _FLAGS | os.O_CREAT | os.O_EXCL)
        try:
            writeAll(self._handle, first)
        except OSError:
            self.close()
            os.unlink(path)
            raise
        self.bytes = len(first)

    def append(self, line: bytes) -> None:
        """Write one line; when it returns the line is acknowledged.

        :raises PartGone: the file was removed; it is noticed within LOOK_EVERY.
        :raises OSError: it cannot be written; the file is, or will be with the next line, as it was before.
        """
        try:
            if self._handle == -1:
                self._handle = os.open(self.path, _FLAGS)
                self._look()
                self._cut()
            elif time.monotonic() >= self._lookAt:
                self._look()
            writeAll(self._handle, line)
        except FileNotFoundError as error:
            self.close()
            if os.path.isdir(os.path.dirname(self.path)):
                raise PartGone(error.errno, "the file was removed while it grew", self.path) from error
            raise
        except OSError:
            try:
                self._cut()
            except OSError:
                pass  # again when it is opened again; a repair also cuts
            self.close()
            raise
        self.bytes += len(line)

    @property
    def whole(self) -> bool:
        """Whether all acknowledged lines are there, as far as can be known."""
        try:
            return os.path.getsize(self.path) >= self.bytes
        except FileNotFoundError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        """Let go of the file; the next line opens it again."""
        if self._handle != -1:
            try:
                os.close(self._handle)
            except OSError:
                pass  # a network share may say so late; the next line opens and counts the bytes
        self._handle = -1

    def trim(self) -> None:
        """Cut off what a failed write left behind the last line.

        :raises OSError: it cannot be cut.
        """
        if os.path.getsize(self.path) > self.bytes:
            os.truncate(self.path, self.bytes)

    def _look(self) -> None:
        # A removed file takes all that is written to it.
        opened = os.fstat(self._handle)
        if opened.st_size < self.bytes or not os.path.samestat(opened, os.stat(self.path)):
            raise FileNotFoundError(f"{self.path} was replaced or cut")
        self._lookAt = time.monotonic() + LOOK_EVERY

    def _cut(self) -> None:
        os.ftruncate(self._handle, self.bytes)
        os.lseek(self._handle, self.bytes, os.SEEK_SET)


FORMAT = "RealTimeImaging recording"
VERSION = 1
_TYPE = re.compile("[<>|=][iuf][1248]")


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
    :param start: seconds since the epoch (UTC) at which the index is 0, by ``startClock``: when the recording's first
        frame of any stream came, which may be before this stream's first.
    :param startClock: "device" or "arrival".
    :param attributes: of the recording.
    :param origin: seconds since the epoch (UTC) at which the index is 0, by the clock of the computer that recorded,
        whatever the device's says; the same for all that one process recorded under one name. None: not told.
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
    origin: float | None = None

    @property
    def type(self) -> np.dtype[Any]:
        """The stored type."""
        return np.dtype(self.dtype)

    @property
    def frameBytes(self) -> int:
        """Bytes of one frame in the file of pixels."""
        return math.prod(self.shape) * self.type.itemsize

    def toBytes(self) -> bytes:
        """One line with its end."""
        return f"{_encode({'format': FORMAT, 'version': VERSION, **asdict(self)})}\n".encode("ascii")

    @classmethod
    def fromText(cls, text: str | bytes) -> PartLine:
        """:raises ValueError: it is none, is damaged or of a later version."""
        values = parsed(text)
        try:
            if values.pop("format") != FORMAT or values.pop("version") > VERSION:
                raise ValueError("This is no recording that this version of the module can read.")
            line = cls(
                **{
                    **values,
                    "shape": tuple(map(int, values["shape"])),
                    "ijkToRAS": _matrix(values["ijkToRAS"]),
                }
            )
            known = storable(line.dtype)
            checkNumbers(line.part)
            checkAttributesRead(line.attributes)
            checkAttributesRead(line.versions)
            if not all(isinstance(text, str) for text in (line.recording, line.stream, line.startClock)):
                raise ValueError("The description of the recording is damaged.")
            if not (math.isfinite(line.start) and math.isfinite(line.origin or 0.0)):
                raise ValueError("The start of the recording is no time.")
        except (AttributeError, KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"The description of the recording is damaged: {error}") from error
        colours = line.shape[3:]
        if not known or len(line.shape) not in (3, 4) or min(line.shape) < 1 or colours not in ((), (3,), (4,)):
            raise ValueError("The description of the recording has an impossible type or shape.")
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

    @classmethod
    def fromJSON(cls, values: Mapping[str, Any]) -> Missed:
        """:raises ValueError, TypeError: it is damaged."""
        missed = cls(**values)
        checkNumbers(missed.first, missed.last, missed.count)
        return missed


class FrameLine(NamedTuple):
    """One stored frame.

    :param time: index: seconds since the recording's first frame in any stream, strictly increasing; the first of a
        stream is 0 when no other stream of the recording began before it.
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
        # By hand: a third of the time that json takes, of which each frame has a few microseconds.
        device = "null" if self.deviceTime is None else _number(self.deviceTime)
        attributes = ",".join([f"{_quoted(name)}:{_quoted(str(value))}" for name, value in self.attributes.items()])
        text = (
            f'{{"number":{self.number:d},"time":{_number(self.time)},"clock":"{self.clock}","deviceTime":{device},'
            f'"receiveTime":{_number(self.receiveTime)},"attributes":{{{attributes}}}'
        )
        if self.ijkToRAS is not None:
            text += f',"ijkToRAS":[{",".join(map(_number, self.ijkToRAS))}]'
        if self.missed is not None:
            text += f',"missed":{_encode(asdict(self.missed))}'
        return f"{text}}}\n".encode("ascii")

    @classmethod
    def fromText(cls, text: str | bytes) -> FrameLine:
        """:raises ValueError: it is none or is damaged."""
        try:
            values = parsed(text)
            if "missed" in values:
                values["missed"] = Missed.fromJSON(values["missed"])
            if "ijkToRAS" in values:
                values["ijkToRAS"] = _matrix(values["ijkToRAS"])
            line = cls(**values)
            checkNumbers(line.number)
            for time in (line.time, line.receiveTime, 0.0 if line.deviceTime is None else line.deviceTime):
                if not math.isfinite(time):
                    raise ValueError(f"{time} is no time.")
            checkAttributesRead(line.attributes)
        except (TypeError, OverflowError) as error:
            raise ValueError(f"The description of a frame is damaged: {error}") from error
        return line


def parsed(text: str | bytes) -> Any:
    """The value of a JSON text.

    :raises ValueError: it is none, or nests so deeply that Python cannot read it.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("The text nests too deeply.") from error


def flat(ijkToRAS: Matrix) -> tuple[float, ...]:
    """16 numbers, row by row."""
    return tuple(ijkToRAS.ravel().tolist())


def storedType(dtype: np.dtype[Any]) -> str:
    """The type with its byte order: what lies in memory is what is stored."""
    ordered: np.dtype[Any] = dtype.newbyteorder("<" if sys.byteorder == "little" else ">")
    return str(ordered.str)


def storable(dtype: str) -> bool:
    """Whether a text from a file names a type that a recording can have. NumPy understands much more."""
    return bool(_TYPE.fullmatch(dtype)) and np.dtype(dtype).newbyteorder("=") in SCALAR_TYPES


def _encode(values: dict[str, Any]) -> str:
    return json.dumps(values, separators=(",", ":"))


def _number(value: float) -> str:
    # Not repr(): that of numpy's numbers is no JSON.
    return float.__repr__(float(value))


def _matrix(values: Sequence[float]) -> tuple[float, ...]:
    checkMatrix(np.array(values, dtype=np.float64).reshape(4, 4))
    return tuple(map(float, values))


def checkNumbers(*values: object) -> None:
    """:raises ValueError: one is no whole number."""
    if not all(type(value) is int for value in values):
        raise ValueError("The number of a frame is damaged.")


def checkAttributesRead(attributes: object) -> None:
    """:raises ValueError: they are no texts by name."""
    if not isinstance(attributes, dict) or not all(isinstance(value, str) for value in attributes.values()):
        raise ValueError("The attributes are damaged.")
