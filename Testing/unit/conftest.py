"""Real folders, files, pipes and processes for the unit tests; the only fake is the clock."""

from __future__ import annotations

import contextlib
import importlib.abc
import json
import os
import queue
import sys
import threading
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
from RealTimeImagingLib.Link import __file__ as linkPackage
from RealTimeImagingLib.Link.Commands import Start
from RealTimeImagingLib.Link.Lines import readLines
from RealTimeImagingLib.Link.Messages import encode
from RealTimeImagingLib.Link.Ring import Place, RingReader
from RealTimeImagingLib.Link.WorkFolders import writeHolder
from RealTimeImagingLib.Model.Event import Event
from RealTimeImagingLib.Model.Frame import Image, checksum
from RealTimeImagingLib.Model.Text import textFromJSON
from RealTimeImagingLib.Simulator.Images import niftiBytes
from RealTimeImagingLib.Sources.Checkpoint import Checkpoint
from RealTimeImagingLib.Sources.Folder import FolderSettings
from RealTimeImagingLib.Sources.Folder.Source import FolderSource
from unit import processes
from unit.clocks import Clock

PROGRAM = Path(linkPackage).with_name("Program.py")


def volume(number, shape=(2, 3, 4), dtype=np.int16):
    """An image unlike that of any other number."""
    pixels = np.random.default_rng(number).integers(0, 100, shape, np.uint8).astype(dtype)
    return Image(pixels, np.diag([-2.0, 2.0, 3.0, 1.0]))


def niftiFile(number, shape=(2, 3, 4)):
    """The bytes of a .nii with :func:`volume` of this number."""
    return niftiBytes(volume(number, shape))


def seriesFile(numbers, shape=(2, 3, 4)):
    """The bytes of a 4-D .nii, written by nibabel, with one volume for each number."""
    pixels = np.stack([volume(number, shape).pixels for number in numbers])
    return nibabel.Nifti1Image(pixels.transpose(), np.diag([-2.0, 2.0, 3.0, 1.0])).to_bytes()


def sumOf(number, shape=(2, 3, 4)):
    """The checksum of :func:`volume` of this number."""
    return checksum(volume(number, shape).pixels)


def parsed(line):
    """Return the JSON of a line, with texts in place of their objects."""
    texts = {"template", "context", "values"}
    return json.loads(line, object_hook=lambda value: textFromJSON(value) if set(value) == texts else value)


def arrive(path, data):
    """Write under another name, then rename, as a careful program does; never with the time of the file before."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    while path.exists() and path.stat().st_mtime_ns == part.stat().st_mtime_ns:
        part.write_bytes(data)
    os.replace(part, path)
    return path


def snapshot(folder):
    """Names, sizes, times, rights and bytes below a folder."""
    return {
        path.relative_to(folder): (status.st_size, status.st_mtime_ns, status.st_mode, status.st_ino, path.read_bytes())
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and (status := path.stat())
    }


def until(condition, seconds=10.0):
    """Ask until it holds; fail when it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to be in time"
        threading.Event().wait(0.002)


class Receiver:
    """A FolderSource in this process, asked as the worker asks it, with a clock of its own: seconds cost nothing."""

    STEP = 0.05

    def __init__(self, workFolder, folder, **values):
        self.clock = Clock()
        self.settings = FolderSettings(folder=str(folder), **values)
        self.frames, self.events, self.told = [], [], []
        self._workFolder = workFolder
        self.open()

    def open(self):
        self.checkpoint = Checkpoint(str(self._workFolder))
        self.source = FolderSource(self.settings, self.checkpoint, self.clock)

    def reopen(self):
        """As after the death of the process."""
        self.checkpoint.close()
        self.open()

    def take(self, item):
        if isinstance(item, Event):
            self.told.append(item.code)
            if item.code == "folder-there":  # which every start says
                self.there = item
            else:
                self.events.append(item)
        else:
            number = self.checkpoint.accept(item.stream)
            self.frames.append((item.stream, number, item.image.attributes["SourceFile"], checksum(item.image.pixels)))

    def begin(self):
        """One call of read() whose items the test takes itself."""
        self.clock.now += self.STEP
        return self.source.read(0)

    def step(self):
        for item in self.begin():
            self.take(item)

    def run(self, seconds):
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.step()

    def until(self, condition, seconds=30.0):
        end = self.clock.now + seconds
        while not condition():
            assert self.clock.now < end, f"it did not come to be: {self.frames} {self.events} {self.source.status}"
            self.step()

    @property
    def names(self):
        return [name for _, _, name, _ in self.frames]

    @property
    def sums(self):
        return [sum_ for _, _, _, sum_ in self.frames]

    @property
    def codes(self):
        return [event.code for event in self.events]

    @property
    def counts(self):
        """(received, rejected)"""
        return sum(self.checkpoint.numbers.values()), self.checkpoint.rejected


class Acquisition:
    """The acquisition process, spoken to as Slicer's side does: it reads lines, copies frames and gives slots back."""

    def __init__(self, settings, folders, ringName, program, fresh=False):
        self.folders, self.releasing = [str(folder) for folder in folders], True
        self.lines, self.frames = [], []
        self._ring = RingReader(self.folders, ringName)
        writeHolder(self.folders[-1], ringName)
        self._queue = queue.Queue()
        self.process = processes.start(program, "acquisition", fresh=fresh)
        self.process.stdin.write(encode(Start(settings.toJSON(), self.folders, ringName)))
        self._reading = threading.Thread(target=self._read, daemon=True)

    def listen(self):
        """Begin to read what the process says."""
        self._reading.start()
        return self

    def _read(self):
        for line in readLines(self.process.stdout.fileno()):
            self._queue.put(line)
        self._queue.put(None)

    def send(self, command, **values):
        self.process.stdin.write(json.dumps({"command": command, **values}).encode() + b"\n")

    def write(self, command):
        """Send a command as Slicer's side does."""
        self.process.stdin.write(encode(command))

    def record(self, folder, name):
        """Begin a recording; frames that arrive from now on are in it."""
        before = len(self.of("storage"))
        self.send("record", folder=str(folder), name=name, attributes={}, id=1)
        self.until(lambda: len(self.of("storage")) > before)

    def until(self, condition, seconds=10.0):
        """Take lines until it holds."""
        end = time.monotonic() + seconds
        while not condition():
            try:
                line = self._queue.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"it did not come to be in time: {self.lines[-5:]}") from None
            assert line is not None, f"the process ended before: {self.lines[-5:]} {self.process.stderr.read()}"
            self._take(parsed(line))

    def wait(self, seconds):
        """Take the next line, if one comes in time."""
        with contextlib.suppress(queue.Empty):
            line = self._queue.get(timeout=seconds)
            assert line is not None, f"the process ended: {self.lines[-5:]} {self.process.stderr.read()}"
            self._take(parsed(line))

    def _take(self, line):
        self.lines.append(line)
        if "frame" in line:
            frame, place = line["frame"], Place(**line["place"])
            pixels = self._ring.view(place, tuple(frame["shape"]), np.dtype(frame["dtype"]))
            self.frames.append(
                (frame["stream"], frame["number"], frame["attributes"].get("SourceFile", ""), checksum(pixels.copy()))
            )
            if self.releasing:
                with contextlib.suppress(BrokenPipeError):  # the process may have died since
                    self.send("release", slots=[place.key])

    def of(self, kind):
        """All values of one kind of line, such as "event"."""
        return [line[kind] for line in self.lines if kind in line]

    @property
    def codes(self):
        return [event["code"] for event in self.of("event")]

    @property
    def counts(self):
        """The latest counts; a line has those of the streams of which frames came."""
        found = {"received": {}, "rejected": 0}
        for line in self.lines:
            counts = line.get("counts") or {}
            found |= {**counts, "received": found["received"] | counts.get("received", {})}
        return found

    def untilReady(self):
        self.until(lambda: self.of("ready"))
        return self

    def untilCounted(self, received, rejected=0):
        """Until so many frames and files were counted."""
        self.until(lambda: (self.received, self.counts["rejected"]) == (received, rejected))

    @property
    def received(self):
        return sum(self.counts["received"].values())

    def untilEnd(self):
        """Take all lines; the exit code."""
        while (line := self._queue.get(timeout=10)) is not None:
            self._take(parsed(line))
        return self.process.wait(5)

    def stop(self):
        """Stop, take the last words; the exit code."""
        self.send("stop")
        code = self.untilEnd()
        assert self.of("end") == [True]
        return code

    def kill(self):
        """As kill -9."""
        self.process.kill()
        self.process.wait(5)

    def close(self):
        self.process.kill()
        self.process.wait(5)
        self.process.stdin.close()
        if self._reading.ident:
            self._reading.join(5)
        self.process.stdout.close()
        self.process.stderr.close()
        self._ring.close()


@pytest.fixture
def incoming(tmp_path):
    """An empty folder for images."""
    folder = tmp_path / "incoming"
    folder.mkdir()
    return folder


@pytest.fixture
def workFolder(tmp_path):
    """An empty folder for checkpoint and ring."""
    # Windows has one memory for each name of folder and ring.
    folder = tmp_path / f"work-{tmp_path.name}"
    folder.mkdir()
    return folder


@pytest.fixture
def receive(incoming, workFolder):
    """Starts a Receiver on the folder ``incoming``."""
    made = []

    def start(folder=incoming, **values):
        made.append(Receiver(workFolder, folder, **values))
        return made[-1]

    yield start
    for receiver in made:
        receiver.source.close()
        receiver.checkpoint.close()


@pytest.fixture
def acquire(incoming, workFolder):
    """Starts acquisition processes on the folder ``incoming``, one after the other on the same checkpoint."""
    made = []

    def start(program=PROGRAM, listen=True, **values):
        settings = FolderSettings(folder=str(incoming), **values)
        made.append(Acquisition(settings, [workFolder], f"process{len(made) + 1}", program))
        return made[-1].listen().untilReady() if listen else made[-1]

    yield start
    for acquisition in made:
        acquisition.close()


@pytest.fixture
def hidden(monkeypatch):
    """Hides installed packages by their names."""

    def hide(*names):
        monkeypatch.setattr(sys, "meta_path", [Kept(sys.meta_path, names)])
        for name in names:
            monkeypatch.delitem(sys.modules, name, raising=False)

    return hide


class Kept(importlib.abc.MetaPathFinder):
    """All finders but for some names, which nobody finds."""

    def __init__(self, finders, names):
        self.finders, self.names = list(finders), names

    def find_spec(self, name, path=None, target=None):
        if name in self.names:
            return None
        found = (finder.find_spec(name, path, target) for finder in self.finders)
        return next((one for one in found if one), None)
