"""Reading of finished recordings: frames with their pixels, and device messages."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, TypedDict

import numpy as np

from ..Formats.ImageFile import DEFAULT_LIMIT
from ..Formats.NRRD import composeFields, unescaped
from ..Formats.Raw import openFile, readUpTo
from ..Model.Errors import NotAnImageError, RecordingError
from ..Model.Files import openRegular, parsedJSON, reasonOf
from ..Model.Frame import Matrix, Pixels
from ..Model.Poses import OK
from ..Model.Text import sentence, textsOf
from .AppendLog import writeManifest
from .Header import FRAME, RECORDING
from .Layout import HEADER, MANIFEST, isFileName
from .Lines import POSE, POSE_WITHIN, FrameLine, MessageLine, MessagesLine, PartLine, checkNumbers

_ = textsOf(__file__)

LONGEST_HEADER, LONGEST_LINE = 1 << 30, 1 << 24
"""Most bytes of a header or manifest, and of the first line of messages."""
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
_FRAME_KEY = re.compile(rf"axis 3 item [0-9]+ {FRAME}")


class FrameEntry(TypedDict):
    """One frame of a part: fields as in :class:`Frame`; ``time`` and ``clock`` as in :class:`FrameLine`."""

    number: int
    ijkToRAS: Matrix
    deviceTime: float | None
    receiveTime: float
    time: float
    clock: str
    attributes: dict[str, str]


@dataclass(frozen=True, eq=False)
class RecordedPart:
    """A part of a recording.

    :param path: path of the header.
    :param rawPath: path of the pixels.
    :param shape: shape of a frame, (k, j, i) or (k, j, i, 3|4).
    :param dtype: type with the byte order of the file.
    :param times: index of each frame: seconds since the recording's first frame in any stream, strictly increasing.
    :param start: time of index 0, seconds since the epoch (UTC).
    :param attributes: attributes of the recording.
    :param origin: time of index 0, seconds since the epoch (UTC), by the clock of the recording computer.
    """

    path: str
    rawPath: str
    recording: str
    stream: str
    part: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: float
    times: list[float]
    frames: list[FrameEntry]
    attributes: dict[str, str]
    origin: float

    @property
    def count(self) -> int:
        """Number of frames."""
        return len(self.frames)

    @property
    def frameBytes(self) -> int:
        """Bytes of the pixels of one frame."""
        return math.prod(self.shape) * self.dtype.itemsize

    def offset(self, index: int) -> int:
        """Byte offset of a frame's pixels in the raw file.

        :param index: place of the frame in the part, from 0.
        :raises IndexError: the part has no such frame.
        """
        if not 0 <= index < self.count:
            raise IndexError(f"The part has {self.count} frames, none at {index}.")
        return index * self.frameBytes

    def pixels(self, index: int) -> Pixels:
        """Return a copy of a frame's pixels, in native byte order.

        :param index: place of the frame in the part, from 0.
        :raises RecordingError: the pixels cannot be read.
        """
        try:
            pixels: Pixels = np.empty(self.shape, self.dtype)
            with openRegular(self.rawPath) as file:
                file.seek(self.offset(index))
                view = pixels.data.cast("B")
                while view and (got := file.readinto(view)):
                    view = view[got:]
        except OSError as error:
            raise _unreadable(self.rawPath, error) from error
        except MemoryError as error:
            text = _("There is not enough memory for a frame of {rawPath}.").format(rawPath=self.rawPath)
            raise RecordingError(text) from error
        if view:
            raise RecordingError(_("{rawPath} ends within frame {index}.").format(rawPath=self.rawPath, index=index))
        return pixels.astype(self.dtype.newbyteorder("="), copy=False)


def isRecording(path: str) -> bool:
    """Return whether a file is the header of a recording, even a damaged one.

    :raises OSError: the file cannot be read.
    """
    if not path.endswith(HEADER):
        return False
    with openFile(path) as file:
        data = readUpTo(file, min(LONGEST_HEADER, os.fstat(file.fileno()).st_size))
    return f"\n{RECORDING}:=".encode() in data


def openRecording(path: str) -> RecordedPart:
    """Read the header of a part, without the pixels.

    :param path: path of a ``.seq.nhdr`` file of a recording.
    :raises RecordingError: the file is something else, or pixels are missing.
    """
    name = os.path.basename(path)
    data = _read(path, LONGEST_HEADER)
    fields, lines = _parse(data)
    if RECORDING not in fields or "data file" not in fields or not path.endswith(HEADER):
        raise RecordingError(_("{name} is not a recording of this module.").format(name=name))
    try:
        part = PartLine.fromText(fields[RECORDING])
        frames = [FrameLine.fromText(line) for line in lines]
        sizes = [int(size) for size in fields["sizes"].split()]
    except (ValueError, KeyError) as error:
        raise _damaged(name, error) from error
    expected = [*part.shape[3:], *reversed(part.shape[:3]), len(frames)]
    if sizes != expected:
        raise RecordingError(
            _("{name} is damaged: it declares the sizes {sizes} and describes {expected}.").format(
                name=name, sizes=str(sizes), expected=str(expected)
            )
        )
    if voxels := _contradiction(part, fields):
        raise RecordingError(_("{name} is damaged: {voxels}.").format(name=name, voxels=voxels))
    if not frames:
        raise RecordingError(_("{name} is damaged: it describes no frame.").format(name=name))
    if not isFileName(fields["data file"]):
        raise RecordingError(_("{name} is damaged: its pixels are not beside it.").format(name=name))
    if any(later.time <= earlier.time for earlier, later in pairwise(frames)):
        raise RecordingError(_("{name} is damaged: the times of its frames do not increase.").format(name=name))
    if part.frameBytes > DEFAULT_LIMIT:
        text = _("{name} is damaged: it declares frames of {size:,} bytes; the limit is {limit:,}.")
        raise RecordingError(text.format(name=name, size=part.frameBytes, limit=DEFAULT_LIMIT))
    rawPath = os.path.join(os.path.dirname(path), fields["data file"])
    _checkSize(rawPath, len(frames) * part.frameBytes, len(frames))
    return RecordedPart(
        path,
        rawPath,
        part.recording,
        part.stream,
        part.part,
        part.shape,
        part.type,
        part.start,
        [line.time for line in frames],
        [_entry(part, line) for line in frames],
        dict(part.attributes),
        _origin(part, frames),
    )


def linesOf(path: str) -> list[bytes]:
    """Return what a header has of the lines of its part: the description of the part, and the line of each frame.

    :param path: path of a ``.seq.nhdr`` file of a recording.
    :raises RecordingError: as :func:`openRecording`.
    """
    openRecording(path)
    fields, lines = _parse(_read(path, LONGEST_HEADER))
    return [text.encode() for text in (fields[RECORDING], *lines)]


def noteChecksum(manifestPath: str, path: str, sha256: str) -> None:
    """Write the checksum of a part's pixels into the manifest.

    :param path: path of the part's header.
    :param sha256: SHA-256 of the file of pixels, hexadecimal.
    :raises RecordingError: the manifest cannot be read or written, or does not name the part.
    """
    try:
        with openRegular(manifestPath) as file:
            manifest: dict[str, Any] = parsedJSON(file.read())
        entries: list[Mapping[str, Any]] = manifest["parts"]
        names = [entry["header"] for entry in entries]
        if os.path.basename(path) not in names:
            raise RecordingError(
                _("{manifestPath} does not name the part {name}.").format(
                    manifestPath=manifestPath, name=os.path.basename(path)
                )
            )
        manifest["parts"][names.index(os.path.basename(path))]["sha256"] = sha256
        writeManifest(manifestPath, manifest)
    except OSError as error:
        raise RecordingError(
            _("{manifestPath} cannot be read or written: {reason}.").format(
                manifestPath=manifestPath, reason=reasonOf(error)
            )
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(manifestPath, error) from error


def _read(path: str, most: int, whole: bool = True) -> bytes:
    """Return the bytes of a file, at most ``most`` of them.

    :param whole: a longer file is an error.
    :raises RecordingError: the path is a pipe, device or folder, or the file is too long or cannot be read.
    """
    if "\0" in path:
        raise RecordingError(_("{path!r} is not the path of a file.").format(path=path))
    try:
        with openFile(path) as file:
            data = readUpTo(file, min(most + 1, os.fstat(file.fileno()).st_size))
    except NotAnImageError as error:
        raise RecordingError(str(error)) from error
    except OSError as error:
        raise _unreadable(path, error) from error
    if whole and len(data) > most:
        text = _("{path} has more than {most:,} bytes, and is not a recording of this module.")
        raise RecordingError(text.format(path=path, most=most))
    return data


def _damaged(name: str, error: Exception) -> RecordingError:
    return RecordingError(_("{name} is damaged: {reason}").format(name=name, reason=sentence(reasonOf(error))))


def _unreadable(path: str, error: OSError) -> RecordingError:
    return RecordingError(_("{path} cannot be read: {reason}.").format(path=path, reason=reasonOf(error)))


def _parse(data: bytes) -> tuple[dict[str, str], list[str]]:
    """Fields and attributes by name, and the lines of the frames in their order."""
    fields: dict[str, str] = {}
    lines: list[str] = []
    for line in data.decode("utf-8", "replace").split("\n"):
        key, pair, value = line.partition(":=")
        if pair and _FRAME_KEY.fullmatch(key):
            lines.append(unescaped(value))
        elif pair and ": " not in key:
            fields[key] = unescaped(value)
        else:
            key, _, value = line.partition(": ")
            fields.setdefault(key, value)
    return fields, lines


def _contradiction(part: PartLine, fields: Mapping[str, str]) -> str:
    """Return what the fields of the header and the description say of the voxels if they differ; else nothing."""
    for field in composeFields(part.type, part.shape, np.eye(4)):
        name, _colon, described = field.partition(": ")
        if name in ("type", "endian", "encoding") and fields.get(name, "") != described:
            text = _("it declares {name} {declared} and describes {described}")
            return text.format(name=name, declared=repr(fields.get(name, "")), described=repr(described))
    return ""


def _entry(part: PartLine, line: FrameLine) -> FrameEntry:
    matrix = np.array(line.ijkToRAS or part.ijkToRAS, dtype=np.float64).reshape(4, 4)
    return {
        "number": line.number,
        "ijkToRAS": matrix,
        "deviceTime": line.deviceTime,
        "receiveTime": line.receiveTime,
        "time": line.time,
        "clock": line.clock,
        "attributes": dict(line.attributes),
    }


def _origin(part: PartLine, frames: Sequence[FrameLine]) -> float:
    if part.origin is not None:
        return part.origin
    return frames[0].receiveTime - frames[0].time if frames else part.start


def _checkSize(rawPath: str, expected: int, count: int) -> None:
    try:
        size = os.path.getsize(rawPath)
    except OSError as error:
        raise RecordingError(
            _("The pixels {rawPath} cannot be read: {reason}.").format(rawPath=rawPath, reason=reasonOf(error))
        ) from error
    # A repair keeps pixels behind the frames whose lines were lost.
    if size < expected:
        raise RecordingError(
            _("{rawPath} has {size:,} bytes; {count} frames need {expected:,}.").format(
                rawPath=rawPath, size=size, count=count, expected=expected
            )
        )


class Pose(NamedTuple):
    """A pose of a device.

    :param time: index, seconds.
    :param matrix: 16 numbers row by row, device to RAS, millimetres.
    :param status: "OK", or the status of a tool that the tracker does not see, such as "MISSING".
    """

    device: str
    time: float
    matrix: tuple[float, ...]
    status: str = OK


@dataclass(frozen=True)
class RecordedMessages:
    """The messages of one process in one recording.

    :param path: path of the manifest.
    :param linesPath: path of the messages.
    :param recording: base name of these files.
    :param name: name of the recording.
    :param origin: time of index 0, seconds since the epoch (UTC), by the clock of the recording computer.
    :param count: number of messages.
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
        """Yield all messages, in the order in which they were stored.

        :raises RecordingError: the file cannot be read.
        """
        try:
            yield from readMessages(self.linesPath)
        except OSError as error:
            raise _unreadable(self.linesPath, error) from error

    def poses(self, invalid: bool = False) -> Iterator[Pose | None]:
        """Yield all poses with their exact times, in the order in which they were stored; None for each other message,
        so that a caller can divide the work into short steps.

        :param invalid: True to yield each matrix without numbers or without an inverse, too, as the identity with the
            status INVALID.
        :raises RecordingError: the file cannot be read.
        """
        try:
            with openRegular(self.linesPath) as file:
                for text in file:
                    yield _pose(text, invalid)
        except OSError as error:
            raise _unreadable(self.linesPath, error) from error


def openMessages(path: str) -> RecordedMessages:
    """Read the manifest of a recording's messages, without the messages.

    :param path: path of a ``.messages.json`` file of a recording.
    :raises RecordingError: the file is something else, or the messages are missing.
    """
    folder, name = os.path.split(path)
    try:
        manifest: dict[str, Any] = parsedJSON(_read(path, LONGEST_HEADER))
        if not isFileName(manifest["messages"]):
            raise RecordingError(_("{name} is damaged: its messages are not beside it.").format(name=name))
        linesPath = os.path.join(folder, manifest["messages"])
        head = MessagesLine.fromText(_read(linesPath, LONGEST_LINE, whole=False).partition(b"\n")[0])
        if head.recording + MANIFEST != name:
            raise RecordingError(_("{name} is not the manifest of {linesPath}.").format(name=name, linesPath=linesPath))
        files = {entry["device"]: entry["transforms"] for entry in manifest["devices"] if entry.get("transforms")}
        checkNumbers(manifest["recorded"])
        if not all(isinstance(device, str) for device in files):
            raise ValueError(_("The names of the devices are damaged."))
        if not all(map(isFileName, files.values())):
            raise RecordingError(_("{name} is damaged: its transforms are not beside it.").format(name=name))
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
        raise _unreadable(str(error.filename), error) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(name, error) from error


def readMessages(path: str) -> Iterator[MessageLine]:
    """Yield the messages of a file, up to a damaged or unfinished line.

    :raises OSError: the file cannot be read.
    """
    with openRegular(path) as file:
        file.readline()
        for text in file:
            try:
                if not text.endswith(b"\n"):
                    return
                yield MessageLine.fromText(text)
            except ValueError:
                return


def _pose(text: bytes, invalid: bool) -> Pose | None:
    if POSE not in text[:POSE_WITHIN]:
        return None
    try:
        line = MessageLine.fromText(text)
    except ValueError:
        return None
    matrix = line.pose or (_IDENTITY if invalid else None)
    return None if matrix is None else Pose(line.message.device, line.time, matrix, line.poseStatus)
