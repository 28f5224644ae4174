"""Connections of one side: accepted or opened, read, written and watched in one thread."""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ...Model.Event import Event
from ...Model.Text import textsOf
from ..Endpoints import Endpoint
from ..SocketLoop import READ, WRITE, SocketLoop, receiveInto, sendFrom
from ..Sockets import keepAlive
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
"""Seconds after which a peer that stopped in the middle of a message is disconnected. A peer that does not read for as
long gets no further message."""
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
            count = receiveInto(self, self.receiver.space())
            if count == 0:
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
            count = sendFrom(self, views[0])
            if self.lost:
                return []
            if count == 0:
                return views
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


class Connections(SocketLoop[Connection]):
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
        self._sizeLimit = sizeLimit

        def makePeer(link: socket.socket, name: str, now: float) -> Connection:
            return Connection(link, name, receiver(), now)

        super().__init__(endpoint, makePeer, MOST, clock)

    @property
    def status(self) -> str:
        """State of the endpoint in words."""
        return self.endpoint.status

    def step(self, seconds: float) -> Iterator[tuple[Connection, Message | None] | Event]:
        """Yield messages and events; block at most ``seconds``. Exhaust the iterator.

        The message None is the last of a connection: it is closed.
        """
        now = self._clock()
        yield from self.open(now)
        for connection in self.connected:
            self.watch(connection, not connection.paused)
        for item in self.ready(min(seconds, self._longestWait(now))):
            if isinstance(item, Event):
                yield item
            else:
                yield from self._serve(*item)
        yield from self._check(self._clock())

    def _serve(self, one: Connection, mask: int, now: float) -> Iterator[tuple[Connection, Message | None] | Event]:
        if mask & WRITE:
            one.flush(now)
        if mask & READ:
            for message in one.receive(now):
                yield one, message
                del message  # it holds the memory of a received image
            held = sum(each.receiver.held for each in self.connected)
            if held > self._sizeLimit and not one.lost:
                one.lost = _("all connections together hold {held:,} bytes, and the limit is {limit:,}").format(
                    held=held, limit=self._sizeLimit
                )

    def _check(self, now: float) -> Iterator[tuple[Connection, Message | None] | Event]:
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
        self.drop(one, now)
        if problem := one.close():
            yield one, problem
        yield one, None
        if one.leaving is None:
            text = _("{name} disconnected: {reason}.").format(name=one.name, reason=one.lost)
            yield Event("disconnected", text, "warning", one.name)

    def _longestWait(self, now: float) -> float:
        waits = [self.endpoint.due - now]
        for one in self.connected:
            if one.lost:
                waits.append(0.0)
            elif one.receiver.pending:
                waits.append(one.heard + STALLED - now)
            if one.backlog or one.leaving is not None:
                waits.append(1.0)
        return min(waits)
