"""The recordings of this session: starts and stops them, and brings what is stored into the scene."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import qt

from .Errors import RealTimeImagingError, SettingsError
from .Event import Event
from .Handle import Handle
from .Listeners import Listeners
from .Recording import checkAttributes, fileName
from .Scene.RecordedSequences import RecordedSequences
from .Session import Session
from .Settings import SourceSettings, checkRecordingFolder

BUILD_PAUSE, BUILD_TURN = 10, 0.01
"""Milliseconds between, and seconds of, the pieces in which a recording is added to the scene."""
KEPT_BYTES = 1 << 30
"""Most memory for the last seconds, unless another limit is set."""


class Recordings:
    """One recording at a time, of all sources.

    :param session: whose frames are recorded.
    :param sequences: puts finished recordings into the scene.
    :param onChange: called when something of it may have changed.
    :param onComplete: called with the headers of all parts of a recording that is in the scene.
    """

    def __init__(
        self,
        session: Session,
        listeners: Listeners,
        sequences: RecordedSequences,
        onChange: Callable[[], None],
        onComplete: Callable[[list[str]], None],
    ) -> None:
        self._session, self._listeners, self._sequences = session, listeners, sequences
        self._onChange, self._onComplete = onChange, onComplete
        session.orderGivers.append(self._orders)
        session.onStored = self._stored
        self.onInScene: Callable[[list[Any]], None] = lambda browsers: None
        """Called with the browser nodes of a recording that is in the scene."""
        self.repairFolder = ""
        """Where the last recording went: what a dead process left there is finished when a source starts."""
        self._plan: dict[str, Any] | None = None
        self._keep: dict[str, Any] | None = None
        self._since = 0.0
        self._ran = False
        self._untold: list[Handle] = []
        self._name = ""
        self._headers: list[str] = []
        self._messages: list[str] = []
        self._posed = False
        self._browser: Any = None
        self._builder = qt.QTimer()
        self._builder.connect("timeout()", self._build)

    # ---- what one asks for

    def start(self, folder: str, attributes: Mapping[str, str], name: str, kept: bool) -> str:
        """Record from now on; a no-op while recording. Returns the recording's name.

        :param kept: begin with the frames that were kept in memory.
        :raises SettingsError: the folder cannot be used.
        :raises RecordingError: an attribute name or value cannot be kept.
        """
        if self._plan:
            return str(self._plan["name"])
        if not str(folder).strip():
            raise SettingsError("Choose the folder for recordings.")
        checkAttributes(attributes)
        path = os.path.abspath(os.path.expanduser(os.fspath(folder)))
        for handle in self._session.running():
            checkRecordingFolder(handle.settings, path)
        name = name.strip() or time.strftime("Recording_%Y-%m-%d_%H-%M-%S")
        self._plan = {"folder": path, "name": name, "attributes": dict(attributes)}
        self._since, self._ran, self.repairFolder = time.monotonic(), False, path
        self._name, self._browser = name, None
        for handle in self._session.handles:
            handle.storage = {}
        self._untold = self._session.broadcast("record", **self._plan, kept=kept)
        self._onChange()
        return name

    def stop(self) -> Any:
        """End the recording; its vtkMRMLSequenceBrowserNode, which is filled in small pieces as soon as the files are
        closed; None when nothing is being recorded."""
        if self._plan is None:
            return None
        self._browser = self._browser or self._sequences.newBrowser(self._plan["name"])
        self._plan = None
        active = self._session.broadcast("stopRecording")
        self._untold = [handle for handle in self._untold if handle in active or not handle.ended]
        self._settle()
        self._onChange()
        return self._browser

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
        if self._plan:
            checkRecordingFolder(settings, self._plan["folder"])

    # ---- what one sees

    @property
    def active(self) -> bool:
        """True while what comes is stored."""
        return self._plan is not None

    @property
    def building(self) -> bool:
        """True while a recording is on its way into the scene."""
        return bool(self._untold and not self._plan) or self._sequences.busy

    def status(self) -> dict[str, Any]:
        """``active``, ``name``, ``seconds`` since its start, ``bytes`` stored, ``free`` bytes where they go (None when
        not known), ``kept`` (seconds, frames, bytes in memory; None when nothing is kept), ``built`` from 0 to 1,
        ``messages`` of devices (recorded, failed)."""
        storages = [handle.storage for handle in self._session.handles]
        free = [one["free"] for one in storages if one.get("free") is not None]
        kept = [one["kept"] for one in storages if one.get("kept")]
        messages = [one["messages"] for one in storages if one.get("messages")]
        return {
            "active": self.active,
            "name": self._plan["name"] if self._plan else "",
            "seconds": time.monotonic() - self._since if self._plan else 0.0,
            "bytes": sum(one.get("bytes", 0) for one in storages),
            "free": min(free) if free else None,
            "kept": {
                "seconds": max(one["seconds"] for one in kept),
                "frames": sum(one["frames"] for one in kept),
                "bytes": sum(one["bytes"] for one in kept),
            }
            if kept
            else None,
            "built": self._sequences.progress,
            "messages": {name: sum(one.get(name, 0) for one in messages) for name in ("recorded", "failed")},
        }

    # ---- what happens

    def changed(self) -> None:
        """A source's state may have changed: a recording ends with the last of its sources."""
        running = bool(self._session.running())
        self._ran = self._ran or running
        if self._plan and self._ran and not running:
            self.stop()
        else:
            self._settle()

    def forget(self) -> None:
        """The scene was closed."""
        self._plan, self._browser, self._untold = None, None, []
        self._headers, self._messages, self._posed = [], [], False
        self._sequences.forget()

    def close(self) -> None:
        """Let go of everything; not used afterwards."""
        self.forget()
        self._builder.stop()
        self._builder.disconnect("timeout()", self._build)

    def _orders(self, handle: Handle) -> list[dict[str, Any]]:
        orders: list[dict[str, Any]] = []
        if self._plan:
            orders.append({"command": "record", **self._plan})
            if handle not in self._untold:
                self._untold.append(handle)
        elif self.repairFolder:
            orders.append({"command": "repair", "folder": self.repairFolder})
        if self._keep:
            orders.append({"command": "keep", **self._keep})
        return orders

    def _stored(self, handle: Handle, line: dict[str, Any]) -> None:
        paths, messages = self._files(line)
        if paths or messages:
            if self._browser is None and self._plan:
                self._browser = self._sequences.newBrowser(self._plan["name"])
            if self._browser is not None:
                self._headers += paths
                self._messages += messages
                self._sequences.add(self._browser, paths)
                self._builder.start(BUILD_PAUSE)
        if "recorded" in line and handle in self._untold:
            self._untold.remove(handle)
        self._settle()

    def _files(self, line: dict[str, Any]) -> tuple[list[str], list[str]]:
        """Headers of images and manifests of messages that a line tells of, as far as they are of this recording."""
        if "recorded" in line:
            return line["recorded"], line.get("messages", [])
        # Only what belongs to this recording comes into the scene: a process of it had died.
        repaired = line["repaired"]
        ours = re.match(rf"{re.escape(fileName(self._name))}(_\d+)?(-|\.messages$)", repaired["recording"])
        return (repaired["paths"], repaired.get("messages", [])) if ours else ([], [])

    def _settle(self) -> None:
        if self._plan:
            return
        self._untold = [handle for handle in self._untold if not handle.ended]
        if self._untold or self._browser is None or self._sequences.busy:
            return
        if self._messages and not self._posed:
            # When all images are there: their browsers are those of the poses.
            self._posed = True
            self._sequences.addMessages(self._browser, self._messages)
            self._builder.start(BUILD_PAUSE)
            return
        # Those who are told may ask again.
        browser, headers, messages = self._browser, self._headers, self._messages
        self._browser, self._headers, self._messages, self._posed = None, [], [], False
        if not self._sequences.filled(browser):
            self._sequences.remove(browser)
            text = "No image and no pose came while it was recorded."
            text += f" What the devices said is in {messages[0]}." if messages else ""
            self._listeners.report(Event("nothing-recorded", text, "warning"))
        else:
            self._sequences.present(browser)
            self.onInScene(self._sequences.browsersOf(browser))
        files = headers or messages
        if files:
            text = f"The recording {self._name} is complete; it begins with {files[0]}."
            self._listeners.report(Event("recorded", text, subject=files[0]))
        if headers:
            self._onComplete(headers)

    def _build(self) -> None:
        try:
            self._sequences.step(BUILD_TURN)
        except RealTimeImagingError as error:
            self._listeners.report(Event("not-opened", str(error), "error"))
        if not self._sequences.busy:
            self._builder.stop()
            self._settle()
        self._onChange()
