"""Frames from one acquisition process directly to another: pixels in a ring, their headers over a loopback socket.

    Publisher (acquisition process) ──Opened, Offer──► Subscription (process that processes the frames)
                                    ◄──Subscribe, Release──

The subscriber connects and sends the publisher's token. It then gets an :class:`Offer` for each frame of its stream,
also for those whose pixels found no free slot. Slicer takes no part: its window may be blocked.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from ..Model.Errors import LinkError
from ..Model.Text import textsOf
from .Commands import Command, Release, decodeCommand
from .Lines import LineSplitter, LineWriter
from .Messages import FrameHeader, Message, Parts, messageIn
from .Ring import Place

LOOPBACK = "127.0.0.1"
DONT_WAIT = getattr(socket, "MSG_DONTWAIT", 0)
"""Flag of a send that does not wait; 0 on Windows, which has none."""
HELLO_TIME, HELLO_BYTES = 5.0, 1 << 12
"""Most seconds for a connection and for its first line, and most bytes of this line. It has the token: what comes
before is not trusted."""

_ = textsOf(__file__)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Subscribe(Message):
    """First line of a subscriber.

    :param token: of the publisher.
    :param stream: name of the stream at its source.
    :param slots: most frames that wait for this subscriber.
    :param limit: most bytes of these frames, unless one frame is larger; None: no limit.
    """

    token: str
    stream: str
    slots: int
    limit: int | None = None


@dataclass(frozen=True)
class Opened(Message):
    """First line of the publisher: where the subscriber finds the pixels.

    :param folders: that hold the ring, best first.
    :param ring: common start of its file names.
    """

    folders: list[str]
    ring: str


@dataclass(frozen=True)
class Offer(Message):
    """A frame of the stream.

    :param place: of the pixels in the ring; None when no slot was free.
    """

    parts: ClassVar[Parts] = {"frame": FrameHeader.fromJSON, "place": Place.fromJSON}
    frame: FrameHeader
    place: Place | None = None


class SocketWriter(LineWriter):
    """Writer of messages to a socket, in a thread of its own.

    :param connection: blocking socket; the caller closes it.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        super().__init__(-1)

    def attempt(self, line: bytes) -> bytes:
        """Send what fits into the socket's buffer; return the rest."""
        try:
            return line[self._connection.send(line, DONT_WAIT) :] if DONT_WAIT else line
        except OSError:
            return line

    def write(self, data: bytes) -> int:
        """Write some of the bytes; return how many."""
        return self._connection.send(data)


def linesOf(connection: socket.socket, seconds: float) -> Iterator[bytes]:
    """Yield whole lines from a blocking socket until its end.

    :param seconds: for the first line; further lines may take any time.
    :raises OSError: the connection is lost, or the first line is late.
    :raises LinkError: the first line has more than HELLO_BYTES.
    """
    splitter, count, end = LineSplitter(), 0, time.monotonic() + seconds
    lines: list[bytes] = []
    while not lines and count <= HELLO_BYTES:
        connection.settimeout(max(0.001, end - time.monotonic()))
        data = connection.recv(HELLO_BYTES)
        if not data:
            return
        count += len(data)
        lines = splitter.split(data)
    if not lines:
        raise LinkError(_("The first line of a connection has more than {most} bytes.").format(most=HELLO_BYTES))
    connection.settimeout(None)
    yield from lines
    while data := connection.recv(1 << 16):
        yield from splitter.split(data)


def closeSocket(connection: socket.socket) -> None:
    """End a connection; a thread that reads from it returns."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    connection.close()


class Subscription:
    """Connection to a publisher, read in a thread of its own.

    :param port: of the publisher on this computer.
    :param request: what to subscribe to.
    :param onOffer: called in the thread with each frame.
    :param onEnd: called in the thread once, when no more frames arrive.
    """

    def __init__(
        self,
        port: int,
        request: Subscribe,
        onOffer: Callable[[Subscription, Offer], object],
        onEnd: Callable[[Subscription], object],
    ) -> None:
        self._port, self._request = port, request
        self._onOffer, self._onEnd = onOffer, onEnd
        self.folders: list[str] = []
        self.ring = ""
        """Where the pixels are, see :class:`Opened`."""
        self.state = "opening"
        """``open``: every further frame of the stream arrives; ``ended``: no more frames arrive."""
        self._connection: socket.socket | None = None
        self._writer: SocketWriter | None = None
        self._closed = False
        self._lock = threading.Lock()
        threading.Thread(target=self._run, name="subscription", daemon=True).start()

    def release(self, place: Place) -> None:
        """Give a slot back."""
        self._send(Release([place.key]))

    def close(self) -> None:
        """End the connection; return at once."""
        with self._lock:
            self._closed = True
            connection, writer = self._connection, self._writer
        if writer:
            writer.close(0)
        if connection:
            closeSocket(connection)

    def _send(self, command: Command) -> None:
        writer = self._writer
        if writer:
            writer.put(command)

    def _run(self) -> None:
        try:
            connection = socket.create_connection((LOOPBACK, self._port), HELLO_TIME)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._connection = connection
                self._writer = SocketWriter(connection)
            if self._closed:
                return
            self._writer.put(self._request)
            lines = linesOf(connection, HELLO_TIME)
            opened = messageIn(next(lines, b"{}"), Opened.fromJSON)
            self.folders, self.ring = opened.folders, opened.ring
            self.state = "open"
            for line in lines:
                self._onOffer(self, messageIn(line, Offer.fromJSON))
        except (OSError, LinkError) as error:
            if not self._closed:
                log.info("The subscription to %s ended: %s", self._request.stream, error)
        finally:
            self.state = "ended"
            self.close()
            self._onEnd(self)


def releasesIn(lines: Iterator[bytes]) -> Iterator[Release]:
    """Yield the slots that a subscriber gives back; ignore other lines."""
    for line in lines:
        try:
            command = decodeCommand(line)
        except LinkError:
            log.exception("A line of a subscriber is not understood: %r", line[:200])
            continue
        if isinstance(command, Release):
            yield command
