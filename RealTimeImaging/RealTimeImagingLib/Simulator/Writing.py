"""An image as the bytes of a NIfTI-1 file, for the simulated scanner and for tests."""

from __future__ import annotations

import struct

import numpy as np

from ..Frame import Image

HEADER = 352
"""Bytes before the voxels: the header (348) and four bytes that say that there are no extensions."""
LARGEST = 32767
"""Most voxels in one direction (a signed 16-bit number)."""

_CODES = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "f8": 64, "i1": 256, "u2": 512, "u4": 768}
_COLOUR_CODES = {3: 128, 4: 2304}


def niftiBytes(image: Image) -> bytes:
    """The image as .nii, little-endian, sform only (NIfTI-1, nifti1.h); colour as RGB24 or RGBA32.

    :raises ValueError: colour that is not uint8, or a size that NIfTI-1 has no room for.
    """
    pixels = image.pixels
    if pixels.ndim == 4:
        if pixels.dtype != np.uint8:
            raise ValueError(f"NIfTI has colour of uint8 only, not {pixels.dtype}.")
        code, bits = _COLOUR_CODES[pixels.shape[3]], 8 * pixels.shape[3]
    else:
        code, bits = _CODES[pixels.dtype.str[1:]], 8 * pixels.dtype.itemsize
    slices, rows, columns = pixels.shape[:3]
    if max(slices, rows, columns) > LARGEST:
        raise ValueError(f"NIfTI has at most {LARGEST:,} voxels in a direction, not {max(slices, rows, columns):,}.")
    spacing = np.linalg.norm(image.ijkToRAS[:3, :3], axis=0)
    header = bytearray(HEADER)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, columns, rows, slices, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, code, bits)
    struct.pack_into("<4f", header, 76, 1.0, *spacing)
    struct.pack_into("<3f", header, 108, HEADER, 1.0, 0.0)
    header[123] = 2  # xyzt_units: millimetres
    # 80 bytes with the final 0, cut between two letters.
    description = image.attributes.get("Description", "").encode()[:79].decode(errors="ignore").encode()
    struct.pack_into("<80s", header, 148, description)
    struct.pack_into("<2h", header, 252, 0, 1)  # qform_code, sform_code: scanner coordinates
    struct.pack_into("<12f", header, 280, *image.ijkToRAS[:3].ravel())
    struct.pack_into("<4s", header, 344, b"n+1\0")
    return bytes(header) + pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()
