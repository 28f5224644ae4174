"""What is happening: state, counts, rate, delay, events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from .Section import Section

EVENTS_SHOWN = 100


class WhatSection(Section):
    """Words and figures."""

    def __init__(self, ui: Any, logic: Any, complain: Callable[[str], None]) -> None:
        super().__init__(ui, logic, complain)
        self._eventShown: Any = None

    def refresh(self, values: dict[str, Any]) -> None:
        """Show state, counts and events."""
        ui = self.ui
        self._showStatus(values["lastEvent"])
        ui.framesLabel.text = _("{received} received, {shown} shown, {skipped} skipped, {rejected} rejected").format(
            **values
        )
        ui.rateLabel.text = _("{fps} each second").format(fps=values["fps"]) if values["shown"] else "-"
        latency = values["latencyMs"]
        if latency["median"] is None:
            ui.latencyLabel.text = "-"
        else:
            ui.latencyLabel.text = _("mostly {median:.0f} ms, seldom above {p95:.0f} ms").format(**latency)
        ui.lastEventLabel.text = values["lastEvent"] or "-"
        self._showEvents()

    def complainHere(self, text: str) -> None:
        """Say in red why something cannot be done."""
        self.ui.statusLabel.text = text
        self.ui.statusLabel.setStyleSheet("color: red")

    def _showStatus(self, lastEvent: str) -> None:
        sources = self.logic.sources()
        active = [source for source in sources if not source.ended]
        failed = any(source.state == "failed" for source in sources)
        if active:
            texts = [_("Stopping.") if source.state == "stopping" else source.status for source in active]
            if len(active) > 1:
                texts = [f"{text} {_counted(source)}" for text, source in zip(texts, active, strict=True)]
        elif self.logic.isRunning():
            texts = [_("Stopping.")]
        elif failed:
            texts = [lastEvent]
        elif sources:
            texts = [_("Stopped.")]
        else:
            texts = [_("Choose a folder and press Start, or try with a simulated scanner.")]
        self.ui.statusLabel.text = "\n".join(texts)
        self.ui.statusLabel.setStyleSheet("color: red" if failed and not active else "")

    def _showEvents(self) -> None:
        events = self.logic.events()
        if events and events[-1] is not self._eventShown:
            self._eventShown = events[-1]
            self.ui.eventsList.clear()
            for event in reversed(events[-EVENTS_SHOWN:]):
                item = qt.QListWidgetItem(event.text)
                item.setToolTip(event.text)
                self.ui.eventsList.addItem(item)


def _counted(source: Any) -> str:
    received = sum(one.received for one in source.counts.values())
    shown = sum(one.shown for one in source.counts.values())
    return str(_("({received} received, {shown} shown)").format(received=received, shown=shown))
