"""Unmodified Slicer's own storage node (vtkMRMLVolumeSequenceStorageNode) opens every recording."""

import json

import numpy as np
import pytest
from contract.inSlicer import InSlicer
from RealTimeImagingLib.Model.Frame import SCALAR_TYPES
from RealTimeImagingLib.Recording import Origin, openRecording
from unit.recordings import LEFT_HANDED, OBLIQUE, RIGHT_HANDED, START, frame, record, recorder

GEOMETRIES = {"right-handed": RIGHT_HANDED, "left-handed": LEFT_HANDED, "oblique": OBLIQUE}


def opened(slicer, frames, path):
    """Slicer's sequence, once it has all frames with their voxels at their places and their times."""
    found = InSlicer(slicer, path)
    assert found.count == len(frames)
    for index, each in enumerate(frames):
        assert np.array_equal(found.atVoxels(index, each.ijkToRAS), each.pixels)
    assert found.times == pytest.approx(openRecording(path).times, abs=1e-6)
    return found


@pytest.mark.parametrize("matrix", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize("dtype", SCALAR_TYPES, ids=str)
def test_scalars(slicer, tmp_path, dtype, matrix):
    frames = [frame(number, dtype=dtype, matrix=matrix) for number in range(3)]
    found = opened(slicer, frames, *record(tmp_path, frames))
    assert found.item(0).GetClassName() == "vtkMRMLScalarVolumeNode"


@pytest.mark.parametrize("matrix", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("components", [3, 4])
def test_colours(slicer, tmp_path, components, dtype, matrix):
    frames = [frame(number, (2, 3, 4, components), dtype, matrix) for number in range(3)]
    found = opened(slicer, frames, *record(tmp_path, frames))
    assert found.item(0).GetClassName() == "vtkMRMLVectorVolumeNode"


@pytest.mark.parametrize("shape", [(1, 3, 4), (1, 3, 4, 3), (1, 1, 1), (1, 3, 4, 4)])
def test_pictures_of_one_slice(slicer, tmp_path, shape):
    frames = [frame(number, shape, np.uint8) for number in range(3)]
    opened(slicer, frames, *record(tmp_path, frames))


def test_a_recording_of_one_frame(slicer, tmp_path):
    opened(slicer, [frame(7)], *record(tmp_path, [frame(7)]))


def test_pixels_that_a_repair_keeps_behind_the_frames(slicer, tmp_path):
    frames = [frame(number) for number in range(3)]
    (path,) = record(tmp_path, frames)
    with open(openRecording(path).rawPath, "ab") as raw:
        raw.write(bytes(1000))
    opened(slicer, frames, path)


def test_a_frame_every_millisecond(slicer, tmp_path):
    frames = [frame(number, (1, 2, 2), step=0.001) for number in range(3000)]
    found = opened(slicer, frames, *record(tmp_path, frames))
    assert found.node.GetIndexUnit() == "ms"


def test_times_that_start_at_20000_seconds(slicer, tmp_path):
    frames = [frame(number, deviceTime=20_000 + number / 30) for number in range(120)]
    found = opened(slicer, frames, *record(tmp_path, frames))
    assert found.times == pytest.approx([number / 30 for number in range(120)], abs=1e-6)
    assert (found.node.GetIndexName(), found.node.GetIndexUnit()) == ("time", "s")


@pytest.mark.parametrize("begin", [20_000, 1_000_000, -3])
def test_a_stream_whose_index_begins_far_from_0(slicer, tmp_path, begin):
    frames = [frame(number) for number in range(120)]
    recording = recorder(tmp_path, origin=Origin(START - begin))
    assert all(recording.append(each) for each in frames)
    found = opened(slicer, frames, *recording.finish())
    assert found.times == pytest.approx([begin + number / 30 for number in range(120)], rel=0, abs=1e-6)


def test_times_that_do_not_increase_lose_no_frame(slicer, tmp_path):
    frames = [frame(number, deviceTime=5.0, receiveTime=9.0) for number in range(5)]
    opened(slicer, frames, *record(tmp_path, frames))


VALUES = ["BKS.Cg-Dock7m +/+ Leprdb/J", "Größe 5 µm, 鼠", "first\nsecond", 'a "b" \\n \\ c', " around "]


@pytest.mark.parametrize("value", VALUES)
def test_attributes(slicer, tmp_path, value):
    frames = [frame(number, attributes={"A-b_c.1": value}) for number in range(2)]
    found = opened(slicer, frames, *record(tmp_path, frames, attributes={"Strain": value}))
    assert found.node.GetAttribute("Strain") == value
    told = json.loads(found.item(1).GetAttribute("Frame"))
    assert (told["number"], told["attributes"]) == (1, {"A-b_c.1": value})


def test_a_name_that_vtk_rejects_makes_a_browser(slicer):
    from RealTimeImagingLib.Scene.RecordedSequences import RecordedSequences

    sequences = RecordedSequences(slicer.mrmlScene, slicer.modules.sequences.logic())
    names = [sequences.newBrowser(name).GetName() for name in ("a\0b", "a\ud800", "")]
    assert names == ["a?b", "a?", "Recording"]
