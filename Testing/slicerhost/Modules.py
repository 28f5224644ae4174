"""Scripted modules as Slicer's factory makes them: slicer.modules, the module manager, panels, unloading."""

import importlib.util
import os
import sys
import types
from pathlib import Path
from typing import Any

import shiboken6
import slicer
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal

from .CtkWidgets import stored
from .PythonQt import hostClass
from .QMRMLWidgets import qSlicerWidget

QObject = hostClass(QtCore.QObject)


class Namespace:
    """Attributes of a C++ object that the host has only in part; missing names are refused."""

    def __init__(self, label: str, **attributes: Any) -> None:
        self.__dict__["_label"] = label
        self.__dict__.update(attributes)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"this host has no {self._label}.{name}")


def execute(name: str, path: str) -> types.ModuleType:
    """Run <name>.py as a fresh module of that name."""
    folder = os.path.dirname(path)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class qSlicerScriptedLoadableModuleWidget(qSlicerWidget):
    """The C++ widget around a panel: self() is the Python object."""

    standIn = True

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._entered, self._python, self._source = False, None, ""
        hostClass(QtWidgets.QVBoxLayout)(self)

    def setPythonSource(self, path: str) -> bool:
        """Make <Name>Widget of the module in sys.modules; the file is executed only when it is not there."""
        name = Path(path).stem
        className = name + "Widget"
        module = sys.modules.get(name)
        if module is None or not hasattr(module, className):
            module = execute(name, path)
        self._source = path
        self._python = getattr(module, className)(self)
        setattr(slicer.modules, className, self._python)
        return True

    def reload(self) -> None:
        self.setPythonSource(self._source)
        self._callSetup()

    def _callSetup(self) -> None:
        self._python.setup()

    def self(self) -> Any:
        return self._python

    def enter(self) -> None:
        self._entered = True
        if hasattr(self._python, "enter"):
            self._python.enter()

    def exit(self) -> None:
        self._entered = False
        if hasattr(self._python, "exit"):
            self._python.exit()

    isEntered = Property(bool, lambda self: self._entered)
    moduleName = Property(str, lambda self: Path(self._source).stem)


class qSlicerScriptedLoadableModule(QObject):  # type: ignore[misc, valid-type]
    """slicer.modules.<name>, which is also the parent given to the module's class."""

    standIn = True

    def __init__(self, name: str, path: str) -> None:
        super().__init__()
        self._name, self._path = name, path
        self._widget: Any = None
        self._logic: Any = None
        self._scene: Any = slicer.mrmlScene

    name = Property(str, lambda self: self._name)
    path = Property(str, lambda self: self._path)
    title, helpText = stored(str, "title", ""), stored(str, "helpText", "")
    acknowledgementText = stored(str, "acknowledgementText", "")
    categories, dependencies = stored("QStringList", "categories", []), stored("QStringList", "dependencies", [])
    contributors = stored("QStringList", "contributors", [])
    associatedNodeTypes = stored("QStringList", "associatedNodeTypes", [])
    extensions = stored("QVariantMap", "extensions", {})
    hidden, index = stored(bool, "hidden", False), stored(int, "index", -1)
    icon = stored(QtGui.QIcon, "icon", QtGui.QIcon())
    widgetRepresentationCreationEnabled = stored(bool, "widgetRepresentationCreationEnabled", True)

    def logic(self) -> Any:
        """The C++ logic of a scripted module, which does nothing; the Python one is the panel's `logic`."""
        if self._logic is None:
            self._logic = slicer.vtkSlicerScriptedLoadableModuleLogic()
            self._logic.SetMRMLScene(self._scene)
        return self._logic

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        if self._logic is not None:
            self._logic.SetMRMLScene(scene)
        if self._widget is not None:
            self._widget.setMRMLScene(scene)

    def createNewWidgetRepresentation(self) -> Any:
        if not self.widgetRepresentationCreationEnabled:
            return None
        widget = qSlicerScriptedLoadableModuleWidget()
        widget.setPythonSource(self._path)
        widget._callSetup()
        widget.setMRMLScene(self._scene)
        return widget

    def widgetRepresentation(self) -> Any:
        if self._widget is None or not shiboken6.isValid(self._widget):
            self._widget = self.createNewWidgetRepresentation()
        return self._widget


class qSlicerModuleFactoryManager(QObject):  # type: ignore[misc, valid-type]
    """Names of the modules that are there."""

    standIn = True

    def loadedModuleNames(self) -> tuple[str, ...]:
        return tuple(m.name for m in scriptedModules())

    def isLoaded(self, name: str) -> bool:
        return name in self.loadedModuleNames()


class qSlicerModuleManager(QObject):  # type: ignore[misc, valid-type]
    """slicer.app.moduleManager()"""

    standIn = True
    livesAsLongAsTheApplication = True
    moduleLoaded = Signal(str)
    moduleAboutToBeUnloaded = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._factory = qSlicerModuleFactoryManager()

    def module(self, name: str) -> Any:
        return vars(slicer.modules).get(name.lower())

    def modulesNames(self) -> tuple[str, ...]:
        return self._factory.loadedModuleNames()

    def factoryManager(self) -> Any:
        return self._factory


def scriptedModules() -> list[Any]:
    return [m for m in vars(slicer.modules).values() if isinstance(m, qSlicerScriptedLoadableModule)]


def loadModule(path: str | os.PathLike[str]) -> Any:
    """Load <Name>.py as Slicer's factory does: execute, instantiate, set up; the panel is made later."""
    absolute = os.path.abspath(path)
    name = Path(absolute).stem
    python = execute(name, absolute)
    module = qSlicerScriptedLoadableModule(name, absolute)
    module.objectName = name + "Module"
    instance = getattr(python, name)(module)
    setattr(slicer.modules, name + "Instance", instance)
    if not hasattr(python, name + "Widget"):
        module.widgetRepresentationCreationEnabled = False
    if hasattr(instance, "setup"):
        instance.setup()
    setattr(slicer.modules, name.lower(), module)
    setattr(slicer.moduleNames, name, name)
    slicer.app.moduleManager().moduleLoaded.emit(name)
    return module


def unloadModule(name: str) -> None:
    """moduleAboutToBeUnloaded, so that cleanup() runs; then the panel and the module are gone.

    In Slicer the application ends then, and with it what modules do at the end of its start.
    """
    slicer.app.disconnect("startupCompleted()")
    module = vars(slicer.modules).get(name.lower())
    if module is None:
        return
    slicer.app.moduleManager().moduleAboutToBeUnloaded.emit(name)
    widget = module._widget
    if widget is not None and shiboken6.isValid(widget):
        shiboken6.delete(widget)
    for attribute in (name.lower(), name + "Widget", name + "Instance"):
        vars(slicer.modules).pop(attribute, None)
    vars(slicer.moduleNames).pop(name, None)
    slicer.selfTests.pop(name, None)


def reloadModule(name: str) -> types.ModuleType:
    """The developer's Reload button."""
    module: types.ModuleType = slicer.util.reloadScriptedModule(name)
    return module
