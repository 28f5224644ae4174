"""PNG and JPEG: complete when their end mark is reached, decoded with Pillow."""

from __future__ import annotations

import io
import os
import re
import struct
import warnings
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from ..Errors import NotAnImageError
from ..Frame import Image, Pixels, pictureToRAS
from .ImageFile import DEFAULT_LIMIT, ImageFile
from .Raw import openFile, readUpTo
from .Volumes import makeImage

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ENTROPY_END = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
"""ISO/IEC 10918-1, B.1.1: in entropy-coded data FF is followed by 00, or is a restart mark, or fills."""


class Picture(ImageFile):
    """A picture without a place in space: 1 mm pixels in the axial plane (:func:`pictureToRAS`), row 0 on top.

    The resolution that a file states (for printing) is not used; the orientation in EXIF is applied. Grey stays grey, 8
    or 16 bits; one bit becomes 0 and 255; a palette becomes RGB, with transparency RGBA; grey with alpha RGBA;
    CMYK RGB.
    """

    proves = True
    """Whether the end of the picture proves that all of it is there."""

    def __init__(self, path: str, limit: int = DEFAULT_LIMIT) -> None:
        super().__init__(path, limit)
        self._restart()

    def _restart(self) -> None:
        self._position = 0
        self.sealed = False

    def _missing(self) -> str | None:
        with openFile(self.path) as file:
            size = os.fstat(file.fileno()).st_size
            if size < self._position:
                self._restart()
            if size == 0:
                return "The file is empty so far."
            whole = self._walk(file, size)
        self.sealed = whole and self.proves
        return None if whole else f"{size:,} bytes are there; the end of the picture is missing."

    @abstractmethod
    def _walk(self, file: BinaryIO, size: int) -> bool:
        """Go on from ``_position`` as far as the file reaches; True when the end was found."""

    @abstractmethod
    def _open(self, data: bytes) -> Any:
        """The PIL image, not decoded yet."""

    def _checkSize(self, columns: int, rows: int, pixelBytes: int) -> None:
        if columns < 1 or rows < 1:
            raise NotAnImageError(f"The header declares {columns} columns and {rows} rows.", "damaged")
        # Pillow decodes into up to four bytes per pixel whatever the file has.
        size = columns * rows * max(4, pixelBytes)
        if size > self.limit:
            raise NotAnImageError(
                f"The picture of {columns:,} x {rows:,} takes {size:,} bytes; at most {self.limit:,} are believed.",
                "too-large",
            )

    def _images(self, first: int) -> Iterator[Image]:
        if first:
            return
        with openFile(self.path) as file:
            data = readUpTo(file, os.fstat(file.fileno()).st_size)
        pixels = self._decoded(data)
        yield makeImage(pixels[np.newaxis], pictureToRAS(pixels.shape[1], pixels.shape[0]))

    def _decoded(self, data: bytes) -> Pixels:
        import PIL.Image
        import PIL.ImageOps

        try:
            with warnings.catch_warnings():
                # _checkSize is the bound; Pillow's warning begins far below it.
                warnings.simplefilter("ignore")
                picture = self._open(data)
                picture.load()
                return _shown(PIL.ImageOps.exif_transpose(picture) or picture)
        except NotAnImageError:
            raise
        except (PIL.Image.DecompressionBombError, MemoryError) as error:
            raise NotAnImageError(f"The picture is too large to be decoded: {error}", "too-large") from error
        except Exception as error:  # what a decoder may raise on damaged bytes is nowhere declared
            raise NotAnImageError(f"The picture is damaged: {error}", "damaged") from error


class PNG(Picture):
    """A PNG file (PNG specification, third edition); complete with its IEND chunk."""

    title = "PNG"

    def _walk(self, file: BinaryIO, size: int) -> bool:
        if self._position == 0:
            head = readUpTo(file, 29)
            if not head.startswith(PNG_SIGNATURE[: len(head)]):
                raise NotAnImageError("A PNG file begins with its signature; this one does not.", "not-an-image")
            if len(head) < 29:
                return False
            if head[12:16] != b"IHDR":
                raise NotAnImageError("The first chunk is not IHDR.", "damaged")
            columns, rows, depth, colour = struct.unpack_from(">IIBB", head, 16)
            if depth == 16 and colour != 0:
                raise NotAnImageError(
                    "16 bits per colour are not supported: 8 bits, and grey with 16, are.", "unsupported"
                )
            self._checkSize(columns, rows, 4)
            self._position = 8
        while size - self._position >= 12:
            file.seek(self._position)
            length, kind = struct.unpack(">I4s", readUpTo(file, 8))
            if length >= 1 << 31 or not kind.isalpha():
                raise NotAnImageError(f"There is no chunk at byte {self._position:,}.", "damaged")
            if self._position + 12 + length > size:
                return False
            if kind == b"IEND":
                return True
            self._position += 12 + length
        return False

    def _open(self, data: bytes) -> Any:
        import PIL.Image

        return PIL.Image.open(io.BytesIO(data), formats=("PNG",))


class JPEG(Picture):
    """A JPEG file (ISO/IEC 10918-1); complete with its EOI mark, whatever follows (and whatever thumbnails precede)."""

    title = "JPEG"

    def _restart(self) -> None:
        super()._restart()
        self._inScan = False

    def _walk(self, file: BinaryIO, size: int) -> bool:
        while True:
            file.seek(self._position)
            if self._inScan:
                data = readUpTo(file, 1 << 18)
                match = _ENTROPY_END.search(data)
                if match is None:
                    if len(data) < 2:
                        return False
                    self._position += len(data) - 1
                    continue
                self._position += match.start()
                self._inScan = False
                continue
            data = readUpTo(file, 10)
            if self._position == 0 and not data.startswith(b"\xff\xd8"[: len(data)]):
                raise NotAnImageError("A JPEG file begins with FF D8; this one does not.", "not-an-image")
            if len(data) < 2:
                return False
            if data[0] != 0xFF:
                raise NotAnImageError(f"There is no JPEG segment at byte {self._position:,}.", "damaged")
            mark = data[1]
            if mark == 0xFF:
                self._position += 1
            elif mark == 0xD9:
                return True
            elif mark in (0x01, 0xD8) or 0xD0 <= mark <= 0xD7:
                self._position += 2
            elif len(data) < 4:
                return False
            else:
                if 0xC0 <= mark <= 0xCF and mark not in (0xC4, 0xC8, 0xCC):
                    if len(data) < 9:
                        return False
                    rows, columns = struct.unpack_from(">HH", data, 5)
                    self._checkSize(columns, rows, 4)
                length = int.from_bytes(data[2:4], "big")
                if length < 2:
                    raise NotAnImageError(f"The JPEG segment at byte {self._position:,} is damaged.", "damaged")
                if self._position + 2 + length > size:
                    return False
                self._position += 2 + length
                self._inScan = mark == 0xDA

    def _open(self, data: bytes) -> Any:
        import PIL.Image

        return PIL.Image.open(io.BytesIO(data), formats=("JPEG", "MPO"))


def _shown(picture: Any) -> Pixels:
    # Rows, columns and perhaps 3 or 4 components, uint8 or uint16.
    mode = str(picture.mode)
    if mode.startswith("I"):  # 16-bit grey; some versions of Pillow unpack it to 32 bits
        return np.asarray(picture).astype(np.uint16)
    if mode == "1":
        return np.asarray(picture.convert("L"))
    if mode in ("LA", "PA", "La", "RGBa") or (mode == "P" and "transparency" in picture.info):
        return np.asarray(picture.convert("RGBA"))
    if mode not in ("L", "RGB", "RGBA"):
        picture = picture.convert("RGB")
    return np.asarray(picture)
