"""What the acquisition process is told first."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Start:
    """The first line on standard input.

    :param settings: the source's settings as JSON.
    :param folders: the working folders, made by Slicer's side and removed by whichever side is left at the end. The
        ring's files lie in the first that has room, the journal in the last.
    :param ringName: common start of the ring's file names, unique to this process.
    :param commands: obeyed before the source is opened, so that the first frame is recorded too.
    """

    settings: dict[str, Any]
    folders: list[str]
    ringName: str
    commands: list[dict[str, Any]] = field(default_factory=list)

    def toLine(self) -> bytes:
        """The line."""
        return json.dumps(asdict(self)).encode() + b"\n"
