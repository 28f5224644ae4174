"""An array that somebody made in Python becomes an image, or a sentence that says why it cannot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .Errors import FrameError
from .Frame import Image, Matrix, Pixels, asShown, pictureToRAS

SHAPES = "(rows, columns), (slices, rows, columns), or one of these with 3 or 4 colour components behind"
LATEST = 253_402_300_800.0
"""Seconds since the epoch at the end of the year 9999: a time in milliseconds is beyond it."""


def imageOf(
    array: npt.ArrayLike,
    ijkToRAS: Any = None,
    deviceTime: float | None = None,
    colour: bool | None = None,
    attributes: Mapping[str, str] | None = None,
) -> Image:
    """An image of the array's values; a copy only where the type or the order in memory needs one.

    :param array: (rows, columns), (slices, rows, columns), or one of these with 3 or 4 colour components behind; of any
        type that Slicer can show exactly: bool becomes uint8, float16 float32, and int64 and uint64 become float64.
    :param ijkToRAS: 4x4 numbers or a vtkMatrix4x4, voxel index (i, j, k) to millimetres in RAS. None: a picture lies
        centred in the axial plane with pixels of 1 mm (see :func:`pictureToRAS`), a volume has the identity.
    :param deviceTime: seconds since the epoch, UTC.
    :param colour: whether the last axis holds colour components. None: it does when the array has four axes, or has
        three, the last of them of 3 or 4, and is of type uint8.
    :param attributes: names with letters, digits and ``_ . -`` only, to text.
    :raises FrameError: anything else.
    """
    try:
        values: Pixels = np.asarray(array)
    except (TypeError, ValueError) as error:
        raise FrameError(f"This cannot be made an array: {error}") from error
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
        raise FrameError(f"An image has the shape {SHAPES}, not {values.shape}.")
    if colour is None:
        colour = values.ndim == 4 or (values.ndim == 3 and values.shape[2] in (3, 4) and values.dtype == np.uint8)
    if colour and (values.ndim == 2 or values.shape[-1] not in (3, 4)):
        raise FrameError(f"The last axis of an image in colour has 3 or 4 components; the shape is {values.shape}.")
    if not colour and values.ndim == 4:
        raise FrameError(f"An image that is not in colour has two or three axes; the shape is {values.shape}.")
    return values[np.newaxis] if values.ndim == (3 if colour else 2) else values


def _matrixOf(given: Any) -> Matrix:
    if hasattr(given, "GetElement"):  # a vtkMatrix4x4
        given = [[given.GetElement(row, column) for column in range(4)] for row in range(4)]
    try:
        numbers = np.asarray(given)
        if numbers.dtype.kind not in "iuf":
            raise TypeError(f"its values are of type {numbers.dtype}")
        return numbers.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise FrameError(f"IJKToRAS is a vtkMatrix4x4 or 4x4 numbers: {error}.") from error


def timeOf(given: float | str | None) -> float | None:
    """The time of an image in seconds since the epoch (UTC); None for None.

    :raises FrameError: it is no such time.
    """
    if given is None:
        return None
    try:
        seconds = float(given)
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0 <= seconds < LATEST:
        raise FrameError(f"The time of an image is in seconds since 1970-01-01 (UTC), not {given!r}.")
    return seconds


def textOf(attributes: Mapping[str, str]) -> dict[str, str]:
    """A copy.

    :raises FrameError: a name or a value is no text, or one that no file can keep.
    """
    for name, value in attributes.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise FrameError(f"Attributes are names with text; {name!r} is {value!r}.")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise FrameError(f"The text of the attribute {name!r} has signs that no file can keep.") from error
    return dict(attributes)
