"""Sends images over OpenIGTLink as scanners do, at a rate, and logs a checksum of every frame it sent."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from typing import IO

from ..Model.Frame import Image, checksum
from ..OpenIGTLink import ImageMessage, packBuffers
from .Scanners import logSent, waitUntil

TURN = 0.1
"""Seconds that a socket waits before it is asked whether to stop."""
CONNECT_TIME = 1.5
"""Seconds for a computer to answer."""
RETRY = 0.2
"""Seconds between two tries to connect."""
LAST_WORDS = 5.0
"""Seconds for the peer to take what was sent last, and to hang up."""


class NetworkScanner:
    """Sends to one peer at a time, and waits for one whenever there is none; what peers say is not read.

    :param host: where to listen, or whom to connect to.
    :param port: of a server 0 takes a free one, which :attr:`port` names.
    :param server: listen, and wait for a peer to connect; otherwise connect.
    :param fps: frames each second.
    :param device: the name under which they are sent.
    :param log: gets one JSON line for each frame that was sent: its number from 0 as ``file``, checksums, and the time
        (seconds since the epoch) at which it began to be sent, which is also the time in the message.
    :raises OSError: it cannot listen there.
    """

    def __init__(self, host: str, port: int, server: bool, fps: float, device: str, log: IO[str] | None = None) -> None:
        self._host, self.port = host, port
        self._fps, self._device, self._log = fps, device, log
        self._peer: socket.socket | None = None
        self._listener: socket.socket | None = None
        if server:
            self._listener = socket.create_server((host, port))
            self._listener.settimeout(TURN)
            self.port = self._listener.getsockname()[1]

    def send(self, images: Iterator[Image], stopped: Callable[[], bool]) -> int:
        """Send them all, or until stopped, from the moment a peer is there; returns how many.

        A frame that could not be sent whole is sent to the next peer.
        """
        count, due = 0, 0.0
        for image in images:
            sum_ = checksum(image.pixels)
            while not stopped():
                if self._peer is None:
                    # The rate counts from here: frames that nobody was there for are not sent all at once.
                    self._connect(stopped)
                    due = time.monotonic()
                waitUntil(due, stopped)
                sent = time.time()
                if self._sendOne(image, sent, stopped):
                    break
            if stopped():
                return count
            logSent(self._log, str(count), [sum_], sent)
            count, due = count + 1, due + 1 / self._fps
        return count

    def close(self) -> None:
        """Let the peer take what was sent, and end the connection."""
        if self._peer:
            _hangUp(self._peer)
        if self._listener:
            self._listener.close()

    def _connect(self, stopped: Callable[[], bool]) -> None:
        while self._peer is None and not stopped():
            try:
                if self._listener:
                    self._peer, _ = self._listener.accept()
                else:
                    self._peer = _dial(self._host, self.port)
            except OSError as error:
                # Nobody yet: neither one who connects, nor one who listens.
                if self._listener and not isinstance(error, TimeoutError):
                    raise
                if not self._listener:
                    waitUntil(time.monotonic() + RETRY, stopped)
        if self._peer:
            self._peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._peer.settimeout(TURN)

    def _sendOne(self, image: Image, sent: float, stopped: Callable[[], bool]) -> bool:
        message = ImageMessage(image.pixels, image.ijkToRAS, timestamp=sent, device_name=self._device)
        message.metadata = dict(image.attributes)
        try:
            return self._peer is not None and _sendAll(self._peer, packBuffers(message, version=2), stopped)
        except OSError:
            if self._peer:
                self._peer.close()
            self._peer = None
            return False


def _dial(host: str, port: int) -> socket.socket:
    made = socket.create_connection((host, port), CONNECT_TIME)
    if made.getsockname() == made.getpeername():
        # TCP connects a port without a listener to itself when the system chose it as our own.
        made.close()
        raise ConnectionRefusedError(f"Nobody listens on {host}:{port}.")
    return made


def _sendAll(peer: socket.socket, buffers: Sequence[bytes | memoryview], stopped: Callable[[], bool]) -> bool:
    # Not sendall(): a peer that does not read must not keep this program from ending.
    for buffer in buffers:
        left = memoryview(buffer)
        while len(left):
            try:
                left = left[peer.send(left) :]
            except TimeoutError:
                if stopped():
                    return False
    return True


def _hangUp(peer: socket.socket) -> None:
    # To close with bytes unread would throw away what the peer has not taken yet.
    end = time.monotonic() + LAST_WORDS
    try:
        peer.shutdown(socket.SHUT_WR)
        while time.monotonic() < end:
            try:
                if not peer.recv(1 << 16):
                    break
            except TimeoutError:
                pass
    except OSError:
        pass  # it has hung up already
    finally:
        peer.close()
