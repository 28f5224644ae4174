"""Form of one kind of source, made from the descriptions of its settings."""

from __future__ import annotations

from collections.abc import Set

from ..Sources import SourceKind
from .Section import Section, translated
from .SettingsForm import SettingsForm


class SourceForm(SettingsForm):
    """Rows of one kind of source, made from its settings, and the kind's controls.

    :param kind: the kind.
    :param section: the panel's section; its grids take the rows.
    """

    def __init__(self, kind: SourceKind, section: Section) -> None:
        self.kind = kind
        ui = section.ui
        super().__init__(kind.name, kind.settings, section, (ui.sourceForm.layout(), ui.optionsSection.layout()))
        self.controls = kind.controls()(self, section)

    def idle(self) -> str:
        """Return an instruction for the user while the source does not run."""
        return translated(self.kind.idle(self.values()))

    def unavailable(self) -> Set[str]:
        """Return the names of rows that the kind's controls cannot use now."""
        return self.controls.unavailable()
