import datetime
import os
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, RLELossless
from RealTimeImagingLib.Formats import openImageFile
from RealTimeImagingLib.Formats.DICOM.Geometry import numbersOf, seconds
from RealTimeImagingLib.Model.Frame import NO_PLACE
from unit.readers import (
    assertSame,
    assertSameAtWorldPoints,
    read,
    refusal,
)

DECODABLE = (
    "CT_small MR_small MR_small_RLE MR_small_bigendian MR_small_expb MR_small_implicit MR_small_jp2klossless "
    "MR_small_padded ExplVR_BigEnd SC_rgb_rle_16bit SC_rgb_small_odd SC_rgb_small_odd_big_endian SC_rgb_jpeg_dcmtk "
    "SC_rgb_rle_2frame SC_ybr_full_422_uncompressed examples_rgb_color examples_ybr_color examples_overlay rtdose "
    "rtdose_expb rtdose_rle liver_1frame JPEG2000 image_dfl"
)


def real(name):
    path = get_testdata_file(name + ".dcm", download=False)
    if path is None:
        pytest.skip(f"{name}.dcm is not among pydicom's files")
    return path


def withoutPadding(path):
    """The bytes of the file up to the last one that belongs to the pixels."""
    whole = Path(path).read_bytes()
    delimiter = whole.rfind(b"\xfe\xff\xdd\xe0\0\0\0\0")
    if delimiter >= 0:
        return whole[: delimiter + 8]
    pixels = pydicom.dcmread(path).PixelData
    return whole[: whole.index(pixels) + len(pixels)]


def made(path, array, syntax=ExplicitVRLittleEndian, **elements):
    """A DICOM file of an array (frames, rows, columns[, 3])."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3"
    dataset.Modality, dataset.PatientName = "MR", "Somebody"
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = array.shape[:3]
    dataset.SamplesPerPixel = 3 if array.ndim == 4 else 1
    dataset.PhotometricInterpretation = "RGB" if array.ndim == 4 else "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8 * array.itemsize
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsAllocated - 1, int(array.dtype.kind == "i")
    if array.ndim == 4:
        dataset.PlanarConfiguration = 0
    for name, value in elements.items():
        setattr(dataset, name, value)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    dataset.PixelData = array.astype(array.dtype.newbyteorder(order)).tobytes()
    dataset["PixelData"].VR = "OB" if array.itemsize == 1 else "OW"
    dataset.save_as(path, enforce_file_format=True)
    return path


def groups(positions, **measures):
    """Functional groups with a position for each frame."""
    frames = []
    for position in positions:
        plane, frame = Dataset(), Dataset()
        plane.ImagePositionPatient = list(position)
        frame.PlanePositionSequence = [plane]
        frames.append(frame)
    shared, orientation, measure = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measure.PixelSpacing = [3, 2]
    measure.SliceThickness = 99
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measure]
    return {"PerFrameFunctionalGroupsSequence": frames, "SharedFunctionalGroupsSequence": [shared]}


FRAMES = np.arange(4 * 3 * 5, dtype=np.int16).reshape(4, 3, 5)


@pytest.mark.parametrize("name", DECODABLE.split())
def test_stored_values_equal_pydicoms(name):
    path = real(name)
    dataset = pydicom.dcmread(path)
    expected = dataset.pixel_array

    if dataset.get("RescaleSlope"):
        expected = expected * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    images = read(path)
    np.testing.assert_array_equal(np.concatenate([image.pixels for image in images]).ravel(), expected.ravel())


@pytest.mark.parametrize("name", ["CT_small", "MR_small"])
def test_every_voxel_lies_where_ITK_has_it(name):
    path = real(name)
    (image,) = read(path)
    assertSameAtWorldPoints(image, SimpleITK.ReadImage(path))


def test_ct_stays_int16():
    (image,) = read(real("CT_small"))
    assert image.pixels.dtype == np.int16
    assert image.attributes["Modality"] == "CT"


def test_no_attribute_tells_of_a_patient(tmp_path):
    (image,) = read(made(tmp_path / "a.dcm", FRAMES[:1]))
    assert "Somebody" not in "".join(image.attributes.values())
    assert not any("Patient" in name for name in image.attributes)


def test_a_cine_gives_one_image_a_frame_with_its_time_and_spacing():
    images = read(real("examples_ybr_color"))
    assert len(images) == 30
    assert images[0].pixels.shape == (1, 240, 320, 3)
    np.testing.assert_allclose(np.diff([image.deviceTime for image in images]), 0.033333, atol=1e-5)
    np.testing.assert_allclose(np.abs(np.diag(images[0].ijkToRAS)[:2]), 0.5104970559)
    assert images[0].ijkToRAS[1, 1] < 0


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_frames_with_positions_are_a_volume_in_the_order_of_the_positions(tmp_path, syntax):
    positions = [(10, 20, z) for z in (6, 0, 2, 4)]
    (image,) = read(made(tmp_path / "a.dcm", FRAMES, syntax, **groups(positions)))
    np.testing.assert_array_equal(image.pixels, FRAMES[[1, 2, 3, 0]])
    np.testing.assert_allclose(image.ijkToRAS, [[-2, 0, 0, -10], [0, -3, 0, -20], [0, 0, 2, 0], [0, 0, 0, 1]])


def test_positions_that_repeat_are_several_volumes(tmp_path):
    images = read(made(tmp_path / "a.dcm", FRAMES, **groups([(0, 0, 0), (0, 0, 5), (0, 0, 0), (0, 0, 5)])))
    np.testing.assert_array_equal([image.pixels for image in images], FRAMES.reshape(2, 2, 3, 5))


def test_frames_that_lie_unevenly_stay_slices_in_their_places(tmp_path):
    images = read(made(tmp_path / "a.dcm", FRAMES, **groups([(0, 0, z) for z in (0, 1, 2, 9)])))
    assert [image.ijkToRAS[2, 3] for image in images] == [0, 1, 2, 9]


def test_one_position_and_a_spacing_are_a_volume(tmp_path):
    place = {"ImagePositionPatient": [0, 0, 7], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [3, 2]}
    (image,) = read(made(tmp_path / "a.dcm", FRAMES, SpacingBetweenSlices=2.5, SliceThickness=9, **place))
    np.testing.assert_allclose(np.diag(image.ijkToRAS)[:3], [-2, -3, 2.5])
    assert len(read(made(tmp_path / "b.dcm", FRAMES, SpacingBetweenSlices=2.5, **{**place, "Modality": "US"}))) == 4


@pytest.mark.parametrize(
    ("count", "position", "orientation", "given"),
    [
        (1, "1,0,0", "1,0,0,0,1,0", None),
        (1, "0,0,0", "1,0,0,0,1,0", "ImagePositionPatient 0,0,0"),
        (4, "0,0,0", "1,0,0,0,1,0", None),
        (1, "nan,0,0", "1,0,0,0,1,0", "ImagePositionPatient nan,0,0"),
        (4, "1,2,3", "0,0,0,0,0,0", "ImageOrientationPatient 0,0,0,0,0,0"),
        (1, "1,2,3", "1,0,0,1,0,0", "ImageOrientationPatient 1,0,0,1,0,0"),
        (1, "7", "", "ImagePositionPatient 7"),
        (1, ",".join(40 * "1"), "", "ImagePositionPatient " + 30 * "1,"),
        (1, "", "", None),
    ],
)
def test_a_place_that_is_none_is_an_attribute(tmp_path, count, position, orientation, given):
    place = {"ImagePositionPatient": position.split(","), "ImageOrientationPatient": orientation.split(",")}
    image = read(made(tmp_path / "a.dcm", FRAMES[:count], **place))[0]
    assert image.attributes.get(NO_PLACE) == (given and given.replace(",", "\\"))


def test_the_letters_of_a_text_are_no_numbers():
    dataset = Dataset()
    dataset.add_new("ImagePositionPatient", "LO", "123")
    assert numbersOf(dataset, "ImagePositionPatient", 3) is None


@pytest.mark.parametrize(
    ("elements", "words"),
    [
        ({"RescaleSlope": "nan"}, "RescaleSlope is nan, which is not usable"),
        ({"RescaleIntercept": ["1", "2"]}, "RescaleIntercept is 1\\2, which is not usable"),
        ({"PixelSpacing": ["-1", "2"]}, "PixelSpacing is -1\\2, not two numbers above 0"),
        ({"RescaleSlope": "2"}, ""),
    ],
)
def test_values_that_are_not_usable_are_noted(tmp_path, elements, words):
    reader = openImageFile(str(made(tmp_path / "a.dcm", FRAMES[:1], **{"PixelSpacing": [3, 2], **elements})))
    assert reader.missing() is None
    assert [note.startswith(words) for note in reader.notes] == [True] * bool(words)


def test_direction_cosines_of_another_length_do_not_scale_the_image(tmp_path):
    place = {"ImagePositionPatient": [1, 2, 3], "PixelSpacing": [3, 2], "SliceThickness": 4}
    (image,) = read(made(tmp_path / "a.dcm", FRAMES[:1], ImageOrientationPatient=[0.9, 0, 0, 0, 3, 0], **place))
    np.testing.assert_allclose(np.diag(image.ijkToRAS)[:3], [-2, -3, 4])


def test_rt_dose_is_a_volume():
    (image,) = read(real("rtdose"))
    assert image.pixels.shape == (15, 10, 10)


def test_overlay_bits_beside_the_stored_ones_are_removed(tmp_path):
    values = np.array([[[0x7FFF, -0x7001]]], np.int16)
    (image,) = read(made(tmp_path / "a.dcm", values, BitsStored=12, HighBit=11))
    np.testing.assert_array_equal(image.pixels.ravel(), [-1, -1])


@pytest.mark.parametrize(
    ("dtype", "stored", "slope", "intercept", "result"),
    [
        ("i2", 16, 1, -1024, "i2"),
        ("u2", 12, 1, -1024, "i2"),
        ("u2", 16, 1, 0, "u2"),
        ("u1", 8, 2, 0, "i2"),
        ("u1", 8, 1, -10, "i2"),
        ("i2", 16, 100000, 0, "i4"),
        ("u2", 16, 0.5, 1, "f4"),
    ],
)
def test_rescaled_types(tmp_path, dtype, stored, slope, intercept, result):
    values = np.arange(60).reshape(4, 3, 5).astype(dtype)[:1]
    path = made(
        tmp_path / "a.dcm",
        values,
        BitsStored=stored,
        HighBit=stored - 1,
        RescaleSlope=slope,
        RescaleIntercept=intercept,
    )
    (image,) = read(path)
    assert image.pixels.dtype == result
    np.testing.assert_array_equal(image.pixels, values.astype(float) * slope + intercept)


def test_int16_that_does_not_fit_after_rescaling_becomes_int32(tmp_path):
    values = np.full((1, 2, 2), -32768, np.int16)
    (image,) = read(made(tmp_path / "a.dcm", values, RescaleSlope=1, RescaleIntercept=-1024))
    assert image.pixels.dtype == np.int32
    assert image.pixels.max() == -33792


def test_colour_by_plane(tmp_path):
    values = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    path = made(tmp_path / "a.dcm", values.transpose(0, 3, 1, 2).reshape(2, 3, 4, 3), PlanarConfiguration=1)
    np.testing.assert_array_equal([image.pixels[0] for image in read(path)], values)


def test_a_palette_is_painted():
    (image,) = read(real("examples_palette"))
    assert image.pixels.shape == (1, 350, 800, 3)
    assert image.pixels.dtype == np.uint8


@pytest.mark.parametrize(
    ("text", "offset", "expected"),
    [
        (
            "20240102030405.5+0100",
            "",
            datetime.datetime(2024, 1, 2, 2, 4, 5, 500000, datetime.timezone.utc).timestamp(),
        ),
        ("20240102030405", "-0130", datetime.datetime(2024, 1, 2, 4, 34, 5, 0, datetime.timezone.utc).timestamp()),
        ("20240102030405", "", time.mktime((2024, 1, 2, 3, 4, 5, 0, 0, -1))),
        ("202401020304", "", time.mktime((2024, 1, 2, 3, 4, 0, 0, 0, -1))),
        ("20240102", "", None),
        ("20241302030405", "", None),
        ("", "", None),
    ],
)
def test_times(text, offset, expected):
    assert seconds(text, offset) == expected


def test_a_date_and_a_time_are_the_device_time(tmp_path):
    when = {"AcquisitionDate": "20240102", "AcquisitionTime": "030405.25", "TimezoneOffsetFromUTC": "+0000"}
    (image,) = read(made(tmp_path / "a.dcm", FRAMES[:1], **when))
    assert image.deviceTime == datetime.datetime(2024, 1, 2, 3, 4, 5, 250000, datetime.timezone.utc).timestamp()


def test_a_truncated_file_says_how_much_is_there():
    words = openImageFile(real("MR_truncated")).missing()
    assert words == "The header declares 8,192 bytes of pixels; 8,130 are present."


def test_zeros_behind_the_beginning_of_a_header_are_not_read_as_elements(tmp_path):
    # A preallocated file: read one by one, the elements of 256 MB would take minutes.
    path = tmp_path / "a.dcm"
    path.write_bytes(Path(real("CT_small")).read_bytes()[:600])
    os.truncate(path, 256 << 20)
    assert openImageFile(str(path)).missing() == f"The DICOM header is not complete; the file has {256 << 20:,} bytes."


@pytest.mark.parametrize("name", ["reportsi", "waveform_ecg", "rtstruct"])
def test_what_cannot_be_shown_is_refused_by_name(name):
    assert refusal(real(name)).code == "unsupported"


@pytest.mark.parametrize(
    ("name", "syntax"), [("MR_small_jpeg_ls_lossless", "JPEG-LS Lossless"), ("SC_rgb_jpeg_gdcm", "JPEG Lossless")]
)
def test_a_transfer_syntax_that_nothing_decodes_is_named(name, syntax):
    """In a Python that has none of the decoders that pydicom does not bring."""
    program = f"""
import sys
sys.modules.update(gdcm=None, jpeg_ls=None, SimpleITK=None)
from RealTimeImagingLib.Model.Errors import NotAnImageError
from RealTimeImagingLib.Formats import openImageFile
reader = openImageFile({real(name)!r})
assert reader.missing() is None
try:
    list(reader.images())
except NotAnImageError as error:
    print(error.code, error)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    words = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert words.stdout.startswith("unsupported ")
    assert syntax in words.stdout


def test_fewer_pixels_than_declared_are_damage(tmp_path):
    assert refusal(made(tmp_path / "a.dcm", FRAMES, Rows=30)).code == "damaged"


def test_an_element_that_declares_gigabytes_takes_no_memory(tmp_path):
    data = bytearray(Path(real("MR_small")).read_bytes())
    position = data.index(b"\x08\x00\x70\x00LO")
    data[position : position + 8] = b"\x08\x00\x70\x00UN\0\0"
    data[position + 8 : position + 12] = (0x7FFFFF00).to_bytes(4, "little")
    (tmp_path / "a.dcm").write_bytes(data)
    openImageFile(real("MR_small")).missing()
    tracemalloc.start()
    assert openImageFile(str(tmp_path / "a.dcm")).missing() is not None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 << 20


def test_several_fragments_of_one_frame_are_joined(tmp_path):
    dataset = pydicom.dcmread(real("MR_small_RLE"))
    expected = read(real("MR_small_RLE"))
    (frame,) = pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1)
    assert dataset.file_meta.TransferSyntaxUID == RLELossless
    dataset.PixelData = encapsulate([frame], fragments_per_frame=3)
    dataset.save_as(tmp_path / "a.dcm")
    assertSame(read(tmp_path / "a.dcm"), expected)
