"""Values of frames over time, such as the latency: the latest of each stream, at constant cost."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Column = npt.NDArray[np.float64]

ROWS = 2000
"""Latest frames whose values are kept."""
MOST_SIGNALS = 64
"""Most signals of a stream; values of further names are left out."""
NUMBER, TIME = "Frame", "Time"
"""Columns that every row has: frame number, and seconds since the first frame."""
LOST = "Lost"
"""Column with the number of frames that were lost just before a frame; only there once a frame was lost."""


class Signals:
    """Values of the latest frames of one stream, a row a frame.

    :param rows: number of rows; the oldest row makes room for a new one.
    :param start: time at which the column of times is 0, seconds since the epoch (UTC); None for the first frame.
    """

    def __init__(self, rows: int = ROWS, start: float | None = None) -> None:
        self._rows, self._next = rows, 0
        self._columns: dict[str, Column] = {NUMBER: self._empty(), TIME: self._empty()}
        self._row: dict[int, int] = {}
        self._start = start
        self.changes = 0
        """Number of changes."""
        self.leftOut = ""
        """Name of the first signal that is left out; empty while there is none."""

    def _empty(self) -> Column:
        return np.full(self._rows, np.nan)

    @property
    def names(self) -> list[str]:
        """Names of the signals, in the order of their first values."""
        return [name for name in self._columns if name not in (NUMBER, TIME, LOST)]

    def add(self, number: int, time: float, values: Mapping[str, float], lost: int = 0) -> None:
        """Add values of a frame; further values of the same frame join its row.

        :param number: number of the frame.
        :param time: seconds since the epoch (UTC) of the frame.
        :param values: finite numbers, or NaN for a value that is not known, by the name of the signal.
        :param lost: number of frames that were lost just before this one.
        """
        row = self._row.get(number)
        if row is None:
            row = self._newRow(number, time)
        if lost:
            column = self._columns.setdefault(LOST, self._empty())
            column[row] = np.nan_to_num(column[row]) + lost
        for name, value in values.items():
            if name in (NUMBER, TIME, LOST):
                continue
            if name not in self._columns:
                if len(self.names) >= MOST_SIGNALS:
                    self.leftOut = self.leftOut or name
                    continue
                self._columns[name] = self._empty()
            self._columns[name][row] = value
        self.changes += 1

    def _newRow(self, number: int, time: float) -> int:
        if self._start is None:
            self._start = time
        row = self._next % self._rows
        self._next += 1
        before = self._columns[NUMBER][row]
        if not np.isnan(before):
            self._row.pop(int(before), None)
        for column in self._columns.values():
            column[row] = np.nan
        self._columns[NUMBER][row], self._columns[TIME][row] = number, time - self._start
        self._row[number] = row
        return row

    def columns(self) -> dict[str, Column]:
        """Return copies of all columns, rows in the order of their times; NaN where a frame has no value."""
        filled = min(self._next, self._rows)
        order = np.argsort(self._columns[TIME][:filled], kind="stable")
        return {name: column[:filled][order] for name, column in self._columns.items()}
