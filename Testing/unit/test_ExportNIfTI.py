"""Exported NIfTI as nibabel, SimpleITK and Slicer read it, and the JSON beside it."""

import gzip
import json

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Model.Errors import RealTimeImagingError
from RealTimeImagingLib.Model.Frame import SCALAR_TYPES, Frame
from unit.examples import examples
from unit.exports import GEOMETRIES, LPS, assertSame, fromNibabel, fromSimpleITK, save
from unit.recordings import OBLIQUE, RIGHT_HANDED, START, frame, record

SHAPES = [((2, 3, 4), dtype) for dtype in SCALAR_TYPES] + [((2, 3, 4, n), np.dtype("u1")) for n in (3, 4)]


@pytest.fixture(params=["nii", "nii.gz"])
def format_(request):
    return request.param


def words(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("matrix", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize(("shape", "dtype"), [*SHAPES, ((1, 3, 4), np.dtype("i2"))], ids=str)
def test_every_frame_keeps_its_place(tmp_path, format_, shape, dtype, matrix):
    frames = [frame(n, shape, dtype, matrix) for n in range(4)]
    (beside, path), events = save(format_, tmp_path / "out", record(tmp_path, frames), first=1)
    assert (path.name, beside.name, events) == (f"out.{format_}", "out.json", [])
    pixels, sform, qform = fromNibabel(path)
    assert np.allclose(sform, qform, atol=1e-5)
    assert len(pixels) == 3
    for each, found in zip(frames[1:], pixels, strict=True):
        assertSame((found, sform), each)
    if len(shape) == 3:
        image = sitk.ReadImage(str(path))
        assert image.GetSize() == (*reversed(shape), 3)
        matrix3 = np.eye(4)
        matrix3[:3, :3] = np.array(image.GetDirection()).reshape(4, 4)[:3, :3] * image.GetSpacing()[:3]
        matrix3[:3, 3] = image.GetOrigin()[:3]
        for each, found in zip(frames[1:], sitk.GetArrayFromImage(image), strict=True):
            assertSame((found, LPS @ matrix3), each)
        assert image.GetSpacing()[3] == pytest.approx(1 / 30, rel=1e-5)


@examples(1.5)
@given(
    turns=st.tuples(*[st.floats(-np.pi, np.pi)] * 3),
    spacing=st.tuples(*[st.floats(0.05, 20)] * 3),
    origin=st.tuples(*[st.floats(-500, 500)] * 3),
    mirrored=st.booleans(),
)
def test_any_geometry_at_right_angles_survives(tmp_path_factory, turns, spacing, origin, mirrored):
    from nibabel.eulerangles import euler2mat

    matrix = np.eye(4)
    matrix[:3, :3] = euler2mat(*turns) * spacing
    matrix[:3, 2] *= -1 if mirrored else 1
    matrix[:3, 3] = origin
    folder = tmp_path_factory.mktemp("any")
    each = frame(0, matrix=matrix)
    (_, path), _ = save("nii", folder / "out", record(folder, [each]))
    pixels, sform, qform = fromNibabel(path)
    assertSame((pixels[0], sform), each, 1e-3)
    # In float32 a quaternion is rotated by up to 5e-4 when a is nearly 0.
    assert np.allclose(qform[:3, :3] / spacing, sform[:3, :3] / spacing, atol=6e-4)
    assertSame(fromSimpleITK(path), each, 2e-2)


def test_extreme_values_and_nan_survive(tmp_path):
    for number, dtype in enumerate(SCALAR_TYPES):
        limits = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
        values = [limits.min, limits.max, 0, 1] + ([np.nan, -np.inf, -0.0] if dtype.kind == "f" else [])
        pixels = np.array(values, dtype).reshape(1, 1, -1)
        parts = record(tmp_path, [Frame(pixels, RIGHT_HANDED, "S", 0, START)], f"t{number}")
        (_, path), _ = save("nii", tmp_path / f"t{number}", parts)
        assert fromNibabel(path)[0][0].tobytes() == pixels.tobytes()


# ---- times


def timed(tmp_path, times):
    frames = [frame(n, (1, 2, 2), deviceTime=START + time) for n, time in enumerate(times)]
    (beside, path), _ = save("nii", tmp_path / "out", record(tmp_path, frames))
    return words(beside), path


def test_regular_times_are_a_repetition_time(tmp_path):
    told, path = timed(tmp_path, [0, 2.005, 3.995, 6.0])
    assert told["RepetitionTime"] == pytest.approx(2.0)
    assert "VolumeTiming" not in told
    assert sitk.ReadImage(str(path)).GetSpacing()[3] == pytest.approx(2.0)


def test_other_times_are_a_list_that_begins_at_0(tmp_path):
    told, _ = timed(tmp_path, [5, 7, 9.05, 11])
    assert told["VolumeTiming"] == pytest.approx([0, 2, 4.05, 6])
    assert "RepetitionTime" not in told


def test_units_are_millimetres_and_seconds(tmp_path):
    import nibabel

    _, path = timed(tmp_path, [0, 1, 2])
    assert nibabel.load(path).header.get_xyzt_units() == ("mm", "sec")


# ---- words


@pytest.mark.parametrize("value", ["BKS.Cg-Dock7m +/+ Leprdb/J", "Größe 5 µm, 鼠", "a\r\nb\0c", '"\\n"', " around "])
def test_attributes_are_exact(tmp_path, value):
    each = frame(0, attributes={"SourceFile": value})
    (beside, _), _ = save(
        "nii", tmp_path / "out", record(tmp_path, [each], attributes={"Strain": value}), attributes={"Operator": value}
    )
    told = words(beside)
    assert told["Attributes"] == {"Strain": value, "Operator": value}
    assert told["Frames"][0]["attributes"] == {"SourceFile": value}
    assert told["Frames"][0]["receiveTime"] == each.receiveTime
    assert told["Stream"] == "Scan"


# ---- what NIfTI cannot hold


@pytest.mark.parametrize(
    ("shape", "dtype", "what"),
    [
        ((1, 1, 32768), np.uint8, "32,767 columns, not 32,768"),
        ((1, 32768, 1), np.uint8, "rows"),
        ((32768, 1, 1), np.uint8, "slices"),
        ((1, 2, 2, 3), np.uint16, "colour of uint8 only"),
    ],
)
def test_frames_that_nifti_cannot_hold_are_rejected_with_a_reason(tmp_path, shape, dtype, what):
    parts = record(tmp_path, [frame(0, shape, dtype)])
    with pytest.raises(RealTimeImagingError, match=what):
        save("nii", tmp_path / "out", parts)
    assert not list(tmp_path.glob("out*"))


def test_a_position_that_32_bits_cannot_hold_is_rejected(tmp_path):
    matrix = np.diag([1e-4, 1e-4, 1e-4, 1.0])
    matrix[:3, 3] = 1234.56789
    parts = record(tmp_path, [frame(0, matrix=matrix)])
    with pytest.raises(RealTimeImagingError, match="32-bit"):
        save("nii", tmp_path / "out", parts)
    save("nrrd", tmp_path / "out", parts)


def test_a_compressed_file_is_valid_gzip(tmp_path):
    frames = [frame(n, matrix=OBLIQUE) for n in range(3)]
    parts = record(tmp_path, frames)
    (_, packed), _ = save("nii.gz", tmp_path / "out", parts)
    (_, plain), _ = save("nii", tmp_path / "plain", parts)
    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()
