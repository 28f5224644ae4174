"""Unpack a gzip stream as its content is asked for, from the beginning to the end, in little memory."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ..Errors import NotAnImageError
from ..Frame import Pixels
from .Inflate import GZIP, PIECE, inflaters, unpackedLength
from .Raw import Stored, allocate, openFile, readUpTo, statOf

KEPT = 512 << 20
"""Content of at most so many bytes is kept once it is unpacked. Of a larger one nothing is: going back unpacks it from
its beginning, which takes about a second for each 0.5 GB."""


class Streamed(Stored):
    """The content of a gzip stream (RFC 1952) in a file that is whole; members follow one another as in Inflated.

    missing() looks at the file's size only: damage is found by readInto(), a wrong checksum with the last bytes. The
    file is open during calls only.

    :param offset: where the stream begins in the file.
    :param skip: bytes of the unpacked content that come before what is declared; -1: what is declared ends it.
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
        """Bytes of the content that were unpacked since the beginning."""

    def missing(self, size: int) -> str | None:
        try:
            if self._skip < 0:
                length = unpackedLength(self.path, self._offset, self._wrapper, self._limit)
                if length is None or length < size:
                    return f"The header declares {size:,} bytes of voxels; the compressed stream has fewer."
                self._skip = length - size
            self._total = self._skip + size
            there = statOf(self.path).st_size - self._offset
        except FileNotFoundError:
            if not self._detached:
                raise
            return f"The header names the data file {os.path.basename(self.path)}, which is not there."
        return None if there > 0 else f"The header declares {size:,} bytes of voxels, none are there."

    def start(self, size: int) -> bytes:
        """The first ``size`` unpacked bytes, fewer when there are no more."""
        self._restart()
        with openFile(self.path) as file:
            file.seek(self._read)
            found = b""
            while len(found) < size and (data := self._next(file, size - len(found))):
                found += data
        return found

    def skip(self, size: int) -> None:
        """Tell how many unpacked bytes come before what is declared (a header that was packed with the voxels)."""
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
            if self._total > KEPT:
                if start < self._unpacked:
                    self._restart()
                    file.seek(self._read)
                self._unpack(file, start - self._unpacked, None)
                self._unpack(file, len(target), target)
                return
            if self._buffer is None:
                self._restart()
                file.seek(self._read)
                self._buffer = allocate(self._total, self._limit, "The unpacked content")
            end = start + len(target)
            if end > self._unpacked:
                self._unpack(file, end - self._unpacked, self._buffer[self._unpacked : end])
            target[:] = self._buffer[start:end]

    def _unpack(self, file: Any, size: int, target: Pixels | None) -> None:
        # The next bytes of the content, into the target or nowhere.
        done = 0
        while done < size:
            data = self._next(file, min(PIECE, size - done))
            if not data:
                self._tooShort()
            if target is not None:
                target[done : done + len(data)] = np.frombuffer(data, np.uint8)
            done += len(data)
        while self._unpacked >= self._total and not self._inflater.eof:
            # What follows the voxels is of no interest but for the checksum at the end.
            if not self._next(file, PIECE, counted=False) and not self._inflater.eof:
                self._tooShort()

    def _next(self, file: Any, most: int, counted: bool = True) -> bytes:
        # Some bytes of the content; none at the end of the stream or of the file.
        while True:
            if self._inflater.eof:
                while len(self._pending) < 2 and (more := readUpTo(file, 2)):
                    self._pending += more
                    self._read += len(more)
                if not self._pending.startswith(b"\x1f\x8b"):
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
                    f"The compressed data are damaged after {self._unpacked:,} unpacked bytes.", "damaged"
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
            f"The compressed data end after {there:,} bytes; the header declares {self._total - self._skip:,}.",
            "damaged",
        )
