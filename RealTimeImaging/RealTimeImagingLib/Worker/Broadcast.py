"""Rebroadcast of frames over OpenIGTLink in the worker: its commands and its reports."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..Link.Commands import StartBroadcast, StopBroadcast
from ..Link.Messages import BroadcastReport, Counts, Receivers
from ..Model.DeviceMessage import DeviceMessage
from ..Model.Event import Event
from ..Model.Frame import Frame
from ..Model.Quantities import counted
from ..Model.Text import textsOf
from ..Sources.OpenIGTLink import BroadcastSettings
from .Frames import FrameSender

if TYPE_CHECKING:
    from .Broadcaster import Broadcaster

_ = textsOf(__file__)

REPORT_PERIOD = 0.5
"""Seconds between two reports of the state."""


class Broadcast:
    """Sends frames and transforms to other programs, from :class:`StartBroadcast` to :class:`StopBroadcast`.

    A start replaces the broadcast before. Neither command waits for the end of the broadcast before.

    :param sender: takes events and reports.
    :param counts: returns the cumulative counts that go with each event.
    :param commands: delivers the commands.
    """

    def __init__(self, sender: FrameSender, counts: Callable[[], Counts], commands: Receivers) -> None:
        self._sender, self._counts = sender, counts
        self._broadcaster: Broadcaster | None = None
        self._ending: Broadcaster | None = None
        self._next: BroadcastSettings | None = None
        """Begins when the broadcast before has ended and its port is free."""
        self._reported: dict[str, Any] = {}
        self._reportDue = 0.0
        commands.connect(StartBroadcast, self._start)
        commands.connect(StopBroadcast, lambda command: self.stop())

    def send(self, frame: Frame) -> None:
        """Send a frame to the connected clients; copy its pixels only when there are any. Never waits."""
        if self._broadcaster:
            self._broadcaster.send(frame)

    def sendMessage(self, message: DeviceMessage) -> None:
        """Send a device message to the connected clients if it is a transform."""
        if self._broadcaster:
            self._broadcaster.sendMessage(message)

    def report(self) -> None:
        """Report an end, and the state twice a second."""
        if self._ending and self._ending.ended:
            self._reportEnd(self._ending)
        if self._next and not self._ending:
            self._open(self._next)
        now = time.monotonic()
        if self._broadcaster and now >= self._reportDue:
            self._reportDue = now + REPORT_PERIOD
            self._reportStatus(self._broadcaster.status())

    def stop(self) -> None:
        """Begin to end; return at once."""
        self._next = None
        if self._broadcaster:
            self._broadcaster.end()
            self._ending, self._broadcaster = self._broadcaster, None

    def close(self) -> None:
        """End, and wait for the end."""
        self.stop()
        if self._ending:
            self._ending.close()
            self._reportEnd(self._ending)

    def _start(self, command: StartBroadcast) -> None:
        self.stop()
        self._next = BroadcastSettings(**command.settings)
        self.report()

    def _open(self, settings: BroadcastSettings) -> None:
        self._next = None
        try:
            # Its packages come with pyigtl, which sources of files do without.
            from .Broadcaster import Broadcaster
        except ImportError as error:
            text = _("Rebroadcast over OpenIGTLink needs the Python package {name}, which is not installed.")
            self._reportEvent(Event("package-missing", text.format(name=error.name), "error"))
            return
        self._broadcaster = Broadcaster(settings, self._reportEvent)

    def _reportEnd(self, ended: Broadcaster) -> None:
        self._ending = None
        status = ended.status()
        self._reportStatus(status)
        self._reportStatus({})
        text = _("Rebroadcast ended: {sent} sent to {clients}.")
        if status["lost"]:
            text = _("Rebroadcast ended: {sent} sent to {clients}, {lost:,} dropped.")
        sent = counted(status["sent"], _("1 message"), _("{count:,} messages"))
        clients = counted(status["served"], _("1 client"), _("{count:,} clients"))
        self._reportEvent(Event("broadcast-ended", text.format(sent=sent, clients=clients, lost=status["lost"])))

    def _reportStatus(self, status: dict[str, Any]) -> None:
        if status != self._reported:
            self._reported = status
            self._sender.report(BroadcastReport(status))

    def _reportEvent(self, event: Event) -> None:
        self._sender.event(event, self._counts())
