"""Pre-trigger buffer: the last frames and messages before a recording begins."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import replace
from typing import Any

from ..Model.DeviceMessage import DeviceMessage
from ..Model.Frame import Frame

MESSAGE_BYTES = 64 << 20
"""Most memory for the messages of devices that are kept."""


class PreTriggerBuffer:
    """The last frames of all streams, in memory.

    :param seconds: how far back.
    :param limit: most bytes; what is older than fits is let go earlier.
    """

    def __init__(self, seconds: float, limit: int) -> None:
        self._seconds, self._limit = seconds, limit
        self._frames: deque[Frame] = deque()
        self._bytes = 0

    def add(self, frame: Frame) -> None:
        """Keep a copy of a frame: its pixels may lie in memory that is used again."""
        if frame.pixels.nbytes > self._limit:
            return
        self._frames.append(replace(frame, pixels=frame.pixels.copy()))
        self._bytes += frame.pixels.nbytes
        while self._bytes > self._limit or self._frames[0].receiveTime < frame.receiveTime - self._seconds:
            self._bytes -= self._frames.popleft().pixels.nbytes

    def take(self) -> list[Frame]:
        """All of them, the oldest first; nothing is kept afterwards."""
        frames, self._frames, self._bytes = list(self._frames), deque(), 0
        return frames

    @property
    def status(self) -> dict[str, Any]:
        """How much is kept: ``seconds``, ``frames`` and ``bytes``."""
        seconds = self._frames[-1].receiveTime - self._frames[0].receiveTime if self._frames else 0.0
        return {"seconds": round(seconds, 1), "frames": len(self._frames), "bytes": self._bytes}


class PreTriggerMessages:
    """What the devices said last, in memory.

    :param seconds: how far back.
    :param limit: most bytes, as JSON.
    """

    def __init__(self, seconds: float, limit: int = MESSAGE_BYTES) -> None:
        self._seconds, self._limit = seconds, limit
        self._messages: deque[tuple[DeviceMessage, int]] = deque()
        self._bytes = 0

    def add(self, message: DeviceMessage) -> None:
        """Keep a message."""
        size = len(json.dumps(message.toJSON(), default=str))
        if size > self._limit:
            return
        self._messages.append((message, size))
        self._bytes += size
        self.forget(message.receiveTime)

    def forget(self, now: float) -> None:
        """Let go of what is too old at this time (seconds since the epoch)."""
        while self._messages and (self._bytes > self._limit or self._messages[0][0].receiveTime < now - self._seconds):
            self._bytes -= self._messages.popleft()[1]

    def take(self) -> list[DeviceMessage]:
        """All of them, the oldest first; nothing is kept afterwards."""
        messages = [message for message, _ in self._messages]
        self._messages.clear()
        self._bytes = 0
        return messages
