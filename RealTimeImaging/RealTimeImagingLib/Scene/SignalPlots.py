"""Plot nodes of the signals of live streams: a table a stream, a series a signal, and one chart."""

from __future__ import annotations

import logging
import time as clocks
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from ..Model.Errors import SettingsError
from ..Model.Event import Event
from ..Model.Limits import Limits, LimitWatch
from ..Model.Signals import LOST, MOST_SIGNALS, NUMBER, TIME, Column, Signals
from ..Model.Text import textsOf

_ = textsOf(__file__)

REDRAW = 0.2
"""Least seconds between two redraws of the plots."""
SPARE = 0.01
"""Part of the x axis that may lack while a view still counts as showing all."""
CHART = "Signals"
FONT = 11
"""Size of the texts in the chart, pixels."""
LATENCY, RATE = _("Latency (ms)"), _("Rate (images/s)")
"""Signals that every stream has."""
_LOST_MARK = "lost before"
COLOURS = (
    *((0.12, 0.47, 0.71), (1.0, 0.5, 0.05), (0.17, 0.63, 0.17), (0.84, 0.15, 0.16), (0.58, 0.4, 0.74)),
    *((0.55, 0.34, 0.29), (0.89, 0.47, 0.76), (0.5, 0.5, 0.5), (0.74, 0.74, 0.13), (0.09, 0.75, 0.81)),
)
"""Colours of the series, one after the other (Matplotlib's tab10)."""


class SignalPlots:
    """Signals of all streams, and their plot nodes. The nodes exist from the first call of :meth:`chart` on.

    :param scene: gets the nodes.
    :param report: takes an event, when a value crosses a limit.
    :param store: takes the limits as text, after each change.
    :param clock: monotonic seconds.
    """

    def __init__(
        self,
        scene: Any,
        report: Callable[[Event], None],
        store: Callable[[str], None],
        clock: Callable[[], float] = clocks.monotonic,
    ) -> None:
        self._scene, self._report, self._store, self._clock = scene, report, store, clock
        self._watch = LimitWatch()
        self._start: float | None = None
        self._xColumn = TIME
        self.redraws = 0
        """Number of times that a table node got new values."""
        self._due = 0.0
        self._streams: dict[str, Signals] = {}
        self._drawn: dict[str, int] = {}
        self._nodes: dict[tuple[str, str], str] = {}
        """IDs of the nodes by their classes and names."""
        self._plotting = False
        self._coloured = 0
        self._views: list[Any] = []
        """Plot views outside the layout, see :meth:`follow`."""
        self._following: list[Any] = []
        """Views whose axes follow although another signal is added to the chart."""

    def clear(self) -> None:
        """Forget all values, at the start of a run."""
        self._streams.clear()
        self._drawn.clear()
        self._watch.clear()
        self._start = None

    def forget(self) -> None:
        """Forget all nodes after the scene was closed: nodes of the next scene get the same IDs."""
        self._nodes.clear()
        self._drawn.clear()

    def add(self, stream: str, number: int, time: float, values: Mapping[str, float], lost: int = 0) -> None:
        """Add values of a frame, which the plots show now, or with a later call of :meth:`update`.

        :param number: number of the frame.
        :param time: of the frame, seconds since the epoch (UTC).
        :param values: values by the name of the signal.
        :param lost: number of frames that were lost just before this one; the plots mark the frame.
        """
        if self._start is None:
            self._start = time
        if stream not in self._streams:
            self._streams[stream] = Signals(start=self._start)
        signals = self._streams[stream]
        allPlotted = not signals.leftOut
        signals.add(number, time, values, lost)
        if allPlotted and signals.leftOut:
            text = _("{stream} has more than {most} signals. {name} and further ones are not plotted.")
            text = text.format(stream=stream, most=MOST_SIGNALS, name=signals.leftOut)
            self._report(Event("signals-left-out", text, "warning", stream))
        for event in self._watch.look(stream, number, values):
            self._report(event)
        self.update()

    def setLimits(self, stream: str, name: str, above: float | None = None, below: float | None = None) -> None:
        """Set the limits of a signal, which replace the limits before: lines in the chart, and an alarm beyond them.

        Each crossing is one event. The alarm ends when the value is back.

        >>> logic.signals.setLimits("Live", "motion: Framewise displacement (mm)", above=0.5)

        :param above: upper limit in the unit of the signal; None for no upper limit.
        :param below: lower limit in the unit of the signal; None for no lower limit.
        :raises SettingsError: a limit that is not finite, or a lower limit that is not below the upper one.
        """
        self._watch.set(stream, name, above, below)
        self._store(self._watch.toJSON())
        self._drawn.pop(stream, None)
        if self.isPlotted(stream, name):
            self._plotMarks(stream, name)
            self._due = 0.0
            self.update()
            self._hideLegends()

    def limits(self) -> dict[tuple[str, str], Limits]:
        """Return the limits of all signals by stream and name."""
        return dict(self._watch.limits)

    def loadLimits(self, text: str) -> None:
        """Set the limits of a scene or of an earlier session; a damaged text is ignored.

        :param text: as ``store`` took it.
        """
        try:
            self._watch.fromJSON(text)
        except SettingsError as error:
            logging.warning("%s", error)

    def limitsText(self) -> str:
        """Return all limits as text, for :meth:`loadLimits`."""
        return self._watch.toJSON()

    def alarms(self) -> dict[tuple[str, str], str]:
        """Return a sentence for each signal whose latest value is beyond a limit, by stream and name."""
        return dict(self._watch.alarms)

    @property
    def byNumber(self) -> bool:
        """True when the chart's x axis is the frame number, False when it is the time."""
        return self._xColumn == NUMBER

    def plotByNumber(self, on: bool = True) -> None:
        """Plot all signals over the frame number, or over time."""
        self._xColumn = NUMBER if on else TIME
        chart = self.chart()
        chart.SetXAxisTitle(self._xTitle())
        for place in range(chart.GetNumberOfPlotSeriesNodes()):
            chart.GetNthPlotSeriesNode(place).SetXColumnName(self._xColumn)
        self._hideLegends()

    def _xTitle(self) -> str:
        return "Time (s)" if self._xColumn == TIME else "Image"

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
            node.SetXAxisTitle(self._xTitle())
            self._entitle(node)
            # In the panel, texts in Slicer's size cover the lines.
            node.SetTitleFontSize(FONT)
            node.SetLegendFontSize(FONT)
            node.SetAxisTitleFontSize(FONT)
            node.SetAxisLabelFontSize(FONT)
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

    def follow(self, view: Any) -> None:
        """Let the axes of a plot view (qMRMLPlotView) follow new values, as those of the layout do.

        A view that the user has zoomed or moved follows again after "Fit to content". It has no legend, which would
        cover the lines of a small plot: show the colours (:meth:`colour`) beside it.
        """
        self._views.append(view)
        self._hideLegends()

    def unfollow(self, view: Any) -> None:
        """Release a view of :meth:`follow`."""
        self._views.remove(view)

    def isPlotted(self, stream: str, name: str) -> bool:
        """Return True when the chart has this signal."""
        series = self._known("vtkMRMLPlotSeriesNode", f"{stream}: {name}")
        chart = self._known("vtkMRMLPlotChartNode", CHART)
        return bool(series and chart and chart.HasPlotSeriesNodeID(series.GetID()))

    def colour(self, stream: str, name: str) -> tuple[float, float, float] | None:
        """Return red, green and blue, 0 to 1, of a signal's line; None while it is not plotted."""
        if not self.isPlotted(stream, name):
            return None
        red, green, blue = self._known("vtkMRMLPlotSeriesNode", f"{stream}: {name}").GetColor()
        return red, green, blue

    def plot(self, stream: str, name: str, on: bool = True) -> None:
        """Add a signal to the chart, or remove it."""
        chart, series = self.chart(), self._series(stream, name)
        # Their axes need not hold the new signal.
        self._following = self._followingNow()
        if on:
            chart.AddAndObservePlotSeriesNodeID(series.GetID())
            self._plotMarks(stream, name)
        elif chart.HasPlotSeriesNodeID(series.GetID()):
            chart.RemovePlotSeriesNodeID(series.GetID())
            self._plotMarks(stream, name)
        self._entitle(chart)
        self._drawn.pop(stream, None)
        self._due = 0.0
        self.update()
        self._following = []
        self._hideLegends()

    def _hideLegends(self) -> None:
        # Slicer shows it again with each change of the chart, and when it fits the axes.
        for view in self._views:
            view.chart().SetShowLegend(False)

    def _entitle(self, chart: Any) -> None:
        """Name a single signal above the plot: a legend would cover its line."""
        series = [chart.GetNthPlotSeriesNode(place) for place in range(chart.GetNumberOfPlotSeriesNodes())]
        # Limits have dashed lines, and marks have none.
        signals = [one for one in series if one is not None and one.GetLineStyle() == one.LineStyleSolid]
        chart.SetTitle(signals[0].GetName() if len(signals) == 1 else "")
        chart.SetTitleVisibility(len(signals) == 1)
        chart.SetLegendVisibility(len(signals) > 1)

    def update(self) -> None:
        """Write the values that are new into the table nodes, unless the last time was within REDRAW seconds."""
        now = self._clock()
        if not self._plotting or now < self._due:
            return
        self._due = now + REDRAW
        redraws, following = self.redraws, self._following or self._followingNow()
        for stream, signals in self._streams.items():
            if self._drawn.get(stream) == signals.changes:
                continue
            columns = signals.columns()
            # VTK reports an error for a line with a single point.
            if len(columns[TIME]) > 1:
                self._drawn[stream] = signals.changes
                self.redraws += 1
                for name in {*signals.names, *self._marked(stream)}:
                    if self.isPlotted(stream, name):
                        self._plotMarks(stream, name)
                node = self._node("vtkMRMLTableNode", f"{stream} signals")
                _fill(node, columns | self._marks(stream, columns), self._plottedColumns(node))
        if self.redraws != redraws:
            for view in following:
                _fit(view)
            self._hideLegends()

    def _followingNow(self) -> list[Any]:
        return [view for view in self._chartViews() if self._showsAll(view)]

    def _chartViews(self) -> list[Any]:
        """Return the plot views of the layout that have the chart, and those of :meth:`follow`."""
        manager, chart = slicer.app.layoutManager(), self._known("vtkMRMLPlotChartNode", CHART)
        if manager is None or chart is None:  # without a main window there is no layout
            return list(self._views)
        widgets = [manager.plotWidget(place) for place in range(manager.plotViewCount)]
        shown = [one for one in widgets if one.mrmlPlotViewNode().GetPlotChartNodeID() == chart.GetID()]
        return [*self._views, *(one.plotView() for one in shown)]

    def _showsAll(self, view: Any) -> bool:
        """Return whether the x axis of a view holds all values that are drawn: the user has not zoomed or moved it."""
        chart, axis = self._known("vtkMRMLPlotChartNode", CHART), view.chart().GetAxis(vtk.vtkAxis.BOTTOM)
        ranges = []
        for place in range(chart.GetNumberOfPlotSeriesNodes() if chart is not None else 0):
            series = chart.GetNthPlotSeriesNode(place)
            table = series.GetTableNode() if series is not None else None
            if table is None:
                continue
            columns = [
                table.GetTable().GetColumnByName(one) for one in (series.GetXColumnName(), series.GetYColumnName())
            ]
            if None not in columns:
                x, y = map(vtk_to_numpy, columns)
                # A function may have begun long after its source.
                ranges.append(x[np.isfinite(y)])
        drawn = np.concatenate([np.zeros(0), *ranges])
        if not drawn.size:
            return True
        low, high = drawn.min(), drawn.max()
        spare = SPARE * (high - low)
        return bool(axis.GetMinimum() <= low + spare and high - spare <= axis.GetMaximum())

    def _marked(self, stream: str) -> set[str]:
        """Return the signals of a stream whose lost frames are marked now."""
        start, end = f"{stream}: ", f" {_LOST_MARK}"
        titles = [title for kind, title in self._nodes if kind == "vtkMRMLPlotSeriesNode"]
        marks = [title for title in titles if title.startswith(start) and title.endswith(end)]
        return {title.removeprefix(start).removesuffix(end) for title in marks}

    def _plottedColumns(self, table: Any) -> set[str]:
        chart = self._known("vtkMRMLPlotChartNode", CHART)
        count = chart.GetNumberOfPlotSeriesNodes() if chart is not None else 0
        series = [chart.GetNthPlotSeriesNode(place) for place in range(count)]
        return {one.GetYColumnName() for one in series if one is not None and one.GetTableNode() is table}

    def _series(self, stream: str, name: str) -> Any:
        title = f"{stream}: {name}"
        node = self._known("vtkMRMLPlotSeriesNode", title)
        if node is None:
            node = self._node("vtkMRMLPlotSeriesNode", title)
            node.SetYColumnName(name)
            node.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
            node.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleNone)
            node.SetColor(COLOURS[self._coloured % len(COLOURS)])
            self._coloured += 1
        node.SetXColumnName(self._xColumn)
        node.SetAndObserveTableNodeID(self._node("vtkMRMLTableNode", f"{stream} signals").GetID())
        return node

    def _marks(self, stream: str, columns: Mapping[str, Column]) -> dict[str, Column]:
        """Return the columns of the lines of limits, and of the marks of lost frames, by their titles."""
        found: dict[str, Column] = {}
        for (ofStream, name), limits in self._watch.limits.items():
            if ofStream == stream and name in columns:
                for side, value in (("above", limits.above), ("below", limits.below)):
                    if value is not None:
                        found[f"{name} {side}"] = np.full(len(columns[TIME]), value)
        if LOST in columns:
            for name in self._streams[stream].names:
                found[f"{name} {_LOST_MARK}"] = np.where(columns[LOST] > 0, columns[name], np.nan)
        return found

    def _plotMarks(self, stream: str, name: str) -> None:
        """Show the limits and the marks of lost frames of a plotted signal; hide those of another one."""
        chart, signal = self._known("vtkMRMLPlotChartNode", CHART), self._series(stream, name)
        limits = self._watch.limits.get((stream, name), Limits()) if self.isPlotted(stream, name) else Limits()
        columns = self.columns(stream) if self.isPlotted(stream, name) else {}
        marked = name in columns and LOST in columns and bool(np.any(columns[LOST][~np.isnan(columns[name])] > 0))
        wanted = {"above": limits.above is not None, "below": limits.below is not None, _LOST_MARK: marked}
        for kind, on in wanted.items():
            title = f"{stream}: {name} {kind}"
            node = self._known("vtkMRMLPlotSeriesNode", title)
            if not on:
                if node is not None:
                    chart.RemovePlotSeriesNodeID(node.GetID())
                    self._scene.RemoveNode(node)
                continue
            if node is None:
                node = self._node("vtkMRMLPlotSeriesNode", title)
                node.SetPlotType(node.PlotTypeScatter)
                node.SetYColumnName(f"{name} {kind}")
                node.SetColor(signal.GetColor())
                isLine = kind != _LOST_MARK
                node.SetLineStyle(node.LineStyleDash if isLine else node.LineStyleNone)
                node.SetMarkerStyle(node.MarkerStyleNone if isLine else node.MarkerStyleCross)
            node.SetXColumnName(self._xColumn)
            node.SetAndObserveTableNodeID(signal.GetTableNodeID())
            if not chart.HasPlotSeriesNodeID(node.GetID()):
                chart.AddAndObservePlotSeriesNodeID(node.GetID())

    def _known(self, kind: str, name: str) -> Any:
        return self._scene.GetNodeByID(self._nodes.get((kind, name), ""))

    def _node(self, kind: str, name: str) -> Any:
        node = self._known(kind, name)
        if node is None:
            # Nodes of a loaded scene or an earlier run are used again.
            node = self._scene.GetFirstNode(name, kind) or self._scene.AddNewNodeByClass(kind, name)
            self._nodes[kind, name] = node.GetID()
        return node


def _fit(view: Any) -> None:
    chart = view.chart()
    for place in range(chart.GetNumberOfPlots()):
        plot = chart.GetPlot(place)
        # A NaN that was not drawn yet counts as a bound: the axis would end at NaN.
        plot.Update()
        # A signal without a value keeps the bounds of an earlier run, unless it is hidden.
        values = plot.GetData().GetInputArrayToProcess(1, plot.GetInput())
        plot.SetVisible(values is not None and bool(np.isfinite(vtk_to_numpy(values)).any()))
    view.fitToContent()


def _fill(node: Any, columns: Mapping[str, Column], plotted: set[str]) -> None:
    table = node.GetTable()
    rows = len(columns[TIME])
    # A signal of an earlier run that is plotted has no value yet: VTK reports an error for a line without a column.
    missing = {title: np.full(rows, np.nan) for title in plotted - set(columns)}
    columns = {**columns, **missing}
    for place in reversed(range(table.GetNumberOfColumns())):
        if table.GetColumnName(place) not in columns:
            table.RemoveColumn(place)  # of a limit that was removed, or of an earlier run
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
