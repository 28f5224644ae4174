"""Bytes that a header declares, plain or encoded (text, hexadecimal, bzip2), and the voxels made of them."""

from __future__ import annotations

import bz2
import errno
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
from ..Model.SharedFiles import longPath, openShared
from ..Model.Text import textsOf

_ = textsOf(__file__)


def statOf(path: str) -> os.stat_result:
    """Return the status (size, identity) of a regular file.

    :raises NotAnImageError: the path is a pipe, device or folder: opening one could wait for ever.
    :raises OSError: the system refuses.
    """
    try:
        status = os.stat(longPath(path))
    except NotADirectoryError as error:
        raise FileNotFoundError(error.errno, error.strerror, path) from error
    except (ValueError, OSError) as error:
        # A name from a header may have a NUL, or be too long for the file system.
        if isinstance(error, OSError) and error.errno not in (errno.ENAMETOOLONG, errno.ELOOP, errno.EILSEQ):
            raise
        name = repr(os.path.basename(path)[:80])
        text = _("{name} is no file name, or a link that leads to itself.")
        raise NotAnImageError(text.format(name=name), "damaged") from error
    if not stat.S_ISREG(status.st_mode):
        raise NotAnImageError(_("{name} is a folder, pipe or device, not a file.").format(name=os.path.basename(path)))
    return status


def temporaryFolder() -> tempfile.TemporaryDirectory[str]:
    """Make a private folder for a decoder's files, which is removed when its context ends.

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
    """Open a regular file for reading, unbuffered. Close it before you return to the caller."""
    statOf(path)
    return openShared(path, buffering=0)


def readStart(path: str, size: int) -> bytes:
    """Read at most ``size`` bytes from the beginning of the file."""
    size = min(size, statOf(path).st_size)
    with openShared(path, buffering=0) as file:
        return readUpTo(file, size)


def readUpTo(file: BinaryIO, size: int) -> bytes:
    """Read ``size`` bytes, fewer only at the end of the file (a single unbuffered read may return fewer)."""
    data = file.read(size) or b""
    while len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data


def allocate(size: int, limit: int, what: str, getBuffer: GetBuffer = lambda nbytes: None) -> Pixels:
    """Return an uninitialised uint8 array.

    :param what: subject of the error's sentence.
    :param getBuffer: asked for memory first.
    :raises NotAnImageError: code "too-large": ``size`` is above ``limit``, or not enough memory is free.
    """
    if size > limit:
        raise NotAnImageError(
            _("{what} takes {size:,} bytes, more than the limit of {limit:,} for one image.").format(
                what=what, size=size, limit=limit
            ),
            "too-large",
        )
    buffer = getBuffer(size)
    if buffer is not None:
        return buffer
    try:
        return np.empty(size, np.uint8)
    except (MemoryError, ValueError) as error:
        raise NotAnImageError(
            _("{what} takes {size:,} bytes; there is not enough memory.").format(what=what, size=size), "too-large"
        ) from error


class Stored(ABC):
    """Bytes that a header declares, in one or several files, plain or encoded."""

    @property
    def sealed(self) -> bool:
        """True when the content proves its completeness, see :class:`ImageFile`."""
        return False

    @abstractmethod
    def missing(self, size: int) -> str | None:
        """Return None when ``size`` bytes exist, else a sentence with the numbers.

        :raises NotAnImageError: the bytes will never exist.
        """

    @abstractmethod
    def readInto(self, start: int, target: Pixels) -> None:
        """Fill the uint8 array with the bytes from ``start`` on; call it after missing() returned None.

        :raises NotAnImageError: code "damaged": the bytes no longer exist.
        """


def absentText(path: str) -> str:
    """Return a sentence about a data file that does not exist yet."""
    return _("The header names the data file {name}, which does not exist.").format(name=repr(os.path.basename(path)))


class RawBytes(Stored):
    """Bytes in one file, stored plainly.

    :param offset: position of the first byte; None: the bytes end at the end of the file (NRRD's "byte skip: -1",
        MetaImage's "HeaderSize = -1").
    :param detached: the header names the file, so that its absence is reported in a sentence.
    """

    def __init__(self, path: str, offset: int | None, detached: bool = False) -> None:
        self.path = path
        self._offset = offset
        self._detached = detached

    def missing(self, size: int) -> str | None:
        name = _(" in {name}").format(name=os.path.basename(self.path)) if self._detached else ""
        try:
            there = statOf(self.path).st_size
        except FileNotFoundError:
            if not self._detached:
                raise
            return absentText(self.path)
        offset = self._offset or 0
        if there >= offset + size:
            return None
        return _("The header declares {size:,} bytes of voxels; {present:,} are present{name}.").format(
            size=size, present=max(0, there - offset), name=name
        )

    def readInto(self, start: int, target: Pixels) -> None:
        with openFile(self.path) as file:
            offset = self._offset
            if offset is None:
                offset = os.fstat(file.fileno()).st_size - self._whole
            file.seek(offset + start)
            readExactly(file, target, self.path)

    _whole = 0

    def endsAfter(self, size: int) -> None:
        """Set the total size, from which an offset of None is counted back."""
        self._whole = size


def readExactly(file: Any, target: Pixels, path: str) -> None:
    """Fill the uint8 array from an open unbuffered file.

    :raises NotAnImageError: code "damaged": the file ends early.
    """
    rest = target.data
    while len(rest):
        got = file.readinto(rest)
        if not got:
            raise NotAnImageError(
                _("{name} ended {count:,} bytes early: it became shorter while it was read.").format(
                    name=os.path.basename(path), count=len(rest)
                ),
                "damaged",
            )
        rest = rest[got:]


class Joined(Stored):
    """Bytes in several files of equal length (a LIST of slices)."""

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
        return _("{complete} of {count} data files are complete. {absent}").format(
            complete=len(self._pieces) - len(absent), count=len(self._pieces), absent=absent[0]
        )

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
    """Read voxels in native byte order, in one pass: they are read into place and swapped in place.

    :param start: first byte inside ``stored``.
    :param shape: slowest axis first.
    :param dtype: stored type, with its byte order.
    """
    size = math.prod(shape) * dtype.itemsize
    buffer = allocate(size, limit, _("The image"), getBuffer)
    stored.readInto(start, buffer)
    array = buffer.view(dtype).reshape(shape)
    if not dtype.isnative:
        array = array.byteswap(inplace=True).view(dtype.newbyteorder("="))
    return array


_LONGEST_NUMBER = 400
"""Most characters of a number in text: a float64 written out has at most 330."""
_PIECE = 1 << 20
_BETWEEN = b" \t\r\n\v\f,"


class Encoded(Stored):
    """Decoded bytes of a file's content from an offset on. A changed file is decoded anew.

    :param decode: returns the declared number of bytes, or fewer when the content ends early, and whether the content
        marks its end.
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
            allocate(size + self._skip, self._limit, _("The image"))
        stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, size)
        if stamp != self._stamp:
            with openFile(self.path) as file:
                file.seek(self._offset)
                whole = (size + self._skip) * self._room + (1 << 16)
                length = max(0, min(status.st_size - self._offset, whole))
                if length > self._limit:
                    allocate(length, self._limit, _("The content of the voxels"))
                data = readUpTo(file, length)
            content, self._sealed = self._decode(data, size + self._skip)
            self._content = content[self._skip :]
            self._stamp = stamp
        if len(self._content) < size:
            return _("The header declares {size:,} bytes of voxels; {count:,} could be decoded.").format(
                size=size, count=len(self._content)
            )
        return None

    def readInto(self, start: int, target: Pixels) -> None:
        target[:] = np.frombuffer(self._content, np.uint8, len(target), start)


def textDecoder(dtype: np.dtype[Any]) -> Callable[[bytes, int], tuple[bytes, bool]]:
    """Return a decoder of numbers, separated by white space or commas, to values of ``dtype``."""
    kind = {"f": np.float64, "u": np.uint64, "i": np.int64}[dtype.kind]

    def decode(data: bytes, size: int) -> tuple[bytes, bool]:
        found: list[Pixels] = []
        missing, start = size // dtype.itemsize, 0
        while missing and start < len(data):
            # A piece ends behind a number, so that no number is cut in two.
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
            _("The voxels in text are not numbers of the type {name}.").format(name=dtype.name), "damaged"
        ) from error
    if dtype.kind != "f" and len(values):
        bounds = np.iinfo(dtype)
        if values.min() < bounds.min or values.max() > bounds.max:
            raise NotAnImageError(_("A voxel in text does not fit the type {name}.").format(name=dtype.name), "damaged")
    return values.astype(dtype)


def fromHex(data: bytes, size: int) -> tuple[bytes, bool]:
    """Decode pairs of hexadecimal digits, ignoring white space."""
    digits = b"".join(data.split())[: 2 * size]
    try:
        return bytes.fromhex(digits[: len(digits) // 2 * 2].decode("ascii")), False
    except ValueError as error:
        raise NotAnImageError(
            _("The header declares hexadecimal digits; the voxels contain others."), "damaged"
        ) from error


def fromBzip2(data: bytes, size: int) -> tuple[bytes, bool]:
    """Decode a bzip2 stream, at most ``size`` bytes."""
    unpacker = bz2.BZ2Decompressor()
    try:
        found = unpacker.decompress(data, size)
        if len(found) == size and not unpacker.eof:
            unpacker.decompress(b"", 1)
    except (OSError, EOFError) as error:
        raise NotAnImageError(_("The compressed data are damaged."), "damaged") from error
    return found, unpacker.eof
