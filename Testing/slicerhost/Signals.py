"""PythonQt's connect and disconnect on PySide6's signals."""

import functools
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import shiboken6
from PySide6 import QtCore

from . import Problems

METHOD_SIGNAL = QtCore.QMetaMethod.MethodType.Signal


class Connection(NamedTuple):
    """A Python callable that a signal of a living object still holds."""

    sender: str
    signal: str
    receiver: Callable[..., Any]
    relay: Callable[..., None]
    senderObject: Any


# C++ address of the sender -> its connections. PythonQt holds the callable from C++ too: it outlives the wrapper.
connections: dict[int, list[Connection]] = {}


def address(qObject: QtCore.QObject) -> int:
    return int(shiboken6.getCppPointer(qObject)[0])


_signatures: dict[tuple[type, str, int], list[str]] = {}


def signatures(qObject: QtCore.QObject) -> list[str]:
    """The signals an object has, in full."""
    meta = QtCore.QObject.metaObject(qObject)
    # A class of Python may get further methods while it is in use.
    key = (type(qObject), str(meta.className()), meta.methodCount())
    if key not in _signatures:
        methods = [meta.method(i) for i in range(meta.methodCount())]
        _signatures[key] = [bytes(m.methodSignature()).decode() for m in methods if m.methodType() == METHOD_SIGNAL]
    return _signatures[key]


def normalized(qObject: QtCore.QObject, signal: str | bytes, refused: frozenset[str] = frozenset()) -> str:
    """The signal as Qt writes it; raises where PythonQt prints "signal does not exist" and returns False."""
    if not isinstance(signal, (str, bytes)):
        raise TypeError("connect(signal, callable): the signal is its signature, as in 'clicked(bool)'")
    text = signal.decode() if isinstance(signal, bytes) else signal
    text = text[1:] if text[:1] in ("0", "1", "2") else text  # qt.SIGNAL() puts a digit first
    name = _asQtWrites(text)
    name = getattr(type(qObject), "signalAliases", {}).get(name, name)
    known = signatures(qObject)
    if name not in known or name.split("(")[0] in refused:
        raise AttributeError(
            f"signal '{text}' does not exist on {QtCore.QObject.metaObject(qObject).className()} "
            f"(PythonQt prints this and returns False); it has {sorted(set(known))}"
        )
    return name


@functools.cache
def _asQtWrites(signal: str) -> str:
    return bytes(QtCore.QMetaObject.normalizedSignature(signal).data()).decode()


def positionalLimit(receiver: Callable[..., Any]) -> int | None:
    """How many arguments PythonQt passes to a Python callable at most; None: all."""
    if isinstance(receiver, types.MethodType) and isinstance(receiver.__func__, types.FunctionType):
        code, bound = receiver.__func__.__code__, 1
    elif isinstance(receiver, types.FunctionType):
        code, bound = receiver.__code__, 0
    else:
        return None
    takesAll = code.co_flags & 0x04
    return None if takesAll else code.co_argcount - bound


@functools.cache
def declaredInPython(cls: type) -> set[str]:
    """Names of the signals that a Python subclass declares with qt.Signal."""
    found: set[str] = set()
    for base in cls.__mro__:
        if "nativeBase" in vars(base) or vars(base).get("standIn") is True or base.__module__.startswith("PySide6"):
            break
        found.update(name for name, value in vars(base).items() if isinstance(value, QtCore.Signal))
    return found


def connect(
    qObject: QtCore.QObject,
    signal: str | bytes,
    receiver: Callable[..., Any],
    adopt: Callable[[Any], Any],
    refused: frozenset[str] = frozenset(),
) -> bool:
    """Connect, hold the receiver strongly, pass it as many arguments as it takes, keep its exceptions to ourselves."""
    if not callable(receiver):
        raise TypeError(f"{receiver!r} is not callable (PythonQt accepts it and fails later)")
    name = normalized(qObject, signal, refused)
    limit = positionalLimit(receiver)

    def deliver(*arguments: Any) -> None:
        try:
            receiver(*[adopt(a) for a in (arguments if limit is None else arguments[:limit])])
        except BaseException as error:  # noqa: BLE001 - PythonQt prints whatever a slot raises
            Problems.record(error)

    relay = _withArity(deliver, name)
    QtCore.QObject.connect(qObject, "2" + name, relay)
    key = address(qObject)
    if key not in connections:
        connections[key] = []
        QtCore.QObject.connect(qObject, QtCore.SIGNAL("destroyed()"), lambda: connections.pop(key, None))
    className = QtCore.QObject.metaObject(qObject).className()
    connections[key].append(Connection(className, name, receiver, relay, qObject if _isApplication(qObject) else None))
    return True


def _isApplication(qObject: QtCore.QObject) -> bool:
    return bool(getattr(type(qObject), "livesAsLongAsTheApplication", False))


def _withArity(deliver: Callable[..., None], signature: str) -> Callable[..., None]:
    """PySide6 counts a slot's parameters to pick an overload: give it exactly the signal's number."""
    inside = signature[signature.index("(") + 1 : -1]
    # A comma inside a template's brackets does not separate parameters.
    depth, count = 0, 1 if inside else 0
    for character in inside:
        depth += {"<": 1, ">": -1}.get(character, 0)
        count += character == "," and depth == 0
    return _makerOf(count)(deliver)


@functools.cache
def _makerOf(count: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    names = ", ".join(f"a{i}" for i in range(count))
    code = f"lambda deliver: lambda {names}: deliver({names})"
    make: Callable[[Callable[..., None]], Callable[..., None]] = eval(code)
    return make


def disconnect(qObject: QtCore.QObject, signal: str | bytes, receiver: Callable[..., Any] | None = None) -> bool:
    """Undo one connection to the receiver, or all of the signal's; False when there was none."""
    name = normalized(qObject, signal)
    known = connections.get(address(qObject), [])
    found = [c for c in known if c.signal == name and (receiver is None or c.receiver == receiver)]
    for connection in found if receiver is None else found[:1]:
        QtCore.QObject.disconnect(qObject, "2" + name, connection.relay)
        known.remove(connection)
    return bool(found)


def _function(receiver: Any) -> Any:
    """A C++ method's PySide6 function; other receivers unchanged."""
    return receiver.function if type(receiver).__name__ == "QtSlot" else receiver


class BoundSignal:
    """`button.clicked`: connect, disconnect, emit, or call it to emit."""

    def __init__(self, qObject: QtCore.QObject, name: str, native: Any, adopt: Callable[[Any], Any]) -> None:
        self._object, self._name, self._native, self._adopt = qObject, name, native, adopt

    def _signature(self) -> str:
        """Of several signals with this name, the one with the most parameters."""
        found = [s for s in signatures(self._object) if s.split("(")[0] == self._name]
        return max(found, key=len)

    def connect(self, receiver: Callable[..., Any]) -> bool:
        return connect(self._object, self._signature(), _function(receiver), self._adopt)

    def disconnect(self, receiver: Callable[..., Any] | None = None) -> bool:
        return disconnect(self._object, self._signature(), _function(receiver))

    def emit(self, *arguments: Any) -> None:
        self._native.emit(*arguments)

    __call__ = emit
