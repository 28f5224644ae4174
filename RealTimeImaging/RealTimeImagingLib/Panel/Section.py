"""What the sections of the panel have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

from ..Errors import MissingPackageError, RealTimeImagingError


class Section:
    """A part of the panel.

    :param ui: the widgets by name (slicer.util.childWidgetVariables).
    :param logic: a RealTimeImagingLogic.
    :param complain: shows beside the section's controls, until the next action, why something is not possible.
    """

    def __init__(self, ui: Any, logic: Any, complain: Callable[[str], None]) -> None:
        self.ui, self.logic, self.complain = ui, logic, complain
        self._connections: list[tuple[Any, str, Callable[..., None]]] = []

    def connect(self, sender: Any, signal: str, slot: Callable[..., None]) -> None:
        """Connect until :meth:`close`. A click also hides the reason why the last action was not possible."""
        for receiver in (self._takeBack, slot) if signal == "clicked()" else (slot,):
            sender.connect(signal, receiver)
            self._connections.append((sender, signal, receiver))

    def _takeBack(self) -> None:
        self.complain("")

    def close(self) -> None:
        """Let go of all widgets."""
        for sender, signal, slot in self._connections:
            sender.disconnect(signal, slot)
        self._connections = []

    def refresh(self, values: dict[str, Any]) -> None:
        """Show the logic's state.

        :param values: logic.statistics().
        """

    def attempt(self, action: Callable[[], object]) -> bool:
        """Do what the user asked for; False when it cannot be, which is said in words.

        When Python packages are missing, the user is asked once whether they may be installed.
        """
        self._takeBack()
        try:
            try:
                action()
            except MissingPackageError as error:
                self.logic.installPackages(error.requirements)
                action()
        except RealTimeImagingError as error:
            self.complain(str(error))
            return False
        return True


def remembered(key: str, default: Any = "") -> Any:
    """A value from Slicer's settings."""
    found = slicer.app.userSettings().value(f"RealTimeImaging/{key}", default)
    return default if found is None else found


def remember(key: str, value: Any) -> None:
    """Keep a value in Slicer's settings."""
    slicer.app.userSettings().setValue(f"RealTimeImaging/{key}", value)
