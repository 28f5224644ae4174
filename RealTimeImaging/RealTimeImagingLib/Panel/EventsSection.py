"""The events of this run: a list with time, level and count, which can be filtered, copied and saved."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import qt
import slicer
from slicer.i18n import tr as _

from ..Model.Event import Event
from ..Model.EventLog import EqualEvents, EventLog
from ..Model.Files import reasonOf
from .Section import Section, breakable, elided, plainTip, setRoom, translated, warningColour

EVENTS_SHOWN = 100
"""Most lines in the list."""
LINES = 7
"""Lines of text for which the list has room; 3 for a single event."""
PIECE = 50
"""Lines that are made in one piece of work."""


class _Line(NamedTuple):
    """Line of the list.

    :param tip: the whole text when it is elided, else empty.
    """

    text: str = ""
    tip: str = ""
    colour: str = ""


class EventsSection(Section):
    """List of this run's events, the newest first.

    :param log: gets all events, and is cleared when a run begins.
    """

    def __init__(self, ui: Any, logic: Any, complain: Callable[[str], None], log: EventLog) -> None:
        super().__init__(ui, logic, complain)
        self._log, self._shown = log, (-1, False, "", "")
        self._lines: list[_Line] = []
        """What the list shows."""
        self._turn = 0
        """Number of times that lines were made."""
        self._seen: list[Any] = []
        for words in (_("All events"), _("Warnings and errors")):
            ui.eventsFilterComboBox.addItem(words)
        self.connect(ui.eventsFilterComboBox, "currentIndexChanged(int)", self._showEvents)
        self.connect(ui.statusSection, "contentsCollapsed(bool)", self._showEvents)
        self.connect(ui.copyEventsButton, "clicked()", self._copy)
        self.connect(ui.saveEventsButton, "clicked()", self._save)
        self.connect(ui.clearEventsButton, "clicked()", self._clear)
        for event in logic.events():
            log.add(event)
        logic.addEventCallback(log.add)

    def close(self) -> None:
        """Disconnect from the logic and from all widgets."""
        self.logic.removeEventCallback(self._log.add)
        super().close()

    def noticeRun(self) -> None:
        """Clear the list when a run begins: a source starts and no other runs. The logic keeps the older events."""
        sources = self.logic.sources()
        if sources and not any(one is known for one in sources for known in self._seen):
            self._log.clear()
        self._seen = sources

    def _showEvents(self, *_value: Any) -> None:
        self.showNow({})

    def pieces(self, values: dict[str, Any]) -> Iterator[None]:
        """Show the events: make PIECE lines in each piece of work, then write all, then lay them out."""
        box = self.ui.eventsList
        warning, normal = warningColour(box), box.palette.color(qt.QPalette.Text).name()
        shown = self._log.version, self._warnings, warning, normal
        if self.ui.statusSection.collapsed or shown == self._shown:
            return
        self._turn = turn = self._turn + 1
        lines: list[_Line] = []
        for one in self._log.newest(EVENTS_SHOWN, self._warnings):
            lines.append(_lineOf(one, normal if one.last.level == "info" else warning))
            if len(lines) % PIECE == 0:
                yield
                if turn != self._turn:
                    return  # the user has chosen other events
        self._shown = shown
        self._showLines(lines)
        room = LINES if len(lines) > 1 else 3 * len(lines)
        setRoom(box, room * box.fontMetrics().lineSpacing())
        for name in ("copyEventsButton", "saveEventsButton", "clearEventsButton"):
            getattr(self.ui, name).enabled = bool(lines)
        yield
        if box.count:
            # Otherwise Qt lays out the list later, and a slow window is painted twice.
            box.visualItemRect(box.item(0))

    def _showLines(self, lines: list[_Line]) -> None:
        """Write the lines that have changed; lines that are new move the others down."""
        box, shown = self.ui.eventsList, self._lines
        for _new in range(lines.index(shown[0]) if shown and shown[0] in lines else 0):
            box.insertItem(0, "")
            shown.insert(0, _Line())
        for _new in range(len(shown), len(lines)):
            box.addItem("")
            shown.append(_Line())
        # Each change lays out the list again.
        for row, (line, before) in enumerate(zip(lines, shown, strict=False)):
            if line != before:
                item = box.item(row)
                if line.text != before.text:
                    item.setText(line.text)
                if line.tip != before.tip:
                    item.setToolTip(plainTip(line.tip))
                if line.colour != before.colour:
                    item.setForeground(qt.QBrush(qt.QColor(line.colour)))
        while len(shown) > len(lines):
            box.takeItem(len(shown) - 1)
            shown.pop()
        self._lines = lines

    @property
    def _warnings(self) -> bool:
        return bool(self.ui.eventsFilterComboBox.currentIndex == 1)

    # ---- what the user does

    def _copy(self) -> None:
        lines = [eventLine(one) for one in reversed(self._log.newest(warnings=self._warnings))]
        slicer.app.clipboard().setText("\n".join(lines))

    def _save(self) -> None:
        self.saveTable(_("Save events"), time.strftime("Events_%Y-%m-%d_%H-%M-%S.csv"), self._write)

    def _write(self, path: str) -> None:
        table = self._log.toCSV(self._warnings, translated)
        try:
            # A spreadsheet recognizes UTF-8 by its mark.
            # File names may have bytes that are no text.
            with open(path, "w", encoding="utf-8-sig", errors="backslashreplace", newline="") as file:
                file.write(table)
        except OSError as error:
            self.complain(_("{path} cannot be written: {reason}.").format(path=path, reason=reasonOf(error)))

    def _clear(self) -> None:
        self._log.clear()
        self._showEvents()


def _lineOf(equal: EqualEvents, colour: str) -> _Line:
    text = eventLine(equal)
    short = elided(text)
    return _Line(breakable(short), "" if short == text else text, colour)


def eventLine(equal: EqualEvents) -> str:
    """Return events as a line: time, level, text, and their number when there are several."""
    level = {"warning": _("Warning: "), "error": _("Error: ")}.get(equal.first.level, "")
    text = f"{_clockTime(equal.first)}  {level}{translated(equal.first.text)}"
    if equal.count == 1:
        return text
    more = _("(x {count}, last {time})").format(count=equal.count, time=_clockTime(equal.last))
    return f"{text} {more}"


def _clockTime(event: Event) -> str:
    return time.strftime("%H:%M:%S", time.localtime(event.time))
