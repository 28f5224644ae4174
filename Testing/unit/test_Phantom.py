from itertools import islice

import numpy as np
import pytest
from RealTimeImagingLib.Model.Frame import checksum
from RealTimeImagingLib.Simulator.Images import BEAT, SHAPE, phantom, phantomToRAS


@pytest.fixture(scope="module")
def images():
    return list(islice(phantom(), BEAT + 3))


def valueAt(image, right, anterior, superior):
    """The voxel at a place, 0 outside."""
    place = np.rint((np.linalg.inv(image.ijkToRAS) @ (right, anterior, superior, 1))[:3]).astype(int)[::-1]
    return image.pixels[tuple(place)] if all(place >= 0) and all(place < SHAPE) else 0


def test_frames_have_the_declared_size_and_never_end(images):
    assert len(images) == BEAT + 3
    assert all(image.pixels.shape == SHAPE and image.pixels.dtype == np.int16 for image in images)


def test_it_is_centred_and_left_handed_as_dcm2niix_writes():
    matrix = phantomToRAS()
    np.testing.assert_allclose(matrix @ (*(np.array(SHAPE[::-1]) - 1) / 2, 1), (0, 0, 0, 1))
    assert np.linalg.det(matrix[:3, :3]) < 0


def test_the_number_of_the_frame_stands_in_the_first_voxel(images):
    assert [image.pixels[0, 0, 0] for image in images] == list(range(BEAT + 3))
    assert len({checksum(image.pixels) for image in images}) == len(images)


def test_after_a_beat_all_but_the_number_is_as_before(images):
    for first, second in zip(images[:3], images[BEAT:], strict=True):
        np.testing.assert_array_equal(first.pixels.ravel()[1:], second.pixels.ravel()[1:])


def test_the_heart_beats(images):
    hearts = [int(image.pixels.astype(int).sum()) for image in images[:BEAT]]
    assert max(hearts) - min(hearts) > 0.01 * max(hearts)
    changed = np.flatnonzero((images[0].pixels != images[BEAT // 4].pixels).any(axis=(0, 1)))
    left = phantomToRAS()[0, 0] * changed + phantomToRAS()[0, 3]
    assert np.median(left) < -10  # on the left


def test_a_flip_or_a_swap_in_any_direction_is_seen(images):
    """The marker at right, anterior, superior is nowhere else."""
    image = images[0]
    places = np.array([104.0, 30.0, 73.0])
    assert valueAt(image, *places) > 500
    signs = np.array(np.meshgrid([1, -1], [1, -1], [1, -1])).reshape(3, -1).T
    assert sum(valueAt(image, *(places * sign)) > 500 for sign in signs) == 1
    for order in ((1, 0, 2), (0, 2, 1), (2, 1, 0), (1, 2, 0), (2, 0, 1)):
        assert valueAt(image, *places[list(order)]) < 500


def test_one_frame_is_not_the_memory_of_another(images):
    assert not np.shares_memory(images[0].pixels, images[BEAT].pixels)


def test_every_run_is_the_same(images):
    np.testing.assert_array_equal(next(phantom()).pixels, images[0].pixels)
