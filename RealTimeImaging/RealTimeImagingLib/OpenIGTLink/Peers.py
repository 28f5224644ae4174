"""All connections of one side: accepted or dialled, read, written, watched. One thread; waits only as long as told."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..Doors import Door
from ..Event import Event
from .Base import Message
from .Checksum import Buffer
from .Peer import Peer
from .Receiver import Receiver
from .Report import Problem

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
        door: Door,
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
