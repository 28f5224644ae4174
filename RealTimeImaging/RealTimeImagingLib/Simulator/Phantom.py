"""A small beating phantom, asymmetric in every direction, so that a flip or a swapped axis is seen at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..Frame import Image, Matrix, Pixels

SHAPE = (56, 96, 112)
"""Slices, rows, columns."""
SPACING = 3.0
"""Millimetres, in all directions."""
BEAT = 20
"""Frames of one heart beat."""

# Centre and half axes in millimetres (right, anterior, superior), value: a body seen from outside to inside.
_BODY = ((0, 0, 0), (140, 100, 110), 220)
_PARTS = (
    ((62, 8, -28), (62, 62, 48), 150),  # liver, on the right
    ((78, -8, 44), (44, 58, 42), -170),  # right lung
    ((-84, -8, 34), (38, 56, 54), -170),  # left lung, larger
    ((0, -78, 0), (17, 15, 110), 420),  # spine, at the back
    ((0, 84, 30), (10, 6, 60), 380),  # breastbone, at the front
    ((-70, -46, -66), (26, 20, 30), 240),  # one kidney, on the left
    ((104, 30, 73), (9, 9, 9), 600),  # a marker: right, anterior, superior
)
_HEART = ((-34, 26, 22), (44, 38, 42))


def phantomToRAS() -> Matrix:
    """IJKToRAS of the phantom: left-handed (columns run to the left), as dcm2niix writes, centred on the origin."""
    matrix = np.diag([-SPACING, SPACING, SPACING, 1.0])
    size = np.array(SHAPE[::-1], np.float64)
    matrix[:3, 3] = -matrix[:3, :3] @ ((size - 1) / 2)
    return matrix


def phantom() -> Iterator[Image]:
    """Frames without end, int16; the heart beats, and the number of the frame stands in the first voxel."""
    x, y, z = _coordinates()
    still = _ellipsoid(x, y, z, *_BODY[:2]) * _BODY[2]
    for centre, axes, value in _PARTS:
        still = still + _ellipsoid(x, y, z, centre, axes) * value
    noise = np.random.default_rng(1).normal(0, 6, SHAPE)
    phases = [
        (still + noise + _heart(x, y, z, 2 * np.pi * phase / BEAT)).clip(0, None).astype(np.int16)
        for phase in range(BEAT)
    ]
    matrix = phantomToRAS()
    number = 0
    while True:
        pixels = phases[number % BEAT].copy()
        pixels[0, 0, 0] = number % 32768
        yield Image(pixels, matrix, attributes={"Description": "Simulated beating phantom"})
        number += 1


def _coordinates() -> tuple[Pixels, Pixels, Pixels]:
    matrix = phantomToRAS()
    k, j, i = np.ogrid[tuple(slice(size) for size in SHAPE)]
    return tuple(matrix[axis, axis] * index + matrix[axis, 3] for axis, index in enumerate((i, j, k)))


def _ellipsoid(x: Pixels, y: Pixels, z: Pixels, centre: tuple[float, ...], axes: tuple[float, ...]) -> Pixels:
    parts: list[Pixels] = [((c - o) / a) ** 2 for c, o, a in zip((x, y, z), centre, axes, strict=True)]
    distance: Pixels = np.add(np.add(parts[0], parts[1]), parts[2])
    return np.where(distance <= 1, 1.0, 0.0)


def _heart(x: Pixels, y: Pixels, z: Pixels, phase: float) -> Pixels:
    size = 1 + 0.16 * np.sin(phase)
    centre, axes = _HEART
    wall = _ellipsoid(x, y, z, centre, tuple(size * axis for axis in axes))
    blood = _ellipsoid(x, y, z, (centre[0] - 4, *centre[1:]), tuple((size * 1.25 - 0.65) * axis for axis in axes))
    heart: Pixels = wall * 160 + blood * 200
    return heart
