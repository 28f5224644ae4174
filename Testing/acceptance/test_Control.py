"""Control of scanners: positions and commands to them, and views that follow their images."""

from __future__ import annotations

import time

import numpy as np
import pytest
import slicerhost
import vtk

from .conftest import until, untilRunning, untilStopped
from .test_DeviceNodes import POSE, pose

TURN = np.array(POSE)


class Peer:
    """A session with one source, to which ``count`` devices are connected; it keeps what is sent to them."""

    def __init__(self):
        from RealTimeImagingLib.Sources.OpenIGTLink import OpenIGTLinkSettings

        self.count, self.sent = 1, []
        self.settings = OpenIGTLinkSettings()

    def active(self):
        return [self]

    @property
    def peers(self):
        return set(range(self.count))

    def send(self, command, **values):
        self.sent.append((time.perf_counter(), {"command": command, **values}))

    def matrices(self):
        return [np.array(one["values"]["matrix"]) for _, one in self.sent if one["type"] == "TRANSFORM"]


@pytest.fixture
def peer(module):
    """One connected device."""
    return Peer()


@pytest.fixture
def events():
    """Events that the user sees."""
    return []


@pytest.fixture
def control(slicer, module, peer, events):
    """A DeviceControl whose session is the peer."""
    from RealTimeImagingLib.Host.Callbacks import Callbacks
    from RealTimeImagingLib.Host.DeviceControl import DeviceControl
    from RealTimeImagingLib.Scene.DeviceNodes import DeviceNodes

    callbacks = Callbacks()
    callbacks.addEventCallback(events.append)
    made = DeviceControl(peer, callbacks, DeviceNodes(slicer.mrmlScene), slicer.mrmlScene)
    yield made
    made.close()


@pytest.fixture
def errors(module):
    """The error classes of the loaded module."""
    from RealTimeImagingLib.Model import Errors

    return Errors


def codes(events):
    return [event.code for event in events]


def vtkMatrix(values):
    made = vtk.vtkMatrix4x4()
    made.DeepCopy(np.asarray(values, float).ravel().tolist())
    return made


def transformNode(slicer, values, parent=None):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Needle")
    node.SetMatrixTransformToParent(vtkMatrix(values))
    if parent:
        node.SetAndObserveTransformNodeID(parent.GetID())
    return node


def sliceNode(slicer, name="Red"):
    return next(node for node in slicer.util.getNodesByClass("vtkMRMLSliceNode") if node.GetLayoutName() == name)


def answer(kind, device="Scanner", after=0.0, **values):
    from RealTimeImagingLib.Model.DeviceMessage import DeviceMessage

    return DeviceMessage(kind, device, values, time.time() + after)


# ---- positions


def test_transformsAreSentInWorldCoordinates(slicer, control, peer):
    """A transform below another is sent with both; a matrix is sent as it is."""
    parent = transformNode(slicer, [[0, -1, 0, 5], [1, 0, 0, 60], [0, 0, 1, -700], [0, 0, 0, 1]])
    node = transformNode(slicer, POSE, parent)
    assert control.sendTransform(node) == 1
    assert control.sendTransform(vtkMatrix(POSE), device="PLANE_1") == 1
    assert control.sendTransform(POSE) == 1
    first, second, third = (command for _, command in peer.sent)
    np.testing.assert_allclose(
        first["values"]["matrix"],
        [[-1, 0, 0, 5 + 34.25], [0, -0.8, 0.6, 60 + 12.5], [0, 0.6, 0.8, -700 + 77.125], [0, 0, 0, 1]],
        atol=1e-12,
    )
    assert second["values"]["matrix"] == third["values"]["matrix"] == POSE
    assert [one["device"] for one in (first, second, third)] == ["PLANE", "PLANE_1", "PLANE"]
    assert {one["type"] for one in (first, second, third)} == {"TRANSFORM"}
    assert [one["command"] for one in (first, second, third)] == ["send"] * 3
    assert len({one["id"] for one in (first, second, third)}) == 3


@pytest.mark.parametrize(("name", "normal"), [("Red", (0, 0, 1)), ("Yellow", (-1, 0, 0)), ("Green", (0, 1, 0))])
def test_sliceViewIsSentAsItsPlane(slicer, control, peer, views, name, normal):
    """Centre, horizontal axis and normal of the view as a right-handed rotation, also where Slicer's axes are not."""
    node = sliceNode(slicer, name)
    before = slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())
    node.GetSliceToRAS().DeepCopy(np.hstack([before[:, :3], [[11], [-22], [33], [1]]]).ravel().tolist())
    node.UpdateMatrices()
    control.sendTransform(node)
    node.SetSliceOrigin(7, -9, 0)
    control.sendTransform(node)
    still, dragged = peer.matrices()
    for found in (still, dragged):
        np.testing.assert_allclose(found[:3, 2], normal, atol=1e-12)
        np.testing.assert_allclose(found[:3, 0], before[:3, 0], atol=1e-12)
        assert np.linalg.det(found[:3, :3]) == pytest.approx(1)
    np.testing.assert_allclose(still[:3, 3], [11, -22, 33])
    # The middle of the picture on the screen.
    columns, rows, _ = node.GetDimensions()
    seen = node.GetXYToRAS().MultiplyPoint((columns / 2, rows / 2, 0, 1))[:3]
    np.testing.assert_allclose(dragged[:3, 3], seen, atol=1e-9)
    node.SetSliceOrigin(0, 0, 0)


def test_markupsPlaneIsSentInWorldCoordinates(slicer, control, peer, errors):
    """Centre and axes without the size, also below a transform that scales."""
    plane = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsPlaneNode")
    with pytest.raises(errors.ControlError, match="not placed yet"):
        control.sendTransform(plane)
    plane.SetPlaneType(plane.PlaneTypePointNormal)
    plane.SetCenter((1.0, -20.0, 300.0))
    plane.SetNormal((0.0, 0.6, 0.8))
    control.sendTransform(plane)
    plane.SetAndObserveTransformNodeID(transformNode(slicer, np.diag([2.0, 2.0, 2.0, 1.0])).GetID())
    control.sendTransform(plane)
    first, second = peer.matrices()
    np.testing.assert_allclose(first[:3, 2], [0, 0.6, 0.8], atol=1e-9)
    np.testing.assert_allclose(first[:3, 3], [1, -20, 300], atol=1e-9)
    np.testing.assert_allclose(second[:3, :3], first[:3, :3], atol=1e-9)
    np.testing.assert_allclose(second[:3, 3], [2, -40, 600], atol=1e-9)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda matrix: matrix.__setitem__((0, 3), np.nan), "NaN"),
        (lambda matrix: matrix.__setitem__((1, 1), np.inf), "NaN or infinite"),
        (lambda matrix: matrix.__setitem__((3, 0), 0.1), "last row"),
        (lambda matrix: matrix.__imul__(np.diag([2.0, 2, 2, 1]).diagonal()), "lengths 2, 2, 2"),
        (lambda matrix: matrix.__setitem__((slice(None), 0), -matrix[:, 0]), "mirrors"),
        (lambda matrix: matrix.__setitem__((slice(0, 3), 0), [0, 0.6, 0.8]), "right angles"),
        (lambda matrix: matrix.__setitem__((slice(0, 3), slice(0, 3)), 0), "lengths 0"),
    ],
)
def test_matricesThatAreNoPositionAreRejected(control, peer, errors, change, words):
    """The error names the reason, and nothing is sent."""
    matrix = TURN.copy()
    change(matrix)
    with pytest.raises(errors.ControlError, match=words):
        control.sendTransform(matrix)
    assert peer.sent == []


def test_rotationsMayHaveRoundingErrors(control, peer, errors):
    """Numbers in single precision are sent; errors above a thousandth are rejected."""
    control.sendTransform(TURN.astype(np.float32).astype(float))
    control.sendTransform(TURN @ np.diag([1.0009, 1, 1, 1]))
    with pytest.raises(errors.ControlError, match="scales"):
        control.sendTransform(TURN @ np.diag([1.0011, 1, 1, 1]))
    assert len(peer.sent) == 2


def test_otherArgumentsAreRejected(slicer, control, peer, errors):
    """The error names the arguments that are possible."""
    scene = slicer.mrmlScene
    warp = scene.AddNewNodeByClass("vtkMRMLBSplineTransformNode")
    grid = vtk.vtkThinPlateSplineTransform()
    warp.SetAndObserveTransformToParent(grid)
    for thing, words in [
        (np.eye(3), "4x4, not 3 x 3"),
        ("PLANE", "a slice view, a transform"),
        (None, "a"),
        (scene.AddNewNodeByClass("vtkMRMLModelNode"), "vtkMRMLModelNode is no slice view"),
        (warp, "is a nonlinear transform"),
    ]:
        with pytest.raises(errors.ControlError, match=words):
            control.sendTransform(thing)
    for name in ("", "a" * 256, "Größe", "a\nb", 5):
        with pytest.raises(errors.ControlError, match="name"):
            control.sendTransform(np.eye(4), device=name)
    with pytest.raises(errors.ControlError, match="Choose a slice view"):
        control.followPlane(np.eye(4))
    for rate in (0, -1, float("nan"), 101, "fast"):
        with pytest.raises(errors.ControlError, match="rate"):
            control.followPlane(transformNode(slicer, np.eye(4)), rate=rate)
    assert peer.sent == []
    peer.count = 0
    with pytest.raises(errors.ControlError, match="No device is connected") as caught:
        control.sendTransform(np.eye(4))
    assert caught.value.code == "no-peer"


# ---- following


def test_fastMovesAreSentAtTheRate(slicer, control, peer, events):
    """A hundred moves in 0.3 s send few positions; the last one is the node's, and then nothing more is sent."""
    node = transformNode(slicer, pose(-1.0))
    control.followPlane(node, device="PLANE_0", rate=10)
    until(lambda: len(peer.sent) == 1)
    begun = time.perf_counter()
    for step in range(100):
        node.SetMatrixTransformToParent(vtkMatrix(pose(float(step), 5.0, -7.0)))
        slicerhost.runUntil(lambda step=step: time.perf_counter() - begun > 0.003 * (step + 1))
        if step == 50:
            until(lambda: len(peer.sent) >= 3)
    until(lambda: peer.matrices()[-1][0, 3] == 99)
    took = time.perf_counter() - begun
    assert 3 <= len(peer.sent) - 1 <= took * 10 + 2
    np.testing.assert_array_equal(peer.matrices()[-1], pose(99, 5, -7))
    times = [when for when, _ in peer.sent]
    assert min(np.diff(times)) > 0.095
    count = len(peer.sent)
    node.SetName("Renamed")
    node.Modified()
    slicerhost.runUntil(lambda: False, timeout=0.4)
    assert len(peer.sent) == count
    assert {one["device"] for _, one in peer.sent} == {"PLANE_0"}
    assert control.followed is node
    control.stopFollowing()
    assert control.followed is None
    node.SetMatrixTransformToParent(vtkMatrix(pose(1)))
    slicerhost.runUntil(lambda: False, timeout=0.2)
    assert len(peer.sent) == count
    assert events == []


def test_sliceViewAndPlaneAreFollowed(slicer, control, peer, views):
    """All ways to move a node count, also a transform above it; a second node replaces the first."""
    red = sliceNode(slicer)
    control.followPlane(red, rate=50)
    until(lambda: len(peer.sent) == 1)
    views.sliceWidget("Red").sliceLogic().SetSliceOffset(12.5)
    until(lambda: peer.matrices()[-1][2, 3] == 12.5)
    plane = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsPlaneNode")
    plane.SetPlaneType(plane.PlaneTypePointNormal)
    plane.SetCenter((1.0, 2.0, 3.0))
    plane.SetNormal((0.0, 0.0, 1.0))
    control.followPlane(plane, rate=50)
    until(lambda: peer.matrices()[-1][:3, 3].tolist() == [1, 2, 3])
    plane.SetCenter((4.0, 5.0, 6.0))
    until(lambda: np.allclose(peer.matrices()[-1][:3, 3], [4, 5, 6]))
    parent = transformNode(slicer, pose(100))
    plane.SetAndObserveTransformNodeID(parent.GetID())
    until(lambda: np.allclose(peer.matrices()[-1][:3, 3], [104, 5, 6]))
    parent.SetMatrixTransformToParent(vtkMatrix(pose(200)))
    until(lambda: np.allclose(peer.matrices()[-1][:3, 3], [204, 5, 6]))
    count = len(peer.sent)
    views.sliceWidget("Red").sliceLogic().SetSliceOffset(0)
    slicerhost.runUntil(lambda: False, timeout=0.1)
    assert len(peer.sent) == count


def test_aMovedParentTransformIsSent(slicer, control, peer):
    """The world matrix is sent."""
    parent = transformNode(slicer, pose(1))
    node = transformNode(slicer, pose(10), parent)
    control.followPlane(node, rate=50)
    until(lambda: peer.matrices() and peer.matrices()[-1][0, 3] == 11)
    parent.SetMatrixTransformToParent(vtkMatrix(pose(2)))
    until(lambda: peer.matrices()[-1][0, 3] == 12)


def test_invalidPlanesAreSkipped(slicer, control, peer, events):
    """One event; valid positions are sent again."""
    node = transformNode(slicer, pose(1))
    control.followPlane(node, rate=50)
    until(lambda: len(peer.sent) == 1)
    for scale in (2.0, 3.0, 4.0):
        node.SetMatrixTransformToParent(vtkMatrix(np.diag([scale, scale, scale, 1])))
        slicerhost.runUntil(lambda: False, timeout=0.05)
    assert codes(events) == ["plane-invalid"]
    assert "Needle" in events[0].text
    assert "scales" in events[0].text
    node.SetMatrixTransformToParent(vtkMatrix(pose(2)))
    until(lambda: len(peer.sent) == 2)
    node.SetMatrixTransformToParent(vtkMatrix(np.diag([2.0, 2.0, 2.0, 1])))
    until(lambda: len(events) == 2)


def test_positionsWaitForADevice(slicer, control, peer, events):
    """One event; the newest position is sent to a device that connects, also when the node has not moved since."""
    peer.count = 0
    node = transformNode(slicer, pose(1))
    control.followPlane(node, rate=50)
    until(lambda: codes(events) == ["no-peer"])
    node.SetMatrixTransformToParent(vtkMatrix(pose(2)))
    slicerhost.runUntil(lambda: False, timeout=0.2)
    peer.count = 1
    until(lambda: len(peer.sent) == 1, 3)
    assert peer.matrices()[0][0, 3] == 2
    assert codes(events) == ["no-peer"]


def test_aDeletedNodeAndAClosedSceneEndFollowing(slicer, control, peer, events):
    """An event names the reason."""
    node = transformNode(slicer, pose(1))
    control.followPlane(node)
    slicer.mrmlScene.RemoveNode(transformNode(slicer, pose(1)))
    assert events == []
    slicer.mrmlScene.RemoveNode(node)
    assert codes(events) == ["follow-ended"]
    assert "Needle was deleted" in events[0].text
    assert control.followed is None
    control.followPlane(transformNode(slicer, pose(1)))
    slicer.mrmlScene.Clear()
    assert codes(events) == ["follow-ended"] * 2
    assert "scene is closed" in events[1].text
    slicerhost.runUntil(lambda: False, timeout=0.1)
    assert peer.sent == []


# ---- commands


def test_commandsAreAnswered(control, peer, events):
    """The next STATUS or STRING answers a STRING; the event has its text."""
    control.takeMessage(answer("status", code=1, ok=True, text="idle"))
    number = control.sendCommand("START_SCAN")
    _, command = peer.sent[0]
    assert command["type"] == "STRING"
    assert command["values"] == {"text": "START_SCAN"}
    assert command["id"] == number
    assert command["device"].startswith("CMD_")
    assert len(command["device"]) <= 20
    control.takeMessage(answer("status", after=-10, code=1, ok=True, text="what was said before"))
    control.takeMessage(answer("transform", matrix=POSE))
    assert codes(events) == ["command-sent"]
    assert events[0].text == "START_SCAN was sent to 1 device."
    assert events[0].text.template == "{command} was sent to 1 device."
    control.takeMessage(answer("status", after=1, code=5, ok=False, text="the door is open"))
    assert codes(events) == ["command-sent", "answered"]
    assert events[1].level == "warning"
    assert events[1].text.startswith("Scanner answered START_SCAN after 1.")
    assert events[1].text.endswith("Error 5: the door is open")
    control.takeMessage(answer("status", after=2, code=1, ok=True))
    assert len(events) == 2
    control.sendCommand("STOP_SCAN", device="CMD_stop")
    control.takeMessage(answer("text", text="stopped\n"))
    assert events[-1].text.endswith(": stopped")
    assert events[-1].level == "info"


def test_answersFindTheirCommand(control, peer, events):
    """By the number of a COMMAND, by the name of ACK_ texts, and otherwise in order."""
    first = control.sendCommand("<Start a='1'/> now", form="COMMAND")
    second = control.sendCommand("START_SCAN", form="COMMAND")
    assert peer.sent[0][1]["values"] == {"id": first, "name": "<Start", "text": "<Start a='1'/> now"}
    control.takeMessage(answer("reply", id=second, name="START_SCAN", text="begun", ok=True))
    control.takeMessage(answer("reply", id=77, name="", text="", ok=True))
    control.takeMessage(answer("status", code=1, ok=True))
    assert [event.subject for event in events if event.code == "answered"] == ["START_SCAN"]
    control.takeMessage(answer("reply", id=first, name="Error", text="", ok=False))
    assert events[-1].level == "warning"
    for text in ("A", "B"):
        control.sendCommand(text)
    names = [command["device"] for _, command in peer.sent[2:]]
    assert len(set(names)) == 2
    control.takeMessage(answer("text", device=names[1].replace("CMD", "ACK"), text="yes"))
    assert events[-1].subject == "B"
    control.takeMessage(answer("text", device="ACK_5", text="yes"))
    assert events[-1].subject == "B"
    control.takeMessage(answer("text", text="yes"))
    assert events[-1].subject == "A"


def test_missingAnswersAreReported(control, peer, events):
    """After the timeout and not before, also when an earlier command was answered."""
    peer.count = 2
    control.sendCommand("START_UP", timeout=60)
    control.sendCommand("START_SCAN", form="COMMAND", timeout=0.3)
    begun = time.perf_counter()
    until(lambda: "no-answer" in codes(events), 3)
    assert 0.25 < time.perf_counter() - begun < 1
    assert events[-1].text == "START_SCAN was sent to 2 devices. No answer came within 0.3 s."
    assert events[-1].level == "warning"
    control.takeMessage(answer("status", code=1, ok=True))
    assert events[-1].subject == "START_UP"


def test_aBlockedWindowHidesNoAnswer(control, events):
    """An answer that arrived in time, but was not read yet, counts."""
    control.sendCommand("START_SCAN", timeout=0.1)
    time.sleep(0.5)
    slicerhost.processEvents()
    assert codes(events) == ["command-sent"]
    control.takeMessage(answer("status", code=1, ok=True))
    assert codes(events) == ["command-sent", "answered"]
    control.sendCommand("START_SCAN", timeout=0.1)
    time.sleep(0.5)
    until(lambda: codes(events)[-1] == "no-answer", 2)


def test_commandsThatCannotBeSentAreRejected(control, peer, events, errors):
    """The error names the reason, and no answer is awaited."""
    for arguments, words in [
        ({"text": " "}, "empty"),
        ({"text": "x" * 70000}, "longer"),
        ({"text": "x", "form": "IMAGE"}, "STRING or COMMAND"),
        ({"text": "x", "timeout": 0}, "time for an answer"),
        ({"text": "x", "device": "x" * 256}, "at most 255"),
    ]:
        with pytest.raises(errors.ControlError, match=words):
            control.sendCommand(**arguments)
    peer.count = 0
    with pytest.raises(errors.ControlError, match=r"No device is connected .* START_SCAN") as caught:
        control.sendCommand("START_SCAN")
    assert caught.value.code == "no-peer"
    assert events == []
    assert peer.sent == []


# ---- through the logic


def test_logicSendsToOpenIGTLinkSources(slicer, logic, incoming, errors, noErrors):
    """Other sources receive nothing; following ends with the scene, and an event reports it."""
    from RealTimeImagingLib import FolderSettings

    source = logic.start(FolderSettings(incoming))
    untilRunning(source)
    with pytest.raises(errors.ControlError, match="No device"):
        logic.sendTransform(np.eye(4))
    with pytest.raises(errors.ControlError, match="No device"):
        logic.sendCommand("START_SCAN")
    node = transformNode(slicer, pose(1))
    logic.devices.followPlane(node)
    assert logic.devices.followed is node
    slicer.mrmlScene.Clear()
    assert logic.devices.followed is None
    assert "follow-ended" in codes(logic.events())
    logic.devices.stopFollowing()


def test_logicSendsCommandsToTheProcess(logic, incoming, noErrors):
    """The process of an OpenIGTLink source gets a command; an event reports the answer."""
    from RealTimeImagingLib import FolderSettings
    from RealTimeImagingLib.Link.Messages import DeviceReport, EventReport
    from RealTimeImagingLib.Model.Event import Event
    from RealTimeImagingLib.Sources.OpenIGTLink import OpenIGTLinkSettings

    source = logic.start(FolderSettings(incoming))
    untilRunning(source)
    lines = []
    settings, send = source.settings, source.send
    source.settings, source.send = OpenIGTLinkSettings(), lambda name, **values: lines.append((name, values))
    assert not logic.devices.canSend()
    for code, who in (("connected", "a:1"), ("connected", "b:2"), ("disconnected", "b:2"), ("disconnected", "c:3")):
        logic._session.reports.deliver(EventReport(Event(code, who, subject=who)), source)
    assert logic.devices.canSend()
    assert logic.sendTransform(POSE, "PLANE_2") == 1
    number = logic.sendCommand("START_SCAN")
    source.settings, source.send = settings, send
    assert lines[0] == ("send", {"type": "TRANSFORM", "device": "PLANE_2", "values": {"matrix": POSE}, "id": 1})
    assert lines[1][1]["id"] == number == 2
    logic._session.reports.deliver(DeviceReport(answer("status", code=1, ok=True, text="on")), source)
    assert logic.events()[-1].text.endswith("OK: on")
    untilStopped(logic)
    assert not logic.devices.canSend()


# ---- views that follow images


def frames(logic, slicer, matrices, shape=(1, 30, 40)):
    for matrix in matrices:
        before = logic.statistics()["shown"]
        logic.push(np.arange(np.prod(shape), dtype=np.int16).reshape(shape), ijkToRAS=matrix)
        until(lambda before=before: logic.statistics()["shown"] == before + 1)
        yield slicer.util.arrayFromVTKMatrix(sliceNode(slicer).GetSliceToRAS())


def rotated(degrees, axis, start=None):
    transform = vtk.vtkTransform()
    transform.RotateWXYZ(degrees, *axis)
    turn = np.array(transform.GetMatrix().GetData()).reshape(4, 4)
    return turn @ (np.eye(4) if start is None else start)


IMAGE = np.array([[-0.5, 0, 0, 12], [0, -0.7, 0, -34], [0, 0, 3, 56], [0, 0, 0, 1.0]])
"""Columns run to the left and rows to the posterior, as in axial images of scanners."""


def test_viewsDoNotTurnUnlessAsked(slicer, logic, views, noErrors):
    """A volume moves no view; a single slice changes only the offset of a parallel view."""
    for found in frames(logic, slicer, [rotated(20, (1, 0, 0), IMAGE)], (4, 30, 40)):
        np.testing.assert_array_equal(found[:3, :3], np.diag([-1.0, 1.0, 1.0]))
    assert logic.volumes.following("Live") is None
    untilStopped(logic)


def test_viewFollowsTheImagePlane(slicer, logic, views, noErrors):
    """The view takes the orientation of every image, centred: first upright as Slicer shows anatomy, then turning."""
    logic.volumes.setFollowing("Live", "Red")
    assert logic.volumes.following("Live") == "Red"
    poses = [rotated(angle, (1, 2, 3), IMAGE) for angle in range(0, 360, 40)]
    green = sliceNode(slicer, "Green").GetOrientation()
    for found, image in zip(frames(logic, slicer, poses), poses, strict=True):
        axes = image[:3, :3] / np.linalg.norm(image[:3, :3], axis=0)
        np.testing.assert_allclose(found[:3, 0], axes[:, 0], atol=1e-6)
        np.testing.assert_allclose(found[:3, 1], -axes[:, 1], atol=1e-6)
        np.testing.assert_allclose(found[:3, 2], axes[:, 2], atol=1e-6)
        np.testing.assert_allclose(found[:3, 3], (image @ (19.5, 14.5, 0, 1))[:3], atol=1e-6)
    assert sliceNode(slicer, "Green").GetOrientation() == green
    sliceNode(slicer).SetOrientationToSagittal()
    for found in frames(logic, slicer, [poses[-1]]):
        np.testing.assert_allclose(found[:3, 0], axes[:, 0], atol=1e-6)
    logic.volumes.setFollowing("Live", None)
    before = slicer.util.arrayFromVTKMatrix(sliceNode(slicer).GetSliceToRAS())
    for found in frames(logic, slicer, [rotated(5, (0, 1, 0), poses[-1])], (3, 30, 40)):
        np.testing.assert_array_equal(found, before)
    untilStopped(logic)


@pytest.mark.parametrize(
    ("axes", "preset"),
    [
        ("LPS", "Axial"),
        ("RAS", "Axial"),
        ("ARS", "Axial"),
        ("PSR", "Sagittal"),
        ("AIL", "Sagittal"),
        ("LIP", "Coronal"),
        ("RSA", "Coronal"),
    ],
)
def test_firstImageIsUpright(slicer, logic, views, noErrors, axes, preset):
    """Left and right are never exchanged, for every order of the voxels."""
    directions = {"R": (1, 0, 0), "A": (0, 1, 0), "S": (0, 0, 1), "L": (-1, 0, 0), "P": (0, -1, 0), "I": (0, 0, -1)}
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([directions[letter] for letter in axes]).T
    logic.volumes.setFollowing("Live", "Green")
    for _ in frames(logic, slicer, [matrix], (5, 30, 40)):
        green = sliceNode(slicer, "Green")
        assert green.GetOrientation() == preset
        found = slicer.util.arrayFromVTKMatrix(green.GetSliceToRAS())
        np.testing.assert_allclose(found[:3, 3], (matrix @ (19.5, 14.5, 2, 1))[:3], atol=1e-9)
    untilStopped(logic)


def test_anImageAfterTheIdentityIsUpright(slicer, logic, views, noErrors):
    """A tracker without a pose sends the identity: the first real image decides which side is up."""
    logic.volumes.setFollowing("Live", "Green")
    sagittal = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])
    for matrix, preset in ((np.eye(4), "Axial"), (sagittal, "Sagittal"), (IMAGE, "Axial")):
        for _ in frames(logic, slicer, [matrix, matrix]):
            assert sliceNode(slicer, "Green").GetOrientation() == preset
    untilStopped(logic)


def test_aViewFollowsOneStreamInOneScene(slicer, logic, views, errors, noErrors):
    """Another stream replaces the first; a new scene starts without."""
    with pytest.raises(errors.SettingsError, match="no view Purple"):
        logic.volumes.setFollowing("Live", "Purple")
    logic.volumes.setFollowing("Live", "Red")
    logic.volumes.setFollowing("Other", "Red")
    assert logic.volumes.following("Live") is None
    assert logic.volumes.following("Other") == "Red"
    slicer.mrmlScene.Clear()
    assert logic.volumes.following("Other") is None


def test_viewFollowsThePresentImageInTheWorld(slicer, logic, views, noErrors):
    """The view turns at once, to the present image; transforms above the volume count."""
    for _ in frames(logic, slicer, [IMAGE]):
        pass
    parent = transformNode(slicer, pose(100, 0, 0))
    logic.liveVolumeNode().SetAndObserveTransformNodeID(parent.GetID())
    logic.volumes.setFollowing("Live", "Red")
    found = slicer.util.arrayFromVTKMatrix(sliceNode(slicer).GetSliceToRAS())
    np.testing.assert_allclose(found[:3, 3], (pose(100) @ IMAGE @ (19.5, 14.5, 0, 1))[:3], atol=1e-9)
    untilStopped(logic)
