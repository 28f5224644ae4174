"""TIFF and BigTIFF: pictures, and the stacks of microscopes. tifffile and imagecodecs decode them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ..Errors import NotAnImageError
from ..Frame import Image, Pixels, pictureToRAS
from ..Packages import checkPackages
from .ImageFile import DEFAULT_LIMIT, ImageFile
from .Raw import allocate, openFile, statOf
from .TIFFDirectory import Directories
from .TIFFPage import Page, pageOf, readPage
from .TIFFStacks import Stack, imagesOfImageJ, stacked
from .Volumes import makeImage

TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class TIFF(ImageFile):
    """A TIFF file; missing() is None once all its pages and their strips or tiles are there.

    Pages of one size and type are the slices of one volume, as for ITK, unless ImageJ's or OME's description says that
    they are channels or points in time, each of which is a volume then. An image has no place in space: it lies as
    :func:`pictureToRAS` has it, the first slice in the plane 0, the next ones to the superior. Spacing: OME's or
    ImageJ's, else the resolution (in inches or centimetres), else 1 mm.

    Values as stored: grey of 1 to 64 bits, whole or floating, RGB and RGBA of any of these. Less than 8 bits become 0
    (black) to 255; a palette, CMYK, YCbCr and CIELab of 8 bits become RGB; the orientation is applied. WhiteIsZero of 8
    bits or more is not inverted, as in ITK: the attribute PhotometricInterpretation says so. Packed with PackBits, LZW,
    Deflate, LZMA, Zstandard, JPEG, JPEG 2000, WebP or CCITT.

    The file proves nothing: a page may be added as long as it is open for writing.
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
            # Pages that were read while the file grew may have been written anew since.
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
            checkPackages("tiff-packed")
        if words := self._spread(size):
            return words
        self._stacks, self.times = stacked(self._pages)
        self.count = len(self._stacks)
        for stack in self._stacks:
            page = self._pages[stack.pages[0]]
            taken = len(stack.pages) * math.prod(page.shape) * page.dtype.itemsize
            if taken > self.limit:
                text = f"The TIFF file declares an image of {taken:,} bytes; the limit is {self.limit:,}."
                raise NotAnImageError(text, "too-large")
        return None

    def _spread(self, size: int) -> str | None:
        # ImageJ's one page for many images: their pixels follow one another.
        page, images = self._pages[0], imagesOfImageJ(self._pages[0])
        if len(self._pages) > 1 or images < 2 or not page.plain:
            return None
        begin, each = page.offsets[0], sum(page.lengths)
        if begin + images * each > size:
            there = max(0, size - begin)
            return f"ImageJ says that there are {images} images, {images * each:,} bytes; {there:,} are there."
        if images * each > self.limit:
            raise NotAnImageError(f"The TIFF file declares {images} images of {each:,} bytes.", "too-large")
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
        lent = self.lend(size)
        buffer = allocate(size, self.limit, "The image") if lent is None else lent
        volume: Pixels = buffer.view(first.dtype).reshape(shape)
        with _opened(self.path) as tiff:
            for k, page in enumerate(pages):
                readPage(tiff, page, volume[k])
        return volume


def _opened(path: str) -> Any:
    """The tifffile.TiffFile, to be closed by ``with``.

    :raises MissingPackageError: tifffile is not installed.
    """
    checkPackages("tiff")
    import tifffile

    # Read variants as plain TIFF files, although they have further tags with the places of pixels.
    return tifffile.TiffFile(path, is_ndpi=False, is_stk=False, is_lsm=False)
