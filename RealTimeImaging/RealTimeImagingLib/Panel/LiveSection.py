"""Section of live volumes: views, layer, window and level, colours, plane and 3D of each stream."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import qt
from slicer.i18n import tr as _

from ..Model.Errors import SettingsError
from ..Scene.LiveVolumes import LAYER_NAMES
from ..Scene.Views import ALL_VIEWS, NO_VIEW
from ..Scene.WindowLevel import ALWAYS, KEEP, ONCE
from .Section import (
    Section,
    heightOf,
    hideColumns,
    plainTip,
    remember,
    remembered,
    rememberedJSON,
    setRoom,
    setTip,
    show,
    titleWidths,
    translated,
)

WHERE_COLUMN = 1
ROWS_SHOWN = 4
"""Most rows of the table that are in sight without scrolling."""
WINDOW_MODES = (ONCE, ALWAYS, KEEP)
"""Of the list, from top to bottom."""
CHOICES: dict[str, Callable[[Any, str, Any], None]] = {
    "showIn": lambda volumes, stream, value: volumes.setWhere(stream, value),
    "layer": lambda volumes, stream, value: volumes.setLayer(stream, *value),
    "window": lambda volumes, stream, value: volumes.setWindowMode(stream, value),
    "colours": lambda volumes, stream, value: volumes.setColours(stream, value),
    "follow": lambda volumes, stream, value: volumes.setFollowing(stream, value or None),
    "rendered": lambda volumes, stream, value: volumes.setRendered(stream, value),
}
"""Calls for the user's choices, which are remembered by stream under these names."""


class LiveSection(Section):
    """Table of live volumes, and the settings of the selected one.

    A choice before the first image is of the first stream that comes.
    """

    def __init__(self, ui: Any, logic: Any, complain: Callable[[str], None]) -> None:
        super().__init__(ui, logic, complain)
        self._streams: list[str] = []
        self._views: list[str] = []
        self._boxes: list[tuple[Any, Callable[[int], None]]] = []
        self._shown: list[tuple[Any, ...]] = []
        self._widest = 0
        self._early: dict[str, Any] = {}
        """Choices before the first image."""
        table = ui.streamsTable
        headers = [_("Volume"), _("Show in"), _("Shown"), _("Skipped")]
        table.setColumnCount(len(headers))
        table.setHorizontalHeaderLabels(headers)
        table.verticalHeader().hide()
        table.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.Stretch)
        # The default widths would cut off the last title.
        table.resizeColumnsToContents()
        self._titles, self._fitted = titleWidths(table), (False, 0, 0, 0)
        self._fitHeight()
        ui.layerComboBox.addItems([_("Background"), _("Foreground")])
        ui.windowModeComboBox.addItems([_("Set once"), _("Always"), _("Keep")])
        ui.coloursComboBox.addItems([_("Unchanged"), *logic.volumes.colourMaps()])
        self._showViews(logic.views.names())
        self._restore()
        self._showDetails()
        self.connect(table, "itemSelectionChanged()", self._showDetails)
        for name in ("layerComboBox", "windowModeComboBox", "coloursComboBox", "followComboBox"):
            self.connect(getattr(ui, name), "currentIndexChanged(int)", partial(self._picked, name))
        self.connect(ui.opacitySpinBox, "valueChanged(int)", partial(self._picked, "opacitySpinBox"))
        self.connect(ui.renderingCheckBox, "toggled(bool)", partial(self._choose, "rendered"))
        self.connect(ui.imageTimeCheckBox, "toggled(bool)", self._setTimes)
        self.connect(ui.windowLevelButton, "clicked()", self._setWindowLevel)
        self.connect(ui.arrangeButton, "clicked()", self._arrange)
        ui.imageTimeCheckBox.checked = remembered("ImageTime", False)

    def close(self) -> None:
        """Disconnect from all widgets."""
        self._clear()
        super().close()

    def refresh(self, values: dict[str, Any]) -> None:
        """Show a row for each stream, and the settings of the selected one."""
        table, streams = self.ui.streamsTable, values["streams"]
        self._makeRows(list(streams), self.logic.views.names())
        widest = 0
        for row, (stream, counts) in enumerate(streams.items()):
            where = self.logic.showIn(stream)
            now = (counts["shown"], counts["skipped"], where)
            if now == self._shown[row]:
                continue
            widest = max(widest, *(len(str(one)) for one in now[:2]))
            self._shown[row] = now
            for column, text in ((2, counts["shown"]), (3, counts["skipped"])):
                table.item(row, column).setText(str(text))
            box = table.cellWidget(row, WHERE_COLUMN)
            box.currentIndex = max(0, box.findData(where))
        self._widest = max(widest, self._widest)
        fitted = table.isVisible(), table.viewport().width, self._widest, len(self._streams)
        if fitted != self._fitted:
            self._fitted = fitted
            if fitted[0]:
                hideColumns(table, self._titles, 0, (2, 3))
            for column in (1, 2, 3):
                table.resizeColumnToContents(column)
        self._showDetails()

    @property
    def _stream(self) -> str:
        """The selected stream, or the first one; empty when there is none."""
        row = self.ui.streamsTable.currentRow()
        return self._streams[row if 0 <= row < len(self._streams) else 0] if self._streams else ""

    # ---- rows

    def _makeRows(self, streams: list[str], views: list[str]) -> None:
        # Rows are reused: with many streams, making all of them would block the window.
        table = self.ui.streamsTable
        if views != self._views or streams[: len(self._streams)] != self._streams:
            self._clear()
            self._showViews(views)
        made = len(self._streams)
        self._streams = streams
        if made == len(streams) == table.rowCount:
            return
        self._widest = 0
        table.setRowCount(len(streams))
        for row, stream in enumerate(streams[made:], made):
            for column in (0, 2, 3):
                item = qt.QTableWidgetItem(stream if column == 0 else "")
                item.setToolTip(plainTip(stream) if column == 0 else "")
                table.setItem(row, column, item)
            table.setCellWidget(row, WHERE_COLUMN, self._whereBox(stream))
            self._shown.append(())
        self._fitHeight()
        early, self._early = self._early, {}
        for key, value in early.items():
            self._choose(key, value)

    def _fitHeight(self) -> None:
        table = self.ui.streamsTable
        rows = min(table.rowCount, ROWS_SHOWN)
        table.setVisible(rows > 0)
        setRoom(table, heightOf(table, rows))

    def _clear(self) -> None:
        for box, slot in self._boxes:
            box.disconnect("currentIndexChanged(int)", slot)
        self._boxes, self._shown, self._streams = [], [], []
        self.ui.streamsTable.setRowCount(0)
        self._fitHeight()

    def _whereBox(self, stream: str) -> Any:
        choices = [(ALL_VIEWS, _("All views")), *((name, name) for name in self._views)]
        choices.append((NO_VIEW, _("No view")))
        box = qt.QComboBox()
        box.toolTip = _("The slice views in which this volume is shown.")
        for where, text in choices:
            box.addItem(text, where)

        def choose(index: int) -> None:
            where = choices[index][0]
            if where != self.logic.showIn(stream):
                self._apply(stream, "showIn", where)

        box.connect("currentIndexChanged(int)", choose)
        self._boxes.append((box, choose))
        return box

    def _showViews(self, views: list[str]) -> None:
        combo = self.ui.followComboBox
        blocked = combo.blockSignals(True)
        chosen = combo.currentText
        combo.clear()
        combo.addItems([_("None"), *views])
        combo.currentIndex = 1 + views.index(chosen) if chosen in views else 0
        combo.blockSignals(blocked)
        self._views = views

    # ---- settings of the selected stream

    def _showDetails(self) -> None:
        ui, volumes, stream = self.ui, self.logic.volumes, self._stream
        show(ui.selectedStreamName, stream or _("the next live volume"))
        arranged = volumes.arranged
        ui.arrangeButton.text = _("Restore views") if arranged else _("Arrange views")
        ui.arrangeButton.enabled = bool(self._streams) or arranged
        if not stream:
            return
        layer, opacity = volumes.layer(stream)
        _set(ui.layerComboBox, "currentIndex", LAYER_NAMES.index(layer))
        _set(ui.opacitySpinBox, "value", round(100 * opacity))
        ui.opacitySpinBox.enabled = layer == LAYER_NAMES[1]
        _set(ui.windowModeComboBox, "currentIndex", WINDOW_MODES.index(volumes.windowMode(stream)))
        _set(ui.coloursComboBox, "currentIndex", max(0, ui.coloursComboBox.findText(volumes.colours(stream))))
        node = volumes.volume(stream).node
        ui.coloursComboBox.enabled = node is None or not node.IsA("vtkMRMLVectorVolumeNode")
        view = volumes.following(stream)
        _set(ui.followComboBox, "currentIndex", 1 + self._views.index(view) if view in self._views else 0)
        problem = volumes.renderingProblem(stream)
        _set(ui.renderingCheckBox, "checked", volumes.rendered(stream) and not problem)
        ui.renderingCheckBox.enabled = not problem
        tip = translated(problem) if problem else _("Show the volume in the 3D view, in the same window and colours.")
        setTip(ui.renderingCheckBox, tip)

    def _picked(self, name: str, index: int) -> None:
        ui = self.ui
        if name in ("layerComboBox", "opacitySpinBox"):
            self._choose("layer", [LAYER_NAMES[ui.layerComboBox.currentIndex], ui.opacitySpinBox.value / 100])
        elif name == "windowModeComboBox":
            self._choose("window", WINDOW_MODES[index])
        elif name == "coloursComboBox":
            self._choose("colours", ui.coloursComboBox.currentText if index > 0 else "")
        else:
            self._choose("follow", self._views[index - 1] if index > 0 else "")

    def _choose(self, key: str, value: Any) -> None:
        # The first image may be newer than the table.
        stream = self._stream or next(iter(self.logic.statistics()["streams"]), "")
        if stream:
            self._apply(stream, key, value)
        else:
            self._early[key] = value

    def _apply(self, stream: str, key: str, value: Any) -> None:
        if self.attempt(lambda: CHOICES[key](self.logic.volumes, stream, value)):
            choices = _rememberedChoices()
            choices[stream] = {**choices.get(stream, {}), key: value}
            remember("LiveVolumes", json.dumps(choices))
        self._showDetails()

    def _restore(self) -> None:
        for stream, choices in _rememberedChoices().items():
            for key, value in choices.items():
                try:
                    CHOICES[key](self.logic.volumes, stream, value)
                except (SettingsError, LookupError, TypeError, ValueError):
                    continue  # a view or colour map that this Slicer lacks

    def _setWindowLevel(self) -> None:
        self.logic.volumes.setWindow(self._stream or None)

    def _setTimes(self, on: bool) -> None:
        self.logic.volumes.texts.setTimes(on)
        remember("ImageTime", on)

    def _arrange(self) -> None:
        volumes = self.logic.volumes
        self.attempt(volumes.endArrangement if volumes.arranged else volumes.arrange)
        self._showDetails()


def _set(widget: Any, name: str, value: Any) -> None:
    """Set a property without the widget's signal."""
    if getattr(widget, name) != value:
        blocked = widget.blockSignals(True)
        setattr(widget, name, value)
        widget.blockSignals(blocked)


def _rememberedChoices() -> dict[str, dict[str, Any]]:
    kept = rememberedJSON("LiveVolumes", {})
    return {stream: choices for stream, choices in kept.items() if isinstance(choices, dict)}
