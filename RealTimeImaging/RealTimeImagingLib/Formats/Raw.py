"""Declared bytes in files, plain or encoded (text, hexadecimal, bzip2), and the voxels that they become."""

from __future__ import annotations

import bz2
import math
import os
import stat
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

import numpy as np

from ..Model.Errors import NotAnImageError
from ..Model.Frame import GetBuffer, Pixels


def statOf(path: str) -> os.stat_result:
    """Size and identity of a regular file.

    :raises NotAnImageError: a pipe, device or folder: opening one could wait for ever.
    :raises OSError: it cannot be looked at.
    """
    try:
        status = os.stat(path)
    except ValueError as error:  # a name with a NUL in it, out of a header
        raise NotAnImageError(f"{path!r} is no file name.", "damaged") from error
    if not stat.S_ISREG(status.st_mode):
        raise NotAnImageError(f"{os.path.basename(path)} is not a file but a folder, pipe or device.")
    return status


def temporaryFolder() -> tempfile.TemporaryDirectory[str]:
    """A private folder for a decoder's files, removed when its context ends.

    After a crash of this process it is swept with the process's work folders.
    """
    return tempfile.TemporaryDirectory(prefix=f"RealTimeImaging-{os.getpid()}-")


def decodedBySimpleITK(write: Callable[[str], object], name: str, imageIO: str) -> Pixels:
    """Decode one file by an ITK image IO.

    :param write: writes the file to the path that it gets.
    :param name: of the file.
    :param imageIO: such as "PNGImageIO".
    :returns: values as SimpleITK has them.
    :raises ImportError: SimpleITK is not installed.
    :raises RuntimeError: ITK cannot decode the file.
    """
    import SimpleITK

    with temporaryFolder() as folder:
        path = os.path.join(folder, name)
        write(path)
        reader = SimpleITK.ImageFileReader()
        reader.SetImageIO(imageIO)
        reader.SetFileName(path)
        shown = SimpleITK.ProcessObject.GetGlobalWarningDisplay()
        SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
        try:
            array: Pixels = SimpleITK.GetArrayFromImage(reader.Execute())
        finally:
            SimpleITK.ProcessObject.SetGlobalWarningDisplay(shown)
    return array


def openFile(path: str) -> BinaryIO:
    """The regular file, unbuffered, for reading; close it before you return to the caller."""
    statOf(path)
    return open(path, "rb", buffering=0)


def readStart(path: str, size: int) -> bytes:
    """At most ``size`` bytes from the beginning of the file."""
    size = min(size, statOf(path).st_size)
    with open(path, "rb", buffering=0) as file:
        return readUpTo(file, size)


def readUpTo(file: BinaryIO, size: int) -> bytes:
    """``size`` bytes, fewer only at the end of the file (an unbuffered read may give fewer at once)."""
    data = file.read(size) or b""
    while len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data


def allocate(size: int, limit: int, what: str) -> Pixels:
    """Uninitialised uint8 array.

    :raises NotAnImageError: code "too-large": above ``limit`` or above what the computer has.
    """
    if size > limit:
        raise NotAnImageError(
            f"{what} takes {size:,} bytes; at most {limit:,} are believed for one image.", "too-large"
        )
    try:
        return np.empty(size, np.uint8)
    except (MemoryError, ValueError) as error:
        raise NotAnImageError(f"{what} takes {size:,} bytes; there is no memory for it.", "too-large") from error


class Stored(ABC):
    """A run of bytes that a header declares, wherever they lie."""

    @property
    def sealed(self) -> bool:
        """True when the content proves its own completeness, see :class:`ImageFile`."""
        return False

    @abstractmethod
    def missing(self, size: int) -> str | None:
        """None when ``size`` bytes are there, else a sentence with the numbers.

        :raises NotAnImageError: they will never be there.
        """

    @abstractmethod
    def readInto(self, start: int, target: Pixels) -> None:
        """Fill the uint8 array with the bytes from ``start`` on; only after missing() returned None.

        :raises NotAnImageError: code "damaged": they are gone by now.
        """


def absentText(path: str) -> str:
    """Sentence about a data file that does not exist yet."""
    return f"The header names the data file {os.path.basename(path)}, which does not exist."


class RawBytes(Stored):
    """Bytes as they are in one file.

    :param offset: where they begin; None = so that they end at the end of the file (NRRD's "byte skip: -1", MetaImage's
        "HeaderSize = -1").
    :param detached: the file is not the one that the user named, so that its absence is news.
    """

    def __init__(self, path: str, offset: int | None, detached: bool = False) -> None:
        self.path = path
        self._offset = offset
        self._detached = detached

    def missing(self, size: int) -> str | None:
        name = f" in {os.path.basename(self.path)}" if self._detached else ""
        try:
            there = statOf(self.path).st_size
        except FileNotFoundError:
            if not self._detached:
                raise
            return absentText(self.path)
        offset = self._offset or 0
        if there >= offset + size:
            return None
        return f"The header declares {size:,} bytes of voxels, {max(0, there - offset):,} are there{name}."

    def readInto(self, start: int, target: Pixels) -> None:
        with openFile(self.path) as file:
            offset = self._offset
            if offset is None:
                offset = os.fstat(file.fileno()).st_size - self._whole
            file.seek(offset + start)
            readExactly(file, target, self.path)

    _whole = 0

    def endsAfter(self, size: int) -> None:
        """Tell the size of the whole, which an offset of None is counted from."""
        self._whole = size


def readExactly(file: Any, target: Pixels, path: str) -> None:
    """Fill the uint8 array from an open unbuffered file.

    :raises NotAnImageError: code "damaged": the file ends before.
    """
    rest = target.data
    while len(rest):
        got = file.readinto(rest)
        if not got:
            raise NotAnImageError(
                f"{os.path.basename(path)} ended {len(rest):,} bytes early: it became shorter while it was read.",
                "damaged",
            )
        rest = rest[got:]


class Joined(Stored):
    """Bytes spread over pieces of equal length, one file each (a LIST of slices)."""

    def __init__(self, pieces: Sequence[Stored], size: int) -> None:
        self._pieces = pieces
        self._size = size

    @property
    def sealed(self) -> bool:
        return all(piece.sealed for piece in self._pieces)

    def missing(self, size: int) -> str | None:
        absent = [words for piece in self._pieces if (words := piece.missing(self._size))]
        if not absent:
            return None
        return f"{len(self._pieces) - len(absent)} of {len(self._pieces)} data files are whole. {absent[0]}"

    def readInto(self, start: int, target: Pixels) -> None:
        done = 0
        while done < len(target):
            number, inside = divmod(start + done, self._size)
            length = min(self._size - inside, len(target) - done)
            self._pieces[number].readInto(inside, target[done : done + length])
            done += length


def readArray(
    stored: Stored,
    start: int,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    limit: int,
    getBuffer: GetBuffer = lambda nbytes: None,
) -> Pixels:
    """Voxels in native byte order, in one pass: read into place and swapped in place.

    :param start: first byte inside ``stored``.
    :param shape: slowest axis first.
    :param dtype: as stored, with its byte order.
    """
    size = math.prod(shape) * dtype.itemsize
    lent = getBuffer(size) if size <= limit else None
    buffer = allocate(size, limit, "The image") if lent is None else lent
    stored.readInto(start, buffer)
    array = buffer.view(dtype).reshape(shape)
    if not dtype.isnative:
        array = array.byteswap(inplace=True).view(dtype.newbyteorder("="))
    return array


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
            return absentText(self.path)
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
