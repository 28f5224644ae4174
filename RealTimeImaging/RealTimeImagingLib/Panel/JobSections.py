"""Sections of jobs: save images, export recordings, and convert DICOM files."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import ctk
import slicer
from slicer.i18n import tr as _

from ..Export.Job import FORMATS, ExportJob
from ..Model.Quantities import durationText
from .Section import Section, remember, remembered, show

RECORDING_FORMATS = [name for name, format_ in FORMATS.items() if not format_.single]


class SaveSection(Section):
    """Buttons that save and export, and the progress of an export."""

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
        """Show the recordings in the scene, and the progress of an export."""
        ui, status = self.ui, self.logic.exports.status()
        recordings = self.logic.recording.inScene()
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
        # A section that opens shows all its widgets, including hidden ones.
        self.ui.cancelExportButton.visible = self._running
        self.ui.exportProgressBar.visible = self._running

    def _chosen(self, index: int) -> None:
        name = self.ui.exportRecordingComboBox.itemText(index) if index >= 0 else ""
        count = self.logic.recording.framesOf(name)
        for box, value in ((self.ui.exportFirstSpinBox, 1), (self.ui.exportLastSpinBox, count)):
            box.maximum = max(1, count)
            box.value = value

    def _snapshot(self) -> None:
        self.attempt(lambda: self.logic.exports.saveSnapshot(self.ui.recordingFolderPathLineEdit.currentPath))

    def _export(self) -> None:
        self.attempt(lambda: self.logic.exports.start(self._job()))

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
            attributes=self.logic.metadata.get(),
        )

    def _cancel(self) -> None:
        self.logic.exports.cancel()


_FIELDS = {"convertNameLineEdit": "ConvertName", "convertTagsLineEdit": "ConvertTags"}
_FOLDERS = {"convertInputPathLineEdit": "ConvertInput", "convertOutputPathLineEdit": "ConvertOutput"}


class ConvertSection(Section):
    """Folders, names and tags of a conversion, its progress, and a list of its files."""

    def __init__(self, ui: Any, logic: Any, complain: Any) -> None:
        super().__init__(ui, logic, complain)
        self._files: list[str] = []
        self._running = self._refused = False
        for name, key in _FOLDERS.items():
            getattr(ui, name).filters = ctk.ctkPathLineEdit.Dirs
            getattr(ui, name).currentPath = remembered(key)
        for name, key in _FIELDS.items():
            getattr(ui, name).text = remembered(key) or getattr(ui, name).text
            # A text longer than the field shows its beginning.
            getattr(ui, name).cursorPosition = 0
        self.connect(ui.convertSection, "contentsCollapsed(bool)", self._showRunning)
        self.connect(ui.convertButton, "clicked()", self._convert)
        self.connect(ui.cancelConvertButton, "clicked()", self._cancel)
        self.connect(ui.loadConvertedButton, "clicked()", self._load)

    def refresh(self, values: dict[str, Any]) -> None:
        """Show the progress and the converted files."""
        ui, status, files = self.ui, self.logic.conversion.status(), self.logic.conversion.files
        if files != self._files:
            self._files = files
            ui.convertedComboBox.clear()
            for path in files:
                ui.convertedComboBox.addItem(os.path.basename(path))
        self._running = status["running"]
        self._showRunning()
        ui.convertButton.enabled = not self._running
        ui.loadConvertedButton.enabled = ui.convertedComboBox.enabled = bool(files)
        ui.convertProgressBar.value = round(100 * status["progress"])
        left = "" if status["left"] is None else " " + _("{time} left").format(time=durationText(status["left"]))
        show(ui.convertLabel, f"{status['words'] or '-'}{left}" if not self._refused else "-", status["failed"])

    def _showRunning(self, *_collapsed: bool) -> None:
        self.ui.cancelConvertButton.visible = self._running
        self.ui.convertProgressBar.visible = self._running

    def _convert(self) -> None:
        ui = self.ui
        tags = [tag.strip() for tag in ui.convertTagsLineEdit.text.replace(",", ";").split(";") if tag.strip()]

        def start() -> None:
            self.logic.conversion.start(
                ui.convertInputPathLineEdit.currentPath,
                ui.convertOutputPathLineEdit.currentPath,
                name=ui.convertNameLineEdit.text,
                tags=tags or None,
                loadWhenDone=ui.convertLoadCheckBox.checked,
            )
            for name, key in _FOLDERS.items():
                remember(key, getattr(ui, name).currentPath)
            for name, key in _FIELDS.items():
                remember(key, getattr(ui, name).text)

        self._refused = not self.attempt(start)
        self.refresh({})

    def _cancel(self) -> None:
        self.logic.conversion.cancel()

    def _load(self) -> None:
        box = self.ui.convertedComboBox
        index = box.currentIndex
        if not 0 <= index < len(self._files):
            return

        def load() -> None:
            node = self.logic.conversion.loadOnce(self._files[index])
            if node.IsA("vtkMRMLVolumeNode"):
                slicer.util.setSliceViewerLayers(background=node, fit=True)

        if self.attempt(load):
            # The next click loads the next file.
            box.currentIndex = min(index + 1, len(self._files) - 1)
