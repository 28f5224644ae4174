"""Simulated scan of a phantom, and the comparison of a reconstructed volume with it, which the demo makes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from demo.Phantom import comparedWithPhantom
from RealTimeImagingLib.Processing.BuiltIn.VolumeReconstruction import ReconstructionParameters, VolumeReconstruction
from RealTimeImagingLib.Simulator.Scan import ELLIPSOIDS, phantomValues, probePose, scanImages
from unit.processing import frame

FPS, COUNT = 10.0, 35


@pytest.fixture(scope="module")
def images():
    return list(itertools.islice(scanImages(FPS), COUNT))


def reconstructed(images, late=0.0):
    """Voxels and IJKToRAS of the volume of the images, with poses that are late by so many seconds."""
    function = VolumeReconstruction()
    values = {"extent": "-30 30 -22 22 -18 18", "spacing": 0.5, "holes": 1, "interval": COUNT, "tool": "Probe"}
    for number, image in enumerate(images):
        pose = probePose(number / FPS - late)
        attributes = {"ProbeTransform": " ".join(map(repr, pose.ravel().tolist())), "ProbeTransformStatus": "OK"}
        one = frame(image.pixels, image.ijkToRAS, number, attributes=attributes)
        function.setup(ReconstructionParameters(**values), one)
        result = function.process(one)
    return result.pixels, result.ijkToRAS


def test_theVolumeOfTheScanIsThePhantom(images):
    voxels, matrix = reconstructed(images)
    equal, count = comparedWithPhantom(voxels, matrix)
    assert equal
    assert count > 500_000
    for one in ELLIPSOIDS:
        i, j, k = np.rint(np.linalg.inv(matrix) @ [*one.centre, 1])[:3].astype(int)
        assert voxels[k, j, i] == one.value


def test_aVolumeWithWrongPosesIsNoticed(images):
    """Without the time offset of the demo."""
    assert not comparedWithPhantom(*reconstructed(images, late=0.083))[0]


def test_theComparisonNoticesFlipsShiftsAndMissingParts():
    matrix = np.diag([1.0, 1, 1, 1])
    matrix[:3, 3] = -29.5, -21.5, -17.5
    k, j, i = np.indices((36, 44, 60))
    perfect = phantomValues((np.stack([i, j, k, np.ones_like(i)], -1) @ matrix.T)[..., :3])
    assert comparedWithPhantom(perfect, matrix)[0]
    for axis in range(3):
        assert not comparedWithPhantom(np.flip(perfect, axis), matrix)[0]
        assert not comparedWithPhantom(np.roll(perfect, 3, axis), matrix)[0]
    assert not comparedWithPhantom(np.where(k < 12, perfect, 0), matrix)[0]
    moved = matrix.copy()
    moved[1, 3] += 3
    assert not comparedWithPhantom(perfect, moved)[0]
    assert not comparedWithPhantom(np.where(perfect == 240, 120, perfect), matrix)[0]
    assert not comparedWithPhantom(np.zeros_like(perfect), matrix)[0]


def test_theFirstPixelCountsAndThePosesAreRigid(images):
    assert [int(one.pixels[0, 0, 0]) for one in images] == list(range(COUNT))
    places = [probePose(second / 10)[2, 3] for second in range(60)]
    assert (min(places), max(places)) == pytest.approx((-20, 20), abs=0.8)
    for second in (0.0, 1.1, 2.9):
        turn = probePose(second)[:3, :3]
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(turn) == pytest.approx(1)
