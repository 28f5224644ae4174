"""PythonQt's attribute rules on PySide6's objects.

A Qt property is an attribute and hides the getter of the same name; other methods stay methods and take no keyword
arguments; an unknown attribute can be neither read nor set; lists come back as tuples and enumerations as numbers.
Where PythonQt prints and goes on, or stores nonsense, this host raises.
"""

import contextlib
import json
import sys
import types
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import shiboken6
from PySide6 import QtCore

from . import Enums, EventLoop, Signals

_REFUSED: dict[str, list[str]] = json.loads((Path(__file__).parent / "NotInPythonQt.json").read_text())
_hosts: dict[type, type] = {}
_propertyNames: dict[type, frozenset[str]] = {}
_refusedNames: dict[type, frozenset[str]] = {}

# (PySide6 class name, method) -> what stands in for it; filled by the files that know a class's quirks.
replacedMethods: dict[tuple[str, str], Callable[..., Any]] = {}
replacedStatics: dict[tuple[str, str], Callable[..., Any]] = {}
refusedConstructors: dict[str, Callable[[tuple[Any, ...]], None]] = {}

# What user code made through `qt`, for the search for leftovers.
made: "weakref.WeakSet[Any]" = weakref.WeakSet()


def refusedNames(cls: type) -> frozenset[str]:
    """The names that PySide6 has and PythonQt on Qt 5.15 or Qt 6 has not."""
    if cls not in _refusedNames:
        names: set[str] = set()
        for base in cls.__mro__:
            if base.__module__.startswith("PySide6"):
                names.update(_REFUSED.get(base.__name__, ()))
        _refusedNames[cls] = frozenset(names)
    return _refusedNames[cls]


def _replaced(table: dict[tuple[str, str], Callable[..., Any]], cls: type, name: str) -> Callable[..., Any] | None:
    for base in cls.__mro__:
        if (base.__name__, name) in table:
            return table[base.__name__, name]
    return None


def adopt(value: Any) -> Any:
    """What PythonQt hands to Python for a C++ value."""
    if isinstance(value, list):
        return tuple(adopt(item) for item in value)
    if isinstance(value, shiboken6.Shiboken.Object) and not isinstance(type(value), HostMeta):
        if isinstance(value, QtCore.QByteArray):
            return value
        host = hostClass(type(value))
        if host is not type(value):
            value.__class__ = host
        return value
    return Enums.fromNative(value)


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
    native = tuple(a.function if isinstance(a, QtSlot) else Enums.toNative(a) for a in arguments)
    with _asNative(native):
        try:
            return function(*native)
        except TypeError:
            again = Enums.withEnumsForNumbers(function, native)
            if again is None:
                raise
        return function(*again)


@contextlib.contextmanager
def _asNative(arguments: tuple[Any, ...]) -> Iterator[None]:
    """Let values such as qt.QIcon be PySide6's own meanwhile: it puts no instance of a subclass into a QVariant."""
    values = [a for a in arguments if isinstance(a, ValueRules) and isNative(type(a))]
    hosts = [type(value) for value in values]
    for value, host in zip(values, hosts, strict=True):
        value.__class__ = _checked(host)
    try:
        yield
    finally:
        for value, host in zip(values, hosts, strict=True):
            value.__class__ = host


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


def converted(prop: QtCore.QMetaProperty, value: Any) -> Any:
    """The value as PythonQt would write it into a property; raises where PythonQt raises or stores nonsense."""
    kind = prop.typeName()
    value = Enums.toNative(value)
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


class ObjectRules:
    """Mixed into the host class of every QObject."""

    def __getattribute__(self, name: str) -> Any:
        if name[:2] == "__":
            return super().__getattribute__(name)
        cls = type(self)
        for base in cls.__mro__:  # a Python subclass's own attributes come first
            if isNative(base):
                break
            if name in base.__dict__:
                return _own(self, name, super().__getattribute__(name), base.__dict__[name])
        if _askedByQt():
            return super().__getattribute__(name)
        own = super().__getattribute__("__dict__")
        if name in own and not isinstance(own[name], QtCore.SignalInstance):
            return own[name]
        if name in refusedNames(cls):
            raise AttributeError(f"{_className(self)} has no attribute '{name}' on both Qt 5.15 and Qt 6 in PythonQt")
        propertyName = "objectName" if name == "name" else name
        if propertyName in propertyNames(self):
            return _readProperty(self, propertyName)
        replacement = _replaced(replacedMethods, cls, name)
        if replacement is not None:
            return types.MethodType(replacement, self)
        try:
            value = super().__getattribute__(name)
        except AttributeError:
            return _dynamicOrChild(self, name)
        if isinstance(value, QtCore.SignalInstance):
            return Signals.BoundSignal(self, name, value)
        if callable(value) and not isinstance(value, type):
            return QtSlot(value)
        return Enums.fromNative(value)

    def __setattr__(self, name: str, value: Any) -> None:
        cls = type(self)
        propertyName = "objectName" if name == "name" else name
        if propertyName in propertyNames(self) and name not in refusedNames(cls):
            _writeProperty(self, propertyName, value)
            return
        if name.encode() in [bytes(n.data()) for n in QtCore.QObject.dynamicPropertyNames(self)]:
            if value is None:
                raise AttributeError(f"Dynamic property '{name}' does not accept an object of type NoneType (None)")
            QtCore.QObject.setProperty(self, name, Enums.toNative(value))
            return
        if isNative(cls) or (isStandIn(cls) and name[0] != "_"):
            if hasattr(cls, name):
                raise AttributeError(f"Slot or signal '{name}' can not be overwritten on {_className(self)} object")
            raise AttributeError(
                f"'{name}' does not exist on {_className(self)} and creating new attributes on C++ objects "
                "is not allowed"
            )
        super().__setattr__(name, value)


class ValueRules:
    """Mixed into the host class of everything in `qt` that is not a QObject."""

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name[:2] == "__":
            return value
        cls = type(self)
        if name in refusedNames(cls):
            raise AttributeError(f"{cls.__name__} has no attribute '{name}' on both Qt 5.15 and Qt 6 in PythonQt")
        replacement = _replaced(replacedMethods, cls, name)
        if replacement is not None:
            return types.MethodType(replacement, self)
        if isinstance(value, (types.BuiltinMethodType, types.MethodType)):
            return QtSlot(value) if not isinstance(getattr(value, "__func__", None), types.FunctionType) else value
        return Enums.fromNative(value)


def _className(qObject: Any) -> str:
    return str(QtCore.QObject.metaObject(qObject).className())


def _own(qObject: Any, name: str, value: Any, declared: Any) -> Any:
    if isinstance(value, QtCore.SignalInstance):
        return Signals.BoundSignal(qObject, name, value)
    if isinstance(declared, QtCore.Property):
        return adopt(value)
    return value


def _readProperty(qObject: Any, name: str) -> Any:
    # Shiboken looks for a Python override of a virtual getter under the getter's name while the property is read.
    busy: set[str] = QtCore.QObject.__getattribute__(qObject, "__dict__").setdefault("_reading", set())
    if name in busy:
        return QtCore.QObject.__getattribute__(qObject, name)
    busy.add(name)
    try:
        return adopt(QtCore.QObject.property(qObject, name))
    finally:
        busy.discard(name)


def _writeProperty(qObject: Any, name: str, value: Any) -> None:
    meta = QtCore.QObject.metaObject(qObject)
    prop = meta.property(meta.indexOfProperty(name))
    if not prop.isWritable():
        raise AttributeError(f"Property '{name}' of {_className(qObject)} object is not writable")
    try:
        with _asNative((value,)):
            done = value is not None and QtCore.QObject.setProperty(qObject, name, converted(prop, value))
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
    raise AttributeError(f"{_className(qObject)} has no attribute named '{name}'")


def isNative(cls: type) -> bool:
    """Is this a host class of a C++ class, and not a Python subclass of one?"""
    return isinstance(cls, HostMeta) and type.__getattribute__(cls, "__dict__").get("nativeBase") is not None


def isStandIn(cls: type) -> bool:
    """Is this the host's own version of a ctk or qMRML class, to be taken for C++?"""
    return type.__getattribute__(cls, "__dict__").get("standIn", False) is True


class HostMeta(type(QtCore.QObject)):  # type: ignore[misc]
    """Class attributes by PythonQt's rules; isinstance holds for objects that C++ made as well."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return type.__instancecheck__(_checked(cls), instance)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return type.__subclasscheck__(_checked(cls), subclass)

    def __getattribute__(cls, name: str) -> Any:
        if name[:1] == "_" or name in ("mro", "nativeBase", "standIn", "signalAliases", "staticMetaObject"):
            return super().__getattribute__(name)
        if not isNative(cls):
            return Enums.fromNative(super().__getattribute__(name))
        if name in refusedNames(cls):
            raise AttributeError(f"{cls.__name__} has no attribute '{name}' on both Qt 5.15 and Qt 6 in PythonQt")
        replacement = _replaced(replacedStatics, cls, name)
        if replacement is not None:
            return replacement
        value = super().__getattribute__(name)
        if isinstance(value, types.BuiltinFunctionType) or type(value).__name__ == "method_descriptor":
            return QtSlot(value)
        return Enums.fromNative(value)

    def __call__(cls, *arguments: Any, **keywords: Any) -> Any:
        if isNative(cls):
            if keywords:
                raise ValueError(f"Called {cls.__name__} with keyword arguments; PythonQt's slots take none")
            check = refusedConstructors.get(cls.__name__)
            if check is not None:
                check(arguments)
            native = tuple(a.function if isinstance(a, QtSlot) else Enums.toNative(a) for a in arguments)
            try:
                instance = super().__call__(*native)
            except TypeError:
                again = Enums.withEnumsForNumbers(_checked(cls), native)
                if again is None:
                    raise
                instance = super().__call__(*again)
        else:
            instance = super().__call__(*arguments, **keywords)
        if type.__instancecheck__(QtCore.QObject, instance):
            made.add(instance)
        return instance


def _checked(cls: type) -> type:
    """The PySide6 class behind a host class."""
    native: type | None = type.__getattribute__(cls, "__dict__").get("nativeBase")
    return native if native is not None else cls


def hostClass(base: type) -> type:
    """The host class for a PySide6 class."""
    if isinstance(base, HostMeta):
        return base
    if base not in _hosts:
        public = next(k for k in base.__mro__ if k.__module__.startswith("PySide6") or k in _hosts)
        if public is not base:
            return hostClass(public)
        rules = ObjectRules if issubclass(base, QtCore.QObject) else ValueRules
        members = {"nativeBase": base, "__module__": "qt"}
        if hasattr(base, "__enter__"):  # PythonQt's objects are no context managers
            members["__enter__"] = members["__exit__"] = _noContext
        _hosts[base] = HostMeta(base.__name__, (rules, base), members)
    return _hosts[base]


def _noContext(_self: Any, *_arguments: Any) -> None:
    raise AttributeError("an object of PythonQt is no context manager")


def find(qObject: Any, kind: Any, name: str = "") -> list[Any]:
    """The descendants of a class (or class name) with a name."""
    found = []
    for child in QtCore.QObject.findChildren(qObject, QtCore.QObject):
        fits = QtCore.QObject.inherits(child, kind) if isinstance(kind, str) else isinstance(child, kind)
        if fits and name in ("", QtCore.QObject.objectName(child)):
            found.append(adopt(child))
    return found


def _connect(self: Any, signal: str, receiver: Any, *more: Any) -> bool:
    if more:
        raise TypeError("connect(signal, receiver, slot): connect a Python callable instead")
    target = receiver.function if isinstance(receiver, QtSlot) else receiver
    return Signals.connect(self, signal, target, adopt, refusedNames(type(self)))


def _disconnect(self: Any, signal: str, receiver: Any = None) -> bool:
    return Signals.disconnect(self, signal, receiver.function if isinstance(receiver, QtSlot) else receiver)


def _findChild(self: Any, kind: Any, name: str = "") -> Any:
    found = find(self, kind, name)
    return found[0] if found else None


def _setProperty(self: Any, name: str, value: Any) -> None:
    with _asNative((value,)):
        QtCore.QObject.setProperty(self, name, Enums.toNative(value))


replacedMethods.update(
    {
        ("QObject", "connect"): _connect,
        ("QObject", "disconnect"): _disconnect,
        ("QObject", "findChild"): _findChild,
        ("QObject", "findChildren"): lambda self, kind, name="": tuple(find(self, kind, name)),
        ("QObject", "className"): _className,
        ("QObject", "setProperty"): _setProperty,
        ("QObject", "delete"): lambda self: shiboken6.delete(self),
    }
)


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
        _readProperty,
        _writeProperty,
        EventLoop.execApplication,
        EventLoop.execLoop,
        EventLoop.processEvents,
    )
}
