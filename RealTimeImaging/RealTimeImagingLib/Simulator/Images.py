"""Images for the simulated scanners: a phantom, the images of a file, or those of a folder."""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Iterator

import numpy as np

from ..Formats import ImageFile, ignoredName, openImageFile
from ..Model.Errors import NotAnImageError
from ..Model.Files import naturalOrder
from ..Model.Frame import Image, Matrix, Pixels

HEADER = 352
"""Bytes before the voxels: the header (348) and four zeros (no extensions)."""
LARGEST = 32767
"""Most voxels along an axis (a signed 16-bit number)."""

_CODES = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "f8": 64, "i1": 256, "u2": 512, "u4": 768}
_COLOUR_CODES = {3: 128, 4: 2304}


def niftiBytes(image: Image) -> bytes:
    """Write an image as .nii: NIfTI-1 (nifti1.h), little-endian, sform only, colour as RGB24 or RGBA32.

    :raises ValueError: the image has colour of a type other than uint8, or more voxels along an axis than NIfTI-1
        allows.
    """
    pixels = image.pixels
    if pixels.ndim == 4:
        if pixels.dtype != np.uint8:
            raise ValueError(f"NIfTI stores colour as uint8 only, not as {pixels.dtype}.")
        code, bits = _COLOUR_CODES[pixels.shape[3]], 8 * pixels.shape[3]
    else:
        code, bits = _CODES[pixels.dtype.str[1:]], 8 * pixels.dtype.itemsize
    slices, rows, columns = pixels.shape[:3]
    if max(slices, rows, columns) > LARGEST:
        raise ValueError(f"NIfTI has at most {LARGEST:,} voxels along an axis, not {max(slices, rows, columns):,}.")
    spacing = np.linalg.norm(image.ijkToRAS[:3, :3], axis=0)
    header = bytearray(HEADER)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, columns, rows, slices, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, code, bits)
    struct.pack_into("<4f", header, 76, 1.0, *spacing)
    struct.pack_into("<3f", header, 108, HEADER, 1.0, 0.0)
    header[123] = 2  # xyzt_units: millimetres
    # 80 bytes with the final 0, cut between two characters.
    description = image.attributes.get("Description", "").encode()[:79].decode(errors="ignore").encode()
    struct.pack_into("<80s", header, 148, description)
    struct.pack_into("<2h", header, 252, 0, 1)  # qform_code, sform_code: scanner coordinates
    struct.pack_into("<12f", header, 280, *image.ijkToRAS[:3].ravel())
    struct.pack_into("<4s", header, 344, b"n+1\0")
    return bytes(header) + pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()


SHAPE = (56, 96, 112)
"""Slices, rows, columns."""
SPACING = 3.0
"""Millimetres, in all directions."""
BEAT = 20
"""Frames of one heart beat."""

# Centre and half axes in millimetres (right, anterior, superior), value: the body from outside to inside.
_BODY = ((0, 0, 0), (140, 100, 110), 220)
_PARTS = (
    ((62, 8, -28), (62, 62, 48), 150),  # liver, on the right
    ((78, -8, 44), (44, 58, 42), -170),  # right lung
    ((-84, -8, 34), (38, 56, 54), -170),  # left lung, larger
    ((0, -78, 0), (17, 15, 110), 420),  # spine, at the back
    ((0, 84, 30), (10, 6, 60), 380),  # breastbone, at the front
    ((-70, -46, -66), (26, 20, 30), 240),  # one kidney, on the left
    ((104, 30, 73), (9, 9, 9), 600),  # a marker: right, anterior, superior
)
_HEART = ((-34, 26, 22), (44, 38, 42))


def phantomToRAS() -> Matrix:
    """Return IJKToRAS of the phantom: centred on the origin and left-handed (columns run to the left), as dcm2niix
    writes."""
    matrix = np.diag([-SPACING, SPACING, SPACING, 1.0])
    size = np.array(SHAPE[::-1], np.float64)
    matrix[:3, 3] = -matrix[:3, :3] @ ((size - 1) / 2)
    return matrix


def phantom() -> Iterator[Image]:
    """Yield int16 frames without end. The heart beats, and the first voxel holds the frame number modulo 32768."""
    x, y, z = _coordinates()
    still = _ellipsoid(x, y, z, *_BODY[:2]) * _BODY[2]
    for centre, axes, value in _PARTS:
        still = still + _ellipsoid(x, y, z, centre, axes) * value
    noise = np.random.default_rng(1).normal(0, 6, SHAPE)
    phases = [
        (still + noise + _heart(x, y, z, 2 * np.pi * phase / BEAT)).clip(0, None).astype(np.int16)
        for phase in range(BEAT)
    ]
    matrix = phantomToRAS()
    number = 0
    while True:
        pixels = phases[number % BEAT].copy()
        pixels[0, 0, 0] = number % 32768
        yield Image(pixels, matrix, attributes={"Description": "Simulated beating phantom"})
        number += 1


def _coordinates() -> tuple[Pixels, Pixels, Pixels]:
    matrix = phantomToRAS()
    k, j, i = np.ogrid[tuple(slice(size) for size in SHAPE)]
    return tuple(matrix[axis, axis] * index + matrix[axis, 3] for axis, index in enumerate((i, j, k)))


def _ellipsoid(x: Pixels, y: Pixels, z: Pixels, centre: tuple[float, ...], axes: tuple[float, ...]) -> Pixels:
    parts: list[Pixels] = [((c - o) / a) ** 2 for c, o, a in zip((x, y, z), centre, axes, strict=True)]
    distance: Pixels = np.add(np.add(parts[0], parts[1]), parts[2])
    return np.where(distance <= 1, 1.0, 0.0)


def _heart(x: Pixels, y: Pixels, z: Pixels, phase: float) -> Pixels:
    size = 1 + 0.16 * np.sin(phase)
    centre, axes = _HEART
    wall = _ellipsoid(x, y, z, centre, tuple(size * axis for axis in axes))
    blood = _ellipsoid(x, y, z, (centre[0] - 4, *centre[1:]), tuple((size * 1.25 - 0.65) * axis for axis in axes))
    heart: Pixels = wall * 160 + blood * 200
    return heart


def images(source: str | None, loop: bool) -> Iterator[Image]:
    """Yield images one after the other.

    :param source: None: the phantom, without end. A file, or a folder, whose files follow in natural order.
    :param loop: start again at the end.
    :raises RealTimeImagingError: a file is no image, or incomplete; or the folder has no images.
    """
    if source is None:
        yield from phantom()
        return
    paths = [os.path.join(source, name) for name in namesIn(source)] if os.path.isdir(source) else [source]
    for _ in itertools.count() if loop else range(1):
        for path in paths:
            yield from wholeFile(path).images()


def namesIn(folder: str) -> list[str]:
    """List the names of files in a folder that may be images, in natural order.

    :raises NotAnImageError: the folder has none.
    """
    names = [name for name in os.listdir(folder) if os.path.isfile(os.path.join(folder, name))]
    names = sorted((name for name in names if not ignoredName(name)), key=naturalOrder)
    if not names:
        raise NotAnImageError(f"There are no images in {folder}.")
    return names


def wholeFile(path: str) -> ImageFile:
    """Open a complete image file.

    :raises NotAnImageError: the file is no image, or incomplete.
    """
    reader = openImageFile(path)
    missing = reader.missing()
    if missing:
        raise NotAnImageError(f"{path} is not complete: {missing}", "incomplete")
    return reader
