"""The methods that PythonQt gives every QObject, or gives another form."""

from typing import Any

import shiboken6
from PySide6 import QtCore

from . import EventLoop, Signals
from .Names import className, refusedNames, replacedMethods
from .PythonQt import QtSlot, adopt, nativeObject, nativeValue


def find(qObject: Any, kind: Any, name: str = "") -> list[Any]:
    """The descendants of a class (or class name) with a name."""
    found = []
    for child in QtCore.QObject.findChildren(nativeObject(qObject), QtCore.QObject):
        fits = QtCore.QObject.inherits(child, kind if isinstance(kind, str) else kind.__name__)
        if fits and name in ("", QtCore.QObject.objectName(child)):
            found.append(adopt(child))
    return found


def _findChild(self: Any, kind: Any, name: str = "") -> Any:
    found = find(self, kind, name)
    return found[0] if found else None


def _findChildren(self: Any, kind: Any, name: str = "") -> tuple[Any, ...]:
    return tuple(find(self, kind, name))


def _function(receiver: Any) -> Any:
    return receiver.function if isinstance(receiver, QtSlot) else receiver


def _connect(self: Any, signal: str, receiver: Any, *more: Any) -> bool:
    if more:
        raise TypeError("connect(signal, receiver, slot): connect a Python callable instead")
    native = nativeObject(self)
    own = Signals.declaredInPython(type(native))
    if isinstance(signal, str) and signal.split("(")[0] in own:
        raise AttributeError(
            f"{className(native)}.connect knows no qt.Signal (PythonQt prints this and returns False): "
            f"use .{signal.split('(')[0]}.connect"
        )
    return Signals.connect(native, signal, _function(receiver), adopt, refusedNames(type(native)))


def _disconnect(self: Any, signal: str, receiver: Any = None) -> bool:
    return Signals.disconnect(nativeObject(self), signal, _function(receiver))


def _deleteLater(self: Any) -> None:
    EventLoop.deleteLater(nativeObject(self))


def _setProperty(self: Any, name: str, value: Any) -> None:
    QtCore.QObject.setProperty(nativeObject(self), name, nativeValue(value))


def _delete(self: Any) -> None:
    shiboken6.delete(nativeObject(self))


replacedMethods.update(
    {
        ("QObject", "connect"): _connect,
        ("QObject", "disconnect"): _disconnect,
        ("QObject", "findChild"): _findChild,
        ("QObject", "findChildren"): _findChildren,
        ("QObject", "className"): lambda self: className(nativeObject(self)),
        ("QObject", "setProperty"): _setProperty,
        ("QObject", "delete"): _delete,
        ("QObject", "deleteLater"): _deleteLater,
    }
)
