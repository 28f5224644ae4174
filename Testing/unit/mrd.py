"""An MRD source in this process, asked as the worker asks it, and scanners that are plain sockets."""

from __future__ import annotations

import io
import socket
import time
from contextlib import contextmanager

import ismrmrd
import numpy as np
from ismrmrd.serialization import ConfigFile, ProtocolDeserializer, ProtocolSerializer
from RealTimeImagingLib.Model.DeviceMessage import DeviceMessage
from RealTimeImagingLib.Model.Event import Event
from RealTimeImagingLib.Sources.Checkpoint import Checkpoint
from RealTimeImagingLib.Sources.MRD import MRDSettings
from RealTimeImagingLib.Sources.MRD.Protocol import HEADER, packText
from RealTimeImagingLib.Sources.MRD.Source import MRDServer
from unit.conftest import Clock

ROW = np.array([0.8, 0.36, 0.48])
COLUMN = np.array([-0.6, 0.48, 0.64])
NORMAL = np.cross(ROW, COLUMN)
"""Oblique directions in LPS."""
CENTRE = np.array([12.0, -7.0, 33.0])
"""Centre of the middle of a volume, LPS, millimetres."""
SPACING = np.array([1.5, 2.0, 4.0])
"""Millimetres along rows, columns and slices."""


def header(slices=0, name="gre", extra=""):
    """An XML header; without slices it has no limits."""
    limits = f"<slice><minimum>0</minimum><maximum>{slices - 1}</maximum><center>0</center></slice>" if slices else ""
    lengths = "<x>10</x><y>10</y><z>10</z>"
    space = f"<matrixSize>{lengths}</matrixSize><fieldOfView_mm>{lengths}</fieldOfView_mm>"
    space = f"<encodedSpace>{space}</encodedSpace>"
    return (
        '<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f"{extra}<measurementInformation><patientPosition>HFS</patientPosition><protocolName>{name}</protocolName>"
        "</measurementInformation><experimentalConditions><H1resonanceFrequency_Hz>1</H1resonanceFrequency_Hz>"
        f"</experimentalConditions><encoding>{space}{space.replace('encoded', 'recon')}"
        f"<encodingLimits>{limits}</encodingLimits><trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"
    )


def phantom(number, slices=3, rows=5, columns=7, dtype=np.uint16):
    """A volume (slices, rows, columns) without any symmetry, unlike that of any other number."""
    values = np.random.default_rng(number).integers(0, 1000, (slices, rows, columns))
    return values.astype(dtype)


def image(pixels, *, index=0, count=1, meta=None, **fields):
    """An image of the package ismrmrd: a slice (rows, columns) or a volume (slices, rows, columns), at its place.

    :param index: of the slice. ``count``: of all slices.
    """
    volume = pixels if pixels.ndim > 2 else pixels[None]
    made = ismrmrd.Image.from_array(volume)
    layers, rows, columns = volume.shape[-3:]
    values = {
        "field_of_view": tuple(SPACING * (columns, rows, layers)),
        "position": tuple(CENTRE + NORMAL * SPACING[2] * (index - (count - 1) / 2)),
        "read_dir": tuple(ROW),
        "phase_dir": tuple(COLUMN),
        "slice_dir": tuple(NORMAL),
        "slice": index,
        "image_type": ismrmrd.IMTYPE_MAGNITUDE,
        **fields,
    }
    for name, value in values.items():
        setattr(made, name, value)
    if meta:
        made.meta = ismrmrd.Meta(meta)
    return made


def worldPoints(slices, rows, columns):
    """Where each voxel (k, j, i) of such a volume lies, RAS, millimetres: shape (k, j, i, 3)."""
    k, j, i = np.meshgrid(np.arange(slices), np.arange(rows), np.arange(columns), indexing="ij")
    steps = [axis - (size - 1) / 2 for axis, size in ((i, columns), (j, rows), (k, slices))]
    inLPS = CENTRE + np.stack(steps, -1) * SPACING @ np.stack([ROW, COLUMN, NORMAL])
    return inLPS * (-1, -1, 1)


def frameWorldPoints(image):
    """Where each voxel of an image of ours lies, RAS, millimetres: shape (k, j, i, 3)."""
    slices, rows, columns = image.pixels.shape[:3]
    k, j, i = np.meshgrid(np.arange(slices), np.arange(rows), np.arange(columns), indexing="ij")
    indices = np.stack([i, j, k, np.ones_like(i)], -1)
    return (indices @ image.ijkToRAS.T)[..., :3]


def packed(*objects):
    """The bytes of objects of the package ismrmrd, as it writes them itself."""
    stream = io.BytesIO()
    serializer = ProtocolSerializer(stream)
    for one in objects:
        serializer.serialize(one)
    return stream.getvalue()


def unpacked(data):
    """The objects in bytes, as the package ismrmrd reads them; the last message is the end."""
    return list(ProtocolDeserializer(io.BytesIO(data)).deserialize())


def start(text):
    """What a scanner sends before its images."""
    return packed(ConfigFile("test")) + packText(HEADER, text)


CLOSE = b"\x04\x00"


class Link:
    """The server with a clock that stands until it is told to go on."""

    def __init__(self, folder, **values):
        self.clock = Clock()
        self.checkpoint = Checkpoint(str(folder))
        self.settings = MRDSettings(**{"port": 0, **values})
        self.lent = 0
        self.source = self.made()
        self.arrivals, self.messages, self.events = [], [], []

    def made(self):
        """The source."""
        return MRDServer(self.settings, self.checkpoint, self.clock, self.getBuffer)

    def getBuffer(self, nbytes):
        self.lent += 1

    def close(self):
        self.source.close()
        self.checkpoint.close()

    def read(self, seconds=0.0):
        for item in self.source.read(seconds):
            self.take(item)

    def take(self, item):
        into = self.events if isinstance(item, Event) else self.messages if isinstance(item, DeviceMessage) else None
        (self.arrivals if into is None else into).append(item)

    def until(self, true, seconds=10.0, passes=0.0):
        """Read until it is true; so many seconds pass on the clock before each read."""
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, ([one.text for one in self.events], self.source.status)
            self.clock.now += passes
            self.read(0.005)

    @property
    def port(self):
        self.until(lambda: self.codes("listening"))
        return int(self.codes("listening")[0].subject.rpartition(":")[2])

    def codes(self, *codes):
        return [one for one in self.events if one.code in codes]

    def streams(self):
        return [one.stream for one in self.arrivals]

    @contextmanager
    def scanner(self):
        with socket.create_connection(("127.0.0.1", self.port)) as peer:
            before = len(self.codes("connected"))
            self.until(lambda: len(self.codes("connected")) > before)
            yield Scanner(self, peer)


class Scanner:
    """A scanner that reads what comes back while it sends."""

    def __init__(self, link, peer):
        self.link, self.peer = link, peer
        self.back = b""
        self.ended = False
        peer.setblocking(False)

    def send(self, data):
        """Send everything, as long as the source does not close the connection; it reads meanwhile."""
        left = memoryview(data)
        while len(left) and not self.ended:
            try:
                left = left[self.peer.send(left) :]
            except BlockingIOError:
                pass
            except ConnectionError:
                self.ended = True
            self.turn()

    def turn(self):
        self.link.read()
        try:
            while data := self.peer.recv(1 << 20):
                self.back += data
            self.ended = True
        except BlockingIOError:
            pass
        except ConnectionError:
            self.ended = True

    def finish(self):
        """End the measurement, and wait until the source has closed its side."""
        self.send(CLOSE)
        end = time.monotonic() + 10
        while not self.ended:
            assert time.monotonic() < end, self.link.source.status
            self.turn()
        name = "{}:{}".format(*self.peer.getsockname())
        self.peer.close()
        connected = self.link.source._connections.connected
        self.link.until(lambda: all(one.name != name for one in connected))
