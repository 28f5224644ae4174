"""Event loop of the sockets of one side: an endpoint and its peers, served in one thread, for any protocol."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, Generic, Protocol, TypeVar

from ..Model.Event import Event, Remedy
from ..Model.Files import reasonOf
from ..Model.Text import Text, textsOf
from .Endpoints import Endpoint

_ = textsOf(__file__)

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Peer(Protocol):
    """Connected peer."""

    link: socket.socket
    name: str
    lost: str
    """Reason why the connection is lost; empty while it is not."""

    @property
    def backlog(self) -> int:
        """Bytes that wait to be sent."""

    def flush(self, now: float) -> None:
        """Send more of the waiting bytes."""

    def close(self) -> object:
        """Close the socket."""


AnyPeer = TypeVar("AnyPeer", bound=Peer)


class SocketLoop(Generic[AnyPeer]):
    """Endpoint and connected peers.

    :param endpoint: listener or connector.
    :param makePeer: makes a peer of a socket, its name and the time; raises OSError when it disconnected at once.
    :param most: simultaneous connections; further peers are refused.
    :param clock: monotonic seconds.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        makePeer: Callable[[socket.socket, str, float], AnyPeer],
        most: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.endpoint, self._makePeer, self._most, self._clock = endpoint, makePeer, most, clock
        self.connected: list[AnyPeer] = []
        self._selector = selectors.DefaultSelector()
        self._waiting, self._waking = socket.socketpair()
        self._waiting.setblocking(False)
        self._waking.setblocking(False)
        self._selector.register(self._waiting, READ)
        self._endpointSocket: socket.socket | None = None

    @property
    def listening(self) -> bool:
        """True while peers can connect to this computer."""
        return self.endpoint.socket is not None and not self.endpoint.writing

    @property
    def remedy(self) -> Remedy | None:
        """Other settings with which a peer could connect, None while one is connected."""
        return None if self.connected else self.endpoint.remedy

    def open(self, now: float) -> Iterator[Event]:
        """Open the endpoint when that is due, and yield its events."""
        if now >= self.endpoint.due:
            yield from self.endpoint.open(now)
            self._watchEndpoint()

    def ready(self, seconds: float) -> Iterator[tuple[AnyPeer, int, float] | Event]:
        """Yield peers that are ready, with READ, WRITE or both, and the time; and events of the endpoint.

        :param seconds: longest wait.
        """
        # After a halt of this process, the first call may return nothing although bytes wait.
        for key, mask in self._selector.select(max(0.0, seconds)) or self._selector.select(0):
            now = self._clock()
            if key.data is not None:
                yield key.data, mask, now
            elif key.fileobj is self._waiting:
                self._drain()
            else:
                yield from self._accept(now)

    def watch(self, peer: AnyPeer, reading: bool = True) -> None:
        """Wait for bytes of a peer, or not, and for room for those that wait to be sent."""
        mask = (READ if reading else 0) | (WRITE if peer.backlog else 0)
        if self._selector.get_key(peer.link).events != mask:
            self._selector.modify(peer.link, mask, peer)

    def drop(self, peer: AnyPeer, now: float) -> None:
        """Forget a peer, whose socket is still open."""
        self._forget(peer.link)
        self.connected.remove(peer)
        self.endpoint.lost(now)

    def flush(self, seconds: float) -> None:
        """Wait until everything is sent, at most ``seconds``."""
        end = self._clock() + seconds
        while any(peer.backlog and not peer.lost for peer in self.connected) and self._clock() < end:
            time.sleep(0.005)
            for peer in self.connected:
                peer.flush(self._clock())

    def wake(self) -> None:
        """End the wait of ready(), from any thread."""
        try:
            self._waking.send(b"w")
        except (BlockingIOError, OSError):
            pass  # a wake-up byte is waiting already, or the socket is closed

    def close(self) -> None:
        """Close all connections and the endpoint."""
        for peer in self.connected:
            peer.close()
        self.connected.clear()
        self.endpoint.close()
        self._selector.close()
        self._waiting.close()
        self._waking.close()

    def _watchEndpoint(self) -> None:
        # Only some systems remove a closed socket from the selector.
        if self._endpointSocket is not None and self.endpoint.socket is not self._endpointSocket:
            self._forget(self._endpointSocket)
            self._endpointSocket = None
        if self.endpoint.socket is not None and self._endpointSocket is None:
            self._endpointSocket = self.endpoint.socket
            self._selector.register(self._endpointSocket, WRITE if self.endpoint.writing else READ)

    def _accept(self, now: float) -> Iterator[Event]:
        for one in self.endpoint.take(now):
            # The socket of a connector becomes the socket of the peer.
            self._watchEndpoint()
            if isinstance(one, Event):
                yield one
                continue
            link, name = one
            if len(self.connected) >= self._most:
                link.close()
                text = _("Connection from {name} refused: {limit} peers are connected. Disconnect another peer.")
                yield Event("peer-refused", text.format(name=name, limit=self._most), "warning", name)
                continue
            try:
                peer = self._makePeer(link, name, now)
            except OSError as error:  # it disconnected at once
                link.close()
                self.endpoint.lost(now)
                text = _("{name} disconnected at once: {reason}.").format(name=name, reason=reasonOf(error))
                yield Event("disconnected", text, "warning", name)
                continue
            self.connected.append(peer)
            self._selector.register(link, READ, peer)
            yield Event("connected", _("{name} is connected.").format(name=name), subject=name)
        self._watchEndpoint()

    def _forget(self, link: Any) -> None:
        try:
            self._selector.unregister(link)
        except (KeyError, ValueError):
            pass

    def _drain(self) -> None:
        try:
            while self._waiting.recv(4096):
                pass
        except BlockingIOError:
            pass


def receiveInto(peer: Peer, memory: Any) -> int:
    """Read what a peer has sent, without a wait; return the number of bytes, 0 when none is there.

    The end of the connection sets :attr:`Peer.lost`.
    """
    try:
        count = peer.link.recv_into(memory)
    except (BlockingIOError, InterruptedError):
        return 0
    except OSError as error:
        peer.lost = _brokenBy(error)
        return 0
    if count == 0:
        peer.lost = _("it closed the connection")
    return count


def sendFrom(peer: Peer, data: Any) -> int:
    """Send as much as the system accepts now; return the number of bytes.

    A broken connection sets :attr:`Peer.lost`.
    """
    try:
        return peer.link.send(data)
    except (BlockingIOError, InterruptedError):
        return 0
    except OSError as error:
        peer.lost = _brokenBy(error)
        return 0


def _brokenBy(error: OSError) -> Text:
    return _("the connection broke ({reason})").format(reason=reasonOf(error))
