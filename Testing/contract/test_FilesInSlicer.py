"""Unmodified Slicer's own storage nodes open what is exported and converted, and find each voxel at its place."""

import json

import numpy as np
import pytest
from contract.inSlicer import InSlicer
from RealTimeImagingLib.Export.Job import Snapshot
from RealTimeImagingLib.Model.Frame import SCALAR_TYPES
from unit.conversions import convert, dicomFile, fromUs, one
from unit.exports import (
    GEOMETRIES,
    VOLUMES,
    assertSame,
    exportedVolumes,
    fromPynrrd,
    fromSimpleITK,
    save,
)
from unit.recordings import OBLIQUE, START, frame, record

VALUES = ["BKS.Cg-Dock7m +/+ Leprdb/J", "Größe 5 µm, 鼠", "first\nsecond", 'a "b" \\n \\ c', " around ", "a:=b: c #"]
SHAPES = [((2, 3, 4), dtype) for dtype in SCALAR_TYPES] + [
    ((2, 3, 4, components), np.dtype(kind)) for components in (3, 4) for kind in ("u1", "u2", "f4")
]
NIFTI_SHAPES = [((2, 3, 4), dtype) for dtype in SCALAR_TYPES] + [((2, 3, 4, n), np.dtype("u1")) for n in (3, 4)]

pytestmark = pytest.mark.usefixtures("emptyScene")


def nodeOf(slicer, path, frame):
    """What Slicer's own storage node for NRRD makes of a volume."""
    name = "Vector" if frame.components > 1 else "Scalar"
    node = slicer.mrmlScene.AddNewNodeByClass(f"vtkMRML{name}VolumeNode")
    storage = slicer.vtkMRMLNRRDStorageNode()
    storage.SetFileName(str(path))
    assert storage.ReadData(node), storage.GetUserMessages().GetAllMessagesAsString()
    return node


def fromSlicer(slicer, node):
    return slicer.util.arrayFromVolume(node), slicer.util.arrayFromVTKMatrix(InSlicer._matrix(node))


@pytest.mark.parametrize("matrix", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize(("shape", "dtype"), SHAPES, ids=str)
def test_a_volume_is_where_it_was(slicer, tmp_path, shape, dtype, matrix):
    each = frame(3, shape, dtype, matrix)
    (path,), events = save("nrrd", tmp_path / "out", record(tmp_path, [each]))
    assert (path.name, events) == ("out.nrrd", [])
    node = nodeOf(slicer, path, each)
    assertSame(fromSlicer(slicer, node), each, 1e-9)
    assertSame(fromPynrrd(path)[:2], each, 1e-9)
    assertSame(fromSimpleITK(path), each, 1e-6)
    slicer.mrmlScene.RemoveNode(node)


@pytest.mark.parametrize("value", VALUES)
def test_attributes_of_a_volume_are_those_of_the_node(slicer, tmp_path, value):
    each = frame(0, attributes={"SourceFile": value})
    attributes = {"Strain": value, "A-b_c.1": "x"}
    (path,), _ = save(
        "nrrd", tmp_path / "out", record(tmp_path, [each], attributes={"Strain": "old"}), attributes=attributes
    )
    node = nodeOf(slicer, path, each)
    assert {name: node.GetAttribute(name) for name in attributes} == attributes
    told = json.loads(node.GetAttribute("Frame"))
    assert told["attributes"] == {"SourceFile": value}
    assert told["receiveTime"] == each.receiveTime
    # and again through Slicer: what was saved is what a later session finds
    again = tmp_path / "again.nrrd"
    storage = slicer.vtkMRMLNRRDStorageNode()
    storage.SetFileName(str(again))
    assert storage.WriteData(node)
    assert nodeOf(slicer, again, each).GetAttribute("Strain") == value


def test_what_nrrd_cannot_hold_is_told_and_exact_in_the_frame(slicer, tmp_path):
    value = "a\r\nb\rc\0d"
    each = frame(0, attributes={"Note": value})
    (path,), (event,) = save("nrrd", tmp_path / "out", record(tmp_path, [each]), attributes={"Note": value})
    assert (event.code, event.level) == ("export-altered", "warning")
    assert "Note" in event.text
    node = nodeOf(slicer, path, each)
    assert node.GetAttribute("Note") == "a\nb\nc\N{REPLACEMENT CHARACTER}d"
    assert json.loads(node.GetAttribute("Frame"))["attributes"]["Note"] == value


def test_a_snapshot_of_pixels_in_a_file(slicer, tmp_path):
    pixels = np.arange(24, dtype=">i2").reshape(2, 3, 4)
    (tmp_path / "pixels.raw").write_bytes(pixels.tobytes())
    snapshot = Snapshot(
        str(tmp_path / "pixels.raw"),
        (2, 3, 4),
        ">i2",
        tuple(OBLIQUE.ravel()),
        START,
        START + 0.5,
        7,
        "Cam",
        {"SpecimenID": "UF-1"},
    )
    paths, _ = save("nrrd", tmp_path / "shot.nrrd", snapshot=snapshot, attributes={"Operator": "K"})
    assert paths == [tmp_path / "shot.nrrd"]
    each = frame(0, matrix=OBLIQUE)
    array, matrix, header = fromPynrrd(paths[0])
    assert np.array_equal(array, pixels)
    assert np.allclose(matrix, OBLIQUE)
    told = json.loads(header["Frame"])
    assert (told["number"], told["deviceTime"], told["receiveTime"]) == (7, START + 0.5, START)
    node = nodeOf(slicer, paths[0], each)
    assert (node.GetAttribute("SpecimenID"), node.GetAttribute("Operator")) == ("UF-1", "K")


@pytest.mark.parametrize("matrix", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize(("shape", "dtype"), SHAPES[:4] + SHAPES[6:7] + SHAPES[8:10], ids=str)
def test_slicer_opens_a_sequence_in_one_file(slicer, tmp_path, shape, dtype, matrix):
    frames = [frame(n, shape, dtype, matrix, attributes={"SourceFile": f"{n} µm.nii"}) for n in range(5)]
    (header,) = record(tmp_path, frames, attributes={"Strain": VALUES[0]})
    (path,), _ = save("seq.nrrd", tmp_path / "out.seq.nrrd", [header], first=1, last=3, attributes={"Operator": "K"})
    for raw in (*tmp_path.glob("*.raw"), *tmp_path.glob("*.nhdr")):
        raw.unlink()  # nothing but the one file is read
    assert path.name == "out.seq.nrrd"
    found = InSlicer(slicer, path)
    assert found.count == 3
    for index, each in enumerate(frames[1:4]):
        assert np.array_equal(found.atVoxels(index, matrix), each.pixels)
        told = json.loads(found.item(index).GetAttribute("Frame"))
        assert (told["number"], told["attributes"]) == (each.number, dict(each.attributes))
    assert found.times == pytest.approx([n / 30 for n in (1, 2, 3)], abs=1e-6)
    assert (found.node.GetAttribute("Strain"), found.node.GetAttribute("Operator")) == (VALUES[0], "K")


@pytest.mark.parametrize("distance", [1e-5, 0.0005, 0.001, 0.0014, 0.0015, 0.0016, 0.002, 0.0024, 0.0025, 0.0026, 0.1])
def test_frames_at_any_distance_are_exported_with_their_times(slicer, tmp_path, distance):
    frames = [frame(number, step=distance) for number in range(4)]
    (path,), events = save("seq.nrrd", tmp_path / "copy", record(tmp_path, frames))
    assert events == []
    found = InSlicer(slicer, path)
    assert found.times == pytest.approx([number * distance for number in range(4)], abs=2e-6)


def test_a_frame_every_millisecond_keeps_its_time(slicer, tmp_path):
    frames = [frame(n, (1, 2, 2), step=0.001) for n in range(50)]
    (path,), _ = save("seq.nrrd", tmp_path / "out", record(tmp_path, frames))
    found = InSlicer(slicer, path)
    assert found.times == pytest.approx([n / 1000 for n in range(50)], abs=1e-6)


@pytest.mark.parametrize("format_", ["nii", "nii.gz"])
@pytest.mark.parametrize("matrix", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize(("shape", "dtype"), NIFTI_SHAPES, ids=str)
def test_one_frame_is_a_volume_that_slicer_opens(slicer, tmp_path, format_, shape, dtype, matrix):
    each = frame(5, shape, dtype, matrix)
    (_, path), _ = save(format_, tmp_path / "out", record(tmp_path, [each]))
    if len(shape) == 3:
        assertSame(fromSimpleITK(path), each)
    node = slicer.mrmlScene.AddNewNodeByClass(f"vtkMRML{'Vector' if len(shape) == 4 else 'Scalar'}VolumeNode")
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    storage.SetSingleFile(1)
    assert storage.ReadData(node)
    found = slicer.util.arrayFromVolume(node), slicer.util.arrayFromVTKMatrix(InSlicer._matrix(node))
    slicer.mrmlScene.RemoveNode(node)
    assertSame(found, each)


@pytest.mark.parametrize("matrix", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize("case", VOLUMES)
def test_volumes_of_dicom(slicer, tmp_path, case, matrix):
    frames, paths = exportedVolumes(tmp_path, case, matrix)
    for each, path in zip(frames, paths, strict=True):
        vector = each.components > 1
        node = slicer.mrmlScene.AddNewNodeByClass(f"vtkMRML{'Vector' if vector else 'Scalar'}VolumeNode")
        storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
        storage.SetFileName(str(path))
        storage.SetSingleFile(1)
        assert storage.ReadData(node)
        array = slicer.util.arrayFromVolume(node)
        matrix = slicer.util.arrayFromVTKMatrix(InSlicer._matrix(node))
        assertSame((array, matrix), each)
        slicer.mrmlScene.RemoveNode(node)


@pytest.mark.parametrize(
    "each",
    [
        lambda t: {"TemporalPositionIdentifier": t + 1},
        lambda t: {"AcquisitionNumber": t + 9},
        lambda t: {"AcquisitionDate": "20240102", "AcquisitionTime": f"10000{t}.5"},
        lambda t: {"TriggerTime": 1500 * t},
        lambda t: {},
    ],
)
def test_places_that_repeat_are_a_sequence(slicer, tmp_path, each):
    values = np.random.default_rng(0).integers(0, 999, (3, 4, 5, 6)).astype(np.int16)
    number = 0
    for t in range(3):
        for k in (2, 0, 3, 1):
            number += 1
            name = tmp_path / f"in/{(number * 5) % 13}"
            dicomFile(name, values[t, k], (0, 0, 2.5 * k), InstanceNumber=number, **each(t))
    entry = one(convert(tmp_path / "in", tmp_path / "out"))
    assert (entry.file, entry.slices, entry.volumes) == ("7_Core_A.seq.nrrd", 4, 3)
    path = tmp_path / "out" / entry.file
    found, matrix = fromUs(path)
    np.testing.assert_array_equal(found, values)
    np.testing.assert_allclose(np.diag(matrix), [0.25, 0.5, 2.5, 1])
    sequence = InSlicer(slicer, path)
    assert sequence.count == 3
    for t in range(3):
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(sequence.item(t)), values[t])
    timed = {"AcquisitionTime": 1.0, "TriggerTime": 1.5}
    step = next((seconds for name, seconds in timed.items() if name in each(1)), 1)
    assert [float(sequence.node.GetNthIndexValue(t)) for t in range(3)] == [0, step, 2 * step]
