"""How the values of a TIFF page lie in the file, and what they become.

The format: TIFF 6.0, sections 3 to 9 and 14 to 22, and libtiff's tiff.h for the numbers of later packings.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..Errors import NotAnImageError
from . import TIFFDirectory as tag
from .TIFFDirectory import Page

NONE, DEFLATE, JPEG = (1,), (8, 32946), (7,)
BYTEWISE = {5: "LZW", 32773: "PackBits", 34925: "LZMA", 50000: "Zstandard"}
"""What packs bytes, whatever they mean."""
FAX = {2: "CCITT modified Huffman", 3: "CCITT T.4", 4: "CCITT T.6"}
_REFUSED = {
    6: "old-style JPEG",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34676: "SGI Log",
    34677: "SGI Log",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG",
    50001: "WebP",
    50002: "JPEG XL",
}
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
_EXTRA_SAMPLES = 338


@dataclass(frozen=True)
class Format:
    """How a page's values lie in its strips or tiles (``wide`` by ``high`` pixels each), and what they become."""

    columns: int
    rows: int
    dtype: np.dtype[Any]
    depth: int
    samples: int
    planes: int
    wide: int
    high: int
    tiled: bool
    compression: int
    predictor: int
    photometric: int
    extra: bool
    orientation: int
    mirrored: bool

    @classmethod
    def of(cls, page: Page, order: str, limit: int) -> Format:
        """What a page declares.

        :param order: byte order of the file, "<" or ">".
        :param limit: most bytes that are believed.
        :raises NotAnImageError: it cannot be, or cannot be shown.
        """
        columns, rows = page.size
        if columns < 1 or rows < 1:
            raise NotAnImageError(f"The TIFF page declares {columns} columns and {rows} rows.", "damaged")
        dtype, depth, samples = _typeOf(page, order)
        tiled = tag.TILE_OFFSETS in page.fields
        wide = page.number(tag.TILE_WIDTH, 0) if tiled else columns
        high = page.number(tag.TILE_LENGTH, 0) if tiled else min(rows, page.number(tag.ROWS_PER_STRIP, rows) or rows)
        planes = samples if page.number(tag.PLANAR, 1) == 2 else 1
        compression = page.number(tag.COMPRESSION, 1)
        made = cls(
            *(columns, rows, dtype, depth, samples, planes, wide, high, tiled, compression),
            page.number(tag.PREDICTOR, 1) if compression in (*DEFLATE, *BYTEWISE) else 1,
            page.number(tag.PHOTOMETRIC, BLACK_IS_ZERO),
            len(page.numbers(_EXTRA_SAMPLES)) > 0,
            page.number(tag.ORIENTATION, 1),
            page.number(tag.FILL_ORDER, 1) == 2,
        )
        if wide < 1 or high < 1:
            raise NotAnImageError(f"The TIFF page declares tiles of {wide} x {high}.", "damaged")
        for size, what in ((columns * rows * samples, "page"), (made.segmentBytes(high) if tiled else 0, "tile")):
            if size * max(4, dtype.itemsize) > limit:
                raise NotAnImageError(
                    f"The TIFF {what} takes {size * max(4, dtype.itemsize):,} bytes; at most {limit:,} are believed.",
                    "too-large",
                )
        made._checkKind(page)
        return made

    def _checkKind(self, page: Page) -> None:
        known = (*NONE, *DEFLATE, *JPEG, *BYTEWISE, *FAX)
        if self.compression not in known:
            name = _REFUSED.get(self.compression, f"the unknown method {self.compression}")
            raise NotAnImageError(f"TIFF pixels packed with {name} are not supported.", "unsupported")
        if self.predictor not in (1, 2, 3) or (self.predictor > 1 and (self.depth < 8 or self.depth % 8)):
            raise NotAnImageError(f"TIFF's predictor {self.predictor} is not supported.", "unsupported")
        if (self.compression in FAX and (self.depth, self.samples) != (1, 1)) or (
            self.compression in JPEG and (self.depth != 8 or self.dtype.kind != "u")
        ):
            raise NotAnImageError(
                f"Pixels of {self.depth} bits packed with JPEG or CCITT are not supported.", "unsupported"
            )
        colours = {
            WHITE_IS_ZERO: (1, 2),
            BLACK_IS_ZERO: (1, 2, 3, 4),
            RGB: (3, 4),
            PALETTE: (1,),
            CMYK: (4,),
            YCBCR: (3,) if self.compression in JPEG else (),
        }
        if self.samples not in colours.get(self.photometric, ()) or (self.samples == 2 and not self.extra):
            raise NotAnImageError(
                f"TIFF pixels of {self.samples} samples with the colour model {self.photometric} are not supported.",
                "unsupported",
            )
        if self.photometric in (PALETTE, CMYK) and self.dtype != np.uint8:
            raise NotAnImageError(f"TIFF palettes and CMYK of {self.depth} bits are not supported.", "unsupported")
        if self.photometric == PALETTE and len(page.numbers(tag.COLOUR_MAP)) != 3 << self.depth:
            raise NotAnImageError("The TIFF page's palette is missing or has another length.", "damaged")
        segments = -(-self.columns // self.wide) * -(-self.rows // self.high) * self.planes
        if len(page.segments) < segments:
            raise NotAnImageError(
                f"The TIFF page needs {segments} strips or tiles; it has {len(page.segments)}.", "damaged"
            )

    @property
    def negative(self) -> bool:
        """Whether the values stay as they are though the lowest is white."""
        return self.photometric == WHITE_IS_ZERO and self.depth >= 8

    @property
    def perPixel(self) -> int:
        """Samples of a pixel inside one strip or tile."""
        return 1 if self.planes > 1 else self.samples

    @property
    def rowBytes(self) -> int:
        """Of a strip or tile."""
        return (self.wide * self.perPixel * self.depth + 7) // 8

    def inOneStrip(self) -> Format:
        """The same with all rows in one strip."""
        return replace(self, high=self.rows)

    def segmentBytes(self, rows: int) -> int:
        """Unpacked, of so many rows."""
        return self.rowBytes * rows

    @property
    def plain(self) -> bool:
        """Whether the bytes in the file are the values, row by row."""
        whole = self.planes == 1 and not self.tiled and self.depth % 8 == 0 and not self.mirrored
        return self.compression in NONE and whole

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows, columns and components of what it becomes."""
        sizes = (self.columns, self.rows) if self.orientation in (5, 6, 7, 8) else (self.rows, self.columns)
        if self.photometric in (PALETTE, CMYK):
            return (*sizes, 3)
        return (*sizes, 4) if self.samples == 2 else sizes if self.samples == 1 else (*sizes, self.samples)


def _typeOf(page: Page, order: str) -> tuple[np.dtype[Any], int, int]:
    # The type of a page's values with their byte order, the bits of each in the file, and how many a pixel has.
    samples = page.number(tag.SAMPLES, 1)
    bits = page.numbers(tag.BITS) or [1]
    formats = page.numbers(tag.SAMPLE_FORMAT) or [1]
    if not 1 <= samples <= 64 or len(set(bits)) != 1 or len(set(formats)) != 1:
        raise NotAnImageError(f"Pixels of {samples} samples with {bits} bits are not supported.", "unsupported")
    kind = {1: "u", 2: "i", 3: "f", 4: "u"}.get(formats[0])
    depth = bits[0]
    if kind == "u" and depth in range(1, 16):
        return np.dtype("u1" if depth <= 8 else order + "u2"), depth, samples
    if kind is None or depth not in (8, 16, 32, 64) or (kind == "f" and depth == 8):
        words = {5: "complex whole numbers", 6: "complex numbers"}.get(formats[0], "numbers")
        raise NotAnImageError(f"Pixels are {words} of {depth} bits, which Slicer cannot show.", "unsupported")
    return np.dtype(f"{order}{kind}{depth // 8}"), depth, samples
