"""Connections of one side: accepted or opened, read, written and watched in one thread."""

from __future__ import annotations

import math
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from ...Model.Event import Event
from ...Model.Text import joined, textsOf
from ...OpenIGTLink.Base import Buffer, Message
from ...OpenIGTLink.Receiver import Receiver
from ...OpenIGTLink.Report import Problem
from ..Endpoints import Endpoint
from ..SocketLoop import READ, WRITE, SocketLoop, receiveInto, sendFrom
from ..Sockets import IDLE, INTERVAL, PROBES, giveUpAfter, keepAlive

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

    :param link: the socket; this object owns it.
    :param name: address and port as text.
    :param receiver: turns the bytes into messages.
    :param now: monotonic seconds.
    :param unread: seconds after which TCP drops a peer that does not read what is sent; 0: the system's default. Many
        devices never read.
    """

    def __init__(self, link: socket.socket, name: str, receiver: Receiver, now: float, unread: float = 0.0) -> None:
        self.link, self.name, self.receiver, self._unread = link, name, receiver, unread
        self.heard = now
        """Time of the last received byte, monotonic seconds."""
        self._silent = False
        self._lends, self._lentAt = 0, now
        self.lost: str = ""
        """Reason why the connection is lost; empty while it is not."""
        self._waiting: deque[memoryview] = deque()
        link.setblocking(False)
        keepAlive(link)
        giveUpAfter(link, unread)

    @property
    def silent(self) -> bool:
        """True once the silence of the peer was reported. The next message to it shows whether it is still there."""
        return self._silent

    @silent.setter
    def silent(self, silent: bool) -> None:
        self._silent = silent
        if not self.lost:
            giveUpAfter(self.link, max(self._unread, GONE) if silent else self._unread)

    @property
    def backlog(self) -> int:
        """Bytes that wait to be sent."""
        return sum(len(one) for one in self._waiting)

    def receive(self, now: float) -> Iterator[Message | Problem]:
        """Read what has arrived, up to a limit; set :attr:`lost` at the end of the connection."""
        left, most = BURST, self.receiver.counts.begun + BURST_MESSAGES
        while left > 0 and self.receiver.counts.begun < most and not self.lost:
            count = receiveInto(self, self.receiver.space())
            if count == 0:
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

    def flush(self, now: float = 0.0) -> None:
        """Send more of the waiting bytes."""
        while self._waiting and not self.lost:
            count = sendFrom(self, self._waiting[0])
            if count == 0:
                return
            if count == len(self._waiting[0]):
                self._waiting.popleft()
            else:
                self._waiting[0] = self._waiting[0][count:]

    def close(self) -> Problem | None:
        """Close the socket; return a problem when the end cut off a message."""
        self._waiting.clear()
        self.link.close()
        return self.receiver.finish()


MOST = 64
"""Simultaneous connections; further peers are refused."""
STALLED = 10.0
"""Seconds after which a peer that stopped in the middle of a message is disconnected."""


class Peers(SocketLoop[Peer]):
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
        self._silentAfter = silentAfter

        def makePeer(link: socket.socket, name: str, now: float) -> Peer:
            return Peer(link, name, receiver(), now, unread)

        super().__init__(endpoint, makePeer, MOST, clock)

    @property
    def status(self) -> str:
        """Connected peers, or the state of the endpoint, in words."""
        if not self.connected:
            return self.endpoint.status
        status = _("Connected to {names}.").format(names=_list([peer.name for peer in self.connected]))
        silent = [peer.name for peer in self.connected if peer.silent]
        return joined(status, _("Nothing arrives from {names}.").format(names=_list(silent)) if silent else "")

    def step(self, seconds: float) -> Iterator[tuple[Peer, Message | Problem] | Event]:
        """Yield messages, problems and events; block at most ``seconds``. Exhaust the iterator."""
        now = self._clock()
        yield from self.open(now)
        for item in self.ready(min(seconds, self._longestWait(now))):
            if isinstance(item, Event):
                yield item
            else:
                yield from self._serve(*item)
        yield from self._check(self._clock())

    def send(self, buffers: Sequence[Buffer], to: Sequence[Peer] | None = None) -> int:
        """Send a message to all peers, or to some; return their number."""
        peers = [peer for peer in self.connected if not peer.lost and (to is None or peer in to)]
        for peer in peers:
            peer.send(buffers)
            self.watch(peer)
        return len(peers)

    def _serve(self, peer: Peer, mask: int, now: float) -> Iterator[tuple[Peer, Message | Problem] | Event]:
        if mask & WRITE:
            peer.flush()
            self.watch(peer)
        if mask & READ:
            for item in peer.receive(now):
                yield peer, item
                del item  # it holds the memory of a received image
            if peer.silent and peer.heard == now:
                peer.silent = False
                yield Event("peer-back", _("{name} sends again.").format(name=peer.name), subject=peer.name)

    def _check(self, now: float) -> Iterator[tuple[Peer, Message | Problem] | Event]:
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
        self.drop(peer, now)
        problem = peer.close()
        if problem:
            yield peer, problem
        text = _("{name} disconnected: {reason}.").format(name=peer.name, reason=peer.lost)
        yield Event("disconnected", text, "warning", peer.name)

    def _longestWait(self, now: float) -> float:
        # A silent peer is reported in time although nothing else happens.
        waits = [self.endpoint.due - now]
        for peer in self.connected:
            if not peer.silent:
                waits.append(peer.heard + self._silentAfter - now)
            if peer.receiver.pending:
                waits += [peer.heard + STALLED - now, peer.giveBackAt - now]
            if peer.lost:
                waits.append(0.0)
        return min(waits)


def _list(names: Sequence[str]) -> str:
    shown, others = joined(*names[:3], separator=", "), len(names) - 3
    if others <= 0:
        return shown
    text = _("{names} and {count} others") if others > 1 else _("{names} and {count} other")
    return text.format(names=shown, count=others)
