"""Exported DICOM files: conformance, compression, several files of a series, rejected frames."""

import re
import subprocess

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from RealTimeImagingLib.Export import DICOMFiles
from RealTimeImagingLib.Export.DICOMImages import dateTime, frameSteps
from RealTimeImagingLib.Formats.DICOM.Reader import DICOM
from RealTimeImagingLib.Model.Errors import RealTimeImagingError
from RealTimeImagingLib.Model.Frame import Frame
from unit.exports import (
    CINES,
    GEOMETRIES,
    VOLUMES,
    assertSame,
    atVoxels,
    extremes,
    fromGDCM,
    fromPydicom,
    fromSimpleITK,
    save,
    tool,
)
from unit.recordings import OBLIQUE, RIGHT_HANDED, frame, record


@pytest.fixture(params=CINES.values(), ids=CINES)
def cine(request, tmp_path):
    """Recorded frames, and the one file of their export."""
    frames = [extremes(number, request.param, np.uint8) for number in range(5)]
    (path,), _ = save("dicom", tmp_path / "out", record(tmp_path, frames))
    return frames, path


# ---- the standard


@pytest.fixture
def everyKind(tmp_path):
    """A file of every kind that is written."""
    found = []
    for number, (shape, dtype) in enumerate(
        [
            *((shape, dtype) for shape, dtype, _ in VOLUMES.values()),
            *((shape, np.uint8) for shape in CINES.values()),
        ]
    ):
        frames = [extremes(n, shape, dtype, OBLIQUE) for n in range(2)]
        attributes = {
            **{"SpecimenID": "UF-1", "Strain": "BKS.Cg-Dock7m +/+ Leprdb/J", "Genus": "Mus", "Species": "musculus"},
            **{"CollectionID": "UF Mammals", "Operator": "Müller^Käthe", "Protocol": "T2 fast", "Anatomy": "Head"},
            **{"Remark": "Größe 5 µm, 鼠", "Empty": ""},
        }
        for chosen in (attributes, {}) if number < 2 or shape[0] == 1 else (attributes,):
            parts = record(tmp_path, frames, f"kind{number}", attributes=chosen)
            paths, _ = save("dicom", tmp_path / f"out{number}", parts)
            found += paths
    return found


def test_dciodvfy_finds_no_error(everyKind):
    program = tool("dciodvfy")
    for path in everyKind:
        done = subprocess.run([program, str(path)], capture_output=True, text=True, check=False)
        assert not re.findall(r"^Error.*", done.stdout + done.stderr, re.M), path


def test_dcmtk_reads_every_file_without_a_warning(everyKind):
    program = tool("dcmdump")
    for path in everyKind:
        done = subprocess.run([program, "+L", str(path)], capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"(7fe0,0010)" in done.stdout


def test_dcmtk_draws_the_pixels_that_were_recorded(cine, tmp_path):
    program = tool("dcm2img", "dcm2pnm")
    frames, path = cine
    for number, each in enumerate(frames):
        picture = tmp_path / "picture.pnm"
        subprocess.run([program, "--write-raw-pnm", "--frame", str(number + 1), str(path), str(picture)], check=True)
        header, pixels = picture.read_bytes().split(b"255\n", 1)
        assert header[:2] == (b"P6" if each.components == 3 else b"P5")
        assert np.array_equal(np.frombuffer(pixels, np.uint8), each.pixels.ravel())


# ---- compression


def smooth(number, shape, dtype, matrix=RIGHT_HANDED):
    """Make a frame that is easy to compress."""
    each = frame(number, shape, dtype, matrix)
    pixels = np.add.outer(np.arange(shape[0]) * 2, np.add.outer(np.arange(shape[1]), np.arange(shape[2]))) + number
    if len(shape) == 4:
        pixels = np.stack([pixels, pixels * 2, pixels * 3], -1)
    return Frame(pixels.astype(dtype), matrix, each.stream, number, each.receiveTime)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        *(((3, 40, 51), kind) for kind in (np.uint8, np.uint16, np.int16)),
        *(((slices, 40, 51, 3), np.uint8) for slices in (1, 3)),
        *(((1, 40, 51), kind) for kind in (np.uint8, np.uint16)),
    ],
    ids=str,
)
def test_compressed_pixels_are_the_same(tmp_path, shape, dtype):
    pytest.importorskip("jpeg_ls", reason="pyjpegls is not installed")
    frames = [smooth(number, shape, dtype) for number in range(2)]
    parts = record(tmp_path, frames)
    paths, events = save("dicom", tmp_path / "out", parts, compress=True)
    assert events == []
    plain, _ = save("dicom", tmp_path / "plain", parts)
    assert sum(path.stat().st_size for path in paths) < sum(path.stat().st_size for path in plain)
    for path in paths:
        assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == pydicom.uid.JPEGLSLossless
    for read in (fromSimpleITK, fromGDCM):
        pixels, matrix = read(paths[0])
        if len(paths) == 1:
            for number, each in enumerate(frames):
                assertSame((pixels[number : number + 1], matrix), each)
        else:
            assertSame((pixels, matrix), frames[0])
            assertSame(read(paths[1]), frames[1])


def test_incompressible_pixels_are_stored_uncompressed_and_reported(tmp_path):
    pytest.importorskip("jpeg_ls", reason="pyjpegls is not installed")
    frames = [extremes(number, (1, 3, 5), np.uint8) for number in range(2)]
    (path,), (event,) = save("dicom", tmp_path / "out", record(tmp_path, frames), compress=True)
    assert event.code == "export-not-compressed"
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[1], frames[1].pixels[0])


# ---- several files


def test_moving_frames_of_one_slice_have_separate_files(tmp_path):
    moved = OBLIQUE.copy()
    moved[:3, 3] += 7
    frames = [extremes(0, (1, 3, 5), np.uint8), extremes(1, (1, 3, 5), np.uint8, moved)]
    paths, (event,) = save("dicom", tmp_path / "out", record(tmp_path, frames))
    assert event.code == "export-single"
    for each, path in zip(frames, paths, strict=True):
        for read in (fromSimpleITK, fromGDCM, fromPydicom):
            assertSame(read(path), each)


def test_moving_volumes_keep_their_places(tmp_path):
    frames = [extremes(n, (2, 3, 5), np.int16, each) for n, each in enumerate(GEOMETRIES.values())]
    paths, _ = save("dicom", tmp_path / "out", record(tmp_path, frames))
    for each, path in zip(frames, paths, strict=True):
        assertSame(fromSimpleITK(path), each)


def test_one_study_one_series_one_frame_of_reference(tmp_path):
    frames = [extremes(n, (2, 3, 5), np.int16) for n in range(3)]
    paths, _ = save("dicom", tmp_path / "out", record(tmp_path, frames))
    found = [pydicom.dcmread(path) for path in paths]
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        assert len({each[name].value for each in found}) == 1
    assert len({each.SOPInstanceUID for each in found}) == 3
    assert all(each.SOPInstanceUID.startswith("2.25.") for each in found)
    assert [each.InstanceNumber for each in found] == [1, 2, 3]


def planned(monkeypatch, tmp_path, frames, largest):
    """Export as if an element could hold only ``largest`` bytes."""
    monkeypatch.setattr(DICOMFiles, "LARGEST_ELEMENT", largest)
    return save("dicom", tmp_path / "out", record(tmp_path, frames))[0]


def test_a_cine_too_large_for_an_element_continues_in_the_next_file(monkeypatch, tmp_path):
    frames = [extremes(n, (1, 3, 5), np.uint8) for n in range(5)]
    paths = planned(monkeypatch, tmp_path, frames, 2 * 15 + 1)
    images = [image for path in paths for image in DICOM(str(path)).images()]
    assert [pydicom.dcmread(path).NumberOfFrames for path in paths] == [2, 2, 1]
    for each, image in zip(frames, images, strict=True):
        assertSame((image.pixels, image.ijkToRAS), each)
        assert image.deviceTime == pytest.approx(each.receiveTime, abs=2e-6)


@pytest.mark.parametrize("matrix", GEOMETRIES.values(), ids=GEOMETRIES)
def test_a_volume_too_large_for_an_element_is_several_slabs_in_their_places(monkeypatch, tmp_path, matrix):
    each = extremes(0, (5, 3, 4), np.int16, matrix)
    paths = planned(monkeypatch, tmp_path, [each], 2 * 24)
    assert [pydicom.dcmread(path).NumberOfFrames for path in paths] == [2, 2, 1]
    found = np.zeros_like(each.pixels)
    for path in paths:
        slab, place = fromSimpleITK(path)
        for k in range(len(slab)):
            world = place @ [0, 0, k, 1]
            number = int(np.rint(np.linalg.inv(matrix) @ world)[2])
            lifted = matrix.copy()
            lifted[:3, 3] += number * matrix[:3, 2]
            single = place.copy()
            single[:3, 3] = world[:3]
            found[number] = atVoxels(slab[k : k + 1], single, lifted, (1, 3, 4))[0]
    assert np.array_equal(found, each.pixels)


def test_a_long_cine_continues_in_the_next_file(monkeypatch, tmp_path):
    monkeypatch.setattr(DICOMFiles, "LONGEST_CINE", 2)
    frames = [extremes(n, (1, 3, 5), np.uint8, step=0.1 + 0.01 * (n % 3)) for n in range(5)]
    paths, _ = save("dicom", tmp_path / "out", record(tmp_path, frames))
    images = [image for path in paths for image in DICOM(str(path)).images()]
    assert [image.deviceTime for image in images] == pytest.approx([each.receiveTime for each in frames], abs=2e-6)


def test_the_longest_vector_fits_its_16_bits():
    steps = frameSteps([n * 99_999.123456 for n in range(DICOMFiles.LONGEST_CINE)])
    assert len("\\".join(steps)) < 65534


# ---- what DICOM cannot hold


@pytest.mark.parametrize(
    ("shape", "dtype", "words"),
    [
        ((2, 3, 4), np.float32, "float32"),
        ((2, 3, 4), np.int32, "int32"),
        ((2, 3, 4), np.int8, "int8"),
        ((2, 3, 4, 4), np.uint8, "transparency"),
        ((2, 3, 4, 3), np.uint16, "colour of uint16"),
    ],
)
def test_pixels_that_dicom_cannot_hold_are_rejected_with_a_reason(tmp_path, shape, dtype, words):
    parts = record(tmp_path, [frame(0, shape, dtype)])
    with pytest.raises(RealTimeImagingError, match=words):
        save("dicom", tmp_path / "out", parts)
    assert not (tmp_path / "out").exists()


def test_sheared_axes_are_rejected_with_a_reason(tmp_path):
    sheared = RIGHT_HANDED.copy()
    sheared[0, 1] = 0.2
    parts = record(tmp_path, [frame(0, matrix=sheared)])
    for format_ in ("dicom", "nii"):
        with pytest.raises(RealTimeImagingError, match="right angles"):
            save(format_, tmp_path / "out", parts)


def test_a_time_outside_the_calendar_is_left_out(tmp_path):
    assert dateTime(1e300) == ("", "")
    assert dateTime(-1e12) == ("", "")
    assert dateTime(1.9999999) == ("19700101", "000001.999999")
    each = extremes(0, (2, 3, 4), np.int16, deviceTime=1e13)
    (path,), _ = save("dicom", tmp_path / "out", record(tmp_path, [each]))
    assert "AcquisitionDateTime" not in pydicom.dcmread(path)
