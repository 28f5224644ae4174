"""The pages of a TIFF file: where each one's pixels lie, and what of them is there.

The format: TIFF revision 6.0 (Adobe, 1992), its supplements 1 (floating point predictor) and 2 (Deflate, JPEG tables),
and BigTIFF (libtiff). Field names below are those of TIFF 6.0.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from ..Errors import NotAnImageError
from .Raw import readUpTo

SUBFILE, WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 254, 256, 257, 258, 259, 262, 266
DESCRIPTION, STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_COUNTS = 270, 273, 274, 277, 278, 279
X_RESOLUTION, Y_RESOLUTION, PLANAR, UNIT, PREDICTOR, COLOUR_MAP = 282, 283, 284, 296, 317, 320
TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_COUNTS, SAMPLE_FORMAT = 322, 323, 324, 325, 339
T4_OPTIONS, T6_OPTIONS, JPEG_TABLES, SUBSAMPLING = 292, 293, 347, 530

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of one value of each field type; 16 to 18 are BigTIFF's."""
_KINDS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_MOST_PAGES = 1 << 17
_LARGEST_FIELD = 64 << 20
"""Bytes of one field's values that are believed: offsets of 8 million strips."""


class _Cut(Exception):
    """The file ends before something that it says it has; the message says what."""


@dataclass(frozen=True)
class Page:
    """One picture of the file.

    :param fields: the values of each field, by its tag; a text is bytes.
    :param segments: offset and length of each strip or tile, in order.
    """

    fields: dict[int, Sequence[Any] | bytes]
    segments: list[tuple[int, int]]

    def numbers(self, tag: int) -> list[int]:
        """The whole numbers of a field, none when it is not there."""
        value = self.fields.get(tag, ())
        return [] if isinstance(value, bytes) else [int(number) for number in value if math.isfinite(number)]

    def number(self, tag: int, default: int) -> int:
        """The first whole number of a field."""
        return (self.numbers(tag) or [default])[0]

    def real(self, tag: int) -> float | None:
        """The first number of a field, None when there is none or it is not positive."""
        value = self.fields.get(tag, ())
        found = float(value[0]) if value and not isinstance(value, bytes) else 0.0
        return found if math.isfinite(found) and found > 0 else None

    @property
    def text(self) -> str:
        """ImageDescription."""
        value = self.fields.get(DESCRIPTION, b"")
        return value.split(b"\0")[0].decode("utf-8", "replace") if isinstance(value, bytes) else ""

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        return self.number(WIDTH, 0), self.number(LENGTH, 0)

    @property
    def isPicture(self) -> bool:
        """False for a smaller copy or a mask of another page (NewSubfileType)."""
        return not self.number(SUBFILE, 0) & 0b101


class Directories:
    """The pages of a file that may still grow, each read once.

    ``order`` is the file's byte order, "<" or ">"; ``begun`` and ``complete`` say that the header, and that the last
    page was read.
    """

    def __init__(self) -> None:
        self.order = "<"
        self.big = False
        self.pages: list[Page] = []
        self._next: int | None = None
        self._seen: set[int] = set()

    @property
    def begun(self) -> bool:
        return self._next is not None

    @property
    def complete(self) -> bool:
        return self._next == 0

    def read(self, file: BinaryIO, size: int) -> str | None:
        """Go on; None when all pages and their pixels are there, else a sentence saying what is missing.

        :param size: of the file.
        :raises NotAnImageError: it is no TIFF file, or damaged.
        """
        try:
            if self._next is None:
                self._next = self._header(file, size)
            while self._next:
                self._next = self._directory(file, size, self._next)
        except _Cut as cut:
            return f"{cut}; {size:,} bytes are there."
        return None

    def _header(self, file: BinaryIO, size: int) -> int:
        head = readUpTo(file, 16)
        marks = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}
        if not any(head):
            raise _Cut("The file has no TIFF header yet")
        if not any(mark[: len(head)] == head[:4] for mark in marks):
            raise NotAnImageError("A TIFF file begins with II*, MM* or a BigTIFF mark; this one does not.")
        if len(head) < 8 or (b"+" in head[:4] and len(head) < 16):
            raise _Cut("The TIFF header is not complete")
        self.order, self.big = marks[head[:4]], b"+" in head[:4]
        if self.big and struct.unpack_from(self.order + "2H", head, 4) != (8, 0):
            raise NotAnImageError("The BigTIFF header is damaged.", "damaged")
        first: int = struct.unpack_from(self.order + ("Q" if self.big else "I"), head, 8 if self.big else 4)[0]
        if first == 0:
            raise _Cut("The TIFF header names no page yet")
        return first

    def _at(self, file: BinaryIO, size: int, offset: int, length: int, what: str) -> bytes:
        if offset + length > size:
            raise _Cut(f"{what} is to end at byte {offset + length:,}")
        file.seek(offset)
        data = readUpTo(file, length)
        if len(data) < length:
            raise _Cut(f"{what} is to end at byte {offset + length:,}")
        return data

    def _directory(self, file: BinaryIO, size: int, offset: int) -> int:
        # One page, and where the next one's directory is.
        what = f"Page {len(self.pages) + 1}"
        if offset in self._seen or len(self.pages) >= _MOST_PAGES:
            raise NotAnImageError("The pages of the TIFF file follow one another in a circle.", "damaged")
        wide, entry, word = (8, 20, "Q") if self.big else (2, 12, "I")
        count = int.from_bytes(self._at(file, size, offset, wide, what), "little" if self.order == "<" else "big")
        if not 0 < count <= 4096:
            if count == 0:
                raise _Cut(f"{what} is not written yet")
            raise NotAnImageError(f"{what} has {count:,} fields.", "damaged")
        data = self._at(file, size, offset + wide, count * entry + struct.calcsize("<" + word), what)
        fields: dict[int, Sequence[Any] | bytes] = {}
        for number in range(count):
            tag, kind, many = struct.unpack_from(self.order + "2H" + word, data, number * entry)
            length = many * _SIZES.get(kind, 0)
            if kind not in _SIZES or tag in fields:
                continue
            if length > _LARGEST_FIELD:
                raise NotAnImageError(f"{what} has a field of {length:,} bytes.", "damaged")
            place = number * entry + 4 + struct.calcsize("<" + word)
            if length <= struct.calcsize("<" + word):
                value = data[place : place + length]
            else:
                begin = struct.unpack_from(self.order + word, data, place)[0]
                value = self._at(file, size, begin, length, what)
            fields[tag] = self._values(kind, many, value)
        page = Page(fields, _segments(fields, what))
        for begin, length in page.segments:
            if begin + length > size:
                raise _Cut(f"The pixels of page {len(self.pages) + 1} are to end at byte {begin + length:,}")
        self._seen.add(offset)
        self.pages.append(page)
        following: int = struct.unpack_from(self.order + word, data, count * entry)[0]
        return following

    def _values(self, kind: int, many: int, data: bytes) -> Sequence[Any] | bytes:
        if kind in (2, 7):
            return data
        if kind in (5, 10):
            numbers = struct.unpack(f"{self.order}{2 * many}{'I' if kind == 5 else 'i'}", data)
            pairs = zip(numbers[::2], numbers[1::2], strict=True)
            return [above / below if below else math.nan for above, below in pairs]
        return struct.unpack(f"{self.order}{many}{_KINDS[kind]}", data)


def _segments(fields: dict[int, Sequence[Any] | bytes], what: str) -> list[tuple[int, int]]:
    tiled = TILE_OFFSETS in fields
    offsets = fields.get(TILE_OFFSETS if tiled else STRIP_OFFSETS, ())
    counts = fields.get(TILE_COUNTS if tiled else STRIP_COUNTS, ())
    if not offsets or isinstance(offsets, bytes) or isinstance(counts, bytes):
        raise NotAnImageError(f"{what} of the TIFF file has no pixels.", "damaged")
    if not counts and len(offsets) == 1:
        # Some old writers leave out what can be computed of an uncompressed page.
        counts = [_bytesOf(fields)]
    if len(counts) != len(offsets) or min(offsets) < 0 or min(counts) < 0:
        raise NotAnImageError(f"{what} has {len(offsets)} offsets and {len(counts)} lengths of pixels.", "damaged")
    if 0 in offsets or 0 in counts:
        raise _Cut(f"The pixels of {what.lower()} are not written yet")
    return list(zip(map(int, offsets), map(int, counts), strict=True))


def _bytesOf(fields: dict[int, Sequence[Any] | bytes]) -> int:
    page = Page(fields, [])
    columns, rows = page.size
    bits = sum(page.numbers(BITS) or [1])
    return rows * ((columns * bits + 7) // 8)
