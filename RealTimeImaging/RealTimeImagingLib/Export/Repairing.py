"""Finish the recordings of a dead process at once, not only when the next source starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..Acquisition.Store import repairedLine
from ..Event import Event
from ..Recording import repair


@dataclass(frozen=True)
class RepairJob:
    """The job to finish the recordings in a folder.

    :param folder: where the recordings are.
    """

    folder: str

    def toJSON(self) -> dict[str, Any]:
        """The line for the export process."""
        return {"repair": self.folder}


def repairFolder(folder: str) -> tuple[list[dict[str, Any]], list[Event]]:
    """Finish the recordings in a folder; returns a line for each (see :func:`repairedLine`), and the events."""
    found = repair(folder)
    return [repairedLine(one) for one in found], [one.event for one in found]
