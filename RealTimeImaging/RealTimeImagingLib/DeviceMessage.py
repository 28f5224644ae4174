"""What a device says beside images: where a tool is, points, a surface, a text, how it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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
