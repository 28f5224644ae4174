"""One connection: what comes over it, and what waits to be sent."""

from __future__ import annotations

import math
import socket
import sys
from collections import deque
from collections.abc import Iterator, Sequence

from .Base import Message
from .Checksum import Buffer
from .Receiver import Receiver
from .Report import Problem

BURST = 8 << 20
"""Bytes taken from one peer before the others have their turn."""
TURN = 100
"""Messages after which no more bytes are taken from it in one turn: of small ones, many go into few bytes."""
BUFFER = 4 << 20
"""Bytes that the system keeps for us while a frame is stored. Linux finds the size itself, up to more than it would let
us ask for on most computers."""
IDLE, INTERVAL, PROBES = 2, 1, 3
"""Seconds without a byte before TCP asks whether the peer is there, between two such questions, and how many of them
may stay without an answer."""
PAUSE = 0.05
"""Seconds without a byte after which a peer must return lent memory."""
SLOWEST = 20 << 20
"""Bytes a second: a peer that is slower, after the first PAUSE, must return lent memory, too."""
GONE = float(IDLE + INTERVAL * PROBES)
"""Seconds after which TCP gives up a peer that says nothing and does not take what is sent."""


class Peer:
    """A connected socket; nothing here waits.

    :param connection: the socket, which this object owns from now on.
    :param name: address and port, for people.
    :param receiver: makes messages of its bytes.
    :param now: monotonic seconds.
    :param unread: seconds after which TCP gives up a peer that does not take what is sent, although it may be there;
        0 leaves it to the system. Many devices never read.
    """

    def __init__(
        self, connection: socket.socket, name: str, receiver: Receiver, now: float, unread: float = 0.0
    ) -> None:
        self.connection, self.name, self.receiver, self._unread = connection, name, receiver, unread
        self.heard = now
        """When the last byte came, monotonic seconds."""
        self._silent = False
        self._lends, self._lentAt = 0, now
        self.lost = ""
        """Why the connection is of no use any more, empty while it is."""
        self._waiting: deque[memoryview] = deque()
        connection.setblocking(False)
        _keepAlive(connection)
        self._giveUpAfter(unread)

    @property
    def silent(self) -> bool:
        """True once it was reported that nothing comes. Then it may be gone, which what we send finds out."""
        return self._silent

    @silent.setter
    def silent(self, silent: bool) -> None:
        self._silent = silent
        if not self.lost:
            self._giveUpAfter(max(self._unread, GONE) if silent else self._unread)

    @property
    def backlog(self) -> int:
        """Bytes that wait to be sent."""
        return sum(len(one) for one in self._waiting)

    def receive(self, now: float) -> Iterator[Message | Problem]:
        """What is there, up to a limit; sets :attr:`lost` at the end of the connection."""
        left, most = BURST, self.receiver.counts.begun + TURN
        while left > 0 and self.receiver.counts.begun < most and not self.lost:
            try:
                count = self.connection.recv_into(self.receiver.space())
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self.lost = f"the connection broke ({error.strerror or error})"
                return
            if count == 0:
                self.lost = "it closed the connection"
                return
            self.heard = now
            left -= count
            yield from self.receiver.filled(count)
            if self.receiver.borrowed != self._lends:
                self._lends, self._lentAt = self.receiver.borrowed, now
            if self.receiver.broken:
                self.lost = "it does not speak OpenIGTLink"

    @property
    def giveBackAt(self) -> float:
        """When lent memory must be returned, monotonic seconds; infinite when none is lent."""
        if not self.receiver.borrows:
            return math.inf
        return min(self.heard, self._lentAt + self.receiver.received / SLOWEST) + PAUSE

    def send(self, buffers: Sequence[Buffer]) -> None:
        """Send as much as the system takes now; the rest waits for :meth:`flush`."""
        self._waiting.extend(memoryview(one).cast("B") for one in buffers if len(one))
        self.flush()

    def flush(self) -> None:
        """Send more of what waits."""
        while self._waiting and not self.lost:
            try:
                count = self.connection.send(self._waiting[0])
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self.lost = f"the connection broke ({error.strerror or error})"
                return
            if count == len(self._waiting[0]):
                self._waiting.popleft()
            else:
                self._waiting[0] = self._waiting[0][count:]

    def _giveUpAfter(self, seconds: float) -> None:
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # Linux ends with it also the connection of a peer that acknowledges all, and has no room for more.
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * seconds))

    def close(self) -> Problem | None:
        """Close the socket; tells which message was cut off by the end."""
        self._waiting.clear()
        self.connection.close()
        return self.receiver.finish()


def _keepAlive(connection: socket.socket) -> None:
    """A peer whose cable is pulled says nothing: only TCP's own questions find that out."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if sys.platform != "linux":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "win32":
        connection.ioctl(socket.SIO_KEEPALIVE_VALS, (1, 1000 * IDLE, 1000 * INTERVAL))
        return
    # macOS names the first one otherwise.
    idle = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", None))
    for option, value in ((idle, IDLE), (getattr(socket, "TCP_KEEPINTVL", None), INTERVAL)):
        if option is not None:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
    if hasattr(socket, "TCP_KEEPCNT"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
