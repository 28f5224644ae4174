"""Simulated MRI scanner that streams over MRD, slice by slice, with a breathing curve; it reads what comes back."""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import IO, Any

import numpy as np

from ..Model.Errors import WireError
from ..Model.Frame import Image, checksum
from ..Sources.MRD.Header import stampOf
from ..Sources.MRD.Protocol import CONFIG_FILE, HEADER, ImageMessage, WaveformMessage, packClose, packText
from ..Sources.MRD.Sending import headerOf, messagesOf
from .Scanners import logSent, waitUntil

POLL_PERIOD = 0.1
"""Longest wait of the socket in seconds, after which the scanner checks whether it is stopped."""
RETRY = 0.2
"""Seconds between two attempts to connect."""
CLOSE_TIME = 10.0
"""Seconds for the server to send the last image back, and the end."""
TICK = 2.5
"""Milliseconds of a time stamp."""
RESPIRATORY, SAMPLE_TIME, BREATH = 2, 10.0, 4.0
"""``waveform_id``, milliseconds between two samples, and seconds of a breath."""


class MRDScanner:
    """Simulated scanner that sends one measurement over one connection, from the server's first answer on.

    :param host: address of the server. ``port``: its port.
    :param fps: volumes a second.
    :param log: receives one JSON line for each sent volume: its number from 0 as ``file``, checksums, and the time
        (seconds since the epoch) at which its last slice was sent.
    """

    name = "Simulated"
    """Name of the protocol."""

    def __init__(self, host: str, port: int, fps: float, log: IO[str] | None = None) -> None:
        self._address, self._fps, self._log = (host, port), fps, log
        self._link: socket.socket | None = None
        self._owed = bytearray()
        """Bytes that must come back; empty as soon as the server sends anything else."""
        self._images = self._back = 0
        self._answers = True
        self._began = 0.0

    def send(self, images: Iterator[Image], stopped: Callable[[], bool]) -> int:
        """Send all images, or until stopped; return the number of sent images.

        :raises WireError: the server sent other bytes back than the images.
        :raises OSError: the connection broke.
        """
        count, due = 0, 0.0
        for image in images:
            if self._link is None and not self._connect(image, stopped):
                return count
            due = due or time.monotonic()
            waitUntil(due, stopped)
            if stopped():
                return count
            taken, end = replace(image, deviceTime=time.time()), time.monotonic() + CLOSE_TIME

            def late(end: float = end) -> bool:
                # A message that has begun is sent whole, if the server reads.
                return stopped() and time.monotonic() > end

            self._write([self._breath(taken.deviceTime or 0.0)], late)
            for message in messagesOf(taken, count, self._images, TICK):
                self._sendImage(message, late)
                if stopped():
                    return count
            logSent(self._log, str(count), [checksum(image.pixels)], time.time())
            count, due = count + 1, due + 1 / self._fps
        return count

    def close(self) -> None:
        """End the measurement, and wait for the images that are still on their way back."""
        if self._link is None:
            return
        end = time.monotonic() + CLOSE_TIME

        def late() -> bool:
            return time.monotonic() > end

        try:
            self._owed += packClose()
            self._write([packClose()], late)
            while not late() and self._read():
                pass
        except OSError:
            pass  # the server is gone
        finally:
            self._link.close()
            self._link = None

    def _connect(self, image: Image, stopped: Callable[[], bool]) -> bool:
        while not stopped():
            try:
                self._link = socket.create_connection(self._address, 1.5)
            except OSError:
                waitUntil(time.monotonic() + RETRY, stopped)
                continue
            if self._link.getsockname() == self._link.getpeername():
                # TCP connects a port without a listener to itself when the system chose the same port for our side.
                self._link.close()
                continue
            self._link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._link.setblocking(False)
            self._began = time.time()
            self._write([packText(CONFIG_FILE, "null"), packText(HEADER, headerOf(image, self.name))], stopped)
            return True
        return False

    def _breath(self, now: float) -> bytes:
        # The samples since the image before.
        count = max(1, round(1000 / self._fps / SAMPLE_TIME))
        times = now - self._began + np.arange(-count, 0) * SAMPLE_TIME / 1000
        samples = (2048 + 1500 * np.sin(2 * math.pi * times / BREATH)).astype("<u4")
        stamp = max(1, stampOf(now, TICK) - round(count * SAMPLE_TIME / TICK))
        return WaveformMessage(RESPIRATORY, stamp, 1000 * SAMPLE_TIME, samples[np.newaxis]).pack()

    def _sendImage(self, message: ImageMessage, stopped: Callable[[], bool]) -> None:
        self._images += 1
        buffers = message.buffers()
        if self._answers:
            for one in buffers:
                self._owed += one
        self._write(buffers, stopped)

    def _write(self, buffers: Sequence[Any], stopped: Callable[[], bool]) -> None:
        """Send everything, and read meanwhile what comes back."""
        if self._link is None:
            return
        for one in buffers:
            left = memoryview(one).cast("B")
            while len(left) and not stopped():
                self._read(0.0)
                try:
                    left = left[self._link.send(left) :]
                except BlockingIOError:
                    self._read()

    def _read(self, seconds: float = POLL_PERIOD) -> bool:
        """Read what came back, and compare it; return False at the end."""
        if self._link is None:
            return False
        self._link.settimeout(seconds)
        try:
            data = self._link.recv(1 << 20)
        except (BlockingIOError, TimeoutError):
            return True
        finally:
            self._link.setblocking(False)
        if self._answers and not self._back and data[:2] == packClose():
            # The server sends no images back.
            self._answers = False
            return True
        if self._answers and self._owed[: len(data)] != data:
            raise WireError("The server sent other bytes back than those of the images.")
        self._back += len(data)
        del self._owed[: len(data)]
        return bool(data)
