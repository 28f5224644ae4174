"""Section of the status: state, counts, rate, delay and events."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import qt
from slicer.i18n import tr as _

from ..Host.RunningSource import RunningSource
from ..Model.Event import Event
from ..Model.Quantities import durationText
from .Section import Section, breakable, plainTip, show, warningColour

EVENTS_SHOWN = 100
QUIET = 1.0
"""Seconds without an image after which a source is no longer "receiving", unless its images are further apart."""
LONG_AGO = 3.0
"""Seconds after which the age of the last image is shown."""
NEWS = 0.5
"""Seconds that a new status must last before it replaces "Receiving"."""


class Sources(Protocol):
    """The part of the source section that the status needs."""

    def idle(self) -> str:
        """Instruction while no source runs."""

    def origin(self, source: RunningSource) -> str:
        """Sender of a source's images."""


class StatusSection(Section):
    """State of the sources in words and figures.

    :param sources: the section of the source.
    :param clock: monotonic seconds.
    """

    def __init__(
        self,
        ui: Any,
        logic: Any,
        complain: Callable[[str], None],
        sources: Sources,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(ui, logic, complain)
        self._sources, self._clock = sources, clock
        self._flows: dict[RunningSource, _Flow] = {}
        self._eventShown: Any = None
        self._run: RunningSource | None = None
        """The first source of the run."""
        self._before: Event | None = None
        """The last event before the run began."""

    def noticeRun(self) -> None:
        """Begin a run when a source starts and no other runs: earlier events do not belong to it."""
        sources = self.logic.sources()
        if sources and sources[0] is not self._run and sources[0] not in self._flows:
            events = self.logic.events()
            self._run, self._before = sources[0], events[-1] if events else None

    def refresh(self, values: dict[str, Any]) -> None:
        """Show state, counts and events."""
        ui, events = self.ui, self._ofThisRun()
        self._showStatus(events)
        frames = _("{received} received, {shown} shown, {skipped} skipped, {rejected} rejected").format(**values)
        show(ui.framesLabel, frames)
        show(ui.rateLabel, _("{fps} images/s").format(fps=values["fps"]) if values["shown"] else "-")
        latency = values["latencyMs"]
        delay = "-"
        if latency["median"] is not None:
            delay = _("{median:.0f} ms (median), {p95:.0f} ms (95 %)").format(**latency)
        show(ui.latencyLabel, delay)
        last = _folded(events)[-1:]
        show(ui.lastEventLabel, _line(last[0]) if last else "-", bool(last) and last[0][-1].level != "info")
        self._showEvents()

    def _ofThisRun(self) -> list[Event]:
        events: list[Event] = self.logic.events()
        found = [index for index, event in enumerate(events) if event is self._before]
        return events[found[-1] + 1 :] if found else events

    def _showStatus(self, events: list[Event]) -> None:
        sources = self.logic.sources()
        self._flows = {source: self._flows.get(source) or _Flow() for source in sources}
        active = [source for source in sources if not source.ended]
        failed = any(source.state == "failed" for source in sources)
        if active:
            texts = [self._stateOf(source) for source in active]
            if len(active) > 1:
                texts = [f"{text} {_counted(source)}" for text, source in zip(texts, active, strict=True)]
        elif self.logic.isRunning():
            texts = [_("Stopping.")]
        elif failed:
            errors = [event for event in events if event.level == "error"]
            reasons = [event for event in errors if event.code == "failed"] or errors
            texts = [reasons[-1].text if reasons else _("Stopped.")]
        elif sources:
            texts = [_("Stopped.")]
        else:
            texts = [self._sources.idle()]
        show(self.ui.statusLabel, "\n".join(texts), failed and not active)

    def _stateOf(self, source: RunningSource) -> str:
        now = self._clock()
        rate = sum(one.framesPerSecond(time.time()) for one in source.counts.values())
        flow = self._flows[source]
        flow.look(sum(one.received for one in source.counts.values()), source.status, now)
        if source.state == "stopping":
            return str(_("Stopping."))
        if rate and flow.quiet(now) < max(QUIET, 3 / rate) and not flow.hasNews(now):
            return str(_("Receiving {rate:.1f} images/s from {origin}.")).format(
                rate=rate, origin=self._sources.origin(source)
            )
        status = _("Waiting for the simulated scanner.") if self.logic.simulator.isSimulated(source) else source.status
        age = flow.quiet(now)
        if not flow.received or age < LONG_AGO:
            return str(status)
        return str(_("{status} Last image {age} ago.")).format(status=status, age=durationText(age))

    def _showEvents(self) -> None:
        events = self.logic.events()
        if not events or events[-1] is self._eventShown:
            return
        self._eventShown = events[-1]
        self.ui.eventsList.clear()
        warning = qt.QBrush(qt.QColor(warningColour(self.ui.eventsList)))
        for equal in reversed(_folded(events)[-EVENTS_SHOWN:]):
            text = _line(equal)
            item = qt.QListWidgetItem(breakable(text))
            item.setToolTip(plainTip(text))
            if equal[-1].level != "info":
                item.setForeground(warning)
            self.ui.eventsList.addItem(item)


class _Flow:
    """Times of a source's last image and last change of status."""

    def __init__(self) -> None:
        self.received = 0
        self._status = ""
        self._came = self._changed = 0.0

    def look(self, received: int, status: str, now: float) -> None:
        """Note a new image or status."""
        if received != self.received:
            self.received, self._came = received, now
        if status != self._status:
            self._status, self._changed = status, now

    def quiet(self, now: float) -> float:
        """Return the seconds since the last image."""
        return now - self._came

    def hasNews(self, now: float) -> bool:
        """Return True when the status is newer than the last image, and has lasted for NEWS seconds."""
        return self._changed > self._came and now - self._changed >= NEWS


def _folded(events: list[Event]) -> list[list[Event]]:
    """Group equal events, each group at the position of its last event."""
    found: dict[tuple[str, str], list[Event]] = {}
    for event in events:
        key = event.level, event.text
        found[key] = [*found.pop(key, []), event]
    return list(found.values())


def _line(equal: list[Event]) -> str:
    first, last = equal[0], equal[-1]
    level = {"warning": _("Warning: "), "error": _("Error: ")}.get(first.level, "")
    text = f"{_clockTime(first)}  {level}{first.text}"
    if len(equal) == 1:
        return text
    more = str(_("(x {count}, last {time})")).format(count=len(equal), time=_clockTime(last))
    return f"{text} {more}"


def _clockTime(event: Event) -> str:
    return time.strftime("%H:%M:%S", time.localtime(event.time))


def _counted(source: Any) -> str:
    received = sum(one.received for one in source.counts.values())
    shown = sum(one.shown for one in source.counts.values())
    return str(_("({received} received, {shown} shown)").format(received=received, shown=shown))
