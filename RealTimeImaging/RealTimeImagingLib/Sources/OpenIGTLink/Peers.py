"""Connections of one side: accepted or opened, read, written and watched in one thread."""

from __future__ import annotations

import math
import selectors
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ...Model.Event import Event
from ...OpenIGTLink.Base import Buffer, Message
from ...OpenIGTLink.Receiver import Receiver
from ...OpenIGTLink.Report import Problem
from ..Endpoints import Endpoint

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


MOST = 64
"""Connections at once; more are refused."""
STALLED = 10.0
"""Seconds after which a peer that stopped in the middle of a message is given up."""


class Peers:
    """The peers of a server, or the one peer of a client.

    :param door: accepts or dials.
    :param receiver: makes the receiver of a new connection.
    :param silentAfter: seconds without a byte after which a peer is reported; infinite: never.
    :param clock: monotonic seconds.
    :param unread: as of :class:`Peer`.
    """

    def __init__(
        self,
        door: Endpoint,
        receiver: Callable[[], Receiver],
        silentAfter: float = float("inf"),
        clock: Callable[[], float] = time.monotonic,
        unread: float = 0.0,
    ) -> None:
        self._door, self._makeReceiver, self._silentAfter, self._clock = door, receiver, silentAfter, clock
        self._unread = unread
        self.connected: list[Peer] = []
        self._selector = selectors.DefaultSelector()
        self._waiting, self._waking = socket.socketpair()
        self._waiting.setblocking(False)
        self._waking.setblocking(False)
        self._selector.register(self._waiting, selectors.EVENT_READ)
        self._doorSocket: socket.socket | None = None

    @property
    def status(self) -> str:
        """Who is connected, or what is waited for."""
        if not self.connected:
            return self._door.status
        silent = [peer.name for peer in self.connected if peer.silent]
        names = _listed([peer.name for peer in self.connected])
        return f"Connected with {names}." + (f" Nothing arrives from {_listed(silent)}." if silent else "")

    def step(self, seconds: float) -> Iterator[tuple[Peer, Message | Problem] | Event]:
        """What came, after waiting for so many seconds at most when nothing is there. Take it all."""
        now = self._clock()
        if now >= self._door.due:
            yield from self._door.open(now)
            self._watchDoor()
        for key, mask in self._selector.select(max(0.0, min(seconds, self._patience(now)))):
            now = self._clock()
            if key.data is not None:
                yield from self._serve(key.data, mask, now)
            elif key.fileobj is self._waiting:
                self._drain()
            else:
                yield from self._welcome(now)
        yield from self._watch(self._clock())

    def send(self, buffers: Sequence[Buffer], to: Sequence[Peer] | None = None) -> int:
        """Send a message to all peers, or to some; returns to how many."""
        peers = [peer for peer in self.connected if not peer.lost and (to is None or peer in to)]
        for peer in peers:
            peer.send(buffers)
            self._watchPeer(peer)
        return len(peers)

    def flush(self, seconds: float) -> None:
        """Wait until all is sent, for so many seconds at most."""
        end = self._clock() + seconds
        while any(peer.backlog and not peer.lost for peer in self.connected) and self._clock() < end:
            time.sleep(0.005)
            for peer in self.connected:
                peer.flush()

    def wake(self) -> None:
        """End the waiting of step(), from any thread."""
        try:
            self._waking.send(b"w")
        except (BlockingIOError, OSError):
            pass  # it will wake of what is there already, or is closed

    def close(self) -> None:
        """Close everything."""
        for peer in self.connected:
            peer.close()
        self.connected.clear()
        self._door.close()
        self._selector.close()
        self._waiting.close()
        self._waking.close()

    # ---- the door

    def _watchDoor(self) -> None:
        # A closed socket leaves the selector by itself on some systems only.
        if self._doorSocket is not None and self._door.socket is not self._doorSocket:
            self._forget(self._doorSocket)
            self._doorSocket = None
        if self._door.socket is not None and self._doorSocket is None:
            self._doorSocket = self._door.socket
            mask = selectors.EVENT_WRITE if self._door.writing else selectors.EVENT_READ
            self._selector.register(self._doorSocket, mask)

    def _welcome(self, now: float) -> Iterator[Event]:
        for one in self._door.take(now):
            # Of one that dials, the socket becomes that of the peer.
            self._watchDoor()
            if isinstance(one, Event):
                yield one
                continue
            connection, name = one
            if len(self.connected) >= MOST:
                connection.close()
                yield Event("peer-refused", f"{name} wanted to connect, and {MOST} are connected already.", "warning")
                continue
            try:
                peer = Peer(connection, name, self._makeReceiver(), now, self._unread)
            except OSError as error:  # it hung up at once
                connection.close()
                self._door.lost(now)
                yield Event("disconnected", f"{name} hung up at once: {error.strerror or error}.", "warning", name)
                continue
            self.connected.append(peer)
            self._selector.register(connection, selectors.EVENT_READ, peer)
            yield Event("connected", f"{name} is connected.", subject=name)
        self._watchDoor()

    # ---- the peers

    def _serve(self, peer: Peer, mask: int, now: float) -> Iterator[tuple[Peer, Message | Problem] | Event]:
        if mask & selectors.EVENT_WRITE:
            peer.flush()
            self._watchPeer(peer)
        if mask & selectors.EVENT_READ:
            for item in peer.receive(now):
                yield peer, item
                del item  # it keeps the memory into which an image was received
            if peer.silent and peer.heard == now:
                peer.silent = False
                yield Event("peer-back", f"{peer.name} is heard again.", subject=peer.name)

    def _watch(self, now: float) -> Iterator[tuple[Peer, Message | Problem] | Event]:
        for peer in list(self.connected):
            if now >= peer.giveBackAt:
                # Lent memory is for images that arrive without a pause: other streams wait for it.
                peer.receiver.giveBack()
            if peer.receiver.ready and not peer.lost:
                # Another connection needed the memory of this one's message.
                for item in peer.receiver.filled(0):
                    yield peer, item
                    del item
            quiet = now - peer.heard
            if quiet > STALLED and peer.receiver.pending and not peer.lost:
                peer.lost = f"it stopped in the middle of a message {quiet:.0f} s ago"
            if peer.lost:
                yield from self._part(peer, now)
            elif quiet > self._silentAfter and not peer.silent:
                peer.silent = True
                half = " in the middle of a message" if peer.receiver.pending else ""
                text = f"{peer.name} is connected, and nothing came for {quiet:.0f} s{half}."
                yield Event("peer-silent", text, "warning", peer.name)

    def _part(self, peer: Peer, now: float) -> Iterator[tuple[Peer, Problem] | Event]:
        self._forget(peer.connection)
        self.connected.remove(peer)
        self._door.lost(now)
        problem = peer.close()
        if problem:
            yield peer, problem
        yield Event("disconnected", f"{peer.name} is disconnected: {peer.lost}.", "warning", peer.name)

    def _watchPeer(self, peer: Peer) -> None:
        mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if peer.backlog else 0)
        self._selector.modify(peer.connection, mask, peer)

    def _patience(self, now: float) -> float:
        # A silent peer is noticed in time also when nothing else happens.
        waits = [self._door.due - now]
        for peer in self.connected:
            if not peer.silent:
                waits.append(peer.heard + self._silentAfter - now)
            if peer.receiver.pending:
                waits += [peer.heard + STALLED - now, peer.giveBackAt - now]
            if peer.lost:
                waits.append(0.0)
        return min(waits)

    def _forget(self, connection: Any) -> None:
        try:
            self._selector.unregister(connection)
        except (KeyError, ValueError):
            pass

    def _drain(self) -> None:
        try:
            while self._waiting.recv(4096):
                pass
        except BlockingIOError:
            pass


def _listed(names: Sequence[str]) -> str:
    others = len(names) - 3
    return ", ".join(names[:3]) + (f" and {others} other{'s' if others > 1 else ''}" if others > 0 else "")
