"""From the camera's picture to the image that is shown: cropped, rotated, flipped, with its colours in order."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..Errors import FrameError
from ..Frame import SCALAR_TYPES, Image, Matrix, Pixels, pictureToRAS
from ..Readers import Lend
from ..Settings import CameraSettings
from .CameraDevice import loadOpenCV


def imageOf(
    picture: Pixels, settings: CameraSettings, deviceTime: float | None, attributes: Mapping[str, str], lend: Lend
) -> Image:
    """The image of a picture.

    :param picture: as OpenCV gives it: (rows, columns), or with 3 or 4 components behind, blue first.
    :param deviceTime: seconds since the epoch (UTC), or None.
    :param lend: gives memory to write the pixels into, or None.
    :raises FrameError: nothing is left of it after cropping, or its pixels are of a type that cannot be shown.
    """
    rows, columns = picture.shape[:2]
    left, top, right, bottom = settings.crop
    if left + right >= columns or top + bottom >= rows:
        raise FrameError(f"Nothing is left of a picture of {columns} x {rows} pixels when so much is cut off.")
    pixels = _shaped(picture[top : rows - bottom, left : columns - right], settings, lend)
    return Image(pixels[None], ijkToRAS(columns, rows, settings), deviceTime, attributes)


def ijkToRAS(columns: int, rows: int, settings: CameraSettings) -> Matrix:
    """IJKToRAS (4x4, millimetres) of the image of a picture of so many pixels.

    The centre of the whole picture is the origin, whatever is cut off: each thing that is still seen stays at its
    place.
    """
    margins, spacing = settings.crop, settings.spacing
    for _ in range(settings.rotate // 90):
        left, top, right, bottom = margins
        margins = (bottom, left, top, right)
        columns, rows, spacing = rows, columns, spacing[::-1]
    left, top, right, bottom = margins
    if settings.flip in ("horizontal", "both"):
        left = right
    if settings.flip in ("vertical", "both"):
        top = bottom
    matrix = pictureToRAS(columns, rows, spacing)
    matrix[:, 3] = matrix @ (left, top, 0, 1)
    return matrix


def _shaped(picture: Pixels, settings: CameraSettings, lend: Lend) -> Pixels:
    cv2 = loadOpenCV()
    components = 1 if picture.ndim == 2 else picture.shape[2]
    if picture.dtype not in SCALAR_TYPES or components not in (1, 3, 4):
        raise FrameError(f"Pictures of {components} components of the type {picture.dtype} cannot be shown.")
    if components == 1:
        picture = picture.reshape(picture.shape[:2])
    steps = _steps(cv2, components, settings)
    shape = picture.shape[:2] if settings.rotate in (0, 180) else picture.shape[1::-1]
    if components > 1 and settings.colour:
        shape = (*shape, components)
    memory = lend(math.prod(shape) * picture.itemsize)
    target: Pixels = np.empty(shape, picture.dtype) if memory is None else memory.view(picture.dtype).reshape(shape)
    try:
        for function, code in steps[:-1]:
            picture = function(picture, code)
        # The last writes where Slicer reads it, without a copy.
        if not steps:
            np.copyto(target, picture)
        elif (made := steps[-1][0](picture, steps[-1][1], dst=target)) is not target:
            np.copyto(target, made)
    except cv2.error as error:
        raise FrameError(f"OpenCV cannot convert the picture: {error}") from error
    return target


def _steps(cv2: Any, components: int, settings: CameraSettings) -> list[tuple[Callable[..., Pixels], int]]:
    """Functions of OpenCV that make the image of a picture, in order, each with its code."""
    steps: list[tuple[Callable[..., Pixels], int]] = []
    if components > 1:
        colours = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}
        greys = {3: cv2.COLOR_BGR2GRAY, 4: cv2.COLOR_BGRA2GRAY}
        steps.append((cv2.cvtColor, (colours if settings.colour else greys)[components]))
    if settings.rotate:
        turns = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
        steps.append((cv2.rotate, turns[settings.rotate]))
    if settings.flip != "none":
        steps.append((cv2.flip, {"vertical": 0, "horizontal": 1, "both": -1}[settings.flip]))
    return steps
