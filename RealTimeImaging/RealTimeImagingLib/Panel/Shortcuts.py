"""Keys for the buttons that are needed while images arrive, and files that are dropped on the panel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import qt

from .Section import setTip, tipOf

KEYS = {
    "startButton": "Ctrl+Shift+L",
    "recordButton": "Ctrl+Shift+R",
    "snapshotButton": "Ctrl+Shift+P",
}
"""Key of each button: live, record, picture. Slicer uses Ctrl+Shift with A, T, the space bar and the arrows."""


class Shortcuts:
    """Keys that press buttons while the panel is visible and the user does not type. Tool tips name them.

    :param panel: the panel's widget.
    :param buttons: the widgets by name.
    """

    def __init__(self, panel: Any, buttons: Mapping[str, Any]) -> None:
        self._shortcuts: list[tuple[Any, Callable[[], None]]] = []
        for name, key in KEYS.items():
            button = buttons[name]
            shortcut = qt.QShortcut(panel)
            sequence = qt.QKeySequence(key)
            shortcut.setKey(sequence)
            # A key that is held would start and stop again and again.
            shortcut.setAutoRepeat(False)
            press = partial(_press, button)
            shortcut.connect("activated()", press)
            # On macOS the key has other signs.
            words = sequence.toString(qt.QKeySequence.NativeText)
            setTip(button, f"{tipOf(button)} ({words})")
            self._shortcuts.append((shortcut, press))

    def close(self) -> None:
        """Release the keys."""
        for shortcut, press in self._shortcuts:
            shortcut.disconnect("activated()", press)
            shortcut.setEnabled(False)
        self._shortcuts = []


def _press(button: Any) -> None:
    if not _types():
        button.click()


def _types() -> bool:
    """Return True while a widget that takes typed text has the focus, in this module or another."""
    focus = qt.QApplication.focusWidget()
    # A list with an editable item only seems to take text: its editor is a widget of its own.
    if focus is None or focus.inherits("QAbstractItemView"):
        return False
    return bool(focus.testAttribute(qt.Qt.WA_InputMethodEnabled))


class FileDrop(qt.QObject):  # type: ignore[misc]
    """Passes on the path of a folder or file that the user drops on the panel.

    :param panel: the panel's widget.
    :param take: takes the path; returns False when it cannot be used.
    """

    def __init__(self, panel: Any, take: Callable[[str], bool]) -> None:
        qt.QObject.__init__(self, panel)
        self.panel, self.take = panel, take
        panel.setAcceptDrops(True)
        panel.installEventFilter(self)

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Accept one folder or file on this computer."""
        kind = event.type()
        if kind not in (qt.QEvent.DragEnter, qt.QEvent.Drop):
            return False
        paths = [url.toLocalFile() for url in event.mimeData().urls()]
        if len(paths) != 1 or not paths[0] or (kind == qt.QEvent.Drop and not self.take(paths[0])):
            return False
        event.acceptProposedAction()
        return True

    def close(self) -> None:
        """Take no more files."""
        self.panel.removeEventFilter(self)
        self.panel.setAcceptDrops(False)
        # Qt keeps this object as long as the widget, and must not keep the panel.
        del self.take
