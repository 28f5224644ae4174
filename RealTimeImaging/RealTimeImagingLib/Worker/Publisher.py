"""Frames of the worker for other processes on this computer, such as those of processing functions.

Each subscriber has a ring of its own: one that hangs takes slots from no other. A frame costs the worker one copy for
each subscriber of its stream, and a line.
"""

from __future__ import annotations

import hmac
import json
import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable

from ..Link.Commands import Publish
from ..Link.Messages import FrameHeader, PublishedReport, Receivers
from ..Link.Ring import RingWriter
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
from ..Model.Errors import RingError
from ..Model.Files import reasonOf
from ..Model.Frame import Frame

LAST_OFFERS = 0.5
"""Seconds at the end for the last lines to leave."""
BACKLOG = 16

log = logging.getLogger(__name__)


class Subscriber:
    """A connected subscriber and its ring.

    :param connection: over which it subscribed.
    :param request: what it asked for.
    :param opened: where its ring lies.
    """

    def __init__(self, connection: socket.socket, request: Subscribe, opened: Opened) -> None:
        self.stream = request.stream
        self._connection = connection
        self._ring: RingWriter | None = RingWriter(opened.folders, opened.ring, request.slots, request.limit)
        self._problem = ""
        self._lock = threading.Lock()
        self._writer = SocketWriter(connection)
        self._writer.put(opened)

    def offer(self, frame: Frame) -> None:
        """Copy a frame into a free slot and send its header. Never waits."""
        with self._lock:
            if self._ring is None:
                return
            try:
                place = self._ring.put(frame.pixels)
            except RingError as error:
                if str(error) != self._problem:
                    self._problem = str(error)
                    log.warning("Frames of %s are not processed: %s", self.stream, error)
                place = None
            if not self._writer.put(Offer(FrameHeader.of(frame), place), always=False) and place:
                self._ring.release(*place.key)

    def serve(self, lines: Callable[[], None]) -> None:
        """Run until the connection ends, then release everything."""
        try:
            lines()
        except OSError:
            pass
        finally:
            ring = self.close(0)
            if ring:
                ring.close()

    def release(self, slots: list[tuple[int, int]]) -> None:
        """Take slots back."""
        with self._lock:
            for generation, slot in slots:
                if self._ring:
                    self._ring.release(generation, slot)

    def close(self, seconds: float) -> RingWriter | None:
        """Send the waiting lines for at most so many seconds, and end; return the ring, unless it was closed before.

        The subscriber may still read what waits in the ring.
        """
        with self._lock:
            ring, self._ring = self._ring, None
        if ring:
            self._writer.close(seconds)
            closeSocket(self._connection)
        return ring


class Publisher:
    """Listener for subscribers on this computer, from the command :class:`Publish` on.

    :param folders: that hold the rings, best first.
    :param name: common start of the names of the rings.
    :param report: takes the :class:`PublishedReport`.
    :param commands: delivers the command.
    """

    def __init__(
        self, folders: list[str], name: str, report: Callable[[PublishedReport], object], commands: Receivers
    ) -> None:
        self._folders, self._name, self._report = folders, name, report
        self._listener: socket.socket | None = None
        self._token = secrets.token_hex(16)
        self._made = 0
        self._subscribers: list[Subscriber] = []
        self._lock = threading.Lock()
        commands.connect(Publish, lambda command: self.open())

    def open(self) -> None:
        """Listen on a free port, unless it does so already; report the port, or why there is none."""
        if self._listener is None:
            try:
                self._listener = socket.create_server((LOOPBACK, 0), backlog=BACKLOG)
            except OSError as error:
                self._report(PublishedReport(0, "", reasonOf(error)))
                return
            threading.Thread(target=self._accept, args=(self._listener,), name="publisher", daemon=True).start()
        self._report(PublishedReport(self._listener.getsockname()[1], self._token))

    def publish(self, frame: Frame) -> None:
        """Pass a frame on to the subscribers of its stream. Never waits."""
        for subscriber in self._subscribers:
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
            connection.settimeout(HELLO_TIME)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            lines = linesOf(connection)
            request = Subscribe.fromJSON(json.loads(next(lines, b"{}")))
            if not hmac.compare_digest(request.token.encode(), self._token.encode()):
                raise ValueError("wrong token")
            connection.settimeout(None)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            log.warning("A connection is not accepted as a subscriber: %s", error)
            closeSocket(connection)
            return
        with self._lock:
            self._made += 1
            opened = Opened(self._folders, f"{self._name}-subscriber{self._made}-{os.getpid()}")
            subscriber = Subscriber(connection, request, opened)
            self._subscribers = [*self._subscribers, subscriber]

        def take() -> None:
            for command in releasesIn(lines):
                subscriber.release(command.slots)

        subscriber.serve(take)
        with self._lock:
            self._subscribers = [one for one in self._subscribers if one is not subscriber]
