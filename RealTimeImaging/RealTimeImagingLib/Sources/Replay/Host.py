"""Slicer's side of a replay: commands while it runs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from slicer.i18n import tr as _

from ..Source import SourceControls
from . import ReplaySettings

PATIENCE = 1.0
"""Most seconds until a replay has obeyed a command: it may open or read a file."""


class ReplayControls(SourceControls):
    """Pause, the previous and the next image, the position, and changes of pace and loop while the replay runs."""

    def __init__(self, form: Any, section: Any) -> None:
        super().__init__(form, section)
        self._paused = self._ended = self._showing = False
        self._request, self._awaited = 0, 0.0
        """Number of the last command, and the time (monotonic seconds) until which positions without it are old."""
        ui = section.ui
        section.connect(ui.pauseButton, "clicked()", self._pauseOrResume)
        section.connect(ui.stepButton, "clicked()", self._stepOn)
        section.connect(ui.stepBackButton, "clicked()", self._stepBack)
        section.connect(ui.replaySlider, "valueChanged(int)", self._seek)
        for name in ("pace", "speed", "rate"):
            form.onChange(name, self._paceChanged)
        form.onChange("loop", self._loopChanged)

    def refresh(self, running: Any) -> None:
        """Show the buttons and the position while a replay runs, whatever source the panel shows."""
        replaying = self._replaying()
        ui, position = self.section.ui, self._position
        current = position.get("request") == self._request or time.monotonic() >= self._awaited
        if current:
            self._paused, self._ended = bool(position.get("paused")), bool(position.get("ended"))
        ui.pauseButton.text = _("Play again") if self._ended else _("Resume") if self._paused else _("Pause")
        for button in (ui.pauseButton, ui.stepBackButton, ui.stepButton):
            button.visible = bool(replaying)
        for widget in (ui.replaySlider, ui.replayPositionLabel):
            widget.visible = bool(position)
        if not position:
            self._release()
        elif current:
            self._showPosition(position)

    def _release(self) -> None:
        """Let go of a slider that is hidden: Qt does not report that the mouse was released."""
        self._showing = True
        self.section.ui.replaySlider.sliderDown = False
        self._showing = False

    def _showPosition(self, position: Mapping[str, Any]) -> None:
        ui, count = self.section.ui, position["count"]
        if not ui.replaySlider.sliderDown:
            self._showing = True
            ui.replaySlider.maximum = count - 1
            ui.replaySlider.pageStep = max(1, count // 10)
            ui.replaySlider.value = position["frame"]
            self._showing = False
        text = _("Image {number} of {count}").format(number=position["frame"] + 1, count=count)
        if position["duration"] is not None:
            passed, length = _minutes(position["seconds"]), _minutes(position["duration"])
            text = _("{text}, {passed} of {length}").format(text=text, passed=passed, length=length)
        ui.replayPositionLabel.text = text

    def _replaying(self) -> list[Any]:
        return [
            one for one in self.section.logic.sources() if one.settings.kind == ReplaySettings.kind and not one.ended
        ]

    @property
    def _position(self) -> Mapping[str, Any]:
        """Position of the replay that was started last; empty without one."""
        replaying = self._replaying()
        return replaying[-1].details if replaying else {}

    def _send(self, sources: Sequence[Any], command: str, **values: Any) -> None:
        """Send a command to replays; until it is obeyed, their positions are those before it."""
        self._request, self._awaited = self._request + 1, time.monotonic() + PATIENCE
        for source in sources:
            source.send(command, request=self._request, **values)

    def _pauseOrResume(self) -> None:
        again = self._paused or self._ended
        self._send(self._replaying(), "resume" if again else "pause")
        self._paused, self._ended = not again, False
        self.refresh(None)

    def _stepOn(self) -> None:
        self._step(1)

    def _stepBack(self) -> None:
        self._step(-1)

    def _step(self, frames: int) -> None:
        self._paused, self._ended = True, False
        self._send(self._replaying(), "step", frames=frames)
        self.refresh(None)

    def _seek(self, frame: int) -> None:
        if not self._showing:
            self._send(self._replaying()[-1:], "seek", frame=frame)

    def _paceChanged(self) -> None:
        pace = self.form.value("pace")
        name = {"recorded": "speed", "rate": "rate"}.get(pace)
        self._send(self._replaying(), "pace", **({name: self.form.value(name)} if name else {"fastest": True}))

    def _loopChanged(self) -> None:
        self._send(self._replaying(), "loop", on=self.form.value("loop"))


def _minutes(seconds: float) -> str:
    """Return minutes and seconds, such as "0:07.5"."""
    tenths = round(10 * seconds)
    return f"{tenths // 600}:{tenths % 600 / 10:04.1f}"
