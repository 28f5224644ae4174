"""Non-blocking listener and connector, and the sentences and remedies when no connection comes about."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..Model.Event import Event, Remedy
from ..Model.Files import reasonOf
from ..Model.Text import Text, joined, textsOf
from .Sockets import addressesOf, listenOn, socketError

_ = textsOf(__file__)

RETRY = 1.0
"""Seconds between two attempts to listen or to connect."""
CONNECT_TIME = 1.5
"""Seconds after which a computer that neither accepts nor refuses counts as unreachable."""
ANYWHERE = {4: "0.0.0.0", 6: "::"}
"""Address that listens on all addresses, by the version of IP."""
FREE_PORTS = 1024
"""The first port that programs without administrator rights may use."""
PORTS_TRIED = 100
"""Ports that are tried for the offer of a free one."""

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
    def remedy(self) -> Remedy | None:
        """Other settings with which a connection could come about, None when there are none."""

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


@dataclass(frozen=True)
class Obstacle:
    """Reason why no connection comes about, or none from other computers.

    :param code: for programs: "port-taken", "port-refused", "address-refused", "not-listening", "no-listener",
        "no-answer", "not-connected", "this-computer-only" or "network".
    :param text: sentences for the user.
    :param remedy: settings that help, None when there are none.
    """

    code: str
    text: str
    remedy: Remedy | None = None

    def event(self, level: str, subject: str) -> Event:
        """Return the event that reports the obstacle."""
        text = joined(self.text, _("Retrying every second."))
        return Event(self.code, text, level, subject, remedy=self.remedy)


class Listener:
    """Listener that accepts peers.

    :param host: address to listen on.
    :param port: 0: choose a free port.
    :param allowed: addresses and networks of the peers that may connect; empty: all.
    :param risk: sentence about the peers of an address that other computers reach; ``{peers}`` stands for them.
    :param listen: opens the listening socket at an address and a port, or raises OSError.
    """

    writing = False

    def __init__(
        self,
        host: str,
        port: int,
        allowed: Sequence[str] = (),
        risk: Text | None = None,
        listen: Callable[[str, int], socket.socket] | None = None,
    ) -> None:
        self._host, self.port, self._listen = host, port, listen or listenOn
        self._risk = risk or _("{peers} can send images there.")
        self._allowed = [ipaddress.ip_network(one, strict=False) for one in allowed]
        self._obstacle: Obstacle | None = None
        self._reach = Obstacle("", "")
        self.socket: socket.socket | None = None
        self.due = 0.0

    @property
    def status(self) -> str:
        """State of the listener in words."""
        if self.socket is None:
            address = f"{self._host}:{self.port}"
            text = _("Cannot listen on {address} yet.").format(address=address)
            return joined(text, self._obstacle.text if self._obstacle else "")
        address = f"{self._host}:{self.port}"
        return joined(_("Waiting for a device to connect to {address}.").format(address=address), self.reach)

    @property
    def remedy(self) -> Remedy | None:
        """Another port or address when listening fails, or the address for other computers; None when neither helps."""
        found = self._reach if self.socket is not None else self._obstacle
        return found.remedy if found else None

    @property
    def reach(self) -> str:
        """Sentence about the computers that can connect: this one only, or others and the address for them."""
        return self._reach.text

    @property
    def risk(self) -> str:
        """Warning about an address that other computers reach; empty for an address of this computer alone."""
        if isLoopback(self._host):
            return ""
        return self._risk.format(peers=_("Allowed computers") if self._allowed else _("All computers in the network"))

    def open(self, now: float) -> Iterator[Event]:
        """Start to listen; report each obstacle once."""
        self.due = now + RETRY
        try:
            made = self._listen(self._host, self.port)
        except OSError as error:
            obstacle = whyNotListening(error, self._host, self.port, self._obstacle)
            if obstacle != self._obstacle:
                self._obstacle = obstacle
                yield obstacle.event("error", f"{self._host}:{self.port}")
            return
        self._obstacle, self.due = None, float("inf")
        # Set the port first: other threads read it as soon as there is a socket.
        self.port = made.getsockname()[1]
        self._reach = reachOf(self._host, self.port)
        self.socket = made
        text = _("Listening on {host}, port {port}.").format(host=self._host, port=self.port)
        level = "warning" if self.risk else "info"
        yield Event("listening", joined(text, self.risk), level, f"{self._host}:{self.port}")

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
                text = _("No further connection is possible: {reason}.").format(reason=reasonOf(error))
                yield Event("not-listening", text, "error")
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
        text = _("Connection from {name} refused: it is not among the allowed computers.").format(name=name)
        host = str(address[0])
        remedy = Remedy(_("Allow {host}").format(host=host), {"allowed": [*map(str, self._allowed), host]})
        return Event("peer-refused", text, "warning", name, remedy=remedy)

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
        self._obstacle: Obstacle | None = None
        self._addresses: list[tuple[int, tuple[Any, ...]]] = []
        self.socket: socket.socket | None = None
        self._connected = False
        self.due = 0.0

    @property
    def status(self) -> str:
        """State of the connector in words."""
        text = _("Connecting to {name}.").format(name=self.name)
        return joined(text, self._obstacle.text if self._obstacle else "")

    @property
    def remedy(self) -> Remedy | None:
        """Settings that help to connect, None when there are none."""
        return self._obstacle.remedy if self._obstacle else None

    def open(self, now: float) -> Iterator[Event]:
        """Start to connect; report each obstacle once."""
        if self.socket is not None:
            self.close()
            yield from self._report(socketError(errno.ETIMEDOUT))
        try:
            if not self._addresses:
                self._addresses = addressesOf(self._host, self._port)
            family, address = self._addresses.pop(0)
            # A name with several addresses: try the next one soon.
            self.due = now + (CONNECT_TIME if not self._addresses else 0.3)
            connection = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            self.due = now + RETRY
            yield from self._report(error)
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
        self._obstacle, self._addresses, self.due = None, [], float("inf")
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
        yield from self._report(socketError(code))

    def _report(self, error: OSError) -> Iterator[Event]:
        obstacle = whyNotConnected(error, self._host, self._port)
        if obstacle != self._obstacle:
            self._obstacle = obstacle
            yield obstacle.event("warning", self.name)


# ---- obstacles


def whyNotListening(error: OSError, host: str, port: int, before: Obstacle | None = None) -> Obstacle:
    """Return the reason why this computer cannot listen, with an offer that helps.

    :param before: the obstacle of the last attempt; its offer of a free port stays.
    """
    if error.errno in (errno.EADDRINUSE, getattr(errno, "WSAEADDRINUSE", -1)):
        text = _("Port {port} is in use by another program. Close that program, or choose another port.")
        return _withFreePort("port-taken", text.format(port=port), host, port + 1, before)
    if error.errno in (errno.EACCES, errno.EPERM):
        text = _("Port {port} is reserved by the system. Choose another port.")
        if port < FREE_PORTS:
            text = _("Port {port} is reserved by the system. Choose a port above 1024.")
        return _withFreePort("port-refused", text.format(port=port), host, port + 10_000, before)
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        text = _("This computer has no address {host}.").format(host=host)
        own = ", ".join(networkAddresses())
        text = joined(text, _("In the network it is {addresses}.").format(addresses=own) if own else "")
        return Obstacle("address-refused", text, _allowNetwork(host))
    text = _("Listening on {host}:{port} failed: {reason}.")
    reason = reasonOf(error)
    return Obstacle("not-listening", text.format(host=host, port=port, reason=reason))


def whyNotConnected(error: OSError, host: str, port: int) -> Obstacle:
    """Return the reason why a peer cannot be reached.

    :param error: TimeoutError when the peer does not answer.
    """
    name = f"{host}:{port}"
    reason = reasonOf(error)
    if isinstance(error, socket.gaierror):
        text = _("{host} cannot be found ({reason}). Check the name or address, and the network.")
        return Obstacle("address-refused", text.format(host=host, reason=reason))
    if isinstance(error, TimeoutError):
        text = _("{name} does not answer. Is it switched on? Does its firewall allow this port?")
        return Obstacle("no-answer", text.format(name=name))
    if error.errno in (errno.ECONNREFUSED, getattr(errno, "WSAECONNREFUSED", -1)):
        return Obstacle("no-listener", _("Connection refused by {name}. Is the server running?").format(name=name))
    text = _("{name} cannot be reached: {reason}. Check the address and the network cable.")
    return Obstacle("not-connected", text.format(name=name, reason=reason))


def reachOf(host: str, port: int) -> Obstacle:
    """Return which computers reach an address on which this computer listens; the offer allows the network."""
    own = ", ".join(networkAddresses())
    if isLoopback(host):
        text: Text = _("Only programs on this computer can connect.")
        if own:
            more = _("Others need the network: {addresses}, port {port}, if the firewall agrees.")
            text = joined(text, more.format(addresses=own, port=port), _firewall())
        return Obstacle("this-computer-only", text, _allowNetwork(host))
    if host in ANYWHERE.values():
        host = own or host
    text = _("Other computers reach it at {addresses}, port {port}, if the firewall agrees.")
    return Obstacle("network", joined(text.format(addresses=host, port=port), _firewall()))


def _firewall() -> str:
    # The firewalls of Windows and macOS allow programs, and Slicer's Python is a program of its own.
    if sys.platform not in ("win32", "darwin"):
        return ""
    return _("The firewall calls this program {program}.").format(program=os.path.basename(sys.executable))


def networkAddresses() -> list[str]:
    """Return the addresses of this computer in its networks; empty without a network. No name server is asked."""
    found: dict[str, None] = {}
    # Connecting a datagram socket sends nothing: the system only chooses the way, and with it the own address.
    for far in ("192.0.2.1", "10.254.254.254", "172.31.254.254", "192.168.254.254", "169.254.254.254"):
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.connect((far, 9))
                found[probe.getsockname()[0]] = None
        except OSError:
            continue  # no route to that network
    return [one for one in found if not isLoopback(one) and one != ANYWHERE[4]]


def _allowNetwork(host: str) -> Remedy:
    return Remedy(_("Allow the network"), {"host": ANYWHERE[6 if ":" in host else 4]})


def _withFreePort(code: str, text: str, host: str, first: int, before: Obstacle | None) -> Obstacle:
    if before and (before.code, before.text) == (code, text):
        return before
    for port in range(first, min(first + PORTS_TRIED, 65536)):
        try:
            listenOn(host, port).close()
        except OSError:
            continue
        return Obstacle(code, text, Remedy(_("Use port {port}").format(port=port), {"port": port}))
    return Obstacle(code, text)


def _isItself(connection: socket.socket) -> bool:
    try:
        return bool(connection.getsockname() == connection.getpeername())
    except OSError:
        return False


def isLoopback(host: str) -> bool:
    """Return True for an address that only this computer reaches."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def nameOf(address: tuple[object, ...]) -> str:
    """Return the address and the port of a peer as text."""
    host = str(address[0])
    return f"[{host}]:{address[1]}" if ":" in host else f"{host}:{address[1]}"


def hostOf(name: str) -> str:
    """Return the address in the text of :func:`nameOf`, without the port."""
    return name.rpartition(":")[0]
