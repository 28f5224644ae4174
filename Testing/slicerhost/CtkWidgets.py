"""The ctk widgets a panel needs, with the properties, methods and signals of the real classes and no others."""

import types
from typing import Any

import shiboken6
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
        super().__init__(_onlyParent(self, arguments))
        self._collapsed, self._wasShown = False, False
        self._hidden: set[int] = set()  # children that were hidden before the section was collapsed
        policy = QtWidgets.QSizePolicy.Policy
        QtWidgets.QWidget.setSizePolicy(self, policy.Minimum, policy.Preferred)
        QtWidgets.QWidget.setContentsMargins(self, 6, HEADER, 0, 0)
        QtCore.QObject.connect(self, QtCore.SIGNAL("clicked()"), self._onClicked)

    def _onClicked(self) -> None:
        self.setCollapsed(not self._collapsed)

    def setCollapsed(self, collapsed: bool) -> None:
        if bool(collapsed) == self._collapsed:
            return
        self._collapsed = bool(collapsed)
        QtWidgets.QWidget.setMaximumHeight(self, HEADER if collapsed else UNLIMITED)
        if self._wasShown:
            self._showChildren()
        self.contentsCollapsed.emit(self._collapsed)

    def showEvent(self, event: QtGui.QShowEvent) -> None:
        # As in CTK the children are left alone until the section is shown for the first time.
        QtWidgets.QWidget.showEvent(self, event)
        if not self._wasShown:
            self._wasShown = True
            if self._collapsed:
                self._showChildren()

    def _showChildren(self) -> None:
        children = [child for child in QtCore.QObject.children(self) if isinstance(child, QtWidgets.QWidget)]
        if self._collapsed:
            self._hidden = {_address(child) for child in children if QtWidgets.QWidget.isHidden(child)}
        for child in children:
            if _address(child) not in self._hidden:
                QtWidgets.QWidget.setVisible(child, not self._collapsed)

    collapsed = Property(bool, lambda self: self._collapsed, setCollapsed)
    collapsedHeight = stored(int, "collapsedHeight", 14)
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
        super().__init__(_onlyParent(self, arguments))
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


def _address(child: QtCore.QObject) -> int:
    return int(shiboken6.getCppPointer(child)[0])


def _onlyParent(widget: Any, arguments: tuple[Any, ...]) -> Any:
    """The parent: PythonQt wraps no constructor of ctk's widgets that takes a text."""
    if len(arguments) > 1 or (arguments and isinstance(arguments[0], str)):
        raise ValueError(f"Could not find matching overload for given arguments: {type(widget).__name__}{arguments}")
    return arguments[0] if arguments else None


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
        super().__init__(_onlyParent(self, arguments))
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
    ctkCheckBox,
    ctkComboBox,
    ctkCheckablePushButton,
)
