"""Simulated scan: ultrasound images of a phantom with ellipsoids, by a tracked probe that moves over it and back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..Model.Frame import Image, Matrix, Pixels, pictureToRAS

SHAPE, PIXEL = (240, 320), 0.2
"""Rows and columns of an image, and millimetres of a pixel."""
SPEED, REACH = 15.0, 20.0
"""Millimetres a second of the probe along the S axis, and its largest distance from the origin."""
TILT = math.radians(10)
BACKGROUND = 30
Points = npt.NDArray[np.float64]


class Ellipsoid(NamedTuple):
    """Body in the phantom.

    :param centre: R, A and S in millimetres. ``radii``: along these axes.
    :param value: of its pixels.
    """

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    value: int

    def contains(self, points: Points, margin: float = 0.0) -> npt.NDArray[np.bool_]:
        """Return which points, shape (..., 3), are inside; the radii are larger by a margin in millimetres."""
        distance = (points - np.array(self.centre)) / (np.array(self.radii) + margin)
        inside: npt.NDArray[np.bool_] = np.einsum("...i,...i->...", distance, distance) <= 1
        return inside


ELLIPSOIDS = (
    Ellipsoid((-15, 8, -6), (9, 7, 8), 200),
    Ellipsoid((12, -6, 5), (12, 9, 7), 120),
    Ellipsoid((17, 13, -9), (6, 5, 5), 240),
    Ellipsoid((-11, -12, 9), (6, 5, 6), 70),
)
"""Bodies that do not touch; no flip or exchange of axes maps them onto each other."""


def phantomValues(points: Points) -> Pixels:
    """Return the values (uint8) of the phantom at points in RAS millimetres, shape (..., 3)."""
    values = np.full(points.shape[:-1], BACKGROUND, np.uint8)
    for one in ELLIPSOIDS:
        values[one.contains(points)] = one.value
    return values


def probePose(seconds: float) -> Matrix:
    """Return the pose of the probe, tool to RAS: back and forth along S, while it tilts about R."""
    turn = seconds * SPEED / (4 * REACH) % 1
    place = REACH * (4 * abs(turn - 0.5) - 1)
    angle = TILT * math.sin(2 * math.pi * 0.23 * seconds)
    pose = np.eye(4)
    pose[1:3, 1:3] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    pose[2, 3] = place
    return pose


def scanImages(fps: float) -> Iterator[Image]:
    """Yield uint8 images without end; the first pixel holds the frame number modulo 256.

    :param fps: images a second.
    """
    imageToProbe = pictureToRAS(SHAPE[1], SHAPE[0], (PIXEL, PIXEL))
    columns, rows = np.meshgrid(np.arange(SHAPE[1]), np.arange(SHAPE[0]))
    places = np.stack([columns, rows, np.zeros_like(rows), np.ones_like(rows)], -1) @ imageToProbe.T
    number = 0
    while True:
        pixels = phantomValues((places @ probePose(number / fps).T)[..., :3])[None]
        pixels[0, 0, 0] = number % 256
        yield Image(pixels, imageToProbe, attributes={"Description": "Simulated phantom"})
        number += 1
