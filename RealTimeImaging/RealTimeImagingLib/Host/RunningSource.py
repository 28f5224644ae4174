"""One started source, as the console and the panel see it."""

from __future__ import annotations

from typing import Any

from ..Model.Event import Event
from ..Model.Settings import SourceSettings
from ..Model.Statistics import StreamCounts
from ..Sources.Folder.Host import FolderHints
from .AcquisitionProcess import AcquisitionProcess
from .PushSender import PushSender


class RunningSource:
    """One started source. ``state`` is "starting", "running", "stopping", "stopped" or "failed"."""

    def __init__(self, settings: SourceSettings) -> None:
        self.settings = settings
        self.asked = settings
        """What was asked for: with another engine than our own, not what its process was told."""
        self._status = "The acquisition process is starting."
        self.connectorStatus = ""
        """Status of SlicerOpenIGTLink's connector, which replaces the process's status; empty for other sources."""
        self.refused = 0
        """Images that were rejected in Slicer's process, before they reached the source's process."""
        self.rejected = self.recorded = self.failed = 0
        self.streams: dict[str, str] = {}
        """Name of each stream at the source to its name in the session."""
        self.counts: dict[str, StreamCounts] = {}
        """Counts of each stream, by its name in the session."""
        self.received: dict[str, int] = {}
        """Totals that the process gave last, by the stream's name at the source."""
        self.messages: dict[str, int] = {}
        """How many messages beside images came, by the device's name."""
        self.peers: set[str] = set()
        """Who is connected, where a source has connections."""
        self.details: dict[str, Any] = {}
        """What the source has to tell beside its status, such as the token of one that is sent images over HTTP."""
        self.storage: dict[str, Any] = {}
        """The last line ``storage`` of the process: see :class:`WorkerRecording`."""
        self.broadcast: dict[str, Any] = {}
        """What the process said last of those to whom it sends its images: see :class:`Broadcast`."""
        self.retired = False
        """True when another source took over its stream while it was stopping: nothing more of it is shown."""
        self.held = 0
        """Slots of the process's memory that frames hold while they wait to be shown."""
        self.process: AcquisitionProcess | None = None
        self.feed: PushSender | None = None
        """The way of frames made in Python; None for all other sources."""
        self.ending = False
        """True when it was stopped and has still to deliver what was pushed before."""
        self._hints: FolderHints | None = None

    @property
    def status(self) -> str:
        """What the source waits for, in words."""
        return self.connectorStatus or self._status

    @status.setter
    def status(self, status: str) -> None:
        self._status = status

    @property
    def state(self) -> str:
        """Where the source is in its life."""
        state = self.process.state if self.process else "starting"
        return "stopping" if self.ending and not self.ended else state

    @property
    def ended(self) -> bool:
        """True once nothing more comes."""
        return self.process is not None and self.process.ended

    @property
    def pid(self) -> int:
        """Number of the acquisition process, 0 while there is none."""
        return self.process.pid if self.process else 0

    def send(self, command: str, **values: Any) -> None:
        """Send a command to the source; nothing happens when it has ended."""
        target = self.feed or self.process
        if target:
            target.send(command, **values)

    def watch(self, folder: str) -> None:
        """Hint at changes in a folder as long as the source runs."""
        self._hints = FolderHints(folder, lambda: self.send("rescan"))

    def folderIsThere(self, there: bool) -> None:
        """What the process says of the folder."""
        if self._hints:
            self._hints.folderIsThere(there)

    def heard(self, event: Event) -> None:
        """What the process told of its connections."""
        if event.code == "connected":
            self.peers.add(event.subject)
        elif event.code == "disconnected":
            self.peers.discard(event.subject)

    def refuse(self) -> None:
        """Count an image that was rejected in Slicer's process."""
        self.refused, self.rejected = self.refused + 1, self.rejected + 1

    def endHints(self) -> None:
        """Hint no more."""
        if self._hints:
            self._hints.close()
            self._hints = None

    def takeCounts(self, counts: dict[str, Any]) -> None:
        """Take the cumulative counts of a line, whose ``received`` has only the streams that changed."""
        self.rejected = counts["rejected"] + self.refused
        self.received.update(counts["received"])
        self.recorded, self.failed = counts["recorded"], counts["failed"]
