"""TIFF and BigTIFF: pictures, and stacks of microscopes. tifffile and imagecodecs decode the pages."""

from __future__ import annotations

import html
import math
import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

from ..Model.Errors import NotAnImageError
from ..Model.Frame import Image, Pixels, pictureToRAS
from ..Model.Packages import COMPRESSED_TIFF_PACKAGES, TIFF_PACKAGES, checkPackages
from ..Model.SharedFiles import openShared
from ..Model.Text import textsOf
from .ImageFile import DEFAULT_LIMIT, ImageFile, makeImage, sinceFirst
from .Raw import allocate, openFile, readUpTo, statOf
from .TextHeader import SECONDS, millimetres
from .TIFFPage import Page, pageOf, readPage, sameKind

_ = textsOf(__file__)

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of one value, by field type; 16 to 18 belong to BigTIFF."""
_MARKS = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}
_MOST_PAGES = 1 << 17
_LARGEST_FIELD = 64 << 20
"""Most bytes of the values of one field: offsets of 8 million strips."""


class _Cut(Exception):
    """The file ends before a part that it declares. The message names the part."""


class Directories:
    """Directories of a file that may still grow, each read once.

    ``count`` is the number of pages so far. ``begun``: the header was read. ``complete``: the last page was read.
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
        """Read further; return None when all directories and the values of their fields exist, else a sentence.

        :param size: bytes of the file.
        :raises NotAnImageError: the file is no TIFF file, or damaged.
        """
        try:
            if self._next is None:
                self._next = self._header(file)
            while self._next:
                self._next = self._directory(file, size, self._next)
        except _Cut as cut:
            return _("{cut}; the file has {size:,} bytes.").format(cut=cut, size=size)
        return None

    def _header(self, file: BinaryIO) -> int:
        head = readUpTo(file, 16)
        if not any(head):
            raise _Cut(_("The file has no TIFF header yet"))
        if not any(mark[: len(head)] == head[:4] for mark in _MARKS):
            raise NotAnImageError(_("A TIFF file begins with II*, MM* or a BigTIFF mark; this file does not."))
        if len(head) < 8 or (b"+" in head[:4] and len(head) < 16):
            raise _Cut(_("The TIFF header is not complete"))
        self._order, self._big = _MARKS[head[:4]], b"+" in head[:4]
        if self._big and struct.unpack_from(self._order + "2H", head, 4) != (8, 0):
            raise NotAnImageError(_("The BigTIFF header is damaged."), "damaged")
        first: int = struct.unpack_from(self._order + ("Q" if self._big else "I"), head, 8 if self._big else 4)[0]
        if first == 0:
            raise _Cut(_("The TIFF header names no page yet"))
        return first

    def _directory(self, file: BinaryIO, size: int, offset: int) -> int:
        # Return the offset of the next directory, 0 after the last one.
        what = _("Page {number}").format(number=self.count + 1)
        if offset in self._seen or self.count >= _MOST_PAGES:
            raise NotAnImageError(_("The pages of the TIFF file refer to one another in a circle."), "damaged")
        wide, entry, word = (8, 20, "Q") if self._big else (2, 12, "I")
        inline = struct.calcsize("<" + word)
        fields = int.from_bytes(_at(file, size, offset, wide, what), "little" if self._order == "<" else "big")
        if fields == 0:
            raise _Cut(_("{what} is not written yet").format(what=what))
        if fields > 4096:
            text = _("{what} has {fields:,} fields, more than any TIFF page.")
            raise NotAnImageError(text.format(what=what, fields=fields), "damaged")
        data = _at(file, size, offset + wide, fields * entry + inline, what)
        for number in range(fields):
            tag, kind, many, place = struct.unpack_from(f"{self._order}2H2{word}", data, number * entry)
            if tag in _NUMBERS and (kind not in _WHOLE or many != 1):
                text = _("{what}: the field {name} is damaged; one whole number is expected.")
                raise NotAnImageError(text.format(what=what, name=_NUMBERS[tag]), "damaged")
            length = many * _SIZES.get(kind, 0)
            if length > _LARGEST_FIELD:
                raise NotAnImageError(
                    _("{what} has a field of {length:,} bytes.").format(what=what, length=length), "damaged"
                )
            if length > inline and place + length > size:
                raise _Cut(_("{what} ends at byte {place:,}").format(what=what, place=place + length))
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
    raise _Cut(_("{what} ends at byte {offset:,}").format(what=what, offset=offset + length))


_NUMBERS = {
    **{256: "ImageWidth", 257: "ImageLength", 259: "Compression", 262: "PhotometricInterpretation"},
    **{277: "SamplesPerPixel", 278: "RowsPerStrip", 284: "PlanarConfiguration", 317: "Predictor"},
    **{322: "TileWidth", 323: "TileLength"},
}
"""Tag and name of the fields that are one whole number (TIFF 6.0, section 8 and 15)."""
_WHOLE = (3, 4, 16)
"""Types SHORT, LONG and LONG8."""
_PIXELS = re.compile(r"<(?:\w+:)?Pixels\s([^<>]*)>")
_ATTRIBUTE = re.compile(r'\b(\w+)\s*=\s*"([^"]*)"')
_IMAGEJ, _IMAGEJ_AXES = "ImageJ=", ("channels", "slices", "frames")
_LONGEST = 2000


@dataclass(frozen=True)
class Stack:
    """Pages that make one image.

    :param pages: numbers of the pages, one for each slice.
    :param spacing: millimetres between columns, rows and slices.
    """

    pages: list[int]
    spacing: tuple[float, float, float]
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """Meaning of the pages according to a description by ImageJ or OME.

    :param sizes: numbers of channels (c), slices (z) and points in time (t).
    :param order: these letters; the one that changes fastest from page to page is first.
    :param spacing: as in :class:`Stack`, None where the description has none.
    :param interval: seconds from one point in time to the next.
    """

    sizes: dict[str, int]
    order: str
    spacing: tuple[float | None, float | None, float | None]
    interval: float | None


def stacked(pages: Sequence[Page]) -> tuple[list[Stack], list[float] | None]:
    """Return the images of a file in order, and their times as in :attr:`ImageFile.times`.

    Pages of one size and type are one volume, as in ITK, unless a description by ImageJ or OME declares channels or
    points in time: then each of those is a volume. Smaller copies and masks are left out. Of pages with several sizes,
    each is an image.
    """
    used = [number for number, page in enumerate(pages) if page.isPicture] or list(range(len(pages)))
    first = pages[used[0]]
    if not sameKind([pages[number] for number in used]):
        return [Stack([number], (*_resolution(pages[number]), 1.0), {"Page": str(number + 1)}) for number in used], None
    layout = layoutOf(first, first.samples)
    x, y = _resolution(first)
    if layout is None:
        text = first.description.strip()[:_LONGEST]
        return [Stack(used, (x, y, 1.0), {"Description": text} if text else {})], None
    across, down, apart = layout.spacing
    if first.turned:
        across, down = down, across
    spacing = (across or x, down or y, apart or 1.0)
    sizes = layout.sizes
    if math.prod(sizes.values()) != len(used):
        return [Stack(used, spacing)], None
    stacks = []
    for time in range(sizes["t"]):
        for channel in range(sizes["c"]):
            slices = [used[_page(layout, {"c": channel, "t": time, "z": z})] for z in range(sizes["z"])]
            stacks.append(Stack(slices, spacing, {"Channel": str(channel + 1)} if sizes["c"] > 1 else {}))
    if sizes["c"] > 1 or layout.interval is None:
        return stacks, None
    return stacks, sinceFirst(number * layout.interval for number in range(sizes["t"]))


def _page(layout: Layout, place: dict[str, int]) -> int:
    number, step = 0, 1
    for axis in layout.order:
        number += place[axis] * step
        step *= layout.sizes[axis]
    return number


def _resolution(page: Page) -> tuple[float, float]:
    # Millimetres between columns and between rows; 1 where the file has none.
    unit = {2: 25.4, 3: 10.0}.get(page.resolutionUnit)
    x, y = (unit / value if unit and value and 1e-6 < unit / value < 1e6 else 1.0 for value in page.resolution)
    return (y, x) if page.turned else (x, y)


def layoutOf(page: Page, samples: int) -> Layout | None:
    """Return the layout in the description of the first page, by ImageJ or OME; None without one.

    :param samples: samples of a pixel, which OME counts as channels.
    """
    if page.description.startswith(_IMAGEJ):
        return _imageJ(page)
    match = _PIXELS.search(page.description) if "<OME" in page.description or "<ome:OME" in page.description else None
    return _ome(dict(_ATTRIBUTE.findall(match[1])), samples) if match else None


def imagesOfImageJ(page: Page) -> int:
    """Return the number of images that ImageJ declares; above 4 GB it writes one page for all images."""
    return _count(_fields(page).get("images", "1")) if page.description.startswith(_IMAGEJ) else 1


def _fields(page: Page) -> dict[str, str]:
    pairs = (line.split("=", 1) for line in page.description.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def _imageJ(page: Page) -> Layout:
    fields = _fields(page)
    sizes = {axis: _count(fields.get(name, "1")) for axis, name in zip("czt", _IMAGEJ_AXES, strict=True)}
    images = _count(fields.get("images", "1"))
    if math.prod(sizes.values()) != images:
        sizes = {"c": 1, "z": images, "t": 1}
    # With a unit by ImageJ, the resolution is in pixels per unit.
    unit = _length(_plain(fields.get("unit", "")))
    (x, y), z = page.resolution, _positive(fields.get("spacing", ""))
    spacing = (unit / x if unit and x else None, unit / y if unit and y else None, unit * z if unit and z else None)
    rate = _positive(fields.get("fps", ""))
    return Layout(sizes, "czt", spacing, _positive(fields.get("finterval", "")) or (1 / rate if rate else None))


def _ome(fields: dict[str, str], samples: int) -> Layout | None:
    order = "".join(letter for letter in fields.get("DimensionOrder", "XYZCT").lower() if letter in "zct")
    if sorted(order) != ["c", "t", "z"]:
        return None
    sizes = {axis: _count(fields.get(f"Size{axis.upper()}", "1")) for axis in "czt"}
    if samples > 1 and sizes["c"] % samples == 0:
        sizes["c"] //= samples

    def length(axis: str) -> float | None:
        value = _positive(fields.get(f"PhysicalSize{axis}", ""))
        unit = _length(_plain(fields.get(f"PhysicalSize{axis}Unit", "µm"))) if value else None
        return value * unit if value and unit else None

    step = _positive(fields.get("TimeIncrement", ""))
    unit = SECONDS.get(_plain(fields.get("TimeIncrementUnit", "s")))
    return Layout(sizes, order, (length("X"), length("Y"), length("Z")), step * unit if step and unit else None)


def _length(unit: str) -> float | None:
    # Some programs let users type any unit: an unknown unit counts as none.
    try:
        return millimetres(unit)
    except NotAnImageError:
        return None


def _plain(unit: str) -> str:
    return html.unescape(unit.strip()).replace("\\u00B5", "µ")


def _count(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,7}", text.strip(), re.ASCII) and int(text) else 1


def _positive(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class TIFF(ImageFile):
    """Reader of TIFF files. A file is complete with all its pages and their strips or tiles.

    Pages: see :func:`stacked`. An image has no place in space: it is where :func:`pictureToRAS` puts it, with the first
    slice in the plane 0 and the next ones to the superior. Spacing: OME's or ImageJ's, else the resolution (in inches
    or centimetres), else 1 mm.

    Values are kept: grey of 1 to 64 bits, integer or floating point, RGB and RGBA of any of these. Less than 8 bits
    become 0 (black) to 255; a palette, CMYK, YCbCr and CIELab of 8 bits become RGB; the orientation is applied.
    WhiteIsZero of 8 bits or more is not inverted, as in ITK, but named in the attribute PhotometricInterpretation.
    Compression: PackBits, LZW, Deflate, LZMA, Zstandard, JPEG, JPEG 2000, WebP and CCITT.

    The end of a file does not prove it complete: a writer may append a page as long as it has the file open.
    """

    title = "TIFF"

    def __init__(self, path: str, limit: int = DEFAULT_LIMIT) -> None:
        super().__init__(path, limit)
        self._restart((-1, -1))

    def _restart(self, stamp: tuple[int, int]) -> None:
        self._begun = stamp
        self._directories = Directories()
        self._pages: list[Page] = []
        self._stacks: list[Stack] = []

    def _missing(self) -> str | None:
        status = statOf(self.path)
        stamp = (status.st_size, status.st_mtime_ns)
        if stamp[0] < self._begun[0] or self._directories.complete or not self._directories.begun:
            self._restart(stamp)
        words = self._read()
        if words is None and self._begun != stamp:
            # The writer may have rewritten pages that were read while the file grew.
            self._restart(stamp)
            words = self._read()
        return words

    def _read(self) -> str | None:
        with openFile(self.path) as file:
            size = statOf(self.path).st_size
            words = self._directories.read(file, size)
        if words:
            return words
        self._pages = []
        with _opened(self.path) as tiff:
            for number in range(self._directories.count):
                page = pageOf(tiff.pages[number], number, size, self.limit)
                if isinstance(page, str):
                    return page
                self._pages.append(page)
        if any(page.packed for page in self._pages):
            checkPackages(COMPRESSED_TIFF_PACKAGES)
        if words := self._spread(size):
            return words
        self._stacks, self.times = stacked(self._pages)
        self.count = len(self._stacks)
        for stack in self._stacks:
            page = self._pages[stack.pages[0]]
            taken = len(stack.pages) * math.prod(page.shape) * page.dtype.itemsize
            if taken > self.limit:
                text = _("The TIFF file declares an image of {taken:,} bytes; the limit is {limit:,}.").format(
                    taken=taken, limit=self.limit
                )
                raise NotAnImageError(text, "too-large")
        return None

    def _spread(self, size: int) -> str | None:
        # ImageJ writes one page for many images, whose pixels follow one another.
        page, images = self._pages[0], imagesOfImageJ(self._pages[0])
        if len(self._pages) > 1 or images < 2 or not page.plain:
            return None
        begin, each = page.offsets[0], sum(page.lengths)
        if begin + images * each > size:
            there = max(0, size - begin)
            return _("ImageJ declares {images} images of {size:,} bytes in total; {there:,} are present.").format(
                images=images, size=images * each, there=there
            )
        if images * each > self.limit:
            raise NotAnImageError(
                _("The TIFF file declares {images} images of {each:,} bytes.").format(images=images, each=each),
                "too-large",
            )
        self._pages = [
            replace(page, offsets=tuple(offset + number * each for offset in page.offsets)) for number in range(images)
        ]
        return None

    def _images(self, first: int) -> Iterator[Image]:
        if not self._stacks and (words := self.missing()):
            raise NotAnImageError(words, "damaged")
        for stack in self._stacks[first:]:
            pixels = self._volume(stack)
            matrix = pictureToRAS(pixels.shape[2], pixels.shape[1], stack.spacing[:2])
            matrix[2, 2] = stack.spacing[2]
            negative = self._pages[stack.pages[0]].negative
            attributes = stack.attributes | ({"PhotometricInterpretation": "WhiteIsZero"} if negative else {})
            yield makeImage(pixels, matrix, None, attributes)

    def _volume(self, stack: Stack) -> Pixels:
        pages = [self._pages[number] for number in stack.pages]
        first = pages[0]
        shape = (len(pages), *first.shape)
        size = math.prod(shape) * first.dtype.itemsize
        volume: Pixels = allocate(size, self.limit, _("The image"), self.getBuffer).view(first.dtype).reshape(shape)
        with _opened(self.path) as tiff:
            for k, page in enumerate(pages):
                readPage(tiff, page, volume[k])
        return volume


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    """Open the tifffile.TiffFile; close it by ``with``.

    :raises MissingPackageError: tifffile is not installed.
    """
    checkPackages(TIFF_PACKAGES)
    import tifffile

    # Read variants of the format as plain TIFF files, although further tags place their pixels.
    with openShared(path) as file, tifffile.TiffFile(file, is_ndpi=False, is_stk=False, is_lsm=False) as tiff:
        yield tiff
