"""The panel. It shows the logic's state, and passes all actions on to the logic."""

from __future__ import annotations

from typing import Any

import qt

from ..Model.Settings import SourceSettings
from .BroadcastSection import BroadcastSection
from .DevicesSection import DevicesSection
from .JobSections import ConvertSection, SaveSection
from .LiveSection import LiveSection
from .RecordSection import MetadataSection, RecordSection
from .Section import Complaint, makePlain
from .SignalsSection import SignalsSection
from .SourceSection import SourceSection
from .StatusSection import StatusSection

__all__ = ["Panel"]

REFRESH = 200
"""Least milliseconds between two refreshes: figures that change faster cannot be read."""
QUIET_REFRESH = 1000
"""Milliseconds to the next refresh while no image arrives."""


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
        self._refreshTimer.connect("timeout()", self.refresh)
        makePlain(vars(ui).values())
        complaint = Complaint(ui.sourceComplaintLabel)
        self._source = SourceSection(ui, logic, complaint)
        self._metadata = MetadataSection(ui, logic, Complaint(ui.metadataLabel))
        self._status = StatusSection(ui, logic, complaint, self._source)
        self._sections = [
            self._source,
            LiveSection(ui, logic, complaint),
            SignalsSection(ui, logic, Complaint(ui.signalsComplaintLabel)),
            DevicesSection(ui, logic, Complaint(ui.devicesComplaintLabel)),
            BroadcastSection(ui, logic, Complaint(ui.broadcastComplaintLabel)),
            RecordSection(ui, logic, Complaint(ui.recordComplaintLabel)),
            self._metadata,
            SaveSection(ui, logic, Complaint(ui.saveComplaintLabel)),
            ConvertSection(ui, logic, Complaint(ui.convertComplaintLabel)),
            self._status,
        ]
        self._source.connect(ui.sourceComboBox, "currentIndexChanged(int)", self._chosen)
        for form in self._source.forms:
            form.onAnyChange(self._chosen)
        logic.changed.connect(self._changed)
        self.refresh()

    def close(self) -> None:
        """Disconnect from the logic and from all widgets."""
        self._refreshTimer.stop()
        self._refreshTimer.disconnect("timeout()", self.refresh)
        for section in self._sections:
            section.close()
        self._logic.changed.disconnect(self._changed)

    def settings(self) -> SourceSettings:
        """Return the settings in the form of the chosen source.

        :raises SettingsError: a value that cannot work.
        """
        return self._source.settings()

    def showScene(self) -> None:
        """Show the settings and metadata of the scene."""
        self._source.showSettings(self._logic.sceneSettings())
        self._metadata.show()

    def refresh(self) -> None:
        """Show the logic's state."""
        values = self._logic.statistics()
        for section in self._sections:
            section.refresh(values)
        if self._logic.isRunning():  # without images the rate falls
            self._refreshTimer.start(QUIET_REFRESH)

    def _chosen(self, *_index: int) -> None:
        self._status.refresh(self._logic.statistics())

    def _changed(self) -> None:
        self._status.noticeRun()
        if not self._refreshTimer.isActive() or self._refreshTimer.interval > REFRESH:
            self._refreshTimer.start(REFRESH)
