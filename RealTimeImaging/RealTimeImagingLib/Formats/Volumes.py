"""Base of NIfTI, NRRD and MetaImage: a header that declares an array, and the bytes of the array."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..Model.Errors import FrameError, NotAnImageError
from ..Model.Frame import Image, Matrix, Pixels, asShown, shownType
from .ImageFile import ImageFile
from .Raw import Stored, readArray

SHEAR = 1e-3
"""Largest cosine between two axes that counts as a right angle. float32 headers are exact to about 1e-6, and half a
voxel of shear over 512 voxels becomes visible."""


@dataclass(frozen=True)
class Volumes:
    """Volumes that a header declares.

    :param stored: bytes of the array.
    :param dtype: type of the stored values, with their byte order.
    :param shape: shape of the stored array, slowest axis first.
    :param roles: one letter for each axis of ``shape``: k, j, i (space; i is required, the others are 1 when absent),
        c (components), t (volumes; of several such axes the last is the fastest).
    :param ijkToRAS: 4x4 float64, millimetres.
    :param attributes: attributes of every volume. ``each``: those of single volumes, in order, or empty.
    :param scale: (slope, intercept) to apply in floating point, None to keep the stored values.
    :param times: as :attr:`ImageFile.times`.
    """

    stored: Stored
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    roles: str
    ijkToRAS: Matrix
    attributes: Mapping[str, str] = field(default_factory=dict)
    each: Sequence[Mapping[str, str]] = ()
    scale: tuple[float, float] | None = None
    times: list[float] | None = None

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def count(self) -> int:
        """Number of volumes."""
        return math.prod(size for size, role in zip(self.shape, self.roles, strict=True) if role == "t")

    @property
    def shown(self) -> np.dtype[Any]:
        """Type of the final values. It depends on the header alone and is the same for every volume."""
        plain = shownType(self.dtype)
        if self.scale is None or plain.kind == "f":
            return plain
        # Integers of 16 bits and their scaled values fit the 24 bits of a float32; wider integers do not.
        largest = abs(self.scale[0]) * float(np.iinfo(plain).max) + abs(self.scale[1])
        narrow = plain.itemsize <= 2 and largest < float(np.finfo(np.float32).max)
        return np.dtype(np.float32 if narrow else np.float64)


class VolumeFile(ImageFile):
    """Reader of a file whose header declares volumes. A subclass reads the header."""

    _volumes: Volumes | None = None

    @abstractmethod
    def _declared(self) -> Volumes | str:
        """Read the header anew; return the declared volumes, or a sentence about the missing part of the header.

        :raises NotAnImageError: the header is of another format or not supported.
        """

    def _missing(self) -> str | None:
        declared = self._declared()
        if isinstance(declared, str):
            return declared
        self._check(declared)
        self._volumes = declared
        self.count, self.times = declared.count, declared.times
        words = declared.stored.missing(declared.bytes)
        self.sealed = words is None and declared.stored.sealed
        return words

    def _images(self, first: int) -> Iterator[Image]:
        if self._volumes is None and (words := self.missing()):
            raise NotAnImageError(words, "damaged")
        assert self._volumes is not None
        volumes = self._volumes
        for number, pixels in enumerate(self._arrays(volumes, first), first):
            attributes = dict(volumes.attributes)
            if volumes.count > 1:
                attributes["VolumeIndex"] = str(number)
            if volumes.each:
                attributes.update(volumes.each[number])
            yield makeImage(_scaled(pixels, volumes), volumes.ijkToRAS, None, attributes)

    def _check(self, volumes: Volumes) -> None:
        if min(volumes.shape) < 1:
            raise NotAnImageError(f"An axis has no voxels: {volumes.shape[::-1]}.", "damaged")
        components = [size for size, role in zip(volumes.shape, volumes.roles, strict=True) if role == "c"]
        if components and components[0] not in (3, 4):
            raise NotAnImageError(
                f"The voxels have {components[0]} components. Slicer shows 1, 3 (RGB) and 4 (RGBA).", "unsupported"
            )
        lead = leading(volumes.roles)
        try:
            shown = volumes.shown.itemsize
        except FrameError as error:
            raise NotAnImageError(str(error), "unsupported") from error
        size = math.prod(volumes.shape[lead:]) * max(shown, volumes.dtype.itemsize)
        if size > self.limit:
            raise NotAnImageError(
                f"The header declares an image of {size:,} bytes, more than the limit of {self.limit:,}.", "too-large"
            )
        checkRightAngles(volumes.ijkToRAS)

    def _arrays(self, volumes: Volumes, first: int) -> Iterator[Pixels]:
        # With the axes of volumes first, one volume is read after the other; else the whole array at once.
        lead = leading(volumes.roles)
        shape, roles = volumes.shape[lead:], volumes.roles[lead:]
        size = math.prod(shape) * volumes.dtype.itemsize
        order = sorted(range(len(roles)), key=lambda axis: ("tkjic".index(roles[axis]), axis))
        space = tuple(shape[roles.index(role)] if role in roles else 1 for role in "kji")
        space += (shape[roles.index("c")],) if "c" in roles else ()
        inside = math.prod(size for size, role in zip(shape, roles, strict=True) if role == "t")
        begin, skipped = divmod(first, inside)
        for number in range(begin, math.prod(volumes.shape[:lead])):
            block = readArray(volumes.stored, number * size, shape, volumes.dtype, self.limit, self.getBuffer)
            yield from block.transpose(order).reshape((-1, *space))[skipped if number == begin else 0 :]


def leading(roles: str) -> int:
    """Count the axes of volumes that come first (slowest)."""
    return len(roles) - len(roles.lstrip("t"))


def _scaled(pixels: Pixels, volumes: Volumes) -> Pixels:
    if volumes.scale is None:
        return pixels
    slope, intercept = volumes.scale
    try:
        scaled = np.empty(pixels.shape, volumes.shown)
    except MemoryError as error:
        raise NotAnImageError("There is not enough memory for the scaled image.", "too-large") from error
    # Slice by slice in float64, rounded once: the intermediate array stays small.
    with np.errstate(all="ignore"):
        for k in range(len(pixels)):
            plane = pixels[k].astype(np.float64)
            plane *= slope
            plane += intercept
            scaled[k] = plane
    return scaled


def makeImage(
    pixels: Pixels, ijkToRAS: Matrix, deviceTime: float | None = None, attributes: Mapping[str, str] | None = None
) -> Image:
    """Make an Image of pixels of any type that Slicer can show.

    :raises NotAnImageError: code "unsupported": Slicer cannot show the pixels. "too-large": not enough memory.
    """
    try:
        return Image(asShown(pixels), ijkToRAS, deviceTime, dict(attributes or {}))
    except FrameError as error:
        raise NotAnImageError(str(error), "unsupported") from error
    except MemoryError as error:
        raise NotAnImageError("There is not enough memory for the image.", "too-large") from error


def angleError(ijkToRAS: Matrix) -> float:
    """Return the largest cosine between two of the three axes; 0 for right angles.

    :raises NotAnImageError: code "damaged": an axis has no length, or a number is not finite.
    """
    # Plain numbers: numpy takes ten times as long for nine of them, which matters for an image of a few MiB.
    rows = ijkToRAS[:3].tolist()
    i, j, k, origin = zip(*rows, strict=True)
    lengths = [math.hypot(*axis) for axis in (i, j, k)]
    if not all(map(math.isfinite, (*lengths, *origin))) or min(lengths) < 1e-150 or max(lengths) > 1e150:
        raise NotAnImageError("The header's geometry is damaged: axes or origin are zero or not finite.", "damaged")
    cosines = [
        sum(a * b for a, b in zip(one, other, strict=True)) / (lengths[first] * lengths[second])
        for one, other, first, second in ((i, j, 0, 1), (i, k, 0, 2), (j, k, 1, 2))
    ]
    return float(max(map(abs, cosines)))


def checkRightAngles(ijkToRAS: Matrix) -> None:
    """Check that the three axes are perpendicular.

    :raises NotAnImageError: code "unsupported": the image is sheared; volumes in Slicer cannot be.
    """
    error = angleError(ijkToRAS)
    if error > SHEAR:
        raise NotAnImageError(
            f"The image is sheared: its axes are {np.degrees(np.arcsin(min(1.0, error))):.1f} degrees off the right "
            "angle, which Slicer does not show.",
            "unsupported",
        )
