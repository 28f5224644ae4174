import numpy as np
import pytest
from RealTimeImagingLib.Model.Errors import FrameError
from RealTimeImagingLib.Model.Frame import imageOf, pictureToRAS


@pytest.mark.parametrize(
    ("shape", "dtype", "colour", "expected"),
    [
        ((5, 6), "u1", None, (1, 5, 6)),
        ((5, 6, 3), "u1", None, (1, 5, 6, 3)),
        ((5, 6, 4), "u1", None, (1, 5, 6, 4)),
        ((5, 6, 3), "u1", False, (5, 6, 3)),
        ((5, 6, 3), "i2", None, (5, 6, 3)),
        ((5, 6, 3), "i2", True, (1, 5, 6, 3)),
        ((5, 6, 7), "u1", None, (5, 6, 7)),
        ((2, 5, 6, 3), "f4", None, (2, 5, 6, 3)),
        ((1, 1), "f8", None, (1, 1, 1)),
    ],
)
def test_an_array_becomes_what_its_shape_and_type_say(shape, dtype, colour, expected):
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    image = imageOf(array, colour=colour)
    assert image.pixels.shape == expected
    np.testing.assert_array_equal(image.pixels.reshape(shape), array)


def test_a_picture_lies_centred_and_a_volume_at_the_origin():
    np.testing.assert_array_equal(imageOf(np.zeros((5, 6))).ijkToRAS, pictureToRAS(6, 5))
    np.testing.assert_array_equal(imageOf(np.zeros((5, 6, 3), np.uint8)).ijkToRAS, pictureToRAS(6, 5))
    np.testing.assert_array_equal(imageOf(np.zeros((1, 5, 6))).ijkToRAS, np.eye(4))


def test_values_stay_exact_or_are_refused():
    exact = np.array([[2**53, -(2**53)]])
    np.testing.assert_array_equal(imageOf(exact).pixels[0], exact.astype(np.float64))
    with pytest.raises(FrameError, match="too large"):
        imageOf(exact + 1)
    with pytest.raises(FrameError, match="too large"):
        imageOf(np.array([[2**64 - 1]], np.uint64))
    assert np.isnan(imageOf(np.array([[np.nan]])).pixels).all()


def test_no_copy_is_made_where_none_is_needed():
    array = np.zeros((4, 5, 6), np.float32)
    assert np.shares_memory(imageOf(array).pixels, array)


class VTKMatrix:
    """What a vtkMatrix4x4 is here: one that has GetElement."""

    def GetElement(self, row, column):
        return float(row == column) + 10.0 * (column == 3 and row < 3)


def test_a_matrix_may_be_vtks_or_numbers():
    expected = np.eye(4)
    expected[:3, 3] = 10
    for given in (VTKMatrix(), expected, expected.tolist(), expected.astype(np.int32), expected.astype(np.float32)):
        found = imageOf(np.zeros((2, 2)), given).ijkToRAS
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == np.float64


@pytest.mark.parametrize(
    ("given", "quoted"), [("x" * 200, "'" + "x" * 79), ([[1.0], [1.0, 2.0]], "[[1.0], [1.0, 2.0]]"), ([None], "[None]")]
)
def test_another_matrix_is_quoted(given, quoted):
    with pytest.raises(FrameError) as caught:
        imageOf(np.zeros((2, 2)), given)
    assert str(caught.value) == f"IJKToRAS is a vtkMatrix4x4 or 4x4 numbers, not {quoted}."


def test_the_matrix_may_change_afterwards():
    matrix = np.eye(4)
    image = imageOf(np.zeros((2, 2)), matrix)
    matrix[:] = 0
    np.testing.assert_array_equal(image.ijkToRAS, np.eye(4))


@pytest.mark.parametrize(
    "values", [[[1, 2], [3]], "text", None, {"a": 1}, [[None]], [["a"]], np.zeros((2, 2), "M8[s]")]
)
def test_what_is_no_image_is_refused(values):
    with pytest.raises(FrameError):
        imageOf(values)
