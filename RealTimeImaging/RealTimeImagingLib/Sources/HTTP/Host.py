"""Slicer's side of posted images: the token and an example command in the panel, with buttons that copy them."""

from __future__ import annotations

from functools import partial
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ..Source import SourceControls


class HTTPControls(SourceControls):
    """Token and example command of a source that listens."""

    def __init__(self, form: Any, section: Any) -> None:
        super().__init__(form, section)
        self._shown: dict[str, tuple[Any, Any]] = {}
        self._add(
            "token",
            _("Token"),
            _("Programs send this token with their images. Each Start makes a new one."),
            _("Copy the token."),
        )
        self._add(
            "curl",
            _("Example command"),
            _("A command for a terminal that sends the file image.nii.gz."),
            _("Copy the command."),
        )

    def refresh(self, running: Any) -> None:
        """Show token and command of the running source."""
        for name, (edit, button) in self._shown.items():
            text = running.details.get(name, "") if running else ""
            if edit.text != text:
                edit.text = text
                edit.setCursorPosition(0)
            button.enabled = bool(text)

    def _add(self, name: str, title: str, tooltip: str, copyTip: str) -> None:
        edit = qt.QLineEdit()
        edit.readOnly = True
        edit.placeholderText = _("shown after Start")
        edit.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Fixed)  # the panel's width is enough
        self.form.addRow(name, title, tooltip, edit)
        button = self.form.addButton(name, f"{name}Copy", _("Copy"), copyTip)
        self.section.connect(button, "clicked()", partial(self._copy, edit))
        self._shown[name] = edit, button

    def _copy(self, edit: Any) -> None:
        slicer.app.clipboard().setText(edit.text)
