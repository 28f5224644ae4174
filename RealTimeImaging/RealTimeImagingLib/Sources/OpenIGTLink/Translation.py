"""Translation of OpenIGTLink messages to images and device messages, and back."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ...Model.DeviceMessage import DeviceMessage
from ...Model.Errors import FrameError, WireError
from ...Model.Files import reasonOf
from ...Model.Frame import Image, Pixels
from ...Model.Text import sentence, textsOf
from ...OpenIGTLink import (
    CapabilityMessage,
    CommandMessage,
    CommandReplyMessage,
    ImageMessage,
    ImageMetaMessage,
    LabelMetaMessage,
    Message,
    NDArrayMessage,
    PointMessage,
    PolyDataMessage,
    PositionMessage,
    QuaternionTrackingDataMessage,
    ReplyMessage,
    SensorMessage,
    StartTrackingMessage,
    StatusMessage,
    StringMessage,
    TrackingDataMessage,
    TrajectoryMessage,
    TransformMessage,
    query,
)
from ...OpenIGTLink.Base import deviceName

_ = textsOf(__file__)

TRACKING_PERIOD = 10
"""Milliseconds between two messages that are requested from a tracker. Without a period, programs of the C++ library
send tens of thousands of messages a second."""

_NO_NAME = re.compile(r"[^A-Za-z0-9_.-]+")

Values = Mapping[str, Any]


def deviceTimeOf(message: Message) -> float | None:
    """Return seconds since the epoch (UTC), None when the device gave no time."""
    return message.timestamp or None


def attributesOf(message: Message) -> dict[str, str]:
    """Return the metadata of a message, with names that a file can hold."""
    return {_NO_NAME.sub("_", name) or "_": value for name, value in message.metadata.items()}


def imageOf(message: ImageMessage) -> Image:
    """Return the image of a message. Two components become three, the last of them 0.

    :raises FrameError: Slicer cannot show it.
    """
    pixels = message.pixels
    attributes = {**attributesOf(message), "Device": message.device_name}
    if pixels.ndim == 4 and pixels.shape[3] > 4:
        text = _("Its voxels have {count} components; Slicer shows 1 to 4.")
        raise FrameError(text.format(count=pixels.shape[3]))
    if pixels.ndim == 4 and pixels.shape[3] == 2:
        pixels = _withThird(pixels)
        attributes["Components"] = "2"
    return Image(pixels, message.ijkToRAS, deviceTimeOf(message), attributes)


def _withThird(pixels: Pixels) -> Pixels:
    made = np.zeros((*pixels.shape[:3], 3), pixels.dtype)
    made[..., :2] = pixels
    return made


def translate(message: Message, receiveTime: float) -> Iterator[DeviceMessage]:
    """Translate any message except IMAGE and BIND; TDATA becomes one message for each tool.

    Matrices stay as sent, also for tools that the tracker does not see (NaN, zeros).
    """
    if isinstance(message, (TrackingDataMessage, QuaternionTrackingDataMessage)):
        for tool in message.items:
            yield _made(message, "transform", _transform(message, tool.matrix), receiveTime, tool.name)
        return
    for kind, type_, values in _KINDS:
        if isinstance(message, type_):
            yield _made(message, kind, values(message), receiveTime)
            return
    yield _made(message, "other", {"type": message.message_type, "text": _describe(message)}, receiveTime)


def _made(message: Message, kind: str, values: Values, receiveTime: float, device: str = "") -> DeviceMessage:
    name = deviceName(device) or message.device_name or message.message_type
    return DeviceMessage(kind, name, values, receiveTime, deviceTimeOf(message), attributesOf(message))


def _transform(message: Message, matrix: Any) -> Values:
    return {"matrix": np.asarray(matrix, np.float64).tolist(), "type": message.message_type}


def _points(message: PointMessage) -> Values:
    rows = zip(
        message.positions,
        message.names,
        message.groups,
        message.diameters,
        message.rgba_colors,
        strict=True,
    )
    return {
        "points": [
            {
                "position": [float(value) for value in position],
                "name": name,
                "group": group,
                "diameter": float(diameter),
                "rgba": [int(value) for value in rgba],
            }
            for position, name, group, diameter, rgba in rows
        ]
    }


def _trajectories(message: TrajectoryMessage) -> Values:
    made = []
    for one in message.items:
        entry, target = [float(value) for value in one.entry], [float(value) for value in one.target]
        point = {"name": one.name, "group": one.group, "diameter": float(one.diameter), "rgba": list(one.rgba)}
        # Type 1 has an entry, 2 a target, 3 both. Without a type, programs of the C++ library send 2 with both.
        only = {1: (entry, target), 2: (target, entry)}.get(one.type)
        place = {"position": target, "entry": entry} if only is None or any(only[1]) else {"position": only[0]}
        made.append({**point, **place})
    return {"points": made}


def _polyData(message: PolyDataMessage) -> Values:
    def cells(flat: Any) -> str:
        return base64.b64encode(np.asarray(flat).astype("<i4").tobytes()).decode()

    def numbers(values: Any) -> str:
        return base64.b64encode(np.asarray(values).astype("<f4").tobytes()).decode()

    return {
        "points": numbers(message.points),
        "vertices": cells(message.vertices),
        "lines": cells(message.lines),
        "polygons": cells(message.polygons),
        "strips": cells(message.triangle_strips),
        "scalars": [
            {
                "name": one.name,
                "components": int(np.shape(one.values)[1]),
                "of": "cells" if one.type & 0x10 else "points",
                "values": numbers(one.values),
            }
            for one in message.attributes
        ],
    }


def _status(message: StatusMessage) -> Values:
    ok = message.code == StatusMessage.OK
    return {
        "code": message.code,
        "subCode": message.subCode,
        "name": message.errorName,
        "text": message.message,
        "ok": ok,
    }


def _reply(message: CommandReplyMessage) -> Values:
    # The C++ library sends the result of the command in the metadata.
    ok = message.metadata.get("Status", "").upper() != "FAIL"
    return {"id": message.commandID, "name": message.commandName, "text": message.command, "ok": ok}


_KINDS: tuple[tuple[str, type[Message], Callable[[Any], Values]], ...] = (
    ("transform", TransformMessage, lambda one: _transform(one, one.matrix)),
    ("transform", PositionMessage, lambda one: _transform(one, one.matrix)),
    ("points", PointMessage, _points),
    ("points", TrajectoryMessage, _trajectories),
    ("polydata", PolyDataMessage, _polyData),
    ("text", StringMessage, lambda one: {"text": one.string}),
    ("status", StatusMessage, _status),
    ("sensor", SensorMessage, lambda one: {"values": [float(value) for value in one.values], "unit": one.unit}),
    # CommandReplyMessage derives from CommandMessage, and must precede it.
    ("reply", CommandReplyMessage, _reply),
    ("command", CommandMessage, lambda one: {"id": one.commandID, "name": one.commandName, "text": one.command}),
)


def _describe(message: Message) -> str:
    if isinstance(message, CapabilityMessage):
        return "understands " + ", ".join(message.items)
    if isinstance(message, NDArrayMessage):
        return f"an array of {' x '.join(map(str, message.array.shape))} {message.array.dtype}"
    if isinstance(message, ImageMetaMessage):
        return f"has {len(message.items)} images: " + ", ".join(one.name for one in message.items[:10])
    if isinstance(message, LabelMetaMessage):
        return f"has {len(message.items)} labels: " + ", ".join(one.name for one in message.items[:10])
    if isinstance(message, ReplyMessage) and message.status is not None:
        return "answers: " + ("done" if message.status == 0 else "failed")
    return f"a message of the type {message.message_type}"


def messageOf(type_: str, device: str, values: Values) -> Message:
    """Make a message to send.

    :param type_: TRANSFORM (``matrix``, 4x4), STRING (``text``), COMMAND (``id``, ``name``, ``text``), STATUS
        (``code``, ``name``, ``text``), POINT (``points`` as in DeviceMessage), or a query such as GET_STATUS.
    :raises WireError: the type is unknown, or the message cannot carry the values.
    """
    try:
        if type_ == "TRANSFORM":
            return TransformMessage(np.array(values["matrix"], np.float64), device_name=device)
        if type_ == "STRING":
            return StringMessage(str(values["text"]), device_name=device)
        if type_ == "COMMAND":
            return CommandMessage(int(values["id"]), str(values["name"]), str(values["text"]), device_name=device)
        if type_ == "STATUS":
            name, text = str(values.get("name", "")), str(values.get("text", ""))
            return StatusMessage(int(values.get("code", 1)), 0, name, text, device_name=device)
        if type_ == "POINT":
            return _pointMessage(device, values["points"])
    except (KeyError, TypeError, ValueError) as error:
        raise WireError(
            _("A {type} message cannot be made from {values}: {reason}").format(
                type=type_, values=str(dict(values)), reason=sentence(reasonOf(error))
            )
        ) from error
    if re.fullmatch(r"(GET|STT|STP)_[A-Z]{1,8}", type_):
        made = query(type_)
        if isinstance(made, StartTrackingMessage):
            made.resolution = TRACKING_PERIOD
        made.device_name = device
        return made
    raise WireError(_("Messages of type {type} cannot be sent.").format(type=type_))


def _pointMessage(device: str, points: list[Values]) -> PointMessage:
    return PointMessage(
        [one["position"] for one in points],
        [str(one.get("name", "")) for one in points],
        [one.get("rgba", (255, 255, 0, 255)) for one in points],
        [float(one.get("diameter", 0)) for one in points],
        [str(one.get("group", "")) for one in points],
        ["" for _ in points],
        device_name=device,
    )
