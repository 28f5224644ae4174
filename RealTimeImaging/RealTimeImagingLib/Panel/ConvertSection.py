"""Section of the conversion of DICOM files."""

from __future__ import annotations

import os
from typing import Any

import ctk
import slicer
from slicer.i18n import tr as _

from ..Model.Quantities import durationText
from .Section import Section, remember, remembered, showOrHide, translated

_FIELDS = {"convertNameLineEdit": "ConvertName", "convertTagsLineEdit": "ConvertTags"}
_FOLDERS = {"convertInputPathLineEdit": "ConvertInput", "convertOutputPathLineEdit": "ConvertOutput"}


class ConvertSection(Section):
    """Folders, names and tags of a conversion, its progress, and a list of its files."""

    def __init__(self, ui: Any, logic: Any, complain: Any) -> None:
        super().__init__(ui, logic, complain)
        self._files: list[str] = []
        self._running = self._refused = False
        for name, key in _FOLDERS.items():
            getattr(ui, name).filters = ctk.ctkPathLineEdit.Dirs
            getattr(ui, name).currentPath = remembered(key)
        for name, key in _FIELDS.items():
            getattr(ui, name).text = remembered(key) or getattr(ui, name).text
            # A text longer than the field shows its beginning.
            getattr(ui, name).cursorPosition = 0
        self.connect(ui.convertSection, "contentsCollapsed(bool)", self._showRunning)
        self.connect(ui.convertButton, "clicked()", self._convert)
        self.connect(ui.cancelConvertButton, "clicked()", self._cancel)
        self.connect(ui.loadConvertedButton, "clicked()", self._load)
        self.connect(ui.loadAllConvertedButton, "clicked()", self._loadAll)

    def refresh(self, values: dict[str, Any]) -> None:
        """Show the progress and the converted files."""
        ui, status, files = self.ui, self.logic.conversion.status(), self.logic.conversion.files
        if files != self._files:
            self._files = files
            ui.convertedComboBox.clear()
            for path in files:
                ui.convertedComboBox.addItem(os.path.basename(path))
        self._running = status["running"]
        self._showRunning()
        ui.convertButton.enabled = not self._running
        ui.loadConvertedButton.enabled = ui.convertedComboBox.enabled = bool(files)
        ui.loadAllConvertedButton.enabled = bool(files) and not status["loading"]
        ui.convertProgressBar.value = round(100 * status["progress"])
        words = [translated(status["words"])]
        if status["left"] is not None:
            words.append(_("{time} left").format(time=durationText(status["left"])))
        if status["loading"]:
            words.append(_("Still to load: {count}").format(count=status["loading"]))
        showOrHide(ui.convertLabel, "" if self._refused else " ".join(filter(None, words)), status["failed"])

    def _showRunning(self, *_collapsed: bool) -> None:
        self.ui.cancelConvertButton.visible = self._running
        self.ui.convertProgressBar.visible = self._running

    def _convert(self) -> None:
        ui = self.ui
        tags = [tag.strip() for tag in ui.convertTagsLineEdit.text.replace(",", ";").split(";") if tag.strip()]

        def start() -> None:
            self.logic.conversion.start(
                ui.convertInputPathLineEdit.currentPath,
                ui.convertOutputPathLineEdit.currentPath,
                name=ui.convertNameLineEdit.text,
                tags=tags or None,
                loadWhenDone=ui.convertLoadCheckBox.checked,
            )
            for name, key in _FOLDERS.items():
                remember(key, getattr(ui, name).currentPath)
            for name, key in _FIELDS.items():
                remember(key, getattr(ui, name).text)

        self._refused = not self.attempt(start)
        self.refresh({})

    def _cancel(self) -> None:
        self.logic.conversion.cancel()

    def _loadAll(self) -> None:
        self.logic.conversion.loadAll()

    def _load(self) -> None:
        box = self.ui.convertedComboBox
        index = box.currentIndex
        if not 0 <= index < len(self._files):
            return

        def load() -> None:
            node = self.logic.conversion.loadOnce(self._files[index])
            if node.IsA("vtkMRMLVolumeNode"):
                slicer.util.setSliceViewerLayers(background=node, fit=True)

        if self.attempt(load):
            # The next click loads the next file.
            box.currentIndex = min(index + 1, len(self._files) - 1)
