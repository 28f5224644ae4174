"""The growing file of messages and the poses beside it, from the first message to the manifest."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from .GrowingLines import GrowingLines
from .Layout import LINES, LOCK, MANIFEST, MESSAGES, candidates, fileName, nothingIsNamed
from .Lines import Missed
from .Lock import Lock
from .Manifest import writeManifest
from .MessageLines import MessageLine, MessagesLine
from .MessageManifest import Tally
from .PoseFile import PoseFile
from .ReadingMessages import readMessages


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
