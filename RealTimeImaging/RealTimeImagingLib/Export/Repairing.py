"""Finishes what a process has left of its recordings, at once and not only when the next source starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..Acquisition.Store import repairedLine
from ..Event import Event
from ..Recording import repair


@dataclass(frozen=True)
class RepairJob:
    """:param folder: where the recordings are."""

    folder: str

    def toJSON(self) -> dict[str, Any]:
        """What the process is told."""
        return {"repair": self.folder}


def repairFolder(folder: str) -> tuple[list[dict[str, Any]], list[Event]]:
    """What became of each recording, as a line of the acquisition process tells it, and the events."""
    found = repair(folder)
    return [repairedLine(one) for one in found], [one.event for one in found]
