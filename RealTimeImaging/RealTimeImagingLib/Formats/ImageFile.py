"""Base classes of all readers: a file that may still be growing, and one whose header declares volumes."""

from __future__ import annotations

import errno
import logging
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from ..Model.Errors import FrameError, MissingPackageError, NotAnImageError, RealTimeImagingError
from ..Model.Frame import SHEAR, GetBuffer, Image, Matrix, Pixels, asShown, shownType
from ..Model.Text import textsOf
from .Raw import Stored, readArray

_ = textsOf(__file__)

log = logging.getLogger(__name__)

DEFAULT_LIMIT = 8 << 30
"""Largest accepted image in bytes. A header that declares more counts as damaged."""


class ImageFile(ABC):
    """Reader of one file.

    Make one when the file is first seen and keep it while the file grows: :meth:`missing` reads only the new part. No
    file stays open between calls, so that a writer on Windows can still rename or replace the file.

    A subclass implements :meth:`_missing` and :meth:`_images`. They may raise anything: callers of :meth:`missing` and
    :meth:`images` see only NotAnImageError and OSError, see :func:`translateErrors`.

    :param path: the file.
    :param limit: most bytes of one image; above it NotAnImageError has the code "too-large".
    """

    title = "image"
    """The format's name in messages."""

    sealed = False
    """True once the content proves its completeness (end of a gzip stream with the right checksum, PNG's IEND). A
    writer that still has the file open does not matter then. Valid after missing() returned None."""

    count = 1
    """Number of images. Valid after missing() returned None."""

    times: list[float] | None = None
    """Seconds of each image since the first, strictly increasing; None when the file has none. Valid after missing()
    returned None."""

    notes: tuple[str, ...] = ()
    """Sentences about the images for the user: an assumed distance, missing slices. Valid after missing() returned
    None."""

    streaming = False
    """Set it before the first call of missing(): compressed voxels of NIfTI and NRRD are then unpacked image by image
    and not at once. This takes little time and memory, but damage is found late."""

    def __init__(self, path: str, limit: int = DEFAULT_LIMIT) -> None:
        self.path = path
        self.limit = limit
        self.getBuffer: GetBuffer = lambda nbytes: None

    @property
    def files(self) -> tuple[str, ...]:
        """All files of the image, this one first (a detached header names others). Before the header is read: this file
        alone."""
        return (self.path,)

    def missing(self) -> str | None:
        """Return None when the file is complete, else one sentence: what is expected, and what exists.

        :raises NotAnImageError: the file will never be an image.
        :raises OSError: the file cannot be read (removed, not permitted, sharing violation).
        """
        with translateErrors(self.path, self.title):
            return self._missing()

    def images(self, first: int = 0) -> Iterator[Image]:
        """Yield the images in order, one for each volume of a 4-D file; call it after missing() returned None.

        :param first: index of the first image to read, from 0.
        :raises NotAnImageError: the content contradicts the header.
        :raises OSError: the file cannot be read any more.
        """
        with translateErrors(self.path, self.title):
            yield from self._images(first)

    @abstractmethod
    def _missing(self) -> str | None:
        """Do the work of :meth:`missing`. May raise anything."""

    @abstractmethod
    def _images(self, first: int) -> Iterator[Image]:
        """Do the work of :meth:`images`. May raise anything."""


@contextmanager
def translateErrors(path: str, title: str) -> Iterator[None]:
    """Turn every exception that a file's bytes cause into a NotAnImageError, and log its traceback.

    :param title: the format's name.
    :raises NotAnImageError: code "damaged" for an exception that no reader expects, "too-large" without enough memory,
        "missing-package" with the packages to install.
    :raises OSError: the operating system refuses the file.
    """
    try:
        yield
    except FrameError as error:
        raise NotAnImageError(str(error), "unsupported") from error
    except MissingPackageError as error:
        packages = ", ".join(repr(one) for one in error.requirements)
        raise NotAnImageError(
            _(
                "{title} files need Python packages that are not installed. Run "
                "slicer.util.getModuleLogic('RealTimeImaging').installPackages([{packages}]) in the Python "
                "console, then start the source again."
            ).format(title=title, packages=packages),
            "missing-package",
        ) from error
    except ImportError as error:
        text = _("{title} files need the Python package {name}, which is not installed.").format(
            title=title, name=error.name
        )
        raise NotAnImageError(text, "missing-package") from error
    except RealTimeImagingError:
        raise
    except MemoryError as error:
        raise NotAnImageError(
            _("There is not enough memory for this {title} file.").format(title=title), "too-large"
        ) from error
    except RecursionError as error:
        text = _("The {title} file nests its elements too deeply for any image.").format(title=title)
        raise NotAnImageError(text, "damaged") from error
    except OSError as error:
        # Errors of decoders have no number. EINVAL means an impossible offset, which only a damaged header causes.
        if error.errno not in (None, errno.EINVAL):
            raise
        raise _damaged(path, title) from error
    except Exception as error:  # decoders do not document their exceptions on damaged bytes
        raise _damaged(path, title) from error


def _damaged(path: str, title: str) -> NotAnImageError:
    log.warning("%s could not be read as %s", os.path.basename(path), title, exc_info=True)
    return NotAnImageError(
        _("The content contradicts the {title} format: write the file again. The log has the details.").format(
            title=title
        ),
        "damaged",
    )


def sinceFirst(times: Iterable[float]) -> list[float] | None:
    """Return the times relative to the first, None unless there are two or more and they strictly increase."""
    found = list(times)
    if len(found) < 2 or not all(map(math.isfinite, found)):
        return None
    seconds = [time - found[0] for time in found]
    return seconds if all(before < after for before, after in pairwise(seconds)) else None


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
    :param scale: slope and intercept to apply in floating point, None to keep the stored values. Shape (2,), or
        (volumes, slices, 2) where they differ.
    :param times: as :attr:`ImageFile.times`. ``notes``: as :attr:`ImageFile.notes`.
    """

    stored: Stored
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    roles: str
    ijkToRAS: Matrix
    attributes: Mapping[str, str] = field(default_factory=dict)
    each: Sequence[Mapping[str, str]] = ()
    scale: Matrix | None = None
    times: list[float] | None = None
    notes: tuple[str, ...] = ()

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
        slopes, intercepts = np.abs(self.scale.reshape(-1, 2).T)
        largest = float((slopes * float(np.iinfo(plain).max) + intercepts).max())
        narrow = plain.itemsize <= 2 and largest < float(np.finfo(np.float32).max)
        return np.dtype(np.float32 if narrow else np.float64)


class VolumeFile(ImageFile):
    """Reader of a file whose header declares volumes. A subclass reads the header."""

    def __init__(self, path: str, limit: int = DEFAULT_LIMIT) -> None:
        super().__init__(path, limit)
        self._volumes: Volumes | None = None
        self._files: tuple[str, ...] = (path,)
        """Files of the image; a subclass adds the data files."""
        self._made: dict[tuple[object, ...], Stored] = {}
        """Declared bytes by the values of the header: with the same header, an inflater continues where it was."""

    @property
    def files(self) -> tuple[str, ...]:
        return self._files

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
        self.count, self.times, self.notes = declared.count, declared.times, declared.notes
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
            yield makeImage(_scaled(pixels, volumes, number), volumes.ijkToRAS, None, attributes)

    def _check(self, volumes: Volumes) -> None:
        if min(volumes.shape) < 1:
            raise NotAnImageError(
                _("The header declares the size {shape}; each number is at least 1.").format(
                    shape=" x ".join(map(str, volumes.shape[::-1]))
                ),
                "damaged",
            )
        components = [size for size, role in zip(volumes.shape, volumes.roles, strict=True) if role == "c"]
        if components and components[0] not in (3, 4):
            raise NotAnImageError(
                _("The voxels have {components} components. Slicer shows 1, 3 (RGB) and 4 (RGBA).").format(
                    components=components[0]
                ),
                "unsupported",
            )
        lead = leading(volumes.roles)
        try:
            shown = volumes.shown.itemsize
        except FrameError as error:
            raise NotAnImageError(str(error), "unsupported") from error
        size = math.prod(volumes.shape[lead:]) * max(shown, volumes.dtype.itemsize)
        if size > self.limit:
            raise NotAnImageError(
                _("The header declares an image of {size:,} bytes, more than the limit of {limit:,}.").format(
                    size=size, limit=self.limit
                ),
                "too-large",
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


def _scaled(pixels: Pixels, volumes: Volumes, number: int) -> Pixels:
    if volumes.scale is None:
        return pixels
    scale = np.broadcast_to(volumes.scale, (volumes.count, len(pixels), 2))[number]
    try:
        scaled = np.empty(pixels.shape, volumes.shown)
    except MemoryError as error:
        raise NotAnImageError(_("There is not enough memory for the scaled image."), "too-large") from error
    # Slice by slice in float64, rounded once: the intermediate array stays small.
    with np.errstate(all="ignore"):
        for k in range(len(pixels)):
            plane = pixels[k].astype(np.float64)
            plane *= scale[k, 0]
            plane += scale[k, 1]
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
        raise NotAnImageError(_("There is not enough memory for the image."), "too-large") from error


def angleError(ijkToRAS: Matrix) -> float:
    """Return the largest cosine between two of the three axes; 0 for right angles.

    :raises NotAnImageError: code "damaged": an axis has no length, or a number is not finite.
    """
    # Plain numbers: numpy takes ten times as long for nine of them, which matters for an image of a few MiB.
    rows = ijkToRAS[:3].tolist()
    i, j, k, origin = zip(*rows, strict=True)
    lengths = [math.hypot(*axis) for axis in (i, j, k)]
    if not all(map(math.isfinite, (*lengths, *origin))) or min(lengths) < 1e-150 or max(lengths) > 1e150:
        raise NotAnImageError(_("The header's geometry is damaged: axes or origin are zero or not finite."), "damaged")
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
            _(
                "The image is sheared: its axes are {degrees:.1f} degrees off the right angle, which Slicer "
                "does not show."
            ).format(degrees=np.degrees(np.arcsin(min(1.0, error)))),
            "unsupported",
        )
