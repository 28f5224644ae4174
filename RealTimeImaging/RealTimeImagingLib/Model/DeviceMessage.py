"""Device messages other than images, and their short text for the panel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .Poses import INVALID, SEEN, isPose
from .Quantities import counted
from .Text import Text, joined, textsOf

_ = textsOf(__file__)

STATUS_NAMES = ("status", "transformstatus")
"""Names, in lower case, of the metadata with the status of a tool in PLUS and SlicerOpenIGTLink."""
TRACKING = ("TDATA", "QTDATA", "POSITION", "QTRANS")
"""Types of messages whose matrices are rotations; a TRANSFORM may have the scales of an image."""
KINDS = ("transform", "points", "polydata", "text", "status", "sensor", "command", "reply", "other")


@dataclass(frozen=True)
class DeviceMessage:
    """One message of a device. Coordinates are millimetres in RAS.

    ``values`` are JSON values. They depend on ``kind``:

    - transform: ``matrix``, 4x4, from the device to RAS, unchanged: trackers send NaN or zeros for a tool that they do
      not see; ``type``, the type of the message.
    - points: ``points``, a list of ``position`` (x, y, z), ``name``, ``group``, ``diameter`` (mm), ``rgba`` (0 to 255),
      and, for a trajectory, ``entry`` (x, y, z).
    - polydata: ``points``, base64 of float32 (n, 3); ``vertices``, ``lines``, ``polygons`` and ``strips``, base64 of
      int32, each cell as its number of points and their indices; ``scalars``, a list of ``name``, ``components``,
      ``of`` ("points" or "cells") and ``values``, base64 of float32. All little-endian.
    - text: ``text``.
    - status: ``code`` (1 means OK), ``subCode``, ``name``, ``text``, ``ok``.
    - sensor: ``values``, a list of numbers; ``unit``, in the notation of the protocol.
    - command, reply: ``id``, ``name``, ``text``; a reply also has ``ok``.
    - other: ``type`` and ``text``, a description.

    :param kind: one of KINDS.
    :param device: name of the device or tool; kind and device identify a stream of values.
    :param receiveTime: seconds since the epoch (UTC) at which the acquisition process received it.
    :param deviceTime: seconds since the epoch (UTC) by the device, None without such a time.
    :param attributes: metadata of the message.
    :param sender: connection that sent it; all its devices share a clock. Empty: unknown. Not part of :meth:`toJSON`.
    :param timeOffset: seconds to add to its times, as estimated or set by the user. Not part of :meth:`toJSON`.
    """

    kind: str
    device: str
    values: Mapping[str, Any]
    receiveTime: float
    deviceTime: float | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    sender: str = ""
    timeOffset: float = 0.0

    @property
    def time(self) -> float:
        """The device's time, or else the arrival time (seconds since the epoch, UTC)."""
        return self.receiveTime if self.deviceTime is None else self.deviceTime

    @property
    def unseen(self) -> str:
        """Status of a tool that the tracker does not see, such as "MISSING"; empty for a tool that it sees."""
        if self.kind != "transform":
            return ""
        return next((status for status in self._statuses if status.upper() not in SEEN), "")

    @property
    def lost(self) -> str:
        """Status of a tool without a pose: :attr:`unseen`, or INVALID when its matrix is no pose; empty for a pose."""
        if self.kind != "transform" or self.unseen:
            return self.unseen
        return "" if isPose(self.numbers, rigid=self.values.get("type") in TRACKING) else INVALID

    @property
    def toolStatus(self) -> str:
        """Status of a tool, such as "MISSING", "INVALID" or "SWITCH_IS_ON"; empty when its pose has no status."""
        return self.lost or next(iter(self._statuses), "")

    @property
    def numbers(self) -> list[float]:
        """16 numbers of the matrix of a transform, row by row; fewer or none when it is damaged."""
        try:
            return [float(number) for row in self.values["matrix"] for number in row]
        except (KeyError, TypeError, ValueError):
            return []

    @property
    def statusNames(self) -> list[str]:
        """Names of the attributes with a tool's status."""
        return [name for name in self.attributes if name.lower() in STATUS_NAMES]

    @property
    def _statuses(self) -> list[str]:
        return [str(self.attributes[name]).strip() for name in self.statusNames]

    def toJSON(self) -> dict[str, Any]:
        """Return a flat object that :meth:`fromJSON` reads."""
        return {
            "kind": self.kind,
            "device": self.device,
            "values": dict(self.values),
            "receiveTime": self.receiveTime,
            "deviceTime": self.deviceTime,
            "attributes": dict(self.attributes),
        }

    @classmethod
    def fromJSON(cls, values: Mapping[str, Any]) -> DeviceMessage:
        """Return the message of an object of :meth:`toJSON`."""
        return cls(**values)


LONGEST = 200
"""Most characters of a text; the rest is cut off."""
MOST_VALUES = 8
"""Most numbers of a sensor that the text contains."""


def words(message: DeviceMessage) -> str:
    """Return a phrase such as "at 12.3, -4.0, 77.1 mm" (RAS), "5 points" or "Error 5: out of reach".

    The phrase omits missing values; the function never raises.
    """
    try:
        if message.unseen:
            return _("not seen ({status})").format(status=shortened(message.unseen))
        if message.lost:
            return _("no valid position")
        return shortened(_PHRASES.get(message.kind, _other)(message.values)) or _("nothing")
    except (TypeError, ValueError, KeyError, IndexError, AttributeError):
        return _("an unreadable message")


def shortened(text: object) -> str:
    """Return the text on one line, cut after LONGEST characters."""
    line = " ".join(str(text).split())
    if isinstance(text, Text) and text == line and len(line) <= LONGEST:
        return text
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def _transform(values: Any) -> str:
    position = [float(row[3]) for row in values["matrix"][:3]]
    # Adding 0 replaces -0.0 by 0.0.
    place = ", ".join(f"{round(number, 1) + 0.0:.1f}" for number in position)
    return _("at {place} mm").format(place=place)


def _points(values: Any) -> str:
    points = values["points"]
    trajectories = sum("entry" in point for point in points)
    markers = len(points) - trajectories
    lines = counted(trajectories, _("1 trajectory"), _("{count:,} trajectories"))
    if trajectories and not markers:
        return lines
    dots = counted(markers, _("1 point"), _("{count:,} points"))
    return _("{points} and {trajectories}").format(points=dots, trajectories=lines) if trajectories else dots


def _polyData(values: Any) -> str:
    encoded = values["points"]
    # base64: three bytes for four characters. A point has twelve bytes.
    count = (len(encoded) * 3 // 4 - encoded.count("=", -2)) // 12
    points = counted(count, _("1 point"), _("{count:,} points"))
    return _("a surface of {points}").format(points=points) if count else _("an empty surface")


def _text(values: Any) -> str:
    return str(values["text"])


def _status(values: Any) -> str:
    text = values.get("text") or values.get("name") or ""
    code = values.get("code", "")
    head = _("Error {code}").format(code=code) if code != "" else _("Error")
    head = _("OK") if values.get("ok") else head
    return head if not text or text == head else joined(head, str(text), separator=": ")


def _sensor(values: Any) -> str:
    numbers = [str(float(f"{number:.6g}")) for number in values["values"][:MOST_VALUES]]
    omitted = len(values["values"]) - len(numbers)
    unit = values.get("unit")
    listed: str = ", ".join(numbers)
    if omitted:
        listed = _("{numbers} and {omitted} more").format(numbers=listed, omitted=omitted)
    return joined(listed, unit if isinstance(unit, str) else "")


def _command(values: Any) -> str:
    return _("asks: {command}").format(command=values.get("text") or values.get("name") or _("nothing"))


def _reply(values: Any) -> str:
    text = values.get("text") or values.get("name") or _("OK")
    answer = _("answers: {text}") if values.get("ok", True) else _("answers with an error: {text}")
    return answer.format(text=text)


def _other(values: Any) -> str:
    return str(values.get("text") or values.get("type") or "")


_PHRASES = {
    "transform": _transform,
    "points": _points,
    "polydata": _polyData,
    "text": _text,
    "status": _status,
    "sensor": _sensor,
    "command": _command,
    "reply": _reply,
}
