"""Section of live volumes: the views of each stream, window and level."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ..Scene.Views import ALL_VIEWS, NO_VIEW
from .Section import Section, remember, remembered

WHERE_COLUMN = 1


class LiveSection(Section):
    """Table of live volumes, and the buttons for window and level."""

    def __init__(self, ui: Any, logic: Any, complain: Callable[[str], None]) -> None:
        super().__init__(ui, logic, complain)
        self._streams: list[str] = []
        self._views: list[str] = []
        self._boxes: list[tuple[Any, Callable[[int], None]]] = []
        self._shown: list[tuple[Any, ...]] = []
        self._widest = 0
        self.connect(ui.windowLevelButton, "clicked()", self._setWindowLevel)
        self.connect(ui.alwaysWindowLevelCheckBox, "toggled(bool)", self._setAlways)
        table = ui.streamsTable
        headers = [_("Volume"), _("Show in"), _("Shown"), _("Skipped")]
        table.setColumnCount(len(headers))
        table.setHorizontalHeaderLabels(headers)
        table.verticalHeader().hide()
        table.horizontalHeader().setStretchLastSection(True)
        # The default widths would cut off the last title.
        table.resizeColumnsToContents()
        ui.alwaysWindowLevelCheckBox.checked = slicer.util.toBool(remembered("AlwaysWindowLevel", False))
        for stream, where in _rememberedShowIn().items():
            if where in (ALL_VIEWS, NO_VIEW, *logic.views.names()):
                logic.setShowIn(where, stream)

    def close(self) -> None:
        """Disconnect from all widgets."""
        self._clear()
        super().close()

    def refresh(self, values: dict[str, Any]) -> None:
        """Show a row for each stream."""
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
        if widest > self._widest:
            self._widest = widest
            table.resizeColumnsToContents()

    def _makeRows(self, streams: list[str], views: list[str]) -> None:
        # Rows are reused: with many streams, making all of them would block the window.
        table = self.ui.streamsTable
        if views != self._views or streams[: len(self._streams)] != self._streams:
            self._clear()
        made = len(self._streams)
        self._streams, self._views = streams, views
        if made == len(streams) == table.rowCount:
            return
        self._widest = 0
        table.setRowCount(len(streams))
        for row, stream in enumerate(streams[made:], made):
            for column in (0, 2, 3):
                table.setItem(row, column, qt.QTableWidgetItem(stream if column == 0 else ""))
            table.setCellWidget(row, WHERE_COLUMN, self._whereBox(stream))
            self._shown.append(())

    def _clear(self) -> None:
        for box, slot in self._boxes:
            box.disconnect("currentIndexChanged(int)", slot)
        self._boxes, self._shown, self._streams = [], [], []
        self.ui.streamsTable.setRowCount(0)

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
                self.logic.setShowIn(where, stream)
                remember("ShowIn", json.dumps({**_rememberedShowIn(), stream: where}))

        box.connect("currentIndexChanged(int)", choose)
        self._boxes.append((box, choose))
        return box

    def _setWindowLevel(self) -> None:
        self.logic.volumes.setWindow()

    def _setAlways(self, always: bool) -> None:
        self.logic.volumes.setAlways(always)
        remember("AlwaysWindowLevel", always)


def _rememberedShowIn() -> dict[str, str]:
    try:
        found = json.loads(remembered("ShowIn") or "{}")
    except ValueError:
        found = {}
    return found if isinstance(found, dict) else {}
