"""The fields of a file that is replayed."""

from __future__ import annotations

import os

from slicer.i18n import tr as _

from ...Host.RunningSource import RunningSource
from ...Sources.Replay import PACES, ReplaySettings
from .SourceFields import SourceFields


class ReplayFields(SourceFields[ReplaySettings]):
    """A file that is replayed."""

    kind = ReplaySettings.kind
    names = (
        "replayFilePathLineEdit",
        "replayPaceComboBox",
        "replayLoopCheckBox",
        "replaySpeedSpinBox",
        "replayRateSpinBox",
    )
    options = ("streamLineEdit",)

    def idle(self) -> str:
        """Instruction while no source runs."""
        return str(_("Choose a recording or file and press Start."))

    def origin(self, handle: RunningSource) -> str:
        """The name of the file."""
        return os.path.basename(str(getattr(handle.asked, "file", "")))

    def read(self) -> ReplaySettings:
        """What the fields say."""
        ui = self.ui
        return ReplaySettings(
            file=ui.replayFilePathLineEdit.currentPath,
            pace=PACES[ui.replayPaceComboBox.currentIndex],
            speed=ui.replaySpeedSpinBox.value,
            rate=ui.replayRateSpinBox.value,
            loop=ui.replayLoopCheckBox.checked,
            stream=ui.streamLineEdit.text,
        )

    def show(self, settings: ReplaySettings) -> None:
        """Fill the fields."""
        ui = self.ui
        ui.replayFilePathLineEdit.currentPath = settings.file
        ui.replayPaceComboBox.currentIndex = PACES.index(settings.pace)
        ui.replaySpeedSpinBox.value = settings.speed
        ui.replayRateSpinBox.value = settings.rate
        ui.replayLoopCheckBox.checked = settings.loop
        ui.streamLineEdit.text = settings.stream

    def rows(self) -> set[str]:
        """Of speed and rate, the one that the pace has."""
        pace = PACES[self.ui.replayPaceComboBox.currentIndex]
        unused = {"recorded": "replayRateSpinBox", "rate": "replaySpeedSpinBox"}
        hidden = {unused[pace]} if pace in unused else set(unused.values())
        return super().rows() - hidden
