"""Recorder of device messages: stores them during a recording, with a manifest and the poses beside them."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ..Model.DeviceMessage import DeviceMessage
from ..Model.Text import textsOf
from .AppendLog import AppendLog, LogRecorder, claimName, writeManifest
from .FrameTimes import FrameTimes, Origin
from .Header import isoTime
from .Layout import LINES, MANIFEST, MESSAGES, candidates, fileName
from .Lines import MessageLine, MessagesLine, Missed
from .Lock import Lock
from .Poses import PoseFile
from .Reading import readMessages
from .RecordedEvents import RecordedEvents

_ = textsOf(__file__)

MOST_DEVICES = 500
"""Most devices with a file of poses: any computer of the network may choose any number of device names."""


class Tally:
    """Counts of the messages in a file."""

    def __init__(self) -> None:
        self.count = 0
        self.gaps: list[Missed] = []
        """Gaps that the lines report."""
        self._lastNumber: int | None = None
        self._first, self._latest = math.inf, -math.inf
        self._devices: dict[tuple[str, str], dict[str, Any]] = {}

    def add(self, line: MessageLine) -> None:
        """Count a message."""
        self.count += 1
        self._lastNumber = line.number
        if line.missed:
            self.gaps.append(line.missed)
        kind, device = line.message.kind, line.message.device
        none = {
            "device": device,
            "kind": kind,
            "messages": 0,
            "firstTime": line.time,
            "lastTime": line.time,
            "clocks": {},
        }
        entry = self._devices.setdefault((device, kind), none)
        entry["messages"] += 1
        entry["lastTime"] = line.time
        entry["clocks"][line.clock] = entry["clocks"].get(line.clock, 0) + 1
        self._first, self._latest = min(self._first, line.time), max(self._latest, line.time)

    def manifest(
        self, head: MessagesLine, poses: PoseFiles, failed: int, gaps: Sequence[Missed], finishedBy: str
    ) -> dict[str, Any]:
        """Compose the manifest ``NAME.messages.json``; at least one message is counted.

        :param failed: messages that were received and are not stored.
        :param finishedBy: "stop" or "repair".
        """
        entries = []
        for (device, kind), entry in self._devices.items():
            known: dict[str, Any] = {}
            if kind == "transform":
                known = {"transforms": None, "poses": 0, "posesLeftOut": 0}
                if file := poses.files.get(device):
                    known = {
                        "transforms": os.path.basename(file.path),
                        "poses": file.count,
                        "posesLeftOut": file.leftOut,
                    }
            entries.append({**entry, **known})
        return {
            "recording": head.recording,
            "name": head.name,
            "messages": head.recording + LINES,
            "attributes": dict(head.attributes),
            "recorded": self.count,
            "failed": failed,
            "gaps": [asdict(gap) for gap in gaps],
            "start": isoTime(head.origin),
            "startClock": "arrival",
            "firstTime": self._first,
            "lastTime": self._latest,
            "lastNumber": self._lastNumber,
            "finishedBy": finishedBy,
            "versions": dict(head.versions),
            "devices": entries,
        }


class PoseFiles:
    """Files of poses of one recording, by device. The first pose of a device makes its file; poses of devices beyond
    MOST_DEVICES are stored as messages only."""

    def __init__(self, folder: str, head: MessagesLine) -> None:
        self._folder, self._head = folder, head
        self.files: dict[str, PoseFile] = {}

    def add(self, line: MessageLine) -> None:
        """Add the pose of a message, if it has one."""
        matrix = line.pose
        if matrix is None:
            return
        device = line.message.device
        if device not in self.files:
            if len(self.files) >= MOST_DEVICES:
                return
            recording = self._head.recording
            name = recording.removesuffix(MESSAGES)
            self.files[device] = PoseFile(self._folder, name, (recording, device))
        self.files[device].add(matrix, line.time, line.clock, line.poseStatus)

    def finish(self) -> None:
        """:raises OSError: a file is incomplete."""
        for file in self.files.values():
            file.finish()

    def discard(self) -> None:
        """Remove the files."""
        for file in self.files.values():
            file.discard()

    @classmethod
    def fromMessages(cls, folder: str, head: MessagesLine) -> PoseFiles:
        """Make the files from the stored messages; incomplete files are written again.

        :raises OSError: a file cannot be read or written.
        """
        poses = cls(folder, head)
        for line in readMessages(os.path.join(folder, head.recording + LINES)):
            poses.add(line)
        poses.finish()
        return poses


class MessageFile(AppendLog):
    """One file of messages, and at the end its poses and manifest.

    :param folder: folder of the recording.
    :param lock: lock of the name; :meth:`close` or :meth:`abandon` releases it.
    :param head: first line.
    :raises OSError: the file cannot be made; the lock is released.
    """

    def __init__(self, folder: str, lock: Lock, head: MessagesLine) -> None:
        try:
            super().__init__(folder, lock, head.recording, (LINES,), head.toBytes())
        except OSError:
            lock.release(remove=True)
            raise
        self.head = head
        self._tally, self._poses = Tally(), PoseFiles(folder, head)

    def append(self, line: MessageLine) -> None:
        """Store one message; when the call returns, the message is acknowledged.

        :raises FilesGone, OSError: as for :meth:`AppendLog.write`.
        """
        self.write(line.number, line.toBytes())
        self._tally.add(line)
        self._poses.add(line)

    def close(self, failed: int, gaps: Sequence[Missed], events: Mapping[str, Any]) -> bool:
        """Write poses and manifest; without a message remove the file.

        :param events: of :meth:`RecordedEvents.toManifest`.
        :returns: whether there is a manifest.
        :raises OSError: a file cannot be written; the messages stay, and a repair finishes them.
        """
        done = False
        try:
            self.rest()
            if self.count:
                self.trim()
                try:
                    self._poses.finish()
                except OSError:
                    self._poses = PoseFiles.fromMessages(self.folder, self.head)
                manifest = self._tally.manifest(self.head, self._poses, failed, gaps, "stop")
                writeManifest(self.path(MANIFEST), {**manifest, "bytes": self.size, "cutBytes": 0, **events})
            else:
                os.unlink(self.path(LINES))
            done = True
        finally:
            self.lock.release(remove=done)
        return self.count > 0

    def abandon(self) -> None:
        """Give up a file that was removed or cut; a repair keeps the rest."""
        self.rest()
        removed = not os.path.lexists(self.path(LINES))
        if removed:
            self._poses.discard()
        self.lock.release(remove=removed)


class MessageRecorder(LogRecorder[DeviceMessage]):
    """Recorder of all messages of one process in one recording. The first message makes the file.

    :param name: name of the recording, as for :class:`Recorder`.
    :param origin: that of the recording's images; None without images.
    """

    noun, nouns = _("message"), _("messages")

    def __init__(self, folder: str, name: str, attributes: Mapping[str, str], origin: Origin | None = None) -> None:
        super().__init__(folder, "devices", attributes)
        self.name = name
        self.recordedEvents: RecordedEvents | None = None
        """Part of the manifest; None: the images have it."""
        self._origin = origin or Origin()
        self._times: dict[tuple[str, str], FrameTimes] = {}
        self._number = 0
        self._file: MessageFile | None = None

    def _numberOf(self, entry: DeviceMessage) -> int:
        number, self._number = self._number, self._number + 1
        return number

    def _store(self, number: int, entry: DeviceMessage) -> None:
        times = self._times.setdefault((entry.kind, entry.device), FrameTimes(self._origin))
        times.begin(entry)
        if entry.kind == "transform" and self._origin.reference is None:
            self._origin.reference = times
        time = times.of(entry)
        if self._file is None:
            lock, base = claimName(self.folder, (name + MESSAGES for name in candidates(fileName(self.name))))
            head = MessagesLine(base, self.name, self._origin.arrival or 0.0, self.attributes)
            self._file = MessageFile(self.folder, lock, head)
        self._file.append(MessageLine(number, time.seconds, time.clock, entry, self._gap))
        times.take(entry, time)
        self.recorded += 1

    def _dropLost(self) -> None:
        # The next file has another name.
        file = self._file
        if file and (file.gone or not file.whole):
            self._file = None
            file.abandon()
            self._countLost(file, _("{name} was removed or cut").format(name=file.name))

    def _close(self) -> list[str]:
        if self._file is None:
            return []
        path = self._file.path(MANIFEST)
        try:
            events = self.recordedEvents.toManifest() if self.recordedEvents else {}
            return [path] if self._file.close(self.failed, self.gaps, events) else []
        except OSError as error:
            self._reportUnfinished(path, error)
            return []
