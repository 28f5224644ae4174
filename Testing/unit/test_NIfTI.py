import gzip
import os
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st
from nibabel.quaternions import quat2mat
from RealTimeImagingLib.Formats import openImageFile
from unit.readers import (
    assertSameAtWorldPoints,
    assertSentence,
    read,
    refusal,
)

nibabelData = Path(nibabel.__file__).parent / "tests" / "data"
sharedData = Path(__file__).resolve().parents[2].parent / "shared" / "data"
TYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8", "i8", "u8"]


def written(path, array, affine=None, order="<", form="both", edit=None):
    """A NIfTI-1 file made by nibabel from an array in (i, j, k, ...) order."""
    header = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(array.dtype)
    image = nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine, header)
    image.header["sform_code"] = 1 if form in ("both", "sform") else 0
    image.header["qform_code"] = 1 if form in ("both", "qform") else 0
    image.header.set_xyzt_units("mm", "sec")
    if edit:
        edit(image.header)
    nibabel.save(image, path)
    return path


def patched(path, *fields):
    """The file with header fields overwritten: (offset, struct format, values ...)."""
    data = bytearray(path.read_bytes())
    for offset, kinds, *values in fields:
        struct.pack_into("<" + kinds, data, offset, *values)
    path.write_bytes(data)
    return path


def counted(shape, dtype="i2"):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@st.composite
def affines(draw):
    """Oblique, anisotropic, left- or right-handed, anywhere."""
    quaternion = np.array(draw(st.lists(st.floats(-1, 1), min_size=4, max_size=4)))
    length = np.linalg.norm(quaternion)
    rotation = quat2mat(np.round(quaternion / length, 6)) if length > 0.1 else np.eye(3)
    spacing = [draw(st.floats(0.2, 8)) for _ in "ijk"]
    flips = [draw(st.sampled_from([-1, 1])) for _ in "ijk"]
    affine = np.eye(4)
    affine[:3, :3] = rotation * spacing * flips
    affine[:3, 3] = [draw(st.floats(-300, 300)) for _ in "xyz"]
    return affine


@given(
    affine=affines(),
    dtype=st.sampled_from(TYPES),
    order=st.sampled_from("<>"),
    form=st.sampled_from(["sform", "qform", "both"]),
    suffix=st.sampled_from([".nii", ".nii.gz"]),
    shape=st.tuples(*[st.integers(1, 5)] * 3),
)
def test_voxels_and_geometry_equal_nibabels(tmp_path, affine, dtype, order, form, suffix, shape):
    path = written(tmp_path / ("a" + suffix), counted(shape, dtype), affine, order, form)
    peer = nibabel.load(path)
    (image,) = read(path)
    np.testing.assert_allclose(image.ijkToRAS, peer.affine, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(image.pixels, np.asarray(peer.dataobj).T)
    assert image.pixels.dtype == {"i8": "f8", "u8": "f8"}.get(dtype, dtype)


@given(affine=affines(), form=st.sampled_from(["sform", "qform", "both"]))
def test_every_voxel_lies_where_ITK_has_it(tmp_path, affine, form):
    path = written(tmp_path / "a.nii", counted((2, 3, 4)), affine, form=form)
    (image,) = read(path)
    assertSameAtWorldPoints(image, SimpleITK.ReadImage(str(path)))


def test_a_left_handed_volume_keeps_the_files_order_of_voxels(tmp_path):
    array = counted((2, 3, 4))
    (image,) = read(written(tmp_path / "las.nii", array, np.diag([-2.0, 2, 2, 1])))
    np.testing.assert_array_equal(image.pixels, array.T)
    assert np.linalg.det(image.ijkToRAS) < 0


@pytest.mark.parametrize("dtype", ["i8", "u8"])
def test_a_left_handed_int64_volume_is_read_as_float64(tmp_path, dtype):
    (image,) = read(written(tmp_path / "a.nii", counted((2, 3, 4), dtype), np.diag([-1.0, 1, 1, 1])))
    assert image.pixels.dtype == np.float64


def test_an_int64_that_float64_cannot_hold_is_refused(tmp_path):
    path = written(tmp_path / "a.nii", np.full((2, 2, 2), 2**53 + 1, "i8"))
    assert refusal(path).code == "unsupported"


@pytest.mark.parametrize(("unit", "factor"), [(1, 1000.0), (2, 1.0), (3, 0.001), (0, 1.0)])
def test_units_of_length_become_millimetres(tmp_path, unit, factor):
    path = patched(written(tmp_path / "a.nii", counted((2, 3, 4)), np.diag([2.0, 3, 4, 1])), (123, "B", unit | 8))
    (image,) = read(path)
    np.testing.assert_allclose(np.diag(image.ijkToRAS)[:3], np.array([2, 3, 4]) * factor)


def test_without_qform_and_sform_the_place_is_ITKs(tmp_path):
    path = written(tmp_path / "a.nii", counted((2, 3, 4)), np.diag([2.0, 3, 4, 1]))
    patched(path, (252, "2h", 0, 0))
    (image,) = read(path)
    np.testing.assert_allclose(image.ijkToRAS, np.diag([-2.0, -3, 4, 1]))
    assertSameAtWorldPoints(image, SimpleITK.ReadImage(str(path)))


def test_the_sform_is_preferred(tmp_path):
    path = written(tmp_path / "a.nii", counted((2, 3, 4)), np.diag([2.0, 3, 4, 1]))
    patched(path, (268, "3f", 9, 9, 9))
    np.testing.assert_allclose(read(path)[0].ijkToRAS, np.diag([2.0, 3, 4, 1]))


def test_a_qform_of_a_half_turn_with_rounding_is_a_rotation(tmp_path):
    path = written(tmp_path / "a.nii", counted((2, 3, 4)), np.diag([2.0, 3, 4, 1]), form="qform")
    patched(path, (256, "3f", 0.70710683, 0.70710683, 0.0))
    np.testing.assert_allclose(np.abs(np.linalg.det(read(path)[0].ijkToRAS)), 24, rtol=1e-5)


def test_a_sheared_sform_is_refused_or_gives_way_to_the_qform(tmp_path):
    sheared = (280, "12f", 2, 1, 0, 5, 0, 3, 0, 6, 0, 0, 4, 7)
    path = patched(written(tmp_path / "a.nii", counted((2, 3, 4)), np.diag([2.0, 3, 4, 1]), form="sform"), sheared)
    error = refusal(path)
    assert error.code == "unsupported"
    assert "sheared" in str(error)
    path = patched(written(tmp_path / "b.nii", counted((2, 3, 4)), np.diag([2.0, 3, 4, 1])), sheared)
    np.testing.assert_allclose(read(path)[0].ijkToRAS, np.diag([2.0, 3, 4, 1]), atol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "slope", "inter", "result"),
    [
        ("i2", 2.5, -3, "f4"),
        ("u1", 0.1, 0, "f4"),
        ("i4", 0.5, 1, "f8"),
        ("f4", 2, 0, "f4"),
        ("f8", 2, 1, "f8"),
        ("i2", 1, 0, "i2"),
        ("i2", 0, 5, "i2"),
        ("i2", float("nan"), 5, "i2"),
        ("i2", 1, 4, "f4"),
    ],
)
def test_slope_and_intercept(tmp_path, dtype, slope, inter, result):
    path = patched(written(tmp_path / "a.nii", counted((2, 3, 4), dtype)), (112, "2f", slope, inter))
    (image,) = read(path)
    assert image.pixels.dtype == result
    np.testing.assert_allclose(image.pixels, nibabel.load(path).get_fdata().T, rtol=1e-6)


def test_each_volume_of_a_series_is_an_image(tmp_path):
    def repetition(header):
        header["pixdim"][4] = 1.5
        header["descrip"] = b"TE 28"

    array = counted((2, 3, 4, 3, 2))
    images = read(written(tmp_path / "a.nii", array, edit=repetition))
    assert [image.attributes["VolumeIndex"] for image in images] == [str(number) for number in range(6)]
    assert images[0].attributes["TR"] == "1.5"
    assert images[0].attributes["Description"] == "TE 28"
    np.testing.assert_array_equal(images[4].pixels, array[..., 1, 1].T)


def test_a_slice_and_a_line_are_images(tmp_path):
    assert read(written(tmp_path / "a.nii", counted((2, 3))))[0].pixels.shape == (1, 3, 2)
    assert read(written(tmp_path / "b.nii", counted((4,))))[0].pixels.shape == (1, 1, 4)


@pytest.mark.parametrize("components", [3, 4])
@pytest.mark.parametrize("planar", [False, True])
def test_colour(tmp_path, components, planar):
    array = counted((2, 3, 4, components), "u1")
    if planar:
        array = np.moveaxis(array, 3, 3).reshape(2, 3, 4, 1, components)
        path = written(tmp_path / "a.nii", array, edit=lambda header: header.set_intent(1007))
    else:
        names = ["R", "G", "B", "A"][:components]
        path = written(tmp_path / "a.nii", array.view([(name, "u1") for name in names])[..., 0])
    (image,) = read(path)
    np.testing.assert_array_equal(image.pixels, array.reshape(2, 3, 4, components).transpose(2, 1, 0, 3))


def test_a_numbered_slice_does_not_swallow_its_siblings(tmp_path):
    for number in range(3):
        written(tmp_path / f"{number}.nii", counted((4, 5, 1)) + number)
    for number in range(3):
        (image,) = read(tmp_path / f"{number}.nii")
        assert image.pixels.shape == (1, 5, 4)
        assert image.pixels[0, 0, 0] == number


def test_a_packed_file_is_not_confused_with_the_plain_one_beside_it(tmp_path):
    written(tmp_path / "a.nii", counted((2, 2, 2)))
    written(tmp_path / "a.nii.gz", counted((2, 2, 2)) + 100)
    assert read(tmp_path / "a.nii")[0].pixels[0, 0, 0] == 0
    assert read(tmp_path / "a.nii.gz")[0].pixels[0, 0, 0] == 100


def test_the_ending_may_be_in_capitals(tmp_path):
    path = written(tmp_path / "a.nii.gz", counted((2, 2, 2)))
    assert len(read(path.rename(tmp_path / "A.NII.GZ"))) == 1


def test_what_is_missing_is_said_with_numbers(tmp_path):
    path = written(tmp_path / "a.nii", counted((10, 10, 10)))
    path.write_bytes(path.read_bytes()[: 352 + 1000])
    assert openImageFile(str(path)).missing() == "The header declares 2,000 bytes of voxels; 1,000 are present."
    path.write_bytes(b"")
    assertSentence(openImageFile(str(path)).missing())


def test_a_header_that_is_still_zero_is_missing(tmp_path):
    (tmp_path / "a.nii").write_bytes(bytes(4096))
    assertSentence(openImageFile(str(tmp_path / "a.nii")).missing())


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ((0, "i", 540), "unsupported"),
        ((0, "i", 17), "not-an-image"),
        ((344, "4s", b"ni1"), "unsupported"),
        ((344, "4s", b"\0"), "unsupported"),
        ((344, "4s", b"n+1\x01"), "damaged"),
        ((40, "h", 9), "damaged"),
        ((42, "h", -3), "damaged"),
        ((42, "3h", 32767, 32767, 32767), "too-large"),
        ((70, "h", 32), "unsupported"),
        ((70, "h", 1), "unsupported"),
        ((70, "h", 9999), "damaged"),
        ((108, "f", -5.0), "damaged"),
        ((108, "f", float("nan")), "damaged"),
        ((280, "f", float("inf")), "damaged"),
        ((280, "12f", *[0] * 12), "damaged"),
    ],
)
def test_what_is_no_image_is_refused_with_words(tmp_path, field, code):
    path = patched(written(tmp_path / "a.nii", counted((2, 3, 4)), form="sform"), field)
    assert refusal(path).code == code


def test_a_damaged_packed_file_is_refused(tmp_path):
    path = written(tmp_path / "a.nii.gz", counted((9, 9, 9)))
    data = bytearray(path.read_bytes())
    data[-6] ^= 1
    path.write_bytes(data)
    assert refusal(path).code == "damaged"
    path.write_bytes(b"no gzip at all, but long enough to tell")
    assert refusal(path).code == "not-an-image"


@pytest.mark.parametrize(
    "name",
    [
        *("functional.nii", "example4d.nii.gz", "anatomical.nii", "resampled_anat_moved.nii", "standard.nii.gz"),
        "example_nifti2.nii.gz",
    ],
)
def test_real_files_equal_nibabels(name):
    peer = nibabel.load(nibabelData / name)
    images = read(nibabelData / name)
    np.testing.assert_allclose(images[0].ijkToRAS, peer.affine, rtol=1e-5, atol=1e-3)
    array = peer.get_fdata().reshape((*peer.shape[:3], -1))
    assert len(images) == array.shape[3]
    for number, image in enumerate(images):
        np.testing.assert_allclose(image.pixels, array[..., number].T, rtol=1e-6)


def test_a_real_series():
    path = sharedData / "rtcloud_10vol.nii.gz"
    if not path.exists():
        pytest.skip(f"{path.name} is not beside the repository (../shared/data)")
    images = read(path)
    assert [image.pixels.shape for image in images] == [(27, 64, 64)] * 10
    assert images[0].attributes["TR"] == "1.5"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in the file system")
def test_a_pipe_is_refused_without_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / "a.nii")
    assert refusal(tmp_path / "a.nii").code == "not-an-image"


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("packed", [False, True])
def test_the_content_says_whether_it_is_packed(tmp_path, name, packed):
    array = np.arange(24, dtype="i2").reshape(2, 3, 4)
    data = written(tmp_path / "b.nii", array).read_bytes()
    (tmp_path / name).write_bytes(gzip.compress(data) if packed else data)
    (image,) = read(tmp_path / name)
    np.testing.assert_array_equal(image.pixels, array.T)
