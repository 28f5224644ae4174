"""What the acquisition process does for recordings: the commands, the frames, what it tells of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ..DeviceMessage import DeviceMessage
from ..Frame import Frame
from ..Journal import Journal
from ..Recording import Repair
from .Outlet import Outlet
from .Recorders import KeptFrames, KeptMessages, Recorders, Repairing

TELL_PERIOD = 0.5
"""Seconds between two lines that say how much is stored."""
REPAIR_TIME = 0.5
"""Seconds at the end for a repair that still works."""


class Store:
    """Stores frames while it is told to, and keeps the last ones in memory for somebody who asks later.

    Commands: ``record`` (folder, name, attributes, kept: begin with the frames in memory), ``stopRecording``,
    ``keep`` (seconds, bytes; 0 seconds end it), ``repair`` (folder: finish what dead processes left there).

    Lines: ``recorded`` (paths of headers, when the files are closed) with ``messages`` (paths of the manifests of what
    devices said meanwhile), ``repaired`` (recording, paths, messages), ``storage`` (bytes, free, kept, and
    ``messages``: recorded and failed).

    The counts of messages are those of this recording in this process. The journal does not have them: a write for each
    message would cost as much as storing it, and what is stored stands in the manifest.

    :param journal: counts what is stored.
    :param outlet: takes events and lines.
    :param counts: the cumulative counts that go with each event.
    """

    def __init__(self, journal: Journal, outlet: Outlet, counts: Callable[[], dict[str, Any]]) -> None:
        self._journal, self._outlet, self._counts = journal, outlet, counts
        self._recorders: Recorders | None = None
        self._kept: KeptFrames | None = None
        self._keptMessages: KeptMessages | None = None
        self._repairing = Repairing(self._tellRepair)
        self._tellDue = 0.0
        self._before = (0, 0)
        self._commands: dict[str, Callable[..., None]] = {
            "record": self._record,
            "stopRecording": self.stop,
            "keep": self._keep,
            "repair": self._repairing.start,
        }

    def obey(self, command: str, **values: Any) -> bool:
        """Do it; False when the command is for somebody else."""
        if command not in self._commands:
            return False
        self._commands[command](**values)
        return True

    def append(self, frame: Frame) -> bool | None:
        """Store a frame, whose number is not counted yet; whether it is stored, None while nothing is recorded."""
        if self._recorders is None:
            if self._kept:
                self._kept.add(frame)
            if self._keptMessages:
                self._keptMessages.forget(frame.receiveTime)
            return None
        return self._recorders.append(frame)

    def appendMessage(self, message: DeviceMessage) -> None:
        """Store what a device said beside images, while something is recorded. Never raises for what the file system
        does."""
        if self._recorders:
            self._recorders.appendMessage(message)
        elif self._keptMessages:
            self._keptMessages.add(message)

    def tell(self) -> None:
        """Tell what happened, and now and then how much is stored."""
        if self._recorders:
            self._tellEvents(self._recorders)
        now = time.monotonic()
        if now < self._tellDue or not (self._recorders or self._kept):
            return
        self._tellDue = now + TELL_PERIOD
        status: dict[str, Any] = {"kept": self._kept.status if self._kept else None}
        if self._recorders:
            status |= {"bytes": self._recorders.bytes, "free": self._recorders.room()}
            status["messages"] = self._recorders.messageCounts
        self._outlet.tell({"storage": status})

    def stop(self) -> None:
        """Close the files and tell which they are."""
        if self._recorders:
            recorders, self._recorders = self._recorders, None
            paths, messages = recorders.finish()
            self._tellEvents(recorders)
            self._outlet.tell({"recorded": paths, "messages": messages, "counts": self._counts()})

    def close(self) -> None:
        """The process is about to end."""
        self.stop()
        self._repairing.wait(REPAIR_TIME)

    def _record(self, folder: str, name: str, attributes: dict[str, str], kept: bool = False) -> None:
        if self._recorders:
            return
        self._repairing.start(folder)
        self._recorders = Recorders(folder, name, attributes)
        self._before = (self._journal.recorded, self._journal.failed)
        if kept:
            for stored in self._recorders.appendKept(self._kept, self._keptMessages):
                self._journal.store(stored)
        self.tell()

    def _keep(self, seconds: float, bytes: int) -> None:
        self._kept = KeptFrames(seconds, bytes) if seconds > 0 else None
        self._keptMessages = KeptMessages(seconds) if seconds > 0 else None

    def _tellRepair(self, repair: Repair) -> None:
        self._outlet.event(repair.event, self._counts())
        self._outlet.tell(
            {"repaired": {"recording": repair.recording, "paths": repair.headers, "messages": repair.messages}}
        )

    def _tellEvents(self, recorders: Recorders) -> None:
        for event in recorders.events():
            # Files that somebody removed take back what was counted.
            recorded, failed = recorders.counts
            self._journal.correctStored(self._before[0] + recorded, self._before[1] + failed)
            self._outlet.event(event, self._counts())
