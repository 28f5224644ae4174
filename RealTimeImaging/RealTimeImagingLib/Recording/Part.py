"""Growing files of one part: pixels, and one line a frame beside them."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace

from ..Model.Files import openPrivate, writeAll
from ..Model.Frame import Frame, Pixels
from .Header import composeHeader, indexValues, replaceFile
from .Layout import HEADER, LINES, POSES, RAW
from .Lines import LOOK_EVERY, FrameLine, PartGone, PartLine
from .Poses import composePoses

MOST_FRAMES = 3000
"""Frames of one part: building a sequence in Slicer's scene is quadratic in their number."""
_FLAGS = os.O_RDWR | getattr(os, "O_BINARY", 0)


class GrowingPart:
    """A frame is acknowledged when its pixels and then its line were written; then a kill cannot take it back.

    :param folder: where the recording is.
    :param name: of the files, without suffix; none of them may exist.
    :raises FileExistsError: the name is taken.
    :raises OSError: the files cannot be made.
    """

    def __init__(self, folder: str, name: str, part: PartLine) -> None:
        self.folder, self.name, self.part = folder, name, part
        self.times: list[float] = []
        self.numbers: list[int] = []
        self.moves = False
        """Whether a frame has another geometry than the part."""
        self._matrices: list[Sequence[float] | None] = []
        self._lines: list[bytes] = []
        self._dtype = part.type.newbyteorder("=")
        self._raw = self._text = -1
        self._textBytes = 0
        self._lookAt = 0.0
        self.finished = False
        self._raw = openPrivate(self.path(RAW), _FLAGS | os.O_CREAT | os.O_EXCL)
        try:
            self._text = openPrivate(self.path(LINES), _FLAGS | os.O_CREAT | os.O_EXCL)
            first = part.toBytes()
            writeAll(self._text, first)
            self._textBytes = len(first)
        except OSError:
            self._closeFiles()
            self.discard()
            raise

    def path(self, suffix: str) -> str:
        """Of one of the part's files."""
        return os.path.join(self.folder, self.name + suffix)

    @property
    def count(self) -> int:
        """Acknowledged frames."""
        return len(self.times)

    @property
    def bytes(self) -> int:
        """Of their pixels."""
        return self.count * self.part.frameBytes

    def fits(self, frame: Frame) -> bool:
        """Whether the frame can be the next of this part."""
        return (
            len(self.times) < MOST_FRAMES
            and frame.pixels.shape == self.part.shape
            and frame.pixels.dtype == self._dtype
        )

    def append(self, pixels: Pixels, line: FrameLine) -> None:
        """Store one frame; when it returns the frame is acknowledged.

        :raises PartGone: the files were removed; it is noticed within LOOK_EVERY.
        :raises OSError: it cannot be written; the files are, or will be with the next append, as they were before.
        """
        text = line.toBytes()
        try:
            if self._raw == -1:
                self._reopen()
            elif time.monotonic() >= self._lookAt:
                self._look()
            writeAll(self._raw, pixels.data)
            writeAll(self._text, text)
        except FileNotFoundError as error:
            self._closeFiles()
            if os.path.isdir(self.folder):
                raise PartGone(error.errno, "the files were removed while they grew", self.path(RAW)) from error
            raise
        except OSError:
            self._cutBack()
            raise
        self.times.append(line.time)
        self.numbers.append(line.number)
        self._matrices.append(line.ijkToRAS)
        self._lines.append(text)
        self._textBytes += len(text)
        self.moves = self.moves or line.ijkToRAS is not None

    def shift(self, seconds: float) -> None:
        """Move all frames in time, before :meth:`close`. The growing lines stay as they are: a repair moves nothing.

        :param seconds: to add to each index.
        """
        self.part = replace(self.part, start=self.part.start - seconds)
        self.times = [round(one + seconds, 6) for one in self.times]
        lines = zip(self._lines, self.times, strict=True)
        self._lines = [FrameLine.fromText(line)._replace(time=one).toBytes() for line, one in lines]

    def close(self) -> None:
        """Write the header, and the poses of frames that move; again when it failed.

        :raises OSError: it cannot be written; pixels and lines stay as they are.
        """
        self._closeFiles()
        if not self.finished:
            # More than that was left by a failed write that could not be cut back then.
            if os.path.getsize(self.path(RAW)) > self.bytes:
                os.truncate(self.path(RAW), self.bytes)
            writeFinished(self.folder, self.name, self.part, self.times, self._matrices, self._lines)
            self.finished = True
            self._lines, self._matrices = [], []

    def abandon(self) -> None:
        """Close the files and write no header."""
        self._closeFiles()

    def rest(self) -> None:
        """Close the files until the next frame, which opens them again."""
        self._closeFiles()

    def discard(self) -> None:
        """Remove the files of a part without a frame."""
        self._closeFiles()
        for suffix in (LINES, RAW):
            try:
                os.unlink(self.path(suffix))
            except OSError:
                pass

    def _look(self) -> None:
        # A removed file takes all that is written to it.
        for handle, suffix, least in ((self._raw, RAW, self.bytes), (self._text, LINES, self._textBytes)):
            opened = os.fstat(handle)
            if opened.st_size < least or not os.path.samestat(opened, os.stat(self.path(suffix))):
                raise FileNotFoundError(f"{self.path(suffix)} was replaced or cut")
        self._lookAt = time.monotonic() + LOOK_EVERY

    def _reopen(self) -> None:
        self._raw = os.open(self.path(RAW), _FLAGS)
        self._text = os.open(self.path(LINES), _FLAGS)
        self._look()
        self._cut()

    def _cut(self) -> None:
        for handle, size in ((self._raw, self.bytes), (self._text, self._textBytes)):
            os.ftruncate(handle, size)
            os.lseek(handle, size, os.SEEK_SET)

    def _cutBack(self) -> None:
        try:
            self._cut()
        except OSError:
            pass  # again when they are opened again; a repair also cuts
        self._closeFiles()

    def _closeFiles(self) -> None:
        for handle in (self._raw, self._text):
            if handle != -1:
                try:
                    os.close(handle)
                except OSError:
                    pass  # a network share may say so late; the next append opens and counts the bytes
        self._raw = self._text = -1


def writeFinished(
    folder: str,
    name: str,
    part: PartLine,
    times: Sequence[float],
    matrices: Sequence[Sequence[float] | None],
    lines: Sequence[bytes],
) -> None:
    """Write what Slicer opens: the header, and before it the poses of frames that move. Files that are there are
    replaced at once.

    :param times: index of each frame, seconds.
    :param matrices: IJKToRAS of each frame, 16 numbers; None: that of the part.
    :param lines: of each frame.
    :raises OSError: it cannot be written.
    """
    path = os.path.join(folder, name)
    if any(matrix is not None for matrix in matrices):
        replaceFile(path + POSES, composePoses(part.ijkToRAS, matrices, indexValues(times)[1]))
    replaceFile(path + HEADER, composeHeader(part, name, times, lines))
