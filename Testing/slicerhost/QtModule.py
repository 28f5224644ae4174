"""`import qt`: the classes that PythonQt wraps and that both Qt 5.15 and Qt 6 have."""

import json
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PySide6
from PySide6 import QtCore, QtGui, QtNetwork, QtWidgets

from . import Names, ObjectMethods, Problems, Processes, PythonQt, UiLoader  # noqa: F401 - two add methods to the rules
from .QtClass import QtClass

_KITS = (QtCore, QtGui, QtWidgets, QtNetwork)
_CLASSES = frozenset(json.loads((Path(__file__).parent / "PythonQtClasses.json").read_text())["classes"])
_CLASSES |= {"QThread", "QThreadPool"}

# Single shots that have not fired: they are leftovers until they have.
pendingSingleShots: list[tuple[Any, Callable[[], Any]]] = []


class _QtModule(types.ModuleType):
    def __init__(self, name: str, kits: tuple[Any, ...] = _KITS) -> None:
        super().__init__(name)
        self._kits = kits

    def __getattr__(self, name: str) -> Any:
        if name == "QUiLoader":
            return UiLoader.QUiLoader
        if name in ("Signal", "Slot", "Property"):
            return getattr(QtCore, name)
        if name == "SIGNAL":
            return lambda signature: f"2{signature}"
        if name in ("qDebug", "qWarning"):
            return getattr(QtCore, name)
        if name in ("QtCore", "QtGui"):
            return _QtModule(f"qt.{name}", (getattr(PySide6, name),))
        if name in _CLASSES:
            for kit in self._kits:
                native = getattr(kit, name, None)
                if native is not None:
                    value = native if name == "QByteArray" else QtClass(native)
                    setattr(self, name, value)
                    return value
        raise AttributeError(f"module 'qt' has no attribute '{name}' in PythonQt on both Qt 5.15 and Qt 6")


def _singleShot(milliseconds: int, receiver: Callable[[], Any], *more: Any) -> None:
    if more or not callable(receiver):
        raise TypeError("qt.QTimer.singleShot(milliseconds, callable)")
    timer = QtCore.QTimer()
    timer.setSingleShot(True)
    entry = (timer, receiver.function if isinstance(receiver, PythonQt.QtSlot) else receiver)

    def fire() -> None:
        pendingSingleShots.remove(entry)
        try:
            entry[1]()
        except BaseException as error:  # noqa: BLE001 - PythonQt prints whatever a slot raises
            Problems.record(error)

    timer.timeout.connect(fire)
    pendingSingleShots.append(entry)
    timer.start(int(milliseconds))


def _refuseTextualAddress(arguments: tuple[Any, ...]) -> None:
    if arguments and isinstance(arguments[0], str):
        raise TypeError("PythonQt takes QHostAddress(str) for another constructor: use qt.QHostAddress.LocalHost")


Names.replacedStatics["QTimer", "singleShot"] = _singleShot
Names.replacedMethods["QTimer", "singleShot"] = lambda self, *arguments: _singleShot(*arguments)
Names.refusedConstructors["QHostAddress"] = _refuseTextualAddress


def makeModule() -> types.ModuleType:
    return _QtModule("qt")
