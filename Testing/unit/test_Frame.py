import hashlib
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from RealTimeImagingLib.Model.Errors import FrameError
from RealTimeImagingLib.Model.Frame import (
    LPS_TO_RAS,
    NO_PLACE,
    SCALAR_TYPES,
    Frame,
    Image,
    asShown,
    checksum,
    geometryRemark,
    pictureToRAS,
    shownType,
)

PIXELS = np.zeros((2, 3, 4), np.int16)
EDGES = [0, 2**53, 2**62, 2**63, 2**64]
NEAR_EDGES = st.builds(
    lambda edge, offset, sign: sign * (edge + offset), *map(st.sampled_from, (EDGES, range(-3, 4), (1, -1)))
)


def integers(dtype):
    limits = np.iinfo(dtype)
    inside = st.integers(int(limits.min), int(limits.max))
    return st.lists(inside | NEAR_EDGES.filter(lambda n: limits.min <= n <= limits.max), min_size=1, max_size=6)


# ---- 64-bit integers


@pytest.mark.parametrize("dtype", ["<i8", ">i8", "<u8", ">u8"])
@given(data=st.data())
def test_64_bit_integers_are_exact_or_refused(dtype, data):
    values = data.draw(integers(np.dtype(dtype)))
    array = np.array(values, dtype).reshape(-1, 1, 1)
    if all(int(float(value)) == value for value in values):
        shown = asShown(array)
        assert shown.dtype == np.float64
        assert [int(value) for value in shown.ravel()] == values
    else:
        with pytest.raises(FrameError, match="too large for an exact float64"):
            asShown(array)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("i8", 2**63 - 1), ("i8", 2**53 + 1), ("i8", -(2**53) - 1), ("u8", 2**64 - 1), ("u8", 2**63 + 1)],
)
def test_one_inexact_value_among_exact_ones_is_refused(dtype, value):
    array = np.ones((2, 2, 2), dtype)
    array[1, 0, 1] = value
    with pytest.raises(FrameError):
        asShown(array)


@pytest.mark.parametrize(("dtype", "value"), [("i8", -(2**63)), ("i8", 2**62), ("u8", 2**63), ("u8", 2**53 + 2)])
def test_large_values_with_an_exact_counterpart_are_kept(dtype, value):
    assert int(asShown(np.full((1, 1, 1), value, dtype))[0, 0, 0]) == value


# ---- types


@pytest.mark.parametrize(
    ("declared", "shown"),
    [
        *((f"{order}{kind}", kind) for order in "<>" for kind in ("u2", "i2", "u4", "i4", "f4", "f8")),
        ("u1", "u1"),
        ("i1", "i1"),
        ("?", "u1"),
        ("f2", "f4"),
        ("i8", "f8"),
        (">u8", "f8"),
    ],
)
def test_the_declared_type_decides_how_values_are_shown(declared, shown):
    assert shownType(declared) == np.dtype(shown)
    assert asShown(np.ones((1, 2, 2), declared)).dtype == np.dtype(shown)
    assert asShown(np.ones((1, 2, 2), declared)).dtype.isnative


@pytest.mark.parametrize("declared", ["c8", "c16", "U3", "S2", "M8[s]", "O", "V4", np.longdouble])
def test_types_without_a_lossless_counterpart_are_refused(declared):
    if np.dtype(declared) == np.float64:
        pytest.skip("here a long double is a double")
    with pytest.raises(FrameError, match="cannot show values of type"):
        shownType(declared)


@given(
    arrays.arrays(
        st.sampled_from([np.dtype(name) for name in ("u1", ">i2", "<u2", ">f4", "f2", ">f8", "?", ">u4")]),
        arrays.array_shapes(min_dims=3, max_dims=3, max_side=4),
        elements=st.integers(0, 1),
    ),
    st.permutations(range(3)),
)
def test_shown_values_are_the_same_and_lie_slice_by_slice(array, axes):
    shown = asShown(array.transpose(axes))
    assert shown.flags.c_contiguous
    np.testing.assert_array_equal(shown, array.transpose(axes))
    Image(shown, np.eye(4))


def test_nothing_is_copied_without_need():
    assert asShown(PIXELS) is PIXELS or np.shares_memory(asShown(PIXELS), PIXELS)
    assert not np.shares_memory(asShown(PIXELS.transpose()), PIXELS)


# ---- images


@pytest.mark.parametrize("dtype", SCALAR_TYPES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 4), (1, 5, 6, 3), (2, 2, 2, 4)])
def test_what_slicer_can_show_is_an_image(dtype, shape):
    image = Image(np.zeros(shape, dtype), np.eye(4), attributes={"A.b_c-9": "any text: 漢"})
    frame = Frame(image.pixels, image.ijkToRAS, "Live", 0, 12.5)
    assert frame.components == (shape[3] if len(shape) == 4 else 1)


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (np.zeros((3, 4), np.int16), "shape"),
        (np.zeros((2, 3, 4, 2), np.int16), "shape"),
        (np.zeros((2, 3, 4, 5), np.int16), "shape"),
        (np.zeros((1, 2, 3, 4, 3), np.int16), "shape"),
        (np.zeros((0, 3, 4), np.int16), "at least one voxel"),
        (np.zeros((2, 3, 4), np.int64), "int64"),
        (np.zeros((2, 3, 4), np.bool_), "bool"),
        (np.zeros((2, 3, 4), np.float16), "float16"),
        (np.zeros((2, 3, 4), np.complex64), "complex64"),
        (np.zeros((2, 3, 4), np.dtype("i2").newbyteorder()), "type"),
        (np.zeros((2, 3, 8), np.int16)[:, :, ::2], "C-contiguous"),
        (np.zeros((2, 3, 4), np.int16, order="F"), "C-contiguous"),
    ],
)
def test_other_pixels_are_refused_with_a_reason(pixels, words):
    with pytest.raises(FrameError, match=words):
        Image(pixels, np.eye(4))


def changed(row, column, value):
    matrix = np.eye(4)
    matrix[row, column] = value
    return matrix


@pytest.mark.parametrize(
    "matrix",
    [
        np.eye(3),
        np.eye(4, dtype=np.float32),
        changed(0, 0, np.nan),
        changed(1, 3, np.inf),
        changed(3, 0, 1),
        changed(3, 3, 2),
        changed(1, 1, 0),
        np.array([[1.0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
        np.diag([1e300, 1e300, 1e300, 1.0]),
    ],
)
def test_a_matrix_that_is_no_geometry_is_refused(matrix):
    with np.errstate(all="ignore"), pytest.raises(FrameError):
        Image(PIXELS, matrix)


@pytest.mark.parametrize("spacing", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("sign", [1, -1])
def test_spacing_and_handedness_are_free(spacing, sign):
    Image(PIXELS, np.diag([spacing, sign * spacing, spacing * 100, 1.0]))


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a: b", "a:=b", "#a", "ä", "a\n", "a/b"])
def test_attribute_names_that_files_lose_are_refused(name):
    with pytest.raises(FrameError, match="attribute name"):
        Image(PIXELS, np.eye(4), attributes={name: "x"})


def test_the_devices_time_goes_before_the_arrival_time():
    assert Frame(PIXELS, np.eye(4), "Live", 0, 20.0).time == 20.0
    assert Frame(PIXELS, np.eye(4), "Live", 0, 20.0, 19.5).time == 19.5
    assert Frame(PIXELS, np.eye(4), "Live", 0, 20.0, 0.0).time == 0.0


# ---- checksum

some = arrays.arrays(
    st.sampled_from(SCALAR_TYPES), arrays.array_shapes(min_dims=3, max_dims=4, max_side=3), elements=st.integers(0, 2)
)


@given(some, some)
def test_checksums_are_equal_only_for_equal_pixels(one, other):
    same = one.dtype == other.dtype and one.shape == other.shape and np.array_equal(one, other)
    assert (checksum(one) == checksum(other)) is same


@given(some, st.integers(0, 80))
def test_checksums_see_every_byte(pixels, place):
    other = pixels.copy()
    other.reshape(-1).view(np.uint8)[place % other.nbytes] ^= 1
    assert checksum(other) != checksum(pixels)


@given(some)
def test_checksums_see_values_not_memory(pixels):
    wide = np.zeros((*pixels.shape[:-1], 2 * pixels.shape[-1]), pixels.dtype)
    wide[..., ::2] = pixels
    assert checksum(wide[..., ::2]) == checksum(pixels)
    assert checksum(np.asfortranarray(pixels)) == checksum(pixels)
    assert checksum(pixels.astype(pixels.dtype.newbyteorder())) == checksum(pixels)


def test_checksums_stay_as_logs_have_them():
    pixels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    expected = hashlib.sha256(b"<i2(2, 3, 4)" + pixels.astype("<i2").tobytes()).hexdigest()
    assert checksum(pixels) == expected
    assert checksum(PIXELS.astype(np.uint8)) == hashlib.sha256(b"|u1(2, 3, 4)" + bytes(24)).hexdigest()


# ---- geometry


def test_a_picture_lies_upright_and_centred_in_the_axial_view():
    matrix = pictureToRAS(101, 51, (0.5, 2.0))
    np.testing.assert_array_equal(matrix @ (50, 25, 0, 1), (0, 0, 0, 1))
    np.testing.assert_array_equal(matrix @ (0, 0, 0, 1), (25, 50, 0, 1))  # first pixel: right, anterior
    np.testing.assert_array_equal(matrix @ (1, 0, 0, 0), (-0.5, 0, 0, 0))
    np.testing.assert_array_equal(matrix @ (0, 1, 0, 0), (0, -2, 0, 0))
    Image(np.zeros((1, 51, 101), np.uint8), matrix)


def test_from_lps_to_ras_and_back():
    np.testing.assert_array_equal(LPS_TO_RAS @ (1, 2, 3, 1), (-1, -2, 3, 1))
    np.testing.assert_array_equal(LPS_TO_RAS @ LPS_TO_RAS, np.eye(4))


# ---- places that no scanner has


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (np.diag([1.0, 1, 1, 1]), None),
        (pictureToRAS(1920, 1080), None),
        (np.diag([1e-5, 1e-5, 1e-5, 1]), None),
        (np.array([[1.0, 0, 0, 1e30], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), r"first voxel is 1e\+30 mm"),
        (np.diag([1.0, 2e7, 1, 1]), r"voxels are 2e\+07 mm"),
        (np.diag([1.0, 1, 1e-9, 1]), r"voxels are 1e-09 mm"),
        (np.array([[2.0, 1e-3, 0, 0], [0, 3, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), None),
        (
            np.array([[2.0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
            "axes of the image are 45.0 degrees off",
        ),
        (
            np.array([[1.0, 0, 0, 0], [0, 1e-5, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]) + 1e-3 * np.eye(4, k=1),
            "degrees off",
        ),
    ],
)
def test_a_place_that_no_scanner_has_is_named(matrix, words):
    found = geometryRemark(Image(PIXELS, matrix), "Live")
    if words is None:
        assert found is None
    else:
        _kind, text = found
        assert text.startswith("Live: ")
        assert re.search(words, text)


def test_a_place_that_means_none_is_named():
    image = Image(PIXELS, np.eye(4), None, {NO_PLACE: "ImagePositionPatient nan"})
    kind, text = geometryRemark(image, "Live")
    assert kind == "none"
    assert "gives the place as ImagePositionPatient nan." in text
