"""Plain text in the panel's labels and tool tips, never wider than the panel, with warnings readable on any palette.

Other people choose the names of files, devices and computers. Qt guesses whether a text is HTML; these functions
prevent that.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from typing import Any

import qt

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
