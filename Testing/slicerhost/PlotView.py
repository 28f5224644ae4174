"""qMRMLPlotView: draws the chart of a plot view node with VTK's charts, off screen, into a widget."""

from typing import Any

import numpy
import vtkmodules.vtkRenderingContextOpenGL2  # noqa: F401 - registers the drawing of charts
from PySide6 import QtCore, QtGui, QtWidgets
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkChartsCore import vtkAxis, vtkChart, vtkChartXY
from vtkmodules.vtkCommonCore import vtkCommand, vtkOutputWindow
from vtkmodules.vtkRenderingCore import vtkRenderWindow, vtkWindowToImageFilter
from vtkmodules.vtkViewsContext2D import vtkContextView

from .CtkWidgets import QWidget
from .Observers import observe, stopObserving


def _hasColumns(series: Any) -> bool:
    table = series.GetTableNode().GetTable() if series.GetTableNode() is not None else None
    names = series.GetXColumnName(), series.GetYColumnName()
    return table is not None and all(table.GetColumnByName(name) is not None for name in names)


class _Observing:
    """Observers of nodes, without a reference to the widget: they end after the widget is deleted."""

    def __init__(self) -> None:
        self.tags: list[tuple[Any, int]] = []

    def stop(self) -> None:
        for node, tag in self.tags:
            stopObserving(node, tag)
        self.tags = []


class qMRMLPlotView(QWidget):  # type: ignore[misc, valid-type]
    """The canvas of a plot. As in Slicer it needs the scene and a plot view node, which names the chart node."""

    standIn = True

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._node: Any = None
        self._observing = _Observing()
        self._ranges = [(0.0, 1.0), (0.0, 1.0)]
        """Ranges of the axes."""
        self._axes = vtkChartXY()
        """Chart with the plots, whose bounds and visibility are VTK's; another one is drawn."""
        self._inputs: list[tuple[Any, str, str]] = []
        """Table, x and y column of each plot."""
        self._drawn: set[Any] = set()
        """Series that have been drawn, so that VTK reports an error when their columns vanish."""
        QtCore.QObject.connect(self, QtCore.SIGNAL("destroyed()"), self._observing.stop)

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        if scene is None:
            self.setMRMLPlotViewNode(None)

    def setMRMLPlotViewNode(self, node: Any) -> None:
        self._node = node
        self._follow()

    def chart(self) -> Any:
        """The chart with its axes and plots."""
        self._setPlots()
        self._setRanges(self._axes)
        return self._axes

    def _setRanges(self, chart: Any) -> None:
        for axis, (low, high) in zip((vtkAxis.BOTTOM, vtkAxis.LEFT), self._ranges, strict=True):
            chart.GetAxis(axis).SetBehavior(vtkAxis.FIXED)
            chart.GetAxis(axis).SetRange(low, high if high > low else low + 1)

    def _drawable(self) -> list[Any]:
        chart = self._chart()
        series = [chart.GetNthPlotSeriesNode(n) for n in range(chart.GetNumberOfPlotSeriesNodes())] if chart else []
        return [one for one in series if one is not None and _hasColumns(one)]

    def _setPlots(self) -> None:
        found = [
            (one.GetTableNode().GetTable(), one.GetXColumnName(), one.GetYColumnName()) for one in self._drawable()
        ]
        if found != self._inputs:
            self._axes.ClearPlots()
            for table, x, y in found:
                self._axes.AddPlot(vtkChart.LINE).SetInputData(table, x, y)
            self._inputs = found

    def zoom(self, low: float, high: float) -> None:
        """Let the x axis be as after the user's mouse wheel; of the host, not of Slicer."""
        self._ranges[0] = (low, high)
        self.update()

    def fitToContent(self) -> None:
        """Fit the axes as Slicer does (qMRMLPlotView::RecalculateBounds): they do not follow new values by themselves.

        A plot counts with the bounds that VTK has for it: NaN when a NaN is new since its last update, and those of
        earlier values when all are NaN.
        """
        chart, ranges = self.chart(), [(0.0, 0.0), (0.0, 0.0)]
        isFirst = True
        for place in range(chart.GetNumberOfPlots()):
            plot, bounds = chart.GetPlot(place), [0.0] * 4
            if not plot.GetVisible():
                continue
            plot.GetUnscaledInputBounds(bounds)
            if bounds[1] - bounds[0] < 0:
                continue
            for axis, (low, high) in enumerate((bounds[:2], bounds[2:])):
                least, most = (low, high) if isFirst else ranges[axis]
                ranges[axis] = low if least > low else least, high if most < high else most
            isFirst = False
        self._ranges = ranges
        self._showLegend()
        self.update()

    def _extent(self) -> list[tuple[float, float]]:
        """Least and greatest finite value of the x and the y columns of the series."""
        chart, found = self._chart(), []
        series = [chart.GetNthPlotSeriesNode(n) for n in range(chart.GetNumberOfPlotSeriesNodes())] if chart else []
        tables = [(one, one.GetTableNode().GetTable()) for one in series if one is not None and _hasColumns(one)]
        for name in ("GetXColumnName", "GetYColumnName"):
            columns = [vtk_to_numpy(table.GetColumnByName(getattr(one, name)())) for one, table in tables]
            values = numpy.concatenate([numpy.zeros(0), *columns])
            values = values[numpy.isfinite(values)]
            found.append((float(values.min()), float(values.max())) if values.size else (0.0, 1.0))
        return found

    def _nodes(self) -> list[Any]:
        """The plot view node, its chart, the series of the chart and their tables."""
        chart = self._chart()
        series = [chart.GetNthPlotSeriesNode(n) for n in range(chart.GetNumberOfPlotSeriesNodes())] if chart else []
        series = [one for one in series if one is not None]
        tables = [one.GetTableNode() for one in series if one.GetTableNode() is not None]
        return [node for node in (self._node, chart, *series, *tables) if node is not None]

    def _chart(self) -> Any:
        return self._node.GetPlotChartNode() if self._node is not None else None

    def _showLegend(self) -> None:
        """Show the legend as the node says, with each change of the chart (qMRMLPlotView::updateWidgetFromMRML)."""
        node = self._chart()
        self._axes.SetShowLegend(bool(node and node.GetLegendVisibility()))

    def _follow(self, *_event: Any) -> None:
        self._observing.stop()
        self._showLegend()
        self._ranges = self._extent()
        events = (vtkCommand.ModifiedEvent,)
        self._observing.tags = [
            (node, observe(node, event, self._changed)) for node in self._nodes() for event in events
        ]
        self.update()

    def _changed(self, *_event: Any) -> None:
        chart = self._chart()
        series = [chart.GetNthPlotSeriesNode(n) for n in range(chart.GetNumberOfPlotSeriesNodes())] if chart else []
        drawable = {one for one in series if one is not None and _hasColumns(one)}
        if self._drawn & set(series) - drawable:
            vtkOutputWindow.GetInstance().DisplayErrorText("No Y column is set (index 1).")
        self._drawn = drawable
        self._showLegend()
        if [node for node, _tag in self._observing.tags] != self._nodes():
            self._follow()
        self.update()

    def sizeHint(self) -> QtCore.QSize:
        return QtCore.QSize(300, 200)

    def paintEvent(self, _event: QtGui.QPaintEvent) -> None:
        size = QtWidgets.QWidget.size(self)
        pixels = self._picture(max(1, size.width()), max(1, size.height()))
        height, width, components = pixels.shape
        image = QtGui.QImage(pixels.data, width, height, components * width, QtGui.QImage.Format.Format_RGB888)
        painter = QtGui.QPainter(self)
        painter.drawImage(0, 0, image)
        painter.end()

    def _picture(self, width: int, height: int) -> numpy.ndarray[Any, Any]:
        window = vtkRenderWindow()
        window.SetOffScreenRendering(True)
        window.SetMultiSamples(0)
        view = vtkContextView()
        view.SetRenderWindow(window)
        view.GetRenderer().SetBackground(1, 1, 1)
        window.SetSize(width, height)
        chart = vtkChartXY()
        self._setRanges(chart)
        view.GetScene().AddItem(chart)
        node = self._chart()
        plots = self.chart()
        for number, series in enumerate(self._drawable()):
            plots.GetPlot(number).Update()
            if not plots.GetPlot(number).GetVisible():
                continue
            plot = chart.AddPlot(vtkChart.LINE)
            plot.SetInputData(series.GetTableNode().GetTable(), series.GetXColumnName(), series.GetYColumnName())
            plot.SetColorF(*series.GetColor())
            # The numbers of the styles are those of VTK, as in Slicer.
            plot.GetPen().SetLineType(series.GetLineStyle())
            plot.SetMarkerStyle(series.GetMarkerStyle())
            plot.SetLabel(series.GetName())
        for axis, title in ((vtkAxis.BOTTOM, "XAxisTitle"), (vtkAxis.LEFT, "YAxisTitle")):
            chart.GetAxis(axis).SetTitle((getattr(node, f"Get{title}")() or "") if node else "")
            if node:
                chart.GetAxis(axis).GetTitleProperties().SetFontSize(node.GetAxisTitleFontSize())
                chart.GetAxis(axis).GetLabelProperties().SetFontSize(node.GetAxisLabelFontSize())
        if node:
            chart.GetLegend().GetLabelProperties().SetFontSize(node.GetLegendFontSize())
        title = node.GetTitle() if node and node.GetTitleVisibility() else ""
        chart.SetTitle(title or "")
        if node:
            chart.GetTitleProperties().SetFontSize(node.GetTitleFontSize())
        chart.SetShowLegend(plots.GetShowLegend())
        window.Render()
        image = vtkWindowToImageFilter()
        image.SetInput(window)
        image.ReadFrontBufferOff()
        image.Update()
        found = vtk_to_numpy(image.GetOutput().GetPointData().GetScalars()).reshape(height, width, -1)
        window.Finalize()
        return numpy.ascontiguousarray(found[::-1, :, :3])


class PlotWidget:
    """A view of the layout, slicer.app.layoutManager().plotWidget(i): the plot view of a node of the scene."""

    def __init__(self, scene: Any, node: Any) -> None:
        self._node, self._view = node, qMRMLPlotView()
        self._view.setMRMLScene(scene)
        self._view.setMRMLPlotViewNode(node)
        self._tag = observe(node, vtkCommand.ModifiedEvent, lambda *_: self._view.setMRMLPlotViewNode(node))

    def mrmlPlotViewNode(self) -> Any:
        return self._node

    def plotView(self) -> qMRMLPlotView:
        return self._view

    def leave(self) -> None:
        """End; of the host, not of Slicer."""
        stopObserving(self._node, self._tag)
        self._view.setMRMLScene(None)
        self._view.deleteLater()
