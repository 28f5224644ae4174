"""The chain of a TIFF file's directories (pages): whether all of it is in a file that may still be growing.

The format: TIFF revision 6.0 (Adobe, 1992) and BigTIFF (libtiff). tifffile interprets the directories, but it ignores
truncated and circular ones: to tifffile a half-written file looks complete.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from ..Errors import NotAnImageError
from .Raw import readUpTo

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of one value of each field type; 16 to 18 are BigTIFF's."""
_MARKS = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}
_MOST_PAGES = 1 << 17
_LARGEST_FIELD = 64 << 20
"""Bytes of one field's values that are accepted: offsets of 8 million strips."""


class _Cut(Exception):
    """The file ends before something that it says it has; the message says what."""


class Directories:
    """The directories of a file that may still grow, each looked at once.

    ``count`` is the number of pages; ``begun`` and ``complete`` say that the header, and that the last page was read.
    """

    def __init__(self) -> None:
        self.count = 0
        self._order = "<"
        self._big = False
        self._next: int | None = None
        self._seen: set[int] = set()

    @property
    def begun(self) -> bool:
        return self._next is not None

    @property
    def complete(self) -> bool:
        return self._next == 0

    def read(self, file: BinaryIO, size: int) -> str | None:
        """Go on; None when all directories and the values of their fields are there, else a sentence.

        :param size: of the file in bytes.
        :raises NotAnImageError: it is no TIFF file, or damaged.
        """
        try:
            if self._next is None:
                self._next = self._header(file)
            while self._next:
                self._next = self._directory(file, size, self._next)
        except _Cut as cut:
            return f"{cut}; {size:,} bytes are there."
        return None

    def _header(self, file: BinaryIO) -> int:
        head = readUpTo(file, 16)
        if not any(head):
            raise _Cut("The file has no TIFF header yet")
        if not any(mark[: len(head)] == head[:4] for mark in _MARKS):
            raise NotAnImageError("A TIFF file begins with II*, MM* or a BigTIFF mark; this one does not.")
        if len(head) < 8 or (b"+" in head[:4] and len(head) < 16):
            raise _Cut("The TIFF header is not complete")
        self._order, self._big = _MARKS[head[:4]], b"+" in head[:4]
        if self._big and struct.unpack_from(self._order + "2H", head, 4) != (8, 0):
            raise NotAnImageError("The BigTIFF header is damaged.", "damaged")
        first: int = struct.unpack_from(self._order + ("Q" if self._big else "I"), head, 8 if self._big else 4)[0]
        if first == 0:
            raise _Cut("The TIFF header names no page yet")
        return first

    def _directory(self, file: BinaryIO, size: int, offset: int) -> int:
        # Where the next directory is, 0 after the last one.
        what = f"Page {self.count + 1}"
        if offset in self._seen or self.count >= _MOST_PAGES:
            raise NotAnImageError("The pages of the TIFF file follow one another in a circle.", "damaged")
        wide, entry, word = (8, 20, "Q") if self._big else (2, 12, "I")
        inline = struct.calcsize("<" + word)
        fields = int.from_bytes(_at(file, size, offset, wide, what), "little" if self._order == "<" else "big")
        if fields == 0:
            raise _Cut(f"{what} is not written yet")
        if fields > 4096:
            raise NotAnImageError(f"{what} has {fields:,} fields.", "damaged")
        data = _at(file, size, offset + wide, fields * entry + inline, what)
        for number in range(fields):
            _, kind, many, place = struct.unpack_from(f"{self._order}2H2{word}", data, number * entry)
            length = many * _SIZES.get(kind, 0)
            if length > _LARGEST_FIELD:
                raise NotAnImageError(f"{what} has a field of {length:,} bytes.", "damaged")
            if length > inline and place + length > size:
                raise _Cut(f"{what} is to end at byte {place + length:,}")
        self._seen.add(offset)
        self.count += 1
        following: int = struct.unpack_from(self._order + word, data, fields * entry)[0]
        return following


def _at(file: BinaryIO, size: int, offset: int, length: int, what: str) -> bytes:
    if offset + length <= size:
        file.seek(offset)
        data = readUpTo(file, length)
        if len(data) == length:
            return data
    raise _Cut(f"{what} is to end at byte {offset + length:,}")
