"""Signals of each frame: in a plot of the panel, in plot nodes for any layout, and as columns."""

from __future__ import annotations

import numpy as np
import pytest
import slicerhost

from .conftest import until, untilStopped
from .test_Panel import panelOf


def pixelsOf(widget):
    """A picture of the widget, height x width x 3."""
    from PySide6 import QtGui, QtWidgets

    image = QtWidgets.QWidget.grab(widget).toImage().convertToFormat(QtGui.QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    # A copy: the bits belong to the picture, which ends with this function.
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()


def panelsPlots(slicer):
    """The plot view nodes of the panel; those of a layout stay in the scene."""
    found = slicer.util.getNodesByClass("vtkMRMLPlotViewNode")
    return [node for node in found if node.GetName().startswith("Real-Time Imaging")]


def test_latencyAndRateArePlotted(slicer, module, logic, noErrors):
    """Ticking draws a line in the panel's plot; unticking removes it."""
    ui = panelOf(module).ui
    ui.signalsSection.collapsed = False
    slicerhost.processEvents()
    view = next(one for one in ui.signalsSection.children() if one.inherits("qMRMLPlotView"))
    logic.startSimulatedScanner(fps=20)
    until(lambda: logic.statistics()["shown"] >= 20)
    until(lambda: ui.signalsList.count == 2)
    assert [ui.signalsList.item(row).text() for row in (0, 1)] == ["Latency (ms)", "Rate (images/s)"]
    colour = (0.12, 0.47, 0.71)
    near = lambda: (np.abs(pixelsOf(view).astype(float) / 255 - colour).max(axis=2) < 0.1).sum()  # noqa: E731
    assert near() == 0
    assert view.isHidden()
    ui.signalsList.item(0).setCheckState(2)
    assert not view.isHidden()
    until(lambda: near() > 30)
    chart = logic.signals.chart()
    (series,) = [chart.GetNthPlotSeriesNode(0)]
    table = series.GetTableNode()
    until(lambda: table.GetTable().GetNumberOfRows() >= 20)
    columns = logic.signals.columns("Live")
    assert columns["Frame"].tolist() == sorted(set(columns["Frame"].tolist()))
    assert np.all(columns["Latency (ms)"] >= 0)
    ui.signalsList.item(0).setCheckState(0)
    assert chart.GetNumberOfPlotSeriesNodes() == 0
    assert view.isHidden()
    ui.signalsSection.collapsed = True
    assert panelsPlots(slicer) == []
    untilStopped(logic)


def test_valuesOfAnyNameJoinTheirFrame(slicer, logic, noErrors):
    logic.signals.add("Live", 3, 10.0, {"Mean": 5.0})
    logic.signals.add("Live", 4, 10.5, {"Mean": 6.0})
    logic.signals.plot("Live", "Mean")
    table = logic.signals.chart().GetNthPlotSeriesNode(0).GetTableNode()
    assert slicer.util.arrayFromTableColumn(table, "Mean").tolist() == [5.0, 6.0]
    logic.signals.add("Live", 5, 11.0, {"Mean": 7.0})
    until(lambda: (logic.signals.update(), table.GetTable().GetNumberOfRows() == 3)[1])
    assert slicer.util.arrayFromTableColumn(table, "Time").tolist() == [0.0, 0.5, 1.0]


def test_aSinglePointIsNoLineYet(slicer, module, logic, noErrors):
    """VTK refuses to draw it, and Slicer would report an error."""
    ui = panelOf(module).ui
    ui.signalsSection.collapsed = False
    slicerhost.processEvents()
    view = next(one for one in ui.signalsSection.children() if one.inherits("qMRMLPlotView"))
    logic.signals.add("Live", 0, 10.0, {"Mean": 5.0})
    logic.signals.plot("Live", "Mean")
    pixelsOf(view)
    assert slicerhost.vtkMessages == []


def test_theNodesSurviveTheEndOfTheScene(slicer, module, logic, noErrors):
    """A closed scene takes the nodes; the next run makes new ones."""
    ui = panelOf(module).ui
    ui.signalsSection.collapsed = False
    logic.signals.add("Live", 0, 10.0, {"Mean": 5.0})
    logic.signals.plot("Live", "Mean")
    slicerhost.closeScene()
    logic.signals.add("Live", 1, 11.0, {"Mean": 6.0})
    logic.signals.plot("Live", "Mean")
    assert logic.signals.isPlotted("Live", "Mean")
    panelOf(module).refresh()
    (node,) = panelsPlots(slicer)
    assert node.GetPlotChartNodeID() == logic.signals.chart().GetID()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLPlotChartNode") == 1


def test_aTableOfTheNextSceneIsNotTaken(slicer, logic, noErrors):
    """Nodes of the next scene get the IDs of the last one."""
    logic.signals.add("Live", 0, 10.0, {"Mean": 5.0})
    logic.signals.plot("Live", "Mean")
    table = slicer.mrmlScene.GetFirstNode("Live signals", "vtkMRMLTableNode").GetID()
    slicerhost.closeScene()
    mine = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "Mine")
    assert mine.GetID() == table
    logic.signals.add("Live", 1, 11.0, {"Mean": 6.0})
    logic.signals.plot("Live", "Mean")
    assert mine.GetNumberOfColumns() == 0
    assert slicer.mrmlScene.GetFirstNode("Live signals", "vtkMRMLTableNode").GetNumberOfColumns() == 3


@pytest.mark.parametrize("name", ["Signals", "Live signals", "Live: Mean"])
def test_aNodeThatTheUserRemovedIsMadeAgain(slicer, module, logic, name, noErrors):
    ui = panelOf(module).ui
    ui.signalsSection.collapsed = False
    logic.signals.add("Live", 0, 10.0, {"Mean": 5.0})
    panelOf(module).refresh()
    row = ui.signalsList.item(0)
    row.setCheckState(2)
    slicer.mrmlScene.RemoveNode(slicer.mrmlScene.GetFirstNodeByName(name))
    panelOf(module).refresh()
    for state in (0, 2):
        ui.signalsList.item(0).setCheckState(state)
    logic.signals.add("Live", 1, 11.0, {"Mean": 6.0})
    logic.signals.chart()
    section = next(one for one in panelOf(module)._sections if hasattr(one, "_saveTimes"))
    chart = slicer.mrmlScene.GetNodeByID(slicer.mrmlScene.GetNodeByID(section._nodeID).GetPlotChartNodeID())
    assert chart.GetNumberOfPlotSeriesNodes() == 1
    assert list(slicer.util.arrayFromTableColumn(chart.GetNthPlotSeriesNode(0).GetTableNode(), "Mean")) == [5.0, 6.0]


def test_theChartIsShownInTheViews(slicer, module, logic, noErrors):
    ui = panelOf(module).ui
    logic.signals.add("Live", 0, 10.0, {"Mean": 5.0})
    panelOf(module).refresh()
    ui.signalsSection.collapsed = False
    ui.plotInViewButton.click()
    selection = slicer.app.applicationLogic().GetSelectionNode()
    assert selection.GetActivePlotChartID() == logic.signals.chart().GetID()


@pytest.mark.parametrize("inPanel", [True, False])
def test_theAxesOfAPlotFollowUntilTheUserZooms(slicer, module, logic, views, inPanel, noErrors):
    """In the panel, and in the layout while the panel is closed; "Fit to content" lets them follow again."""
    ui, signals = panelOf(module).ui, logic.signals
    for number in range(2):
        signals.add("Live", number, 10.0 + number, {"Mean": 5.0})
    signals.plot("Live", "Mean")
    if inPanel:
        ui.signalsSection.collapsed = False
        view = next(one for one in panelOf(module)._sections if hasattr(one, "_saveTimes"))._view
    else:
        signals.showInLayout()
        plots = [views.plotWidget(place) for place in range(views.plotViewCount)]
        chart = signals.chart().GetID()
        view = next(one for one in plots if one.mrmlPlotViewNode().GetPlotChartNodeID() == chart).plotView()

    def end(number):
        """The end of the x axis after one more value."""
        signals.add("Live", number, 10.0 + number, {"Mean": 6.0})
        signals.chart()
        return view.chart().GetAxis(1).GetMaximum()

    assert [end(2), end(3)] == [2.0, 3.0]
    view.zoom(1.0, 2.0)
    assert [end(4), end(5)] == [2.0, 2.0]
    view.fitToContent()
    assert end(6) == 6.0
    signals.clear()
    for number in range(2):
        signals.add("Live", number, 10.0 + number, {"Mean": 5.0})
    assert end(2) == 2.0


def test_oneEventNamesTheSignalsThatAreNotPlotted(slicer, logic):
    """Once a stream and run, however many there are; the limits of the others are watched, too."""
    events = []
    logic.addEventCallback(events.append)
    logic.signals.setLimits("Live", "S70", above=5)
    for number in range(3):
        logic.signals.add("Live", number, float(number), {f"S{at}": 9.0 for at in range(90)})
    logic.removeEventCallback(events.append)
    assert len(logic.signals.names()) == 64
    assert [event.text for event in events if event.code == "signals-left-out"] == [
        "Live has more than 64 signals. S64 and further ones are not plotted."
    ]
    assert [event.subject for event in events if event.code == "limit-crossed"] == ["Live: S70"]
    logic.signals.setLimits("Live", "S70")


def test_aSignalWithoutValuesHasNoPartInTheAxes(slicer, module, logic, noErrors):
    """A missing value is NaN in the table, and in a new run a plotted signal may have none."""
    signals = logic.signals
    panelOf(module).ui.signalsSection.collapsed = False
    view = next(one for one in panelOf(module)._sections if hasattr(one, "_saveTimes"))._view

    def add(number, values):
        """Return the ends of both axes after some more values."""
        signals.add("Live", number, 10.0 + number, values)
        signals.chart()
        return [view.chart().GetAxis(axis).GetMaximum() for axis in (1, 0)]

    for number in range(2):
        add(number, {"Mean": 5.0, "Other": 90.0})
    signals.plot("Live", "Mean")
    signals.plot("Live", "Other")
    assert add(2, {"Mean": 6.0, "Other": 95.0}) == [2.0, 95.0]
    assert add(3, {"Mean": 7.0}) == [3.0, 95.0]
    signals.clear()
    add(0, {"Mean": 5.0})
    assert add(1, {"Mean": 8.0}) == [1.0, 8.0]
    assert add(2, {"Mean": 8.0, "Other": 20.0}) == [2.0, 20.0]


def test_theFrameTimesAreSaved(module, logic, tmp_path, noErrors):
    """Images go on while the dialog is open."""
    ui = panelOf(module).ui
    logic.startSimulatedScanner(fps=10)
    until(lambda: logic.statistics()["shown"] >= 2)
    until(lambda: ui.saveTimesButton.enabled)
    ui.saveTimesButton.click()
    section = next(one for one in panelOf(module)._sections if hasattr(one, "_saveTimes"))
    shown, dialog = logic.statistics()["shown"], section._dialog[0]
    dialog.selectFile(str(tmp_path / "times.csv"))
    until(lambda: logic.statistics()["shown"] > shown + 1)
    dialog.accept()
    assert ui.signalsComplaintLabel.text == ""
    lines = (tmp_path / "times.csv").read_text().splitlines()
    assert lines[0].startswith("stream,number,seen,")
    assert len(lines) > 3
    untilStopped(logic)


def test_aSlicerWithoutPlotsModuleSaysSo(slicer, module, logic, monkeypatch, noErrors):
    monkeypatch.delattr(slicer.modules, "plots")
    ui = panelOf(module).ui
    logic.signals.add("Live", 0, 10.0, {"Mean": 5.0})
    panelOf(module).refresh()
    ui.signalsSection.collapsed = False
    ui.plotInViewButton.click()
    assert "no Plots module" in ui.signalsComplaintLabel.text
