"""Images of MRD: their parts (channels, complex values), place in space, time and names."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

import numpy as np

from ...Model.Errors import FrameError
from ...Model.Frame import Matrix, Pixels
from ...Model.Text import textsOf
from .Header import deviceTimeOf
from .Protocol import IMAGE_TYPES, MAGNITUDE, RGB, ImageHeader, ImageMessage

_ = textsOf(__file__)

SHOWN: dict[str, tuple[tuple[str, Callable[[Pixels], Pixels]], ...]] = {
    "magnitude": (("", np.abs),),
    "phase": (("phase", np.angle),),
    "both": (("", np.abs), ("phase", np.angle)),
    "parts": (("real", np.real), ("imaginary", np.imag)),
}
"""Parts of complex images by the setting ``complexAs``: words for the stream, and the values."""
SQUARE = 1e-2
"""Largest cosine of two directions that count as perpendicular."""
Meta = Mapping[str, list[str]]
_Choices = tuple[tuple[str, ...], tuple[float, ...]]
"""A direction by the meta attributes, and by the fixed header."""
_DIRECTIONS = ("ImageRowDir", "ImageColumnDir", "ImageSliceDir")


@dataclass(frozen=True, eq=False)
class Part:
    """A picture or volume that one image message contains: one channel, or one part of complex values.

    :param words: what tells its stream from others of the measurement, such as "2 phase"; may be empty.
    :param pixels: shape (z, y, x) or (z, y, x, 3|4).
    :param plane: 4x4 float64, voxel index (i, j, k) to millimetres in LPS.
    :param time: seconds since the epoch (UTC), None without a usable time stamp.
    :param assumed: True for a guessed plane: directions or sizes are missing, or directions are not perpendicular.
    """

    words: str
    header: ImageHeader
    meta: Meta
    pixels: Pixels
    plane: Matrix
    time: float | None
    assumed: bool

    @property
    def moment(self) -> tuple[int, int, int]:
        """What all slices of a volume share: average, repetition and phase of the heart."""
        return self.header.average, self.header.repetition, self.header.phase


def partsOf(
    message: ImageMessage, meta: Meta, complexAs: str, tick: float, arrival: float, day: date | None
) -> list[Part]:
    """Return the parts of an image, at least one.

    :param complexAs: key of SHOWN.
    :param tick, arrival, day: as for :func:`deviceTimeOf`.
    :raises FrameError: the image has no voxels, or no place in space.
    """
    header = message.header
    if not message.pixels.size:
        raise FrameError(_("it has no voxels ({shape})").format(shape=" x ".join(map(str, header.matrix_size))))
    plane, assumed = planeOf(header, meta)
    time = deviceTimeOf(header.acquisition_time_stamp, tick, arrival, day)
    pixels = message.pixels.astype(message.pixels.dtype.newbyteorder("="), copy=False)
    return [
        Part(_nameOf(header, words), header, meta, part, plane, time, assumed)
        for words, part in _pieces(header, pixels, complexAs)
    ]


def _pieces(header: ImageHeader, pixels: Pixels, complexAs: str) -> list[tuple[str, Pixels]]:
    if header.image_type == RGB and header.channels in (3, 4) and pixels.dtype.kind != "c":
        return [("", _colour(pixels))]
    pieces = []
    for channel, volume in enumerate(pixels):
        name = f"channel {channel + 1}" if header.channels > 1 else ""
        if pixels.dtype.kind != "c":
            kind = "" if header.image_type == MAGNITUDE else IMAGE_TYPES.get(header.image_type, "")
            pieces.append((f"{kind} {name}".strip(), volume))
            continue
        for words, values in SHOWN[complexAs]:
            pieces.append((f"{words} {name}".strip(), np.ascontiguousarray(values(volume))))
    return pieces


def _colour(pixels: Pixels) -> Pixels:
    # "8-bit RGB color images" of the standard are uint16 with values up to 255.
    last: Pixels = np.ascontiguousarray(np.moveaxis(pixels, 0, -1))
    if last.dtype.kind in "iu" and last.min() >= 0 and last.max() <= 255:
        return last.astype(np.uint8)
    return last


def _nameOf(header: ImageHeader, words: str) -> str:
    found = [str(header.image_series_index)] if header.image_series_index else []
    found += [words] if words else []
    found += [f"contrast {header.contrast + 1}"] if header.contrast else []
    found += [f"set {header.set + 1}"] if header.set else []
    # Slices of several layers are volumes of their own.
    found += [f"slab {header.slice + 1}"] if header.slice and header.matrix_size[2] > 1 else []
    return " ".join(found)


def planeOf(header: ImageHeader, meta: Meta) -> tuple[Matrix, bool]:
    """Return the matrix from voxel index (i, j, k) to millimetres in LPS, and whether a part of it is a guess.

    Columns, rows and slices follow ImageRowDir, ImageColumnDir and ImageSliceDir of the meta attributes, or else
    read_dir, phase_dir and slice_dir. ``position`` is the centre of the image, unlike in DICOM.

    :raises FrameError: a number is not finite.
    """
    if not all(map(math.isfinite, header.position)):
        raise FrameError(_("its size or position is not a number"))
    given = (header.read_dir, header.phase_dir, header.slice_dir)
    directions = tuple((tuple(meta.get(name, ())), one) for name, one in zip(_DIRECTIONS, given, strict=True))
    around, assumed = _around(directions, header.field_of_view, header.matrix_size)
    matrix = around.copy()
    matrix[:3, 3] += header.position
    return matrix, assumed


@lru_cache(maxsize=64)
def _around(directions: tuple[_Choices, ...], field: tuple[float, ...], size: tuple[int, ...]) -> tuple[Matrix, bool]:
    # The plane of an image with its centre in the origin: all slices of a series share it.
    row, column, through = map(_direction, directions)
    assumed = row is None or column is None or abs(float(row @ column)) > SQUARE
    if row is None or column is None or assumed:
        row, column = np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])
    normal = np.cross(row, column)
    if through is not None:
        normal = normal if float(through @ normal) >= 0 else -normal
        assumed = assumed or max(abs(float(through @ row)), abs(float(through @ column))) > SQUARE
    sizes, lengths = np.array(size, np.float64), np.array(field, np.float64)
    if not np.isfinite(lengths).all():
        raise FrameError(_("its size or position is not a number"))
    if (lengths <= 0).any():
        assumed, lengths = True, np.where(lengths > 0, lengths, sizes)
    matrix = np.eye(4)
    matrix[:3, :3] = np.column_stack([row, column, normal]) * (lengths / sizes)
    matrix[:3, 3] = -matrix[:3, :3] @ ((sizes - 1) / 2)
    return matrix, assumed


def _direction(choices: _Choices) -> Matrix | None:
    for values in choices:
        try:
            numbers = np.array([float(one) for one in values])
        except ValueError:
            continue
        length = math.sqrt(float(numbers @ numbers)) if numbers.shape == (3,) else 0.0
        if math.isfinite(length) and length > 1e-6:
            return numbers / length
    return None
