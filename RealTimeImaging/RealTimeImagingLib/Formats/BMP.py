"""BMP: complete with the rows that its header declares.

The format: Microsoft, BITMAPFILEHEADER and the structures behind it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from ..Model.Errors import NotAnImageError
from ..Model.Frame import Pixels
from ..Model.Text import textsOf
from .Picture import Picture
from .Raw import readUpTo

_ = textsOf(__file__)

_CORE, _INFO, _OS2 = 12, 40, 64
_PLAIN, _RUNS_8, _RUNS_4, _MASKS, _ALPHA_MASKS = 0, 1, 2, 3, 6
"""biCompression: BI_RGB, BI_RLE8, BI_RLE4, BI_BITFIELDS, BI_ALPHABITFIELDS."""
_DEFAULT_MASKS = {16: (0x7C00, 0x3E0, 0x1F, 0), 32: (0xFF0000, 0xFF00, 0xFF, 0)}
_RATIO = 128
"""Most pixels that one byte of runs encodes (two bytes encode 255)."""
_SMALL = 1 << 24
"""Pixels up to which a picture of runs needs no check against its bytes."""


@dataclass(frozen=True)
class _Header:
    columns: int
    rows: int
    upward: bool
    bits: int
    packing: int
    offset: int
    needed: int
    size: int
    colours: int

    @property
    def stride(self) -> int:
        return (self.columns * self.bits + 31) // 32 * 4


class BMP(Picture):
    """Reader of BMP files: 1 to 32 bits, palettes, masks and runs. The resolution is not used, as in ITK.

    Its length does not prove a file complete: a program may reserve the space of the rows before it writes them.
    """

    title = "BMP"
    proves = False

    def _walk(self, file: BinaryIO, size: int) -> bool:
        header = self._header(readUpTo(file, 54))
        return header is not None and size >= header.needed

    def _header(self, head: bytes) -> _Header | None:
        # None while the header is incomplete.
        if not any(head):
            return None
        if not head.startswith(b"BM"[: len(head)]):
            raise NotAnImageError(_('A BMP file begins with "BM"; this file does not.'), "not-an-image")
        if len(head) < 26:
            return None
        whole, offset, length = struct.unpack_from("<I4xII", head, 2)
        packing = packed = colours = 0
        if length == _CORE:
            columns, rows, _planes, bits = struct.unpack_from("<4H", head, 18)
        elif length < 16:
            raise NotAnImageError(_("The BMP file has a header of {length} bytes.").format(length=length), "damaged")
        elif len(head) < 54:
            return None
        else:
            columns, rows, _planes, bits = struct.unpack_from("<iiHH", head, 18)
            if length >= _INFO:
                packing, packed, colours = struct.unpack_from("<II8xI", head, 30)
        self._checkSize(columns, abs(rows), 4)
        if bits not in (1, 2, 4, 8, 16, 24, 32):
            words = _("embedded JPEG or PNG") if packing in (4, 5) else _("pixels of {bits} bits").format(bits=bits)
            raise NotAnImageError(
                _("The BMP file has {words}.").format(words=words), "unsupported" if packing in (4, 5) else "damaged"
            )
        masked = packing in (_MASKS, _ALPHA_MASKS) and length != _OS2
        if packing in (_RUNS_8, _RUNS_4):
            needed = offset + packed if packed else whole
            if needed <= offset:
                raise NotAnImageError(_("The BMP file lacks the length of its compressed pixels."), "damaged")
        elif packing == _PLAIN or masked:
            needed = offset + (columns * bits + 31) // 32 * 4 * abs(rows)
        else:
            raise NotAnImageError(
                _("BMP pixels with the compression {packing} are not supported.").format(packing=packing), "unsupported"
            )
        right = {_RUNS_8: (8,), _RUNS_4: (4,), _MASKS: (16, 32), _ALPHA_MASKS: (16, 32)}.get(packing, (bits,))
        if bits not in right:
            raise NotAnImageError(
                _("The BMP file has pixels of {bits} bits with the compression {packing}.").format(
                    bits=bits, packing=packing
                ),
                "damaged",
            )
        return _Header(columns, abs(rows), rows > 0, bits, packing, offset, needed, length, colours)

    def _decoded(self, data: bytes) -> Pixels:
        header = self._header(data[:54])
        if header is None or len(data) < header.needed:
            raise NotAnImageError(_("The BMP file became shorter while it was read."), "damaged")
        if header.packing in (_RUNS_8, _RUNS_4):
            indices = _unpacked(data[header.offset : header.needed], header)
            rows = _coloured(indices, _palette(data, header))
        else:
            lines = np.frombuffer(data, np.uint8, header.stride * header.rows, header.offset)
            rows = _values(lines.reshape(header.rows, header.stride), data, header)
        return np.ascontiguousarray(rows[::-1] if header.upward else rows)


def _values(lines: Pixels, data: bytes, header: _Header) -> Pixels:
    # Values of rows that are stored without runs.
    bits, columns = header.bits, header.columns
    if bits == 24:
        return lines[:, : 3 * columns].reshape(-1, columns, 3)[..., ::-1]
    if bits > 8:
        pixels = np.ascontiguousarray(lines[:, : bits // 8 * columns]).view(f"<u{bits // 8}")
        masks = _masks(data, header)
        return np.stack([_scaled(pixels, mask) for mask in (masks if masks[3] else masks[:3])], axis=-1)
    if bits < 8:
        per = 8 // bits
        shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
        lines = (lines[:, : -(-columns // per), np.newaxis] >> shifts & (1 << bits) - 1).reshape(len(lines), -1)
    return _coloured(lines[:, :columns], _palette(data, header))


def _masks(data: bytes, header: _Header) -> tuple[int, ...]:
    # Of red, green, blue and alpha.
    if header.packing == _PLAIN:
        return _DEFAULT_MASKS[header.bits]
    alpha = header.packing == _ALPHA_MASKS or header.size >= 56
    masks = struct.unpack_from("<4I" if alpha else "<3I", data, 14 + _INFO)
    return (*masks, 0)[:4]


def _scaled(pixels: Pixels, mask: int) -> Pixels:
    if mask == 0:
        return np.zeros(pixels.shape, np.uint8)
    shift = (mask & -mask).bit_length() - 1
    most = mask >> shift
    if most & (most + 1):
        raise NotAnImageError(
            _("The BMP file has the mask {mask:#x}, whose bits are not contiguous.").format(mask=mask), "damaged"
        )
    values = (pixels & np.uint32(mask)).astype(np.uint32) >> np.uint32(shift)
    return values.astype(np.uint8) if most == 255 else (values.astype(np.uint64) * 255 // most).astype(np.uint8)


def _palette(data: bytes, header: _Header) -> Pixels:
    # 2 ** bits colours (RGB); missing colours are black.
    each = 3 if header.size == _CORE else 4
    begin = 14 + header.size
    count = min(header.colours or 1 << header.bits, 1 << header.bits)
    count = max(0, min(count, (min(header.offset, len(data)) - begin) // each))
    colours = np.zeros((1 << header.bits, 3), np.uint8)
    if count:
        stored = np.frombuffer(data, np.uint8, count * each, begin).reshape(count, each)
        colours[:count] = stored[:, 2::-1]
    return colours


def _coloured(indices: Pixels, palette: Pixels) -> Pixels:
    # A palette of all greys from black to white makes a grey picture.
    grey = np.arange(256) if len(palette) == 256 else np.array([0, 255]) if len(palette) == 2 else None
    if grey is not None and (palette == grey[:, np.newaxis]).all():
        return palette[:, 0][indices]
    return palette[indices]


def _unpacked(data: bytes, header: _Header) -> Pixels:
    # Indices (rows, columns), the lowest row first; pixels outside all runs are 0.
    columns, rows, half = header.columns, header.rows, header.packing == _RUNS_4
    if columns * rows > max(_SMALL, _RATIO * len(data)):
        raise NotAnImageError(
            _("The BMP file declares {columns:,} x {rows:,} pixels in {count:,} bytes.").format(
                columns=columns, rows=rows, count=len(data)
            ),
            "damaged",
        )
    indices = np.zeros((rows, columns), np.uint8)
    x = y = at = 0
    while at + 2 <= len(data) and y < rows:
        count, value = data[at], data[at + 1]
        at += 2
        if count:
            run = np.tile([value >> 4, value & 15], (count + 1) // 2)[:count] if half else np.full(count, value)
        elif value == 0:
            x, y = 0, y + 1
            continue
        elif value == 1:
            break
        elif value == 2:
            moved = data[at : at + 2]
            if len(moved) < 2:
                break
            x, y, at = x + moved[0], y + moved[1], at + 2
            continue
        else:
            length = (value + 1) // 2 if half else value
            run = np.frombuffer(data[at : at + length], np.uint8)
            run = np.stack([run >> 4, run & 15], -1).ravel()[:value] if half else run
            at += length + length % 2
        fits = max(0, min(len(run), columns - x))
        indices[y, x : x + fits] = run[:fits]
        x += len(run)
    return indices
