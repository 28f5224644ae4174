"""Problems that no caller can catch: exceptions in slots and observers, messages of VTK and Qt."""

import sys
import traceback
from types import TracebackType
from typing import Any, NamedTuple


class SlotError(NamedTuple):
    """An exception that Slicer would only have printed."""

    type: type[BaseException]
    value: BaseException
    text: str


slotErrors: list[SlotError] = []
vtkMessages: list[str] = []
qtMessages: list[str] = []

_kept: list[Any] = []


def record(error: BaseException) -> None:
    """Keep an exception that is not passed on, and print it as PythonQt does."""
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    slotErrors.append(SlotError(type(error), error, text))
    sys.stderr.write(text)


def install() -> None:
    """Collect from now on. Python's own hooks still run afterwards."""
    _installExceptionHooks()
    _installVTKWindow()
    _installQtHandler()


def _installExceptionHooks() -> None:
    # VTK prints an exception of a Python observer, and PySide6 one of an overridden C++ method, through these hooks.
    previousHook, previousUnraisable = sys.excepthook, sys.unraisablehook

    def exceptionHook(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        text = "".join(traceback.format_exception(kind, value, trace))
        slotErrors.append(SlotError(kind, value, text))
        previousHook(kind, value, trace)

    def unraisableHook(unraisable: Any) -> None:
        if unraisable.exc_value is not None:
            error = unraisable.exc_value
            text = "".join(traceback.format_exception(type(error), error, unraisable.exc_traceback))
            slotErrors.append(SlotError(type(error), error, text))
        previousUnraisable(unraisable)

    sys.excepthook, sys.unraisablehook = exceptionHook, unraisableHook


def _installVTKWindow() -> None:
    from vtkmodules.vtkCommonCore import vtkOutputWindow

    window = vtkOutputWindow()
    window.SetDisplayModeToAlwaysStdErr()

    def keep(_caller: Any, _event: str, text: str) -> None:
        vtkMessages.append(text.strip())

    keep.CallDataType = "string0"  # type: ignore[attr-defined]
    for event in ("ErrorEvent", "WarningEvent"):
        window.AddObserver(event, keep)
    vtkOutputWindow.SetInstance(window)
    _kept.append(window)


def _installQtHandler() -> None:
    import atexit

    from PySide6 import QtCore

    def handler(kind: Any, _context: Any, text: str) -> None:
        if text.startswith("This plugin does not support"):  # of the off-screen platform, for every window shown
            return
        if kind not in (QtCore.QtMsgType.QtDebugMsg, QtCore.QtMsgType.QtInfoMsg):
            qtMessages.append(text)
        sys.stderr.write(text + "\n")

    QtCore.qInstallMessageHandler(handler)
    atexit.register(QtCore.qInstallMessageHandler, None)
