"""Client of the MRD source: sends the images of a file or folder to a server, and shows what comes back."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...Formats import GetBuffer
from ...Model.DeviceMessage import DeviceMessage, shortened
from ...Model.Errors import NotAnImageError
from ...Model.Event import Event, Remedy
from ...Model.Files import reasonOf
from ...Model.Quantities import counted
from ...Model.Text import joined, textsOf
from ..Checkpoint import Checkpoint
from ..Endpoints import RETRY, Connector
from ..Repetitions import Repetitions
from ..Silence import ListeningTime
from ..Source import TURN, Arrival
from . import MRDSettings
from .Connections import Connection, Connections
from .Protocol import CONFIG_FILE, HEADER, TEXT, CloseMessage, ImageMessage, Message, TextMessage, packClose, packText
from .Receiver import Receiver
from .Sending import Outgoing
from .Session import Item, Session

_ = textsOf(__file__)

AHEAD = 8 << 20
"""Bytes that wait to be sent, above which no further image is read from the file."""
COMPLAINTS = ("ERR", "WARN", "WRN", "CRIT")
"""Begins of texts that a server sends to report a problem."""


class MRDClient:
    """Client that sends once, and ends with the server's answer.

    :param settings: file or folder, server and configuration.
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
        self._connections = Connections(
            Connector(settings.host, settings.port), lambda: Receiver(settings.sizeLimit), settings.sizeLimit, clock
        )
        self._repetitions, self._listening = Repetitions(clock), ListeningTime(settings.completeAfter, clock)
        self._woken = threading.Event()
        self._problem = ""
        """Why the file cannot be sent; empty while it can."""
        self._openDue = -math.inf
        self._outgoing: Outgoing | None = None
        self._messages: Iterator[ImageMessage | Event] | None = None
        """Images that are still to be sent; None before the connection."""
        self._session: Session | None = None
        self._connection: Connection | None = None
        self._sent = 0
        self._allSent = self._over = False
        self._end = ""
        """How the measurement ended, in words."""

    @property
    def status(self) -> str:
        """What is sent and what came back, in words."""
        if self._over:
            return joined(self._end, _("Press Stop and Start to send again."))
        if self._problem:
            return self._problem
        if self._session is None:
            return self._connections.status
        text = _("{images} sent to {name}.") if self._allSent else _("Sending: {images} sent to {name}.")
        text = text.format(images=self._sentImages, name=self._session.peer)
        return joined(text, _("Back from there: {counts}.").format(counts=self._session.counted()))

    @property
    def remedy(self) -> Remedy | None:
        """Other settings with which the connection would come about, None when there are none."""
        return self._connections.remedy if self._session is None and not self._problem else None

    def read(self, seconds: float) -> Iterator[Item]:
        """Send what the server takes, and yield what it sends back; block at most ``seconds``."""
        now, listened = self._clock(), self._listening.count()
        if self._outgoing is None and not self._over:
            yield from self._open(now)
        if self._outgoing is None or self._over:
            self._woken.wait(seconds)
            self._woken.clear()
            return
        yield from self._send(now)
        due = self._session.due if self._session else math.inf
        for item in self._connections.step(0.0 if self._hasMore else min(seconds, self._listening.wait(due))):
            if not isinstance(item, Event):
                yield from self._take(*item)
            else:
                yield from self._takeEvent(item)
            del item  # it holds the memory of a received image
        if self._session:
            yield from self._forward(self._session, self._session.silent(listened))
        yield from self._repetitions.due()
        if self._over:
            self._connections.close()

    def rest(self) -> Iterator[Arrival | Event]:
        """Yield the volumes that a stop ends before all their slices have come, and the events that were counted."""
        if self._session:
            for item in self._forward(self._session, self._session.end()):
                if not isinstance(item, DeviceMessage):
                    yield item
        yield from self._repetitions.rest()

    def wake(self) -> None:
        """Make read() return, from any thread."""
        self._woken.set()
        if not self._over:
            self._connections.wake()

    def command(self, name: str, values: Mapping[str, Any]) -> None:
        """Ignore commands; this source has none."""

    def close(self) -> None:
        """Close the connection."""
        if not self._over:
            self._connections.close()

    # ---- sending

    @property
    def _hasMore(self) -> bool:
        return self._messages is not None and self._connection is not None and self._connection.backlog < AHEAD

    def _open(self, now: float) -> Iterator[Event]:
        if now < self._openDue:
            return
        path = self._settings.file
        try:
            self._outgoing, self._problem = Outgoing(path, self._settings.tick), ""
            return
        except NotAnImageError as error:
            text = _("{path} cannot be sent: {reason}").format(path=path, reason=str(error))
        except OSError as error:
            text = _("{path} cannot be read: {reason}. Check the path.").format(path=path, reason=reasonOf(error))
        self._openDue = now + RETRY
        if text != self._problem:
            self._problem = text
            yield Event("not-sent", text, "error", path)

    def _begin(self, connection: Connection, now: float) -> Iterator[Item]:
        if self._outgoing is None:
            raise AssertionError("The file is opened before the connection.")
        self._connection = connection
        self._session = session = Session(self._settings, connection.name, self._getBuffer)
        connection.send([packText(CONFIG_FILE, self._settings.config)], now)
        connection.send([packText(HEADER, self._outgoing.header)], now)
        # What comes back belongs to the same measurement.
        yield from self._forward(session, session.take(TextMessage(HEADER, self._outgoing.header), 0.0))
        session.name = session.wanted
        self._messages = self._outgoing.messages()

    def _send(self, now: float) -> Iterator[Event]:
        turn = now + TURN
        while self._hasMore and self._messages and self._connection and now < turn:
            message = next(self._messages, None)
            now = self._clock()
            if message is None:
                self._messages, self._allSent = None, True
                self._connection.send([packClose()], now, last=True)
            elif isinstance(message, Event):
                yield message
            else:
                self._connection.send(message.buffers(), now)
                self._sent += 1

    # ---- receiving

    def _takeEvent(self, event: Event) -> Iterator[Item]:
        if event.code == "disconnected" and self._over:
            return  # after the end of the measurement
        yield event
        if event.code == "connected":
            yield from self._begin(self._connections.connected[-1], self._clock())

    def _take(self, connection: Connection, message: Message | None) -> Iterator[Item]:
        session = self._session
        if session is None or self._over:
            return
        if message is None or isinstance(message, CloseMessage):
            yield from self._forward(session, session.end())
            yield self._ended(session, connection, isinstance(message, CloseMessage))
            return
        if isinstance(message, TextMessage) and message.kind == TEXT and message.text.startswith(COMPLAINTS):
            # The reason is in the last line of a traceback.
            lines = message.text.strip().splitlines()
            words = shortened(" ... ".join(dict.fromkeys((lines[0], lines[-1]))))
            text = _("{name} reports: {text}").format(name=connection.name, text=words)
            event = Event("server-text", text, "warning", connection.name)
            yield from self._repetitions.report(event, session.peer)
        yield from self._forward(session, session.take(message, self._listening.count()))

    @property
    def _sentImages(self) -> str:
        return counted(self._sent, _("1 image"), _("{count:,} images"))

    def _ended(self, session: Session, connection: Connection, orderly: bool) -> Event:
        self._over, self._messages = True, None
        if orderly and self._allSent:
            text, level = _("{name} has ended the measurement: {images} sent, back: {counts}."), "info"
        elif orderly:
            text, level = _("{name} ended the measurement early: {images} sent, back: {counts}."), "warning"
        else:
            text, level = _("The connection to {name} broke: {images} sent, back: {counts}."), "warning"
        self._end = text.format(name=connection.name, images=self._sentImages, counts=session.counted())
        return Event("measurement-ended", self._end, level, connection.name)

    def _forward(self, session: Session, items: Iterator[Item]) -> Iterator[Item]:
        for item in items:
            if isinstance(item, Event) and item.code != "incomplete-volume":
                yield from self._repetitions.report(item, session.peer)
            else:
                yield item
            del item  # it holds the memory of an image
        for _image in range(session.refused):
            self._checkpoint.refuse()
        session.refused = 0
