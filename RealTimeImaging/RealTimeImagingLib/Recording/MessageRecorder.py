"""Stores the messages of devices while something is recorded, with a manifest and the poses beside them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ..Model.DeviceMessage import DeviceMessage
from ..Model.Errors import RecordingError
from ..Model.Event import Event
from .FrameTimes import FrameTimes, Origin
from .Header import checkAttributes, isoTime
from .Layout import LINES, LOCK, MANIFEST, MESSAGES, candidates, fileName, nothingIsNamed, reasonOf
from .Lines import GrowingLines, Missed, PartGone
from .Lock import Lock
from .Manifest import writeManifest
from .MessageLines import MessageLine, MessagesLine
from .Poses import PoseFile
from .Reading import readMessages


class Tally:
    """Counts what a file of messages holds."""

    def __init__(self) -> None:
        self.count = 0
        self.gaps: list[Missed] = []
        """Those that the lines tell."""
        self.last: MessageLine | None = None
        self._first, self._latest = math.inf, -math.inf
        self._devices: dict[tuple[str, str], dict[str, Any]] = {}

    def add(self, line: MessageLine) -> None:
        """Count a message."""
        self.count += 1
        self.last = line
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
        self, head: MessagesLine, poses: Mapping[str, PoseFile], failed: int, gaps: Sequence[Missed], finishedBy: str
    ) -> dict[str, Any]:
        """The whole manifest; at least one message was counted.

        :param poses: the finished files of poses, by device.
        :param failed: messages that came and are not stored.
        :param finishedBy: "stop" or "repair".
        """
        entries = []
        for (device, kind), entry in self._devices.items():
            file = poses.get(device) if kind == "transform" else None
            known: dict[str, Any] = {"transforms": None, "poses": 0, "posesLeftOut": 0}
            if file:
                known = {"transforms": os.path.basename(file.path), "poses": file.count, "posesLeftOut": file.leftOut}
            entries.append({**entry, **(known if kind == "transform" else {})})
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
            "lastNumber": self.last.number if self.last else None,
            "finishedBy": finishedBy,
            "versions": dict(head.versions),
            "devices": entries,
        }


def claimMessages(folder: str, name: str) -> tuple[Lock, str]:
    """The lock of the first free base name: NAME.messages, NAME_1.messages and so on.

    :raises OSError: the lock cannot be made.
    """
    for candidate in candidates(fileName(name)):
        base = candidate + MESSAGES
        if not nothingIsNamed(folder, base):
            continue
        lock = Lock.claim(os.path.join(folder, base + LOCK))
        if lock and nothingIsNamed(folder, base, besides=LOCK):
            return lock, base
        # Another process recorded under this name, and ended, between the two looks.
        if lock:
            lock.release(remove=True)
    raise AssertionError("there is no end of names")


class MessageFile:
    """Takes lines, and leaves file, poses and manifest.

    :param folder: where the recording is.
    :param lock: of the name; released by :meth:`finish` or :meth:`abandon`.
    :param head: the first line.
    :raises OSError: the file cannot be made; the lock is released.
    """

    def __init__(self, folder: str, lock: Lock, head: MessagesLine) -> None:
        self.folder, self.head = folder, head
        self._lock = lock
        self.tally = Tally()
        self.firstNumber = -1
        self._poses: dict[str, PoseFile] = {}
        try:
            self._lines = GrowingLines(self.path(LINES), head.toBytes())
        except OSError:
            lock.release(remove=True)
            raise

    def path(self, suffix: str) -> str:
        """Of one of the files."""
        return os.path.join(self.folder, self.head.recording + suffix)

    def append(self, line: MessageLine) -> None:
        """Store one message; when it returns the message is acknowledged.

        :raises PartGone: the file was removed.
        :raises OSError: it cannot be written.
        """
        self._lines.append(line.toBytes())
        if self.firstNumber < 0:
            self.firstNumber = line.number
        self.tally.add(line)
        addPose(self._poses, line, self.folder, self.head)

    @property
    def whole(self) -> bool:
        """Whether all acknowledged messages are there."""
        return self._lines.whole

    def finish(self, failed: int, gaps: Sequence[Missed]) -> str:
        """Close all; the path of the manifest, empty when there was no message and nothing is left.

        :raises OSError: something cannot be written; the messages are kept, and a repair finishes.
        """
        done = False
        try:
            self._lines.close()
            if self.tally.count:
                self._finish(failed, gaps)
            else:
                os.unlink(self.path(LINES))
            done = True
        finally:
            self._lock.release(remove=done)
        return self.path(MANIFEST) if self.tally.count else ""

    def abandon(self) -> None:
        """Let go of a file that somebody removed or cut: a repair finishes what is left of it."""
        self._lines.close()
        gone = not os.path.lexists(self.path(LINES))
        if gone:
            for poses in self._poses.values():
                poses.discard()
        self._lock.release(remove=gone)

    def _finish(self, failed: int, gaps: Sequence[Missed]) -> None:
        self._lines.trim()
        try:
            finishPoses(self._poses.values())
        except OSError:
            self._poses = writePoses(self.folder, self.head)
        manifest = self.tally.manifest(self.head, self._poses, failed, gaps, "stop")
        writeManifest(self.path(MANIFEST), {**manifest, "bytes": self._lines.bytes, "cutBytes": 0})


MOST_DEVICES = 500
"""That get a file of poses: every device is a name that anybody on the network may choose."""


def addPose(poses: dict[str, PoseFile], line: MessageLine, folder: str, head: MessagesLine) -> None:
    """Add the pose of a message, if it has one, to the file of its device, which is made with the first; the poses of
    devices beyond MOST_DEVICES are messages only."""
    matrix = line.pose
    if matrix is None:
        return
    device = line.message.device
    if device not in poses:
        if len(poses) >= MOST_DEVICES:
            return
        poses[device] = PoseFile(folder, head.recording.removesuffix(MESSAGES), (head.recording, device))
    poses[device].add(matrix, line.time, line.clock, line.poseStatus)


def finishPoses(poses: Iterable[PoseFile]) -> None:
    """:raises OSError: a file is not whole."""
    for file in poses:
        file.finish()


def writePoses(folder: str, head: MessagesLine) -> dict[str, PoseFile]:
    """Make the files of poses from the messages; by device. Half written ones are written anew.

    :raises OSError: a file cannot be read or written.
    """
    poses: dict[str, PoseFile] = {}
    for line in readMessages(os.path.join(folder, head.recording + LINES)):
        addPose(poses, line, folder, head)
    finishPoses(poses.values())
    return poses


class MessageRecorder:
    """All messages of one process in one recording, called from one thread. The file is made with the first message.

    :param folder: must exist by the first message, otherwise that one fails.
    :param name: of the recording, as for :class:`Recorder`.
    :param attributes: of the recording; names matching ATTRIBUTE_NAME.
    :param origin: that of the recording's images; None when there are none.
    :raises RecordingError: an attribute's name or value cannot be kept.
    """

    def __init__(self, folder: str, name: str, attributes: Mapping[str, str], origin: Origin | None = None) -> None:
        checkAttributes(attributes)
        self.folder, self.name, self.attributes = folder, name, dict(attributes)
        self.recorded = 0
        """Messages that are stored. Those whose file somebody removed are counted as failed."""
        self.failed = 0
        self.gaps: list[Missed] = []
        """Messages that are not stored, a gap that still grows not among them."""
        self._origin = origin or Origin()
        self._times: dict[tuple[str, str], FrameTimes] = {}
        self._number = 0
        self._file: MessageFile | None = None
        self._gap: Missed | None = None
        self._events: list[Event] = []
        self._paths: list[str] | None = None

    def append(self, message: DeviceMessage) -> bool:
        """Store a message. True: its line is written, no kill takes it back. False: it failed and is counted; later
        messages are tried again. Never raises for what the file system does.

        :raises RecordingError: the recording is finished.
        """
        if self._paths is not None:
            raise RecordingError(f"The recording of the messages of {self.name!r} is finished.")
        number, self._number = self._number, self._number + 1
        try:
            try:
                self._store(number, message)
            except PartGone:
                self._dropLost()
                self._store(number, message)
        except OSError as error:
            self._fail(number, error)
            return False
        self._endGap()
        return True

    def events(self) -> list[Event]:
        """What happened since the last call: "recording-failed" when storing began to fail, "recording-gap" when it
        works again or ended, "recording-unfinished" when a repair has to finish the file."""
        events, self._events = self._events, []
        return events

    def finish(self) -> list[str]:
        """Close the file; the path of its manifest, for :func:`openMessages`, if a message was stored. The second call
        does nothing more."""
        if self._paths is not None:
            return self._paths
        if self._file and not self._file.whole:
            self._dropLost()
        self._endGap()
        self._paths = []
        if self._file:
            try:
                path = self._file.finish(self.failed, self.gaps)
                self._paths = [path] if path else []
            except OSError as error:
                path, reason = self._file.path(LINES), reasonOf(error)
                text = (
                    f"What goes with {path} cannot be written: {reason}. All messages are kept; a repair finishes it."
                )
                self._events.append(Event("recording-unfinished", text, "error", path))
        return self._paths

    def _store(self, number: int, message: DeviceMessage) -> None:
        times = self._times.setdefault((message.kind, message.device), FrameTimes(self._origin))
        times.begin(message)
        if message.kind == "transform" and self._origin.reference is None:
            self._origin.reference = times
        time = times.of(message)
        if self._file is None:
            lock, base = claimMessages(self.folder, self.name)
            head = MessagesLine(base, self.name, self._origin.arrival or 0.0, self.attributes)
            self._file = MessageFile(self.folder, lock, head)
        self._file.append(MessageLine(number, time.seconds, time.clock, message, self._gap))
        times.take(message, time)
        self.recorded += 1

    def _dropLost(self) -> None:
        """Count the messages as failed whose file somebody has removed or cut; the next file has another name."""
        if self._file is None:
            return
        file, self._file = self._file, None
        file.abandon()
        count = file.tally.count
        if count and file.tally.last:
            self.recorded -= count
            self.failed += count
            reason = f"{file.head.recording} was removed or cut"
            self._tellGap(Missed(file.firstNumber, file.tally.last.number, count, reason))

    def _fail(self, number: int, error: OSError) -> None:
        reason = reasonOf(error)
        self.failed += 1
        if self._gap:
            self._gap = Missed(self._gap.first, number, self._gap.count + 1, self._gap.reason)
            return
        self._gap = Missed(number, number, 1, reason)
        text = f"Messages of devices are not stored in {self.folder} from message {number} on: {reason}."
        self._events.append(Event("recording-failed", text, "error", self.folder))

    def _endGap(self) -> None:
        if self._gap:
            self._tellGap(self._gap)
        self._gap = None

    def _tellGap(self, gap: Missed) -> None:
        self.gaps.append(gap)
        which = f"message {gap.first} is" if gap.count == 1 else f"messages {gap.first} to {gap.last} ({gap.count}) are"
        text = f"Of the devices {which} not stored in {self.folder}: {gap.reason}."
        self._events.append(Event("recording-gap", text, "error", self.folder))
