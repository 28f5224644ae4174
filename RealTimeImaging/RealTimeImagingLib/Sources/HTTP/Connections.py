"""Connections of programs that post images: accepted, read, answered and closed in one thread."""

from __future__ import annotations

import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from ...Model.Errors import RequestError
from ...Model.Event import Event
from ..Endpoints import Listener
from .Request import Answer, Head, Parser

FIRST = 10.0
"""Seconds for the head of a request, and for the first one to begin."""
IDLE = 60.0
"""Seconds without a request after which a connection is closed."""
STALLED = 10.0
"""Seconds without a byte in the middle of a request, or of its answer, after which it is given up."""
LINGER = 2.0
"""Seconds in which what a refused sender still sends is thrown away: to hang up at once would, with the system's
reset, also take the answer from it."""


class Body(Protocol):
    """Takes the body of a request."""

    @property
    def size(self) -> int:
        """Bytes that it has, or will have as far as that is known."""

    def write(self, piece: memoryview) -> None:
        """The next bytes.

        :raises RequestError: it is not to go on.
        """

    def close(self) -> None:
        """Nothing is left of it."""


@dataclass(frozen=True)
class Refusal:
    """A request that was refused, or cut off, before all of it was here.

    :param status: of the answer; 0 for a request that was cut off, which nobody may be there to be told of.
    :param head: None when it could not be read.
    """

    sender: str
    status: int
    words: str
    head: Head | None
    known: bool
    """The sender has the token."""


@dataclass(frozen=True, eq=False)
class Exchange:
    """A request that waits for the rest of its body, or for its answer.

    :param sender: address and port, for people.
    """

    sender: str
    head: Head
    body: Body


class Connection:
    """A connected socket.

    :param name: address and port, for people.
    :param now: monotonic seconds, as everywhere here.
    """

    def __init__(self, link: socket.socket, name: str, now: float) -> None:
        self.link, self.name = link, name
        self.parser = Parser()
        self.exchange: Exchange | None = None
        self.out = b""
        """What is still to be sent."""
        self.began = self.heard = now
        self.served = False
        """True after the first answer."""
        self.left: float | None = None
        """Since when what it sends is thrown away."""
        self.lost = False
        link.setblocking(False)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def waits(self) -> bool:
        """Its request is here, and not answered."""
        return self.exchange is not None and self.parser.complete

    @property
    def idle(self) -> bool:
        """Nothing of a request is here, and all answers are sent."""
        return self.exchange is None and not self.parser.begun and not self.out

    @property
    def deadline(self) -> float:
        """When it is given up."""
        if self.left is not None:
            return self.left + LINGER
        if self.waits:
            return float("inf")
        if self.out or self.exchange:
            return self.heard + STALLED
        if self.idle and self.served:
            return self.heard + IDLE
        return self.began + FIRST

    def send(self, data: bytes, now: float) -> None:
        """Send what the system takes now; the rest later."""
        self.out += data
        while self.out and not self.lost:
            try:
                count = self.link.send(self.out)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self.lost = True
                return
            self.out, self.heard = self.out[count:], now
        if self.left is not None and not self.lost:
            try:
                self.link.shutdown(socket.SHUT_WR)
            except OSError:
                self.lost = True


MOST = 128
"""Connections at once; for one more, the one that is idle for the longest time is closed, or it is refused."""
REFUSED = 32
"""Connections above that are still told so."""
PIECE = 1 << 18
"""Bytes that are asked of the system at once."""
BURST = 4 << 20
"""Bytes taken from one connection before the others have their turn."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
Open = Callable[[Head], "Body | Answer"]
"""Decides on a head: where its body goes, or the answer at once. It raises RequestError to refuse it."""


class Connections:
    """All connections of a listener.

    :param door: accepts them.
    :param open_: decides on each request.
    :param most: bytes of all bodies that are here or announced, above which one more is refused.
    :param clock: monotonic seconds.
    """

    def __init__(self, door: Listener, open_: Open, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._door, self._open, self._most, self._clock = door, open_, most, clock
        self.connected: list[Connection] = []
        self.answers: Counter[int] = Counter()
        """How many were given, by their status."""
        self._again: list[Connection] = []
        self._selector = selectors.DefaultSelector()
        self._waiting, self._waking = socket.socketpair()
        for one in (self._waiting, self._waking):
            one.setblocking(False)
        self._selector.register(self._waiting, selectors.EVENT_READ)
        self._doorSocket: socket.socket | None = None

    @property
    def exchanges(self) -> list[Exchange]:
        """Requests that are on their way, or wait for their answer."""
        return [one.exchange for one in self.connected if one.exchange]

    def step(self, seconds: float) -> Iterator[Exchange | Refusal | Event]:
        """What came, after waiting for so many seconds at most when nothing is there. Take it all."""
        now = self._clock()
        if now >= self._door.due:
            yield from self._door.open(now)
            self._watchDoor()
        again, self._again = self._again, []
        for connection in again:
            yield from self._feed(connection, b"", now)
        limits = (self._door.due - now, *(one.deadline - now for one in self.connected))
        patience = 0.0 if again else max(0.0, min(seconds, *limits))
        for key, mask in self._selector.select(patience):
            now = self._clock()
            if key.data is not None:
                yield from self._serve(key.data, mask, now)
            elif key.fileobj is self._waiting:
                self._drain()
            else:
                yield from self._welcome(now)
        yield from self._watch(self._clock())

    def answer(self, exchange: Exchange, answer: Answer) -> bool:
        """Answer a request; whether somebody was there to be told."""
        exchange.body.close()
        self.answers[answer.status] += 1
        for connection in self.connected:
            if connection.exchange is exchange:
                connection.exchange = None
                self._say(connection, answer, exchange.head.keepAlive)
                return not connection.lost
        return False

    def wake(self) -> None:
        """End the waiting of step(), from any thread."""
        try:
            self._waking.send(b"w")
        except (BlockingIOError, OSError):
            pass  # it will wake of what is there already, or is closed

    def close(self, farewell: Answer) -> list[Exchange]:
        """Close everything; those whose requests are on the way are told why. Returns these requests."""
        exchanges = self.exchanges
        for connection in self.connected:
            if connection.exchange:
                connection.exchange.body.close()
                self.answers[farewell.status] += 1
                connection.send(farewell.toBytes(False), self._clock())
            connection.link.close()
        self.connected.clear()
        self._again.clear()
        self._door.close()
        self._selector.close()
        self._waiting.close()
        self._waking.close()
        return exchanges

    # ---- the door

    def _watchDoor(self) -> None:
        # A closed socket leaves the selector by itself on some systems only.
        if self._doorSocket is not None and self._door.socket is not self._doorSocket:
            self._forget(self._doorSocket)
            self._doorSocket = None
        if self._door.socket is not None and self._doorSocket is None:
            self._doorSocket = self._door.socket
            self._selector.register(self._doorSocket, selectors.EVENT_READ)

    def _welcome(self, now: float) -> Iterator[Refusal | Event]:
        for one in self._door.take(now):
            if isinstance(one, Event):
                yield one
                continue
            link, name = one
            if len(self.connected) >= MOST + REFUSED:
                link.close()
                yield Refusal(name, 0, "too many programs are connected", None, False)
                continue
            try:
                connection = Connection(link, name, now)
            except OSError:  # it hung up at once
                link.close()
                continue
            full = len(self.connected) >= MOST and not self._makeRoom()
            self.connected.append(connection)
            self._selector.register(link, selectors.EVENT_READ, connection)
            if full:
                words = f"{MOST} programs are connected already: close connections, or keep one and send all over it."
                yield self._refuse(connection, RequestError(503, words), None, False)
        self._watchDoor()

    def _makeRoom(self) -> bool:
        idle = [one for one in self.connected if one.idle and one.left is None]
        if idle:
            self._part(min(idle, key=lambda one: one.heard))
        return bool(idle)

    # ---- the connections

    def _serve(self, connection: Connection, mask: int, now: float) -> Iterator[Exchange | Refusal]:
        if connection not in self.connected:
            return  # it made room for another in this very turn
        if mask & selectors.EVENT_WRITE:
            connection.send(b"", now)
            self._listen(connection)
        taken = 0
        while mask & selectors.EVENT_READ and taken < BURST and not connection.waits and not connection.lost:
            try:
                data = connection.link.recv(PIECE)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                yield from self._cut(connection, f"the connection broke ({error.strerror or error})")
                return
            if not data:
                yield from self._cut(connection, "it closed the connection")
                return
            taken += len(data)
            if connection.left is None:
                connection.heard = now
                yield from self._feed(connection, data, now)
            if connection not in self.connected:
                return

    def _feed(self, connection: Connection, data: bytes, now: float) -> Iterator[Exchange | Refusal]:
        if connection.left is not None or connection.waits or connection not in self.connected:
            return
        if not connection.parser.begun:
            connection.began = now
        head = connection.exchange.head if connection.exchange else None
        answer: Answer | None = None
        try:
            for item in connection.parser.feed(data):
                if isinstance(item, memoryview):
                    assert connection.exchange
                    connection.exchange.body.write(item)
                    if connection.exchange.head.chunked:
                        self._checkRoom()
                    continue
                head = item
                opened = self._open(head)
                if isinstance(opened, Answer):
                    answer = opened
                    if head.hasBody:
                        break  # nobody wants it
                    continue
                connection.exchange = Exchange(connection.name, head, opened)
                self._checkRoom()
                if head.asks and head.hasBody:
                    connection.send(CONTINUE, now)
        except RequestError as error:
            yield self._refuse(connection, error, head, error.status != 401 and head is not None)
            return
        if answer and head:
            self.answers[answer.status] += 1
            self._say(connection, answer, head.keepAlive and not head.hasBody)
        elif connection.waits:
            assert connection.exchange
            self._listen(connection)
            yield connection.exchange

    def _checkRoom(self) -> None:
        size = sum(exchange.body.size for exchange in self.exchanges)
        if size > self._most:
            words = f"{size:,} bytes of images are on their way, more than {self._most:,}: send this one again later."
            raise RequestError(429, words)

    def _say(self, connection: Connection, answer: Answer, keepAlive: bool) -> None:
        now = self._clock()
        connection.served = True
        if keepAlive:
            connection.parser.goOn()
            connection.heard = connection.began = now
            if connection.parser.begun:
                self._again.append(connection)
        else:
            connection.left = now
        connection.send(answer.toBytes(keepAlive), now)
        if connection.lost:
            self._part(connection)
        else:
            self._listen(connection)

    def _refuse(self, connection: Connection, error: RequestError, head: Head | None, known: bool) -> Refusal:
        self._dropBody(connection)
        headers = {401: {"WWW-Authenticate": "Bearer"}, 405: {"Allow": "POST, GET"}}.get(error.status, {})
        if error.status in (429, 503):
            headers = {"Retry-After": "1"}
        self.answers[error.status] += 1
        self._say(connection, Answer(error.status, {"error": str(error)}, headers), keepAlive=False)
        return Refusal(connection.name, error.status, str(error), head, known)

    def _cut(self, connection: Connection, why: str) -> Iterator[Refusal]:
        exchange, begun = connection.exchange, connection.parser.begun
        taking = connection.left is not None
        if not taking and (exchange or begun):
            head = exchange.head if exchange else None
            if connection.out or connection.lost:
                yield Refusal(connection.name, 0, why, head, exchange is not None)
            else:
                # One that only ended its sending may still listen.
                error = RequestError(400, f"In the middle of a request: {why}.")
                yield replace(self._refuse(connection, error, head, exchange is not None), status=0)
        self._part(connection)

    def _watch(self, now: float) -> Iterator[Refusal]:
        for connection in list(self.connected):
            if connection not in self.connected:
                continue
            if connection.lost:
                yield from self._cut(connection, "the connection broke")
            elif now < connection.deadline:
                continue
            elif connection.left is None and not connection.out and (connection.exchange or connection.parser.begun):
                head = connection.exchange.head if connection.exchange else None
                words = "The request did not come to its end in time."
                yield self._refuse(connection, RequestError(408, words), head, head is not None)
            else:
                self._part(connection)

    def _listen(self, connection: Connection) -> None:
        mask = (0 if connection.waits else selectors.EVENT_READ) | (selectors.EVENT_WRITE if connection.out else 0)
        self._forget(connection.link)
        if mask:
            self._selector.register(connection.link, mask, connection)

    def _part(self, connection: Connection) -> None:
        self._dropBody(connection)
        self._forget(connection.link)
        if connection in self.connected:
            self.connected.remove(connection)
        connection.link.close()

    def _dropBody(self, connection: Connection) -> None:
        if connection.exchange:
            connection.exchange.body.close()
            connection.exchange = None

    def _forget(self, link: socket.socket) -> None:
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
