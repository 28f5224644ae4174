"""Layers, colours, 3D and layouts of live volumes, in the pictures that the views draw."""

from __future__ import annotations

import numpy as np
import pytest
from RealTimeImagingLib.Model.Errors import SettingsError
from RealTimeImagingLib.Model.Frame import Frame

VIEWS = ("Red", "Yellow", "Green")


def frame(value, stream="Live", number=0, shape=(20, 32, 32), dtype=np.int16, spacing=1.0):
    """A cube of one value, 0 at one voxel, centred on the origin."""
    pixels = np.full(shape, value, dtype)
    pixels[0, 0, 0] = 0
    place = np.diag([spacing, spacing, spacing, 1.0])
    place[:3, 3] = [-spacing * (size - 1) / 2 for size in shape[2::-1]]
    return Frame(pixels, place, stream, number, 1.7e9 + number)


@pytest.fixture
def volumes(logic, views):
    """The live volumes; window and level are the user's, 0 to 200."""
    return logic.volumes


@pytest.fixture
def show(volumes):
    """Shows a frame with a window of 200."""

    def showFrame(value, stream="Live", **more):
        volumes.show(frame(value, stream, **more))
        node = volumes.volume(stream).node
        node.GetDisplayNode().SetWindowLevel(200, 100)
        return node

    return showFrame


@pytest.fixture
def brightness(views):
    """Brightness and colour in the middle of a view, as drawn."""

    def look(name="Red"):
        view = views.sliceWidget(name).sliceView()
        view.forceRender()
        return view.pixels()[70:90, 70:90].reshape(-1, 3).mean(axis=0)

    return look


def layers(views, name):
    composite = views.sliceWidget(name).mrmlSliceCompositeNode()
    return composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID()


def test_aLiveMapIsDrawnOverTheUsersAnatomy(slicer, volumes, show, views, brightness):
    """The anatomy that the stream had replaced comes back below it; opacity mixes both."""
    anatomy = slicer.util.addVolumeFromArray(np.full((20, 32, 32), 40, np.int16), frame(0).ijkToRAS, "Anatomy")
    anatomy.CreateDefaultDisplayNodes()
    anatomy.GetDisplayNode().SetAutoWindowLevel(False)
    anatomy.GetDisplayNode().SetWindowLevel(200, 100)
    slicer.util.setSliceViewerLayers(background=anatomy)
    node = show(160, "Map")
    assert brightness() == pytest.approx(160 * 255 / 200, abs=2)
    volumes.setLayer("Map", "foreground", 0.5)
    assert {layers(views, name) for name in VIEWS} == {(anatomy.GetID(), node.GetID())}
    for opacity in (0.5, 0.0, 0.25, 1.0):
        volumes.setLayer("Map", "foreground", opacity)
        mixed = (40 + opacity * 120) * 255 / 200
        assert brightness() == pytest.approx(mixed, abs=3), opacity
    volumes.setLayer("Map", "background")
    assert {layers(views, name) for name in VIEWS} == {(node.GetID(), None)}
    assert brightness() == pytest.approx(160 * 255 / 200, abs=2)
    assert volumes.layer("Map") == ("background", 0.5)


def test_aForegroundStreamLeavesTheBackgroundFromItsFirstImage(slicer, volumes, show, views, brightness):
    """Chosen before the stream starts; zoom and slice stay the user's."""
    anatomy = slicer.util.addVolumeFromArray(np.full((20, 32, 32), 40, np.int16), frame(0).ijkToRAS, "Anatomy")
    slicer.util.setSliceViewerLayers(background=anatomy, fit=True)
    red = views.sliceWidget("Red").mrmlSliceNode()
    red.SetFieldOfView(77, 77, 1)
    volumes.setLayer("Map", "foreground", 0.3)
    node = show(100, "Map")
    assert {layers(views, name) for name in VIEWS} == {(anatomy.GetID(), node.GetID())}
    assert red.GetFieldOfView()[0] == 77
    show(60, "Live")
    assert layers(views, "Red") == (volumes.volume("Live").node.GetID(), node.GetID())
    assert volumes.where("Live") == "all"


def test_aSecondStreamBecomesAForegroundInAllViews(volumes, show, views):
    """Though it was in no view; where the user chose "No view", it stays hidden."""
    show(60, "Live")
    for stream, where in (("Map", None), ("Hidden", "none")):
        if where:
            volumes.setWhere(stream, where)
        show(100, stream)
        assert volumes.where(stream) == "none"
        volumes.setLayer(stream, "foreground")
    both = volumes.volume("Live").node.GetID(), volumes.volume("Map").node.GetID()
    assert {layers(views, name) for name in VIEWS} == {both}
    assert [volumes.where(stream) for stream in ("Map", "Hidden")] == ["all", "none"]


def test_aForegroundWithoutABackgroundIsFitted(volumes, show, views, brightness):
    """Slicer draws it opaque."""
    volumes.setLayer("Map", "foreground", 0.3)
    show(100, "Map")
    assert brightness() == pytest.approx(100 * 255 / 200, abs=2)
    assert min(views.sliceWidget("Red").mrmlSliceNode().GetFieldOfView()[:2]) == pytest.approx(32, abs=1)


def test_theUsersForegroundIsNeverTakenAway(slicer, volumes, show, views):
    """A stream that is to be the foreground leaves such a view alone; when no view is free, it says so."""
    mine = slicer.util.addVolumeFromArray(np.zeros((2, 3, 4), np.int16))
    views.sliceWidget("Green").mrmlSliceCompositeNode().SetForegroundVolumeID(mine.GetID())
    node = show(100)
    volumes.setLayer("Live", "foreground")
    assert [layers(views, name)[1] for name in VIEWS] == [node.GetID(), node.GetID(), mine.GetID()]
    volumes.setLayer("Live", "background")
    volumes.setWhere("Live", "none")
    assert [layers(views, name) for name in VIEWS] == [(None, None), (None, None), (None, mine.GetID())]
    volumes.setWhere("Live", "Green")
    with pytest.raises(SettingsError, match="another volume"):
        volumes.setLayer("Live", "foreground")
    assert layers(views, "Green") == (node.GetID(), mine.GetID())
    assert volumes.layer("Live")[0] == "background"
    views.sliceWidget("Red").mrmlSliceCompositeNode().SetForegroundVolumeID(node.GetID())
    volumes.setWhere("Live", "none")
    assert layers(views, "Red")[1] == node.GetID()


def test_anotherStreamTakesTheForegroundOver(volumes, show, views):
    first = show(100, "A")
    for name in ("A", "B"):
        volumes.setLayer(name, "foreground")
    second = show(50, "B")
    assert layers(views, "Red") == (None, second.GetID())
    volumes.setWhere("B", "Yellow")
    volumes.setWhere("A", "Red")
    assert [layers(views, name)[1] for name in VIEWS] == [first.GetID(), second.GetID(), None]


def test_aStreamThatBecomesColourStaysInTheForeground(volumes, show, views):
    volumes.setLayer("Live", "foreground", 0.4)
    show(100)
    colour = np.full((20, 32, 32, 3), 90, np.uint8)
    volumes.show(Frame(colour, frame(0).ijkToRAS, "Live", 1, 1.7e9))
    node = volumes.volume("Live").node
    assert node.IsA("vtkMRMLVectorVolumeNode")
    assert layers(views, "Red") == (None, node.GetID())
    volumes.setLayer("Live", "background")
    assert layers(views, "Red") == (node.GetID(), None)


def test_otherLayersAreRefused(volumes):
    for layer, opacity in (("label", 0.5), ("foreground", 1.5), ("foreground", float("nan"))):
        with pytest.raises(SettingsError, match="opacity"):
            volumes.setLayer("Live", layer, opacity)


def test_coloursAreSlicers(volumes, show, brightness):
    """By name, before or after the first image; a grey cube becomes red."""
    show(190)
    red, green, blue = brightness()
    assert red == green == blue
    volumes.setColours("Live", "Red")
    red, green, blue = brightness()
    assert red > 200
    assert green == blue == 0
    assert volumes.colours("Live") == "Red"
    volumes.setColours("Other", "InvertedGrey")
    node = show(190, "Other")
    assert node.GetDisplayNode().GetColorNode().GetName() == "InvertedGrey"
    with pytest.raises(SettingsError, match="no colour map '"):
        volumes.setColours("Live", "Purple")
    with pytest.raises(SettingsError, match="no colour map '"):
        volumes.setColours("Live", "\ud800")
    volumes.setColours("Live", "")
    assert volumes.colours("Live") == ""


def test_windowIsKept(volumes):
    """ "keep" sets a new node once, and then neither in this run nor in the next; other streams follow their choice."""
    volumes.setWindowMode("Live", "keep")
    display = None
    for run, top in enumerate((100, 300)):
        volumes.prepare(anew=True)
        for stream in ("Live", "Other"):
            volumes.show(frame(top, stream, run))
        display = volumes.volume("Live").node.GetDisplayNode()
        assert display.GetWindow() == 100
        assert volumes.volume("Other").node.GetDisplayNode().GetWindow() == top
    volumes.setWindowMode("Live", "always")
    volumes.show(frame(700, number=9))
    assert display.GetWindow() == 700
    volumes.setWindowMode("Live", "keep")
    volumes.show(frame(50, number=10))
    assert display.GetWindow() == 700
    assert volumes.windowMode("Live") == "keep"
    with pytest.raises(SettingsError, match="Window and level"):
        volumes.setWindowMode("Live", "never")


# ---- 3D


def test_aVolumeIsRenderedIn3D(volumes, show, views):
    """Drawn in the 3D view, and again with each image."""
    show(180, spacing=6.0)
    view = views.threeDWidget(0).threeDView()

    def picture():
        view.forceRender()
        return view.pixels().astype(int)

    volumes.setRendered("Live", True)
    assert volumes.rendered("Live")
    assert "1" in volumes.show(frame(181, number=1, spacing=6.0))
    drawn = picture()
    volumes.setRendered("Live", False)
    assert "1" not in volumes.show(frame(181, number=2, spacing=6.0))
    empty = picture()
    assert np.median(np.abs(drawn - empty)[60:100, 60:100, 0]) > 50
    volumes.setRendered("Live", True)
    np.testing.assert_allclose(picture(), drawn, atol=2)
    volumes.show(frame(0, number=3, spacing=6.0))
    assert np.abs(picture() - empty)[60:100, 60:100].mean() < 2


def test_theUserRemovesTheNodesOfTheRendering(slicer, volumes, show):
    """The slice views go on."""
    node = show(180)
    volumes.setRendered("Live", True)
    for index in reversed(range(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLVolumePropertyNode"))):
        slicer.mrmlScene.RemoveNode(slicer.mrmlScene.GetNthNodeByClass(index, "vtkMRMLVolumePropertyNode"))
    node = volumes.volume("Live").node
    node.GetDisplayNode().SetWindow(3)
    volumes.show(frame(7, number=1))
    assert slicer.util.arrayFromVolume(node).max() == 7


def test_whatCannotBeRenderedSaysWhy(slicer, volumes, show, views, monkeypatch):
    assert volumes.renderingProblem("Live") == ""
    volumes.setRendered("Slice", True)
    show(5, "Slice", shape=(1, 32, 32))
    volumes.show(Frame(np.zeros((4, 4, 4, 3), np.uint8), np.eye(4), "Colour", 0, 1.7e9))
    for stream, words in (("Slice", "single slice"), ("Colour", "Colour images")):
        assert words in volumes.renderingProblem(stream)
        with pytest.raises(SettingsError, match=words):
            volumes.setRendered(stream, True)
    volumes.setRendered("Slice", False)
    monkeypatch.delattr(slicer.modules, "volumerendering")
    assert "no Volume Rendering module" in volumes.renderingProblem("Live")
    show(5)
    with pytest.raises(SettingsError, match="no Volume Rendering module"):
        volumes.setRendered("Live", True)


# ---- arrangement


def placeOf(views, name):
    node = views.sliceWidget(name).mrmlSliceNode()
    values = *node.GetSliceToRAS().GetData(), *node.GetXYZOrigin(), *node.GetFieldOfView()
    return tuple(round(value, 9) for value in values)  # Slicer computes the width from the height in one more step


@pytest.mark.parametrize(("count", "viewsOfLayout"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (9, 9)])
def test_streamsAreArrangedAndBack(slicer, volumes, show, views, brightness, count, viewsOfLayout):
    """Each stream is drawn in a view of its own; a second call restores layout, planes, zoom and streams."""
    streams = [f"S{number}" for number in range(count)]
    nodes = [show(20 * (number + 1), stream) for number, stream in enumerate(streams)]
    yellow = views.sliceWidget("Yellow").mrmlSliceNode()
    yellow.SetFieldOfView(55 * yellow.GetDimensions()[0] / yellow.GetDimensions()[1], 55, 1)
    before = [placeOf(views, name) for name in VIEWS], views.layout, [layers(views, name) for name in VIEWS]
    assert not volumes.arranged
    volumes.arrange()
    assert volumes.arranged
    mapped = [name for name in views.sliceViewNames() if views.sliceWidget(name).mrmlSliceNode().IsMappedInLayout()]
    assert len(mapped) == viewsOfLayout
    where = [volumes.where(stream) for stream in streams]
    assert len(set(where)) == count
    for number, name in enumerate(where):
        assert layers(views, name)[0] == nodes[number].GetID()
        assert brightness(name) == pytest.approx(20 * (number + 1) * 255 / 200, abs=2)
        assert views.sliceWidget(name).mrmlSliceNode().GetOrientation() == "Axial"
    volumes.endArrangement()
    assert not volumes.arranged
    assert ([placeOf(views, name) for name in VIEWS], views.layout, [layers(views, name) for name in VIEWS]) == before
    assert [volumes.where(stream) for stream in streams] == ["all", *["none"] * (count - 1)]


def test_arrangedViewsAreFittedWhenTheyHaveTheirSizes(slicer, volumes, show, views):
    """Slicer gives the views of a new layout their sizes later, and keeps their zoom then."""
    node = show(20)
    volumes.arrange()
    view = views.sliceWidget(volumes.where("Live")).mrmlSliceNode()
    columns, rows = view.GetDimensions()[:2]
    width, height, depth = view.GetFieldOfView()
    view.SetDimensions(columns // 4, rows, 1)
    view.SetFieldOfView(width / 4, height, depth)
    show(21)
    bounds = [0.0] * 6
    node.GetRASBounds(bounds)
    assert view.GetFieldOfView()[0] >= bounds[1] - bounds[0] - 1e-3
    assert view.GetFieldOfView()[1] >= bounds[3] - bounds[2] - 1e-3


def test_arrangingKeepsForegroundsAndTheUsersVolumes(slicer, volumes, show, views):
    """A foreground stays over the arranged streams, and the user's volumes are back afterwards."""
    mine = slicer.util.addVolumeFromArray(np.zeros((2, 3, 4), np.int16))
    show(20, "A")
    show(40, "B")
    volumes.setLayer("Map", "foreground")
    overlay = show(60, "Map")
    volumes.setWhere("A", "Red")
    views.sliceWidget("Yellow").mrmlSliceCompositeNode().SetBackgroundVolumeID(mine.GetID())
    volumes.arrange()
    assert [layers(views, name)[1] for name in ("Red", "Yellow")] == [overlay.GetID()] * 2
    assert [volumes.where(stream) for stream in ("A", "B", "Map")] == ["Red", "Yellow", "all"]
    volumes.endArrangement()
    assert layers(views, "Yellow")[0] == mine.GetID()


def test_anotherLayoutOfTheUserEndsTheArrangement(slicer, volumes, show, views):
    with pytest.raises(SettingsError, match="no live volume"):
        volumes.arrange()
    show(20)
    volumes.arrange()
    views.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    assert not volumes.arranged
    volumes.endArrangement()
    assert volumes.where("Live") == "Red"


def test_anEndedArrangementIsNoChoiceOfTheUser(slicer, volumes, show, views):
    """Arranged again after another layout, and in the next scene, streams return to where they were at first."""
    import slicerhost

    show(20)
    volumes.arrange()
    views.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    volumes.arrange()
    volumes.endArrangement()
    assert volumes.where("Live") == "all"
    assert len({layers(views, name) for name in VIEWS}) == 1
    volumes.arrange()
    slicerhost.closeScene()
    show(20)
    assert volumes.where("Live") == "all"


def test_nothingIsDrawnBetweenTwoStates(slicer, volumes, show, views):
    """A busy window draws at each change, at once; VTK must not meet a view whose layers are half changed."""
    import slicerhost

    def busy():
        for name in views.sliceViewNames():
            views.sliceWidget(name).sliceView()._scheduledAt = 1e-9

    show(100, "A")
    show(50, "B")
    for change in (
        lambda: volumes.setLayer("A", "foreground", 0.4),
        lambda: volumes.setWhere("A", "Red"),
        lambda: volumes.setLayer("A", "background"),
        lambda: volumes.setWhere("A", "all"),
        lambda: volumes.setLayer("A", "foreground"),
        volumes.arrange,
        volumes.endArrangement,
        lambda: volumes.setWhere("A", "none"),
        lambda: volumes.bringIntoSight("A"),
    ):
        busy()
        change()
        assert not slicerhost.vtkMessages
