"""Sections of recordings: record images, keep the last seconds in memory, and edit the metadata."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ctk
import qt
from slicer.i18n import tr as _

from ..Model.Errors import RealTimeImagingError
from ..Model.Quantities import counted, durationText, sizeText
from ..Recording.Names import BIDS_NAME, DATE_NAME, missingFields
from .Section import Complaint, Section, remember, remembered, showOrHide, translated

SOON = 600.0
"""Seconds until the disk is full from which on they are shown."""
NARROWEST = 110
"""Pixels for the names of the metadata: a new row has none yet."""


class RecordSection(Section):
    """Folder, buttons and state of recordings.

    :param need: asks the user for values of the metadata.
    """

    def __init__(
        self, ui: Any, logic: Any, complain: Callable[[str], None], need: Callable[[Sequence[str]], None]
    ) -> None:
        super().__init__(ui, logic, complain)
        self._need = need
        self._missing: list[str] = []
        """Names without a value that the file name needs."""
        ui.recordingFolderPathLineEdit.filters = ctk.ctkPathLineEdit.Dirs
        ui.recordingFolderPathLineEdit.currentPath = remembered("RecordingFolder")
        ui.recordFromStartCheckBox.checked = remembered("RecordFromStart", False)
        ui.recordingNameComboBox.addItem(DATE_NAME)
        ui.recordingNameComboBox.addItem(BIDS_NAME)
        ui.recordingNameComboBox.setEditText(remembered("RecordingName", DATE_NAME))
        self._showBeginning()
        self._complainName = Complaint(ui.recordingNameLabel)
        logic.recording.namePattern = ui.recordingNameComboBox.currentText
        self._built = 1.0
        self.connect(ui.recordSection, "contentsCollapsed(bool)", self._showBuilding)
        self.connect(ui.recordButton, "clicked()", self._recordOrStop)
        self.connect(ui.saveLastButton, "clicked()", self._saveLast)
        self.connect(ui.showRecordingButton, "clicked()", self._show)
        self.connect(ui.keepSecondsSpinBox, "valueChanged(int)", self._keep)
        self.connect(ui.recordFromStartCheckBox, "toggled(bool)", self._rememberFromStart)
        self.connect(ui.recordingNameComboBox, "editTextChanged(QString)", self._setName)
        self.connect(ui.recordingNameComboBox, "activated(int)", self._showBeginning)
        ui.keepSecondsSpinBox.value = max(0, min(remembered("KeepSeconds", 0), ui.keepSecondsSpinBox.maximum))

    def refresh(self, values: dict[str, Any]) -> None:
        """Show length, images, size and free space, and how much of the recording is in the scene."""
        ui, status = self.ui, self.logic.recording.status()
        recording, kept = status["active"], status["kept"]
        ui.recordButton.text = _("Stop recording") if recording else _("Record")
        for name in ("recordingFolderPathLineEdit", "recordingNameComboBox", "keepSecondsSpinBox"):
            getattr(ui, name).enabled = not recording
        ui.saveLastButton.enabled = bool(kept and kept["frames"]) and not recording
        ui.showRecordingButton.enabled = self.logic.recording.last is not None
        text, warning = _stateOf(status)
        showOrHide(ui.recordingLabel, text, warning)
        self._showMissing()
        self._built = status["built"]
        self._showBuilding()

    def _showBeginning(self, *_index: int) -> None:
        """Show the beginning of a name that is longer than the field."""
        self.ui.recordingNameComboBox.lineEdit().setCursorPosition(0)

    def _setName(self, pattern: str) -> None:
        remember("RecordingName", pattern)
        self.logic.recording.namePattern = pattern
        self._showMissing()

    def _showMissing(self) -> None:
        """Name the values that the file name needs, before a recording starts."""
        self._missing = []
        try:
            self._missing = missingFields(self.logic.recording.namePattern, self.logic.metadata.get())
        except RealTimeImagingError as error:
            self._complainName(translated(str(error)))
            return
        names = ", ".join(self._missing)
        text = _("Missing under Metadata: {names}").format(names=names) if names else ""
        self._complainName(text)

    def _showBuilding(self, *_collapsed: bool) -> None:
        self.ui.buildProgressBar.visible = self._built < 1
        self.ui.buildProgressBar.value = round(100 * self._built)

    def _recordOrStop(self) -> None:
        if self.logic.recording.active:
            self.logic.stopRecording()
            return
        if not self._folder().strip():
            self.ui.recordingFolderPathLineEdit.browse()
        if not self.attempt(lambda: self.logic.startRecording(self._folder())):
            self._need(self._missing)

    def _saveLast(self) -> None:
        self.attempt(lambda: self.logic.recording.saveLast(self._folder()))

    def _show(self) -> None:
        self.attempt(self.logic.recording.show)

    def _keep(self, seconds: int) -> None:
        remember("KeepSeconds", seconds)
        self.attempt(lambda: self.logic.recording.keepLast(seconds))

    def _rememberFromStart(self, on: bool) -> None:
        remember("RecordFromStart", on)

    def _folder(self) -> str:
        return str(self.ui.recordingFolderPathLineEdit.currentPath)


def _stateOf(status: dict[str, Any]) -> tuple[str, bool]:
    """Return the state of the recording in words, and whether it is a warning."""
    if status["writing"]:
        return _writing(**status["writing"]), bool(status["failed"])
    if status["active"]:
        return _growing(status)
    parts, warning = [], False
    if status["result"]:
        parts.append(translated(status["result"].text))
        warning = status["result"].level != "info"
    if status["kept"]:
        parts.append(_("The last {seconds:.1f} s are in memory ({frames} images).").format(**status["kept"]))
    return "\n".join(parts), warning


def _growing(status: dict[str, Any]) -> tuple[str, bool]:
    """Return length, images, size and losses of a recording, and how long the disk lasts."""
    if not status["recorded"] and not status["failed"]:
        messages = status["messages"]["recorded"]
        if not messages:
            return str(_("Waiting for the first image to store.")), False
        parts = [counted(messages, _("1 device message stored"), _("{count:,} device messages stored"))]
    else:
        parts = [counted(status["recorded"], _("1 image stored"), _("{count:,} images stored"))]
        parts.append(translated(sizeText(status["bytes"])))
    parts.insert(0, _("{seconds:.0f} s").format(**status))
    if status["failed"]:
        parts.append(counted(status["failed"], _("1 image NOT stored"), _("{count:,} images NOT stored")))
    if status["free"] is not None:
        parts.append(_("{size} free").format(size=translated(sizeText(status["free"]))))
    soon = status["left"] is not None and status["left"] < SOON
    if soon:
        parts.append(_("{time} left at this rate").format(time=durationText(status["left"])))
    return ", ".join(parts), soon or bool(status["failed"])


def _writing(done: int, total: int, unit: str) -> str:
    """Return the progress of writing a recording, in words."""
    if unit == "bytes":
        sizes = {"done": translated(sizeText(done)), "total": translated(sizeText(total))}
        return str(_("Writing the recording: {done} of {total}").format(**sizes))
    if unit == "streams":
        return str(_("Closing the files: {done} of {total} streams").format(done=done, total=total))
    return str(_("Writing the recording. This may take a while."))


class MetadataSection(Section):
    """Table of names and values, and its templates. The logic gets every change."""

    def __init__(self, ui: Any, logic: Any, complain: Callable[[str], None]) -> None:
        super().__init__(ui, logic, complain)
        self._filling = False
        table = ui.metadataTable
        table.setColumnCount(2)
        table.setHorizontalHeaderLabels([_("Name"), _("Value")])
        table.verticalHeader().hide()
        table.horizontalHeader().setStretchLastSection(True)
        table.horizontalHeader().setMinimumSectionSize(NARROWEST)
        table.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.ResizeToContents)
        self.connect(ui.metadataSection, "contentsCollapsed(bool)", self._showTable)
        ui.templateComboBox.setEditable(True)
        self._listTemplates()
        self.connect(ui.templateComboBox, "activated(int)", self._useTemplate)
        self.connect(table, "cellChanged(int,int)", self._tableChanged)
        self.connect(ui.addRowButton, "clicked()", self._addRow)
        self.connect(ui.removeRowButton, "clicked()", self._removeRow)
        self.connect(ui.saveTemplateButton, "clicked()", self._saveTemplate)
        self.show()

    def show(self) -> None:
        """Fill the table with the metadata of the scene."""
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
        finally:
            self._filling = False
        self._showTable()

    def _showTable(self, *_collapsed: bool) -> None:
        """Hide an empty table. A section that opens shows all its widgets."""
        ui = self.ui
        ui.metadataTable.visible = ui.metadataTable.rowCount > 0 and not ui.metadataSection.collapsed

    def _tableChanged(self, *_cell: int) -> None:
        if not self._filling:
            self._store()

    def _store(self) -> bool:
        rows = [(name, value) for name, value in self._rows() if name]
        twice = {name for name, _value in rows if [one for one, _other in rows].count(name) > 1}
        try:
            self.logic.metadata.set(dict(rows))
            names = ", ".join(sorted(twice))
            words = _("{name} appears twice; the last value is stored.").format(name=names) if twice else ""
        except RealTimeImagingError as error:
            words = translated(str(error))
        self.complain(words)
        return not words

    def need(self, names: Sequence[str]) -> None:
        """Add rows for names without a value, and open the section."""
        known = {**self.logic.metadata.get(), **{name: value for name, value in self._rows() if name}}
        there = {name.lower() for name in known}
        if names:
            self._fill({**known, **{name: "" for name in names if name.lower() not in there}})
            self.ui.metadataSection.collapsed = False

    def _addRow(self) -> None:
        """Add a row, and let the user type its name."""
        table, row = self.ui.metadataTable, self.ui.metadataTable.rowCount
        self._filling = True
        table.setRowCount(row + 1)
        name = qt.QTableWidgetItem("")
        table.setItem(row, 0, name)
        self._filling = False
        self._showTable()
        table.setCurrentCell(row, 0)
        table.editItem(name)

    def _removeRow(self) -> None:
        row = self.ui.metadataTable.currentRow()
        if row >= 0:
            self.ui.metadataTable.removeRow(row)
            self._store()
            self._showTable()

    def _listTemplates(self) -> None:
        self.ui.templateComboBox.clear()
        for name in self.logic.metadata.templates():
            self.ui.templateComboBox.addItem(name)
        self.ui.templateComboBox.setCurrentText("")

    def _useTemplate(self, index: int) -> None:
        fields = self.logic.metadata.templates().get(self.ui.templateComboBox.itemText(index), {})
        self._fill({**fields, **{name: value for name, value in self._rows() if name}})
        self._store()

    def _saveTemplate(self) -> None:
        name = self.ui.templateComboBox.currentText
        if self._store() and self.attempt(lambda: self.logic.metadata.saveTemplate(name)):
            self._listTemplates()
            self.ui.templateComboBox.setCurrentText(name)
