"""Keys of the panel while the user types."""

from __future__ import annotations

import slicerhost
from PySide6 import QtCore, QtTest

from .conftest import until, untilStopped
from .test_Panel import panelOf


def test_keysPressNothingWhileTheUserTypes(module, logic, column, tmp_path, noErrors):
    """In a text field, a number, an editable list and a cell of the panel, and in a field of another module."""
    import qt
    from slicerhost.PythonQt import nativeObject

    ui = panelOf(module).ui
    ui.recordingFolderPathLineEdit.currentPath = str(tmp_path / "recordings")
    window = qt.QWidget()
    rows = qt.QVBoxLayout(window)
    rows.addWidget(column())
    elsewhere = qt.QPlainTextEdit()
    rows.addWidget(elsewhere)
    window.show()
    for section in (ui.optionsSection, ui.recordSection, ui.metadataSection):
        section.collapsed = False
    slicerhost.processEvents()
    window.activateWindow()
    until(lambda: window.isActiveWindow)
    modifiers = QtCore.Qt.KeyboardModifier.ControlModifier | QtCore.Qt.KeyboardModifier.ShiftModifier

    def press():
        for letter in "LRP":
            QtTest.QTest.keyClick(nativeObject(window), getattr(QtCore.Qt.Key, f"Key_{letter}"), modifiers)
        slicerhost.processEvents()

    fields = [ui.folder_pattern, ui.keepSecondsSpinBox, ui.recordingNameComboBox, elsewhere]
    for field in fields:
        field.setFocus()
        assert field.hasFocus(), field.objectName
        press()
        assert not logic.recording.active, field.objectName
        assert logic.sources() == [], field.objectName
    ui.addRowButton.click()
    slicerhost.processEvents()
    press()
    assert not logic.recording.active
    assert ui.sourceComplaintLabel.text == ""
    shortcuts = [one for one in ui.startButton.parent().children() if one.inherits("QShortcut")]
    assert [one.autoRepeat for one in shortcuts] == [False] * 3
    ui.recordButton.setFocus()
    press()
    assert logic.recording.active
    ui.recordButton.click()
    until(lambda: not logic.recording.building)
    untilStopped(logic)
    window.deleteLater()
