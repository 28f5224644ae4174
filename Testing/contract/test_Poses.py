"""Moving frames: the storage nodes and browser of unmodified Slicer show each frame at its own IJKToRAS."""

import numpy as np
import pytest
from contract.inSlicer import InSlicer
from RealTimeImagingLib.Model.Frame import Frame
from RealTimeImagingLib.Recording import openRecording
from unit.recordings import LEFT_HANDED, OBLIQUE, RIGHT_HANDED, START, frame, manifestOf, record

SHEARED = OBLIQUE @ np.array([[1, 0.2, 0, 0], [0, 1, 0.1, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
GEOMETRIES = {"right-handed": RIGHT_HANDED, "left-handed": LEFT_HANDED, "oblique": OBLIQUE, "sheared": SHEARED}


pytestmark = pytest.mark.usefixtures("emptyScene")


def moved(matrix, number):
    """The geometry rotated about a foreign axis by an angle unique to this number, and displaced."""
    angle = 0.1 * number
    turn = np.eye(4)
    turn[:3, :3] = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    tilt = np.eye(4)
    tilt[:3, :3] = [[1, 0, 0], [0, np.cos(angle / 3), -np.sin(angle / 3)], [0, np.sin(angle / 3), np.cos(angle / 3)]]
    shift = np.eye(4)
    shift[:3, 3] = np.array([3.0, -5.0, 7.0]) * number / 9
    return shift @ turn @ tilt @ matrix


def sequence(slicer, path, kind):
    """A sequence node in the scene as Slicer's storage node of this kind reads it."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode")
    storage = slicer.mrmlScene.AddNewNodeByClass(kind)
    storage.SetFileName(str(path))
    assert storage.ReadData(node), storage.GetUserMessages().GetAllMessagesAsString()
    return node


def opened(slicer, header):
    """(transform sequence, volume sequence) of a part."""
    poses = header.replace(".seq.nhdr", ".poses.seq.mha")
    return (
        sequence(slicer, poses, "vtkMRMLLinearTransformSequenceStorageNode"),
        sequence(slicer, header, "vtkMRMLVolumeSequenceStorageNode"),
    )


def toParent(slicer, node):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetMatrixTransformToParent(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def assertInPlace(slicer, volume, each):
    """Check that the volume shows each voxel of a frame at its world point, including the parent transform."""
    import vtk

    voxels, world = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(voxels)
    assert volume.GetParentTransformNode().GetMatrixTransformToWorld(world)
    matrix = slicer.util.arrayFromVTKMatrix(world) @ slicer.util.arrayFromVTKMatrix(voxels)
    k, j, i = np.indices(each.pixels.shape[:3])
    points = each.ijkToRAS @ np.stack([i.ravel(), j.ravel(), k.ravel(), np.ones(i.size)])
    places = np.rint(np.linalg.solve(matrix, points)).astype(int)
    assert np.allclose(matrix @ places, points, atol=1e-9)
    shown = slicer.util.arrayFromVolume(volume)[places[2], places[1], places[0]]
    assert np.array_equal(shown.reshape(each.pixels.shape), each.pixels)


@pytest.mark.parametrize("step", [1 / 30, 0.0026, 0.0015, 0.0004], ids=lambda step: f"{1 / step:.0f} Hz")
@pytest.mark.parametrize("matrix", GEOMETRIES.values(), ids=GEOMETRIES)
def test_a_browser_shows_each_frame_at_its_place(slicer, tmp_path, matrix, step):
    frames = [frame(number, matrix=moved(matrix, number), step=step) for number in range(12)]
    (header,) = record(tmp_path, frames)
    poses, volumes = opened(slicer, header)
    assert (poses.GetNumberOfDataNodes(), volumes.GetNumberOfDataNodes()) == (12, 12)
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    browser.SetAndObserveMasterSequenceNodeID(volumes.GetID())
    browser.AddSynchronizedSequenceNode(poses)
    logic = slicer.modules.sequences.logic()
    logic.UpdateProxyNodesFromSequences(browser)
    volume, transform = browser.GetProxyNode(volumes), browser.GetProxyNode(poses)
    volume.SetAndObserveTransformNodeID(transform.GetID())
    for number in (*range(12), 5, 0):
        browser.SetSelectedItemNumber(number)
        logic.UpdateProxyNodesFromSequences(browser)
        assertInPlace(slicer, volume, frames[number])


@pytest.mark.parametrize("matrix", GEOMETRIES.values(), ids=GEOMETRIES)
def test_a_transform_is_the_frame_matrix_times_the_inverse_part_matrix(slicer, tmp_path, matrix):
    frames = [frame(number, matrix=moved(matrix, number)) for number in range(3, 6)]
    (header,) = record(tmp_path, frames)
    poses, _ = opened(slicer, header)
    assert np.array_equal(toParent(slicer, poses.GetNthDataNode(0)), np.eye(4))
    for index, each in enumerate(frames):
        found = toParent(slicer, poses.GetNthDataNode(index))
        assert np.allclose(found @ frames[0].ijkToRAS, each.ijkToRAS, atol=1e-12)
        assert np.array_equal(found[3], [0, 0, 0, 1])


def test_3000_poses_at_1_kHz(slicer, tmp_path):
    frames = [frame(number, (1, 1, 1), matrix=moved(OBLIQUE, number), step=0.001) for number in range(3000)]
    poses, volumes = opened(slicer, *record(tmp_path, frames))
    assert (poses.GetNumberOfDataNodes(), volumes.GetNumberOfDataNodes()) == (3000, 3000)
    found = toParent(slicer, poses.GetNthDataNode(2999)) @ OBLIQUE
    assert np.allclose(found, moved(OBLIQUE, 2999), atol=1e-9)


def test_the_header_keeps_the_first_geometry_and_each_line_its_own(slicer, tmp_path):
    frames = [frame(number, matrix=moved(RIGHT_HANDED, number)) for number in range(3)]
    (header,) = record(tmp_path, frames)
    found = InSlicer(slicer, header)
    for index in range(3):
        assert np.array_equal(found.atVoxels(index, frames[0].ijkToRAS), frames[index].pixels)
    assert all(
        np.array_equal(entry["ijkToRAS"], each.ijkToRAS)
        for entry, each in zip(openRecording(header).frames, frames, strict=True)
    )


def test_only_parts_that_move_have_poses(tmp_path):
    still = [frame(number) for number in range(2)]
    # Minus zero is the same geometry.
    zero = Frame(frame(2).pixels, np.where(RIGHT_HANDED == 0, -0.0, RIGHT_HANDED), "Scan", 2, START + 1)
    moving = [frame(number, (1, 1, 1), matrix=moved(OBLIQUE, number)) for number in range(3, 5)]
    headers = record(tmp_path, [*still, zero, *moving])
    assert [entry["poses"] for entry in manifestOf(headers[0])["parts"]] == [None, "Test-Scan_2.poses.seq.mha"]
    assert [path.name for path in tmp_path.glob("*.poses.*")] == ["Test-Scan_2.poses.seq.mha"]
