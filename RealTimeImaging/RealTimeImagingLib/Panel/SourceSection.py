"""Section of the source: its kind, its settings, Start and Stop."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import ctk
import qt
from slicer.i18n import tr as _

from ..Host.RunningSource import RunningSource
from ..Model.Errors import RealTimeImagingError, SettingsError
from ..Model.Quantities import freeName
from ..Model.Settings import SourceSettings
from ..Sources import KINDS, settingsFromJSON
from .Section import Section, remember, remembered
from .SourceForm import SourceForm


class SourceSection(Section):
    """Choice of the kind, the form of the chosen kind, Start, and the simulated scanner."""

    def __init__(self, ui: Any, logic: Any, complain: Callable[[str], None]) -> None:
        super().__init__(ui, logic, complain)
        ui.simulatorInputPathLineEdit.filters = ctk.ctkPathLineEdit.Files
        self._forms: list[SourceForm] = []
        self._addForms()
        self.connect(ui.startButton, "clicked()", self._startOrStop)
        self.connect(ui.tryButton, "clicked()", self._try)
        self.connect(ui.sourceComboBox, "currentIndexChanged(int)", self._sourceChosen)
        # A section that opens shows all its widgets, including hidden ones.
        self.connect(ui.sourceSection, "contentsCollapsed(bool)", self._showRows)
        self.connect(ui.optionsSection, "contentsCollapsed(bool)", self._showRows)
        self.showSettings(logic.sceneSettings() or _remembered())
        ui.simulatorInputPathLineEdit.currentPath = remembered("SimulatorInput")
        self._showRows()

    def _addForms(self) -> None:
        """Add a form for each kind without one: another module may register a kind at any time."""
        known = {form.kind.name for form in self._forms}
        for kind in KINDS.values():
            if kind.name not in known and not kind.fromSlicer:
                self._forms.append(SourceForm(kind, self))
                self.ui.sourceComboBox.addItem(self._forms[-1].title)
        if len(self._forms) > len(known):
            # The row of the simulated scanner, which belongs to no kind, comes last.
            grid = self.ui.optionsSection.layout()
            row = grid.rowCount()
            for column, name in enumerate(("simulatorInputPathLineEditLabel", "simulatorInputPathLineEdit")):
                widget = getattr(self.ui, name)
                grid.removeWidget(widget)
                grid.addWidget(widget, row, column)
            self._setTabOrder()

    def _setTabOrder(self) -> None:
        ui = self.ui
        basic = [widget for form in self._forms for widget in form.widgets(advanced=False)]
        advanced = [widget for form in self._forms for widget in form.widgets(advanced=True)]
        chain = [ui.sourceComboBox, *basic, ui.optionsSection, *advanced, ui.simulatorInputPathLineEdit]
        for before, after in itertools.pairwise(one for widget in chain for one in _focusable(widget)):
            qt.QWidget.setTabOrder(before, after)

    def close(self) -> None:
        """Release all widgets."""
        for form in self._forms:
            form.controls.close()
        super().close()

    def settings(self) -> SourceSettings:
        """Return the settings in the form.

        :raises SettingsError: a value that cannot work.
        """
        return self._chosen.read()

    def showSettings(self, settings: SourceSettings | None) -> None:
        """Show settings in the form of their kind, and choose this kind.

        :param settings: None, or settings of a kind without a form, change nothing.
        """
        for index, form in enumerate(self._forms):
            if settings is not None and form.kind.name == settings.kind:
                form.show(settings)
                self.ui.sourceComboBox.currentIndex = index

    @property
    def forms(self) -> list[SourceForm]:
        """Forms of all kinds, in the order of the list."""
        return list(self._forms)

    def idle(self) -> str:
        """Return an instruction for the chosen kind while no source runs."""
        return self._chosen.idle()

    def origin(self, source: RunningSource) -> str:
        """Return the sender of a running source's images."""
        if self.logic.simulator.isSimulated(source):
            return str(_("the simulated scanner"))
        for form in self._forms:
            if form.kind.name == source.chosenSettings.kind:
                peers = ", ".join(sorted(source.peers))
                return form.sender(source.chosenSettings) or peers or form.title
        return str(_("Python"))

    @property
    def _chosen(self) -> SourceForm:
        return self._forms[int(self.ui.sourceComboBox.currentIndex)]

    def refresh(self, values: dict[str, Any]) -> None:
        """Show Start or Stop of the chosen source, and the state of the controls of all kinds."""
        self._addForms()
        running = self._running()
        self.ui.startButton.text = _("Start") if running is None else _("Stop")
        self._chosen.setRunning(running is not None)
        self.ui.optionsSection.enabled = running is None
        self.ui.tryButton.enabled = not self.logic.isRunning()
        for form in self._forms:
            form.controls.refresh(running if form is self._chosen else None)

    # ---- what the user does

    def _startOrStop(self) -> None:
        running = self._running()
        if running is not None:
            self.logic.stop(running)
        elif self.attempt(self._start):
            remember("Settings", json.dumps(self.settings().withoutSecrets().toJSON()))
            self._chosen.remember()

    def _running(self) -> Any:
        """Return the running source of the chosen kind, or None. The panel starts one source of each kind."""
        kind = self._chosen.kind.name
        sources = [one for one in self.logic.sources() if one.chosenSettings.kind == kind and not one.ended]
        return sources[-1] if sources else None

    def _start(self) -> None:
        settings = self._named(self.settings())
        self._begin(lambda: self.logic.start(settings))

    def _named(self, settings: SourceSettings) -> SourceSettings:
        # Running sources need different names: a further one gets a number.
        active = [one for one in self.logic.sources() if not one.ended and one.state != "stopping"]
        taken = {name for one in active for name in one.streams.values()}
        name = freeName(settings.stream, taken)
        return cast(SourceSettings, replace(cast(Any, settings), stream=name))

    def _try(self) -> None:
        path = self.ui.simulatorInputPathLineEdit.currentPath
        remember("SimulatorInput", path)
        # The simulated scanner is a source of the first kind, so Stop is shown for it.
        self.ui.sourceComboBox.currentIndex = 0
        self.attempt(lambda: self._begin(lambda: self.logic.startSimulatedScanner(path)))

    def _begin(self, start: Callable[[], object]) -> None:
        # The recording starts first, to include the first image.
        recorded = self.ui.recordFromStartCheckBox.checked and not self.logic.recording.active
        if recorded:
            self.logic.startRecording(self.ui.recordingFolderPathLineEdit.currentPath)
        try:
            start()
        except RealTimeImagingError:
            if recorded:
                self.logic.stopRecording()
            raise

    def _sourceChosen(self, *_index: int) -> None:
        self.complain("")
        self._showRows()
        self.refresh({})

    def _showRows(self, *_index: int) -> None:
        for form in self._forms:
            form.setShown(form is self._chosen)


def _focusable(widget: Any) -> list[Any]:
    """Return the widgets that take the keyboard: of a path, its list and its button."""
    if widget.inherits("ctkPathLineEdit"):
        return [*widget.findChildren("QComboBox"), *widget.findChildren("QToolButton")]
    return [widget]


def _remembered() -> SourceSettings | None:
    text = remembered("Settings")
    try:
        return settingsFromJSON(json.loads(text)) if text else None
    except (SettingsError, ValueError) as error:
        logging.warning("The remembered settings of Real-Time Imaging cannot be used: %s", error)
        return None
