"""Non-blocking listener and connector."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from ..Model.Event import Event
from ..Model.Files import reasonOf

RETRY = 1.0
"""Seconds between two attempts to listen or to connect."""
CONNECT_TIME = 1.5
"""Seconds after which a computer that neither accepts nor refuses counts as unreachable."""
BACKLOG = 128

Connected = tuple[socket.socket, str]
"""A socket, and the peer's address with its port as text."""


class Endpoint(Protocol):
    """Origin of connections: a listener or a connector."""

    due: float
    """Time of the next call of :meth:`open`, monotonic seconds; infinite while none is needed."""

    @property
    def status(self) -> str:
        """State of the endpoint in words."""

    @property
    def socket(self) -> socket.socket | None:
        """Socket to select on: for writing while connecting, for reading while listening."""

    writing: bool

    def open(self, now: float) -> Iterator[Event]:
        """Start to listen or to connect."""

    def take(self, now: float) -> Iterator[Connected | Event]:
        """Yield new connections and events; call it when the socket is ready."""

    def lost(self, now: float) -> None:
        """Note the end of a connection."""

    def close(self) -> None:
        """Stop listening or connecting."""


class Listener:
    """Listener that accepts peers.

    :param host: address to listen on.
    :param port: 0: choose a free port.
    :param allowed: addresses and networks of the peers that may connect; empty: all.
    :param risk: what a peer can do, for the warning about open ports.
    :param listen: opens the listening socket at an address and a port, or raises OSError.
    """

    writing = False

    def __init__(
        self,
        host: str,
        port: int,
        allowed: Sequence[str] = (),
        risk: str = "send images there",
        listen: Callable[[str, int], socket.socket] | None = None,
    ) -> None:
        self._host, self.port, self._risk, self._listen = host, port, risk, listen or listenOn
        self._allowed = [ipaddress.ip_network(one, strict=False) for one in allowed]
        self._reported = ""
        self.socket: socket.socket | None = None
        self.due = 0.0

    @property
    def status(self) -> str:
        """State of the listener in words."""
        if self.socket is None:
            return f"Cannot listen on {self._host}:{self.port} yet. {self._reported}".strip()
        return f"Waiting for a device to connect to {self._host}:{self.port}."

    def open(self, now: float) -> Iterator[Event]:
        """Start to listen; report each obstacle once."""
        self.due = now + RETRY
        try:
            made = self._listen(self._host, self.port)
        except OSError as error:
            code, text = _listeningProblem(error, self._host, self.port)
            if text != self._reported:
                self._reported = text
                yield Event(code, f"{text} Retrying every second.", "error", f"{self._host}:{self.port}")
            return
        self._reported, self.due = "", float("inf")
        # Set the port first: other threads read it as soon as there is a socket.
        self.port, self.socket = made.getsockname()[1], made
        peers = "Allowed computers" if self._allowed else "All computers in the network"
        reach = "" if _isLoopback(self._host) else f" {peers} can {self._risk}."
        text = f"Listening on {self._host}, port {self.port}.{reach}"
        yield Event("listening", text, "warning" if reach else "info", f"{self._host}:{self.port}")

    def take(self, now: float) -> Iterator[Connected | Event]:
        """Accept the waiting peers, and refuse those that are not allowed."""
        while self.socket is not None:
            try:
                connection, address = self.socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # No free descriptors: waiting peers keep waiting, and the loop must not spin.
                self.close()
                self.due = now + RETRY
                yield Event("not-listening", f"No further connection is possible: {reasonOf(error)}.", "error")
                return
            if refusal := self.refusal(address):
                connection.close()
                yield refusal
            else:
                yield connection, nameOf(address)

    def refusal(self, address: tuple[Any, ...]) -> Event | None:
        """Return the event for a peer that is not allowed to connect, or None for an allowed peer."""
        name = nameOf(address)
        if not self._allowed or self._isAllowed(address[0]):
            return None
        text = f"Connection from {name} refused: it is not among the allowed computers."
        return Event("peer-refused", text, "warning", name)

    def lost(self, now: float) -> None:
        """Keep listening."""

    def close(self) -> None:
        """Stop listening."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def _isAllowed(self, host: str) -> bool:
        address = ipaddress.ip_address(host.split("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        return any(one in network for one in (address, mapped) if one for network in self._allowed)


class Connector:
    """Connector to one peer. It connects again when the connection ends.

    :param host: name or address.
    :param port: port of the peer.
    """

    writing = True

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self.name = f"{host}:{port}"
        self._reported = ""
        self._addresses: list[tuple[int, tuple[object, ...]]] = []
        self.socket: socket.socket | None = None
        self._connected = False
        self.due = 0.0

    @property
    def status(self) -> str:
        """State of the connector in words."""
        return f"Connecting to {self.name}. {self._reported}".strip()

    def open(self, now: float) -> Iterator[Event]:
        """Start to connect; report each obstacle once."""
        if self.socket is not None:
            self.close()
            yield from self._report(
                "no-answer", f"{self.name} does not answer. Is it switched on? Does its firewall allow this port?"
            )
        try:
            if not self._addresses:
                found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
                self._addresses = [(family, address) for family, _, _, _, address in found]
            family, address = self._addresses.pop(0)
            # A name with several addresses: try the next one soon.
            self.due = now + (CONNECT_TIME if not self._addresses else 0.3)
            connection = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            self.due = now + RETRY
            yield from self._report("address-refused", f"{self.name} cannot be found: {reasonOf(error)}.")
            return
        connection.setblocking(False)
        code = connection.connect_ex(address)
        if code in (0, errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", 0)):
            self.socket = connection
            return
        connection.close()
        yield from self._refused(code, now)

    def take(self, now: float) -> Iterator[Connected | Event]:
        """Yield the connection that was established, or report why it was not."""
        if self.socket is None:
            return
        connection, self.socket = self.socket, None
        code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code == 0 and _isItself(connection):
            # TCP connects a port to itself when no program listens there and the system chose it as the local port.
            code = errno.ECONNREFUSED
        if code:
            connection.close()
            yield from self._refused(code, now)
            return
        self._reported, self._addresses, self.due = "", [], float("inf")
        yield connection, self.name

    def lost(self, now: float) -> None:
        """Connect again soon."""
        self.due = now + RETRY / 2

    def close(self) -> None:
        """Drop a connection that is not established yet."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def _refused(self, code: int, now: float) -> Iterator[Event]:
        if not self._addresses:
            self.due = now + RETRY
        if code == errno.ECONNREFUSED or code == getattr(errno, "WSAECONNREFUSED", -1):
            yield from self._report("no-listener", f"Connection refused by {self.name}. Is the server running?")
        else:
            yield from self._report("not-connected", f"{self.name} cannot be reached: {os.strerror(code)}.")

    def _report(self, code: str, text: str) -> Iterator[Event]:
        if text != self._reported:
            self._reported = text
            yield Event(code, f"{text} Retrying every second.", "warning", self.name)


def listenOn(host: str, port: int) -> socket.socket:
    """Return a non-blocking socket that listens on an address and a port (0: a free one).

    :raises OSError: the address is unknown or the port is taken.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform == "win32":
            # On Windows, SO_REUSEADDR would let two programs share one port.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setblocking(False)
        made.bind(address)
        made.listen(BACKLOG)
    except OSError:
        made.close()
        raise
    return made


def _listeningProblem(error: OSError, host: str, port: int) -> tuple[str, str]:
    if error.errno in (errno.EADDRINUSE, getattr(errno, "WSAEADDRINUSE", -1)):
        return "port-taken", f"Port {port} is in use by another program. Close that program, or choose another port."
    if error.errno in (errno.EACCES, errno.EPERM):
        return "port-refused", f"Port {port} is reserved. Choose a port above 1024."
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return "address-refused", f"This computer has no address {host}."
    return "not-listening", f"Listening on {host}:{port} failed: {reasonOf(error)}."


def _isItself(connection: socket.socket) -> bool:
    try:
        return bool(connection.getsockname() == connection.getpeername())
    except OSError:
        return False


def _isLoopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def nameOf(address: tuple[object, ...]) -> str:
    """Return the address and the port of a peer as text."""
    host = str(address[0])
    return f"[{host}]:{address[1]}" if ":" in host else f"{host}:{address[1]}"
