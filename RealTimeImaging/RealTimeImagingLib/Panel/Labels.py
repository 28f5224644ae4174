"""Text in the panel's labels and tool tips: always plain, never wider than the panel, warnings readable on any palette.

Names of files, devices and computers are chosen by others. Qt guesses by itself whether a label or a tool tip is
HTML; with the functions below it never does.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from typing import Any

import qt

BREAK = "\u200b"
"""A place without width at which Qt may break a line."""
LONGEST_WORD = 32
"""Characters; longer words, such as paths, get places to break."""
TIP_WIDTH = 90
"""Characters in a line of a tool tip: Qt breaks none that is plain text."""
UNLIMITED = 16777215
"""QWIDGETSIZE_MAX"""

_LONG = re.compile(rf"\S{{{LONGEST_WORD + 1},}}")
_PIECE = re.compile(rf"[^/\\._,:;=&?-]{{{LONGEST_WORD}}}|[/\\._,:;=&?-]+")


def breakable(text: str) -> str:
    """The text with places to break in words that are longer than a line."""
    return _LONG.sub(lambda word: _PIECE.sub(lambda piece: piece[0] + BREAK, word[0]), text)


def plainTip(text: str) -> str:
    """A tool tip that Qt takes for plain text: a "<" with something invisible behind begins no tag."""
    lines = [textwrap.fill(line, TIP_WIDTH, break_on_hyphens=False) for line in text.splitlines()]
    return "\n".join(lines).replace("<", "<" + BREAK).replace("&", "&" + BREAK)


def makePlain(widgets: Iterable[Any]) -> None:
    """No label guesses HTML, and labels that wrap take the width that is there."""
    for widget in widgets:
        if not widget.inherits("QLabel"):
            continue
        widget.setTextFormat(qt.Qt.PlainText)
        if widget.wordWrap:
            policy = widget.sizePolicy
            policy.setHorizontalPolicy(qt.QSizePolicy.Ignored)
            widget.setSizePolicy(policy)


def show(label: Any, text: str, warning: bool = False) -> None:
    """Show words in a label; the tool tip has them whole when they are long.

    :param warning: in the colour of warnings.
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
    """The label beside a section's controls that says why the last action was not possible.

    :param label: takes no room while there is nothing to say.
    """

    def __init__(self, label: Any) -> None:
        self._label = label
        self("")

    def __call__(self, text: str) -> None:
        """Say it until the next action; an empty text takes it back."""
        show(self._label, text, warning=True)
        self._label.setMaximumHeight(UNLIMITED if text else 0)
