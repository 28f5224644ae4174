"""Compressed video as a user meets it: received, shown, recorded, exported by the panel, sent on."""

from __future__ import annotations

import json
import socket

import av
import numpy as np
import pytest
from RealTimeImagingLib import OpenIGTLinkSettings
from unit.broadcast import Listening
from unit.openIGTLinkSource import freePort, sendAll
from unit.videos import MATRIX, START, decode, encode, message, messages, picture

from .conftest import until, untilRecording, untilRunning, untilStopped
from .test_Panel import panelOf
from .test_RecordingsSection import listOf

COUNT = 24


@pytest.fixture
def device(logic):
    """Starts the source as a server; returns a connected socket."""
    made = []

    def connect(**values):
        port = freePort()
        source = logic.start(OpenIGTLinkSettings(role="server", port=port, **values))
        untilRunning(source)
        until(lambda: any(event.code == "listening" for event in logic.events()))
        made.append(socket.create_connection(("127.0.0.1", port)))
        return made[-1]

    yield connect
    for one in made:
        one.close()


def stream(grey=False):
    """Messages of a video, and the pictures that PyAV decodes."""
    data = encode("H264", [picture(number, grey=grey) for number in range(COUNT)])
    return messages("H264", data, grey=grey), decode("H264", data, "gray" if grey else "rgb24")


def received(logic):
    return logic.statistics()["received"]


def recordVideo(logic, peer, folder, sent):
    """Record all messages of a video; stop."""
    logic.startRecording(str(folder))
    untilRecording(logic)
    for number, one in enumerate(sent, 1):
        sendAll(peer, one, version=2)
        until(lambda number=number: received(logic) == number)
    logic.stopRecording()
    untilStopped(logic)
    until(lambda: logic.statistics()["recorded"] == len(sent))


def test_videoIsShownRecordedAndExportedByThePanel(module, logic, device, tmp_path, noErrors):
    import slicer

    sent, pictures = stream()
    peer = device()
    folder = tmp_path / "recordings"
    recordVideo(logic, peer, folder, sent)
    node = logic.liveVolumeNode("Probe")
    assert np.array_equal(slicer.util.arrayFromVolume(node)[0], pictures[-1])
    matrix = slicer.util.arrayFromVTKMatrix(_ijkToRAS(node))
    assert np.allclose(matrix, MATRIX)
    ui = listOf(module, folder)
    until(lambda: ui.recordingsList.count == 1)
    for title, suffix, clock in (("Lossless video", "mkv", 1000), ("Video (.mp4", "mp4", 90_000)):
        names = [ui.exportFormatComboBox.itemText(index) for index in range(ui.exportFormatComboBox.count)]
        ui.exportFormatComboBox.currentIndex = next(i for i, name in enumerate(names) if name.startswith(title))
        ui.exportButton.click()
        until(lambda suffix=suffix: f".{suffix}" in logic.exports.status()["words"])
        until(lambda: "Saved and compared" in ui.exportLabel.text)
        (path,) = folder.glob(f"*.{suffix}")
        with av.open(str(path)) as container:
            frames = list(container.decode(video=0))
        assert len(frames) == COUNT
        times = [float(one.pts * one.time_base) for one in frames]
        assert np.abs(np.subtract(times, np.arange(COUNT) / 64)).max() <= 0.5 / clock + 1e-6
        shown = [one.to_ndarray(format="rgb24") for one in frames]
        if suffix == "mkv":
            assert all(map(np.array_equal, shown, pictures))
        else:
            assert max(np.abs(a.mean(2) - b.mean(2)).mean() for a, b in zip(shown, pictures, strict=True)) < 4
    words = [json.loads(path.read_text()) for path in folder.glob("*_export*.json")]
    assert [one["Frames"][3]["deviceTime"] for one in words] == [START + 3 / 64] * 2


def _ijkToRAS(node):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix


def test_aStreamThatBeginsBetweenKeyFramesSaysSoAndIsCounted(module, logic, device):
    sent, pictures = stream()
    peer = device()
    sendAll(peer, *sent[4:9], version=2)
    until(lambda: any("begins between two key frames" in event.text for event in logic.events()))
    assert received(logic) == 0
    sendAll(peer, *sent[9:], version=2)
    until(lambda: received(logic) == COUNT - 10)
    until(lambda: logic.statistics()["rejected"] == 6)
    import slicer

    until(lambda: np.array_equal(slicer.util.arrayFromVolume(logic.liveVolumeNode("Probe"))[0], pictures[-1]))
    logic.stop()
    untilStopped(logic)


def test_thePanelSendsVideo(module, logic, device, noErrors):
    sent, pictures = stream()
    ui = panelOf(module).ui
    assert not ui.broadcastQualitySpinBox.isVisibleTo(ui.broadcastSection)
    ui.broadcastFormatComboBox.currentIndex = 1
    assert ui.broadcastQualitySpinBox.isVisibleTo(ui.broadcastSection)
    ui.broadcastQualitySpinBox.value = 100
    ui.broadcastPortSpinBox.value = freePort()
    peer = device()
    ui.broadcastCheckBox.checked = True
    until(lambda: any(one["listening"] for one in logic.broadcast.counts()["sources"]))
    client = Listening(logic.broadcast.counts()["sources"][0]["port"])
    until(lambda: logic.broadcast.counts()["sources"][0]["clients"])
    for number, one in enumerate(sent[:5], 1):
        sendAll(peer, one, version=2)
        until(lambda number=number: len(client.messages) == number)
    assert {(one.message_type, one.fourcc) for one in client.messages} == {("VIDEO", "H264")}
    assert [one.key for one in client.messages] == [True, False, False, False, False]
    shown = decode("H264", [one.data for one in client.messages])
    assert np.array_equal(shown, pictures[:5])
    ui.broadcastCheckBox.checked = False
    logic.stop()
    untilStopped(logic)
    client.untilEnd()


def test_aSizeThatChangesIsANewPartOfTheRecording(logic, device, tmp_path, noErrors):
    small = encode("H264", [picture(number, 64, 48) for number in range(4)])
    large = encode("H264", [picture(number) for number in range(4)])
    sent = [message(number, one, size=(64, 48, 1)) for number, one in enumerate(small)]
    sent += [message(number + 4, one, key=number == 0) for number, one in enumerate(large)]
    recordVideo(logic, device(), tmp_path / "recordings", sent)
    assert len(list((tmp_path / "recordings").glob("*.nhdr"))) == 2
