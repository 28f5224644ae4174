"""How connections come about: one listens, the other dials. Neither waits."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from typing import Protocol

from ..Model.Event import Event

RETRY = 1.0
"""Seconds from one try to listen or to connect to the next."""
CONNECT_TIME = 1.5
"""Seconds for a computer to answer that does not even refuse."""
BACKLOG = 128

Connected = tuple[socket.socket, str]
"""A socket and the peer's address with its port, for people."""


class Endpoint(Protocol):
    """Where connections come from."""

    due: float
    """When :meth:`open` is to be called next, monotonic seconds; infinite while that is not needed."""

    @property
    def status(self) -> str:
        """What is waited for, in words."""

    @property
    def socket(self) -> socket.socket | None:
        """To wait for: until it can be written to by one that dials, until it can be read by one that listens."""

    writing: bool

    def open(self, now: float) -> Iterator[Event]:
        """Begin to listen or to dial."""

    def take(self, now: float) -> Iterator[Connected | Event]:
        """The socket is ready: what has come about."""

    def lost(self, now: float) -> None:
        """A connection ended."""

    def close(self) -> None:
        """No more of them."""


class Listener:
    """Accepts peers.

    :param host: address to listen on.
    :param port: 0 takes a free one.
    :param allowed: addresses and networks of the peers that may connect; empty: all.
    :param deed: what those who reach the port can do, for the warning.
    """

    writing = False

    def __init__(self, host: str, port: int, allowed: Sequence[str] = (), deed: str = "send images there") -> None:
        self._host, self.port, self._deed = host, port, deed
        self._allowed = [ipaddress.ip_network(one, strict=False) for one in allowed]
        self._told = ""
        self.socket: socket.socket | None = None
        self.due = 0.0

    @property
    def status(self) -> str:
        """What is waited for."""
        if self.socket is None:
            return f"Cannot listen on {self._host}:{self.port} yet. {self._told}".strip()
        return f"Waits for a device to connect to {self._host}:{self.port}."

    def open(self, now: float) -> Iterator[Event]:
        """Listen; what prevents it is told once."""
        self.due = now + RETRY
        try:
            made = _listen(self._host, self.port)
        except OSError as error:
            code, text = _whyNotListening(error, self._host, self.port)
            if text != self._told:
                self._told = text
                yield Event(code, f"{text} It is tried again every second.", "error", f"{self._host}:{self.port}")
            return
        self._told, self.due = "", float("inf")
        # Other threads take the socket for a sign that the port is known.
        self.port, self.socket = made.getsockname()[1], made
        who = "Those that are let in" if self._allowed else "Everybody in the network"
        reach = "" if _isLoopback(self._host) else f" {who} can {self._deed}."
        text = f"Listening on {self._host}, port {self.port}.{reach}"
        yield Event("listening", text, "warning" if reach else "info", f"{self._host}:{self.port}")

    def take(self, now: float) -> Iterator[Connected | Event]:
        """Those who wait to be connected."""
        while self.socket is not None:
            try:
                connection, address = self.socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # Out of descriptors: those who wait go on waiting, and the loop must not spin.
                self.close()
                self.due = now + RETRY
                yield Event("not-listening", f"No more connections are possible: {error.strerror}.", "error")
                return
            name = _nameOf(address)
            if self._allowed and not self._isAllowed(address[0]):
                connection.close()
                text = f"{name} wanted to connect, and is not among the allowed peers."
                yield Event("peer-refused", text, "warning", name)
            else:
                yield connection, name

    def lost(self, now: float) -> None:
        """Goes on listening."""

    def close(self) -> None:
        """Listen no more."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def _isAllowed(self, host: str) -> bool:
        address = ipaddress.ip_address(host.split("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        return any(one in network for one in (address, mapped) if one for network in self._allowed)


class Connector:
    """Connects to one peer, and again when the connection ends.

    :param host: name or address.
    :param port: its port.
    """

    writing = True

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self.name = f"{host}:{port}"
        self._told = ""
        self._addresses: list[tuple[int, tuple[object, ...]]] = []
        self.socket: socket.socket | None = None
        self._connected = False
        self.due = 0.0

    @property
    def status(self) -> str:
        """What is waited for."""
        return f"Connects to {self.name}. {self._told}".strip()

    def open(self, now: float) -> Iterator[Event]:
        """Dial; what went wrong is told once."""
        if self.socket is not None:
            self.close()
            yield from self._tell("no-answer", f"{self.name} does not answer: is it on, and does its firewall let us?")
        try:
            if not self._addresses:
                found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
                self._addresses = [(family, address) for family, _, _, _, address in found]
            family, address = self._addresses.pop(0)
            # With several addresses of one name, the next one has its turn at once.
            self.due = now + (CONNECT_TIME if not self._addresses else 0.3)
            connection = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            self.due = now + RETRY
            yield from self._tell("address-refused", f"{self.name} cannot be found: {error.strerror or error}.")
            return
        connection.setblocking(False)
        code = connection.connect_ex(address)
        if code in (0, errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", 0)):
            self.socket = connection
            return
        connection.close()
        yield from self._refused(code, now)

    def take(self, now: float) -> Iterator[Connected | Event]:
        """The call was answered."""
        if self.socket is None:
            return
        connection, self.socket = self.socket, None
        code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code == 0 and _isItself(connection):
            # TCP connects a port without a listener to itself when the system chose it as our own.
            code = errno.ECONNREFUSED
        if code:
            connection.close()
            yield from self._refused(code, now)
            return
        self._told, self._addresses, self.due = "", [], float("inf")
        yield connection, self.name

    def lost(self, now: float) -> None:
        """Dial again."""
        self.due = now + RETRY / 2

    def close(self) -> None:
        """Hang up a call that was not answered."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def _refused(self, code: int, now: float) -> Iterator[Event]:
        if not self._addresses:
            self.due = now + RETRY
        if code == errno.ECONNREFUSED or code == getattr(errno, "WSAECONNREFUSED", -1):
            yield from self._tell("no-listener", f"Connection refused by {self.name}. Is the server running?")
        else:
            yield from self._tell("not-connected", f"{self.name} cannot be reached: {os.strerror(code)}.")

    def _tell(self, code: str, text: str) -> Iterator[Event]:
        if text != self._told:
            self._told = text
            yield Event(code, f"{text} It is tried again every second.", "warning", self.name)


def _listen(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform == "win32":
            # There SO_REUSEADDR would let two programs have one port.
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


def _whyNotListening(error: OSError, host: str, port: int) -> tuple[str, str]:
    if error.errno in (errno.EADDRINUSE, getattr(errno, "WSAEADDRINUSE", -1)):
        return "port-taken", f"Port {port} is taken by another program: close it, or choose another port."
    if error.errno in (errno.EACCES, errno.EPERM):
        return "port-refused", f"Port {port} is not allowed: choose one above 1024."
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return "address-refused", f"This computer has no address {host}."
    return "not-listening", f"{host}:{port} cannot be listened on: {error.strerror or error}."


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


def _nameOf(address: tuple[object, ...]) -> str:
    host = str(address[0])
    return f"[{host}]:{address[1]}" if ":" in host else f"{host}:{address[1]}"
