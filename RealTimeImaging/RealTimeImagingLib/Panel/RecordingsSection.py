"""Section of recordings: list, open, replay and export those of the folder, and save the current images."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import qt
from slicer.i18n import tr as _

from ..Export.Job import FORMATS, ExportJob
from ..Model.Quantities import counted, durationText, sizeText
from ..Model.Settings import SourceSettings
from ..Recording import RecordingEntry
from ..Recording.Layout import fileName
from ..Sources.Replay import ReplaySettings
from .Section import Section, breakable, plainTip, setTip, show, showOrHide, tipOf, translated, warningColour

RECORDING_FORMATS = [name for name, format_ in FORMATS.items() if not format_.single]
TYPING = 500
"""Milliseconds after the last change of the folder until it is read."""
TALLEST = 180
"""Most pixels of the list's height."""
MEASURED = 10
"""Rows that fill the list."""
WARNINGS_SHOWN = 5
"""Most events in the tool tip of a recording."""


class Sources(Protocol):
    """The part of the source section that a replay needs."""

    def showSettings(self, settings: SourceSettings | None) -> None:
        """Show settings in the form of their kind."""

    def named(self, settings: SourceSettings) -> SourceSettings:
        """Return settings with a free name of the stream."""


class Row(NamedTuple):
    """Row of the list: the images of a stream, and the device messages that open with them."""

    entry: RecordingEntry
    messages: RecordingEntry | None = None

    @property
    def lost(self) -> int:
        """Images and device messages that were received and are not stored."""
        return self.entry.lost + (self.messages.lost if self.messages else 0)

    @property
    def warnings(self) -> list[str]:
        """Warnings of the device messages."""
        return self.messages.warnings if self.messages else []


def rowsOf(entries: Sequence[RecordingEntry]) -> list[Row]:
    """Return the rows of a list. Device messages have a row of their own only where no image opens with them."""
    messages = {(one.folder, one.name): one for one in entries if not one.stream and one.usable}
    images = {(one.folder, one.name) for one in entries if one.stream and one.usable}
    rows = []
    for one in entries:
        place = one.folder, one.name
        if one.stream and one.usable:
            rows.append(Row(one, messages.get(place)))
        elif not (one.usable and place in images):
            rows.append(Row(one))
    return rows


class RecordingsSection(Section):
    """List of the folder's recordings, buttons for the selected one, and the progress of its export.

    :param sources: shows the settings of a replay.
    """

    def __init__(self, ui: Any, logic: Any, complain: Callable[[str], None], sources: Sources) -> None:
        super().__init__(ui, logic, complain)
        self._sources = sources
        self._shown: list[RecordingEntry] = []
        self._rows: list[Row] = []
        self._result: object = None
        self._running = False
        self._why = ""
        """Why the selected recording cannot be replayed."""
        self._tips = {name: tipOf(getattr(ui, name)) for name in ("replayRecordingButton", "exportButton")}
        self._typing = qt.QTimer()
        self._typing.setSingleShot(True)
        self.connect(self._typing, "timeout()", self._readIfOpen)
        self.connect(ui.recordingsSection, "contentsCollapsed(bool)", self._opened)
        self.connect(ui.recordingFolderPathLineEdit, "currentPathChanged(QString)", self._folderChanged)
        for name in RECORDING_FORMATS:
            ui.exportFormatComboBox.addItem(translated(FORMATS[name].words))
        self.connect(ui.recordingsList, "currentRowChanged(int)", self._selected)
        self.connect(ui.openRecordingButton, "clicked()", self._open)
        self.connect(ui.replayRecordingButton, "clicked()", self._replay)
        self.connect(ui.showFilesButton, "clicked()", self._showFiles)
        self.connect(ui.refreshRecordingsButton, "clicked()", self._read)
        self.connect(ui.exportButton, "clicked()", self._export)
        self.connect(ui.cancelExportButton, "clicked()", self._cancel)
        self.connect(ui.snapshotButton, "clicked()", self._snapshot)

    def close(self) -> None:
        """Release all widgets."""
        self._typing.stop()
        super().close()

    def refresh(self, values: dict[str, Any]) -> None:
        """Show the list, and the progress of an export."""
        ui, export, reading = self.ui, self.logic.exports.status(), self.logic.recording.list.status()
        result = self.logic.recording.status()["result"]
        if result is not self._result:
            self._result = result
            self._readIfOpen()
        if self.logic.recording.list.entries is not self._shown:
            self._fill(self.logic.recording.list.entries)
        show(ui.recordingsLabel, translated(reading["words"]), reading["failed"])
        self._running = export["running"]
        self._showHidden()
        entry = self._entry
        usable = entry is not None and entry.usable
        ui.openRecordingButton.enabled = usable
        ui.replayRecordingButton.enabled = usable and bool(entry and entry.headers)
        ui.exportButton.enabled = ui.replayRecordingButton.enabled and not self._running
        why = _("Device messages have no images. Open shows them.") if usable and entry and not entry.headers else ""
        if why != self._why:
            self._why = why
            for name, tip in self._tips.items():
                setTip(getattr(ui, name), why or tip)
        ui.showFilesButton.enabled = bool(entry or self._folder())
        ui.snapshotButton.enabled = bool(values.get("shown"))
        ui.exportProgressBar.value = round(100 * export["progress"])
        showOrHide(ui.exportLabel, translated(export["words"]), export["failed"])

    def _showHidden(self) -> None:
        # A section that opens shows all its widgets, including hidden ones.
        ui = self.ui
        ui.recordingsList.visible = bool(self._shown) and not ui.recordingsSection.collapsed
        ui.cancelExportButton.visible = ui.exportProgressBar.visible = self._running

    def _opened(self, collapsed: bool) -> None:
        self._showHidden()
        if not collapsed:
            self._read()

    # ---- the list

    def _folder(self) -> str:
        return str(self.ui.recordingFolderPathLineEdit.currentPath).strip()

    def _folderChanged(self, path: str) -> None:
        self._typing.start(TYPING)

    def _readIfOpen(self) -> None:
        if not self.ui.recordingsSection.collapsed:
            self._read()

    def _read(self) -> None:
        self._typing.stop()
        self.attempt(lambda: self.logic.recording.list.read(self._folder()))

    def _fill(self, entries: list[RecordingEntry]) -> None:
        """Show the entries; the selected one stays selected, otherwise the newest with images is."""
        chosen, widget = self._entry, self.ui.recordingsList
        self._shown, self._rows = entries, rowsOf(entries)
        blocked = widget.blockSignals(True)
        widget.clear()
        warning = qt.QBrush(qt.QColor(warningColour(widget)))
        for row in self._rows:
            item = qt.QListWidgetItem(f"{breakable(_nameOf(row.entry))}\n{_figures(row)}")
            item.setToolTip(plainTip(_tip(row)))
            if row.entry.state == "damaged" or row.lost:
                item.setForeground(warning)
            widget.addItem(item)
        widget.blockSignals(blocked)
        rows = sum(widget.sizeHintForRow(row) for row in range(min(widget.count, MEASURED)))
        widget.setFixedHeight(min(TALLEST, rows + 2 * widget.frameWidth))
        paths = [row.entry.path for row in self._rows]
        first = next((number for number, row in enumerate(self._rows) if row.entry.headers), 0 if entries else -1)
        widget.setCurrentRow(paths.index(chosen.path) if chosen and chosen.path in paths else first)
        if not chosen or self._entry != chosen:
            self._selected()

    @property
    def _entry(self) -> RecordingEntry | None:
        row = self.ui.recordingsList.currentRow
        return self._rows[row].entry if 0 <= row < len(self._rows) else None

    def _selected(self, *_row: int) -> None:
        count = self._entry.frames if self._entry else 0
        for box, value in ((self.ui.exportFirstSpinBox, 1), (self.ui.exportLastSpinBox, count)):
            box.maximum = max(1, count)
            box.value = value
        self.refresh(self.logic.statistics())

    # ---- the selected recording

    def _open(self) -> None:
        entry = self._entry
        if entry:
            self.attempt(lambda: self.logic.recording.open(entry))

    def _replay(self) -> None:
        entry = self._entry
        if entry is None:
            return
        for source in self.logic.sources():
            if source.settings.kind == ReplaySettings.kind and not source.ended:
                self.logic.stop(source)
        settings = ReplaySettings(file=entry.headers[0])
        self._sources.showSettings(settings)
        self.attempt(lambda: self.logic.start(self._sources.named(settings)))

    def _showFiles(self) -> None:
        entry = self._entry
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(entry.folder if entry else self._folder()))

    def _export(self) -> None:
        entry = self._entry
        if entry:
            self.attempt(lambda: self.logic.exports.start(self._job(entry)))

    def _job(self, entry: RecordingEntry) -> ExportJob:
        ui = self.ui
        return ExportJob(
            RECORDING_FORMATS[ui.exportFormatComboBox.currentIndex],
            os.path.join(entry.folder, f"{entry.name}-{fileName(entry.stream)}_export"),
            parts=tuple(entry.headers),
            first=ui.exportFirstSpinBox.value - 1,
            last=ui.exportLastSpinBox.value - 1,
            attributes=self.logic.metadata.get(),
        )

    def _cancel(self) -> None:
        self.logic.exports.cancel()

    def _snapshot(self) -> None:
        self.attempt(lambda: self.logic.exports.saveSnapshot(self._folder()))


def _nameOf(entry: RecordingEntry) -> str:
    return f"{entry.name}  {entry.stream}" if entry.stream else f"{entry.name}  {_('(device messages)')}"


def _figures(row: Row) -> str:
    entry = row.entry
    at = time.localtime(entry.time)
    # The time of day matters for new recordings, the year for old ones.
    date = time.strftime("%m-%d %H:%M" if at.tm_year == time.localtime().tm_year else "%Y-%m-%d", at)
    if entry.state == "recording":
        return str(_("{date}, recording now").format(date=date))
    if entry.state == "unfinished":
        return str(_("{date}, not finished: its process has died").format(date=date))
    if entry.state == "damaged":
        return str(_("{date}, damaged").format(date=date))
    length = durationText(entry.seconds) if entry.seconds >= 60 else _("{s:.1f} s").format(s=entry.seconds)
    if not entry.stream:
        count = counted(entry.frames, _("1 message"), _("{count:,} messages"))
    else:
        count = counted(entry.frames, _("1 image"), _("{count:,} images"))
    lost = _("{count:,} lost").format(count=row.lost)
    return f"{date}, {length}, {count}, {lost}, {translated(sizeText(entry.bytes))}"


def _tip(row: Row) -> str:
    """Return place, time and figures of a recording, its device messages, its problem, and its first warnings."""
    entry = row.entry
    lines = [entry.path, time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.time)), _figures(row)]
    if row.messages:
        text = _("{count:,} device messages open with it ({lost:,} lost).")
        lines.append(text.format(count=row.messages.frames, lost=row.messages.lost))
    if entry.problem:
        lines.append(translated(entry.problem))
    if entry.state == "unfinished":
        lines.append(_("The next start of a source finishes it."))
    warnings = [*entry.warnings, *(one for one in row.warnings if one not in entry.warnings)]
    lines += warnings[:WARNINGS_SHOWN]
    if len(warnings) > WARNINGS_SHOWN:
        lines.append(_("{count} more warnings are in its manifest.").format(count=len(warnings) - WARNINGS_SHOWN))
    return "\n".join(lines)
