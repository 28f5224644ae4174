"""A volume of tracked ultrasound that grows image by image, beside plain numpy."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from RealTimeImagingLib.Model.Frame import Frame
from RealTimeImagingLib.Processing.BuiltIn.VolumeReconstruction import ReconstructionParameters, VolumeReconstruction

from .Rows import OURS, Found, Row

TITLE = "Volume of tracked ultrasound"
ABOUT = """
Images of 640 x 480 into 256 x 256 x 256 voxels, shown after every ten images: processor time of one thread for each
image, with its share of the volume. Floor: adding the values and counts to voxels that are known already. Peer: the
same without filled holes as one would write it first in numpy, with all pixels and all voxels each time.
"""

VOXELS, SPACING, PIXEL = 256, 0.5, 0.18
ROUNDS, INTERVAL = 6, 10
WANTED = 1000 / 30
"""Milliseconds of an image at 30 images a second."""
WAYS: dict[str, dict[str, Any]] = {
    "nearest": {},
    "nearest, holes filled": {"holes": 2},
    "nearest, holes of 5 voxels filled": {"holes": 5},
    "nearest, maximum": {"compounding": "maximum"},
    "linear": {"distribution": "linear"},
    "linear, holes filled": {"distribution": "linear", "holes": 2},
}
FLOOR, PLAIN = "np.add.at", "plain numpy"


def measure() -> Found:
    """Milliseconds of an image with its share of the volume, a row for each way to distribute and to fill."""
    pixels = np.random.default_rng(5).integers(1, 255, (1, 480, 640)).astype(np.uint8)
    extent = f"0 {VOXELS * SPACING} " * 3
    ways: dict[str, Callable[[Frame], object]] = {FLOOR: _floor(pixels), PLAIN: _plain()}
    for name, values in WAYS.items():
        ways[name] = _ours(ReconstructionParameters(extent=extent, spacing=SPACING, interval=INTERVAL, **values))
    costs: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(ROUNDS):
        frames = [_frame(pixels, INTERVAL * number + index) for index in range(INTERVAL)]
        for name, way in ways.items():
            started = time.thread_time()
            for frame in frames:
                way(frame)
            costs[name].append(1000 * (time.thread_time() - started) / INTERVAL)
    goal = "at least 30 images a second on one core"
    return Found(
        [
            Row(name, "ms", {FLOOR: costs[FLOOR], OURS: costs[name], PLAIN: costs[PLAIN]}, goal, limit=WANTED)
            for name in WAYS
        ]
    )


def _pose(number: int) -> Any:
    """Return image to RAS: a tilted probe that moves half a millimetre from image to image."""
    tilt = np.radians(12)
    matrix = np.eye(4)
    matrix[1:3, 1:3] = [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
    matrix[:3, 3] = 4, 12, 30 + 0.5 * number
    return matrix @ np.diag([PIXEL, PIXEL, 1, 1])


def _frame(pixels: Any, number: int) -> Frame:
    return Frame(pixels, _pose(number), "Ultrasound", number, float(number))


def _ours(parameters: ReconstructionParameters) -> Callable[[Frame], object]:
    function = VolumeReconstruction()

    def way(frame: Frame) -> object:
        function.setup(parameters, frame)
        return function.process(frame)

    return way


def _plain() -> Callable[[Frame], object]:
    """Return the same without holes as one would write it first: all pixels times a matrix, all voxels each time."""
    total, count = np.zeros(VOXELS**3, np.float32), np.zeros(VOXELS**3, np.float32)
    j, i = np.mgrid[:480, :640]
    pixels = np.stack([i.ravel(), j.ravel(), np.zeros(i.size), np.ones(i.size)])

    def way(frame: Frame) -> object:
        places = np.rint((frame.ijkToRAS @ pixels)[:3] / SPACING - 0.5).astype(int)
        inside = ((places >= 0) & (places < VOXELS)).all(axis=0)
        voxels = np.ravel_multi_index(tuple(places[::-1, inside]), (VOXELS,) * 3)
        np.add.at(total, voxels, frame.pixels.ravel()[inside].astype(np.float32))
        np.add.at(count, voxels, np.float32(1))
        if (frame.number + 1) % INTERVAL:
            return None
        return np.divide(total, count, out=np.zeros_like(total), where=count > 0).round().astype(np.uint8)

    return way


def _floor(pixels: Any) -> Callable[[Frame], object]:
    total, count = np.zeros(VOXELS**3, np.float32), np.zeros(VOXELS**3, np.float32)
    voxels = np.random.default_rng(1).integers(0, VOXELS**2, pixels.size) + VOXELS**3 // 2
    voxels.sort()
    values = pixels.ravel().astype(np.float32)

    def way(frame: Frame) -> object:
        np.add.at(total, voxels, values)
        return np.add.at(count, voxels, np.float32(1))

    return way
