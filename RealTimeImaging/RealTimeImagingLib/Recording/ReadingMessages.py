"""Reads what devices said while something was recorded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..Errors import RecordingError
from .Layout import MANIFEST, isFileName
from .Lines import checkNumbers, parsed
from .MessageLines import POSE, POSE_WITHIN, MessageLine, MessagesLine
from .Poses import OK


class Pose(NamedTuple):
    """:param time: index, seconds. :param matrix: 16 numbers row by row, device to RAS, millimetres.
    :param status: "OK", or what the device says of a tool that it does not see, such as "MISSING"."""

    device: str
    time: float
    matrix: tuple[float, ...]
    status: str = OK


@dataclass(frozen=True)
class RecordedMessages:
    """The messages of one process in one recording.

    :param path: of the manifest, ``linesPath`` of the messages.
    :param recording: base name of these files.
    :param name: of the recording.
    :param origin: seconds since the epoch (UTC) at which the index is 0, by the clock of the computer that recorded.
    :param count: how many messages.
    :param transforms: path of the sequence of transforms, by device.
    """

    path: str
    linesPath: str
    recording: str
    name: str
    origin: float
    count: int
    transforms: dict[str, str]
    attributes: dict[str, str]

    def messages(self) -> Iterator[MessageLine]:
        """All messages, in the order in which they were stored.

        :raises RecordingError: the file cannot be read.
        """
        try:
            yield from readMessages(self.linesPath)
        except OSError as error:
            raise RecordingError(f"{self.linesPath} cannot be read: {error.strerror}.") from error

    def poses(self) -> Iterator[Pose | None]:
        """All poses, in the order in which they were stored, with their exact times; None for what is none, so that
        whoever may not take long has its turn.

        :raises RecordingError: the file cannot be read.
        """
        try:
            with open(self.linesPath, "rb") as file:
                for text in file:
                    yield _pose(text)
        except OSError as error:
            raise RecordingError(f"{self.linesPath} cannot be read: {error.strerror}.") from error


def openMessages(path: str) -> RecordedMessages:
    """Read the manifest of a recording's messages; the messages are not read.

    :param path: of a ``.messages.json`` file that a recording left.
    :raises RecordingError: it is none, or its messages are not there.
    """
    folder, name = os.path.split(path)
    try:
        with open(path, "rb") as file:
            manifest: dict[str, Any] = parsed(file.read())
        if not isFileName(manifest["messages"]):
            raise RecordingError(f"{name} is damaged: its messages are not beside it.")
        linesPath = os.path.join(folder, manifest["messages"])
        with open(linesPath, "rb") as file:
            head = MessagesLine.fromText(file.readline())
        if head.recording + MANIFEST != name:
            raise RecordingError(f"{name} is not the manifest of {linesPath}.")
        files = {entry["device"]: entry["transforms"] for entry in manifest["devices"] if entry.get("transforms")}
        checkNumbers(manifest["recorded"])
        if not all(isinstance(device, str) for device in files):
            raise ValueError("The names of the devices are damaged.")
        if not all(map(isFileName, files.values())):
            raise RecordingError(f"{name} is damaged: its transforms are not beside it.")
        return RecordedMessages(
            path,
            linesPath,
            head.recording,
            head.name,
            head.origin,
            manifest["recorded"],
            {device: os.path.join(folder, file) for device, file in files.items()},
            dict(head.attributes),
        )
    except OSError as error:
        raise RecordingError(f"{error.filename} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordingError(f"{name} is damaged: {error}") from error


def readMessages(path: str) -> Iterator[MessageLine]:
    """The messages of a file, up to a line that is none or has no end.

    :raises OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        file.readline()
        for text in file:
            try:
                if not text.endswith(b"\n"):
                    return
                yield MessageLine.fromText(text)
            except ValueError:
                return


def _pose(text: bytes) -> Pose | None:
    if POSE not in text[:POSE_WITHIN]:
        return None
    try:
        line = MessageLine.fromText(text)
    except ValueError:
        return None
    matrix = line.pose
    return None if matrix is None else Pose(line.message.device, line.time, matrix, line.poseStatus)
