"""Base class of the panel's sections, and plain text in labels and tooltips."""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import qt
import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate

from ..Model.Errors import MissingPackageError, RealTimeImagingError
from ..Model.Files import parsedJSON
from ..Model.Signal import Signal
from ..Model.Text import Text

BREAK = "\u200b"
"""Zero-width space: Qt may break a line there."""
LONGEST_WORD = 32
"""Characters; longer words, such as paths, get zero-width spaces."""
LONGEST_PATH = 100
"""Characters; longer words are shown without their middle, and the tool tip has the whole."""
LONGEST_TEXT, MOST_LINES = 1000, 10
"""Most characters and lines of a text in the panel. A device or a file name can contain any text."""
LONGEST_TIP, MOST_TIP_LINES = 4000, 40
"""The same in a tool tip."""
TIP_WIDTH = 90
"""Characters in a line of an item's tool tip: Qt does not wrap plain text there."""
LARGE = 22
"""Pixels of a line of a large font."""
WIDEST_LABEL, WIDEST_BUTTON, WIDEST_ROW = 100, 160, 150
"""Most pixels of a label and a button on one line, and of the controls side by side, with a large font."""
SHORTEST = 2
"""Least number of characters of a list with a large font."""
UNLIMITED = 16777215
"""QWIDGETSIZE_MAX"""
COLOURS = {
    "idle": ("#404040", "#d0d0d0"),
    "waiting": ("#1f4e8c", "#90c4ff"),
    "receiving": ("#1b6e2e", "#7fd67f"),
    "slow": ("#7a4300", "#ffb060"),
    "alarm": ("#b00020", "#ff9c9c"),
    "stalled": ("#b00020", "#ff9c9c"),
    "error": ("#b00020", "#ff9c9c"),
    "warning": ("#b00020", "#ffb060"),
}
"""Colours of each state on a light and on a dark background, with a contrast of at least 4.5 to 1."""
SYMBOLS = {
    "idle": "\u25cb",
    "waiting": "\u25d4",
    "receiving": "\u25cf",
    "slow": "\u25b2",
    "alarm": "\u25c6",
    "stalled": "\u25a0",
    "error": "\u2716",
}
"""Symbols of the states: circle, quarter, disc, triangle, diamond, square, cross. The shapes differ, not only
the colours."""

NAMELESS = ("QComboBox", "QAbstractSpinBox", "QLineEdit", "QAbstractItemView", "QProgressBar", "ctkPathLineEdit")
"""Classes of controls without a text of their own."""

JSON = TypeVar("JSON", list[Any], dict[str, Any])

_PATH = re.compile(rf"\S{{{LONGEST_PATH + 1},}}")
_LONG = re.compile(rf"\S{{{LONGEST_WORD + 1},}}")
_PIECE = re.compile(rf"[^/\\._,:;=&?-]{{{LONGEST_WORD}}}|[/\\._,:;=&?-]+")


def translated(text: str) -> str:
    """Return a text in Slicer's language, with its values; text without a template stays as it is."""
    if not isinstance(text, Text):
        return text
    template = str(translate(text.context, text.template)) if text.context else text.template
    if text.values is None:
        return template
    values = {name: translated(value) if isinstance(value, str) else value for name, value in text.values.items()}
    try:
        return template.format(**values)
    except (LookupError, ValueError, TypeError, AttributeError):
        return str.__str__(text)  # a mistake in the translation


def breakable(text: str) -> str:
    """Return the text with zero-width spaces in words that are longer than a line."""
    return _LONG.sub(lambda word: _PIECE.sub(lambda piece: piece[0] + BREAK, word[0]), text)


def elided(text: str) -> str:
    """Return the text with "..." in the middle of words that are longer than two lines, such as paths.

    Texts that are too long for the panel lose their end.
    """
    text = _cut(text, LONGEST_TEXT, MOST_LINES)
    return _PATH.sub(lambda word: f"{word[0][: LONGEST_PATH // 3]}...{word[0][3 - 2 * LONGEST_PATH // 3 :]}", text)


def _cut(text: str, length: int, most: int) -> str:
    lines = text[:length].splitlines()
    short = "\n".join(lines[:most])
    return f"{short} ..." if len(text) > length or len(lines) > most else text


def plainTip(text: str) -> str:
    """Return wrapped text for the tool tip of an item, such as a table's, which Qt takes for plain text."""
    lines = _cut(text, LONGEST_TIP, MOST_TIP_LINES).splitlines()
    # Most texts are short, and filling takes long.
    filled = (textwrap.fill(one, TIP_WIDTH, break_on_hyphens=False) if len(one) > TIP_WIDTH else one for one in lines)
    return _plain("\n".join(filled))


def _plain(text: str) -> str:
    """Return the text with zero-width spaces after "<" and "&", which prevent tags and entities.

    Texts that are too long lose their end.
    """
    return _cut(text, LONGEST_TIP, MOST_TIP_LINES).replace("<", "<" + BREAK).replace("&", "&" + BREAK)


def tipOf(widget: Any) -> str:
    """Return the tool tip of a widget as plain text: Slicer makes rich text of it, so that Qt wraps it."""
    tip = str(widget.toolTip)
    if not tip.startswith("<p>"):
        return tip
    lines = tip.removeprefix("<p>").removesuffix("</p>").replace("</p>\n<p>", "\n\n").replace("<br>\n", "\n")
    return html.unescape(lines)


def setTip(widget: Any, text: str) -> None:
    """Show plain text as the tool tip of a widget; Slicer wraps it."""
    text = _plain(text.strip())
    if tipOf(widget) != text:
        widget.toolTip = text


def hasLargeFont(widget: Any) -> bool:
    """Return whether a widget has a font for which two columns are too wide."""
    return bool(widget.fontMetrics().lineSpacing() >= LARGE)


def shrink(widgets: Iterable[Any]) -> None:
    """Fit a large font: long labels and buttons take two lines, a field is below its label, the controls of a wide row
    are below each other, and lists show the beginning of their texts.

    :param widgets: of the panel, with their layouts.
    """
    found = list(widgets)
    if not any(hasLargeFont(one) for one in found if one.inherits("QLabel")):
        return
    for layout in found:
        if layout.inherits("QGridLayout"):
            for row in range(layout.rowCount()):
                _stack(layout, row)
    for widget in found:
        if widget.inherits("QLabel"):
            widget.wordWrap = widget.wordWrap or widget.sizeHint.width() > WIDEST_LABEL
        elif widget.inherits("QPushButton") or widget.inherits("QCheckBox"):
            if widget.sizeHint.width() > WIDEST_BUTTON:
                widget.text = _inTwoLines(str(widget.text))
        elif widget.inherits("QComboBox") or widget.inherits("ctkPathLineEdit"):
            widget.minimumContentsLength = SHORTEST
        elif widget.inherits("QTableWidget"):
            widget.wordWrap = False
        elif widget.inherits("QAbstractSpinBox") and not widget.minimumWidth:
            widget.minimumWidth = widget.minimumSizeHint.width()
    for layout in found:
        if layout.inherits("QHBoxLayout") and _isWide(layout):
            layout.setDirection(qt.QBoxLayout.TopToBottom)
    for widget in found:
        if widget.inherits("QLabel") and widget.wordWrap:
            # Qt's hint of a label that wraps is its longest word.
            _limitHint(widget, max(WIDEST_LABEL, widget.minimumSizeHint.width()))
        elif widget.inherits("ctkPathLineEdit"):
            _limitHint(widget, min(WIDEST_LABEL, widget.minimumSizeHint.width()))
    for layout in found:
        if layout.inherits("QGridLayout"):
            _makeRoom(layout)


def _limitHint(widget: Any, width: int) -> None:
    """Let a long text not widen the panel: Slicer never makes a panel narrower than its size hint."""
    if widget.sizePolicy.horizontalPolicy() != qt.QSizePolicy.Ignored:
        widget.setSizePolicy(qt.QSizePolicy.Ignored, widget.sizePolicy.verticalPolicy())
        widget.minimumWidth = max(widget.minimumWidth, width)


def _makeRoom(grid: Any) -> None:
    """Make the column of the labels as wide as each label must be: Qt makes it as wide as their hints, which are 0."""
    for row in range(grid.rowCount()):
        items = [grid.itemAtPosition(row, column) for column in range(2)]
        if None in items:
            continue
        label, field = (item.widget() for item in items)
        if label is None or not label.inherits("QLabel"):
            continue
        if field is None or field.objectName != label.objectName:  # the label has the row's first column only
            grid.setColumnMinimumWidth(0, max(grid.columnMinimumWidth(0), label.minimumWidth))


def _stack(grid: Any, row: int) -> None:
    """Put the field of a row below its label; a check box stays beside it."""
    items = [grid.itemAtPosition(row, column) for column in range(2)]
    label, field = (item.widget() if item is not None else None for item in items)
    if label is None or field is None or not label.inherits("QLabel") or field.inherits("QCheckBox"):
        return
    if label.objectName == field.objectName:
        return
    box = qt.QWidget()
    layout = qt.QVBoxLayout(box)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.addWidget(label)
    layout.addWidget(field)
    grid.addWidget(box, row, 0, 1, 2)


def moveToEnd(grid: Any, label: Any, field: Any) -> None:
    """Make a row the last one of its grid.

    :param label: in the row's first column, or above the field with a large font.
    """
    row = grid.rowCount()
    if grid.indexOf(label) < 0:
        box = label.parent()
        grid.removeWidget(box)
        grid.addWidget(box, row, 0, 1, 2)
        return
    for column, widget in enumerate((label, field)):
        grid.removeWidget(widget)
        grid.addWidget(widget, row, column)


def _inTwoLines(text: str) -> str:
    words = text.split()
    breaks = [(" ".join(words[:place]), " ".join(words[place:])) for place in range(1, len(words))]
    return "\n".join(min(breaks, key=lambda lines: max(map(len, lines)))) if breaks else text


def _isWide(row: Any) -> bool:
    items = [row.itemAt(place) for place in range(row.count())]
    if any(item.layout() is not None for item in items):
        return True  # buttons that appear later, beside the status
    widgets = [item.widget() for item in items]
    return sum(int(widget.minimumSizeHint.width()) for widget in widgets if widget is not None) > WIDEST_ROW


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


def addCopy(label: Any, connect: Callable[..., None]) -> None:
    """Add "Copy" to the context menu of a label: it copies the whole text that :func:`show` shows.

    A selection of the label's text would have its zero-width spaces, with which no path and no command works.

    :param connect: :meth:`Section.connect`.
    """
    action = qt.QAction(_("Copy"), label)
    label.addAction(action)
    label.setContextMenuPolicy(qt.Qt.ActionsContextMenu)
    connect(action, "triggered()", lambda: slicer.app.clipboard().setText(label.property("whole") or ""))


def nameControls(widgets: Mapping[str, Any]) -> None:
    """Give every control a name for screen readers: its label's text, or else what its tool tip says first.

    The label of a control has the control's name with "Label" behind it; its key moves the focus to the control.
    """
    for name, widget in widgets.items():
        label = widgets.get(f"{name}Label")
        if label is not None and label.inherits("QLabel") and not widget.inherits("QLabel"):
            label.setBuddy(widget)
        elif any(map(widget.inherits, NAMELESS)) and not widget.accessibleName:
            # A tool tip may have line breaks, and addresses such as 10.0.0.7.
            first = re.split(r"\.(?:\s|$)", tipOf(widget))[0]
            widget.setAccessibleName(" ".join(first.replace(BREAK, "").split()))


def titleWidths(table: Any) -> list[int]:
    """Return the widths that the titles of a table's columns need, while all columns are shown."""
    header = table.horizontalHeader()
    return [header.sectionSizeHint(column) for column in range(table.columnCount)]


def hideColumns(table: Any, titles: list[int], stretched: int, spare: Sequence[int]) -> None:
    """Hide columns for which a table has no room, such as with a large font.

    :param titles: :func:`titleWidths`.
    :param stretched: the column that has at least room for its title; all others have room for their texts.
    :param spare: columns that are hidden, one after the other.
    """
    widths = [
        max(title, 0 if column == stretched else table.sizeHintForColumn(column)) for column, title in enumerate(titles)
    ]
    room = table.viewport().width - sum(widths)
    for column in spare:
        table.setColumnHidden(column, room < 0)
        room += widths[column] if room < 0 else 0


def setRoom(widget: Any, height: int) -> None:
    """Give a list or table a fixed height in pixels; with 0 it takes no room."""
    if widget.minimumHeight != height or widget.maximumHeight != height:
        widget.setMinimumHeight(height)
        widget.setMaximumHeight(height)


def heightOf(table: Any, rows: int) -> int:
    """Return the height of a table with its header and its first rows, in pixels."""
    header = table.horizontalHeader().sizeHint.height()
    return int(header + sum(table.rowHeight(row) for row in range(rows)) + 2 * table.frameWidth)


def show(label: Any, text: str, warning: bool = False, colour: str = "", tip: str = "") -> None:
    """Show text in a label, in Slicer's language; the tool tip repeats long texts.

    :param warning: True uses the colour of warnings.
    :param colour: another colour, such as "#1b6e2e".
    :param tip: more about the text, below the meaning of the label in its tool tip.
    """
    text = translated(text)
    meaning = label.property("meaning")
    if meaning is None:
        meaning = tipOf(label)
        label.setProperty("meaning", meaning)
    if label.property("whole") != text:
        label.setProperty("whole", text)
    _write(label, "text", breakable(elided(text)))
    shown = text if len(text) > 2 * LONGEST_WORD else meaning
    setTip(label, f"{shown}\n\n{tip}" if tip else shown)
    colour = warningColour(label) if warning else colour
    _write(label, "styleSheet", f"color: {colour}" if colour else "")


def _write(label: Any, name: str, value: str) -> None:
    if getattr(label, name) != value:
        setattr(label, name, value)


def warningColour(widget: Any) -> str:
    """Return a colour for warnings that is readable on the widget's background, dark or light."""
    return stateColour(widget, "warning")


def stateColour(widget: Any, state: str) -> str:
    """Return the colour of a state that is readable on the widget's background, dark or light."""
    # A widget with a style sheet keeps its palette when Slicer's style changes.
    asked = widget.parent() if widget.styleSheet else None
    dark = (asked or widget).palette.color(qt.QPalette.Window).lightness() < 128
    return COLOURS[state][dark]


def showOrHide(label: Any, text: str, warning: bool = False) -> None:
    """Show text in a label that takes no room while it is empty."""
    show(label, text, warning)
    label.setMaximumHeight(UNLIMITED if text else 0)


class Complaint:
    """A label beside a section's controls with the reason why the last action was not possible.

    :param label: takes no space while it is empty.
    """

    def __init__(self, label: Any) -> None:
        self._label = label
        self("")

    def __call__(self, text: str) -> None:
        """Show a reason until the next action; an empty text hides the label."""
        showOrHide(self._label, text, warning=True)


class Section:
    """One section of the panel.

    :param ui: the widgets by name (slicer.util.childWidgetVariables).
    :param logic: a RealTimeImagingLogic.
    :param complain: shows the reason why an action is not possible beside the controls, until the next action.
    """

    def __init__(self, ui: Any, logic: Any, complain: Callable[[str], None]) -> None:
        self.ui, self.logic, self.complain = ui, logic, complain
        self.acted: Signal[[]] = Signal()
        """Emitted after each action of the user, and when the program changes a widget."""
        self._connections: list[tuple[Any, str, Callable[..., None]]] = []
        self._dialog: tuple[Any, Callable[[str], None]] | None = None

    def connect(self, sender: Any, signal: str, slot: Callable[..., None]) -> None:
        """Connect until :meth:`close`. A click also hides the reason why the last action was not possible."""
        receivers: list[Callable[..., None]] = [slot]
        if signal == "clicked()":
            receivers.insert(0, self._hideComplaint)
        if signal != "timeout()":
            receivers.append(self._act)
        for receiver in receivers:
            sender.connect(signal, receiver)
            self._connections.append((sender, signal, receiver))

    def _act(self, *_values: Any) -> None:
        self.acted.emit()

    def _hideComplaint(self) -> None:
        self.complain("")

    def close(self) -> None:
        """Disconnect from all widgets."""
        self._closeDialog()
        for sender, signal, slot in self._connections:
            sender.disconnect(signal, slot)
        self._connections = []

    def saveTable(self, title: str, name: str, write: Callable[[str], None]) -> None:
        """Ask for the path of a CSV file, and write it. Images are shown while the dialog is open: it does not block.

        :param name: of the file.
        :param write: takes the path.
        """
        self._closeDialog()
        dialog = qt.QFileDialog(slicer.util.mainWindow(), title)
        self._dialog = dialog, write
        dialog.setAcceptMode(qt.QFileDialog.AcceptSave)
        dialog.setNameFilters([_("Table (*.csv)")])
        dialog.setDefaultSuffix("csv")
        dialog.selectFile(name)
        dialog.connect("fileSelected(QString)", write)
        dialog.show()

    def _closeDialog(self) -> None:
        if self._dialog is not None:
            dialog, write = self._dialog
            self._dialog = None
            dialog.disconnect("fileSelected(QString)", write)
            dialog.close()
            dialog.deleteLater()

    def refresh(self, values: dict[str, Any]) -> None:
        """Show the logic's state. A section overrides this, or :meth:`pieces` when it has much to do.

        :param values: logic.statistics().
        """

    def pieces(self, values: dict[str, Any]) -> Iterator[None]:
        """Show the logic's state; yield where the window may do other work in between."""
        self.refresh(values)
        yield from ()

    def showNow(self, values: dict[str, Any]) -> None:
        """Show the logic's state without a pause between the pieces."""
        for _piece in self.pieces(values):
            pass

    def attempt(self, action: Callable[[], object]) -> bool:
        """Do what the user asked for; return False and show the reason when it is not possible.

        When Python packages are missing, ask the user once whether to install them.
        """
        self._hideComplaint()
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

    def check(self, box: Any, checked: bool) -> None:
        """Set a check box as if the user had not clicked it."""
        blocked = box.blockSignals(True)
        box.checked = checked
        box.blockSignals(blocked)


def remembered(key: str, default: Any = "") -> Any:
    """Return a value from Slicer's settings; the default instead of one that was damaged.

    :param default: a text, a number or a bool; the value has its type.
    """
    found = slicer.app.userSettings().value(f"RealTimeImaging/{key}", default)
    if not isinstance(found, str | int | float):
        return default
    if isinstance(default, bool):
        return slicer.util.toBool(found)
    try:
        return type(default)(found)
    except ValueError:
        return default


def rememberedJSON(key: str, empty: JSON) -> JSON:
    """Return a value that was stored as JSON in Slicer's settings; ``empty`` instead of none and of a damaged one.

    :param empty: a list or a dictionary; the value has its type.
    """
    try:
        found = parsedJSON(remembered(key) or "null")
    except ValueError:
        return empty
    return found if isinstance(found, type(empty)) else empty


def remember(key: str, value: Any) -> None:
    """Store a value in Slicer's settings."""
    slicer.app.userSettings().setValue(f"RealTimeImaging/{key}", value)
