"""Comparison of written files with their frames: pixels bit for bit, geometry at world points, texts and times."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..Formats import ImageFile
from ..Model.Errors import ExportError, NotAnImageError
from ..Model.Frame import Image, Matrix, Pixels
from .Frames import Frames
from .Job import Work

VOXEL = 0.05
"""Most voxels by which a point may be displaced, whatever the precision of the format."""


class Different(ExportError):
    """A written file differs from its frames."""


def readImages(reader: ImageFile, what: str) -> Iterator[Image]:
    """Yield the images of a complete file.

    :raises Different: the file cannot be read or is incomplete.
    """
    reader.streaming = True
    try:
        words = reader.missing()
        if words:
            raise Different(f"{what} could not be read back: {words}")
        yield from reader.images()
    except NotAnImageError as error:
        raise Different(f"{what} could not be read back: {error}") from error


def compareFrames(reader: ImageFile, frames: Frames, precision: float, work: Work, what: str) -> None:
    """Compare every frame, in order.

    :param precision: relative precision of the format's geometry.
    :param what: words for the file in errors.
    :raises Different: a frame differs or is missing.
    """
    count = 0
    for image in readImages(reader, what):
        if count == len(frames):
            raise Different(f"{what} has more than the {count} frames that were written.")
        work.step(0, f"Comparing frame {count + 1} of {len(frames)}")
        compareImage(image, frames.pixels(count), frames.matrix(count), precision, f"Frame {count} of {what}")
        count += 1
        work.step(frames.frameBytes)
    if count != len(frames):
        raise Different(f"{what} has {count} of the {len(frames)} frames that were written.")


def compareImage(image: Image, pixels: Pixels, ijkToRAS: Matrix, precision: float, what: str) -> None:
    """Compare one frame; its slices may be in the opposite order if its matrix is, too.

    :raises Different: pixels or geometry differ.
    """
    if image.pixels.shape != pixels.shape or image.pixels.dtype != pixels.dtype:
        raise Different(
            f"{what} was written as {pixels.shape} {pixels.dtype} "
            f"and read as {image.pixels.shape} {image.pixels.dtype}."
        )
    found, error = image.pixels, distance(image.ijkToRAS, ijkToRAS, pixels.shape)
    allowed = tolerance(ijkToRAS, pixels.shape, precision)
    if not error <= allowed:
        flip = np.eye(4)
        flip[2, 2], flip[2, 3] = -1.0, pixels.shape[0] - 1
        flipped = distance(image.ijkToRAS @ flip, ijkToRAS, pixels.shape)
        if flipped <= allowed:
            found, error = found[::-1], flipped
    if not error <= allowed:
        raise Different(f"{what} is displaced by {error:.3g} mm; at most {allowed:.3g} mm are allowed.")
    for k in range(len(pixels)):
        # Compare bytes, because NaN is not equal to itself.
        if not np.array_equal(_bytes(found[k]), _bytes(pixels[k])):
            raise Different(f"{what} has different pixels in slice {k} than were written.")


def tolerance(ijkToRAS: Matrix, shape: tuple[int, ...], precision: float) -> float:
    """Most millimetres by which rounding may displace a voxel, always less than VOXEL of a voxel."""
    largest = float(np.abs(_corners(ijkToRAS, shape)).max() + np.abs(ijkToRAS[:3, :3]).max())
    return min(precision * largest, VOXEL * float(np.linalg.norm(ijkToRAS[:3, :3], axis=0).min()))


def compareWords(found: Mapping[str, Any], expected: Mapping[str, Any], what: str) -> None:
    """Compare texts by name.

    :raises Different: a text is missing or differs.
    """
    for name, value in expected.items():
        if name not in found:
            raise Different(f"{what} lacks {name}.")
        if found[name] != value:
            raise Different(f"{what} has a different {name} than was written: {str(found[name])[:80]!r}.")


def compareTimes(found: list[float], expected: list[float], tolerance: float, what: str) -> None:
    """Compare the times of the frames.

    :raises Different: a time differs by more than ``tolerance`` seconds.
    """
    if len(found) != len(expected):
        raise Different(f"{what} has {len(found)} times for {len(expected)} frames.")
    off = float(np.abs(np.array(found) - np.array(expected)).max(initial=0.0))
    if not off <= tolerance:
        raise Different(f"The times of {what} differ by up to {off:.3g} s.")


def distance(one: Matrix, other: Matrix, shape: tuple[int, ...]) -> float:
    """Largest displacement of a voxel between two IJKToRAS matrices, millimetres."""
    off = _corners(one - other, shape)
    return float(np.sqrt((off * off).sum(axis=0).max()))


def _corners(ijkToRAS: Matrix, shape: tuple[int, ...]) -> Matrix:
    corners: Matrix = ijkToRAS[:3] @ _voxels(shape[:3])
    return corners


@functools.lru_cache
def _voxels(shape: tuple[int, ...]) -> Matrix:
    k, j, i = np.meshgrid(*[(0.0, size - 1.0) for size in shape], indexing="ij")
    return np.stack([i.ravel(), j.ravel(), k.ravel(), np.ones(8)])


def _bytes(pixels: Pixels) -> Pixels:
    return np.ascontiguousarray(pixels).view(np.uint8)
