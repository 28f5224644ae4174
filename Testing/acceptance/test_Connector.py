"""SlicerOpenIGTLink's connector as the engine. The host lacks the extension: a stand-in behaves like its node."""

from __future__ import annotations

import socket

import numpy as np
import pytest
from RealTimeImagingLib import OpenIGTLinkSettings
from RealTimeImagingLib.Model.Frame import checksum
from unit.openIGTLinkSource import freePort

from .conftest import until, untilStopped
from .test_Panel import panelOf
from .test_Recording import errors, sumsOf


@pytest.fixture
def extension(slicer, monkeypatch):
    """Slicer with the extension: the names and values of vtkMRMLIGTLConnectorNode.h, and what the real node was seen to
    do (OpenIGTLinkIO and SlicerOpenIGTLink of 2026)."""
    import vtk

    made = []
    scalarTypes = {"i1": vtk.VTK_CHAR, "u1": vtk.VTK_UNSIGNED_CHAR, "i2": vtk.VTK_SHORT, "u4": 9, "i4": 8}

    class vtkMRMLIGTLConnectorNode(slicer.vtkMRMLScriptedModuleNode):
        ConnectedEvent, DisconnectedEvent, NewDeviceEvent, DeviceModifiedEvent = 118944, 118945, 118949, 118950
        StateOff, StateWaitConnection, StateConnected = 0, 1, 2

        def __init__(self):
            self.calls, self.incoming, self.state = [], [], self.StateOff
            made.append(self)

        def SetTypeClient(self, host, port):
            self.calls.append(("client", host, port))

        def SetTypeServer(self, port):
            self.calls.append(("server", port))

        def SetCheckCRC(self, check):
            self.calls.append(("crc", check))

        def Start(self):
            self.calls.append(("start",))
            self.state = self.StateWaitConnection
            return 1

        def Stop(self):
            assert ("start",) in self.calls, "it waits for ever for its thread"
            self.calls.append(("stop",))
            self.state = self.StateOff
            return 1

        def GetState(self):
            return self.state

        def GetNumberOfIncomingMRMLNodes(self):
            return len(self.incoming)

        def GetIncomingMRMLNode(self, index):
            return self.incoming[index]

        def RegisterIncomingMRMLNode(self, node):
            node.SetAttribute("OriginalNodeName", node.GetName())
            self.incoming.append(node)

        def UnregisterIncomingMRMLNode(self, node):
            self.incoming.remove(node)

        def receive(self, name, pixels, matrix):
            """As GetOrCreateNodeForDevice and ProcessIncomingDeviceModifiedEvent: a node that is registered for the
            device, or the first node of the scene with its name; the device's image becomes the node's."""
            known = [one for one in self.incoming if one.GetAttribute("OriginalNodeName") == name]
            volume = known[0] if known else slicer.mrmlScene.GetFirstNode(name, "vtkMRMLScalarVolumeNode")
            if volume is None:
                volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
            if volume not in self.incoming:
                self.RegisterIncomingMRMLNode(volume)
            volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
            volume.SetAndObserveImageData(self.image(pixels))
            volume.SetAttribute("OpenIGTLink.Sequence", "7")
            volume.Modified()
            self.InvokeEvent(self.DeviceModifiedEvent)

        def image(self, pixels):
            """INT32 and UINT32 become VTK's long: the received bytes lie at the beginning of its memory."""
            image, kind = vtk.vtkImageData(), pixels.dtype.str[1:]
            image.SetDimensions(*reversed(pixels.shape))
            image.AllocateScalars(scalarTypes[kind], 1)
            scalars = image.GetPointData().GetScalars()
            raw = np.asarray(memoryview(scalars)).view(np.uint8).reshape(-1)
            raw[:] = 0xEE
            raw[: pixels.nbytes] = pixels.reshape(-1).view(np.uint8)
            return image

    monkeypatch.setattr(slicer, "vtkMRMLIGTLConnectorNode", vtkMRMLIGTLConnectorNode, raising=False)
    return made


MATRIX = np.array([[0, -2.0, 0, 10], [1.5, 0, 0, -20], [0, 0, 3.0, 30], [0, 0, 0, 1]])


def server(**values):
    """A connector on a port that no other test uses at the same time."""
    return OpenIGTLinkSettings(
        **{"role": "server", "host": "0.0.0.0", "port": freePort(), "engine": "connector", **values}
    )


def pixels(number):
    return np.random.default_rng(number).integers(0, 100, (3, 4, 5)).astype(np.int16)


def test_aMissingExtensionIsAnError(slicer, module, logic, monkeypatch):
    monkeypatch.delattr(slicer, "vtkMRMLIGTLConnectorNode", raising=False)
    ui = panelOf(module).ui
    ui.sourceComboBox.currentIndex = 2
    assert not ui.openigtlink_engine.isVisibleTo(ui.optionsSection)
    with pytest.raises(errors().SettingsError, match="not installed"):
        logic.start(OpenIGTLinkSettings(engine="connector"))
    assert not logic.isRunning()


def test_itsImagesAreShownCountedAndRecorded(slicer, extension, logic, tmp_path, noErrors):
    logic.startRecording(tmp_path / "recordings", name="Connector")
    settings = server(checkCRC=False)
    source = logic.start(settings)
    (node,) = extension
    assert node.GetScene() is slicer.mrmlScene
    assert not node.GetSaveWithScene()
    assert node.calls == [("server", settings.port), ("crc", False), ("start",)]
    assert any("newest image" in event.text for event in logic.events())
    node.state = node.StateConnected
    node.InvokeEvent(node.ConnectedEvent)
    assert logic.events()[-1].code == "connected"
    assert source.status == f"SlicerOpenIGTLink: connected with a device on port {settings.port}."
    for number in range(5):
        node.receive("Scanner", pixels(number), MATRIX)
        until(lambda number=number: logic.statistics()["received"] == number + 1)
    live = logic.liveVolumeNode("Scanner")
    assert checksum(slicer.util.arrayFromVolume(live)) == checksum(pixels(4))
    assert live is not node.incoming[0]
    assert live.GetAttribute("Sequence") == "7"
    np.testing.assert_allclose(slicer.util.arrayFromVTKMatrix(matrixOf(live)), MATRIX)
    logic.stop(source)
    until(lambda: not logic.isRunning() and not logic.recording.building)
    assert sumsOf(tmp_path / "recordings") == [checksum(pixels(number)) for number in range(5)]
    assert node.GetScene() is None
    assert node.calls[-1] == ("stop",)
    node.receive("Scanner", pixels(9), MATRIX)
    assert logic.statistics()["received"] == 5


def matrixOf(node):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix


def test_sceneCloseStopsIt(slicer, extension, logic, noErrors):
    logic.start(OpenIGTLinkSettings(host="10.0.0.7", port=18945, engine="connector"))
    (node,) = extension
    assert node.calls[0] == ("client", "10.0.0.7", 18945)
    slicer.mrmlScene.Clear(0)
    until(lambda: not logic.isRunning())
    assert node.calls[-1] == ("stop",)


def test_aConnectorThatDoesNotStartIsAnError(slicer, extension, logic, monkeypatch):
    monkeypatch.setattr(slicer.vtkMRMLIGTLConnectorNode, "Start", lambda self: 0)
    with pytest.raises(errors().SettingsError, match="cannot be started"):
        logic.start(OpenIGTLinkSettings(engine="connector"))
    untilStopped(logic)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLIGTLConnectorNode") == 0


def test_chosenInThePanel(slicer, extension, module, logic, noErrors):
    ui = panelOf(module).ui
    ui.sourceComboBox.currentIndex = 2
    ui.optionsSection.collapsed = False
    assert ui.openigtlink_engine.isVisibleTo(ui.optionsSection)
    ui.openigtlink_engine.currentIndex = 1
    assert not ui.openigtlink_ask.isVisibleTo(ui.optionsSection)
    ui.startButton.click()
    assert extension[0].calls[-1] == ("start",)
    ui.startButton.click()
    until(lambda: not logic.isRunning())


def test_the_connector_does_not_use_our_live_volume(slicer, extension, logic, tmp_path, noErrors):
    """After a run of the module's engine the first node with the device's name is the live volume."""
    live = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Scanner")
    live.SetAttribute("RealTimeImaging.Stream", "Scanner")
    slicer.util.updateVolumeFromArray(live, pixels(99))
    logic.startRecording(tmp_path / "recordings", name="Connector")
    logic.start(server())
    (node,) = extension
    for number in range(5):
        node.receive("Scanner", pixels(number), MATRIX)
        # A message of another device, such as a pose: the volume did not change.
        node.InvokeEvent(node.DeviceModifiedEvent)
        until(lambda number=number: logic.statistics()["received"] == number + 1)
    own = node.GetIncomingMRMLNode(0)
    assert own is not live
    assert live.GetAttribute("OriginalNodeName") is None
    assert logic.liveVolumeNode("Scanner") is live
    assert live.GetImageData() is not own.GetImageData()
    assert checksum(slicer.util.arrayFromVolume(live)) == checksum(pixels(4))
    logic.stop()
    until(lambda: not logic.isRunning() and not logic.recording.building)
    assert sumsOf(tmp_path / "recordings") == [checksum(pixels(number)) for number in range(5)]


def test_integers_keep_their_values(slicer, extension, logic, tmp_path, noErrors):
    logic.start(server())
    (node,) = extension
    frames = []
    logic.addFrameCallback(lambda frame: frames.append(frame.pixels.copy()))
    for dtype, largest in ((np.int32, -(2**31)), (np.uint32, 2**32 - 1), (np.int8, -128)):
        sent = np.array([[[0, 1, largest], [7, 8, 9]]], dtype)
        node.receive(f"Labels {np.dtype(dtype)}", sent, MATRIX)
        until(lambda dtype=dtype: frames and frames[-1].dtype == dtype)
        np.testing.assert_array_equal(frames[-1], sent)


def test_connections_are_reported_without_events_of_the_node(slicer, extension, logic):
    """The node sends events only while a peer is connected."""
    settings = server()
    source = logic.start(settings)
    (node,) = extension
    assert source.status == f"SlicerOpenIGTLink: waiting for a device on port {settings.port} of all addresses."
    node.state = node.StateConnected
    until(lambda: logic.events()[-1].code == "connected")
    node.state = node.StateWaitConnection
    until(lambda: logic.events()[-1].code == "disconnected")
    assert "waiting" in source.status
    node.Stop()
    until(lambda: logic.events()[-1].code == "connector-stopped")
    assert "stopped outside this module" in source.status
    assert node.calls.count(("start",)) == 1


def test_a_node_that_is_removed_stops_its_source(slicer, extension, logic):
    logic.start(server())
    slicer.mrmlScene.RemoveNode(extension[0])
    until(lambda: not logic.isRunning())
    assert "connector-removed" in [event.code for event in logic.events()]


def test_a_port_that_is_taken_is_reported_once_and_tried_again(slicer, extension, logic):
    """On a port that is taken the real node returns success and never stops: it is not started there."""
    from RealTimeImagingLib.Host.Connector import portIsFree

    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        port = other.getsockname()[1]
        source = logic.start(server(port=port))
        (node,) = extension
        until(lambda: f"Another program uses port {port}" in source.status)
        untilStopped(logic)
        assert ("start",) not in node.calls
        assert ("stop",) not in node.calls
        source = logic.start(server(port=port))
        until(lambda: f"Another program uses port {port}" in source.status)
        until(lambda: source.remedy is not None)
        free = source.remedy.settings["port"]
        assert (source.remedy.label, portIsFree(free)) == (f"Use port {free}", True)
    until(lambda: "waiting" in source.status)
    assert source.remedy is None
    assert [event.code for event in logic.events()].count("port-taken") == 2
    assert extension[1].calls.count(("start",)) == 1


def test_rejected_images_are_counted_and_each_device_is_named(slicer, extension, logic):
    logic.start(server())
    (node,) = extension
    flat = MATRIX.copy()
    flat[:3, 0] = 0
    for device in ("A", "B", "A"):
        node.receive(device, pixels(1), flat)
    refused = [event.subject for event in logic.events() if event.code == "not-usable"]
    assert (logic.statistics()["rejected"], sorted(refused)) == (3, ["A", "B"])
    node.receive("C", pixels(2), MATRIX)
    until(lambda: logic.statistics()["received"] == 1)
    assert logic.statistics()["rejected"] == 3


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"host": "127.0.0.1"}, "listens on all addresses"),
        ({"port": 0}, "cannot choose a free port"),
        ({"allowed": ("10.0.0.7",)}, "accepts every computer"),
    ],
)
def test_settings_without_counterpart_are_rejected(slicer, extension, logic, values, words):
    with pytest.raises(errors().SettingsError, match=words):
        logic.start(server(**values))
    assert not extension
    assert not logic.isRunning()


def test_one_connector_at_a_time_and_none_beside_push(slicer, extension, logic):
    settings = server()
    first = logic.start(settings)
    with pytest.raises(errors().SettingsError, match=f"port {settings.port} is running"):
        logic.start(server(port=18945, stream="Other"))
    logic.stop(first)
    until(lambda: not logic.isRunning())
    logic.push(pixels(1)[0])
    with pytest.raises(errors().SettingsError, match="images from Python"):
        logic.start(server())
    logic.stop()
    until(lambda: not logic.isRunning())
    logic.start(server())
    assert len(extension) == 2
