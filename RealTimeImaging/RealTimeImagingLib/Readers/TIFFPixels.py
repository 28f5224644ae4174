"""The values of one TIFF page: unpacked strip by strip or tile by tile, put together, and turned into what they mean.

The format: TIFF 6.0, sections 3 to 9, 14 and 18 to 22, and its supplements.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np

from ..Errors import NotAnImageError
from ..Frame import Pixels
from . import TIFFDirectory as tag
from .Raw import allocate, readExactly, readUpTo
from .TIFFDirectory import Page, typeOf

_NONE, _DEFLATE, _JPEG = (1,), (8, 32946), (7,)
_BYTEWISE = {5: "LZW", 32773: "PackBits", 34925: "LZMA", 50000: "Zstandard"}
"""What packs bytes, whatever they mean."""
_FAX = {2: "CCITT modified Huffman", 3: "CCITT T.4", 4: "CCITT T.6"}
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
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_EXTRA_SAMPLES = 338
_REVERSED = bytes(int(f"{number:08b}"[::-1], 2) for number in range(256))


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
        dtype, depth, samples = typeOf(page, order)
        tiled = tag.TILE_OFFSETS in page.fields
        wide = page.number(tag.TILE_WIDTH, 0) if tiled else columns
        high = page.number(tag.TILE_LENGTH, 0) if tiled else min(rows, page.number(tag.ROWS_PER_STRIP, rows) or rows)
        planes = samples if page.number(tag.PLANAR, 1) == 2 else 1
        compression = page.number(tag.COMPRESSION, 1)
        made = cls(
            *(columns, rows, dtype, depth, samples, planes, wide, high, tiled, compression),
            page.number(tag.PREDICTOR, 1) if compression in (*_DEFLATE, *_BYTEWISE) else 1,
            page.number(tag.PHOTOMETRIC, _BLACK_IS_ZERO),
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
        known = (*_NONE, *_DEFLATE, *_JPEG, *_BYTEWISE, *_FAX)
        if self.compression not in known:
            name = _REFUSED.get(self.compression, f"the unknown method {self.compression}")
            raise NotAnImageError(f"TIFF pixels packed with {name} are not supported.", "unsupported")
        if self.predictor not in (1, 2, 3) or (self.predictor > 1 and (self.depth < 8 or self.depth % 8)):
            raise NotAnImageError(f"TIFF's predictor {self.predictor} is not supported.", "unsupported")
        if (self.compression in _FAX and (self.depth, self.samples) != (1, 1)) or (
            self.compression in _JPEG and (self.depth != 8 or self.dtype.kind != "u")
        ):
            raise NotAnImageError(
                f"Pixels of {self.depth} bits packed with JPEG or CCITT are not supported.", "unsupported"
            )
        colours = {
            _WHITE_IS_ZERO: (1, 2),
            _BLACK_IS_ZERO: (1, 2, 3, 4),
            _RGB: (3, 4),
            _PALETTE: (1,),
            _CMYK: (4,),
            _YCBCR: (3,) if self.compression in _JPEG else (),
        }
        if self.samples not in colours.get(self.photometric, ()) or (self.samples == 2 and not self.extra):
            raise NotAnImageError(
                f"TIFF pixels of {self.samples} samples with the colour model {self.photometric} are not supported.",
                "unsupported",
            )
        if self.photometric in (_PALETTE, _CMYK) and self.dtype != np.uint8:
            raise NotAnImageError(f"TIFF palettes and CMYK of {self.depth} bits are not supported.", "unsupported")
        if self.photometric == _PALETTE and len(page.numbers(tag.COLOUR_MAP)) != 3 << self.depth:
            raise NotAnImageError("The TIFF page's palette is missing or has another length.", "damaged")
        segments = -(-self.columns // self.wide) * -(-self.rows // self.high) * self.planes
        if len(page.segments) < segments:
            raise NotAnImageError(
                f"The TIFF page needs {segments} strips or tiles; it has {len(page.segments)}.", "damaged"
            )

    @property
    def negative(self) -> bool:
        """Whether the values stay as they are though the lowest is white."""
        return self.photometric == _WHITE_IS_ZERO and self.depth >= 8

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
        return self.compression in _NONE and whole

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows, columns and components of what it becomes."""
        sizes = (self.columns, self.rows) if self.orientation in (5, 6, 7, 8) else (self.rows, self.columns)
        if self.photometric in (_PALETTE, _CMYK):
            return (*sizes, 3)
        return (*sizes, 4) if self.samples == 2 else sizes if self.samples == 1 else (*sizes, self.samples)


def pixelsOf(file: BinaryIO, page: Page, form: Format, limit: int) -> Pixels:
    """Rows, columns and perhaps 3 or 4 components of a page.

    :raises NotAnImageError: the content contradicts what the page declares.
    """
    stored = allocate(form.rows * form.columns * form.samples * form.dtype.itemsize, limit, "The page")
    array = stored.view(form.dtype.newbyteorder("=")).reshape(form.rows, form.columns, form.samples)
    if form.plain and _contiguous(page, form):
        file.seek(page.segments[0][0])
        readExactly(file, stored, getattr(file, "name", ""))
        if not form.dtype.isnative:
            array.byteswap(inplace=True)
        return _shown(array, page, form)
    across, down = -(-form.columns // form.wide), -(-form.rows // form.high)
    for number in range(across * down * form.planes):
        plane, place = divmod(number, across * down)
        top, left = place // across * form.high, place % across * form.wide
        rows = form.high if form.tiled else min(form.high, form.rows - top)
        offset, length = page.segments[number]
        file.seek(offset)
        values = _values(readUpTo(file, length), page, form, rows)
        part = array[top : top + form.high, left : left + form.wide]
        cut = values[: part.shape[0], : part.shape[1]]
        if form.planes > 1:
            part[..., plane] = cut[..., 0]
        else:
            part[...] = cut
    return _shown(array, page, form)


def _contiguous(page: Page, form: Format) -> bool:
    # Whether the strips follow one another without gaps, as they usually do.
    position, rest = page.segments[0][0], form.rows
    for offset, length in page.segments[: -(-form.rows // form.high)]:
        rows = min(form.high, rest)
        if offset != position or length < form.segmentBytes(rows) or (length > form.segmentBytes(rows) and rest > rows):
            return False
        position, rest = position + length, rest - rows
    return True


def _values(data: bytes, page: Page, form: Format, rows: int) -> Pixels:
    # Rows, columns and samples of a strip or tile as they are stored.
    size = form.segmentBytes(rows)
    if form.mirrored and form.compression not in (*_FAX, *_JPEG):
        data = data.translate(_REVERSED)
    if form.compression in _JPEG or form.compression in _FAX:
        return _byPillow(data, page, form, form.wide, rows).reshape(rows, form.wide, form.perPixel)
    if form.compression in _DEFLATE:
        try:
            data = zlib.decompressobj().decompress(data, size)
        except zlib.error as error:
            raise NotAnImageError(f"The packed pixels are damaged ({error}).", "damaged") from error
    elif form.compression in _BYTEWISE:
        data = _byPillow(data, page, form, form.rowBytes, rows).tobytes()
    if len(data) < size:
        raise NotAnImageError(f"A strip or tile has {len(data):,} bytes; {size:,} are needed.", "damaged")
    lines = np.frombuffer(data, np.uint8, size).reshape(rows, form.rowBytes)
    if form.predictor > 1:
        return _differences(lines, form, rows)
    if form.depth % 8:
        bits = np.unpackbits(lines, axis=1)[:, : form.wide * form.perPixel * form.depth]
        weights = (1 << np.arange(form.depth)[::-1]).astype(np.uint16)
        numbers: Pixels = bits.reshape(rows, -1, form.depth) @ weights
        return numbers.astype(form.dtype.newbyteorder("=")).reshape(rows, form.wide, form.perPixel)
    return np.ascontiguousarray(lines).view(form.dtype).reshape(rows, form.wide, form.perPixel)


def _differences(lines: Pixels, form: Format, rows: int) -> Pixels:
    # TIFF 6.0 section 14 (2, in whole numbers of the depth) and supplement 1 (3, in bytes, the highest of all first).
    native = form.dtype.newbyteorder("=")
    whole = np.dtype(f"u{form.dtype.itemsize}")
    if form.predictor == 2:
        stored = lines.view(whole.newbyteorder(form.dtype.byteorder))
        numbers = stored.astype(whole).reshape(rows, form.wide, form.perPixel)
        summed: Pixels = np.cumsum(numbers, axis=1, dtype=whole)
        return summed.view(native)
    sums = np.cumsum(lines.reshape(rows, -1, form.perPixel), axis=1, dtype=np.uint8)
    parts = sums.reshape(rows, form.dtype.itemsize, form.wide * form.perPixel).swapaxes(1, 2)
    values: Pixels = np.ascontiguousarray(parts).view(form.dtype.newbyteorder(">")).astype(native)
    return values.reshape(rows, form.wide, form.perPixel)


def _byPillow(data: bytes, page: Page, form: Format, columns: int, rows: int) -> Pixels:
    """One strip or tile, unpacked by the libtiff inside Pillow as a picture of its own: Pillow would take colours of 16
    bits for 8, so it is given nothing to understand but bytes, bits or JPEG."""
    import PIL.Image

    picture = form.compression in _JPEG
    fields: dict[int, tuple[str, list[int] | bytes]] = {
        tag.WIDTH: ("I", [columns]),
        tag.LENGTH: ("I", [rows]),
        tag.BITS: ("H", [1] if form.compression in _FAX else [8] * (form.perPixel if picture else 1)),
        tag.COMPRESSION: ("H", [form.compression]),
        tag.PHOTOMETRIC: ("H", [_pillowsModel(form) if picture else _BLACK_IS_ZERO]),
        tag.FILL_ORDER: ("H", [2 if form.mirrored and form.compression in _FAX else 1]),
        tag.SAMPLES: ("H", [form.perPixel if picture else 1]),
        tag.ROWS_PER_STRIP: ("I", [rows]),
    }
    for number in (tag.T4_OPTIONS, tag.T6_OPTIONS):
        if page.numbers(number):
            fields[number] = ("I", page.numbers(number)[:1])
    if picture and form.photometric == _YCBCR:
        fields[tag.SUBSAMPLING] = ("H", (page.numbers(tag.SUBSAMPLING) or [2, 2])[:2])
    tables = page.fields.get(tag.JPEG_TABLES)
    if picture and isinstance(tables, bytes):
        fields[tag.JPEG_TABLES] = ("B", tables)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            opened: Any = PIL.Image.open(io.BytesIO(_tiff(fields, data)), formats=("TIFF",))
            opened.load()
            array = np.asarray(opened)
    except (PIL.Image.DecompressionBombError, MemoryError) as error:
        raise NotAnImageError(f"A strip or tile is too large to be unpacked: {error}", "too-large") from error
    except Exception as error:  # what a decoder may raise on damaged bytes is nowhere declared
        raise NotAnImageError(f"The packed pixels are damaged ({error}).", "damaged") from error
    expected = (rows, columns, form.perPixel) if picture and form.perPixel > 1 else (rows, columns)
    if array.shape != expected:
        raise NotAnImageError(f"A strip or tile has the shape {array.shape}, not {expected}.", "damaged")
    return array.astype(np.uint8)


def _pillowsModel(form: Format) -> int:
    if form.photometric in (_YCBCR, _RGB) and form.perPixel == 3:
        return form.photometric
    return {1: _BLACK_IS_ZERO, 3: _RGB, 4: _CMYK}.get(form.perPixel, _BLACK_IS_ZERO)


def _tiff(fields: dict[int, tuple[str, list[int] | bytes]], data: bytes) -> bytes:
    # A TIFF file of one strip, little-endian.
    count = len(fields) + 2
    position = 8 + 2 + 12 * count + 4
    entries, behind = b"", b""
    complete: dict[int, tuple[str, list[int] | bytes]] = {
        **fields,
        tag.STRIP_OFFSETS: ("I", [0]),
        tag.STRIP_COUNTS: ("I", [len(data)]),
    }
    outside = sum(len(value) * struct.calcsize(kind) for kind, value in complete.values())
    for number, (kind, value) in sorted(complete.items()):
        if number == tag.STRIP_OFFSETS:
            value = [position + 2 * outside]
        packed = bytes(value) if kind == "B" else struct.pack(f"<{len(value)}{kind}", *value)
        code = {"B": 7, "H": 3, "I": 4}[kind]
        if len(packed) <= 4:
            place = packed.ljust(4, b"\0")
        else:
            place = struct.pack("<I", position + len(behind))
            behind += packed + bytes(len(packed) % 2)
        entries += struct.pack("<2HI", number, code, len(value)) + place
    head = struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", count) + entries + bytes(4) + behind
    return head.ljust(position + 2 * outside, b"\0") + data


def _shown(array: Pixels, page: Page, form: Format) -> Pixels:
    # Grey, RGB or RGBA, the right way round.
    if form.photometric == _PALETTE:
        colours: Pixels = np.array(page.numbers(tag.COLOUR_MAP), np.uint16).reshape(3, -1)
        colours = colours if colours.max(initial=0) < 256 else colours >> 8
        array = colours.T.astype(np.uint8)[array[..., 0]]
    elif form.photometric == _CMYK:
        import PIL.Image

        array = np.asarray(PIL.Image.fromarray(array, "CMYK").convert("RGB"))
    else:
        if form.depth < 8:
            if form.photometric == _WHITE_IS_ZERO:
                array[..., 0] = ((1 << form.depth) - 1) - array[..., 0]
            array = (array.astype(np.uint16) * 255 // ((1 << form.depth) - 1)).astype(np.uint8)
        if form.samples == 1:
            array = array[..., 0]
        elif form.samples == 2:
            array = array[..., [0, 0, 0, 1]]
    if form.orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if form.orientation in (3, 4, 7, 8):
        array = array[::-1]
    if form.orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)
