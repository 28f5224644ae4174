"""The README's examples run as they stand, one after another, as in Slicer's console."""

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
from RealTimeImagingLib.Model.Frame import checksum
from RealTimeImagingLib.OpenIGTLink import StatusMessage
from unit.cameraSource import film, picture
from unit.conversions import series
from unit.openIGTLinkSource import freePort, hear, image, sendAll

from .conftest import ROOT, SIMULATOR, until, untilStopped
from .test_OpenIGTLink import waiting

COMING = "# ... images come ...\n"
"""Where an example waits for images."""


OWN = (
    "Frames from Python",
    "OpenIGTLink",
    "DICOM series to NRRD",
    "DICOM from a scanner or archive",
    "MRI scanners over MRD (ISMRMRD)",
    "Camera",
    "Images over HTTP",
)
"""The sections that need no folder: each has a test of its own."""


def sections():
    """The text of each section by its heading."""
    parts = re.split(r"^## (.*)\n", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def blocksOf(text):
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_pythonExamples(slicer, views, logic, incoming, tmp_path, noErrors, capsys):
    text = "".join(text for heading, text in sections().items() if heading not in OWN)
    text = text.replace("/data/incoming", str(incoming)).replace("/data/recordings", str(tmp_path / "recordings"))
    blocks = blocksOf(text)
    assert len(blocks) >= 4
    stopping = [block for block in blocks if "logic.stop()" in block]
    halves = [block.partition(COMING) for block in blocks if block not in stopping]
    console = {"slicer": slicer}
    for before, _, _after in halves:
        exec(before, console)
    until(lambda: logic.recording.status()["free"] is not None)
    array = np.arange(64 * 64 * 24, dtype=np.int32).reshape(64, 64, 24)
    image = nibabel.Nifti1Image(array, np.eye(4))
    image.to_filename(incoming / ".a.nii")
    (incoming / ".a.nii").rename(incoming / "a.nii")
    until(lambda: logic.statistics()["shown"] == 1)
    for _before, _, after in halves:
        exec(after, console)
    until(lambda: not logic.recording.building and not logic.exports.status()["running"])
    assert console["browserNode"].GetMasterSequenceNode().GetNumberOfDataNodes() == 1
    for block in stopping:
        exec(block, console)
    until(lambda: not logic.isRunning())
    printed = capsys.readouterr().out
    assert f"0 {array.mean()}" in printed
    assert "a.nii: " in printed
    assert "folder-there Watching" in printed
    assert "saved Saved and compared" in printed
    suffixes = sorted("".join(path.suffixes) for path in (tmp_path / "recordings").iterdir())
    assert [suffix for suffix in suffixes if suffix in (".json", ".nrrd", ".raw", ".seq.nhdr")] == suffixes


class Camera:
    """Stands in for a camera with OpenCV."""

    def __init__(self, number):
        self.images = [np.full((4, 6, 3), (value, 0, 0), np.uint8) for value in range(20)]

    def isOpened(self):
        return True

    def read(self):
        return (True, self.images.pop(0)) if self.images else (False, None)


def test_framesFromPython(slicer, views, logic, noErrors, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", SimpleNamespace(VideoCapture=Camera))
    blocks = blocksOf(sections()["Frames from Python"])
    assert len(blocks) == 3
    console = {"slicer": slicer, "logic": logic}
    for block in blocks:
        exec(block, console)
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
    (block,) = blocksOf(sections()["Camera"])
    path = film(tmp_path / "video.mkv", [picture(number) for number in range(10)], rate=50)
    assert "CameraSettings(0, width=1280, height=720, " in block
    block = block.replace("CameraSettings(0, width=1280, height=720, ", f"CameraSettings({path!r}, ")
    before, after = block.split("# ... pictures come ...\n")
    console = {"slicer": slicer, "logic": logic}
    exec(before, console)
    source = console["source"]
    until(lambda: "has ended" in source.status and source.details.get("grabbed") == 10)
    exec(after, console)
    assert "'passedOver': " in capsys.readouterr().out
    assert logic.showIn("Camera") == "Red"
    matrix = vtk.vtkMatrix4x4()
    logic.liveVolumeNode("Camera").GetIJKToRASMatrix(matrix)
    assert matrix.GetElement(0, 0) == -0.25
    untilStopped(logic)


def test_openIGTLink(slicer, views, logic, noErrors, capsys):
    (block,) = blocksOf(sections()["OpenIGTLink"])
    ports = {"18944": str(freePort()), "18945": str(freePort())}
    for port, free in ports.items():
        block = block.replace(port, free)
    before, after = block.split("# ... the device connects ...\n")
    console = {"slicer": slicer, "logic": logic}
    exec(before, console)
    until(lambda: "Waiting for" in console["source"].status)
    with socket.create_connection(("127.0.0.1", int(ports["18944"]))) as device:
        until(logic.devices.canSend)
        exec(after, console)
        until(lambda: waiting(device))
        heard = []
        while {one.message_type for one in heard} < {"TRANSFORM", "STRING"}:
            heard += hear(device, 1)
        assert [one.string for one in heard if one.message_type == "STRING"] == ["START_SEQUENCE"]
        sendAll(device, StatusMessage(1, 0, "OK", "scanning", device_name="Scanner"))
        until(lambda: "answered" in [event.code for event in logic.events()])
        until(lambda: ports["18945"] in logic.broadcast.words())
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
    text = sections()["Images over HTTP"].replace("18980", str(freePort()))
    start, sender = blocksOf(text)
    before, waits, after = start.partition("# ... it listens ...\n")
    assert waits
    console = {"logic": logic}
    exec(before, console)
    until(lambda: console["source"].details)
    exec(after, console)
    token = capsys.readouterr().out.strip()
    logic.startRecording(tmp_path / "recordings")
    until(lambda: logic.recording.status()["free"] is not None)
    nibabel.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4)).to_filename(
        tmp_path / "image.nii.gz"
    )
    line = re.search(r"```\n(curl .*)\n```", text)[1]
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
    (block,) = blocksOf(sections()["DICOM from a scanner or archive"])
    port = str(freePort())
    block = block.replace("/data/received", str(tmp_path / "received")).replace("11112", port)
    before, after = block.split("# ... a scanner sends ...\n")
    console = {"slicer": slicer, "logic": logic}
    exec(before, console)
    until(lambda: "Waiting for images" in console["source"].status)
    command = [sys.executable, str(SIMULATOR), "--store", port, "--frames", "2", "--thin", "8"]
    with subprocess.Popen(command) as scanner:
        until(lambda: scanner.poll() == 0)
    until(lambda: logic.statistics()["received"] == 2)
    # Not before the scanner's end of the connection was heard.
    until(lambda: "Waiting for images" in (said := console["source"].status) and "14 instances stored" in said)
    exec(after, console)
    printed = capsys.readouterr().out
    assert f"Waiting for images sent to SLICER on 127.0.0.1, port {port}" in printed
    assert "['Simulated 1']" in printed
    assert len(list((tmp_path / "received").rglob("*.dcm"))) == 14
    untilStopped(logic)


def test_mrdServerAndClient(slicer, views, logic, tmp_path, noErrors, capsys):
    """The client of the second example sends to the server of the first."""
    server, client = blocksOf(sections()["MRI scanners over MRD (ISMRMRD)"])
    port = str(freePort())
    before, waits, after = server.replace("9002", port).partition("# ... a scanner sends ...\n")
    assert waits
    console = {"slicer": slicer, "logic": logic}
    exec(before, console)
    until(lambda: "Waiting for a device" in console["source"].status)
    first = console["source"]
    path = tmp_path / "run.nii"
    nibabel.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4)).to_filename(path)
    exec(client.replace("9002", port).replace("/data/run.h5", str(path).replace("\\", "/")), console)
    until(lambda: "5 images sent, back: 5 images received" in console["source"].status)
    until(lambda: "Waiting for the next measurement" in first.status and logic.statistics()["received"] == 2)
    exec(after, {**console, "source": first})
    status, streams = capsys.readouterr().out.splitlines()
    assert status == "Waiting for the next measurement."
    assert sorted(ast.literal_eval(streams)) == ["run", "run 2"]
    assert [one["received"] for one in logic.statistics()["streams"].values()] == [1, 1]
    untilStopped(logic)


def test_conversion(slicer, logic, tmp_path, noErrors, capsys):
    series(tmp_path / "dicom", SeriesDescription="Core A")
    console, cluster = (
        block.replace("/data", str(tmp_path).replace("\\", "/"))
        for block in blocksOf(sections()["DICOM series to NRRD"])
    )
    before, after = console.split("# ... it ends ...\n")
    exec(before, {"slicer": slicer, "logic": logic})
    until(lambda: not logic.conversion.status()["running"], 30)
    exec(after, {"slicer": slicer, "logic": logic})
    assert "done 007_Core_A.nrrd" in capsys.readouterr().out
    assert slicer.util.getNode("007_Core_A").GetImageData().GetDimensions() == (4, 5, 6)
    pytest.importorskip("distributed", reason="dask is not installed")
    program = tmp_path / "cluster.py"
    program.write_text(cluster)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "RealTimeImaging")}
    made = subprocess.run([sys.executable, str(program)], env=environment, capture_output=True, text=True, check=True)
    assert "1 volume: 1 done" in made.stdout


def test_everyPathInTheReadmeIsThere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / path).exists(), path
