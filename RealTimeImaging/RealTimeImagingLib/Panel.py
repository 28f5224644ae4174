"""The panel: shows what the logic tells and asks the logic for everything. No decision is made here."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from .Errors import RealTimeImagingError, SettingsError
from .Scene.Views import ALL_VIEWS, NO_VIEW
from .Settings import EXISTING, FolderSettings, SourceSettings, settingsFromJSON

REFRESH = 200
"""Milliseconds between two refreshes at the least: figures that change faster cannot be read."""
QUIET_REFRESH = 1000
SETTINGS_KEY = "RealTimeImaging/Settings"
INPUT_KEY = "RealTimeImaging/SimulatorInput"
RECORDING_KEY = "RealTimeImaging/RecordingFolder"
ALWAYS_KEY = "RealTimeImaging/AlwaysWindowLevel"
SHOW_IN_KEY = "RealTimeImaging/ShowIn"
EVENTS_SHOWN = 100
WHERE_COLUMN = 1


class Panel:
    """Connects the widgets of RealTimeImaging.ui with the logic.

    :param ui: the widgets by name (slicer.util.childWidgetVariables).
    :param logic: a RealTimeImagingLogic.
    """

    def __init__(self, ui: Any, logic: Any) -> None:
        self.ui = ui
        """The widgets by their names in the .ui file."""
        self._logic = logic
        self._eventShown: Any = None
        self._recordingSince = 0.0
        self._rows: list[str] = []
        self._refreshTimer = qt.QTimer()
        self._refreshTimer.setSingleShot(True)
        self._connections = [
            (self._refreshTimer, "timeout()", self.refresh),
            (ui.startButton, "clicked()", self._startOrStop),
            (ui.tryButton, "clicked()", self._try),
            (ui.recordButton, "clicked()", self._recordOrStop),
            (ui.windowLevelButton, "clicked()", self._setWindowLevel),
            (ui.alwaysWindowLevelCheckBox, "toggled(bool)", self._setAlways),
        ]
        for sender, signal, slot in self._connections:
            sender.connect(signal, slot)
        ui.folderPathLineEdit.filters = ctk.ctkPathLineEdit.Dirs
        ui.simulatorInputPathLineEdit.filters = ctk.ctkPathLineEdit.Files
        ui.recordingFolderPathLineEdit.filters = ctk.ctkPathLineEdit.Dirs
        self._prepareTable()
        logic.addChangeObserver(self._changed)
        self.showSettings(logic.sceneSettings() or _remembered())
        ui.simulatorInputPathLineEdit.currentPath = slicer.app.userSettings().value(INPUT_KEY, "") or ""
        ui.recordingFolderPathLineEdit.currentPath = slicer.app.userSettings().value(RECORDING_KEY, "") or ""
        ui.alwaysWindowLevelCheckBox.checked = slicer.util.toBool(slicer.app.userSettings().value(ALWAYS_KEY, False))
        for stream, where in _rememberedShowIn().items():
            if where in (ALL_VIEWS, NO_VIEW, *logic.viewNames()):
                logic.setShowIn(where, stream)
        self.refresh()

    def close(self) -> None:
        """Let go of the logic and of all widgets."""
        self._refreshTimer.stop()
        for sender, signal, slot in self._connections:
            sender.disconnect(signal, slot)
        self._connections = []
        self._logic.removeChangeObserver(self._changed)

    # ---- settings

    def settings(self) -> FolderSettings:
        """What the panel's fields say.

        :raises SettingsError: a field that cannot work.
        """
        ui = self.ui
        return FolderSettings(
            folder=ui.folderPathLineEdit.currentPath,
            pattern=ui.patternLineEdit.text,
            subfolders=ui.subfoldersCheckBox.checked,
            existing=EXISTING[ui.existingComboBox.currentIndex],
            seriesPattern=ui.seriesPatternLineEdit.text.strip(),
            incompleteAfter=ui.incompleteAfterSpinBox.value,
            stream=ui.streamLineEdit.text,
        )

    def showSettings(self, settings: SourceSettings | None) -> None:
        """Fill the fields; None leaves them."""
        if not isinstance(settings, FolderSettings):
            return
        ui = self.ui
        ui.folderPathLineEdit.currentPath = settings.folder
        ui.patternLineEdit.text = settings.pattern
        ui.subfoldersCheckBox.checked = settings.subfolders
        ui.existingComboBox.currentIndex = EXISTING.index(settings.existing)
        ui.seriesPatternLineEdit.text = settings.seriesPattern
        ui.incompleteAfterSpinBox.value = settings.incompleteAfter
        ui.streamLineEdit.text = settings.stream

    # ---- what the user does

    def _startOrStop(self) -> None:
        if self._logic.isRunning():
            self._logic.stop()
            return
        try:
            settings = self.settings()
            self._logic.start(settings)
        except RealTimeImagingError as error:
            self._complain(str(error))
            return
        slicer.app.userSettings().setValue(SETTINGS_KEY, json.dumps(settings.toJSON()))
        self.ui.folderPathLineEdit.addCurrentPathToHistory()

    def _try(self) -> None:
        source = self.ui.simulatorInputPathLineEdit.currentPath
        slicer.app.userSettings().setValue(INPUT_KEY, source)
        try:
            self._logic.startSimulatedScanner(source)
        except RealTimeImagingError as error:
            self._complain(str(error))

    def _recordOrStop(self) -> None:
        if self._logic.isRecording():
            self._logic.stopRecording()
            return
        folder = self.ui.recordingFolderPathLineEdit.currentPath
        try:
            self._logic.startRecording(folder)
        except RealTimeImagingError as error:
            self._complain(str(error))
            return
        self._recordingSince = time.monotonic()
        slicer.app.userSettings().setValue(RECORDING_KEY, folder)

    def _setWindowLevel(self) -> None:
        self._logic.setWindowLevel()

    def _complain(self, text: str) -> None:
        self.ui.statusLabel.text = text
        self.ui.statusLabel.setStyleSheet("color: red")

    # ---- what is happening

    def _changed(self) -> None:
        if not self._refreshTimer.isActive() or self._refreshTimer.interval > REFRESH:
            self._refreshTimer.start(REFRESH)

    def refresh(self) -> None:
        """Show the logic's state, counts and last event."""
        ui, logic = self.ui, self._logic
        running = logic.isRunning()
        ui.startButton.text = _("Stop") if running else _("Start")
        for name in ("sourceSection", "optionsSection", "tryButton"):
            getattr(ui, name).enabled = not running
        self._showStatus()
        self._showRecording()
        values = logic.statistics()
        ui.framesLabel.text = _("{received} received, {shown} shown, {skipped} skipped, {rejected} rejected").format(
            **values
        )
        ui.rateLabel.text = _("{fps} each second").format(fps=values["fps"]) if values["shown"] else "-"
        latency = values["latencyMs"]
        if latency["median"] is None:
            ui.latencyLabel.text = "-"
        else:
            ui.latencyLabel.text = _("{median:.1f} ms, {p95:.1f} ms").format(**latency)
        ui.lastEventLabel.text = values["lastEvent"] or "-"
        self._showStreams(values["streams"])
        self._showEvents()
        if running:  # the rate falls when nothing comes
            self._refreshTimer.start(QUIET_REFRESH)

    def _showStatus(self) -> None:
        sources = self._logic.sources()
        active = [source for source in sources if not source.ended]
        failed = any(source.state == "failed" for source in sources)
        if active:
            texts = [_("Stopping.") if source.state == "stopping" else source.status for source in active]
        elif self._logic.isRunning():
            texts = [_("Stopping.")]
        elif failed:
            texts = [self._logic.statistics()["lastEvent"]]
        elif sources:
            texts = [_("Stopped.")]
        else:
            texts = [_("Choose a folder and press Start, or try with a simulated scanner.")]
        self.ui.statusLabel.text = "\n".join(texts)
        self.ui.statusLabel.setStyleSheet("color: red" if failed and not active else "")

    def _showRecording(self) -> None:
        recording, values = self._logic.isRecording(), self._logic.statistics()
        self.ui.recordButton.text = _("Stop recording") if recording else _("Record")
        self.ui.recordingFolderPathLineEdit.enabled = not recording
        if not (recording or values["recorded"] or values["failed"]):
            self.ui.recordingLabel.text = "-"
            return
        text = _("{recorded} images stored, {failed} not stored").format(**values)
        if recording:
            text = _("{seconds:.0f} s, ").format(seconds=time.monotonic() - self._recordingSince) + text
        self.ui.recordingLabel.text = text
        self.ui.recordingLabel.setStyleSheet("color: red" if values["failed"] else "")

    def _showEvents(self) -> None:
        events = self._logic.events()
        if events and events[-1] is not self._eventShown:
            self._eventShown = events[-1]
            self.ui.eventsList.clear()
            for event in reversed(events[-EVENTS_SHOWN:]):
                item = qt.QListWidgetItem(event.text)
                item.setToolTip(event.text)
                self.ui.eventsList.addItem(item)

    def _prepareTable(self) -> None:
        table = self.ui.streamsTable
        headers = [_("Volume"), _("Show in"), _("Shown"), _("Skipped")]
        table.setColumnCount(len(headers))
        table.setHorizontalHeaderLabels(headers)
        table.verticalHeader().hide()
        table.horizontalHeader().setStretchLastSection(True)

    def _showStreams(self, streams: dict[str, dict[str, Any]]) -> None:
        table = self.ui.streamsTable
        if list(streams) != self._rows:
            self._rows = list(streams)
            table.setRowCount(len(streams))
            for row, stream in enumerate(streams):
                for column in (0, 2, 3):
                    table.setItem(row, column, qt.QTableWidgetItem(""))
                table.setCellWidget(row, WHERE_COLUMN, self._whereBox(stream))
        for row, (stream, values) in enumerate(streams.items()):
            for column, text in ((0, stream), (2, values["shown"]), (3, values["skipped"])):
                table.item(row, column).setText(str(text))
            box = table.cellWidget(row, WHERE_COLUMN)
            box.currentIndex = max(0, box.findData(self._logic.showIn(stream)))
        table.resizeColumnsToContents()

    def _whereBox(self, stream: str) -> Any:
        choices = [(ALL_VIEWS, _("All views")), *((name, name) for name in self._logic.viewNames())]
        choices.append((NO_VIEW, _("No view")))
        box = qt.QComboBox()
        box.toolTip = _("The slice views in which this volume is shown.")
        for where, text in choices:
            box.addItem(text, where)

        def choose(index: int) -> None:
            where = choices[index][0]
            if where != self._logic.showIn(stream):
                self._logic.setShowIn(where, stream)
                settings = slicer.app.userSettings()
                settings.setValue(SHOW_IN_KEY, json.dumps({**_rememberedShowIn(), stream: where}))

        box.connect("currentIndexChanged(int)", choose)
        return box

    def _setAlways(self, always: bool) -> None:
        self._logic.setWindowLevelAlways(always)
        slicer.app.userSettings().setValue(ALWAYS_KEY, always)


def _rememberedShowIn() -> dict[str, str]:
    try:
        found = json.loads(slicer.app.userSettings().value(SHOW_IN_KEY, "") or "{}")
    except ValueError:
        found = {}
    return found if isinstance(found, dict) else {}


def _remembered() -> SourceSettings | None:
    text = slicer.app.userSettings().value(SETTINGS_KEY, "")
    try:
        return settingsFromJSON(json.loads(text)) if text else None
    except (SettingsError, ValueError) as error:
        logging.warning("The remembered settings of Real-Time Imaging cannot be used: %s", error)
        return None
