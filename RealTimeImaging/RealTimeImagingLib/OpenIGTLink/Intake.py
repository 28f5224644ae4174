"""The bytes of a connection on their way: a small buffer for all that is small, and memory of others for pixels."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from .Checksum import Buffer, crc64

BUFFER_SIZE = 1 << 16

Made = TypeVar("Made")
Steps = Generator[bool, None, Made]
"""Yields False when more bytes are needed, and True (not in this file) when something is ready for the caller."""


class Intake:
    """Takes bytes in as they come and gives them out as they are asked for.

    The methods that give are generators which yield while too little is there: ``raw = yield from intake.take(58)``.

    :ivar left: bytes of the current body that were not given out yet.
    :ivar checksum: CRC-64 over those that were.
    :ivar summing: whether the checksum is taken.
    :ivar most: room that space() gives at most. Little of it before an image, so that its pixels do not come here and
        have to be copied.
    """

    def __init__(self) -> None:
        self.left, self.checksum, self.summing, self.most = 0, 0, False, BUFFER_SIZE
        self._buffer = memoryview(bytearray(BUFFER_SIZE))
        self._start = self._end = 0
        self._target: memoryview | None = None

    @property
    def waiting(self) -> int:
        """Bytes that came and were not given out."""
        return self._end - self._start

    def space(self) -> memoryview:
        """Where the next bytes go; empty only while BUFFER_SIZE bytes wait."""
        if self._target:
            return self._target
        if self._start:
            kept = bytes(self._buffer[self._start : self._end])
            self._buffer[: len(kept)] = kept
            self._start, self._end = 0, len(kept)
        return self._buffer[self._end : self._end + self.most]

    def filled(self, nbytes: int) -> None:
        """:raises ValueError: there was no room for so many."""
        target = self._target
        if not 0 <= nbytes <= (len(target) if target else BUFFER_SIZE - self._end):
            raise ValueError(f"There was no room for {nbytes} bytes.")
        if target:
            self._given(target[:nbytes])
            self._target = target[nbytes:]
        else:
            self._end += nbytes

    def clear(self) -> None:
        """Forget all that waits, and let the memory of others go."""
        self._start = self._end = self.left = 0
        self._target = None

    def begin(self, nbytes: int, summing: bool) -> None:
        """A body of so many bytes begins."""
        self.left, self.checksum, self.summing = nbytes, 0, summing

    def peek(self, nbytes: int) -> Steps[bytes]:
        """The next bytes, BUFFER_SIZE at most, which stay."""
        while self._end - self._start < nbytes:
            yield False
        return bytes(self._buffer[self._start : self._start + nbytes])

    def glimpse(self, nbytes: int) -> bytes:
        """So many of the bytes that wait, or all; they stay."""
        return bytes(self._buffer[self._start : min(self._start + nbytes, self._end)])

    def drop(self, nbytes: int) -> None:
        """Pass over bytes that were peeked at and belong to no body."""
        self._start += nbytes

    def take(self, nbytes: int) -> Steps[bytes]:
        """The next bytes of the body, BUFFER_SIZE at most."""
        while self._end - self._start < nbytes:
            yield False
        start, self._start = self._start, self._start + nbytes
        raw = bytes(self._buffer[start : self._start])
        self._given(raw)
        return raw

    def fill(self, target: memoryview) -> Steps[None]:
        """The next bytes of the body, as many as fit, straight into this memory."""
        here = min(len(target), self.waiting)
        source = self._buffer[self._start : self._start + here]
        target[:here] = source
        self._given(source)
        self._start += here
        self._target = target[here:]
        del target
        try:
            while self._target:
                yield False
        finally:
            self._target = None

    @property
    def toFill(self) -> int:
        """Bytes that are missing in the memory of :meth:`fill`."""
        return len(self._target) if self._target else 0

    def redirect(self, target: memoryview) -> None:
        """Continue :meth:`fill` in other memory, and release the memory before."""
        self._target = target

    def skip(self, nbytes: int) -> Steps[None]:
        """Pass over the next bytes of the body, any number."""
        while nbytes:
            here = min(nbytes, self.waiting)
            self._given(self._buffer[self._start : self._start + here])
            self._start += here
            nbytes -= here
            if nbytes:
                yield False

    def _given(self, data: Buffer) -> None:
        self.left -= len(data)
        if self.summing:
            self.checksum = crc64(data, self.checksum)
