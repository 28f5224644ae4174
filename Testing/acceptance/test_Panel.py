"""The panel in use: open the module, press buttons, close the scene, reload, leave."""

from __future__ import annotations

import socket
from contextlib import closing

import nibabel
import numpy as np
import slicerhost
import vtk
from RealTimeImagingLib.Model.Frame import Frame
from RealTimeImagingLib.Recording import Recorder
from unit.openIGTLinkSource import freePort, image, sendAll

from .conftest import until, untilStopped, workFolders


def save(path, value):
    """One small image, renamed into place."""
    array = np.full((8, 9, 10), value, np.int16)
    array[6:] = 0
    hidden = path.with_name("." + path.name)
    nibabel.Nifti1Image(array, np.eye(4)).to_filename(hidden)
    hidden.rename(path)


def panelOf(module):
    """The module's Panel."""
    return module.widgetRepresentation().self().panel


def makeForms(ui):
    """Choose each kind of source and each function: its form is made when it is needed first."""
    for box in (ui.sourceComboBox, ui.functionComboBox):
        for index in [*range(box.count), 0]:
            box.currentIndex = index


def test_oneClickToLiveImages(slicer, module, views, logic, noErrors):
    """One click on Try: the phantom moves in the views; Stop leaves nothing behind."""
    ui = panelOf(module).ui
    assert ui.startButton.text == "Start"
    ui.tryButton.click()
    until(lambda: logic.statistics()["shown"] >= 5)
    until(lambda: ui.startButton.text == "Stop" and not ui.tryButton.enabled)
    first = views.sliceWidget("Red").sliceView().pixels().copy()
    shown = logic.statistics()["shown"]
    until(lambda: logic.statistics()["shown"] >= shown + 5)
    assert first.std() > 20
    # Two moments of a heart beat may look the same.
    until(lambda: not np.array_equal(first, views.sliceWidget("Red").sliceView().pixels()))
    ui.startButton.click()
    until(lambda: not logic.isRunning())
    until(lambda: ui.startButton.text == "Start" and ui.tryButton.enabled)
    assert ui.statusLabel.text == "Stopped."
    assert [ui.streamsTable.item(0, column).text() for column in (0, 2)] == ["Live", str(logic.statistics()["shown"])]
    assert ui.framesLabel.text.startswith(f"{logic.statistics()['received']} received")
    assert workFolders() == []


def shownRows(ui):
    """Number of rows in the table of sources."""
    return sum(not ui.sourcesTable.isRowHidden(row) for row in range(ui.sourcesTable.rowCount))


def test_threeClicksToAFolder(slicer, module, logic, incoming, noErrors):
    """Folder, Start: the state shows what the source waits for, then the images; events name the bad files."""
    ui = panelOf(module).ui
    ui.folder_folder.currentPath = str(incoming)
    ui.startButton.click()
    until(lambda: "has arrived in" in ui.statusLabel.text)
    save(incoming / "a.nii", 5)
    until(lambda: "1 received, 1 shown" in ui.framesLabel.text)
    (incoming / "broken.nii").write_bytes(b"no image at all" * 99)
    until(lambda: "broken.nii" in ui.lastEventLabel.text)
    until(lambda: "1 rejected" in ui.framesLabel.text)
    assert "broken.nii" in ui.eventsList.item(0).text()


def test_settingsAreRemembered(slicer, module, logic, incoming, noErrors):
    """The settings of the last start return after a restart of Slicer, and with a saved scene."""
    ui = panelOf(module).ui
    ui.folder_folder.currentPath = str(incoming)
    ui.folder_pattern.text = "*.nii;*.nrrd"
    ui.folder_subfolders.checked = True
    ui.folder_existing.currentIndex = 2
    ui.folder_incompleteAfter.value = 3.5
    ui.folder_stream.text = "Scan"
    ui.startButton.click()
    logic.stop()
    until(lambda: not logic.isRunning())
    wanted = panelOf(module).settings()
    slicerhost.reloadModule("RealTimeImaging")
    assert panelOf(module).settings() == wanted
    assert module.widgetRepresentation().self().logic.sceneSettings() == wanted


def test_complaintsStayBesideTheControlUntilTheNextAction(module, logic, incoming, tmp_path, noErrors):
    """A sentence beside the buttons, not a dialog; refreshes keep it, even while another source runs."""
    ui = panelOf(module).ui
    assert (ui.sourceComplaintLabel.text, ui.sourceComplaintLabel.maximumHeight) == ("", 0)
    ui.folder_folder.currentPath = ""
    ui.startButton.click()
    assert "Choose the folder" in ui.sourceComplaintLabel.text
    assert "color" in ui.sourceComplaintLabel.styleSheet
    assert ui.sourceComplaintLabel.maximumHeight > 100
    ui.folder_folder.currentPath = str(incoming)
    ui.startButton.click()
    assert (ui.sourceComplaintLabel.text, ui.sourceComplaintLabel.maximumHeight) == ("", 0)
    until(lambda: "has arrived in" in ui.statusLabel.text)
    ui.recordButton.click()
    complaint = ui.recordComplaintLabel.text
    assert complaint
    assert not ui.sourceComplaintLabel.text
    ui.convertButton.click()
    ui.sendPlaneCheckBox.click()
    panelOf(module).refresh()
    save(incoming / "a.nii", 5)
    until(lambda: "1 received" in ui.framesLabel.text)
    assert ui.recordComplaintLabel.text == complaint
    assert ui.convertComplaintLabel.text
    assert (ui.convertLabel.text, ui.convertLabel.maximumHeight) == ("", 0)
    assert "Choose a slice view" in ui.devicesComplaintLabel.text
    ui.recordingFolderPathLineEdit.currentPath = str(tmp_path / "recordings")
    ui.recordButton.click()
    assert logic.recording.active
    assert not ui.recordComplaintLabel.text
    untilStopped(logic)


CONTROLS = (
    "QAbstractButton",
    "QComboBox",
    "QLineEdit",
    "QAbstractSpinBox",
    "QAbstractItemView",
    "QProgressBar",
    "ctkPathLineEdit",
    "qMRMLNodeComboBox",
)


def test_everyControlHasATooltip(module):
    """Plain words for every widget that can be used, and for its label."""
    top = module.widgetRepresentation()
    ui = panelOf(module).ui
    makeForms(ui)
    controls, silent = [], []
    for widget in top.findChildren("QWidget"):
        inside = widget.parent()
        while inside is not None and not any(map(inside.inherits, CONTROLS)):
            inside = inside.parent()
        part = inside is not None and not inside.inherits("ctkCollapsibleButton")  # of a control, such as its arrow
        if part or not any(map(widget.inherits, (*CONTROLS, "QLabel"))):
            continue
        controls.append(widget.name)
        if not widget.toolTip:
            silent.append(widget.name)
    assert silent == []
    assert {"startButton", "folder_folder", "planeComboBox", "eventsList", "sourceSection"} <= set(controls)
    assert len(controls) > 230
    assert {name for name in vars(ui) if name.endswith(("Button", "ComboBox", "LineEdit", "Table"))} <= set(
        controls
    ) | {"qt_spinbox_lineedit"}


def test_theKeyboardGoesFromTheSourceThroughItsForm(module):
    """From top to bottom, whichever form was made first."""
    from RealTimeImagingLib.Sources import KINDS

    panel = panelOf(module)
    ui = panel.ui
    makeForms(ui)
    module.widgetRepresentation().show()
    ui.optionsSection.collapsed = False
    for index, kind in enumerate(kind for kind in KINDS.values() if kind.listed):
        ui.sourceComboBox.currentIndex = index
        form = panel._source.formOf(kind)
        for advanced, begin, end in (
            (False, "sourceComboBox", "addButton"),
            (True, "optionsSection", "sourceComboBox"),
        ):
            fields = [one.name for one in form.widgets(advanced) if one.isVisible()]
            passed, widget = [], getattr(ui, begin).nextInFocusChain()
            while widget.name != end:
                # A path is a list and a button.
                names = {widget.name, widget.parent().name if widget.parent() else ""}
                passed += [name for name in names & set(fields) if widget.isVisible() and passed[-1:] != [name]]
                widget = widget.nextInFocusChain()
            assert passed == fields


def test_sceneCloseStops(slicer, module, logic, scanner, incoming, noErrors):
    """The source ends with the scene; the next start makes a new node."""
    from RealTimeImagingLib import FolderSettings

    source = logic.start(FolderSettings(incoming))
    until(lambda: source.state == "running")
    save(incoming / "a.nii", 5)
    until(lambda: logic.statistics()["shown"] == 1)
    slicerhost.closeScene()
    assert not logic.isRunning()
    assert logic.liveVolumeNode() is None
    assert workFolders() == []
    source = logic.start(FolderSettings(incoming, existing="ignore"))
    until(lambda: source.state == "running")
    save(incoming / "b.nii", 6)
    until(lambda: logic.statistics()["shown"] == 1)
    assert slicer.util.arrayFromVolume(logic.liveVolumeNode())[1, 1, 1] == 6


def test_reloadStopsAndWorksAgain(slicer, module, logic, noErrors):
    """Reload in mid-stream: all ends; the new panel works."""
    panelOf(module).ui.tryButton.click()
    until(lambda: logic.statistics()["shown"] > 0)
    module.widgetRepresentation().self().onReload()
    assert workFolders() == []
    again = slicer.util.getModuleLogic("RealTimeImaging")
    assert again is not logic
    panelOf(module).ui.tryButton.click()
    until(lambda: again.statistics()["shown"] > 2)


def test_leavingTheModuleDoesNotStop(slicer, module, logic, noErrors):
    """After another module is opened, images still arrive."""
    widget = module.widgetRepresentation()
    widget.enter()
    panelOf(module).ui.tryButton.click()
    until(lambda: logic.statistics()["shown"] > 0)
    widget.exit()
    shown = logic.statistics()["shown"]
    until(lambda: logic.statistics()["shown"] > shown + 3)


def test_showInAndWindowLevelStayTheUsers(slicer, module, views, logic, incoming, noErrors):
    """One view, none, all; window/level is set once, by the button, or always; zoom and slice stay."""
    from RealTimeImagingLib import FolderSettings

    def background(view):
        return views.sliceWidget(view).mrmlSliceCompositeNode().GetBackgroundVolumeID()

    def windowLevel():
        display = logic.liveVolumeNode().GetDisplayNode()
        return display.GetWindow(), display.GetLevel()

    source = logic.start(FolderSettings(incoming))
    until(lambda: source.state == "running")

    def send(value):
        count = logic.statistics()["shown"]
        save(incoming / f"f{count}.nii", value)
        until(lambda: logic.statistics()["shown"] == count + 1)

    send(100)
    node = logic.liveVolumeNode()
    assert {background(name) for name in ("Red", "Yellow", "Green")} == {node.GetID()}
    assert windowLevel() == (100, 50)
    red = views.sliceWidget("Red").mrmlSliceNode()
    red.SetFieldOfView(33, 33, 1)
    views.sliceWidget("Red").sliceLogic().SetSliceOffset(3)
    node.GetDisplayNode().SetWindowLevel(42, 21)
    send(300)
    assert windowLevel() == (42, 21)
    assert red.GetFieldOfView()[0] == 33
    assert views.sliceWidget("Red").sliceLogic().GetSliceOffset() == 3
    panelOf(module).ui.windowLevelButton.click()
    assert windowLevel() == (300, 150)
    panelOf(module).ui.windowModeComboBox.currentIndex = 1
    send(500)
    assert windowLevel() == (500, 250)
    until(lambda: panelOf(module).ui.streamsTable.rowCount == 1)
    where = panelOf(module).ui.streamsTable.cellWidget(0, 1)
    where.setCurrentText("Green")
    assert (background("Red"), background("Green")) == (None, node.GetID())
    where.setCurrentText("No view")
    assert background("Green") is None
    send(600)
    assert slicer.util.arrayFromVolume(logic.liveVolumeNode())[1, 1, 1] == 600
    assert logic.liveVolumeNode() is node


def test_otherModulesMayReplaceTheImage(slicer, logic, incoming, noErrors):
    """Another module gives the node another image or array in mid-stream: the next frame is shown all the same."""
    from RealTimeImagingLib import FolderSettings

    source = logic.start(FolderSettings(incoming))
    until(lambda: source.state == "running")
    save(incoming / "a.nii", 5)
    until(lambda: logic.statistics()["shown"] == 1)
    node = logic.liveVolumeNode()
    slicer.util.updateVolumeFromArray(node, np.zeros((3, 4, 5), np.float32))
    save(incoming / "b.nii", 6)
    until(lambda: logic.statistics()["shown"] == 2)
    assert slicer.util.arrayFromVolume(node).dtype == np.int16
    assert slicer.util.arrayFromVolume(node)[1, 1, 1] == 6
    slicer.mrmlScene.RemoveNode(node)
    save(incoming / "c.nii", 7)
    until(lambda: logic.statistics()["shown"] == 3)
    assert slicer.util.arrayFromVolume(logic.liveVolumeNode())[1, 1, 1] == 7


def test_callbacks(slicer, logic, incoming, caplog):
    """They receive the shown frames, read-only; a failing callback is reported once and stops nothing."""
    import logging

    from RealTimeImagingLib import FolderSettings

    seen = []

    def bad(frame):
        raise RuntimeError("a mistake in the user's code")

    def good(frame):
        seen.append(
            (frame.number, int(frame.pixels.max()), frame.pixels.flags.writeable, frame.attributes["SourceFile"])
        )

    logic.addFrameCallback(bad)
    logic.addFrameCallback(good)
    source = logic.start(FolderSettings(incoming))
    until(lambda: source.state == "running")
    for number in range(3):
        save(incoming / f"f{number}.nii", number + 1)
        until(lambda number=number: len(seen) == number + 1)
    assert seen == [(number, number + 1, False, f"f{number}.nii") for number in range(3)]
    assert [event.code for event in logic.events()].count("callback-failed") == 1
    logic.removeFrameCallback(good)
    save(incoming / "last.nii", 9)
    until(lambda: logic.statistics()["shown"] == 4)
    assert len(seen) == 3
    assert any("mistake" in record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR)


def test_applicationExit(slicer, module, logic, noErrors):
    """aboutToQuit in mid-stream ends everything."""
    logic.startSimulatedScanner()
    until(lambda: logic.statistics()["shown"] > 0)
    slicerhost.quit()
    assert workFolders() == []
    assert slicerhost.leftovers() == []


def test_severalSourcesAtOnce(slicer, module, logic, incoming, tmp_path, noErrors):
    """Folder, replay and OpenIGTLink beside one another, each with its own row, one recording over all."""
    ui = panelOf(module).ui
    recorder = Recorder(str(tmp_path), "Old", "Live", {})
    for number in range(20):
        pixels = np.full((2, 3, 4), number, np.int16)
        assert recorder.append(Frame(pixels, np.eye(4), "Live", number, 1.7e9 + number))
    (replayed,) = recorder.finish()
    ui.recordingFolderPathLineEdit.currentPath = str(tmp_path / "recordings")
    ui.recordFromStartCheckBox.checked = True
    ui.folder_folder.currentPath = str(incoming)
    ui.startButton.click()
    until(lambda: ui.startButton.text == "Stop" and shownRows(ui) == 1)
    ui.sourceComboBox.currentIndex = 1
    ui.replay_file.currentPath = replayed
    ui.replay_pace.currentIndex = 2
    ui.addButton.click()
    ui.sourceComboBox.currentIndex = 2
    ui.openigtlink_role.currentIndex = 1
    ui.openigtlink_port.value = freePort()
    ui.addButton.click()
    until(lambda: [one.state for one in logic.sources()] == ["running"] * 3)
    until(lambda: shownRows(ui) == 3 and "Waiting for a device" in ui.sourcesTable.item(2, 1).toolTip())
    assert ui.startButton.text == "Stop all"
    with closing(socket.create_connection(("127.0.0.1", ui.openigtlink_port.value))) as device:
        sendAll(device, image(1), image(2))
        save(incoming / "a.nii", 5)
        until(lambda: logic.statistics()["received"] == 23)
        counts = logic.statistics()
        received = {name: one["received"] for name, one in counts["streams"].items()}
        assert received == {"Live": 1, "Live 2": 20, "Probe": 2}
        until(lambda: [ui.sourcesTable.item(row, 1).text() for row in (1, 2)] == ["Live 2", "OpenIGTLink, Probe"])
        ui.sourcesTable.cellWidget(2, 5).click()
        until(lambda: [one.state for one in logic.sources()] == ["running", "running", "stopped"])
        until(lambda: shownRows(ui) == 2)
    assert ui.startButton.text == "Stop all"
    save(incoming / "b.nii", 6)
    until(lambda: logic.statistics()["received"] == 24)
    browser = logic.stopRecording()
    until(lambda: not logic.recording.building)
    assert logic.statistics()["recorded"] == 24
    sequences = vtk.vtkCollection()
    browser.GetSynchronizedSequenceNodes(sequences, True)
    nodes = [sequences.GetItemAsObject(index) for index in range(sequences.GetNumberOfItems())]
    assert sorted(node.GetNumberOfDataNodes() for node in nodes if "Probe" in node.GetName()) == [2]
    # One clock for all: each index is the arrival since the first frame of the recording.
    starts = set()
    for node in nodes:
        for index in range(node.GetNumberOfDataNodes()):
            item = node.GetNthDataNode(index)
            if not item.GetAttribute("DeviceTime"):
                starts.add(round(float(item.GetAttribute("ReceiveTime")) - float(node.GetNthIndexValue(index)), 2))
    assert len(starts) == 1
    untilStopped(logic)


def test_tryingAgainKeepsTheWindow(logic):
    """The images are the same, though each simulated scanner has a folder of its own."""
    for window in (None, 777.0):
        logic.startSimulatedScanner()
        until(lambda: logic.statistics()["shown"] >= 3)
        display = logic.liveVolumeNode().GetDisplayNode()
        assert window in (None, display.GetWindow())
        display.SetWindowLevel(777, 333)
        untilStopped(logic)
