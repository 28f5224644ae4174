"""Simulated scanner that sends images over OpenIGTLink at a rate, and logs the checksum of each sent frame."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from typing import IO

from ..Model.Frame import Image, checksum
from ..OpenIGTLink import ImageMessage, VideoMessage, packBuffers
from .CompressedVideo import CompressedVideo
from .Scanners import logSent, waitUntil
from .Sweep import SimulatedTracker

POLL_PERIOD = 0.1
"""Longest wait of a socket in seconds, after which the scanner checks whether it is stopped."""
CONNECT_TIME = 1.5
"""Seconds for a computer to answer."""
RETRY = 0.2
"""Seconds between two attempts to connect."""
CLOSE_TIME = 5.0
"""Seconds for the peer to receive the last frame and disconnect."""


class NetworkScanner:
    """Simulated OpenIGTLink scanner with one peer at a time. It waits while there is none, and reads no messages.

    :param host: address to listen on or to connect to.
    :param port: 0 (server only): a free port, which :attr:`port` holds.
    :param server: listen and wait for a peer; otherwise connect.
    :param fps: frames a second.
    :param device: device name in the messages.
    :param log: receives one JSON line for each sent frame: its number from 0 as ``file``, checksums, and the time in
        the message (seconds since the epoch). That is the begin of sending, or with a tracker the planned begin.
        Checksums of compressed video are those of the decoded pictures.
    :param video: codec of compressed video (VIDEO), see :class:`CompressedVideo`; empty sends images.
    :param tracker: sends the poses of a tool beside the images; None: no poses.
    :raises OSError: the address is not available.
    """

    def __init__(
        self,
        host: str,
        port: int,
        server: bool,
        fps: float,
        device: str,
        log: IO[str] | None = None,
        video: str = "",
        tracker: SimulatedTracker | None = None,
    ) -> None:
        self._host, self.port = host, port
        self._fps, self._device, self._log, self._tracker = fps, device, log, tracker
        self._video = CompressedVideo(video) if video else None
        self._peer: socket.socket | None = None
        self._listener: socket.socket | None = None
        if server:
            self._listener = socket.create_server((host, port))
            self._listener.settimeout(POLL_PERIOD)
            self.port = self._listener.getsockname()[1]

    def send(self, images: Iterator[Image], stopped: Callable[[], bool]) -> int:
        """Send all images, or until stopped, from the first connection on; return the number of sent images.

        An incompletely sent frame is sent again to the next peer.
        """
        count, due, began = 0, 0.0, 0.0
        for image in images:
            message, sum_ = self._messageOf(image)
            while not stopped():
                if self._peer is None:
                    # The rate counts from here: frames that were due without a peer are not sent all at once.
                    self._connect(stopped)
                    due, began = time.monotonic(), time.time() - count / self._fps
                waitUntil(due, stopped)
                # Images of a sweep have the time of their pose, also when the computer is too busy to send them then.
                sent = began + count / self._fps if self._tracker else time.time()
                if self._sendOne(message, sent, count / self._fps, stopped):
                    break
            if stopped():
                return count
            logSent(self._log, str(count), [sum_], sent)
            count, due = count + 1, due + 1 / self._fps
        return count

    def close(self) -> None:
        """Close the connection after the peer has received everything."""
        if self._peer:
            _disconnect(self._peer)
        if self._listener:
            self._listener.close()

    def _connect(self, stopped: Callable[[], bool]) -> None:
        while self._peer is None and not stopped():
            try:
                if self._listener:
                    self._peer, _ = self._listener.accept()
                else:
                    self._peer = _connected(self._host, self.port)
            except OSError as error:
                # No peer has connected, or none listens yet.
                if self._listener and not isinstance(error, TimeoutError):
                    raise
                if not self._listener:
                    waitUntil(time.monotonic() + RETRY, stopped)
        if self._peer:
            self._peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._peer.settimeout(POLL_PERIOD)

    def _messageOf(self, image: Image) -> tuple[ImageMessage | VideoMessage, str]:
        """Return the message of an image, and the checksum of the pixels that a receiver gets."""
        if self._video:
            message, pixels = self._video.encode(image)
        else:
            message, pixels = ImageMessage(image.pixels, image.ijkToRAS), image.pixels
        message.device_name, message.metadata = self._device, dict(image.attributes)
        return message, checksum(pixels)

    def _sendOne(
        self, message: ImageMessage | VideoMessage, sent: float, seconds: float, stopped: Callable[[], bool]
    ) -> bool:
        message.timestamp = sent
        try:
            if self._peer is None:
                return False
            for pose in self._tracker.messages(seconds, sent) if self._tracker else ():
                _sendAll(self._peer, packBuffers(pose, version=2), stopped)
            return _sendAll(self._peer, packBuffers(message, version=2), stopped)
        except OSError:
            if self._peer:
                self._peer.close()
            self._peer = None
            return False


def _connected(host: str, port: int) -> socket.socket:
    made = socket.create_connection((host, port), CONNECT_TIME)
    if made.getsockname() == made.getpeername():
        # TCP connects a port without a listener to itself when the system chose the same port for our side.
        made.close()
        raise ConnectionRefusedError(f"Connection refused by {host}:{port}. Is the receiver running?")
    return made


def _sendAll(peer: socket.socket, buffers: Sequence[bytes | memoryview], stopped: Callable[[], bool]) -> bool:
    # Not sendall(): a peer that does not read must not keep this program running.
    for buffer in buffers:
        left = memoryview(buffer)
        while len(left):
            try:
                left = left[peer.send(left) :]
            except TimeoutError:
                if stopped():
                    return False
    return True


def _disconnect(peer: socket.socket) -> None:
    # Closing a socket with unread bytes discards what the peer has not received yet.
    end = time.monotonic() + CLOSE_TIME
    try:
        peer.shutdown(socket.SHUT_WR)
        while time.monotonic() < end:
            try:
                if not peer.recv(1 << 16):
                    break
            except TimeoutError:
                pass
    except OSError:
        pass  # the peer has disconnected already
    finally:
        peer.close()
