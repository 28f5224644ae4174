"""A test host that runs a scripted module of 3D Slicer without Slicer.

boot() makes `slicer`, `qt` and `ctk` importable; loadModule(path) loads <Name>.py as Slicer's factory does. The scene,
logics, displayable managers and slicer.util are Slicer's own (the slicer-core package); Qt is PySide6 under PythonQt's
rules; the event loop keeps Python's lock as Slicer's does. What real PythonQt would refuse, and every name the host
lacks, raises.
"""

from typing import TYPE_CHECKING, Any

from .Application import boot, closeScene, quit
from .EventLoop import endScript, processEvents, runUntil
from .EventLoop import execApplication as exec
from .Problems import qtMessages, slotErrors, vtkMessages

if TYPE_CHECKING:
    from .Layout import Layout

__all__ = [
    "boot",
    "closeScene",
    "endScript",
    "exec",
    "leftovers",
    "loadModule",
    "makeImageWidget",
    "makeOffscreenViews",
    "makeViewWidget",
    "processEvents",
    "qtMessages",
    "quit",
    "reloadModule",
    "removeViews",
    "runGenericTests",
    "runUntil",
    "slotErrors",
    "unloadModule",
    "vtkMessages",
]

# The functions below import late: their files import `slicer`, which must be booted first.


def loadModule(path: Any) -> Any:
    """Load <Name>.py; returns slicer.modules.<name>."""
    from . import Modules

    boot()
    return Modules.loadModule(path)


def unloadModule(name: str) -> None:
    """Unload a module as at exit: cleanup(), then its panel is deleted."""
    from . import Modules

    Modules.unloadModule(name)


def reloadModule(name: str) -> Any:
    """The Reload button: the file is executed, then the old panel's cleanup() runs, then a new panel is made."""
    from . import Modules

    return Modules.reloadModule(name)


def makeOffscreenViews(size: int = 320) -> "Layout":
    """Red, Yellow, Green and one 3D view, drawn off screen; becomes slicer.app.layoutManager()."""
    from . import Layout

    boot()
    return Layout.makeOffscreenViews(size)


def makeImageWidget() -> "tuple[Any, Layout]":
    """The four views in a widget, drawn off screen and painted as images: needs no OpenGL window."""
    from . import ViewWidgets

    boot()
    return ViewWidgets.makeImageWidget()


def makeViewWidget() -> "tuple[Any, Layout]":
    """The four views in a widget with real OpenGL windows: needs a screen."""
    from . import ViewWidgets

    boot()
    return ViewWidgets.makeViewWidget()


def removeViews() -> None:
    """Take the views away again; slicer.app.layoutManager() is None afterwards."""
    from . import Layout

    Layout.removeViews()


def turnViews(layout: Any) -> None:
    """Turn the slice views of a layout as Slicer has them at start."""
    from . import Layout

    for name, orientation, _colour in Layout.SLICES:
        layout.sliceWidget(name).mrmlSliceNode().SetOrientation(orientation)


def leftovers() -> list[str]:
    """One plain sentence for each timer, watcher, process, thread, observer or connection that is still alive."""
    from . import Leftovers

    return Leftovers.leftovers()


def runGenericTests(path: Any) -> list[str]:
    """Run Slicer's generic module tests; return one sentence for each failure."""
    from . import GenericTests

    boot()
    return GenericTests.runGenericTests(path)
