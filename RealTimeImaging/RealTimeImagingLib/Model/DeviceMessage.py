"""Messages of devices beside images, and their short text for the panel."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .Quantities import counted

SEEN = ("", "OK", "SWITCH_IS_ON", "SWITCH_IS_OFF")
"""Status of a tool that the tracker sees; those of a stylus are the state of its button. Any other status, such as
MISSING or OUT_OF_VIEW, means that the tracker does not see the tool."""
STATUS_NAMES = ("status", "transformstatus")
"""Names, in lower case, of the metadata with a tool's status: PLUS and SlicerOpenIGTLink use them."""
KINDS = ("transform", "points", "polydata", "text", "status", "sensor", "command", "reply", "other")


@dataclass(frozen=True)
class DeviceMessage:
    """One message of a device. Coordinates are millimetres in RAS.

    ``values`` hold, by ``kind``, what JSON can carry:

    - transform: ``matrix``, 4x4, from the device to RAS, as it came: trackers send NaN or zeros for a tool that they do
      not see; ``type``, what it came as.
    - points: ``points``, a list of ``position`` (x, y, z), ``name``, ``group``, ``diameter`` (mm), ``rgba`` (0 to 255),
      and, for a trajectory, ``entry`` (x, y, z).
    - polydata: ``points``, base64 of float32 (n, 3); ``vertices``, ``lines``, ``polygons`` and ``strips``, base64 of
      int32, each cell as its number of points and their indices; ``scalars``, a list of ``name``, ``components``,
      ``of`` ("points" or "cells") and ``values``, base64 of float32. All little-endian.
    - text: ``text``.
    - status: ``code`` (1 is well), ``subCode``, ``name``, ``text``, ``ok``.
    - sensor: ``values``, a list of numbers; ``unit``, as the protocol writes it.
    - command, reply: ``id``, ``name``, ``text``, and, of a reply, ``ok``.
    - other: ``type`` and ``text``, what it is in words.

    :param kind: one of KINDS.
    :param device: the device's name, or the tool's; the stream of values is known by kind and device.
    :param receiveTime: seconds since the epoch (UTC) at which the acquisition process had it.
    :param deviceTime: seconds since the epoch (UTC) as the device gave it, None when it gave none.
    :param attributes: the metadata that came with it.
    """

    kind: str
    device: str
    values: Mapping[str, Any]
    receiveTime: float
    deviceTime: float | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def time(self) -> float:
        """The device's time where there is one, otherwise the arrival time (seconds since the epoch, UTC)."""
        return self.receiveTime if self.deviceTime is None else self.deviceTime

    @property
    def unseen(self) -> str:
        """Status of a tool that the tracker does not see, such as "MISSING"; empty for a tool that it sees."""
        if self.kind != "transform":
            return ""
        return next((status for status in self._statuses if status.upper() not in SEEN), "")

    @property
    def toolStatus(self) -> str:
        """Status of a tool, such as "MISSING" or "SWITCH_IS_ON"; empty when the tracker reports none."""
        return self.unseen or next(iter(self._statuses), "")

    @property
    def statusNames(self) -> list[str]:
        """Names of the attributes with a tool's status."""
        return [name for name in self.attributes if name.lower() in STATUS_NAMES]

    @property
    def _statuses(self) -> list[str]:
        return [str(self.attributes[name]).strip() for name in self.statusNames]

    def toJSON(self) -> dict[str, Any]:
        """A flat object that :meth:`fromJSON` takes back."""
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
        """The message that :meth:`toJSON` wrote."""
        return cls(**values)


LONGEST = 200
"""Characters of a text; the rest is left out."""
MOST_VALUES = 8


def words(message: DeviceMessage) -> str:
    """One phrase, such as "at 12.3, -4.0, 77.1 mm", "5 points" or "Error 5: out of reach"; positions are in RAS.

    What is missing in a message is left out; nothing raises.
    """
    try:
        if message.unseen:
            return shortened(f"not seen ({message.unseen})")
        return shortened(_PHRASES.get(message.kind, _other)(message.values)) or "nothing"
    except (TypeError, ValueError, KeyError, IndexError, AttributeError):
        return "something that cannot be read"


def shortened(text: object) -> str:
    """The text on one line, cut after LONGEST characters."""
    line = " ".join(str(text).split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def _transform(values: Any) -> str:
    place = [float(row[3]) for row in values["matrix"][:3]]
    if not all(math.isfinite(number) for number in place):
        return "no valid position"
    # Adding 0 turns -0.0, which is nowhere else than 0.0, into it.
    return "at " + ", ".join(f"{round(number, 1) + 0.0:.1f}" for number in place) + " mm"


def _points(values: Any) -> str:
    points = values["points"]
    ways = sum("entry" in point for point in points)
    phrases = [counted(len(points) - ways, "point", "points")] if len(points) > ways or not ways else []
    return " and ".join(phrases + ([counted(ways, "trajectory", "trajectories")] if ways else []))


def _polyData(values: Any) -> str:
    encoded = values["points"]
    # Three bytes for four characters, twelve bytes for a point.
    count = (len(encoded) * 3 // 4 - encoded.count("=", -2)) // 12
    return f"a surface of {counted(count, 'point', 'points')}" if count else "an empty surface"


def _text(values: Any) -> str:
    return str(values["text"])


def _status(values: Any) -> str:
    text = values.get("text") or values.get("name") or ""
    head = "OK" if values.get("ok") else f"Error {values.get('code', '')}".strip()
    return head if not text or text == head else f"{head}: {text}"


def _sensor(values: Any) -> str:
    numbers = [str(float(f"{number:.6g}")) for number in values["values"][:MOST_VALUES]]
    more = len(values["values"]) - len(numbers)
    unit = values.get("unit")
    tail = f" and {more} more" if more else ""
    return ", ".join(numbers) + tail + (f" {unit}" if isinstance(unit, str) and unit else "")


def _command(values: Any) -> str:
    return f"asks: {values.get('text') or values.get('name') or 'nothing'}"


def _reply(values: Any) -> str:
    text = values.get("text") or values.get("name") or "OK"
    return f"answers: {text}" if values.get("ok", True) else f"answers with an error: {text}"


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
