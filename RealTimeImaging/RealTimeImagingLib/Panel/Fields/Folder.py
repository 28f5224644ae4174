"""The fields of a folder of images."""

from __future__ import annotations

from slicer.i18n import tr as _

from ...Host.RunningSource import RunningSource
from ...Sources.Folder import EXISTING, FolderSettings
from .SourceFields import SourceFields


class FolderFields(SourceFields[FolderSettings]):
    """A folder of images."""

    kind = FolderSettings.kind
    names = ("folderPathLineEdit",)
    options = (
        "patternLineEdit",
        "subfoldersCheckBox",
        "existingComboBox",
        "seriesPatternLineEdit",
        "incompleteAfterSpinBox",
        "dicomCompleteAfterSpinBox",
        "streamLineEdit",
    )

    def idle(self) -> str:
        """Instruction while no source runs."""
        return str(_("Choose a folder and press Start, or try with a simulated scanner."))

    def origin(self, handle: RunningSource) -> str:
        """The folder."""
        return str(getattr(handle.asked, "folder", ""))

    def read(self) -> FolderSettings:
        """What the fields say."""
        ui = self.ui
        return FolderSettings(
            folder=ui.folderPathLineEdit.currentPath,
            pattern=ui.patternLineEdit.text,
            subfolders=ui.subfoldersCheckBox.checked,
            existing=EXISTING[ui.existingComboBox.currentIndex],
            seriesPattern=ui.seriesPatternLineEdit.text.strip(),
            incompleteAfter=ui.incompleteAfterSpinBox.value,
            completeAfter=ui.dicomCompleteAfterSpinBox.value,
            stream=ui.streamLineEdit.text,
        )

    def show(self, settings: FolderSettings) -> None:
        """Fill the fields."""
        ui = self.ui
        ui.folderPathLineEdit.currentPath = settings.folder
        ui.patternLineEdit.text = settings.pattern
        ui.subfoldersCheckBox.checked = settings.subfolders
        ui.existingComboBox.currentIndex = EXISTING.index(settings.existing)
        ui.seriesPatternLineEdit.text = settings.seriesPattern
        ui.incompleteAfterSpinBox.value = settings.incompleteAfter
        ui.dicomCompleteAfterSpinBox.value = settings.completeAfter
        ui.streamLineEdit.text = settings.stream
