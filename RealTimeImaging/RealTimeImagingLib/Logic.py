"""The public API: everything that the module does, for the panel and for Python."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import numpy.typing as npt
import slicer
from slicer.i18n import tr
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic
from slicer.util import VTKObservationMixin

from .Host.BroadcastControl import BroadcastControl
from .Host.Callbacks import Callbacks
from .Host.Connector import IGTLConnectors
from .Host.ConversionControl import ConversionControl
from .Host.DeviceControl import DeviceControl
from .Host.Drawing import DrawingTimes, DrawingTurns
from .Host.DrawingBudget import DrawingBudget
from .Host.ExportControl import ExportControl
from .Host.Installing import install
from .Host.Metadata import Metadata
from .Host.ProcessingControl import ProcessingControl
from .Host.Push import PushControl
from .Host.RecordingControl import RecordingControl
from .Host.RunningSource import RunningSource
from .Host.Session import Session
from .Host.SimulatedScanner import SimulatedScanners
from .Host.StreamWatch import Stall
from .Host.Timing import Timing
from .Link.WorkFolders import sweep
from .Model.DeviceMessage import DeviceMessage
from .Model.Errors import SettingsError
from .Model.Event import Event
from .Model.Files import parsedJSON
from .Model.Frame import Frame, Pixels, imageOf
from .Model.Packages import checkPackages
from .Model.Quantities import durationText
from .Model.Settings import SourceSettings
from .Model.Signal import Signal
from .Model.Text import textsOf
from .Scene.DeviceNodes import DeviceNodes
from .Scene.LiveVolumes import LiveVolumes
from .Scene.RecordedSequences import RecordedSequences
from .Scene.RecordingViews import RecordingViews
from .Scene.SignalPlots import LATENCY, RATE, SignalPlots
from .Scene.Tables import showColumns
from .Scene.Views import Views
from .Sources import kindOf, settingsFromJSON

_ = textsOf(__file__)

SETTINGS_PARAMETER = "Settings"
METADATA_PARAMETER = "Metadata"
LIMITS_PARAMETER = "SignalLimits"


class RealTimeImagingLogic(ScriptedLoadableModuleLogic, VTKObservationMixin):
    """The public API: sources, frames and events here, everything else in the services.

    >>> logic = slicer.util.getModuleLogic("RealTimeImaging")
    >>> logic.start(FolderSettings(folder="/data/incoming", pattern="*.nii*"))
    >>> logic.recording.keepLast(20)
    >>> logic.stop()

    Services: ``recording``, ``metadata``, ``exports``, ``devices``, ``broadcast``, ``conversion``, ``simulator``,
    ``timing``, ``signals``, ``processing``; and ``views`` and ``volumes``, the slice views and the live volumes in
    them.
    """

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        VTKObservationMixin.__init__(self)
        scene = slicer.mrmlScene
        self.changed: Signal[[]] = Signal()
        """Emitted when a state, a count or the last event may have changed."""
        change = self.changed.emit
        self.views = Views(slicer.app.applicationLogic())
        """The slice views."""
        self.volumes = LiveVolumes(scene, self.views)
        """The live volumes: views, layers, arrangement, window and level, colours, 3D, following views, texts."""
        self._callbacks = Callbacks(self._pushArray)
        budget = DrawingBudget()
        nodes = DeviceNodes(scene)
        self._drawingTurns = DrawingTurns(self.volumes.show, self.views.widgets)
        self._drawingTimes = DrawingTimes(self.views.windows, budget.drawn)
        self._session = Session(self._drawingTurns.show, nodes.show, self._callbacks, change, budget)
        showTable = partial(showColumns, scene)
        self.timing = Timing(lambda: self._session.display.stageTimes, showTable)
        """Times of the stages of the latest frames."""
        self.signals = SignalPlots(scene, self._reportLimit, partial(self._setParameter, LIMITS_PARAMETER))
        """Values of each frame over time, and their plot nodes."""
        self._lost: dict[str, tuple[RunningSource | None, int]] = {}
        """Source of each stream, and the number of images that it had lost with the latest image."""
        self.broadcast = BroadcastControl(self._session, change)
        """Rebroadcast of live images over OpenIGTLink."""
        self._pushes = PushControl(self._session, self._callbacks, self._start)
        self._connectors = IGTLConnectors(self._start, self._pushes, self._callbacks.report)
        self.processing = ProcessingControl(
            self._session, self._callbacks, self._start, self.signals.add, showTable, self.signals.columns
        )
        """Functions that run beside the streams, each in a process of its own."""
        self._recordingViews = RecordingViews(
            scene, self.views, lambda stream: self.volumes.volume(stream).node, self._session.runningWith
        )
        self.simulator = SimulatedScanners(self._start, self._callbacks.report)
        """Simulated scanners."""
        self.metadata = Metadata(
            partial(self._parameter, METADATA_PARAMETER), partial(self._setParameter, METADATA_PARAMETER)
        )
        """Names and values that every recording and saved image carries; templates."""
        self.exports = ExportControl(self._callbacks, change, self.volumes.images, self.metadata.get)
        """Single images, and recordings in other formats."""
        sequences = RecordedSequences(scene, slicer.modules.sequences.logic())
        self.recording = RecordingControl(
            self._session, self._callbacks, sequences, self._recordingViews, self.exports, self.metadata, change
        )
        """Recording, the last seconds in memory, recordings in the scene."""
        self.devices = DeviceControl(self._session, self._callbacks, nodes, scene)
        """Device messages, the scan plane, commands."""
        self.conversion = ConversionControl(self._callbacks, change)
        """Conversion of DICOM folders to NRRD."""
        self._lastStarted: object = None
        self._connect()
        for folder in sweep():
            logging.info("Removed %s, left behind by a process that has ended", folder)

    def _connect(self) -> None:
        """Connect the signals of the parts, of the scene and of Slicer."""
        self._session.onStart.connect(self.signals.clear)
        # Of each stream that ever was, a source with its process would stay.
        self._session.onStart.connect(self._lost.clear)
        self._session.watch.changed.connect(self._showStall)
        self._session.display.beforeShowing.connect(self._drawingTimes.look)
        self._session.display.onShown.connect(self._addSignals)
        self.volumes.onShown.connect(self._recordingViews.takeBack)
        parts = self._pushes, self.recording, self._recordingViews, self._connectors, self.simulator, self.processing
        for part in parts:
            self.changed.connect(part.update)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._sceneCloses)
        self.addObserver(scene, scene.EndImportEvent, self._sceneImported)
        slicer.app.connect("aboutToQuit()", self.close)

    # ---- sources

    def start(self, settings: SourceSettings) -> RunningSource:
        """Start a source; its images are shown while Slicer's event loop runs.

        :raises SettingsError: settings that cannot work, or a running source has a stream of this name.
        :raises MissingPackageError: see :meth:`installPackages`.
        """
        # Settings that were made before a reload of the module have classes of the old module.
        settings = settingsFromJSON(settings.toJSON())
        if settings.usesConnector:
            source = self._connectors.start(cast(Any, settings), self.stop)
        else:
            checkPackages((*kindOf(settings).packages, *settings.extraPackages))
            source = self._start(settings)
        self._setParameter(SETTINGS_PARAMETER, json.dumps(settings.withoutSecrets().toJSON()))
        return source

    def _start(self, settings: SourceSettings, images: object = None) -> RunningSource:
        """Start a source.

        :param images: equal for sources of equal images, whose window and level then stay; by default the settings.
        """
        images = images or settings
        self.recording.checkSource(settings)
        self._pushes.check(settings)
        source = self._session.start(settings)
        self._pushes.adopt(source)
        if len(self._session.sources) == 1:
            self.volumes.prepare(images != self._lastStarted)
            self.devices.nodes.prepare()
        preferred = kindOf(settings).preferredView
        self.volumes.suggest(settings.stream, preferred if preferred in self.views.names() else "")
        self._lastStarted = images
        return source

    def installPackages(self, requirements: Sequence[str]) -> None:
        """Ask the user, and install the packages of a :class:`MissingPackageError` into Slicer's Python.

        This takes seconds to minutes.

        :raises MissingPackageError: a required package was not installed; the message says what to do.
        """
        install(requirements)

    def startSimulatedScanner(self, source: str = "", fps: float = 10.0) -> RunningSource:
        """Start a simulated scanner, and a source that shows its images: see ``simulator``."""
        return self.simulator.start(source, fps)

    def stop(self, source: RunningSource | None = None) -> None:
        """Stop one source or all. The last frames and the final counts follow within two seconds.

        Images that were pushed before are delivered first, for as long as this makes progress.
        """
        self._connectors.stop(source)
        running = [source] if source else self._session.running()
        for one in sorted(running, key=lambda one: one.pushSender is not None):
            if not (self._pushes.stop(one) or (source is None and self.processing.follows(one))):
                self._session.stop(one)
        self.simulator.end(source)

    def restart(self, source: RunningSource, **changes: Any) -> RunningSource:
        """Stop a source and start it again with other settings, as the panel's remedies do; return the new source.

        >>> source = logic.restart(source, existing="newest")

        :param changes: new values of settings, by name.
        :raises SettingsError: values that cannot work, with which the source continues; or a simulated scanner.
        :raises MissingPackageError: see :meth:`installPackages`. The source continues.
        """
        if self.simulator.isSimulated(source):
            raise SettingsError(_("A simulated scanner has no other settings. Stop it, and start another source."))
        processor = self.processing.restart(source, changes)
        if processor:
            return processor
        settings = settingsFromJSON({**source.chosenSettings.toJSON(), **changes})
        checkPackages((*kindOf(settings).packages, *settings.extraPackages))
        self.stop(source)
        return self.start(settings)

    def isRunning(self) -> bool:
        """Return True while a source runs or is stopping."""
        return bool(self._session.running())

    def sources(self) -> list[RunningSource]:
        """Return the sources that count in the statistics: all that were started since none was running."""
        return self._session.sources

    def sceneSettings(self) -> SourceSettings | None:
        """Return the settings of the last start in this scene; None when there are none."""
        text = self._parameter(SETTINGS_PARAMETER)
        try:
            return settingsFromJSON(parsedJSON(text)) if text else None
        except (SettingsError, ValueError) as error:
            logging.warning("The scene's settings of Real-Time Imaging cannot be used: %s", error)
            return None

    def close(self) -> None:
        """Stop everything and wait for its end. Do not use the object afterwards."""
        slicer.app.disconnect("aboutToQuit()", self.close)
        self.removeObservers()
        self.devices.close()
        self._connectors.stop()
        self._pushes.deliver()
        self._session.dispose()
        self.changed.emit()
        self._drawingTimes.close()
        self._drawingTurns.close()
        self._recordingViews.forget()
        self.volumes.texts.clear()
        self._pushes.close()
        self.processing.close()
        self.recording.close()
        self.exports.close()
        self.conversion.close()
        self.simulator.close()

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
        """Make an array the next frame of a stream; it is shown, counted and recorded like any other image.

        The first push starts a source, which :meth:`stop` stops; a later push starts it again. The array is copied and
        may change at once. A frame that is not rejected with an error is received.

        :param array: (rows, columns) or (slices, rows, columns), or one of these followed by 3 or 4 colour components;
            of any type that Slicer can show exactly.
        :param ijkToRAS: 4x4 array or vtkMatrix4x4, voxel index (i, j, k) to millimetres in RAS. None: the identity for
            a volume; a picture lies in the axial plane, centred, with pixels of 1 mm.
        :param time: of the acquisition, seconds since the epoch, UTC; None when only the time of the push is known.
        :param name: the stream, which has its own live volume.
        :param attributes: names with letters, digits and ``_ . -`` only, to text; they travel with the frame.
        :param colour: whether the last axis is colour. None: for four axes, and for three of which the last is 3 or 4
            and the type uint8.
        :param wait: most seconds to wait when 64 frames or 512 MB wait for the acquisition process already, as in a
            loop during which Slicer's event loop does not run.
        :raises FrameError: an array, matrix, time or attribute that no frame can have.
        :raises SettingsError: no stream can have this name, or another running source has it.
        :raises PushError: too many frames wait.
        """
        self._pushes.push(imageOf(array, ijkToRAS, time, colour, attributes), name, wait)

    def _pushArray(self, frame: Frame, array: Pixels, name: str) -> None:
        self._pushes.pushArray(frame, array, name)

    def _showStall(self, stream: str, stall: Stall | None) -> None:
        words = ""
        if stall and stall.stalled:
            words = tr("No image for {quiet}").format(quiet=durationText(time.monotonic() - stall.since))
        self.volumes.texts.show(stream, words)

    def _addSignals(self, frame: Frame, latency: float, rate: float) -> None:
        source = self._session.runningWith(frame.stream)
        total = source.rejected + source.failed if source else 0
        before = self._lost.get(frame.stream, (None, 0))
        lost = total - before[1] if before[0] is source else total
        self._lost[frame.stream] = source, total
        self.signals.add(frame.stream, frame.number, frame.time, {LATENCY: latency, RATE: rate}, max(0, lost))

    def _reportLimit(self, event: Event) -> None:
        self._callbacks.report(event)
        self.changed.emit()

    # ---- callbacks, events, counts

    def addFrameCallback(
        self, callback: Callable[[Frame], object], stream: str | None = None, every: bool = False
    ) -> None:
        """Call with every frame that is shown; ``frame.pixels`` is read-only and valid during the call.

        An array that it returns is pushed as a frame of the stream "<stream> <name of the function>". It gets the
        frame's geometry where the size agrees, its device time and attributes. Streams that callbacks make go only to
        callbacks that name them here, and never to their makers. ``statistics()["callbackMs"]`` has the duration of
        each callback; the event "callback-slow" reports when it is too long. A function that is defined again, as by a
        block that is pasted twice, replaces the earlier one of the same ``stream``.

        :param stream: only frames of this stream.
        :param every: True also calls with frames that arrive in Slicer and are not shown because drawing takes too
            long. While Slicer is blocked, a source keeps its newest frames and skips older ones.
        """
        self._callbacks.frameCallbacks.add(callback, stream, every)

    def removeFrameCallback(self, callback: Callable[[Frame], object]) -> None:
        """Stop calling a callback; ignore an unknown one."""
        self._callbacks.frameCallbacks.remove(callback)

    def addEventCallback(self, callback: Callable[[Event], None]) -> None:
        """Call with every event: rejected images and their reasons, losses, connections, results."""
        self._callbacks.addEventCallback(callback)

    def removeEventCallback(self, callback: Callable[[Event], None]) -> None:
        """Stop calling a callback; ignore an unknown one."""
        self._callbacks.removeEventCallback(callback)

    def addMessageCallback(self, callback: Callable[[DeviceMessage], None]) -> None:
        """Call with every device message in order of arrival: positions, points, surfaces, texts, states."""
        self._callbacks.addMessageCallback(callback)

    def removeMessageCallback(self, callback: Callable[[DeviceMessage], None]) -> None:
        """Stop calling a callback; ignore an unknown one."""
        self._callbacks.removeMessageCallback(callback)

    def events(self) -> list[Event]:
        """Return the latest events, the last one last."""
        return list(self._callbacks.events)

    def stalls(self) -> dict[str, Stall]:
        """Return the regular streams whose images stay away, by name."""
        return self._session.watch.stalls

    def statistics(self) -> dict[str, Any]:
        """Return counts (received, shown, skipped, recorded, rejected, failed), fps, latencyMs, mainThreadMs, messages,
        callbackMs, lastEvent, streams: see :meth:`Session.statistics`; and processing:
        :meth:`ProcessingControl.statistics`."""
        return {**self._session.statistics(), "processing": self.processing.statistics()}

    # ---- display

    def liveVolumeNode(self, stream: str = "Live") -> Any:
        """Return the volume node of a stream, None before its first frame."""
        return self.volumes.volume(stream).node

    def showIn(self, stream: str = "Live") -> str:
        """Return where a stream is shown: "all", "none" or the name of a slice view."""
        return self.volumes.where(stream)

    def setShowIn(self, where: str, stream: str = "Live") -> None:
        """Show a stream in "all" views, in "none", or in the slice view of this name, such as "Red".

        :raises SettingsError: there is no such view.
        """
        self.volumes.setWhere(stream, where)

    # ---- shortcuts

    def startRecording(
        self, folder: str, attributes: Mapping[str, str] | None = None, name: str = "", kept: bool = False
    ) -> str:
        """Record all sources: see :meth:`RecordingControl.start`; return the recording's name."""
        return self.recording.start(folder, attributes, name, kept)

    def stopRecording(self) -> Any:
        """End the recording: see :meth:`RecordingControl.stop`; return its sequence browser node."""
        return self.recording.stop()

    def sendTransform(self, position: Any, device: str | None = None) -> int:
        """Send a position over OpenIGTLink: see :meth:`DeviceControl.sendTransform`; return the number of devices."""
        return self.devices.sendTransform(position, device)

    def sendCommand(self, text: str, device: str | None = None, form: str = "STRING", timeout: float = 5.0) -> int:
        """Send a command over OpenIGTLink: see :meth:`DeviceControl.sendCommand`; return its number."""
        return self.devices.sendCommand(text, device, form, timeout)

    # ---- the scene

    def _parameter(self, name: str) -> str:
        """Return a parameter of the module in the scene, without making a parameter node."""
        node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        return str(node.GetParameter(name)) if node else ""

    def _setParameter(self, name: str, text: str) -> None:
        self.getParameterNode().SetParameter(name, text)

    def _sceneCloses(self, caller: Any = None, event: Any = None) -> None:
        self.devices.forget()
        self._connectors.stop()
        self._pushes.deliver()
        self._session.close(written=False)
        self.simulator.end()
        self.recording.forget()
        self._recordingViews.forget()
        self.exports.forget()
        self.conversion.forget()
        self.volumes.forget()
        self.devices.nodes.forget()
        self.signals.forget()
        self.changed.emit()

    def _sceneImported(self, caller: Any = None, event: Any = None) -> None:
        if text := self._parameter(LIMITS_PARAMETER):
            self.signals.loadLimits(text)
        self.volumes.lookAgain()
