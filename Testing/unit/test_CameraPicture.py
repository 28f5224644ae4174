"""Cropping, rotating and flipping: the position of each pixel in the image and in space."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Model.Errors import FrameError
from RealTimeImagingLib.Sources.Camera import FLIPS, ROTATIONS, CameraSettings
from RealTimeImagingLib.Sources.Camera.Device import ijkToRAS, imageOf
from unit.examples import examples

ROWS, COLUMNS = 7, 11
LANDMARK = (9, 2)
"""Column and row of a landmark outside the axes of symmetry."""


def scene(rows=ROWS, columns=COLUMNS, at=LANDMARK):
    """A black picture (blue first) with one pixel of red 200, green 100, blue 50."""
    picture = np.zeros((rows, columns, 3), np.uint8)
    picture[at[1], at[0]] = 50, 100, 200
    return picture


def image(picture, getBuffer=lambda nbytes: None, **values):
    return imageOf(picture, CameraSettings(**values), None, {}, getBuffer)


def found(made):
    """Position of the landmark: (i, j), and millimetres in space."""
    (k, j, i), *others = np.argwhere(made.pixels.reshape(*made.pixels.shape[:3], -1)[..., 0] > 60)
    assert not others
    return (i, j), (made.ijkToRAS @ (i, j, k, 1))[:3]


@pytest.mark.parametrize(
    ("values", "shape", "place"),
    [
        ({}, (7, 11), (9, 2)),
        ({"rotate": 90}, (11, 7), (4, 9)),
        ({"rotate": 180}, (7, 11), (1, 4)),
        ({"rotate": 270}, (11, 7), (2, 1)),
        ({"flip": "horizontal"}, (7, 11), (1, 2)),
        ({"flip": "vertical"}, (7, 11), (9, 4)),
        ({"flip": "both"}, (7, 11), (1, 4)),
        ({"rotate": 90, "flip": "horizontal"}, (11, 7), (2, 9)),
        ({"crop": (3, 1, 1, 2)}, (4, 7), (6, 1)),
        ({"crop": (3, 1, 1, 2), "rotate": 90}, (7, 4), (2, 6)),
        ({"crop": (3, 1, 1, 2), "rotate": 270, "flip": "vertical"}, (7, 4), (1, 6)),
    ],
)
def test_the_landmark_is_in_its_place(values, shape, place):
    made = image(scene(), **values)
    assert made.pixels.shape == (1, *shape, 3)
    assert found(made)[0] == place
    assert tuple(made.pixels[0, place[1], place[0]]) == (200, 100, 50)


def test_upright_in_the_axial_view_and_measured_in_millimetres():
    """In the Red view, the right of the picture is the left of the patient, and down is posterior."""
    made = image(scene(), spacing=(0.5, 0.25))
    # Of 11 x 7 pixels the centre is (5, 3): the landmark is four columns right of it and one row above.
    assert np.allclose(found(made)[1], (-4 * 0.5, 1 * 0.25, 0))


@pytest.mark.parametrize("flip", list(FLIPS))
@pytest.mark.parametrize("rotate", list(ROTATIONS))
def test_axes_are_right_handed_after_each_operation(rotate, flip):
    matrix = image(scene(), rotate=rotate, flip=flip, crop=(1, 2, 3, 1), spacing=(0.3, 0.7)).ijkToRAS
    assert np.linalg.det(matrix[:3, :3]) > 0
    assert np.allclose(matrix[:2, :2], np.diag(-np.array([0.3, 0.7] if rotate % 180 == 0 else [0.7, 0.3])))


@examples(8)
@given(data=st.data())
def test_cropping_does_not_move_the_remaining_pixels(data):
    """Compute the position in millimetres: rotate the whole picture about its centre, without indices."""
    rows, columns = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    column, row = data.draw(st.integers(0, columns - 1)), data.draw(st.integers(0, rows - 1))
    crop = tuple(data.draw(st.integers(0, most)) for most in (column, row, columns - 1 - column, rows - 1 - row))
    rotate, flip = data.draw(st.sampled_from(list(ROTATIONS))), data.draw(st.sampled_from(list(FLIPS)))
    spacing = data.draw(st.tuples(st.floats(0.01, 10), st.floats(0.01, 10)))
    made = image(scene(rows, columns, (column, row)), crop=crop, rotate=rotate, flip=flip, spacing=spacing)
    # Right and down of the picture's centre, in millimetres.
    right, down = (column - (columns - 1) / 2) * spacing[0], (row - (rows - 1) / 2) * spacing[1]
    for _ in range(rotate // 90):
        right, down = -down, right
    right *= -1 if flip in ("horizontal", "both") else 1
    down *= -1 if flip in ("vertical", "both") else 1
    assert np.allclose(found(made)[1], (-right, -down, 0), atol=1e-9)


@examples(2.5)
@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from(list(ROTATIONS)),
    st.sampled_from(list(FLIPS)),
    st.sampled_from([0, 3, 4]),
)
def test_no_pixel_is_changed(rows, columns, rotate, flip, components):
    shape = (rows, columns, components) if components else (rows, columns)
    picture = np.random.default_rng(rows * 10 + columns).integers(0, 256, shape).astype(np.uint8)
    expected = np.rot90(picture, -rotate // 90)
    expected = expected[:, ::-1] if flip in ("horizontal", "both") else expected
    expected = expected[::-1] if flip in ("vertical", "both") else expected
    if components:
        expected = expected[..., [2, 1, 0, *range(3, components)]]
    assert np.array_equal(image(picture, rotate=rotate, flip=flip).pixels[0], expected)


@pytest.mark.parametrize("values", [{}, {"rotate": 90}, {"flip": "both"}, {"colour": False}, {"crop": (1, 1, 1, 1)}])
def test_pixels_are_written_into_the_buffer(values):
    buffers = []

    def getBuffer(nbytes):
        buffers.append(np.zeros(nbytes, np.uint8))
        return buffers[-1]

    made = image(scene(), getBuffer, **values)
    assert len(buffers) == 1
    assert buffers[0].nbytes == made.pixels.nbytes
    assert np.shares_memory(made.pixels, buffers[0])
    assert np.array_equal(made.pixels, image(scene(), **values).pixels)


def test_pictures_of_16_bits_stay_16_bits():
    picture = np.arange(ROWS * COLUMNS, dtype=np.uint16).reshape(ROWS, COLUMNS) * 700
    made = image(picture, rotate=180)
    assert made.pixels.dtype == np.uint16
    assert np.array_equal(made.pixels[0], picture[::-1, ::-1])
    assert image(picture[..., None]).pixels.shape == (1, ROWS, COLUMNS)


@pytest.mark.parametrize("crop", [(11, 0, 0, 0), (5, 0, 6, 0), (0, 3, 0, 4), (0, 0, 0, 900)])
def test_cropping_must_leave_pixels(crop):
    with pytest.raises(FrameError, match="11 x 7"):
        image(scene(), crop=crop)


@pytest.mark.parametrize("picture", [np.zeros((4, 4, 2), np.uint8), np.zeros((4, 4), np.complex64)])
def test_pixels_that_slicer_cannot_show_are_rejected(picture):
    with pytest.raises(FrameError, match="cannot be shown"):
        image(picture)


def test_without_cropping_the_matrix_is_that_of_the_whole_picture():
    whole = CameraSettings(spacing=(0.5, 0.5))
    cut = dataclasses.replace(whole, crop=(3, 1, 0, 0))
    assert np.allclose(ijkToRAS(11, 7, cut)[:3, 3] - ijkToRAS(11, 7, whole)[:3, 3], (-1.5, -0.5, 0))
