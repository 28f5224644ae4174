"""Pages of docs/ for users: their blocks run as they stand, one after another, as in Slicer's console."""

from __future__ import annotations

import ast
import os
import re
import shutil
import socket
import subprocess
import sys
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
import vtk
from pictures.Tutorials import areReady
from RealTimeImagingLib.Model.Frame import checksum
from RealTimeImagingLib.OpenIGTLink import StatusMessage
from unit.cameraSource import film, picture
from unit.conversions import series
from unit.openIGTLinkSource import freePort, hear, image, sendAll

from .conftest import ROOT, SIMULATOR, until, untilStopped
from .test_OpenIGTLink import waiting

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
WAIT = re.compile(r"# \.\.\. (.*) \.\.\.\n")


class Page:
    """A page of docs/ whose blocks of Python are copied into Slicer's console, one after the other.

    :param changes: texts of the blocks, and what replaces them.
    """

    def __init__(self, name, slicer, changes):
        text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        for before, after in changes.items():
            assert before in text, before
            text = text.replace(before, after)
        self.text = text
        self.blocks = [block for language, block in BLOCK.findall(text) if language == "python"]
        self.names = {"slicer": slicer, "__name__": "__main__"}

    def paste(self, ready=None):
        """Run the next block, when what its first line waits for has happened."""
        block = self.blocks.pop(0)
        assert bool(WAIT.match(block)) == bool(ready), block
        if ready:
            until(ready)
        exec(block, self.names)


def save(folder, name, array):
    """Write a NIfTI file under another name, and rename it."""
    nibabel.Nifti1Image(array, np.eye(4)).to_filename(folder / f".{name}")
    (folder / f".{name}").rename(folder / name)


def test_recording(slicer, views, logic, incoming, tmp_path, noErrors):
    folder = (tmp_path / "recordings").as_posix()
    page = Page("recording.md", slicer, {"/data/incoming": incoming.as_posix(), "/data/recordings": folder})
    page.paste()
    until(lambda: logic.recording.status()["free"] is not None)
    save(incoming, "a.nii", np.arange(64 * 64 * 24, dtype=np.int32).reshape(64, 64, 24))
    page.paste(lambda: logic.statistics()["shown"] == 1)
    page.paste(lambda: not logic.recording.building and not logic.exports.status()["running"])
    browser = page.names["browserNode"]
    assert browser.GetMasterSequenceNode().GetNumberOfDataNodes() == 1
    until(lambda: not logic.isRunning())
    page.paste()
    page.paste(lambda: "has ended" in page.names["replay"].status)
    until(lambda: not logic.isRunning())
    suffixes = sorted("".join(path.suffixes) for path in (tmp_path / "recordings").iterdir())
    assert suffixes == [".json", ".nrrd", ".raw", ".seq.nhdr"]
    assert page.blocks == []


def test_python(slicer, views, logic, incoming, tmp_path, noErrors, capsys, monkeypatch):
    """The second half of the page has a test of its own."""
    page = Page("python.md", slicer, {"/data/incoming": incoming.as_posix()})
    array = np.arange(64 * 64 * 24, dtype=np.int32).reshape(64, 64, 24)
    page.paste()
    page.paste()
    save(incoming, "a.nii", array)
    page.paste(lambda: logic.statistics()["shown"] == 1)
    printed = capsys.readouterr().out
    assert f"0 {array.mean()}\n" in printed
    assert "a.nii: " in printed
    assert "folder-there Watching" in printed
    page.paste()
    until(lambda: not logic.isRunning())
    page.paste()
    until(lambda: areReady(logic))
    for name in ("b.nii", "c.nii"):
        save(incoming, name, array)
    figures = page.names["tsnr"].statistics
    page.paste(lambda: figures().get("processed", 0) > 0)
    until(lambda: not logic.isRunning())
    printed = capsys.readouterr().out
    assert "'processed': " in printed
    assert "mean" not in printed


class Camera:
    """Stands in for a camera with OpenCV."""

    def __init__(self, number):
        self.images = [np.full((4, 6, 3), (value, 0, 0), np.uint8) for value in range(20)]

    def isOpened(self):
        return True

    def read(self):
        return (True, self.images.pop(0)) if self.images else (False, None)


PUSH = ("walk, position", "import cv2", "def overlay")
"""Words of the blocks that push."""


def test_framesFromPython(slicer, views, logic, noErrors, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", SimpleNamespace(VideoCapture=Camera))
    page = Page("python.md", slicer, {})
    page.names["logic"] = logic
    del page.blocks[: -len(PUSH)]
    for words in PUSH:
        assert words in page.blocks[0]
        page.paste()
    until(lambda: logic.statistics()["streams"]["Walk"]["received"] == 201)
    logic.stop()
    until(lambda: not logic.isRunning())
    received = {name: one["received"] for name, one in logic.statistics()["streams"].items()}
    assert received.pop("Walk overlay") >= 1
    assert received == {"Walk": 201, "Camera": 20}
    assert (slicer.util.arrayFromVolume(logic.liveVolumeNode("Camera"))[..., 2] == 19).all()
    walk, overlay = (slicer.util.arrayFromVolume(logic.liveVolumeNode(name)) for name in ("Walk", "Walk overlay"))
    assert ((overlay == (255, 0, 0)).all(axis=-1) == (walk == 255)).all()
    assert logic.showIn("Walk overlay") == "Red"


def test_camera(slicer, views, logic, tmp_path, noErrors, capsys):
    path = film(tmp_path / "video.mkv", [picture(number) for number in range(10)], rate=50)
    settings = {"CameraSettings(0, width=1280, height=720, ": f"CameraSettings({path!r}, "}
    page = Page("sources/camera.md", slicer, settings)
    page.paste()
    source = page.names["source"]
    page.paste(lambda: "has ended" in source.status and source.details.get("grabbed") == 10)
    assert "'passedOver': " in capsys.readouterr().out
    assert logic.showIn("Camera") == "Red"
    matrix = vtk.vtkMatrix4x4()
    logic.liveVolumeNode("Camera").GetIJKToRASMatrix(matrix)
    assert matrix.GetElement(0, 0) == -0.25
    untilStopped(logic)


def test_openIGTLink(slicer, views, logic, noErrors, capsys):
    ports = {"18944": str(freePort()), "18945": str(freePort())}
    page = Page("sources/openigtlink.md", slicer, ports)
    page.paste()
    until(lambda: "Waiting for" in page.names["source"].status)
    with socket.create_connection(("127.0.0.1", int(ports["18944"]))) as device:
        page.paste(logic.devices.canSend)
        until(lambda: waiting(device))
        heard = []
        while {one.message_type for one in heard} < {"TRANSFORM", "STRING"}:
            heard += hear(device, 1)
        assert [one.string for one in heard if one.message_type == "STRING"] == ["START_SEQUENCE"]
        sendAll(device, StatusMessage(1, 0, "OK", "scanning", device_name="Scanner"))
        until(lambda: "answered" in [event.code for event in logic.events()])
        until(lambda: ports["18945"] in logic.broadcast.words() and "no clients" in logic.broadcast.words())
        with socket.create_connection(("127.0.0.1", int(ports["18945"]))) as other:
            until(lambda: "1 " in logic.broadcast.words())
            sendAll(device, image(1))
            until(lambda: waiting(other))
            (got,) = hear(other, 1)
            assert checksum(got.pixels) == checksum(image(1).pixels)
        untilStopped(logic)
    assert "status Scanner" in capsys.readouterr().out


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_imagesOverHTTP(slicer, views, logic, tmp_path, noErrors, capsys):
    """The line for a terminal and the sender's Python, each as a program of its own."""
    page = Page("sources/http.md", slicer, {"18980": str(freePort())})
    page.paste()
    page.paste(lambda: "token" in page.names["source"].details)
    (sender,) = page.blocks
    text = page.text
    token = capsys.readouterr().out.strip()
    logic.startRecording(tmp_path / "recordings")
    until(lambda: logic.recording.status()["free"] is not None)
    nibabel.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4)).to_filename(
        tmp_path / "image.nii.gz"
    )
    line = re.search(r"```text\n(curl .*)\n```", text)[1]
    said = []
    for command, shell in ((line.replace("TOKEN", token), True), ([sys.executable, "-c", sender], False)):
        filled = command if shell else [one.replace("TOKEN", token) for one in command]
        program = subprocess.Popen(filled, shell=shell, cwd=tmp_path, stdout=subprocess.PIPE)
        until(lambda program=program: program.poll() is not None)
        with program.stdout:
            said.append(ast.literal_eval(program.stdout.read().decode().replace("true", "True")))
    assert said[0] == {"stream": "Live", "number": 0, "numbers": [0], "recorded": True}
    assert said[1] == {"stream": "Video", "number": 0, "numbers": [0], "recorded": True}
    assert str(said[1]) in text
    until(lambda: logic.statistics()["shown"] == 2)
    assert slicer.util.arrayFromVolume(logic.liveVolumeNode()).shape == (5, 4, 3)
    assert slicer.util.arrayFromVolume(logic.liveVolumeNode("Video")).shape == (1, 480, 640)
    logic.stopRecording()
    untilStopped(logic)
    until(lambda: not logic.recording.building)


def test_dicomReceiver(slicer, views, logic, tmp_path, noErrors, capsys):
    port, folder = str(freePort()), (tmp_path / "received").as_posix()
    page = Page("sources/dicom.md", slicer, {"/data/received": folder, "11112": port})
    page.paste()
    source = page.names["source"]
    until(lambda: "Waiting for images" in source.status)
    command = [sys.executable, str(SIMULATOR), "--store", port, "--frames", "2", "--thin", "8"]
    with subprocess.Popen(command) as scanner:
        until(lambda: scanner.poll() == 0)
    until(lambda: logic.statistics()["received"] == 2)
    # Not before the scanner's end of the connection was heard.
    page.paste(lambda: "Waiting for images" in (said := source.status) and "14 instances stored" in said)
    printed = capsys.readouterr().out
    assert f"Waiting for images sent to SLICER on 127.0.0.1, port {port}" in printed
    assert "['Simulated 1']" in printed
    assert len(list((tmp_path / "received").rglob("*.dcm"))) == 14
    untilStopped(logic)


def test_mrdServerAndClient(slicer, views, logic, tmp_path, noErrors, capsys):
    """The client of the second example sends to the server of the first."""
    path = tmp_path / "run.nii"
    page = Page("sources/mrd.md", slicer, {"9002": str(freePort()), "/data/run.h5": path.as_posix()})
    page.paste()
    first = page.names["source"]
    until(lambda: "Waiting for a device" in first.status)
    nibabel.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4)).to_filename(path)
    after, client = page.blocks
    exec(client, page.names)
    until(lambda: "5 images sent, back: 5 images received" in page.names["source"].status)
    until(lambda: "Waiting for the next measurement" in first.status and logic.statistics()["received"] == 2)
    exec(after, {**page.names, "source": first})
    status, streams = capsys.readouterr().out.splitlines()
    assert status == "Waiting for the next measurement."
    assert sorted(ast.literal_eval(streams)) == ["run", "run 2"]
    assert [one["received"] for one in logic.statistics()["streams"].values()] == [1, 1]
    untilStopped(logic)


def test_conversion(slicer, logic, tmp_path, noErrors, capsys):
    series(tmp_path / "dicom", SeriesDescription="Core A")
    page = Page("convert-dicom.md", slicer, {"/data": tmp_path.as_posix()})
    page.paste()
    page.paste(lambda: not logic.conversion.status()["running"])
    (cluster,) = page.blocks
    assert "done 007_Core_A.nrrd" in capsys.readouterr().out
    assert slicer.util.getNode("007_Core_A").GetImageData().GetDimensions() == (4, 5, 6)
    pytest.importorskip("distributed", reason="dask is not installed")
    program = tmp_path / "cluster.py"
    program.write_text(cluster)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "RealTimeImaging")}
    made = subprocess.run([sys.executable, str(program)], env=environment, capture_output=True, text=True, check=True)
    assert "1 volume: 1 done" in made.stdout
