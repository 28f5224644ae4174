"""Table of the running functions: state, stream of the results, counts, latency, Reload and Stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import qt
from slicer.i18n import tr as _

from ..Host.ProcessingControl import RunningProcessor
from .Section import SYMBOLS, breakable, elided, plainTip, setRoom, stateColour, translated

STATE, NAME, COUNTS, LATENCY, RELOAD, STOP = range(6)
"""The columns."""
MOST_ROWS = 5
"""Rows for which the table has room without scrolling."""


def stateOf(processor: RunningProcessor) -> str:
    """Return the state of a function, a name of ``SYMBOLS``."""
    if processor.state == "failed" or processor.handle.details.get("problem"):
        return "error"
    figures = processor.statistics()
    if processor.state != "running" or not figures.get("received"):
        return "waiting"
    return "slow" if processor.isFailing(time.monotonic()) else "receiving"


def latencyOf(figures: dict[str, Any]) -> str:
    """Return the median latency of a function in words."""
    median = (figures.get("latencyMs") or {}).get("median")
    return "-" if median is None else _("{latency:.0f} ms").format(latency=median)


class ProcessorsTable:
    """One row for each running function; the table takes no room while none runs.

    :param table: a QTableWidget.
    :param connect: connects a signal until the section closes.
    :param reload: restarts a function from its file.
    :param stop: stops a function.
    """

    def __init__(
        self,
        table: Any,
        connect: Callable[[Any, str, Callable[..., None]], None],
        reload: Callable[[RunningProcessor], None],
        stop: Callable[[RunningProcessor], None],
    ) -> None:
        self._table, self._connect = table, connect
        self._actions = {RELOAD: reload, STOP: stop}
        self._processors: list[RunningProcessor] = []
        self._shown: list[list[str]] = []
        headers = ("", _("Result"), _("Done / skipped / failed"), _("Latency"), "", "")
        table.setColumnCount(len(headers))
        table.setHorizontalHeaderLabels([*headers[:COUNTS], _("Images"), *headers[LATENCY:]])
        table.horizontalHeaderItem(COUNTS).setToolTip(headers[COUNTS])
        table.horizontalHeaderItem(LATENCY).setToolTip(_("Median time from the arrival of an image to its result."))
        table.verticalHeader().hide()
        table.setTextElideMode(qt.Qt.ElideLeft)  # the function comes last in the name
        header = table.horizontalHeader()
        header.setMinimumSectionSize(20)
        for column in range(len(headers)):
            mode = qt.QHeaderView.Stretch if column == NAME else qt.QHeaderView.ResizeToContents
            header.setSectionResizeMode(column, mode)
        setRoom(table, 0)

    @property
    def selected(self) -> RunningProcessor | None:
        """The function in the selected row; None when no row is selected."""
        row = self._table.currentRow()
        return self._processors[row] if 0 <= row < len(self._processors) else None

    def select(self, processor: RunningProcessor | None) -> None:
        """Select the row of a function; None selects no row."""
        row = self._processors.index(processor) if processor in self._processors else -1
        if row != self._table.currentRow():
            self._table.setCurrentCell(row, NAME)

    def refresh(self, processors: list[RunningProcessor]) -> None:
        """Show the running functions."""
        table, selected = self._table, self.selected
        self._processors = list(processors)
        # Rows stay with their buttons, and are hidden when they are not needed.
        while table.rowCount < len(processors):
            self._addRow()
        for row in range(table.rowCount):
            table.setRowHidden(row, row >= len(processors))
        for row, processor in enumerate(processors):
            self._show(row, processor)
        if selected is not self.selected:
            self.select(selected)
        height = 0
        if processors:
            height = table.horizontalHeader().sizeHint.height() + 2 * table.frameWidth
            height += sum(table.rowHeight(row) for row in range(min(len(processors), MOST_ROWS)))
        setRoom(table, height)

    def _addRow(self) -> None:
        table, row = self._table, self._table.rowCount
        table.setRowCount(row + 1)
        for column in range(RELOAD):
            item = qt.QTableWidgetItem("")
            if column != NAME:
                item.setTextAlignment(qt.Qt.AlignCenter)
            table.setItem(row, column, item)
        for column, text, tip in (
            (RELOAD, "\u21bb", _("Restart this function from its file, with its parameters.")),
            (STOP, _("Stop"), _("Stop this function only.")),
        ):
            button = qt.QToolButton()
            button.text = text
            button.toolTip = tip
            table.setCellWidget(row, column, button)
            self._connect(button, "clicked()", partial(self._press, row, column))
        self._shown.append([])

    def _show(self, row: int, processor: RunningProcessor) -> None:
        figures, state = processor.statistics(), stateOf(processor)
        counts = [figures.get(name, 0) for name in ("processed", "skipped", "failed")]
        texts = [SYMBOLS[state], processor.stream, " / ".join(map(str, counts)), latencyOf(figures)]
        shown = [*texts, translated(processor.status), processor.state, str(processor.handle.ending)]
        if shown == self._shown[row]:
            return
        self._shown[row] = shown
        words = _("{processed} processed, {skipped} skipped, {failed} failed")
        number = words.format(processed=counts[0], skipped=counts[1], failed=counts[2])
        for column, text in enumerate(texts):
            item = self._table.item(row, column)
            item.setText(breakable(elided(text)))
            item.setToolTip(plainTip(number if column == COUNTS else translated(processor.status)))
        self._table.item(row, STATE).setForeground(qt.QBrush(qt.QColor(stateColour(self._table, state))))
        for column, name in ((RELOAD, _("Reload {name}")), (STOP, _("Stop {name}"))):
            button = self._table.cellWidget(row, column)
            # A function that finishes its images can still be stopped.
            button.enabled = processor.state != "stopping" or (column == STOP and processor.handle.ending)
            button.setAccessibleName(name.format(name=processor.stream))

    def _press(self, row: int, column: int) -> None:
        if row < len(self._processors):
            self._actions[column](self._processors[row])
