"""Limits of signals: a line in the chart, an alarm while the value is beyond, one event a crossing. Marks of lost
images, and the cost of a redraw."""

from __future__ import annotations

import numpy as np
import pytest
import slicerhost

from .conftest import until, untilStopped
from .test_Panel import panelOf


def seriesOf(logic):
    chart = logic.signals.chart()
    return {
        chart.GetNthPlotSeriesNode(place).GetName(): chart.GetNthPlotSeriesNode(place)
        for place in range(chart.GetNumberOfPlotSeriesNodes())
    }


def test_eachCrossingIsOneEvent(slicer, logic):
    events = []
    logic.addEventCallback(events.append)
    logic.signals.setLimits("Live", "motion: FD (mm)", above=0.5)
    for number, value in enumerate((0.1, 0.6, 0.7, float("nan"), 0.8, 0.2, 0.5, 0.9)):
        logic.signals.add("Live", number, float(number), {"motion: FD (mm)": value})
        assert bool(logic.signals.alarms()) == (number in (1, 2, 3, 4, 7))
    assert [str(event.text) for event in events if event.code == "limit-crossed"] == [
        "Live: motion: FD is 0.6 mm, above 0.5 mm. Image 1.",
        "Live: motion: FD is 0.9 mm, above 0.5 mm. Image 7.",
    ]
    logic.signals.setLimits("Live", "motion: FD (mm)")
    assert logic.signals.alarms() == {}
    assert logic.signals.limits() == {}


def test_theLimitIsALineInTheChart(slicer, logic, noErrors):
    for number in range(5):
        logic.signals.add("Live", number, float(number), {"T": 40.0 + number})
    logic.signals.plot("Live", "T")
    logic.signals.setLimits("Live", "T", above=43, below=30)
    series = seriesOf(logic)
    assert sorted(series) == ["Live: T", "Live: T above", "Live: T below"]
    table = series["Live: T above"].GetTableNode()
    assert slicer.util.arrayFromTableColumn(table, "T above").tolist() == [43.0] * 5
    assert slicer.util.arrayFromTableColumn(table, "T below").tolist() == [30.0] * 5
    logic.signals.setLimits("Live", "T", above=44)
    logic.signals.chart()
    assert sorted(seriesOf(logic)) == ["Live: T", "Live: T above"]
    assert table.GetTable().GetColumnByName("T below") is None
    logic.signals.plot("Live", "T", False)
    assert seriesOf(logic) == {}


def test_aPlottedColumnStaysWhileItIsDrawn(slicer, module, logic, noErrors):
    """The plot view is open when a limit is removed, and when the next run has no such signal yet."""
    panelOf(module).ui.signalsSection.collapsed = False
    for number in range(5):
        logic.signals.add("Live", number, float(number), {"T": 40.0 + number, "U": 1.0})
    logic.signals.plot("Live", "T")
    logic.signals.setLimits("Live", "T", above=43)
    logic.signals.add("Live", 5, 5.0, {"T": 42.0, "U": 1.0}, 2)
    logic.signals.setLimits("Live", "T")
    assert sorted(seriesOf(logic)) == ["Live: T", "Live: T lost before"]
    table = seriesOf(logic)["Live: T"].GetTableNode()
    assert table.GetTable().GetColumnByName("T above") is None
    logic.signals.clear()
    for number in range(3):
        logic.signals.add("Live", number, float(number), {"U": 1.0})
    logic.signals.chart()
    assert np.isnan(slicer.util.arrayFromTableColumn(table, "T")).tolist() == [True] * 3
    # VTK reports warnings for crosses without a place.
    assert sorted(seriesOf(logic)) == ["Live: T"]
    slicerhost.closeScene()


def test_theAxesFollowNewValues(slicer, module, logic, noErrors):
    """By itself, Slicer's plot view keeps the axes of the values that the signal had when it was ticked."""
    panel = panelOf(module)
    panel.ui.signalsSection.collapsed = False
    for number in range(3):
        logic.signals.add("Live", number, float(number), {"T": 40.0 + number})
    logic.signals.plot("Live", "T")
    view = next(one for one in panel.ui.signalsSection.children() if one.inherits("qMRMLPlotView"))
    for number in range(3, 60):
        logic.signals.add("Live", number, float(number), {"T": 40.0 + number})
    logic.signals.chart()
    panel.refresh()
    assert view._ranges == [(0.0, 59.0), (40.0, 99.0)]


def test_theAxesFollowASignalThatBeganLater(slicer, module, logic, noErrors):
    """As the values of a function; and then all signals, when an older one is ticked."""
    panel = panelOf(module)
    panel.ui.signalsSection.collapsed = False
    view = next(one for one in panel.ui.signalsSection.children() if one.inherits("qMRMLPlotView"))
    for number in range(90):
        logic.signals.add("Live", number, float(number), {"U": 1.0, **({"T": 2.0} if number >= 50 else {})})
        if number == 60:
            logic.signals.plot("Live", "T")
    logic.signals.chart()
    assert view._ranges[0] == (50.0, 89.0)
    logic.signals.plot("Live", "U")
    assert view._ranges[0] == (0.0, 89.0)
    view.zoom(10.0, 20.0)
    logic.signals.add("Live", 90, 90.0, {"U": 1.0, "T": 2.0})
    logic.signals.chart()
    assert view._ranges[0] == (10.0, 20.0)


def test_aLegendIsShownForSeveralSignals(slicer, logic, noErrors):
    """A single one, with its limits, is named above the plot."""
    for number in range(5):
        logic.signals.add("Live", number, float(number), {"T": 40.0 + number, "U": 1.0})
    chart = logic.signals.chart()
    logic.signals.plot("Live", "T")
    logic.signals.setLimits("Live", "T", above=43, below=30)
    logic.signals.plot("Live", "U")
    assert (chart.GetLegendVisibility(), chart.GetTitleVisibility()) == (True, False)
    logic.signals.plot("Live", "U", False)
    assert (chart.GetLegendVisibility(), chart.GetTitleVisibility()) == (False, True)
    assert chart.GetTitle() == "Live: T"


def test_theListIsTheLegendOfThePanelsPlot(slicer, module, logic, noErrors):
    """A legend of four signals would cover them; a view of the layout has room for one."""
    panel = panelOf(module)
    panel.ui.signalsSection.collapsed = False
    slicerhost.processEvents()
    view = next(one for one in panel.ui.signalsSection.children() if one.inherits("qMRMLPlotView"))
    for number in range(3):
        logic.signals.add("Live", number, float(number), dict.fromkeys("TUVW", 40.0 + number))
    panel.refresh()
    list_ = panel.ui.signalsList
    for row in range(4):
        list_.item(row).setCheckState(2)
        assert not view.chart().GetShowLegend()
    logic.signals.setLimits("Live", "T", above=43)
    logic.signals.plotByNumber()
    logic.signals.add("Live", 3, 3.0, dict.fromkeys("TUVW", 43.0))
    logic.signals.chart()
    assert not view.chart().GetShowLegend()
    assert logic.signals.chart().GetLegendVisibility()

    def swatch(row):
        image = list_.item(row).icon().pixmap(12, 12).toImage()
        colour = image.pixelColor(6, 6)
        return colour.alpha() and tuple(round(part, 2) for part in (colour.redF(), colour.greenF(), colour.blueF()))

    colours = [logic.signals.colour("Live", name) for name in "TUVW"]
    assert len(set(colours)) == 4
    assert [swatch(row) for row in range(4)] == [pytest.approx(colour, abs=0.01) for colour in colours]
    list_.item(1).setCheckState(0)
    assert (swatch(1), logic.signals.colour("Live", "U")) == (0, None)


def test_theFieldsFollowLimitsSetInPython(slicer, module, logic, noErrors):
    ui = panelOf(module).ui
    ui.signalsSection.collapsed = False
    for number in range(3):
        logic.signals.add("Live", number, float(number), {"T": 40.0 + number})
    panelOf(module).refresh()
    ui.signalsList.setCurrentRow(0)
    logic.signals.setLimits("Live", "T", above=43)
    panelOf(module).refresh()
    assert (ui.limitAboveEdit.text, ui.limitBelowEdit.text) == ("43", "")


def test_lostImagesAreMarked(slicer, logic, noErrors):
    logic.signals.plot("Live", "Mean")
    for number, lost in ((0, 0), (1, 0), (4, 2), (5, 0)):
        logic.signals.add("Live", number, float(number), {"Mean": 10.0 + number}, lost)
    logic.signals.chart()
    assert sorted(seriesOf(logic)) == ["Live: Mean", "Live: Mean lost before"]
    table = seriesOf(logic)["Live: Mean"].GetTableNode()
    marks = slicer.util.arrayFromTableColumn(table, "Mean lost before")
    assert np.array_equal(marks, [np.nan, np.nan, 14.0, np.nan], equal_nan=True)
    assert logic.signals.columns("Live")["Lost"][2] == 2
    assert logic.signals.names() == [("Live", "Mean")]


def test_severalStreamsShareTheirTimes(slicer, logic, noErrors):
    logic.signals.add("A", 0, 100.0, {"x": 1.0})
    logic.signals.add("B", 0, 102.0, {"x": 1.0})
    assert logic.signals.columns("B")["Time"].tolist() == [2.0]
    for stream in "AB":
        logic.signals.plot(stream, "x")
    logic.signals.plotByNumber()
    assert {node.GetXColumnName() for node in seriesOf(logic).values()} == {"Frame"}
    assert logic.signals.chart().GetXAxisTitle() == "Image"
    logic.signals.plotByNumber(False)
    assert {node.GetXColumnName() for node in seriesOf(logic).values()} == {"Time"}


def test_theCostStaysOver20000Images(slicer, module, noErrors):
    """Points of the table, and redraws, at 100 images a second."""
    from RealTimeImagingLib.Scene.SignalPlots import SignalPlots

    now = [0.0]
    plots = SignalPlots(slicer.mrmlScene, lambda event: None, lambda text: None, lambda: now[0])
    plots.plot("Live", "Mean")
    redraws = []
    for number in range(20_000):
        now[0] = number / 100
        plots.add("Live", number, now[0], {"Mean": float(number)})
        redraws.append(plots.redraws)
    assert 990 <= plots.redraws <= 1000
    assert max(after - before for before, after in zip(redraws, redraws[100:], strict=False)) <= 5
    table = slicer.mrmlScene.GetFirstNode("Live signals", "vtkMRMLTableNode").GetTable()
    assert table.GetNumberOfRows() == 2000
    assert table.GetNumberOfColumns() == 3


def test_thePanelSetsLimitsAndShowsTheAlarm(slicer, module, logic):
    panel = panelOf(module)
    ui = panel.ui
    ui.signalsSection.collapsed = False
    logic.startSimulatedScanner(fps=10)
    until(lambda: ui.signalsList.count == 2)
    assert ui.signalsList.currentRow == 0
    ui.limitAboveEdit.text = "abc"
    ui.limitAboveEdit.editingFinished.emit()
    assert ui.signalsComplaintLabel.text == "A limit is a number, not abc."
    ui.limitAboveEdit.text = "-1"
    ui.limitAboveEdit.editingFinished.emit()
    assert ui.signalsComplaintLabel.text == ""
    assert logic.signals.limits()["Live", "Latency (ms)"].above == -1
    until(lambda: panel._status.line.state == "alarm")
    assert "Live: Latency is " in ui.statusLabel.text
    assert "above -1 ms" in ui.statusLabel.text
    ui.limitAboveEdit.text = ""
    ui.limitAboveEdit.editingFinished.emit()
    until(lambda: panel._status.line.state == "receiving")
    untilStopped(logic)


def test_aValueBeyondItsLimitIsHeard(slicer, module, logic):
    """If Sound is ticked, and once until the value is back."""
    beeps, panel = [], panelOf(module)
    panel._status._alarm._beep = lambda: beeps.append(1)
    logic.signals.setLimits("Live", "FD (mm)", above=0.5)
    heard = []
    for number, value in enumerate((0.1, 0.6, 0.1, 0.7, 0.8)):
        panel.ui.stallSoundCheckBox.checked = number > 1
        logic.signals.add("Live", number, float(number), {"FD (mm)": value})
        panel.refresh()
        heard.append(len(beeps))
    assert heard == [0, 0, 0, 1, 1]


def test_thePanelRemembersTheLimits(slicer, module, logic):
    """After a restart, in an empty scene; limits of the scene come first."""
    ui = panelOf(module).ui
    ui.signalsSection.collapsed = False
    logic.signals.add("Live", 0, 0.0, {"FD (mm)": 0.1})
    panelOf(module).refresh()
    ui.limitAboveEdit.text = "0,5"
    ui.limitAboveEdit.editingFinished.emit()
    slicerhost.closeScene()
    slicerhost.reloadModule("RealTimeImaging")
    panel = slicer.modules.realtimeimaging.widgetRepresentation().self().panel
    signals = slicer.util.getModuleLogic("RealTimeImaging").signals
    assert signals is not logic.signals
    assert signals.limits()["Live", "FD (mm)"].above == 0.5
    signals.add("Live", 0, 0.0, {"FD (mm)": 0.6})
    assert list(signals.alarms()) == [("Live", "FD (mm)")]
    panel.ui.signalsSection.collapsed = False
    panel.refresh()
    assert (panel.ui.limitAboveEdit.text, panel.ui.limitBelowEdit.text) == ("0.5", "")
    panel.ui.limitAboveEdit.text = ""
    panel.ui.limitAboveEdit.editingFinished.emit()
    slicerhost.closeScene()
    slicerhost.reloadModule("RealTimeImaging")
    assert slicer.util.getModuleLogic("RealTimeImaging").signals.limits() == {}


def test_theSceneKeepsTheLimits(slicer, logic, noErrors, tmp_path):
    logic.signals.setLimits("Live", "T (C)", above=43.0)
    path = str(tmp_path / "scene.mrml")
    slicer.mrmlScene.SetURL(path)
    assert slicer.mrmlScene.Commit(path)
    logic.signals.setLimits("Live", "T (C)")
    slicerhost.closeScene()
    slicer.mrmlScene.SetURL(path)
    slicer.mrmlScene.Connect()
    slicerhost.processEvents()
    assert logic.signals.limits()["Live", "T (C)"].above == 43.0


@pytest.mark.parametrize("values", [{"above": float("nan")}, {"above": 1.0, "below": 1.0}])
def test_limitsThatCannotWorkAreRefused(slicer, logic, values):
    from RealTimeImagingLib.Model.Errors import SettingsError

    with pytest.raises(SettingsError):
        logic.signals.setLimits("Live", "T", **values)
    assert logic.signals.limits() == {}
