"""The panel in a language in which each text stands in brackets; ``python translated.py MODULE`` runs it in the host.

The last line is a JSON list of the texts that are shown without brackets, each with the name of its widget.
"""

import json
import os
import re
import sys
import tempfile

OPENED, CLOSED = "⟦", "⟧"
PROPERTIES = ("text", "toolTip", "title", "placeholderText", "suffix", "prefix", "specialValueText", "statusTip")
OWN = ("QAbstractSpinBox", "QLineEdit", "QPlainTextEdit", "QTextEdit")
"""Widgets whose text is the user's."""
BARE = "Untranslated words"
"""Text of a label that the script adds, to be found."""
NAMES = {
    "mrd_config": "configurations of reconstruction servers",
    "folder_seriesPattern": "a pattern of file names",
    "recordingNameComboBox": "patterns of file names",
    "templateComboBox": "files",
    "coloursComboBox": "colour nodes",
    "resultColoursComboBox": "colour nodes",
    "function_RegionStatistics_regions": "an example of a name and a shape",
}
"""Widgets that show names, and what these name."""
WORDS = re.compile(r"[^\W\d_]{2,}")
KEYS = re.compile(r" \((\w+\+)+\w\)$")


def outside(text):
    """Return what is left of a text without its translated parts."""
    inner = re.compile(f"{OPENED}[^{OPENED}{CLOSED}]*{CLOSED}")
    while (shorter := inner.sub("", text)) != text:
        text = shorter
    return text


def textsOf(widget):
    """Yield the name and the value of each text of a widget that a user sees."""
    from PySide6 import QtCore, QtWidgets

    for name in PROPERTIES:
        if name == "text" and any(widget.inherits(one) for one in OWN):
            continue
        value = QtCore.QObject.property(widget, name)
        if isinstance(value, str):
            yield name, value
    combo, table, rows = QtWidgets.QComboBox, QtWidgets.QTableWidget, QtWidgets.QListWidget
    if isinstance(widget, combo):
        yield from (("item", combo.itemText(widget, place)) for place in range(combo.count(widget)))
    elif isinstance(widget, rows):
        yield from (("item", rows.item(widget, place).text()) for place in range(rows.count(widget)))
    elif isinstance(widget, table):
        columns = range(table.columnCount(widget))
        found = [table.horizontalHeaderItem(widget, column) for column in columns]
        found += [table.item(widget, row, column) for row in range(table.rowCount(widget)) for column in columns]
        yield from (("item", item.text()) for item in found if item is not None)


def main(module):
    import slicerhost

    slicer = slicerhost.boot()
    slicerhost.makeOffscreenViews(160)
    from PySide6 import QtCore, QtWidgets
    from slicerhost import processEvents, runUntil

    type(slicer.app).translate = lambda _app, _context, text: f"{OPENED}{text}{CLOSED}" if text else ""
    found = {}

    def names():
        """The names of streams, of the values of functions, and of views; long names before their parts."""
        streams = [*logic.statistics()["streams"], *(one.stream for one in logic.processing.list())]
        values = [name for _stream, name in logic.signals.names() if ": " in name]
        return sorted([*streams, *values, *slicer.app.layoutManager().sliceViewNames()], key=len, reverse=True)

    def look(where):
        for widget in (top, *QtCore.QObject.findChildren(top, QtWidgets.QWidget)):
            own = QtCore.QObject.objectName(widget) or type(widget).__name__
            if own in NAMES or type(QtCore.QObject.parent(widget)).__name__.startswith("qMRML"):
                continue
            for name, text in textsOf(widget):
                left = KEYS.sub("", outside(text.replace("\u200b", "")))
                for one in names():
                    left = left.replace(one, "")
                if WORDS.search(left):
                    found.setdefault(f"{own}.{name}: {text}", where)

    widget = slicerhost.loadModule(module).widgetRepresentation()
    top, panel = widget, widget.self().panel
    ui, logic = panel.ui, widget.self().logic
    control = QtWidgets.QLabel(BARE, top)
    control.setObjectName("control")
    texts = [slicer.modules.realtimeimaging.title, slicer.modules.realtimeimaging.helpText]
    for text in texts:
        if not text.startswith(OPENED):
            found[text] = "module"
    for index in range(ui.sourceComboBox.count):
        ui.sourceComboBox.currentIndex = index
        processEvents()
        look("idle")
    ui.sourceComboBox.currentIndex = 0
    ui.startButton.click()
    look("no folder")
    folder = tempfile.mkdtemp(dir=slicer.app.temporaryPath, prefix="0")
    with open(os.path.join(folder, "1.nii"), "wb") as file:
        file.write(b"1" * 400)
    from RealTimeImagingLib import FolderSettings

    logic.start(FolderSettings(folder=folder, stream="1", existing="all"))
    logic.startSimulatedScanner(fps=20)
    runUntil(lambda: logic.statistics()["shown"] > 2, 30)
    logic.startRecording(tempfile.mkdtemp(dir=slicer.app.temporaryPath, prefix="0"))
    result = logic.processing.start("TemporalSNR", stream="Live").stream
    runUntil(lambda: logic.statistics()["recorded"] > 10 and result in logic.statistics()["streams"], 30)
    panel.refresh()
    look("running")
    logic.stopRecording()
    logic.stop()
    runUntil(lambda: not logic.isRunning() and not logic.recording.building, 30)
    panel.refresh()
    look("stopped")
    slicerhost.unloadModule("RealTimeImaging")
    print(json.dumps(found), flush=True)
    slicerhost.quit()


if __name__ == "__main__":
    main(sys.argv[1])
