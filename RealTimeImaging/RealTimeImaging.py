"""Real-Time Imaging: images from a scanner, another program or another computer are live in Slicer's views.

Module, widget, logic and test, as Slicer loads them. RealTimeImagingLib does the work.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

import slicer
import vtk
from RealTimeImagingLib.Host.Samples import registerSamples
from RealTimeImagingLib.Logic import RealTimeImagingLogic
from RealTimeImagingLib.Panel import Panel
from RealTimeImagingLib.Sources.Kinds import otherModules
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

PAGE = "https://github.com/RealTimeImaging/SlicerRealTimeImaging#readme"

SECTIONS = (
    "Source",
    "Options",
    "Status",
    "Live",
    "Processing",
    "Signals",
    "Devices",
    "Broadcast",
    "Record",
    "Recordings",
    "Metadata",
    "Convert",
)
"""Sections of the panel from top to bottom; each has a file in Resources/UI."""


class RealTimeImaging(ScriptedLoadableModule):
    """Title, category, help and acknowledgements of the module."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Real-Time Imaging")
        parent.categories = [translate("qSlicerAbstractCoreModule", "IGT")]
        parent.dependencies = []
        parent.contributors = ["The developers (RealTimeImaging)"]
        parent.helpText = _(
            "Shows images live while they arrive: from a folder of images, OpenIGTLink devices, programs that post "
            "over HTTP, cameras and videos, DICOM senders, MRI scanners over MRD (ISMRMRD), Python code, or a "
            "recording. Choose the source and press Start. The newest image is in the slice views, in one volume. "
            "Images are received in another process, and Slicer never freezes. An event names each image that cannot "
            'be shown, with the reason.<p><a href="{page}">Documentation and tutorials</a></p>'
        ).format(page=PAGE)
        parent.acknowledgementText = _(
            "Developed in response to questions on the Slicer forum about images that arrive in real time."
        )
        # The Sample Data module is loaded by then.
        slicer.app.connect("startupCompleted()", registerSamples)


class RealTimeImagingWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Connects the panel with the logic. Leaving the module does not stop the images."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: Any = None
        self.panel: Any = None
        self._ui: Any = None

    def setup(self) -> None:
        """Load the panel and make the logic that slicer.util.getModuleLogic returns."""
        ScriptedLoadableModuleWidget.setup(self)
        self._ui = slicer.util.loadUI(self.resourcePath("UI/RealTimeImaging.ui"))
        rows = self._ui.layout()
        for section in SECTIONS:
            # A spacer stays last.
            rows.insertWidget(rows.count() - 1, slicer.util.loadUI(self.resourcePath(f"UI/{section}Section.ui")))
        self.layout.addWidget(self._ui)
        self._ui.setMRMLScene(slicer.mrmlScene)
        self.logic = RealTimeImagingLogic()
        self.panel = Panel(slicer.util.childWidgetVariables(self._ui), self.logic)
        for event in (slicer.mrmlScene.EndCloseEvent, slicer.mrmlScene.EndImportEvent):
            self.addObserver(slicer.mrmlScene, event, self.onSceneChanged)

    def enter(self) -> None:
        """Show the state in the panel, no longer in the status bar."""
        if self.panel:
            self.panel.refreshNow()

    def exit(self) -> None:
        """Show recording and alarms in Slicer's status bar, while another module is open."""
        if self.panel:
            self.panel.refreshNow()

    def onSceneChanged(self, caller: Any = None, event: Any = None) -> None:
        """Show the settings of the scene that was loaded."""
        self.panel.showScene()

    def onReload(self) -> None:
        """Reload the library too, and the modules that registered sources: Slicer by itself reloads this file only."""
        others = otherModules()
        for name in [name for name in sys.modules if name.split(".")[0] == "RealTimeImagingLib"]:
            del sys.modules[name]
        for name in others:
            importlib.reload(sys.modules[name])
        ScriptedLoadableModuleWidget.onReload(self)

    def cleanup(self) -> None:
        """Stop everything, at reload and at application exit."""
        self.removeObservers()
        if self.panel:
            self.panel.close()
        if self.logic:
            self.logic.close()
        if self._ui:
            # At reload Slicer only hides the old widgets, which would go on observing every node.
            self._ui.setMRMLScene(None)
            self._ui.deleteLater()
        self.panel = self.logic = self._ui = None


class RealTimeImagingTest(ScriptedLoadableModuleTest):
    """Test inside Slicer: the images of a simulated scanner arrive in the live volume."""

    def setUp(self) -> None:
        """Start from an empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        """Run all tests."""
        self.setUp()
        self.test_simulatedScannerIsLive()
        self.setUp()
        self.test_sceneCloseStops()

    def test_simulatedScannerIsLive(self) -> None:
        """Ten frames arrive in one node, and all are counted."""
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
        """Closing the scene stops the source."""
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
