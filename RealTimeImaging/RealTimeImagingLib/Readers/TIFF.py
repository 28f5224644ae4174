"""TIFF and BigTIFF: pictures, and the stacks of microscopes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..Errors import NotAnImageError
from ..Frame import Image, pictureToRAS
from .ImageFile import DEFAULT_LIMIT, ImageFile
from .Raw import allocate, openFile, statOf
from .TIFFDirectory import Directories, Page
from .TIFFFormat import Format
from .TIFFPixels import pixelsOf
from .TIFFStacks import Stack, imagesOfImageJ, stacked
from .Volumes import makeImage

TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class TIFF(ImageFile):
    """A TIFF file; missing() is None once all its pages and their strips or tiles are there.

    Pages of one size and type are the slices of one volume, as for ITK, unless ImageJ's or OME's description says that
    they are channels or points in time, each of which is a volume then. An image has no place in space: it lies as
    :func:`pictureToRAS` has it, the first slice in the plane 0, the next ones to the superior. Spacing: OME's or
    ImageJ's, else the resolution (in inches or centimetres), else 1 mm.

    Values as stored: grey of 1 to 16, 32 and 64 bits, whole or floating, RGB and RGBA of any of these. Less than 8 bits
    become 0 (black) to 255; a palette and CMYK become RGB; the orientation is applied. WhiteIsZero of 8 bits or more is
    not inverted, as in ITK: the attribute PhotometricInterpretation says so. Packed with PackBits, LZW, Deflate, LZMA,
    Zstandard, JPEG or CCITT.

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
        self._formats: list[Format] = []
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
        order = self._directories.order
        self._pages = self._directories.pages
        self._formats = [Format.of(page, order, self.limit) for page in self._pages]
        if words := self._spread(size):
            return words
        self._stacks, self.times = stacked(self._pages, self._formats)
        self.count = len(self._stacks)
        for stack in self._stacks:
            form = self._formats[stack.pages[0]]
            taken = len(stack.pages) * int(np.prod(form.shape)) * max(form.dtype.itemsize, 1)
            if taken > self.limit:
                raise NotAnImageError(
                    f"The TIFF file declares an image of {taken:,} bytes; at most {self.limit:,} are believed.",
                    "too-large",
                )
        return None

    def _spread(self, size: int) -> str | None:
        # ImageJ's one page for many images: their pixels follow one another.
        page, form, images = self._pages[0], self._formats[0], imagesOfImageJ(self._pages[0])
        each = form.segmentBytes(form.rows)
        if len(self._pages) > 1 or images < 2 or not form.plain:
            return None
        begin = page.segments[0][0]
        if begin + images * each > size:
            there = max(0, size - begin)
            return f"ImageJ says that there are {images} images, {images * each:,} bytes; {there:,} are there."
        if images * each > self.limit:
            raise NotAnImageError(f"The TIFF file declares {images} images of {each:,} bytes.", "too-large")
        whole = {**page.fields}
        self._pages = [Page(whole, [(begin + number * each, each)]) for number in range(images)]
        self._formats = [form.inOneStrip()] * images
        return None

    def _images(self, first: int) -> Iterator[Image]:
        if not self._stacks and (words := self.missing()):
            raise NotAnImageError(words, "damaged")
        for stack in self._stacks[first:]:
            pixels = self._volume(stack)
            matrix = pictureToRAS(pixels.shape[2], pixels.shape[1], stack.spacing[:2])
            matrix[2, 2] = stack.spacing[2]
            negative = self._formats[stack.pages[0]].negative
            attributes = stack.attributes | ({"PhotometricInterpretation": "WhiteIsZero"} if negative else {})
            yield makeImage(pixels, matrix, None, attributes)

    def _volume(self, stack: Stack) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
        with openFile(self.path) as file:
            for k, number in enumerate(stack.pages):
                one = pixelsOf(file, self._pages[number], self._formats[number], self.limit)
                if len(stack.pages) == 1:
                    return one[np.newaxis]
                if k == 0:
                    size = len(stack.pages) * one.nbytes
                    lent = self.lend(size)
                    buffer = allocate(size, self.limit, "The image") if lent is None else lent
                    volume = buffer.view(one.dtype).reshape(len(stack.pages), *one.shape)
                volume[k] = one
        return volume
