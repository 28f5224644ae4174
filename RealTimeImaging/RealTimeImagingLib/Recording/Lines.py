"""Lines that describe frames and device messages, one JSON object a line.

``NAME-STREAM.jsonl`` grows beside the pixels of a part: a :class:`PartLine`, then a :class:`FrameLine` for each frame.
``NAME.messages.jsonl`` holds the device messages and is never rewritten: a :class:`MessagesLine`, then a
:class:`MessageLine` for each message. The text is ASCII, so that no value contains a line end.
"""

from __future__ import annotations

import json
import math
import platform
import re
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any, NamedTuple

import numpy as np

from ..Model.DeviceMessage import KINDS, DeviceMessage
from ..Model.Errors import FrameError
from ..Model.Files import parsedJSON, reasonOf
from ..Model.Frame import SCALAR_TYPES, Matrix, checkMatrix
from ..Model.Poses import OK
from ..Model.Text import textsOf
from .FrameTimes import usable

_ = textsOf(__file__)

FORMAT, MESSAGES_FORMAT = "RealTimeImaging recording", "RealTimeImaging messages"
VERSION = 1
POSE = b'"kind":"transform"'
"""Part of the first POSE_WITHIN bytes of the line of a transform."""
POSE_WITHIN = 60
_TYPE = re.compile("[<>|=][iuf][1248]")
_LONGEST_STATUS = 40
_PACKED = 100
"""Lines that are compressed together: more would make a frame wait, fewer need more memory."""


def versions() -> dict[str, str]:
    """Return the versions of the software that writes a recording."""
    return {
        "format": str(VERSION),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": platform.platform(),
    }


@dataclass(frozen=True)
class Missed:
    """Consecutive entries (frames or messages) that are not stored.

    :param first: number of the first entry.
    :param last: number of the last entry.
    :param count: number of entries.
    """

    first: int
    last: int
    count: int
    reason: str

    @classmethod
    def fromJSON(cls, values: Mapping[str, Any]) -> Missed:
        """:raises ValueError, TypeError: the values are damaged."""
        missed = cls(**values)
        checkNumbers(missed.first, missed.last, missed.count)
        return missed

    def words(self, noun: str, nouns: str) -> str:
        """Return words for the entries, such as "frames 3 to 5 (3)".

        :param noun: word for one entry. ``nouns``: for several.
        """
        if self.count == 1:
            return _("{noun} {number}").format(noun=noun, number=self.first)
        text = _("{nouns} {first} to {last} ({count})")
        return text.format(nouns=nouns, first=self.first, last=self.last, count=self.count)


@dataclass(frozen=True)
class PartLine:
    """Description of a part: values that all its frames share.

    :param recording: base name of the recording's files.
    :param part: number of the part, from 1.
    :param shape: shape of a frame, (k, j, i) or (k, j, i, 3|4).
    :param dtype: type with byte order, such as ``<u2``.
    :param ijkToRAS: geometry of the first frame, 16 numbers row by row, millimetres.
    :param start: time of index 0, seconds since the epoch (UTC), by ``startClock``: arrival of the first frame of any
        stream, which may be earlier than the first frame of this stream.
    :param startClock: "device" or "arrival".
    :param attributes: attributes of the recording.
    :param origin: time of index 0, seconds since the epoch (UTC), by the clock of the recording computer; the same for
        everything that one process records under one name. None: unknown.
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
        """Type of the stored pixels."""
        return np.dtype(self.dtype)

    @property
    def frameBytes(self) -> int:
        """Bytes of one frame in the file of pixels."""
        return math.prod(self.shape) * self.type.itemsize

    def toBytes(self) -> bytes:
        """One line with its end."""
        return _line({"format": FORMAT, "version": VERSION, **asdict(self)})

    @classmethod
    def fromText(cls, text: str | bytes) -> PartLine:
        """:raises ValueError: the line is something else, is damaged, or comes from a later version."""
        values = parsedJSON(text)
        try:
            if values.pop("format") != FORMAT or values.pop("version") > VERSION:
                raise ValueError(_("This version of the module cannot read the recording."))
            shape, matrix = tuple(values["shape"]), _matrix(values["ijkToRAS"])
            checkNumbers(*shape)
            line = cls(**{**values, "shape": shape, "ijkToRAS": matrix})
            known = storable(line.dtype)
            checkNumbers(line.part)
            _checkAttributes(line.attributes, line.versions)
            if not all(isinstance(text, str) for text in (line.recording, line.stream, line.startClock)):
                raise ValueError(_("The description of the recording is damaged."))
            if not (math.isfinite(line.start) and math.isfinite(line.origin or 0.0)):
                raise ValueError(_("The start of the recording is not a time."))
        except (AttributeError, KeyError, TypeError, OverflowError) as error:
            text = _("The description of the recording is damaged: {reason}.")
            raise ValueError(text.format(reason=reasonOf(error))) from error
        colours = line.shape[3:]
        if not known or len(line.shape) not in (3, 4) or min(line.shape) < 1 or colours not in ((), (3,), (4,)):
            raise ValueError(_("The description of the recording has an impossible type or shape."))
        return line


class FrameLine(NamedTuple):
    """Description of one stored frame.

    :param time: index, seconds since the recording's first frame in any stream, strictly increasing. The first frame
        of a stream has 0 when no other stream of the recording began earlier.
    :param clock: origin of ``time``: "device", "arrival", or "order" when neither increased.
    :param deviceTime: seconds since the epoch (UTC) or None.
    :param receiveTime: seconds since the epoch (UTC).
    :param ijkToRAS: 16 numbers when the geometry differs from that of the part, otherwise None.
    :param missed: frames before this frame that could not be stored.
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
        # By hand, in a third of json's time: each frame has a budget of a few microseconds.
        device = "null" if self.deviceTime is None else _number(self.deviceTime)
        attributes = ",".join([f"{_quoted(name)}:{_quoted(str(value))}" for name, value in self.attributes.items()])
        text = (
            f'{{"number":{self.number:d},"time":{_number(self.time)},"clock":"{self.clock}","deviceTime":{device},'
            f'"receiveTime":{_number(self.receiveTime)},"attributes":{{{attributes}}}'
        )
        if self.ijkToRAS is not None:
            text += f',"ijkToRAS":[{",".join(map(_number, self.ijkToRAS))}]'
        if self.missed is not None:
            text += f',"missed":{_json(asdict(self.missed))}'
        return f"{text}}}\n".encode("ascii")

    @classmethod
    def fromText(cls, text: str | bytes) -> FrameLine:
        """:raises ValueError: the line is something else or is damaged."""
        try:
            values = parsedJSON(text)
            if "missed" in values:
                values["missed"] = Missed.fromJSON(values["missed"])
            if "ijkToRAS" in values:
                values["ijkToRAS"] = _matrix(values["ijkToRAS"])
            line = cls(**values)
            checkNumbers(line.number)
            _checkTimes(line.time, line.receiveTime, line.deviceTime)
            _checkAttributes(line.attributes)
        except (TypeError, OverflowError) as error:
            text = _("The description of a frame is damaged: {reason}.")
            raise ValueError(text.format(reason=reasonOf(error))) from error
        return line


@dataclass(frozen=True)
class MessagesLine:
    """Description of a file of messages: values that all its messages share.

    :param recording: base name of the file.
    :param name: name of the recording.
    :param origin: time of index 0, seconds since the epoch (UTC), by the clock of the recording computer; the same as
        that of the images which the process records under this name.
    :param attributes: attributes of the recording.
    """

    recording: str
    name: str
    origin: float
    attributes: Mapping[str, str]
    versions: Mapping[str, str] = field(default_factory=versions)

    def toBytes(self) -> bytes:
        """One line with its end."""
        return _line({"format": MESSAGES_FORMAT, "version": VERSION, **asdict(self)})

    @classmethod
    def fromText(cls, text: str | bytes) -> MessagesLine:
        """:raises ValueError: the line is something else, is damaged, or comes from a later version."""
        values = parsedJSON(text)
        try:
            if values.pop("format") != MESSAGES_FORMAT or values.pop("version") > VERSION:
                raise ValueError(_("This version of the module cannot read the messages."))
            line = cls(**values)
            if not (isinstance(line.recording, str) and isinstance(line.name, str) and math.isfinite(line.origin)):
                raise ValueError(_("The description of the messages is damaged."))
            _checkAttributes(line.attributes, line.versions)
        except (AttributeError, KeyError, TypeError, OverflowError) as error:
            text = _("The description of the messages is damaged: {reason}.")
            raise ValueError(text.format(reason=reasonOf(error))) from error
        return line


class MessageLine(NamedTuple):
    """One stored message.

    :param number: from 0 in the recording, over all devices; a missing number is a message that could not be stored.
    :param time: index, seconds since the recording's first frame or message, strictly increasing for each kind of
        message of each device.
    :param clock: origin of ``time``: "device", "arrival", or "order" when neither increased.
    :param missed: messages before this message that could not be stored.
    """

    number: int
    time: float
    clock: str
    message: DeviceMessage
    missed: Missed | None = None

    def toBytes(self) -> bytes:
        """One line with its end. Values that JSON cannot hold are replaced: an infinite number or NaN by null, an array
        by a list, any other object by its text."""
        message = self.message
        # The kind comes first: a reader of poses can skip other lines without parsing them.
        values: dict[str, Any] = {
            "number": self.number,
            "kind": message.kind,
            "device": message.device,
            "time": self.time,
            "clock": self.clock,
            "deviceTime": usable(message.deviceTime),
            "receiveTime": message.receiveTime,
            "values": dict(message.values),
            "attributes": dict(message.attributes),
        }
        if self.missed is not None:
            values["missed"] = asdict(self.missed)
        try:
            return _line(values, allowNaN=False)
        except (TypeError, ValueError):
            return _line(_plain(values), allowNaN=False)

    @classmethod
    def fromText(cls, text: str | bytes) -> MessageLine:
        """:raises ValueError: the line is something else or is damaged."""
        try:
            values = parsedJSON(text)
            number, time, clock = values.pop("number"), values.pop("time"), values.pop("clock")
            missed = Missed.fromJSON(values.pop("missed")) if "missed" in values else None
            message = DeviceMessage.fromJSON(values)
            if type(number) is not int or message.kind not in KINDS or not isinstance(message.values, dict):
                raise ValueError(_("The description of a message is damaged."))
            texts = isinstance(message.device, str) and isinstance(clock, str)
            if not (texts and isinstance(message.attributes, dict)):
                raise ValueError(_("The description of a message is damaged."))
            # Files of poses have the index in milliseconds.
            _checkTimes(1000 * time, message.receiveTime, message.deviceTime)
        except (AttributeError, KeyError, TypeError, OverflowError) as error:
            text = _("The description of a message is damaged: {reason}.")
            raise ValueError(text.format(reason=reasonOf(error))) from error
        return cls(number, time, clock, message, missed)

    @property
    def pose(self) -> tuple[float, ...] | None:
        """Matrix of a transform, 16 numbers row by row. None for other messages, and for a matrix with an infinite
        number or without an inverse."""
        if self.message.kind != "transform":
            return None
        try:
            matrix = np.array(self.message.values["matrix"], dtype=np.float64).reshape(4, 4)
            checkMatrix(matrix)
        except (KeyError, TypeError, ValueError, OverflowError, FrameError):
            return None
        return flat(matrix)

    @property
    def poseStatus(self) -> str:
        """Status of the tool, one ASCII word such as "MISSING"; "OK" when the tracker reports no status."""
        status = re.sub(r"[^A-Za-z0-9_.-]+", "_", self.message.toolStatus)[:_LONGEST_STATUS].strip("_")
        return OK if status.upper() in ("", OK) else status


class PackedLines:
    """Lines in memory, compressed to about a fifth, in the order in which they were appended."""

    def __init__(self) -> None:
        self._packed: list[bytes] = []
        self._newest: list[bytes] = []

    def append(self, line: bytes) -> None:
        """Append a line with its end."""
        self._newest.append(line)
        if len(self._newest) == _PACKED:
            self._packed.append(zlib.compress(b"".join(self._newest), 1))
            self._newest.clear()

    def __iter__(self) -> Iterator[bytes]:
        for packed in self._packed:
            yield from zlib.decompress(packed).splitlines(keepends=True)
        yield from self._newest


def flat(matrix: Matrix) -> tuple[float, ...]:
    """Return the 16 numbers of a 4x4 matrix, row by row."""
    return tuple(matrix.ravel().tolist())


def storedType(dtype: np.dtype[Any]) -> str:
    """Return the type with this computer's byte order: pixels are stored as they lie in memory."""
    ordered: np.dtype[Any] = dtype.newbyteorder("<" if sys.byteorder == "little" else ">")
    return str(ordered.str)


def storable(dtype: str) -> bool:
    """Return whether a text from a file names a type of a recording. NumPy accepts many other texts."""
    return bool(_TYPE.fullmatch(dtype)) and np.dtype(dtype).newbyteorder("=") in SCALAR_TYPES


def checkNumbers(*values: object) -> None:
    """:raises ValueError: a value is not a whole number."""
    if not all(type(value) is int for value in values):
        raise ValueError(_("The number of a frame is damaged."))


def _checkTimes(time: float, receiveTime: float, deviceTime: float | None) -> None:
    for value in (time, receiveTime, 0.0 if deviceTime is None else deviceTime):
        if not math.isfinite(value):
            raise ValueError(_("{value} is not a time.").format(value=value))


def _checkAttributes(*mappings: object) -> None:
    for attributes in mappings:
        if not isinstance(attributes, dict) or not all(isinstance(value, str) for value in attributes.values()):
            raise ValueError(_("The attributes are damaged."))


def _json(values: Any, allowNaN: bool = True) -> str:
    return json.dumps(values, separators=(",", ":"), allow_nan=allowNaN)


def _line(values: Any, allowNaN: bool = True) -> bytes:
    return f"{_json(values, allowNaN)}\n".encode("ascii")


def _number(value: float) -> str:
    # Not repr(): for numpy's numbers its text is not JSON.
    return float.__repr__(float(value))


def _matrix(values: Sequence[float]) -> tuple[float, ...]:
    checkMatrix(np.array(values, dtype=np.float64).reshape(4, 4))
    return tuple(map(float, values))


def _plain(value: Any) -> Any:
    """Return the value in types that JSON can hold."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return usable(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    return str(value)
