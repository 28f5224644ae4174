"""Programs that post images: from the curl command in the panel to volume, recording, and crash."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest
from RealTimeImagingLib import HTTPSettings
from RealTimeImagingLib.Model.Frame import checksum
from unit.conftest import niftiFile, sumOf, volume

from .conftest import until, untilRunning, untilStopped
from .test_Panel import panelOf


class Sender(threading.Thread):
    """Program that posts images, one after the other."""

    def __init__(self, details, bodies, path=""):
        super().__init__()
        self._url, self._token, self._bodies = details["url"] + path, details["token"], bodies
        self.answers = []

    def run(self):
        for body in self._bodies:
            request = urllib.request.Request(self._url, body, {"Authorization": f"Bearer {self._token}"})
            try:
                with urllib.request.urlopen(request, timeout=20) as answer:
                    self.answers.append((answer.status, json.load(answer)))
            except urllib.error.HTTPError as error:
                with error:
                    self.answers.append((error.code, json.load(error)))


def post(source, *bodies, path=""):
    """Post images while Slicer's event loop runs; return the answers."""
    until(lambda: source.details)
    sender = Sender(source.details, bodies, path)
    sender.start()
    until(lambda: not sender.is_alive(), 60)
    return sender.answers


def chooseHTTP(ui):
    ui.sourceComboBox.currentIndex = ui.sourceComboBox.findText("Images posted over HTTP")
    ui.http_port.value = 0


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_theCommandInThePanelSendsAnImage(slicer, module, views, logic, tmp_path, noErrors):
    """Choose the source, start, copy, and run the command in a terminal: the volume has the image."""
    ui = panelOf(module).ui
    chooseHTTP(ui)
    assert ui.http_token.isVisibleTo(ui.sourceSection)
    assert not ui.folder_folder.isVisibleTo(ui.sourceSection)
    assert not ui.http_tokenCopy.enabled
    ui.startButton.click()
    until(lambda: ui.http_token.text and ui.http_curl.text)
    assert ui.http_token.readOnly
    until(lambda: "Waiting for images that programs post to http://127.0.0.1:" in ui.statusLabel.text)
    ui.http_tokenCopy.click()
    assert slicer.app.clipboard().text() == ui.http_token.text == logic.sources()[0].details["token"]
    ui.http_curlCopy.click()
    line = slicer.app.clipboard().text()
    assert ui.http_token.text in line
    (tmp_path / "image.nii").write_bytes(niftiFile(3))
    command = subprocess.Popen(line.replace(".nii.gz", ".nii"), shell=True, cwd=tmp_path, stdout=subprocess.PIPE)
    until(lambda: command.poll() is not None)
    with command.stdout:
        assert json.load(command.stdout) == {"stream": "Live", "number": 0, "numbers": [0]}
    until(lambda: logic.statistics()["shown"] == 1)
    assert checksum(slicer.util.arrayFromVolume(logic.liveVolumeNode())) == sumOf(3)
    ui.startButton.click()
    until(lambda: not logic.isRunning())
    until(lambda: not ui.http_token.text)


def test_theTokenIsNotSaved(slicer, module, logic, noErrors):
    """Neither in the scene nor in Slicer's settings, which have the other values."""
    ui = panelOf(module).ui
    chooseHTTP(ui)
    ui.http_sizeLimit.value = 77
    ui.startButton.click()
    until(lambda: ui.http_token.text)
    token = ui.http_token.text
    untilStopped(logic)
    chosen = "a-token-that-the-user-chose"
    source = logic.start(HTTPSettings(port=0, token=chosen, sizeLimit=77 << 20))
    until(lambda: source.details)
    assert source.details["token"] == chosen
    untilStopped(logic)
    stored = slicer.app.userSettings().value("RealTimeImaging/Settings/http")
    for text in (stored, str(logic.getParameterNode())):
        assert token not in text
        assert chosen not in text
    assert logic.sceneSettings() == HTTPSettings(port=0, sizeLimit=77 << 20)
    assert json.loads(stored)["sizeLimit"] == 77 << 20


def test_answeredImagesAreReceivedShownAndRecorded(slicer, views, logic, tmp_path, noErrors):
    """Two programs with a stream each, one invalid image; the counts of all sides agree."""
    logic.startRecording(tmp_path / "recordings", name="Posted")
    source = logic.start(HTTPSettings(port=0))
    untilRunning(source)
    answers = post(source, *(niftiFile(number) for number in range(20)), path="?stream=A")
    answers += post(source, *(niftiFile(number) for number in range(20, 30)), b"nothing" * 99, path="?stream=B")
    assert [status for status, _ in answers] == [200] * 30 + [415]
    assert all(values["recorded"] for _, values in answers[:30])
    assert [values["number"] for _, values in answers[:30]] == [*range(20), *range(10)]
    until(lambda: logic.statistics()["rejected"] == 1 and logic.statistics()["received"] == 30)
    counts = logic.statistics()
    assert (counts["received"], counts["recorded"], counts["failed"]) == (30, 30, 0)
    assert counts["shown"] + counts["skipped"] == 30
    assert checksum(slicer.util.arrayFromVolume(logic.liveVolumeNode("A"))) == sumOf(19)
    assert checksum(slicer.util.arrayFromVolume(logic.liveVolumeNode("B"))) == sumOf(29)
    browser = logic.stopRecording()
    until(lambda: not logic.recording.building)
    assert browser.GetMasterSequenceNode().GetNumberOfDataNodes() == 20
    untilStopped(logic)


def test_rawPixelsWithGeometryAndMetadata(slicer, views, logic, noErrors):
    """The volume has the geometry, the frame the time and the attributes."""
    source = logic.start(HTTPSettings(port=0))
    frames = []
    logic.addFrameCallback(lambda frame: frames.append((frame.deviceTime, dict(frame.attributes))))
    matrix = [[0, -2.0, 0, 10], [1.5, 0, 0, -20], [0, 0, 3.0, 30], [0, 0, 0, 1]]
    numbers = ",".join(str(value) for row in matrix for value in row)
    path = f"?shape=2,3,4&dtype=int16&ijkToRAS={numbers}&time=1700000000.5&attr.SpecimenID=UF-7"
    ((status, _),) = post(source, volume(1).pixels.tobytes(), path=path)
    assert status == 200
    until(lambda: frames)
    assert frames[0][0] == 1700000000.5
    assert frames[0][1]["SpecimenID"] == "UF-7"
    node = logic.liveVolumeNode()
    assert checksum(slicer.util.arrayFromVolume(node)) == sumOf(1)
    import vtk

    placed = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(placed)
    np.testing.assert_allclose(slicer.util.arrayFromVTKMatrix(placed), matrix)
    untilStopped(logic)


def test_killWhileReceiving(logic, noErrors):
    """After a crash of the process, port, token and numbers stay: senders continue."""
    source = logic.start(HTTPSettings(port=0))
    assert post(source, niftiFile(0), niftiFile(1))[-1] == (200, {"stream": "Live", "number": 1, "numbers": [1]})
    before, pid = dict(source.details), source.pid
    os.kill(pid, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
    until(lambda: source.pid not in (0, pid) and source.state == "running")
    until(lambda: "Waiting for" in source.status)
    assert source.details == before
    assert post(source, niftiFile(2)) == [(200, {"stream": "Live", "number": 2, "numbers": [2]})]
    until(lambda: logic.statistics()["received"] == 3)
    untilStopped(logic)
