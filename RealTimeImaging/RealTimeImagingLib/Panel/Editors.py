"""Editors of single settings: a widget each, with its value."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import ctk
import qt

from ..Model.Settings import LARGEST, Setting
from .Section import remember, rememberedJSON

LENGTH = 8
"""Least number of characters that a list or a path shows."""
RECENT = 5
"""Most texts of latest starts in a list."""
SPIN_WIDTH = 70
"""Least width of a spin box, pixels."""
LIST_SEPARATOR = "; "


class Editor:
    """Widget of one setting, with its value.

    :param widget: the widget.
    :param signal: signal of a change.
    :param read: returns the value.
    :param write: shows a value.
    """

    def __init__(self, widget: Any, signal: str, read: Callable[[], Any], write: Callable[[Any], None]) -> None:
        self.widget, self.signal, self.read, self.write = widget, signal, read, write


def checkBox() -> Editor:
    """Return an editor of True or False."""
    box = qt.QCheckBox()
    return Editor(box, "toggled(bool)", lambda: box.checked, box.setChecked)


def lineEdit(placeholder: str) -> Editor:
    """Return an editor of text."""
    edit = qt.QLineEdit()
    edit.placeholderText = placeholder
    return Editor(edit, "textChanged(QString)", lambda: edit.text.strip(), lambda value: edit.setText(str(value)))


class RecentEditor(Editor):
    """Editor of text, with a list of suggested texts and of those of the latest starts.

    :param suggested: texts that are always in the list.
    :param key: of the latest texts in Slicer's settings.
    :param combo: the list; None makes one.
    """

    def __init__(self, placeholder: str, suggested: Sequence[str], key: str, combo: Any = None) -> None:
        self._combo, self._suggested, self._key = combo or newCombo(), suggested, key
        self._combo.setEditable(True)
        self._combo.setInsertPolicy(qt.QComboBox.NoInsert)
        self._combo.lineEdit().placeholderText = placeholder
        self._list()
        super().__init__(
            self._combo, "editTextChanged(QString)", lambda: self._combo.currentText.strip(), self._combo.setEditText
        )

    def remember(self) -> None:
        """Put the text first into the list."""
        latest = [self.read(), *(one for one in self._latest() if one != self.read())]
        remember(self._key, json.dumps([one for one in latest if one][:RECENT]))
        text = self.read()
        self._list()
        self.write(text)

    def _latest(self) -> list[str]:
        return [str(one) for one in rememberedJSON(self._key, [])]

    def _list(self) -> None:
        latest = self._latest()
        blocked = self._combo.blockSignals(True)
        self._combo.clear()
        for text in (*latest, *(one for one in self._suggested if one not in latest)):
            self._combo.addItem(text)
        self._combo.blockSignals(blocked)


def listEdit(placeholder: str) -> Editor:
    """Return an editor of texts, separated by semicolons or commas."""
    text = lineEdit(placeholder)
    return Editor(
        text.widget,
        text.signal,
        lambda: tuple(one.strip() for one in text.read().replace(",", ";").split(";") if one.strip()),
        lambda values: text.write(LIST_SEPARATOR.join(values)),
    )


def pathEdit(path: str, key: str) -> Editor:
    """Return an editor of a path, which shows the newest path of its history.

    :param path: "folder" or "file".
    :param key: of the history in Slicer's settings.
    """
    edit = ctk.ctkPathLineEdit()
    edit.settingKey = key
    edit.filters = ctk.ctkPathLineEdit.Dirs if path == "folder" else ctk.ctkPathLineEdit.Files
    edit.minimumContentsLength = LENGTH
    return Editor(edit, "currentPathChanged(QString)", lambda: edit.currentPath, edit.setCurrentPath)


def spinBox(setting: Setting, type_: type, unit: str) -> Editor:
    """Return an editor of a number, in units of the setting's scale."""
    scale = setting.scale
    lowest, highest = (value / scale for value in setting.limits or (-LARGEST, LARGEST))
    if type_ is int:
        box = qt.QSpinBox()
        box.minimum, box.maximum = math.ceil(lowest), math.floor(highest)
        signal = "valueChanged(int)"
    else:
        box = qt.QDoubleSpinBox()
        box.decimals = setting.decimals
        # A smaller value would be shown as 0.
        box.minimum = max(lowest, 10.0**-box.decimals) if lowest > 0 else lowest
        box.maximum = highest
        signal = "valueChanged(double)"
    box.suffix = f" {unit}" if unit else ""
    # Otherwise the largest possible value would widen the panel.
    box.minimumWidth = SPIN_WIDTH
    return Editor(
        box,
        signal,
        lambda: box.value * scale,
        lambda value: box.setValue(
            max(box.minimum, min(value // scale if type_ is int else value / scale, box.maximum))
        ),
    )


def comboBox(choices: Mapping[Any, str]) -> Editor:
    """Return an editor of one of several values."""
    combo, values = newCombo(), list(choices)
    for label in choices.values():
        combo.addItem(label)
    return Editor(
        combo,
        "currentIndexChanged(int)",
        lambda: values[combo.currentIndex],
        lambda value: combo.setCurrentIndex(values.index(value)),
    )


class OfferEditor(Editor):
    """Editor of a value from those that the device offers. The first item leaves the choice to the device.

    :param default: value of the first item.
    :param label: text of the first item.
    :param wordsOf: returns the text of a value.
    """

    def __init__(self, default: Any, label: str, wordsOf: Callable[[Any], str]) -> None:
        self._combo, self._default, self._wordsOf = newCombo(), default, wordsOf
        self._values = [default]
        self._combo.addItem(label)
        super().__init__(
            self._combo,
            "currentIndexChanged(int)",
            lambda: self._values[max(0, self._combo.currentIndex)],
            self._choose,
        )

    def offer(self, values: Iterable[Any]) -> None:
        """List the values that the device offers; keep the chosen one if it is offered."""
        chosen, values = self.read(), list(values)
        while self._combo.count > 1:
            self._combo.removeItem(1)
        self._values = [self._default]
        for value in values:
            self._add(value)
        self._choose(chosen if chosen in values else self._default)

    def _add(self, value: Any) -> None:
        self._values.append(value)
        self._combo.addItem(self._wordsOf(value))

    def _choose(self, value: Any) -> None:
        if value not in self._values:
            self._add(value)
        self._combo.setCurrentIndex(self._values.index(value))


def newCombo() -> Any:
    """Return a combo box that does not widen the panel."""
    combo = qt.QComboBox()
    combo.sizeAdjustPolicy = qt.QComboBox.AdjustToMinimumContentsLengthWithIcon
    combo.minimumContentsLength = LENGTH
    return combo
