"""Results that the process of a function writes straight into the memory from which they are shown."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from RealTimeImagingLib.Link.Ring import SLOTS, RingReader, RingWriter, Target, TargetWriter
from unit.functions import Driver, frameOf, functionFile

SHAPE = (4, 32, 32)


class Shown:
    """Ring of the shown images, as the worker of a processor has it. Its first generation has slots of some bytes."""

    def __init__(self, folder, nbytes=1 << 16):
        self.folders, self.ring = [str(folder)], "shown"
        self.writer, self._lock = RingWriter(self.folders, self.ring), threading.Lock()
        self.given = 0
        self.writer.release(*self.writer.put(np.zeros(nbytes, np.uint8)).key)

    def getBuffer(self, nbytes):
        with self._lock:
            memory = self.writer.getBuffer(nbytes)
            self.given += memory is not None
            return memory

    def isDirect(self, image):
        """True when the pixels are in a slot and are not copied."""
        with self._lock:
            place = self.writer.put(image.pixels)
            shown = RingReader(self.folders, self.ring).view(place, image.pixels.shape, image.pixels.dtype)
            np.testing.assert_array_equal(shown, image.pixels)
            direct = shared(image.pixels)
            self.writer.release(*place.key)
            return direct

    @property
    def free(self):
        """Number of slots that can be taken."""
        taken = []
        while (memory := self.getBuffer(1)) is not None:
            taken.append(memory)
        return len(taken)

    def close(self):
        self.writer.close()


def shared(pixels):
    """True when the memory is that of a slot."""
    while isinstance(pixels.base, np.ndarray):
        pixels = pixels.base
    return Target.of(pixels) is not None


@pytest.fixture
def shown(tmp_path):
    made = Shown(tmp_path)
    yield made
    made.close()


def frames(count):
    generator = np.random.default_rng(1)
    return [frameOf(number, generator.integers(-999, 999, SHAPE).astype(np.int16)) for number in range(count)]


def processed(tmp_path, code, count, **settings):
    """The images that a function makes, the driver, after all frames were given one after the other."""
    with Driver(tmp_path, functionFile(tmp_path, code), **settings) as driver:
        for frame in frames(count):
            driver.give(frame)
            driver.untilIdle()
        assert driver.feed.idle
        return [one.image for one in driver.images], driver


KINDS = """
    def process(frame):
        kinds = [
            frame.pixels * np.float32(0.5),
            frame.pixels[:, ::2, ::-1],
            frame.pixels.astype(">i2"),
            np.asfortranarray(frame.pixels),
            None,
            frame.pixels > 0,
            np.repeat(frame.pixels, 12, axis=0),
            np.repeat(frame.pixels, 12, axis=0),
            np.stack([frame.pixels.astype(np.uint8)] * 3, axis=-1),
        ]
        if frame.number % 10 == 9: raise ValueError("ninth")
        return kinds[frame.number % 10]
"""


def test_resultsAreEqualWithAndWithoutATarget(tmp_path, shown):
    """Sizes and types change from frame to frame, some do not fit, and some frames have no result."""
    usual, first = processed(tmp_path, KINDS, 30)
    direct, second = processed(tmp_path, KINDS, 30, getBuffer=shown.getBuffer)
    assert first.counts == second.counts == (30, 27, 0, 3, 0)
    assert len(usual) == len(direct) == 24
    for one, other in zip(usual, direct, strict=True):
        assert one.pixels.dtype == other.pixels.dtype
        assert one.pixels.shape == other.pixels.shape
        assert one.pixels.tobytes() == other.pixels.tobytes()
        np.testing.assert_array_equal(one.ijkToRAS, other.ijkToRAS)
        assert dict(one.attributes) == dict(other.attributes)
    assert not any(shared(image.pixels) for image in usual)
    assert shown.given > 0


def test_resultsOfOneSizeAreNotCopied(tmp_path, shown):
    """The first goes the long way: its size is not known before."""
    with Driver(
        tmp_path, functionFile(tmp_path, "def process(frame): return frame.pixels + 1"), getBuffer=shown.getBuffer
    ) as driver:
        for number, frame in enumerate(frames(20)):
            driver.give(frame)
            driver.untilIdle()
            image = driver.images.pop().image
            np.testing.assert_array_equal(image.pixels, frame.pixels + 1)
            assert shown.isDirect(image)
            del image
            assert driver.processor._process.target is None, number
        assert driver.counts == (20, 20, 0, 0, 0)
    assert shown.given == 20
    assert shown.free == SLOTS


def test_allSlotsTakenChangeNoResult(tmp_path, shown):
    """Slicer is slow: it has every slot; results then lie in memory of the worker."""
    with Driver(
        tmp_path, functionFile(tmp_path, "def process(frame): return frame.pixels"), getBuffer=shown.getBuffer
    ) as driver:
        given = frames(3 * SLOTS)
        for frame in given:
            driver.give(frame)
            driver.untilIdle()
        assert sum(shared(one.image.pixels) for one in driver.images) == SLOTS
        for frame, one in zip(given, driver.images, strict=True):
            np.testing.assert_array_equal(one.image.pixels, frame.pixels)
        assert driver.counts == (len(given), len(given), 0, 0, 0)
        driver.images.clear()
        driver.give(frameOf(len(given), given[0].pixels))
        driver.untilIdle()
        assert shared(driver.images[0].image.pixels)


DEATH = """
    def process(frame):
        if frame.number == 2 and not os.path.exists(__file__ + ".died"):
            open(__file__ + ".died", "w").close()
            {end}
        return frame.pixels + 1
"""


@pytest.mark.parametrize("end", ["os._exit(3)", "time.sleep(60)"])
def test_aProcessThatEndsInTheMiddleKeepsItsTargetUntilThen(tmp_path, shown, end):
    with Driver(
        tmp_path, functionFile(tmp_path, DEATH.format(end=end)), limit=0.4, getBuffer=shown.getBuffer
    ) as driver:
        given = frames(5)
        for frame in given:
            driver.give(frame)
        driver.untilIdle()
        for frame, one in zip(given, driver.images, strict=True):
            np.testing.assert_array_equal(one.image.pixels, frame.pixels + 1)
        assert [event.code for event in driver.events] == ["function-restarted"]
        assert driver.counts == (5, 5, 0, 0, 0)
        driver.images.clear()
        assert shown.free == SLOTS


def test_aReloadKeepsTheTargetUntilTheOldProcessHasEnded(tmp_path, shown):
    code = "def process(frame):\n    if frame.number == 1: time.sleep(60)\n    return frame.pixels\n"
    path = functionFile(tmp_path, code)
    with Driver(tmp_path, path, getBuffer=shown.getBuffer) as driver:
        given = frames(2)
        driver.give(given[0])
        driver.untilIdle()
        driver.images.clear()
        driver.give(given[1])
        old = driver.processor._process
        assert old.target is not None
        functionFile(tmp_path, "def process(frame): return frame.pixels")
        driver.processor.reload()
        assert old.target is not None or old.exitCode is not None
        driver.untilIdle()
        np.testing.assert_array_equal(driver.images[0].image.pixels, given[1].pixels)
        assert driver.counts == (2, 2, 0, 0, 0)
        driver.until(lambda: old.target is None)
        assert old.exitCode is not None
        driver.images.clear()
    assert shown.free == SLOTS


def test_aTargetWhoseMemoryIsGoneIsNotWritten(tmp_path, shown):
    memory = shown.getBuffer(64)
    target = Target.of(memory)
    assert target is not None
    writer = TargetWriter()
    assert not writer.write(target, np.zeros(65, np.uint8))
    assert writer.write(target, np.arange(16, dtype=np.float32))
    np.testing.assert_array_equal(memory.view(np.float32), np.arange(16))
    assert not writer.write(target._replace(path=str(tmp_path / "none-0.ring")), np.zeros(4, np.uint8))
    assert Target.of(np.zeros(4, np.uint8)) is None
