"""PNG and JPEG: complete with their end mark, decoded by Pillow."""

from __future__ import annotations

import io
import logging
import os
import re
import struct
import warnings
import zlib
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from ..Model.Errors import NotAnImageError
from ..Model.Files import openPrivate
from ..Model.Frame import Image, Pixels, pictureToRAS
from ..Model.Text import textsOf
from .ImageFile import DEFAULT_LIMIT, ImageFile, makeImage
from .Raw import decodedBySimpleITK, openFile, readUpTo

_ = textsOf(__file__)

log = logging.getLogger(__name__)

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PNG_KINDS = frozenset(
    [(depth, 0) for depth in (1, 2, 4, 8, 16)]
    + [(depth, 3) for depth in (1, 2, 4, 8)]
    + [(depth, colour) for colour in (2, 4, 6) for depth in (8, 16)]
)
"""Allowed pairs of bit depth and colour type (PNG specification, table 9)."""
_PALETTE = 3
"""PNG's colour type of pixels that are numbers of a palette."""
_PNG_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf")
"""Chunks that decoding needs."""
_DEFLATE_RATIO = 1040
"""Most bytes of pixels in one byte of compressed data."""
_MARK = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)
_MOST_PIECES = 100_000
"""Most chunks or segments of a file; each takes some microseconds."""
_LOSSLESS = 0xC3
_JPEG_FRAMES = (0xC0, 0xC1, 0xC2, _LOSSLESS, 0xC9, 0xCA)
_JPEG_LS = 0xF7
_HUFFMAN = (0xC0, 0xC1, 0xC2)
"""SOF marks of codings with at least one bit for each block of 8 x 8 values."""
_ENTROPY_END = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
"""End of entropy-coded data (ISO/IEC 10918-1, B.1.1): in it FF is followed by 00, or is a restart or fill mark."""


class Picture(ImageFile):
    """Reader of pictures without a place in space: 1 mm pixels in the axial plane (:func:`pictureToRAS`), row 0 on top.

    The resolution of a file (for printing) is not used; the orientation in EXIF is applied. Grey stays grey; one bit
    becomes 0 and 255; a palette becomes RGB, with transparency RGBA; grey with alpha RGBA; CMYK RGB. Colours of 16 bits
    keep their bits.
    """

    proves = True
    """True when the end of the picture proves that the file is complete."""

    def __init__(self, path: str, limit: int = DEFAULT_LIMIT) -> None:
        super().__init__(path, limit)
        self._restart()

    def _restart(self) -> None:
        self._position = 0
        self._pieces = 0
        self.sealed = False

    def _missing(self) -> str | None:
        with openFile(self.path) as file:
            size = os.fstat(file.fileno()).st_size
            if size < self._position:
                self._restart()
            if size == 0:
                return _("The file is empty so far.")
            if size > self.limit:
                text = _("The file has {size:,} bytes, more than the limit of {limit:,} for one image.")
                raise NotAnImageError(text.format(size=size, limit=self.limit), "too-large")
            whole = self._walk(file, size)
        self.sealed = whole and self.proves
        return None if whole else _("The file has {size:,} bytes; the end of the picture is missing.").format(size=size)

    def _count(self) -> None:
        self._pieces += 1
        if self._pieces > _MOST_PIECES:
            text = _("The {title} file has more than {limit:,} chunks or segments.").format(
                title=self.title, limit=_MOST_PIECES
            )
            raise NotAnImageError(text, "damaged")

    @abstractmethod
    def _walk(self, file: BinaryIO, size: int) -> bool:
        """Continue from ``_position`` to the end of the file; return True when the end of the picture was found."""

    @abstractmethod
    def _decoded(self, data: bytes) -> Pixels:
        """Decode the file: (rows, columns[, 3 or 4]), uint8 or uint16. May raise anything."""

    def _checkSize(self, columns: int, rows: int, pixelBytes: int) -> None:
        if columns < 1 or rows < 1:
            raise NotAnImageError(
                _("The header declares {columns} columns and {rows} rows.").format(columns=columns, rows=rows),
                "damaged",
            )
        # Pillow decodes into up to four bytes a pixel for any file.
        size = columns * rows * max(4, pixelBytes)
        if size > self.limit:
            raise NotAnImageError(
                _(
                    "The picture of {columns:,} x {rows:,} takes {size:,} bytes, more than the limit of {limit:,}."
                ).format(columns=columns, rows=rows, size=size, limit=self.limit),
                "too-large",
            )

    def _images(self, first: int) -> Iterator[Image]:
        if first:
            return
        with openFile(self.path) as file:
            data = readUpTo(file, os.fstat(file.fileno()).st_size)
        pixels = self._decoded(data)
        yield makeImage(pixels[np.newaxis], pictureToRAS(pixels.shape[1], pixels.shape[0]))


class PNG(Picture):
    """Reader of PNG files (PNG specification, third edition); complete with the chunk IEND."""

    title = "PNG"

    def _restart(self) -> None:
        super()._restart()
        self._kept: list[tuple[int, int]] = []
        self._packed = 0
        self._hasPalette = False

    def _walk(self, file: BinaryIO, size: int) -> bool:
        if self._position == 0:
            head = readUpTo(file, 29)
            if not head.startswith(PNG_SIGNATURE[: len(head)]):
                raise NotAnImageError(_("A PNG file begins with its signature; this file does not."), "not-an-image")
            if len(head) < 29:
                return False
            if head[12:16] != b"IHDR":
                raise NotAnImageError(_("The first chunk is not IHDR."), "damaged")
            columns, rows, self._depth, self._colour = struct.unpack_from(">IIBB", head, 16)
            if (self._depth, self._colour) not in _PNG_KINDS:
                text = _("The PNG file declares the colour type {colour} with {depth} bits.").format(
                    colour=self._colour, depth=self._depth
                )
                raise NotAnImageError(text, "damaged")
            self._checkSize(columns, rows, 8 if self._depth == 16 else 4)
            self._needed = (columns * _PNG_SAMPLES[self._colour] * self._depth + 7) // 8 * rows
            self._position = 8
        while size - self._position >= 12:
            file.seek(self._position)
            length, kind = struct.unpack(">I4s", readUpTo(file, 8))
            if length >= 1 << 31 or not kind.isalpha():
                raise NotAnImageError(
                    _("There is no chunk at byte {position:,}.").format(position=self._position), "damaged"
                )
            end = self._position + 12 + length
            if end > size:
                return False
            self._count()
            if kind in _PNG_CHUNKS:
                self._kept.append((self._position, end))
                self._packed += length if kind == b"IDAT" else 0
                self._hasPalette = self._hasPalette or kind == b"PLTE"
                if kind == b"IDAT" and self._colour == _PALETTE and not self._hasPalette:
                    text = _("The pixels of the PNG file are numbers of a palette, which is missing (chunk PLTE).")
                    raise NotAnImageError(text, "damaged")
            if kind == b"IEND":
                return True
            self._position = end
        return False

    def _decoded(self, data: bytes) -> Pixels:
        if self._needed > self._packed * _DEFLATE_RATIO:
            text = _("The PNG file declares {needed:,} bytes of pixels; {packed:,} bytes cannot hold them.").format(
                needed=self._needed, packed=self._packed
            )
            raise NotAnImageError(text, "damaged")
        # Other chunks do not affect the pixels: they may be damaged or huge.
        data = b"".join([PNG_SIGNATURE, *(data[begin:end] for begin, end in self._kept)])
        if self._depth == 16 and self._colour == 4:
            return _greyWithAlpha(data)
        if self._depth == 16 and self._colour != 0:
            return _bySimpleITK(data)
        return _byPillow(data, "PNG", self.title)


class JPEG(Picture):
    """Reader of JPEG files (ISO/IEC 10918-1); complete with the EOI mark of the picture, not of a thumbnail before it.

    Bytes between segments are skipped, as in libjpeg.
    """

    title = "JPEG"

    def _restart(self) -> None:
        super()._restart()
        self._inScan = False
        self._scan = 0
        self._kept: list[tuple[int, int]] = []
        self._blocks = 0
        self._lossless = False

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
                self._keep(self._scan, self._position + match.start())
                self._position += match.start()
                self._inScan = False
                continue
            data = readUpTo(file, 10)
            if self._position == 0 and not data.startswith(
                b"\xff\xd8\xff"[: len(data)] if len(data) < 3 else b"\xff\xd8"
            ):
                raise NotAnImageError(_("A JPEG file begins with FF D8; this file does not."), "not-an-image")
            if len(data) < 2:
                return False
            mark = data[1]
            if data[0] != 0xFF or mark in (0x00, 0xFF):
                self._pass(file)
            elif mark == 0xD9:
                if not self._blocks:
                    raise NotAnImageError(_("The JPEG file has no frame header (SOF) before its end."), "damaged")
                return True
            elif mark in (0x01, 0xD8) or 0xD0 <= mark <= 0xD7:
                self._position += 2
            elif len(data) < 4:
                return False
            else:
                length = int.from_bytes(data[2:4], "big")
                if length < 2:
                    raise NotAnImageError(
                        _("The JPEG segment at byte {position:,} is damaged.").format(position=self._position),
                        "damaged",
                    )
                if (0xC0 <= mark <= 0xCF and mark not in (0xC4, 0xC8, 0xCC)) or mark == _JPEG_LS:
                    if len(data) < 10:
                        return False
                    self._begin(mark, *struct.unpack_from(">BHHB", data, 4))
                if self._position + 2 + length > size:
                    return False
                if self._matters(mark, length, file):
                    self._keep(self._position, self._position + 2 + length)
                self._count()
                self._position += 2 + length
                self._inScan, self._scan = mark == 0xDA, self._position

    def _pass(self, file: BinaryIO) -> None:
        # Skip bytes between segments, and fill bytes (FF).
        file.seek(self._position)
        data = readUpTo(file, 1 << 18)
        match = _MARK.search(data)
        self._position += match.start() if match else len(data) - 1

    def _begin(self, mark: int, precision: int, rows: int, columns: int, samples: int) -> None:
        self._lossless = mark == _LOSSLESS
        if mark not in _JPEG_FRAMES or (self._lossless and precision != 8):
            name = "JPEG-LS" if mark == _JPEG_LS else _("lossless") if mark & 3 == 3 else _("hierarchical")
            raise NotAnImageError(
                _("JPEG files of the {name} kind are not supported.").format(name=name), "unsupported"
            )
        if precision != 8:
            text = _("JPEG files with {precision} bits a sample are not supported, only 8 bits.").format(
                precision=precision
            )
            raise NotAnImageError(text, "unsupported" if precision in (12, 16) else "damaged")
        if samples not in (1, 3, 4):
            raise NotAnImageError(
                _("JPEG files with {samples} components are not supported.").format(samples=samples), "unsupported"
            )
        self._checkSize(columns, rows, 4)
        self._blocks = -(-columns // 8) * -(-rows // 8) if mark in _HUFFMAN else 1

    def _matters(self, mark: int, length: int, file: BinaryIO) -> bool:
        # Decoding does not need comments and most APPn segments, which hold data of other programs.
        if mark == 0xFE:
            return False
        if not 0xE0 <= mark <= 0xEF:
            return True
        file.seek(self._position + 4)
        begin = readUpTo(file, 6)
        named = {0xE0: b"JFIF\0", 0xE1: b"Exif\0", 0xEE: b"Adobe"}.get(mark)
        return named is not None and begin.startswith(named) and length >= 14

    def _keep(self, begin: int, end: int) -> None:
        self._kept.append((begin, end))

    def _decoded(self, data: bytes) -> Pixels:
        if self._blocks > 8 * len(data):
            text = _("The JPEG file declares {blocks:,} blocks of pixels; {count:,} bytes cannot hold them.").format(
                blocks=self._blocks, count=len(data)
            )
            raise NotAnImageError(text, "damaged")
        data = b"".join([b"\xff\xd8", *(data[begin:end] for begin, end in self._kept), b"\xff\xd9"])
        try:
            return _byPillow(data, "JPEG", self.title)
        except NotAnImageError as error:
            if self._lossless:  # only recent versions of Pillow decode lossless JPEG
                raise NotAnImageError(_("This lossless JPEG file is not supported."), "unsupported") from error
            raise


def _byPillow(data: bytes, kind: str, title: str) -> Pixels:
    """Decode a picture by Pillow.

    :param kind: Pillow's name of the format. ``title``: the name in messages.
    :raises NotAnImageError: code "damaged" or "too-large".
    """
    import PIL.Image
    import PIL.ImageOps

    try:
        with warnings.catch_warnings():
            # The declared size is checked already; Pillow warns far below the limit.
            warnings.simplefilter("ignore")
            picture: Any = PIL.Image.open(io.BytesIO(data), formats=(kind,))
            picture.load()
    except (PIL.Image.DecompressionBombError, MemoryError) as error:
        raise NotAnImageError(
            _("The {title} picture is too large to be decoded.").format(title=title), "too-large"
        ) from error
    except Exception as error:  # decoders do not document their exceptions on damaged bytes
        log.info("Pillow could not decode a %s picture: %r", title, error)
        raise NotAnImageError(
            _("The {title} picture is damaged: its content cannot be decoded.").format(title=title), "damaged"
        ) from error
    try:
        picture = PIL.ImageOps.exif_transpose(picture) or picture
    except Exception:  # an unreadable orientation does not count
        log.exception("The EXIF data of a %s picture are damaged", title)
    return _shown(picture)


def _bySimpleITK(data: bytes) -> Pixels:
    """Decode a PNG picture with colours of 16 bits, which Pillow reduces to 8.

    :raises NotAnImageError: code "damaged"; "unsupported" without SimpleITK.
    """

    def write(path: str) -> None:
        with open(path, "xb", opener=openPrivate) as file:
            file.write(data)

    try:
        return decodedBySimpleITK(write, "picture.png", "PNGImageIO")
    except ImportError as error:
        raise NotAnImageError(
            _("PNG with 16 bits per colour needs SimpleITK, which Slicer includes."), "unsupported"
        ) from error
    except RuntimeError as error:
        raise NotAnImageError(_("The PNG picture is damaged: its content cannot be decoded."), "damaged") from error


def _greyWithAlpha(data: bytes) -> Pixels:
    # Grey with alpha of 16 bits has four bytes a pixel, as RGBA of 8 bits has: decode it as RGBA.
    head = data[12:24] + b"\x08\x06" + data[26:29]
    pixels = _byPillow(data[:12] + head + zlib.crc32(head).to_bytes(4, "big") + data[33:], "PNG", "PNG")
    return np.ascontiguousarray(pixels).view(">u2").astype(np.uint16)[..., [0, 0, 0, 1]]


def _shown(picture: Any) -> Pixels:
    # (rows, columns[, 3 or 4]), uint8 or uint16.
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
