"""Series become files: values, places, keys, names; held to SimpleITK (GDCM)."""

from __future__ import annotations

import datetime
import os

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from RealTimeImagingLib.Conversion.Headers import Slice
from RealTimeImagingLib.Conversion.Scan import listFiles, scanFiles
from RealTimeImagingLib.Conversion.Tags import SAFE
from unit.conversions import (
    OBLIQUE,
    assertSameAtWorldPoints,
    convert,
    dicomFile,
    fromITK,
    fromUs,
    one,
    series,
)


def inOrder(folder):
    """The files of a series in the order of their places, by their headers."""
    found = scanFiles(list(listFiles(str(folder))), {})
    assert all(isinstance(each, Slice) for each in found)
    return [each.path for each in sorted(found, key=lambda each: each.header.number)]


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, None])
@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), OBLIQUE])
def test_a_series_is_one_volume_in_the_order_of_its_places(tmp_path, syntax, orientation):
    normal = np.cross(orientation[:3], orientation[3:])
    options = {"syntax": syntax} if syntax else {}
    values = series(tmp_path / "in/a/b", step=3 * normal, ImageOrientationPatient=list(orientation), **options)
    entry = one(convert(tmp_path / "in", tmp_path / "out"))
    assert (entry.file, entry.slices, entry.volumes) == ("7_Core_A.nrrd", 6, 1)
    found = fromITK(tmp_path / "out" / entry.file)
    np.testing.assert_array_equal(found[0], values)
    assert found[0].dtype == np.int16
    assert np.linalg.norm(found[1][:3, 2]) == pytest.approx(3)  # the positions, not the SliceThickness of 9
    assertSameAtWorldPoints(found, fromITK(inOrder(tmp_path / "in")))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32])
@pytest.mark.parametrize("order", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_every_type_stays_what_it_is(tmp_path, dtype, order):
    values = series(tmp_path / "in", dtype=dtype, syntax=order)
    found = fromUs(tmp_path / "out" / one(convert(tmp_path / "in", tmp_path / "out")).file)[0][0]
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize(
    ("dtype", "bits", "slope", "intercept", "result"),
    [
        ("int16", 16, 1, -1024, "int16"),
        ("uint16", 12, 1, -1024, "int16"),
        ("uint16", 16, 1, 10, "int16"),
        ("uint8", 8, 2, 0, "int16"),
        ("uint8", 8, 1, -10, "int16"),
        ("int16", 16, 100, 0, "int16"),
        ("int16", 16, 1000, 0, "int32"),
        ("uint16", 16, 2, 0, "uint16"),
        ("uint16", 16, 0.5, 1, "float32"),
        ("int32", 32, 0.5, 1, "float64"),
        ("uint32", 32, 2, 0, "float64"),
    ],
)
def test_rescaled_in_the_smallest_type_that_holds_the_result(tmp_path, dtype, bits, slope, intercept, result):
    largest = {"uint16": 30000 if result == "uint16" else 4000}.get(dtype, 120)
    values = np.random.default_rng(1).integers(0, largest, (3, 5, 4)).astype(dtype)
    for k in range(3):
        dicomFile(
            tmp_path / f"in/{k}",
            values[k],
            (0, 0, k),
            BitsStored=bits,
            HighBit=bits - 1,
            RescaleSlope=slope,
            RescaleIntercept=intercept,
        )
    found = fromUs(tmp_path / "out" / one(convert(tmp_path / "in", tmp_path / "out")).file)[0][0]
    assert found.dtype == result
    np.testing.assert_array_equal(found, values.astype(float) * slope + intercept)


def test_a_value_that_needs_more_than_16_bits_makes_the_whole_volume_wider(tmp_path):
    values = np.zeros((300, 256, 256), np.int16)  # several pieces, and only the last has such a value
    values[-1, 0, 0] = -32768
    for k in range(300):
        dicomFile(tmp_path / f"in/{k:03d}", values[k], (0, 0, k), RescaleSlope=1, RescaleIntercept=-1024)
    found = fromUs(tmp_path / "out" / one(convert(tmp_path / "in", tmp_path / "out")).file)[0][0]
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, values.astype(np.int32) - 1024)


def test_slices_with_slopes_of_their_own(tmp_path):
    values = np.arange(60, dtype=np.int16).reshape(3, 5, 4)
    for k in range(3):
        dicomFile(tmp_path / f"in/{k}", values[k], (0, 0, k), RescaleSlope=k + 1, RescaleIntercept=k)
    found = fromUs(tmp_path / "out" / one(convert(tmp_path / "in", tmp_path / "out")).file)[0][0]
    for k in range(3):
        np.testing.assert_array_equal(found[k], values[k] * (k + 1) + k)


def test_bits_beside_the_stored_ones_are_removed(tmp_path):
    plane = np.array([[0x7FFF, -0x7001], [5, -5]], np.int16)
    dicomFile(tmp_path / "in/a", plane, BitsStored=12, HighBit=11)
    found = fromUs(tmp_path / "out" / one(convert(tmp_path / "in", tmp_path / "out")).file)[0]
    np.testing.assert_array_equal(found.ravel(), [-1, -1, 5, -5])


def test_colour(tmp_path):
    values = np.random.default_rng(0).integers(0, 255, (3, 5, 4, 3), np.uint8)
    for k in range(3):
        dicomFile(tmp_path / f"in/{k}", values[k], (0, 0, k))
    dicomFile(tmp_path / "planar/a", values[0].transpose(2, 0, 1).reshape(5, 4, 3), PlanarConfiguration=1)
    entry = one(convert(tmp_path / "in", tmp_path / "out"))
    np.testing.assert_array_equal(fromITK(tmp_path / "out" / entry.file)[0], values)
    np.testing.assert_array_equal(fromUs(tmp_path / "out" / entry.file)[0][0], values)
    entry = one(convert(tmp_path / "planar", tmp_path / "out2"))
    np.testing.assert_array_equal(fromITK(tmp_path / "out2" / entry.file)[0][0], values[0])


def test_an_incomplete_last_volume_is_a_file_of_its_own(tmp_path):
    values = np.random.default_rng(0).integers(0, 999, (3, 4, 5, 6)).astype(np.int16)
    for t in range(3):
        for k in range(4 if t < 2 else 2):
            dicomFile(tmp_path / f"in/{t}{k}", values[t, k], (0, 0, k), AcquisitionNumber=t)
    report = convert(tmp_path / "in", tmp_path / "out")
    assert report.words.startswith("2 volumes: 2 done")
    assert [(entry.slices, entry.volumes) for entry in report.entries] == [(4, 2), (2, 1)]
    assert "2 slices; other volumes of the series have 4" in report.entries[1].warnings[0]


def test_echoes_orientations_and_sizes_are_files_of_their_own(tmp_path):
    folder = tmp_path / "in"
    series(folder / "a", EchoTime=5)
    series(folder / "b", EchoTime=9)
    series(folder / "c", ImageOrientationPatient=list(OBLIQUE), step=np.cross(OBLIQUE[:3], OBLIQUE[3:]))
    series(folder / "d", shape=(7, 8))
    series(folder / "e", ImageType=["ORIGINAL", "PRIMARY", "P"])
    series(folder / "f", SeriesInstanceUID="1.9.9", SeriesDescription="Other")
    report = convert(folder, tmp_path / "out")
    assert [entry.status for entry in report.entries] == ["done"] * 6
    names = sorted(entry.file for entry in report.entries)
    assert names == ["7_Core_A.nrrd", *(f"7_Core_A_{n}.nrrd" for n in range(1, 5)), "7_Other.nrrd"]
    assert all(not entry.warnings for entry in report.entries)


def test_orientations_that_differ_in_their_last_digits_are_one(tmp_path):
    values = np.ones((5, 4), np.int16)
    for k in range(4):
        dicomFile(tmp_path / f"in/{k}", values, (0, 0, k), ImageOrientationPatient=[1, 1e-5 * k, 0, -1e-5 * k, 1, 0])
    assert one(convert(tmp_path / "in", tmp_path / "out")).slices == 4


def test_keys_are_what_the_files_agree_on_and_nobody_is_named(tmp_path):
    series(tmp_path / "in", KVP=120, Manufacturer="Ma\xdfstab", SpecificCharacterSet="ISO_IR 100", StudyDate="20240102")
    entry = one(convert(tmp_path / "in", tmp_path / "out"))
    text = (tmp_path / "out" / entry.file).read_bytes().split(b"\n\n")[0].decode()
    assert "KVP:=120" in text
    assert "Manufacturer:=Maßstab" in text
    for word in ("Somebody", "4711", "20240102", "1.2.3.4", "Core A"):
        assert word not in text


def test_chosen_keys(tmp_path):
    series(tmp_path / "in", Exposure=3, AcquisitionMatrix=[0, 256, 192, 0])
    tags = ["SeriesDescription", "InstanceNumber", "AcquisitionMatrix", "PatientID"]
    entry = one(convert(tmp_path / "in", tmp_path / "out", tags=tags))
    pairs = [
        line
        for line in (tmp_path / "out" / entry.file).read_bytes().split(b"\n\n")[0].decode().splitlines()
        if ":=" in line
    ]
    assert pairs == ["SeriesDescription:=Core A", "AcquisitionMatrix:=0\\\\256\\\\192\\\\0", "PatientID:=4711"]


def test_the_safe_tags_are_what_pydicom_calls_them():
    from pydicom.datadict import tag_for_keyword

    assert {name: int(tag_for_keyword(name)) for name in SAFE} == dict(SAFE)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("{SeriesDescription}-{SeriesNumber:03}", "Core_A-007.nrrd"),
        ("{PatientID}/{Modality}", "4711_CT.nrrd"),
        ("{StudyDate}", "series.nrrd"),
        ("con", "_con.nrrd"),
        ("Länge {KVP}", "Länge.nrrd"),
        ("../{SeriesNumber}", "__7.nrrd"),
    ],
)
def test_names(tmp_path, pattern, name):
    series(tmp_path / "in")
    found = one(convert(tmp_path / "in", tmp_path / "out", name=pattern)).file
    assert found.lstrip("_") == name.lstrip("_")
    assert sorted(path.name for path in (tmp_path / "out").glob("*.nrrd")) == [found]


def test_stacks_without_positions_go_by_number_and_say_so(tmp_path):
    values = series(
        tmp_path / "in", ImagePositionPatient=None, ImageOrientationPatient=None, SpacingBetweenSlices=0.125
    )
    entry = one(convert(tmp_path / "in", tmp_path / "out"))
    assert "InstanceNumber" in entry.warnings[0]
    found, matrix = fromITK(tmp_path / "out" / entry.file)
    np.testing.assert_array_equal(found, values)
    np.testing.assert_allclose(np.diag(matrix), [0.25, 0.5, 0.125, 1])


def test_pictures_without_positions_are_files_of_their_own(tmp_path):
    series(tmp_path / "in", ImagePositionPatient=None, ImageOrientationPatient=None, Modality="DX")
    assert len(convert(tmp_path / "in", tmp_path / "out").entries) == 6


def test_times_of_a_sequence_begin_at_nought(tmp_path):
    for t in range(3):
        moment = datetime.datetime(2024, 1, 2, 3, 4, 5) + datetime.timedelta(seconds=0.25 * t)
        dicomFile(
            tmp_path / f"in/{t}", np.ones((5, 4), np.int16), AcquisitionDateTime=moment.strftime("%Y%m%d%H%M%S.%f")
        )
    entry = one(convert(tmp_path / "in", tmp_path / "out"))
    text = (tmp_path / "out" / entry.file).read_bytes()
    assert b"axis 3 index values:=0.000000 0.250000 0.500000" in text


TOLD = {
    "TemporalPositionIdentifier": lambda t: {"TemporalPositionIdentifier": t + 1},
    "AcquisitionNumber": lambda t: {"AcquisitionNumber": 10 * t},
    "AcquisitionTime": lambda t: {"AcquisitionDate": "20240501", "AcquisitionTime": f"10101{t}.5"},
    "TriggerTime": lambda t: {"TriggerTime": 50 * t},
    "DiffusionBValue": lambda t: {
        "DiffusionBValue": 1000.0 * (t > 0),
        "DiffusionGradientOrientation": [0, 0, float(t)],
    },
}


@pytest.mark.parametrize("name", TOLD)
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_time_points_are_told_apart_by(tmp_path, name, syntax):
    places = [(z, t) for z in range(3) for t in range(3)]
    for number, at in enumerate(np.random.default_rng(3).permutation(9)):
        z, t = places[at]
        plane = np.full((4, 5), 100 * t + z, np.int16)
        told = {"AcquisitionNumber": 1, **TOLD[name](t)}
        dicomFile(tmp_path / f"in/{number}", plane, (0, 0, 2 * z), syntax, InstanceNumber=number + 1, **told)
    entry = one(convert(tmp_path / "in", tmp_path / "out"))
    values, _ = fromUs(tmp_path / "out" / entry.file)
    assert values[:, :, 0, 0].tolist() == [[100 * t + z for z in range(3)] for t in range(3)]


def test_a_missing_distance_of_pixels_is_named(tmp_path):
    series(tmp_path / "in", PixelSpacing=None)
    entry = one(convert(tmp_path / "in", tmp_path / "out"))
    assert entry.warnings == ("PixelSpacing is missing: 1 mm is assumed.",)


def regions(*sides):
    found = []
    for number, side in enumerate(sides):
        region = Dataset()
        region.RegionSpatialFormat = region.RegionDataType = 1
        region.RegionLocationMinX0, region.RegionLocationMaxX1 = 0, 10 * (number + 1)
        region.RegionLocationMinY0, region.RegionLocationMaxY1 = 0, 10
        region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
        region.PhysicalDeltaX = region.PhysicalDeltaY = side / 10
        found.append(region)
    return found


@pytest.mark.parametrize(("sides", "words"), [((0.3,), ()), ((0.3, 0.3), ()), ((0.3, 0.5), ("0.3 to 0.5 mm",))])
def test_ultrasound_regions_give_the_distance_and_other_scales_are_named(tmp_path, sides, words):
    plane = np.zeros((4, 5), np.uint8)
    place = {"ImagePositionPatient": None, "ImageOrientationPatient": None, "PixelSpacing": None}
    dicomFile(tmp_path / "in/a", plane, Modality="US", SequenceOfUltrasoundRegions=regions(*sides), **place)
    entry = one(convert(tmp_path / "in", tmp_path / "out"))
    assert len(entry.warnings) == len(words)
    assert all(word in entry.warnings[0] for word in words)
    assert fromUs(tmp_path / "out" / entry.file)[1][0, 0] == pytest.approx(sides[-1])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_and_a_link_to_a_folder_are_no_empty_or_unreadable_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.dcm")
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    found = scanFiles([str(tmp_path / "pipe.dcm"), str(tmp_path / "link")], {})
    assert [one.code for one in found] == ["not-an-image"] * 2


def test_files_without_a_series_belong_to_that_of_their_folder(tmp_path):
    for folder in "ab":
        dicomFile(tmp_path / folder / "1.dcm", np.ones((5, 4), np.int16), (0, 0, 0), SeriesInstanceUID="")
    found = scanFiles(list(listFiles(str(tmp_path))), {})
    assert [one.header.series for one in found] == [str(tmp_path / folder) for folder in "ab"]


def test_bytes_that_a_big_endian_file_swaps_are_in_their_places(tmp_path):
    """PS3.5 section A.3: 8 bits in OW are in words with the most significant byte first."""
    values = np.arange(20, dtype=np.uint8).reshape(5, 4)
    path = dicomFile(tmp_path / "in" / "a.dcm", values, (0, 0, 0), ExplicitVRBigEndian)
    data = path.read_bytes()
    swapped = data.replace(values.tobytes(), values.view(">u2").byteswap().tobytes())
    assert swapped != data
    path.write_bytes(swapped.replace(b"\x7f\xe0\0\x10OB", b"\x7f\xe0\0\x10OW"))
    found = fromUs(tmp_path / "out" / one(convert(tmp_path / "in", tmp_path / "out")).file)[0][0]
    np.testing.assert_array_equal(found[0], values)


@pytest.mark.skipif(os.name != "posix", reason="a link needs a right of its own on Windows")
def test_the_output_folder_is_skipped_by_each_of_its_paths(tmp_path):
    for path in ("in/a.dcm", "in/beside/c.dcm", "in/out/b.dcm"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    found = listFiles(str(tmp_path / "in"), str(tmp_path / "link" / "out"))
    assert list(found) == [str(tmp_path / path) for path in ("in/a.dcm", "in/beside/c.dcm")]
