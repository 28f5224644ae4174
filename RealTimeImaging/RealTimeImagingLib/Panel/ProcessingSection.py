"""Section of live processing: functions that run beside the streams, and the form that starts one."""

from __future__ import annotations

import copy
import json
from functools import partial
from typing import Any

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from ..Host.FunctionDescription import FunctionDescription
from ..Host.ProcessingControl import RunningProcessor
from ..Model.Errors import MissingPackageError, RealTimeImagingError
from ..Model.Event import Event
from ..Model.Files import reasonOf
from ..Model.Settings import settingFields, typedPath
from ..Model.Text import joined, sentence
from ..Processing import BuiltIn
from ..Processing.Description import parametersClass
from ..Sources.Processor import EVERY
from .Editors import RecentEditor
from .FunctionForm import FunctionForm, Links, NodeFiles, builtInParameters, builtInTitle
from .ProcessorsTable import ProcessorsTable, figuresText, stateOf
from .Section import Section, remember, rememberedJSON, show, showOrHide, translated

PERIOD = 200
"""Milliseconds between two changes of the parameters that are sent to a function."""
TYPED = 500
"""Milliseconds without a key after which a typed path is looked at."""
RESULTS = ("own", "over")
"""Places of the result, in the order of the list."""
KEY = "Processing"
"""Choices in Slicer's settings, see :meth:`ProcessingSection._keep`."""


class ProcessingSection(Section):
    """Table of the running functions, choice of stream and function, parameters, and Start.

    The form has the parameters of the function in the selected row, and a change is sent to it. Without a selected
    row, it has those of the next function.
    """

    def __init__(self, ui: Any, logic: Any, complain: Any) -> None:
        super().__init__(ui, logic, complain)
        self._files = NodeFiles()
        self._remembered: dict[str, Any] = {}
        self._forms: dict[str, FunctionForm] = {}
        self._form: FunctionForm | None = None
        self._links: dict[RunningProcessor, Links] = {}
        self._values: dict[RunningProcessor, dict[str, Any]] = {}
        """Parameters that each function has, or will have with the next change."""
        self._pending: dict[RunningProcessor, dict[str, Any]] = {}
        self._failures: dict[RunningProcessor, str] = {}
        """Latest event about failed images, or the restart, of each function."""
        self._looking: FunctionDescription | None = None
        self._missing: list[str] = []
        """Requirements for pip of the chosen file that Slicer's Python lacks."""
        self._fileDialog: Any = None
        self._showing = False
        """True while widgets are filled by the section itself."""
        self._sender, self._typing = qt.QTimer(), qt.QTimer()
        for timer, slot in ((self._sender, self._send), (self._typing, self._fileChosen)):
            timer.setSingleShot(True)
            self.connect(timer, "timeout()", slot)
        self._file = RecentEditor(_("Drop or choose a file"), (), "Recent/FunctionFile", ui.functionFileComboBox)
        self._table = ProcessorsTable(ui.processorsTable, self.connect, self._reload, self._stop)
        ui.functionComboBox.addItems([*map(builtInTitle, BuiltIn.NAMES), _("Function in a file ...")])
        ui.everyComboBox.addItems([translated(words) for words in EVERY.values()])
        ui.resultComboBox.addItems([_("As a volume of its own"), _("Over its source")])
        ui.resultColoursComboBox.addItems([_("Unchanged"), *logic.volumes.colourMaps()])
        python = ui.processingPythonPathLineEdit
        python.filters = ctk.ctkPathLineEdit.Files
        python.settingKey = "RealTimeImaging/Recent/FunctionPython"
        self._restore()
        self.connect(ui.processorsTable, "itemSelectionChanged()", self._rowSelected)
        for name in ("processingStreamComboBox", "everyComboBox"):
            self.connect(getattr(ui, name), "currentIndexChanged(int)", self._chosenAnew)
        self.connect(ui.functionComboBox, "currentIndexChanged(int)", self._functionChosen)
        self.connect(ui.functionFileComboBox, "editTextChanged(QString)", self._fileTyped)
        self.connect(python, "currentPathChanged(QString)", self._fileChosen)
        self.connect(ui.resultComboBox, "currentIndexChanged(int)", self._resultChosen)
        self.connect(ui.resultOpacitySpinBox, "valueChanged(int)", self._resultChosen)
        self.connect(ui.resultColoursComboBox, "currentIndexChanged(int)", self._resultChosen)
        self.connect(ui.functionFileButton, "clicked()", self._browse)
        self.connect(ui.processButton, "clicked()", self._start)
        for name in ("processingSection", "processingOptionsSection"):
            self.connect(getattr(ui, name), "contentsCollapsed(bool)", self._showRows)
        logic.addEventCallback(self._happened)
        self._functionChosen()

    def close(self) -> None:
        """Release the scene, the timer and all widgets."""
        self.logic.removeEventCallback(self._happened)
        self._sender.stop()
        self._typing.stop()
        self._endLook()
        self._closeFileDialog()
        for form in self._forms.values():
            form.close()
        self._files.close()
        super().close()

    # ---- state

    def refresh(self, values: dict[str, Any]) -> None:
        """Show the running functions and the streams, and follow nodes that the user changed."""
        running = self.logic.processing.list()
        for known in (self._links, self._values, self._pending, self._failures):
            for one in [one for one in known if one not in running]:
                del known[one]
        self._table.refresh(running)
        self._showStreams()
        self._showHint(running)
        self._follow()
        self._files.keep(self._usedValues(running))

    def _streams(self) -> list[str]:
        active = [one for one in self.logic.sources() if not one.ended and one.state != "stopping"]
        found = []
        for one in active:
            # A device names its streams itself: then no image comes by the name in the settings.
            came = [stream for stream in one.streams.values() if stream in one.counts]
            found += came or list(one.streams.values())[:1] or [one.settings.stream]
        return found

    def _showStreams(self) -> None:
        combo, streams = self.ui.processingStreamComboBox, self._streams()
        if [combo.itemText(index) for index in range(combo.count)] != streams:
            chosen = combo.currentText
            blocked = combo.blockSignals(True)
            combo.clear()
            combo.addItems(streams)
            combo.currentIndex = streams.index(chosen) if chosen in streams else 0 if streams else -1
            combo.blockSignals(blocked)
        combo.enabled = bool(streams)
        self.ui.processButton.enabled = bool(self._missing) or (bool(streams) and self._form is not None)

    def _showHint(self, running: list[RunningProcessor]) -> None:
        ui, selected = self.ui, self._table.selected
        if not self._streams():
            hint = _("Start a source first. Then a function can process its images.")
        elif selected is not None:
            hint = _("Parameters of {name}. A change takes effect with the next image.").format(name=selected.stream)
        else:
            hint = _("Choose a function and press Start function.")
        show(ui.processingHintLabel, hint)
        troubled = next((one for one in running if stateOf(one) in ("error", "slow")), None)
        shown = selected or troubled or next(iter(running), None)
        if shown is None:
            showOrHide(ui.processorStatusLabel, "")
            return
        state, figures = stateOf(shown), figuresText(shown)
        words = self._failures.get(shown, "") if state == "slow" else ""
        if state in ("error", "waiting") or not figures:
            words = shown.status
        text = " ".join(filter(None, (translated(words), figures)))
        showOrHide(ui.processorStatusLabel, text, warning=state in ("error", "slow"))

    # ---- choices

    @property
    def _colours(self) -> str:
        combo = self.ui.resultColoursComboBox
        return str(combo.currentText) if combo.currentIndex > 0 else ""

    @property
    def _isFile(self) -> bool:
        return int(self.ui.functionComboBox.currentIndex) >= len(BuiltIn.NAMES)

    def take(self, path: str) -> bool:
        """Choose a Python file that the user dropped as the function.

        :returns: False for another file.
        """
        if not path.lower().endswith(".py"):
            return False
        self.ui.processingSection.collapsed = False
        self._chooseFile(path)
        return True

    def _chooseFile(self, path: str) -> None:
        self._file.write(path)
        if self._isFile:
            self._functionChosen()
        else:
            self.ui.functionComboBox.currentIndex = len(BuiltIn.NAMES)

    def _browse(self) -> None:
        self._closeFileDialog()
        dialog = self._fileDialog = qt.QFileDialog(slicer.util.mainWindow(), _("Function in a file"))
        dialog.setFileMode(qt.QFileDialog.ExistingFile)
        dialog.setNameFilters([_("Python file (*.py)")])
        dialog.connect("fileSelected(QString)", self._chooseFile)
        dialog.show()

    def _closeFileDialog(self) -> None:
        dialog, self._fileDialog = self._fileDialog, None
        if dialog is not None:
            dialog.disconnect("fileSelected(QString)", self._chooseFile)
            dialog.close()
            dialog.deleteLater()

    def _chosenAnew(self, *_index: int) -> None:
        """Let the form be that of the next function."""
        if not self._showing:
            self._table.select(None)
            self.refresh({})

    def _fileTyped(self, text: str) -> None:
        if self._isFile and not self._showing:
            self._typing.start(TYPED)

    def _fileChosen(self, *_value: Any) -> None:
        if self._isFile and not self._showing:
            self._functionChosen()

    def _functionChosen(self, *_index: int) -> None:
        if self._showing:
            return
        self._typing.stop()
        self._endLook()
        self._table.select(None)
        self._missing = []
        self._setForm(None)
        self.complain("")
        if not self._isFile:
            name = BuiltIn.NAMES[self.ui.functionComboBox.currentIndex]
            self._setForm(self._forms.get(name) or self._makeForm(name, builtInParameters(name)))
        elif self._file.read():
            self._lookAtFile()

    def _lookAtFile(self) -> None:
        path, python = self._file.read(), self.ui.processingPythonPathLineEdit.currentPath.strip()

        def look() -> None:
            self._looking = self.logic.processing.describe(path, python, self._described)

        self.attempt(look)

    def _described(self, description: dict[str, Any] | None, problem: str, missing: list[str]) -> None:
        self._looking, self._missing = None, missing
        self._showStreams()
        if description is None:
            more = _("To install it, press Start function.") if missing else ""
            self.complain(joined(problem, more))
            return
        path = typedPath(self._file.read())
        try:
            settings = parametersClass(description)
        except (RealTimeImagingError, LookupError, TypeError, ValueError) as error:
            reason = sentence(reasonOf(error))
            self.complain(_("The parameters of {path} cannot be shown: {reason}").format(path=path, reason=reason))
            return
        form = self._forms.get(path)
        if form is None or settingFields(form.settingsClass) != settingFields(settings):
            form = self._makeForm(path, settings)
        self._setForm(form)
        selected = self._table.selected
        if selected is not None and selected.settings.function == path:
            self._rowSelected()

    def _endLook(self) -> None:
        if self._looking:
            self._looking.close()
            self._looking = None

    def _makeForm(self, function: str, settings: Any) -> FunctionForm:
        form = FunctionForm(function, settings, self, self._files)
        if function in self._forms:
            self._forms[function].close()
        self._forms[function] = form
        form.fill(self._remembered.get("parameters", {}).get(function, {}))
        form.onAnyChange(self._edited)
        return form

    def _setForm(self, form: FunctionForm | None) -> None:
        if self._form is not None:
            self._form.setShown(False)
        self._form = form
        self._showRows()
        self._showStreams()

    def _showRows(self, *_index: Any) -> None:
        """Show the rows of the chosen function; a section that opens shows all its widgets."""
        ui = self.ui
        for form in self._forms.values():
            form.setShown(form is self._form)
        ui.functionFileBox.visible = ui.functionFileComboBoxLabel.visible = self._isFile
        over = RESULTS[max(0, ui.resultComboBox.currentIndex)] == "over"
        ui.resultOpacitySpinBox.visible = ui.resultOpacitySpinBoxLabel.visible = over

    # ---- running functions

    def _rowSelected(self) -> None:
        selected, ui = self._table.selected, self.ui
        if selected is None or self._showing:
            return
        settings = selected.settings
        self._showing = True
        try:
            known = BuiltIn.NAMES.index(settings.function) if settings.function in BuiltIn.NAMES else len(BuiltIn.NAMES)
            ui.functionComboBox.currentIndex = known
            if known == len(BuiltIn.NAMES):
                self._file.write(settings.function)
            ui.processingStreamComboBox.currentIndex = max(
                0, ui.processingStreamComboBox.findText(selected.sourceStream)
            )
            ui.everyComboBox.currentIndex = list(EVERY).index(settings.every)
            layer, opacity = self.logic.volumes.layer(selected.stream)
            ui.resultComboBox.currentIndex = int(layer == "foreground")
            ui.resultOpacitySpinBox.value = round(100 * opacity)
            colours = self.logic.volumes.colours(selected.stream)
            ui.resultColoursComboBox.currentIndex = max(0, ui.resultColoursComboBox.findText(colours))
            form = self._forms.get(settings.function)
            if form is None and settings.function in BuiltIn.NAMES:
                form = self._makeForm(settings.function, builtInParameters(settings.function))
            if form is not None:
                form.fill(self._parametersOf(selected))
                form.links = self._links.setdefault(selected, {})
            self._setForm(form)
            if form is None:
                self._lookAtFile()
        finally:
            self._showing = False
        self._showHint(self.logic.processing.list())

    def _parametersOf(self, processor: RunningProcessor) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(processor.settings.parameters)
        reported = processor.statistics().get("parameters", {})
        return {**found, **reported, **self._values.get(processor, {})}

    def _usedValues(self, running: list[RunningProcessor]) -> list[Any]:
        """Return the values of all parameters, also those that functions have until a change reaches them."""
        found = [value for form in self._forms.values() for value in form.values().values()]
        for one in running:
            reported = one.statistics().get("parameters", {})
            found += [*json.loads(one.settings.parameters).values(), *reported.values()]
            found += self._parametersOf(one).values()
        return found

    def _edited(self) -> None:
        selected, form = self._table.selected, self._form
        if self._showing or selected is None or form is None:
            return
        self.complain("")
        try:
            values = _plain(form.read())
        except RealTimeImagingError as error:
            self.complain(str(error))
            return
        before = self._parametersOf(selected)
        changed = {name: value for name, value in values.items() if _listed(before.get(name)) != _listed(value)}
        self._change(selected, changed)

    def _change(self, processor: RunningProcessor, values: dict[str, Any]) -> None:
        if values:
            self._values.setdefault(processor, {}).update(values)
            self._pending.setdefault(processor, {}).update(values)
            if not self._sender.isActive():
                self._sender.start(PERIOD)

    def _send(self) -> None:
        pending, self._pending = self._pending, {}
        for processor, values in pending.items():
            if not processor.ended:
                self.attempt(partial(self.logic.processing.setParameters, processor, **values))

    def _follow(self) -> None:
        """Send regions and label maps of nodes that have changed."""
        form, selected = self._form, self._table.selected
        if form is not None and selected is None:
            for name, value in form.followed(form.values(), form.links).items():
                form.set(name, value)
        for processor, links in self._links.items():
            own = self._forms.get(processor.settings.function)
            if own is None or not links:
                continue
            changed = own.followed(self._parametersOf(processor), links)
            self._change(processor, changed)
            if processor is selected and own is form:
                self._showing = True
                for name, value in changed.items():
                    form.set(name, value)
                self._showing = False

    def _happened(self, event: Event) -> None:
        if event.code in ("processing-failed", "function-restarted"):
            for processor in self.logic.processing.list():
                if processor.stream == event.subject:
                    self._failures[processor] = event.text
        if event.code == "parameters-refused":
            for processor in self.logic.processing.list():
                if processor.stream == event.subject:
                    # It keeps the parameters before, which its next report has.
                    self._values.pop(processor, None)
            self.complain(event.text)

    def _resultChosen(self, *_index: int) -> None:
        self._showRows()
        selected = self._table.selected
        if not self._showing and selected is not None:
            self.attempt(lambda: self._showResult(selected.stream))

    def _showResult(self, stream: str) -> None:
        ui, volumes = self.ui, self.logic.volumes
        over = RESULTS[ui.resultComboBox.currentIndex] == "over"
        volumes.setColours(
            stream, ui.resultColoursComboBox.currentText if ui.resultColoursComboBox.currentIndex else ""
        )
        volumes.setLayer(stream, "foreground" if over else "background", ui.resultOpacitySpinBox.value / 100)

    def _start(self) -> None:
        form, ui = self._form, self.ui
        if form is None:
            if self._missing:
                self._install()
            return
        started: list[RunningProcessor] = []

        def start() -> None:
            started.append(
                self.logic.processing.start(
                    form.function,
                    ui.processingStreamComboBox.currentText,
                    list(EVERY)[ui.everyComboBox.currentIndex],
                    _plain(form.read()),
                    ui.processingPythonPathLineEdit.currentPath.strip() or None,
                )
            )
            self._showResult(started[0].stream)

        if self.attempt(start) or started:
            processor = started[0]
            self._links[processor] = copy.deepcopy(form.links)
            self._keep(form)
            self._table.refresh(self.logic.processing.list())
            self._table.select(processor)

    def _install(self) -> None:
        """Install the packages that the chosen file requires, and look at it again."""
        try:
            self.logic.installPackages(self._missing)
        except MissingPackageError as error:
            self.complain(str(error))
            return
        self._lookAtFile()

    def _reload(self, processor: RunningProcessor) -> None:
        self.logic.processing.reload(processor)
        if self._isFile and processor is self._table.selected:
            self._lookAtFile()  # the parameters may be others

    def _stop(self, processor: RunningProcessor) -> None:
        self.logic.processing.stop(processor)

    # ---- memory

    def _keep(self, form: FunctionForm) -> None:
        ui = self.ui
        form.remember()
        if self._isFile:
            self._file.remember()
        ui.processingPythonPathLineEdit.addCurrentPathToHistory()
        parameters = self._remembered.get("parameters", {})
        self._remembered = {
            "function": form.function,
            "every": list(EVERY)[ui.everyComboBox.currentIndex],
            "result": RESULTS[ui.resultComboBox.currentIndex],
            "opacity": ui.resultOpacitySpinBox.value,
            "colours": self._colours,
            "python": ui.processingPythonPathLineEdit.currentPath,
            "parameters": {**parameters, form.function: form.kept()},
        }
        remember(KEY, json.dumps(self._remembered))

    def _restore(self) -> None:
        ui = self.ui
        self._remembered = kept = rememberedJSON(KEY, {})
        if not isinstance(kept.get("parameters", {}), dict):
            kept["parameters"] = {}
        function = str(kept.get("function", BuiltIn.NAMES[0]))
        index = BuiltIn.NAMES.index(function) if function in BuiltIn.NAMES else len(BuiltIn.NAMES)
        ui.functionComboBox.currentIndex = index
        self._file.write(function if function not in BuiltIn.NAMES else "")
        every, result = kept.get("every"), kept.get("result")
        ui.everyComboBox.currentIndex = list(EVERY).index(every) if every in EVERY else 0
        ui.resultComboBox.currentIndex = RESULTS.index(result) if result in RESULTS else 0
        opacity = kept.get("opacity")
        ui.resultOpacitySpinBox.value = opacity if isinstance(opacity, int) else 50
        ui.resultColoursComboBox.currentIndex = max(0, ui.resultColoursComboBox.findText(str(kept.get("colours", ""))))
        python = kept.get("python")
        ui.processingPythonPathLineEdit.currentPath = python if isinstance(python, str) else ""


def _plain(settings: Any) -> dict[str, Any]:
    return {field.name: getattr(settings, field.name) for field in settingFields(type(settings))}


def _listed(value: Any) -> Any:
    """Return a value as JSON has it."""
    return list(value) if isinstance(value, tuple) else value
