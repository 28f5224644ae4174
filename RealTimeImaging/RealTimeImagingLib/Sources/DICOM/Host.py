"""Slicer's side of the DICOM receiver: words for the panel."""

from __future__ import annotations

from slicer.i18n import tr as _

from ...Model.Settings import SourceSettings
from ..Source import SourceControls


class DICOMControls(SourceControls):
    """Words for the panel; the receiver has no controls beside its settings."""

    def idle(self) -> str:
        """Return an instruction for the user while the receiver does not run."""
        return str(_("Choose the folder for received files and press Start."))

    def origin(self, settings: SourceSettings) -> str:
        """Return the senders; each association may be another one."""
        return str(_("DICOM senders"))
