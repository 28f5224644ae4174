"""Section of the rebroadcast: the images of all sources go to other programs over OpenIGTLink."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .Section import Section, showOrHide


class BroadcastSection(Section):
    """Switch, port and clients of the rebroadcast."""

    def __init__(self, ui: Any, logic: Any, complain: Callable[[str], None]) -> None:
        super().__init__(ui, logic, complain)
        self.connect(ui.broadcastCheckBox, "toggled(bool)", self._toggled)

    def refresh(self, values: dict[str, Any]) -> None:
        """Show the clients and counts."""
        self.ui.broadcastPortSpinBox.enabled = not self.ui.broadcastCheckBox.checked
        showOrHide(self.ui.broadcastLabel, self.logic.broadcast.words())

    def _toggled(self, on: bool) -> None:
        if not on:
            self.logic.broadcast.stop()
        elif not self.attempt(lambda: self.logic.broadcast.start(self.ui.broadcastPortSpinBox.value)):
            self.check(self.ui.broadcastCheckBox, False)
