"""Exported NRRD as independent readers read it: Slicer's storage nodes, pynrrd, SimpleITK."""

import json
import warnings

import nrrd
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from RealTimeImagingLib.Export.Job import ExportJob, Snapshot
from RealTimeImagingLib.Model.Errors import RealTimeImagingError
from RealTimeImagingLib.Model.Frame import SCALAR_TYPES
from RealTimeImagingLib.Recording import openRecording
from unit.examples import examples
from unit.exports import fromPynrrd, save
from unit.recordings import OBLIQUE, RIGHT_HANDED, START, frame, record

VALUES = ["BKS.Cg-Dock7m +/+ Leprdb/J", "Größe 5 µm, 鼠", "first\nsecond", 'a "b" \\n \\ c', " around ", "a:=b: c #"]
SHAPES = [((2, 3, 4), dtype) for dtype in SCALAR_TYPES] + [
    ((2, 3, 4, components), np.dtype(kind)) for components in (3, 4) for kind in ("u1", "u2", "f4")
]


def test_a_snapshot_whose_file_has_another_size_is_rejected(tmp_path):
    (tmp_path / "pixels.raw").write_bytes(b"1234")
    snapshot = Snapshot(str(tmp_path / "pixels.raw"), (2, 3, 4), "<i2", tuple(OBLIQUE.ravel()), START)
    with pytest.raises(RealTimeImagingError, match="4 bytes; the snapshot needs 48"):
        save("nrrd", tmp_path / "shot", snapshot=snapshot)


def test_a_volume_of_several_frames_is_rejected(tmp_path):
    parts = record(tmp_path, [frame(0), frame(1)])
    with pytest.raises(RealTimeImagingError, match=r"Choose \.seq\.nrrd"):
        save("nrrd", tmp_path / "out", parts)


@examples(1.5)
@given(
    axes=st.lists(st.floats(-9, 9), min_size=9, max_size=9),
    origin=st.lists(st.floats(-1e4, 1e4), min_size=3, max_size=3),
)
def test_any_geometry_survives_exactly(tmp_path_factory, axes, origin):
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(axes).reshape(3, 3) * 0.1 + np.diag([3.0, -3, 3])
    matrix[:3, 3] = origin
    u = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    matrix[:3, :3] = np.linalg.qr(u)[0] * np.linalg.norm(matrix[:3, :3], axis=0)
    folder = tmp_path_factory.mktemp("any")
    each = frame(0, (2, 3, 4), matrix=matrix)
    for format_ in ("nrrd", "seq.nrrd"):
        (path,), _ = save(format_, folder / "out", record(folder, [each], format_))
        assert np.array_equal(fromPynrrd(path)[1] if format_ == "nrrd" else matrix, matrix)


# ---- sequences


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A recording of three parts of 3000, 3000 and 5 frames."""
    frames = [frame(n, (1, 1, 2), np.uint16) for n in range(6005)]
    return frames, record(tmp_path_factory.mktemp("parts"), frames)


@pytest.mark.parametrize(("first", "last"), [(0, None), (2998, 3001), (2999, 2999), (3000, 6004), (6004, None)])
def test_a_range_goes_over_parts(tmp_path, parts, first, last):
    frames, headers = parts
    assert len(headers) == 3
    chosen = frames[first : None if last is None else last + 1]
    (path,), _ = save("seq.nrrd", tmp_path / "out", reversed(headers), first=first, last=last)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pynrrd does not know Slicer's names
        data, header = nrrd.read(str(path), index_order="C")
    assert np.array_equal(data, np.stack([each.pixels for each in chosen]))
    numbers = [json.loads(header[f"axis 3 item {n:04d} Frame"])["number"] for n in range(len(chosen))]
    assert numbers == [each.number for each in chosen]


@pytest.mark.parametrize(("first", "last", "words"), [(6005, None, "0 to 6004"), (0, 6005, "0 to 6004")])
def test_a_missing_range_is_rejected(tmp_path, parts, first, last, words):
    with pytest.raises(RealTimeImagingError, match=words):
        save("seq.nrrd", tmp_path / "out", parts[1], first=first, last=last)


def test_parts_of_several_recordings_are_rejected(tmp_path):
    headers = [*record(tmp_path, [frame(0)], "one"), *record(tmp_path, [frame(0)], "two")]
    with pytest.raises(RealTimeImagingError, match="one stream of one recording"):
        save("seq.nrrd", tmp_path / "out", headers)
    with pytest.raises(RealTimeImagingError, match="one stream of one recording"):
        save("seq.nrrd", tmp_path / "out", [headers[0], headers[0]])


def test_only_parts_of_one_size_are_merged(tmp_path):
    frames = [frame(0), frame(1), frame(2, (2, 3, 5)), frame(3, (2, 3, 5))]
    headers = record(tmp_path, frames)
    with pytest.raises(RealTimeImagingError, match="from 4 x 3 x 2 int16 to 5 x 3 x 2 int16"):
        save("seq.nrrd", tmp_path / "out", headers)
    (path,), _ = save("seq.nrrd", tmp_path / "out", headers, first=2)
    assert nrrd.read_header(str(path))["sizes"].tolist() == [5, 3, 2, 2]


@pytest.mark.parametrize("format_", ["seq.nrrd", "nii", "nii.gz"])
def test_a_moving_geometry_is_rejected_with_advice(tmp_path, format_):
    moved = RIGHT_HANDED.copy()
    moved[0, 3] += 1e-3
    headers = record(tmp_path, [frame(0), frame(1), frame(2, matrix=moved)])
    with pytest.raises(RealTimeImagingError, match=r"frame 2 has another than frame 0.*\.seq\.mrb"):
        save(format_, tmp_path / "out", headers)
    save(format_, tmp_path / "out", headers, last=1)
    assert openRecording(headers[0]).count == 3


def test_the_job_of_a_snapshot_survives_json(tmp_path):
    snapshot = Snapshot("a.raw", (2, 3, 4), "<i2", tuple(OBLIQUE.ravel()), START)
    job = ExportJob("nrrd", str(tmp_path / "a"), snapshot=snapshot)
    assert ExportJob.fromJSON(json.loads(json.dumps(job.toJSON()))) == job
