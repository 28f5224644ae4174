"""Table of the running functions: state, stream of the results, counts, latency, Reload and Stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from ..Host.ProcessingControl import RunningProcessor
from .RowsTable import Button, Row, RowsTable
from .Section import translated

COUNTS, LATENCY = range(2, 4)
"""The columns between the name and the buttons."""


def stateOf(processor: RunningProcessor) -> str:
    """Return the state of a function, a name of ``SYMBOLS``."""
    if processor.state == "failed" or processor.resultSource.details.get("problem"):
        return "error"
    figures = processor.statistics()
    if processor.state != "running" or not figures.get("received"):
        return "waiting"
    failing = processor.isFailing(time.monotonic()) or processor.resultSource.details.get("restarted")
    return "slow" if failing else "receiving"


def figuresText(processor: RunningProcessor) -> str:
    """Return the counts and the latency of a function in words; empty before its first image."""
    figures = processor.statistics()
    if not figures.get("received"):
        return ""
    words = _("{received} received, {processed} processed, {skipped} skipped, {failed} failed.")
    latency = figures["latencyMs"]
    if latency["median"] is None:
        return str(words.format(**figures))
    more = _("Latency {median:.0f} ms (median), {p95:.0f} ms (95 %).").format(**latency)
    return f"{words.format(**figures)} {more}"


class ProcessorsTable(RowsTable):
    """One row for each running function.

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
        buttons = (
            Button(
                "\u21bb", _("Restart this function from its file, with its parameters."), _("Reload {name}"), reload
            ),
            Button(_("Stop"), _("Stop this function only."), _("Stop {name}"), stop),
        )
        super().__init__(table, connect, (_("Result"), _("Images"), _("Latency")), buttons, (LATENCY, COUNTS))
        table.setTextElideMode(qt.Qt.ElideLeft)  # the function comes last in the name
        table.wordWrap = False  # whole words would be elided
        table.horizontalHeaderItem(COUNTS).setToolTip(_("Processed / skipped / failed"))
        table.horizontalHeaderItem(LATENCY).setToolTip(_("Median time from the arrival of an image to its result."))

    def refresh(self, processors: list[RunningProcessor]) -> None:
        """Show the running functions."""
        self.show([_row(one) for one in processors])


def _row(processor: RunningProcessor) -> Row:
    figures = processor.statistics()
    counts = " / ".join(str(figures.get(name, 0)) for name in ("processed", "skipped", "failed"))
    median = (figures.get("latencyMs") or {}).get("median")
    latency = "-" if median is None else _("{latency:.0f} ms").format(latency=median)
    words = figuresText(processor)
    tip = "\n".join(filter(None, (processor.stream, translated(processor.status), words)))
    tips = (tip, tip, words or tip, words or tip)
    runs = processor.state != "stopping"
    # A function that finishes its images can still be stopped.
    enabled = runs, runs or processor.resultSource.ending
    return Row(processor, stateOf(processor), (processor.stream, counts, latency), tips, enabled)
