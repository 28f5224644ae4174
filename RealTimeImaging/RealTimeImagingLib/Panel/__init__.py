"""The panel. It shows the logic's state, and passes all actions on to the logic."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Any

import qt
from slicer.i18n import tr as _

from ..Model.EventLog import EventLog
from ..Model.Settings import SourceSettings
from .BroadcastSection import BroadcastSection
from .ConvertSection import ConvertSection
from .DevicesSection import DevicesSection
from .EventsSection import EventsSection
from .LiveSection import LiveSection
from .ProcessingSection import ProcessingSection
from .RecordingsSection import RecordingsSection
from .RecordSection import MetadataSection, RecordSection
from .RefreshPace import RefreshPace
from .Section import Complaint, addCopy, makePlain, nameControls, remember, remembered, shrink
from .Shortcuts import FileDrop, Shortcuts
from .SignalsSection import SignalsSection
from .SourceSection import SourceSection
from .StatusBar import StatusBar
from .StatusSection import StatusSection

__all__ = ["Panel"]

QUIET_REFRESH = 1000
"""Milliseconds to the next refresh while no image arrives."""
ALARMS = ("alarm", "stalled", "error")
"""States that the status bar shows while another module is open."""


class Panel:
    """All sections, and the times at which they are refreshed.

    :param ui: the widgets by name (slicer.util.childWidgetVariables).
    :param logic: a RealTimeImagingLogic.
    """

    def __init__(self, ui: Any, logic: Any) -> None:
        self.ui = ui
        """The widgets by their names in the .ui file."""
        self._logic = logic
        self._refreshTimer = qt.QTimer()
        self._refreshTimer.setSingleShot(True)
        self._refreshTimer.connect("timeout()", self.refreshPart)
        self._steps: deque[Iterator[None]] = deque()
        """What is left to do in this refresh; each yields between two pieces of its work."""
        self._showing = False
        """True during a piece of work: a widget that changes then was not changed by the user."""
        self._again = self._asked = False
        """Something changed during this refresh; and the user did it, or a source."""
        self._known: list[object] = []
        """The sources and their states when they changed last."""
        self._soon = False
        """A refresh is due before the quiet one."""
        self._pace = RefreshPace()
        self._painted = qt.QTimer()
        self._painted.setSingleShot(True)
        self._painted.connect("timeout()", self._pace.painted)
        makePlain(vars(ui).values())
        complaint, log = Complaint(ui.sourceComplaintLabel), EventLog()
        self._source = SourceSection(ui, logic, complaint)
        self._metadata = MetadataSection(ui, logic, Complaint(ui.metadataLabel))
        self._events = EventsSection(ui, logic, Complaint(ui.eventsComplaintLabel), log)
        self._status = StatusSection(ui, logic, complaint, self._source, self._source.states, log)
        self._processing = ProcessingSection(ui, logic, Complaint(ui.processingComplaintLabel))
        self._sections = [
            self._source,
            LiveSection(ui, logic, Complaint(ui.liveComplaintLabel)),
            self._processing,
            SignalsSection(ui, logic, Complaint(ui.signalsComplaintLabel)),
            DevicesSection(ui, logic, Complaint(ui.devicesComplaintLabel), self._source),
            BroadcastSection(ui, logic, Complaint(ui.broadcastComplaintLabel)),
            RecordSection(ui, logic, Complaint(ui.recordComplaintLabel), self._metadata.need),
            self._metadata,
            RecordingsSection(ui, logic, Complaint(ui.recordingsComplaintLabel), self._source),
            ConvertSection(ui, logic, Complaint(ui.convertComplaintLabel)),
            self._events,
            self._status,
        ]
        for section in self._sections:
            section.acted.connect(self._acted)
        self._source.edited.connect(self._status.formChanged)
        self._rememberOpenSections()
        for widget in vars(ui).values():
            if widget.inherits("QLabel") and widget.wordWrap:
                addCopy(widget, self._source.connect)
        shrink(vars(ui).values())
        nameControls(vars(ui))
        top = ui.startButton.parent()
        self._shortcuts = Shortcuts(top, vars(ui))
        self._drop = FileDrop(top, self._take)
        self._statusBar = StatusBar(self._barWords)
        logic.changed.connect(self._changed)
        self.refresh()

    def close(self) -> None:
        """Disconnect from the logic and from all widgets."""
        # Sections that close change widgets.
        for section in self._sections:
            section.acted.disconnect(self._acted)
        self._logic.changed.disconnect(self._changed)
        self._refreshTimer.stop()
        self._refreshTimer.disconnect("timeout()", self.refreshPart)
        self._painted.stop()
        self._painted.disconnect("timeout()", self._pace.painted)
        self._steps.clear()
        parts: list[Any] = [*self._sections, self._shortcuts, self._drop, self._statusBar]
        for part in parts:
            part.close()

    def refreshSoon(self) -> None:
        """Refresh within 1.2 s, mostly 0.2 s: a state, or the visible module, may have changed."""
        self._refreshLater(asked=False)

    def refreshNow(self) -> None:
        """Refresh out of turn, within 0.1 s: the user did something, or a source has another state."""
        self._refreshLater(asked=True)

    def _refreshLater(self, asked: bool) -> None:
        if self._steps or self._showing:
            self._again, self._asked = True, self._asked or asked
        elif asked or not self._soon:
            self._soon = True
            self._refreshTimer.start(math.ceil(1000 * self._pace.wait(asked)))

    def settings(self) -> SourceSettings:
        """Return the settings in the form of the chosen source.

        :raises SettingsError: a value that cannot work.
        """
        return self._source.settings()

    def showSettings(self, settings: SourceSettings | None) -> None:
        """Choose the kind of source of the settings, and show them in its form."""
        self._source.showSettings(settings)

    def showScene(self) -> None:
        """Show the settings and metadata of the scene."""
        self.showSettings(self._logic.sceneSettings())
        self._metadata.show()

    def refresh(self) -> None:
        """Show the logic's state now."""
        self._steps.clear()
        self.refreshPart(float("inf"))

    @property
    def refreshing(self) -> bool:
        """True while some sections show the present state and others still the one before."""
        return bool(self._steps)

    def refreshPart(self, seconds: float | None = None) -> None:
        """Begin a refresh, or go on with it, for about so many seconds; the timer calls for the rest.

        :param seconds: None: as long as the pace allows.
        """
        ends = time.perf_counter() + (self._pace.part if seconds is None else seconds)
        self._showing = True
        try:
            if self._steps:
                self._continue()
            else:
                self._begin()
            while self._steps and time.perf_counter() < ends:
                self._continue()
        finally:
            self._showing = False
            self._pace.partEnds()
            self._painted.start(0)
            if self._steps:
                self._refreshTimer.start(0)
            elif self._again:
                asked, self._again, self._asked = self._asked, False, False
                self._refreshLater(asked)

    def _begin(self) -> None:
        self._again = self._asked = self._soon = False
        values = self._logic.statistics()
        self._source.states.update()
        self._steps.extend(section.pieces(values) for section in self._sections)
        self._steps.append(self._end())

    def _continue(self) -> None:
        """Do one piece of work. What fails is not done again."""
        work = self._steps.popleft()
        for _piece in work:
            self._steps.appendleft(work)
            return

    def _end(self) -> Iterator[None]:
        self._refreshTimer.stop()
        waiting = self._statusBar.refresh()
        if self._logic.isRunning() or waiting:  # without images the rate falls
            self._refreshTimer.start(QUIET_REFRESH)
        yield from ()

    def _barWords(self) -> str:
        words: list[str] = []
        if self.ui.startButton.isVisible():
            return ""
        if self._logic.recording.active:
            words.append(_("Recording: {words}").format(words=self.ui.recordingLabel.text))
        if self._status.line.state in ALARMS:
            words.append(self._status.line.text)
        return "  ".join([_("Real-Time Imaging"), *words]) if words else ""

    def _rememberOpenSections(self) -> None:
        for name, widget in vars(self.ui).items():
            if widget.inherits("ctkCollapsibleButton"):
                open_ = remembered(f"Open/{name}", not widget.collapsed)
                widget.collapsed = not open_
                self._source.connect(widget, "contentsCollapsed(bool)", partial(_rememberOpen, name))

    def _take(self, path: str) -> bool:
        return self._processing.take(path) or self._source.take(path)

    def _acted(self) -> None:
        if not self._showing:
            self.refreshNow()

    def _changed(self) -> None:
        self._events.noticeRun()
        known = [self._logic.recording.active, *((one, one.state) for one in self._logic.sources())]
        if known != self._known:
            self._known = known
            self.refreshNow()
        else:
            self.refreshSoon()


def _rememberOpen(name: str, collapsed: bool) -> None:
    remember(f"Open/{name}", not collapsed)
