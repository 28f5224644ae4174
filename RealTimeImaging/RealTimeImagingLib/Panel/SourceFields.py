"""What the panel has for each source: which fields, and how they become settings and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

from ..Connector import connectorAvailable
from ..Settings import (
    ENGINES,
    EXISTING,
    PACES,
    ROLES,
    FolderSettings,
    OpenIGTLinkSettings,
    ReplaySettings,
    SourceSettings,
)

_Settings = TypeVar("_Settings", bound=SourceSettings)
MEGABYTE = 1 << 20


class SourceFields(ABC, Generic[_Settings]):
    """The fields of one source.

    :param ui: the widgets by name.
    """

    kind: str
    names: tuple[str, ...] = ()
    """Widgets of the source's own rows; each has a label of its name with "Label" behind."""
    options: tuple[str, ...] = ()
    """The same, under "More options"."""

    def __init__(self, ui: Any) -> None:
        self.ui = ui

    @abstractmethod
    def read(self) -> _Settings:
        """What the fields say.

        :raises SettingsError: a field that cannot work.
        """

    @abstractmethod
    def show(self, settings: _Settings) -> None:
        """Fill the fields."""

    def isOf(self, settings: SourceSettings) -> bool:
        """Whether these settings are of this source."""
        return settings.kind == self.kind

    def rows(self) -> set[str]:
        """The widgets that are of use as the fields are now."""
        return {*self.names, *self.options}


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
        "streamLineEdit",
    )

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
        ui.streamLineEdit.text = settings.stream


class ReplayFields(SourceFields[ReplaySettings]):
    """A file that is replayed."""

    kind = ReplaySettings.kind
    names = (
        "replayFilePathLineEdit",
        "replayPaceComboBox",
        "replayLoopCheckBox",
        "replaySpeedSpinBox",
        "replayRateSpinBox",
    )
    options = ("streamLineEdit",)

    def read(self) -> ReplaySettings:
        """What the fields say."""
        ui = self.ui
        return ReplaySettings(
            file=ui.replayFilePathLineEdit.currentPath,
            pace=PACES[ui.replayPaceComboBox.currentIndex],
            speed=ui.replaySpeedSpinBox.value,
            rate=ui.replayRateSpinBox.value,
            loop=ui.replayLoopCheckBox.checked,
            stream=ui.streamLineEdit.text,
        )

    def show(self, settings: ReplaySettings) -> None:
        """Fill the fields."""
        ui = self.ui
        ui.replayFilePathLineEdit.currentPath = settings.file
        ui.replayPaceComboBox.currentIndex = PACES.index(settings.pace)
        ui.replaySpeedSpinBox.value = settings.speed
        ui.replayRateSpinBox.value = settings.rate
        ui.replayLoopCheckBox.checked = settings.loop
        ui.streamLineEdit.text = settings.stream

    def rows(self) -> set[str]:
        """Of speed and rate, the one that the pace has."""
        pace = PACES[self.ui.replayPaceComboBox.currentIndex]
        unused = {"recorded": "replayRateSpinBox", "rate": "replaySpeedSpinBox"}
        hidden = {unused[pace]} if pace in unused else set(unused.values())
        return super().rows() - hidden


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

    def read(self) -> OpenIGTLinkSettings:
        """What the fields say."""
        ui = self.ui
        return OpenIGTLinkSettings(
            role=ROLES[ui.linkRoleComboBox.currentIndex],
            host=ui.linkHostLineEdit.text.strip(),
            port=ui.linkPortSpinBox.value,
            allowed=_listed(ui.linkAllowedLineEdit.text),
            ask=_listed(ui.linkAskLineEdit.text),
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


FIELDS: tuple[type[SourceFields[Any]], ...] = (FolderFields, ReplayFields, OpenIGTLinkFields)
"""In the order of the combo box."""


def _listed(text: str) -> tuple[str, ...]:
    return tuple(one.strip() for one in text.replace(",", ";").split(";") if one.strip())
