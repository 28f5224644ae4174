"""The panel's shell: status line and its button, rows of the sources, status bar, keys, dropped files, memory."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import slicerhost
from PySide6 import QtCore, QtGui, QtTest
from RealTimeImagingLib import FolderSettings
from RealTimeImagingLib.Link.Messages import EventReport, StatusReport
from RealTimeImagingLib.Model.Errors import SettingsError
from RealTimeImagingLib.Model.Event import Event, Remedy

from .conftest import MODULE, until, untilRunning, untilStopped
from .test_Panel import makeForms, panelOf, save, shownRows

SKIPPED = Remedy("Show newest", {"existing": "newest"})


def test_theStatusLineHasSymbolColourAndSentence(module, logic, incoming, noErrors):
    """Idle, waiting, receiving, then idle again: the symbols differ, not only the colours."""
    ui = panelOf(module).ui
    seen = [(ui.statusSymbolLabel.text, ui.statusSymbolLabel.accessibleName)]
    source = logic.start(FolderSettings(incoming))
    untilRunning(source)
    until(lambda: ui.statusSymbolLabel.accessibleName == "Waiting")
    seen.append((ui.statusSymbolLabel.text, ui.statusLabel.styleSheet))
    untilStopped(logic)
    until(lambda: ui.tryButton.enabled)
    ui.tryButton.click()
    until(lambda: ui.statusSymbolLabel.accessibleName == "Receiving")
    seen.append((ui.statusSymbolLabel.text, ui.statusLabel.styleSheet))
    untilStopped(logic)
    until(lambda: ui.statusSymbolLabel.accessibleName == "Idle")
    assert not ui.statusLabel.styleSheet
    assert len({symbol for symbol, _other in seen}) == 3
    assert len({style for _symbol, style in seen}) == 3


def test_theRemedyOfAStatusStartsTheSourceAgain(module, logic, incoming, noErrors):
    """The button beside the sentence: the image that was there is shown, and the form has the new value."""
    ui = panelOf(module).ui
    save(incoming / "a.nii", 5)
    ui.folder_folder.currentPath = str(incoming)
    ui.folder_existing.currentIndex = 0
    # The source itself offers to show the image, too, at any moment after its start.
    assert not ui.remedyButton.isVisibleTo(ui.remedyButton.parent())
    ui.startButton.click()
    untilRunning(logic.sources()[0])
    logic._session.reports.deliver(StatusReport("1 image was already there.", remedy=SKIPPED), logic.sources()[0])
    panelOf(module).refresh()
    assert ui.statusLabel.text == "1 image was already there."
    assert ui.remedyButton.isVisibleTo(ui.remedyButton.parent())
    assert ui.remedyButton.text == "Show newest"
    ui.remedyButton.click()
    until(lambda: logic.statistics()["shown"] == 1)
    assert [one.settings.existing for one in logic.sources() if not one.ended] == ["newest"]
    assert panelOf(module).settings().existing == "newest"
    until(lambda: not ui.remedyButton.isVisibleTo(ui.remedyButton.parent()))
    untilStopped(logic)


def test_theSecondOfferShowsAllImagesThatWereThere(module, logic, column, incoming, noErrors):
    """Below the first one, in the same column; of one image there is no second offer."""
    ui = panelOf(module).ui
    column(380)
    for number in range(3):
        save(incoming / f"{number}.nii", number)
    ui.folder_folder.currentPath = str(incoming)
    ui.folder_existing.currentIndex = 0
    ui.startButton.click()
    until(lambda: ui.otherRemedyButton.isVisible())
    slicerhost.processEvents()
    assert (ui.remedyButton.text, ui.otherRemedyButton.text) == ("Show newest", "Show all")
    assert ui.otherRemedyButton.y >= ui.remedyButton.y + ui.remedyButton.height
    ui.otherRemedyButton.click()
    until(lambda: logic.statistics()["received"] == 3)
    assert panelOf(module).settings().existing == "all"
    until(lambda: not ui.remedyButton.isVisible() and not ui.otherRemedyButton.isVisible())
    untilStopped(logic)
    for number in (1, 2):
        (incoming / f"{number}.nii").unlink()
    ui.folder_existing.currentIndex = 0
    ui.startButton.click()
    until(lambda: ui.remedyButton.isVisible())
    assert not ui.otherRemedyButton.isVisible()
    untilStopped(logic)


def test_aDoubleClickOnARemedyStartsOneSource(module, logic, incoming, noErrors):
    ui = panelOf(module).ui
    source = logic.start(FolderSettings(incoming))
    untilRunning(source)
    logic._session.reports.deliver(StatusReport("1 image was already there.", remedy=SKIPPED), source)
    panelOf(module).refresh()
    ui.remedyButton.click()
    ui.remedyButton.click()
    assert not ui.remedyButton.isVisibleTo(ui.remedyButton.parent())
    assert ui.sourceComplaintLabel.text == ""
    until(lambda: [one.state for one in logic.sources()] == ["running"])
    untilStopped(logic)


def test_aRemedyLeavesTheFormOfTheNextSource(slicer, module, logic, incoming, tmp_path, noErrors):
    """Of two sources that wait, the button mends the second; the settings that the user enters meanwhile stay."""
    ui = panelOf(module).ui
    second, third = tmp_path / "second", tmp_path / "third"
    second.mkdir()
    save(second / "a.nii", 5)
    ui.folder_folder.currentPath = str(incoming)
    ui.startButton.click()
    untilRunning(logic.sources()[0])
    ui.folder_folder.currentPath = str(second)
    ui.folder_existing.currentIndex = 0
    until(lambda: ui.addButton.isVisibleTo(ui.sourceSection))
    ui.addButton.click()
    until(lambda: len(logic.sources()) == 2 and logic.sources()[1].state == "running")
    ui.folder_folder.currentPath = str(third)
    ui.folder_pattern.text = "*.nrrd"
    logic._session.reports.deliver(StatusReport("1 image was already there.", remedy=SKIPPED), logic.sources()[1])
    panelOf(module).refresh()
    assert "1 image was already there." in ui.statusLabel.text
    ui.remedyButton.click()
    until(lambda: logic.statistics()["streams"].get("Live 2", {}).get("shown") == 1)
    assert panelOf(module).settings() == FolderSettings(third, pattern="*.nrrd", existing="ignore")
    untilStopped(logic)


def test_aRemedyOfASecondSourceIsRememberedWithoutItsNumber(slicer, module, logic, incoming, tmp_path, noErrors):
    ui = panelOf(module).ui
    ui.folder_folder.currentPath = str(tmp_path)
    ui.folder_existing.currentIndex = 0
    ui.startButton.click()
    untilRunning(logic.sources()[0])
    ui.folder_folder.currentPath = str(incoming)
    until(lambda: ui.addButton.isVisibleTo(ui.sourceSection))
    ui.addButton.click()
    until(lambda: len(logic.sources()) == 2 and logic.sources()[1].state == "running")
    logic._session.reports.deliver(StatusReport("1 image was already there.", remedy=SKIPPED), logic.sources()[1])
    panelOf(module).refresh()
    ui.remedyButton.click()
    assert panelOf(module).settings() == FolderSettings(incoming, existing="newest")
    assert '"stream": "Live"' in slicer.app.userSettings().value("RealTimeImaging/Settings/folder")
    untilStopped(logic)


def test_theSelectedSourceStaysSelected(module, logic, incoming, tmp_path, noErrors):
    """Its rows move up when another source stops: the form shows the details of the same source."""
    ui = panelOf(module).ui
    sources = [logic.start(FolderSettings(incoming, stream=name)) for name in "ABC"]
    until(lambda: shownRows(ui) == 3)
    ui.sourcesTable.setCurrentCell(1, 1)
    logic.stop(sources[0])
    until(lambda: shownRows(ui) == 2)
    assert ui.sourcesTable.item(ui.sourcesTable.currentRow(), 1).text() == "B"
    logic.stop(sources[1])
    until(lambda: shownRows(ui) == 1)
    assert ui.sourcesTable.currentRow() == -1
    untilStopped(logic)


def test_theRemedyOfAnEventStaysUntilAnImageComes(module, logic, incoming, noErrors):
    ui = panelOf(module).ui
    source = logic.start(FolderSettings(incoming))
    untilRunning(source)
    offer = Event("elsewhere", "Images come as *.nrrd.", "warning", remedy=Remedy("Use *.nrrd", {"pattern": "*.nrrd"}))
    logic._session.reports.deliver(EventReport(offer), source)
    until(lambda: ui.statusLabel.text == "Images come as *.nrrd." and ui.remedyButton.text == "Use *.nrrd")
    save(incoming / "a.nii", 5)
    until(lambda: logic.statistics()["shown"] == 1)
    until(lambda: "Waiting for the next image" in ui.statusLabel.text)
    assert not ui.remedyButton.isVisibleTo(ui.remedyButton.parent())
    untilStopped(logic)


def test_aStallIsRedInTheLineTheRowAndTheStatusBar(module, logic, incoming, noErrors):
    """Ten images a second, then none; the next image ends the alarm."""
    import qt

    window = qt.QMainWindow()
    window.setObjectName("qSlicerMainWindow")
    bar, ui = window.statusBar(), panelOf(module).ui
    source = logic.start(FolderSettings(incoming))
    untilRunning(source)
    save(incoming / "a.nii", 5)
    until(lambda: logic.statistics()["shown"] == 1)
    for number in range(1, 11):
        logic._session.watch.note(source, "Live", number, 1000 + number / 10)
    until(lambda: ui.statusSymbolLabel.accessibleName == "Images have stopped")
    assert "Before, 10.0 images/s arrived." in ui.statusLabel.text
    assert ui.sourcesTable.item(0, 0).text() == ui.statusSymbolLabel.text
    until(lambda: "Before, 10.0 images/s arrived." in bar.currentMessage())
    # An irregular stream: no further image is missed.
    for number in range(11, 31):
        logic._session.watch.note(source, "Live", number, 1004.0 + number % 5 * number)
    until(lambda: ui.statusSymbolLabel.accessibleName == "Waiting")
    until(lambda: bar.currentMessage() == "")
    untilStopped(logic)
    window.setObjectName("closed")
    window.deleteLater()


def test_theNameOfAControlIsAWholeSentence(module):
    """Of its tool tip, which has line breaks, and dots in addresses."""
    ui = panelOf(module).ui
    makeForms(ui)
    assert ui.openigtlink_host.accessibleName.startswith("Client: address or name of the device, such as 192.168.0.10")
    assert "\n" not in ui.folder_seriesPattern.accessibleName


def test_restartTakesNewSettings(logic, incoming, noErrors):
    """Known names and possible values; otherwise the source continues."""
    source = logic.start(FolderSettings(incoming))
    untilRunning(source)
    for changes in ({"filter": "*.nii"}, {"existing": "never"}):
        with pytest.raises(SettingsError):
            logic.restart(source, **changes)
    assert source.state == "running"
    again = logic.restart(source, pattern="*.nrrd")
    assert again.settings == FolderSettings(incoming, pattern="*.nrrd")
    until(lambda: source.ended and again.state == "running")
    untilStopped(logic)
    simulated = logic.startSimulatedScanner()
    with pytest.raises(SettingsError, match="simulated scanner"):
        logic.restart(simulated, pattern="*.nrrd")
    untilStopped(logic)


def test_aSkippedImageIsNotLost(module, logic, incoming, noErrors):
    """A newer image was shown instead; a rejected file is lost. The tool tip has each number."""
    ui = panelOf(module).ui
    pushed = 0
    while not logic.statistics()["skipped"]:  # a process that is late at each image has all of them shown
        for number in range(20):
            logic.push(np.full((2, 3, 4), number, np.int16), name="Fast")
        pushed += 20
        until(lambda: logic.statistics()["received"] == pushed)  # noqa: B023 - it is awaited here
        assert pushed < 1000
    skipped = logic.statistics()["skipped"]
    (incoming / "broken.nii").write_bytes(b"no image at all" * 99)
    logic.start(FolderSettings(incoming, existing="newest"))
    until(lambda: logic.statistics()["rejected"] == 1)
    panelOf(module).refresh()
    cells = [ui.sourcesTable.item(row, 4) for row in range(2)]
    assert [cell.text() for cell in cells] == ["0", "1"]
    assert f"{skipped} skipped" in cells[0].toolTip()
    assert "1 rejected" in cells[1].toolTip()
    untilStopped(logic)


def test_twoFoldersHaveARowEach(module, logic, incoming, tmp_path, noErrors):
    """The second start needs one more click; each row has its own Stop; without a source the table takes no room."""
    ui = panelOf(module).ui
    other = tmp_path / "other"
    other.mkdir()
    assert ui.sourcesTable.maximumHeight == 0
    assert not ui.addButton.isVisibleTo(ui.sourceSection)
    ui.folder_folder.currentPath = str(incoming)
    ui.startButton.click()
    until(lambda: shownRows(ui) == 1 and ui.addButton.isVisibleTo(ui.sourceSection))
    ui.folder_folder.currentPath = str(other)
    ui.addButton.click()
    until(lambda: [one.state for one in logic.sources()] == ["running"] * 2)
    until(lambda: shownRows(ui) == 2 and ui.startButton.text == "Stop all")
    save(other / "a.nii", 5)
    until(lambda: logic.statistics()["streams"].get("Live 2", {}).get("shown") == 1)
    until(lambda: ui.sourcesTable.item(1, 3).text() != "-")
    cells = [[ui.sourcesTable.item(row, column).text() for column in (1, 4)] for row in (0, 1)]
    assert cells == [["Live", "0"], ["Live 2", "0"]]
    assert str(other) in ui.sourcesTable.item(1, 0).toolTip().replace("\u200b", "")
    ui.sourcesTable.cellWidget(0, 5).click()
    until(lambda: [one.state for one in logic.sources()] == ["stopped", "running"])
    until(lambda: shownRows(ui) == 1 and ui.startButton.text == "Stop")
    assert ui.sourcesTable.item(0, 1).text() == "Live 2"
    ui.startButton.click()
    until(lambda: not logic.isRunning())
    until(lambda: ui.sourcesTable.maximumHeight == 0 and ui.startButton.text == "Start")


def test_eachKindRemembersItsSettings(slicer, module, logic, incoming, noErrors):
    """Folder and address return after a restart of Slicer, in the fields and in their lists; so do open sections."""
    ui = panelOf(module).ui
    ui.folder_folder.currentPath = str(incoming)
    ui.folder_pattern.text = "*.nrrd"
    ui.startButton.click()
    untilStopped(logic)
    ui.sourceComboBox.currentIndex = ui.sourceComboBox.findText("Images posted over HTTP")
    ui.http_host.setEditText("localhost")
    ui.http_port.value = 0
    ui.startButton.click()
    untilStopped(logic)
    ui.metadataSection.collapsed = False
    ui.statusSection.collapsed = True
    slicerhost.closeScene()
    slicerhost.reloadModule("RealTimeImaging")
    ui = panelOf(module).ui
    assert ui.sourceComboBox.currentText == "Images posted over HTTP"
    assert (ui.http_host.currentText, ui.http_port.value) == ("localhost", 0)
    assert [ui.http_host.itemText(row) for row in range(ui.http_host.count)] == ["localhost", "127.0.0.1", "0.0.0.0"]
    ui.sourceComboBox.currentIndex = 0
    assert (ui.folder_folder.currentPath, ui.folder_pattern.text) == (str(incoming), "*.nrrd")
    assert ui.folder_folder.comboBox().itemText(0) == str(incoming)
    assert not ui.metadataSection.collapsed
    assert ui.statusSection.collapsed


def test_aKindThatWasOnlyChosenIsRemembered(slicer, module, noErrors):
    """Without a start, by the list or by a dropped file; a scene or a script that chooses one changes nothing."""
    from slicerhost.PythonQt import nativeObject

    ui = panelOf(module).ui
    names = [ui.sourceComboBox.itemText(row) for row in range(ui.sourceComboBox.count)]
    QtTest.QTest.keyClick(nativeObject(ui.sourceComboBox), QtCore.Qt.Key.Key_Down)
    QtTest.QTest.keyClick(nativeObject(ui.sourceComboBox), QtCore.Qt.Key.Key_Down)
    slicerhost.reloadModule("RealTimeImaging")
    ui = panelOf(module).ui
    assert ui.sourceComboBox.currentText == names[2]
    assert drop(ui.startButton.parent(), "/data/film.mp4")
    slicerhost.reloadModule("RealTimeImaging")
    ui = panelOf(module).ui
    assert ui.sourceComboBox.currentText == "Camera or video"
    ui.sourceComboBox.currentIndex = 0
    slicerhost.reloadModule("RealTimeImaging")
    assert panelOf(module).ui.sourceComboBox.currentText == "Camera or video"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("KeepSeconds", "abc"),
        ("KeepSeconds", 10**12),
        ("KeepSeconds", ["1", "2"]),
        ("RecordingName", ["a", "b"]),
        ("RecordingFolder", ["a", "b"]),
        ("SimulatorInput", ["a", "b"]),
        ("Settings/folder", ["a", "b"]),
        ("Settings/folder", '{"kind": "replay", "file": "/a.seq.nhdr"}'),
        ("LiveVolumes", ["a", "b"]),
        ("Command/Form", "MORSE"),
        ("Open/metadataSection", ["a", "b"]),
    ],
)
def test_damagedSettingsDoNotKeepThePanelFromOpening(slicer, module, key, value):
    slicerhost.unloadModule("RealTimeImaging")
    slicer.app.userSettings().setValue(f"RealTimeImaging/{key}", value)
    ui = panelOf(slicerhost.loadModule(MODULE)).ui
    assert ui.startButton.enabled
    assert ui.folder_folder.currentPath == ""


# ---- outside the panel


def test_theStatusBarShowsRecordingAndAlarmsWhileAnotherModuleIsOpen(module, logic, column, tmp_path, noErrors):
    import qt

    window = qt.QMainWindow()
    window.setObjectName("qSlicerMainWindow")
    bar = window.statusBar()
    messages = []
    bar.connect("messageChanged(QString)", messages.append)
    ui = panelOf(module).ui
    area = column()
    ui.tryButton.click()
    until(lambda: logic.statistics()["shown"] > 0)
    logic.startRecording(str(tmp_path / "recordings"))
    until(lambda: "stored" in ui.recordingLabel.text)
    assert messages == []
    area.hide()
    module.widgetRepresentation().exit()
    until(lambda: "Real-Time Imaging" in bar.currentMessage() and "Recording" in bar.currentMessage())
    assert bar.currentMessage().count("Recording") == 1
    area.show()
    module.widgetRepresentation().enter()
    until(lambda: bar.currentMessage() == "")
    logic.stopRecording()
    untilStopped(logic)
    bar.disconnect("messageChanged(QString)", messages.append)
    window.setObjectName("closed")
    window.deleteLater()


def drop(widget, path):
    """Drag a file onto a widget and drop it; return whether it was accepted."""
    from slicerhost.PythonQt import nativeObject

    data = QtCore.QMimeData()
    data.setUrls([QtCore.QUrl.fromLocalFile(str(path))])
    copy, left, none = QtCore.Qt.DropAction.CopyAction, QtCore.Qt.MouseButton.LeftButton, QtCore.Qt.KeyboardModifier(0)
    enter = QtGui.QDragEnterEvent(QtCore.QPoint(5, 5), copy, data, left, none)
    QtCore.QCoreApplication.sendEvent(nativeObject(widget), enter)
    dropped = QtGui.QDropEvent(QtCore.QPointF(5, 5), copy, data, left, none)
    QtCore.QCoreApplication.sendEvent(nativeObject(widget), dropped)
    return enter.isAccepted() and dropped.isAccepted()


def test_aDroppedFolderOrFileFillsTheRightForm(module, incoming, tmp_path, noErrors):
    ui = panelOf(module).ui
    top = ui.startButton.parent()
    for name, kind, field in (
        ("scan.seq.nhdr", "Replay of a recording or file", "replay_file"),
        ("scan.nii.gz", "Replay of a recording or file", "replay_file"),
        ("film.MP4", "Camera or video", "camera_device"),
    ):
        assert drop(top, tmp_path / name)
        shown = getattr(ui, field)
        path = shown.currentPath if field == "replay_file" else shown.text
        assert (ui.sourceComboBox.currentText, path) == (kind, str(tmp_path / name))
    assert drop(top, incoming)
    assert ui.sourceComboBox.currentText == "Folder of images"
    assert ui.folder_folder.currentPath == str(incoming)


def test_keysPressTheButtonsThatTheirToolTipsName(module, logic, column, incoming, tmp_path, noErrors):
    from slicerhost.PythonQt import nativeObject

    ui = panelOf(module).ui
    ui.recordingFolderPathLineEdit.currentPath = str(tmp_path / "recordings")
    ui.folder_folder.currentPath = str(incoming)
    area = column()
    area.activateWindow()
    until(lambda: area.isActiveWindow)

    def press(button, letter):
        assert f"(Ctrl+Shift+{letter})" in button.toolTip
        assert "&lt;" not in button.toolTip
        modifiers = QtCore.Qt.KeyboardModifier.ControlModifier | QtCore.Qt.KeyboardModifier.ShiftModifier
        key = getattr(QtCore.Qt.Key, f"Key_{letter}")
        QtTest.QTest.keyClick(nativeObject(area), key, modifiers)

    press(ui.startButton, "L")
    until(lambda: logic.isRunning())
    press(ui.recordButton, "R")
    assert logic.recording.active
    press(ui.recordButton, "R")
    assert not logic.recording.active
    untilRunning(logic.sources()[0])
    save(incoming / "a.nii", 5)
    until(lambda: ui.snapshotButton.enabled)
    ui.recordingsSection.collapsed = False
    slicerhost.processEvents()
    press(ui.snapshotButton, "P")
    until(lambda: list((tmp_path / "recordings").glob("*_frame000000.nrrd")))
    press(ui.startButton, "L")
    until(lambda: not logic.isRunning())
    until(lambda: not logic.exports.status()["running"])


def test_everyControlHasANameForScreenReaders(module):
    """Its own text, its label's, or a name of its own."""
    from RealTimeImagingLib.Panel.Section import NAMELESS

    ui = panelOf(module).ui
    makeForms(ui)
    labelled = {
        label.buddy().objectName
        for label in vars(ui).values()
        if label.inherits("QLabel") and label.buddy() is not None
    }
    controls = [one for one in vars(ui).values() if any(map(one.inherits, NAMELESS))]
    named = [one.objectName for one in controls if one.objectName in labelled or one.accessibleName]
    inner = {"qt_spinbox_lineedit"}
    assert {one.objectName for one in controls} - set(named) - inner == set()
    assert [one.accessibleName for one in controls if "<" in one.accessibleName or "\n" in one.accessibleName] == []
    assert len(labelled) > 80


# ---- room


@pytest.mark.parametrize("index", range(6))
def test_startRecordAndTheFormAreInSight(module, column, index):
    """On a screen of 1,366 x 768 the panel's column has about 420 x 600 pixels."""
    import qt
    from RealTimeImagingLib.Sources import KINDS

    ui = panelOf(module).ui
    ui.sourceComboBox.currentIndex = index
    area = column(420, 600)
    form = panelOf(module)._source.formOf([kind for kind in KINDS.values() if kind.listed][index])
    fields = [widget for widget in form.widgets(advanced=False) if widget.isVisible()]
    assert fields
    for widget in (ui.statusLabel, ui.startButton, ui.tryButton, ui.recordButton, ui.sourceComboBox, *fields):
        bottom = widget.mapTo(area.viewport(), qt.QPoint(0, widget.height)).y()
        assert 0 < bottom <= 600, widget.objectName


@pytest.mark.parametrize("width", [380, 420])
def test_nothingIsCutOff(module, logic, column, incoming, width, noErrors):
    """While two sources run, each button has room for its text, and lies within the column."""
    import qt

    ui = panelOf(module).ui
    area = column(width, 900)
    logic.start(FolderSettings(incoming))
    logic.start(FolderSettings(incoming, stream="Second"))
    until(lambda: all(one.status.startswith("No image has arrived") for one in logic.sources()))
    logic._session.reports.deliver(StatusReport("3 images were already there.", remedy=SKIPPED), logic.sources()[0])
    panelOf(module).refresh()
    slicerhost.processEvents()
    seen = 0
    for button in [*vars(ui).values(), ui.sourcesTable.cellWidget(0, 5), ui.sourcesTable.cellWidget(1, 5)]:
        if not button.inherits("QAbstractButton") or button.inherits("ctkCollapsibleButton") or not button.isVisible():
            continue
        seen += 1
        assert button.width >= button.minimumSizeHint.width(), button.objectName
        right = button.mapTo(area.viewport(), qt.QPoint(button.width, 0)).x()
        assert right <= area.viewport().width, button.objectName
    assert seen >= 12
    assert ui.remedyButton.isVisible()
    untilStopped(logic)


@pytest.fixture
def fontOf(slicer):
    """Sets the height of the font in pixels."""
    from PySide6 import QtWidgets

    before = QtWidgets.QApplication.font()

    def choose(pixels):
        font = QtGui.QFont(before)
        font.setPixelSize(pixels)
        QtWidgets.QApplication.setFont(font)

    yield choose
    QtWidgets.QApplication.setFont(before)


@pytest.mark.parametrize("pixels", [12, 13, 14])
def test_theButtonsStayInPlaceWhenTheSentenceChanges(fontOf, module, column, pixels):
    """One or two lines: a click meant for Start never meets another button."""
    fontOf(pixels)
    ui = panelOf(module).ui
    column(420, 600)
    places = set()
    for index in range(6):
        ui.sourceComboBox.currentIndex = index
        slicerhost.processEvents()
        places.add(ui.startButton.y)
    assert len(places) == 1


def test_longTextsLeaveEveryRowItsPlace(module, column):
    """Labels that get more lines push the rows below them; no widget covers another."""
    from RealTimeImagingLib.Panel.Section import show

    ui = panelOf(module).ui
    sections = [one for one in vars(ui).values() if one.inherits("ctkCollapsibleButton")]
    for section in sections:
        section.collapsed = False
    column(380)
    panelOf(module).refresh()
    ui.recordingsList.visible = True
    ui.recordingsList.setFixedHeight(104)
    wrapped = [one for one in vars(ui).values() if one.inherits("QLabel") and one.wordWrap and one.isVisible()]
    assert len(wrapped) > 10
    for text in ("-", "Saved and compared: /tmp/recordings/Recording_2026-11-30_03-12-29-Live_export.seq.nrrd"):
        for label in wrapped:
            show(label, text)
        slicerhost.processEvents()

    def overlapping():
        for section in sections:
            widgets = [one for one in section.children() if one.inherits("QWidget") and one.isVisible()]
            for one, other in itertools.combinations(widgets, 2):
                if one.geometry.intersects(other.geometry):
                    yield one.objectName, other.objectName

    until(lambda: not list(overlapping()))
