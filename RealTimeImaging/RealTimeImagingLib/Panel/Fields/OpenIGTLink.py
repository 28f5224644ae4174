"""The fields of a connection over OpenIGTLink."""

from __future__ import annotations

from slicer.i18n import tr as _

from ...Host.Connector import connectorAvailable
from ...Sources.OpenIGTLink import ENGINES, ROLES, OpenIGTLinkSettings
from .SourceFields import SourceFields, listed

MEGABYTE = 1 << 20


class OpenIGTLinkFields(SourceFields[OpenIGTLinkSettings]):
    """A connection."""

    kind = OpenIGTLinkSettings.kind
    names = ("linkRoleComboBox", "linkHostLineEdit", "linkPortSpinBox")
    options = (
        "linkAllowedLineEdit",
        "linkAskLineEdit",
        "linkCheckCRCCheckBox",
        "linkSizeLimitSpinBox",
        "linkSilentAfterSpinBox",
        "linkEngineComboBox",
    )

    def idle(self) -> str:
        """Instruction while no source runs."""
        if ROLES[self.ui.linkRoleComboBox.currentIndex] == "server":
            return str(_("Press Start to wait for devices to connect."))
        return str(_("Enter the device's address and port, and press Start."))

    def read(self) -> OpenIGTLinkSettings:
        """What the fields say."""
        ui = self.ui
        return OpenIGTLinkSettings(
            role=ROLES[ui.linkRoleComboBox.currentIndex],
            host=ui.linkHostLineEdit.text.strip(),
            port=ui.linkPortSpinBox.value,
            allowed=listed(ui.linkAllowedLineEdit.text),
            ask=listed(ui.linkAskLineEdit.text),
            checkCRC=ui.linkCheckCRCCheckBox.checked,
            sizeLimit=ui.linkSizeLimitSpinBox.value * MEGABYTE,
            silentAfter=ui.linkSilentAfterSpinBox.value,
            engine=ENGINES[ui.linkEngineComboBox.currentIndex],
        )

    def show(self, settings: OpenIGTLinkSettings) -> None:
        """Fill the fields."""
        ui = self.ui
        ui.linkRoleComboBox.currentIndex = ROLES.index(settings.role)
        ui.linkHostLineEdit.text = settings.host
        ui.linkPortSpinBox.value = settings.port
        ui.linkAllowedLineEdit.text = "; ".join(settings.allowed)
        ui.linkAskLineEdit.text = "; ".join(settings.ask)
        ui.linkCheckCRCCheckBox.checked = settings.checkCRC
        ui.linkSizeLimitSpinBox.value = max(1, settings.sizeLimit // MEGABYTE)
        ui.linkSilentAfterSpinBox.value = settings.silentAfter
        ui.linkEngineComboBox.currentIndex = ENGINES.index(settings.engine) if connectorAvailable() else 0

    def rows(self) -> set[str]:
        """Who may come in is a question only for those who wait, and the engine only where there are two."""
        if ENGINES[self.ui.linkEngineComboBox.currentIndex] == "connector":
            return {*self.names, "linkCheckCRCCheckBox", "linkEngineComboBox"}
        waits = ROLES[self.ui.linkRoleComboBox.currentIndex] == "server"
        hidden = set() if waits else {"linkAllowedLineEdit"}
        return super().rows() - hidden - (set() if connectorAvailable() else {"linkEngineComboBox"})
