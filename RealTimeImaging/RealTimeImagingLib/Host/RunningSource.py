"""A started source, as the Python console and the panel see it."""

from __future__ import annotations

from typing import Any

from ..Link.Commands import Command, commandOf
from ..Link.Messages import Counts
from ..Model.Event import Event, Remedy
from ..Model.Settings import SourceSettings
from ..Model.Statistics import StreamCounts
from ..Model.Text import textsOf
from ..Sources import HostPart
from .AcquisitionProcess import AcquisitionProcess
from .PushSender import PushSender

_ = textsOf(__file__)


class RunningSource:
    """A started source. ``state`` is "starting", "running", "stopping", "stopped" or "failed"."""

    def __init__(self, settings: SourceSettings) -> None:
        self.settings = settings
        self.chosenSettings = settings
        """Settings that the user chose; with another engine than ours, its process has other ones."""
        self._status: str = _("The acquisition process is starting.")
        self.connectorStatus = ""
        """Status of SlicerOpenIGTLink's connector, which replaces the process's status; empty for other sources."""
        self.hangs = False
        """True while an access to a folder or file hangs, which the status says."""
        self._remedy: Remedy | None = None
        self.failure: Event | None = None
        """The last event "failed": the reason when ``state`` is "failed"."""
        self.offer: Event | None = None
        """The last event with a remedy; None once the source had this remedy, and does not need it any more."""
        self.refused = 0
        """Images that were rejected in Slicer's process, before they reached the source's process."""
        self.rejected = self.recorded = self.failed = 0
        self.streams: dict[str, str] = {}
        """Name of each stream at the source to its name in the session."""
        self.counts: dict[str, StreamCounts] = {}
        """Counts of each stream, by its name in the session."""
        self.received: dict[str, int] = {}
        """Totals that the process reported last, by the stream's name at the source."""
        self.messages: dict[str, int] = {}
        """Number of device messages, by the device's name."""
        self.peers: set[str] = set()
        """Names of the connected peers, where a source has connections."""
        self.details: dict[str, Any] = {}
        """Details besides the status, such as the token for images over HTTP."""
        self.storage: dict[str, Any] = {}
        """State of recording and pre-trigger buffer: see :class:`StorageReport`."""
        self.broadcast: dict[str, Any] = {}
        """State of the broadcast: see :class:`BroadcastReport`."""
        self.retired = False
        """True when another source took over its stream while it was stopping: its images are not shown any more."""
        self.held = 0
        """Slots of the process's memory that frames hold while they wait to be shown."""
        self.process: AcquisitionProcess | None = None
        self.pushSender: PushSender | None = None
        """Sends frames made in Python; None for all other sources."""
        self.fedBy: RunningSource | None = None
        """Source whose frames it processes; None for all other sources."""
        self.ending = False
        """True when it was stopped and still delivers frames that it got before."""
        self.hostPart: HostPart | None = None
        """Slicer's side of the source beside its process; None for most kinds."""

    @property
    def status(self) -> str:
        """State of the source in words, such as what it waits for."""
        return self.connectorStatus or self._status

    @status.setter
    def status(self, status: str) -> None:
        self._status = status

    @property
    def remedy(self) -> Remedy | None:
        """Other settings with which the source would not wait, None when there are none."""
        return self._remedy

    @remedy.setter
    def remedy(self, remedy: Remedy | None) -> None:
        if self.offer and self.offer.remedy == self._remedy != remedy:
            self.offer = None
        self._remedy = remedy

    @property
    def state(self) -> str:
        """ "starting", "running", "stopping", "stopped" or "failed"."""
        state = self.process.state if self.process else "starting"
        return "stopping" if self.ending and not self.ended else state

    @property
    def ended(self) -> bool:
        """True once no more frames can arrive."""
        return self.process is not None and self.process.ended

    @property
    def pid(self) -> int:
        """Number of the acquisition process, 0 while there is none."""
        return self.process.pid if self.process else 0

    def isFedBy(self, other: RunningSource) -> bool:
        """Return True when it processes frames of another source, or results of such a one."""
        return self.fedBy is other or (self.fedBy is not None and self.fedBy.isFedBy(other))

    def send(self, command: str, **values: Any) -> None:
        """Send a command to the source, such as "step" with frames=1; do nothing when it has ended."""
        self.sendCommand(commandOf(command, values))

    def sendCommand(self, command: Command) -> None:
        """Send a command to the source's process; do nothing when it has ended."""
        target = self.pushSender or self.process
        if target:
            target.send(command)

    def takeEvent(self, event: Event) -> None:
        """Take an event of the process."""
        if self.hostPart:
            self.hostPart.heard(event)
        if event.code == "failed":
            self.failure = event
        if event.remedy:
            self.offer = event
        if event.code == "connected":
            self.peers.add(event.subject)
        elif event.code == "disconnected":
            self.peers.discard(event.subject)

    def refuse(self) -> None:
        """Count an image that was rejected in Slicer's process."""
        self.refused, self.rejected = self.refused + 1, self.rejected + 1

    def endHostPart(self) -> None:
        """End what Slicer's side does for the source."""
        if self.hostPart:
            self.hostPart.close()
            self.hostPart = None

    def takeCounts(self, counts: Counts) -> None:
        """Take the cumulative counts of a report."""
        self.rejected = counts.rejected + self.refused
        self.received.update(counts.received)
        self.recorded, self.failed = counts.recorded, counts.failed
