"""What stops a new user: a missing folder, value or hint, words that are cut off, an image that is not seen."""

from __future__ import annotations

import numpy as np
import pytest
import slicerhost
from slicerhost.CtkPaths import fileDialogAnswers

from .conftest import until, untilRunning, untilStopped
from .test_Panel import panelOf, save


@pytest.fixture
def ui(module):
    """The widgets of the panel, as wide as in Slicer by default."""
    import qt

    area = qt.QScrollArea()
    area.setWidgetResizable(True)
    area.resize(380, 700)
    area.setWidget(module.widgetRepresentation())
    area.show()
    slicerhost.processEvents()
    yield panelOf(module).ui
    area.takeWidget()


def test_recordAsksForTheFolder(logic, ui, tmp_path, noErrors):
    fileDialogAnswers.append(str(tmp_path))
    ui.recordButton.click()
    assert logic.recording.active
    assert ui.recordingFolderPathLineEdit.currentPath == str(tmp_path)
    assert fileDialogAnswers == []
    ui.recordButton.click()
    until(lambda: not logic.recording.active and not logic.recording.building)


def test_recordAsksForTheValuesOfTheFileName(logic, ui, tmp_path, noErrors):
    """Rows wait for the values; rows that are there stay, in any case of letters."""
    logic.metadata.set({"Participant": "", "Operator": "Ada"})
    ui.recordingFolderPathLineEdit.currentPath = str(tmp_path)
    ui.recordingNameComboBox.setEditText("sub-{participant}_ses-{session}")
    ui.metadataSection.collapsed = True
    ui.recordButton.click()
    table = ui.metadataTable
    assert "needs a value" in ui.recordComplaintLabel.text
    assert not ui.metadataSection.collapsed
    assert not table.isHidden()
    rows = {table.item(row, 0).text(): row for row in range(table.rowCount)}
    assert "Operator" in rows
    assert "session" in rows
    assert len({name.lower() for name in rows}) == len(rows) == 3
    for name, row in rows.items():
        if name != "Operator":
            table.item(row, 1).setText("01")
    ui.recordButton.click()
    assert logic.recording.active
    assert logic.recording.last is None
    ui.recordButton.click()
    until(lambda: not logic.recording.active and not logic.recording.building)


def test_aNewRowOfTheMetadataIsReadyForItsName(ui):
    ui.metadataSection.collapsed = False
    ui.addRowButton.click()
    slicerhost.processEvents()
    assert (ui.metadataTable.currentRow(), ui.metadataTable.currentColumn()) == (0, 0)
    assert ui.metadataTable.columnWidth(0) >= 110


def test_afterStopTheLineSaysWhatToDoWithAnotherKind(logic, ui, incoming, noErrors):
    ui.folder_folder.currentPath = str(incoming)
    ui.startButton.click()
    untilRunning(logic.sources()[0])
    untilStopped(logic)
    until(lambda: ui.statusLabel.text == "Stopped.")
    ui.sourceComboBox.currentText = "Images posted over HTTP"
    assert ui.statusLabel.text.startswith("Press Start to listen")
    ui.sourceComboBox.currentText = "Folder of images"
    ui.startButton.click()
    untilRunning(logic.sources()[-1])
    untilStopped(logic)
    until(lambda: ui.statusLabel.text == "Stopped.")


def test_afterStopTheLineSaysSoThoughThePanelNeverSawTheSourceRun(slicer, logic, ui, incoming, noErrors):
    """A window that is slow to paint is refreshed once a second."""
    panel = slicer.modules.RealTimeImagingWidget.panel
    ui.folder_folder.currentPath = str(incoming)
    panel._refreshTimer.blockSignals(True)
    ui.startButton.click()
    assert slicerhost.runUntil(lambda: logic.sources()[0].state == "running", 20)
    logic.stop()
    assert slicerhost.runUntil(lambda: not logic.isRunning(), 20)
    panel._refreshTimer.blockSignals(False)
    panel.refresh()
    assert ui.statusLabel.text == "Stopped."


def test_anImageThatIsNotSeenIsNamedWhileTheSourceWaits(slicer, logic, views, ui, incoming, noErrors):
    """The newest image of the folder lies outside the slices, and no other comes."""
    ui.folder_folder.currentPath = str(incoming)
    save(incoming / "a.nii", 5)
    ui.startButton.click()
    until(lambda: ui.statusLabel.text.startswith("Waiting for the next image"))
    for name in ("Red", "Yellow", "Green"):
        slicer.mrmlScene.GetNodeByID(f"vtkMRMLSliceNode{name}").SetSliceOffset(5000)
    until(lambda: ui.remedyButton.text == "Go to the image")
    assert ui.statusLabel.text.startswith("Waiting for the next image")
    ui.remedyButton.click()
    until(lambda: ui.remedyButton.isHidden())
    untilStopped(logic)


def test_aChoiceIsNotCutOff(ui):
    ui.sourceComboBox.currentText = "OpenIGTLink device"
    slicerhost.processEvents()
    combo = ui.openigtlink_role
    longest = max(combo.fontMetrics().boundingRect(combo.itemText(row)).width() for row in range(combo.count))
    assert combo.width > longest + 30


def test_anEmptyTableOfALaterRunTakesNoRoom(logic, ui, incoming, noErrors):
    logic.push(np.ones((2, 3, 4), np.uint8))
    until(lambda: not ui.streamsTable.isHidden())
    untilStopped(logic)
    ui.folder_folder.currentPath = str(incoming)
    ui.startButton.click()
    until(lambda: ui.streamsTable.rowCount == 0)
    assert ui.streamsTable.isHidden()
    untilStopped(logic)


def test_skippedImagesAreNotLost(module, logic, ui, noErrors):
    for value in range(5):
        logic.push(np.full((2, 3, 4), value, np.uint8), wait=5)
    until(lambda: logic.statistics()["received"] == 5)
    panelOf(module).refresh()
    skipped = logic.statistics()["skipped"]
    assert ui.sourcesTable.item(0, 4).text() == "0"
    assert f"{skipped} skipped" in ui.sourcesTable.item(0, 4).toolTip()
    untilStopped(logic)


def test_theLabelOfTheRecordingsHasTheRoomOfItsRow(logic, ui, tmp_path, noErrors):
    ui.recordingFolderPathLineEdit.currentPath = str(tmp_path)
    ui.recordingsSection.collapsed = False
    until(lambda: "No recording is in this folder" in ui.recordingsLabel.text)
    slicerhost.processEvents()
    width = ui.recordingsLabel.fontMetrics().boundingRect(ui.recordingsLabel.text).width()
    assert ui.recordingsLabel.width >= width


def test_thePlotTakesNoRoomBeforeASignalIsTicked(logic, ui, noErrors):
    ui.signalsSection.collapsed = False
    empty = ui.signalsSection.sizeHint.height()
    logic.push(np.ones((2, 3, 4), np.uint8))
    until(lambda: ui.signalsList.count == 2)
    assert ui.signalsSection.sizeHint.height() < empty + 100
    ui.signalsList.item(0).setCheckState(2)
    until(lambda: ui.signalsSection.sizeHint.height() >= empty + 180)
    untilStopped(logic)
