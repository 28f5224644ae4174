"""Table of the running sources: state, name, rate, age of the last image, lost images, and Stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from ..Host.RunningSource import RunningSource
from ..Model.Quantities import durationText, rateText
from .RowsTable import Button, Row, RowsTable
from .SourceStates import SourceState, SourceStates, stateWords

RATE, AGE, LOST, STOP = range(2, 6)
"""The columns behind the name."""


class SourcesTable(RowsTable):
    """One row for each running source; functions have rows of their own in the section Processing.

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
        self._states = states
        headers = (_("Source"), _("Rate"), _("Age"), _("Lost"))
        button = Button(_("Stop"), _("Stop this source only."), _("Stop {name}"), stop)
        super().__init__(table, connect, headers, [button], (AGE, RATE))

    def refresh(self) -> None:
        """Show the running sources."""
        self.show([_row(*one) for one in self._states.running.items() if one[0].fedBy is None])


def _row(source: RunningSource, state: SourceState) -> Row:
    texts = (
        ", ".join(source.streams.values()),
        _("{rate}/s").format(rate=rateText(state.rate)) if state.rate else "-",
        "-" if state.age is None else "< 1 s" if state.age < 1 else durationText(state.age),
        str(state.lost),
    )
    tip = f"{stateWords(state.name)}: {state.text}"
    return Row(source, state.name, texts, (*[tip] * LOST, state.lostWords), [source.state != "stopping"])
