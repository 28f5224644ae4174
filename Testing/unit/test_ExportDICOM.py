"""Independent readers find the recorded pixels at their places in exported DICOM files."""

import re

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Export.DICOMImages import frameSteps
from RealTimeImagingLib.Formats.DICOM.Reader import DICOM
from RealTimeImagingLib.Model.Errors import ExportError
from unit.examples import examples
from unit.exports import (
    CINES,
    GEOMETRIES,
    ULTRASOUND,
    VOLUMES,
    assertSame,
    exportedVolumes,
    extremes,
    fromGDCM,
    fromPydicom,
    fromSimpleITK,
    save,
)
from unit.recordings import RIGHT_HANDED, START, record


@pytest.fixture(params=GEOMETRIES.values(), ids=GEOMETRIES)
def matrix(request):
    return request.param


@pytest.fixture(params=VOLUMES)
def volumes(request, matrix, tmp_path):
    return exportedVolumes(tmp_path, request.param, matrix)


@pytest.fixture(params=CINES.values(), ids=CINES)
def cine(request, matrix, tmp_path):
    """Recorded frames, and the one file of their export."""
    frames = [extremes(number, request.param, np.uint8, matrix) for number in range(5)]
    (path,), events = save("dicom", tmp_path / "out", record(tmp_path, frames))
    assert events == []
    assert pydicom.dcmread(path).SOPClassUID == ULTRASOUND
    return frames, path


@pytest.mark.parametrize("read", [fromSimpleITK, fromGDCM, fromPydicom])
def test_a_volume_keeps_its_place(volumes, read):
    frames, paths = volumes
    for each, path in zip(frames, paths, strict=True):
        assertSame(read(path), each)


def test_the_own_reader_reads_a_volume_with_its_time(volumes):
    frames, paths = volumes
    for each, path in zip(frames, paths, strict=True):
        (image,) = DICOM(str(path)).images()
        assertSame((image.pixels, image.ijkToRAS), each, 1e-6)
        assert image.deviceTime == pytest.approx(each.receiveTime, abs=2e-6)


@pytest.mark.parametrize("read", [fromSimpleITK, fromGDCM])
def test_a_cine_has_its_frames_and_its_plane(cine, read):
    frames, path = cine
    pixels, matrix = read(path)
    assert len(pixels) == len(frames)
    for each, found in zip(frames, pixels, strict=True):
        assertSame((found[np.newaxis], matrix), each)


def test_pydicom_and_the_own_reader_read_a_cine(cine):
    frames, path = cine
    images = list(DICOM(str(path)).images())
    assert len(images) == len(frames)
    for number, (each, image) in enumerate(zip(frames, images, strict=True)):
        assertSame(fromPydicom(path, number), each)
        assertSame((image.pixels, image.ijkToRAS), each)
        assert image.deviceTime == pytest.approx(each.receiveTime, abs=2e-6)


def test_a_cine_is_calibrated_in_centimetres(cine):
    frames, path = cine
    dataset = pydicom.dcmread(path)
    (region,) = dataset.SequenceOfUltrasoundRegions
    spacing = np.linalg.norm(frames[0].ijkToRAS[:3, :3], axis=0)
    assert [region.PhysicalDeltaX, region.PhysicalDeltaY] == pytest.approx([spacing[0] / 10, spacing[1] / 10])
    assert region.PhysicalUnitsXDirection == region.PhysicalUnitsYDirection == 3
    assert (region.RegionLocationMaxX1, region.RegionLocationMaxY1) == (4, 2)


def test_regular_times_are_a_frame_time_and_others_a_vector(tmp_path):
    for name, gaps in (("even", [0.04] * 4), ("uneven", [0.04, 0.05, 0.0401, 0.3])):
        times = [START + sum(gaps[:number]) for number in range(5)]
        frames = [extremes(n, (1, 3, 5), np.uint8, deviceTime=time) for n, time in enumerate(times)]
        (path,), _ = save("dicom", tmp_path / name, record(tmp_path, frames, name))
        dataset = pydicom.dcmread(path)
        assert ("FrameTime" in dataset, "FrameTimeVector" in dataset) == (name == "even", name != "even")
        assert pydicom.datadict.keyword_for_tag(dataset.FrameIncrementPointer) in dataset
        found = [image.deviceTime for image in DICOM(str(path)).images()]
        assert found == pytest.approx(times, abs=2e-6)


@examples(2.5)
@given(st.lists(st.floats(1e-5, 100), min_size=1, max_size=500))
def test_the_sums_of_frame_steps_do_not_drift(gaps):
    times = np.cumsum([5.0, *gaps])
    steps = frameSteps(times.tolist())
    assert steps[0] == "0"
    assert max(map(len, steps)) <= 16
    assert np.abs(np.cumsum(np.array(steps, float)) / 1000 - (times - times[0])).max() < 1e-8


@given(
    angles=st.tuples(*[st.floats(-np.pi, np.pi)] * 3),
    spacing=st.tuples(*[st.floats(0.01, 20)] * 3),
    origin=st.tuples(*[st.floats(-1000, 1000)] * 3),
    mirrored=st.booleans(),
)
def test_any_geometry_at_right_angles_survives(tmp_path_factory, angles, spacing, origin, mirrored):
    matrix = np.eye(4)
    for axis, angle in enumerate(angles):
        turn = np.eye(4)
        a, b = [each for each in range(3) if each != axis]
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    matrix = matrix @ np.diag([*spacing[:2], -spacing[2] if mirrored else spacing[2], 1.0])
    matrix[:3, 3] = origin
    folder = tmp_path_factory.mktemp("any")
    each = extremes(0, (2, 3, 4), np.int16, matrix)
    (path,), _ = save("dicom", folder / "out", record(folder, [each]))
    for read in (fromSimpleITK, fromGDCM, fromPydicom):
        assertSame(read(path), each, 1e-5)


def test_slices_less_than_a_micrometre_apart_stay_a_volume(tmp_path):
    one = extremes(0, (3, 4, 5), np.int16, np.diag([0.00038, 0.00038, 0.00038, 1]))
    (path,), _ = save("dicom", tmp_path / "out", record(tmp_path, [one]))
    for read in (fromSimpleITK, fromPydicom):
        assertSame(read(path), one, 1e-6)


@pytest.mark.parametrize("shape", [(4, 30, 40), (1, 30, 40)])
def test_shear_from_rounding_is_exported_with_right_angles(tmp_path, shape):
    sheared = RIGHT_HANDED @ np.array([[1, 9e-5, 0, 0], [0, 1, 9e-5, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    one = extremes(0, shape, np.int16, sheared)
    (path,), events = save("dicom", tmp_path / "out", record(tmp_path, [one]))
    assert events == []
    assertSame(fromSimpleITK(path), one, tolerance=0.01)


def test_shear_that_displaces_voxels_is_reported(tmp_path):
    sheared = RIGHT_HANDED @ np.array([[1, 9e-4, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    one = extremes(0, (2, 200, 300), np.int16, sheared)
    (path,), (event,) = save("dicom", tmp_path / "out", record(tmp_path, [one]))
    assert event.code == "export-straightened"
    assert re.search(r"up to 0\.0\d+ mm", event.text)
    assertSame(fromSimpleITK(path), one, tolerance=0.06)


def test_more_shear_is_rejected(tmp_path):
    sheared = RIGHT_HANDED @ np.array([[1, 0.01, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    with pytest.raises(ExportError, match="not at right angles"):
        save("dicom", tmp_path / "out", record(tmp_path, [extremes(0, (2, 30, 40), np.int16, sheared)]))
