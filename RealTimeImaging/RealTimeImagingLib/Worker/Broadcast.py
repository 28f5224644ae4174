"""What the acquisition process does for those who want its frames over OpenIGTLink: the commands, and what it tells."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..Model.DeviceMessage import DeviceMessage
from ..Model.Event import Event
from ..Model.Frame import Frame
from ..Sources.OpenIGTLink import BroadcastSettings
from .Frames import FrameSender

if TYPE_CHECKING:
    from .Broadcaster import Broadcaster

TELL_PERIOD = 0.5
"""Seconds between two lines that say how much is sent."""


class Broadcast:
    """Sends frames, and transforms, to others while it is told to.

    Commands: ``broadcast`` (the fields of BroadcastSettings), in place of the one before; ``stopBroadcast``. Neither
    waits for the end of the one before.

    Lines: ``broadcast``, see :meth:`Broadcaster.status`; empty when it has ended.

    :param sender: takes events and lines.
    :param counts: the cumulative counts that go with each event.
    """

    def __init__(self, sender: FrameSender, counts: Callable[[], dict[str, Any]]) -> None:
        self._sender, self._counts = sender, counts
        self._broadcaster: Broadcaster | None = None
        self._ending: Broadcaster | None = None
        self._next: BroadcastSettings | None = None
        """What begins when the one before has ended and its port is free."""
        self._told: dict[str, Any] = {}
        self._tellDue = 0.0
        self._commands: dict[str, Callable[..., None]] = {"broadcast": self._start, "stopBroadcast": self.end}

    def obey(self, command: str, **values: Any) -> bool:
        """Do it; False when the command is for somebody else."""
        if command not in self._commands:
            return False
        self._commands[command](**values)
        return True

    def give(self, frame: Frame) -> None:
        """Send a frame to those who are connected; its pixels are copied, and only then. Never waits."""
        if self._broadcaster:
            self._broadcaster.give(frame)

    def giveMessage(self, message: DeviceMessage) -> None:
        """Send what a device said to those who are connected; of all kinds only transforms."""
        if self._broadcaster:
            self._broadcaster.giveMessage(message)

    def tell(self) -> None:
        """Tell what has ended, and now and then how much is sent."""
        if self._ending and self._ending.ended:
            self._tellEnd(self._ending)
        if self._next and not self._ending:
            self._open(self._next)
        now = time.monotonic()
        if self._broadcaster and now >= self._tellDue:
            self._tellDue = now + TELL_PERIOD
            self._tellStatus(self._broadcaster.status())

    def end(self) -> None:
        """Begin to end; returns at once."""
        self._next = None
        if self._broadcaster:
            self._broadcaster.end()
            self._ending, self._broadcaster = self._broadcaster, None

    def close(self) -> None:
        """End, and wait for it."""
        self.end()
        if self._ending:
            self._ending.close()
            self._tellEnd(self._ending)

    def _start(self, **values: Any) -> None:
        self.end()
        self._next = BroadcastSettings(**values)
        self.tell()

    def _open(self, settings: BroadcastSettings) -> None:
        self._next = None
        try:
            # What it needs comes with pyigtl, which the sources of files do without.
            from .Broadcaster import Broadcaster
        except ImportError as error:
            text = f"Images cannot be sent to others: the Python package {error.name} is not installed."
            self._tellEvent(Event("package-missing", text, "error"))
            return
        self._broadcaster = Broadcaster(settings, self._tellEvent)

    def _tellEnd(self, ended: Broadcaster) -> None:
        self._ending = None
        status = ended.status()
        self._tellStatus(status)
        self._tellStatus({})
        lost = f", and {status['lost']} did not reach them" if status["lost"] else ""
        text = f"{status['sent']} messages were sent to {status['served']} clients{lost}."
        self._tellEvent(Event("broadcast-ended", f"Images are not sent to others any more; {text}"))

    def _tellStatus(self, status: dict[str, Any]) -> None:
        if status != self._told:
            self._told = status
            self._sender.tell({"broadcast": status})

    def _tellEvent(self, event: Event) -> None:
        self._sender.event(event, self._counts())
