"""Real-time imaging: images arriving from a scanner, another program or another computer are live in Slicer's views.

The work is done in RealTimeImagingLib; this file tells Slicer of the module, its panel, its logic and its test.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from typing import Any

import slicer
import vtk
from RealTimeImagingLib.Acquisition.WorkFolders import sweep
from RealTimeImagingLib.Errors import RealTimeImagingError, SettingsError
from RealTimeImagingLib.Event import Event
from RealTimeImagingLib.Frame import Frame
from RealTimeImagingLib.Panel import Panel
from RealTimeImagingLib.Scene.LiveVolumes import LiveVolumes
from RealTimeImagingLib.Scene.Views import Views
from RealTimeImagingLib.Session import Handle, Session
from RealTimeImagingLib.Settings import SourceSettings, settingsFromJSON
from RealTimeImagingLib.Simulator.SimulatedScanner import SimulatedScanner
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

SETTINGS_PARAMETER = "Settings"


class RealTimeImaging(ScriptedLoadableModule):
    """What Slicer's module factory and Extensions Manager show."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Real-Time Imaging")
        parent.categories = [translate("qSlicerAbstractCoreModule", "IGT")]
        parent.dependencies = []
        parent.contributors = ["The RealTimeImaging developers"]
        parent.helpText = _(
            "Shows images live while a scanner or another program writes them into a folder. Choose the folder and "
            "press Start; the newest image is in the slice views, in one volume that stays. Files are read in another "
            "process, so that Slicer's window never waits. Half-written files are shown when they are whole, and every "
            "file that cannot be shown is named with the reason."
        )
        parent.acknowledgementText = _(
            "The questions of the 3D Slicer community about images that arrive in real time made this module."
        )


class RealTimeImagingWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Connects the panel with the logic. Leaving the module does not stop the images."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: Any = None
        self.panel: Any = None

    def setup(self) -> None:
        """Load the panel and make the logic that the console gets from slicer.util.getModuleLogic."""
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/RealTimeImaging.ui"))
        self.layout.addWidget(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = RealTimeImagingLogic()
        self.panel = Panel(slicer.util.childWidgetVariables(uiWidget), self.logic)
        for event in (slicer.mrmlScene.EndCloseEvent, slicer.mrmlScene.EndImportEvent):
            self.addObserver(slicer.mrmlScene, event, self.onSceneChanged)

    def onSceneChanged(self, caller: Any = None, event: Any = None) -> None:
        """Another scene brings the settings it was saved with."""
        self.panel.showSettings(self.logic.sceneSettings())

    def onReload(self) -> None:
        """Reload the library too: Slicer by itself reloads this file only."""
        for name in [name for name in sys.modules if name.split(".")[0] == "RealTimeImagingLib"]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def cleanup(self) -> None:
        """Stop everything; called at reload and at application exit."""
        self.removeObservers()
        if self.panel:
            self.panel.close()
        if self.logic:
            self.logic.close()


class RealTimeImagingLogic(ScriptedLoadableModuleLogic, VTKObservationMixin):
    """All that the module does, for the panel and for Python.

    >>> logic = slicer.util.getModuleLogic("RealTimeImaging")
    >>> logic.start(FolderSettings(folder="/data/incoming", pattern="*.nii*"))
    >>> logic.stop()
    """

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        VTKObservationMixin.__init__(self)
        self.views = Views(slicer.app.applicationLogic())
        self.volumes = LiveVolumes(slicer.mrmlScene, self.views)
        self.session = Session(self.volumes.show, self._changed)
        self._observers: list[Callable[[], None]] = []
        self._scanners: list[tuple[SimulatedScanner, Handle]] = []
        self._lastSettings: SourceSettings | None = None
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self._sceneCloses)
        slicer.app.connect("aboutToQuit()", self.close)
        for folder in sweep():
            logging.info("Removed %s, left behind by a process that has ended", folder)

    # ---- sources

    def start(self, settings: SourceSettings) -> Handle:
        """Start a source and return its handle; images are shown while Slicer's event loop runs.

        :raises SettingsError: settings that cannot work, or a stream of this name runs already.
        """
        handle = self._start(settings)
        self.getParameterNode().SetParameter(SETTINGS_PARAMETER, json.dumps(settings.toJSON()))
        return handle

    def _start(self, settings: SourceSettings) -> Handle:
        handle = self.session.start(settings)
        if len(self.session.handles) == 1:
            self.volumes.prepare(settings != self._lastSettings)
        self._lastSettings = settings
        return handle

    def startSimulatedScanner(self, source: str = "", fps: float = 10.0) -> Handle:
        """Start a simulated scanner that sends to a temporary folder, and show what comes.

        :param source: file or folder of images to send again and again; empty for a small beating phantom.
        :param fps: images each second.
        :raises RealTimeImagingError: as :meth:`start`.
        """
        scanner = SimulatedScanner(source, fps, self._scannerFailed)
        try:
            handle = self._start(scanner.settings)
            scanner.start()
        except RealTimeImagingError:
            scanner.close()
            raise
        self._scanners.append((scanner, handle))
        return handle

    def stop(self, handle: Handle | None = None) -> None:
        """Stop one source or all. The last frames and the final counts follow within two seconds."""
        self.session.stop(handle)
        for scanner, shown in self._scanners:
            if handle in (None, shown):
                scanner.end()

    def close(self) -> None:
        """Stop everything and wait for its end; the logic is not used afterwards."""
        slicer.app.disconnect("aboutToQuit()", self.close)
        self.removeObservers()
        self.session.dispose()
        self._changed()

    def isRunning(self) -> bool:
        """True while a source runs or is about to end."""
        return bool(self.session.running())

    # ---- what comes

    def addFrameCallback(self, callback: Callable[[Frame], None]) -> None:
        """Call with every frame that is shown; ``frame.pixels`` is read-only and valid during the call."""
        self.session.addFrameCallback(callback)

    def removeFrameCallback(self, callback: Callable[[Frame], None]) -> None:
        """Do not call it any more."""
        self.session.removeFrameCallback(callback)

    def addEventCallback(self, callback: Callable[[Event], None]) -> None:
        """Call with every event: what was rejected and why, what was lost, what came back."""
        self.session.addEventCallback(callback)

    def removeEventCallback(self, callback: Callable[[Event], None]) -> None:
        """Do not call it any more."""
        self.session.removeEventCallback(callback)

    def sources(self) -> list[Handle]:
        """The sources that count in the statistics: those that run, and those stopped since the first was started."""
        return self.session.handles

    def events(self) -> list[Event]:
        """What happened of late beside images, the latest last."""
        return list(self.session.events)

    def statistics(self) -> dict[str, Any]:
        """Counts (received, shown, skipped, recorded, rejected, failed), fps, latencyMs, mainThreadMs, lastEvent."""
        return self.session.statistics()

    def liveVolumeNode(self, stream: str = "Live") -> Any:
        """The volume node of a stream, None before its first frame."""
        return self.volumes.volume(stream).node

    # ---- how it is shown

    def viewNames(self) -> list[str]:
        """Names of the slice views, such as Red, Yellow, Green."""
        return self.views.names()

    def showIn(self, stream: str = "Live") -> str:
        """Where a stream is shown: "all", "none" or the name of a slice view."""
        return self.volumes.where(stream)

    def setShowIn(self, where: str, stream: str = "Live") -> None:
        """Show a stream in "all" views, in "none", or in the slice view of this name, such as "Red".

        :raises SettingsError: there is no such view.
        """
        known = ["all", "none", *self.views.names()]
        if where not in known:
            raise SettingsError(f"There is no view {where}; there are {', '.join(known)}.")
        self.volumes.setWhere(stream, where)

    def setWindowLevel(self, stream: str | None = None) -> None:
        """Set window and level of one stream, or all, from the image that is shown now."""
        for name in [stream] if stream else self.session.streams():
            self.volumes.volume(name).setWindow()

    def setWindowLevelAlways(self, always: bool) -> None:
        """Set window and level from every image, or only from the first."""
        self.volumes.setAlways(always)

    # ---- for the panel

    def addChangeObserver(self, observer: Callable[[], None]) -> None:
        """Call when a state or count may have changed."""
        self._observers.append(observer)

    def removeChangeObserver(self, observer: Callable[[], None]) -> None:
        """Do not call it any more."""
        self._observers.remove(observer)

    def sceneSettings(self) -> SourceSettings | None:
        """The settings of the last start in this scene."""
        node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        text = node.GetParameter(SETTINGS_PARAMETER) if node else ""
        try:
            return settingsFromJSON(json.loads(text)) if text else None
        except (SettingsError, ValueError) as error:
            logging.warning("The scene's settings of Real-Time Imaging cannot be used: %s", error)
            return None

    def _changed(self) -> None:
        # A scanner's folder goes after the source that looks at it.
        for pair in [pair for pair in self._scanners if pair[1].ended]:
            self._scanners.remove(pair)
            pair[0].close()
        for observer in list(self._observers):
            observer()

    def _sceneCloses(self, caller: Any = None, event: Any = None) -> None:
        self.session.close()
        self._changed()
        self.volumes.forget()

    def _scannerFailed(self, words: str) -> None:
        self.session.report(Event("simulator-failed", words, "error"))


class RealTimeImagingTest(ScriptedLoadableModuleTest):
    """Runs inside Slicer: the simulated scanner's images arrive in the live volume."""

    def setUp(self) -> None:
        """Start from an empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        """All tests."""
        self.setUp()
        self.test_simulatedScannerIsLive()
        self.setUp()
        self.test_sceneCloseStops()

    def test_simulatedScannerIsLive(self) -> None:
        """Ten frames come, in one node, and every one is counted."""
        logic = RealTimeImagingLogic()
        try:
            shown: list[int] = []
            logic.addFrameCallback(lambda frame: shown.append(int(frame.pixels[0, 0, 0])))
            logic.startSimulatedScanner(fps=20)
            self._wait(lambda: len(shown) >= 10)
            node = logic.liveVolumeNode()
            self.assertEqual(int(slicer.util.arrayFromVolume(node)[0, 0, 0]), shown[-1])
            self.assertEqual(shown, sorted(set(shown)))
            logic.stop()
            self._wait(lambda: not logic.isRunning())
            counts = logic.statistics()
            self.assertEqual(counts["received"], counts["shown"] + counts["skipped"])
            self.assertEqual(counts["rejected"], 0)
        finally:
            logic.close()

    def test_sceneCloseStops(self) -> None:
        """Closing the scene stops the source and leaves no process."""
        logic = RealTimeImagingLogic()
        try:
            logic.startSimulatedScanner(fps=20)
            self._wait(lambda: logic.statistics()["shown"] > 0)
            slicer.mrmlScene.Clear()
            self.assertFalse(logic.isRunning())
        finally:
            logic.close()

    def _wait(self, predicate: Callable[[], bool], seconds: float = 20) -> None:
        timer = vtk.vtkTimerLog()
        timer.StartTimer()
        while not predicate():
            slicer.app.processEvents()
            timer.StopTimer()
            self.assertLess(timer.GetElapsedTime(), seconds)
