"""The panel as a whole: its sections, and when they are refreshed. No decision is made here."""

from __future__ import annotations

from typing import Any

import qt

from ..Model.Settings import SourceSettings
from .ConvertSection import ConvertSection
from .DevicesSection import DevicesSection
from .LiveSection import LiveSection
from .MetadataSection import MetadataSection
from .RecordSection import RecordSection, SaveSection
from .Section import Complaint, makePlain
from .SourceSection import SourceSection
from .StatusSection import StatusSection

REFRESH = 200
"""Milliseconds between two refreshes at the least: figures that change faster cannot be read."""
QUIET_REFRESH = 1000


class Panel:
    """Connects the widgets of RealTimeImaging.ui with the logic.

    :param ui: the widgets by name (slicer.util.childWidgetVariables).
    :param logic: a RealTimeImagingLogic.
    """

    def __init__(self, ui: Any, logic: Any) -> None:
        self.ui = ui
        """The widgets by their names in the .ui file."""
        self._logic = logic
        self._refreshTimer = qt.QTimer()
        self._refreshTimer.setSingleShot(True)
        self._refreshTimer.connect("timeout()", self.refresh)
        makePlain(vars(ui).values())
        complaint = Complaint(ui.sourceComplaintLabel)
        self._source = SourceSection(ui, logic, complaint)
        self._details = MetadataSection(ui, logic, Complaint(ui.metadataLabel))
        self._what = StatusSection(ui, logic, complaint, self._source)
        self._sections = [
            self._source,
            LiveSection(ui, logic, complaint),
            DevicesSection(ui, logic, Complaint(ui.devicesComplaintLabel)),
            RecordSection(ui, logic, Complaint(ui.recordComplaintLabel)),
            self._details,
            SaveSection(ui, logic, Complaint(ui.saveComplaintLabel)),
            ConvertSection(ui, logic, Complaint(ui.convertComplaintLabel)),
            self._what,
        ]
        self._source.connect(ui.sourceComboBox, "currentIndexChanged(int)", self._chosen)
        for form in self._source.forms:
            form.onAnyChange(self._chosen)
        logic.changed.connect(self._changed)
        self.refresh()

    def close(self) -> None:
        """Let go of the logic and of all widgets."""
        self._refreshTimer.stop()
        self._refreshTimer.disconnect("timeout()", self.refresh)
        for section in self._sections:
            section.close()
        self._logic.changed.disconnect(self._changed)

    def settings(self) -> SourceSettings:
        """What the panel's fields say.

        :raises SettingsError: a field that cannot work.
        """
        return self._source.settings()

    def showScene(self) -> None:
        """Fill the fields with what the scene brought."""
        self._source.showSettings(self._logic.sceneSettings())
        self._details.show()

    def refresh(self) -> None:
        """Show the logic's state, counts and last event."""
        values = self._logic.statistics()
        for section in self._sections:
            section.refresh(values)
        if self._logic.isRunning():  # the rate falls when nothing comes
            self._refreshTimer.start(QUIET_REFRESH)

    def _chosen(self, *_index: int) -> None:
        self._what.refresh(self._logic.statistics())

    def _changed(self) -> None:
        self._what.noticeRun()
        if not self._refreshTimer.isActive() or self._refreshTimer.interval > REFRESH:
            self._refreshTimer.start(REFRESH)
