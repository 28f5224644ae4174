"""Plot nodes of the signals of live streams: a table a stream, a series a signal, and one chart."""

from __future__ import annotations

import time as clocks
from collections.abc import Callable, Mapping
from typing import Any

import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from ..Model.Errors import SettingsError
from ..Model.Signals import TIME, Column, Signals
from ..Model.Text import textsOf

_ = textsOf(__file__)

REDRAW = 0.2
"""Least seconds between two redraws of the plots."""
CHART = "Signals"
LATENCY, RATE = "Latency (ms)", "Rate (images/s)"
"""Signals that every stream has."""
COLOURS = ((0.12, 0.47, 0.71), (1.0, 0.5, 0.05), (0.17, 0.63, 0.17), (0.84, 0.15, 0.16), (0.58, 0.4, 0.74))
"""Colours of the series, one after the other (Matplotlib's tab10)."""


class SignalPlots:
    """Signals of all streams, and their plot nodes. The nodes exist from the first call of :meth:`chart` on.

    :param scene: gets the nodes.
    :param clock: monotonic seconds.
    """

    def __init__(self, scene: Any, clock: Callable[[], float] = clocks.monotonic) -> None:
        self._scene, self._clock = scene, clock
        self._due = 0.0
        self._streams: dict[str, Signals] = {}
        self._drawn: dict[str, int] = {}
        self._nodes: dict[tuple[str, str], str] = {}
        """IDs of the nodes by their classes and names."""
        self._plotting = False

    def clear(self) -> None:
        """Forget all values, at the start of a run."""
        self._streams.clear()
        self._drawn.clear()

    def forget(self) -> None:
        """Forget all nodes after the scene was closed: nodes of the next scene get the same IDs."""
        self._nodes.clear()
        self._drawn.clear()

    def add(self, stream: str, number: int, time: float, values: Mapping[str, float]) -> None:
        """Add values of a frame, which the plots show now, or with a later call of :meth:`update`.

        :param number: number of the frame.
        :param time: of the frame, seconds since the epoch (UTC).
        :param values: values by the name of the signal.
        """
        self._streams.setdefault(stream, Signals()).add(number, time, values)
        self.update()

    def names(self) -> list[tuple[str, str]]:
        """Return the signals as pairs of stream and name."""
        return [(stream, name) for stream, signals in self._streams.items() for name in signals.names]

    def columns(self, stream: str) -> dict[str, Column]:
        """Return the latest values of a stream (:meth:`Signals.columns`); empty for an unknown stream."""
        return self._streams[stream].columns() if stream in self._streams else {}

    def chart(self) -> Any:
        """Return the chart node (vtkMRMLPlotChartNode), which any plot view can show; it is made when there is none."""
        self._plotting = True
        node = self._node("vtkMRMLPlotChartNode", CHART)
        if not node.GetXAxisTitle():
            node.SetXAxisTitle("Time (s)")
            node.SetTitleVisibility(False)
        self._due = 0.0
        self.update()
        return node

    def showInLayout(self) -> None:
        """Show the chart in the views, in a layout with a plot view.

        :raises SettingsError: this Slicer has no Plots module.
        """
        plots = getattr(slicer.modules, "plots", None)
        if plots is None:
            raise SettingsError(_("This Slicer has no Plots module. The panel shows the plot."))
        plots.logic().ShowChartInLayout(self.chart())

    def isPlotted(self, stream: str, name: str) -> bool:
        """Return True when the chart has this signal."""
        series = self._known("vtkMRMLPlotSeriesNode", f"{stream}: {name}")
        chart = self._known("vtkMRMLPlotChartNode", CHART)
        return bool(series and chart and chart.HasPlotSeriesNodeID(series.GetID()))

    def plot(self, stream: str, name: str, on: bool = True) -> None:
        """Add a signal to the chart, or remove it."""
        chart, series = self.chart(), self._series(stream, name)
        if on:
            chart.AddAndObservePlotSeriesNodeID(series.GetID())
        elif chart.HasPlotSeriesNodeID(series.GetID()):
            chart.RemovePlotSeriesNodeID(series.GetID())

    def update(self) -> None:
        """Write the values that are new into the table nodes, unless the last time was within REDRAW seconds."""
        now = self._clock()
        if not self._plotting or now < self._due:
            return
        self._due = now + REDRAW
        for stream, signals in self._streams.items():
            columns = signals.columns()
            # VTK reports an error for a line with a single point.
            if self._drawn.get(stream) != signals.changes and len(columns[TIME]) > 1:
                self._drawn[stream] = signals.changes
                _fill(self._node("vtkMRMLTableNode", f"{stream} signals"), columns)

    def _series(self, stream: str, name: str) -> Any:
        title = f"{stream}: {name}"
        node = self._known("vtkMRMLPlotSeriesNode", title)
        if node is None:
            node = self._node("vtkMRMLPlotSeriesNode", title)
            node.SetXColumnName(TIME)
            node.SetYColumnName(name)
            node.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
            node.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleNone)
            number = self._scene.GetNumberOfNodesByClass("vtkMRMLPlotSeriesNode") - 1
            node.SetColor(COLOURS[number % len(COLOURS)])
        node.SetAndObserveTableNodeID(self._node("vtkMRMLTableNode", f"{stream} signals").GetID())
        return node

    def _known(self, kind: str, name: str) -> Any:
        return self._scene.GetNodeByID(self._nodes.get((kind, name), ""))

    def _node(self, kind: str, name: str) -> Any:
        node = self._known(kind, name)
        if node is None:
            # Nodes of a loaded scene or an earlier run are used again.
            node = self._scene.GetFirstNode(name, kind) or self._scene.AddNewNodeByClass(kind, name)
            self._nodes[kind, name] = node.GetID()
        return node


def _fill(node: Any, columns: Mapping[str, Column]) -> None:
    table = node.GetTable()
    rows = len(columns[TIME])
    for title, values in columns.items():
        column = table.GetColumnByName(title)
        if column is None:
            column = vtk.vtkDoubleArray()
            column.SetName(title)
            column.SetNumberOfValues(rows)
            table.AddColumn(column)
        column.SetNumberOfValues(rows)
        vtk_to_numpy(column)[:] = values
        column.Modified()
    table.Modified()
    node.Modified()
