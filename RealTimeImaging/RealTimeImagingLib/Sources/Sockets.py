"""Sockets that behave alike on Linux, macOS and Windows."""

from __future__ import annotations

import ctypes
import math
import os
import socket
import sys
from typing import Any

from ..Model.Text import textsOf

_ = textsOf(__file__)

BACKLOG = 128
IDLE, INTERVAL, PROBES = 2, 1, 3
"""TCP keep-alive: seconds without a byte before the first probe, seconds between probes, and unanswered probes after
which the connection counts as broken."""
BUFFER = 4 << 20
"""Receive buffer of a socket in bytes, for the time in which a frame is stored. Linux chooses a larger size
by itself than programs may request on most computers."""
_GIVE_UP = {"win32": 5, "darwin": 0x80}
"""Options in seconds that Python does not name: TCP_MAXRT (ws2ipdef.h), TCP_RXT_CONNDROPTIME (netinet/tcp.h)."""


def addressesOf(host: str, port: int, flags: int = 0) -> list[tuple[int, tuple[Any, ...]]]:
    """Return the family and address of each TCP socket that a name and a port stand for.

    :raises OSError: the address is unknown, or no name can have this form.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except UnicodeError as error:
        # Python refuses to encode a name with an empty part, as in "192.168.0..10".
        raise socket.gaierror(socket.EAI_NONAME, _("it is neither a name nor an address")) from error
    return [(one[0], one[4]) for one in found]


def listenOn(host: str, port: int) -> socket.socket:
    """Return a non-blocking socket that listens on an address and a port (0: a free one).

    A name with several addresses listens on its first IPv4 address. ``::`` listens on all addresses of both kinds.

    :raises OSError: the address is unknown or the port is taken.
    """
    # Windows and macOS give ::1 first for "localhost", where a sender to 127.0.0.1 is refused.
    found = addressesOf(host, port, socket.AI_PASSIVE)
    family, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        if address[0] == "::":
            # On Windows, only IPv6 senders could connect otherwise.
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
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


def keepAlive(connection: socket.socket) -> None:
    """Enable TCP keep-alive: a peer with an unplugged cable is silent, and only a probe detects that."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if sys.platform != "linux":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "win32":
        connection.ioctl(socket.SIO_KEEPALIVE_VALS, (1, 1000 * IDLE, 1000 * INTERVAL))
        return
    # macOS has another name for the first option.
    idle = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", None))
    for option, value in ((idle, IDLE), (getattr(socket, "TCP_KEEPINTVL", None), INTERVAL)):
        if option is not None:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
    if hasattr(socket, "TCP_KEEPCNT"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)


def giveUpAfter(connection: socket.socket, seconds: float) -> None:
    """Break a connection whose peer acknowledges no sent byte for so many seconds, where the system can do that.

    On Linux it also breaks a connection whose peer acknowledges everything but has no room for more.
    """
    option: tuple[int, int] | None = None
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        option = socket.TCP_USER_TIMEOUT, round(1000 * seconds)
    elif sys.platform in _GIVE_UP:
        option = _GIVE_UP[sys.platform], math.ceil(seconds)
    if option:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, *option)
        except OSError:
            pass  # an older system: the connection ends later


def socketError(code: int) -> OSError:
    """Return the error of a code that a socket reports; os.strerror knows no code of Windows's sockets."""
    windows: Any = ctypes  # mypy knows FormatError on Windows only
    text = windows.FormatError(code).strip() if sys.platform == "win32" else os.strerror(code)
    return OSError(code, text)
