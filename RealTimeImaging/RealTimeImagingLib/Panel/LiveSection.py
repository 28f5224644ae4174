"""How the images are shown: which stream in which views, window and level."""

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
    """The table of live volumes and the buttons for window and level."""

    def __init__(self, ui: Any, logic: Any, complain: Callable[[str], None]) -> None:
        super().__init__(ui, logic, complain)
        self._rows: tuple[list[str], list[str]] = ([], [])
        self.connect(ui.windowLevelButton, "clicked()", self._setWindowLevel)
        self.connect(ui.alwaysWindowLevelCheckBox, "toggled(bool)", self._setAlways)
        table = ui.streamsTable
        headers = [_("Volume"), _("Show in"), _("Shown"), _("Skipped")]
        table.setColumnCount(len(headers))
        table.setHorizontalHeaderLabels(headers)
        table.verticalHeader().hide()
        table.horizontalHeader().setStretchLastSection(True)
        ui.alwaysWindowLevelCheckBox.checked = slicer.util.toBool(remembered("AlwaysWindowLevel", False))
        for stream, where in _rememberedShowIn().items():
            if where in (ALL_VIEWS, NO_VIEW, *logic.viewNames()):
                logic.setShowIn(where, stream)

    def refresh(self, values: dict[str, Any]) -> None:
        """A row for each stream."""
        table, streams = self.ui.streamsTable, values["streams"]
        rows = (list(streams), self.logic.viewNames())
        if rows != self._rows:
            self._rows = rows
            table.setRowCount(len(streams))
            for row, stream in enumerate(streams):
                for column in (0, 2, 3):
                    table.setItem(row, column, qt.QTableWidgetItem(""))
                table.setCellWidget(row, WHERE_COLUMN, self._whereBox(stream))
        for row, (stream, values) in enumerate(streams.items()):
            for column, text in ((0, stream), (2, values["shown"]), (3, values["skipped"])):
                table.item(row, column).setText(str(text))
            box = table.cellWidget(row, WHERE_COLUMN)
            box.currentIndex = max(0, box.findData(self.logic.showIn(stream)))
        table.resizeColumnsToContents()

    def _whereBox(self, stream: str) -> Any:
        choices = [(ALL_VIEWS, _("All views")), *((name, name) for name in self.logic.viewNames())]
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
        return box

    def _setWindowLevel(self) -> None:
        self.logic.setWindowLevel()

    def _setAlways(self, always: bool) -> None:
        self.logic.setWindowLevelAlways(always)
        remember("AlwaysWindowLevel", always)


def _rememberedShowIn() -> dict[str, str]:
    try:
        found = json.loads(remembered("ShowIn") or "{}")
    except ValueError:
        found = {}
    return found if isinstance(found, dict) else {}
