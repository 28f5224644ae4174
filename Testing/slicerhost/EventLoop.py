"""Qt's event loop with the interpreter lock held, as Slicer runs it.

Slicer starts the loop from C++ and never releases Python's lock: a Python thread stands still while the loop idles.
PySide6 releases it in exec(), which would hide that. Calls through ctypes.PyDLL keep it.
"""

import ctypes
import functools
import glob
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import PySide6
import shiboken6
from PySide6 import QtCore

FLAGS_ITANIUM = "E6QFlagsIN10QEventLoop17ProcessEventsFlagEE"
FLAGS_MSVC = "V?$QFlags@W4ProcessEventsFlag@QEventLoop@@@@"


@functools.cache
def _library(name: str) -> ctypes.PyDLL:
    folder = os.path.dirname(PySide6.__file__)
    for pattern in (f"Qt/lib/libQt6{name}.so.6", f"Qt/lib/Qt{name}.framework/Versions/A/Qt{name}", f"Qt6{name}.dll"):
        for path in glob.glob(os.path.join(folder, pattern)):
            return ctypes.PyDLL(path)
    raise RuntimeError(f"PySide6 has no Qt6{name} library")


@functools.cache
def symbol(itanium: str, msvc: str, result: Any, *arguments: Any, library: str = "Core") -> Callable[..., Any]:
    """A C++ function of Qt by its mangled name; calling it keeps the interpreter lock."""
    function = getattr(_library(library), msvc if sys.platform == "win32" else itanium)
    function.restype, function.argtypes = result, list(arguments)
    return function  # type: ignore[no-any-return]


def pointer(qObject: QtCore.QObject) -> int:
    return int(shiboken6.getCppPointer(qObject)[0])


_later: list[QtCore.QObject] = []


def deleteLater(qObject: QtCore.QObject) -> None:
    """QObject.deleteLater as in Slicer: the deletion happens after the script has ended, in the event loop.

    In Slicer the application's loop runs below every script; neither processEvents() nor a nested loop deletes what a
    script wants deleted. What a slot wants deleted goes when the slot has returned, as everywhere in Qt.
    """
    if QtCore.QThread.currentThread().loopLevel():
        QtCore.QObject.deleteLater(qObject)
    else:
        _later.append(qObject)


def endScript() -> None:
    """End a script outside of any loop: do its deferred deletions."""
    while _later:
        qObject = _later.pop(0)
        if shiboken6.isValid(qObject):
            shiboken6.delete(qObject)


def execApplication() -> int:
    """QCoreApplication::exec: until quit; emits aboutToQuit at its end."""
    endScript()
    return int(symbol("_ZN16QCoreApplication4execEv", "?exec@QCoreApplication@@SAHXZ", ctypes.c_int)())


def execLoop(loop: QtCore.QEventLoop) -> int:
    """QEventLoop::exec."""
    run = symbol(
        "_ZN10QEventLoop4execE6QFlagsINS_17ProcessEventsFlagEE",
        f"?exec@QEventLoop@@QEAAH{FLAGS_MSVC}@Z",
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_int,
    )
    return int(run(pointer(loop), 0))


def processEvents() -> None:
    """Handle pending events, except deferred deletions."""
    run = symbol(
        f"_ZN16QCoreApplication13processEvents{FLAGS_ITANIUM}",
        f"?processEvents@QCoreApplication@@SAX{FLAGS_MSVC}@Z",
        None,
        ctypes.c_int,
    )
    run(0)


def runUntil(predicate: Callable[[], Any], timeout: float = 5.0, everyMs: int = 50) -> bool:
    """Run the loop until the predicate holds or the time is over; return True if it holds.

    Between two looks no Python runs on its own account, so that a thread that waits is not helped by the test.
    """
    end = time.monotonic() + timeout
    loop, timer = QtCore.QEventLoop(), QtCore.QTimer()
    QtCore.QObject.connect(timer, QtCore.SIGNAL("timeout()"), loop, QtCore.SLOT("quit()"))  # C++ to C++
    timer.start(everyMs)
    try:
        while not predicate() and time.monotonic() < end:
            execLoop(loop)
    finally:
        timer.stop()
    return bool(predicate())


def sleepWithLock(seconds: float) -> None:
    """Block like a busy C++ function: no other Python thread runs meanwhile."""
    if sys.platform == "win32":
        ctypes.PyDLL("kernel32").Sleep(int(seconds * 1000))
    else:
        ctypes.PyDLL(None).usleep(int(seconds * 1e6))
