"""A reloaded or unloaded module leaves no process, observer or object; Slicer itself only hides its panel."""

from __future__ import annotations

import gc
import weakref
from collections import Counter

import numpy as np
import slicerhost
from slicerhost import Signals

from .conftest import until


def observers(slicer):
    """Count the observers of the scene, its nodes and the views' windows, with the observers of C++ widgets."""
    scene = slicer.mrmlScene
    items = [scene, *(scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes()))]
    items += [view.renderWindow() for view in slicer.app.layoutManager().views()]
    count = 0
    for item in items:
        last = item.AddObserver("UserEvent", lambda *_: None)
        item.RemoveObserver(last)
        count += sum(item.GetCommand(tag) is not None for tag in range(1, last))
    return count


def connections():
    return Counter(
        f"{one.sender} {one.signal} {getattr(one.receiver, '__qualname__', type(one.receiver))}"
        for known in Signals.connections.values()
        for one in known
    )


def useAll(slicer, module, folder):
    """Use every part that connects, observes or starts a process."""
    logic = slicer.util.getModuleLogic("RealTimeImaging")
    ui = module.widgetRepresentation().self().panel.ui
    ui.recordingFolderPathLineEdit.currentPath = str(folder / "recordings")
    ui.tryButton.click()
    until(lambda: logic.statistics()["shown"] > 0 and ui.streamsTable.rowCount == 1)
    logic.addFrameCallback(lambda frame: None)
    logic.addEventCallback(lambda event: None)
    logic.push(np.ones((4, 5, 6), np.int16), name="Pushed")
    logic.volumes.setFollowing("Live", "Red")
    logic.devices.followPlane(slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode())
    logic.broadcast.start(0)
    ui.recordButton.click()
    until(lambda: logic.statistics()["recorded"] > 2)
    logic.stopRecording()
    until(lambda: not logic.recording.building)
    logic.recording.show()
    ui.recordingsSection.collapsed = False
    until(lambda: ui.exportButton.enabled and ui.recordingsList.count)
    ui.exportButton.click()
    until(lambda: "saved" in [event.code for event in logic.events()])
    ui.recordingsSection.collapsed = True  # an open one lists the recordings after the reload, in another process
    ui.sourceComboBox.currentIndex = ui.sourceComboBox.findText("Camera or video")
    ui.camera_search.click()
    return logic


def test_reloadInMidStreamLeavesNothing(slicer, module, views, tmp_path):
    """The old logic and panel are deleted, and every node has as many observers as before."""
    module.widgetRepresentation()
    slicer.mrmlScene.Clear(0)
    before = observers(slicer), connections()
    logic = useAll(slicer, module, tmp_path)
    gone = [weakref.ref(one) for one in (logic, logic._session, module.widgetRepresentation().self().panel)]
    del logic
    module.widgetRepresentation().self().onReload()
    slicer.mrmlScene.Clear(0)
    gc.collect()
    assert [one() for one in gone] == [None, None, None]
    assert (observers(slicer), connections()) == before


def test_oldWidgetsAreDeleted(slicer, module, views):
    """Slicer only hides the widgets of the old panel: cleanup() deletes them, and they observe nothing until then."""
    widget = module.widgetRepresentation()
    before = observers(slicer)
    old = widget.self().panel.ui.startButton
    deleted = []
    old.connect("destroyed()", lambda: deleted.append(True))
    widget.self().onReload()
    assert observers(slicer) == before
    slicerhost.endScript()
    assert deleted == [True]
