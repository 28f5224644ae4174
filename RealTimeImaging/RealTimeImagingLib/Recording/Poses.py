"""Sequences of linear transforms that Slicer opens: the poses of devices and of moving images."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence

import numpy as np

from ..Model.Files import openPrivate, writeAll
from ..Model.Frame import Matrix
from .Layout import baseName, candidates

_HEAD = """NDims = 3
AnatomicalOrientation = RAI
BinaryData = True
CompressedData = False
DimSize = 0 0 {count}
ElementSpacing = 1 1 1
Offset = 0 0 0
TransformMatrix = 1 0 0 0 1 0 0 0 1
ElementType = MET_UCHAR
Kinds = domain domain list
"""
POSE_FIRST = "ObjectType = Image\n"
POSE_END = "ElementDataFile = LOCAL\n"
_NONE = "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1"


def composePoses(
    ijkToRAS: Sequence[float], matrices: Sequence[Sequence[float] | None], indexValues: Sequence[str]
) -> bytes:
    """The text of a part's poses.

    :param ijkToRAS: of the part, 16 numbers row by row, millimetres.
    :param matrices: of each frame, the same; None: that of the part.
    :param indexValues: of each frame, as in the part's header.
    """
    part: Matrix = np.array(ijkToRAS).reshape(4, 4)
    out = [POSE_FIRST, poseHead(str(len(matrices)))]
    for number, (matrix, index) in enumerate(zip(matrices, indexValues, strict=True)):
        text = _NONE if matrix is None else _transform(np.array(matrix).reshape(4, 4), part)
        out.append(poseLines(number, text, index))
    out.append(POSE_END)
    return "".join(out).encode("ascii")


def poseHead(count: str) -> str:
    """What stands between the first line and the poses.

    :param count: how many there are; spaces may follow.
    """
    return _HEAD.format(count=count)


OK = "OK"
"""Status of a pose whose tool the tracker sees."""


def poseLines(number: int, matrix: str, index: str, status: str = OK) -> str:
    """One pose.

    :param number: from 0.
    :param matrix: 16 numbers row by row.
    :param index: what the reader rounds to 0.001.
    :param status: one word.
    """
    frame = f"Seq_Frame{number:04d}_"
    return f"{frame}PoseTransform = {matrix}\n{frame}PoseTransformStatus = {status}\n{frame}Timestamp = {index}\n"


def matrixText(matrix: Sequence[float]) -> str:
    """:param matrix: 16 numbers row by row."""
    # repr: every float64 comes back as it was. Plus 0.0: no "-0.0".
    return " ".join([repr(value + 0.0) for value in matrix])


def _transform(matrix: Matrix, part: Matrix) -> str:
    """``matrix`` times the inverse of ``part``, with a last row that is exactly 0 0 0 1."""
    transform = np.eye(4)
    transform[:3, :3] = matrix[:3, :3] @ np.linalg.inv(part[:3, :3])
    transform[:3, 3] = matrix[:3, 3] - transform[:3, :3] @ part[:3, 3]
    return matrixText(transform.ravel().tolist())


POSES_OF = ".seq.mha"
STEP = 2
"""Milliseconds: least distance of two poses."""
DEVICE_SHIFT, ARRIVAL_SHIFT = 2, 100
"""Milliseconds by which a pose may stand later than its time: that of a device is true, that of an arrival is not."""
_BUFFER = 1 << 16
"""Bytes that wait in memory: the file is not what is acknowledged."""
_COUNT = 10
"""Places for the number of poses, which is written last."""
_FLAGS = os.O_RDWR | getattr(os, "O_BINARY", 0)


class PoseFile:
    """Errors are kept until :meth:`finish`: what cannot be written now can be made later.

    :param folder: where the recording is.
    :param name: what the file's name begins with.
    :param mark: by which a file is known as ours, also half written: base name of the messages, and device.
    """

    def __init__(self, folder: str, name: str, mark: tuple[str, str]) -> None:
        self.count = self.leftOut = 0
        self.path = ""
        """Of the file; empty when none could be made."""
        self._lastIndex: int | None = None
        self._error: OSError | None = None
        first = f"{POSE_FIRST}Messages = {json.dumps(mark)}\n"
        head = first + poseHead(" " * _COUNT)
        self._countAt = len(first) + poseHead("\0").index("\0")
        self._size = 0
        self._waiting, self._waitingBytes = [head.encode("ascii")], len(head)
        try:
            self.path = self._claim(folder, name, mark[1], first.encode("ascii"))
            self._flush()
        except OSError as error:
            self._error = error

    def add(self, matrix: Sequence[float], seconds: float, clock: str, status: str = OK) -> None:
        """Add a pose.

        :param matrix: 16 numbers row by row, device to RAS, millimetres.
        :param seconds: its index, above the last.
        :param clock: what ``seconds`` comes from, "device" or another.
        :param status: as the device gave it, one word.
        """
        index = round(1000 * seconds)
        if self._lastIndex is not None and index < self._lastIndex + STEP:
            index = self._lastIndex + STEP
            if index - 1000 * seconds > (DEVICE_SHIFT if clock == "device" else ARRIVAL_SHIFT):
                self.leftOut += 1
                return
        self._lastIndex = index
        text = poseLines(self.count, matrixText(matrix), f"{index / 1000:.3f}", status).encode("ascii")
        self.count += 1
        if self._error:
            return
        self._waiting.append(text)
        self._waitingBytes += len(text)
        if self._waitingBytes >= _BUFFER:
            try:
                self._flush()
            except OSError as error:
                self._error, self._waiting = error, []

    def finish(self) -> None:
        """Write what is left and the number of poses.

        :raises OSError: the file is not whole; it can be made from the messages.
        """
        if self._error:
            raise self._error
        self._waiting.append(POSE_END.encode("ascii"))
        self._flush()

    def discard(self) -> None:
        """Remove the file."""
        try:
            if self.path:
                os.unlink(self.path)
        except OSError:
            pass

    def _flush(self) -> None:
        # Opened each time: a peer may name any number of devices.
        handle = os.open(self.path, _FLAGS)
        try:
            if os.fstat(handle).st_size != self._size:
                raise OSError(f"{self.path} was changed")
            os.lseek(handle, self._size, os.SEEK_SET)
            data = b"".join(self._waiting)
            writeAll(handle, data)
            os.lseek(handle, self._countAt, os.SEEK_SET)
            writeAll(handle, f"{self.count:<{_COUNT}}".encode("ascii"))
        finally:
            os.close(handle)
        self._size += len(data)
        self._waiting, self._waitingBytes = [], 0

    @staticmethod
    def _claim(folder: str, name: str, device: str, first: bytes) -> str:
        """Make an empty file under the first name that is free, or take the one that a dead process left."""
        for path in _paths(folder, name, device):
            try:
                handle = openPrivate(path, _FLAGS | os.O_CREAT | os.O_EXCL)
            except FileExistsError:
                if not _isOurs(path, first):
                    continue
                handle = os.open(path, _FLAGS | os.O_TRUNC)
            os.close(handle)
            return path
        raise AssertionError("there is no end of names")


def _paths(folder: str, name: str, device: str) -> Iterator[str]:
    base = baseName(name, device)
    if base.lower().endswith(".poses"):
        base += "_"  # a stream of images may own that name
    return (os.path.join(folder, candidate + POSES_OF) for candidate in candidates(base))


def _isOurs(path: str, first: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            found = file.read(len(first))
    except OSError:
        return False
    return found == first or first.startswith(found)
