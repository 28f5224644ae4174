"""The status line on top of the panel, and the section of figures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from typing import Any

import qt
from slicer.i18n import tr as _

from ..Host.RunningSource import RunningSource
from ..Model.Event import Remedy
from ..Model.EventLog import EventLog
from ..Model.Packages import titleOf
from ..Model.Quantities import rateText
from ..Scene.Views import NO_VIEW
from .Alarm import Alarm
from .EventsSection import eventLine
from .Section import SYMBOLS, Section, remember, remembered, setTip, show, stateColour, translated
from .SourceSection import SourceSection
from .SourceStates import URGENCY, SourceStates, stateWords

MOST_ALARMS = 2
"""Most values beyond their limits that the status line names."""
LINES = 2
"""Lines for the sentence, so that the buttons below it stay in their place."""


@dataclass(frozen=True)
class Offer:
    """Button that mends a state.

    :param label: its text.
    :param tip: what it does.
    :param act: mends the state.
    """

    label: str
    tip: str
    act: Callable[[], object]


@dataclass(frozen=True)
class Line:
    """State of all sources for the user.

    :param state: one of URGENCY.
    :param text: a sentence.
    :param offers: at most two, the better one first.
    """

    state: str
    text: str
    offers: tuple[Offer, ...] = ()


class StatusSection(Section):
    """Status line with the button that mends the state; counts, rate, delay and the last event.

    :param sources: starts sources.
    :param states: states of all sources.
    :param log: events of this run.
    """

    def __init__(
        self,
        ui: Any,
        logic: Any,
        complain: Callable[[str], None],
        sources: SourceSection,
        states: SourceStates,
        log: EventLog,
    ) -> None:
        super().__init__(ui, logic, complain)
        self._sources, self._states, self._log = sources, states, log
        self._alarm = Alarm(time.monotonic, qt.QApplication.beep)
        self._changedAfter: RunningSource | None = None
        """The newest source when the form was changed last, while no source ran."""
        self.line = Line("idle", "")
        """What the status line shows."""
        # With some fonts, lines are higher than the distance between them.
        ui.statusLabel.setMinimumHeight(ui.statusLabel.fontMetrics().size(0, "\n".join("X" * LINES)).height())
        self._buttons = (ui.remedyButton, ui.otherRemedyButton)
        for place, button in enumerate(self._buttons):
            button.visible = False
            self.connect(button, "clicked()", partial(self._mend, place))
        ui.stallSoundCheckBox.checked = remembered("StallSound", False)
        self.connect(ui.stallSoundCheckBox, "toggled(bool)", partial(remember, "StallSound"))

    def pieces(self, values: dict[str, Any]) -> Iterator[None]:
        """Show the state, then the counts and the last event."""
        self.refreshLine()
        yield
        ui = self.ui
        frames = _("{received} received, {shown} shown, {skipped} skipped, {rejected} rejected").format(**values)
        show(ui.framesLabel, frames)
        rate = rateText(sum(one.rate for one in self._states.of.values()))
        show(ui.rateLabel, _("{rate} images/s").format(rate=rate) if values["shown"] else "-")
        latency = values["latencyMs"]
        delay = "-"
        if latency["median"] is not None:
            delay = _("{median:.0f} ms (median), {p95:.0f} ms (95 %)").format(**latency)
        show(ui.latencyLabel, delay, tip=_stagesText(values["stageMs"]))
        lost = {stream for stream, stall in self.logic.stalls().items() if stall.stalled}
        beyond = {f"{stream}: {name}" for stream, name in self.logic.signals.alarms()}
        self._alarm.look(lost | beyond, ui.stallSoundCheckBox.checked)
        last = self._log.newest(1)
        show(ui.lastEventLabel, eventLine(last[0]) if last else "-", bool(last) and last[0].last.level != "info")

    def formChanged(self) -> None:
        """Show what to do next with the chosen kind of source, unless a source runs."""
        if not self.logic.isRunning():
            self._changedAfter = next(reversed(self.logic.sources()), None)
        self.refreshLine()

    def refreshLine(self) -> None:
        """Show the state of all sources."""
        ui, line = self.ui, self._line()
        alarms = list(self.logic.signals.alarms().values())
        if alarms and self.logic.isRunning() and URGENCY.index(line.state) < URGENCY.index("alarm"):
            line = Line("alarm", "  ".join(map(translated, alarms[:MOST_ALARMS])))
        self.line = line
        show(ui.statusLabel, line.text, colour=stateColour(ui.statusLabel, line.state) if line.state != "idle" else "")
        show(ui.statusSymbolLabel, SYMBOLS[line.state], colour=stateColour(ui.statusSymbolLabel, line.state))
        ui.statusSymbolLabel.setAccessibleName(stateWords(line.state))
        for button, offer in zip_longest(self._buttons, line.offers):
            if offer:
                button.text = translated(offer.label)
                setTip(button, offer.tip)
            button.visible = offer is not None

    def _line(self) -> Line:
        # A function has its state in the section Processing, unless it cannot work or a button mends it.
        states = {
            one: state
            for one, state in self._states.of.items()
            if one.fedBy is None or state.name == "error" or state.remedy is not None
        }
        missing = self._sources.missing
        if missing:
            packages = ", ".join(map(titleOf, missing.requirements))
            label = _("Install {packages}").format(packages=packages)
            tip = _("Ask, install this package into Slicer, and start the source.")
            text = _("{packages} is not installed.").format(packages=packages)
            return Line("error", text, (Offer(label, tip, self._sources.installMissing),))
        if not states:
            if self.logic.isRunning():
                return Line("waiting", _("Stopping."))
            newest = next(reversed(self.logic.sources()), None)
            return Line("idle", self._sources.idle() if newest is self._changedAfter else _("Stopped."))
        # Of equally urgent states, one that a button mends.
        source, state = max(states.items(), key=lambda one: (URGENCY.index(one[1].name), one[1].remedy is not None))
        text = state.text
        if len(states) > 1 and state.name == "receiving":
            rate = rateText(sum(one.rate for one in states.values()))
            text = _("Receiving {rate} images/s from {count} sources.").format(rate=rate, count=len(states))
        elif len(states) > 1:
            text = _("{name}: {text}").format(name=source.settings.stream, text=text)
        if state.remedy:
            return Line(state.name, text, self._restarts(source, state.remedy))
        line = Line(state.name, text)
        return self._concern(line) if state.name in ("receiving", "waiting") else line

    def _restarts(self, source: RunningSource, remedy: Remedy | None) -> tuple[Offer, ...]:
        """Return the offers to start a source again: the remedy, and the other one that it names."""
        if remedy is None:
            return ()
        tip = _("Start this source again with other settings.")
        first = Offer(remedy.label, tip, lambda: self._sources.restart(source, remedy))
        return (first, *self._restarts(source, remedy.other))

    def _concern(self, line: Line) -> Line:
        """Return the reason why the images that came cannot be seen, or the line when they can."""
        for source in self._states.of:
            for stream in source.counts:
                if source.fedBy and self.logic.volumes.where(stream) == NO_VIEW:
                    continue  # as the user chose: values are enough, or the views show the source
                if found := self.logic.views.concern(stream):
                    state, text = "slow", translated(found.text)
                    if line.state == "waiting":
                        state, text = line.state, _("{status} {more}").format(status=line.text, more=text)
                    tip = _("Change the views, so that it is seen.")
                    offers = (Offer(found.label, tip, found.act),) if found.label else ()
                    return Line(state, text, offers)
        return line

    def _mend(self, place: int) -> None:
        if place < len(self.line.offers):
            self.attempt(self.line.offers[place].act)
        # A second click must not mend the same state again.
        self._states.update()
        self.refreshLine()


def _stagesText(stages: Mapping[str, Mapping[str, float | None]]) -> str:
    """Return a line for each stage of a frame; empty before the first frame."""
    names = {
        "complete": _("Until all bytes are there"),
        "decoded": _("Decoding"),
        "stored": _("Recording"),
        "handedOver": _("Handing over to Slicer"),
        "copied": _("Copying into the volume"),
        "total": _("All together"),
    }
    line = _("{stage}: {median:.1f} ms (median), {p95:.1f} ms (95 %), {max:.1f} ms (longest)")
    return "\n".join(line.format(stage=names[stage], **values) for stage, values in stages.items())
