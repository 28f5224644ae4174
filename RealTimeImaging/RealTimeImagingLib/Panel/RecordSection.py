"""Record, keep the last seconds in memory, and save images and recordings."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import ctk
import slicer
from slicer.i18n import tr as _

from ..Export.Job import FORMATS, ExportJob
from ..Model.Quantities import sizeText
from .Section import Section, remember, remembered, show


class RecordSection(Section):
    """The folder, the buttons, and what is stored."""

    def __init__(self, ui: Any, logic: Any, complain: Callable[[str], None]) -> None:
        super().__init__(ui, logic, complain)
        ui.recordingFolderPathLineEdit.filters = ctk.ctkPathLineEdit.Dirs
        ui.recordingFolderPathLineEdit.currentPath = remembered("RecordingFolder")
        ui.recordFromStartCheckBox.checked = slicer.util.toBool(remembered("RecordFromStart", False))
        self._built = 1.0
        self.connect(ui.recordSection, "contentsCollapsed(bool)", self._showBuilding)
        self.connect(ui.recordButton, "clicked()", self._recordOrStop)
        self.connect(ui.saveLastButton, "clicked()", self._saveLast)
        self.connect(ui.showRecordingButton, "clicked()", self._show)
        self.connect(ui.keepSecondsSpinBox, "valueChanged(int)", self._keep)
        self.connect(ui.recordFromStartCheckBox, "toggled(bool)", self._rememberFromStart)
        ui.keepSecondsSpinBox.value = int(remembered("KeepSeconds", 0))

    def refresh(self, values: dict[str, Any]) -> None:
        """Time, images, size and room; how much of the recording is in the scene."""
        ui, status = self.ui, self.logic.recording.status()
        recording, kept = status["active"], status["kept"]
        ui.recordButton.text = _("Stop recording") if recording else _("Record")
        for name in ("recordingFolderPathLineEdit", "keepSecondsSpinBox"):
            getattr(ui, name).enabled = not recording
        ui.saveLastButton.enabled = bool(kept and kept["frames"]) and not recording
        ui.showRecordingButton.enabled = self.logic.recording.last is not None
        parts = []
        if recording:
            parts.append(_("{seconds:.0f} s").format(**status))
        if recording or status["recorded"] or status["failed"]:
            parts.append(_counted(status["recorded"], _("1 image stored"), _("{count} images stored")))
            parts.append(sizeText(status["bytes"]))
        if status["failed"]:
            parts.append(_counted(status["failed"], _("1 image NOT stored"), _("{count} images NOT stored")))
        if status["writing"]:
            parts.append(_writing(**status["writing"]))
        if recording and status["free"] is not None:
            parts.append(_("{size} free").format(size=sizeText(status["free"])))
        if kept and not recording:
            parts.append(_("the last {seconds:.1f} s are in memory ({frames} images)").format(**kept))
        show(ui.recordingLabel, ", ".join(parts) or "-", bool(status["failed"]))
        self._built = status["built"]
        self._showBuilding()

    def _showBuilding(self, *_collapsed: bool) -> None:
        self.ui.buildProgressBar.visible = self._built < 1
        self.ui.buildProgressBar.value = round(100 * self._built)

    def _recordOrStop(self) -> None:
        if self.logic.recording.active:
            self.logic.stopRecording()
        else:
            self.attempt(lambda: self.logic.startRecording(self._folder()))

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


def _counted(count: int, one: str, many: str) -> str:
    return one if count == 1 else many.format(count=count)


def _writing(done: int, total: int, unit: str) -> str:
    """Progress of the files of a recording."""
    if unit == "bytes":
        return str(_("Writing the recording: {done} of {total}").format(done=sizeText(done), total=sizeText(total)))
    if unit == "streams":
        return str(_("Closing the files: {done} of {total} streams").format(done=done, total=total))
    return str(_("Writing the recording. This may take a while."))


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
        # A section that opens shows all that is in it, also what was hidden while it was closed.
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
