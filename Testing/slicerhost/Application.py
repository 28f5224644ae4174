"""boot(): `slicer`, `qt` and `ctk` as a scripted module sees them.

Real: the MRML scene, the logics, slicer.util, Qt and VTK. The host's own: slicer.app, slicer.modules, the module base
classes and the widgets.
"""

import atexit
import os
import shutil
import sys
import tempfile
import types
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal

from . import CtkNumbers, CtkPaths, EventLoop, Problems, QtModule  # noqa: F401 - the ctk files register their widgets
from .CtkWidgets import ctk
from .PythonQt import hostClass

_folder = ""  # of the settings and temporary files; removed at exit
_booted: Any = None


class qSlicerApplication(hostClass(QtWidgets.QApplication)):  # type: ignore[misc]
    """slicer.app"""

    standIn = True
    livesAsLongAsTheApplication = True
    startupCompleted = Signal()
    mrmlSceneChanged = Signal(object)
    signalAliases = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged(PyObject)"}  # noqa: RUF012

    def __init__(self, testing: bool) -> None:
        super().__init__(["slicerhost"])
        self._testing = testing
        self._layout: Any = None
        self._scene: Any = None
        self._logic: Any = None
        self._modules: Any = None
        self._options: Any = None

    def mrmlScene(self) -> Any:
        return self._scene

    def applicationLogic(self) -> Any:
        return self._logic

    def moduleLogic(self, name: str) -> Any:
        return self._logic.GetModuleLogic(name)

    def moduleManager(self) -> Any:
        return self._modules

    def layoutManager(self) -> Any:
        """None as with --no-main-window, until views are made."""
        return self._layout

    def commandOptions(self) -> Any:
        return self._options

    def testingEnabled(self) -> bool:
        return self._testing

    def processEvents(self, *_flags: Any) -> None:
        EventLoop.processEvents()

    def translate(self, context: str, text: str) -> str:
        return text

    def userSettings(self) -> Any:
        return hostClass(QtCore.QSettings)()

    settings = revisionUserSettings = userSettings

    def startupEnvironment(self) -> Any:
        return hostClass(QtCore.QProcessEnvironment).systemEnvironment()

    def moduleDocumentationUrl(self, name: str) -> str:
        return f"https://slicer.readthedocs.io/{name}"

    def pauseRender(self) -> None:
        if self._layout is not None:
            self._layout.pauseRender()

    def resumeRender(self) -> None:
        if self._layout is not None:
            self._layout.resumeRender()

    def setRenderPaused(self, paused: bool) -> None:
        (self.pauseRender if paused else self.resumeRender)()

    temporaryPath = Property(str, lambda self: _folder)
    slicerHome = Property(str, lambda self: _folder)
    majorVersion, minorVersion = Property(int, lambda self: 5), Property(int, lambda self: 12)
    revision, releaseType = Property(str, lambda self: ""), Property(str, lambda self: "Experimental")
    startupWorkingPath = Property(str, lambda self: os.getcwd())
    documentationBaseUrl = Property(str, lambda self: "https://slicer.readthedocs.io")


class qSlicerCommandOptions(hostClass(QtCore.QObject)):  # type: ignore[misc]
    """slicer.app.commandOptions(): Slicer started for a test, without its main window."""

    standIn = True
    noMainWindow = Property(bool, lambda self: True)
    testingEnabled = Property(bool, lambda self: QtCore.QCoreApplication.instance().testingEnabled())
    pythonScript, pythonCode = Property(str, lambda self: ""), Property(str, lambda self: "")
    runPythonAndExit = Property(
        bool, lambda self: self.__dict__.get("_exit", False), lambda self, value: self.__dict__.update(_exit=value)
    )


def _chooseOffscreen() -> None:
    """Without a screen Qt and VTK draw off screen."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    if sys.platform.startswith("linux") and os.environ.get("QT_QPA_PLATFORM") == "offscreen":
        os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")


def _useOwnFolder() -> None:
    """Settings and temporary files go to a folder that is removed at exit, never to the user's own."""
    global _folder
    _folder = tempfile.mkdtemp(prefix="slicerhost-")
    atexit.register(shutil.rmtree, _folder, ignore_errors=True)
    settings = QtCore.QSettings
    settings.setDefaultFormat(settings.Format.IniFormat)
    for scope in (settings.Scope.UserScope, settings.Scope.SystemScope):
        settings.setPath(settings.Format.IniFormat, scope, os.path.join(_folder, "settings"))
    QtCore.QCoreApplication.setOrganizationName("slicerhost")
    QtCore.QCoreApplication.setApplicationName("Slicer")
    QtCore.QCoreApplication.setApplicationVersion("5.12.0")


def _makeScene(slicer: Any, app: qSlicerApplication) -> None:
    """The scene, the default nodes and the logics that the application makes at start."""
    from vtkmodules.vtkCommonCore import vtkCollection

    from .Modules import Namespace

    scene, logic = slicer.vtkMRMLScene(), slicer.vtkSlicerApplicationLogic()
    logic.SetMRMLScene(scene)
    logic.SetSliceLogics(vtkCollection())
    logic.SetViewLogics(vtkCollection())
    logic.SetTemporaryPath(_folder)
    cache = slicer.vtkCacheManager()
    cache.SetRemoteCacheDirectory(os.path.join(_folder, "cache"))
    scene.SetCacheManager(cache)
    crosshair = slicer.vtkMRMLCrosshairNode()
    crosshair.SetCrosshairName("default")
    scene.AddNode(crosshair)
    logic.GetColorLogic().SetMRMLScene(scene)
    logic.GetColorLogic().AddDefaultColorNodes()
    for factory in ("vtkMRMLThreeDViewDisplayableManagerFactory", "vtkMRMLSliceViewDisplayableManagerFactory"):
        getattr(slicer, factory).GetInstance().SetMRMLApplicationLogic(logic)
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    slicer.modules, slicer.moduleNames = Namespace("slicer.modules"), Namespace("slicer.moduleNames")
    for name, moduleLogic in (
        ("Volumes", slicer.vtkSlicerVolumesLogic()),
        ("Sequences", slicer.vtkSlicerSequencesLogic()),
        ("VolumeRendering", slicer.vtkSlicerVolumeRenderingLogic()),
        ("Plots", slicer.vtkSlicerPlotsLogic()),
    ):
        moduleLogic.SetMRMLScene(scene)
        moduleLogic.SetMRMLApplicationLogic(logic)
        logic.SetModuleLogic(name, moduleLogic)
        label = f"slicer.modules.{name.lower()}"
        setattr(slicer.modules, name.lower(), Namespace(label, name=name, logic=lambda found=moduleLogic: found))
    slicer.modules.volumerendering.logic().SetModuleShareDirectory(_makeShare())
    _addSequenceToolBar(slicer.modules.sequences, slicer.vtkMRMLSequenceBrowserNode)
    slicer.mrmlScene = scene
    app._scene, app._logic = scene, logic


def _makeShare() -> str:
    """The share folder of the VolumeRendering module, here without presets."""
    folder = os.path.join(_folder, "share")
    os.mkdir(folder)
    with open(os.path.join(folder, "presets.xml"), "w", encoding="utf-8") as file:
        file.write('<MRML version="Slicer4.4.0"></MRML>')
    return folder


def _addSequenceToolBar(module: Any, nodeClass: type) -> None:
    """qSlicerSequencesModule.showSequenceBrowser: the tool bar's choice, as Slicer makes it by default."""
    from .Modules import Namespace

    toolBar = Namespace("slicer.modules.sequences.toolBar()", activeBrowserNode=lambda: None)

    def show(browserNode: Any) -> bool:
        if not isinstance(browserNode, nodeClass):
            raise ValueError("Called showSequenceBrowser(vtkMRMLSequenceBrowserNode*) with wrong arguments")
        toolBar.__dict__["activeBrowserNode"] = lambda: browserNode if browserNode.GetScene() else None
        return True

    module.__dict__.update(toolBar=lambda: toolBar, showSequenceBrowser=show)


def _addI18n(slicer: Any) -> None:
    i18n = types.ModuleType("slicer.i18n")
    i18n.translate = lambda context, text: slicer.app.translate(context, text)  # type: ignore[attr-defined]
    i18n.tr = lambda text: slicer.app.translate("", text)  # type: ignore[attr-defined]
    i18n.getContext = lambda sourceFile: ""  # type: ignore[attr-defined]
    sys.modules["slicer.i18n"] = slicer.i18n = i18n


def _delayWithoutDialog(message: str, autoCloseMsec: int = 1000, parent: Any = None, **_arguments: Any) -> None:
    """slicer.util.delayDisplay as with a delay below 400 ms: logged, pending events processed, no dialog."""
    import logging

    logging.info(message)
    EventLoop.processEvents()


def boot(testing: bool = True) -> Any:
    """Make `slicer`, `qt` and `ctk` importable; returns slicer. With testing, as `Slicer --testing`: no dialogs."""
    global _booted
    if _booted is not None:
        return _booted
    _chooseOffscreen()
    app = qSlicerApplication(testing)
    _useOwnFolder()
    sys.modules["qt"], sys.modules["ctk"] = QtModule.makeModule(), ctk
    import slicer
    import slicer.util

    Problems.install()
    slicer.app, slicer.selfTests = app, {}
    _addI18n(slicer)
    _makeScene(slicer, app)
    from . import Leftovers, Modules, PlotView, QMRMLWidgets, SampleData, ScriptedLoadableModule

    app._modules, app._options = Modules.qSlicerModuleManager(), qSlicerCommandOptions()
    classes = (Modules.qSlicerScriptedLoadableModule, Modules.qSlicerScriptedLoadableModuleWidget)
    for cls in (*QMRMLWidgets.CLASSES.values(), PlotView.qMRMLPlotView, *classes):
        setattr(slicer, cls.__name__, cls)
    ScriptedLoadableModule.install()
    sys.modules["SampleData"] = SampleData
    if testing:
        slicer.util.delayDisplay = _delayWithoutDialog
    QtWidgets.QApplication.setQuitOnLastWindowClosed(testing is False)
    QtGui.QGuiApplication.setApplicationDisplayName("Slicer")
    _booted = slicer
    Leftovers.markBaseline()
    return slicer


def closeScene() -> None:
    """File > Close Scene: StartCloseEvent, EndCloseEvent; singletons such as the views' nodes stay."""
    _booted.mrmlScene.Clear(0)


def quit() -> None:
    """Leave the application: aboutToQuit, then each module's moduleAboutToBeUnloaded, so that cleanup() runs."""
    from .Modules import scriptedModules, unloadModule

    QtCore.QTimer.singleShot(0, QtCore.QCoreApplication.quit)
    EventLoop.execApplication()
    for module in scriptedModules():
        unloadModule(module.name)
    EventLoop.processEvents()
