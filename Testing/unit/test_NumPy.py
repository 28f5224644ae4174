"""NumPy files, written by numpy itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Formats import openImageFile
from RealTimeImagingLib.Model.Frame import checksum, imageOf
from unit.conftest import arrive
from unit.readers import read, refusal
from unit.test_NIfTI import counted

SHOWN = {"i8": "f8", "u8": "f8", "f2": "f4", "?": "u1"}


def written(folder, array, name="a.npy"):
    np.save(folder / name, array, allow_pickle=False)
    return folder / name


@given(
    shape=st.lists(st.integers(1, 6), min_size=2, max_size=3).map(tuple),
    dtype=st.sampled_from(["u1", "i1", "<u2", ">i2", "<i4", ">f4", "f8", "i8", "u8", "f2", "?"]),
    fortran=st.booleans(),
)
def test_a_file_is_as_an_array_that_is_pushed(tmp_path, shape, dtype, fortran):
    array = np.asarray(counted(shape, dtype), order="F" if fortran else "C")
    (image,), expected = read(written(tmp_path, array)), imageOf(array)
    np.testing.assert_array_equal(image.pixels, expected.pixels)
    np.testing.assert_array_equal(image.ijkToRAS, expected.ijkToRAS)
    assert image.pixels.dtype == np.dtype(SHOWN.get(dtype, dtype)).newbyteorder("=")


def test_a_volume_has_the_identity(tmp_path):
    np.testing.assert_array_equal(read(written(tmp_path, counted((2, 3, 5))))[0].ijkToRAS, np.eye(4))


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("shape", [(5, 2, 6, 7), (5, 2, 6, 7, 3)])
def test_four_axes_are_volumes(tmp_path, shape, order):
    array = np.asarray(counted(shape, "u1"), order=order)
    path = written(tmp_path, array)
    images = read(path)
    np.testing.assert_array_equal([image.pixels for image in images], array)
    assert [image.attributes["VolumeIndex"] for image in images] == list("01234")
    np.testing.assert_array_equal(next(openImageFile(str(path)).images(3)).pixels, array[3])


def test_a_later_version_of_the_format_is_read(tmp_path):
    array = counted((3, 4), "i2")
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array(file, array, version=(2, 0))
    np.testing.assert_array_equal(read(tmp_path / "a.npy")[0].pixels[0], array)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([[None]]), "Python objects"),
        (np.ones((2, 3), complex), "complex128"),
        (np.ones((2, 3), [("x", "f4")]), "Slicer cannot show"),
        (np.ones(3), "not (3,)"),
        (np.array(3.0), "not ()"),
        (np.ones((1, 1, 1, 1, 1)), "not (1, 1, 1, 1, 1)"),
    ],
)
def test_arrays_that_are_no_image_are_refused(tmp_path, array, words):
    np.save(tmp_path / "a.npy", array)
    error = refusal(tmp_path / "a.npy")
    assert error.code == "unsupported"
    assert words in str(error)


def test_an_empty_array_is_refused(tmp_path):
    assert refusal(written(tmp_path, np.ones((0, 3)))).code == "damaged"


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"text " * 99)
    assert refusal(tmp_path / "a.npy").code == "not-an-image"


def test_a_folder_shows_arrays_in_order(receive, incoming, tmp_path):
    receiver = receive()
    arrays = [np.full((2, 3, 4), number, "i2") for number in range(3)]
    for number, array in enumerate(arrays):
        arrive(incoming / f"{number}.npy", written(tmp_path, array).read_bytes())
        receiver.run(0.3)
    assert receiver.sums == [checksum(array) for array in arrays]
    assert receiver.codes == []
