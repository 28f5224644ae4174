"""Times of the stages of frames: figures, a table, and a file."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..Model.Errors import ExportError
from ..Model.Files import reasonOf
from ..Model.Statistics import StageTimes
from ..Model.Text import textsOf

_ = textsOf(__file__)


class Timing:
    """Times of the stages of the latest shown frames (:data:`Model.Statistics.STAGES`), at most 2,000.

    :param times: returns the times.
    :param show: puts columns of values into a table node; returns the node.
    """

    def __init__(
        self, times: Callable[[], StageTimes], show: Callable[[str, Mapping[str, Sequence[Any]]], Any]
    ) -> None:
        self._times, self._show = times, show

    def statistics(self) -> dict[str, dict[str, float | None]]:
        """Return ``median``, ``p95`` and ``max`` in milliseconds of each stage, and of all together (``total``)."""
        return self._times().toJSON()

    def table(self) -> Any:
        """Return a vtkMRMLTableNode with a row for each frame; a later call fills the same node again."""
        return self._show("Frame times", self._times().columns())

    def save(self, path: str) -> None:
        """Write a CSV file with a row for each frame: stream, number, and seconds since the epoch (UTC) of each stage.

        :raises ExportError: the file exists or cannot be written.
        """
        columns = self._times().columns()
        if os.path.lexists(path):
            raise ExportError(_("{path} exists already; choose another name.").format(path=path))
        rows = zip(*columns.values(), strict=True)
        try:
            with open(path, "x", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(columns)
                writer.writerows([_written(value) for value in row] for row in rows)
        except OSError as error:
            reason = reasonOf(error)
            raise ExportError(_("{path} cannot be written: {reason}.").format(path=path, reason=reason)) from error


def _written(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6f}" if value == value else ""
    return str(value)
