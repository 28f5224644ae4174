"""Slicer's side of OpenIGTLink: words for the panel, and the choice of the engine."""

from __future__ import annotations

from slicer.i18n import tr as _

from ...Host.Connector import connectorAvailable
from ..Source import SourceControls


class OpenIGTLinkControls(SourceControls):
    """Words for the panel. The engine can be chosen where the extension SlicerOpenIGTLink is installed."""

    def unavailable(self) -> set[str]:
        """Return the engine where there is only one."""
        return set() if connectorAvailable() else {"engine"}

    def idle(self) -> str:
        """Return an instruction for the user while no connection runs."""
        if self.form.value("role") == "server":
            return str(_("Press Start to wait for devices to connect."))
        return str(_("Enter the device's address and port, and press Start."))
