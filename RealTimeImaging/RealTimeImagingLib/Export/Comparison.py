"""Comparison of written files with their frames: pixels bit for bit, geometry at world points, texts and times."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..Formats import ImageFile
from ..Model.Errors import ExportError, NotAnImageError
from ..Model.Frame import Image, Matrix, Pixels
from ..Model.Text import textsOf
from .Frames import Frames
from .Job import Work

_ = textsOf(__file__)

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
            raise Different(_("{what} could not be read back: {words}").format(what=what, words=words))
        yield from reader.images()
    except NotAnImageError as error:
        raise Different(_("{what} could not be read back: {error}").format(what=what, error=str(error))) from error


def compareFrames(reader: ImageFile, frames: Frames, precision: float, work: Work, what: str) -> None:
    """Compare every frame, in order.

    :param precision: relative precision of the format's geometry.
    :param what: words for the file in errors.
    :raises Different: a frame differs or is missing.
    """
    count = 0
    for image in readImages(reader, what):
        if count == len(frames):
            raise Different(
                _("{what} has more than the {count} frames that were written.").format(what=what, count=count)
            )
        work.step(0, _("Comparing frame {number} of {count}").format(number=count + 1, count=len(frames)))
        compareImage(
            image,
            frames.pixels(count),
            frames.matrix(count),
            precision,
            _("Frame {number} of {what}").format(number=count, what=what),
        )
        count += 1
        work.step(frames.frameBytes)
    if count != len(frames):
        raise Different(
            _("{what} has {count} of the {expected} frames that were written.").format(
                what=what, count=count, expected=len(frames)
            )
        )


def compareImage(image: Image, pixels: Pixels, ijkToRAS: Matrix, precision: float, what: str) -> None:
    """Compare one frame; its slices may be in the opposite order if its matrix is, too.

    :raises Different: pixels or geometry differ.
    """
    if image.pixels.shape != pixels.shape or image.pixels.dtype != pixels.dtype:
        raise Different(
            _("{what} was written as {written} and read as {found}.").format(
                what=what,
                written=f"{pixels.shape} {pixels.dtype}",
                found=f"{image.pixels.shape} {image.pixels.dtype}",
            )
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
        raise Different(
            _("{what} is displaced by {distance:.3g} mm; at most {allowed:.3g} mm are allowed.").format(
                what=what, distance=float(error), allowed=float(allowed)
            )
        )
    for k in range(len(pixels)):
        # Compare bytes, because NaN is not equal to itself.
        if not np.array_equal(_bytes(found[k]), _bytes(pixels[k])):
            raise Different(_("{what} has different pixels in slice {k} than were written.").format(what=what, k=k))


def tolerance(ijkToRAS: Matrix, shape: tuple[int, ...], precision: float) -> float:
    """Return the most millimetres by which rounding may displace a voxel, always less than VOXEL of a voxel."""
    largest = float(np.abs(_corners(ijkToRAS, shape)).max() + np.abs(ijkToRAS[:3, :3]).max())
    return min(precision * largest, VOXEL * float(np.linalg.norm(ijkToRAS[:3, :3], axis=0).min()))


def compareWords(found: Mapping[str, Any], expected: Mapping[str, Any], what: str) -> None:
    """Compare texts by name.

    :raises Different: a text is missing or differs.
    """
    for name, value in expected.items():
        if name not in found:
            raise Different(_("{what} lacks {name}.").format(what=what, name=name))
        if found[name] != value:
            raise Different(
                _("{what} has a different {name} than was written: {value!r}.").format(
                    what=what, name=name, value=str(found[name])[:80]
                )
            )


def compareTimes(found: list[float], expected: list[float], tolerance: float, what: str) -> None:
    """Compare the times of the frames.

    :raises Different: a time differs by more than ``tolerance`` seconds.
    """
    if len(found) != len(expected):
        raise Different(
            _("{what} has {times} times for {count} frames.").format(what=what, times=len(found), count=len(expected))
        )
    off = float(np.abs(np.array(found) - np.array(expected)).max(initial=0.0))
    if not off <= tolerance:
        raise Different(_("The times of {what} differ by up to {off:.3g} s.").format(what=what, off=off))


def distance(one: Matrix, other: Matrix, shape: tuple[int, ...]) -> float:
    """Return the largest displacement of a voxel between two IJKToRAS matrices, millimetres."""
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
