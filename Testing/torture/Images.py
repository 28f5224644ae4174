"""Images that name themselves: from any received pixels the ledger tells which image it is, and whether it is intact.

Each slice begins with a magic number, its sender, its serial number and its place. All other voxels follow from these.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from RealTimeImagingLib.Model.Frame import Image, Pixels

MAGIC = 0x5A17
"""First voxel of each slice."""
BASE = 1 << 14
"""Numbers in an image are written to this base, so that int16 holds them."""
MATRIX = np.diag([-1.5, -1.5, 3.0, 1.0])
"""IJKToRAS of all images, right-handed."""
SHAPES = ((3, 16, 24), (1, 48, 64), (6, 20, 28))
"""Slices, rows, columns; an image of a sender has one of them."""
LARGE = (4, 160, 192)
"""Shape of every LARGE_EVERYth image: the ring and the recording must follow."""
LARGE_EVERY = 13
PICTURE = (48, 64)
"""Rows and columns of a picture of a video."""
_PLACES = 5


class Known(NamedTuple):
    """What received pixels are.

    :param slices: slices that are intact; the others are zero.
    """

    sender: int
    serial: int
    slices: int
    whole: bool


def volume(sender: int, serial: int, varied: bool = True) -> Image:
    """Return an image of int16.

    :param varied: every LARGE_EVERYth image is larger than the others.
    """
    large = varied and serial % LARGE_EVERY == LARGE_EVERY - 1
    shape = LARGE if large else SHAPES[sender % len(SHAPES)]
    return Image(np.stack([_plane(sender, serial, place, shape[1:]) for place in range(shape[0])]), MATRIX)


def picture(sender: int, serial: int) -> Pixels:
    """Return a picture of a video: (rows, columns, 3), uint8."""
    rows, columns = PICTURE
    pixels: Pixels = (
        np.arange(rows * columns * 3, dtype=np.uint32).reshape(rows, columns, 3) * 7 + serial * 31 + sender
    ).astype(np.uint8)
    pixels[0, :3, 0] = MAGIC & 0xFF, sender & 0xFF, sender >> 8
    pixels[0, :3, 1] = MAGIC >> 8, serial & 0xFF, serial >> 8
    return pixels


def identify(pixels: Pixels) -> Known | None:
    """Return what received pixels are; None when they are no intact image of these."""
    if pixels.ndim == 4:
        return _identifyPicture(pixels)
    if pixels.ndim != 3 or pixels.shape[2] < _PLACES:
        return None
    found, intact = None, 0
    for place, plane in enumerate(pixels):
        if not plane.any():
            continue
        values = [int(value) for value in plane[0, :_PLACES]]
        owner = values[1], values[2] * BASE + values[3]
        if values[0] != MAGIC or values[4] != place or (found or owner) != owner:
            return None
        found, intact = owner, intact + 1
        if not np.array_equal(plane, _plane(*owner, place, pixels.shape[1:])):
            return None
    return Known(*found, intact, intact == len(pixels)) if found else None


def _plane(sender: int, serial: int, place: int, shape: tuple[int, ...]) -> Pixels:
    count = shape[0] * shape[1]
    values = (np.arange(count, dtype=np.int64) * 13 + serial * 7919 + sender * 101 + place * 31) % 4001 + 1
    plane: Pixels = values.astype(np.int16).reshape(shape)
    plane[0, :_PLACES] = MAGIC, sender, serial // BASE, serial % BASE, place
    return plane


def _identifyPicture(pixels: Any) -> Known | None:
    if pixels.shape[0] != 1 or pixels.shape[1:3] != PICTURE:
        return None
    first = pixels[0, 0, :3].astype(int)
    sender, serial = first[1, 0] | first[2, 0] << 8, first[1, 1] | first[2, 1] << 8
    whole = np.array_equal(pixels[0], picture(int(sender), int(serial)))
    return Known(int(sender), int(serial), 1, True) if whole else None
