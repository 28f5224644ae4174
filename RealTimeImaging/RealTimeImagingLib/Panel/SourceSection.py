"""Where the images come from: the choice of the source, its settings, Start and Stop."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import ctk
import slicer
from slicer.i18n import tr as _

from ..Host.RunningSource import RunningSource
from ..Model.Errors import RealTimeImagingError, SettingsError
from ..Model.Quantities import freeName
from ..Model.Settings import SourceSettings
from ..Sources import settingsFromJSON
from ..Sources.Replay import PACES, ReplaySettings
from .Fields import FIELDS
from .Section import Section, remember, remembered

CHANGEABLE = ("replayPaceComboBox", "replaySpeedSpinBox", "replayRateSpinBox", "replayLoopCheckBox")
"""What can be changed while the source runs."""


class SourceSection(Section):
    """Source, options, Start, the simulated scanner, and the steps of a replay."""

    def __init__(self, ui: Any, logic: Any, complain: Callable[[str], None]) -> None:
        super().__init__(ui, logic, complain)
        for edit in (ui.folderPathLineEdit, ui.dicomFolderPathLineEdit):
            edit.filters = ctk.ctkPathLineEdit.Dirs
        ui.simulatorInputPathLineEdit.filters = ctk.ctkPathLineEdit.Files
        ui.replayFilePathLineEdit.filters = ctk.ctkPathLineEdit.Files
        self._fields = [fields(ui) for fields in FIELDS]
        self._paused = False
        self.connect(ui.startButton, "clicked()", self._startOrStop)
        self.connect(ui.tryButton, "clicked()", self._try)
        self.connect(ui.sourceComboBox, "currentIndexChanged(int)", self._sourceChosen)
        for combo in (ui.linkRoleComboBox, ui.linkEngineComboBox, ui.cameraFoundComboBox):
            self.connect(combo, "currentIndexChanged(int)", self._showRows)
        self.connect(ui.cameraDeviceLineEdit, "textChanged(QString)", self._showRows)
        self.connect(ui.replayPaceComboBox, "currentIndexChanged(int)", self._paceChosen)
        # A section that opens shows all that is in it, also what was hidden while it was closed.
        self.connect(ui.sourceSection, "contentsCollapsed(bool)", self._showRows)
        self.connect(ui.optionsSection, "contentsCollapsed(bool)", self._showRows)
        self.connect(ui.replaySpeedSpinBox, "valueChanged(double)", self._paceChanged)
        self.connect(ui.replayRateSpinBox, "valueChanged(double)", self._paceChanged)
        self.connect(ui.replayLoopCheckBox, "toggled(bool)", self._loopChanged)
        self.connect(ui.pauseButton, "clicked()", self._pauseOrResume)
        self.connect(ui.stepButton, "clicked()", self._stepOn)
        self.connect(ui.stepBackButton, "clicked()", self._stepBack)
        self.connect(ui.httpCopyTokenButton, "clicked()", partial(self._copy, ui.httpTokenLineEdit))
        self.connect(ui.httpCopyCurlButton, "clicked()", partial(self._copy, ui.httpCurlLineEdit))
        self.showSettings(logic.sceneSettings() or _remembered())
        ui.simulatorInputPathLineEdit.currentPath = remembered("SimulatorInput")
        self._showRows()

    def settings(self) -> SourceSettings:
        """What the fields say.

        :raises SettingsError: a field that cannot work.
        """
        made: SourceSettings = self._chosen.read()
        return made

    def showSettings(self, settings: SourceSettings | None) -> None:
        """Fill the fields; None, or a source that the panel does not have, leaves them."""
        for index, fields in enumerate(self._fields):
            if settings is not None and fields.kind == settings.kind:
                fields.show(settings)
                self.ui.sourceComboBox.currentIndex = index

    def idle(self) -> str:
        """Instruction for the chosen source while no source runs."""
        return str(self._chosen.idle())

    def origin(self, handle: RunningSource) -> str:
        """Sender of a running source's images."""
        if self.logic.simulator.isSimulated(handle):
            return str(_("the simulated scanner"))
        found = [fields.origin(handle) for fields in self._fields if fields.isOf(handle.asked)]
        return found[0] if found else str(_("Python"))

    @property
    def _chosen(self) -> Any:
        return self._fields[self.ui.sourceComboBox.currentIndex]

    def refresh(self, values: dict[str, Any]) -> None:
        """Start or Stop of the source that is chosen, and the buttons of a replay that runs."""
        handle = self._running()
        running = handle is not None
        self._chosen.tell(handle.details if running else {})
        self.ui.startButton.text = _("Stop") if running else _("Start")
        for name in (*self._chosen.names, "optionsSection"):
            getattr(self.ui, name).enabled = not running or name in CHANGEABLE
        self.ui.tryButton.enabled = not self.logic.isRunning()
        self._showReplay()

    def _showReplay(self) -> None:
        replaying = self._replaying()
        if not replaying:
            self._paused = False
        self.ui.pauseButton.text = _("Resume") if self._paused else _("Pause")
        for name in ("pauseButton", "stepBackButton", "stepButton"):
            getattr(self.ui, name).visible = bool(replaying)

    # ---- what the user does

    def _startOrStop(self) -> None:
        running = self._running()
        if running is not None:
            self.logic.stop(running)
        elif self.attempt(self._start):
            remember("Settings", json.dumps(self.settings().withoutSecrets().toJSON()))
            self.ui.folderPathLineEdit.addCurrentPathToHistory()
            self.ui.replayFilePathLineEdit.addCurrentPathToHistory()
            self.ui.dicomFolderPathLineEdit.addCurrentPathToHistory()

    def _running(self) -> Any:
        """The handle of the source that is chosen, as far as it runs: of each kind the panel starts one."""
        handles = [one for one in self.logic.sources() if self._chosen.isOf(one.asked) and not one.ended]
        return handles[-1] if handles else None

    def _start(self) -> None:
        settings = self._named(self.settings())
        self._begin(lambda: self.logic.start(settings))

    def _named(self, settings: SourceSettings) -> SourceSettings:
        # Two sources beside one another need two names; nobody has to think of one.
        active = [one for one in self.logic.sources() if not one.ended and one.state != "stopping"]
        taken = {name for one in active for name in one.streams.values()}
        wanted = getattr(settings, "stream", "")
        return replace(settings, stream=freeName(wanted, taken))  # type: ignore[call-arg]

    def _try(self) -> None:
        source = self.ui.simulatorInputPathLineEdit.currentPath
        remember("SimulatorInput", source)
        # What runs then is a folder, which the user can stop.
        self.ui.sourceComboBox.currentIndex = 0
        self.attempt(lambda: self._begin(lambda: self.logic.startSimulatedScanner(source)))

    def _begin(self, start: Callable[[], object]) -> None:
        # From the first image: what is to be recorded is said before.
        recorded = self.ui.recordFromStartCheckBox.checked and not self.logic.recording.active
        if recorded:
            self.logic.startRecording(self.ui.recordingFolderPathLineEdit.currentPath)
        try:
            start()
        except RealTimeImagingError:
            if recorded:
                self.logic.stopRecording()
            raise

    def _replaying(self) -> list[Any]:
        return [one for one in self.logic.sources() if isinstance(one.settings, ReplaySettings) and not one.ended]

    def _send(self, command: str, **values: Any) -> None:
        for handle in self._replaying():
            handle.send(command, **values)

    def _pauseOrResume(self) -> None:
        self._send("resume" if self._paused else "pause")
        self._paused = not self._paused
        self._showReplay()

    def _stepOn(self) -> None:
        self._step(1)

    def _stepBack(self) -> None:
        self._step(-1)

    def _step(self, frames: int) -> None:
        if not self._paused:
            self._pauseOrResume()
        self._send("step", frames=frames)

    def _paceChanged(self, *_value: float) -> None:
        pace = PACES[self.ui.replayPaceComboBox.currentIndex]
        values = {
            "recorded": {"speed": self.ui.replaySpeedSpinBox.value},
            "rate": {"rate": self.ui.replayRateSpinBox.value},
        }
        self._send("pace", **values.get(pace, {"fastest": True}))

    def _loopChanged(self, on: bool) -> None:
        self._send("loop", on=on)

    def _paceChosen(self, *_index: int) -> None:
        self._showRows()
        self._paceChanged()

    def _copy(self, edit: Any) -> None:
        slicer.app.clipboard().setText(edit.text)

    def _sourceChosen(self, *_index: int) -> None:
        self.complain("")
        self._showRows()
        self.refresh({})

    def _showRows(self, *_index: int) -> None:
        wanted = self._chosen.rows()
        for name in {name for fields in self._fields for name in (*fields.names, *fields.options, *fields.told)}:
            for widget in (getattr(self.ui, name), getattr(self.ui, f"{name}Label")):
                widget.visible = name in wanted
        for name in {name for fields in self._fields for name in fields.buttons}:
            getattr(self.ui, name).visible = name in wanted


def _remembered() -> SourceSettings | None:
    text = remembered("Settings")
    try:
        return settingsFromJSON(json.loads(text)) if text else None
    except (SettingsError, ValueError) as error:
        logging.warning("The remembered settings of Real-Time Imaging cannot be used: %s", error)
        return None
