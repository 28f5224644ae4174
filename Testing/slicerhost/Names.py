"""Names of a class in PythonQt, their replacements, and the values that properties accept."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6 import QtCore

_REFUSED: dict[str, list[str]] = json.loads((Path(__file__).parent / "NotInPythonQt.json").read_text())
_propertyNames: dict[type, frozenset[str]] = {}
_refusedNames: dict[type, frozenset[str]] = {}
_publicClasses: dict[type, type] = {}
_replacements: dict[tuple[int, type, str], Callable[..., Any] | None] = {}

# (PySide6 class name, method) -> what stands in for it; filled by the files that know a class's quirks.
replacedMethods: dict[tuple[str, str], Callable[..., Any]] = {}
replacedStatics: dict[tuple[str, str], Callable[..., Any]] = {}
refusedConstructors: dict[str, Callable[[tuple[Any, ...]], None]] = {}


def refusedNames(cls: type) -> frozenset[str]:
    """The names that PySide6 has and PythonQt on Qt 5.15 or Qt 6 has not."""
    if cls not in _refusedNames:
        names: set[str] = set()
        for base in cls.__mro__:
            if base.__module__.startswith("PySide6"):
                names.update(_REFUSED.get(base.__name__, ()))
        _refusedNames[cls] = frozenset(names)
    return _refusedNames[cls]


def replaced(table: dict[tuple[str, str], Callable[..., Any]], cls: type, name: str) -> Callable[..., Any] | None:
    """What stands in for a method; None for the method itself. The tables are filled before the first call."""
    key = id(table), cls, name
    if key not in _replacements:
        found = (table[base.__name__, name] for base in cls.__mro__ if (base.__name__, name) in table)
        _replacements[key] = next(found, None)
    return _replacements[key]


def propertyNames(qObject: QtCore.QObject) -> frozenset[str]:
    """The Qt properties of an object's class, but for QTimer's singleShot, which is the static method in PythonQt."""
    cls = type(qObject)
    if cls not in _propertyNames:
        meta = QtCore.QObject.metaObject(qObject)
        names = {meta.property(i).name() for i in range(meta.propertyCount())}
        if issubclass(cls, QtCore.QTimer):
            names.discard("singleShot")
        _propertyNames[cls] = frozenset(names)
    return _propertyNames[cls]


def className(qObject: Any) -> str:
    return str(QtCore.QObject.metaObject(qObject).className())


def isNative(cls: type) -> bool:
    """Is this a host class of a C++ class, and not a Python subclass of one?"""
    return "nativeBase" in vars(cls)


def isStandIn(cls: type) -> bool:
    """Is this the host's own version of a ctk or qMRML class, to be taken for C++?"""
    return vars(cls).get("standIn", False) is True


def nativeClass(cls: type) -> type:
    """The PySide6 class behind a host class."""
    native: type = vars(cls).get("nativeBase", cls)
    return native


def publicClass(cls: type) -> type:
    """The class of PySide6 behind any class; its own look-up knows methods that are static as well."""
    if cls not in _publicClasses:
        _publicClasses[cls] = next(k for k in cls.__mro__ if k.__module__.startswith("PySide6"))
    return _publicClasses[cls]


def converted(prop: QtCore.QMetaProperty, value: Any) -> Any:
    """The value as PythonQt would write it into a property; raises where PythonQt raises or stores nonsense."""
    kind = prop.typeName()
    if kind == "QString":
        if not isinstance(value, str):
            raise AttributeError(
                f"Property '{prop.name()}' is a string: {value!r} would silently be stored as {str(value)!r}"
            )
        return value
    if kind == "bool":
        return bool(value)
    if kind in ("int", "uint", "double", "float", "qlonglong"):
        if not isinstance(value, (int, float)) and not hasattr(value, "__index__"):
            raise AttributeError(
                f"Property '{prop.name()}' of type '{kind}' does not accept an object of type "
                f"{type(value).__name__} ({value!r})"
            )
        return float(value) if kind in ("double", "float") else int(value)
    if isinstance(value, tuple):
        return list(value)
    return value
