"""Base class of the panel's sections, and plain text in labels and tooltips."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable
from typing import Any

import qt
import slicer

from ..Model.Errors import MissingPackageError, RealTimeImagingError

BREAK = "\u200b"
"""Zero-width space: Qt may break a line there."""
LONGEST_WORD = 32
"""Characters; longer words, such as paths, get zero-width spaces."""
TIP_WIDTH = 90
"""Characters in a line of a tool tip: Qt does not wrap plain text there."""
UNLIMITED = 16777215
"""QWIDGETSIZE_MAX"""

_LONG = re.compile(rf"\S{{{LONGEST_WORD + 1},}}")
_PIECE = re.compile(rf"[^/\\._,:;=&?-]{{{LONGEST_WORD}}}|[/\\._,:;=&?-]+")


def breakable(text: str) -> str:
    """The text with zero-width spaces in words that are longer than a line."""
    return _LONG.sub(lambda word: _PIECE.sub(lambda piece: piece[0] + BREAK, word[0]), text)


def plainTip(text: str) -> str:
    """Wrapped text that Qt takes for plain text: zero-width spaces after "<" and "&" prevent tags and entities."""
    lines = [textwrap.fill(line, TIP_WIDTH, break_on_hyphens=False) for line in text.splitlines()]
    return "\n".join(lines).replace("<", "<" + BREAK).replace("&", "&" + BREAK)


def makePlain(widgets: Iterable[Any]) -> None:
    """Set all labels to plain text, and let labels that wrap shrink to the panel's width."""
    for widget in widgets:
        if not widget.inherits("QLabel"):
            continue
        widget.setTextFormat(qt.Qt.PlainText)
        if widget.wordWrap:
            policy = widget.sizePolicy
            policy.setHorizontalPolicy(qt.QSizePolicy.Ignored)
            widget.setSizePolicy(policy)


def show(label: Any, text: str, warning: bool = False) -> None:
    """Show text in a label; the tool tip repeats long texts.

    :param warning: True uses the colour of warnings.
    """
    meaning = label.property("meaning")
    if meaning is None:
        meaning = label.toolTip
        label.setProperty("meaning", meaning)
    _write(label, "text", breakable(text))
    _write(label, "toolTip", plainTip(text) if len(text) > 2 * LONGEST_WORD else meaning)
    _write(label, "styleSheet", f"color: {warningColour(label)}" if warning else "")


def _write(label: Any, name: str, value: str) -> None:
    if getattr(label, name) != value:
        setattr(label, name, value)


def warningColour(widget: Any) -> str:
    """A colour for warnings that can be read on the widget's background, dark or light."""
    dark = widget.palette.color(qt.QPalette.Window).lightness() < 128
    return "#ffb060" if dark else "#b00020"


class Complaint:
    """A label beside a section's controls with the reason why the last action was not possible.

    :param label: takes no space while it is empty.
    """

    def __init__(self, label: Any) -> None:
        self._label = label
        self("")

    def __call__(self, text: str) -> None:
        """Show a reason until the next action; an empty text hides the label."""
        show(self._label, text, warning=True)
        self._label.setMaximumHeight(UNLIMITED if text else 0)


class Section:
    """A part of the panel.

    :param ui: the widgets by name (slicer.util.childWidgetVariables).
    :param logic: a RealTimeImagingLogic.
    :param complain: shows beside the section's controls, until the next action, why something is not possible.
    """

    def __init__(self, ui: Any, logic: Any, complain: Callable[[str], None]) -> None:
        self.ui, self.logic, self.complain = ui, logic, complain
        self._connections: list[tuple[Any, str, Callable[..., None]]] = []

    def connect(self, sender: Any, signal: str, slot: Callable[..., None]) -> None:
        """Connect until :meth:`close`. A click also hides the reason why the last action was not possible."""
        for receiver in (self._takeBack, slot) if signal == "clicked()" else (slot,):
            sender.connect(signal, receiver)
            self._connections.append((sender, signal, receiver))

    def _takeBack(self) -> None:
        self.complain("")

    def close(self) -> None:
        """Let go of all widgets."""
        for sender, signal, slot in self._connections:
            sender.disconnect(signal, slot)
        self._connections = []

    def refresh(self, values: dict[str, Any]) -> None:
        """Show the logic's state.

        :param values: logic.statistics().
        """

    def attempt(self, action: Callable[[], object]) -> bool:
        """Do what the user asked for; False when it cannot be, which is said in words.

        When Python packages are missing, the user is asked once whether they may be installed.
        """
        self._takeBack()
        try:
            try:
                action()
            except MissingPackageError as error:
                self.logic.installPackages(error.requirements)
                action()
        except RealTimeImagingError as error:
            self.complain(str(error))
            return False
        return True


def remembered(key: str, default: Any = "") -> Any:
    """A value from Slicer's settings."""
    found = slicer.app.userSettings().value(f"RealTimeImaging/{key}", default)
    return default if found is None else found


def remember(key: str, value: Any) -> None:
    """Keep a value in Slicer's settings."""
    slicer.app.userSettings().setValue(f"RealTimeImaging/{key}", value)
