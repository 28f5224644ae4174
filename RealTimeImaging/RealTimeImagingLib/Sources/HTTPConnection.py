"""One connection of a program that posts images: its request, what is to be sent, when it is given up."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Protocol

from .HTTPRequest import Head, Parser

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
