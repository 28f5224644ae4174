"""Values of frames in CSV files beside a recording: a file a function, a row a frame, a column a value.

The columns of signals come first; their time is here in seconds since the epoch (UTC).
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping

from ..Model.Event import Event
from ..Model.Files import openPrivate, reasonOf, replaceFile, writeAll
from ..Model.Signals import NUMBER, TIME
from ..Model.Text import textsOf
from .Layout import baseName, candidates, fileName

_ = textsOf(__file__)

VALUES = ".values.csv"
"""Added to the name of a recording and the function."""
MOST_COLUMNS = 1024
"""Most columns of a file; values of further names are not stored."""


class ValuesFile:
    """One CSV file, made with the first row. A new name becomes a column, for which the file is written anew.

    :param folder: of the recording.
    :param name: of the recording.
    :param function: name of the function.
    """

    def __init__(self, folder: str, name: str, function: str) -> None:
        self._folder, self._base = folder, baseName(fileName(name), function)
        self.path = ""
        """Path of the file; empty before the first row."""
        self._handle = -1
        self._columns: list[str] = [NUMBER, TIME]
        self._problem = ""
        self._events: list[Event] = []

    def append(self, number: int, time: float, values: Mapping[str, float]) -> bool:
        """Store the values of a frame; return False when that failed, which :meth:`events` reports.

        :param number: of the frame.
        :param time: of the frame, seconds since the epoch (UTC).
        :param values: numbers by name; NaN becomes an empty field.
        """
        fresh = [name for name in values if name not in self._columns][: MOST_COLUMNS - len(self._columns)]
        row = [str(number), f"{time:.6f}"]
        try:
            if fresh or self._handle < 0:
                self._addColumns(fresh)
            row += [_field(values.get(name)) for name in self._columns[2:]]
            writeAll(self._handle, _line(row))
        except OSError as error:
            self._report(error)
            return False
        self._problem = ""
        return True

    def events(self) -> list[Event]:
        """Return the events since the last call."""
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        """Close the file."""
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            os.close(handle)

    def _addColumns(self, fresh: list[str]) -> None:
        columns, rows = [*self._columns, *fresh], b""
        if self.path:
            self.close()
            with open(self.path, newline="", encoding="utf-8") as file:
                kept = list(csv.reader(file))[1:]
            rows = b"".join(_line([*row, *[""] * (len(columns) - len(row))]) for row in kept)
        else:
            self._claim()
        replaceFile(self.path, _line(columns) + rows)
        self._handle = openPrivate(self.path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0))
        self._columns = columns

    def _claim(self) -> None:
        for name in candidates(self._base):
            path = os.path.join(self._folder, name + VALUES)
            try:
                os.close(openPrivate(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                continue
            self.path = path
            return

    def _report(self, error: OSError) -> None:
        if self._problem != reasonOf(error):
            self._problem = reasonOf(error)
            text = _("The values of images cannot be stored in {folder}: {reason}.")
            text = text.format(folder=self._folder, reason=self._problem)
            self._events.append(Event("values-not-stored", text, "error", self.path or self._folder))


def valuesIn(folder: str, names: Iterable[str]) -> list[str]:
    """Return the paths of the files of values among the names of a folder's files."""
    return sorted(os.path.join(folder, name) for name in names if name.endswith(VALUES))


def valuesOf(recording: str, paths: Iterable[str]) -> list[str]:
    """Return the files of values that a recording may have.

    A file of another recording whose name begins with the same words may be among them: the number and the time in
    each row tell the images of its values.

    :param recording: name of the recording, without a stream.
    """
    return [path for path in paths if os.path.basename(path).startswith(f"{recording}-")]


def _field(value: float | None) -> str:
    return "" if value is None or value != value else repr(float(value))


def _line(row: list[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(row)
    return text.getvalue().encode()
