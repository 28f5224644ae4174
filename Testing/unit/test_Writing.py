import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from RealTimeImagingLib.Formats import openImageFile
from RealTimeImagingLib.Model.Frame import SCALAR_TYPES, Image
from RealTimeImagingLib.Simulator.Images import HEADER, niftiBytes

AFFINE = np.array([[-2.0, 0.5, 0, 10], [0.5, 2.0, 0, -20], [0, 0, 4, 30.5], [0, 0, 0, 1]])

shapes = arrays.array_shapes(min_dims=3, max_dims=3, max_side=5)
scalars = arrays.arrays(st.sampled_from(SCALAR_TYPES), shapes, elements=st.integers(0, 120))
matrices = arrays.arrays(np.float32, (3, 4), elements=st.floats(-50, 50, width=32)).filter(
    lambda m: abs(np.linalg.det(m[:, :3].astype(np.float64))) > 1
)


def loaded(data):
    return nibabel.Nifti1Image.from_bytes(data)


@given(scalars, matrices)
def test_nibabel_reads_the_same_values_at_the_same_places(pixels, rows):
    matrix = np.vstack([rows.astype(np.float64), (0, 0, 0, 1)])
    found = loaded(niftiBytes(Image(pixels, matrix)))
    assert found.get_data_dtype() == pixels.dtype
    np.testing.assert_array_equal(np.asanyarray(found.dataobj), pixels.transpose())
    np.testing.assert_array_equal(found.affine, matrix)
    np.testing.assert_allclose(found.header.get_zooms(), np.linalg.norm(rows[:, :3], axis=0), rtol=1e-6)


@given(st.sampled_from([3, 4]), arrays.array_shapes(min_dims=3, max_dims=3, max_side=4), st.integers(0, 99))
def test_nibabel_reads_the_same_colours(components, shape, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (*shape, components)).astype(np.uint8)
    found = loaded(niftiBytes(Image(pixels, AFFINE)))
    colours = np.asanyarray(found.dataobj)
    assert colours.dtype.names == ("R", "G", "B", "A")[:components]
    for channel, name in enumerate(colours.dtype.names):
        np.testing.assert_array_equal(colours[name], pixels[..., channel].transpose())


@pytest.mark.parametrize("dtype", ["i2", "f8"])
def test_our_reader_reads_the_same_image(tmp_path, dtype):
    image = Image(np.arange(24).reshape(2, 3, 4).astype(dtype), np.diag([-2.0, 2, 3, 1]), None, {"Description": "Ä b"})
    (tmp_path / "a.nii").write_bytes(niftiBytes(image))
    reader = openImageFile(str(tmp_path / "a.nii"))
    assert reader.missing() is None
    (found,) = reader.images()
    np.testing.assert_array_equal(found.pixels, image.pixels)
    np.testing.assert_array_equal(found.ijkToRAS, image.ijkToRAS)
    assert found.attributes == image.attributes


def test_units_codes_and_size_are_those_of_a_scanner():
    data = niftiBytes(Image(np.zeros((2, 3, 4), np.int16), AFFINE, None, {"Description": "Simulated"}))
    header = loaded(data).header
    assert header.get_xyzt_units()[0] == "mm"
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 0)
    assert bytes(header["descrip"]).rstrip(b"\0") == b"Simulated"
    assert header["magic"] == b"n+1"
    assert len(data) == HEADER + 48


@pytest.mark.parametrize("text", ["x" * 79, "x" * 300, "x" * 78 + "ä", "漢" * 40])
def test_a_long_description_is_cut_between_two_letters(text):
    data = niftiBytes(Image(np.zeros((2, 3, 4), np.int16), AFFINE, None, {"Description": text}))
    field = data[148:228]
    assert field.endswith(b"\0")
    assert text.startswith(field.rstrip(b"\0").decode())
    assert len(field.rstrip(b"\0")) > 76


def test_colour_that_nifti_has_not_is_refused():
    with pytest.raises(ValueError, match="uint8 only"):
        niftiBytes(Image(np.zeros((1, 2, 3, 3), np.uint16), AFFINE))


def test_sizes_that_nifti_has_not_are_refused():
    with pytest.raises(ValueError, match="32,767"):
        niftiBytes(Image(np.zeros((1, 1, 32768), np.uint8), AFFINE))
