"""SlicerOpenIGTLink's connector as the engine. The host has no such extension: a stand-in does what its node does."""

from __future__ import annotations

import numpy as np
import pytest
from RealTimeImagingLib import OpenIGTLinkSettings
from RealTimeImagingLib.Frame import checksum

from .conftest import until, untilStopped
from .test_Panel import panelOf
from .test_Recording import errors, sumsOf


@pytest.fixture
def extension(slicer, monkeypatch):
    """Slicer with the extension: the names and values of vtkMRMLIGTLConnectorNode.h."""
    made = []

    class vtkMRMLIGTLConnectorNode(slicer.vtkMRMLScriptedModuleNode):
        ConnectedEvent, DisconnectedEvent, NewDeviceEvent, DeviceModifiedEvent = 118944, 118945, 118949, 118950

        def __init__(self):
            self.calls, self.incoming, self.starts = [], [], 1
            made.append(self)

        def SetTypeClient(self, host, port):
            self.calls.append(("client", host, port))

        def SetTypeServer(self, port):
            self.calls.append(("server", port))

        def SetCheckCRC(self, check):
            self.calls.append(("crc", check))

        def Start(self):
            self.calls.append(("start",))
            return self.starts

        def Stop(self):
            self.calls.append(("stop",))
            return 1

        def GetNumberOfIncomingMRMLNodes(self):
            return len(self.incoming)

        def GetIncomingMRMLNode(self, index):
            return self.incoming[index]

        def receive(self, name, pixels, matrix):
            """As ProcessIncomingDeviceModifiedEvent: image and matrix into the device's node, then the event."""
            volume = slicer.mrmlScene.GetFirstNodeByName(name)
            if volume is None:
                volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
                self.incoming.append(volume)
            volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
            slicer.util.updateVolumeFromArray(volume, pixels)
            volume.SetAttribute("OpenIGTLink.Sequence", "7")
            self.InvokeEvent(self.DeviceModifiedEvent)

    monkeypatch.setattr(slicer, "vtkMRMLIGTLConnectorNode", vtkMRMLIGTLConnectorNode, raising=False)
    return made


MATRIX = np.array([[0, -2.0, 0, 10], [1.5, 0, 0, -20], [0, 0, 3.0, 30], [0, 0, 0, 1]])


def pixels(number):
    return np.random.default_rng(number).integers(0, 100, (3, 4, 5)).astype(np.int16)


def test_withoutTheExtensionItIsSaid(module, logic):
    ui = panelOf(module).ui
    ui.sourceComboBox.currentIndex = 2
    assert not ui.linkEngineComboBox.isVisibleTo(ui.optionsSection)
    with pytest.raises(errors().SettingsError, match="not installed"):
        logic.start(OpenIGTLinkSettings(engine="connector"))
    assert not logic.isRunning()


def test_itsImagesAreShownCountedAndRecorded(slicer, extension, logic, tmp_path, noErrors):
    logic.startRecording(tmp_path / "recordings", name="Connector")
    handle = logic.start(OpenIGTLinkSettings(role="server", port=18944, engine="connector", checkCRC=False))
    (node,) = extension
    assert node.GetScene() is slicer.mrmlScene
    assert node.calls == [("server", 18944), ("crc", False), ("start",)]
    assert any("newest image" in event.text for event in logic.events())
    node.InvokeEvent(node.ConnectedEvent)
    assert logic.events()[-1].code == "connected"
    for number in range(5):
        node.receive("Scanner", pixels(number), MATRIX)
        until(lambda number=number: logic.statistics()["received"] == number + 1)
    live = logic.liveVolumeNode("Scanner")
    assert checksum(slicer.util.arrayFromVolume(live)) == checksum(pixels(4))
    assert live is not node.incoming[0]
    assert live.GetAttribute("Sequence") == "7"
    np.testing.assert_allclose(slicer.util.arrayFromVTKMatrix(matrixOf(live)), MATRIX)
    logic.stop(handle)
    until(lambda: not logic.isRunning() and not logic.recordings.building)
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


def test_aConnectorThatRefusesIsSaid(slicer, extension, logic, monkeypatch):
    monkeypatch.setattr(slicer.vtkMRMLIGTLConnectorNode, "Start", lambda self: 0)
    with pytest.raises(errors().SettingsError, match="cannot be started"):
        logic.start(OpenIGTLinkSettings(engine="connector"))
    untilStopped(logic)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLIGTLConnectorNode") == 0


def test_chosenInThePanel(slicer, extension, module, logic, noErrors):
    ui = panelOf(module).ui
    ui.sourceComboBox.currentIndex = 2
    ui.optionsSection.collapsed = False
    assert ui.linkEngineComboBox.isVisibleTo(ui.optionsSection)
    ui.linkEngineComboBox.currentIndex = 1
    assert not ui.linkAskLineEdit.isVisibleTo(ui.optionsSection)
    ui.startButton.click()
    assert extension[0].calls[-1] == ("start",)
    ui.startButton.click()
    until(lambda: not logic.isRunning())
