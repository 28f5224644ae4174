"""One view: Slicer's slice or view logic and displayable managers, VTK's rendering, Slicer's timing.

A change schedules a rendering 1/60 s later; further changes until then are covered by it, and a change that comes when
the time is over renders at once.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy
import slicer
import vtkmodules.vtkRenderingOpenGL2
import vtkmodules.vtkRenderingVolumeOpenGL2  # noqa: F401
from PySide6 import QtCore
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkCommonCore import vtkCommand
from vtkmodules.vtkInteractionStyle import vtkInteractorStyleUser
from vtkmodules.vtkIOImage import vtkPNGWriter
from vtkmodules.vtkRenderingCore import (
    vtkActor2D,
    vtkImageMapper,
    vtkInteractorStyle3D,
    vtkRenderer,
    vtkRenderWindow,
    vtkRenderWindowInteractor,
    vtkWindowToImageFilter,
)

from .EventLoop import sleepWithLock
from .Observers import observe

MAXIMUM_UPDATE_RATE = 60.0  # renderings per second and view

SLICE_MANAGERS = (
    "vtkMRMLVolumeGlyphSliceDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLScalarBarDisplayableManager",
)
THREED_MANAGERS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLThreeDReformatDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLVolumeRenderingDisplayableManager",
)


class View:
    """Base of slice and 3D views. renders counts; extraRenderSeconds slows each rendering on purpose."""

    def __init__(
        self, name: str, factory: Any, managers: tuple[str, ...], window: Any = None, interactor: Any = None
    ) -> None:
        self.name = name
        self.renders, self.extraRenderSeconds = 0, 0.0
        self.painted: list[Any] = []  # called after each rendering, when updates are enabled
        self._paused, self._scheduledAt = 0, 0.0
        self._updatesEnabled, self._unpainted = True, False
        self._timer = QtCore.QTimer()
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._onTimer)
        self.renderer = vtkRenderer()
        self.window = window or vtkRenderWindow()
        self.window.SetMultiSamples(0)  # a slice renders in 20 instead of 33 ms with software OpenGL
        if window is None:
            self.window.SetOffScreenRendering(1)
            self.window.SetSize(320, 320)
        self.window.AddRenderer(self.renderer)
        # Between the StartEvent and EndEvent of the window, as in a view that is slow.
        observe(self.renderer, vtkCommand.EndEvent, lambda *_: sleepWithLock(self.extraRenderSeconds))
        self.interactor = interactor or vtkRenderWindowInteractor()
        if interactor is None:
            self.interactor.SetRenderWindow(self.window)
            self.interactor.Initialize()
        # Managers render through the interactor; as in Slicer this only schedules.
        self.interactor.SetEnableRender(False)
        observe(self.interactor, vtkCommand.RenderEvent, lambda *_: self.scheduleRender())
        shared = factory.GetInstance()
        for manager in managers:
            if not shared.IsDisplayableManagerRegistered(manager):
                shared.RegisterDisplayableManager(manager)
        self.group = slicer.vtkMRMLDisplayableManagerGroup()
        self.group.SetRenderer(self.renderer)
        observe(self.group, vtkCommand.UpdateEvent, lambda *_: self.scheduleRender())
        self._enabled = not slicer.mrmlScene.IsBatchProcessing()
        observe(slicer.mrmlScene, slicer.mrmlScene.StartBatchProcessEvent, lambda *_: self._enable(False))
        # After all that changes at the end: a view drawn in between would show parts of the old scene.
        observe(slicer.mrmlScene, slicer.mrmlScene.EndBatchProcessEvent, lambda *_: self._enable(True), priority=-1.0)
        self.group.Initialize(shared, self.renderer)

    def scheduleRender(self) -> None:
        if not self._enabled:
            return
        wait = 1.0 / MAXIMUM_UPDATE_RATE
        if not self._scheduledAt:
            self._scheduledAt = time.monotonic()
            self._timer.start(int(wait * 1000))
        elif time.monotonic() - self._scheduledAt > wait:
            self._renderUnlessPaused()  # the loop was busy: keep the rate

    def _enable(self, enabled: bool) -> None:
        # As qMRMLSliceView does: a scene that is half closed or half loaded is not drawn.
        self._enabled = enabled
        self._timer.stop()
        self._scheduledAt = 0.0
        self.scheduleRender()

    def _onTimer(self) -> None:
        if self._scheduledAt:
            self._renderUnlessPaused()

    def _renderUnlessPaused(self) -> None:
        if not self._paused:
            self.forceRender()

    def forceRender(self) -> None:
        """Render now."""
        self._timer.stop()
        self._scheduledAt = 0.0
        self.window.Render()
        self.renders += 1
        self._unpainted = True
        self.updatesEnabled = self._updatesEnabled

    @property
    def updatesEnabled(self) -> bool:
        """As of a QWidget: False keeps the picture on the screen, and the last rendering is painted when True again."""
        return self._updatesEnabled

    @updatesEnabled.setter
    def updatesEnabled(self, enabled: bool) -> None:
        self._updatesEnabled = enabled
        if enabled and self._unpainted:
            self._unpainted = False
            for function in self.painted:
                function()

    def renderIfNeeded(self) -> bool:
        """Render now if something changed since the last rendering."""
        if not self._scheduledAt or self._paused:
            return False
        self.forceRender()
        return True

    def pauseRender(self) -> int:
        self._paused += 1
        return self._paused

    def resumeRender(self) -> int:
        self._paused = max(0, self._paused - 1)
        if not self._paused and self._scheduledAt:
            self.scheduleRender()
        return self._paused

    def isRenderPaused(self) -> bool:
        return self._paused > 0

    def renderWindow(self) -> Any:
        return self.window

    def _image(self) -> vtkWindowToImageFilter:
        image = vtkWindowToImageFilter()
        image.SetInput(self.window)
        image.ReadFrontBufferOff()
        image.ShouldRerenderOff()
        return image

    def pixels(self) -> numpy.ndarray[Any, Any]:
        """Return the last rendering: height x width x 3, the top row first."""
        image = self._image()
        image.Update()
        width, height, _ = image.GetOutput().GetDimensions()
        flat = vtk_to_numpy(image.GetOutput().GetPointData().GetScalars())
        return flat.reshape(height, width, -1)[::-1]

    def savePNG(self, path: str) -> None:
        self.forceRender()
        writer = vtkPNGWriter()
        writer.SetFileName(path)
        writer.SetInputConnection(self._image().GetOutputPort())
        writer.Write()

    def setSize(self, width: int, height: int) -> None:
        self.window.SetSize(max(1, width), max(1, height))
        self.resized()

    def resized(self) -> None:
        self.scheduleRender()

    def hide(self) -> None:
        """No renderings until shown again. As in Slicer a view lives as long as the application."""
        self.pauseRender()
        self._timer.stop()
        self._scheduledAt = 0.0
        self.painted.clear()

    def show(self) -> None:
        """As new, after hide()."""
        self.renders, self.extraRenderSeconds, self._paused = 0, 0.0, 0
        self.updatesEnabled = True
        self.scheduleRender()


class SliceView(View):
    """sliceWidget(name) and its sliceView() in one."""

    def __init__(self, name: str, orientation: str, color: tuple[float, float, float], **window: Any) -> None:
        super().__init__(name, slicer.vtkMRMLSliceViewDisplayableManagerFactory, SLICE_MANAGERS, **window)
        self._orientation = orientation
        self.renderer.GetActiveCamera().ParallelProjectionOn()
        overlay = vtkRenderer()
        overlay.GetActiveCamera().ParallelProjectionOn()
        overlay.SetLayer(1)
        self.window.SetNumberOfLayers(2)
        self.window.AddRenderer(overlay)
        mapper = vtkImageMapper()
        mapper.SetColorWindow(255)
        mapper.SetColorLevel(127.5)
        self.actor = vtkActor2D()
        self.actor.SetMapper(mapper)
        self.actor.GetProperty().SetDisplayLocationToBackground()
        self.actor.VisibilityOff()
        self._connection: Any = None
        self.renderer.AddViewProp(self.actor)
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        observe(self.logic, vtkCommand.ModifiedEvent, self._onLogicModified)
        slicer.app.applicationLogic().GetSliceLogics().AddItem(self.logic)
        self.logic.SetMRMLScene(slicer.mrmlScene)
        existing = slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLSliceNode")
        if existing:  # of a layout
            self.logic.SetSliceNode(existing)
        self.node = existing or self.logic.AddSliceNode(name)
        self.node.SetOrientation(orientation)
        self.node.SetLayoutColor(*color)
        self.group.SetMRMLDisplayableNode(self.node)
        self.style = slicer.vtkMRMLSliceViewInteractorStyle()
        self.style.SetSliceLogic(self.logic)
        self.style.SetDisplayableManagers(self.group)
        self.interactor.SetInteractorStyle(vtkInteractorStyleUser())
        self.style.SetInteractor(self.interactor)
        self.offsetChanged: Callable[[], None] = lambda: None
        self._offset = self.logic.GetSliceOffset()
        observe(self.node, vtkCommand.ModifiedEvent, self._onNodeModified)
        self.resized()

    def resized(self) -> None:
        self.logic.ResizeSliceNode(*self.window.GetSize())
        self.scheduleRender()

    def _onLogicModified(self, *_event: Any) -> None:
        connection = self.logic.GetImageDataConnection()
        if connection is not self._connection:
            self._connection = connection
            self.actor.GetMapper().SetInputConnection(connection)
            self.actor.SetVisibility(bool(connection))
        self.scheduleRender()

    def _onNodeModified(self, *_event: Any) -> None:
        offset = self.logic.GetSliceOffset()
        if offset != self._offset:
            self._offset = offset
            self.offsetChanged()

    def sliceLogic(self) -> Any:
        return self.logic

    def mrmlSliceNode(self) -> Any:
        return self.node

    def mrmlSliceCompositeNode(self) -> Any:
        return self.logic.GetSliceCompositeNode()

    def sliceView(self) -> "SliceView":
        return self

    def leave(self) -> None:
        """Put the view aside: the application knows its logic no longer. Of the host, not of Slicer."""
        self.hide()
        self.node.SetMappedInLayout(False)
        slicer.app.applicationLogic().GetSliceLogics().RemoveItem(self.logic)

    def enter(self) -> None:
        """Use a new view, or one that was put aside."""
        logics = slicer.app.applicationLogic().GetSliceLogics()
        if not logics.IsItemPresent(self.logic):
            logics.AddItem(self.logic)
        self.window.SetSize(*slicer.app._layout.sliceWidget("Red").window.GetSize())
        self.resized()
        self.show()

    def fitSliceToBackground(self) -> None:
        self.logic.FitSliceToBackground()

    def show(self) -> None:
        self.node.SetOrientation(self._orientation)
        self.logic.SetSliceOffset(0.0)
        self.mrmlSliceCompositeNode().SetBackgroundVolumeID(None)
        self.mrmlSliceCompositeNode().SetForegroundVolumeID(None)
        self.mrmlSliceCompositeNode().SetLabelVolumeID(None)
        super().show()


class ThreeDView(View):
    """threeDWidget(0) and its threeDView() in one."""

    def __init__(self, name: str, **window: Any) -> None:
        super().__init__(name, slicer.vtkMRMLThreeDViewDisplayableManagerFactory, THREED_MANAGERS, **window)
        self.style = slicer.vtkMRMLThreeDViewInteractorStyle()
        self.style.SetDisplayableManagers(self.group)
        self.style.SetInteractor(self.interactor)
        self.interactor.SetInteractorStyle(vtkInteractorStyle3D())
        self.logic = slicer.vtkMRMLViewLogic()
        self.logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        slicer.app.applicationLogic().GetViewLogics().AddItem(self.logic)
        self.logic.SetMRMLScene(slicer.mrmlScene)
        self.node = self.logic.AddViewNode(name)
        self.group.SetMRMLDisplayableNode(self.node)

    def threeDView(self) -> "ThreeDView":
        return self

    def mrmlViewNode(self) -> Any:
        return self.node

    def viewLogic(self) -> Any:
        return self.logic

    def resetFocalPoint(self) -> None:
        self.renderer.ResetCamera()
        self.scheduleRender()
