"""Connections of one side: accepted or opened, read, written and watched in one thread."""

from __future__ import annotations

import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ...Model.Event import Event, Remedy
from ...Model.Files import reasonOf
from ...Model.Text import Text, textsOf
from ..Endpoints import Endpoint, keepAlive
from .Protocol import Message, Problem
from .Receiver import Receiver

_ = textsOf(__file__)

BURST = 8 << 20
"""Bytes read from one peer before the other peers are served."""
BURST_READS = 400
"""Reads from one peer before the other peers are served."""
MOST = 16
"""Simultaneous connections; further peers are refused."""
STALLED = 10.0
"""Seconds after which a peer that stopped in the middle of a message is disconnected, and after which nothing more is
sent to a peer that does not read."""
FAREWELL, LINGER = 5.0, 60.0
"""Seconds for the peer to close the connection after it has everything, and to read on while something waits for it.
Some read only after they have sent everything."""
BACKLOG = 64 << 20
"""Bytes that wait to be sent, above which a peer is not read: TCP then slows it down."""


class Connection:
    """A connected, non-blocking socket.

    :param link: the socket; this object owns it.
    :param name: address and port as text.
    :param receiver: turns the bytes into messages.
    :param now: monotonic seconds.
    """

    def __init__(self, link: socket.socket, name: str, receiver: Receiver, now: float) -> None:
        self.link, self.name, self.receiver = link, name, receiver
        self.heard = now
        """Time of the last received byte, monotonic seconds."""
        self.lost: str = ""
        """Reason why the connection is lost; empty while it is not."""
        self.unsent = 0
        """Messages that were not sent, because the peer did not read or is gone."""
        self.deaf = False
        """True once the peer has read nothing for STALLED seconds: no further message is sent."""
        self.leaving: float | None = None
        """Time at which both sides had sent everything, monotonic seconds; None before."""
        self._shut = False
        self._wrote = now
        self._waiting: deque[list[memoryview]] = deque()
        self.backlog = 0
        """Bytes that wait to be sent."""
        link.setblocking(False)
        keepAlive(link)

    @property
    def paused(self) -> bool:
        """True while the peer is not read, because too many bytes wait for it."""
        return self.backlog > BACKLOG and not self.deaf

    def receive(self, now: float) -> Iterator[Message]:
        """Read what has arrived, up to a limit; set :attr:`lost` at the end of the connection."""
        left, reads = BURST, BURST_READS
        while left > 0 and reads > 0 and not self.lost and not self.paused:
            try:
                count = self.link.recv_into(self.receiver.space())
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
            reads -= 1
            yield from self.receiver.filled(count)
            if self.receiver.broken:
                self.lost = _("the following bytes cannot be read")

    def send(self, buffers: Sequence[Any], now: float, last: bool = False) -> bool:
        """Send a message as far as the system accepts it now; the rest is copied, and waits for :meth:`flush`.

        :param last: the message ends the connection, and is sent in any case.
        :returns: False when the message is not sent, because the peer does not read or is gone.
        """
        if self.lost:
            return False
        if self.deaf and not last:
            self.unsent += 1
            return False
        views = [view for view in (memoryview(one).cast("B") for one in buffers) if len(view)]
        if not self._waiting:
            self._wrote = now
            views = self._write(views, now)
        if views:
            # The memory of the caller may change.
            self._waiting.append([memoryview(bytes(view)) for view in views])
            self.backlog += sum(map(len, views))
        return True

    def flush(self, now: float) -> None:
        """Send more of the waiting bytes; give up messages that a peer has not read for STALLED seconds."""
        while self._waiting and not self.lost:
            before = sum(map(len, self._waiting[0]))
            left = self._write(self._waiting[0], now)
            self.backlog -= before - sum(map(len, left))
            if left:
                self._waiting[0] = left
                break
            self._waiting.popleft()
        if self._waiting and not self.deaf and self.leaving is None and now - self._wrote > STALLED:
            self.deaf = True
            # The peer may have a part of the first message: only after its rest another one can follow.
            first = self._waiting.popleft()
            self.unsent += len(self._waiting)
            self._waiting, self.backlog = deque([first]), sum(map(len, first))

    def _write(self, views: list[memoryview], now: float) -> list[memoryview]:
        """Write as much as possible, and return the rest."""
        while views:
            try:
                count = self.link.send(views[0])
            except (BlockingIOError, InterruptedError):
                return views
            except OSError as error:
                self.lost = _broken(error)
                return []
            self._wrote = now
            views = views[1:] if count == len(views[0]) else [views[0][count:], *views[1:]]
        return views

    def leave(self, now: float) -> None:
        """Close the connection after everything is sent: when the peer closes it, or after a time."""
        self.leaving = now

    def depart(self, now: float) -> None:
        """Tell the peer that nothing follows, and give up a peer that does not close the connection."""
        if self.leaving is None or self.lost:
            return
        if not self.backlog and not self._shut:
            self._shut = True
            try:
                self.link.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the peer has closed it already
        if now > max(self.leaving, self._wrote) + (LINGER if self.backlog else FAREWELL):
            self.lost = _("it did not close the connection")

    def close(self) -> Problem | None:
        """Close the socket; return a problem when the end cut off a message."""
        # After leave(), the message that waits last is the end.
        self.unsent += max(0, len(self._waiting) - (self.leaving is not None))
        self._waiting.clear()
        self.link.close()
        return self.receiver.finish()


class Connections:
    """Peers of a server, or the one peer of a client.

    :param endpoint: listener or connector.
    :param receiver: makes the receiver of a new connection.
    :param sizeLimit: most bytes of the incomplete messages of all connections.
    :param clock: monotonic seconds.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        receiver: Callable[[], Receiver],
        sizeLimit: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoint, self._makeReceiver, self._sizeLimit, self._clock = endpoint, receiver, sizeLimit, clock
        self.connected: list[Connection] = []
        self._selector = selectors.DefaultSelector()
        self._waiting, self._waking = socket.socketpair()
        self._waiting.setblocking(False)
        self._waking.setblocking(False)
        self._selector.register(self._waiting, selectors.EVENT_READ)
        self._endpointSocket: socket.socket | None = None

    @property
    def status(self) -> str:
        """State of the endpoint in words."""
        return self._endpoint.status

    @property
    def listening(self) -> bool:
        """True while peers can connect to this computer."""
        return self._endpoint.socket is not None and not self._endpoint.writing

    @property
    def remedy(self) -> Remedy | None:
        """Other settings with which a peer could connect, None while one is connected."""
        return None if self.connected else self._endpoint.remedy

    def step(self, seconds: float) -> Iterator[tuple[Connection, Message | None] | Event]:
        """Yield messages and events; block at most ``seconds``. Exhaust the iterator.

        The message None is the last of a connection: it is closed.
        """
        now = self._clock()
        if now >= self._endpoint.due:
            yield from self._endpoint.open(now)
            self._watchEndpoint()
        for connection in self.connected:
            self._watchOne(connection)
        for key, mask in self._selector.select(max(0.0, min(seconds, self._longestWait(now)))):
            now = self._clock()
            if key.data is not None:
                yield from self._serve(key.data, mask, now)
            elif key.fileobj is self._waiting:
                self._drain()
            else:
                yield from self._accept(now)
        yield from self._watch(self._clock())

    def flush(self, seconds: float) -> None:
        """Wait until everything is sent, at most ``seconds``."""
        end = self._clock() + seconds
        while any(one.backlog and not one.lost for one in self.connected) and self._clock() < end:
            time.sleep(0.005)
            for one in self.connected:
                one.flush(self._clock())

    def wake(self) -> None:
        """Make step() return, from any thread."""
        try:
            self._waking.send(b"w")
        except (BlockingIOError, OSError):
            pass  # a wake-up byte is waiting already, or the socket is closed

    def close(self) -> None:
        """Close all connections and the endpoint."""
        for one in self.connected:
            one.close()
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
            link, name = one
            if len(self.connected) >= MOST:
                link.close()
                text = _("Connection from {name} refused: {limit} peers are connected. Disconnect another peer.")
                yield Event("peer-refused", text.format(name=name, limit=MOST), "warning", name)
                continue
            try:
                connection = Connection(link, name, self._makeReceiver(), now)
            except OSError as error:  # it disconnected at once
                link.close()
                self._endpoint.lost(now)
                text = _("{name} disconnected at once: {reason}.").format(name=name, reason=reasonOf(error))
                yield Event("disconnected", text, "warning", name)
                continue
            self.connected.append(connection)
            self._selector.register(link, selectors.EVENT_READ, connection)
            yield Event("connected", _("{name} is connected.").format(name=name), subject=name)
        self._watchEndpoint()

    # ---- connections

    def _serve(self, one: Connection, mask: int, now: float) -> Iterator[tuple[Connection, Message | None] | Event]:
        if mask & selectors.EVENT_WRITE:
            one.flush(now)
        if mask & selectors.EVENT_READ:
            for message in one.receive(now):
                yield one, message
                del message  # it holds the memory of a received image
            held = sum(each.receiver.held for each in self.connected)
            if held > self._sizeLimit and not one.lost:
                one.lost = _("all connections together hold {held:,} bytes, and the limit is {limit:,}").format(
                    held=held, limit=self._sizeLimit
                )

    def _watch(self, now: float) -> Iterator[tuple[Connection, Message | None] | Event]:
        for one in list(self.connected):
            wasDeaf = one.deaf
            if one.paused:
                one.heard = now  # nobody listens to it
            one.flush(now)
            if one.deaf and not wasDeaf:
                text = _("{name} has read nothing for {seconds:.0f} s. No further image is sent back to it.")
                yield Event("peer-slow", text.format(name=one.name, seconds=STALLED), "warning", one.name)
            quiet = now - one.heard
            if quiet > STALLED and one.receiver.pending and not one.lost and not one.paused:
                one.lost = _("it stopped in the middle of a message {seconds:.0f} s ago").format(seconds=quiet)
            one.depart(now)
            if one.lost:
                yield from self._disconnect(one, now)

    def _disconnect(self, one: Connection, now: float) -> Iterator[tuple[Connection, Message | None] | Event]:
        self._forget(one.link)
        self.connected.remove(one)
        self._endpoint.lost(now)
        if problem := one.close():
            yield one, problem
        yield one, None
        if one.leaving is None:
            text = _("{name} disconnected: {reason}.").format(name=one.name, reason=one.lost)
            yield Event("disconnected", text, "warning", one.name)

    def _watchOne(self, one: Connection) -> None:
        mask = (0 if one.paused else selectors.EVENT_READ) | (selectors.EVENT_WRITE if one.backlog else 0)
        if self._selector.get_key(one.link).events != mask:
            self._selector.modify(one.link, mask, one)

    def _longestWait(self, now: float) -> float:
        waits = [self._endpoint.due - now]
        for one in self.connected:
            if one.lost:
                waits.append(0.0)
            elif one.receiver.pending:
                waits.append(one.heard + STALLED - now)
            if one.backlog or one.leaving is not None:
                waits.append(1.0)
        return min(waits)

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


def _broken(error: OSError) -> Text:
    return _("the connection broke ({reason})").format(reason=reasonOf(error))
