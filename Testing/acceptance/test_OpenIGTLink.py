"""A device at the other end of a real socket: images and messages in, scan plane and commands out."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import closing

import numpy as np
import pytest
from RealTimeImagingLib import OpenIGTLinkSettings
from RealTimeImagingLib.Model.Frame import checksum
from RealTimeImagingLib.OpenIGTLink import PointMessage, StatusMessage, StringMessage
from unit.openIGTLinkSource import freePort, hear, image, pose, sendAll

from .conftest import until, untilRunning, untilStopped
from .test_Panel import panelOf


@pytest.fixture
def linked(logic):
    """A running server and a device that is connected to it."""
    port = freePort()
    source = logic.start(OpenIGTLinkSettings(role="server", port=port))
    untilRunning(source)
    until(lambda: "Waiting for" in source.status)
    with closing(socket.create_connection(("127.0.0.1", port))) as device:
        until(lambda: "Connected to" in source.status)
        yield source, device
        untilStopped(logic)


def test_aNameThatDoesNotFitTheHeaderIsRejected(slicer, module, logic, linked):
    """With version 1 two such names would be equal at the device."""
    from RealTimeImagingLib.Model.Errors import ControlError

    with pytest.raises(ControlError, match="version=2"):
        logic.sendTransform(np.eye(4), device="ReferenceMarkerToTracker")
    assert logic.sendTransform(np.eye(4), device="ReferenceMarkerToTra") == 1
    until(lambda: waiting(linked[1]))
    (plane,) = hear(linked[1], 1)
    assert plane.device_name == "ReferenceMarkerToTra"


def sums(slicer, node):
    return checksum(slicer.util.arrayFromVolume(node))


def test_aDeviceIsLiveInTheScene(slicer, module, views, logic, noErrors):
    """Source, port, Start: image, pose, points and texts have the device's positions, and the panel lists them."""
    ui = panelOf(module).ui
    port = freePort()
    ui.sourceComboBox.currentIndex = 2
    assert not ui.folder_folder.isVisibleTo(ui.sourceSection)
    ui.openigtlink_role.currentIndex = 1
    ui.openigtlink_port.value = port
    ui.startButton.click()
    until(lambda: f"Waiting for a device to connect to 127.0.0.1:{port}" in ui.statusLabel.text)
    with closing(socket.create_connection(("127.0.0.1", port))) as device:
        until(lambda: "Connected to 127.0.0.1" in ui.statusLabel.text)
        points = PointMessage([(1, 2, 3), (4, 5, 6)], ["apex", "base"], device_name="Marks")
        status = StatusMessage(13, 0, "Hot", "coil is warm", device_name="Scanner")
        sendAll(device, pose(3), image(1), points, StringMessage("Ø 3 mm", device_name="Note"), status)
        until(lambda: logic.statistics()["shown"] == 1 and sum(logic.statistics()["messages"].values()) == 4)
        # Messages count when they arrive, and are shown a moment later.
        until(lambda: all(map(slicer.mrmlScene.GetFirstNodeByName, ("Stylus", "Marks", "Note"))))
        node = logic.liveVolumeNode("Probe")
        assert sums(slicer, node) == checksum(image(1).pixels)
        matrix = slicer.util.arrayFromVTKMatrix(matrixOf(node))
        np.testing.assert_allclose(matrix, image(1).ijkToRAS, atol=1e-5)
        transform = slicer.mrmlScene.GetFirstNodeByName("Stylus")
        np.testing.assert_allclose(slicer.util.arrayFromTransformMatrix(transform), pose(3).matrix)
        marks = slicer.mrmlScene.GetFirstNodeByName("Marks")
        np.testing.assert_allclose(slicer.util.arrayFromMarkupsControlPoints(marks), [(1, 2, 3), (4, 5, 6)])
        assert slicer.mrmlScene.GetFirstNodeByName("Note").GetText() == "Ø 3 mm"
        table = ui.devicesTable
        until(lambda: table.rowCount == 4)
        rows = {table.item(row, 0).text(): table.item(row, 1).text() for row in range(4)}
        assert rows["\u25cf\u00a0Stylus"] == "at 3.0, -6.0, 0.5 mm"
        assert "coil is warm" in rows["Scanner"]
    until(lambda: " disconnected: " in ui.lastEventLabel.text)
    ui.startButton.click()
    until(lambda: not logic.isRunning())


def matrixOf(node):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix


def test_nothingIsLostWhileTheWindowIsBlocked(logic, linked, noErrors):
    """Two devices alternate while Slicer is blocked: every message and image is counted, in order."""
    _, device = linked
    heard = {"A": [], "B": []}
    logic.addMessageCallback(lambda message: heard[message.device].append(message.values["matrix"][0][3]))
    for number in range(200):
        sendAll(device, pose(number, "A"), pose(number, "B"))
        if number % 5 == 0:
            sendAll(device, image(number))
        if number == 100:
            time.sleep(1)
    until(lambda: logic.statistics()["received"] == 40 and len(heard["B"]) == 200)
    assert heard["A"] == heard["B"] == list(range(200))
    assert logic.statistics()["messages"] == {"A": 200, "B": 200}
    counts = logic.statistics()
    assert counts["shown"] + counts["skipped"] == 40
    assert counts["rejected"] == 0


def test_recordedTogether(slicer, logic, linked, tmp_path, noErrors):
    """Image and pose of a tracked probe: each image is shown with the pose of its time."""
    _, device = linked
    logic.startRecording(tmp_path / "recordings", name="Tracked")
    until(lambda: logic.recording.status()["free"] is not None)
    for number in range(30):
        sendAll(device, pose(number, "ProbeToReference"), image(number))
    until(lambda: logic.statistics()["received"] == 30 and logic.statistics()["messages"]["ProbeToReference"] == 30)
    browser = logic.stopRecording()
    until(lambda: not logic.recording.building)
    counts = logic.statistics()
    assert counts["recorded"] == 30
    sequences = [browser.GetMasterSequenceNode()]
    found = slicer.util.getNodesByClass("vtkMRMLSequenceNode")
    transforms = [one for one in found if one.GetNthDataNode(0).IsA("vtkMRMLTransformNode")]
    assert [one.GetNumberOfDataNodes() for one in (*sequences, *transforms)] == [30, 30]
    proxy = browser.GetProxyNode(transforms[0])
    live = slicer.mrmlScene.GetFirstNodeByName("ProbeToReference")
    assert proxy is not live
    before = slicer.util.arrayFromTransformMatrix(live)
    for index in (7, 29, 0):
        browser.SetSelectedItemNumber(index)
        np.testing.assert_allclose(slicer.util.arrayFromTransformMatrix(proxy), pose(index).matrix)
    np.testing.assert_array_equal(slicer.util.arrayFromTransformMatrix(live), before)


def test_scanPlaneAndCommands(slicer, module, views, logic, linked, noErrors):
    """The plane of a view is sent on request and when it moves; an event reports answers and missing answers."""
    _, device = linked
    ui = panelOf(module).ui
    red = slicer.app.layoutManager().sliceWidget("Red").sliceLogic().GetSliceNode()
    ui.sendPlaneCheckBox.checked = True
    assert not ui.sendPlaneCheckBox.checked
    assert "Choose" in ui.devicesComplaintLabel.text
    ui.planeComboBox.setCurrentNode(red)
    ui.sendPlaneCheckBox.checked = True
    until(lambda: waiting(device))
    (plane,) = hear(device, 1)
    assert (plane.message_type, plane.device_name) == ("TRANSFORM", "PLANE")
    assertSamePlane(plane.matrix, red, slicer)
    red.SetSliceOffset(red.GetSliceOffset() + 12.5)
    until(lambda: waiting(device))
    (plane,) = hear(device, 1)
    assertSamePlane(plane.matrix, red, slicer)
    ui.sendPlaneCheckBox.checked = False
    assert logic.devices.followed is None
    until(lambda: ui.startScanButton.enabled)
    ui.startScanButton.click()
    until(lambda: waiting(device))
    (command,) = hear(device, 1)
    assert command.string == "START_SEQUENCE"
    assert command.device_name.startswith("CMD_")
    sendAll(device, StatusMessage(1, 0, "OK", "scanning", device_name="Scanner"))
    until(lambda: "scanning" in ui.answerLabel.text)


def test_theScanPlaneIsSentAgainAfterReconnecting(slicer, logic, linked, noErrors):
    """The view has not moved in between."""
    source, device = linked
    red = slicer.app.layoutManager().sliceWidget("Red").sliceLogic().GetSliceNode()
    logic.devices.followPlane(red)
    until(lambda: waiting(device))
    hear(device, 1)
    device.close()
    until(lambda: not logic.devices.canSend())
    with closing(socket.create_connection(("127.0.0.1", source.settings.port))) as again:
        until(lambda: waiting(again))
        (plane,) = hear(again, 1)
        assertSamePlane(plane.matrix, red, slicer)
        logic.devices.stopFollowing()


def assertSamePlane(matrix, sliceNode, slicer):
    """Compare the plane of a left-handed view with a rotation: centre, normal and first axis are equal."""
    wanted = slicer.util.arrayFromVTKMatrix(sliceNode.GetSliceToRAS())
    np.testing.assert_allclose(matrix[:, [0, 2, 3]], wanted[:, [0, 2, 3]], atol=1e-4)
    assert np.linalg.det(matrix[:3, :3]) == pytest.approx(1, abs=1e-6)


def waiting(device):
    device.settimeout(0.01)
    try:
        return device.recv(1, socket.MSG_PEEK) is not None
    except TimeoutError:
        return False


def test_nothingMovesUntilItIsAllowed(slicer, module, views, logic, linked, noErrors):
    """Messages move no view; a view that the user chose turns into the plane of each image."""
    _, device = linked
    ui = panelOf(module).ui
    nodes = {name: views.sliceWidget(name).sliceLogic().GetSliceNode() for name in ("Red", "Green")}
    before = {name: slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS()).copy() for name, node in nodes.items()}
    sendAll(device, image(1), pose(1), StringMessage("START_SCAN", device_name="CMD_1"))
    until(lambda: logic.statistics()["shown"] == 1 and sum(logic.statistics()["messages"].values()) == 2)
    for name, node in nodes.items():
        np.testing.assert_array_equal(
            slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())[:3, :3], before[name][:3, :3]
        )
    assert not logic.recording.active
    until(lambda: ui.followComboBox.count > 1)
    ui.followComboBox.currentText = "Green"
    turned = image(2)
    turned.ijkToRAS = np.array([[0, 0, 3.0, 10], [0, 2.0, 0, -20], [-1.5, 0, 0, 30], [0, 0, 0, 1]])
    sendAll(device, turned)
    until(lambda: logic.statistics()["shown"] == 2)
    normal = slicer.util.arrayFromVTKMatrix(nodes["Green"].GetSliceToRAS())[:3, 2]
    np.testing.assert_allclose(np.abs(normal), [1, 0, 0], atol=1e-6)
    np.testing.assert_array_equal(
        slicer.util.arrayFromVTKMatrix(nodes["Red"].GetSliceToRAS())[:3, :3], before["Red"][:3, :3]
    )


def accepted(listener):
    """The device's end of the next connection, made while the event loop runs."""
    listener.setblocking(False)
    made = []

    def accept():
        try:
            made.append(listener.accept()[0])
        except BlockingIOError:
            pass
        return bool(made)

    until(accept)
    return made[0]


def test_killInMidStream(logic, slicer, noErrors):
    """The process dies: a new one starts, reconnects, and continues the numbers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        source = logic.start(OpenIGTLinkSettings(port=listener.getsockname()[1]))
        with closing(accepted(listener)) as connection:
            sendAll(connection, image(0), image(1))
            until(lambda: logic.statistics()["received"] == 2)
        pid = source.pid
        os.kill(pid, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
        # The killed process may have connected once more before the port closed.
        connection = accepted(listener)
        until(lambda: source.pid not in (0, pid) and source.state == "running")
        if waiting(connection):
            connection.close()
            connection = accepted(listener)
        with closing(connection):
            sendAll(connection, image(2))
            until(lambda: logic.statistics()["received"] == 3)
            assert sums(slicer, logic.liveVolumeNode("Probe")) == checksum(image(2).pixels)
        untilStopped(logic)


def test_aPortThatIsTakenIsReported(module, logic):
    ui = panelOf(module).ui
    with closing(socket.create_server(("127.0.0.1", 0))) as holder:
        port = holder.getsockname()[1]
        ui.sourceComboBox.currentIndex = 2
        ui.openigtlink_role.currentIndex = 1
        ui.openigtlink_port.value = port
        ui.startButton.click()
        until(lambda: f"Port {port} is in use" in ui.lastEventLabel.text)
        until(lambda: f"Port {port} is in use" in ui.statusLabel.text)
    until(lambda: "Waiting for" in ui.statusLabel.text)
    ui.startButton.click()
    until(lambda: not logic.isRunning())
