"""Texts of the panel: plain text from any source, never wider than the panel, true when they are read."""

from __future__ import annotations

import re
import time

import pytest
import slicerhost
from RealTimeImagingLib import FolderSettings
from RealTimeImagingLib.Model.DeviceMessage import DeviceMessage
from RealTimeImagingLib.Model.Event import Event

from .conftest import until, untilStopped
from .test_Panel import makeForms, panelOf, save


@pytest.fixture
def labels(slicer):
    """The file with the panel's functions for labels, which needs `qt`."""
    from RealTimeImagingLib.Panel import Section as Labels

    return Labels


HOSTILE = (
    "<h1>BOLD<i>",
    "<img src='http://10.0.0.1/x.png'>",
    "<!doctype html><b>x</b>",
    "<?xml version='1.0'?><b>x</b>",
    "&lt;b&gt;x",
    "<a href='file:///etc/passwd'>click</a>",
    "\n <table><tr><td>x",
)


CHARACTERS = 50
"""Length of a label and a choice that fit side by side in Slicer's panel, which has 370 pixels by default."""


def richText(text):
    """Return True if Qt would treat the text as HTML."""
    from PySide6.QtGui import Qt

    return Qt.mightBeRichText(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_toolTipsArePlainText(labels, text):
    for padded in (text, f"{text} is not an image", "Ä " * 60 + text):
        assert not richText(labels.plainTip(padded))
        assert labels.plainTip(padded).replace("\u200b", "").split() == padded.split()


@pytest.mark.parametrize("text", ["a\nb\n" * 1000, "word " * 60_000, "x" * 10_000_000, "\n" * 100_000])
def test_longTextsFitThePanel(module, logic, incoming, text):
    """A device, or the name of a file, may have any text; the buttons below the status line stay in sight."""
    ui = panelOf(module).ui
    source = logic.start(FolderSettings(incoming))
    until(lambda: source.state == "running")
    source.status = text
    logic._callbacks.report(Event("note", text, "warning"))
    panelOf(module).refresh()
    longest = max(len(one) for one in (ui.statusLabel.text, ui.lastEventLabel.text, ui.eventsList.item(0).text()))
    assert longest < 1200
    assert ui.statusLabel.text.count("\n") < 12
    assert len(ui.statusLabel.toolTip) < 5000
    untilStopped(logic)


@pytest.mark.parametrize(
    "template", ["{name.first} fehlt", "{name[0][1]} fehlt", "{count[0]}", "{}", "{title}", "{name", "{name:d}"]
)
def test_aMistakeInATranslationShowsTheEnglishText(labels, monkeypatch, template):
    from RealTimeImagingLib.Model.Text import Text

    monkeypatch.setattr(labels, "translate", lambda context, text: template)
    assert labels.translated(Text("{name} is missing.", "A.B", {"name": "a.nii", "count": 1})) == "a.nii is missing."


@pytest.mark.parametrize("text", [*HOSTILE, "One.\nTwo & <three>.\n\nFour.", ""])
def test_toolTipsAreReadAsTheyWereWritten(labels, text):
    """Slicer makes rich text of the tool tips of widgets."""
    import qt

    label = qt.QLabel()
    labels.setTip(label, text)
    assert labels.tipOf(label).replace("\u200b", "") == text.strip()
    assert not richText(labels.tipOf(label))
    assert label.toolTip == "" or richText(label.toolTip)


def test_toolTipsOfWidgetsHaveNoLineBreaksOfTheirOwn(labels):
    """Slicer wraps them: further breaks would leave short lines between the long ones."""
    import qt

    label = qt.QLabel()
    labels.setTip(label, "A sentence of many words. " * 20)
    assert "\n" not in label.toolTip


def test_onlyLongWordsCanBreak(labels):
    assert labels.breakable("Waiting for http://127.0.0.1:18980/frame") == "Waiting for http://127.0.0.1:18980/frame"
    path = "/data/" + "a" * 90 + "/b_c.nii"
    broken = labels.breakable(f"{path} is damaged")
    assert broken.replace("\u200b", "") == f"{path} is damaged"
    assert max(map(len, broken.split()[0].split("\u200b"))) <= 32


def widgets(ui):
    """All widgets of the panel, each once."""
    return list({id(widget): widget for widget in vars(ui).values() if widget.inherits("QWidget")}.values())


@pytest.mark.parametrize("name", HOSTILE[:3])
def test_namesAreNeverRenderedAsHTML(slicer, module, logic, labels, name):
    """Every label and every tool tip with a name is plain text, for any name."""
    panel = panelOf(module)
    ui = panel.ui
    makeForms(ui)
    for level in ("info", "warning", "error"):
        logic._callbacks.report(Event("connected", f"{name} is there", level, name))
    logic._callbacks.report(Event("answered", f"{name} answers", "info", name))
    logic.devices.nodes.show(DeviceMessage("text", name, {"text": f"{name} " * 9}, time.time()))
    for complaint in (panel._source.complain, panel._metadata.complain):
        complaint(f"{name} cannot be used, " + "x" * 70)
    panel.refresh()
    shown = 0
    for widget in widgets(ui):
        if widget.inherits("QLabel"):
            assert widget.textFormat == 0, widget.name  # Qt::PlainText
            shown += name[:5] in widget.text
        assert not richText(labels.tipOf(widget)), widget.name
        if widget.inherits("QListWidget"):
            tips = [widget.item(row).toolTip() for row in range(widget.count)]
            assert not any(map(richText, tips))
            shown += len(tips)
        if widget.inherits("QTableWidget"):
            cells = [(row, column) for row in range(widget.rowCount) for column in range(widget.columnCount)]
            items = [item for item in (widget.item(*cell) for cell in cells) if item]
            assert not any(richText(item.toolTip()) for item in items)
            shown += sum(name[:5] in item.text() for item in items)
    assert shown >= 10


@pytest.mark.parametrize("width", [380, 420, 1200])
def test_noLabelWidensThePanel(module, logic, labels, width):
    """Long paths wrap: the widgets stay within the width that Slicer gives the panel."""
    import qt

    panel, ui = panelOf(module), panelOf(module).ui
    long = "/data/" + "very-long-folder-name" * 8 + "/" + "x" * 150 + ".nii is not an image."
    logic._callbacks.report(Event("damaged", long, "warning", long))
    logic._callbacks.report(Event("answered", long, "warning", long))
    column = qt.QScrollArea()
    column.setWidgetResizable(True)
    column.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
    column.setFixedWidth(width)
    column.setWidget(module.widgetRepresentation())
    column.show()
    panel.refresh()
    for section in panel._sections:
        section.complain(long)
    for name in ("statusLabel", "recordingLabel", "exportLabel", "convertLabel", "broadcastLabel", "metadataLabel"):
        # Some take no room while they are empty.
        getattr(ui, name).setMaximumHeight(labels.UNLIMITED)
        getattr(ui, name).text = labels.breakable(long)
    seen = [one for one in widgets(ui) if one.inherits("QLabel") and one.isVisible()]
    try:
        until(lambda: all(label.height >= label.heightForWidth(label.width) for label in seen))
        assert column.widget().minimumSizeHint.width() <= 380
        assert column.widget().width <= width
        ui.optionsSection.collapsed = False
        for index in range(ui.sourceComboBox.count):
            ui.sourceComboBox.currentIndex = index
            slicerhost.processEvents()
            assert column.widget().minimumSizeHint.width() <= 380, ui.sourceComboBox.currentText
        ui.optionsSection.collapsed = True
        ui.sourceComboBox.currentIndex = 0
        slicerhost.processEvents()
        rights = {label.name: label.mapTo(column.widget(), qt.QPoint(label.width, 0)).x() for label in seen}
        assert max(rights.values()) <= width, rights
    finally:
        column.takeWidget()


def test_noSectionWidensThePanel(module, column):
    """Slicer gives a module's widget the size policy Minimum: what it would like to have is the least that it gets."""
    ui = panelOf(module).ui
    content = column(380).widget()
    sections = [one for one in vars(ui).values() if one.inherits("ctkCollapsibleButton")]
    for section in sections:
        section.collapsed = False
    widths = {}
    for index in range(ui.sourceComboBox.count):
        ui.sourceComboBox.currentIndex = index
        slicerhost.processEvents()
        widths[ui.sourceComboBox.currentText] = content.sizeHint.width()
    for index in range(ui.functionComboBox.count):
        ui.functionComboBox.currentIndex = index
        slicerhost.processEvents()
        widths[ui.functionComboBox.currentText] = content.sizeHint.width()
    assert max(widths.values()) <= 380, widths


def test_everyChoiceFitsBesideItsLabel(module):
    """A list is as wide as the panel lets it be, and cuts off longer choices."""
    from RealTimeImagingLib.Sources import KINDS

    panel = panelOf(module)
    ui = panel.ui
    forms = [panel._source.formOf(kind) for kind in KINDS.values() if kind.listed]
    grids = [form.widgets(advanced) for form in forms for advanced in (False, True)]
    columns = [([getattr(ui, f"{one.objectName}_label", one) for one in grid], grid) for grid in grids]
    columns.append(([ui.exportFormatComboBoxLabel], [ui.exportFormatComboBox]))
    for labels, fields in columns:
        titles = [one.text for one in labels if one.inherits("QLabel")]
        choices = [one.itemText(index) for one in fields if one.inherits("QComboBox") for index in range(one.count)]
        longest = max(titles, key=len), max(choices, key=len, default="")
        assert sum(map(len, longest)) <= CHARACTERS, longest


def test_theFieldsGetTheWidthThatTheLabelsDoNotNeed(module):
    """The longest label of a form, and no more, is beside its fields."""
    widget, ui = module.widgetRepresentation(), panelOf(module).ui
    widget.resize(420, 900)
    widget.show()
    for index in range(ui.sourceComboBox.count):
        ui.sourceComboBox.currentIndex = index
        slicerhost.processEvents()
        labels = [one for one in widgets(ui) if one.objectName.endswith("_label") and one.isVisible()]
        labels.append(ui.sourceComboBoxLabel)
        needed = max(label.sizeHint.width() for label in labels)
        assert ui.sourceComboBox.x - ui.sourceComboBoxLabel.x <= needed + 12, ui.sourceComboBox.currentText


def test_theStateSaysReceivingWhileImagesCome(slicer, module, logic, noErrors):
    """Simulated scanner: idle, receiving with the rate, then stopped."""
    ui = panelOf(module).ui
    assert ui.statusLabel.text == "Choose a folder and press Start, or try with a simulated scanner."
    ui.tryButton.click()
    until(lambda: ui.statusLabel.text.startswith("Receiving "))
    until(lambda: logic.statistics()["shown"] > 10)
    # Images that wait at the start of a busy computer come faster.
    until(lambda: re.match(r"Receiving 1?\d\.\d images/s", ui.statusLabel.text))
    words = ui.statusLabel.text
    rate = float(words.split()[1])
    assert 2 < rate < 20
    assert words == f"Receiving {rate:.1f} images/s from the simulated scanner."
    untilStopped(logic)
    until(lambda: ui.statusLabel.text == "Stopped.")


def test_theStateStopsSayingReceiving(module, logic, incoming, noErrors):
    """Images stop: the state shows what the source waits for, with the age of the last image."""
    ui = panelOf(module).ui
    logic.start(FolderSettings(incoming))
    until(lambda: "has arrived in" in ui.statusLabel.text)
    for number in range(4):
        save(incoming / f"{number}.nii", number + 1)
        until(lambda number=number: logic.statistics()["received"] == number + 1)
    panelOf(module).refresh()
    assert "Receiving" in ui.statusLabel.text.replace("\u200b", "")
    assert str(incoming) in ui.statusLabel.text.replace("\u200b", "")
    until(lambda: "Waiting for the next image" in ui.statusLabel.text)
    until(lambda: " s ago." in ui.statusLabel.text)
    untilStopped(logic)


@pytest.mark.parametrize(
    ("index", "words"),
    [(0, "folder"), (1, "recording"), (2, "device"), (3, "HTTP"), (4, "camera"), (5, "received files")],
)
def test_theIdleSentenceFitsTheSource(module, index, words):
    ui = panelOf(module).ui
    ui.sourceComboBox.currentIndex = index
    assert words in ui.statusLabel.text
    assert "press start" in ui.statusLabel.text.lower()


def test_lastEventShowsEventsOfThisRunOnly(module, logic, incoming, noErrors):
    """A start of a first source empties the list and "Last event"; the logic keeps the older events."""
    ui = panelOf(module).ui
    logic.start(FolderSettings(str(incoming)))
    until(lambda: logic.sources()[0].state == "running")
    (incoming / "broken.nii").write_bytes(b"no image at all" * 99)
    until(lambda: "broken.nii" in ui.lastEventLabel.text)
    logic.stop()
    until(lambda: not logic.isRunning())
    until(lambda: ui.statusLabel.text == "Stopped.")
    assert "broken.nii" in ui.lastEventLabel.text
    (incoming / "broken.nii").unlink()  # the next run would show the newest file, and report it again
    logic.start(FolderSettings(str(incoming)))
    until(lambda: "broken.nii" not in ui.lastEventLabel.text)
    assert not any("broken.nii" in ui.eventsList.item(row).text() for row in range(ui.eventsList.count))
    assert any("broken.nii" in event.text for event in logic.events())
    untilStopped(logic)


def test_equalEventsShareALine(module, logic):
    """Time, level, text and number; the newest first."""
    ui = panelOf(module).ui
    at = time.mktime((2026, 5, 4, 16, 30, 0, 0, 0, -1))
    for number in range(20):
        logic._callbacks.report(Event("wrong-crc", "P: wrong checksum.", "warning", "P", at + number))
        logic._callbacks.report(Event("note", f"Note {number % 2}.", "info", "", at + 60 + number))
    panelOf(module).refresh()
    lines = [ui.eventsList.item(row).text() for row in range(ui.eventsList.count)]
    assert lines[-3:] == [
        "16:31:01  Note 1. (x 10, last 16:31:19)",
        "16:30:00  Warning: P: wrong checksum. (x 20, last 16:30:19)",
        "16:31:00  Note 0. (x 10, last 16:31:18)",
    ]
    assert ui.lastEventLabel.text == lines[0]


@pytest.mark.parametrize(("window", "base"), [("#353535", "#191919"), ("#2d2d2d", "#2a2a2a"), ("#efefef", "#ffffff")])
def test_allColoursCanBeReadOnAnyPalette(labels, window, base):
    """Contrast of at least 4.5 to 1 on dark and light windows and lists (WCAG AA)."""
    import qt

    label = qt.QLabel()
    palette = qt.QPalette()
    palette.setColor(qt.QPalette.Window, qt.QColor(window))
    label.palette = palette

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    assert set(labels.SYMBOLS) < set(labels.COLOURS)
    for state in labels.COLOURS:
        for background in (window, base):
            colours = background, labels.stateColour(label, state)
            darker, lighter = sorted(map(luminance, colours))
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (state, colours)


def test_theColourOfATextFollowsTheStyleOfSlicer(labels):
    """The label has its warning when Slicer's style becomes dark, and afterwards another one."""
    import qt
    from PySide6 import QtGui, QtWidgets

    box = qt.QWidget()
    label = qt.QLabel(box)
    light = QtWidgets.QApplication.palette()
    labels.show(label, "First.", warning=True)
    assert labels.COLOURS["warning"][False] in label.styleSheet
    dark = QtGui.QPalette(QtGui.QColor("#353535"))
    try:
        QtWidgets.QApplication.setPalette(dark)
        slicerhost.processEvents()
        labels.show(label, "Second.", warning=True)
        assert labels.COLOURS["warning"][True] in label.styleSheet
    finally:
        QtWidgets.QApplication.setPalette(light)
    slicerhost.processEvents()
    labels.show(label, "Third.", warning=True)
    assert labels.COLOURS["warning"][False] in label.styleSheet


def test_longPathsLoseTheirMiddleAndTheToolTipHasTheWhole(labels):
    import qt

    label, path = qt.QLabel(), "/data/" + "long/" * 60 + "image.nii"
    labels.show(label, f"{path} is damaged.")
    shown = label.text.replace("\u200b", "")
    assert shown.startswith("/data/long/")
    assert shown.endswith("long/image.nii is damaged.")
    assert len(shown.split()[0]) <= labels.LONGEST_PATH
    assert path in "".join(labels.tipOf(label).split())
    labels.show(label, "/data/a.nii is damaged.")
    assert label.text == "/data/a.nii is damaged."
