"""The manifest ``NAME.messages.json``: what the devices said while something was recorded, in words and numbers."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from .Header import isoTime
from .Layout import LINES
from .Lines import Missed
from .MessageLines import MessageLine, MessagesLine
from .PoseFile import PoseFile


class Tally:
    """Counts what a file of messages holds."""

    def __init__(self) -> None:
        self.count = 0
        self.gaps: list[Missed] = []
        """Those that the lines tell."""
        self.last: MessageLine | None = None
        self._first, self._latest = math.inf, -math.inf
        self._devices: dict[tuple[str, str], dict[str, Any]] = {}

    def add(self, line: MessageLine) -> None:
        """Count a message."""
        self.count += 1
        self.last = line
        if line.missed:
            self.gaps.append(line.missed)
        kind, device = line.message.kind, line.message.device
        none = {
            "device": device,
            "kind": kind,
            "messages": 0,
            "firstTime": line.time,
            "lastTime": line.time,
            "clocks": {},
        }
        entry = self._devices.setdefault((device, kind), none)
        entry["messages"] += 1
        entry["lastTime"] = line.time
        entry["clocks"][line.clock] = entry["clocks"].get(line.clock, 0) + 1
        self._first, self._latest = min(self._first, line.time), max(self._latest, line.time)

    def manifest(
        self, head: MessagesLine, poses: Mapping[str, PoseFile], failed: int, gaps: Sequence[Missed], finishedBy: str
    ) -> dict[str, Any]:
        """The whole manifest; at least one message was counted.

        :param poses: the finished files of poses, by device.
        :param failed: messages that came and are not stored.
        :param finishedBy: "stop" or "repair".
        """
        entries = []
        for (device, kind), entry in self._devices.items():
            file = poses.get(device) if kind == "transform" else None
            known: dict[str, Any] = {"transforms": None, "poses": 0, "posesLeftOut": 0}
            if file:
                known = {"transforms": os.path.basename(file.path), "poses": file.count, "posesLeftOut": file.leftOut}
            entries.append({**entry, **(known if kind == "transform" else {})})
        return {
            "recording": head.recording,
            "name": head.name,
            "messages": head.recording + LINES,
            "attributes": dict(head.attributes),
            "recorded": self.count,
            "failed": failed,
            "gaps": [asdict(gap) for gap in gaps],
            "start": isoTime(head.origin),
            "startClock": "arrival",
            "firstTime": self._first,
            "lastTime": self._latest,
            "lastNumber": self.last.number if self.last else None,
            "finishedBy": finishedBy,
            "versions": dict(head.versions),
            "devices": entries,
        }
