"""All that the module does, for the panel and for Python."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic
from slicer.util import VTKObservationMixin

from .Acquisition.WorkFolders import sweep
from .Errors import RealTimeImagingError, SettingsError
from .Event import Event
from .Export.Job import ExportJob
from .Exports import Exports
from .Frame import ATTRIBUTE_NAME, Frame
from .Handle import Handle
from .Listeners import Listeners
from .Metadata import TEMPLATES, loadTemplates, saveTemplate
from .Recording import checkAttributes
from .Recordings import KEPT_BYTES, Recordings
from .Scene.LiveVolume import STREAM_ATTRIBUTE, arrayOf, ijkToRASOf
from .Scene.LiveVolumes import LiveVolumes
from .Scene.RecordedSequences import RecordedSequences
from .Scene.Views import Views
from .Session import Session
from .Settings import SourceSettings, settingsFromJSON
from .Simulator.SimulatedScanner import SimulatedScanner

SETTINGS_PARAMETER = "Settings"
METADATA_PARAMETER = "Metadata"
RECORDING_FOLDER_KEY = "RealTimeImaging/RecordingFolder"


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
        self.listeners = Listeners()
        self.session = Session(self.volumes.show, self.listeners, self._changed)
        self.sequences = RecordedSequences(slicer.mrmlScene, slicer.modules.sequences.logic())
        self.exports = Exports(self.listeners, self._changed)
        self.recordings = Recordings(
            self.session, self.listeners, self.sequences, self._changed, self.exports.checksums
        )
        self.recordings.repairFolder = slicer.app.userSettings().value(RECORDING_FOLDER_KEY, "") or ""
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
        # Settings that were made before a reload of the module are of classes that are no longer ours.
        settings = settingsFromJSON(settings.toJSON())
        handle = self._start(settings)
        self.getParameterNode().SetParameter(SETTINGS_PARAMETER, json.dumps(settings.toJSON()))
        return handle

    def _start(self, settings: SourceSettings) -> Handle:
        self.recordings.checkSource(settings)
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
        self.recordings.close()
        self.exports.close()

    def isRunning(self) -> bool:
        """True while a source runs or is about to end."""
        return bool(self.session.running())

    # ---- recording

    def startRecording(
        self, folder: str, attributes: Mapping[str, str] | None = None, name: str = "", kept: bool = False
    ) -> str:
        """Store every frame of all sources, before it is shown, until :meth:`stopRecording`; returns the name.

        Called before :meth:`start`, it records from the first frame.

        :param folder: where the files go; it is made when missing. Nothing that is there is overwritten.
        :param attributes: written into the recording beside :meth:`metadata`, whose values they replace; names have
            letters, digits and ``_ . -`` only.
        :param name: what the files' names begin with; empty for the date and time.
        :param kept: begin with the frames that :meth:`keepLast` has in memory.
        :raises SettingsError: no folder, or one below a folder in which images are expected.
        :raises RecordingError: an attribute name or value that a file cannot keep.
        """
        name = self.recordings.start(folder, {**self.metadata(), **(attributes or {})}, name, kept)
        slicer.app.userSettings().setValue(RECORDING_FOLDER_KEY, self.recordings.repairFolder)
        return name

    def stopRecording(self) -> Any:
        """End the recording; returns its sequence browser node, None when nothing is being recorded.

        The browser is filled as soon as the files are closed, in small pieces; the frames stay in the files.
        """
        return self.recordings.stop()

    def isRecording(self) -> bool:
        """True while what comes is stored."""
        return self.recordings.active

    def recordingStatus(self) -> dict[str, Any]:
        """``active``, ``name``, ``seconds``, ``bytes``, ``free``, ``kept``, ``built``: see :class:`Recordings`."""
        return self.recordings.status()

    def keepLast(self, seconds: float, limit: int = KEPT_BYTES) -> None:
        """Keep the last frames in memory, for :meth:`saveLast` and ``startRecording(kept=True)``; 0 keeps nothing.

        :param limit: most bytes for each source.
        :raises SettingsError: a number that cannot work.
        """
        self.recordings.keepLast(seconds, limit)

    def saveLast(self, folder: str, attributes: Mapping[str, str] | None = None, name: str = "") -> Any:
        """Save what :meth:`keepLast` has in memory as a recording; returns its sequence browser node.

        :raises SettingsError: as :meth:`startRecording`, or a recording is under way.
        """
        if self.isRecording():
            raise SettingsError("What comes is being recorded already.")
        self.startRecording(folder, attributes, name, kept=True)
        return self.stopRecording()

    # ---- details that travel with the images

    def metadata(self) -> dict[str, str]:
        """The details that are written into every recording and saved image; kept with the scene."""
        node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        text = node.GetParameter(METADATA_PARAMETER) if node else ""
        return dict(json.loads(text)) if text else {}

    def setMetadata(self, metadata: Mapping[str, str]) -> None:
        """Set the details.

        :raises RecordingError: a name or value that a file cannot keep.
        """
        checkAttributes(metadata)
        self.getParameterNode().SetParameter(METADATA_PARAMETER, json.dumps(dict(metadata)))

    def metadataTemplates(self) -> dict[str, dict[str, str]]:
        """Names and values to begin with, by the template's name: the module's and the lab's own."""
        return loadTemplates([TEMPLATES, self._ownTemplates()])

    def saveMetadataTemplate(self, name: str) -> str:
        """Save the details as a template of this name; returns its file.

        :raises SettingsError: no name, or the file cannot be written.
        """
        return saveTemplate(self._ownTemplates(), name, self.metadata())

    def _ownTemplates(self) -> str:
        settings = slicer.app.userSettings().fileName()
        return os.path.join(os.path.dirname(settings), "RealTimeImaging", "Templates")

    # ---- saving

    def saveSnapshot(self, folder: str, stream: str | None = None, attributes: Mapping[str, str] | None = None) -> None:
        """Save the image of one live volume, or of all, as it is now: NRRD with the details and what is known of it.

        It is written and compared in another process; the event "saved" names the file.

        :param folder: it is made when missing. Nothing that is there is overwritten.
        :param attributes: beside :meth:`metadata`.
        :raises RealTimeImagingError: no image, no folder, or a name that a file cannot keep.
        """
        saved = 0
        for name in [stream] if stream else self.session.streams():
            node = self.liveVolumeNode(name)
            pixels = None if node is None else arrayOf(node)
            if pixels is None:
                continue
            known = {key: node.GetAttribute(key) for key in node.GetAttributeNames() if ATTRIBUTE_NAME.fullmatch(key)}
            known.pop(STREAM_ATTRIBUTE, None)
            matrix = slicer.util.arrayFromVTKMatrix(ijkToRASOf(node))
            details = {**self.metadata(), **(attributes or {}), **known}
            self.exports.snapshot(str(folder), name, pixels, matrix, details)
            saved += 1
        if not saved:
            raise SettingsError("No image has come yet that could be saved.")

    def recordingsInScene(self) -> dict[str, list[str]]:
        """The recordings in the scene: name with stream to the paths of their headers, to export or replay."""
        return self.sequences.recordings()

    def exportRecording(self, job: ExportJob) -> None:
        """Write a recording, or some of its frames, in another format; the event "saved" names what was written.

        :raises RealTimeImagingError: the export cannot be started.
        """
        self.exports.export(job)

    def framesOfRecording(self, name: str) -> int:
        """How many frames a recording in the scene has; 0 when it is unknown."""
        return self.sequences.framesOf(name)

    def exportStatus(self) -> dict[str, Any]:
        """``running``, ``progress`` from 0 to 1, ``words``, ``failed``: of the export that told last."""
        return self.exports.status()

    def cancelExport(self) -> None:
        """Stop what is being saved; nothing is left of it."""
        self.exports.cancel()

    # ---- what comes

    def addFrameCallback(self, callback: Callable[[Frame], None]) -> None:
        """Call with every frame that is shown; ``frame.pixels`` is read-only and valid during the call."""
        self.listeners.addFrameCallback(callback)

    def removeFrameCallback(self, callback: Callable[[Frame], None]) -> None:
        """Do not call it any more."""
        self.listeners.removeFrameCallback(callback)

    def addEventCallback(self, callback: Callable[[Event], None]) -> None:
        """Call with every event: what was rejected and why, what was lost, what came back."""
        self.listeners.addEventCallback(callback)

    def removeEventCallback(self, callback: Callable[[Event], None]) -> None:
        """Do not call it any more."""
        self.listeners.removeEventCallback(callback)

    def sources(self) -> list[Handle]:
        """The sources that count in the statistics: those that run, and those stopped since the first was started."""
        return self.session.handles

    def events(self) -> list[Event]:
        """What happened of late beside images, the latest last."""
        return list(self.listeners.events)

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
        self.recordings.changed()
        # A scanner's folder goes after the source that looks at it.
        for pair in [pair for pair in self._scanners if pair[1].ended]:
            self._scanners.remove(pair)
            pair[0].close()
        for observer in list(self._observers):
            observer()

    def _sceneCloses(self, caller: Any = None, event: Any = None) -> None:
        self.session.close()
        self.recordings.forget()
        self.exports.close()
        self.volumes.forget()
        self._changed()

    def _scannerFailed(self, words: str) -> None:
        self.listeners.report(Event("simulator-failed", words, "error"))
