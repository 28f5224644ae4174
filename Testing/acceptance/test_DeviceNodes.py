"""Device messages become nodes, are counted, and reach the callbacks."""

from __future__ import annotations

import base64
import json
import time

import numpy as np
import pytest
import slicerhost
import vtk

from .conftest import until, untilRunning, untilStopped

POSE = [[0.0, -0.8, 0.6, 12.5], [1.0, 0.0, 0.0, -34.25], [0.0, 0.6, 0.8, 77.125], [0.0, 0.0, 0.0, 1.0]]


@pytest.fixture
def message(module):
    """Makes a message."""
    from RealTimeImagingLib.Model.DeviceMessage import DeviceMessage

    def make(kind, device="Probe", receiveTime=1.7e9, deviceTime=None, attributes=None, **values):
        return DeviceMessage(kind, device, values, receiveTime, deviceTime, attributes or {})

    return make


@pytest.fixture
def nodes(module, slicer):
    """Device nodes of the scene, without a source."""
    from RealTimeImagingLib.Scene.DeviceNodes import DeviceNodes

    return DeviceNodes(slicer.mrmlScene)


@pytest.fixture
def source(logic, incoming):
    """A running source that sends the messages of a test."""
    from RealTimeImagingLib import FolderSettings
    from RealTimeImagingLib.Link.Messages import decode

    running = logic.start(FolderSettings(incoming))
    untilRunning(running)

    def say(*messages):
        for one in messages:
            logic._session.reports.deliver(decode(json.dumps({"message": one.toJSON()})), running)
        logic._session._batchEnded()

    yield say
    untilStopped(logic)


def encoded(values, dtype):
    return base64.b64encode(np.asarray(values, dtype).tobytes()).decode()


def pose(x, y=0.0, z=0.0):
    return [[1.0, 0.0, 0.0, x], [0.0, 1.0, 0.0, y], [0.0, 0.0, 1.0, z], [0.0, 0.0, 0.0, 1.0]]


def worldMatrix(slicer, node):
    matrix = vtk.vtkMatrix4x4()
    node.GetMatrixTransformToWorld(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


class Counting:
    """Counts an event of a node."""

    def __init__(self, node, event=vtk.vtkCommand.ModifiedEvent):
        self.count, self._node = 0, node
        self._tag = node.AddObserver(event, self._add)

    def _add(self, *_):
        self.count += 1

    def end(self):
        self._node.RemoveObserver(self._tag)
        return self.count


def test_transform(slicer, nodes, message):
    """World coordinates are as sent; one node, one event for each message, with times and metadata."""
    first = nodes.show(
        message("transform", matrix=POSE, deviceTime=1.6e9 + 0.25, attributes={"Tool: tip": "Zoë\0\ud800", "n": "1"})
    )
    assert first.IsA("vtkMRMLLinearTransformNode")
    assert first.GetName() == "Probe"
    np.testing.assert_array_equal(worldMatrix(slicer, first), POSE)
    assert float(first.GetAttribute("DeviceTime")) == 1.6e9 + 0.25
    assert float(first.GetAttribute("ReceiveTime")) == 1.7e9
    assert first.GetAttribute("Tool_tip") == "Zoë??"
    counting, moved = Counting(first), Counting(first, first.TransformModifiedEvent)
    assert nodes.show(message("transform", matrix=pose(1, 2, 3), attributes={"n": "2"})) is first
    assert (counting.end(), moved.end()) == (1, 1)
    np.testing.assert_array_equal(worldMatrix(slicer, first), pose(1, 2, 3))
    assert first.GetAttribute("n") == "2"
    assert first.GetAttribute("Tool_tip") is None
    assert first.GetAttribute("DeviceTime") is None


def test_aToolThatIsMissingStaysWhereItWas(slicer, nodes, message):
    """Trackers usually send the origin then; node and panel show the tracker's status."""
    missing = message("transform", matrix=np.eye(4).tolist(), attributes={"Status": "MISSING"}, receiveTime=1.7e9 + 5)
    assert nodes.show(missing) is None
    node = nodes.show(message("transform", matrix=POSE, attributes={"Status": "OK"}))
    nodes.show(missing)
    np.testing.assert_array_equal(worldMatrix(slicer, node), POSE)
    assert node.GetAttribute("Status") == "MISSING"
    assert float(node.GetAttribute("ReceiveTime")) == 1.7e9
    (state,) = nodes.states()
    assert (state.words, state.ok) == ("not seen (MISSING)", False)
    nodes.show(message("transform", matrix=POSE, attributes={"Status": "OK"}))
    assert node.GetAttribute("Status") == "OK"


def test_noPositionIsNotShown(slicer, nodes, message):
    """The node of a tool that the tracker does not see keeps its pose, and the panel shows the status."""
    assert nodes.show(message("transform", matrix=np.full((4, 4), np.nan).tolist())) is None
    node = nodes.show(message("transform", matrix=POSE))
    for bad in (np.full((4, 4), np.nan), np.zeros((4, 4)), np.full((4, 4), np.inf)):
        nodes.show(message("transform", matrix=bad.tolist(), receiveTime=1.7e9 + 5))
        np.testing.assert_array_equal(worldMatrix(slicer, node), POSE)
        assert float(node.GetAttribute("ReceiveTime")) == 1.7e9
    assert [state.words for state in nodes.states()] == ["no valid position"]


def test_metadataKeepsTheIdentityOfTheNode(slicer, nodes, message):
    """Reserved and invalid names are changed."""
    attributes = {"RealTimeImaging.Device": "other", "": "empty", "é: x": "1", "ReceiveTime": "never"}
    node = nodes.show(message("transform", matrix=POSE, attributes=attributes))
    assert node.GetAttribute("RealTimeImaging.Device") == "Probe"
    assert node.GetAttribute("_RealTimeImaging.Device") == "other"
    assert node.GetAttribute("ReceiveTime") == "1700000000.000000"
    assert node.GetAttribute("_x") == "1"


def test_nodesAreFoundAgain(slicer, nodes, message):
    """By another session, and in a saved scene; a node that the user deleted is created again."""
    from RealTimeImagingLib.Scene.DeviceNodes import DeviceNodes

    node = nodes.show(message("transform", matrix=POSE))
    node.SetName("My probe")
    again = DeviceNodes(slicer.mrmlScene)
    assert again.show(message("transform", matrix=pose(4))) is node
    assert again.show(message("transform", device="Other", matrix=pose(4))) is not node
    slicer.mrmlScene.RemoveNode(node)
    new = again.show(message("transform", matrix=pose(5)))
    assert new is not node
    assert worldMatrix(slicer, new)[0, 3] == 5
    assert again.node("transform", "Probe") is new
    assert again.node("text", "Probe") is None
    slicer.mrmlScene.Clear()
    again.forget()
    assert again.states() == []
    assert again.show(message("transform", matrix=pose(6))).GetScene() is slicer.mrmlScene


def test_nodesOfASavedSceneAreReused(slicer, nodes, message, tmp_path):
    """Every kind of node of a saved scene is updated after loading."""
    from RealTimeImagingLib.Scene.DeviceNodes import DeviceNodes

    way = {"name": "A", "position": [1.0, 2.0, 3.0], "entry": [4.0, 5.0, 6.0]}
    said = [
        message("transform", matrix=POSE),
        message("points", points=[{"name": "p", "position": [1.0, 2.0, 3.0]}]),
        message("points", points=[way]),
        message("polydata", points=encoded(np.eye(3), "<f4"), polygons=encoded([3, 0, 1, 2], "<i4")),
        message("text", text="hello"),
    ]
    for one in said:
        nodes.show(one)
    slicer.mrmlScene.SetURL(str(tmp_path / "scene.mrml"))
    for node in (slicer.mrmlScene.GetNthNode(i) for i in range(slicer.mrmlScene.GetNumberOfNodes())):
        if node.IsA("vtkMRMLStorableNode") and node.GetAttribute("RealTimeImaging.Device"):
            node.AddDefaultStorageNode()
            storage = node.GetStorageNode()
            if storage:
                name = f"{node.GetID()}.{storage.GetDefaultWriteFileExtension()}"
                storage.SetFileName(str(tmp_path / name))
                assert storage.WriteData(node)
    slicer.mrmlScene.Commit()
    slicer.mrmlScene.Clear()
    slicer.mrmlScene.Connect()
    again = DeviceNodes(slicer.mrmlScene)
    count = slicer.mrmlScene.GetNumberOfNodes()
    for one in said:
        node = again.show(one)
        assert node.GetAttribute("RealTimeImaging.Device") == "Probe"
    assert slicer.mrmlScene.GetNumberOfNodes() == count


def test_points(slicer, nodes, message):
    """All points of the newest message, in world coordinates, with name, size, colour and group; one event."""
    points = [
        {
            "name": "tip",
            "position": [1.5, -20.0, 300.0],
            "group": "Targets",
            "diameter": 4.5,
            "rgba": [51, 102, 255, 128],
        },
        {"name": "end", "position": [-7.0, 8.0, 9.0], "owner": "CT"},
    ]
    node = nodes.show(message("points", points=points))
    assert node.IsA("vtkMRMLMarkupsFiducialNode")
    assert slicer.util.arrayFromMarkupsControlPoints(node, world=True).tolist() == [[1.5, -20, 300], [-7, 8, 9]]
    assert [node.GetNthControlPointLabel(i) for i in range(2)] == ["tip", "end"]
    assert [node.GetNthControlPointDescription(i) for i in range(2)] == ["Targets", "CT"]
    display = node.GetDisplayNode()
    assert display.GetGlyphSize() == 4.5
    assert not display.GetUseGlyphScale()
    np.testing.assert_allclose(display.GetSelectedColor(), [0.2, 0.4, 1.0])
    assert display.GetOpacity() == pytest.approx(128 / 255)
    display.SetSelectedColor(1, 0, 0)
    node.SetNthControlPointVisibility(1, False)
    points[1]["position"] = [70.0, 80.0, 90.0]
    counting = Counting(node, node.PointModifiedEvent)
    assert nodes.show(message("points", points=points)) is node
    assert counting.end() == 1
    assert node.GetNthControlPointPosition(1) == (70, 80, 90)
    assert not node.GetNthControlPointVisibility(1)
    assert display.GetSelectedColor() == (1, 0, 0)
    nodes.show(message("points", points=[{"name": "new", "position": [1.0, 2.0, 3.0]}]))
    assert node.GetNumberOfControlPoints() == 1
    assert node.GetNthControlPointLabel(0) == "new"
    nodes.show(message("points", points=[{"name": "new", "position": [float("nan"), 2.0, 3.0]}]))
    assert node.GetNumberOfControlPoints() == 0
    nodes.show(message("points", points=points))
    nodes.show(message("points", points=[]))
    assert node.GetNumberOfControlPoints() == 0


def test_manyPoints(slicer, nodes, message):
    """The newest positions are shown; too many points are rejected with a reason."""
    for shift in (0.0, 5.5):
        places = np.random.default_rng(3).normal(size=(1000, 3)) + shift
        points = [{"name": "p", "position": place} for place in places.tolist()]
        node = nodes.show(message("points", points=points))
        np.testing.assert_allclose(slicer.util.arrayFromMarkupsControlPoints(node, world=True), places)
    with pytest.raises(Exception, match="5,001 points, more than"):
        nodes.show(message("points", points=points[:1] * 5001))
    assert node.GetNumberOfControlPoints() == 1000


def test_trajectories(slicer, nodes, message):
    """One line each, from entry to target; a line that is no longer sent is hidden."""

    def way(name, x):
        return {"name": name, "position": [x, 2.0, 3.0], "entry": [x, 50.0, -60.0], "rgba": [255, 0, 0, 255]}

    points = nodes.show(message("points", points=[{"name": "p", "position": [1.0, 2.0, 3.0]}]))
    first = nodes.show(message("points", points=[way("A", 1.0), way("B", 2.0), way("B", 3.0)]))
    assert first.IsA("vtkMRMLMarkupsLineNode")
    assert first.GetName() == "A"
    lines = [nodes.node("trajectory", "Probe", item) for item in ("A", "B", "B 2")]
    assert [slicer.util.arrayFromMarkupsControlPoints(line, world=True).tolist() for line in lines] == [
        [[x, 50, -60], [x, 2, 3]] for x in (1, 2, 3)
    ]
    assert nodes.show(message("points", points=[way("B", 5.0)])) is lines[1]
    assert [line.GetNumberOfControlPoints() for line in lines] == [0, 2, 0]
    assert points.GetNumberOfControlPoints() == 1
    nodes.show(message("points", points=[]))
    assert [line.GetNumberOfControlPoints() for line in [*lines, points]] == [0, 0, 0, 0]
    with pytest.raises(Exception, match="101 trajectories, more than"):
        nodes.show(message("points", points=[way(str(number), 1.0) for number in range(101)]))


def test_surface(slicer, nodes, message):
    """Points, cells and values are as sent; one event for each message."""
    corners = np.array([[0, 0, 0], [10, 0, 0], [0, 20, 0], [0, 0, 30], [5, 5, -5]], np.float32)
    values = {
        "points": encoded(corners, "<f4"),
        "vertices": encoded([1, 4], "<i4"),
        "lines": encoded([2, 0, 1, 3, 0, 1, 2], "<i4"),
        "polygons": encoded([3, 0, 1, 2, 4, 0, 1, 2, 3], "<i4"),
        "strips": "",
        "scalars": [
            {"name": "heat", "components": 2, "of": "points", "values": encoded(np.arange(10), "<f4")},
            {"name": "part", "components": 1, "of": "cells", "values": encoded([1, 2, 3, 4, 5], "<f4")},
        ],
    }
    node = nodes.show(message("polydata", **values))
    surface = node.GetPolyData()
    assert [surface.GetPoint(i) for i in range(5)] == [tuple(corner) for corner in corners.tolist()]
    assert [surface.GetCell(i).GetNumberOfPoints() for i in range(5)] == [1, 2, 3, 3, 4]
    assert surface.GetPointData().GetArray("heat").GetTuple(3) == (6, 7)
    assert surface.GetCellData().GetArray("part").GetValue(4) == 5
    assert node.GetDisplayNode() is not None
    bounds = np.zeros(6)
    node.GetRASBounds(bounds)
    assert bounds.tolist() == [0, 10, 0, 20, -5, 30]
    counting = Counting(node)
    values["points"] = encoded(corners + 1, "<f4")
    assert nodes.show(message("polydata", **values)) is node
    assert counting.end() == 1
    assert node.GetPolyData().GetPoint(0) == (1, 1, 1)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"polygons": encoded([3, 0, 1, 5], "<i4")}, "outside them"),
        ({"polygons": encoded([3, 0, 1, -1], "<i4")}, "outside them"),
        ({"lines": encoded([2, 0, 1, 9, 0], "<i4")}, "cut off"),
        ({"lines": encoded([-1, 0, 1], "<i4")}, "cut off"),
        ({"lines": encoded([2, 0, 1, -3], "<i4")}, "cut off"),
        ({"points": encoded(np.full((3, 3), np.nan), "<f4")}, "not finite"),
        ({"scalars": [{"name": "h", "components": 2, "of": "points", "values": encoded([1], "<f4")}]}, "were expected"),
    ],
)
def test_surfaceThatContradictsItself(nodes, message, wrong, words):
    """VTK would read beyond its memory: the message is rejected, and the shown surface stays."""
    good = {"points": encoded(np.eye(3), "<f4"), "polygons": encoded([3, 0, 1, 2], "<i4")}
    node = nodes.show(message("polydata", **good))
    with pytest.raises(Exception, match=words):
        nodes.show(message("polydata", **{**good, **wrong}))
    assert node.GetPolyData().GetNumberOfPolys() == 1


def test_textAndStates(slicer, nodes, message):
    """A text has a node; a status has none, and is in the panel's list."""
    node = nodes.show(message("text", device="Log", text="Größe 5\x01\nready"))
    assert node.GetText() == "Größe 5?\nready"
    counting = Counting(node)
    nodes.show(message("text", device="Log", text="next"))
    assert counting.end() == 1
    before = slicer.mrmlScene.GetNumberOfNodes()
    assert nodes.show(message("status", code=5, subCode=0, name="Denied", text="no access", ok=False)) is None
    assert nodes.show(message("sensor", device="Force", values=[21.5, 22, 1 / 3], unit=0, deviceTime=5.0)) is None
    for kind in ("command", "reply", "other"):
        assert nodes.show(message(kind, text="x")) is None
    assert slicer.mrmlScene.GetNumberOfNodes() == before
    states = {(state.device, state.kind): state for state in nodes.states()}
    assert states["Probe", "status"].words == "Error 5: no access"
    assert not states["Probe", "status"].ok
    assert states["Force", "sensor"].words == "21.5, 22.0, 0.333333"
    assert states["Force", "sensor"].time == 5.0
    assert states["Log", "text"].words == "next"


def test_nothingElseChanges(slicer, nodes, message, views):
    """No view, selection, active list of points, or parent transform changes."""
    selection = slicer.app.applicationLogic().GetSelectionNode()
    mine = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    selection.SetReferenceActivePlaceNodeClassName("vtkMRMLMarkupsFiducialNode")
    selection.SetReferenceActivePlaceNodeID(mine.GetID())

    class Logic:
        """A stand-in for Slicer's markups logic, which handles each added markups node."""

        def __init__(self):
            self.tag = slicer.mrmlScene.AddObserver(slicer.mrmlScene.NodeAddedEvent, self.added)

        def added(self, *_):
            node = slicer.mrmlScene.GetNthNode(slicer.mrmlScene.GetNumberOfNodes() - 1)
            if node.IsA("vtkMRMLMarkupsNode"):
                selection.SetReferenceActivePlaceNodeClassName(node.GetClassName())
                selection.SetReferenceActivePlaceNodeID(node.GetID())

    logic = Logic()
    before = [matrixOf(view) for view in slicer.util.getNodesByClass("vtkMRMLSliceNode")]
    way = {"name": "A", "position": [1.0, 2.0, 3.0], "entry": [4.0, 5.0, 6.0]}
    node = nodes.show(message("transform", matrix=POSE))
    nodes.show(message("points", points=[{"name": "p", "position": [1.0, 2.0, 3.0]}]))
    nodes.show(message("points", points=[way]))
    nodes.show(message("polydata", points=encoded(np.eye(3), "<f4"), polygons=encoded([3, 0, 1, 2], "<i4")))
    nodes.show(message("text", text="x"))
    slicer.mrmlScene.RemoveObserver(logic.tag)
    slicerhost.processEvents()
    assert selection.GetActivePlaceNodeID() == mine.GetID()
    assert selection.GetActivePlaceNodeClassName() == "vtkMRMLMarkupsFiducialNode"
    assert [matrixOf(view) for view in slicer.util.getNodesByClass("vtkMRMLSliceNode")] == before
    assert node.GetParentTransformNode() is None


def matrixOf(view):
    return view.GetSliceToRAS().GetData()


def test_devicesWithoutEnd(nodes, message):
    """A peer that sends endless new names does not fill the scene."""
    for number in range(500):
        nodes.show(message("sensor", device=str(number), values=[1]))
    with pytest.raises(Exception, match="More than 500 devices"):
        nodes.show(message("transform", device="one more", matrix=POSE))
    nodes.show(message("sensor", device="7", values=[2]))


def test_transformTakesLittleTime(nodes, message):
    """Of Slicer's main thread."""
    said = [message("transform", matrix=pose(float(x)), deviceTime=float(x), attributes={"a": "b"}) for x in range(500)]
    nodes.show(said[0])
    times = []
    for one in said:
        started = time.perf_counter()
        nodes.show(one)
        times.append(1000 * (time.perf_counter() - started))
    print("transform ms", sorted(times)[250], sorted(times)[475])
    assert sorted(times)[250] < 0.1


# ---- from the process to the scene


def test_everyMessageIsCountedAndHandedOn(slicer, logic, source, message, noErrors):
    """All to the callbacks, in order; the newest of each device into the scene."""
    heard = []
    logic.addMessageCallback(heard.append)
    logic.addMessageCallback(heard.append)
    said = [message("transform", f"Tool{n % 3}", matrix=pose(float(n)), receiveTime=1.7e9 + n) for n in range(3000)]
    node = None
    counted = []
    shown = logic._session.messages._show
    logic._session.messages._show = lambda one: (counted.append(one), shown(one))
    source(*said)
    assert [one.values["matrix"][0][3] for one in heard] == list(range(3000))
    assert logic.statistics()["messages"] == {"Tool0": 1000, "Tool1": 1000, "Tool2": 1000}
    until(lambda: len(counted) >= 3)
    assert len(counted) <= 6
    for tool in range(3):
        node = logic.devices.nodes.node("transform", f"Tool{tool}")
        assert worldMatrix(slicer, node)[0, 3] == 2997 + tool
    assert [state.words for state in logic.devices.states()] == [f"at {2997 + n}.0, 0.0, 0.0 mm" for n in range(3)]
    logic.removeMessageCallback(heard.append)
    source(message("text", text="x"))
    assert len(heard) == 3000
    assert logic.statistics()["messages"]["Probe"] == 1


def test_pointsAndTrajectoriesOfOneDevice(logic, source, message, noErrors):
    """Both are shown when they arrive together."""
    way = {"name": "A", "position": [1.0, 2.0, 3.0], "entry": [4.0, 5.0, 6.0]}
    point = {"name": "p", "position": [1.0, 2.0, 3.0]}
    source(message("points", points=[point]), message("points", points=[way]))
    until(lambda: logic.devices.nodes.node("trajectory", "Probe", "A"))
    assert logic.devices.nodes.node("points", "Probe").GetNumberOfControlPoints() == 1


def test_badMessagesAndCallbacks(logic, source, message):
    """One event each, and the next messages are shown."""
    events = []
    logic.addEventCallback(events.append)

    def failing(one):
        raise ValueError("no")

    logic.addMessageCallback(failing)
    bad = message("polydata", points=encoded(np.eye(3), "<f4"), polygons=encoded([3, 0, 1, 9], "<i4"))
    for _ in range(3):
        source(bad, message("text", text="x"))
    until(lambda: logic.devices.nodes.node("text", "Probe"))
    source(bad)
    until(lambda: not logic._session.messages.waiting)
    errors = [event for event in events if event.level == "error"]
    assert [event.code for event in errors] == ["callback-failed", "not-shown"]
    assert "Probe" in errors[-1].text
    assert logic.statistics()["messages"] == {"Probe": 7}


def test_newStartForgetsStates(logic, source, message, incoming, noErrors):
    """States of the previous run are not shown; the nodes stay."""
    from RealTimeImagingLib import FolderSettings

    source(message("transform", matrix=POSE))
    until(lambda: logic.devices.states())
    untilStopped(logic)
    node = logic.devices.nodes.node("transform", "Probe")
    untilRunning(logic.start(FolderSettings(incoming)))
    assert logic.devices.states() == []
    assert logic.statistics()["messages"] == {}
    assert logic.devices.nodes.node("transform", "Probe") is node


def test_sceneClose(slicer, logic, source, message, noErrors):
    """The nodes go with the scene, and nothing refers to them."""
    source(message("transform", matrix=POSE))
    until(lambda: logic.devices.nodes.node("transform", "Probe"))
    slicer.mrmlScene.Clear()
    assert logic.devices.states() == []
    assert logic.devices.nodes.node("transform", "Probe") is None
