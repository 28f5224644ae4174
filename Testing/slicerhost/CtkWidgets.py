"""The ctk widgets a panel needs, with the properties, methods and signals of the real classes and no others."""

import types
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal

from .PythonQt import hostClass
from .UiLoader import customWidgets

QWidget = hostClass(QtWidgets.QWidget)
QAbstractButton = hostClass(QtWidgets.QAbstractButton)
QGroupBox = hostClass(QtWidgets.QGroupBox)
QPushButton = hostClass(QtWidgets.QPushButton)
QCheckBox = hostClass(QtWidgets.QCheckBox)
QComboBox = hostClass(QtWidgets.QComboBox)

HEADER = 26  # height of a section's title in pixels
UNLIMITED = 16777215  # QWIDGETSIZE_MAX


def stored(kind: Any, name: str, default: Any) -> Any:
    """A property that is kept and has no other effect."""

    def read(self: Any) -> Any:
        return self.__dict__.get("_" + name, default)

    def write(self: Any, value: Any) -> None:
        self.__dict__["_" + name] = value

    return Property(kind, read, write)


def setter(name: str) -> Any:
    """The setX method of a property."""

    def write(self: Any, value: Any) -> None:
        setattr(self, name, value)

    return write


class ctkCollapsibleButton(QAbstractButton):  # type: ignore[misc, valid-type]
    """A titled section; the layout the user sets goes below the title."""

    standIn = True
    contentsCollapsed = Signal(bool)

    def __init__(self, *arguments: Any) -> None:
        text, parent = _textAndParent(arguments)
        super().__init__(parent)
        self._collapsed = False
        QtWidgets.QAbstractButton.setText(self, text)
        QtWidgets.QWidget.setContentsMargins(self, 6, HEADER, 0, 0)
        QtCore.QObject.connect(self, QtCore.SIGNAL("clicked()"), self._onClicked)

    def _onClicked(self) -> None:
        self.setCollapsed(not self._collapsed)

    def setCollapsed(self, collapsed: bool) -> None:
        if bool(collapsed) == self._collapsed:
            return
        self._collapsed = bool(collapsed)
        for child in QtCore.QObject.children(self):
            if isinstance(child, QtWidgets.QWidget):
                QtWidgets.QWidget.setVisible(child, not collapsed)
        QtWidgets.QWidget.setMaximumHeight(self, HEADER if collapsed else UNLIMITED)
        self.contentsCollapsed.emit(self._collapsed)

    collapsed = Property(bool, lambda self: self._collapsed, setCollapsed)
    collapsedHeight = stored(int, "collapsedHeight", 10)
    flat = stored(bool, "flat", False)
    setFlat = setter("flat")
    setCollapsedHeight = setter("collapsedHeight")

    def hitButton(self, position: QtCore.QPoint) -> bool:
        return bool(position.y() < HEADER)

    def paintEvent(self, _event: QtGui.QPaintEvent) -> None:
        painter = QtGui.QPainter(self)
        font = QtWidgets.QWidget.font(self)
        font.setBold(True)
        painter.setFont(font)
        arrow = "\u25b8" if self._collapsed else "\u25be"
        painter.drawText(4, HEADER - 8, f"{arrow} {QtWidgets.QAbstractButton.text(self)}")
        painter.end()


class ctkCollapsibleGroupBox(QGroupBox):  # type: ignore[misc, valid-type]
    """A group box whose check mark opens and closes it."""

    standIn = True

    def __init__(self, *arguments: Any) -> None:
        text, parent = _textAndParent(arguments)
        super().__init__(text, parent)
        QtWidgets.QGroupBox.setCheckable(self, True)
        QtCore.QObject.connect(self, QtCore.SIGNAL("toggled(bool)"), self._expand)

    def _expand(self, expanded: bool) -> None:
        for child in QtCore.QObject.children(self):
            if isinstance(child, QtWidgets.QWidget):
                QtWidgets.QWidget.setVisible(child, expanded)
        QtWidgets.QWidget.setMaximumHeight(self, UNLIMITED if expanded else HEADER)

    def setCollapsed(self, collapsed: bool) -> None:
        QtWidgets.QGroupBox.setChecked(self, not collapsed)

    collapsed = Property(bool, lambda self: not QtWidgets.QGroupBox.isChecked(self), setCollapsed)
    collapsedHeight = stored(int, "collapsedHeight", 14)
    setCollapsedHeight = setter("collapsedHeight")


class ctkPathLineEdit(QWidget):  # type: ignore[misc, valid-type]
    """A path with a history and a browse button. The history is kept under settingKey in the settings."""

    standIn = True
    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)
    Dirs, Files, Drives, NoSymLinks, AllEntries = 0x001, 0x002, 0x004, 0x008, 0x007
    Readable, Writable, Executable, PermissionMask = 0x010, 0x020, 0x040, 0x070
    Modified, Hidden, System, AllDirs = 0x080, 0x100, 0x200, 0x400
    NoDotAndDotDot, NoDot, NoDotDot, NoFilter = 0x1000, 0x2000, 0x4000, -1

    HISTORY = 5

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._filters, self._settingKey, self._valid = self.AllEntries, "", False
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
        information = QtCore.QFileInfo(text)
        valid = bool(text) and information.exists() and (information.isDir() or bool(self._filters & self.Files))
        if valid != self._valid:
            self._valid = valid
            self.validInputChanged.emit(valid)
        self.currentPathChanged.emit(text)

    def setCurrentPath(self, path: str) -> None:
        QtWidgets.QComboBox.setEditText(self._combo, path)

    def browse(self) -> None:
        old, dialog = QtWidgets.QComboBox.currentText(self._combo), QtWidgets.QFileDialog
        if self._filters & self.Files:
            path = dialog.getOpenFileName(None, self.label, old, ";;".join(self.nameFilters))[0]
        else:
            path = dialog.getExistingDirectory(None, self.label, old)
        if path:
            self.setCurrentPath(path)

    def _write(self, key: str, paths: list[str]) -> None:
        QtCore.QSettings().setValue(key, paths)

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


def _textAndParent(arguments: tuple[Any, ...]) -> tuple[str, Any]:
    """(parent), (text), (text, parent) or nothing."""
    if arguments and isinstance(arguments[0], str):
        return arguments[0], arguments[1] if len(arguments) > 1 else None
    return "", arguments[0] if arguments else None


class ctkCheckBox(QCheckBox):  # type: ignore[misc, valid-type]
    """A check box."""

    standIn = True


class ctkComboBox(QComboBox):  # type: ignore[misc, valid-type]
    """A combo box with a text for "nothing chosen"."""

    standIn = True
    defaultText = stored(str, "defaultText", "")
    setDefaultText = setter("defaultText")

    def _selectData(self, data: str) -> None:
        QtWidgets.QComboBox.setCurrentIndex(self, QtWidgets.QComboBox.findData(self, data))

    currentUserDataAsString = Property(str, lambda self: str(QtWidgets.QComboBox.currentData(self) or ""), _selectData)
    setCurrentUserDataAsString = _selectData


class ctkCheckablePushButton(QPushButton):  # type: ignore[misc, valid-type]
    """A push button with a check box on it."""

    standIn = True
    checkBoxToggled = Signal(bool)

    def __init__(self, *arguments: Any) -> None:
        text, parent = _textAndParent(arguments)
        super().__init__(text, parent)
        self._checkState = 0

    def _setCheckState(self, state: int) -> None:
        if int(state) != self._checkState:
            self._checkState = int(state)
            self.checkBoxToggled.emit(self._checkState == QtCore.Qt.CheckState.Checked.value)
            if self.checkBoxControlsButton:
                QtWidgets.QPushButton.setCheckable(self, self._checkState != 0)

    checkState = Property(int, lambda self: self._checkState, _setCheckState)
    setCheckState = _setCheckState
    checkBoxControlsButton = stored(bool, "checkBoxControlsButton", True)
    checkBoxControlsButtonToggleState = stored(bool, "checkBoxControlsButtonToggleState", True)
    checkBoxUserCheckable = stored(bool, "checkBoxUserCheckable", True)
    setCheckBoxControlsButton = setter("checkBoxControlsButton")
    setCheckBoxUserCheckable = setter("checkBoxUserCheckable")


class CtkModule(types.ModuleType):
    """`import ctk`: names that the host lacks are refused one by one."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"this host has no ctk.{name}")


ctk = CtkModule("ctk")


def register(*classes: type) -> None:
    for cls in classes:
        setattr(ctk, cls.__name__, cls)
        customWidgets[cls.__name__] = cls


register(
    ctkCollapsibleButton,
    ctkCollapsibleGroupBox,
    ctkPathLineEdit,
    ctkDirectoryButton,
    ctkCheckBox,
    ctkComboBox,
    ctkCheckablePushButton,
)
