"""Frames, geometry and a head that moves, used by the tests of processing functions."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from RealTimeImagingLib.Formats import openImageFile
from RealTimeImagingLib.Model.Frame import LPS_TO_RAS, Frame, imageOf
from scipy.spatial.transform import Rotation

SERIES = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "rtcloud_10vol.nii.gz"


def frame(pixels, ijkToRAS=None, number=0, time=None, attributes=None):
    """A frame of the stream "Live" as a running function gets it: its pixels are read-only."""
    time = 1000.0 + number if time is None else time
    pixels = np.array(pixels)
    pixels.flags.writeable = False
    matrix = np.eye(4) if ijkToRAS is None else np.array(ijkToRAS, float)
    return Frame(pixels, matrix, "Live", number, time + 0.2, time, attributes or {})


def image(result, given):
    """The image that a result becomes, checked as any other image is."""
    return imageOf(result.pixels, given.ijkToRAS if result.ijkToRAS is None else result.ijkToRAS)


def oblique(spacing=(3.0, 3.0, 4.0), angles=(12, -20, 33), origin=(90, -100, -40), flip=True):
    """IJKToRAS that is oblique in all axes, left-handed with ``flip``."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ np.diag(
        np.array(spacing) * (-1 if flip else 1, 1, 1)
    )
    matrix[:3, 3] = origin
    return matrix


def motion(shifts, angles):
    """4x4 of a motion about the origin: first about R, then A, then S (degrees), then the shifts (mm)."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    matrix[:3, 3] = shifts
    return matrix


def realSeries():
    """The volumes of a real functional series (64x64x27, TR 1.5 s), or the test is skipped."""
    if not SERIES.exists():
        pytest.skip(f"{SERIES.name} is not beside the repository (../shared/data)")
    images = openImageFile(str(SERIES))
    assert images.missing() is None
    return [frame(one.pixels, one.ijkToRAS, number, 1.5 * number) for number, one in enumerate(images.images())]


def toSITK(pixels, ijkToRAS, vector=False):
    """An image of SimpleITK; the last axis holds components with ``vector``."""
    ijkToLPS = LPS_TO_RAS @ ijkToRAS
    spacing = np.linalg.norm(ijkToLPS[:3, :3], axis=0)
    made = sitk.GetImageFromArray(pixels, isVector=vector)
    made.SetSpacing(spacing.tolist())
    made.SetDirection((ijkToLPS[:3, :3] / spacing).ravel().tolist())
    made.SetOrigin(ijkToLPS[:3, 3].tolist())
    return made


def writeVolume(path, pixels, ijkToRAS, fields=None, vector=False):
    """A file as SimpleITK writes it, with fields in its header."""
    made = toSITK(pixels, ijkToRAS, vector)
    for key, value in (fields or {}).items():
        made.SetMetaData(key, value)
    sitk.WriteImage(made, str(path))
    return str(path)


def head(shape=(30, 64, 64), ijkToRAS=None, moved=None, noise=0.0, seed=0):
    """A head-like volume, int16: a skull, a brain of two tissues with folds, ventricles; drawn in RAS, not resampled.

    :param moved: 4x4, motion of the head about the middle of the volume.
    """
    ijkToRAS = oblique(spacing=(3, 3, 3.6)) if ijkToRAS is None else ijkToRAS
    k, j, i = np.indices(shape, float)
    centre = ijkToRAS @ [*((np.array(shape[::-1]) - 1) / 2), 1]
    points = np.stack([i, j, k, np.ones_like(i)], -1) @ ijkToRAS.T - centre
    points[..., 3] = 1
    points = points @ np.linalg.inv(np.eye(4) if moved is None else moved).T
    x, y, z = np.moveaxis(points[..., :3], -1, 0)

    def inside(radii, middle=(0, 0, 0), edge=3.0):
        distance = np.sqrt(
            sum(((value - at) / radius) ** 2 for value, at, radius in zip((x, y, z), middle, radii, strict=True))
        )
        # An edge as blurred as an echo-planar image.
        return 1 / (1 + np.exp((distance - 1) * min(radii) / edge))

    folds = np.sin(x / 7 + 1) * np.sin(y / 8 - 0.5) * np.sin(z / 9 + 0.3)
    volume = 250 * inside((68, 82, 46)) - 160 * inside((63, 77, 42))
    volume += inside((60, 74, 39)) * (700 + 120 * folds - 3 * y / 2)
    volume += 350 * inside((8, 22, 9), (11, 4, 6)) + 300 * inside((7, 20, 9), (-12, 2, 6))
    volume -= 200 * inside((14, 10, 8), (25, -30, -12))
    volume += np.random.default_rng(seed).normal(0, noise, shape)
    return np.rint(volume).astype(np.int16)
