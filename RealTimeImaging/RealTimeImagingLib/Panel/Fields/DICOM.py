"""The fields of a DICOM receiver."""

from __future__ import annotations

from slicer.i18n import tr as _

from ...Host.RunningSource import RunningSource
from ...Sources.DICOM import DICOMSettings
from .SourceFields import SourceFields, listed

MEGABYTE = 1 << 20


class DICOMFields(SourceFields[DICOMSettings]):
    """A receiver of what scanners and archives send."""

    kind = DICOMSettings.kind
    names = ("dicomFolderPathLineEdit", "dicomTitleLineEdit", "dicomPortSpinBox", "dicomGrowingCheckBox")
    options = (
        "dicomHostLineEdit",
        "dicomAllowedLineEdit",
        "dicomCallersLineEdit",
        "dicomCheckCalledCheckBox",
        "dicomCompleteAfterSpinBox",
        "dicomSizeLimitSpinBox",
        "streamLineEdit",
    )

    def idle(self) -> str:
        """Instruction while no source runs."""
        return str(_("Choose the folder for received files and press Start."))

    def origin(self, handle: RunningSource) -> str:
        """Senders; each association may be another one."""
        return str(_("DICOM senders"))

    def read(self) -> DICOMSettings:
        """What the fields say."""
        ui = self.ui
        return DICOMSettings(
            folder=ui.dicomFolderPathLineEdit.currentPath,
            aeTitle=ui.dicomTitleLineEdit.text.strip(),
            host=ui.dicomHostLineEdit.text.strip(),
            port=ui.dicomPortSpinBox.value,
            allowed=listed(ui.dicomAllowedLineEdit.text),
            callers=listed(ui.dicomCallersLineEdit.text),
            checkCalled=ui.dicomCheckCalledCheckBox.checked,
            growing=ui.dicomGrowingCheckBox.checked,
            completeAfter=ui.dicomCompleteAfterSpinBox.value,
            sizeLimit=ui.dicomSizeLimitSpinBox.value * MEGABYTE,
            stream=ui.streamLineEdit.text,
        )

    def show(self, settings: DICOMSettings) -> None:
        """Fill the fields."""
        ui = self.ui
        ui.dicomFolderPathLineEdit.currentPath = settings.folder
        ui.dicomTitleLineEdit.text = settings.aeTitle
        ui.dicomHostLineEdit.text = settings.host
        ui.dicomPortSpinBox.value = settings.port
        ui.dicomAllowedLineEdit.text = "; ".join(settings.allowed)
        ui.dicomCallersLineEdit.text = "; ".join(settings.callers)
        ui.dicomCheckCalledCheckBox.checked = settings.checkCalled
        ui.dicomGrowingCheckBox.checked = settings.growing
        ui.dicomCompleteAfterSpinBox.value = settings.completeAfter
        ui.dicomSizeLimitSpinBox.value = max(1, settings.sizeLimit // MEGABYTE)
        ui.streamLineEdit.text = settings.stream
