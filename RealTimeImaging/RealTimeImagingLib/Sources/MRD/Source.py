"""Server of the MRD source: scanners connect, and each gets its images back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...Formats import GetBuffer
from ...Model.DeviceMessage import DeviceMessage
from ...Model.Event import Event, Remedy
from ...Model.Text import Text, joined, textsOf
from ..Checkpoint import Checkpoint
from ..Endpoints import Listener, hostOf
from ..Repetitions import Repetitions
from ..Silence import ListeningTime
from ..Source import STREAMS, Arrival, hasRoom
from . import MRDSettings
from .Connections import Connection, Connections
from .Protocol import CloseMessage, ImageMessage, Message, packClose
from .Receiver import Receiver
from .Session import Item, Session

_ = textsOf(__file__)

LAST_WORDS = 0.5
"""Seconds at the end to send what waits."""
OWN_CODES = (
    "connected",
    "disconnected",
    "listening",
    "incomplete-volume",
    "uneven",
    "no-geometry",
    "measurement-ended",
)
"""Codes of events that are not counted together."""


class MRDServer:
    """Server that receives the images of scanners, as a reconstruction server does.

    :param settings: address to listen on, and what is sent back.
    :param checkpoint: counts rejected images.
    :param clock: monotonic seconds.
    :param getBuffer: gives memory for an image, or None.
    """

    def __init__(
        self,
        settings: MRDSettings,
        checkpoint: Checkpoint,
        clock: Callable[[], float] = time.monotonic,
        getBuffer: GetBuffer = lambda nbytes: None,
    ) -> None:
        self._settings, self._checkpoint, self._clock, self._getBuffer = settings, checkpoint, clock, getBuffer
        risk = _("{peers} can send images there, and get them back.") if settings.sendBack else None
        self._connections = Connections(
            Listener(settings.host, settings.port, settings.allowed, risk),
            lambda: Receiver(settings.sizeLimit),
            settings.sizeLimit,
            clock,
        )
        self._sessions: dict[Connection, Session] = {}
        self._returned: dict[Connection, int] = {}
        self._repetitions, self._listening = Repetitions(clock), ListeningTime(settings.completeAfter, clock)
        self._arrived = False
        """True once an image has arrived: the address is right."""
        self._lastEnd: tuple[str, Remedy | None] = "", None
        """Why the last connection brought no image, or was refused; empty once an image arrives."""

    @property
    def status(self) -> str:
        """State of the server and what arrived, in words."""
        if not self._sessions and self._arrived and self._connections.listening:
            return joined(self._lastEnd[0], _("Waiting for the next measurement."))
        if not self._sessions:
            return joined(self._lastEnd[0], self._connections.status)
        return joined(*(self._stateOf(one, session) for one, session in self._sessions.items()))

    @property
    def remedy(self) -> Remedy | None:
        """Other settings with which images could arrive, None when there are none."""
        if self._sessions:
            return None
        if self._lastEnd[0]:
            return self._lastEnd[1]
        return None if self._arrived and self._connections.listening else self._connections.remedy

    def _stateOf(self, connection: Connection, session: Session) -> Text:
        counts = session.counts
        if not counts.images and counts.acquisitions:
            text = _("{name} sends raw data only ({count:,} readouts): let it send images.")
            return text.format(name=connection.name, count=counts.acquisitions)
        if not counts.images:
            return _("{name} is connected. No image has arrived yet.").format(name=connection.name)
        return _("{name}: {counts}.").format(name=connection.name, counts=self._counted(connection))

    def _counted(self, connection: Connection) -> Text:
        words = self._sessions[connection].counted()
        if self._settings.sendBack and self._sessions[connection].counts.images:
            returned = self._returned[connection] - connection.unsent
            words = joined(words, _("{count:,} sent back").format(count=returned), separator=", ")
        return words

    def read(self, seconds: float) -> Iterator[Item]:
        """Yield what the scanners sent; block at most ``seconds``."""
        listened = self._listening.count()
        due = min((session.due for session in self._sessions.values()), default=math.inf)
        for item in self._connections.step(min(seconds, self._listening.wait(due))):
            if isinstance(item, Event):
                yield from self._takeEvent(item)
            else:
                yield from self._take(*item)
            del item  # it holds the memory of a received image
        for session in list(self._sessions.values()):
            yield from self._forward(session, session.silent(listened))
        yield from self._repetitions.due()

    def rest(self) -> Iterator[Arrival | Event]:
        """Yield the volumes that a stop ends before all their slices have come, and the events that were counted."""
        for session in self._sessions.values():
            for item in self._forward(session, session.end()):
                if not isinstance(item, DeviceMessage):
                    yield item
        yield from self._repetitions.rest()

    def wake(self) -> None:
        """Make read() return, from any thread."""
        self._connections.wake()

    def command(self, name: str, values: Mapping[str, Any]) -> None:
        """Ignore commands; this source has none."""

    def close(self) -> None:
        """Tell the scanners that nothing follows, and close all connections."""
        now = self._clock()
        for connection, session in self._sessions.items():
            if not session.closed:
                connection.send([packClose()], now, last=True)
        self._connections.flush(LAST_WORDS)
        self._connections.close()

    # ---- receiving

    def _takeEvent(self, event: Event) -> Iterator[Event]:
        if event.code == "connected":
            connection = self._connections.connected[-1]
            self._sessions[connection] = Session(self._settings, connection.name, self._getBuffer)
            self._returned[connection] = 0
        if event.code == "peer-refused":
            self._lastEnd = event.text, event.remedy
        yield from self._report(event)

    def _take(self, connection: Connection, message: Message | None) -> Iterator[Item]:
        session = self._sessions[connection]
        if message is None:
            yield from self._forward(session, session.end())
            if not session.counts.images and not self._lastEnd[0]:
                self._lastEnd = _("{name} sent no image.").format(name=connection.name), None
            if connection.unsent:
                yield self._unsent(connection)
            del self._sessions[connection], self._returned[connection]
            return
        now = self._clock()
        if isinstance(message, CloseMessage):
            yield from self._forward(session, session.end())
            session.closed = True
            connection.send([packClose()], now, last=True)
            connection.leave(now)
            text = _("{name} has ended the measurement: {counts}.")
            text = text.format(name=connection.name, counts=self._counted(connection))
            yield Event("measurement-ended", text, subject=connection.name)
            return
        if isinstance(message, ImageMessage):
            self._lastEnd, self._arrived = ("", None), True
            if self._settings.sendBack:
                connection.send(message.buffers(), now)
                self._returned[connection] += not connection.lost
            session.name = session.name or self._nameFor(session)
        yield from self._forward(session, session.take(message, self._listening.count()))

    def _unsent(self, connection: Connection) -> Event:
        text = _("{count:,} images were not sent back to {name}: it did not read them, or disconnected.")
        return Event(
            "not-sent-back", text.format(count=connection.unsent, name=connection.name), "warning", connection.name
        )

    def _nameFor(self, session: Session) -> str:
        # Two scanners may run the same protocol at the same time.
        used = {one.name for one in self._sessions.values()}
        name, number = session.wanted, 2
        while name in used:
            name, number = f"{session.wanted} ({number})", number + 1
        return name

    def _forward(self, session: Session, items: Iterator[Item]) -> Iterator[Item]:
        for item in items:
            if isinstance(item, Event):
                yield from self._report(item)
            elif isinstance(item, Arrival) and not hasRoom(item.stream, self._checkpoint.numbers):
                session.refused += 1
                text = _("{peer}: there are {count} streams already. An image of {stream} is left out.")
                text = text.format(peer=session.peer, count=STREAMS, stream=item.stream)
                yield from self._report(Event("too-many-streams", text, "warning", session.peer))
            else:
                yield item
            del item  # it holds the memory of an image
        for _image in range(session.refused):
            self._checkpoint.refuse()
        session.refused = 0

    def _report(self, event: Event) -> Iterator[Event]:
        if event.code in OWN_CODES:
            yield event
        else:
            yield from self._repetitions.report(event, hostOf(event.subject))
