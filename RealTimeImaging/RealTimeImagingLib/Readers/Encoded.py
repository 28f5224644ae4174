"""Voxels that a file stores as text, as hexadecimal digits or packed with bzip2."""

from __future__ import annotations

import bz2
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from ..Errors import NotAnImageError
from ..Frame import Pixels
from .Raw import Stored, allocate, openFile, readUpTo, statOf

_LONGEST_NUMBER = 400
"""Characters of text that one number may take: a float64 written out has at most 330."""
_PIECE = 1 << 20
_BETWEEN = b" \t\r\n\v\f,"


class Encoded(Stored):
    """Decoded bytes of a file's content from an offset on. They are decoded anew when the file has changed.

    :param decode: returns the declared number of bytes, or fewer when the content ends early, and whether the content
        marks its own end.
    :param room: most bytes of content for one decoded byte.
    :param skip: decoded bytes before the declared ones.
    """

    def __init__(
        self,
        path: str,
        offset: int,
        limit: int,
        decode: Callable[[bytes, int], tuple[bytes, bool]],
        room: int,
        skip: int = 0,
        detached: bool = False,
    ) -> None:
        self.path = path
        self._offset, self._limit, self._decode, self._room = offset, limit, decode, room
        self._skip, self._detached = skip, detached
        self._stamp: tuple[int, ...] = ()
        self._content = b""
        self._sealed = False

    @property
    def sealed(self) -> bool:
        return self._sealed

    def missing(self, size: int) -> str | None:
        try:
            status = statOf(self.path)
        except FileNotFoundError:
            if not self._detached:
                raise
            return f"The header names the data file {os.path.basename(self.path)}, which is not there."
        if size + self._skip > self._limit:
            allocate(size + self._skip, self._limit, "The image")
        stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, size)
        if stamp != self._stamp:
            with openFile(self.path) as file:
                file.seek(self._offset)
                whole = (size + self._skip) * self._room + (1 << 16)
                data = readUpTo(file, max(0, min(status.st_size - self._offset, whole)))
            content, self._sealed = self._decode(data, size + self._skip)
            self._content = content[self._skip :]
            self._stamp = stamp
        if len(self._content) < size:
            return f"The header declares {size:,} bytes of voxels, {len(self._content):,} could be decoded."
        return None

    def readInto(self, start: int, target: Pixels) -> None:
        target[:] = np.frombuffer(self._content, np.uint8, len(target), start)


def textDecoder(dtype: np.dtype[Any]) -> Callable[[bytes, int], tuple[bytes, bool]]:
    """Decode numbers separated by white space or commas, to values of ``dtype``."""
    kind = {"f": np.float64, "u": np.uint64, "i": np.int64}[dtype.kind]

    def decode(data: bytes, size: int) -> tuple[bytes, bool]:
        found: list[Pixels] = []
        missing, start = size // dtype.itemsize, 0
        while missing and start < len(data):
            # A piece ends with a number, so that none is cut in two.
            end = start + _PIECE
            while data[end : end + 1].strip(_BETWEEN):
                end += 1
            words = data[start:end].replace(b",", b" ").split()[:missing]
            found.append(_numbers(words, kind, dtype))
            missing, start = missing - len(words), end
        return b"".join(values.tobytes() for values in found), False

    return decode


def _numbers(words: list[bytes], kind: Any, dtype: np.dtype[Any]) -> Pixels:
    try:
        if max(map(len, words), default=0) > _LONGEST_NUMBER:
            raise ValueError("longer than any number")
        values: Pixels = np.array(words, dtype=bytes).astype(kind)
    except (ValueError, OverflowError) as error:
        raise NotAnImageError(
            f"The voxels written as text are no numbers of the type {dtype.name}.", "damaged"
        ) from error
    if dtype.kind != "f" and len(values):
        bounds = np.iinfo(dtype)
        if values.min() < bounds.min or values.max() > bounds.max:
            raise NotAnImageError(f"A voxel written as text does not fit the type {dtype.name}.", "damaged")
    return values.astype(dtype)


def fromHex(data: bytes, size: int) -> tuple[bytes, bool]:
    """Decode pairs of hexadecimal digits; white space between them has no meaning."""
    digits = b"".join(data.split())[: 2 * size]
    try:
        return bytes.fromhex(digits[: len(digits) // 2 * 2].decode("ascii")), False
    except ValueError as error:
        raise NotAnImageError("The voxels are declared as hexadecimal digits, and are not.", "damaged") from error


def fromBzip2(data: bytes, size: int) -> tuple[bytes, bool]:
    """Unpack a bzip2 stream, no further than declared."""
    unpacker = bz2.BZ2Decompressor()
    try:
        found = unpacker.decompress(data, size)
        if len(found) == size and not unpacker.eof:
            unpacker.decompress(b"", 1)
    except (OSError, EOFError) as error:
        raise NotAnImageError("The compressed data are damaged.", "damaged") from error
    return found, unpacker.eof
