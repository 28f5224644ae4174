"""Messages between Slicer's side and the worker."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from ..Model.Frame import Frame, Pixels


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


def frameOf(line: Mapping[str, Any], pixels: Pixels) -> Frame:
    """The frame of a line."""
    return Frame(
        pixels,
        np.array(line["ijkToRAS"], np.float64),
        line["stream"],
        line["number"],
        line["receiveTime"],
        line["deviceTime"],
        MappingProxyType(line["attributes"]),
    )


def frameLine(frame: Frame) -> dict[str, Any]:
    """All of a frame but its pixels."""
    return {
        "stream": frame.stream,
        "number": frame.number,
        "shape": list(frame.pixels.shape),
        "dtype": frame.pixels.dtype.str,
        "ijkToRAS": frame.ijkToRAS.tolist(),
        "deviceTime": frame.deviceTime,
        "receiveTime": frame.receiveTime,
        "attributes": dict(frame.attributes),
    }


RING_NAME = "pushed"
"""Common start of the names of the ring's files. It is not that of a process: the ring outlives each of them."""


def broadcastWords(status: Mapping[str, Any]) -> str:
    """A sentence for what :meth:`Broadcaster.status` gives."""
    if not status["listening"]:
        return f"Port {status['port']} cannot be listened on yet."
    count = len(status["clients"])
    clients = "nobody is connected" if not count else "1 client" if count == 1 else f"{count} clients"
    lost = f", {status['lost']} left out" if status["lost"] else ""
    return f"Port {status['port']}: {clients}, {status['sent']} messages sent{lost}."
