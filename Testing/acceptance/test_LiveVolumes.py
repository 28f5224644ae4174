"""Live volumes in a real MRML scene: names, window, and time with many streams."""

import time

import numpy as np
import pytest
import slicerhost
import vtk
from RealTimeImagingLib.Model.Frame import Frame
from unit.clocks import Clock


@pytest.fixture(autouse=True)
def emptyScene(slicer):
    yield
    slicerhost.closeScene()


def frame(pixels, number=0, stream="Live"):
    return Frame(np.asarray(pixels), np.eye(4), stream, number, 1.7e9 + number)


def newVolumes(slicer, logic=None):
    from RealTimeImagingLib.Scene.LiveVolumes import LiveVolumes
    from RealTimeImagingLib.Scene.Views import Views

    return LiveVolumes(slicer.mrmlScene, Views(logic or slicer.app.applicationLogic()))


def newLiveVolume(slicer, clock):
    from RealTimeImagingLib.Scene.LiveVolume import LiveVolume

    return LiveVolume(slicer.mrmlScene, "Live", lambda stream: None, clock)


def window(volume):
    display = volume.node.GetDisplayNode()
    return display.GetWindow(), display.GetLevel()


def upTo(top, dtype=np.int16):
    """Return an image: one half 0, the other half this value."""
    return (np.arange(1000) % 2 * top).astype(dtype).reshape(1, 20, 50)


def test_a_stream_keeps_its_name_beside_nodes_of_other_kinds(slicer):
    """As in Slicer, where a camera node is called Camera."""
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLCameraNode", "Camera")
    volumes = newVolumes(slicer)
    volumes.show(frame(upTo(9), stream="Camera"))
    node = volumes.volume("Camera").node
    assert node.GetName() == "Camera"
    assert slicer.util.getNode("Camera") is node


def test_another_volume_of_the_name_is_not_hidden(slicer):
    mine = slicer.util.addVolumeFromArray(np.zeros((2, 3, 4), np.int16), name="Live")
    volumes = newVolumes(slicer)
    volumes.show(frame(upTo(9)))
    assert volumes.volume("Live").node.GetName() == "Live_1"
    assert mine.GetName() == "Live"


def test_the_node_of_a_loaded_scene_is_used_again(slicer):
    first = newVolumes(slicer)
    first.show(frame(upTo(9)))
    node = first.volume("Live").node
    volumes = newVolumes(slicer)
    assert volumes.volume("Other").node is None
    assert volumes.volume("Live").node is node
    slicer.mrmlScene.RemoveNode(node)
    assert volumes.volume("Live").node is None
    volumes.show(frame(upTo(9)))
    assert volumes.volume("Live").node.GetName() == "Live"


def test_a_nearly_black_first_image_does_not_leave_everything_white(slicer):
    clock = Clock(now=0.0)
    volume = newLiveVolume(slicer, clock)
    volume.show(frame(upTo(2)))
    assert window(volume) == (2, 1)
    clock.now = 0.1
    volume.show(frame(upTo(1000), 1))
    assert window(volume) == (1000, 500)
    steady = window(volume)
    clock.now = 1.5
    volume.show(frame(upTo(5000), 2))
    assert window(volume) == steady
    volume.forgetWindow()
    volume.show(frame(upTo(5000), 3))
    assert window(volume) == (5000, 2500)


def test_the_users_window_stays_also_during_the_first_second(slicer):
    volume = newLiveVolume(slicer, Clock(now=0.0))
    volume.show(frame(upTo(100)))
    volume.node.GetDisplayNode().SetWindowLevel(42, 21)
    volume.show(frame(upTo(1000), 1))
    assert window(volume) == (42, 21)


def test_the_button_sets_the_window_and_ends_the_refinement(slicer):
    volume = newLiveVolume(slicer, Clock(now=0.0))
    volume.show(frame(upTo(100)))
    volume.setWindow()
    volume.show(frame(upTo(1000), 1))
    assert window(volume) == (100, 50)


def test_always_follows_each_image_and_leaves_the_last_window(slicer):
    volume = newLiveVolume(slicer, Clock(now=0.0))
    volume.windowMode = "always"
    for number, top in enumerate((1000, 10, 300)):
        volume.show(frame(upTo(top), number))
        assert window(volume) == (top, top / 2)
    volume.windowMode = "once"
    volume.show(frame(upTo(7), 3))
    assert window(volume) == (300, 150)


def test_colour_is_shown_as_it_is_and_another_type_begins_anew(slicer):
    clock = Clock(now=0.0)
    volume = newLiveVolume(slicer, clock)
    colour = np.full((1, 4, 5, 3), 3, np.uint8)
    for number in range(3):
        volume.show(frame(colour, number))
        assert window(volume) == (255, 127.5)
    clock.now = 60.0
    volume.show(frame(upTo(1000, np.float32), 3))
    assert window(volume) == (1000, 500)
    volume.show(frame(upTo(50, np.int16), 4))
    assert window(volume) == (50, 25)


def test_each_of_many_streams_costs_the_same(slicer):
    """The scene is looked through once, not for each stream and image."""
    volumes = newVolumes(slicer)
    looked = []

    class Scene:
        """The scene, whose searches are counted."""

        def __getattr__(self, name):
            if name in ("GetNodesByClass", "GetFirstNodeByName"):
                looked.append(name)
            return getattr(slicer.mrmlScene, name)

    volumes._scene = Scene()
    pixels = np.ones((1, 2, 2), np.uint8)
    for number in range(40):
        volumes.volume(f"S{number}")._scene = slicer.mrmlScene
        volumes.show(frame(pixels, stream=f"S{number}"))
        volumes.show(frame(pixels, 1, stream=f"S{number}"))
    assert looked == ["GetNodesByClass"]


@pytest.fixture
def sliceLogics(slicer, monkeypatch):
    """Return an application logic with slice views in another order than Slicer's layouts.

    They are in a scene of their own, as the host's views may have nodes of the same names.
    """
    monkeypatch.setattr(slicer, "mrmlScene", slicer.vtkMRMLScene())
    made = slicer.vtkSlicerApplicationLogic()
    made.SetMRMLScene(slicer.mrmlScene)
    made.SetSliceLogics(vtk.vtkCollection())
    made.SetViewLogics(vtk.vtkCollection())
    logics = []
    for name in ("Slice4", "Yellow", "Red", "Another", "Green"):
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(made)
        made.GetSliceLogics().AddItem(logic)
        logic.SetMRMLScene(slicer.mrmlScene)
        logic.AddSliceNode(name)
        logics.append(logic)
    yield made
    made.GetSliceLogics().RemoveAllItems()
    for logic in logics:
        node, composite = logic.GetSliceNode(), logic.GetSliceCompositeNode()
        logic.SetMRMLScene(None)
        slicer.mrmlScene.RemoveNode(composite)
        slicer.mrmlScene.RemoveNode(node)
    made.SetMRMLScene(None)


def test_views_are_in_slicers_order(slicer, sliceLogics):
    from RealTimeImagingLib.Scene.Views import Views

    assert Views(sliceLogics).names() == ["Red", "Yellow", "Green", "Another", "Slice4"]


def test_the_views_that_draw_an_image_are_named(slicer, sliceLogics):
    """None after a slice moved: Slicer then draws every slice view."""
    volumes = newVolumes(slicer, sliceLogics)
    volumes.setWhere("Live", "Red")
    assert volumes.show(frame(np.ones((3, 4, 5), np.int16))) == {"Red"}
    volumes.setWhere("Slice", "Green")
    place = np.eye(4)
    for number, (z, views) in enumerate([(0, {"Green"}), (10, None), (10, {"Green"})]):
        place[2, 3] = z
        one = Frame(np.ones((1, 4, 5), np.int16), place.copy(), "Slice", number, 1.7e9)
        assert volumes.show(one) == views
    volumes.setWhere("Live", "none")
    assert volumes.show(frame(np.ones((3, 4, 5), np.int16), 1)) == set()


def test_views_are_fitted_anew_when_the_first_image_was_another(slicer, sliceLogics):
    """Within the first second, as long as the user leaves the view as it is."""
    from RealTimeImagingLib.Scene.LiveVolumes import LiveVolumes
    from RealTimeImagingLib.Scene.Views import Views

    clock = Clock(now=0.0)
    volumes = LiveVolumes(slicer.mrmlScene, Views(sliceLogics), clock)
    red, yellow = (
        logic
        for name in ("Red", "Yellow")
        for logic in (sliceLogics.GetSliceLogics().GetItemAsObject(index) for index in range(5))
        if logic.GetSliceNode().GetName() == name
    )
    place = np.eye(4)
    offsets = []
    for number, (clock.now, z) in enumerate([(0, 0), (0.1, 500), (0.2, 700), (2.0, 900)]):
        place[2, 3] = z
        side = 4 if number == 0 else 100
        volumes.show(Frame(np.ones((5, side, side), np.int16), place.copy(), "Live", number, 1.7e9))
        offsets.append(red.GetSliceOffset())
        if number == 1:
            assert red.GetSliceNode().GetFieldOfView()[0] >= 100
            yellow.GetSliceNode().SetFieldOfView(33, 33, 1)
    assert offsets[1] == pytest.approx(502, abs=0.6)
    assert offsets[2] == offsets[3] == pytest.approx(702, abs=0.6)
    assert yellow.GetSliceNode().GetFieldOfView()[:2] == (33, 33)


def test_a_volume_in_the_foreground_is_not_taken_out_of_it(slicer, sliceLogics):
    volumes = newVolumes(slicer, sliceLogics)
    volumes.show(frame(np.ones((3, 4, 5), np.int16)))
    node = volumes.volume("Live").node
    mine = slicer.util.addVolumeFromArray(np.zeros((2, 3, 4), np.int16))
    composites = [sliceLogics.GetSliceLogics().GetItemAsObject(index).GetSliceCompositeNode() for index in range(5)]
    for composite in composites:
        composite.SetBackgroundVolumeID(mine.GetID())
        composite.SetForegroundVolumeID(node.GetID())
    volumes.prepare(anew=False)
    volumes.show(frame(np.ones((3, 4, 5), np.int16), 1))
    assert {one.GetBackgroundVolumeID() for one in composites} == {mine.GetID()}


def test_an_image_takes_no_longer_in_a_scene_of_many_streams(slicer):
    volumes = newVolumes(slicer)
    pixels = np.ones((1, 8, 8), np.uint8)
    volumes.prepare(anew=True)
    volumes.show(frame(pixels, stream="First"))

    def least():
        times = []
        for number in range(30):
            began = time.perf_counter()
            volumes.show(frame(pixels, number, "First"))
            times.append(time.perf_counter() - began)
        return min(times)

    few = least()
    for number in range(300):
        volumes.setWhere(f"S{number}", "none")
        volumes.show(frame(pixels, stream=f"S{number}"))
    assert least() <= 3 * few + 50e-6
