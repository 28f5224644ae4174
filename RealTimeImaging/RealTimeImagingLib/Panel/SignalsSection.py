"""Section of the signals: values of each frame over time, in a plot."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ..Model.Errors import SettingsError
from .Section import Section, remember, remembered, translated

ROWS_SHOWN = 4
"""Most rows of the list before it scrolls."""
PLOT_HEIGHT = 180
"""Pixels."""
SWATCH = 12
"""Pixels of the edge of the colour beside a plotted signal."""


class SignalsSection(Section):
    """List of the signals, a plot of the ticked ones, and the times of the frames' stages as a file.

    The plot is drawn only while the section is open.
    """

    def __init__(self, ui: Any, logic: Any, complain: Callable[[str], None]) -> None:
        super().__init__(ui, logic, complain)
        self._names: list[tuple[str, str]] = []
        self._view: Any = None
        self._nodeID = ""
        self._filling = False
        ui.signalsList.visible = False
        ui.signalsList.setIconSize(qt.QSize(SWATCH, SWATCH))
        self.connect(ui.signalsSection, "contentsCollapsed(bool)", self._opened)
        self.connect(ui.signalsList, "itemChanged(QListWidgetItem*)", self._ticked)
        self.connect(ui.signalsList, "currentRowChanged(int)", self._selected)
        self.connect(ui.limitAboveEdit, "editingFinished()", self._setLimits)
        self.connect(ui.limitBelowEdit, "editingFinished()", self._setLimits)
        byNumber = remembered("PlotByNumber", False)
        ui.plotByNumberCheckBox.checked = byNumber
        if byNumber != logic.signals.byNumber:
            logic.signals.plotByNumber(byNumber)
        self.connect(ui.plotByNumberCheckBox, "toggled(bool)", self._plotByNumber)
        if not logic.signals.limits() and (text := remembered("SignalLimits", "")):
            logic.signals.loadLimits(text)
        self._selected(-1)
        self.connect(ui.plotInViewButton, "clicked()", self._showInViews)
        self.connect(ui.saveTimesButton, "clicked()", self._saveTimes)

    def close(self) -> None:
        """Release the plot."""
        self._release()
        super().close()

    def refresh(self, values: dict[str, Any]) -> None:
        """List the signals that are new, and draw the latest values."""
        if self._view is not None and slicer.mrmlScene.GetNodeByID(self._nodeID) is None:
            # The scene was closed.
            self._release()
            self._makeView()
            self._fill()
        if self._view is not None:
            node = slicer.mrmlScene.GetNodeByID(self._nodeID)
            if slicer.mrmlScene.GetNodeByID(node.GetPlotChartNodeID() or "") is None:
                # The user removed the chart.
                node.SetPlotChartNodeID(self.logic.signals.chart().GetID())
                self._fill()
        self.logic.signals.update()
        names = self.logic.signals.names()
        if names != self._names:
            self._names = names
            self._fill()
        self._selected(self.ui.signalsList.currentRow)
        self.ui.saveTimesButton.enabled = bool(values["stageMs"])
        self.ui.plotInViewButton.enabled = bool(names)

    def _fill(self) -> None:
        signals, list_ = self.logic.signals, self.ui.signalsList
        several = len({stream for stream, _name in self._names}) > 1
        self._filling = True
        selected = max(0, list_.currentRow)
        list_.clear()
        for stream, name in self._names:
            label = translated(name)
            item = qt.QListWidgetItem(f"{stream}: {label}" if several else label)
            item.setFlags(qt.Qt.ItemIsUserCheckable | qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
            item.setCheckState(qt.Qt.Checked if signals.isPlotted(stream, name) else qt.Qt.Unchecked)
            list_.addItem(item)
            self._showColour(item, stream, name)
        if self._names:
            list_.setCurrentRow(min(selected, len(self._names) - 1))
        self._filling = False
        self._selected(list_.currentRow)
        if self._names:
            list_.setFixedHeight(list_.sizeHintForRow(0) * min(len(self._names), ROWS_SHOWN) + 2 * list_.frameWidth)
        list_.visible = bool(self._names) and not self.ui.signalsSection.collapsed
        self._showPlot()

    def _ticked(self, item: Any) -> None:
        if not self._filling:
            stream, name = self._names[self.ui.signalsList.row(item)]
            self.logic.signals.plot(stream, name, item.checkState() == qt.Qt.Checked)
            self._filling = True
            self._showColour(item, stream, name)
            self._filling = False
            self._showPlot()

    def _showColour(self, item: Any, stream: str, name: str) -> None:
        """Show the colour of a signal's line: a legend would cover the lines."""
        colour = self.logic.signals.colour(stream, name)
        swatch = qt.QPixmap(SWATCH, SWATCH)
        swatch.fill(qt.QColor(*(round(255 * part) for part in colour)) if colour else qt.QColor(0, 0, 0, 0))
        icon = qt.QIcon(swatch)
        icon.addPixmap(swatch, qt.QIcon.Selected)  # otherwise in the colour of the selection
        item.setIcon(icon)

    def _selected(self, row: int) -> None:
        """Show the limits of the selected signal."""
        if self._filling:
            return
        ui = self.ui
        known = 0 <= row < len(self._names)
        limits = self.logic.signals.limits().get(self._names[row]) if known else None
        for edit, value in (
            (ui.limitAboveEdit, limits and limits.above),
            (ui.limitBelowEdit, limits and limits.below),
        ):
            edit.enabled = known
            if not edit.hasFocus() or not known:
                edit.text = "" if value is None else f"{value:g}"

    def _setLimits(self) -> None:
        row = self.ui.signalsList.currentRow
        if not 0 <= row < len(self._names):
            return
        before = self.logic.signals.limits().get(self._names[row])

        def change() -> None:
            above, below = (_limitOf(edit.text) for edit in (self.ui.limitAboveEdit, self.ui.limitBelowEdit))
            if (above, below) != ((before.above, before.below) if before else (None, None)):
                self.logic.signals.setLimits(*self._names[row], above=above, below=below)
                remember("SignalLimits", self.logic.signals.limitsText())

        self.attempt(change)

    def _plotByNumber(self, on: bool) -> None:
        self.logic.signals.plotByNumber(on)
        remember("PlotByNumber", on)

    def _showPlot(self) -> None:
        """Hide a plot without signals, which Slicer would draw black."""
        if self._view is not None:
            chart = self.logic.signals.chart()
            self._view.visible = chart.GetNumberOfPlotSeriesNodes() > 0 and not self.ui.signalsSection.collapsed

    def _opened(self, collapsed: bool) -> None:
        if collapsed:
            self._release()
        else:
            self._makeView()
            self._fill()

    def _makeView(self) -> None:
        if self._view is None:
            chart = self.logic.signals.chart()
            node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotViewNode", "Real-Time Imaging")
            node.SetSaveWithScene(False)
            node.SetPlotChartNodeID(chart.GetID())
            self._nodeID = node.GetID()
            self._view = slicer.qMRMLPlotView()
            self._view.setMRMLScene(slicer.mrmlScene)
            self._view.setMRMLPlotViewNode(node)
            self._view.setMinimumHeight(PLOT_HEIGHT)
            self.logic.signals.follow(self._view)
            self._view.toolTip = _(
                "The ticked signals, over time in seconds since the first image. Crosses: images were lost just before."
            )
            self.ui.signalsSection.layout().insertWidget(0, self._view)
            self._showPlot()

    def _release(self) -> None:
        view, self._view = self._view, None
        if view is not None:
            self.logic.signals.unfollow(view)
            view.setMRMLScene(None)
            view.deleteLater()
            node = slicer.mrmlScene.GetNodeByID(self._nodeID)
            if node is not None:
                slicer.mrmlScene.RemoveNode(node)

    def _showInViews(self) -> None:
        self.attempt(self.logic.signals.showInLayout)

    def _saveTimes(self) -> None:
        self.saveTable(_("Save frame times"), time.strftime("Times_%Y-%m-%d_%H-%M-%S.csv"), self._writeTimes)

    def _writeTimes(self, path: str) -> None:
        self.attempt(lambda: self.logic.timing.save(path))


def _limitOf(text: str) -> float | None:
    text = text.strip()
    if not text:
        return None
    try:
        return float(text.replace(",", "."))
    except ValueError:
        raise SettingsError(_("A limit is a number, not {text}.").format(text=text)) from None
