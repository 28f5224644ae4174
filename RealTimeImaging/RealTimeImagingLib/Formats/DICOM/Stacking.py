"""Slices as images: sorted, stacked into one array, with zeros for missing slices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...Model.Errors import NotAnImageError
from ...Model.Frame import Image, Matrix, Pixels
from .. import GetBuffer, openImageFile
from ..ImageFile import checkRightAngles, makeImage
from ..Raw import allocate
from .Geometry import normalOf, stacked
from .SliceGroup import Closed, Slice, Volume

_OWN = ("SOPInstanceUID", "InstanceNumber", "TriggerTime", "WindowCenter", "WindowWidth")
"""Attributes of a single slice that do not describe its volume."""


@dataclass(frozen=True)
class Stack:
    """Images made of slices.

    :param images: one volume; or each slice in its own place, where the slices make no volume.
    :param missing: heights along the normal of the missing slices (zeros), millimetres.
    :param problem: reason why the slices make no volume, else "".
    """

    images: list[Image]
    missing: list[float]
    problem: str = ""


def missingText(closed: Closed, stack: Stack, stream: str) -> str:
    """Return sentences for the user about the missing slices of a volume; "" when it is complete.

    :param closed: the volume, and the number of slices that the sender announced.
    :param stack: the image of the volume.
    """
    count = len(closed.volume.slices)
    lacking = max(len(stack.missing), closed.announced - count)
    if lacking <= 0:
        return ""
    text = f"{stream}: {count} of {count + lacking} slices arrived."
    if not stack.missing:
        return f"{text} The volume is shown without the missing slices."
    heights = ", ".join(f"{height:.1f}" for height in stack.missing[:5]) + (" ..." if stack.missing[5:] else "")
    where = _neighbours(closed.volume.slices, stack.missing[0])
    return f"{text} Missing slices are filled with zeros, at {heights} mm along the normal{where}."


def _neighbours(slices: Sequence[Slice], height: float) -> str:
    # Operators know slices by their InstanceNumber.
    below = max((one for one in slices if one.height < height), key=lambda one: one.height, default=None)
    above = min((one for one in slices if one.height > height), key=lambda one: one.height, default=None)
    numbers = [one.instance.header.instanceNumber for one in (below, above) if one is not None]
    if len(numbers) < 2 or None in numbers:
        return ""
    return f" (between the instances {numbers[0]} and {numbers[1]})"


def stackOf(volume: Volume, getBuffer: GetBuffer) -> Stack:
    """Make the image of the slices that have arrived.

    :param getBuffer: returns memory for the volume, or None.
    :raises NotAnImageError: a complete file has changed since, or not enough memory is free.
    :raises OSError: a file cannot be read again.
    """
    slices = volume.slices
    missing = volume.missing()
    if missing is None:
        return Stack([_single(one) for one in slices], [], "its slices are unevenly spaced")
    if len(slices) + len(missing) == 1:
        return Stack([_single(slices[0])], [])
    matrices = [one.matrix for one in slices] + [_between(slices, height) for height in missing]
    placed = stacked(matrices)
    if not placed:
        return Stack([_single(one) for one in slices], [], "its slices are unevenly spaced or not above one another")
    order, matrix = placed[0].frames, placed[0].ijkToRAS
    checkRightAngles(matrix)
    pixels = _empty(slices, len(order), getBuffer)
    for index, place in enumerate(order):
        pixels[index] = pixelsOf(slices[place])[0] if place < len(slices) else 0
    times = [one.time for one in slices if one.time is not None]
    return Stack([makeImage(pixels, matrix, min(times, default=None), _attributes(slices, missing))], missing)


def pixelsOf(slice_: Slice) -> Pixels:
    """Return the pixels of a slice (1, rows, columns); read them again when memory no longer holds them."""
    if slice_.pixels is not None:
        return slice_.pixels
    reader = openImageFile(slice_.instance.path)
    if words := reader.missing():
        raise NotAnImageError(words, "damaged")
    pixels = next(iter(reader.images())).pixels
    if pixels.shape != slice_.shape:
        raise NotAnImageError(f"{slice_.instance.path} was replaced by another image.", "damaged")
    return pixels


def _single(one: Slice) -> Image:
    return makeImage(pixelsOf(one), one.matrix, one.time, one.attributes)


def _between(slices: Sequence[Slice], height: float) -> Matrix:
    # On the line through the lowest and the highest slice, which need not be the normal.
    low, high = (choose(slices, key=lambda one: one.height) for choose in (min, max))
    matrix: Matrix = low.matrix.copy()
    span = high.height - low.height
    direction = (high.matrix[:3, 3] - low.matrix[:3, 3]) / span if span else normalOf(matrix)
    matrix[:3, 3] += (height - low.height) * direction
    return matrix


def _empty(slices: Sequence[Slice], count: int, getBuffer: GetBuffer) -> Pixels:
    # Each slice has the type that its own values need.
    dtype = np.result_type(*{one.dtype for one in slices})
    shape = (count, *slices[0].shape[1:])
    size = math.prod(shape) * dtype.itemsize
    return allocate(size, size, "The volume", getBuffer).view(dtype).reshape(shape)


def _attributes(slices: Sequence[Slice], missing: Sequence[float]) -> dict[str, str]:
    first = min(slices, key=lambda one: one.height)
    kept = {name: value for name, value in first.attributes.items() if name not in _OWN}
    counts = {"Slices": str(len(slices))}
    if missing:
        counts["MissingSlices"] = " ".join(f"{height:.3f}" for height in missing)
    return kept | counts
