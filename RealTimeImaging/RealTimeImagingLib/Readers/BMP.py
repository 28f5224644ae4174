"""BMP: complete when the rows that its header declares are there, decoded with Pillow."""

from __future__ import annotations

import io
import struct
from typing import Any, BinaryIO

from ..Errors import NotAnImageError
from .Picture import Picture
from .Raw import readUpTo

_CORE = 12
_PLAIN, _RUNS, _MASKS = (0,), (1, 2), (3, 6)
"""biCompression: BI_RGB; BI_RLE8 and BI_RLE4; BI_BITFIELDS and BI_ALPHABITFIELDS."""


class BMP(Picture):
    """A BMP file (Microsoft, BITMAPFILEHEADER and what follows it). Its resolution is not used, as in ITK.

    The file proves nothing: a program may reserve the place of the rows before it writes them.
    """

    title = "BMP"
    proves = False

    def _walk(self, file: BinaryIO, size: int) -> bool:
        head = readUpTo(file, 54)
        if not any(head):
            return False
        if not head.startswith(b"BM"[: len(head)]):
            raise NotAnImageError('A BMP file begins with "BM"; this one does not.', "not-an-image")
        if len(head) < 26:
            return False
        whole, offset, header = struct.unpack_from("<I4xII", head, 2)
        if header == _CORE:
            columns, rows, _, bits = struct.unpack_from("<4H", head, 18)
            packing, packed = 0, 0
        elif header >= 16 and len(head) >= 54:
            columns, rows, _, bits, packing, packed = struct.unpack_from("<iiHHII", head, 18)
        elif header >= 16:
            return False
        else:
            raise NotAnImageError(f"The BMP file has a header of {header} bytes.", "damaged")
        self._checkSize(columns, abs(rows), 4)
        if bits not in (1, 2, 4, 8, 16, 24, 32):
            raise NotAnImageError(f"The BMP file has pixels of {bits} bits.", "damaged")
        if packing in _RUNS:
            needed = offset + packed if packed else whole
            if needed <= offset:
                raise NotAnImageError("The BMP file does not say how long its packed pixels are.", "damaged")
        elif packing in (*_PLAIN, *_MASKS):
            needed = offset + (columns * bits + 31) // 32 * 4 * abs(rows)
        else:
            raise NotAnImageError(f"BMP pixels packed by the method {packing} are not supported.", "unsupported")
        return bool(size >= needed)

    def _open(self, data: bytes) -> Any:
        import PIL.Image

        return PIL.Image.open(io.BytesIO(data), formats=("BMP",))
