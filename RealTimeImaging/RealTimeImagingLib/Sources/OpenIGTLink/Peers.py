"""Connections of one side: accepted or opened, read, written and watched in one thread."""

from __future__ import annotations

import math
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ...Model.Event import Event, Remedy
from ...Model.Files import reasonOf
from ...Model.Text import Text, joined, textsOf
from ...OpenIGTLink.Base import Buffer, Message
from ...OpenIGTLink.Receiver import Receiver
from ...OpenIGTLink.Report import Problem
from ..Endpoints import IDLE, INTERVAL, PROBES, Endpoint, keepAlive

_ = textsOf(__file__)

BURST = 8 << 20
"""Bytes read from one peer before the other peers are served."""
BURST_MESSAGES = 100
"""Messages read from one peer before the other peers are served: many small messages fit into few bytes."""
PAUSE = 0.05
"""Seconds without a byte after which a peer must return lent memory."""
SLOWEST = 20 << 20
"""Bytes a second. A peer that is slower after the first PAUSE must return lent memory, too."""
GONE = float(IDLE + INTERVAL * PROBES)
"""Seconds after which TCP drops a silent peer that does not acknowledge sent data."""


class Peer:
    """A connected, non-blocking socket.

    :param connection: the socket; this object owns it.
    :param name: address and port as text.
    :param receiver: turns the bytes into messages.
    :param now: monotonic seconds.
    :param unread: seconds after which TCP drops a peer that does not read what is sent; 0: the system's default. Many
        devices never read.
    """

    def __init__(
        self, connection: socket.socket, name: str, receiver: Receiver, now: float, unread: float = 0.0
    ) -> None:
        self.connection, self.name, self.receiver, self._unread = connection, name, receiver, unread
        self.heard = now
        """Time of the last received byte, monotonic seconds."""
        self._silent = False
        self._lends, self._lentAt = 0, now
        self.lost: str = ""
        """Reason why the connection is lost; empty while it is not."""
        self._waiting: deque[memoryview] = deque()
        connection.setblocking(False)
        keepAlive(connection)
        self._giveUpAfter(unread)

    @property
    def silent(self) -> bool:
        """True once the silence of the peer was reported. The next message to it shows whether it is still there."""
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
        """Read what has arrived, up to a limit; set :attr:`lost` at the end of the connection."""
        left, most = BURST, self.receiver.counts.begun + BURST_MESSAGES
        while left > 0 and self.receiver.counts.begun < most and not self.lost:
            try:
                count = self.connection.recv_into(self.receiver.space())
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self.lost = _broken(error)
                return
            if count == 0:
                self.lost = _("it closed the connection")
                return
            self.heard = now
            left -= count
            yield from self.receiver.filled(count)
            if self.receiver.borrowed != self._lends:
                self._lends, self._lentAt = self.receiver.borrowed, now
            if self.receiver.broken:
                self.lost = _("it does not speak OpenIGTLink")

    @property
    def giveBackAt(self) -> float:
        """Time at which lent memory must be returned, monotonic seconds; infinite when none is lent."""
        if not self.receiver.borrows:
            return math.inf
        return min(self.heard, self._lentAt + self.receiver.received / SLOWEST) + PAUSE

    def send(self, buffers: Sequence[Buffer]) -> None:
        """Send as much as the system accepts now; the rest waits for :meth:`flush`."""
        self._waiting.extend(memoryview(one).cast("B") for one in buffers if len(one))
        self.flush()

    def flush(self) -> None:
        """Send more of the waiting bytes."""
        while self._waiting and not self.lost:
            try:
                count = self.connection.send(self._waiting[0])
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self.lost = _broken(error)
                return
            if count == len(self._waiting[0]):
                self._waiting.popleft()
            else:
                self._waiting[0] = self._waiting[0][count:]

    def _giveUpAfter(self, seconds: float) -> None:
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # On Linux it also drops a peer that acknowledges everything but has no room for more.
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * seconds))

    def close(self) -> Problem | None:
        """Close the socket; return a problem when the end cut off a message."""
        self._waiting.clear()
        self.connection.close()
        return self.receiver.finish()


MOST = 64
"""Simultaneous connections; further peers are refused."""
STALLED = 10.0
"""Seconds after which a peer that stopped in the middle of a message is disconnected."""


class Peers:
    """Peers of a server, or the one peer of a client.

    :param endpoint: listener or connector.
    :param receiver: makes the receiver of a new connection.
    :param silentAfter: seconds without a byte after which a peer is reported; infinite: never.
    :param clock: monotonic seconds.
    :param unread: as of :class:`Peer`.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        receiver: Callable[[], Receiver],
        silentAfter: float = float("inf"),
        clock: Callable[[], float] = time.monotonic,
        unread: float = 0.0,
    ) -> None:
        self._endpoint, self._makeReceiver, self._silentAfter, self._clock = endpoint, receiver, silentAfter, clock
        self._unread = unread
        self.connected: list[Peer] = []
        self._selector = selectors.DefaultSelector()
        self._waiting, self._waking = socket.socketpair()
        self._waiting.setblocking(False)
        self._waking.setblocking(False)
        self._selector.register(self._waiting, selectors.EVENT_READ)
        self._endpointSocket: socket.socket | None = None

    @property
    def status(self) -> str:
        """Connected peers, or the state of the endpoint, in words."""
        if not self.connected:
            return self._endpoint.status
        status = _("Connected to {names}.").format(names=_list([peer.name for peer in self.connected]))
        silent = [peer.name for peer in self.connected if peer.silent]
        return joined(status, _("Nothing arrives from {names}.").format(names=_list(silent)) if silent else "")

    @property
    def listening(self) -> bool:
        """True while peers can connect to this computer."""
        return self._endpoint.socket is not None and not self._endpoint.writing

    @property
    def remedy(self) -> Remedy | None:
        """Other settings with which a peer could connect, None while one is connected."""
        return None if self.connected else self._endpoint.remedy

    def step(self, seconds: float) -> Iterator[tuple[Peer, Message | Problem] | Event]:
        """Yield messages, problems and events; block at most ``seconds``. Exhaust the iterator."""
        now = self._clock()
        if now >= self._endpoint.due:
            yield from self._endpoint.open(now)
            self._watchEndpoint()
        for key, mask in self._selector.select(max(0.0, min(seconds, self._longestWait(now)))):
            now = self._clock()
            if key.data is not None:
                yield from self._serve(key.data, mask, now)
            elif key.fileobj is self._waiting:
                self._drain()
            else:
                yield from self._accept(now)
        yield from self._watch(self._clock())

    def send(self, buffers: Sequence[Buffer], to: Sequence[Peer] | None = None) -> int:
        """Send a message to all peers, or to some; return their number."""
        peers = [peer for peer in self.connected if not peer.lost and (to is None or peer in to)]
        for peer in peers:
            peer.send(buffers)
            self._watchPeer(peer)
        return len(peers)

    def flush(self, seconds: float) -> None:
        """Wait until everything is sent, at most ``seconds``."""
        end = self._clock() + seconds
        while any(peer.backlog and not peer.lost for peer in self.connected) and self._clock() < end:
            time.sleep(0.005)
            for peer in self.connected:
                peer.flush()

    def wake(self) -> None:
        """Make step() return, from any thread."""
        try:
            self._waking.send(b"w")
        except (BlockingIOError, OSError):
            pass  # a wake-up byte is waiting already, or the socket is closed

    def close(self) -> None:
        """Close all connections and the endpoint."""
        for peer in self.connected:
            peer.close()
        self.connected.clear()
        self._endpoint.close()
        self._selector.close()
        self._waiting.close()
        self._waking.close()

    # ---- endpoint

    def _watchEndpoint(self) -> None:
        # Only some systems remove a closed socket from the selector.
        if self._endpointSocket is not None and self._endpoint.socket is not self._endpointSocket:
            self._forget(self._endpointSocket)
            self._endpointSocket = None
        if self._endpoint.socket is not None and self._endpointSocket is None:
            self._endpointSocket = self._endpoint.socket
            mask = selectors.EVENT_WRITE if self._endpoint.writing else selectors.EVENT_READ
            self._selector.register(self._endpointSocket, mask)

    def _accept(self, now: float) -> Iterator[Event]:
        for one in self._endpoint.take(now):
            # The socket of a connector becomes the socket of the peer.
            self._watchEndpoint()
            if isinstance(one, Event):
                yield one
                continue
            connection, name = one
            if len(self.connected) >= MOST:
                connection.close()
                text = _("Connection from {name} refused: {limit} peers are connected. Disconnect another peer.")
                yield Event("peer-refused", text.format(name=name, limit=MOST), "warning", name)
                continue
            try:
                peer = Peer(connection, name, self._makeReceiver(), now, self._unread)
            except OSError as error:  # it disconnected at once
                connection.close()
                self._endpoint.lost(now)
                text = _("{name} disconnected at once: {reason}.").format(name=name, reason=reasonOf(error))
                yield Event("disconnected", text, "warning", name)
                continue
            self.connected.append(peer)
            self._selector.register(connection, selectors.EVENT_READ, peer)
            yield Event("connected", _("{name} is connected.").format(name=name), subject=name)
        self._watchEndpoint()

    # ---- peers

    def _serve(self, peer: Peer, mask: int, now: float) -> Iterator[tuple[Peer, Message | Problem] | Event]:
        if mask & selectors.EVENT_WRITE:
            peer.flush()
            self._watchPeer(peer)
        if mask & selectors.EVENT_READ:
            for item in peer.receive(now):
                yield peer, item
                del item  # it holds the memory of a received image
            if peer.silent and peer.heard == now:
                peer.silent = False
                yield Event("peer-back", _("{name} sends again.").format(name=peer.name), subject=peer.name)

    def _watch(self, now: float) -> Iterator[tuple[Peer, Message | Problem] | Event]:
        for peer in list(self.connected):
            if now >= peer.giveBackAt:
                # Lent memory is for images that arrive without a pause. Other streams wait for it.
                peer.receiver.giveBack()
            if peer.receiver.ready and not peer.lost:
                # Another connection took the memory of this connection's message.
                for item in peer.receiver.filled(0):
                    yield peer, item
                    del item
            quiet = now - peer.heard
            if quiet > STALLED and peer.receiver.pending and not peer.lost:
                peer.lost = _("it stopped in the middle of a message {seconds:.0f} s ago").format(seconds=quiet)
            if peer.lost:
                yield from self._disconnect(peer, now)
            elif quiet > self._silentAfter and not peer.silent:
                peer.silent = True
                text = _("{name} is connected but has sent nothing for {seconds:.0f} s.")
                if peer.receiver.pending:
                    text = _("{name} has sent nothing for {seconds:.0f} s, and stopped in the middle of a message.")
                text = text.format(name=peer.name, seconds=quiet)
                yield Event("peer-silent", text, "warning", peer.name)

    def _disconnect(self, peer: Peer, now: float) -> Iterator[tuple[Peer, Problem] | Event]:
        self._forget(peer.connection)
        self.connected.remove(peer)
        self._endpoint.lost(now)
        problem = peer.close()
        if problem:
            yield peer, problem
        text = _("{name} disconnected: {reason}.").format(name=peer.name, reason=peer.lost)
        yield Event("disconnected", text, "warning", peer.name)

    def _watchPeer(self, peer: Peer) -> None:
        mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if peer.backlog else 0)
        self._selector.modify(peer.connection, mask, peer)

    def _longestWait(self, now: float) -> float:
        # A silent peer is reported in time although nothing else happens.
        waits = [self._endpoint.due - now]
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


def _list(names: Sequence[str]) -> str:
    shown, others = joined(*names[:3], separator=", "), len(names) - 3
    if others <= 0:
        return shown
    text = _("{names} and {count} others") if others > 1 else _("{names} and {count} other")
    return text.format(names=shown, count=others)


def _broken(error: OSError) -> Text:
    return _("the connection broke ({reason})").format(reason=reasonOf(error))
