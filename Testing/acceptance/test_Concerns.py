"""Why an image that was received is not seen: found in real views, mended by the button, silent for good images."""

from __future__ import annotations

import time

import numpy as np
import pytest
import vtk
from RealTimeImagingLib.Model.Frame import Frame
from unit.clocks import Clock

from .conftest import until

VIEWS = ("Red", "Yellow", "Green")


@pytest.fixture
def seconds():
    return Clock(now=100.0)


@pytest.fixture
def volumes(slicer, module, views, seconds):
    """Live volumes in the host's views, with a clock of their own for the concerns."""
    from RealTimeImagingLib.Scene.Concerns import Concerns
    from RealTimeImagingLib.Scene.LiveVolumes import LiveVolumes
    from RealTimeImagingLib.Scene.Views import Views

    slicerViews = Views(slicer.app.applicationLogic())
    made = LiveVolumes(slicer.mrmlScene, slicerViews)
    slicerViews.concern = Concerns(made, slicerViews, seconds).of
    return made


@pytest.fixture
def concern(volumes, seconds):
    """Returns the concern of a stream, examined now."""

    def examine(stream="Live"):
        seconds.now += 1.0
        return volumes._views.concern(stream)

    return examine


def noise(shape=(12, 40, 50), dtype=np.int16, low=0, high=1000, seed=1):
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)


def show(volumes, pixels, place=None, stream="Live", number=0):
    volumes.show(Frame(np.asarray(pixels), np.eye(4) if place is None else place, stream, number, 1.7e9 + number))
    return volumes.volume(stream).node


def mended(concern, found, label):
    """Press the button; the concern goes away at once."""
    assert found.label == label
    found.act()
    assert concern() is None


# ---- hidden


def test_hiddenInAllViews(volumes, concern, views):
    """Another volume took its place."""
    node = show(volumes, noise())
    assert concern() is None
    for name in VIEWS:
        views.sliceWidget(name).mrmlSliceCompositeNode().SetBackgroundVolumeID(None)
    found = concern()
    assert found.text == "No view shows Live."
    assert found.text.template == "No view shows {stream}."
    mended(concern, found, "Show it")
    assert {views.sliceWidget(name).mrmlSliceCompositeNode().GetBackgroundVolumeID() for name in VIEWS} == {
        node.GetID()
    }


def test_aSecondStreamIsShownBesideTheFirst(volumes, concern, views):
    show(volumes, noise(), stream="A")
    show(volumes, noise(), stream="B")
    mended(lambda: concern("B"), concern("B"), "Show it")
    assert concern("A") is None
    shown = [views.sliceWidget(name).mrmlSliceCompositeNode().GetBackgroundVolumeID() for name in VIEWS]
    assert shown == [volumes.volume(stream).node.GetID() for stream in "AAB"]


def test_aStreamThatTheUserHidIsNoConcern(volumes, concern):
    """Until the next run."""
    show(volumes, noise())
    volumes.setWhere("Live", "none")
    assert concern() is None
    volumes.prepare(anew=False)
    show(volumes, noise(), number=1)
    mended(concern, concern(), "Show it")


def test_aViewOutsideTheLayoutDoesNotShow(slicer, volumes, concern, views):
    """In a view that the layout lacks; in a layout without slice views."""
    show(volumes, noise())
    volumes.setWhere("Live", "Green")
    views.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    mended(concern, concern(), "Show it")
    assert views.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView
    views.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUp3DView)
    found = concern()
    volumes.setRendered("Live", True)
    assert concern() is None
    volumes.setRendered("Live", False)
    mended(concern, found, "Show it")
    assert views.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView


def test_aTransparentForeground(slicer, volumes, concern, views):
    mine = slicer.util.addVolumeFromArray(noise())
    slicer.util.setSliceViewerLayers(background=mine)
    volumes.setLayer("Live", "foreground", 0.0)
    show(volumes, noise())
    mended(concern, concern(), "Show it")
    assert views.sliceWidget("Red").mrmlSliceCompositeNode().GetForegroundOpacity() == 0.5
    for name in VIEWS:
        composite = views.sliceWidget(name).mrmlSliceCompositeNode()
        composite.SetForegroundVolumeID(mine.GetID())
    mended(concern, concern(), "Show it")
    assert views.sliceWidget("Red").mrmlSliceCompositeNode().GetForegroundVolumeID() == mine.GetID()


def test_withoutAWindowNothingIsExpected(slicer, volumes, concern, monkeypatch):
    show(volumes, noise())
    volumes.setWhere("Live", "Red")
    volumes._views.logics()["Red"].GetSliceCompositeNode().SetBackgroundVolumeID(None)
    assert concern() is not None
    monkeypatch.setattr(slicer.app, "_layout", None)
    assert concern() is None
    assert concern("Never seen") is None


# ---- outside


def moveAll(views, offset):
    for name in VIEWS:
        views.sliceWidget(name).sliceLogic().SetSliceOffset(offset)


def test_outsideTheShownSlices(volumes, concern, views):
    """Beyond the last slice in every view; one view that cuts the volume is enough."""
    show(volumes, noise())
    moveAll(views, 500)
    found = concern()
    assert found.text == "The image of Live is outside the slices that the views show."
    views.sliceWidget("Green").sliceLogic().SetSliceOffset(20)
    assert concern() is None
    views.sliceWidget("Green").sliceLogic().SetSliceOffset(39.4)
    assert concern() is None
    views.sliceWidget("Green").sliceLogic().SetSliceOffset(39.6)
    mended(concern, concern(), "Go to the image")
    for name in VIEWS:
        view = views.sliceWidget(name).sliceView()
        view.forceRender()
        assert view.pixels()[60:100, 60:100].std() > 20


def test_outsideByDragging(volumes, concern, views):
    """The slice is right, and the image lies beside the view."""
    show(volumes, noise())
    for name in VIEWS:
        views.sliceWidget(name).mrmlSliceNode().SetXYZOrigin(400, 0, 0)
    mended(concern, concern(), "Go to the image")


def test_aVolumeBelowATransformLiesInTheWorld(slicer, volumes):
    from RealTimeImagingLib.Scene.Nodes import ijkToWorld

    node = show(volumes, noise(), np.diag([2.0, 3.0, 4.0, 1.0]))
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy((0, -1, 0, 10, 1, 0, 0, 20, 0, 0, 1, 30, 0, 0, 0, 1))
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(matrix)
    node.SetAndObserveTransformNodeID(transform.GetID())
    assert ijkToWorld(node).tolist() == [[0, -3, 0, 10], [2, 0, 0, 20], [0, 0, 4, 30], [0, 0, 0, 1]]
    warp = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLBSplineTransformNode")
    warp.SetAndObserveTransformToParent(vtk.vtkThinPlateSplineTransform())
    node.SetAndObserveTransformNodeID(warp.GetID())
    assert ijkToWorld(node) is None


def test_outsideByATransform(slicer, volumes, concern):
    node = show(volumes, noise())
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(2, 3, 900)
    matrix.SetElement(0, 3, 900)
    matrix.SetElement(1, 3, 900)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    node.SetAndObserveTransformNodeID(transform.GetID())
    assert concern() is None
    transform.SetMatrixTransformToParent(matrix)
    mended(concern, concern(), "Go to the image")


def test_aTransformThatFlattensTheImage(slicer, volumes, concern):
    node = show(volumes, noise())
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(vtk.vtkMatrix4x4())
    node.SetAndObserveTransformNodeID(transform.GetID())
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(2, 2, 0)
    transform.SetMatrixTransformToParent(matrix)
    assert concern() is None


def test_aSingleSliceIsSeenInItsPlane(volumes, concern, views):
    """A view across it shows only a line, which nobody sees."""
    show(volumes, noise((1, 40, 50)))
    assert concern() is None
    views.sliceWidget("Red").sliceLogic().SetSliceOffset(30)
    views.sliceWidget("Yellow").sliceLogic().SetSliceOffset(20)
    mended(concern, concern(), "Go to the image")
    assert views.sliceWidget("Red").sliceLogic().GetSliceOffset() == 0


def test_anObliqueSliceIsShown(volumes, concern):
    """The first image of a tilted plane: the view turns, and nothing is wrong."""
    transform = vtk.vtkTransform()
    transform.RotateWXYZ(35, 1, 2, 3)
    place = np.array(transform.GetMatrix().GetData()).reshape(4, 4)
    place[:3, 3] = 100, -50, 30
    show(volumes, noise((1, 40, 50)), place)
    assert concern() is None


# ---- window and level


@pytest.mark.parametrize(("window", "level"), [(100, 5000), (100, -5000), (1e-3, 1e9), (1e7, 5e6)])
def test_windowAndLevelHideTheImage(volumes, concern, views, window, level):
    """All black or all white, as the view draws it; the window may also be far too wide."""
    node = show(volumes, noise())
    node.GetDisplayNode().SetWindowLevel(window, level)
    view = views.sliceWidget("Red").sliceView()
    view.forceRender()
    assert np.ptp(view.pixels()[70:90, 70:90]) == 0
    found = concern()
    assert found.text.startswith("Window and level hide Live: its values are 0 to 999, the window is ")
    mended(concern, found, "Set window/level")
    view.forceRender()
    assert view.pixels()[70:90, 70:90].std() > 20


@pytest.mark.parametrize("value", [0, 7, 255])
@pytest.mark.parametrize("shape", [(1, 2, 2), (12, 40, 50), (1, 40, 50, 3), (1, 40, 50, 4)])
def test_allValuesEqual(volumes, concern, value, shape):
    """Nothing can be done, and nothing is offered."""
    pixels = np.full(shape, value, np.uint8)
    if shape[-1] == 4:
        pixels[..., 3] = noise(shape[:3], np.uint8, 0, 255)
    show(volumes, pixels)
    found = concern()
    assert (found.text, found.label) == (f"All pixels of Live have the value {value}.", "")
    found.act()
    pixels.reshape(-1)[1] = value ^ 1
    show(volumes, pixels, number=1)
    assert concern() is None


def test_noFiniteValue(volumes, concern):
    show(volumes, np.full((2, 3, 4), np.nan, np.float32))
    assert concern().text == "No pixel of Live has a finite value."


# ---- good images


def sparse(shape, size):
    """Black, with one small bright object."""
    pixels = np.zeros(shape, np.float32)
    middle = [one // 2 for one in shape]
    pixels[tuple(slice(one - size, one + size) for one in middle)] = 40
    return pixels


GOOD = {
    "noise of 4 KB": lambda: noise((1, 32, 64)),
    "noise of 100 MB": lambda: noise((200, 512, 512)),
    "nearly flat": lambda: noise((12, 40, 50), low=1000, high=1002),
    "nearly flat, large": lambda: noise((40, 256, 256), np.float32, 1000, 1002),
    "negative": lambda: noise((12, 40, 50), low=-3000, high=-2000),
    "tiny numbers": lambda: noise((12, 40, 50), np.float64) * 1e-12,
    "RGB": lambda: noise((1, 480, 640, 3), np.uint8, 0, 255),
    "RGBA of one colour with a spot": lambda: np.where(
        np.arange(480 * 640 * 4).reshape(1, 480, 640, 4) == 9, 200, 0
    ).astype(np.uint8),
    "an almost black picture": lambda: noise((1, 480, 640, 3), np.uint8, 0, 2),
    "one bright pixel": lambda: np.where(np.arange(20000).reshape(1, 100, 200) == 777, 200, 0).astype(np.int16),
    "half not a number": lambda: np.where(noise((12, 40, 50)) > 500, np.nan, noise((12, 40, 50))).astype(np.float32),
    "a small object in a large black volume": lambda: sparse((60, 256, 256), 4),
    "a mask": lambda: noise((12, 40, 50), np.uint8, 0, 2),
}


@pytest.mark.parametrize("name", GOOD)
def test_goodImagesAreNoConcern(volumes, concern, name):
    show(volumes, GOOD[name]())
    for _again in range(2):
        assert concern() is None


def test_aDarkSliceOfAGoodVolumeIsNoConcern(volumes, concern, views):
    """Air above the head: the views are black, and rightly so."""
    pixels = np.zeros((60, 256, 256), np.int16)
    pixels[:30] = noise((30, 256, 256))
    show(volumes, pixels)
    volumes.setWhere("Live", "Red")
    views.sliceWidget("Red").sliceLogic().SetSliceOffset(50)
    assert concern() is None


def test_aLargeVolumeIsSampled(volumes, concern):
    """The sentence says so; an object in a slice that is shown counts."""
    pixels = np.zeros((40, 256, 256), np.int16)
    show(volumes, pixels)
    found = concern()
    count = int(found.text.split()[1].replace(",", ""))
    assert found.text == f"All {count:,} sampled pixels of Live have the value 0."
    assert 65_000 < count < 110_000
    pixels[19:21, 120:130, 120:130] = 100
    show(volumes, pixels, number=1)
    assert concern() is None


def test_theCostIsBounded(volumes, concern, seconds):
    """A volume of 100 MB, the cheap way and the most expensive one; between two examinations it costs nothing."""
    pixels = noise((200, 512, 512))
    node = show(volumes, pixels)
    costs = {}
    for name, level in (("good", 500), ("hidden", 9000)):
        node.GetDisplayNode().SetWindowLevel(1000, level)
        times = []
        for _again in range(5):
            began = time.perf_counter()
            found = concern()
            times.append(1000 * (time.perf_counter() - began))
        assert (found is None) == (name == "good")
        costs[name] = min(times)
    began = time.perf_counter()
    for _again in range(1000):
        assert volumes._views.concern("Live") is found
    costs["kept"] = time.perf_counter() - began
    print("ms", costs)
    whole = min(_timeOf(lambda: (pixels.min(), pixels.max())) for _again in range(3))
    assert costs["good"] < whole / 4
    assert costs["kept"] < costs["good"]


def _timeOf(action):
    began = time.perf_counter()
    action()
    return 1000 * (time.perf_counter() - began)


def test_theLogicTellsIt(logic, views, noErrors):
    """Through real processes: a pushed image, window and level off, and mended."""
    logic.push(noise(), name="Pushed")
    until(lambda: logic.statistics()["shown"] == 1)
    assert logic.views.concern("Pushed") is None
    logic.liveVolumeNode("Pushed").GetDisplayNode().SetWindowLevel(10, 9000)
    until(lambda: logic.views.concern("Pushed") is not None, 3)
    logic.views.concern("Pushed").act()
    assert logic.views.concern("Pushed") is None
