"""One page of a TIFF file: its description by tifffile, checks, and its pixels."""

from __future__ import annotations

import math
import mmap
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..Model.Errors import NotAnImageError, RealTimeImagingError
from ..Model.Frame import Pixels
from ..Model.Text import textsOf
from .Inflate import ZLIB, inflaters

_ = textsOf(__file__)

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, CIELAB = 0, 1, 2, 3, 5, 6, 8
"""PhotometricInterpretation."""
_NONE, _OLD_JPEG, _JPEG, _FAX = 1, 6, 7, (2, 3, 4)
_DEFLATE = (8, 32946)
_JPEG_2000 = (33003, 33004, 33005, 34712)
_WEBP = 50001
_BYTEWISE = {5: "LZW", 8: "Deflate", 32946: "Deflate", 32773: "PackBits", 34925: "LZMA", 50000: "Zstandard"}
_RATIO = {5: 1400, 8: 1040, 32946: 1040, 32773: 64, _JPEG: 1536}
"""Most bytes of pixels in one compressed byte, for compressions with such a limit."""
_PLACES, _WHOLE = (273, 279, 324, 325), {1, 3, 4, 8, 9, 13, 16, 17, 18}
"""Tags of the offsets and lengths of strips and tiles; types of fields with whole numbers."""
_NAMES = {
    32809: "ThunderScan",
    34676: "SGI Log",
    34677: "SGI Log",
    34887: "LERC",
    34892: "lossy JPEG",
    50002: "JPEG XL",
}


@dataclass(frozen=True)
class Page:
    """Description of a page.

    :param number: index in the file, from 0.
    :param dtype: type of the values, in native byte order. ``bits``: bits of a value in the file.
    :param offsets: offsets of the strips or tiles in the file. ``lengths``: their bytes.
    :param plain: the bytes in the file are the values, row by row without a gap.
    :param packed: imagecodecs is needed for decoding.
    :param deflated: the compression is Deflate.
    :param byLibtiff: libtiff decodes the page to RGBA of 8 bits, as tifffile cannot.
    :param isPicture: the page is no smaller copy and no mask.
    :param resolution: pixels per unit across and down, None where the file has none.
    """

    number: int
    columns: int
    rows: int
    samples: int
    dtype: np.dtype[Any]
    bits: int
    photometric: int
    orientation: int
    offsets: tuple[int, ...]
    lengths: tuple[int, ...]
    plain: bool
    packed: bool
    deflated: bool
    byLibtiff: bool
    isPicture: bool
    resolution: tuple[float | None, float | None]
    resolutionUnit: int
    description: str

    @property
    def negative(self) -> bool:
        """True when the lowest value is white, and the values are not inverted."""
        return self.photometric == WHITE_IS_ZERO and self.bits >= 8 and not self.byLibtiff

    @property
    def turned(self) -> bool:
        """True when the orientation swaps rows and columns."""
        return self.orientation in (5, 6, 7, 8)

    @property
    def asStored(self) -> bool:
        """True when the decoded values are the final ones."""
        grey = self.photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB) and self.samples != 2
        return grey and self.bits >= 8 and self.orientation in (0, 1) and not self.byLibtiff

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the final pixels: (rows, columns[, components])."""
        sizes = (self.columns, self.rows) if self.turned else (self.rows, self.columns)
        if self.photometric in (PALETTE, CMYK, YCBCR, CIELAB):
            return (*sizes, 3)
        return (*sizes, 4) if self.samples == 2 else sizes if self.samples == 1 else (*sizes, self.samples)

    @property
    def kind(self) -> tuple[Any, ...]:
        """Properties that are equal for the slices of one volume."""
        return self.shape, self.dtype, self.bits, self.photometric, self.orientation


def pageOf(raw: Any, number: int, size: int, limit: int) -> Page | str:
    """Return the description of a page, or a sentence about its missing pixels.

    :param raw: the tifffile.TiffPage.
    :param size: bytes of the file.
    :param limit: most bytes of a page.
    :raises NotAnImageError: the page is damaged or not supported.
    """
    columns, rows, samples = int(raw.imagewidth), int(raw.imagelength), int(raw.samplesperpixel)
    compression, photometric = int(raw.compression), BLACK_IS_ZERO if raw.photometric is None else int(raw.photometric)
    if columns < 1 or rows < 1:
        raise NotAnImageError(
            _("The TIFF page declares {columns} columns and {rows} rows.").format(columns=columns, rows=rows), "damaged"
        )
    if int(raw.imagedepth) != 1:
        raise NotAnImageError(
            _("TIFF pages of {slices} slices are not supported.").format(slices=raw.imagedepth), "unsupported"
        )
    dtype, bits = _typeOf(raw, samples)
    planes = samples if int(raw.planarconfig) == 2 else 1
    byLibtiff = compression in (*_FAX, _OLD_JPEG) or photometric == CIELAB
    byLibtiff = byLibtiff or (photometric == YCBCR and compression not in (_JPEG, *_JPEG_2000))
    _checkKind(raw, dtype, bits, samples, compression, photometric)
    predictor, mirrored = int(raw.predictor), int(raw.fillorder) == 2
    needed = _needed(raw, planes, bits, max(4, dtype.itemsize), limit)
    segments = _segments(raw, needed, compression == _NONE and not raw.is_subsampled, size)
    if isinstance(segments, str):
        return _("Page {number}: {segments}; the file has {size:,} bytes.").format(
            number=number + 1, segments=segments, size=size
        )
    offsets, lengths = segments
    if sum(lengths) * _RATIO.get(compression, limit) < columns * rows * samples * bits // 8:
        text = _("The TIFF page declares {columns:,} x {rows:,} pixels; {size:,} bytes cannot hold them.").format(
            columns=columns, rows=rows, size=sum(lengths)
        )
        raise NotAnImageError(text, "damaged")
    gapless = all(offsets[i] + lengths[i] == offsets[i + 1] for i in range(len(offsets) - 1))
    plain = compression == _NONE and predictor == 1 and bits % 8 == 0 and not (mirrored or raw.is_tiled or byLibtiff)
    return Page(
        number=number,
        columns=columns,
        rows=rows,
        samples=samples,
        dtype=dtype,
        bits=bits,
        photometric=photometric,
        orientation=_whole(raw, 274, 1),
        offsets=offsets,
        lengths=lengths,
        plain=plain and planes == 1 and gapless,
        packed=compression != _NONE or bits not in (8, 16, 32, 64) or predictor != 1 or mirrored or byLibtiff,
        deflated=compression in _DEFLATE and not mirrored,
        byLibtiff=byLibtiff,
        isPicture=not int(raw.subfiletype) & 0b101,
        resolution=(_ratio(raw, 282), _ratio(raw, 283)),
        resolutionUnit=_whole(raw, 296, 2),
        description=_text(raw.tags.valueof(270)),
    )


def _typeOf(raw: Any, samples: int) -> tuple[np.dtype[Any], int]:
    if not 1 <= samples <= 64 or isinstance(raw.bitspersample, tuple) or isinstance(raw.sampleformat, tuple):
        text = _("Pixels of {samples} samples with {bitspersample} bits are not supported.").format(
            samples=samples, bitspersample=raw.bitspersample
        )
        raise NotAnImageError(text, "unsupported")
    bits, dtype = int(raw.bitspersample), raw.dtype
    if dtype is None or dtype.kind not in "buif":
        words = _("complex numbers") if int(raw.sampleformat) in (5, 6) else _("numbers")
        raise NotAnImageError(
            _("Pixels are {words} of {bits} bits, which Slicer cannot show.").format(words=words, bits=bits),
            "unsupported",
        )
    return np.dtype(np.uint8) if dtype.kind == "b" else dtype.newbyteorder("="), bits


def _checkKind(raw: Any, dtype: np.dtype[Any], bits: int, samples: int, compression: int, photometric: int) -> None:
    if compression not in (_NONE, _OLD_JPEG, _JPEG, *_FAX, *_JPEG_2000, _WEBP, *_BYTEWISE):
        name = _NAMES.get(compression, _("the unknown method {compression}").format(compression=compression))
        raise NotAnImageError(
            _("TIFF pixels compressed with {name} are not supported.").format(name=name), "unsupported"
        )
    small = bits == 8 and dtype.kind == "u"
    if (compression in _FAX and (bits, samples) != (1, 1)) or (compression in (_JPEG, _OLD_JPEG) and not small):
        text = _("Pixels of {samples} samples of {bits} bits compressed with JPEG or CCITT are not supported.").format(
            samples=samples, bits=bits
        )
        raise NotAnImageError(text, "unsupported")
    colours = {WHITE_IS_ZERO: (1, 2), BLACK_IS_ZERO: (1, 2, 3, 4), RGB: (3, 4), PALETTE: (1,), CMYK: (4,), YCBCR: (3,)}
    colours[CIELAB] = (3,)
    extra = raw.extrasamples if isinstance(raw.extrasamples, tuple) else ()
    if samples not in colours.get(photometric, ()) or (samples == 2 and not extra):
        text = _("TIFF pixels of {samples} samples with the colour model {photometric} are not supported.").format(
            samples=samples, photometric=photometric
        )
        raise NotAnImageError(text, "unsupported")
    if photometric in (CMYK, YCBCR, CIELAB) and not small:
        raise NotAnImageError(
            _("This colour model is not supported with {bits} bits.").format(bits=bits), "unsupported"
        )
    if photometric == PALETTE:
        if bits > 8 or dtype.kind != "u":
            raise NotAnImageError(_("TIFF palettes of {bits} bits are not supported.").format(bits=bits), "unsupported")
        if np.size(raw.colormap if raw.colormap is not None else ()) != 3 << bits:
            raise NotAnImageError(_("The TIFF page's palette is missing or has another length."), "damaged")


def _needed(raw: Any, planes: int, bits: int, itemBytes: int, limit: int) -> list[int]:
    # Bytes of each uncompressed strip or tile; the last strip may have fewer rows.
    columns, rows, samples = int(raw.imagewidth), int(raw.imagelength), int(raw.samplesperpixel)
    wide, high = columns, min(rows, int(raw.rowsperstrip) or rows)
    if raw.is_tiled:
        wide, high = int(raw.tilewidth), int(raw.tilelength)
    if wide < 1 or high < 1:
        text = _("The TIFF page declares tiles of {wide} x {high}.").format(wide=wide, high=high)
        raise NotAnImageError(text, "damaged")
    each = samples // planes
    for values, what in ((columns * rows * samples, _("page")), (wide * high * each, _("tile or strip"))):
        if values * itemBytes > limit:
            text = _("The TIFF {what} takes {bytes:,} bytes; the limit is {limit:,}.")
            raise NotAnImageError(text.format(what=what, bytes=values * itemBytes, limit=limit), "too-large")
    across, down = -(-columns // wide), -(-rows // high)
    if len(raw.dataoffsets) < across * down * planes:
        text = _("The TIFF page needs {across:,} strips or tiles; it has {count:,}.").format(
            across=across * down * planes, count=len(raw.dataoffsets)
        )
        raise NotAnImageError(text, "damaged")
    rowBytes = (wide * each * bits + 7) // 8
    heights = [high if raw.is_tiled else min(high, rows - high * row) for row in range(down)]
    return [rowBytes * height for height in heights for _column in range(across)] * planes


def _segments(raw: Any, needed: list[int], unpacked: bool, size: int) -> tuple[tuple[int, ...], tuple[int, ...]] | str:
    # Offsets and lengths of the strips or tiles, as libtiff finds them, or a clause about missing ones.
    offsets, counts = list(raw.dataoffsets), list(raw.databytecounts)
    kinds = {int(raw.tags[tag].dtype) for tag in _PLACES if tag in raw.tags}
    if not kinds <= _WHOLE or not all(isinstance(value, int) and value >= 0 for value in (*offsets, *counts)):
        raise NotAnImageError(_("The TIFF page has offsets or lengths that are not whole numbers."), "damaged")
    offsets = offsets[: len(needed)]
    counts = [*counts, *[0] * len(needed)][: len(needed)]
    if 0 in offsets:
        return _("the pixels are not written yet")
    if unpacked:
        counts = needed
    elif 0 in counts:
        # A strip or tile without a length ends at the next one, or at the end of the file, as in libtiff.
        ends = [*sorted({*offsets, size}), 0]
        counts = [
            count or max(0, ends[bisect_right(ends, begin, 0, len(ends) - 1)] - begin)
            for begin, count in zip(offsets, counts, strict=True)
        ]
    end = max(begin + count for begin, count in zip(offsets, counts, strict=True))
    if end > size or min(counts) <= 0:
        return _("the pixels end at byte {end:,}").format(end=end)
    return tuple(offsets), tuple(counts)


def _whole(raw: Any, tag: int, default: int) -> int:
    value = raw.tags.valueof(tag, default)
    return int(value) if isinstance(value, int) else default


def _text(value: Any) -> str:
    text = value.split(b"\0")[0].decode("utf-8", "replace") if isinstance(value, bytes) else value
    return text if isinstance(text, str) else ""


def _ratio(raw: Any, tag: int) -> float | None:
    value = raw.tags.valueof(tag)
    if isinstance(value, tuple) and len(value) == 2 and value[1]:
        value = value[0] / value[1]
    return float(value) if isinstance(value, int | float) and math.isfinite(value) and value > 0 else None


def readPage(tiff: Any, page: Page, out: Pixels) -> None:
    """Decode the pixels of a page into ``out``, an array of the page's ``shape`` and ``dtype``.

    :param tiff: the open tifffile.TiffFile.
    :raises NotAnImageError: code "damaged": the pixels cannot be decoded.
    """
    try:
        _decode(tiff, page, out)
    except (RealTimeImagingError, ImportError, MemoryError, OSError):
        raise
    except Exception as error:  # tifffile and imagecodecs do not document their exceptions on damaged bytes
        text = _("The pixels of page {number} are damaged: they cannot be decoded.")
        raise NotAnImageError(text.format(number=page.number + 1), "damaged") from error


def _decode(tiff: Any, page: Page, out: Pixels) -> None:
    if page.byLibtiff:
        out[...] = _upright(_byLibtiff(tiff, page), page)
        return
    raw = tiff.pages[page.number]
    raw.dataoffsets, raw.databytecounts = page.offsets, page.lengths
    direct = page.asStored and int(raw.planarconfig) == 1
    # (planes, 1, rows, columns, samples of a plane)
    array = out.reshape(raw.shaped) if direct else np.empty(raw.shaped, page.dtype)
    if page.deflated:
        _inflate(tiff, raw, array)
    else:
        raw.asarray(out=array, squeeze=False, maxworkers=1)
    if not direct:
        array = np.moveaxis(array[:, 0], 0, -2).reshape(page.rows, page.columns, page.samples)
        out[...] = _upright(_shown(array, raw, page), page)


def _inflate(tiff: Any, raw: Any, array: Pixels) -> None:
    # imagecodecs rejects strips with more bytes than declared; some programs write such a last strip.
    make, _errors = inflaters()
    tile = (raw.tilelength, raw.tilewidth) if raw.is_tiled else (raw.rowsperstrip, raw.imagewidth)
    most = tile[0] * tile[1] * raw.samplesperpixel * max(1, raw.bitspersample // 8) + tile[0]
    raw.compression = 1
    for number, (offset, length) in enumerate(zip(raw.dataoffsets, raw.databytecounts, strict=True)):
        tiff.filehandle.seek(offset)
        data = make(ZLIB).decompress(tiff.filehandle.read(length), most)
        segment, (plane, _z, top, left, _s), (_depth, high, wide, _n) = raw.decode(data, number)
        part = array[plane, 0, top : top + high, left : left + wide]
        part[...] = segment[0, : part.shape[0], : part.shape[1]]


def _byLibtiff(tiff: Any, page: Page) -> Pixels:
    import imagecodecs

    handle = tiff.filehandle
    with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        colours = np.asarray(imagecodecs.tiff_decode(data, index=page.number, asrgb=True))
    if colours.shape != (page.rows, page.columns, 4):
        raise NotAnImageError(
            _("The TIFF page was decoded to {shape} pixels.").format(shape=colours.shape[:2]), "damaged"
        )
    # libtiff mirrors by the orientation, but does not swap rows and columns: undo the mirroring.
    return _mirrored(colours[..., 0] if page.samples == 1 else colours[..., :3], page.orientation)


def _shown(array: Pixels, raw: Any, page: Page) -> Pixels:
    # Grey, RGB or RGBA.
    if page.photometric == PALETTE:
        colours: Pixels = np.asarray(raw.colormap, np.uint16).reshape(3, -1)
        colours = colours if colours.max(initial=0) < 256 else colours >> 8
        array = colours.T.astype(np.uint8)[array[..., 0]]
    elif page.photometric == CMYK:
        import PIL.Image

        array = np.asarray(PIL.Image.fromarray(np.ascontiguousarray(array), "CMYK").convert("RGB"))
    else:
        if page.bits < 8:
            array = array.astype(np.uint16)
            if page.photometric == WHITE_IS_ZERO:
                array[..., 0] = ((1 << page.bits) - 1) - array[..., 0]
            array = (array * 255 // ((1 << page.bits) - 1)).astype(np.uint8)
        if page.samples == 1:
            array = array[..., 0]
        elif page.samples == 2:
            array = array[..., [0, 0, 0, 1]]
    return array


def _upright(array: Pixels, page: Page) -> Pixels:
    return _mirrored(array.swapaxes(0, 1) if page.turned else array, page.orientation)


def _mirrored(array: Pixels, orientation: int) -> Pixels:
    array = array[::-1] if orientation in (3, 4, 7, 8) else array
    return array[:, ::-1] if orientation in (2, 3, 6, 7) else array


def sameKind(pages: Sequence[Page]) -> bool:
    """Return True when the pages can be the slices of one volume."""
    return all(page.kind == pages[0].kind for page in pages)
