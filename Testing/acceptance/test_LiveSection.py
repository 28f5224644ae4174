"""Live volumes in the panel: choices for the selected stream, remembered by its name."""

from __future__ import annotations

import numpy as np
import pytest
import slicerhost

from .conftest import until, untilStopped
from .test_Panel import panelOf

VIEWS = ("Red", "Yellow", "Green")


@pytest.fixture
def ui(module, views):
    return panelOf(module).ui


@pytest.fixture
def push(logic, ui):
    """Pushes an image; returns when the panel has a row for it."""

    def pushImage(name="Live", shape=(4, 8, 8)):
        logic.push(np.random.default_rng(3).integers(0, 100, shape).astype(np.int16), name=name)
        until(lambda: name in [ui.streamsTable.item(row, 0).text() for row in range(ui.streamsTable.rowCount)])
        return logic.liveVolumeNode(name)

    return pushImage


def layers(views, name):
    composite = views.sliceWidget(name).mrmlSliceCompositeNode()
    return composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID()


def select(ui, row):
    ui.streamsTable.setCurrentCell(row, 0)


def test_choicesAreOfTheSelectedStream(slicer, logic, views, ui, push, noErrors):
    """Layer, opacity, colours, window and level: the other stream stays as it is, and the controls show each one's."""
    first, second = push("Anatomy"), push("Map")
    assert ui.selectedStreamName.text == "Anatomy"
    assert not ui.opacitySpinBox.enabled
    select(ui, 1)
    assert ui.selectedStreamName.text == "Map"
    ui.layerComboBox.currentIndex = 1
    ui.opacitySpinBox.value = 30
    ui.coloursComboBox.currentText = "Iron"
    ui.windowModeComboBox.currentIndex = 1
    ui.followComboBox.currentText = "Green"
    assert layers(views, "Red") == (first.GetID(), second.GetID())
    assert views.sliceWidget("Red").mrmlSliceCompositeNode().GetForegroundOpacity() == pytest.approx(0.3)
    assert second.GetDisplayNode().GetColorNode().GetName() == "Iron"
    assert first.GetDisplayNode().GetColorNode().GetName() == "Grey"
    assert [logic.volumes.windowMode(name) for name in ("Anatomy", "Map")] == ["once", "always"]
    assert [logic.volumes.following(name) for name in ("Anatomy", "Map")] == [None, "Green"]
    select(ui, 0)
    shown = ui.layerComboBox.currentIndex, ui.coloursComboBox.currentIndex, ui.windowModeComboBox.currentIndex
    assert (*shown, ui.followComboBox.currentIndex) == (0, 0, 0, 0)
    select(ui, 1)
    assert (ui.layerComboBox.currentIndex, ui.opacitySpinBox.value) == (1, 30)
    assert (ui.coloursComboBox.currentText, ui.followComboBox.currentText) == ("Iron", "Green")
    second.GetDisplayNode().SetWindowLevel(7, 7)
    first.GetDisplayNode().SetWindowLevel(7, 7)
    ui.windowLevelButton.click()
    assert first.GetDisplayNode().GetWindow() == 7
    assert second.GetDisplayNode().GetWindow() > 50
    untilStopped(logic)


def test_choicesAreRememberedByName(slicer, module, logic, views, ui, push, noErrors):
    """After a restart they hold from the first image on; another stream has none of them."""
    push("Map")
    ui.layerComboBox.currentIndex = 1
    ui.opacitySpinBox.value = 70
    ui.coloursComboBox.currentText = "Rainbow"
    ui.windowModeComboBox.currentIndex = 2
    ui.streamsTable.cellWidget(0, 1).setCurrentText("Yellow")
    ui.imageTimeCheckBox.click()
    untilStopped(logic)
    slicerhost.reloadModule("RealTimeImaging")
    slicer.mrmlScene.Clear(0)
    again = slicer.util.getModuleLogic("RealTimeImaging")
    assert again is not logic
    assert again.volumes.layer("Map") == ("foreground", 0.7)
    assert again.volumes.texts.times
    assert panelOf(module).ui.imageTimeCheckBox.checked
    again.push(np.random.default_rng(3).integers(0, 100, (4, 8, 8)).astype(np.int16), name="Map")
    until(lambda: again.statistics()["shown"] == 1)
    node = again.liveVolumeNode("Map")
    assert [layers(views, name) for name in VIEWS] == [(None, None), (None, node.GetID()), (None, None)]
    assert node.GetDisplayNode().GetColorNode().GetName() == "Rainbow"
    assert again.volumes.windowMode("Map") == "keep"
    assert again.volumes.layer("Other") == ("background", 0.5)
    untilStopped(again)


def test_settingsOfAnotherSlicerDoNoHarm(slicer, module):
    """Views and colour maps that are not here, and text that is no choice at all."""
    for value in ('{"Map": {"showIn": "Slice9", "colours": "Gold", "layer": 5, "other": 1}}', "[1]", "{", '{"Map": 3}'):
        slicer.app.userSettings().setValue("RealTimeImaging/LiveVolumes", value)
        slicerhost.reloadModule("RealTimeImaging")
        assert panelOf(module).ui.selectedStreamName.text == "the next live volume"


def test_aChoiceBeforeTheFirstImageIsItsOwn(logic, views, ui, push, noErrors):
    ui.followComboBox.currentText = "Green"
    ui.coloursComboBox.currentText = "Iron"
    node = push("Live")
    until(lambda: logic.volumes.following("Live") == "Green")
    assert node.GetDisplayNode().GetColorNode().GetName() == "Iron"
    push("Other")
    assert logic.volumes.colours("Other") == ""
    untilStopped(logic)


def test_renderingSaysWhyItIsNotPossible(slicer, logic, views, ui, push, noErrors):
    """The check box is off with the reason; it works where there is a volume."""
    node = push("Live")
    ui.renderingCheckBox.click()
    assert logic.volumes.rendered("Live")
    names = [node.GetNthDisplayNode(index).GetClassName() for index in range(node.GetNumberOfDisplayNodes())]
    assert sum("VolumeRendering" in name for name in names) == 1
    push("Slice", (1, 8, 8))
    select(ui, 1)
    assert not ui.renderingCheckBox.enabled
    assert "A single slice cannot be rendered in 3D." in ui.renderingCheckBox.toolTip
    select(ui, 0)
    assert ui.renderingCheckBox.enabled
    assert ui.renderingCheckBox.checked
    assert "3D view" in ui.renderingCheckBox.toolTip
    untilStopped(logic)


def test_arrangeAndRestore(slicer, logic, views, ui, push, noErrors):
    """One click each; the button says what the next one does."""
    assert not ui.arrangeButton.enabled
    nodes = [push(name) for name in ("A", "B")]
    until(lambda: ui.arrangeButton.enabled)
    ui.arrangeButton.click()
    assert views.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutSideBySideView
    assert [layers(views, name)[0] for name in ("Red", "Yellow")] == [node.GetID() for node in nodes]
    assert ui.arrangeButton.text == "Restore views"
    panelOf(slicer.modules.realtimeimaging).refresh()
    assert [ui.streamsTable.cellWidget(row, 1).currentText for row in range(2)] == ["Red", "Yellow"]
    ui.arrangeButton.click()
    assert views.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
    assert ui.arrangeButton.text == "Arrange views"
    untilStopped(logic)
    slicer.app.userSettings().sync()
    assert not slicer.app.userSettings().value("RealTimeImaging/LiveVolumes")


def test_aForegroundThatIsNotPossibleIsExplained(slicer, logic, views, ui, push, noErrors):
    mine = slicer.util.addVolumeFromArray(np.zeros((2, 3, 4), np.int16))
    slicer.util.setSliceViewerLayers(foreground=mine)
    push("Live")
    ui.layerComboBox.currentIndex = 1
    assert "holds another volume" in ui.liveComplaintLabel.text
    assert ui.layerComboBox.currentIndex == 0
    ui.windowLevelButton.click()
    assert not ui.liveComplaintLabel.text
    untilStopped(logic)


def test_theTableTakesTheRoomOfItsRows(logic, ui, push):
    assert ui.streamsTable.isHidden()
    heights = []
    for name in "ABCDEF":
        push(name)
        heights.append(ui.streamsTable.height)
    assert not ui.streamsTable.isHidden()
    assert heights == sorted(heights)
    assert len(set(heights)) == 4
    untilStopped(logic)
