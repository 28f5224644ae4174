"""The values of one TIFF page: unpacked strip by strip or tile by tile, put together, and turned into what they mean.

The format: TIFF 6.0, sections 3 to 9, 14 and 18 to 22, and its supplements.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, BinaryIO

import numpy as np

from ..Errors import NotAnImageError
from ..Frame import Pixels
from . import TIFFDirectory as tag
from .Raw import allocate, readExactly, readUpTo
from .TIFFDirectory import Page
from .TIFFFormat import (
    BLACK_IS_ZERO,
    BYTEWISE,
    CMYK,
    DEFLATE,
    FAX,
    JPEG,
    PALETTE,
    RGB,
    WHITE_IS_ZERO,
    YCBCR,
    Format,
)

_AT_ONCE = 64 << 20
"""Unpacked bytes of a page whose strips are unpacked at once."""
_CODES = {"B": 7, "H": 3, "I": 4}
_REVERSED = bytes(int(f"{number:08b}"[::-1], 2) for number in range(256))


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
    if _together(form):
        strips = [_read(file, segment) for segment in page.segments[: -(-form.rows // form.high)]]
        array[...] = _values(strips, page, form, form.rows)
        return _shown(array, page, form)
    across, down = -(-form.columns // form.wide), -(-form.rows // form.high)
    for number in range(across * down * form.planes):
        plane, place = divmod(number, across * down)
        top, left = place // across * form.high, place % across * form.wide
        rows = form.high if form.tiled else min(form.high, form.rows - top)
        values = _values([_read(file, page.segments[number])], page, form, rows)
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


def _together(form: Format) -> bool:
    # Whether all strips are handed to libtiff at once, which saves a third of the time; Pillow refuses huge pictures.
    packed = form.compression in (*BYTEWISE, *JPEG, *FAX)
    return packed and not form.tiled and form.planes == 1 and form.segmentBytes(form.rows) < _AT_ONCE


def _read(file: BinaryIO, segment: tuple[int, int]) -> bytes:
    file.seek(segment[0])
    return readUpTo(file, segment[1])


def _values(strips: Sequence[bytes], page: Page, form: Format, rows: int) -> Pixels:
    # Rows, columns and samples of strips or a tile as they are stored; several only if libtiff unpacks them.
    size = form.segmentBytes(rows)
    if form.mirrored and form.compression not in (*FAX, *JPEG):
        strips = [strip.translate(_REVERSED) for strip in strips]
    if form.compression in JPEG or form.compression in FAX:
        return _byPillow(strips, page, form, form.wide, rows).reshape(rows, form.wide, form.perPixel)
    data = strips[0]
    if form.compression in DEFLATE:
        try:
            data = zlib.decompressobj().decompress(data, size)
        except zlib.error as error:
            raise NotAnImageError(f"The packed pixels are damaged ({error}).", "damaged") from error
    elif form.compression in BYTEWISE:
        data = _byPillow(strips, page, form, form.rowBytes, rows).tobytes()
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


def _byPillow(strips: Sequence[bytes], page: Page, form: Format, columns: int, rows: int) -> Pixels:
    """Strips or a tile, unpacked by the libtiff inside Pillow as a picture of its own: Pillow would take colours of 16
    bits for 8, so it is given nothing to understand but bytes, bits or JPEG."""
    import PIL.Image

    picture = form.compression in JPEG
    fields: dict[int, tuple[str, list[int] | bytes]] = {
        tag.WIDTH: ("I", [columns]),
        tag.LENGTH: ("I", [rows]),
        tag.BITS: ("H", [1] if form.compression in FAX else [8] * (form.perPixel if picture else 1)),
        tag.COMPRESSION: ("H", [form.compression]),
        tag.PHOTOMETRIC: ("H", [_pillowsModel(form) if picture else BLACK_IS_ZERO]),
        tag.FILL_ORDER: ("H", [2 if form.mirrored and form.compression in FAX else 1]),
        tag.SAMPLES: ("H", [form.perPixel if picture else 1]),
        tag.ROWS_PER_STRIP: ("I", [min(rows, form.high)]),
    }
    for number in (tag.T4_OPTIONS, tag.T6_OPTIONS):
        if page.numbers(number):
            fields[number] = ("I", page.numbers(number)[:1])
    if picture and form.photometric == YCBCR:
        fields[tag.SUBSAMPLING] = ("H", (page.numbers(tag.SUBSAMPLING) or [2, 2])[:2])
    tables = page.fields.get(tag.JPEG_TABLES)
    if picture and isinstance(tables, bytes):
        fields[tag.JPEG_TABLES] = ("B", tables)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            opened: Any = PIL.Image.open(io.BytesIO(_tiff(fields, strips)), formats=("TIFF",))
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
    if form.photometric in (YCBCR, RGB) and form.perPixel == 3:
        return form.photometric
    return {1: BLACK_IS_ZERO, 3: RGB, 4: CMYK}.get(form.perPixel, BLACK_IS_ZERO)


def _tiff(fields: dict[int, tuple[str, list[int] | bytes]], strips: Sequence[bytes]) -> bytes:
    # A little-endian TIFF file with the strips behind its only page's directory.
    counts = [len(strip) for strip in strips]
    every = {**fields, tag.STRIP_OFFSETS: ("I", [0] * len(strips)), tag.STRIP_COUNTS: ("I", counts)}
    outside = 8 + 2 + 12 * len(every) + 4
    longest = sum(len(value) * struct.calcsize(kind) for kind, value in every.values()) + len(every)
    begin = outside + longest
    every[tag.STRIP_OFFSETS] = ("I", [begin + done for done in accumulate([0, *counts[:-1]])])
    entries, values = b"", b""
    for number, (kind, value) in sorted(every.items()):
        packed = bytes(value) if kind == "B" else struct.pack(f"<{len(value)}{kind}", *value)
        place = packed.ljust(4, b"\0")
        if len(packed) > 4:
            place = struct.pack("<I", outside + len(values))
            values += packed + bytes(len(packed) % 2)
        entries += struct.pack("<2HI", number, _CODES[kind], len(value)) + place
    head = struct.pack("<2sHIH", b"II", 42, 8, len(every)) + entries + bytes(4) + values
    return b"".join([head.ljust(begin, b"\0"), *strips])


def _shown(array: Pixels, page: Page, form: Format) -> Pixels:
    # Grey, RGB or RGBA, the right way round.
    if form.photometric == PALETTE:
        colours: Pixels = np.array(page.numbers(tag.COLOUR_MAP), np.uint16).reshape(3, -1)
        colours = colours if colours.max(initial=0) < 256 else colours >> 8
        array = colours.T.astype(np.uint8)[array[..., 0]]
    elif form.photometric == CMYK:
        import PIL.Image

        array = np.asarray(PIL.Image.fromarray(array, "CMYK").convert("RGB"))
    else:
        if form.depth < 8:
            if form.photometric == WHITE_IS_ZERO:
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
