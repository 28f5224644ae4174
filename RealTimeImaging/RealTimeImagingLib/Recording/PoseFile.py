"""The poses of one device, ``NAME-DEVICE.seq.mha``, which grow while they come: a stop has only their number to write.

The format is told in Poses.py. The index is in seconds, as that of images that are 2.5 ms apart or more. Slicer's
reader rounds it to milliseconds, and of poses with 1 ms between them it keeps only some (of 3,000 about 1,500; with
2 ms all), so here they are 2 ms apart: a pose that came closer to the one before stands a little later than it came,
and is left out where that would be too much. Poses that a device gave times are kept up to 500 a second; of those that
have only the time of their arrival, bursts of 50. All poses, with their exact times, are in the file of messages, which
is the one that counts: this one can be made from it at any time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence

from ..Private import openPrivate
from .Layout import baseName, candidates
from .Part import writeAll
from .Poses import OK, POSE_END, POSE_FIRST, matrixText, poseHead, poseLines

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
