"""PythonQt's attribute rules on PySide6's objects.

A Qt property is an attribute and hides the getter of the same name; other methods stay methods and take no keyword
arguments; an unknown attribute can be neither read nor set; lists come back as tuples and enumerations as numbers.
Where PythonQt prints and goes on, or stores nonsense, this host raises.
"""

import functools
import itertools
import sys
import types
import weakref
from collections.abc import Callable
from typing import Any

import shiboken6
from PySide6 import QtCore, QtGui, QtWidgets

from . import Enums, EventLoop, Signals
from .Names import (
    className,
    converted,
    isNative,
    isStandIn,
    nativeClass,
    propertyNames,
    publicClass,
    refusedConstructors,
    refusedNames,
    replaced,
    replacedMethods,
)

_hosts: dict[type, type] = {}
_pythonBases: dict[type, tuple[type, ...]] = {}

# What user code made through `qt`, for the search for leftovers.
made: "weakref.WeakSet[Any]" = weakref.WeakSet()


# Items belong to their widget and are changed in place: a copy would take the change and show nothing.
_BY_POINTER = (QtWidgets.QTableWidgetItem, QtWidgets.QListWidgetItem, QtWidgets.QTreeWidgetItem, QtGui.QStandardItem)


_PLAIN = frozenset({bool, int, float, str, bytes, types.NoneType})
"""Classes whose values are the same in C++ and in Python."""


def adopt(value: Any) -> Any:
    """Return PythonQt's Python value for a C++ value."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, list):
        return tuple(adopt(item) for item in value)
    if not isinstance(value, shiboken6.Shiboken.Object) or isinstance(value, (ObjectRules, ValueRules)):
        return Enums.fromNative(value)
    if isinstance(value, QtCore.QByteArray):
        return value
    if isinstance(value, QtCore.QObject):
        own = vars(value)
        if "_adopted" not in own:
            own["_adopted"] = Adopted(value)
        return own["_adopted"]
    if isinstance(value, _BY_POINTER):
        return value
    try:  # a value is copied into its host class; what has no copy stays as it is
        return hostClass(type(value))(value)
    except (TypeError, NotImplementedError):
        return value


class Adopted:
    """A QObject that C++ made, under PythonQt's rules. PySide6 allows no other class for the object itself."""

    __slots__ = ("_native",)

    def __init__(self, native: QtCore.QObject) -> None:
        object.__setattr__(self, "_native", native)

    def __getattribute__(self, name: str) -> Any:
        if name[:2] == "__":
            return object.__getattribute__(self, name)
        native = nativeObject(self)
        return readAttribute(native, name, self) if shiboken6.isValid(native) else _ofDestroyed(type(native), name)

    def __setattr__(self, name: str, value: Any) -> None:
        native = nativeObject(self)
        if not shiboken6.isValid(native):
            raise ValueError(f"Trying to set '{name}' on a destroyed {_nameOf(type(native))} object")
        writeAttribute(native, name, value)

    def __repr__(self) -> str:
        return repr(nativeObject(self))


def nativeObject(value: Any) -> Any:
    """The QObject behind an Adopted; other values unchanged."""
    return object.__getattribute__(value, "_native") if type(value) is Adopted else value


class QtSlot:
    """A C++ method: no keyword arguments, numbers for enumerations, tuples for lists."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    @property
    def __name__(self) -> str:
        return self.function.__name__

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        if keywords:
            raise ValueError(f"Called {self.function.__name__} with keyword arguments; PythonQt's slots take none")
        return adopt(callNative(self.function, arguments))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, QtSlot) and self.function == other.function

    def __hash__(self) -> int:
        return hash(self.function)

    def __repr__(self) -> str:
        return f"<qt slot {self.function.__name__}>"


def callNative(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Call PySide6 with PythonQt's arguments."""
    native = tuple(nativeValue(argument) for argument in arguments)
    try:
        return function(*native)
    except TypeError:
        again = Enums.withEnumsForNumbers(function, native)
        if again is None:
            raise
    return function(*again)


def nativeValue(value: Any) -> Any:
    """An argument as PySide6 wants it.

    A value such as qt.QIcon is copied into PySide6's own class: no instance of a subclass goes into a QVariant.
    """
    if type(value) in _PLAIN:
        return value
    value = Enums.toNative(nativeObject(value.function if isinstance(value, QtSlot) else value))
    if not (isinstance(value, ValueRules) and isNative(type(value))) or isinstance(value, _BY_POINTER):
        return value
    try:
        return nativeClass(type(value))(value)
    except (TypeError, NotImplementedError):
        return value


class ObjectRules:
    """Mixed into the host class of every QObject."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        _construct(self, super().__init__, arguments, keywords)
        made.add(self)

    def __getattribute__(self, name: str) -> Any:
        if name[:2] == "__":
            return super().__getattribute__(name)
        cls = type(self)
        for base in pythonBases(cls):  # a Python subclass's own attributes come first
            if name in base.__dict__:
                declared = base.__dict__[name]
                if isStandIn(base) and isinstance(declared, types.FunctionType) and name in propertyNames(self):
                    break  # overrides what Qt reads behind a property, such as sizeHint
                return _own(self, name, super().__getattribute__(name), declared)
        if _askedByQt():
            return super().__getattribute__(name)
        if not shiboken6.isValid(self):
            return _ofDestroyed(cls, name)
        return readAttribute(self, name, self)

    def __setattr__(self, name: str, value: Any) -> None:
        if not shiboken6.isValid(self) and hasattr(publicClass(type(self)), name):
            raise ValueError(f"Trying to set '{name}' on a destroyed {_nameOf(type(self))} object")
        if not writeAttribute(self, name, value):
            super().__setattr__(name, value)


class ValueRules:
    """Mixed into the host class of everything in `qt` that is not a QObject."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        _construct(self, super().__init__, arguments, keywords)

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name[:2] == "__":
            return value
        cls = type(self)
        if name in refusedNames(cls):
            raise AttributeError(f"{cls.__name__} has no attribute '{name}' on both Qt 5.15 and Qt 6 in PythonQt")
        replacement = replaced(replacedMethods, cls, name)
        if replacement is not None:
            return types.MethodType(replacement, self)
        if isinstance(value, (types.BuiltinMethodType, types.MethodType)):
            return QtSlot(value) if not isinstance(getattr(value, "__func__", None), types.FunctionType) else value
        return Enums.fromNative(value)


def pythonBases(cls: type) -> tuple[type, ...]:
    """The Python classes above a host class of C++: the first of its bases."""
    if cls not in _pythonBases:
        _pythonBases[cls] = tuple(itertools.takewhile(lambda base: not isNative(base), cls.__mro__))
    return _pythonBases[cls]


def readAttribute(qObject: Any, name: str, shown: Any) -> Any:
    """An attribute of a C++ object; `shown` is the object as Python has it."""
    cls, own = type(qObject), QtCore.QObject.__getattribute__(qObject, "__dict__")
    if name in own and issubclass(cls, ObjectRules) and not isinstance(own[name], QtCore.SignalInstance):
        return own[name]
    if name in refusedNames(cls):
        raise AttributeError(f"{className(qObject)} has no attribute '{name}' on both Qt 5.15 and Qt 6 in PythonQt")
    propertyName = "objectName" if name == "name" else name
    if propertyName in propertyNames(qObject):
        return _readProperty(qObject, propertyName)
    replacement = replaced(replacedMethods, cls, name)
    if replacement is not None:
        return types.MethodType(replacement, shown)
    try:
        value = publicClass(cls).__getattribute__(qObject, name)
    except AttributeError:
        return _dynamicOrChild(qObject, name)
    if isinstance(value, QtCore.SignalInstance):
        return Signals.BoundSignal(qObject, name, value, adopt)
    if callable(value) and not isinstance(value, type):
        return QtSlot(value)
    return Enums.fromNative(value)


def writeAttribute(qObject: Any, name: str, value: Any) -> bool:
    """Set a property; False when a Python subclass may have the name as an attribute of its own."""
    cls = type(qObject)
    propertyName = "objectName" if name == "name" else name
    if propertyName in propertyNames(qObject) and name not in refusedNames(cls):
        _writeProperty(qObject, propertyName, value)
        return True
    if name.encode() in [bytes(n.data()) for n in QtCore.QObject.dynamicPropertyNames(qObject)]:
        if value is None:
            raise AttributeError(f"Dynamic property '{name}' does not accept an object of type NoneType (None)")
        QtCore.QObject.setProperty(qObject, name, nativeValue(value))
        return True
    if not issubclass(cls, ObjectRules) or isNative(cls) or (isStandIn(cls) and name[0] != "_"):
        if hasattr(cls, name):
            raise AttributeError(f"Slot or signal '{name}' can not be overwritten on {className(qObject)} object")
        raise AttributeError(
            f"'{name}' does not exist on {className(qObject)} and creating new attributes on C++ objects is not allowed"
        )
    return False


def _nameOf(cls: type) -> str:
    return next(k.__name__ for k in cls.__mro__ if isNative(k) or isStandIn(k) or k.__module__.startswith("PySide6"))


def _ofDestroyed(cls: type, name: str) -> Any:
    """Return the attribute of an object whose C++ part is deleted: a method that fails when called, or an error."""
    words = f"'{name}' on a destroyed {_nameOf(cls)} object"
    public: Any = publicClass(cls)
    if public.staticMetaObject.indexOfProperty(name) >= 0 or isinstance(getattr(cls, name, None), QtCore.Property):
        raise ValueError(f"Trying to read {words}")

    def call(*_arguments: Any) -> None:
        raise ValueError(f"Trying to call {words}")

    return call


def _own(qObject: Any, name: str, value: Any, declared: Any) -> Any:
    if isinstance(value, QtCore.SignalInstance):
        return Signals.BoundSignal(qObject, name, value, adopt)
    if isinstance(declared, QtCore.Property):
        return adopt(value)
    return value


def _readProperty(qObject: Any, name: str) -> Any:
    value = QtCore.QObject.property(qObject, name)
    return _wrappedTip(value) if name == "toolTip" and QtCore.QObject.isWidgetType(qObject) else adopt(value)


def _wrappedTip(tip: str) -> str:
    """Return a tool tip as Slicer's ctkToolTipTrapper has replaced it: rich text, which Qt wraps."""
    plain = tip and not QtGui.Qt.mightBeRichText(tip)
    return QtGui.Qt.convertFromPlainText(tip, QtCore.Qt.WhiteSpaceMode.WhiteSpaceNormal) if plain else tip


def _writeProperty(qObject: Any, name: str, value: Any) -> None:
    meta = QtCore.QObject.metaObject(qObject)
    prop = meta.property(meta.indexOfProperty(name))
    if not prop.isWritable():
        raise AttributeError(f"Property '{name}' of {className(qObject)} object is not writable")
    if value is None and name in getattr(type(qObject), "takesNone", ()):
        value = ""
    try:
        done = value is not None and QtCore.QObject.setProperty(qObject, name, converted(prop, nativeValue(value)))
    except (RuntimeError, TypeError):
        done = False
    if not done:
        raise AttributeError(f"Property '{name}' of type '{prop.typeName()}' does not accept {value!r}")


def _dynamicOrChild(qObject: Any, name: str) -> Any:
    if name.encode() in [bytes(n.data()) for n in QtCore.QObject.dynamicPropertyNames(qObject)]:
        return adopt(QtCore.QObject.property(qObject, name))
    for child in QtCore.QObject.children(qObject):
        if QtCore.QObject.objectName(child) == name:
            return adopt(child)
    raise AttributeError(f"{className(qObject)} has no attribute named '{name}'")


def wrappedClass(cls: type) -> type | None:
    """The one C++ class that PythonQt's wrapper of a class stands for; None for a stand-in of ctk or qMRML."""
    for base in cls.__mro__:
        if isStandIn(base):
            return None
        if isNative(base):
            return nativeClass(base)
        if base.__module__.startswith("PySide6"):
            return base
    return None


def hostClass(base: type) -> type:
    """The host class for a PySide6 class.

    Its metaclass is PySide6's own: with another one PySide6 misses the deletion of a C++ object.
    """
    if issubclass(base, (ObjectRules, ValueRules)):
        return base
    if base not in _hosts:
        public = next(k for k in base.__mro__ if k.__module__.startswith("PySide6") or k in _hosts)
        if public is not base:
            return hostClass(public)
        rules = ObjectRules if issubclass(base, QtCore.QObject) else ValueRules
        members = {"nativeBase": base, "__module__": "qt"}
        if hasattr(base, "__enter__"):  # PythonQt's objects are no context managers
            members["__enter__"] = members["__exit__"] = _noContext
        _hosts[base] = type(base)(base.__name__, (rules, base), members)
    return _hosts[base]


def _construct(self: Any, initialize: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
    """A constructor as PythonQt calls it."""
    host = _nativeHost(type(self))
    if keywords:
        raise ValueError(f"Called {host.__name__} with keyword arguments; PythonQt's slots take none")
    check = refusedConstructors.get(host.__name__)
    if check is not None:
        check(arguments)
    native = tuple(nativeValue(argument) for argument in arguments)
    try:
        initialize(*native)
    except TypeError:
        again = Enums.withEnumsForNumbers(nativeClass(host), native)
        if again is None:
            raise
        initialize(*again)


@functools.cache
def _nativeHost(cls: type) -> type:
    return next(k for k in cls.__mro__ if isNative(k))


def _noContext(_self: Any, *_arguments: Any) -> None:
    raise AttributeError("an object of PythonQt is no context manager")


def _askedByQt() -> bool:
    try:
        return sys._getframe(2).f_code in _intoQt
    except ValueError:  # called by C++ with no Python below it, as at interpreter exit
        return True


# While one of these runs, it is PySide6 that looks on an object for Python overrides of C++ virtual methods; it gets
# the methods as they are. Under PythonQt's rules it would get values of properties, read from within themselves.
_intoQt = {
    function.__code__
    for function in (
        callNative,
        _construct,
        _readProperty,
        _writeProperty,
        EventLoop.execApplication,
        EventLoop.execLoop,
        EventLoop.processEvents,
    )
}
