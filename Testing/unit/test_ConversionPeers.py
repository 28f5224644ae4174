"""The same voxels in the same places as SimpleITK (GDCM) and dcm2niix have: real files, all codecs, long series."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import PIL.Image
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless
from RealTimeImagingLib.Formats import openImageFile
from unit.conversions import LPS, OBLIQUE, assertSameAtWorldPoints, convert, dicomFile, fromITK, fromUs, one, series
from unit.exports import atVoxels, tool
from unit.test_Conversion import inOrder
from unit.test_DICOM import made

PLACED = (
    "CT_small MR_small MR_small_RLE MR_small_bigendian MR_small_expb MR_small_implicit MR_small_jp2klossless "
    "MR_small_jpeg_ls_lossless MR_small_padded 693_J2KI 693_J2KR 693_UNCI 693_UNCR explicit_VR-UN MR2_J2KI MR2_J2KR "
    "MR2_UNCI MR2_UNCR J2K_pixelrep_mismatch bad_sequence"
)
"""Single slices with a place."""
COLOUR = (
    "SC_rgb SC_rgb_jpeg_dcmtk SC_rgb_rle SC_rgb_small_odd SC_rgb_gdcm_KY SC_rgb_dcmtk_+eb+cr US1_UNCR US1_J2KR "
    "examples_palette"
)
FRAMES = (
    "examples_ybr_color rtdose rtdose_rle emri_small emri_small_RLE emri_small_jpeg_2k_lossless emri_small_big_endian"
)


def real(name, folder):
    """A copy of one of pydicom's files, alone in a folder."""
    path = get_testdata_file(f"{name}.dcm", download=False)
    if path is None:
        pytest.skip(f"{name}.dcm is not among pydicom's files")
    folder.mkdir()
    shutil.copy(path, folder / "file")
    return folder / "file"


@pytest.mark.parametrize("name", PLACED.split())
def test_single_slices(tmp_path, name):
    path = real(name, tmp_path / "in")
    found = fromITK(tmp_path / "out" / one(convert(tmp_path / "in", tmp_path / "out")).file)
    values, matrix = fromITK(path)
    # Slopes that are no whole numbers: ITK has float64, of which float32 is the nearest.
    values = values.astype(np.float32) if found[0].dtype == np.float32 else values
    assertSameAtWorldPoints(found, (values, matrix))


@pytest.mark.parametrize("name", COLOUR.split())
def test_colour_and_palettes(tmp_path, name):
    path = real(name, tmp_path / "in")
    found = fromITK(tmp_path / "out" / one(convert(tmp_path / "in", tmp_path / "out")).file)[0]
    reader = openImageFile(str(path))
    assert reader.missing() is None
    np.testing.assert_array_equal(found, next(reader.images()).pixels)
    if not pydicom.dcmread(path).PhotometricInterpretation.startswith(("YBR", "PALETTE")):
        np.testing.assert_array_equal(found, fromITK(path)[0])


@pytest.mark.parametrize("name", FRAMES.split())
def test_files_with_frames(tmp_path, name):
    path = real(name, tmp_path / "in")
    report = convert(tmp_path / "in", tmp_path / "out")
    found, _ = fromUs(tmp_path / "out" / one(report).file)
    values = pydicom.dcmread(path).pixel_array
    np.testing.assert_array_equal(found.reshape(values.shape), values)


def compress(path, syntax):
    dataset = pydicom.dcmread(path)
    if syntax == JPEG2000Lossless:
        stream = io.BytesIO()
        PIL.Image.fromarray(dataset.pixel_array).save(stream, "JPEG2000", irreversible=False, no_jp2=True)
        dataset.PixelData = encapsulate([stream.getvalue()])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = syntax
    else:
        dataset.compress(syntax)
    dataset.save_as(path)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
@pytest.mark.parametrize("intercept", [0, -1024])
def test_compressed_series(tmp_path, syntax, intercept):
    values = series(tmp_path / "in", 5, (16, 24), np.uint16, RescaleSlope=1, RescaleIntercept=intercept)
    for path in (tmp_path / "in").iterdir():
        compress(path, syntax)
    found = fromITK(tmp_path / "out" / one(convert(tmp_path / "in", tmp_path / "out")).file)
    assert found[0].dtype == (np.int16 if intercept else np.uint16)
    np.testing.assert_array_equal(found[0], values.astype(int) + intercept)
    assertSameAtWorldPoints(found, fromITK(inOrder(tmp_path / "in")))


def test_a_damaged_slice_of_a_compressed_series_is_filled_and_named(tmp_path):
    values = series(tmp_path / "in", 5, (16, 24))
    for path in (tmp_path / "in").iterdir():
        dataset = pydicom.dcmread(path)
        dataset.compress(RLELossless)
        dataset.save_as(path)
    broken = next((tmp_path / "in").glob("*x2"))
    broken.write_bytes(broken.read_bytes()[:-200])
    entry = one(convert(tmp_path / "in", tmp_path / "out"))
    assert str(broken) in entry.warnings[0]
    found = fromITK(tmp_path / "out" / entry.file)[0]
    np.testing.assert_array_equal(found[[0, 1, 3, 4]], values[[0, 1, 3, 4]])
    assert (found[2] == values[[0, 1, 3, 4]].min()).all()


def test_a_damaged_frame_of_a_film_is_filled_and_named(tmp_path):
    values = np.random.default_rng(1).integers(5, 200, (4, 16, 24)).astype(np.uint8)
    (tmp_path / "in").mkdir()
    path = made(tmp_path / "in" / "a.dcm", values, Modality="US", SeriesInstanceUID="1.2.5")
    compress(path, RLELossless)
    data = bytearray(path.read_bytes())
    data[data.rindex(b"\xfe\xff\0\xe0") + 8] = 9  # segments of the last frame, PS3.5 section G.5
    path.write_bytes(data)
    entry = one(convert(tmp_path / "in", tmp_path / "out"))
    assert entry.warnings[-1].startswith(f"{path}: frame 4: ")
    found = fromUs(tmp_path / "out" / entry.file)[0]
    np.testing.assert_array_equal(found[:3, 0], values[:3])
    assert (found[3] == values[:3].min()).all()


def test_a_compressed_series_without_a_readable_slice_fails_by_the_reason_of_the_first(tmp_path):
    series(tmp_path / "in", 3, (16, 24))
    for path in (tmp_path / "in").iterdir():
        compress(path, RLELossless)
        path.write_bytes(path.read_bytes()[:-200])
    (entry,) = convert(tmp_path / "in", tmp_path / "out").entries
    first = next((tmp_path / "in").glob("*x0"))
    assert entry.status == "failed"
    assert entry.reason.startswith(f"{first}: ")
    assert "filled" not in entry.reason


@pytest.fixture(scope="module")
def ct(tmp_path_factory):
    """A synthesised CT of 300 slices, oblique, in files whose names say nothing."""
    folder = tmp_path_factory.mktemp("ct") / "in"
    normal = np.cross(OBLIQUE[:3], OBLIQUE[3:])
    random = np.random.default_rng(7)
    values = random.integers(-1000, 3000, (300, 48, 64)).astype(np.int16)
    for k, name in enumerate(random.permutation(300)):
        place = np.array([-30.5, 12.25, 7]) + 1.25 * k * normal
        place = tuple(np.round(place, 4))
        dicomFile(folder / f"{name:05x}", values[k], place, InstanceNumber=k + 1, ImageOrientationPatient=list(OBLIQUE))
    return folder, values


def test_a_ct_of_300_slices_equals_itks(ct, tmp_path):
    folder, values = ct
    entry = one(convert(folder, tmp_path / "out"))
    assert entry.warnings == ()
    found = fromITK(tmp_path / "out" / entry.file)
    np.testing.assert_array_equal(found[0], values)
    assertSameAtWorldPoints(found, fromITK(inOrder(folder)))


def niftisOf(folder, output):
    """What dcm2niix makes of a folder."""
    output.mkdir()
    program = Path(tool("dcm2niix"))
    subprocess.run([program, "-z", "n", "-b", "n", "-o", output, folder], check=True, capture_output=True)
    return sorted(output.glob("*.nii"))


def assertSameAsNIfTI(found, path):
    """At the world points of our voxels dcm2niix has the same values."""
    image = nibabel.load(str(path))
    values = np.asanyarray(image.dataobj)
    values = values.transpose(*reversed(range(values.ndim)))
    arrays, matrix = found
    arrays = arrays[np.newaxis] if arrays.ndim == 3 else arrays
    values = values[np.newaxis] if values.ndim == 3 else values
    for ours, theirs in zip(arrays, values, strict=True):
        np.testing.assert_array_equal(atVoxels(theirs, image.affine, LPS @ matrix, ours.shape, 1e-3), ours)


@pytest.fixture
def withVirtualEnvironment(monkeypatch):
    """Programs of the tests' own environment are found."""
    import os
    import sys

    monkeypatch.setenv("PATH", os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))


def test_a_ct_of_300_slices_equals_dcm2niixs(ct, tmp_path, withVirtualEnvironment):
    folder, _ = ct
    entry = one(convert(folder, tmp_path / "out"))
    (nifti,) = niftisOf(folder, tmp_path / "nii")
    assertSameAsNIfTI(fromITK(tmp_path / "out" / entry.file), nifti)


@pytest.mark.parametrize("name", ["CT_small", "MR_small", "MR_small_RLE", "MR_small_jp2klossless", "693_UNCR"])
def test_single_slices_equal_dcm2niixs(tmp_path, name, withVirtualEnvironment):
    real(name, tmp_path / "in")
    entry = one(convert(tmp_path / "in", tmp_path / "out"))
    niftis = niftisOf(tmp_path / "in", tmp_path / "nii")
    if len(niftis) != 1:
        pytest.skip("dcm2niix does not read it")
    assertSameAsNIfTI(fromITK(tmp_path / "out" / entry.file), niftis[0])


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless, DeflatedExplicitVRLittleEndian])
def test_a_series_of_several_transfer_syntaxes_is_one_volume(tmp_path, syntax):
    values = series(tmp_path / "in", 6, (16, 24), np.uint16, RescaleSlope=1, RescaleIntercept=-1024)
    for path in sorted((tmp_path / "in").iterdir())[::2]:
        if syntax == DeflatedExplicitVRLittleEndian:
            dataset = pydicom.dcmread(path)
            dataset.file_meta.TransferSyntaxUID = syntax
            dataset.save_as(path)
        else:
            compress(path, syntax)
    entry = one(convert(tmp_path / "in", tmp_path / "out"))
    assert (entry.slices, entry.warnings) == (6, ())
    np.testing.assert_array_equal(fromITK(tmp_path / "out" / entry.file)[0], values.astype(int) - 1024)
