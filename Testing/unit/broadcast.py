"""A broadcaster in this process, frames to send, and clients that are plain sockets."""

from __future__ import annotations

import socket
import threading

import numpy as np
from RealTimeImagingLib.Model.Frame import Frame
from RealTimeImagingLib.OpenIGTLink import Receiver
from RealTimeImagingLib.Sources.OpenIGTLink import BroadcastSettings
from RealTimeImagingLib.Worker.Broadcaster import Broadcaster
from unit.conftest import until

MATRIX = np.array([[0, -2.0, 0, 10], [1.5, 0, 0, -20], [0, 0, 3.0, 30], [0, 0, 0, 1]])
START = 1.7e9


def frame(number, shape=(3, 4, 5), dtype=np.int16, stream="Live", deviceTime=None, **attributes):
    """A frame unlike that of any other number, at an oblique place."""
    pixels = np.random.default_rng(number).integers(0, 100, shape, np.uint8).astype(dtype)
    return Frame(pixels, MATRIX, stream, number, START + number / 64, deviceTime, attributes)


class Listening:
    """A client that reads in a thread until the other side closes."""

    def __init__(self, port):
        self.messages = []
        self.connection = socket.create_connection(("127.0.0.1", port), 10)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        receiver = Receiver()
        try:
            while count := self.connection.recv_into(receiver.space()):
                self.messages.extend(receiver.filled(count))
        except OSError:
            pass  # closed here, in the middle

    def untilEnd(self):
        self._thread.join(10)
        assert not self._thread.is_alive()
        self.connection.close()
        return self.messages

    def close(self):
        self.connection.shutdown(socket.SHUT_RDWR)
        self.untilEnd()


class Broadcasting:
    """The broadcaster, on a free port, and its events."""

    def __init__(self, **values):
        self.events = []
        self.broadcaster = Broadcaster(BroadcastSettings(**{"port": 0, **values}), self.events.append)
        self.send, self.close = self.broadcaster.send, self.broadcaster.close

    def untilListening(self):
        until(lambda: self.status["listening"])
        return self

    @property
    def status(self):
        return self.broadcaster.status()

    @property
    def codes(self):
        return [event.code for event in self.events]

    def connect(self, reading=True):
        """A client that the broadcaster knows of; one that does not read is its socket alone."""
        port = self.status["port"]
        client = Listening(port) if reading else socket.create_connection(("127.0.0.1", port), 10)
        until(lambda: any(one["name"] == nameOf(client) for one in self.status["clients"]))
        return client

    def statusOf(self, client):
        return next(one for one in self.status["clients"] if one["name"] == nameOf(client))


def nameOf(client):
    """The name that the other side has for it."""
    return "{}:{}".format(*getattr(client, "connection", client).getsockname())
