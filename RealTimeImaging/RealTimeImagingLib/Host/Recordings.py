"""The recordings of this session: starts and stops them, and brings what is stored into the scene."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import qt

from ..Model.Errors import RealTimeImagingError, SettingsError
from ..Model.Event import Event
from ..Model.Settings import SourceSettings, typedPath
from ..Recording import checkAttributes, fileName
from ..Recording.Layout import prepareFolder
from ..Scene.RecordedSequences import RecordedSequences
from ..Sources.Folder import checkRecordingFolder
from .Callbacks import Callbacks
from .RecordingState import RecordingState
from .RunningSource import RunningSource
from .Session import Session

BUILD_PAUSE, BUILD_TURN = 10, 0.01
"""Milliseconds between, and seconds of, the pieces in which a recording is added to the scene."""
KEPT_BYTES = 1 << 30
"""Most memory for the last seconds, unless another limit is set."""

Repaired = dict[str, Any]


class RecordingControl:
    """One recording at a time, of all sources; those before it may still be written, or be on their way into the scene.

    :param session: whose frames are recorded.
    :param sequences: puts finished recordings into the scene.
    :param onChange: called when something of it may have changed.
    :param onComplete: called with the headers of all parts of a recording that is in the scene.
    """

    def __init__(
        self,
        session: Session,
        listeners: Callbacks,
        sequences: RecordedSequences,
        onChange: Callable[[], None],
        onComplete: Callable[[list[str]], None],
    ) -> None:
        self._session, self._listeners, self._sequences = session, listeners, sequences
        self._onChange, self._onComplete = onChange, onComplete
        session.orderGivers.append(self._orders)
        session.onStored = self._stored
        self.onInScene: Callable[[list[Any]], None] = lambda browsers: None
        """Called with the browser nodes of a recording when it has been added to the scene."""
        self.repairIn: Callable[[str, Callable[[list[Repaired]], None]], None] | None = None
        """Finishes the recordings of dead processes in a folder, and calls back with their lines."""
        self.repairFolder = ""
        """Where the last recording went: what a dead process left there is finished when a source starts."""
        self._recordings: list[RecordingState] = []
        """Recordings that are not completely in the scene yet, and the last one; in order of their start."""
        self._keep: dict[str, Any] | None = None
        self._ran = False
        self._number = 0
        self._settling = False
        self._builder = qt.QTimer()
        self._builder.connect("timeout()", self._build)

    # ---- what one asks for

    def start(self, folder: str, attributes: Mapping[str, str], name: str, kept: bool) -> str:
        """Record from now on; a no-op while recording. Returns the recording's name.

        :param kept: begin with the frames that were kept in memory.
        :raises RecordingFolderError: the folder cannot be used; it is a SettingsError, too.
        :raises SettingsError: no folder.
        :raises RecordingError: an attribute name or value cannot be kept.
        """
        current = self._current
        if current:
            return current.name
        path = typedPath(folder)
        if not path:
            raise SettingsError("Choose the folder for recordings.")
        checkAttributes(attributes)
        for handle in self._session.running():
            checkRecordingFolder(handle.settings, path)
        prepareFolder(path)
        name = name.strip() or time.strftime("Recording_%Y-%m-%d_%H-%M-%S")
        # Never reuse the number of an earlier session: a process may know recordings of both.
        self._number = max(self._number + 1, time.time_ns() // 1_000_000)
        one = RecordingState(self._number, name, {"folder": path, "name": name, "attributes": dict(attributes)})
        self._recordings = [*(other for other in self._recordings if not other.settled), one]
        self._ran, self.repairFolder = False, path
        one.expect(self._session.broadcast("record", **one.plan, kept=kept))
        self._onChange()
        return name

    def stop(self) -> Any:
        """End the recording; its vtkMRMLSequenceBrowserNode, which is filled in small pieces as soon as the files are
        closed; None when nothing is being recorded."""
        one = self._current
        if one is None:
            return None
        one.browser = one.browser or self._sequences.newBrowser(one.name)
        browser = one.browser
        one.stop()
        self._session.broadcast("stopRecording")
        self._settle()
        self._onChange()
        return browser

    def keepLast(self, seconds: float, limit: int = KEPT_BYTES) -> None:
        """Keep the last frames of each source in memory; 0 seconds keep nothing.

        :param limit: most bytes for each source.
        :raises SettingsError: a number that cannot work.
        """
        if not 0 <= seconds <= 24 * 3600 or limit <= 0:
            raise SettingsError("The time to keep is a number of seconds from 0 to 86400, its limit is above 0.")
        self._keep = {"seconds": seconds, "bytes": int(limit)} if seconds else None
        self._session.broadcast("keep", seconds=seconds, bytes=int(limit))

    def checkSource(self, settings: SourceSettings) -> None:
        """:raises SettingsError: the source would watch the folder into which is recorded."""
        if self._current:
            checkRecordingFolder(settings, self._current.plan["folder"])

    # ---- what one sees

    @property
    def active(self) -> bool:
        """True while what comes is stored."""
        return self._current is not None

    @property
    def building(self) -> bool:
        """True while a recording is written after its stop, or is on its way into the scene."""
        return any(one.stopped and not one.settled for one in self._recordings) or self._sequences.busy

    def status(self) -> dict[str, Any]:
        """Status of the current or last recording.

        ``active``, ``name``, ``seconds`` since its start, ``recorded``, ``failed`` and ``bytes`` of its images,
        ``messages`` of devices (recorded, failed), ``writing`` (None, or what is still to be written: ``done`` of
        ``total``, ``unit`` "bytes" or "streams", empty when that is not known), ``free`` bytes where they go (None when
        not known), ``kept`` (seconds, frames, bytes in memory; None when nothing is kept), ``built`` from 0 to 1.
        """
        storages = [handle.storage for handle in self._session.handles]
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
        handles = [handle for one in self._recordings for handle in one.untold]
        found = [handle.storage["writing"] for handle in handles if handle.storage.get("writing")]
        if found:
            same = [one for one in found if one["unit"] == found[0]["unit"]]
            done, total = sum(one["done"] for one in same), sum(one["total"] for one in same)
            return {"done": done, "total": total, "unit": found[0]["unit"]}
        if any(one.stopped and (one.untold or one.repairing) for one in self._recordings):
            return {"done": 0, "total": 0, "unit": ""}
        return None

    # ---- what happens

    @property
    def _current(self) -> RecordingState | None:
        return self._recordings[-1] if self._recordings and not self._recordings[-1].stopped else None

    def changed(self) -> None:
        """A source's state may have changed: a recording ends with the last of its sources."""
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
        """Let go of everything; not used afterwards."""
        self.repairIn, self._onComplete = None, lambda headers: None
        self.forget()
        self._recordings = []
        self._builder.stop()
        self._builder.disconnect("timeout()", self._build)

    def _orders(self, handle: RunningSource) -> list[dict[str, Any]]:
        orders: list[dict[str, Any]] = []
        if self._current:
            orders.append({"command": "record", **self._current.plan})
            self._current.expect([handle])
        elif self.repairFolder:
            orders.append({"command": "repair", "folder": self.repairFolder})
        if self._keep:
            orders.append({"command": "keep", **self._keep})
        return orders

    def _stored(self, handle: RunningSource, line: dict[str, Any]) -> None:
        if "repaired" in line:
            self._repaired(line["repaired"])
        stored = line.get("stored") or (line.get("storage") or {}).get("stored")
        one = next((one for one in self._recordings if stored and one.id == stored["id"]), None)
        if one and stored:
            one.count(handle, stored)
            if "recorded" in line:
                one.told(handle, line)
                self._add(one, line["recorded"], line.get("messages", []))
        if "recorded" in line or "repaired" in line:
            self._settle()

    def _repaired(self, found: Repaired) -> None:
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
        if one.untold or one.repairing or (self._sequences.busy and not one.sceneless):
            return
        if one.messages and not one.posed and not one.sceneless:
            # When all images are there: their browsers are those of the poses.
            one.posed = True
            self._sequences.addMessages(one.browser, one.messages)
            self._builder.start(BUILD_PAUSE)
            return
        one.settled = True
        if one.browser is not None and not one.sceneless:
            if not self._sequences.filled(one.browser):
                self._sequences.remove(one.browser)
                one.browser = None
            else:
                self._sequences.present(one.browser)
                self.onInScene(self._sequences.browsersOf(one.browser))
        for event in one.endEvents():
            self._listeners.report(event)
        headers, one.headers, one.messages, one.posed = one.headers, [], [], False
        if headers:
            self._onComplete(headers)

    def _repairAfter(self, one: RecordingState) -> None:
        """Let another process finish the files of processes that ended before they closed them."""
        ended = [handle for handle in one.untold if handle.ended]
        one.untold = [handle for handle in one.untold if handle not in ended]
        if not ended or not one.plan:
            return
        one.interrupted = True
        if self.repairIn is None:
            return
        one.repairing = True

        def done(found: list[Repaired]) -> None:
            for each in found:
                self._repaired(each)
            one.repairing = False
            self._settle()
            self._onChange()

        try:
            self.repairIn(one.plan["folder"], done)
        except RealTimeImagingError as error:
            one.repairing = False
            self._listeners.report(Event("recording-unrepaired", str(error), "error", one.plan["folder"]))

    def _build(self) -> None:
        try:
            self._sequences.step(BUILD_TURN)
        except RealTimeImagingError as error:
            self._listeners.report(Event("not-opened", str(error), "error"))
        if not self._sequences.busy:
            self._builder.stop()
            self._settle()
        self._onChange()
