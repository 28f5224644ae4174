"""Slicer's side of a replay: commands while it runs."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from ..Source import SourceControls
from . import ReplaySettings


class ReplayControls(SourceControls):
    """Pause, the previous and the next image, and changes of pace and loop while the replay runs."""

    def __init__(self, form: Any, section: Any) -> None:
        super().__init__(form, section)
        self._paused = False
        ui = section.ui
        section.connect(ui.pauseButton, "clicked()", self._pauseOrResume)
        section.connect(ui.stepButton, "clicked()", self._stepOn)
        section.connect(ui.stepBackButton, "clicked()", self._stepBack)
        for name in ("pace", "speed", "rate"):
            form.onChange(name, self._paceChanged)
        form.onChange("loop", self._loopChanged)

    def refresh(self, running: Any) -> None:
        """Show the buttons while a replay runs, whatever source the panel shows."""
        replaying = self._replaying()
        self._paused = self._paused and bool(replaying)
        ui = self.section.ui
        ui.pauseButton.text = _("Resume") if self._paused else _("Pause")
        for button in (ui.pauseButton, ui.stepBackButton, ui.stepButton):
            button.visible = bool(replaying)

    def _replaying(self) -> list[Any]:
        return [
            one for one in self.section.logic.sources() if one.settings.kind == ReplaySettings.kind and not one.ended
        ]

    def _send(self, command: str, **values: Any) -> None:
        for source in self._replaying():
            source.send(command, **values)

    def _pauseOrResume(self) -> None:
        self._send("resume" if self._paused else "pause")
        self._paused = not self._paused
        self.refresh(None)

    def _stepOn(self) -> None:
        self._step(1)

    def _stepBack(self) -> None:
        self._step(-1)

    def _step(self, frames: int) -> None:
        if not self._paused:
            self._pauseOrResume()
        self._send("step", frames=frames)

    def _paceChanged(self) -> None:
        pace = self.form.value("pace")
        name = {"recorded": "speed", "rate": "rate"}.get(pace)
        self._send("pace", **({name: self.form.value(name)} if name else {"fastest": True}))

    def _loopChanged(self) -> None:
        self._send("loop", on=self.form.value("loop"))
