"""Form of described settings, such as those of a source or the parameters of a function."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any, get_args

import qt

from ..Model.Errors import SettingsError
from ..Model.Settings import DescribedSettings, SettingField, settingFields
from .Editors import (
    Editor,
    OfferEditor,
    RecentEditor,
    checkBox,
    comboBox,
    lineEdit,
    listEdit,
    newCombo,
    pathEdit,
    spinBox,
)
from .Section import Section, hasLargeFont, makePlain, nameControls, setTip, shrink, translated


@dataclass
class Row:
    """One row of the form.

    :param field: widget in the second column, which holds the editor and buttons.
    :param gridRow: row of the grid.
    :param editor: None for a row of the kind's controls.
    :param fields: names of the settings in it.
    """

    name: str
    label: Any
    field: Any
    gridRow: int
    advanced: bool = False
    editor: Editor | None = None
    fields: tuple[str, ...] = ()
    widgets: list[Any] = dataclasses.field(default_factory=list)
    """Editor and buttons, from left to right."""


class SettingsForm:
    """Rows made from the descriptions of settings.

    The widget of a setting is named NAME_SETTING, such as ``folder_pattern``, its label ``folder_pattern_label``, and
    the widgets of a setting of several numbers ``camera_crop0`` and so on. They are attributes of ``ui``.

    :param name: begins the names of the widgets, and of the latest paths and texts in Slicer's settings.
    :param settings: the class of the settings.
    :param section: the panel's section.
    :param grids: layouts that take the rows: those that are always there, and the advanced ones.
    """

    def __init__(self, name: str, settings: type[DescribedSettings], section: Section, grids: tuple[Any, Any]) -> None:
        self.name, self._class, self._section, self._shown = name, settings, section, False
        self._settings: dict[str, SettingField] = {field.name: field for field in settingFields(settings)}
        self._rows: dict[str, Row] = {}
        self._rowOf: dict[str, list[Row]] = {}
        self._grids = grids
        for grid in self._grids:
            # The labels are as narrow as they can be: a choice is cut off otherwise.
            grid.setColumnStretch(1, 1)
        # The volume's name comes last, wherever it is in the class.
        for field in sorted(self._settings.values(), key=lambda one: one.name == "stream"):
            if field.setting.inPanel and not field.setting.sharesRow:
                self._addSetting(field)

    # ---- rows

    def _addSetting(self, field: SettingField) -> None:
        setting = field.setting
        shared = [one.name for one in self._settings.values() if one.setting.sharesRow == field.name]
        if setting.parts:
            names = [f"{field.name}{number}" for number in range(len(setting.parts))]
            titles, types = setting.parts, get_args(field.type)
        else:
            names, titles, types = [field.name], (setting.title,), (field.type,)
        editors = [self._editor(field, type_, shared) for type_ in types]
        self._rowOf[field.name] = []
        for name, title, editor in zip(names, titles, editors, strict=True):
            row = self._add(name, translated(title), translated(setting.tooltip), editor.widget, setting.advanced)
            row.editor, row.fields = editor, (field.name, *shared)
            self._rowOf[field.name].append(row)
            self._section.connect(editor.widget, editor.signal, self.showRows)

    def _editor(self, field: SettingField, type_: Any, shared: list[str]) -> Editor:
        setting, unit = field.setting, translated(field.setting.scaledUnit or field.setting.unit)
        if setting.offered:
            label = translated(setting.offered)
            if shared:
                default = tuple(self._settings[name].default for name in (field.name, *shared))
                return OfferEditor(default, label, lambda values: " x ".join(map(str, values)))
            return OfferEditor(
                field.default, label, lambda value: value if isinstance(value, str) else f"{value:g} {unit}".strip()
            )
        if setting.choices:
            return comboBox({value: translated(label) for value, label in setting.choices.items()})
        if setting.path:
            return pathEdit(setting.path, f"RealTimeImaging/Recent/{self.name}_{field.name}")
        if type_ is bool:
            return checkBox()
        if field.isList:
            return listEdit(translated(setting.placeholder))
        if type_ in (int, float):
            return spinBox(setting, type_, unit)
        if setting.suggested:
            key = f"Recent/{self.name}_{field.name}"
            return RecentEditor(translated(setting.placeholder), setting.suggested, key)
        return lineEdit(translated(setting.placeholder))

    newCombo = staticmethod(newCombo)

    def addRow(self, name: str, title: str, tooltip: str, widget: Any, after: str = "") -> None:
        """Add a row for the kind's controls, behind the rows that are there.

        :param after: name of the setting below which it is placed, and with which it is hidden; empty for the end.
        """
        row = self._add(name, title, tooltip, widget, False, after)
        row.fields = (after,) if after else ()

    def addButton(self, row: str, name: str, text: str, tooltip: str) -> Any:
        """Add a button beside the field of a row; returns it."""
        button = qt.QPushButton(text)
        self._name(button, name, tooltip)
        self._rows[row].field.layout().addWidget(button)
        self._rows[row].widgets.append(button)
        shrink([self._rows[row].label, button])
        return button

    def _add(self, name: str, title: str, tooltip: str, widget: Any, advanced: bool, after: str = "") -> Row:
        label = qt.QLabel(f"{title}:")
        makePlain([label])
        self._name(label, f"{name}_label", tooltip)
        self._name(widget, name, tooltip)
        large = hasLargeFont(label)
        field = qt.QWidget()
        layout = qt.QVBoxLayout(field) if large else qt.QHBoxLayout(field)
        layout.setContentsMargins(0, 0, 0, 0)
        if large:
            layout.addWidget(label)
        layout.addWidget(widget)
        grid = self._grids[advanced]
        # Every second row of the grid stays free for a row that is placed after another.
        gridRow = self._rows[after].gridRow + 1 if after else grid.rowCount() + 1
        if not large:
            grid.addWidget(label, gridRow, 0)
        grid.addWidget(field, gridRow, 0 if large else 1, 1, 2 if large else 1)
        label.setBuddy(widget)
        shrink([label, widget])
        row = self._rows[name] = Row(name, label, field, gridRow, advanced, widgets=[widget])
        return row

    def _name(self, widget: Any, name: str, tooltip: str) -> None:
        widget.setObjectName(f"{self.name}_{name}")
        setTip(widget, tooltip)
        nameControls({name: widget})
        setattr(self._section.ui, f"{self.name}_{name}", widget)

    def onChange(self, name: str, slot: Callable[[], None]) -> None:
        """Call when the user changes a setting."""
        for row in self._rowOf[name]:
            if row.editor:
                self._section.connect(row.editor.widget, row.editor.signal, lambda *_value: slot())

    def onAnyChange(self, slot: Callable[[], None]) -> None:
        """Call when the user changes any setting."""
        for name in self._rowOf:
            self.onChange(name, slot)

    def widgets(self, advanced: bool) -> list[Any]:
        """Return the controls from top to bottom.

        :param advanced: True for those under "More options".
        """
        rows = sorted((row for row in self._rows.values() if row.advanced == advanced), key=lambda row: row.gridRow)
        return [widget for row in rows for widget in row.widgets]

    # ---- values

    def value(self, name: str) -> Any:
        """Return the value of a setting, unchecked."""
        values = [row.editor.read() for row in self._rowOf[name] if row.editor]
        return tuple(values) if self._settings[name].setting.parts else values[0]

    def set(self, name: str, value: Any) -> None:
        """Show the value of a setting."""
        rows = self._rowOf[name]
        for row, one in zip(rows, value if self._settings[name].setting.parts else [value], strict=True):
            if row.editor:
                row.editor.write(one)

    def offer(self, name: str, values: Iterable[Any]) -> None:
        """List the values of a setting that the device offers."""
        for row in self._rowOf[name]:
            if isinstance(row.editor, OfferEditor):
                row.editor.offer(values)

    def unavailable(self) -> Set[str]:
        """Return the names of rows that cannot be used now."""
        return frozenset()

    def read(self) -> Any:
        """Return the settings in the form.

        :raises SettingsError: a value that cannot work.
        """
        values, absent = self.values(), self.unavailable()
        # A value that one device offers is not requested from another.
        absent |= {name for name in self._class.unused(values) if self._settings[name].setting.offered}
        for name in absent & set(self._rowOf):
            for one in self._rowOf[name][0].fields:
                del values[one]
        return self._class(**values)

    def values(self) -> dict[str, Any]:
        """Return the values by name, unchecked."""
        values: dict[str, Any] = {}
        for name, rows in self._rowOf.items():
            fields = rows[0].fields
            values |= zip(fields, self.value(name), strict=True) if len(fields) > 1 else {name: self.value(name)}
        return values

    def show(self, settings: DescribedSettings | None) -> None:
        """Fill the form; None fills it with the defaults."""
        for name, rows in self._rowOf.items():
            fields = rows[0].fields
            if settings is not None:
                values = tuple(getattr(settings, one) for one in fields)
            elif self._settings[name].required:
                continue
            else:
                values = tuple(self._settings[one].default for one in fields)
            self.set(name, values if len(fields) > 1 else values[0])

    def fill(self, values: Mapping[str, Any]) -> None:
        """Show values by name; ignore unknown names, and values that cannot work."""
        for name, value in values.items():
            field = self._settings.get(name)
            if field is None or name not in self._rowOf:
                continue
            try:
                self.set(name, field.check(value))
            except SettingsError:
                continue

    # ---- visibility

    def setShown(self, shown: bool) -> None:
        """Show the rows of the form, or hide them all."""
        self._shown = shown
        self.showRows()

    def showRows(self, *_value: object) -> None:
        """Hide the rows that have no effect with the current values."""
        hidden = self._class.unused(self.values()) | self.unavailable()
        for row in self._rows.values():
            visible = self._shown and row.name not in hidden and not hidden & set(row.fields)
            row.label.visible = row.field.visible = visible

    # ---- paths

    def askForPath(self) -> None:
        """Open the dialog for the first path that is missing, as its button would."""
        for name, rows in self._rowOf.items():
            field = self._settings[name]
            if field.setting.path and field.required and not self.value(name).strip():
                if rows[0].editor:
                    rows[0].editor.widget.browse()
                return

    def remember(self) -> None:
        """Add paths and other texts to the lists of their fields."""
        for name, rows in self._rowOf.items():
            editor = rows[0].editor
            if isinstance(editor, RecentEditor):
                editor.remember()
            elif editor and self._settings[name].setting.path:
                editor.widget.addCurrentPathToHistory()
