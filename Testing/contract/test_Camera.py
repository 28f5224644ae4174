"""OpenCV's own driver for V4L2, with a camera that a small library simulates."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from RealTimeImagingLib.Recording import openRecording
from RealTimeImagingLib.Sources.Camera import CameraSettings
from RealTimeImagingLib.Sources.Camera.Search import CameraOffer
from unit.conftest import PROGRAM, Acquisition

SOURCE = Path(__file__).with_name("camera") / "VideoDevice.c"
pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not shutil.which("gcc") or Path("/dev/video0").exists(),
    reason="needs Linux, a C compiler (gcc) and no camera",
)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The library that simulates a camera."""
    path = tmp_path_factory.mktemp("camera") / "VideoDevice.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", path, SOURCE, "-ldl"], check=True)
    return path


@pytest.fixture
def plug(tmp_path, monkeypatch):
    """The file that unplugs the camera while it exists."""
    path = tmp_path / "unplugged"
    monkeypatch.setenv("CAMERA_UNPLUGGED", str(path))
    return path


@pytest.fixture
def hang(tmp_path, monkeypatch):
    """The file that makes the camera hang while it exists."""
    path = tmp_path / "hangs"
    monkeypatch.setenv("CAMERA_HANGS", str(path))
    return path


@pytest.fixture
def acquire(library, plug, tmp_path, monkeypatch):
    """Start the acquisition process with such a camera."""
    started = []
    monkeypatch.setenv("LD_PRELOAD", str(library))

    def start(drops=0, **values):
        monkeypatch.setenv("CAMERA_DROPS", str(drops))
        folder = tmp_path / f"work{len(started)}"
        folder.mkdir()
        started.append(Acquisition(CameraSettings(**values), [folder], "process1", PROGRAM, fresh=True))
        return started[-1].listen().untilReady()

    yield start
    for acquisition in started:
        acquisition.close()


def untilFrames(acquisition, count):
    acquisition.until(lambda: acquisition.received >= count)


def happened(acquisition):
    """The codes of its events, without those that depend on the load of this computer."""
    return [code for code in acquisition.codes if code not in ("passed-over", "driver-dropped")]


def events(acquisition, code):
    return [event["text"] for event in acquisition.of("event") if event["code"] == code]


def test_default_size_and_rate_and_the_times_of_the_driver(acquire):
    acquisition = acquire()
    untilFrames(acquisition, 20)
    assert events(acquisition, "camera-opened") == ["Camera 0: 640 x 480 at 30 images/s, YUYV, driver V4L2."]
    frames = acquisition.of("frame")
    assert frames[0]["shape"] == [1, 480, 640, 3]
    steps = np.diff([frame["deviceTime"] for frame in frames]) * 30
    assert np.allclose(steps, np.round(steps), atol=0.01)
    assert all(-0.005 < frame["receiveTime"] - frame["deviceTime"] < 0.5 for frame in frames)
    assert acquisition.stop() == 0
    assert acquisition.of("log") == []


def test_requested_modes_and_modes_that_the_camera_does_not_offer(acquire):
    acquisition = acquire(width=320, height=240, rate=15.0, backend="V4L2", codec="YUYV", colour=False)
    untilFrames(acquisition, 3)
    assert events(acquisition, "camera-opened") == ["Camera 0: 320 x 240 at 15 images/s, YUYV, driver V4L2."]
    assert "not-offered" not in acquisition.codes
    assert acquisition.of("frame")[0]["shape"] == [1, 240, 320]
    other = acquire(width=1920, height=1080, rate=120.0, codec="MJPG")
    untilFrames(other, 3)
    (text,) = events(other, "not-offered")
    for asked in ("pictures of 1920 x 1080", "120 images/s", "the codec MJPG"):
        assert asked in text


@pytest.mark.parametrize("codec", [b"Y16 ", b"Y12 ", b"Y10 ", b"Y16\xa0"])
def test_grey_values_of_16_bits_are_not_reduced(acquire, monkeypatch, tmp_path, codec):
    """The last codec is Y16 with the most significant byte first, which nobody can type."""
    monkeypatch.setenv("CAMERA_CODEC", os.fsdecode(codec))
    asked = codec.decode() if codec.isascii() else ""
    acquisition = acquire(width=320, height=240, codec=asked, flip="horizontal")
    acquisition.record(tmp_path / "out", "Cine")
    untilFrames(acquisition, acquisition.received + 3)
    acquisition.send("stopRecording")
    acquisition.until(lambda: acquisition.of("recorded"))
    assert "depth-reduced" not in acquisition.codes
    pixels = openRecording(acquisition.of("recorded")[0][0]).pixels(0)
    rows, columns = np.mgrid[:240, :320]
    assert pixels.dtype == np.uint16
    assert np.array_equal(pixels[0], (100 * columns + rows)[:, ::-1])


def test_unplugged_and_plugged_in_again(acquire, plug):
    acquisition = acquire()
    untilFrames(acquisition, 5)
    plug.touch()
    acquisition.until(lambda: "camera-gone" in acquisition.codes)
    acquisition.until(lambda: any("delivers no pictures any more" in status for status in acquisition.of("status")))
    plug.unlink()
    acquisition.until(lambda: "camera-back" in acquisition.codes)
    untilFrames(acquisition, acquisition.received + 5)
    assert happened(acquisition) == ["camera-opened", "camera-gone", "camera-back"]
    assert acquisition.counts["rejected"] == 0


def test_a_camera_that_hangs_is_reopened(acquire, hang):
    acquisition = acquire()
    untilFrames(acquisition, 5)
    hang.touch()
    acquisition.until(lambda: "camera-gone" in acquisition.codes)
    hang.unlink()
    untilFrames(acquisition, acquisition.received + 5)
    assert happened(acquisition) == ["camera-opened", "camera-gone", "camera-back"]


def test_a_camera_without_pictures_is_reported_as_silent(acquire, hang, monkeypatch):
    monkeypatch.setenv("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "60")
    acquisition = acquire()
    untilFrames(acquisition, 5)
    hang.touch()
    acquisition.until(lambda: "camera-silent" in acquisition.codes)
    (text,) = events(acquisition, "camera-silent")
    assert text.startswith("Camera 0 is open but has delivered no picture for 5 s. Choose another")
    assert acquisition.stop() == 0


def test_losses_of_the_driver_are_counted_separately(acquire, tmp_path):
    """The driver loses one picture in ten; all others are recorded."""
    acquisition = acquire(drops=10)
    acquisition.record(tmp_path / "out", "Cine")
    acquisition.until(lambda: acquisition.of("details") and acquisition.of("details")[-1]["grabbed"] >= 60, 20)
    acquisition.send("stopRecording")
    acquisition.until(lambda: acquisition.of("recorded"))
    details = acquisition.of("details")[-1]
    assert details["driverTells"]
    assert details["passedOver"] == details["lost"] == 0
    # A busy computer may lose further pictures; the driver loses one in ten.
    assert details["driverDropped"] >= details["grabbed"] // 10 - 1
    assert "lost by the camera or its driver" in events(acquisition, "driver-dropped")[0]
    part = openRecording(acquisition.of("recorded")[0][0])
    assert part.count == acquisition.counts["recorded"]
    # The device writes the number of each picture into its middle row, and begins again after 200.
    luma = [int(part.pixels(index)[0, 240, 100].sum()) for index in range(part.count)]
    numbers = [round(30 * (one["deviceTime"] - part.frames[0]["deviceTime"])) for one in part.frames]
    assert len(set(numbers)) == part.count
    shown = {number % 200 for number in numbers}
    assert len({(number % 200, value) for number, value in zip(numbers, luma, strict=True)}) == len(shown)
    assert len(set(luma)) == len(shown)
    assert acquisition.counts["rejected"] == 0


def test_the_search_finds_the_camera_with_its_modes(library, plug, monkeypatch):
    monkeypatch.setenv("LD_PRELOAD", str(library))

    def search():
        command = [sys.executable, "-u", PROGRAM, "cameras"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as made:
            lines = [json.loads(line) for line in made.stdout]
            assert made.wait(60) == 0
            assert made.stderr.read() == b""
        assert lines[0] == {"pid": made.pid}
        return [line for line in lines[1:] if "log" not in line]

    found, end = search()
    offer = CameraOffer.fromJSON(found["camera"])
    assert offer == CameraOffer(
        device=0,
        size=(640, 480),
        rate=30.0,
        codec="YUYV",
        sizes=((320, 240), (640, 480)),
        rates=(15.0, 30.0),
        codecs=("YUYV",),
        backends=("V4L2",),
    )
    assert end == {"end": True}
    plug.touch()
    assert search() == [{"end": True}]
