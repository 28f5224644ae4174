"""A finished recording replaces its stream in the views, so that the sequence toolbar has an effect."""

from __future__ import annotations

import importlib

import nibabel
import numpy as np
import pytest

from .conftest import until, untilStopped

VIEWS = ("Red", "Yellow", "Green")


def images(count, shape=(4, 32, 32), scale=1):
    return [np.full(shape, scale * (number + 1), np.int16) for number in range(count)]


@pytest.fixture
def look(slicer, views):
    """Names of the nodes in the views, zoom and slice, brightness."""

    class Look:
        def composite(self, view):
            return views.sliceWidget(view).mrmlSliceCompositeNode()

        def layers(self, layer="Background"):
            ids = [getattr(self.composite(view), f"Get{layer}VolumeID")() for view in VIEWS]
            nodes = [slicer.mrmlScene.GetNodeByID(one) if one else None for one in ids]
            return [node and node.GetName() for node in nodes]

        def places(self):
            logics = [views.sliceWidget(view).sliceLogic() for view in VIEWS]
            nodes = [logic.GetSliceNode() for logic in logics]
            return [(logic.GetSliceOffset(), *node.GetFieldOfView()) for logic, node in zip(logics, nodes, strict=True)]

        def mean(self, view="Red"):
            view = views.sliceWidget(view).sliceView()
            view.forceRender()
            return float(view.pixels()[60:100, 60:100].mean())

    return Look()


def pushed(logic, arrays, name="Live", **values):
    before = logic.statistics()["streams"].get(name, {"received": 0})["received"] if logic.isRunning() else 0
    for number, array in enumerate(arrays, before + 1):
        logic.push(array, name=name, **values)
        until(lambda number=number: logic.statistics()["streams"].get(name, {}).get("received") == number)


def record(logic, folder, frames, name="Take"):
    """Push frames of streams while they are recorded; return the browser."""
    logic.startRecording(folder, name=name)
    for stream, arrays in frames.items():
        pushed(logic, arrays, stream)
    until(lambda: logic.statistics()["recorded"] >= sum(len(arrays) for arrays in frames.values()))
    return logic.stopRecording()


def finished(logic):
    until(lambda: not logic.recording.building)


def test_scrubbingChangesTheViews(slicer, logic, look, tmp_path, noErrors):
    """Stop shows the recording in place of the live volume, with its look; the next start shows the live volume."""
    frames = images(5, scale=100)
    browser = record(logic, tmp_path / "out", {"Live": frames})
    live = logic.liveVolumeNode()
    display = live.GetDisplayNode()
    display.SetWindowLevel(512, 256)
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGreen")
    red = slicer.app.layoutManager().sliceWidget("Red")
    red.mrmlSliceNode().SetFieldOfView(44, 44, 1)
    red.sliceLogic().SetSliceOffset(2)
    finished(logic)
    assert look.layers() == ["Live"] * 3  # the source runs
    places = look.places()
    untilStopped(logic)
    proxy = browser.GetProxyNode(browser.GetMasterSequenceNode())
    assert look.layers() == [proxy.GetName()] * 3
    assert look.places() == places
    shown = proxy.GetDisplayNode()
    assert (shown.GetWindow(), shown.GetLevel(), shown.GetColorNodeID()) == (512, 256, "vtkMRMLColorTableNodeGreen")
    seen = []
    for index in range(5):
        browser.SetSelectedItemNumber(index)
        seen.append(look.mean())
    assert seen == sorted(set(seen))
    pushed(logic, images(1, scale=7))
    assert look.layers() == ["Live"] * 3
    assert look.places() == places
    assert (display.GetWindow(), display.GetLevel()) == (512, 256)
    untilStopped(logic)
    assert look.layers() == ["Live"] * 3  # nothing new was recorded


def test_stopOfTheSourceShowsTheRecording(logic, look, tmp_path, noErrors):
    """The end of the source ends the recording."""
    logic.startRecording(tmp_path / "out", name="Both")
    pushed(logic, images(3))
    untilStopped(logic)
    finished(logic)
    assert look.layers() == ["Both-Live"] * 3


def test_eachStreamInItsOwnViewsAndLayers(slicer, logic, look, tmp_path, noErrors):
    """Two streams, one in the foreground, beside a volume of the user: each recording replaces its stream."""
    mine = slicer.util.addVolumeFromArray(np.zeros((4, 32, 32), np.int16), name="Mine")
    record(logic, tmp_path / "out", {"A": images(2), "B": images(3)})
    a, b = (logic.liveVolumeNode(name).GetID() for name in "AB")
    look.composite("Red").SetBackgroundVolumeID(a)
    look.composite("Yellow").SetBackgroundVolumeID(mine.GetID())
    look.composite("Yellow").SetForegroundVolumeID(b)
    look.composite("Green").SetBackgroundVolumeID(mine.GetID())
    untilStopped(logic)
    finished(logic)
    assert look.layers() == ["Take-A", "Mine", "Mine"]
    assert look.layers("Foreground") == [None, "Take-B", None]
    logic.setShowIn("none", "A")
    logic.setShowIn("none", "B")
    pushed(logic, images(1), "B")
    pushed(logic, images(1), "A")
    assert look.layers("Foreground") == [None, "B", None]


def test_liveStreamsAreNotReplaced(slicer, logic, look, incoming, tmp_path, noErrors):
    """A view with another live stream does not change."""
    from RealTimeImagingLib import FolderSettings

    source = logic.start(FolderSettings(incoming, stream="Folder"))
    until(lambda: source.state == "running")
    record(logic, tmp_path / "out", {"Live": images(2)})
    finished(logic)
    hidden = incoming / ".a.nii"
    nibabel.Nifti1Image(np.ones((4, 5, 6), np.int16), np.eye(4)).to_filename(hidden)
    hidden.rename(incoming / "a.nii")
    until(lambda: logic.liveVolumeNode("Folder"))
    look.composite("Red").SetForegroundVolumeID(logic.liveVolumeNode("Folder").GetID())
    (pushing,) = [one for one in logic.sources() if one is not source]
    logic.stop(pushing)
    until(lambda: pushing.ended)
    until(lambda: look.layers()[1:] == ["Take-Live"] * 2)
    assert look.layers()[0] == "Live"


def test_showByHand(slicer, module, logic, look, tmp_path, noErrors):
    """The button works also while the stream is live, and uses all views when the stream is in none."""
    ui = module.widgetRepresentation().self().panel.ui
    settingsError = importlib.import_module("RealTimeImagingLib.Model.Errors").SettingsError
    assert not ui.showRecordingButton.enabled
    with pytest.raises(settingsError, match="No recording"):
        logic.recording.show()
    first = record(logic, tmp_path / "out", {"Live": images(2)}, "First")
    finished(logic)
    until(lambda: ui.showRecordingButton.enabled)
    ui.showRecordingButton.click()
    assert look.layers() == ["First-Live"] * 3
    pushed(logic, images(2))
    assert look.layers() == ["First-Live"] * 3  # what the user asked for stays
    second = record(logic, tmp_path / "out", {"Live": images(2)}, "Second")
    untilStopped(logic)
    finished(logic)
    assert look.layers() == ["Second-Live"] * 3
    logic.recording.show(first)
    assert look.layers() == ["First-Live"] * 3
    assert slicer.modules.sequences.toolBar().activeBrowserNode() is first
    for view in VIEWS:
        look.composite(view).SetBackgroundVolumeID(None)
    logic.recording.show(second)
    assert look.layers() == ["Second-Live"] * 3
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Empty")
    with pytest.raises(settingsError, match="Empty"):
        logic.recording.show(empty)
    pushed(logic, images(1))
    assert look.layers() == ["Live"] * 3


def test_aMovingSliceStaysInSight(slicer, logic, look, tmp_path, noErrors):
    """Scrubbing moves the view with single slices that move from frame to frame."""
    logic.startRecording(tmp_path / "out", name="Sweep")
    for number in range(4):
        matrix = np.eye(4)
        matrix[2, 3] = 10 * number
        pushed(logic, [np.full((1, 32, 32), 100, np.int16)], ijkToRAS=matrix)
    untilStopped(logic)
    finished(logic)
    browser = logic.recording.last
    for number in (3, 1, 2, 0):
        browser.SetSelectedItemNumber(number)
        assert look.places()[0][0] == 10 * number
    slicer.mrmlScene.RemoveNode(browser)
    assert logic.recording.last is None


def test_aRegisteredStreamStaysRegistered(slicer, logic, look, tmp_path, noErrors):
    """The transform of the live volume applies to the recording, too, at every frame."""
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    browser = record(logic, tmp_path / "out", {"Live": images(2)})
    logic.liveVolumeNode().SetAndObserveTransformNodeID(transform.GetID())
    untilStopped(logic)
    finished(logic)
    proxy = browser.GetProxyNode(browser.GetMasterSequenceNode())
    for index in (1, 0):
        browser.SetSelectedItemNumber(index)
        assert proxy.GetTransformNodeID() == transform.GetID()
