"""Function files, and a processor with its feed, used by the tests of live processing."""

from __future__ import annotations

import sys
import textwrap
import threading
import time
import venv

import numpy as np
from RealTimeImagingLib.Link.Messages import Counts, FrameHeader, FrameReport, PublishedReport, Receivers
from RealTimeImagingLib.Link.Ring import RingWriter
from RealTimeImagingLib.Model.Event import Event
from RealTimeImagingLib.Model.Frame import Frame
from RealTimeImagingLib.Sources.Processor import ProcessorSettings
from RealTimeImagingLib.Sources.Processor.Processor import Processor
from RealTimeImagingLib.Sources.Source import Arrival, Values
from RealTimeImagingLib.Worker.Frames import FrameSender
from RealTimeImagingLib.Worker.Publisher import Publisher

HEADER = "from dataclasses import dataclass, field\nimport os, sys, time\nimport numpy as np\n"
HEADER += "from RealTimeImagingLib.Processing.Function import Parameters, Result, about\n"


def functionFile(folder, code, name="made"):
    """The path of a function file with this code below the usual imports."""
    path = folder / f"{name}.py"
    path.write_text(HEADER + textwrap.dedent(code), encoding="utf-8")
    return str(path)


def otherPython(folder):
    """The path of another Python on POSIX: a virtual environment with the packages of this one."""
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    shared = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "shared.pth").write_text("\n".join(shared), encoding="utf-8")
    return folder / "bin" / "python"


def frameOf(number, pixels=None, time=None, attributes=None):
    """A frame of the stream Live; without pixels a small volume of its number."""
    pixels = np.full((2, 3, 5), number, np.int16) if pixels is None else pixels
    return Frame(pixels, np.diag([2.0, 3, 4, 1]), "Live", number, 1000.0 + number, time, attributes or {})


class Feed:
    """Ring of the frames for a processor."""

    def __init__(self, folder, slots=64):
        self.folders, self.ring = [str(folder)], "feed"
        self._writer, self._lock = RingWriter(self.folders, self.ring, slots), threading.Lock()

    def put(self, pixels):
        with self._lock:
            return self._writer.put(pixels)

    def release(self, place):
        with self._lock:
            self._writer.release(*place.key)

    @property
    def idle(self):
        """True when every slot was given back."""
        with self._lock:
            return self._writer.idle

    def close(self):
        self._writer.close()


class Slicer:
    """Slicer's side: keeps the places of the shown frames until it gives them back."""

    def __init__(self):
        self.places, self.published = [], []

    def put(self, message, always=True):
        if isinstance(message, FrameReport):
            self.places.append(message.place)
        elif isinstance(message, PublishedReport):
            self.published.append(message)
        return True


class Publishing:
    """The frames of an acquisition process on their way to Slicer and to subscribers."""

    def __init__(self, folder):
        self.slicer = Slicer()
        self.ring = RingWriter([str(folder)], "process1")
        self.sender = FrameSender(self.ring, self.slicer)
        self._publisher = Publisher([str(folder)], "process1", self.sender, Receivers())
        self._publisher.open()
        self._publisher.open()
        one, other = self.slicer.published
        assert one == other
        self.port, self.token = one.published, one.token

    def publish(self, frame, shown=True):
        """Publish and show a frame; Slicer gives its slot back."""
        self._publisher.publish(frame)
        self.sender.show(frame, Counts())
        if shown:
            self.sender.release([place.key for place in self.slicer.places])
            self.slicer.places.clear()

    @property
    def subscribers(self):
        return self._publisher._subscribers

    def end(self):
        """End the connections, as at the end of the process."""
        self._publisher.close()

    def close(self):
        self._publisher.close()
        self.sender.close()
        self.ring.close()
        for thread in threading.enumerate():
            if thread.name in ("publisher", "subscriber"):
                thread.join(10)


class Driver:
    """A processor as its acquisition process drives it; collects what it yields."""

    def __init__(self, folder, function, slots=64, results="Live made", getBuffer=lambda nbytes: None, **settings):
        self.feed = Feed(folder, slots)
        self._woken = threading.Event()
        self.settings = ProcessorSettings(function, stream=results, **settings)
        self.processor = Processor(self.settings, [str(folder)], self._woken.set, getBuffer)
        self.images: list[Arrival] = []
        self.values: list[Values] = []
        self.events: list[Event] = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.processor.close()
        self.take()
        self.feed.close()
        # A function that was reloaded ends in a thread of its own.
        for thread in threading.enumerate():
            if thread.name.startswith("function"):
                thread.join(30)

    def give(self, frame):
        self.processor.offer(FrameHeader.of(frame), self.feed.put(frame.pixels), self.feed)

    def take(self):
        for item in self.processor.take():
            kinds = {Arrival: self.images, Values: self.values, Event: self.events}
            kinds[type(item)].append(item)

    def until(self, predicate, seconds=30.0):
        end = time.monotonic() + seconds
        while True:
            self.take()
            self.processor.watch()
            if predicate():
                return
            assert time.monotonic() < end, (self.processor.figures(), [event.text for event in self.events])
            self._woken.wait(0.02)
            self._woken.clear()

    def untilIdle(self, seconds=30.0):
        self.until(lambda: self.processor.idle, seconds)

    @property
    def counts(self):
        figures = self.processor.figures()
        return tuple(figures[name] for name in ("received", "processed", "skipped", "failed", "waiting"))
