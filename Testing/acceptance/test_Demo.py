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


@pytest.fixture(autouse=True)
def turn(tmp_path_factory):
    """Let one demo run at a time, whichever test processes there are: each must show its images at their rate."""
    path, end = str(tmp_path_factory.getbasetemp().parent / "demo.lock"), time.monotonic() + 300
    while not (lock := Lock.claim(path) or Lock.takeOver(path)):
        assert time.monotonic() < end, "another demo did not end in time"
        time.sleep(0.2)
    yield
    lock.release(remove=True)


def inputs():
    """The phantom, real inputs that install with packages, and one that lies beside the project."""
    import nibabel
    from pydicom.data import get_testdata_file

    yield pytest.param(None, ["--mode", "grow"], id="growing")
    yield pytest.param(nibabel.__path__[0] + "/tests/data/functional.nii", ["--mode", "burst"], id="nifti-4d")
    yield pytest.param(str(get_testdata_file("examples_ybr_color.dcm")), [], id="dicom-cine")
    yield pytest.param(None, ["--record"], id="recorded")
    cine = str(get_testdata_file("examples_ybr_color.dcm"))
    yield pytest.param(cine, ["--source", "replay", "--record"], id="replayed-and-recorded")
    yield pytest.param(None, ["--source", "openigtlink", "--record"], id="openigtlink")
    yield pytest.param(None, ["--source", "http", "--record"], id="http")
    yield pytest.param(None, ["--source", "camera", "--record"], id="camera")
    yield pytest.param(None, ["--source", "dicom", "--record"], id="dicom")
    real = SHARED / "rtcloud_10vol.nii.gz"
    missing = pytest.mark.skipif(not real.exists(), reason=f"{real.name} is not beside the project")
    yield pytest.param(str(real), [], id="fmri", marks=missing)


@pytest.mark.parametrize(("path", "options"), inputs())
def test_everyFrameArrivesAsItWasSent(tmp_path, path, options):
    report, picture = tmp_path / "r.json", tmp_path / "p.png"
    command = [sys.executable, "-m", "demo", "--frames", "15", "--fps", "5", *options]
    command += ["--report", str(report), "--screenshot", str(picture), *(["--input", path] if path else [])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    assert found["framesSent"] == found["received"] == 15 == found["shown"] + found["skipped"]
    assert found["pixelsEqual"] is True
    assert found["rejected"] == found["failed"] == 0
    assert found["recorded"] == (15 if "--record" in options else 0)
    # Most of them, however busy this computer is.
    assert found["shown"] >= (5 if "burst" in options else 8)
    image = Image.open(picture).convert("L")
    red = image.crop((image.width // 3, 0, 2 * image.width // 3, image.height // 2))
    assert red.getextrema()[1] > 150


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
