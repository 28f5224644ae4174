"""python3 run.py demo: every frame arrives as sent, and the picture shows it."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from PIL import Image
from RealTimeImagingLib.Recording.Lock import Lock

from .conftest import SHARED

PROCESSING = "processed", "processingSkipped", "processingFailed"


@pytest.fixture(autouse=True)
def turn(tmp_path_factory):
    """Let one demo run at a time, whichever test processes there are: each must show its images at their rate."""
    path, end = str(tmp_path_factory.getbasetemp().parent / "demo.lock"), time.monotonic() + 300
    while not (lock := Lock.claim(path) or Lock.takeOver(path)):
        assert time.monotonic() < end, "another demo did not end in time"
        time.sleep(0.2)
    yield
    lock.release(remove=True)


MEAN = """
import numpy as np

total = None


def process(frame):
    global total
    total = frame.pixels.astype(np.float32) if total is None else total + frame.pixels
    if frame.number == 5:
        raise ValueError("five")
    return total
"""


def inputs():
    """The phantom, real inputs that install with packages, and one that lies beside the project."""
    import nibabel
    from pydicom.data import get_testdata_file

    beside = ["--record", "--process", "made.py"]
    yield pytest.param(nibabel.__path__[0] + "/tests/data/functional.nii", ["--mode", "burst"], id="nifti-4d")
    cine = str(get_testdata_file("examples_ybr_color.dcm"))
    yield pytest.param(cine, [], id="dicom-cine")
    yield pytest.param(None, ["--mode", "grow", *beside], id="growing-and-recorded")
    yield pytest.param(cine, ["--source", "replay", *beside], id="replayed-and-recorded")
    yield pytest.param(None, ["--source", "openigtlink", *beside], id="openigtlink")
    yield pytest.param(None, ["--source", "tracked", "--record"], id="tracked")
    video = ["--source", "openigtlink", "--video", "vp9", "--record"]
    yield pytest.param(None, video, id="compressed-video")
    for source in ("http", "camera", "dicom"):
        yield pytest.param(None, ["--source", source, *beside], id=source)
    yield pytest.param(None, ["--source", "mrd", "--record"], id="mrd")
    real = SHARED / "rtcloud_10vol.nii.gz"
    missing = pytest.mark.skipif(not real.exists(), reason=f"{real.name} is not beside the project")
    yield pytest.param(str(real), [], id="fmri", marks=missing)


@pytest.mark.parametrize(("path", "options"), inputs())
def test_everyFrameArrivesAsItWasSent(tmp_path, monkeypatch, path, options):
    """Also while a function runs beside the source: its results are those of the same function on the sent frames."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "made.py").write_text(MEAN)
    report, picture = tmp_path / "r.json", tmp_path / "p.png"
    # A computer that is too busy to draw most of five images a second draws most of two.
    for rate in ("5", "2"):
        command = [sys.executable, "-m", "demo", "--frames", "15", "--fps", rate, *options]
        command += ["--report", str(report), "--screenshot", str(picture), *(["--input", path] if path else [])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        found = json.loads(report.read_text())
        assert found["framesSent"] == found["received"] == 15 == found["shown"] + found["skipped"]
        assert found["pixelsEqual"] is True
        assert found["rejected"] == found["failed"] == 0
        assert found["recorded"] == (15 if "--record" in options else 0)
        if "--process" in options:
            # The function fails with one frame.
            assert [found[name] for name in PROCESSING] == [14, 0, 1]
            assert found["resultsCompared"] == 14
        most = found["shown"] >= (5 if "burst" in options else 8)
        if most:
            break
    assert most, found
    image = Image.open(picture).convert("L")
    red = image.crop((image.width // 3, 0, 2 * image.width // 3, image.height // 2))
    assert red.getextrema()[1] > 150


def test_theVolumeOfAScanIsThePhantom(tmp_path):
    """Images, poses, time offset and reconstruction: 35 images, of which the last 5 are shown at the end."""
    report = tmp_path / "r.json"
    command = [sys.executable, "-m", "demo", "--source", "reconstruction", "--frames", "35", "--report", str(report)]
    command += ["--screenshot", str(tmp_path / "p.png")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    assert found["framesSent"] == found["received"] == found["recorded"] == found["processed"] == 35
    # Four, and one more for each second in which a busy computer brings no image.
    assert found["resultsCompared"] >= 4
    assert found["voxelsCompared"] > 500_000
    assert found["pixelsEqual"] is True


def test_video_of_1080p_comes_over_the_network_and_is_recorded_whole(tmp_path):
    report, picture = tmp_path / "r.json", tmp_path / "p.png"
    command = [sys.executable, "-m", "demo", "--source", "openigtlink", "--size", "1080p", "--record"]
    command += ["--frames", "30", "--fps", "30", "--report", str(report), "--screenshot", str(picture)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    assert found["framesSent"] == found["received"] == found["recorded"] == 30
    assert found["pixelsEqual"] is True
    assert found["rejected"] == found["failed"] == 0


SLOW = """
import time


def process(frame):
    time.sleep(0.4)
    return frame.pixels // 2
"""
WRONG = """
import os


def process(frame):
    return frame.pixels + frame.pixels.dtype.type(os.urandom(1)[0] % 100)
"""


def processed(tmp_path, *options, code=""):
    """The report of a demo with a function beside it, and its exit code."""
    report = tmp_path / "r.json"
    if code:
        (tmp_path / "made.py").write_text(code)
        options = ("--process", str(tmp_path / "made.py"), *options)
    command = [sys.executable, "-m", "demo", *options, "--report", str(report), "--screenshot", str(tmp_path / "p.png")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    found = json.loads(report.read_text())
    decided = [found[name] for name in PROCESSING]
    assert sum(decided) == found["received"] == found["framesSent"] == found["recorded"]
    return found, decided, done.returncode


def test_aBuiltInFunctionRunsBesideTheDemo(tmp_path):
    found, decided, code = processed(tmp_path, "--process", "temporalsnr", "--frames", "15", "--fps", "5")
    assert decided == [15, 0, 0]
    # One volume alone has no map.
    assert found["resultsCompared"] == 14
    assert found["pixelsEqual"] is True
    assert code == 0


def test_aSlowFunctionSkipsFramesAndTheRestIsCompared(tmp_path):
    found, decided, code = processed(tmp_path, "--frames", "15", "--fps", "10", "--every", "newest", code=SLOW)
    assert 0 < decided[0] < 15
    assert decided[2] == 0
    assert found["resultsCompared"] == decided[0]
    assert found["pixelsEqual"] is True
    assert code == 0


def test_resultsThatCannotBeRepeatedAreNotCompared(tmp_path):
    found, decided, code = processed(tmp_path, "--frames", "5", "--fps", "5", code=WRONG)
    assert decided == [5, 0, 0]
    assert found["resultsCompared"] == 0
    assert found["pixelsEqual"] is True
    assert code == 0


def test_anotherResultIsNoticed(tmp_path):
    """The function reads a file that changes between the demo and the repetitions."""
    code = f"""
import os

changed = os.path.exists({str(tmp_path / "again")!r})


def process(frame):
    if frame.number == 4:
        open({str(tmp_path / "again")!r}, "w").close()
    return frame.pixels + changed
"""
    found, decided, code = processed(tmp_path, "--frames", "5", "--fps", "5", code=code)
    assert decided == [5, 0, 0]
    assert found["resultsCompared"] == 5
    assert found["pixelsEqual"] is False
    assert code == 1
