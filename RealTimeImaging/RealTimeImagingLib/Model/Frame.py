"""Images with their geometry, frames of a stream, and images made of arrays."""

from __future__ import annotations

import hashlib
import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from .Errors import FrameError
from .Text import Text, isStorable, joined, textsOf

_ = textsOf(__file__)

Pixels = npt.NDArray[Any]
GetBuffer = Callable[[int], "Pixels | None"]
"""Returns memory of this number of bytes (uint8) to read an image into, or None when none is free."""
Matrix = npt.NDArray[np.float64]

SCALAR_TYPES: tuple[np.dtype[Any], ...] = tuple(
    np.dtype(name) for name in ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
)
"""Scalar types that a Slicer volume node can show. Frames have no others."""

ATTRIBUTE_NAME = re.compile(r"[A-Za-z0-9_.-]+")
"""Attribute names that NRRD stores: a ": " makes the file unreadable, and other characters lose the attribute."""

FARTHEST = 1e6
"""Millimetres from the origin beyond which no scanner has a voxel; also the largest size of a voxel."""
SMALLEST = 1e-6
"""Least size of a voxel, millimetres: that of an atomic force microscope is larger."""
SHEAR = 1e-3
"""Largest cosine between two axes that counts as a right angle. float32 headers are exact to about 1e-6, and half a
voxel of shear over 512 voxels becomes visible."""
NO_PLACE = "NoPlace"
"""Attribute of an image that is shown at the origin: what its sender gives instead of a usable position."""

LPS_TO_RAS: Matrix = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Left factor that turns IJKToLPS into IJKToRAS, and IJKToRAS into IJKToLPS."""


@dataclass(frozen=True, eq=False)
class Image:
    """One picture or volume, before it belongs to a stream.

    :param pixels: shape (k, j, i) or (k, j, i, 3|4), C-contiguous, native byte order, dtype one of SCALAR_TYPES.
    :param ijkToRAS: 4x4 float64, voxel index (i, j, k) to millimetres in RAS.
    :param deviceTime: the device's time in seconds since the epoch (UTC), None without one.
    :param attributes: text by names that match ATTRIBUTE_NAME.
    :raises FrameError: a value is of another kind.
    """

    pixels: Pixels
    ijkToRAS: Matrix
    deviceTime: float | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checkPixels(self.pixels)
        checkMatrix(self.ijkToRAS)
        for name in self.attributes:
            if not ATTRIBUTE_NAME.fullmatch(name):
                raise FrameError(
                    _("An attribute name consists of letters, digits and _ . - only; {name} does not.").format(
                        name=repr(name)
                    )
                )


@dataclass(frozen=True, eq=False)
class Frame:
    """An image in a stream. Further fields as in :class:`Image`.

    :param stream: name of the stream; each stream has one live volume.
    :param number: frame number from 0, without gaps in a stream.
    :param receiveTime: seconds since the epoch (UTC) at which the acquisition process had the whole image.
    :param stages: times of the stages behind it (:data:`Model.Statistics.STAGES`), seconds since the epoch (UTC).
    :param sender: connection that sent it, and ``timeOffset``: seconds to add to its times; both as in
        :class:`DeviceMessage`. Only the acquisition process knows them.
    """

    pixels: Pixels
    ijkToRAS: Matrix
    stream: str
    number: int
    receiveTime: float
    deviceTime: float | None = None
    attributes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    stages: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    sender: str = ""
    timeOffset: float = 0.0

    @property
    def components(self) -> int:
        """1 for scalar pixels, 3 for RGB, 4 for RGBA."""
        return componentsOf(self.pixels.shape)

    @property
    def time(self) -> float:
        """The device's time, or else the arrival time (seconds since the epoch, UTC)."""
        return self.receiveTime if self.deviceTime is None else self.deviceTime

    def described(self) -> dict[str, str]:
        """Return attributes, number and times as node attributes, see :func:`describe`."""
        return describe(self.attributes, self.number, self.receiveTime, self.deviceTime)


def describe(
    attributes: Mapping[str, str], number: int, receiveTime: float, deviceTime: float | None
) -> dict[str, str]:
    """Return a frame's attributes with ``FrameNumber``, ``ReceiveTime`` and, if any, ``DeviceTime``.

    Times are in seconds since the epoch (UTC).
    """
    times = {"ReceiveTime": receiveTime} | ({} if deviceTime is None else {"DeviceTime": deviceTime})
    written = {name: f"{value:.6f}" for name, value in times.items()}
    return {**attributes, "FrameNumber": str(number), **written}


def componentsOf(shape: tuple[int, ...]) -> int:
    """Return the components of a voxel by a frame's shape: 1 for (k, j, i), n for (k, j, i, n)."""
    return 1 if len(shape) == 3 else shape[3]


def checkPixels(pixels: Pixels) -> None:
    """Check shape, type and memory order of pixels, see :class:`Image`.

    :raises FrameError: they are of another kind.
    """
    if not (pixels.ndim == 3 or (pixels.ndim == 4 and pixels.shape[3] in (3, 4))):
        raise FrameError(
            _("Pixels have the shape (slices, rows, columns) or (slices, rows, columns, 3 or 4), not {shape}.").format(
                shape=pixels.shape
            )
        )
    if pixels.size == 0:
        raise FrameError(_("An image has at least one voxel; the shape is {shape}.").format(shape=pixels.shape))
    if pixels.dtype not in SCALAR_TYPES or not pixels.dtype.isnative:
        raise FrameError(_("Slicer cannot show pixels of type {dtype}.").format(dtype=pixels.dtype))
    if not pixels.flags.c_contiguous:
        raise FrameError(_("Pixels must be C-contiguous: slice by slice in memory."))


def checkMatrix(ijkToRAS: Matrix) -> None:
    """Check that the array is a finite, invertible affine 4x4 matrix of float64.

    :raises FrameError: it is not.
    """
    if ijkToRAS.shape != (4, 4) or ijkToRAS.dtype != np.float64:
        raise FrameError(
            _("IJKToRAS is a 4x4 matrix of float64, not {shape} of {dtype}.").format(
                shape=ijkToRAS.shape, dtype=ijkToRAS.dtype
            )
        )
    _checkNumbers(ijkToRAS.tobytes())


@lru_cache(maxsize=64)
def _checkNumbers(matrix: bytes) -> None:
    """Check the numbers of a matrix. The images of a stream mostly have the same matrix: it is checked once."""
    # Plain numbers: for so few, arrays take five times as long.
    rows: list[list[float]] = np.frombuffer(matrix).reshape(4, 4).tolist()
    if not all(math.isfinite(number) for row in rows for number in row) or rows[3] != [0, 0, 0, 1]:
        raise FrameError(_("IJKToRAS must have finite numbers only, and the last row 0 0 0 1."))
    axes = [[row[column] for row in rows[:3]] for column in range(3)]
    lengths = [math.sqrt(sum(number * number for number in axis)) for axis in axes]
    if not all(lengths) or abs(_determinant(axes, lengths)) < 1e-6:
        raise FrameError(_("The three axes of IJKToRAS do not span space: two are parallel, or one is zero."))


def geometryRemark(image: Image, stream: str) -> tuple[str, Text] | None:
    """Return what is wrong with the place of an image if no scanner has it, else None. The image is shown in any case.

    :param stream: name of the stream.
    :returns: the kind of the remark ("none", "place", "size" or "shear") and a sentence.
    """
    if given := image.attributes.get(NO_PLACE):
        text = _(
            "{stream} is shown at the origin of the scene, because its sender gives the place as {given}. Check the "
            "position at the sender."
        )
        return "none", text.format(stream=stream, given=given)
    found = _unlikely(image.ijkToRAS.tobytes())
    if found is None:
        return None
    name, value = found
    text = _(
        "{stream}: the first voxel is {value} mm from the origin. The image is shown there; a view may stay black."
    )
    if name == "shear":
        text = _(
            "{stream}: the axes of the image are {value} degrees off the right angle. Slice views show it sheared, as "
            "its sender says. Most modules and file formats need right angles."
        )
        return name, joined(text.format(stream=stream, value=f"{value:.1f}"), _("Check the matrix at the sender."))
    if name == "size":
        text = _("{stream}: the voxels are {value} mm in size. The image keeps this size; a view may stay black.")
    advice = _("Check the units, the position and the spacing at the sender.")
    return name, joined(text.format(stream=stream, value=f"{value:.3g}"), advice)


@lru_cache(maxsize=64)
def _unlikely(matrix: bytes) -> tuple[str, float] | None:
    rows: list[list[float]] = np.frombuffer(matrix).reshape(4, 4).tolist()
    *sizes, distance = (math.hypot(*(row[column] for row in rows[:3])) for column in range(4))
    if distance > FARTHEST:
        return "place", distance
    if wrong := next((size for size in sizes if not SMALLEST <= size <= FARTHEST), None):
        return "size", wrong
    directions = [[row[column] / sizes[column] for row in rows[:3]] for column in range(3)]
    cosine = max(abs(sum(map(operator.mul, *pair))) for pair in combinations(directions, 2))
    return ("shear", math.degrees(math.asin(min(1.0, cosine)))) if cosine > SHEAR else None


def _determinant(axes: list[list[float]], lengths: list[float]) -> float:
    # Determinant of the directions: the size of voxels does not matter.
    (a, b, c), (d, e, f), (g, h, i) = ([n / length for n in axis] for axis, length in zip(axes, lengths, strict=True))
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


def checksum(pixels: Pixels) -> str:
    """Return SHA-256 (hexadecimal) over type, shape and bytes: equal only for the same pixels in the same order."""
    digest = hashlib.sha256(f"{pixels.dtype.newbyteorder('<').str}{pixels.shape}".encode())
    digest.update(np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)).data)
    return digest.hexdigest()


def pictureToRAS(columns: int, rows: int, spacing: tuple[float, float] = (1.0, 1.0)) -> Matrix:
    """Return IJKToRAS of a picture without a place in space (PNG, JPEG, camera), centred on the origin.

    The picture is in the axial plane, upright in Slicer's axial view: columns run to the left, rows to the posterior.

    :param spacing: millimetres between columns and between rows.
    """
    matrix = np.diag([-spacing[0], -spacing[1], 1.0, 1.0])
    matrix[0, 3] = spacing[0] * (columns - 1) / 2
    matrix[1, 3] = spacing[1] * (rows - 1) / 2
    return matrix


def shownType(declared: npt.DTypeLike) -> np.dtype[Any]:
    """Return the type in which Slicer shows values of a declared type; the values do not matter.

    :raises FrameError: the type has no lossless counterpart (complex numbers, text).
    """
    dtype: np.dtype[Any] = np.dtype(declared).newbyteorder("=")
    if dtype in SCALAR_TYPES:
        return dtype
    if dtype == np.bool_:
        return np.dtype(np.uint8)
    if dtype == np.float16:
        return np.dtype(np.float32)
    if dtype in (np.dtype(np.int64), np.dtype(np.uint64)):
        return np.dtype(np.float64)
    raise FrameError(_("Slicer cannot show values of type {dtype}.").format(dtype=dtype))


def asShown(values: Pixels) -> Pixels:
    """Return the values C-contiguous and in a type that Slicer shows; copy them only where necessary.

    :raises FrameError: the type has no counterpart, or a 64-bit integer has no exact float64.
    """
    target = shownType(values.dtype)
    shown = np.ascontiguousarray(values, dtype=target)
    if values.dtype.kind in "iu" and target.kind == "f" and not _exact(values, shown):
        raise FrameError(_("A value of type {dtype} is too large for an exact float64.").format(dtype=values.dtype))
    return shown


def _exact(integers: Pixels, floats: Pixels) -> bool:
    # A float64 of 2**63 or more does not fit into the integer type: check the bounds first.
    limits = np.iinfo(integers.dtype)
    if (floats >= float(limits.max)).any():
        return False
    return bool(np.array_equal(floats.astype(integers.dtype), integers))


SHAPES = _("(rows, columns), (slices, rows, columns), or one of these with 3 or 4 colour components behind")
LONGEST_QUOTE = 80
"""Characters of a value that an error quotes."""
LATEST = 253_402_300_800.0
"""Seconds since the epoch at the end of the year 9999; times in milliseconds are beyond it."""


def imageOf(
    array: npt.ArrayLike,
    ijkToRAS: Any = None,
    deviceTime: float | None = None,
    colour: bool | None = None,
    attributes: Mapping[str, str] | None = None,
) -> Image:
    """Convert an array to an Image; copy it only where type or memory order require it.

    :param array: (rows, columns), (slices, rows, columns), or one of these with 3 or 4 colour components behind; of any
        type that Slicer can show exactly: bool becomes uint8, float16 float32, and int64 and uint64 become float64.
    :param ijkToRAS: 4x4 numbers or a vtkMatrix4x4, voxel index (i, j, k) to millimetres in RAS. None: a picture is
        centred in the axial plane with pixels of 1 mm (see :func:`pictureToRAS`), a volume has the identity.
    :param deviceTime: seconds since the epoch, UTC.
    :param colour: True: the last axis holds colour components. None: so it does in arrays with four axes, and in uint8
        arrays with three axes, the last of length 3 or 4.
    :param attributes: text by names of letters, digits and ``_ . -``.
    :raises FrameError: a value is of another kind; the message has the reason.
    """
    try:
        values: Pixels = np.asarray(array)
    except (TypeError, ValueError) as error:
        text = _("The value cannot be converted to an array: its rows have other lengths, or hold no numbers.")
        raise FrameError(text) from error
    pixels = _withSlices(values, colour)
    shown = asShown(pixels)
    if ijkToRAS is not None:
        matrix = _matrixOf(ijkToRAS)
    elif pixels.ndim > values.ndim:
        matrix = pictureToRAS(shown.shape[2], shown.shape[1])
    else:
        matrix = np.eye(4)
    return Image(shown, matrix, timeOf(deviceTime), textOf(attributes or {}))


def _withSlices(values: Pixels, colour: bool | None) -> Pixels:
    if values.ndim not in (2, 3, 4):
        raise FrameError(_("An image has the shape {SHAPES}, not {shape}.").format(SHAPES=SHAPES, shape=values.shape))
    if colour is None:
        colour = values.ndim == 4 or (values.ndim == 3 and values.shape[2] in (3, 4) and values.dtype == np.uint8)
    if colour and (values.ndim == 2 or values.shape[-1] not in (3, 4)):
        raise FrameError(
            _("The last axis of an image in colour has 3 or 4 components; the shape is {shape}.").format(
                shape=values.shape
            )
        )
    if not colour and values.ndim == 4:
        raise FrameError(
            _("An image that is not in colour has two or three axes; the shape is {shape}.").format(shape=values.shape)
        )
    return values[np.newaxis] if values.ndim == (3 if colour else 2) else values


def _matrixOf(given: Any) -> Matrix:
    if hasattr(given, "GetElement"):  # a vtkMatrix4x4
        given = [[given.GetElement(row, column) for column in range(4)] for row in range(4)]
    try:
        numbers = np.asarray(given)
    except (TypeError, ValueError):
        numbers = np.empty(0, object)
    if numbers.dtype.kind not in "iuf":
        text = _("IJKToRAS is a vtkMatrix4x4 or 4x4 numbers, not {given}.")
        raise FrameError(text.format(given=repr(given)[:LONGEST_QUOTE]))
    return numbers.astype(np.float64)


def timeOf(given: float | str | None) -> float | None:
    """Check the time of an image: seconds since the epoch (UTC), or None.

    :raises FrameError: the value is no such time.
    """
    if given is None:
        return None
    try:
        seconds = float(given)
    except (TypeError, ValueError, OverflowError):
        seconds = -1.0
    if not 0 <= seconds < LATEST:
        raise FrameError(
            _("The time of an image is a number of seconds since 1970-01-01 (UTC), not {given}.").format(
                given=repr(given)
            )
        )
    return seconds


def textOf(attributes: Mapping[str, str]) -> dict[str, str]:
    """Copy attributes.

    :raises FrameError: a name or a value is no text, or a value has characters that no file can store.
    """
    if not isinstance(attributes, Mapping):
        raise FrameError(_("Attributes are texts by name, not {given}.").format(given=repr(attributes)))
    for name, value in attributes.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise FrameError(
                _("Names and values of attributes are text; {name} is {value}.").format(
                    name=repr(name), value=repr(value)
                )
            )
        if not isStorable(value):
            raise FrameError(_("The attribute {name} has characters that no file can store.").format(name=repr(name)))
    return dict(attributes)
