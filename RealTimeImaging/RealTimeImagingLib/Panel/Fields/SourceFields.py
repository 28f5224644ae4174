"""What the panel has for a source: which fields, and how they become settings and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from slicer.i18n import tr as _

from ...Host.RunningSource import RunningSource
from ...Model.Settings import SourceSettings

_Settings = TypeVar("_Settings", bound=SourceSettings)


class SourceFields(ABC, Generic[_Settings]):
    """The fields of one source.

    :param ui: the widgets by name.
    """

    kind: str
    names: tuple[str, ...] = ()
    """Widgets of the source's own rows; each has a label of its name with "Label" behind."""
    options: tuple[str, ...] = ()
    """The same, under "More options"."""
    told: tuple[str, ...] = ()
    """The same, for what the source tells while it runs."""
    buttons: tuple[str, ...] = ()
    """Buttons beside them."""

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

    def tell(self, details: Mapping[str, Any]) -> None:
        """Show what the source tells.

        :param details: of its handle; empty while it does not run.
        """

    def idle(self) -> str:
        """Instruction for the user while no source runs."""
        return str(_("Press Start."))

    def origin(self, handle: RunningSource) -> str:
        """Sender of a running source's images, in words."""
        return ", ".join(sorted(handle.peers)) or str(_("the network"))

    def isOf(self, settings: SourceSettings) -> bool:
        """Whether these settings are of this source."""
        return settings.kind == self.kind

    def rows(self) -> set[str]:
        """The widgets that are of use as the fields are now."""
        return {*self.names, *self.options, *self.told, *self.buttons}


def listed(text: str) -> tuple[str, ...]:
    """What is written with semicolons or commas between."""
    return tuple(one.strip() for one in text.replace(",", ";").split(";") if one.strip())
