"""HTTP server with a thread for each connection: it receives requests and sends answers.

The handler threads hand complete requests to the source through :attr:`Server.arrivals`, and wait for its answers.
"""

from __future__ import annotations

import io
import logging
import math
import queue
import selectors
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ...Model.Errors import RequestError
from ...Model.Event import Event
from ...Model.Files import reasonOf
from ...Model.Text import textsOf
from ..Endpoints import Listener
from .Request import Answer, Body, Head, RequestReader

_ = textsOf(__file__)

FIRST = 10.0
"""Seconds for the head of a request, and for the first request to begin."""
IDLE = 60.0
"""Seconds without a request after which the server closes a connection."""
STALLED = 10.0
"""Seconds without progress of a body, or of an answer, after which the server closes the connection."""
LEAST_RATE = 10_000
"""Bytes per second at which a body must arrive on average, after the first PATIENCE seconds.

Two ISDN channels carry 16,000. A sender that trickles would hold one of MOST connections, and its image's memory."""
PATIENCE = 60.0
"""Seconds for a body in addition to those for its bytes: the deadline is PATIENCE + arrived bytes / LEAST_RATE."""
LINGER = 2.0
"""Seconds to discard further bytes after the last answer: closing at once resets the connection, and the sender may
lose the answer."""
TICK = 0.2
"""Seconds after which a waiting thread checks its deadline, and whether the server stops."""
GRACE = 2.0
"""Seconds for the answers of a server that stops."""
MOST = 128
"""Connections at once. One more replaces an idle connection, or is refused with an answer. The connection with the
longest idle time is replaced, of a known sender only without an idle connection of unknown ones."""
REFUSED = 32
"""Connections above this limit that receive this answer; more are closed without one."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
STOPPING = _("The source is stopping; the image was not received.")
TOO_SLOW = _("The body arrived too slowly: after {seconds} s, at least {rate} kB/s on average are expected.")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Refusal:
    """A request that was refused or cut off before it was complete.

    :param sender: address and port, for people.
    :param status: of the answer; 0 for a connection that was cut.
    :param head: None when it could not be read.
    :param known: the sender has the token, and is no web page that is not allowed.
    """

    sender: str
    status: int
    reason: str
    head: Head | None
    known: bool


class Exchange:
    """A request and its answer.

    :param sender: address and port, for people.
    :param body: None for a request without one.
    """

    def __init__(self, sender: str, head: Head, body: Body | None) -> None:
        self.sender, self.head, self.body = sender, head, body
        self.receiveTime = 0.0
        """Seconds since the epoch at which the request was complete."""
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()

    def answer(self, answer: Answer) -> None:
        """Send an answer, once."""
        if self.body:
            self.body.close()
        self._answers.put(answer)

    def wait(self) -> Answer:
        """Wait for the answer."""
        return self._answers.get()


class Connection(io.RawIOBase):
    """Bytes from a connected socket; reading fails at a deadline.

    :param link: the socket, with :data:`TICK` as its timeout.
    :param name: address and port, for people.
    :param full: the server has enough connections and refuses this one.
    :param clock: monotonic seconds.
    """

    def __init__(self, link: socket.socket, name: str, full: bool, clock: Callable[[], float]) -> None:
        self.link, self.name, self.full, self._clock = link, name, full, clock
        self.exchange: Exchange | None = None
        """The request whose body arrives, or waits for its answer."""
        self.idle, self.ended = True, False
        self.known = False
        """Whether a request with the token has come."""
        self._renewal = self._began = 0.0
        self.allow(FIRST)

    def allow(self, seconds: float) -> None:
        """Set the deadline."""
        self.heard = self._clock()
        self.deadline, self._renewal, self._bodyDeadline = self.heard + seconds, 0.0, math.inf

    def allowBody(self) -> None:
        """Set the deadlines of a body: STALLED begins again whenever bytes arrive, see also LEAST_RATE and PATIENCE."""
        self.allow(STALLED)
        self._renewal, self._began = STALLED, self.heard
        self.arrived(0)

    def arrived(self, size: int) -> None:
        """Give a body more time.

        :param size: bytes of the body that have arrived.
        """
        self._bodyDeadline = self._began + PATIENCE + size / LEAST_RATE

    def end(self) -> None:
        """Let the thread of this connection end."""
        self.ended = True
        try:
            self.link.shutdown(socket.SHUT_RD)
        except OSError:
            pass  # it is closed already

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, memory: Any) -> int:
        """Receive bytes; return 0 at the end of the connection.

        :raises TimeoutError: the deadline has passed.
        :raises OSError: the connection broke.
        :raises RequestError: the body arrives too slowly, or the server stops.
        """
        while not self.ended and self._clock() < min(self.deadline, self._bodyDeadline):
            try:
                count = self.link.recv_into(memory)
            except TimeoutError:
                continue
            if self.ended:
                break
            self.heard = self._clock()
            if self._renewal:
                self.deadline = self.heard + self._renewal
            return count
        if self.ended:
            raise RequestError(503, STOPPING)
        if self._clock() >= self._bodyDeadline:
            raise RequestError(408, TOO_SLOW.format(seconds=f"{PATIENCE:.0f}", rate=f"{LEAST_RATE // 1000}"))
        raise TimeoutError


class Handler(BaseHTTPRequestHandler):
    """Serves one connection in a thread of its own."""

    server: Server
    timeout = TICK
    disable_nagle_algorithm = True

    def setup(self) -> None:
        """Prepare to read."""
        super().setup()
        self._link = self.server.connectionOf(self.request)
        self._reader = RequestReader(self._link)

    def handle(self) -> None:
        """Serve requests until the connection ends."""
        try:
            if self._link.full:
                reason = _("{count} connections are open already: close some, or send all images over one.")
                self._refuse(RequestError(503, reason.format(count=MOST)), None)
            else:
                super().handle()
        except OSError:
            pass  # the sender has disconnected, and no request is open

    def handle_one_request(self) -> None:
        """Receive a request and answer it."""
        self.close_connection = True
        try:
            if not self._reader.begins():
                return
        except RequestError:
            return
        self._link.idle = False
        self._link.allow(FIRST)
        head: Head | None = None
        try:
            head = self._reader.head()
            self._serve(head)
        except RequestError as error:
            if head or not self._link.ended:
                self._refuse(error, head)
        except TimeoutError:
            self._refuse(RequestError(408, _("The request was not complete in time.")), head)
        except EOFError:
            # The sender may have closed its sending direction only.
            self._refuse(RequestError(400, _("The sender closed the connection within a request.")), head, status=0)
        except OSError as error:
            self._dropBody()
            reason = _("the connection broke ({reason})").format(reason=reasonOf(error))
            self.server.arrivals.put(Refusal(self._link.name, 0, reason, head, head is not None))

    def _serve(self, head: Head) -> None:
        body = self.server.open(head)
        self._link.known = True
        exchange = Exchange(self._link.name, head, body)
        if body:
            self.server.begin(self._link, exchange)
            if head.asks and head.hasBody:
                self.wfile.write(CONTINUE)
            self._link.allowBody()
            size = 0
            for count in self._reader.receive(head, body):
                size += count
                self._link.arrived(size)
                if head.chunked:
                    self.server.checkRoom()
        exchange.receiveTime = time.time()
        self.server.arrivals.put(exchange)
        answer = exchange.wait()
        self._link.exchange = None
        # Not read: the body of a request that has no use for one.
        unread = head.hasBody and not body
        try:
            self._send(answer, head, head.keepAlive and not unread and not self._link.ended)
        except OSError:
            self.close_connection = True
            if "numbers" in answer.values:
                text = _("{name} disconnected before its acknowledgement; the image was received.")
                text = text.format(name=self._link.name)
                self.server.arrivals.put(Event("not-told", text, "warning", self._link.name))

    def _refuse(self, error: RequestError, head: Head | None, status: int | None = None) -> None:
        """Report a refusal, answer it, and end the connection.

        :param status: for the report, when it differs from that of the answer.
        """
        self._dropBody()
        known = head is not None and error.status not in (401, 403)
        reported = error.status if status is None else status
        self.server.arrivals.put(Refusal(self._link.name, reported, str(error), head, known))
        self._send(Answer.refusing(error), head, keepAlive=False)

    def _send(self, answer: Answer, head: Head | None, keepAlive: bool) -> None:
        self.server.count(answer)
        more = self.server.headers(head) if head else {}
        self.close_connection = not keepAlive
        self.connection.settimeout(STALLED)
        self.wfile.write(answer.toBytes(keepAlive, more, head is not None and head.method == "HEAD"))
        self.connection.settimeout(TICK)
        if keepAlive:
            self._link.idle = True
            self._link.allow(IDLE)
            return
        self._link.allow(LINGER)
        memory = bytearray(1 << 16)
        try:
            self.connection.shutdown(socket.SHUT_WR)
            while self._link.readinto(memory):
                pass
        except (OSError, RequestError):
            pass  # enough was discarded, or the sender has the answer and has disconnected

    def _dropBody(self) -> None:
        if self._link.exchange and self._link.exchange.body:
            self._link.exchange.body.close()
        self._link.exchange = None


class Server(ThreadingHTTPServer):
    """Accepts connections and serves them until :meth:`stop`.

    :param listener: opens the port and accepts; used in one thread of the server.
    :param open_: decides on a head in the thread of its connection: returns the body to fill, None when there is none,
        or raises RequestError.
    :param headers: returns further header fields of the answer to a head.
    :param most: bytes of all bodies received or announced at once; one more is refused.
    :param clock: monotonic seconds.
    """

    def __init__(
        self,
        listener: Listener,
        open_: Callable[[Head], Body | None],
        headers: Callable[[Head], dict[str, str]],
        most: int,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(("", 0), Handler, bind_and_activate=False)
        super().server_close()  # the listener has its own socket
        self.open, self.headers, self._listener, self._most, self._clock = open_, headers, listener, most, clock
        self.arrivals: queue.SimpleQueue[Exchange | Refusal | Event | None] = queue.SimpleQueue()
        """Complete requests that wait for an answer, refusals, and events; None only wakes the reader."""
        self.answers: Counter[int] = Counter()
        """Number of answers by status."""
        self._connections: dict[socket.socket, Connection] = {}
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._accept, name="http", daemon=True)
        self._thread.start()

    @property
    def connected(self) -> list[Connection]:
        """Open connections."""
        with self._lock:
            return list(self._connections.values())

    @property
    def exchanges(self) -> list[Exchange]:
        """Requests whose body arrives, or waits for its answer."""
        return [one.exchange for one in self.connected if one.exchange]

    def connectionOf(self, link: socket.socket) -> Connection:
        """Return the connection of a socket."""
        return self._connections[link]

    def begin(self, connection: Connection, exchange: Exchange) -> None:
        """Register a request with a body.

        :raises RequestError: there are too many bytes at once.
        """
        with self._lock:
            connection.exchange = exchange
            self.checkRoom()

    def checkRoom(self) -> None:
        """Raise RequestError when there are too many bytes at once."""
        size = sum(one.body.size for one in self.exchanges if one.body)
        if size > self._most:
            reason = _("{size:,} bytes of images arrive at once, the limit is {limit:,}: retry later.")
            raise RequestError(429, reason.format(size=size, limit=self._most))

    def count(self, answer: Answer) -> None:
        """Count an answer."""
        with self._lock:
            self.answers[answer.status] += 1

    def stop(self) -> None:
        """Close the port, and let all connections end."""
        self._stopping.set()
        self._thread.join(GRACE)
        self._listener.close()
        for one in self.connected:
            one.end()

    def cut(self) -> None:
        """Close the connections that have not ended by themselves."""
        for one in self.connected:
            try:
                one.link.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has just ended

    # ---- in the accepting thread

    def _accept(self) -> None:
        while not self._stopping.is_set():
            if self._clock() >= self._listener.due:
                for event in self._listener.open(self._clock()):
                    self.arrivals.put(event)
            if self._listener.socket is None:
                self._stopping.wait(TICK)
                continue
            try:
                with selectors.DefaultSelector() as selector:
                    selector.register(self._listener.socket, selectors.EVENT_READ)
                    ready = bool(selector.select(TICK))
            except OSError:  # no free descriptors: accepting reports it
                self._stopping.wait(TICK)
                ready = True
            for one in self._listener.take(self._clock()) if ready else ():
                if isinstance(one, Event):
                    self.arrivals.put(one)
                else:
                    self.process_request(*one)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start the thread of a connection.

        :param client_address: address and port, for people.
        """
        with self._lock:
            live = [one for one in self._connections.values() if not one.ended]
            idle = [one for one in live if one.idle and not one.full]
            if len(live) >= MOST and idle:
                oldest = min(idle, key=lambda one: (one.known, one.heard))
                oldest.end()
                live.remove(oldest)
            possible = len(live) < MOST + REFUSED
            if possible:
                self._connections[request] = Connection(request, client_address, len(live) >= MOST, self._clock)
        try:
            if possible:
                super().process_request(request, client_address)
                return
        except RuntimeError:
            log.warning("No thread for a connection", exc_info=True)
        self.arrivals.put(Refusal(client_address, 0, _("too many programs are connected"), None, False))
        self.shutdown_request(request)

    # ---- in the thread of a connection

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        super().shutdown_request(request)
        with self._lock:
            self._connections.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log an unexpected error of a connection, but not its end."""
        if not isinstance(sys.exc_info()[1], OSError):
            log.exception("The connection of %s failed", client_address)
