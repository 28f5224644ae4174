"""Section of the sources: a row for each running one, and the form that starts another."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

import ctk
import qt
from slicer.i18n import tr as _

from ..Host.RunningSource import RunningSource
from ..Model.Errors import MissingPackageError, RealTimeImagingError, SettingsError
from ..Model.Event import Remedy
from ..Model.Files import parsedJSON
from ..Model.Quantities import freeName
from ..Model.Settings import SourceSettings, settingFields
from ..Model.Signal import Signal
from ..Sources import KINDS, SourceKind, kindOf, settingsFromJSON
from .Section import Section, moveToEnd, remember, remembered, translated
from .SourceForm import SourceForm
from .SourcesTable import SourcesTable
from .SourceStates import SourceStates


class SourceSection(Section):
    """Rows of the running sources, choice of the kind, the form of the chosen kind, and Start.

    Start on top of the panel starts the first source, and stops all. While a source runs, a button below the form
    starts another.
    """

    def __init__(self, ui: Any, logic: Any, complain: Callable[[str], None]) -> None:
        super().__init__(ui, logic, complain)
        ui.simulatorInputPathLineEdit.filters = ctk.ctkPathLineEdit.Files
        self.states = SourceStates(logic, self.origin)
        """States of all sources."""
        self.missing: MissingPackageError | None = None
        """Packages without which the last start was not possible; None after the next action."""
        self._table = SourcesTable(ui.sourcesTable, self.states, self.connect, logic.stop)
        self.edited: Signal[[]] = Signal()
        """Emitted when another kind is chosen, or a setting in a form has changed."""
        self._kinds: list[SourceKind] = []
        self._forms: dict[str, SourceForm] = {}
        self._addKinds()
        self.connect(ui.startButton, "clicked()", self.startOrStop)
        self.connect(ui.addButton, "clicked()", self._add)
        self.connect(ui.tryButton, "clicked()", self._try)
        self.connect(ui.sourceComboBox, "currentIndexChanged(int)", self._sourceChosen)
        self.connect(ui.sourceComboBox, "activated(int)", self._rememberKind)
        # A section that opens shows all its widgets, including hidden ones.
        self.connect(ui.sourceSection, "contentsCollapsed(bool)", self._showRows)
        self.connect(ui.optionsSection, "contentsCollapsed(bool)", self._showRows)
        self._choose(remembered("Kind"))
        self.showSettings(logic.sceneSettings())
        ui.simulatorInputPathLineEdit.currentPath = remembered("SimulatorInput")
        self._showRows()

    def _addKinds(self) -> None:
        """List each kind that is not in the list: another module may register one at any time."""
        places = {kind.name: place for place, kind in enumerate(self._kinds)}
        for kind in KINDS.values():
            place = places.get(kind.name)
            if place is None and kind.listed:
                self._kinds.append(kind)
                self.ui.sourceComboBox.addItem(translated(kind.title))
            elif place is not None and self._kinds[place] != kind:
                self._replaceKind(place, kind)

    def _replaceKind(self, place: int, kind: SourceKind) -> None:
        """Show a kind that was registered again, with the values in its form: its developer loaded its module again."""
        self._kinds[place] = kind
        self.ui.sourceComboBox.setItemText(place, translated(kind.title))
        before = self._forms.pop(kind.name, None)
        if before is None:
            return
        before.setShown(False)
        before.controls.close()
        try:
            names = {"kind", *(field.name for field in settingFields(kind.settings))}
            values = {name: value for name, value in before.read().toJSON().items() if name in names}
            self.formOf(kind).show(settingsFromJSON(values))
        except SettingsError:
            pass  # the form has the values of the last start
        self._showRows()
        self.edited.emit()

    def formOf(self, kind: SourceKind) -> SourceForm:
        """Return the form of a kind in the list, which is made when it is first needed."""
        form = self._forms.get(kind.name)
        if form is None:
            form = self._forms[kind.name] = SourceForm(kind, self)
            form.show(_remembered(kind.name))
            form.setShown(False)
            form.onAnyChange(self.edited.emit)
            # The row of the simulated scanner, which belongs to no kind, comes last.
            ui = self.ui
            moveToEnd(ui.optionsSection.layout(), ui.simulatorInputPathLineEditLabel, ui.simulatorInputPathLineEdit)
            self._setTabOrder()
        return form

    def _setTabOrder(self) -> None:
        ui = self.ui
        basic = [widget for form in self._forms.values() for widget in form.widgets(advanced=False)]
        advanced = [widget for form in self._forms.values() for widget in form.widgets(advanced=True)]
        chain = [ui.sourceComboBox, *basic, ui.addButton, ui.optionsSection, *advanced, ui.simulatorInputPathLineEdit]
        for before, after in itertools.pairwise(one for widget in chain for one in _focusable(widget)):
            qt.QWidget.setTabOrder(before, after)

    def close(self) -> None:
        """Release all widgets."""
        for form in self._forms.values():
            form.controls.close()
        super().close()

    def settings(self) -> SourceSettings:
        """Return the settings in the form.

        :raises SettingsError: a value that cannot work.
        """
        return cast(SourceSettings, self._chosen.read())

    def showSettings(self, settings: SourceSettings | None) -> None:
        """Show settings in the form of their kind, and choose this kind.

        :param settings: None, or settings of a kind without a form, change nothing.
        """
        for kind in self._kinds:
            if settings is not None and kind.name == settings.kind:
                self.formOf(kind).show(settings)
                self._choose(kind.name)

    def _choose(self, name: str) -> None:
        for index, kind in enumerate(self._kinds):
            if kind.name == name:
                self.ui.sourceComboBox.currentIndex = index

    def idle(self) -> str:
        """Return an instruction for the chosen kind while no source runs."""
        return self._chosen.idle()

    def origin(self, source: RunningSource) -> str:
        """Return the sender of a running source's images."""
        if self.logic.simulator.isSimulated(source):
            return str(_("the simulated scanner"))
        kind = kindOf(source.chosenSettings)
        if sender := translated(kind.sender(source.chosenSettings)):
            return sender
        if kind.listed:
            return ", ".join(sorted(source.peers)) or translated(kind.title)
        return str(_("Python"))

    @property
    def _chosen(self) -> SourceForm:
        return self.formOf(self._kinds[int(self.ui.sourceComboBox.currentIndex)])

    def pieces(self, values: dict[str, Any]) -> Iterator[None]:
        """Show the rows of the running sources, then Start or Stop and the controls of all kinds."""
        self._addKinds()
        self._table.refresh()
        yield
        running, ui = list(self.states.running), self.ui
        several = len(running) > 1
        ui.startButton.text = _("Stop all") if several else _("Stop") if running else _("Start")
        ui.tryButton.enabled = not self.logic.isRunning()
        ui.sourceComboBoxLabel.text = _("Add a source:") if running else _("Source:")
        self._showAdd()
        active = {one.chosenSettings.kind for one in running}
        for kind in self._kinds:
            if kind.name in active:
                self.formOf(kind)  # its controls, such as those of a replay, are there whatever kind is chosen
        for form in self._forms.values():
            form.controls.refresh(self._shown(form, running))

    def _shown(self, form: SourceForm, running: list[RunningSource]) -> RunningSource | None:
        """Return the source whose details the form shows: the selected row, or else the latest of its kind."""
        own = [one for one in running if form is self._chosen and one.chosenSettings.kind == form.kind.name]
        selected = self._table.selected
        return selected if selected in own else own[-1] if own else None

    # ---- what the user does

    def startOrStop(self) -> None:
        """Start the source of the form, or stop all sources when one runs."""
        if any(not one.ended for one in self.logic.sources()):
            self.missing = None
            self.logic.stop()
        else:
            self._chosen.askForPath()
            self._add()

    def _add(self) -> None:
        """Start the source of the form beside those that run."""
        form = self._chosen
        if self._attemptStart(self._start):
            self._keep(form)

    def _keep(self, form: SourceForm) -> None:
        remember(f"Settings/{form.kind.name}", json.dumps(form.read().withoutSecrets().toJSON()))
        self._rememberKind()
        form.remember()

    def _rememberKind(self, *_index: int) -> None:
        """Choose the kind of the form at the next start of Slicer, too."""
        remember("Kind", self._chosen.kind.name)

    def installMissing(self) -> None:
        """Install the packages without which the last start was not possible, and start."""
        self._add()

    def restart(self, source: RunningSource, remedy: Remedy) -> None:
        """Start a source again with the settings of a remedy.

        A form with the settings of this source shows the new ones, too. A form with others, such as those of the next
        source, stays.
        """
        kinds = [kind for kind in self._kinds if kind.name == source.chosenSettings.kind]
        forms = [form for form in map(self.formOf, kinds) if _hasSettings(form, source)]
        if self._attemptStart(lambda: self.logic.restart(source, **remedy.settings)):
            for form in forms:
                form.show(settingsFromJSON({**form.read().toJSON(), **remedy.settings}))
                self._keep(form)

    def _attemptStart(self, action: Callable[[], object]) -> bool:
        self.missing = None

        def start() -> None:
            try:
                action()
            except MissingPackageError as error:
                self.missing = error
                raise
            self.missing = None

        return self.attempt(start)

    def _start(self) -> None:
        settings = self.named(self.settings())
        self._begin(lambda: self.logic.start(settings))

    def named(self, settings: SourceSettings) -> SourceSettings:
        """Return settings with a free name of the stream: a further source of the same name gets a number."""
        active = [one for one in self.logic.sources() if not one.ended and one.state != "stopping"]
        taken = {name for one in active for name in one.streams.values()}
        name = freeName(settings.stream, taken)
        return cast(SourceSettings, replace(cast(Any, settings), stream=name))

    def _try(self) -> None:
        path = self.ui.simulatorInputPathLineEdit.currentPath
        remember("SimulatorInput", path)
        self._attemptStart(lambda: self._begin(lambda: self.logic.startSimulatedScanner(path)))

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

    def take(self, path: str) -> bool:
        """Choose the kind for a folder or file that the user dropped, and fill its form.

        :returns: False when no kind takes it.
        """
        # The folder comes first in the list, and takes what no other kind takes.
        for kind in reversed(self._kinds):
            values = kind.dropped(path)
            if values is not None:
                self._choose(kind.name)
                self._rememberKind()
                for name, value in values.items():
                    self.formOf(kind).set(name, value)
                self.ui.sourceSection.collapsed = False
                return True
        return False

    def _sourceChosen(self, *_index: int) -> None:
        self.complain("")
        self.missing = None
        self._showRows()
        self.showNow({})
        self.edited.emit()

    def _showRows(self, *_index: int) -> None:
        chosen = self._chosen
        for form in self._forms.values():
            form.setShown(form is chosen)
        self._showAdd()

    def _showAdd(self) -> None:
        self.ui.addButton.visible = bool(self.states.running)


def _focusable(widget: Any) -> list[Any]:
    """Return the widgets that take the keyboard: of a path, its list and its button."""
    if widget.inherits("ctkPathLineEdit"):
        return [*widget.findChildren("QComboBox"), *widget.findChildren("QToolButton")]
    return [widget]


def _hasSettings(form: SourceForm, source: RunningSource) -> bool:
    """Return True when a form shows the settings of a source; the name of its volume may have got a number."""
    settings = source.chosenSettings
    try:
        return bool(replace(cast(Any, form.read()), stream=settings.stream) == settings)
    except SettingsError:
        return False


def _remembered(kind: str) -> SourceSettings | None:
    text = remembered(f"Settings/{kind}")
    try:
        found = settingsFromJSON(parsedJSON(text)) if text else None
        return found if found is None or found.kind == kind else None
    except (SettingsError, ValueError) as error:
        logging.warning("The remembered settings of Real-Time Imaging cannot be used: %s", error)
        return None
