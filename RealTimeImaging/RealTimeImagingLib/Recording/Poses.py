"""Sequences of linear transforms that Slicer opens: poses of devices and of moving images.

Slicer reads them from a MetaImage file without pixels (``.seq.mha``), in which each transform is a line of the header.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

import numpy as np

from ..Model.Files import openPrivate, openRegular, removeFile, writeAll
from ..Model.Frame import Matrix
from ..Model.Poses import OK
from .Layout import baseName, candidates

STEP = 2
"""Least distance of two poses, milliseconds."""
DEVICE_SHIFT, ARRIVAL_SHIFT = 2, 100
"""Most milliseconds by which the index of a pose exceeds its time: device times are exact, arrival times are not."""
SUFFIX = ".seq.mha"
_FIRST = "ObjectType = Image\n"
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
_END = "ElementDataFile = LOCAL\n"
_IDENTITY = "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1"
_BUFFER = 1 << 16
"""Bytes that wait in memory: the messages are what is acknowledged, and poses can be made from them again."""
_COUNT = 10
"""Characters for the number of poses, which is written last."""
_FLAGS = os.O_RDWR | getattr(os, "O_BINARY", 0)


def composePoses(
    ijkToRAS: Sequence[float], matrices: Sequence[Sequence[float] | None], indexValues: Sequence[str]
) -> bytes:
    """Compose the file of a part's poses.

    :param ijkToRAS: geometry of the part, 16 numbers row by row, millimetres.
    :param matrices: geometry of each frame, in the same form; None: that of the part.
    :param indexValues: index of each frame, as in the part's header.
    """
    part: Matrix = np.array(ijkToRAS).reshape(4, 4)
    out = [_FIRST, _HEAD.format(count=len(matrices))]
    for number, (matrix, index) in enumerate(zip(matrices, indexValues, strict=True)):
        text = _IDENTITY if matrix is None else _transform(np.array(matrix).reshape(4, 4), part)
        out.append(_poseLines(number, text, index))
    out.append(_END)
    return "".join(out).encode("ascii")


class PoseFile:
    """Growing file of the poses of one device. Errors are kept until :meth:`finish`, because the file can be made again
    from the messages.

    :param folder: folder of the recording.
    :param name: name of the recording.
    :param mark: base name of the messages, and device; by it a repair recognizes an unfinished file.
    """

    def __init__(self, folder: str, name: str, mark: tuple[str, str]) -> None:
        self.count = self.leftOut = 0
        self.path = ""
        """Path of the file; empty when it could not be made."""
        self._lastIndex: int | None = None
        self._error: OSError | None = None
        first = f"{_FIRST}Messages = {json.dumps(mark)}\n"
        head = first + _HEAD.format(count=" " * _COUNT)
        self._countAt = len(first) + _HEAD.index("{count}")
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
        :param seconds: index, above that of the pose before.
        :param clock: origin of ``seconds``, "device" or another.
        :param status: status by the device, one word.
        """
        index = round(1000 * seconds)
        if self._lastIndex is not None and index < self._lastIndex + STEP:
            index = self._lastIndex + STEP
            if index - 1000 * seconds > (DEVICE_SHIFT if clock == "device" else ARRIVAL_SHIFT):
                self.leftOut += 1
                return
        self._lastIndex = index
        text = _poseLines(self.count, _numbersOf(matrix), f"{index / 1000:.3f}", status).encode("ascii")
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
        """Write the remaining poses and their number.

        :raises OSError: the file is incomplete; it can be made again from the messages.
        """
        if self._error:
            raise self._error
        self._waiting.append(_END.encode("ascii"))
        self._flush()

    def discard(self) -> None:
        """Remove the file."""
        if self.path:
            removeFile(self.path)

    def _flush(self) -> None:
        # Opened each time, because there may be hundreds of devices.
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
        """Make an empty file under the first free name, or reuse the file of a dead process."""
        base = baseName(name, device)
        if base.lower().endswith(".poses"):
            base += "_"  # a stream of images may use that name
        for candidate in candidates(base):
            path = os.path.join(folder, candidate + SUFFIX)
            try:
                handle = openPrivate(path, _FLAGS | os.O_CREAT | os.O_EXCL)
            except FileExistsError:
                if not _isOurs(path, first):
                    continue
                handle = os.open(path, _FLAGS | os.O_TRUNC)
            os.close(handle)
            return path
        raise AssertionError("the names are endless")


def _poseLines(number: int, matrix: str, index: str, status: str = OK) -> str:
    """Return the lines of one pose.

    :param number: number of the pose, from 0.
    :param matrix: 16 numbers row by row.
    :param index: index; the reader rounds it to 0.001.
    :param status: one word.
    """
    frame = f"Seq_Frame{number:04d}_"
    return f"{frame}PoseTransform = {matrix}\n{frame}PoseTransformStatus = {status}\n{frame}Timestamp = {index}\n"


def _numbersOf(matrix: Sequence[float]) -> str:
    # repr() keeps every float64 exactly; adding 0.0 avoids "-0.0".
    return " ".join([repr(value + 0.0) for value in matrix])


def _transform(matrix: Matrix, part: Matrix) -> str:
    """``matrix`` times the inverse of ``part``, with a last row of exactly 0 0 0 1."""
    transform = np.eye(4)
    transform[:3, :3] = matrix[:3, :3] @ np.linalg.inv(part[:3, :3])
    transform[:3, 3] = matrix[:3, 3] - transform[:3, :3] @ part[:3, 3]
    return _numbersOf(transform.ravel().tolist())


def _isOurs(path: str, first: bytes) -> bool:
    """Whether a file begins with these bytes, or is the beginning of them. A link leads to a file of the user."""
    if os.path.islink(path):
        return False
    try:
        with openRegular(path) as file:
            found = file.read(len(first))
    except OSError:
        return False
    return found == first or first.startswith(found)
