"""Slicer's generic tests of a module and its panel: no main window, another scene."""

import os
from typing import Any

import slicer
from PySide6 import QtWidgets

from . import Problems
from .EventLoop import processEvents
from .Modules import loadModule, unloadModule

WIDEST = 500  # pixels that a panel may need at least


def runGenericTests(path: str | os.PathLike[str]) -> list[str]:
    """Load the module, swap its scene, enter and leave its panel, unload it; returns the failures."""
    before = len(Problems.slotErrors)
    module = loadModule(path)
    failures = _checkModule(module)
    try:
        failures += _checkPanel(module)
    finally:
        unloadModule(module.name)
        processEvents()
    failures += [f"an exception was printed: {error.text}" for error in Problems.slotErrors[before:]]
    return failures


def _checkModule(module: Any) -> list[str]:
    failures = [
        f"{name} is empty"
        for name in ("title", "categories", "acknowledgementText", "contributors")
        if not getattr(module, name)
    ]
    if not -1 <= module.index <= 1000:
        failures.append(f"index {module.index} is not within -1 and 1000")
    if module.logic() is not module.logic():
        failures.append("logic() is another object each time")
    return failures


def _checkPanel(module: Any) -> list[str]:
    widget = module.widgetRepresentation()
    if widget is None:
        return [] if module.hidden else ["the module has no widget and is not hidden"]
    failures = []
    if widget is not module.widgetRepresentation():
        failures.append("widgetRepresentation() is another object each time")
    own, other = slicer.mrmlScene, slicer.vtkMRMLScene()
    try:
        module.setMRMLScene(other)
        if vars(widget)["_scene"] is not other:
            failures.append("the scene does not reach the widget")
        # Slicer's panel is never narrower than the size hint: qSlicerModulePanel sets the size policy Minimum.
        width = QtWidgets.QWidget.sizeHint(widget).width()
        if width > WIDEST:
            failures.append(f"the panel needs {width} pixels, more than {WIDEST}")
        for visible in (False, True):
            if visible:
                widget.show()
            widget.enter()
            processEvents()
            widget.exit()
    finally:
        module.setMRMLScene(own)
    return failures
