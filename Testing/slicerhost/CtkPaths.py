"""ctk's widgets for paths."""

from typing import Any

from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal

from .CtkWidgets import QWidget, register, setter, stored
from .PythonQt import hostClass

fileDialogAnswers: list[str] = []
"""Paths that the user chooses in the next file dialogs of a test. Without an answer the dialog is cancelled."""

DEFAULT_FILTERS = 0x6057  # QDir::AllEntries | NoDotAndDotDot | Readable | Executable


def _testing() -> bool:
    return bool(QtCore.QCoreApplication.instance().testingEnabled())  # type: ignore[attr-defined, union-attr]


class ctkPathLineEdit(QWidget):  # type: ignore[misc, valid-type]
    """A path with a history and a browse button. The history is kept under settingKey in the settings."""

    standIn = True
    takesNone = ("currentPath",)
    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)
    Dirs, Files, Drives, NoSymLinks, AllEntries = 0x001, 0x002, 0x004, 0x008, 0x007
    Readable, Writable, Executable, PermissionMask = 0x010, 0x020, 0x040, 0x070
    Modified, Hidden, System, AllDirs = 0x080, 0x100, 0x200, 0x400
    NoDotAndDotDot, NoDot, NoDotDot, NoFilter = 0x1000, 0x2000, 0x4000, -1

    HISTORY = 5

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._filters, self._settingKey, self._valid = DEFAULT_FILTERS, "", False
        layout = hostClass(QtWidgets.QHBoxLayout)(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._combo, self._button = hostClass(QtWidgets.QComboBox)(), hostClass(QtWidgets.QToolButton)()
        QtWidgets.QComboBox.setEditable(self._combo, True)
        QtWidgets.QComboBox.setInsertPolicy(self._combo, QtWidgets.QComboBox.InsertPolicy.NoInsert)
        policy = QtWidgets.QSizePolicy.Policy
        QtWidgets.QWidget.setSizePolicy(self._combo, policy.Expanding, policy.Fixed)
        self._button.setText("...")
        layout.addWidget(self._combo)
        layout.addWidget(self._button)
        QtCore.QObject.connect(self._combo, QtCore.SIGNAL("editTextChanged(QString)"), self._edited)
        QtCore.QObject.connect(self._button, QtCore.SIGNAL("clicked()"), self.browse)

    def _edited(self, text: str) -> None:
        # As in CTK: what its name filters let through is valid, whether it is there or not.
        self.currentPathChanged.emit(text)
        if not self._valid:
            self._valid = True
            self.validInputChanged.emit(True)

    def setCurrentPath(self, path: str) -> None:
        QtWidgets.QComboBox.setEditText(self._combo, path)

    def sizeHint(self) -> QtCore.QSize:
        return self._sizeFor(max(self._textWidth(), self._minimumTextWidth()))

    def minimumSizeHint(self) -> QtCore.QSize:
        # As in CTK a long path makes the widget wide, unless it is told how many characters are enough.
        return self._sizeFor(self._minimumTextWidth() or self._textWidth())

    def _textWidth(self) -> int:
        text = QtWidgets.QComboBox.currentText(self._combo) or 7 * "x"
        return QtWidgets.QWidget.fontMetrics(self).horizontalAdvance(text) + 8

    def _minimumTextWidth(self) -> int:
        return int(QtWidgets.QWidget.fontMetrics(self).horizontalAdvance("X")) * int(self.minimumContentsLength)

    def _sizeFor(self, textWidth: int) -> QtCore.QSize:
        button = 0 if self._button.isHidden() else QtWidgets.QToolButton.minimumSizeHint(self._button).width()
        return QtCore.QSize(30 + textWidth + button, QtWidgets.QComboBox.minimumSizeHint(self._combo).height())

    def browse(self) -> None:
        old, dialog = QtWidgets.QComboBox.currentText(self._combo), QtWidgets.QFileDialog
        if _testing():
            path = fileDialogAnswers.pop(0) if fileDialogAnswers else ""
        elif self._filters & self.Files:
            path = dialog.getOpenFileName(None, self.label, old, ";;".join(self.nameFilters))[0]
        else:
            path = dialog.getExistingDirectory(None, self.label, old)
        if path:
            self.setCurrentPath(path)

    def retrieveHistory(self) -> None:
        stored = QtCore.QSettings().value(self._settingKey) if self._settingKey else None
        paths = [stored] if isinstance(stored, str) else list(stored or ())
        blocked = QtCore.QObject.blockSignals(self._combo, True)
        text = QtWidgets.QComboBox.currentText(self._combo)
        QtWidgets.QComboBox.clear(self._combo)
        QtWidgets.QComboBox.addItems(self._combo, paths)
        QtCore.QObject.blockSignals(self._combo, blocked)
        # As in CTK the newest path of the history is shown.
        QtWidgets.QComboBox.setEditText(self._combo, paths[0] if paths else text)

    def addCurrentPathToHistory(self) -> None:
        path = QtWidgets.QComboBox.currentText(self._combo)
        if not path:
            return
        items = [QtWidgets.QComboBox.itemText(self._combo, i) for i in range(QtWidgets.QComboBox.count(self._combo))]
        paths = [path, *[p for p in items if p != path]][: self.HISTORY]
        blocked = QtCore.QObject.blockSignals(self._combo, True)
        QtWidgets.QComboBox.clear(self._combo)
        QtWidgets.QComboBox.addItems(self._combo, paths)
        QtWidgets.QComboBox.setEditText(self._combo, path)
        QtCore.QObject.blockSignals(self._combo, blocked)
        if self._settingKey:
            QtCore.QSettings().setValue(self._settingKey, paths)

    def setSettingKey(self, key: str) -> None:
        self._settingKey = key
        self.retrieveHistory()

    def setFilters(self, filters: int) -> None:
        self._filters = int(filters)

    def setShowBrowseButton(self, visible: bool) -> None:
        self._button.setVisible(visible)

    def comboBox(self) -> Any:
        return self._combo

    currentPath = Property(str, lambda self: QtWidgets.QComboBox.currentText(self._combo), setCurrentPath)
    filters = Property(int, lambda self: self._filters, setFilters)
    settingKey = Property(str, lambda self: self._settingKey, setSettingKey)
    showBrowseButton = Property(bool, lambda self: not self._button.isHidden(), setShowBrowseButton)
    showHistoryButton = stored(bool, "showHistoryButton", True)
    label = stored(str, "label", "")
    nameFilters = stored("QStringList", "nameFilters", [])
    minimumContentsLength = stored(int, "minimumContentsLength", 0)
    setLabel, setNameFilters = setter("label"), setter("nameFilters")
    setShowHistoryButton, setMinimumContentsLength = setter("showHistoryButton"), setter("minimumContentsLength")


class ctkDirectoryButton(QWidget):  # type: ignore[misc, valid-type]
    """A button that shows and asks for a folder."""

    standIn = True
    directoryChanged = Signal(str)
    directorySelected = Signal(str)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._directory, self._text = "", ""
        self._button = hostClass(QtWidgets.QPushButton)(self)
        layout = hostClass(QtWidgets.QVBoxLayout)(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._button)
        QtCore.QObject.connect(self._button, QtCore.SIGNAL("clicked()"), self.browse)
        self.setDirectory(".")

    def setDirectory(self, path: str) -> None:
        absolute = QtCore.QDir(path).absolutePath()
        if absolute == self._directory:
            return
        self._directory = absolute
        self._button.setText(self._text or absolute)
        self.directoryChanged.emit(absolute)

    def setText(self, text: str) -> None:
        self._text = text
        self._button.setText(text or self._directory)

    def browse(self) -> str:
        path = QtWidgets.QFileDialog.getExistingDirectory(None, self.caption, self._directory)
        if path:
            self.setDirectory(path)
            self.directorySelected.emit(path)
        return path

    directory = Property(str, lambda self: self._directory, setDirectory)
    text = Property(str, lambda self: self._text, setText)
    caption = stored(str, "caption", "")
    setCaption = setter("caption")


register(ctkPathLineEdit, ctkDirectoryButton)
