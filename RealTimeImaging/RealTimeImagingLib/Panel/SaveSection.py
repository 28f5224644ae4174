"""Save the image shown now, and export recordings."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from ..Export.Job import FORMATS, ExportJob
from .Labels import show
from .Section import Section

RECORDING_FORMATS = [name for name, format_ in FORMATS.items() if not format_.single]


class SaveSection(Section):
    """The buttons, and how far an export is."""

    def __init__(self, ui: Any, logic: Any, complain: Callable[[str], None]) -> None:
        super().__init__(ui, logic, complain)
        self._recordings: dict[str, list[str]] = {}
        self._running = False
        self.connect(ui.saveSection, "contentsCollapsed(bool)", self._showRunning)
        for name in RECORDING_FORMATS:
            ui.exportFormatComboBox.addItem(_(FORMATS[name].words))
        self.connect(ui.snapshotButton, "clicked()", self._snapshot)
        self.connect(ui.exportButton, "clicked()", self._export)
        self.connect(ui.cancelExportButton, "clicked()", self._cancel)
        self.connect(ui.exportRecordingComboBox, "currentIndexChanged(int)", self._chosen)

    def refresh(self, values: dict[str, Any]) -> None:
        """Which recordings there are, and how far an export is."""
        ui, status = self.ui, self.logic.exportStatus()
        recordings = self.logic.recordingsInScene()
        if recordings != self._recordings:
            self._recordings = recordings
            ui.exportRecordingComboBox.clear()
            for name in recordings:
                ui.exportRecordingComboBox.addItem(name)
            ui.exportRecordingComboBox.currentIndex = len(recordings) - 1
        self._running = running = status["running"]
        self._showRunning()
        ui.snapshotButton.enabled = bool(values["shown"])
        ui.exportButton.enabled = bool(recordings) and not running
        ui.exportProgressBar.value = round(100 * status["progress"])
        show(ui.exportLabel, status["words"] or "-", status["failed"])

    def _showRunning(self, *_collapsed: bool) -> None:
        # A section that opens shows all that is in it, also what was hidden while it was closed.
        self.ui.cancelExportButton.visible = self._running
        self.ui.exportProgressBar.visible = self._running

    def _chosen(self, index: int) -> None:
        name = self.ui.exportRecordingComboBox.itemText(index) if index >= 0 else ""
        count = self.logic.framesOfRecording(name)
        for box, value in ((self.ui.exportFirstSpinBox, 1), (self.ui.exportLastSpinBox, count)):
            box.maximum = max(1, count)
            box.value = value

    def _snapshot(self) -> None:
        self.attempt(lambda: self.logic.saveSnapshot(self.ui.recordingFolderPathLineEdit.currentPath))

    def _export(self) -> None:
        self.attempt(lambda: self.logic.exportRecording(self._job()))

    def _job(self) -> ExportJob:
        ui = self.ui
        name = ui.exportRecordingComboBox.currentText
        paths = self._recordings[name]
        return ExportJob(
            RECORDING_FORMATS[ui.exportFormatComboBox.currentIndex],
            os.path.join(os.path.dirname(paths[0]), f"{name}_export"),
            parts=tuple(paths),
            first=ui.exportFirstSpinBox.value - 1,
            last=ui.exportLastSpinBox.value - 1,
            attributes=self.logic.metadata(),
        )

    def _cancel(self) -> None:
        self.logic.cancelExport()
