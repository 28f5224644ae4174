"""The two hottest paths of a frame outside Slicer cost no more than they did; acceptance has that of the main thread.

``HOTPATHS=write python3 run.py test -k HotPaths -n0`` replaces the baseline, when a path has to do more.
"""

import os

import numpy as np
import pytest
from hotpaths import FRAMES, LIBRARY, WARM, Cost, costOf, excess
from RealTimeImagingLib.Link.Commands import Record, Release
from RealTimeImagingLib.Link.Lines import LineWriter
from RealTimeImagingLib.Link.Ring import RingWriter
from RealTimeImagingLib.Model.Frame import Image
from RealTimeImagingLib.OpenIGTLink import ImageMessage, Receiver, pack
from RealTimeImagingLib.Sources.Checkpoint import Checkpoint
from RealTimeImagingLib.Sources.Source import Arrival
from RealTimeImagingLib.Worker.Frames import FrameSender
from RealTimeImagingLib.Worker.Worker import Worker
from unit.conftest import parsed

SHAPE = (4, 128, 128)
"""128 KiB: a copy of the pixels that the path does not need shows in the peak."""


class Scanner:
    """A source that yields one image at each read."""

    status = ""

    def __init__(self, getBuffer):
        self._getBuffer = getBuffer
        self._pixels = np.random.default_rng(0).integers(0, 999, SHAPE).astype(np.int16)

    def read(self, seconds):
        memory = self._getBuffer(self._pixels.nbytes)
        pixels = memory.view(np.int16).reshape(SHAPE) if memory is not None else np.empty_like(self._pixels)
        pixels[...] = self._pixels
        yield Arrival("Live", Image(pixels, np.eye(4), None, {"SourceFile": "image.nii"}), 1.7e9)

    def wake(self):
        pass

    def command(self, name, values):
        pass

    def close(self):
        pass


@pytest.fixture
def turn(tmp_path):
    """One turn of a worker that records: from the arrival of an image to its line, and the release of its slot."""
    reading, writing = os.pipe()
    lines = LineWriter(writing)
    sender = FrameSender(RingWriter([str(tmp_path)], "process1"), lines)
    with Checkpoint(str(tmp_path)) as checkpoint:
        record = Record(str(tmp_path / "recording"), "Guard", {})
        worker = Worker(lambda: scanner, checkpoint, sender, [], [str(tmp_path)], "process1")
        scanner = Scanner(sender.getBuffer)
        worker._source = scanner
        worker._execute(record)
        text = b""

        def frame():
            nonlocal text
            worker._turn(scanner)
            lines.flush(5)
            text += os.read(reading, 4096)
            *whole, text = text.split(b"\n")
            for line in map(parsed, whole):
                if "place" in line:
                    worker.command(Release([(line["place"]["generation"], line["place"]["slot"])]))

        yield frame
        worker.closeRecording()
        sender.close()
        assert checkpoint.recorded == checkpoint.numbers["Live"] == WARM + 2 * FRAMES
    lines.close(5)
    os.close(writing)
    os.close(reading)


def test_the_worker_takes_records_and_passes_on_an_image_at_its_usual_cost(turn):
    assert not excess("acquisition", costOf(turn))


def test_openigtlink_receives_an_image_at_its_usual_cost():
    pixels = np.random.default_rng(0).integers(0, 999, SHAPE).astype(np.int16)
    data = memoryview(pack(ImageMessage(pixels, device_name="Live")))
    memory, received = np.empty(pixels.nbytes, np.uint8), []
    receiver = Receiver(lambda nbytes: memory)

    def frame():
        done = 0
        while done < len(data):
            space = receiver.space()
            part = data[done : done + len(space)]
            space[: len(part)] = part
            done += len(part)
            received.extend(message.device_name for message in receiver.filled(len(part)))

    assert not excess("openigtlink", costOf(frame))
    assert received == ["Live"] * (WARM + 2 * FRAMES)


@pytest.mark.parametrize(("name", "allowed", "grown"), [("lines", 120, 121), ("calls", 60, 61), ("peak", 16384, 16385)])
def test_growth_by_more_than_a_fifth_is_reported(name, allowed, grown, tmp_path, monkeypatch):
    baseline = tmp_path / "hotpaths.json"
    baseline.write_text('{"path": {"lines": 100, "calls": 50, "peak": 10240}}')
    monkeypatch.setattr("hotpaths.BASELINE", baseline)
    usual = {"lines": 100, "calls": 50, "peak": 10240}
    assert not excess("path", Cost(**usual | {name: allowed}))
    assert name in excess("path", Cost(**usual | {name: grown}))


def test_more_lines_calls_and_memory_of_the_library_are_counted():
    """A path that is made longer costs as much more as was added."""

    def compiled(lines):
        body = "".join(f"    value = len(str({number}))\n" for number in range(lines))
        names = {}
        exec(compile(f"def path(nbytes):\n{body}    bytearray(nbytes)\n", f"{LIBRARY}Added.py", "exec"), names)
        return names["path"]

    short, long = compiled(100), compiled(121)
    small = costOf(lambda: short(100_000))
    large = costOf(lambda: long(200_000))
    assert (small.lines, large.lines) == (101, 122)
    assert large.calls - small.calls == 21
    assert 100_000 <= large.peak - small.peak < 101_000
