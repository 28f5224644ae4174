"""Recordings, metadata and saving: public API."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import slicer

from ..Export.Job import ExportJob
from ..Model.Errors import RecordingError, SettingsError
from ..Model.Files import setGroupMayRead
from ..Model.Frame import ATTRIBUTE_NAME
from ..Model.Settings import typedPath
from ..Recording import checkAttributes
from ..Scene.LiveVolumes import STREAM_ATTRIBUTE, LiveVolumes, arrayOf, ijkToRASOf
from ..Scene.RecordedSequences import RecordedSequences
from ..Scene.RecordingViews import RecordingViews
from .ChildProcess import LIBRARY
from .Exports import Exports
from .Recordings import KEPT_BYTES, RecordingControl
from .Session import Session

TEMPLATES = os.path.join(os.path.dirname(LIBRARY), "Resources", "Templates")
"""The folder of the module's own templates."""

log = logging.getLogger(__name__)


def loadTemplates(folders: Sequence[str]) -> dict[str, dict[str, str]]:
    """Name of each template to its fields; a file that is no template is named in the log and passed over.

    :param folders: looked through in this order; later ones replace earlier ones of the same name.
    """
    found: dict[str, dict[str, str]] = {}
    for folder in folders:
        for path in sorted(_files(folder)):
            try:
                with open(path, encoding="utf-8") as file:
                    values = json.load(file)
                fields = {str(name): str(value) for name, value in values["fields"].items()}
                checkAttributes(fields)
                found[str(values["name"])] = fields
            except (OSError, ValueError, KeyError, TypeError, AttributeError, RecordingError) as error:
                log.warning("The template %s cannot be used: %s", path, error)
    return found


def saveTemplate(folder: str, name: str, fields: Mapping[str, str]) -> str:
    """Write a template, in place of one of the same name in this folder; returns the file's path.

    :raises SettingsError: an empty name, a field that no file can keep, or a folder that cannot be written.
    """
    name = name.strip()
    safe = "".join(letter if letter.isalnum() or letter in " _-" else "_" for letter in name)
    if not name:
        raise SettingsError("Type a name for the template.")
    try:
        checkAttributes(fields)
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, f"{safe}.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"name": name, "fields": dict(fields)}, file, indent=1, ensure_ascii=False)
    except RecordingError as error:
        raise SettingsError(str(error)) from error
    except OSError as error:
        raise SettingsError(f"The template cannot be saved in {folder}: {error.strerror}.") from error
    return path


def _files(folder: str) -> list[str]:
    try:
        return [os.path.join(folder, name) for name in os.listdir(folder) if name.lower().endswith(".json")]
    except OSError:
        return []


METADATA_PARAMETER = "Metadata"
RECORDING_FOLDER_KEY = "RealTimeImaging/RecordingFolder"
GROUP_MAY_READ_KEY = "RealTimeImaging/GroupMayRead"


class RecordingLogic:
    """One half of :class:`RealTimeImagingLogic`, which makes what it needs."""

    moduleName: str
    session: Session
    volumes: LiveVolumes
    recordings: RecordingControl
    sequences: RecordedSequences
    recordingViews: RecordingViews
    exports: Exports

    def getParameterNode(self) -> Any:
        """The module's node in the scene."""
        raise NotImplementedError

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
        :raises SettingsError: no folder is given.
        :raises RecordingFolderError: the folder cannot be written, or lies below a folder in which images are expected;
            it is a RecordingError and a SettingsError.
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

    def showRecording(self, browserNode: Any = None) -> None:
        """Show a recording in the views, in place of its streams, and select it in Slicer's sequence toolbar.

        A finished recording is shown automatically in views that show nothing live. The next start of a stream shows
        its live volume again.

        :param browserNode: vtkMRMLSequenceBrowserNode that :meth:`stopRecording` returned; None: the last recording.
        :raises SettingsError: no recording is in the scene, or it has no images.
        """
        browser = browserNode or self.lastRecording()
        if browser is None:
            raise SettingsError("No recording is in the scene yet.")
        if not self.recordingViews.show(browser):
            raise SettingsError(f"{browser.GetName()} has no recorded images.")
        self.sequences.present(browser)

    def lastRecording(self) -> Any:
        """The vtkMRMLSequenceBrowserNode of the last finished recording; None when the scene has none."""
        last = self.recordingViews.last
        return last if last is not None and last.GetScene() is slicer.mrmlScene else None

    def recordingStatus(self) -> dict[str, Any]:
        """``active``, ``name``, ``seconds``, ``recorded``, ``failed``, ``bytes``, ``messages``, ``writing``, ``free``,
        ``kept``, ``built``: see :meth:`RecordingControl.status`."""
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

    def setGroupMayRead(self, allowed: bool) -> None:
        """Let the user's group read what is recorded, received and exported from now on; kept in Slicer's settings.

        By default only the user can. Running sources keep the rights with which they were started.
        """
        slicer.app.userSettings().setValue(GROUP_MAY_READ_KEY, bool(allowed))
        setGroupMayRead(allowed)

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
            node = self.volumes.volume(name).node
            pixels = None if node is None else arrayOf(node)
            if pixels is None:
                continue
            known = {key: node.GetAttribute(key) for key in node.GetAttributeNames() if ATTRIBUTE_NAME.fullmatch(key)}
            known.pop(STREAM_ATTRIBUTE, None)
            matrix = slicer.util.arrayFromVTKMatrix(ijkToRASOf(node))
            details = {**self.metadata(), **(attributes or {}), **known}
            self.exports.snapshot(typedPath(folder), name, pixels, matrix, details)
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
