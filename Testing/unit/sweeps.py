"""Simulated sweeps over the bottom of a water tank: images, and poses of the probe."""

import numpy as np
from RealTimeImagingLib.OpenIGTLink import ImageMessage, TransformMessage

SHAPE = (120, 160)


def depth(time):
    """Depth of the tank's bottom in pixels: an uneven movement of the hand."""
    return 60 + 22 * np.sin(2 * np.pi * 0.4 * time) + 9 * np.sin(2 * np.pi * 0.93 * time + 1)


def waterTank(row, random):
    """A bright line in a dark, noisy image."""
    rows = np.arange(SHAPE[0])[:, None]
    image = 200 * np.exp(-(((rows - row) / 2.5) ** 2)) + random.normal(20, 8, SHAPE)
    return image.clip(0, 255).astype(np.uint8)[None]


def sweepImage(number, seconds, device="US"):
    """Image of a moment."""
    pixels = waterTank(depth(seconds), np.random.default_rng(number))
    return ImageMessage(pixels, np.eye(4), device_name=device, timestamp=1.7e9 + seconds)


def sweepPose(seconds, clock=0.0, along=None):
    """Pose of a moment, ``along`` mm from the origin, or 100 mm for each second.

    :param clock: seconds by which its time is too late.
    """
    matrix = np.eye(4)
    matrix[0, 3] = 100 * seconds if along is None else along
    return TransformMessage(matrix, device_name="ProbeToTracker", timestamp=1.7e9 + seconds + clock)


def sweepMessages(seconds=8):
    """30 images and 50 poses a second, whose times are 83 ms too late, in the order of their moments."""
    events = [(number / 30, sweepImage(number, number / 30)) for number in range(30 * seconds)]
    moments = [number / 50 for number in range(1, 50 * seconds + 1)]
    events += [(moment, sweepPose(moment, 0.083, 0.3 * depth(moment))) for moment in moments]
    return [made for _seconds, made in sorted(events, key=lambda one: one[0])]
