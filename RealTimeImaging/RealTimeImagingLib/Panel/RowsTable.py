"""Table with a row for each running source or function: state, name, figures, and buttons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from typing import Any

import qt

from .Section import SYMBOLS, breakable, elided, heightOf, hideColumns, plainTip, setRoom, stateColour, titleWidths

STATE, NAME = range(2)
"""The first columns."""
MOST_ROWS = 5
"""Rows for which the table has room without scrolling."""


@dataclass(frozen=True)
class Button:
    """Button in each row.

    :param text: on the button.
    :param tip: its tool tip.
    :param name: template of its accessible name, with ``{name}`` for the name in its row.
    :param act: takes the key of the row.
    """

    text: str
    tip: str
    name: str
    act: Callable[[Any], object]


@dataclass(frozen=True)
class Row:
    """Content of a row.

    :param key: source or function.
    :param state: a name of ``SYMBOLS``.
    :param texts: of the columns from NAME on, without the buttons.
    :param tips: tool tips of the columns from STATE on, without the buttons.
    :param enabled: whether each button can be pressed.
    """

    key: Any
    state: str
    texts: Sequence[str]
    tips: Sequence[str]
    enabled: Sequence[bool]


@dataclass(frozen=True)
class _Shown:
    """What a row of the table shows: text and tool tip of each cell, colour of the state, and its buttons."""

    cells: Sequence[tuple[str, str]] = ()
    colour: str = ""
    name: str = ""
    enabled: Sequence[bool] = ()


class RowsTable:
    """One row for each key; the table takes no room while there is none.

    :param table: a QTableWidget.
    :param connect: connects a signal until the section closes.
    :param headers: titles of the columns from NAME on, without the buttons.
    :param buttons: of each row, behind these columns.
    :param spare: columns that are hidden, one after the other, while the table is too narrow for all.
    """

    def __init__(
        self,
        table: Any,
        connect: Callable[[Any, str, Callable[..., None]], None],
        headers: Sequence[str],
        buttons: Sequence[Button],
        spare: Sequence[int],
    ) -> None:
        self._table, self._connect, self._buttons, self._spare = table, connect, buttons, spare
        self._keys: list[Any] = []
        self._shown: list[_Shown] = []
        self._count = 0
        """Number of visible rows."""
        self._fitted: tuple[int, list[Any]] = (0, [])
        titles = ["", *headers, *[""] * len(buttons)]
        self._first = len(headers) + 1
        """Column of the first button."""
        table.setColumnCount(len(titles))
        table.setHorizontalHeaderLabels(titles)
        table.verticalHeader().hide()
        header = table.horizontalHeader()
        header.setMinimumSectionSize(20)
        header.setHighlightSections(False)
        for column in range(len(titles)):
            mode = qt.QHeaderView.Stretch if column == NAME else qt.QHeaderView.ResizeToContents
            header.setSectionResizeMode(column, mode)
        self._titles = titleWidths(table)
        setRoom(table, 0)

    @property
    def selected(self) -> Any:
        """The key of the selected row; None when no row is selected."""
        row = self._table.currentRow()
        return self._keys[row] if 0 <= row < len(self._keys) else None

    def select(self, key: Any) -> None:
        """Select the row of a key; None selects no row."""
        row = self._keys.index(key) if key in self._keys else -1
        if row != self._table.currentRow():
            self._table.setCurrentCell(row, NAME)

    def show(self, rows: Sequence[Row]) -> None:
        """Show these rows in place of those before."""
        table, selected = self._table, self.selected
        self._keys = [row.key for row in rows]
        # Rows stay with their buttons, and are hidden when they are not needed.
        while len(self._shown) < len(rows):
            self._addRow()
        if len(rows) != self._count:
            self._count = len(rows)
            for place in range(len(self._shown)):
                table.setRowHidden(place, place >= len(rows))
        for place, row in enumerate(rows):
            self._showRow(place, row)
        if selected is not self.selected:
            self.select(selected)
        self._fitWidth()
        setRoom(table, heightOf(table, min(len(rows), MOST_ROWS)) if rows else 0)

    def _addRow(self) -> None:
        table, place = self._table, len(self._shown)
        table.setRowCount(place + 1)
        for column in range(self._first):
            item = qt.QTableWidgetItem("")
            if column != NAME:
                item.setTextAlignment(qt.Qt.AlignCenter)
            table.setItem(place, column, item)
        for number, one in enumerate(self._buttons):
            button = qt.QToolButton()
            button.text = one.text
            button.toolTip = one.tip
            table.setCellWidget(place, self._first + number, button)
            self._connect(button, "clicked()", partial(self._press, place, one.act))
        self._shown.append(_Shown())

    def _showRow(self, place: int, row: Row) -> None:
        texts, colour = (SYMBOLS[row.state], *row.texts), stateColour(self._table, row.state)
        cells = [(breakable(elided(text)), tip) for text, tip in zip(texts, row.tips, strict=True)]
        now, before = _Shown(cells, colour, row.texts[0], row.enabled), self._shown[place]
        self._shown[place] = now
        # Each change of a cell measures its column again.
        for column, (cell, shown) in enumerate(zip_longest(now.cells, before.cells, fillvalue=("", ""))):
            if cell != shown:
                item = self._table.item(place, column)
                if cell[0] != shown[0]:
                    item.setText(cell[0])
                if cell[1] != shown[1]:
                    item.setToolTip(plainTip(cell[1]))
        if now.colour != before.colour:
            self._table.item(place, STATE).setForeground(qt.QBrush(qt.QColor(colour)))
        if (now.name, now.enabled) != (before.name, before.enabled):
            for number, one in enumerate(self._buttons):
                button = self._table.cellWidget(place, self._first + number)
                button.enabled = row.enabled[number]
                button.setAccessibleName(one.name.format(name=row.texts[0]))

    def _fitWidth(self) -> None:
        """Hide the spare columns for which there is no room."""
        table = self._table
        # Texts of equal length are almost equally wide, and measuring takes long.
        state = table.viewport().width, [[len(text) for text, _tip in shown.cells] for shown in self._shown]
        if state == self._fitted or not self._keys or not table.isVisible():
            return
        self._fitted = state
        hideColumns(table, self._titles, NAME, self._spare)

    def _press(self, place: int, act: Callable[[Any], object]) -> None:
        if place < len(self._keys):
            act(self._keys[place])
