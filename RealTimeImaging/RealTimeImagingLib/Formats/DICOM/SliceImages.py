"""Images of arrived slices: sorted, stacked into one array, with zeros for missing slices, and what to report."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...Model.Errors import NotAnImageError
from ...Model.Event import Event
from ...Model.Frame import NO_PLACE, Image, Matrix, Pixels
from ...Model.Text import joined, textsOf
from .. import GetBuffer, openImageFile
from ..ImageFile import checkRightAngles, makeImage
from ..Raw import allocate
from .SliceGroup import Closed, Slice, Volume
from .Stacking import ARRIVING, normalOf, stacked

_ = textsOf(__file__)

_OWN = ("SOPInstanceUID", "InstanceNumber", "TriggerTime", "WindowCenter", "WindowWidth", NO_PLACE)
"""Attributes of a single slice that do not describe its volume."""


@dataclass(frozen=True)
class SliceImages:
    """Images made of slices.

    :param images: one volume; or each slice in its own place, where the slices make no volume.
    :param missing: heights along the normal of the missing slices (zeros), millimetres.
    :param problem: reason why the slices make no volume, else "".
    """

    images: list[Image]
    missing: list[float]
    problem: str = ""


def reports(closed: Closed, images: SliceImages, stream: str, uneven: set[str]) -> Iterator[Event]:
    """Yield the events about missing slices of a volume, and once for each stream about slices that make no volume.

    :param closed: the volume, and the number of slices that the sender announced.
    :param images: the images of the volume.
    :param uneven: streams that are reported already; receives this one.
    """
    if not images.problem:
        if text := _missingText(closed, images, stream):
            yield Event("incomplete", text, "warning", stream)
    elif stream not in uneven:
        uneven.add(stream)
        text = _("{stream} is not a volume, because {reason}. Each slice is shown in its own place.")
        yield Event("uneven", text.format(stream=stream, reason=images.problem), "warning", stream)


def _missingText(closed: Closed, images: SliceImages, stream: str) -> str:
    # "" when the volume is complete.
    count = len(closed.volume.slices)
    lacking = max(len(images.missing), closed.announced - count)
    if lacking <= 0:
        return ""
    arrived = _("{stream}: {count} of {all} slices arrived.").format(stream=stream, count=count, all=count + lacking)
    if not images.missing:
        return joined(arrived, _("The volume is shown without the missing slices."))
    heights = ", ".join(f"{height:.1f}" for height in images.missing[:5]) + (" ..." if images.missing[5:] else "")
    numbers = _neighbours(closed.volume.slices, images.missing[0])
    if not numbers:
        filled = _("Missing slices are filled with zeros, at {heights} mm along the normal.").format(heights=heights)
        return joined(arrived, filled)
    filled = _(
        "Missing slices are filled with zeros, at {heights} mm along the normal (between the instances {below} and "
        "{above})."
    ).format(heights=heights, below=numbers[0], above=numbers[1])
    return joined(arrived, filled)


def _neighbours(slices: Sequence[Slice], height: float) -> list[int]:
    # Operators know slices by their InstanceNumber.
    below = max((one for one in slices if one.height < height), key=lambda one: one.height, default=None)
    above = min((one for one in slices if one.height > height), key=lambda one: one.height, default=None)
    numbers = [one.instance.header.number for one in (below, above) if one is not None]
    known = [number for number in numbers if number is not None]
    return known if len(known) == 2 else []


def imagesOf(volume: Volume, getBuffer: GetBuffer) -> SliceImages:
    """Make the image of the slices that have arrived.

    :param getBuffer: returns memory for the volume, or None.
    :raises NotAnImageError: a complete file has changed since, or not enough memory is free.
    :raises OSError: a file cannot be read again.
    """
    slices = volume.slices
    missing = volume.missing()
    if missing is None:
        return SliceImages([_single(one) for one in slices], [], _("its slices are unevenly spaced"))
    if len(slices) + len(missing) == 1:
        return SliceImages([_single(slices[0])], [])
    positions = np.array([one.matrix[:3, 3] for one in slices] + [_between(slices, height) for height in missing])
    order = np.argsort([one.height for one in slices] + missing, kind="stable").tolist()
    stack = stacked(positions[order], slices[0].matrix, ARRIVING)
    if stack is None or stack.numbers[-1] >= len(order):
        problem = _("its slices are unevenly spaced or not above one another")
        return SliceImages([_single(one) for one in slices], [], problem)
    checkRightAngles(stack.matrix)
    pixels = _empty(slices, len(order), getBuffer)
    for index, place in enumerate(order):
        pixels[index] = pixelsOf(slices[place])[0] if place < len(slices) else 0
    times = [one.time for one in slices if one.time is not None]
    image = makeImage(pixels, stack.matrix, min(times, default=None), _attributes(slices, missing))
    return SliceImages([image], missing)


def pixelsOf(slice_: Slice) -> Pixels:
    """Return the pixels of a slice (1, rows, columns); read them again when memory no longer holds them."""
    if slice_.pixels is not None:
        return slice_.pixels
    reader = openImageFile(slice_.instance.path)
    if words := reader.missing():
        raise NotAnImageError(words, "damaged")
    pixels = next(iter(reader.images())).pixels
    if pixels.shape != slice_.shape:
        raise NotAnImageError(_("{path} was replaced by another image.").format(path=slice_.instance.path), "damaged")
    return pixels


def _single(one: Slice) -> Image:
    return makeImage(pixelsOf(one), one.matrix, one.time, one.attributes)


def _between(slices: Sequence[Slice], height: float) -> Matrix:
    # On the line through the lowest and the highest slice, which need not be the normal.
    low, high = (choose(slices, key=lambda one: one.height) for choose in (min, max))
    span = high.height - low.height
    direction = (high.matrix[:3, 3] - low.matrix[:3, 3]) / span if span else normalOf(low.matrix)
    position: Matrix = low.matrix[:3, 3] + (height - low.height) * direction
    return position


def _empty(slices: Sequence[Slice], count: int, getBuffer: GetBuffer) -> Pixels:
    # Each slice has the type that its own values need.
    dtype = np.result_type(*{one.dtype for one in slices})
    shape = (count, *slices[0].shape[1:])
    size = math.prod(shape) * dtype.itemsize
    return allocate(size, size, _("The volume"), getBuffer).view(dtype).reshape(shape)


def _attributes(slices: Sequence[Slice], missing: Sequence[float]) -> dict[str, str]:
    first = min(slices, key=lambda one: one.height)
    kept = {name: value for name, value in first.attributes.items() if name not in _OWN}
    counts = {"Slices": str(len(slices))}
    if missing:
        counts["MissingSlices"] = " ".join(f"{height:.3f}" for height in missing)
    return kept | counts
