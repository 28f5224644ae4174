"""An OpenIGTLink source in this process, asked as the worker asks it, and peers that are plain sockets."""

from __future__ import annotations

import os
import random
import socket
import time
from collections import Counter
from contextlib import closing, contextmanager, suppress

import numpy as np
from RealTimeImagingLib.Model.DeviceMessage import DeviceMessage
from RealTimeImagingLib.Model.Event import Event
from RealTimeImagingLib.Model.Frame import checksum
from RealTimeImagingLib.OpenIGTLink import ImageMessage, Receiver, TransformMessage, pack
from RealTimeImagingLib.Sources.Checkpoint import Checkpoint
from RealTimeImagingLib.Sources.OpenIGTLink import OpenIGTLinkSettings
from RealTimeImagingLib.Sources.OpenIGTLink.Source import OpenIGTLinkSource
from unit.conftest import Clock


def freePort():
    """A port that nobody has at the moment, below those that systems give to connections of other tests."""
    for port in random.sample(range(20000, 32000), 100):
        with suppress(OSError), socket.socket() as one:
            one.bind(("127.0.0.1", port))
            return port
    raise AssertionError("none of 100 ports is free")


def image(number, device="Probe", shape=(3, 4, 5), dtype=np.int16):
    """An image unlike that of any other number, at an oblique place."""
    pixels = np.random.default_rng(number).integers(0, 100, shape).astype(dtype)
    matrix = np.array([[0, -2.0, 0, 10], [1.5, 0, 0, -20], [0, 0, 3.0, 30], [0, 0, 0, 1]])
    return ImageMessage(pixels, matrix, device_name=device, timestamp=1.7e9 + number / 64)


def pose(number, device="Stylus"):
    """A transform unlike that of any other number."""
    matrix = np.eye(4)
    matrix[:3, 3] = number, -2 * number, 0.5
    return TransformMessage(matrix, device_name=device, timestamp=1.7e9 + number / 64)


class Link:
    """The source with a clock that stands until it is told to go on."""

    def __init__(self, folder, **values):
        self.clock = Clock()
        self.checkpoint = Checkpoint(str(folder))
        self.settings = OpenIGTLinkSettings(**{"port": freePort(), **values})
        self.lent = []
        self.source = OpenIGTLinkSource(self.settings, self.checkpoint, self.clock, self.getBuffer)
        self.sums, self.streams, self.messages, self.events, self.frames = [], [], [], [], []

    def getBuffer(self, nbytes):
        self.lent.append(nbytes)

    def close(self):
        self.source.close()
        self.checkpoint.close()

    @property
    def codes(self):
        return [event.code for event in self.events]

    def step(self, seconds=0.01, passes=0.0):
        """One call of read(); so many seconds pass for the source."""
        self.clock.now += passes
        for item in self.source.read(seconds):
            if isinstance(item, Event):
                self.events.append(item)
            elif isinstance(item, DeviceMessage):
                self.messages.append(item)
            else:
                self.checkpoint.accept(item.stream)
                self.frames.append(item)
                self.streams.append(item.stream)
                self.sums.append(checksum(item.image.pixels))

    def until(self, condition, seconds=10.0, passes=0.0):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"it did not come to be: {self.events} {self.source.status}"
            self.step(passes=passes)

    def untilCode(self, code, count=1, passes=0.0):
        self.until(lambda: Counter(self.codes)[code] >= count, passes=passes)

    @contextmanager
    def peer(self):
        """Somebody who connects to our server; both know of it."""
        before = Counter(self.codes)["connected"]
        self.step()
        with closing(socket.create_connection(("127.0.0.1", self.settings.port))) as made:
            self.untilCode("connected", before + 1)
            yield made


def hear(connection, count):
    """So many messages from a socket."""
    receiver, heard = Receiver(), []
    connection.settimeout(10)
    while len(heard) < count:
        got = connection.recv_into(receiver.space())
        assert got, f"the other end closed after {heard}"
        heard += receiver.filled(got)
    receiver.finish()
    return heard


def sendAll(connection, *messages, version=None):
    connection.sendall(b"".join(pack(message, version=version) for message in messages))


def descriptors():
    """How many this process has open; where that cannot be told, always the same."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0
