"""Recording of all sources, and recordings in the scene: ``logic.recording``."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import qt
import slicer

from ..Export.Job import RepairJob
from ..Link.Commands import Command, Keep, Record, RecordEvent, Repair, StopRecording
from ..Link.Messages import RecordedReport, RepairedReport, StorageReport
from ..Model.Errors import RealTimeImagingError, SettingsError
from ..Model.Event import Event
from ..Model.Files import setGroupMayRead
from ..Model.Settings import SourceSettings, placeOf, typedPath
from ..Model.Text import textsOf
from ..Recording import RecordingEntry, checkAttributes, fileName
from ..Recording.FolderAccess import FolderAccess, Note
from ..Recording.Layout import prepareFolder
from ..Recording.Names import DATE_NAME, namedPlace
from ..Scene.RecordedSequences import RecordedSequences
from ..Scene.RecordingViews import RecordingViews
from .Callbacks import Callbacks
from .ExportControl import ExportControl
from .Metadata import Metadata
from .RecordingList import RecordingList
from .RecordingState import RecordingState
from .RunningSource import RunningSource
from .Session import Session

_ = textsOf(__file__)

BUILD_PAUSE, BUILD_TURN = 10, 0.01
"""Milliseconds between, and seconds of, the steps in which a recording is added to the scene."""
KEPT_BYTES = 1 << 30
"""Most memory of each source for the last frames, unless another limit is set."""
FOLDER_KEY = "RealTimeImaging/RecordingFolder"
"""Setting with the folder that the user chose."""
REPAIR_KEY = "RealTimeImaging/LastRecordingFolder"
"""Setting with the folder of the last recording, which the pattern of its name may put below the user's folder."""
GROUP_MAY_READ_KEY = "RealTimeImaging/GroupMayRead"

Repaired = dict[str, Any]


class RecordingControl:
    """One recording at a time, of all sources.

    Earlier recordings may still be written, or on their way into the scene. A recording ends with the last of its
    sources, at the latest.

    :param session: the sources that are recorded.
    :param callbacks: get the events.
    :param sequences: add finished recordings to the scene.
    :param views: show finished recordings.
    :param exports: write checksums, and repair the recordings of dead processes.
    :param metadata: is written into every recording.
    :param onChange: called when a state may have changed.
    """

    def __init__(
        self,
        session: Session,
        callbacks: Callbacks,
        sequences: RecordedSequences,
        views: RecordingViews,
        exports: ExportControl,
        metadata: Metadata,
        onChange: Callable[[], None],
    ) -> None:
        self._session, self._callbacks, self._sequences, self._views = session, callbacks, sequences, views
        self._exports, self._metadata, self._onChange = exports, metadata, onChange
        session.startupProviders.append(self._startupCommands)
        callbacks.onOwnEvent.connect(self._recordEvent)
        session.reports.connect(StorageReport, self._takeStorage)
        session.reports.connect(RecordedReport, self._takeRecorded)
        session.reports.connect(RepairedReport, self._takeRepaired)
        settings = slicer.app.userSettings()
        self._repairFolder = settings.value(REPAIR_KEY, "") or settings.value(FOLDER_KEY, "") or ""
        """Folder of the last recording: a source that starts finishes what a dead process left there."""
        self.list = RecordingList(onChange)
        """Recordings in a folder."""
        self.namePattern = DATE_NAME
        """Pattern of the names of recordings that :meth:`start` gives no name."""
        self._recordings: list[RecordingState] = []
        """Recordings that are not completely in the scene yet, and the last one; in order of their start."""
        self._keep: Keep | None = None
        self._ran = self._settling = self._closed = False
        self._number = 0
        self._access = FolderAccess()
        self._builder = qt.QTimer()
        self._builder.connect("timeout()", self._build)
        groupMayRead = slicer.app.userSettings().value(GROUP_MAY_READ_KEY)
        if groupMayRead is not None:
            setGroupMayRead(slicer.util.toBool(groupMayRead))

    # ---- recording

    def start(
        self, folder: str, attributes: Mapping[str, str] | None = None, name: str = "", kept: bool = False
    ) -> str:
        """Store every frame of all sources, before it is shown, until :meth:`stop`; return the recording's name.

        Called before a source starts, it records from the first frame. While a recording is running, nothing changes.

        :param folder: where the files go; it is made when missing. Existing files are never overwritten.
        :param attributes: written into the recording together with the metadata, whose values they replace; names have
            letters, digits and ``_ . -`` only.
        :param name: beginning of the files' names, a pattern such as ``{participant}/run-{run:02}``: the attributes and
            the metadata, ``{date}``, ``{time}`` and ``{run}``, which counts up. Slashes make folders below ``folder``.
            Empty for :attr:`namePattern`, which is the date and time unless the panel or a script sets another.
        :param kept: begin with the frames that :meth:`keepLast` has in memory.
        :raises SettingsError: no folder is given, or the pattern needs a value that is missing.
        :raises RecordingFolderError: the folder cannot be written, lies below a watched folder, or does not respond
            within half a second; it is a RecordingError and a SettingsError.
        :raises RecordingError: a file cannot keep the name or value of an attribute.
        """
        current = self._current
        if current is None:
            folder = typedPath(folder)
            current = self._begin(folder, {**self._metadata.get(), **(attributes or {})}, name, kept)
            slicer.app.userSettings().setValue(FOLDER_KEY, folder)
            slicer.app.userSettings().setValue(REPAIR_KEY, self._repairFolder)
        return current.name

    def _begin(self, folder: str, attributes: Mapping[str, str], name: str, kept: bool) -> RecordingState:
        if not folder:
            raise SettingsError(_("Choose the folder for recordings."))
        checkAttributes(attributes)
        given = [(one.plan["folder"], one.name) for one in self._recordings if one.plan and not one.settled]
        pattern = name.strip() or self.namePattern.strip() or DATE_NAME
        sources = [source.settings for source in self._session.running()]

        def prepare(note: Note) -> tuple[str, str]:
            note(folder)
            place = namedPlace(folder, pattern, attributes, given)
            for settings in sources:
                note(placeOf(settings))
                settings.checkRecordingFolder(place[0])
            note(folder)
            prepareFolder(place[0])
            return place

        folder, name = self._access.result((folder, pattern, attributes, sources), prepare)
        # Never reuse the number of an earlier session: a process may know recordings of both.
        self._number = max(self._number + 1, time.time_ns() // 1_000_000)
        one = RecordingState(self._number, name, {"folder": folder, "name": name, "attributes": dict(attributes)})
        self._recordings = [*(other for other in self._recordings if not other.settled), one]
        self._ran, self._repairFolder = False, folder
        one.expect(self._session.broadcast(Record(**one.plan, kept=kept)))
        self._onChange()
        return one

    def stop(self) -> Any:
        """End the recording; return its vtkMRMLSequenceBrowserNode, None when nothing is being recorded.

        The browser is filled in small steps as soon as the files are closed; the frames stay in the files.
        """
        one = self._current
        if one is None:
            return None
        one.browser = one.browser or self._sequences.newBrowser(one.name)
        browser = one.browser
        one.stop()
        self._session.broadcast(StopRecording())
        self._settle()
        self._onChange()
        return browser

    def keepLast(self, seconds: float, limit: int = KEPT_BYTES) -> None:
        """Keep the last frames of each source in memory, for :meth:`saveLast` and ``start(kept=True)``.

        :param seconds: 0 keeps nothing.
        :param limit: most bytes of each source.
        :raises SettingsError: a number that cannot work.
        """
        if not 0 <= seconds <= 24 * 3600 or limit <= 0:
            raise SettingsError(_("The time to keep is a number of seconds from 0 to 86400, its limit is above 0."))
        self._keep = Keep(seconds, int(limit)) if seconds else None
        self._session.broadcast(Keep(seconds, int(limit)))

    def saveLast(self, folder: str, attributes: Mapping[str, str] | None = None, name: str = "") -> Any:
        """Save the frames in memory (:meth:`keepLast`) as a recording; return its sequence browser node.

        :raises SettingsError: as :meth:`start`, or a recording is running.
        """
        if self.active:
            raise SettingsError(_("A recording is running already."))
        self.start(folder, attributes, name, kept=True)
        return self.stop()

    def setGroupMayRead(self, allowed: bool) -> None:
        """Let the user's group read files that are recorded, received and exported from now on.

        By default only the user can. The choice is kept in Slicer's settings. Running sources are not affected.
        """
        slicer.app.userSettings().setValue(GROUP_MAY_READ_KEY, bool(allowed))
        setGroupMayRead(allowed)

    def checkSource(self, settings: SourceSettings) -> None:
        """Check that a new source does not watch the folder of the recording.

        :raises SettingsError: it would.
        :raises RecordingFolderError: the watched folder does not respond within half a second.
        """
        if self._current:
            folder = self._current.plan["folder"]

            def check(note: Note) -> None:
                note(placeOf(settings))
                settings.checkRecordingFolder(folder)

            self._access.result((folder, settings), check)

    # ---- status

    @property
    def active(self) -> bool:
        """True while frames are recorded."""
        return self._current is not None

    @property
    def building(self) -> bool:
        """True while a stopped recording is written, or is being added to the scene."""
        return any(one.stopped and not one.settled for one in self._recordings) or self._sequences.busy

    def status(self) -> dict[str, Any]:
        """Return the status of the current or last recording.

        ``active``, ``name``, ``seconds`` since its start; ``recorded``, ``failed`` and ``bytes`` of its images;
        ``messages`` of devices (recorded, failed); ``writing`` (None, or the rest of the writing: ``done`` of
        ``total``, ``unit`` "bytes" or "streams", empty when it is unknown); ``free`` bytes on the disk, and seconds
        that are ``left`` until it is full at this rate (None when unknown); ``result``, the event that reported the end
        (None before); ``kept`` (seconds, frames, bytes in memory; None when nothing is kept); ``built``, the part that
        is in the scene, from 0 to 1.
        """
        storages = [source.storage for source in self._session.sources]
        free = [one["free"] for one in storages if one.get("free") is not None]
        kept = [one["kept"] for one in storages if one.get("kept")]
        last, current = (self._recordings[-1] if self._recordings else RecordingState(0, "", {})), self._current
        return {
            "active": self.active,
            "name": current.name if current else "",
            "seconds": current.seconds if current else 0.0,
            **last.counts,
            "writing": self._writing(),
            "free": min(free) if free else None,
            "left": current.left(min(free)) if current and free else None,
            "result": last.result,
            "kept": {
                "seconds": max(one["seconds"] for one in kept),
                "frames": sum(one["frames"] for one in kept),
                "bytes": sum(one["bytes"] for one in kept),
            }
            if kept
            else None,
            "built": self._sequences.progress,
        }

    def _writing(self) -> dict[str, Any] | None:
        sources = [source for one in self._recordings for source in one.writing]
        found = [source.storage["writing"] for source in sources if source.storage.get("writing")]
        if found:
            same = [one for one in found if one["unit"] == found[0]["unit"]]
            done, total = sum(one["done"] for one in same), sum(one["total"] for one in same)
            return {"done": done, "total": total, "unit": found[0]["unit"]}
        if any(one.stopped and (one.writing or one.repairing) for one in self._recordings):
            return {"done": 0, "total": 0, "unit": ""}
        return None

    # ---- recordings in the scene

    @property
    def last(self) -> Any:
        """The vtkMRMLSequenceBrowserNode of the last finished recording; None when the scene has none."""
        last = self._views.last
        return last if last is not None and last.GetScene() is slicer.mrmlScene else None

    def inScene(self) -> dict[str, list[str]]:
        """Return the recordings in the scene: name with stream, and the paths of their headers, to export or replay."""
        return self._sequences.recordings()

    def open(self, entry: RecordingEntry) -> Any:
        """Add a recording of :attr:`list` to the scene, with all its streams and poses, and show it.

        A recording that is in the scene already is only shown.

        :returns: its vtkMRMLSequenceBrowserNode, which is filled in small steps.
        :raises SettingsError: the recording is damaged, or is being recorded.
        """
        if not entry.usable:
            raise SettingsError(_("{name} cannot be opened.").format(name=entry.name))
        parts = self.list.partsOf(entry) or [entry]
        headers = [path for one in parts for path in one.headers]
        browser = self._sequences.browserOf(headers[0]) if headers else None
        if browser is not None:
            self.show(browser)
            return browser
        one = RecordingState(0, entry.name, {})
        one.stop()
        one.opened = True
        self._recordings.insert(max(0, len(self._recordings) - 1), one)
        for part in parts:
            one.addValues(part.values)
        self._add(one, headers, [part.path for part in parts if not part.stream])
        self._onChange()
        return one.browser

    def show(self, browserNode: Any = None) -> None:
        """Show a recording in the views, in place of its streams, and select it in Slicer's sequence toolbar.

        A finished recording is shown automatically in views that show nothing live. The next start of a stream shows
        its live volume again.

        :param browserNode: vtkMRMLSequenceBrowserNode that :meth:`stop` returned; None: the last recording.
        :raises SettingsError: no recording is in the scene, or it has no images.
        """
        browser = browserNode or self.last
        if browser is None:
            raise SettingsError(_("No recording is in the scene yet."))
        if not self._views.show(browser):
            raise SettingsError(_("{name} has no recorded images.").format(name=browser.GetName()))
        self._sequences.present(browser)

    # ---- changes

    @property
    def _current(self) -> RecordingState | None:
        return self._recordings[-1] if self._recordings and not self._recordings[-1].stopped else None

    def update(self) -> None:
        """End the recording when its last source has ended, and go on with finished recordings."""
        running = bool(self._session.running())
        self._ran = self._ran or running
        if self._current and self._ran and not running:
            self.stop()
        else:
            self._settle()

    def forget(self) -> None:
        """End the recordings because the scene was closed: events report their end, and nothing enters the scene."""
        self._sequences.forget()
        for one in self._recordings:
            one.leaveScene()
        self._settle()

    def close(self) -> None:
        """End everything. Do not use the object afterwards."""
        self._closed = True
        self._callbacks.onOwnEvent.disconnect(self._recordEvent)
        self.list.close()
        self.forget()
        self._recordings = []
        self._builder.stop()
        self._builder.disconnect("timeout()", self._build)

    def _startupCommands(self, source: RunningSource) -> list[Command]:
        commands: list[Command] = []
        for one in self._recordings:
            if one.stopped and source in one.writing:
                # Its process died before it closed the files: the next one finishes them, and reports the counts.
                commands += [Record(**one.plan), StopRecording()]
        if self._current:
            self._current.expect([source])
            commands += [Record(**self._current.plan), *map(RecordEvent, self._current.eventsOf(source))]
        elif self._repairFolder and not commands:
            commands.append(Repair(self._repairFolder))
        if self._keep:
            commands.append(self._keep)
        return commands

    def _recordEvent(self, event: Event) -> None:
        for one in self._recordings:
            if one.writing or not one.stopped:
                one.addEvent(event)
        if self._current:
            self._session.broadcast(RecordEvent(event))

    def _takeStorage(self, source: RunningSource, message: StorageReport) -> None:
        self._count(source, message.storage.get("stored"))

    def _takeRecorded(self, source: RunningSource, message: RecordedReport) -> None:
        one = self._count(source, message.stored)
        if one:
            one.closed(source, message.unfinished)
            self._add(one, message.recorded, message.messages)
        self._settle()

    def _takeRepaired(self, source: RunningSource, message: RepairedReport) -> None:
        self._addRepaired(message.repaired)
        self._settle()

    def _count(self, source: RunningSource, stored: Mapping[str, Any] | None) -> RecordingState | None:
        """Take the counts of a recording; return it when it is one of this session."""
        one = next((one for one in self._recordings if stored and one.id == stored["id"]), None)
        if one and stored:
            one.count(source, stored)
        return one

    def _addRepaired(self, found: Repaired) -> None:
        """Add a recording of a dead process, of this session or another, that a repair has finished."""
        if not found["paths"] and not found["messages"]:
            return
        name = found["name"]
        ours = (
            one for one in reversed(self._recordings) if re.fullmatch(rf"{re.escape(fileName(one.name))}(_\d+)?", name)
        )
        one = next(ours, None)
        if one is None:
            one = RecordingState(0, name, {})
            one.stop()
            # Before the last one, whose status the panel shows.
            self._recordings.insert(max(0, len(self._recordings) - 1), one)
        one.settled = False
        one.addValues(found["values"])
        self._add(one, found["paths"], found["messages"])

    def _add(self, one: RecordingState, paths: list[str], messages: list[str]) -> None:
        one.headers += paths
        one.messages += messages
        if one.sceneless or not (paths or messages):
            return
        if one.browser is None or one.browser.GetScene() is None:
            one.browser = self._sequences.newBrowser(one.name)
        self._sequences.add(one.browser, paths)
        self._builder.start(BUILD_PAUSE)

    def _settle(self) -> None:
        if self._settling:  # callbacks may call this again
            return
        self._settling = True
        try:
            for one in list(self._recordings):
                if one.stopped and not one.settled:
                    self._settleOne(one)
        finally:
            self._settling = False
        last = self._recordings[-1:]
        self._recordings = [one for one in self._recordings[:-1] if not one.settled] + last

    def _settleOne(self, one: RecordingState) -> None:
        self._repairAfter(one)
        if one.writing or one.repairing or (self._sequences.busy and not one.sceneless):
            return
        if one.messages and not one.posesAdded and not one.sceneless:
            # After all images, because the poses go into the images' browsers.
            one.posesAdded = True
            self._sequences.addMessages(one.browser, one.messages)
            self._builder.start(BUILD_PAUSE)
            return
        if one.headers and not one.valuesAdded and not one.sceneless:
            # After all functions have closed their files of values.
            one.valuesAdded = True
            self._sequences.addValues(one.browser, one.values)
            self._builder.start(BUILD_PAUSE)
            return
        one.settled = True
        if one.browser is not None and not one.sceneless:
            if not self._sequences.filled(one.browser):
                self._sequences.remove(one.browser)
                one.browser = None
            else:
                self._present(one)
        for event in one.endEvents():
            self._callbacks.report(event)
        headers, one.headers, one.messages = one.headers, [], []
        one.posesAdded = one.valuesAdded = False
        if headers and not self._closed and not one.opened:
            self._exports.checksums(headers)

    def _present(self, one: RecordingState) -> None:
        self._sequences.present(one.browser)
        self._views.finish(self._sequences.browsersOf(one.browser))
        if one.opened and not self._session.running():
            self._views.show(one.browser)

    def _repairAfter(self, one: RecordingState) -> None:
        """Let another process finish the files of processes that ended before they closed them."""
        ended = [source for source in one.writing if source.ended]
        one.writing = [source for source in one.writing if source not in ended]
        if not ended or not one.plan:
            return
        one.interrupted = True
        if self._closed:
            return
        one.repairing = True

        def done(found: list[Repaired]) -> None:
            if self._closed:
                return  # it ended while this object waited for it in close()
            for each in found:
                self._addRepaired(each)
            one.repairing = False
            self._settle()
            self._onChange()

        try:
            self._exports.repair(RepairJob(one.plan["folder"], one.name, tuple(one.eventsOf(*ended))), done)
        except RealTimeImagingError as error:
            one.repairing = False
            self._callbacks.report(Event("recording-unrepaired", str(error), "error", one.plan["folder"]))

    def _build(self) -> None:
        try:
            self._sequences.step(BUILD_TURN)
        except RealTimeImagingError as error:
            self._callbacks.report(Event("not-opened", str(error), "error"))
        if not self._sequences.busy:
            self._builder.stop()
            self._settle()
        self._onChange()
