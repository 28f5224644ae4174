"""Table of the running sources: state, name, rate, age of the last image, lost images, and Stop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import qt
from slicer.i18n import tr as _

from ..Host.RunningSource import RunningSource
from ..Model.Quantities import durationText, rateText
from .Section import SYMBOLS, breakable, elided, plainTip, setRoom, stateColour
from .SourceStates import SourceState, SourceStates, stateWords

STATE, NAME, RATE, AGE, LOST, STOP = range(6)
"""The columns."""
MOST_ROWS = 5
"""Rows for which the table has room without scrolling."""


class SourcesTable:
    """One row for each running source; the table takes no room while none runs.

    :param table: a QTableWidget.
    :param states: states of all sources.
    :param connect: connects a signal until the section closes.
    :param stop: stops a source.
    """

    def __init__(
        self,
        table: Any,
        states: SourceStates,
        connect: Callable[[Any, str, Callable[..., None]], None],
        stop: Callable[[RunningSource], None],
    ) -> None:
        self._table, self._states, self._connect, self._stop = table, states, connect, stop
        self._sources: list[RunningSource] = []
        self._shown: list[list[str]] = []
        headers = ("", _("Source"), _("Rate"), _("Age"), _("Lost"), "")
        table.setColumnCount(len(headers))
        table.setHorizontalHeaderLabels(list(headers))
        table.verticalHeader().hide()
        header = table.horizontalHeader()
        header.setMinimumSectionSize(20)
        for column in range(len(headers)):
            mode = qt.QHeaderView.Stretch if column == NAME else qt.QHeaderView.ResizeToContents
            header.setSectionResizeMode(column, mode)
        setRoom(table, 0)

    @property
    def selected(self) -> RunningSource | None:
        """The source in the selected row; None when no row is selected."""
        row = self._table.currentRow()
        return self._sources[row] if 0 <= row < len(self._sources) else None

    def refresh(self) -> None:
        """Show the running sources."""
        table, selected = self._table, self.selected
        # Functions have rows of their own in the section Processing.
        states = {source: state for source, state in self._states.running.items() if source.fedBy is None}
        self._sources = list(states)
        # Rows stay with their buttons, and are hidden when they are not needed.
        while table.rowCount < len(states):
            self._addRow()
        for row in range(table.rowCount):
            table.setRowHidden(row, row >= len(states))
        for row, (source, state) in enumerate(states.items()):
            self._showState(row, source, state)
        if selected is not self.selected:
            table.setCurrentCell(self._sources.index(selected) if selected in self._sources else -1, NAME)
        self._fit(len(states))

    def _addRow(self) -> None:
        table, row = self._table, self._table.rowCount
        table.setRowCount(row + 1)
        for column in range(STOP):
            item = qt.QTableWidgetItem("")
            if column != NAME:
                item.setTextAlignment(qt.Qt.AlignCenter)
            table.setItem(row, column, item)
        button = qt.QToolButton()
        button.text = _("Stop")
        button.toolTip = _("Stop this source only.")
        table.setCellWidget(row, STOP, button)
        self._connect(button, "clicked()", partial(self._stopRow, row))
        self._shown.append([])

    def _showState(self, row: int, source: RunningSource, state: SourceState) -> None:
        name = ", ".join(source.streams.values())
        texts = [
            SYMBOLS[state.name],
            name,
            _("{rate}/s").format(rate=rateText(state.rate)) if state.rate else "-",
            "-" if state.age is None else "< 1 s" if state.age < 1 else durationText(state.age),
            str(state.lost),
        ]
        shown = [*texts, state.text, state.lostWords, source.state]
        if shown == self._shown[row]:
            return
        self._shown[row] = shown
        tip = plainTip(f"{stateWords(state.name)}: {state.text}")
        for column, text in enumerate(texts):
            item = self._table.item(row, column)
            item.setText(breakable(elided(text)))
            item.setToolTip(plainTip(state.lostWords) if column == LOST else tip)
        colour = stateColour(self._table, state.name)
        self._table.item(row, STATE).setForeground(qt.QBrush(qt.QColor(colour)))
        self._table.cellWidget(row, STOP).enabled = source.state != "stopping"
        self._table.cellWidget(row, STOP).setAccessibleName(_("Stop {name}").format(name=name))

    def _fit(self, rows: int) -> None:
        table = self._table
        height = 0
        if rows:
            height = table.horizontalHeader().sizeHint.height() + 2 * table.frameWidth
            height += sum(table.rowHeight(row) for row in range(min(rows, MOST_ROWS)))
        setRoom(table, height)

    def _stopRow(self, row: int) -> None:
        if row < len(self._sources):
            self._stop(self._sources[row])
