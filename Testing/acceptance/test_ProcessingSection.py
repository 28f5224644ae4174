"""The section "Processing": functions are started, changed and stopped by clicks."""

from __future__ import annotations

import json
import socket
from contextlib import closing
from pathlib import Path

import numpy as np
import slicerhost
from RealTimeImagingLib import OpenIGTLinkSettings
from RealTimeImagingLib.Processing import BuiltIn
from unit.functions import functionFile, otherPython
from unit.openIGTLinkSource import freePort, image, sendAll
from vtk.util.numpy_support import vtk_to_numpy

from .conftest import untilStopped
from .test_Panel import panelOf
from .test_Processing import connected, decided, posix, replay, until

GAIN = """
    from RealTimeImagingLib.Model.Errors import SettingsError

    @dataclass(frozen=True)
    class Gain(Parameters):
        gain: float = field(default=2.0, metadata=about("Gain", "Factor.", unit="x", limits=(0, 100)))
        note: str = field(default="", metadata=about("Note", "Any text but bad."))
        hidden: int = field(default=1, metadata=about("Hidden", "Rarely needed.", limits=(0, 9), advanced=True))

        def __post_init__(self):
            super().__post_init__()
            if self.note == "bad":
                raise SettingsError("This note is bad.")

    PARAMETERS = Gain
    current = Gain()
    changes = 0

    def setup(parameters, first):
        global current, changes
        if parameters.note == "worse":
            raise ValueError("this note is worse")
        current, changes = parameters, changes + 1

    def process(frame):
        return Result(frame.pixels, values={"gain": current.gain, "changes": changes})
"""


WHERE = """
    import sys

    @dataclass(frozen=True)
    class Factor(Parameters):
        factor: float = field(default=1.0, metadata=about("Factor", "Any.", limits=(0, 9)))

    PARAMETERS = Factor

    def process(frame):
        return Result(values={"other": float(sys.orig_argv[0].endswith("other/bin/python"))})
"""


def opened(module, logic=None):
    """The panel's widgets, with the section open."""
    panel = panelOf(module)
    panel.ui.processingSection.collapsed = False
    panel.refresh()
    return panel.ui, panel


def choose(combo, text):
    """Choose an item as a user does."""
    index = combo.findText(text)
    assert index >= 0, [combo.itemText(one) for one in range(combo.count)]
    combo.currentIndex = index


def chooseBuiltIn(ui, name):
    ui.functionComboBox.currentIndex = BuiltIn.NAMES.index(name)


def started(logic, ui, panel, count=1):
    """Press Start, and wait until images would reach the function."""
    panel.refresh()
    ui.processButton.click()
    assert ui.processingComplaintLabel.text == ""
    running = logic.processing.list()
    assert len(running) == count
    connected(running[-1])
    return running[-1]


def test_withoutASourceItSaysWhatToDo(slicer, module, logic, noErrors):
    ui, _panel = opened(module)
    assert ui.processingHintLabel.text.startswith("Start a source first")
    assert not ui.processButton.enabled
    assert ui.processorsTable.maximumHeight == 0


def test_aBuiltInFunctionRunsByClicks(slicer, module, logic, tmp_path, noErrors):
    """Chosen by its title; its row counts, and the result is over its source, in colours."""
    source = replay(logic, tmp_path)
    ui, panel = opened(module)
    choose(ui.functionComboBox, "Spatial filter")
    assert not ui.function_SpatialFilter_sigma.parent().isHidden()
    assert ui.function_SpatialFilter_size.parent().isHidden()
    ui.resultComboBox.currentIndex = 1
    ui.resultOpacitySpinBox.value = 70
    choose(ui.resultColoursComboBox, "Rainbow")
    processor = started(logic, ui, panel)
    source.send("resume")
    decided(processor, 20)
    panel.refresh()
    row = [ui.processorsTable.item(0, column).text() for column in range(4)]
    assert row[0] == "\u25cf"
    assert row[1] == "Live SpatialFilter"
    assert row[2] == "20 / 0 / 0"
    assert row[3].endswith(" ms")
    words = ui.processorStatusLabel.text
    assert words.startswith("20 received, 20 processed, 0 skipped, 0 failed. Latency ")
    assert words.endswith(" ms (95 %).")
    assert ui.processorsTable.item(0, 1).toolTip().splitlines()[0] == "Live SpatialFilter"
    assert logic.volumes.layer("Live SpatialFilter") == ("foreground", 0.7)
    assert logic.volumes.colours("Live SpatialFilter") == "Rainbow"
    assert [ui.sourcesTable.isRowHidden(one) for one in range(ui.sourcesTable.rowCount)].count(False) == 1
    ui.processorsTable.cellWidget(0, 5).click()
    until(lambda: not logic.processing.list())
    panel.refresh()
    assert ui.processorsTable.maximumHeight == 0
    assert logic.isRunning()
    untilStopped(logic)


def test_aListOfNodesIsHiddenWithItsParameter(slicer, module, noErrors):
    """Without drift correction there are no reference regions, and no nodes to choose them from."""
    ui, _panel = opened(module)
    chooseBuiltIn(ui, "PRFThermometry")
    names = ("reference", "reference_node", "referenceLabels", "referenceLabels_node")
    rows = [getattr(ui, f"function_PRFThermometry_{name}").parent() for name in names]
    assert all(row.isHidden() for row in rows)
    choose(ui.function_PRFThermometry_drift, "Constant")
    assert not any(row.isHidden() for row in rows)


def test_resultsAreNoImagesOfTheSource(slicer, module, logic, tmp_path, noErrors):
    """The status line says where the images come from; the results of a function do not come from a source."""
    replay(logic, tmp_path, paused=False)
    ui, panel = opened(module)
    chooseBuiltIn(ui, "Averaging")
    processor = started(logic, ui, panel)
    until(lambda: processor.statistics()["processed"] > 10)
    until(lambda: ui.statusLabel.text.startswith("Receiving "))
    assert "sources" not in ui.statusLabel.text
    chooseBuiltIn(ui, "RegionStatistics")
    ui.function_RegionStatistics_regions.text = "All: sphere 0 0 0 100"
    second = started(logic, ui, panel, 2)
    until(lambda: second.statistics()["processed"] > 10)  # values, and no images
    until(lambda: ui.statusLabel.text.startswith("Receiving "))
    untilStopped(logic)


def test_theSourceIsBehindAResultThatHadReplacedIt(slicer, module, views, logic, tmp_path, noErrors):
    replay(logic, tmp_path, paused=False)
    ui, panel = opened(module)
    chooseBuiltIn(ui, "Averaging")
    ui.resultComboBox.currentIndex = 1
    processor = started(logic, ui, panel)
    composite = views.sliceWidget("Red").mrmlSliceCompositeNode()
    live = logic.liveVolumeNode

    def shown():
        return composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID()

    until(lambda: live(processor.stream) is not None)
    over = live().GetID(), live(processor.stream).GetID()
    until(lambda: shown() == over)
    ui.resultComboBox.currentIndex = 0
    until(lambda: shown() == (over[1], None))
    ui.resultComboBox.currentIndex = 1
    until(lambda: shown() == over)
    untilStopped(logic)


def test_aFunctionInAFileHasItsForm(slicer, module, logic, tmp_path, noErrors):
    """A dropped file becomes the function; its parameters are rows with unit, limits and meaning."""
    source = replay(logic, tmp_path)
    ui, panel = opened(module)
    path = functionFile(tmp_path, GAIN, "amplify")
    assert panel._take(path)
    until(lambda: hasattr(ui, "function_amplify_gain"))
    from RealTimeImagingLib.Panel.Section import tipOf

    gain = ui.function_amplify_gain
    assert (gain.value, gain.maximum, gain.suffix, tipOf(gain)) == (2.0, 100.0, " x", "Factor.")
    assert ui.function_amplify_gain_label.text == "Gain:"
    assert ui.function_amplify_hidden.parent().parent().objectName == "processingOptionsSection"
    gain.value = 3.0
    processor = started(logic, ui, panel)
    assert ui.processingHintLabel.text.startswith("Parameters of Live amplify")
    source.send("step", frames=1)
    until(lambda: logic.signals.columns("Live").get("amplify: gain", np.empty(0)).tolist()[-1:] == [3.0])
    for value in range(100):  # a slider that is dragged
        gain.value = value / 2
    until(lambda: processor.statistics()["parameters"]["gain"] == 49.5)
    source.send("step", frames=1)
    until(lambda: logic.signals.columns("Live")["amplify: gain"].tolist()[-1] == 49.5)
    assert logic.signals.columns("Live")["amplify: changes"].tolist()[-1] == 2
    untilStopped(logic)


def test_aRefusedValueIsNamedBesideTheForm(slicer, module, logic, tmp_path):
    replay(logic, tmp_path, paused=False)
    ui, panel = opened(module)
    panel._take(functionFile(tmp_path, GAIN, "amplify"))
    until(lambda: hasattr(ui, "function_amplify_note"))
    processor = started(logic, ui, panel)
    until(lambda: processor.statistics()["processed"] > 0)
    ui.function_amplify_note.text = "bad"
    until(lambda: "This note is bad." in ui.processingComplaintLabel.text)
    until(lambda: processor.statistics()["parameters"]["note"] == "")
    ui.function_amplify_note.text = "worse"
    until(lambda: "this note is worse" in ui.processorStatusLabel.text)
    assert ui.processorsTable.item(0, 0).text() == "\u25b2"
    ui.function_amplify_note.text = "good"
    until(lambda: ui.processorsTable.item(0, 0).text() == "\u25cf")
    until(lambda: "this note is worse" not in ui.processorStatusLabel.text)
    untilStopped(logic)


def test_aResultInNoViewIsNoConcern(slicer, module, views, logic, tmp_path, noErrors):
    """By default a further stream is in no view: the status line goes on with the source."""
    replay(logic, tmp_path, paused=False)
    ui, panel = opened(module)
    chooseBuiltIn(ui, "Averaging")
    processor = started(logic, ui, panel)
    until(lambda: logic.liveVolumeNode(processor.stream) is not None)
    assert logic.volumes.where(processor.stream) == "none"
    assert logic.views.concern(processor.stream) is not None
    panel.refresh()
    until(lambda: ui.statusLabel.text.startswith("Receiving "))
    assert not ui.remedyButton.isVisible()
    untilStopped(logic)


def test_aFunctionThatHangsIsOfferedMoreTime(slicer, module, logic, tmp_path):
    """Also when newer images replace the one with which it hung; then it works with one click."""
    from RealTimeImagingLib.Panel.Section import SYMBOLS

    replay(logic, tmp_path, paused=False)
    ui, _panel = opened(module)
    slow = functionFile(
        tmp_path, "import time\ndef process(frame):\n    time.sleep(0.8)\n    return frame.pixels\n", "slow"
    )
    logic.processing.start(slow, every="newest", limit=0.3)
    until(lambda: not ui.remedyButton.isHidden() and ui.remedyButton.text == "Allow 1.8 s")
    assert "longer than 0.3 s" in ui.statusLabel.text
    until(lambda: ui.processorsTable.item(0, 0).text() == SYMBOLS["slow"])
    assert "longer than 0.3 s" in ui.processorStatusLabel.text
    ui.remedyButton.click()
    until(lambda: [one.statistics().get("processed", 0) > 1 for one in logic.processing.list()] == [True])
    assert [one.settings.limit for one in logic.processing.list()] == [1.8]
    until(lambda: ui.processorsTable.item(0, 0).text() == SYMBOLS["receiving"])
    untilStopped(logic)


def test_onlyStreamsWithImagesAreOffered(module, logic, noErrors):
    """A device names its stream: the name in the settings is offered until its first image only."""
    ui, panel = opened(module)
    source = logic.start(OpenIGTLinkSettings(role="server", port=freePort()))
    offered = lambda: [ui.processingStreamComboBox.itemText(n) for n in range(ui.processingStreamComboBox.count)]  # noqa: E731
    until(lambda: offered() == ["OpenIGTLink"] and "Waiting for" in source.status)
    with closing(socket.create_connection(("127.0.0.1", source.settings.port))) as device:
        sendAll(device, image(1, device="Probe"))
        until(lambda: offered() == ["Probe"])
        chooseBuiltIn(ui, "Averaging")
        processor = started(logic, ui, panel)
        sendAll(device, image(2, device="Probe"))
        until(lambda: processor.statistics()["processed"] == 1)
        untilStopped(logic)


def test_aFileThatCannotBeUsedSaysWhy(slicer, module, logic, tmp_path):
    ui, panel = opened(module)
    panel._take(functionFile(tmp_path, "def process(frame) return", "broken"))
    until(lambda: "SyntaxError" in ui.processingComplaintLabel.text)
    assert not ui.processButton.enabled
    panel._take(str(tmp_path / "missing.py"))
    until(lambda: "missing.py is no Python file" in ui.processingComplaintLabel.text.replace("\u200b", ""))


def test_aFunctionTakesTheStreamOfAnother(slicer, module, logic, tmp_path, noErrors):
    """Two rows; a selected row fills the form, and Reload restarts only this function."""
    replay(logic, tmp_path, paused=False)
    ui, panel = opened(module)
    chooseBuiltIn(ui, "Averaging")
    ui.function_Averaging_count.value = 3
    started(logic, ui, panel)
    chooseBuiltIn(ui, "SpatialFilter")
    panel.refresh()
    choose(ui.processingStreamComboBox, "Live Averaging")
    ui.everyComboBox.currentIndex = 1
    second = started(logic, ui, panel, 2)
    assert second.sourceStream == "Live Averaging"
    until(lambda: second.statistics()["processed"] > 2)
    ui.processorsTable.setCurrentCell(0, 1)
    assert ui.functionComboBox.currentText == "Average of images"
    assert ui.function_Averaging_count.value == 3
    assert ui.everyComboBox.currentIndex == 0
    ui.processorsTable.setCurrentCell(1, 1)
    assert ui.everyComboBox.currentIndex == 1
    ui.processorsTable.cellWidget(1, 4).click()
    before = second.statistics()["processed"]
    until(lambda: second.statistics()["processed"] > before + 2 and "starting" not in second.status)
    untilStopped(logic)


def test_aMovedRegionTakesEffect(slicer, module, logic, tmp_path, noErrors):
    """An ROI of the scene becomes a region; when the user moves it, the region moves."""
    replay(logic, tmp_path, paused=False)
    ui, panel = opened(module)
    roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "My: ROI")
    roi.SetCenter(1.0, 2.0, 3.0)
    roi.SetSize(4.0, 5.0, 6.0)
    chooseBuiltIn(ui, "RegionStatistics")
    ui.function_RegionStatistics_regions_node.setCurrentNode(roi)
    assert ui.function_RegionStatistics_regions.text == "My ROI: box 1 2 3 4 5 6"
    assert ui.function_RegionStatistics_regions_node.currentNode() is None
    processor = started(logic, ui, panel)
    until(lambda: processor.statistics()["processed"] > 0)
    assert processor.statistics()["parameters"]["regions"] == ["My ROI: box 1 2 3 4 5 6"]
    roi.SetCenter(7.0, 2.0, 3.0)
    until(lambda: processor.statistics()["parameters"]["regions"] == ["My ROI: box 7 2 3 4 5 6"])
    assert ui.function_RegionStatistics_regions.text == "My ROI: box 7 2 3 4 5 6"
    untilStopped(logic)


def test_aLabelMapOfTheSceneIsTaken(slicer, module, logic, tmp_path, noErrors):
    """Its voxels become a file of the function; a change writes another."""
    replay(logic, tmp_path, paused=False)
    until(lambda: logic.liveVolumeNode() is not None)
    ui, panel = opened(module)
    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Labels")
    voxels = np.zeros(slicer.util.arrayFromVolume(logic.liveVolumeNode()).shape, np.uint8)
    voxels[0] = 1
    slicer.util.updateVolumeFromArray(labels, voxels)
    labels.CopyOrientation(logic.liveVolumeNode())
    chooseBuiltIn(ui, "RegionStatistics")
    ui.function_RegionStatistics_labels_node.setCurrentNode(labels)
    assert ui.processingComplaintLabel.text == ""
    processor = started(logic, ui, panel)
    until(lambda: "RegionStatistics: Label 1 mean" in logic.signals.columns("Live"))
    voxels[0] = 2
    slicer.util.updateVolumeFromArray(labels, voxels)
    until(lambda: "RegionStatistics: Label 2 mean" in logic.signals.columns("Live"))
    for value in range(3, 8):
        voxels[0] = value
        slicer.util.updateVolumeFromArray(labels, voxels)
        until(lambda value=value: f"RegionStatistics: Label {value} mean" in logic.signals.columns("Live"))
    panel.refresh()
    # Of the start, of now, and of the form.
    assert len(list(Path(slicer.app.temporaryPath).glob("RealTimeImaging-nodes-*/*"))) <= 3
    assert processor.statistics()["failed"] == 0
    untilStopped(logic)


def test_anEditOfASegmentIsTaken(slicer, module, logic, tmp_path, noErrors):
    """The Segment Editor changes the voxels of a segment, not the segmentation."""
    replay(logic, tmp_path, paused=False)
    until(lambda: logic.liveVolumeNode() is not None)
    ui, panel = opened(module)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segments")
    node.SetReferenceImageGeometryParameterFromVolumeNode(logic.liveVolumeNode())
    segment, image = slicer.vtkSegment(), slicer.vtkOrientedImageData()
    image.SetDimensions(logic.liveVolumeNode().GetImageData().GetDimensions())
    image.AllocateScalars(3, 1)
    voxels = vtk_to_numpy(image.GetPointData().GetScalars())
    voxels[:] = 0
    voxels[0] = 1
    segment.SetName("Liver")
    segment.AddRepresentation("Binary labelmap", image)
    node.GetSegmentation().AddSegment(segment, "Liver")
    chooseBuiltIn(ui, "RegionStatistics")
    ui.function_RegionStatistics_labels_node.setCurrentNode(node)
    assert ui.processingComplaintLabel.text == ""
    processor = started(logic, ui, panel)
    until(lambda: "RegionStatistics: Liver mean" in logic.signals.columns("Live"))
    first = processor.statistics()["parameters"]["labels"]
    voxels[1] = 1
    image.GetPointData().GetScalars().Modified()
    until(lambda: processor.statistics()["parameters"]["labels"] != first)
    assert processor.statistics()["failed"] == 0
    untilStopped(logic)


def test_theReferenceOfADifferenceIsAVolumeOfTheScene(slicer, module, logic, tmp_path, noErrors):
    """Taken as it is when the user picks it: the differences are exact, and a later change does not count."""
    source = replay(logic, tmp_path, count=6)
    source.send("step", frames=1)
    until(lambda: logic.statistics()["streams"].get("Live", {}).get("shown") == 1)
    live = logic.liveVolumeNode()
    first = slicer.util.arrayFromVolume(live).astype(int)
    reference = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Reference")
    pixels = np.arange(first.size, dtype=np.int16).reshape(first.shape)
    slicer.util.updateVolumeFromArray(reference, pixels)
    reference.CopyOrientation(live)
    ui, panel = opened(module)
    chooseBuiltIn(ui, "Difference")
    assert not ui.function_Difference_number.parent().isHidden()
    ui.function_Difference_file_node.setCurrentNode(reference)
    assert ui.processingComplaintLabel.text == ""
    assert ui.function_Difference_number.parent().isHidden()
    slicer.util.updateVolumeFromArray(reference, pixels * 0)
    processor = started(logic, ui, panel)
    source.send("resume")
    decided(processor, 5)
    until(lambda: logic.statistics()["streams"].get("Live Difference", {}).get("received") == 5)
    until(lambda: logic.statistics()["streams"]["Live"]["received"] == 6)
    result = slicer.util.arrayFromVolume(logic.liveVolumeNode("Live Difference"))
    last = slicer.util.arrayFromVolume(live).astype(int)
    assert not np.array_equal(last, first)
    assert np.array_equal(result, last - pixels)
    assert processor.statistics()["failed"] == 0
    untilStopped(logic)


@posix
def test_aFunctionRunsInAnotherPython(slicer, module, logic, tmp_path, noErrors):
    """Of the field under More options, which also shows the function's parameters; it is remembered."""
    source = replay(logic, tmp_path, count=3)
    ui, panel = opened(module)
    other = otherPython(tmp_path / "other")
    ui.processingOptionsSection.collapsed = False
    ui.processingPythonPathLineEdit.currentPath = str(tmp_path / "no-python")
    assert panel._take(functionFile(tmp_path, WHERE, "where"))
    until(lambda: "no-python is no program" in ui.processingComplaintLabel.text.replace("\u200b", ""))
    assert not ui.processButton.enabled
    ui.processingPythonPathLineEdit.currentPath = str(other)
    until(lambda: hasattr(ui, "function_where_factor"))
    assert ui.processingComplaintLabel.text == ""
    processor = started(logic, ui, panel)
    assert processor.settings.python == str(other)
    source.send("resume")
    decided(processor, 3)
    assert logic.signals.columns("Live")["where: other"].tolist()[-1] == 1
    untilStopped(logic)
    slicerhost.reloadModule("RealTimeImaging")
    ui, _panel = opened(slicer.modules.realtimeimaging)
    assert ui.processingPythonPathLineEdit.currentPath == str(other)
    until(lambda: hasattr(ui, "function_where_factor"))


def test_theFileIsChosenInADialog(slicer, module, logic, tmp_path, noErrors):
    """It does not block, a second click replaces it, and closing the panel closes it."""
    replay(logic, tmp_path)
    ui, panel = opened(module)
    choose(ui.functionComboBox, "Function in a file ...")
    assert not ui.functionFileBox.isHidden()
    ui.functionFileButton.click()
    first = panel._processing._fileDialog
    assert not first.isModal()
    ui.functionFileButton.click()
    dialog = panel._processing._fileDialog
    assert not first.isVisible()
    assert dialog.isVisible()
    assert list(dialog.nameFilters()) == ["Python file (*.py)"]
    path = functionFile(tmp_path, GAIN, "amplify")
    dialog.selectFile(path)
    dialog.accept()
    until(lambda: hasattr(ui, "function_amplify_gain"))
    assert ui.functionFileComboBox.currentText == path
    panel.refresh()
    assert ui.processButton.enabled
    ui.functionFileButton.click()
    last = panel._processing._fileDialog
    untilStopped(logic)
    slicerhost.reloadModule("RealTimeImaging")
    assert panel._processing._fileDialog is None
    assert not last.isVisible()


def test_theStatusLineCountsSourcesAndNoFunctions(slicer, module, logic, tmp_path, noErrors):
    """A function without images does not wait, in the words of the status line."""
    replay(logic, tmp_path, rate=10.0, paused=False)
    ui, panel = opened(module)
    chooseBuiltIn(ui, "RegionStatistics")
    ui.function_RegionStatistics_regions.text = "All: box 0 0 0 1000 1000 1000"
    first = started(logic, ui, panel)
    chooseBuiltIn(ui, "Averaging")
    second = started(logic, ui, panel, 2)
    until(lambda: all(one.statistics().get("processed", 0) > 20 for one in (first, second)))
    until(lambda: panel._status.line.state == "receiving" and "images/s from Live.nii" in ui.statusLabel.text)
    replay(logic, tmp_path, rate=10.0, stream="Other", paused=False)
    until(lambda: logic.liveVolumeNode("Other") is not None)
    ui.arrangeButton.click()  # or the line would say that no view shows it
    until(lambda: "from 2 sources" in ui.statusLabel.text)
    untilStopped(logic)


def test_theChoicesAreRemembered(slicer, module, logic, tmp_path, noErrors):
    replay(logic, tmp_path)
    ui, panel = opened(module)
    chooseBuiltIn(ui, "Averaging")
    ui.function_Averaging_count.value = 7
    ui.everyComboBox.currentIndex = 1
    started(logic, ui, panel)
    untilStopped(logic)
    slicerhost.reloadModule("RealTimeImaging")
    ui, _panel = opened(slicer.modules.realtimeimaging)
    assert ui.functionComboBox.currentText == "Average of images"
    assert ui.function_Averaging_count.value == 7
    assert ui.everyComboBox.currentIndex == 1
    assert json.loads(slicer.app.userSettings().value("RealTimeImaging/Processing"))["function"] == "Averaging"
