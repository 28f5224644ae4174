"""Frames of the worker for other processes on this computer, such as those of processing functions.

The pixels stay in the slot from which Slicer shows them. A subscriber that hangs takes no slots from Slicer or from
another one, see :class:`Link.Ring.Quota`. A frame costs the worker a line for each subscriber of its stream, and a copy
only when it does not lie in a slot.
"""

from __future__ import annotations

import hmac
import logging
import secrets
import socket
import threading
from collections.abc import Iterator

from ..Link.Commands import Publish
from ..Link.Messages import FrameHeader, PublishedReport, Receivers, messageIn
from ..Link.Subscription import (
    HELLO_TIME,
    LOOPBACK,
    Offer,
    Opened,
    SocketWriter,
    Subscribe,
    closeSocket,
    linesOf,
    releasesIn,
)
from ..Model.Errors import LinkError
from ..Model.Files import reasonOf
from ..Model.Frame import Frame
from ..Model.Text import textsOf
from .Frames import FrameSender

LAST_OFFERS = 0.5
"""Seconds at the end for the last lines to leave."""
BACKLOG = 16

_ = textsOf(__file__)

log = logging.getLogger(__name__)


class Subscriber:
    """A connected subscriber.

    :param connection: over which it subscribed.
    :param request: what it asked for.
    :param opened: where the pixels lie.
    :param sender: has the pixels.
    """

    def __init__(self, connection: socket.socket, request: Subscribe, opened: Opened, sender: FrameSender) -> None:
        self.stream = request.stream
        self._connection, self._sender, self._closed = connection, sender, False
        self.quota = sender.addSubscriber(request.slots, request.limit)
        self._writer = SocketWriter(connection)
        self._writer.put(opened)

    def offer(self, frame: Frame) -> None:
        """Send the header of a frame, and its place when there is one. Never waits."""
        place = self._sender.share(self.quota, frame.pixels)
        if not self._writer.put(Offer(FrameHeader.of(frame), place), always=False) and place:
            self._sender.takeBack(self.quota, [place.key])

    def serve(self, lines: Iterator[bytes]) -> None:
        """Take slots back until the connection ends."""
        try:
            for command in releasesIn(lines):
                self._sender.takeBack(self.quota, command.slots)
        except OSError:
            pass
        finally:
            if not self._closed:
                self._sender.removeSubscriber(self.quota)
                self.close(0)

    def close(self, seconds: float) -> None:
        """Send the waiting lines for at most so many seconds, and end. Its slots stay: it may still read them."""
        self._closed = True
        self._writer.close(seconds)
        closeSocket(self._connection)


class Publisher:
    """Listener for subscribers on this computer, from the command :class:`Publish` on.

    :param folders: that hold the ring of the sender, best first.
    :param ring: common start of its file names.
    :param sender: has the pixels, and takes the :class:`PublishedReport`.
    :param commands: delivers the command.
    """

    def __init__(self, folders: list[str], ring: str, sender: FrameSender, commands: Receivers) -> None:
        self._opened, self._sender = Opened(folders, ring), sender
        self._listener: socket.socket | None = None
        self._token = secrets.token_hex(16)
        self._subscribers: list[Subscriber] = []
        self._lock = threading.Lock()
        commands.connect(Publish, lambda command: self.open())

    def open(self) -> None:
        """Listen on a free port, unless it does so already; report the port, or why there is none."""
        if self._listener is None:
            try:
                self._listener = socket.create_server((LOOPBACK, 0), backlog=BACKLOG)
            except OSError as error:
                self._sender.report(PublishedReport(0, "", reasonOf(error)))
                return
            threading.Thread(target=self._accept, args=(self._listener,), name="publisher", daemon=True).start()
        self._sender.report(PublishedReport(self._listener.getsockname()[1], self._token))

    def publish(self, frame: Frame) -> None:
        """Pass a frame on to the subscribers of its stream. Never waits."""
        with self._lock:
            subscribers = self._subscribers
        for subscriber in subscribers:
            if subscriber.stream == frame.stream:
                subscriber.offer(frame)

    def close(self) -> None:
        """Send the last lines, and end all connections."""
        if self._listener:
            closeSocket(self._listener)
        with self._lock:
            subscribers, self._subscribers = self._subscribers, []
        for subscriber in subscribers:
            subscriber.close(LAST_OFFERS)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection = listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), name="subscriber", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            lines = linesOf(connection, HELLO_TIME)
            request = messageIn(next(lines, b"{}"), Subscribe.fromJSON)
            # Of any other type and character, too: the connection is not trusted yet.
            if not hmac.compare_digest(str(request.token).encode(errors="replace"), self._token.encode()):
                raise LinkError(_("The token of a connection is wrong."))
        except (OSError, LinkError) as error:
            log.warning("A connection is not accepted as a subscriber: %s", error)
            closeSocket(connection)
            return
        with self._lock:
            # No frame passes between its first line and its place among the subscribers.
            subscriber = Subscriber(connection, request, self._opened, self._sender)
            self._subscribers = [*self._subscribers, subscriber]
        subscriber.serve(lines)
        with self._lock:
            self._subscribers = [one for one in self._subscribers if one is not subscriber]
