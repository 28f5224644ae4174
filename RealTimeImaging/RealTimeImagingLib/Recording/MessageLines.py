"""What is told of the messages of devices: a JSON object a line in ``NAME.messages.jsonl``, which is never rewritten.

The first line is a :class:`MessagesLine`, every other a :class:`MessageLine`. The text is ASCII, so that no line end
and no encoding of a value can divide a line.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..Model.DeviceMessage import KINDS, DeviceMessage
from ..Model.Errors import FrameError
from ..Model.Frame import checkMatrix
from .FrameTimes import usable
from .Lines import Missed, checkAttributesRead, parsed, versions
from .Poses import OK

FORMAT = "RealTimeImaging messages"
VERSION = 1
POSE = b'"kind":"transform"'
"""Stands in the first POSE_WITHIN bytes of the line of a transform."""
POSE_WITHIN = 60
_LONGEST_STATUS = 40


@dataclass(frozen=True)
class MessagesLine:
    """What all messages of a file have in common.

    :param recording: base name of the file.
    :param name: of the recording.
    :param origin: seconds since the epoch (UTC) at which the index is 0, by the clock of the computer that recorded;
        the same as that of the images which the process recorded under one name.
    :param attributes: of the recording.
    """

    recording: str
    name: str
    origin: float
    attributes: Mapping[str, str]
    versions: Mapping[str, str] = field(default_factory=versions)

    def toBytes(self) -> bytes:
        """One line with its end."""
        return _line({"format": FORMAT, "version": VERSION, **asdict(self)})

    @classmethod
    def fromText(cls, text: str | bytes) -> MessagesLine:
        """:raises ValueError: it is none, is damaged or of a later version."""
        values = parsed(text)
        try:
            if values.pop("format") != FORMAT or values.pop("version") > VERSION:
                raise ValueError("These are no messages that this version of the module can read.")
            line = cls(**values)
            if not (isinstance(line.recording, str) and isinstance(line.name, str) and math.isfinite(line.origin)):
                raise ValueError("The description of the messages is damaged.")
            checkAttributesRead(line.attributes)
            checkAttributesRead(line.versions)
        except (AttributeError, KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"The description of the messages is damaged: {error}") from error
        return line


class MessageLine(NamedTuple):
    """One stored message.

    :param number: from 0 in the recording, all devices together; a number that is left out is a message that could not
        be stored.
    :param time: index: seconds since the recording's first frame or message, strictly increasing for each kind of
        message of each device.
    :param clock: what ``time`` comes from: "device", "arrival", or "order" when neither increased.
    :param missed: the messages before this one that could not be stored.
    """

    number: int
    time: float
    clock: str
    message: DeviceMessage
    missed: Missed | None = None

    def toBytes(self) -> bytes:
        """One line with its end. What JSON cannot carry is written as it can: no number as null, an array as a list,
        all else in words."""
        message = self.message
        # The kind stands first: whoever wants poses only need not understand the rest.
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
            return _line(values)
        except (TypeError, ValueError):
            return _line(_plain(values))

    @classmethod
    def fromText(cls, text: str | bytes) -> MessageLine:
        """:raises ValueError: it is none or is damaged."""
        try:
            values = parsed(text)
            number, time, clock = values.pop("number"), values.pop("time"), values.pop("clock")
            missed = Missed.fromJSON(values.pop("missed")) if "missed" in values else None
            message = DeviceMessage.fromJSON(values)
            if type(number) is not int or message.kind not in KINDS or not isinstance(message.values, dict):
                raise ValueError("The description of a message is damaged.")
            texts = isinstance(message.device, str) and isinstance(clock, str)
            if not (texts and isinstance(message.attributes, dict)):
                raise ValueError("The description of a message is damaged.")
            for moment in (time, message.receiveTime, message.deviceTime or 0.0):
                if not math.isfinite(1000 * moment):  # files of poses have milliseconds
                    raise ValueError(f"{moment} is no time.")
        except (AttributeError, KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"The description of a message is damaged: {error}") from error
        return cls(number, time, clock, message, missed)

    @property
    def pose(self) -> tuple[float, ...] | None:
        """The matrix of a transform, 16 numbers row by row; None of all else, and when it is no place in space: it has
        an infinite number, or no inverse."""
        if self.message.kind != "transform":
            return None
        try:
            matrix = np.array(self.message.values["matrix"], dtype=np.float64).reshape(4, 4)
            checkMatrix(matrix)
        except (KeyError, TypeError, ValueError, OverflowError, FrameError):
            return None
        return tuple(matrix.ravel().tolist())

    @property
    def poseStatus(self) -> str:
        """Status of the tool in one word of ASCII, such as "MISSING"; "OK" when the tracker reports none."""
        status = re.sub(r"[^A-Za-z0-9_.-]+", "_", self.message.toolStatus)[:_LONGEST_STATUS].strip("_")
        return OK if status.upper() in ("", OK) else status


def _line(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"


def _plain(value: Any) -> Any:
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
