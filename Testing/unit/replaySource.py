"""Files to replay, and a ReplaySource with a simulated clock."""

from __future__ import annotations

import gzip

import numpy as np
from RealTimeImagingLib.Model.Event import Event
from RealTimeImagingLib.Model.Frame import checksum
from RealTimeImagingLib.Sources.Checkpoint import Checkpoint
from RealTimeImagingLib.Sources.Replay import ReplaySettings
from RealTimeImagingLib.Sources.Replay.Source import ReplaySource
from RealTimeImagingLib.Sources.Source import Arrival
from unit.conftest import Clock, volume


def pixelsOf(numbers, shape=(2, 3, 4), dtype=np.int16):
    """Return the pixels of :func:`volume` for each number."""
    return [volume(number, shape, dtype).pixels for number in numbers]


def sumsOf(numbers, shape=(2, 3, 4), dtype=np.int16):
    return [checksum(pixels) for pixels in pixelsOf(numbers, shape, dtype)]


def sequence(frames, index=None, unit="s", encoding="raw", *lines):
    """Return the bytes of a .seq.nrrd as Slicer writes it.

    :param frames: arrays (k, j, i) or (k, j, i, 3).
    :param index: index values; None: no index.
    """
    stack = np.stack(frames)
    colour = [stack.shape[4]] if stack.ndim == 5 else []
    name = {"int16": "short", "uint8": "unsigned char"}[stack.dtype.newbyteorder("=").name]
    big = not (stack.dtype.isnative or stack.dtype.itemsize == 1)
    header = [
        "NRRD0005",
        f"type: {name}",
        f"dimension: {4 + len(colour)}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, [*colour, *reversed(stack.shape[1:4]), len(stack)]))}",
        f"space directions: {'none ' * len(colour)}(2,0,0) (0,2,0) (0,0,3) none",
        f"kinds: {'RGB-color ' * len(colour)}domain domain domain list",
        "units: " + " ".join(['""'] * (3 + len(colour)) + [f'"{unit}"']),
        f"endian: {'big' if big else 'little'}",
        f"encoding: {encoding}",
        "space origin: (0,0,0)",
        *lines,
    ]
    if index is not None:
        header += ["axis 3 index type:=numeric", f"axis 3 index values:={' '.join(map(str, index))}"]
    data = stack.tobytes()
    return "\n".join([*header, "", ""]).encode() + (gzip.compress(data, 1) if encoding == "gzip" else data)


class Player:
    """ReplaySource, read as the worker reads it, with a simulated clock."""

    def __init__(self, workFolder, file, **values):
        self.clock = Clock()
        self.settings = ReplaySettings(file=str(file), **values)
        self.received, self.events = [], []
        self.getBuffer = lambda nbytes: None
        self._workFolder, self._closed = workFolder, False
        self.open()

    def open(self):
        self.checkpoint = Checkpoint(str(self._workFolder))
        self.source = ReplaySource(self.settings, self.checkpoint, self.clock, lambda nbytes: self.getBuffer(nbytes))

    def restart(self):
        """Continue as after a crash of the process."""
        self.checkpoint.close()
        self.open()

    def close(self):
        if not self._closed:
            self._closed = True
            self.source.close()
            self.checkpoint.close()

    def take(self, item):
        if isinstance(item, Event):
            self.events.append(item)
        else:
            assert self.checkpoint.accept(item.stream) == len(self.received)
            self.received.append((self.clock.now, item.image))

    def step(self, seconds=0.0):
        """Let time pass, then read once."""
        self.clock.now += seconds
        for item in self.source.read(0):
            self.take(item)

    def run(self, seconds, step=0.01):
        """Read every ``step`` seconds."""
        start = self.clock.now
        for number in range(1, round(seconds / step) + 1):
            self.clock.now = start + number * step
            self.step()

    def send(self, name, **values):
        """Send a command and read once, at the same moment."""
        self.source.command(name, values)
        self.step()

    def crash(self):
        """Read one frame, and crash before it is counted."""
        next(item for item in self.source.read(0) if isinstance(item, Arrival))
        self.restart()

    @property
    def images(self):
        return [image for _, image in self.received]

    @property
    def places(self):
        """Indices in the file, from 0, of the received frames."""
        return [int(image.attributes["ReplayedFrame"]) for image in self.images]

    @property
    def times(self):
        """Arrival times: seconds since the first."""
        return [time - self.received[0][0] for time, _ in self.received]

    @property
    def sums(self):
        return [checksum(image.pixels) for image in self.images]

    @property
    def codes(self):
        return [event.code for event in self.events]
