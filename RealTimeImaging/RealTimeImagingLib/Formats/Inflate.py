"""Unpack gzip and zlib streams that may still be written, as a whole or in small pieces from beginning to end."""

from __future__ import annotations

import os
import zlib
from typing import Any

import numpy as np

from ..Model.Errors import NotAnImageError
from ..Model.Frame import Pixels
from ..Model.Text import textsOf
from .Raw import Stored, absentText, allocate, openFile, readStart, readUpTo, statOf

_ = textsOf(__file__)

GZIP = 31
ZLIB = 15
"""Window bits that select the wrapper that zlib expects and checks (zlib manual, inflateInit2)."""

PIECE = 1 << 18
"""Bytes that are read, or unpacked, at once."""
_RATIO = 1040
"""Limit of memory for a small file that declares gigabytes: Deflate packs at most 1032 to 1 (zlib technical
details)."""


_REST = 512 << 20
"""Most unpacked bytes that the header does not declare. They are read for the checksum at the end of the stream only,
and a small file could unpack to terabytes."""


BEGINNING = 10
"""First bytes of a stream, by which a file that is overwritten in its place is recognised (the header of gzip)."""
_MARK = b"\x1f\x8b"
"""First bytes of a gzip stream (RFC 1952)."""


def isPacked(path: str, endings: tuple[str, ...]) -> bool:
    """Return True for a gzip stream. The content decides; the ending of the name while the file is too short."""
    begin = readStart(path, len(_MARK))
    return begin == _MARK if len(begin) == len(_MARK) else path.lower().endswith(endings)


def unpackedStart(path: str, size: int) -> bytes:
    """Read at most ``size`` bytes from the beginning of the content: that of a gzip stream, or of the file itself."""
    data = readStart(path, size)
    if not data.startswith(_MARK):
        return data
    try:
        return zlib.decompressobj(GZIP).decompress(readStart(path, PIECE), size)
    except zlib.error:
        return data


def _tooLong(size: int) -> NotAnImageError:
    text = _("The content unpacks to more than {limit:,} bytes; the header declares {size:,} bytes of voxels.")
    return NotAnImageError(text.format(limit=size + _REST, size=size), "damaged")


def inflaters() -> tuple[Any, tuple[type[Exception], ...]]:
    """Return the factory of a decompressobj, isal's where it is installed, and the errors that the object raises."""
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib.decompressobj, (zlib.error,)
    return isal_zlib.decompressobj, (isal_zlib.error, zlib.error)


def unpackedLength(path: str, offset: int, wrapper: int, limit: int) -> int | None:
    """Count the bytes of an unpacked stream with little memory; None while the end of the stream is missing.

    :raises NotAnImageError: the stream is damaged, or unpacks to more than ``limit`` bytes.
    """
    make, errors = inflaters()
    inflater, pending, length = make(wrapper), b"", 0
    with openFile(path) as file:
        file.seek(offset)
        while True:
            if inflater.eof:
                pending += readUpTo(file, max(0, 2 - len(pending)))
                if not pending.startswith(_MARK):
                    return length
                inflater = make(wrapper)
            exhausted = not (pending := pending or readUpTo(file, PIECE))
            try:
                data = inflater.decompress(pending, PIECE)
            except errors as error:
                text = _("The compressed data are damaged after {length:,} unpacked bytes.").format(length=length)
                raise NotAnImageError(text, "damaged") from error
            length += len(data)
            if length > limit:
                raise NotAnImageError(
                    _("The content unpacks to more than the limit of {limit:,} bytes.").format(limit=limit), "too-large"
                )
            pending = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            if exhausted and not data:
                return None


class Inflated(Stored):
    """Content of a gzip (RFC 1952) or zlib (RFC 1950) stream in a file that may grow between calls.

    The inflater checks checksum and length at the end of the stream. Further gzip members are appended (RFC 1952
    section 2.2); any other bytes after the end are ignored.

    :param offset: start of the stream in the file.
    :param skip: unpacked bytes before the declared ones; -1: the declared bytes end the content.
    :param end: end of the stream in the file, where the header has it.
    """

    def __init__(
        self,
        path: str,
        limit: int,
        wrapper: int = GZIP,
        offset: int = 0,
        skip: int = 0,
        end: int | None = None,
        detached: bool = False,
    ) -> None:
        self.path = path
        self._limit = limit
        self._wrapper = wrapper
        self._start = offset
        self._skip = skip
        self._end = end
        self._detached = detached
        self._make, self._errors = inflaters()
        self._identity: tuple[int, int] | None = None
        self._beginning = b""
        self._restart()

    def _restart(self) -> None:
        self._inflater = self._make(self._wrapper)
        self._position = self._start
        self._pending = b""
        self._buffer: Pixels = np.empty(0, np.uint8)
        self._length = self._rest = 0
        self._between = False
        self._ended = False

    @property
    def sealed(self) -> bool:
        return self._ended

    def missing(self, size: int) -> str | None:
        name = _(" in {name}").format(name=os.path.basename(self.path)) if self._detached else ""
        try:
            if self._skip < 0:
                length = unpackedLength(self.path, self._start, self._wrapper, min(self._limit, size + _REST))
                if length is None:
                    return _("The end of the compressed stream is missing{name}.").format(name=name)
                self._skip = max(0, length - size)
            size += self._skip
            self._advance(size)
        except FileNotFoundError:
            if not self._detached:
                raise
            return absentText(self.path)
        there = max(0, self._length - self._skip)
        if self._length < size:
            if self._ended:
                raise NotAnImageError(
                    _("The compressed data end after {there:,} bytes; the header declares {size:,}{name}.").format(
                        there=there, size=size - self._skip, name=name
                    ),
                    "damaged",
                )
            return _("The header declares {size:,} bytes of voxels; {there:,} could be unpacked{name}.").format(
                size=size - self._skip, there=there, name=name
            )
        if not self._ended:
            return _(
                "All {there:,} declared bytes are present; the end of the compressed stream is missing{name}."
            ).format(there=there, name=name)
        return None

    def start(self, size: int) -> bytes:
        """Return the first ``size`` unpacked bytes, fewer when they do not exist yet."""
        self._advance(size, whole=False)
        return self._buffer[: min(size, self._length)].tobytes()

    def skip(self, size: int) -> None:
        """Set the number of unpacked bytes before the declared ones (a header that is packed with the voxels)."""
        self._skip = size

    def readInto(self, start: int, target: Pixels) -> None:
        start += self._skip
        if start + len(target) > self._length:
            raise NotAnImageError(
                _("{name} was replaced while it was read.").format(name=os.path.basename(self.path)), "damaged"
            )
        target[:] = self._buffer[start : start + len(target)]

    def _advance(self, size: int, whole: bool = True) -> None:
        # Unpack until size bytes exist (and, when whole, until the stream ends), or the file ends.
        with openFile(self.path) as file:
            status = os.fstat(file.fileno())
            # A replaced, overwritten or truncated file: the unpacked bytes are void.
            identity = (status.st_dev, status.st_ino)
            file.seek(self._start)
            beginning = readUpTo(file, BEGINNING)
            isOther = (self._identity or identity) != identity or not beginning.startswith(self._beginning)
            if status.st_size < self._position or isOther:
                self._restart()
            self._identity, self._beginning = identity, beginning
            end = status.st_size if self._end is None else min(self._end, status.st_size)
            file.seek(self._position)
            while not self._ended and (self._length < size or whole):
                # Between two members, the next two bytes show whether another member follows.
                if not self._pending or (self._between and len(self._pending) < 2):
                    piece = readUpTo(file, max(0, min(PIECE, end - self._position)))
                    self._position += len(piece)
                    self._pending += piece
                    if not piece:
                        # As long as declared bytes are missing, the writer may append another member.
                        self._ended = self._between and self._length >= size and whole
                        return
                if self._between:
                    self._beginMember()
                else:
                    self._reserve(size, end)
                    self._feed(size)

    def _beginMember(self) -> None:
        if len(self._pending) < 2:
            return
        if self._wrapper == GZIP and self._pending.startswith(_MARK):
            self._inflater = self._make(self._wrapper)
            self._between = False
        else:
            self._ended = True

    def _reserve(self, size: int, end: int) -> None:
        wanted = min(size, (end - self._start) * _RATIO)
        if wanted > len(self._buffer):
            larger = allocate(wanted, self._limit, _("The unpacked content"))
            larger[: self._length] = self._buffer[: self._length]
            self._buffer = larger

    def _feed(self, size: int) -> None:
        # The beginning, read for its header, may be longer than what the header declares.
        room = max(0, min(size, len(self._buffer)) - self._length)
        try:
            # Without room the rest is unpacked only for its checksum, in pieces, and discarded.
            data = self._inflater.decompress(self._pending, min(room or PIECE, PIECE))
        except self._errors as error:
            raise NotAnImageError(
                _("The compressed data are damaged after {length:,} unpacked bytes.").format(length=self._length),
                "damaged",
            ) from error
        if room:
            self._buffer[self._length : self._length + len(data)] = np.frombuffer(data, np.uint8)
            self._length += len(data)
        else:
            self._rest += len(data)
            if self._rest > max(_REST, size):
                raise _tooLong(size - self._skip)
        self._between = bool(self._inflater.eof)
        self._pending = self._inflater.unused_data if self._between else self._inflater.unconsumed_tail


_kept = 512 << 20


def limitUnpacked(nbytes: int) -> None:
    """Limit the unpacked content that stays in the memory of this process; by default 512 MiB of each file.

    Nothing stays of larger content: reading backwards unpacks it from the beginning, at about 0.5 GB a second.
    """
    global _kept
    _kept = nbytes


class Streamed(Stored):
    """Content of a gzip stream (RFC 1952) in a complete file; members follow one another as in :class:`Inflated`.

    missing() checks the file's size only: readInto() finds damage, and a wrong checksum with the last bytes. The file
    is open during calls only.

    :param offset: start of the stream in the file.
    :param skip: unpacked bytes before the declared ones; -1: the declared bytes end the content.
    """

    def __init__(
        self,
        path: str,
        limit: int,
        wrapper: int = GZIP,
        offset: int = 0,
        skip: int = 0,
        detached: bool = False,
    ) -> None:
        self.path = path
        self._limit, self._wrapper, self._offset, self._skip = limit, wrapper, offset, skip
        self._detached = detached
        self._make, self._errors = inflaters()
        self._total = 0
        self._buffer: Pixels | None = None
        self._identity: tuple[int, ...] = ()
        self._restart()

    def _restart(self) -> None:
        self._inflater = self._make(self._wrapper)
        self._read = self._offset
        self._pending = b""
        self._unpacked = 0
        """Bytes unpacked since the beginning of the content."""

    def missing(self, size: int) -> str | None:
        try:
            if self._skip < 0:
                length = unpackedLength(self.path, self._offset, self._wrapper, min(self._limit, size + _REST))
                if length is None or length < size:
                    return _("The header declares {size:,} bytes of voxels; the compressed stream has fewer.").format(
                        size=size
                    )
                self._skip = length - size
            self._total = self._skip + size
            there = statOf(self.path).st_size - self._offset
        except FileNotFoundError:
            if not self._detached:
                raise
            return absentText(self.path)
        return (
            None
            if there > 0
            else _("The header declares {size:,} bytes of voxels; none are present.").format(size=size)
        )

    def start(self, size: int) -> bytes:
        """Return the first ``size`` unpacked bytes, fewer when the content is shorter."""
        self._restart()
        with openFile(self.path) as file:
            file.seek(self._read)
            found = b""
            while len(found) < size and (data := self._next(file, size - len(found))):
                found += data
        return found

    def skip(self, size: int) -> None:
        """Set the number of unpacked bytes before the declared ones (a header that is packed with the voxels)."""
        self._skip = size

    def readInto(self, start: int, target: Pixels) -> None:
        start += self._skip
        with openFile(self.path) as file:
            status = os.fstat(file.fileno())
            identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            if identity != self._identity:
                self._identity, self._buffer = identity, None
                self._restart()
            file.seek(self._read)
            if self._total > _kept:
                if start < self._unpacked:
                    self._restart()
                    file.seek(self._read)
                self._unpack(file, start - self._unpacked, None)
                self._unpack(file, len(target), target)
                return
            if self._buffer is None:
                self._restart()
                file.seek(self._read)
                self._buffer = allocate(self._total, self._limit, _("The unpacked content"))
            end = start + len(target)
            if end > self._unpacked:
                self._unpack(file, end - self._unpacked, self._buffer[self._unpacked : end])
            target[:] = self._buffer[start:end]

    def _unpack(self, file: Any, size: int, target: Pixels | None) -> None:
        # Unpack the next bytes of the content into the target, or discard them.
        done = 0
        while done < size:
            data = self._next(file, min(PIECE, size - done))
            if not data:
                self._tooShort()
            if target is not None:
                target[done : done + len(data)] = np.frombuffer(data, np.uint8)
            done += len(data)
        rest = 0
        while self._unpacked >= self._total and not self._inflater.eof:
            # Bytes behind the voxels matter only for the checksum at the end.
            data = self._next(file, PIECE, counted=False)
            rest += len(data)
            if not data and not self._inflater.eof:
                self._tooShort()
            if rest > max(_REST, self._total):
                raise _tooLong(self._total - self._skip)

    def _next(self, file: Any, most: int, counted: bool = True) -> bytes:
        # Return some bytes of the content; none at the end of the stream or of the file.
        while True:
            if self._inflater.eof:
                while len(self._pending) < 2 and (more := readUpTo(file, 2)):
                    self._pending += more
                    self._read += len(more)
                if not self._pending.startswith(_MARK):
                    return b""
                self._inflater = self._make(self._wrapper)
            elif not self._pending:
                self._pending = readUpTo(file, PIECE)
                self._read += len(self._pending)
            exhausted = not self._pending
            try:
                data: bytes = self._inflater.decompress(self._pending, most)
            except self._errors as error:
                raise NotAnImageError(
                    _("The compressed data are damaged after {unpacked:,} unpacked bytes.").format(
                        unpacked=self._unpacked
                    ),
                    "damaged",
                ) from error
            self._pending = self._inflater.unused_data if self._inflater.eof else self._inflater.unconsumed_tail
            if data:
                self._unpacked += len(data) if counted else 0
                return data
            if exhausted or (self._inflater.eof and not counted):
                return b""

    def _tooShort(self) -> None:
        there = max(0, self._unpacked - self._skip)
        raise NotAnImageError(
            _("The compressed data end after {there:,} bytes; the header declares {total:,}.").format(
                there=there, total=self._total - self._skip
            ),
            "damaged",
        )
