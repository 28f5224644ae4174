"""The four views: real slice logics, drawn upright, rendered only when something changed."""

import time

import numpy
import pytest
import slicerhost
from slicerhost.Views import MAXIMUM_UPDATE_RATE


@pytest.fixture
def corner(slicer, layout, emptyScene):
    """A dark cube of 40 mm around the origin, bright in its right, anterior, superior octant, in all slice views."""
    array = numpy.zeros((40, 40, 40), "uint8")
    array[20:, 20:, 20:] = 255  # k, j, i = superior, anterior, right with the geometry below
    ijkToRAS = numpy.diag([1.0, 1.0, 1.0, 1.0])
    ijkToRAS[:3, 3] = -19.5
    volume = slicer.util.addVolumeFromArray(array, ijkToRAS, "Corner")
    volume.CreateDefaultDisplayNodes()
    volume.GetDisplayNode().SetAutoWindowLevel(0)
    volume.GetDisplayNode().SetInterpolate(0)
    volume.GetDisplayNode().SetWindowLevel(255, 127.5)
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    for name in layout.sliceViewNames():
        layout.sliceWidget(name).mrmlSliceNode().JumpSliceByOffsetting(5, 5, 5)
    settle(layout)
    return volume


def settle(layout):
    """Until nothing is waiting to be drawn."""
    assert slicerhost.runUntil(lambda: not any(v._scheduledAt for v in layout.views()), everyMs=20)


def counts(layout):
    return [view.renders for view in layout.views()]


def test_views_have_their_names_and_nodes(slicer, layout):
    assert sorted(layout.sliceViewNames()) == ["Green", "Red", "Yellow"]
    assert len({layout.sliceViewNames() for _ in range(3)}) > 1  # in another order each time
    assert slicer.app.layoutManager() is layout
    red = layout.sliceWidget("Red")
    assert red.mrmlSliceNode().GetName() == "Red"
    assert red.sliceLogic().GetSliceNode() is red.mrmlSliceNode()
    assert red.sliceView().renderWindow().GetSize() == (160, 160)
    assert layout.mrmlSliceLogics().GetNumberOfItems() == 3
    assert [layout.sliceWidget(n).mrmlSliceNode().GetOrientation() for n in ("Red", "Yellow", "Green")] == [
        "Axial",
        "Sagittal",
        "Coronal",
    ]
    assert layout.threeDViewCount == 1
    assert layout.threeDWidget(0).mrmlViewNode().IsA("vtkMRMLViewNode")
    assert layout.sliceWidget("Blue") is None


# In Slicer's views patient right is on the left, anterior (axial) or superior up; sagittal has anterior on the left.
@pytest.mark.parametrize(("name", "quarter"), [("Red", "top left"), ("Yellow", "top left"), ("Green", "top left")])
def test_a_volume_is_shown_upright(corner, layout, name, quarter):
    pixels = layout.sliceWidget(name).pixels()[:, :, 0]
    quarters = {
        "top left": pixels[50, 50],
        "top right": pixels[50, 110],
        "bottom left": pixels[110, 50],
        "bottom right": pixels[110, 110],
    }
    assert [where for where, value in quarters.items() if value > 200] == [quarter]


def test_nothing_is_drawn_while_nothing_changes(corner, layout):
    before = counts(layout)
    slicerhost.runUntil(lambda: False, timeout=0.1, everyMs=20)
    assert counts(layout) == before


def test_changes_in_a_burst_are_drawn_once(slicer, corner, layout):
    before, begun = counts(layout), time.monotonic()
    for value in range(10):
        slicer.util.arrayFromVolume(corner)[:] = value
        slicer.util.arrayFromVolumeModified(corner)
    took = time.monotonic() - begun
    settle(layout)
    # Once more for each time that a rendering may wait, when this computer is so busy that the burst lasts as long.
    drawn = [b - a for a, b in zip(before, counts(layout), strict=True)][:3]
    assert all(1 <= count <= 1 + int(took * MAXIMUM_UPDATE_RATE) for count in drawn), (drawn, took)


def test_only_a_view_that_changed_is_drawn(slicer, corner, layout):
    before = counts(layout)
    slicer.util.getNodesByClass("vtkMRMLCameraNode")[0].SetPosition(10, 20, 300)
    settle(layout)
    assert [b - a for a, b in zip(before, counts(layout), strict=True)] == [0, 0, 0, 1]
    before = counts(layout)
    layout.sliceWidget("Red").sliceLogic().SetSliceOffset(8)
    settle(layout)
    # A slice that moves may be seen in the other slice views.
    assert [b - a for a, b in zip(before, counts(layout), strict=True)] == [1, 1, 1, 0]


def test_a_scene_in_a_batch_of_changes_is_drawn_at_its_end(slicer, corner, layout):
    before = counts(layout)
    slicer.mrmlScene.StartState(slicer.vtkMRMLScene.BatchProcessState)
    corner.Modified()
    slicerhost.runUntil(lambda: False, timeout=0.06, everyMs=20)
    assert counts(layout) == before
    slicer.mrmlScene.EndState(slicer.vtkMRMLScene.BatchProcessState)
    settle(layout)
    assert counts(layout)[0] == before[0] + 1


def test_paused_views_are_drawn_when_resumed(slicer, corner, layout):
    before = counts(layout)
    slicer.app.pauseRender()
    corner.Modified()
    slicerhost.runUntil(lambda: False, timeout=0.06, everyMs=20)
    assert counts(layout) == before
    slicer.app.resumeRender()
    settle(layout)
    assert counts(layout)[0] == before[0] + 1


def test_a_paused_view_whose_time_is_over_is_drawn_as_it_resumes(corner, layout):
    red = layout.sliceWidget("Red").sliceView()
    red.pauseRender()
    corner.Modified()
    slicerhost.runUntil(lambda: False, timeout=0.06, everyMs=20)
    before = counts(layout)[0]
    red.updatesEnabled = False
    red.resumeRender()
    red.updatesEnabled = True
    assert counts(layout)[0] == before + 1


def test_a_slow_view_takes_the_time_it_is_told(corner, layout):
    red = layout.sliceWidget("Red")
    red.extraRenderSeconds = 0.1
    started = time.monotonic()
    red.forceRender()
    assert time.monotonic() - started >= 0.1


def test_views_are_drawn_at_most_sixty_times_a_second(qt, corner, layout):
    red = layout.sliceWidget("Red")
    timer = qt.QTimer()
    timer.connect("timeout()", corner.Modified)
    before, started = red.renders, time.monotonic()
    timer.start(1)
    slicerhost.runUntil(lambda: False, timeout=0.3, everyMs=100)
    timer.stop()
    assert 1 < red.renders - before <= 60 * (time.monotonic() - started) + 1
    settle(layout)


def test_an_image_widget_paints_the_views(slicer, qt, emptyScene):
    widget, layout = slicerhost.makeImageWidget()
    widget.resize(400, 300)
    widget.show()
    assert slicerhost.runUntil(lambda: all(view.renders for view in layout.views()), everyMs=20)
    picture = widget.grab().toImage()
    blue = picture.pixelColor(picture.width() - 20, 20)  # the 3D view's background, top right
    assert blue.blue() > blue.red()
    slicerhost.removeViews()
    widget.close()
    widget.deleteLater()
    slicerhost.endScript()
    assert slicer.app.layoutManager() is None


def test_what_the_layout_lacks_is_refused(layout):
    with pytest.raises(AttributeError):
        layout.noSuchThing()
    with pytest.raises(AttributeError):
        layout.sliceWidget("Red").sliceController()


def test_layouts_of_slicer_make_their_views(slicer, layout):
    """New slice views have real logics and nodes; what a layout lacks stays, and is not mapped in it."""
    node = slicer.vtkMRMLLayoutNode
    assert layout.layout == node.SlicerLayoutFourUpView

    def mapped():
        return {n for n in layout.sliceViewNames() if layout.sliceWidget(n).mrmlSliceNode().IsViewVisibleInLayout()}

    assert mapped() == {"Red", "Yellow", "Green"}
    layout.setLayout(node.SlicerLayoutTwoOverTwoView)
    assert layout.layoutLogic().GetLayoutNode().GetViewArrangement() == layout.layout == node.SlicerLayoutTwoOverTwoView
    assert mapped() == {"Red", "Yellow", "Green", "Slice4"}
    assert not layout.threeDWidget(0).mrmlViewNode().IsMappedInLayout()
    fourth = layout.sliceWidget("Slice4")
    assert fourth.sliceLogic() in [
        layout.mrmlSliceLogics().GetItemAsObject(i) for i in range(layout.mrmlSliceLogics().GetNumberOfItems())
    ]
    assert fourth.mrmlSliceCompositeNode().GetLayoutName() == "Slice4"
    layout.setLayout(node.SlicerLayoutOneUpRedSliceView)
    assert mapped() == {"Red"}
    assert len(layout.sliceViewNames()) == 4
    slicerhost.removeViews()
    again = slicerhost.makeOffscreenViews(160)
    assert sorted(again.sliceViewNames()) == ["Green", "Red", "Yellow"]
    assert mapped() == {"Red", "Yellow", "Green"}
