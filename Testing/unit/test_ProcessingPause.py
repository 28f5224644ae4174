"""Images that a function makes when no frame has come for a while, and at the end of the stream."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest
from RealTimeImagingLib.Sources.Processor import Processor as module
from unit.functions import Driver, frameOf, functionFile

SUM = """
    total, fresh = 0, False
    def setup(parameters, first):
        global total
        total = np.zeros(first.pixels.shape, np.int16)
    def process(frame):
        global fresh
        total[:] += frame.pixels
        fresh = True
        return Result(values={"number": frame.number})
    def pause():
        global fresh
        if not fresh:
            return None
        fresh = False
        return Result(total, values={"ignored": 1}, attributes={"Own": "yes"}, ijkToRAS=np.diag([9.0, 9, 9, 1]))
"""


def test_aPauseMakesAnImageOfTheFramesBefore(tmp_path, monkeypatch):
    """It carries the last frame; counts, values and times of results are those of the frames alone."""
    with Driver(tmp_path, functionFile(tmp_path, SUM)) as driver:
        for number in (1, 2, 3):
            driver.give(frameOf(number))
        monkeypatch.setattr(module, "PAUSE", 0.1)  # now: a busy computer may make pauses between them
        driver.until(lambda: driver.images)
        assert driver.counts == (3, 3, 0, 0, 0)
        latency = driver.processor.figures()["latencyMs"]
        driver.give(frameOf(4))
        driver.until(lambda: len(driver.images) == 2)
        driver.untilIdle()
        first, second = (one.image for one in driver.images)
        assert (int(first.pixels.max()), int(second.pixels.max())) == (6, 10)
        assert (first.attributes["SourceFrame"], second.attributes["SourceFrame"]) == ("3", "4")
        assert first.attributes["Own"] == "yes"
        np.testing.assert_array_equal(first.ijkToRAS, np.diag([9.0, 9, 9, 1]))
        assert [dict(one.values) for one in driver.values] == [{"number": one} for one in (1, 2, 3, 4)]
        assert driver.counts == (4, 4, 0, 0, 0)
        assert latency == {**latency, "median": pytest.approx(1000 * (time.time() - 1002), rel=1e-3)}
        assert not driver.events


def test_theEndWaitsForThePauseAfterTheLastFrame(tmp_path, monkeypatch):
    """A function without pause() is idle at once; one with it is finishing until its image is there."""
    monkeypatch.setattr(module, "PAUSE", 0.1)
    with Driver(tmp_path, functionFile(tmp_path, SUM)) as driver:
        driver.give(frameOf(1))
        driver.until(lambda: driver.processor.counts.processed == 1)
        assert driver.processor.finishing
        assert not driver.images
        driver.untilIdle()
        assert len(driver.images) == 1
    monkeypatch.setattr(module, "PAUSE", 1e6)
    with Driver(tmp_path, functionFile(tmp_path, SUM.partition("    def pause")[0], "other")) as driver:
        driver.give(frameOf(1))
        driver.untilIdle()
        assert not driver.processor.finishing


@pytest.mark.parametrize(
    ("code", "words"),
    [("raise ValueError('no sum')", "failed with frame 1 of Live: ValueError: no sum"),
     ("return 'text'", "failed with frame 1 of Live"),
     ("os._exit(3)", "ended and is restarted. Exit code 3"),
     ("time.sleep(100)", "ended and is restarted. It took longer than 0.5 s")],
)  # fmt: skip
def test_aPauseThatFailsIsOneEventAndTheFramesGoOn(tmp_path, monkeypatch, code, words):
    monkeypatch.setattr(module, "PAUSE", 0.1)
    source = f"""
        count = 0
        def process(frame):
            global count
            count += 1
            return frame.pixels
        def pause():
            if os.path.exists({str(tmp_path / "failed")!r}):
                return None
            open({str(tmp_path / "failed")!r}, "w").close()
            {code}
    """
    with Driver(tmp_path, functionFile(tmp_path, source), limit=0.5) as driver:
        driver.give(frameOf(1))
        driver.until(lambda: driver.events)
        driver.give(frameOf(2))
        driver.untilIdle()
        assert driver.counts == (2, 2, 0, 0, 0)
        (event,) = driver.events
        assert words in event.text
        assert [int(one.image.pixels.max()) for one in driver.images] == [1, 2]
        driver.until(lambda: not driver.processor.finishing)


@pytest.mark.skipif(os.name != "posix", reason="signals are others there")
def test_aFrameThatComesDuringAPauseWaitsForIt(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PAUSE", 0.1)
    source = f"""
        def process(frame):
            return frame.pixels
        def pause():
            open({str(tmp_path / "begun")!r}, "w").close()
            while not os.path.exists({str(tmp_path / "go")!r}):
                time.sleep(0.01)
            return np.full((2, 3, 5), 99, np.int16)
    """
    with Driver(tmp_path, functionFile(tmp_path, source)) as driver:
        driver.give(frameOf(1))
        driver.until(lambda: (tmp_path / "begun").exists())
        driver.give(frameOf(2))
        assert driver.counts == (2, 1, 0, 0, 1)
        (tmp_path / "go").touch()
        driver.untilIdle()
        assert [int(one.image.pixels.max()) for one in driver.images] == [1, 99, 2, 99]
        assert driver.counts == (2, 2, 0, 0, 0)


@pytest.mark.skipif(os.name != "posix", reason="signals are others there")
def test_aStoppedProcessIsKilledInAPause(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PAUSE", 0.1)
    monkeypatch.setattr(module, "MARGIN", 0.2)
    with Driver(tmp_path, functionFile(tmp_path, SUM), limit=0.3) as driver:
        driver.give(frameOf(1))
        driver.until(lambda: driver.processor.counts.processed == 1)
        pid = driver.processor._process.pid
        os.kill(pid, signal.SIGSTOP)
        driver.until(lambda: driver.events)
        assert "restarted" in driver.events[0].text
        driver.give(frameOf(2))
        driver.untilIdle()
        assert driver.counts == (2, 2, 0, 0, 0)
