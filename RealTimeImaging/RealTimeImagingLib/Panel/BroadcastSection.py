"""Section of the rebroadcast: the images of all sources go to other programs over OpenIGTLink."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from ..Model.Codecs import ENCODERS
from .Section import Section, showOrHide

CODECS = ["", *ENCODERS]
"""Codecs in the order of the list; the first sends images."""


class BroadcastSection(Section):
    """Switch, port, form and clients of the rebroadcast."""

    def __init__(self, ui: Any, logic: Any, complain: Callable[[str], None]) -> None:
        super().__init__(ui, logic, complain)
        for codec in CODECS:
            words = _("{codec} video").format(codec=ENCODERS[codec]) if codec else _("Images (exact)")
            ui.broadcastFormatComboBox.addItem(words)
        self.connect(ui.broadcastCheckBox, "toggled(bool)", self._toggled)
        self.connect(ui.broadcastFormatComboBox, "currentIndexChanged(int)", self._showChoices)
        self._showChoices()

    def refresh(self, values: dict[str, Any]) -> None:
        """Show the clients and counts."""
        for name in ("PortSpinBox", "FormatComboBox", "QualitySpinBox", "KeyFrameSpinBox", "BitRateSpinBox"):
            getattr(self.ui, f"broadcast{name}").enabled = not self.ui.broadcastCheckBox.checked
        showOrHide(self.ui.broadcastLabel, self.logic.broadcast.words())

    def _toggled(self, on: bool) -> None:
        if not on:
            self.logic.broadcast.stop()
        elif not self.attempt(self._start):
            self.check(self.ui.broadcastCheckBox, False)

    def _start(self) -> None:
        ui = self.ui
        self.logic.broadcast.start(
            ui.broadcastPortSpinBox.value,
            codec=CODECS[ui.broadcastFormatComboBox.currentIndex],
            quality=ui.broadcastQualitySpinBox.value,
            keyFrameDistance=ui.broadcastKeyFrameSpinBox.value,
            bitRate=ui.broadcastBitRateSpinBox.value,
        )

    def _showChoices(self, *_index: int) -> None:
        # Only a video has a quality.
        video = self.ui.broadcastFormatComboBox.currentIndex > 0
        for name in ("Quality", "KeyFrame", "BitRate"):
            for kind in ("SpinBoxLabel", "SpinBox"):
                getattr(self.ui, f"broadcast{name}{kind}").setVisible(video)
