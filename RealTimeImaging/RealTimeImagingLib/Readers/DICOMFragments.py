"""Encapsulated pixels: the fragments in which compressed frames lie, and which of them make a frame."""

from __future__ import annotations

import struct
from typing import Any, BinaryIO

import numpy as np

from ..Errors import NotAnImageError
from ..Frame import Pixels
from .Raw import readUpTo

_UNDEFINED = 0xFFFFFFFF
_ENDS = (b"\xff\xd9", b"\xff\xd9\0")
"""What a frame of JPEG, JPEG-LS or JPEG 2000 ends with: a mark, and perhaps a byte to make the length even."""


class Fragments:
    """The items of PixelData (PS3.5 section A.4) in a file that may still grow.

    :param offset: where the first item, the offset table, begins.
    """

    def __init__(self, offset: int) -> None:
        self._next = offset
        self._ended = False
        self._found: list[tuple[int, int]] = []
        self._ofFrame: list[list[tuple[int, int]]] | None = None

    def missing(self, file: BinaryIO, size: int) -> str | None:
        """None when the sequence delimiter was found; reads only what is new.

        :param size: of the file.
        :raises NotAnImageError: code "damaged": there is no item where one should be.
        """
        while size - self._next >= 8 and not self._ended:
            file.seek(self._next)
            tag, length = struct.unpack("<4sI", readUpTo(file, 8))
            if tag == b"\xfe\xff\xdd\xe0":
                self._ended = True
            elif tag != b"\xfe\xff\x00\xe0" or length == _UNDEFINED:
                raise NotAnImageError(f"There is no fragment of PixelData at byte {self._next:,}.", "damaged")
            elif self._next + 8 + length > size:
                break
            else:
                self._found.append((self._next + 8, length))
                self._next += 8 + length
        if self._ended:
            return None
        return f"{max(0, len(self._found) - 1)} fragments of pixels are there ({size:,} bytes), their end is not."

    def frame(self, file: BinaryIO, dataset: Any, frames: int, number: int) -> bytes:
        """The compressed bytes of one frame.

        :param frames: how many there are.
        :raises NotAnImageError: code "damaged": fewer are there; code "unsupported": they cannot be told apart.
        """
        if self._ofFrame is None:
            self._ofFrame = self._sorted(file, dataset, frames)
        if number >= len(self._ofFrame):
            raise NotAnImageError(
                f"The header declares {frames:,} frames; {len(self._ofFrame):,} are there.", "damaged"
            )
        return b"".join(_bytes(file, fragment) for fragment in self._ofFrame[number])

    def _sorted(self, file: BinaryIO, dataset: Any, frames: int) -> list[list[tuple[int, int]]]:
        fragments = self._found[1:]
        if frames == 1:
            return [fragments]
        if len(fragments) == frames:
            return [[fragment] for fragment in fragments]
        offsets = self._offsets(file, dataset, frames)
        if offsets is not None:
            table = self._found[0]
            begins = [table[0] + table[1] + int(offset) for offset in offsets]
            ends = [*begins[1:], 1 << 62]
            return [
                [fragment for fragment in fragments if begin <= fragment[0] - 8 < end]
                for begin, end in zip(begins, ends, strict=True)
            ]
        # Without a table the ends of the compressed frames tell.
        found: list[list[tuple[int, int]]] = [[]]
        for fragment in fragments:
            found[-1].append(fragment)
            if _bytes(file, (fragment[0] + max(0, fragment[1] - 3), min(3, fragment[1]))).endswith(_ENDS):
                found.append([])
        if len(found) - 1 != frames or found[-1]:
            raise NotAnImageError("Fragments of PixelData cannot be told apart: no offset table.", "unsupported")
        return found[:-1]

    def _offsets(self, file: BinaryIO, dataset: Any, frames: int) -> Pixels | None:
        # The basic offset table, else the extended one (PS3.3 section C.7.6.3.1.8).
        table = self._found[0] if self._found else (0, 0)
        if table[1] == 4 * frames:
            return np.frombuffer(_bytes(file, table), "<u4")
        extended = dataset.get("ExtendedOffsetTable")
        if isinstance(extended, bytes) and len(extended) == 8 * frames:
            return np.frombuffer(extended, "<u8")
        return None


def _bytes(file: BinaryIO, fragment: tuple[int, int]) -> bytes:
    file.seek(fragment[0])
    data = readUpTo(file, fragment[1])
    if len(data) < fragment[1]:
        raise NotAnImageError("The file became shorter while it was read.", "damaged")
    return data
