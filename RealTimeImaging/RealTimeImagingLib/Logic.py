"""All that the module does, for the panel and for Python."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy.typing as npt
import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic
from slicer.util import VTKObservationMixin

from .Host.Broadcast import Broadcasting, BroadcastLogic
from .Host.Callbacks import Callbacks
from .Host.Connector import Connecting
from .Host.Conversions import ConversionControl, ConversionLogic
from .Host.Devices import Control, ControlLogic
from .Host.Drawing import DrawingTimes, DrawingTurns
from .Host.DrawingBudget import DrawingBudget
from .Host.Exports import Exports
from .Host.Installing import install
from .Host.Push import Pushing
from .Host.RecordingControl import GROUP_MAY_READ_KEY, RECORDING_FOLDER_KEY, RecordingLogic
from .Host.Recordings import RecordingControl
from .Host.RunningSource import RunningSource
from .Host.Session import Session
from .Host.SimulatedScanner import SimulatedScanner
from .Link.WorkFolders import sweep
from .Model.Errors import RealTimeImagingError, SettingsError
from .Model.Event import Event
from .Model.Files import setGroupMayRead
from .Model.Frame import Frame, imageOf
from .Model.Packages import checkPackages
from .Model.Settings import SourceSettings
from .Scene.DeviceNodes import DeviceNodes
from .Scene.LiveVolumes import LiveVolumes
from .Scene.RecordedSequences import RecordedSequences
from .Scene.RecordingViews import RecordingViews
from .Scene.Views import Views
from .Sources import settingsFromJSON
from .Sources.Camera import CameraSettings
from .Sources.OpenIGTLink import OpenIGTLinkSettings

SETTINGS_PARAMETER = "Settings"
CAMERA_VIEW = "Red"
"""Where a camera is shown as long as nobody chooses; volumes may be in the other views."""


class RealTimeImagingLogic(
    ScriptedLoadableModuleLogic, VTKObservationMixin, RecordingLogic, ControlLogic, BroadcastLogic, ConversionLogic
):
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
        self.listeners = Callbacks()
        budget = DrawingBudget()
        self.drawingTurns = DrawingTurns(self.volumes.show, self.views.widgets)
        self.session = Session(self.drawingTurns.show, self.listeners, self._changed, budget)
        self.drawingTimes = DrawingTimes(self.views.windows, budget.drawn)
        self.session.display.beforeShowing = self.drawingTimes.look
        self.devices = DeviceNodes(slicer.mrmlScene)
        self.session.messages.show = self.devices.show
        self.control = Control(self._sendToDevices, self.listeners, slicer.mrmlScene)
        self.listeners.addMessageCallback(self.control.take)
        self.listeners.addEventCallback(self.control.hear)
        self.broadcasting = Broadcasting(self.session, self._changed)
        self.pushing = Pushing(self.session, self.listeners, self._start)
        self.connecting = Connecting(self._start, self.pushing, self.listeners.report)
        self.sequences = RecordedSequences(slicer.mrmlScene, slicer.modules.sequences.logic())
        self.recordingViews = RecordingViews(
            slicer.mrmlScene, self.views, lambda stream: self.volumes.volume(stream).node, self.session.runningWith
        )
        self.volumes.onShown = self.recordingViews.takeBack
        self.exports = Exports(self.listeners, self._changed)
        self.conversions = ConversionControl(self.listeners, self.loadConvertedOnce, self._changed)
        self.recordings = RecordingControl(
            self.session, self.listeners, self.sequences, self._changed, self.exports.checksums
        )
        self.recordings.onInScene = self.recordingViews.finish
        if slicer.app.userSettings().value(GROUP_MAY_READ_KEY) is not None:
            setGroupMayRead(slicer.util.toBool(slicer.app.userSettings().value(GROUP_MAY_READ_KEY)))
        self.recordings.repairIn = self.exports.repair
        self.recordings.repairFolder = slicer.app.userSettings().value(RECORDING_FOLDER_KEY, "") or ""
        self._observers: list[Callable[[], None]] = []
        self._scanners: list[tuple[SimulatedScanner, RunningSource]] = []
        self._lastStarted: object = None
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self._sceneCloses)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self._sceneImported)
        slicer.app.connect("aboutToQuit()", self.close)
        for folder in sweep():
            logging.info("Removed %s, left behind by a process that has ended", folder)

    # ---- sources

    def start(self, settings: SourceSettings) -> RunningSource:
        """Start a source and return its handle; images are shown while Slicer's event loop runs.

        :raises SettingsError: settings that cannot work, or a stream of this name runs already.
        :raises MissingPackageError: see :meth:`installPackages`.
        """
        # Settings that were made before a reload of the module are of classes that are no longer ours.
        settings = settingsFromJSON(settings.toJSON())
        if isinstance(settings, OpenIGTLinkSettings) and settings.engine == "connector":
            handle = self.connecting.start(settings, self.stop)
        else:
            checkPackages(settings.packages)
            handle = self._start(settings)
        self.getParameterNode().SetParameter(SETTINGS_PARAMETER, json.dumps(settings.withoutSecrets().toJSON()))
        return handle

    def _start(self, settings: SourceSettings, started: object = None) -> RunningSource:
        # Each simulated scanner has another folder and the same images.
        started = started or settings
        self.recordings.checkSource(settings)
        self.pushing.check(settings)
        handle = self.session.start(settings)
        self.pushing.adopt(handle)
        if len(self.session.handles) == 1:
            self.volumes.prepare(started != self._lastStarted)
            self.devices.prepare()
        suggested = CAMERA_VIEW if isinstance(settings, CameraSettings) and CAMERA_VIEW in self.views.names() else ""
        self.volumes.suggest(getattr(settings, "stream", ""), suggested)
        self._lastStarted = started
        return handle

    def installPackages(self, requirements: Sequence[str]) -> None:
        """Ask the user, and install what a :class:`MissingPackageError` names into Slicer's Python. It takes a while.

        :raises MissingPackageError: one that a source cannot do without was not installed; the message says what to do.
        """
        install(requirements)

    def startSimulatedScanner(self, source: str = "", fps: float = 10.0) -> RunningSource:
        """Start a simulated scanner that sends to a temporary folder, and show what comes.

        :param source: file or folder of images to send again and again; empty for a small beating phantom.
        :param fps: images each second.
        :raises RealTimeImagingError: as :meth:`start`.
        """
        scanner = SimulatedScanner(source, fps, self._scannerFailed)
        try:
            handle = self._start(scanner.settings, ("simulated scanner", source))
            scanner.start()
        except RealTimeImagingError:
            scanner.close()
            raise
        self._scanners.append((scanner, handle))
        return handle

    def isSimulated(self, handle: RunningSource) -> bool:
        """True for a source that shows the images of a simulated scanner."""
        return any(shown is handle for _, shown in self._scanners)

    def stop(self, handle: RunningSource | None = None) -> None:
        """Stop one source or all. The last frames and the final counts follow within two seconds.

        What was pushed before is delivered first, however long that takes as long as it goes on.
        """
        self.connecting.stop(handle)
        running = [handle] if handle else self.session.running()
        for one in sorted(running, key=lambda one: one.feed is not None):
            if not self.pushing.stop(one):
                self.session.stop(one)
        for scanner, shown in self._scanners:
            if handle in (None, shown):
                scanner.end()

    def close(self) -> None:
        """Stop everything and wait for its end; the logic is not used afterwards."""
        slicer.app.disconnect("aboutToQuit()", self.close)
        self.removeObservers()
        self.control.close()
        self.connecting.stop()
        self.pushing.deliver()
        self.session.dispose()
        self._changed()
        self.drawingTimes.close()
        self.drawingTurns.close()
        self.recordingViews.forget()
        self.pushing.close()
        self.recordings.close()
        self.exports.close()
        self.conversions.close()

    def push(
        self,
        array: npt.ArrayLike,
        ijkToRAS: Any = None,
        time: float | None = None,
        name: str = "Live",
        *,
        attributes: Mapping[str, str] | None = None,
        colour: bool | None = None,
        wait: float = 0.0,
    ) -> None:
        """Make an array the next frame of a stream, which is shown, counted and recorded as any other.

        The first push starts a source for it, which :meth:`stop` stops; after that a push starts it again. The array is
        copied and may change at once. When the frame is not taken, an error says so; otherwise it is received.

        :param array: (rows, columns), (slices, rows, columns), or one of these with 3 or 4 colour components behind; of
            any type that Slicer can show exactly.
        :param ijkToRAS: 4x4 array or vtkMatrix4x4, voxel index (i, j, k) to millimetres in RAS. None: the identity for
            a volume; a picture lies in the axial plane, centred, with pixels of 1 mm.
        :param time: when it was acquired, seconds since the epoch, UTC; None when only the time of the push is known.
        :param name: the stream, which has a live volume of its own.
        :param attributes: names with letters, digits and ``_ . -`` only, to text; they travel with the frame.
        :param colour: whether the last axis is colour. None: for four axes, and for three of which the last is 3 or 4
            and the type uint8.
        :param wait: seconds to wait for room when too many frames wait (Feed.QUEUE_FRAMES, QUEUE_BYTES), as in a loop
            that gives Slicer's event loop no turn.
        :raises FrameError: an array, matrix, time or attribute that cannot be a frame's.
        :raises SettingsError: another running source has a stream of this name.
        :raises PushError: too many frames wait.
        """
        self.pushing.push(imageOf(array, ijkToRAS, time, colour, attributes), name, wait)

    def isRunning(self) -> bool:
        """True while a source runs or is about to end."""
        return bool(self.session.running())

    # ---- what comes

    def addFrameCallback(
        self, callback: Callable[[Frame], object], stream: str | None = None, every: bool = False
    ) -> None:
        """Call with every frame that is shown; ``frame.pixels`` is read-only and valid during the call.

        An array that it returns is pushed as a frame of the stream "<stream> <name of the function>", in the place of
        the frame where the size agrees, with its device time and attributes. Streams that callbacks make come only to
        callbacks that name them here, and never to those that made them. How long each takes is in
        ``statistics()["callbackMs"]``; the event "callback-slow" says when it is too long.

        :param stream: only frames of this stream.
        :param every: True also calls with frames that arrive in Slicer and are not shown, because drawing takes too
            long. While the window is blocked, a source keeps its newest frames and skips older ones.
        """
        self.listeners.frameCallbacks.add(callback, stream, every)

    def removeFrameCallback(self, callback: Callable[[Frame], object]) -> None:
        """Do not call it any more."""
        self.listeners.frameCallbacks.remove(callback)

    def addEventCallback(self, callback: Callable[[Event], None]) -> None:
        """Call with every event: what was rejected and why, what was lost, what came back."""
        self.listeners.addEventCallback(callback)

    def removeEventCallback(self, callback: Callable[[Event], None]) -> None:
        """Do not call it any more."""
        self.listeners.removeEventCallback(callback)

    def sources(self) -> list[RunningSource]:
        """The sources that count in the statistics: those that run, and those stopped since the first was started."""
        return self.session.handles

    def events(self) -> list[Event]:
        """What happened of late beside images, the latest last."""
        return list(self.listeners.events)

    def statistics(self) -> dict[str, Any]:
        """Counts (received, shown, skipped, recorded, rejected, failed), fps, latencyMs, mainThreadMs, messages,
        callbackMs, lastEvent."""
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
        self.pushing.changed()
        self.recordings.changed()
        self.recordingViews.update()
        self.connecting.changed()
        # A scanner's folder goes after the source that looks at it.
        for pair in [pair for pair in self._scanners if pair[1].ended]:
            self._scanners.remove(pair)
            pair[0].close()
        for observer in list(self._observers):
            observer()

    def _sceneCloses(self, caller: Any = None, event: Any = None) -> None:
        self.control.forget()
        self.connecting.stop()
        self.pushing.deliver()
        self.session.close(written=False)
        self.recordings.forget()
        self.recordingViews.forget()
        self.exports.forget()
        self.conversions.forget()
        self.volumes.forget()
        self.devices.forget()
        self._changed()

    def _sceneImported(self, caller: Any = None, event: Any = None) -> None:
        self.volumes.lookAgain()

    def _scannerFailed(self, words: str) -> None:
        self.listeners.report(Event("simulator-failed", words, "error"))
