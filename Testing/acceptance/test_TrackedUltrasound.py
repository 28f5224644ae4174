"""Images and poses of one device, recorded together over a real socket: each image shows the pose of its time."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import closing

import numpy as np
import pytest
from RealTimeImagingLib import OpenIGTLinkSettings
from RealTimeImagingLib.OpenIGTLink import ImageMessage, StringMessage, TransformMessage
from RealTimeImagingLib.Recording import openMessages
from unit.openIGTLinkSource import freePort, sendAll

from .conftest import until, untilRunning, untilStopped

CLOCK = 1.7e9


@pytest.fixture
def port():
    return freePort()


@pytest.fixture
def linked(logic, port):
    """A running server and a device that is connected to it."""
    source = logic.start(OpenIGTLinkSettings(role="server", port=port))
    untilRunning(source)
    until(lambda: "Waiting for" in source.status)
    with closing(socket.create_connection(("127.0.0.1", port))) as device:
        until(lambda: "Connected to" in source.status)
        yield source, device
        untilStopped(logic)


def image(number, seconds):
    pixels = np.full((1, 4, 5), number, np.int16)
    return ImageMessage(pixels, np.eye(4), device_name="Image", timestamp=CLOCK + seconds)


def pose(number, seconds, device="Probe"):
    matrix = np.eye(4)
    matrix[:3, 3] = number, -number, 0.5
    return TransformMessage(matrix, device_name=device, timestamp=CLOCK + seconds)


def recording(logic, folder, **values):
    logic.startRecording(folder, **values)
    until(lambda: logic.recording.status()["free"] is not None)


def recorded(logic, messages):
    until(lambda: logic.recording.status()["messages"]["recorded"] == messages)


def stop(logic):
    browser = logic.stopRecording()
    until(lambda: not logic.recording.building)
    return browser


def posesOf(browser):
    """Synchronized sequences of transforms by device."""
    import vtk

    found = vtk.vtkCollection()
    browser.GetSynchronizedSequenceNodes(found, True)
    nodes = [found.GetItemAsObject(index) for index in range(found.GetNumberOfItems())]
    return {node.GetAttribute("RecordingDevice"): node for node in nodes if node.GetAttribute("RecordingDevice")}


def shown(slicer, browser):
    """(image, pose) at each place of the browser, by number."""
    image, poses = (browser.GetProxyNode(node) for node in (browser.GetMasterSequenceNode(), posesOf(browser)["Probe"]))
    pairs = []
    for place in range(browser.GetNumberOfItems()):
        browser.SetSelectedItemNumber(place)
        pairs.append(
            (int(slicer.util.arrayFromVolume(image)[0, 0, 0]), int(slicer.util.arrayFromTransformMatrix(poses)[0, 3]))
        )
    return pairs


def test_imagesAndPosesAreRecordedTogether(slicer, logic, linked, tmp_path, noErrors):
    """Images at 25 Hz; poses at 100 Hz, which arrive late and in bursts. The live transform stays live."""
    _, device = linked
    recording(logic, tmp_path / "out", name="Sweep")
    for number in range(20):
        sendAll(device, image(number, number / 25))
        sendAll(device, *[pose(4 * number + part, number / 25 + part / 100) for part in range(4)])
    sendAll(device, StringMessage("apical view", device_name="Note"))
    recorded(logic, 81)
    until(lambda: logic.statistics()["received"] == 20)
    browser = stop(logic)
    live = slicer.mrmlScene.GetFirstNodeByName("Probe")
    before = slicer.util.arrayFromTransformMatrix(live).tolist()
    assert shown(slicer, browser) == [(number, 4 * number) for number in range(20)]
    assert slicer.util.arrayFromTransformMatrix(live).tolist() == before
    poses = posesOf(browser)["Probe"]
    assert poses.GetNumberOfDataNodes() == 80
    assert browser.GetProxyNode(poses) is not live
    assert not poses.GetModifiedSinceRead()
    found = openMessages(str(tmp_path / "out" / "Sweep.messages.json"))
    assert [line.message.deviceTime for line in found.messages() if line.message.device == "Probe"] == pytest.approx(
        [CLOCK + number / 100 for number in range(80)], abs=1e-6
    )
    assert [line.message.values["text"] for line in found.messages() if line.message.kind == "text"] == ["apical view"]
    assert [event.code for event in logic.events()].count("recorded") == 1


def test_posesOnly(slicer, logic, linked, tmp_path, noErrors):
    _, device = linked
    recording(logic, tmp_path / "out")
    sendAll(device, *[pose(number, number / 100) for number in range(50)])
    recorded(logic, 50)
    browser = stop(logic)
    assert browser.GetMasterSequenceNode() is posesOf(browser)["Probe"]
    assert browser.GetNumberOfItems() == 50
    assert slicer.modules.sequences.toolBar().activeBrowserNode() is browser
    assert logic.events()[-1].code == "recorded"


def test_wordsOnly(slicer, logic, linked, tmp_path, noErrors):
    """No sequence: an event names the file with the messages."""
    _, device = linked
    recording(logic, tmp_path / "out", name="Words")
    sendAll(device, StringMessage("a", device_name="Note"))
    recorded(logic, 1)
    stop(logic)
    until(lambda: slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode") == 0)
    event = next(event for event in logic.events() if event.code == "nothing-recorded")
    assert "Words.messages.json" in event.text


def test_killInMidRecording(logic, linked, port, tmp_path):
    """The process dies: its recording is repaired, a new process continues, and the scene has the poses of both."""
    source, device = linked
    recording(logic, tmp_path / "out", name="Cut")
    for number in range(10):
        sendAll(device, pose(2 * number, number / 25), image(number, number / 25))
    recorded(logic, 10)
    until(lambda: logic.statistics()["recorded"] == 10)
    os.kill(source.pid, signal.SIGKILL)
    until(lambda: any(event.code == "restarted" for event in logic.events()))
    untilRunning(source)
    until(lambda: "Waiting for" in source.status)
    with closing(socket.create_connection(("127.0.0.1", port))) as again:
        for number in range(10, 20):
            sendAll(again, pose(2 * number, number / 25), image(number, number / 25))
        until(lambda: logic.statistics()["recorded"] == 20)
        stop(logic)
    found = {path.name: openMessages(str(path)) for path in (tmp_path / "out").glob("*.messages.json")}
    assert {name: messages.count for name, messages in found.items()} == {
        "Cut.messages.json": 10,
        "Cut_1.messages.json": 10,
    }
    assert sorted(logic.recording.inScene()) == ["Cut-Image", "Cut_1-Image"]
    sequences = [node for node in _sequences() if node.GetAttribute("RecordingDevice") == "Probe"]
    assert {node.GetStorageNode().GetFileName() for node in sequences} == {
        str(tmp_path / "out" / name) for name in ("Cut-Probe.seq.mha", "Cut_1-Probe.seq.mha")
    }


def _sequences():
    import slicer

    return slicer.util.getNodesByClass("vtkMRMLSequenceNode")
