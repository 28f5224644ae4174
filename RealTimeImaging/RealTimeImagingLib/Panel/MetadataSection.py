"""The table of details that travel with the images, and its templates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import qt
from slicer.i18n import tr as _

from ..Model.Errors import RealTimeImagingError
from .Section import Section


class MetadataSection(Section):
    """Names and values, which the logic gets with every change."""

    def __init__(self, ui: Any, logic: Any, complain: Callable[[str], None]) -> None:
        super().__init__(ui, logic, complain)
        self._filling = False
        table = ui.metadataTable
        table.setColumnCount(2)
        table.setHorizontalHeaderLabels([_("Name"), _("Value")])
        table.verticalHeader().hide()
        table.horizontalHeader().setStretchLastSection(True)
        ui.templateComboBox.setEditable(True)
        self._listTemplates()
        self.connect(ui.templateComboBox, "activated(int)", self._useTemplate)
        self.connect(table, "cellChanged(int,int)", self._tableChanged)
        self.connect(ui.addRowButton, "clicked()", self._addRow)
        self.connect(ui.removeRowButton, "clicked()", self._removeRow)
        self.connect(ui.saveTemplateButton, "clicked()", self._saveTemplate)
        self.show()

    def show(self) -> None:
        """Fill the table with what the logic has: another scene brings its own."""
        self._fill(self.logic.metadata.get())

    def _rows(self) -> list[tuple[str, str]]:
        table = self.ui.metadataTable
        cells = [[table.item(row, column) for column in (0, 1)] for row in range(table.rowCount)]
        return [(name.text().strip() if name else "", value.text() if value else "") for name, value in cells]

    def _fill(self, fields: Mapping[str, str]) -> None:
        table, self._filling = self.ui.metadataTable, True
        try:
            table.setRowCount(len(fields))
            for row, cells in enumerate(fields.items()):
                for column, text in enumerate(cells):
                    table.setItem(row, column, qt.QTableWidgetItem(text))
            table.resizeColumnToContents(0)
        finally:
            self._filling = False

    def _tableChanged(self, *_cell: int) -> None:
        if not self._filling:
            self._take()

    def _take(self) -> bool:
        rows = [(name, value) for name, value in self._rows() if name]
        twice = {name for name, _value in rows if [one for one, _other in rows].count(name) > 1}
        try:
            self.logic.metadata.set(dict(rows))
            words = _("{name} is there twice; the last counts.").format(name=", ".join(sorted(twice))) if twice else ""
        except RealTimeImagingError as error:
            words = str(error)
        self.complain(words)
        return not words

    def _addRow(self) -> None:
        self.ui.metadataTable.setRowCount(self.ui.metadataTable.rowCount + 1)

    def _removeRow(self) -> None:
        row = self.ui.metadataTable.currentRow()
        if row >= 0:
            self.ui.metadataTable.removeRow(row)
            self._take()

    def _listTemplates(self) -> None:
        self.ui.templateComboBox.clear()
        for name in self.logic.metadata.templates():
            self.ui.templateComboBox.addItem(name)
        self.ui.templateComboBox.setCurrentText("")

    def _useTemplate(self, index: int) -> None:
        fields = self.logic.metadata.templates().get(self.ui.templateComboBox.itemText(index), {})
        self._fill({**fields, **{name: value for name, value in self._rows() if name}})
        self._take()

    def _saveTemplate(self) -> None:
        name = self.ui.templateComboBox.currentText
        if self._take() and self.attempt(lambda: self.logic.metadata.saveTemplate(name)):
            self._listTemplates()
            self.ui.templateComboBox.setCurrentText(name)
