"""qt.QProcess by PythonQt's rules; waiting keeps the interpreter lock."""

import ctypes
from typing import Any

from PySide6 import QtCore

from .EventLoop import pointer, symbol
from .Names import replacedMethods
from .PythonQt import callNative, nativeObject


def _write(self: Any, data: Any) -> int:
    """str, bytes or QByteArray."""
    if isinstance(data, str):
        data = data.encode()
    if not isinstance(data, (bytes, QtCore.QByteArray)):
        raise TypeError(f"write takes str, bytes or QByteArray, not {type(data).__name__}")
    return int(QtCore.QIODevice.write(nativeObject(self), QtCore.QByteArray(data)))


def _waiting(name: str) -> Any:
    mangled = f"_ZN8QProcess{len(name)}{name}Ei"

    def wait(self: Any, milliseconds: int = 30000) -> bool:
        run = symbol(mangled, f"?{name}@QProcess@@QEAA_NH@Z", ctypes.c_bool, ctypes.c_void_p, ctypes.c_int)
        return bool(run(pointer(self), int(milliseconds)))

    return wait


def _start(self: Any, *arguments: Any) -> None:
    """start(program, [arguments], mode): the command line in one string is Qt 5's alone."""
    if len(arguments) == 1 and isinstance(arguments[0], str) and " " in arguments[0]:
        raise TypeError("start(command line) differs between Qt 5 and Qt 6: use start(program, [arguments])")
    if len(arguments) > 1:
        arguments = (arguments[0], list(arguments[1]), *arguments[2:])
        if not all(isinstance(a, str) for a in arguments[1]):
            raise TypeError("start(program, [arguments]): every argument is a str")
    callNative(lambda *a: QtCore.QProcess.start(self, *a), arguments)


replacedMethods["QIODevice", "write"] = _write
replacedMethods["QProcess", "start"] = _start
for _name in ("waitForFinished", "waitForStarted"):
    replacedMethods["QProcess", _name] = _waiting(_name)
# These two are virtual in QIODevice; QProcess overrides them under the same name.
for _name in ("waitForReadyRead", "waitForBytesWritten"):
    replacedMethods["QProcess", _name] = _waiting(_name)
