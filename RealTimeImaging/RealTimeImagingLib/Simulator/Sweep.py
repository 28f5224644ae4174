"""Simulated sweep: ultrasound images of the bottom of a water tank, and the tracked probe that moves over it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from ..Model.Frame import Image, Matrix, pictureToRAS
from ..OpenIGTLink import TransformMessage

SHAPE = (480, 640)
"""Rows and columns."""
PIXEL = 0.1
"""Millimetres of a pixel."""
RATE = 50.0
"""Poses a second."""
HIDDEN_EVERY, HIDDEN = 12.0, 1.0
"""Seconds after which the tracker loses the probe, and for which it does."""


def depthOf(seconds: float) -> float:
    """Return the depth of the tank's bottom below the probe in millimetres: an uneven movement of a hand."""
    return 22 + 9 * math.sin(2 * math.pi * 0.4 * seconds) + 4 * math.sin(2 * math.pi * 0.93 * seconds + 1)


def probePose(seconds: float) -> Matrix:
    """Return the pose of the probe over the tank, tool to RAS."""
    pose = np.eye(4)
    pose[2, 3] = 150 - depthOf(seconds)
    return pose


def sweepImages(fps: float) -> Iterator[Image]:
    """Yield uint8 images without end; the first pixel holds the frame number modulo 256.

    :param fps: images a second.
    """
    noise = np.random.default_rng(1).normal(20, 8, (8, *SHAPE)).clip(0, 255)
    rows = np.arange(SHAPE[0])[:, None] * PIXEL
    matrix = pictureToRAS(SHAPE[1], SHAPE[0], (PIXEL, PIXEL))
    number = 0
    while True:
        line = 200 * np.exp(-(((rows - depthOf(number / fps)) / 0.3) ** 2))
        pixels = np.minimum(noise[number % 8] + line, 255).astype(np.uint8)[None]
        pixels[0, 0, 0] = number % 256
        yield Image(pixels, matrix, attributes={"Description": "Simulated water tank"})
        number += 1


class SimulatedTracker:
    """Tracker of the probe that makes the images.

    :param tool: device name of its messages.
    :param late: seconds by which the times of its poses are too late.
    :param poseOf: returns the pose of the probe, tool to RAS, at a time of the sweep in seconds.
    """

    def __init__(self, tool: str, late: float, poseOf: Callable[[float], Matrix] = probePose) -> None:
        self._tool, self._late, self._poseOf, self._number = tool, late, poseOf, 0

    def messages(self, seconds: float, time: float) -> Iterator[TransformMessage]:
        """Yield the poses since the last call, and the first one after this moment.

        For one second in twelve the tracker does not see the probe. It then sends the identity and the status MISSING.

        :param seconds: time of the sweep. ``time``: the same moment, seconds since the epoch.
        """
        while self._number / RATE <= seconds + 1 / RATE:
            moment = self._number / RATE
            seen = moment % HIDDEN_EVERY < HIDDEN_EVERY - HIDDEN
            matrix = self._poseOf(moment) if seen else np.eye(4)
            made = TransformMessage(matrix, device_name=self._tool, timestamp=time + moment - seconds + self._late)
            made.metadata = {"Status": "OK" if seen else "MISSING"}
            self._number += 1
            yield made
