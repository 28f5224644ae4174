"""The growing files of one part: pixels, and one line a frame beside them."""

from __future__ import annotations

import os

from ..Frame import Frame, Pixels
from .Header import composeHeader, replaceFile
from .Layout import HEADER, LINES, RAW
from .Lines import FrameLine, PartLine, storedType

MOST_FRAMES = 3000
"""Frames of one part: building a sequence in Slicer's scene is quadratic in their number."""
_FLAGS = os.O_RDWR | getattr(os, "O_BINARY", 0)


class PartGone(OSError):
    """The files of a part were removed, and their folder is there."""


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
        self._lines: list[bytes] = []
        self._raw = self._text = -1
        self._textBytes = 0
        self.finished = False
        self._raw = os.open(self.path(RAW), _FLAGS | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            self._text = os.open(self.path(LINES), _FLAGS | os.O_CREAT | os.O_EXCL, 0o666)
            first = part.toBytes()
            _writeAll(self._text, first)
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
            self.count < MOST_FRAMES
            and frame.pixels.shape == self.part.shape
            and storedType(frame.pixels.dtype) == self.part.dtype
        )

    def append(self, pixels: Pixels, line: FrameLine) -> None:
        """Store one frame; when it returns the frame is acknowledged.

        :raises PartGone: the files were removed.
        :raises OSError: it cannot be written; the files are, or will be with the next append, as they were before.
        """
        text = line.toBytes()
        try:
            if self._raw == -1:
                self._reopen()
            # A removed file takes all that is written to it.
            if not os.path.samestat(os.fstat(self._raw), os.stat(self.path(RAW))):
                raise FileNotFoundError(f"{self.path(RAW)} was replaced")
            _writeAll(self._raw, pixels.data.cast("B"))
            _writeAll(self._text, text)
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
        self._lines.append(text)
        self._textBytes += len(text)

    def close(self) -> None:
        """Write the header; again when it failed.

        :raises OSError: it cannot be written; pixels and lines stay as they are.
        """
        self._closeFiles()
        if not self.finished:
            replaceFile(self.path(HEADER), composeHeader(self.part, self.name, self.times, self._lines))
            self.finished = True
            self._lines = []

    def abandon(self) -> None:
        """Close the files and write no header."""
        self._closeFiles()

    def discard(self) -> None:
        """Remove the files of a part without a frame."""
        self._closeFiles()
        for suffix in (LINES, RAW):
            try:
                os.unlink(self.path(suffix))
            except OSError:
                pass

    def _reopen(self) -> None:
        self._raw = os.open(self.path(RAW), _FLAGS)
        self._text = os.open(self.path(LINES), _FLAGS)
        if os.fstat(self._raw).st_size < self.bytes or os.fstat(self._text).st_size < self._textBytes:
            raise FileNotFoundError(f"{self.path(RAW)} lost what it had")
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


def _writeAll(handle: int, data: bytes | memoryview) -> None:
    # The system takes at most 2 GiB at once, and less when the disk is nearly full.
    left = memoryview(data)
    while left:
        left = left[os.write(handle, left) :]
