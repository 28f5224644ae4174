"""The list of events: filtered, copied, saved, cleared, and cheap."""

from __future__ import annotations

import csv
import time

import pytest
from RealTimeImagingLib import FolderSettings
from RealTimeImagingLib.Model.Event import Event
from slicerhost.PythonQt import nativeObject

from .conftest import until, untilStopped
from .test_Panel import panelOf

EVENTS = (
    Event("note", "Listening.", "info", "", 1000.0),
    Event("damaged", "a.nii is damaged.", "warning", "a.nii", 1001.0),
    Event("gone", "The disk is gone.", "error", "disk", 1002.0),
)


@pytest.fixture
def ui(module, logic):
    """The widgets, with three events in the list."""
    for event in EVENTS:
        logic._callbacks.report(event)
    panelOf(module).refresh()
    return panelOf(module).ui


def lines(ui):
    return [ui.eventsList.item(row).text().split("  ", 1)[1] for row in range(ui.eventsList.count)]


ALL = ["Error: The disk is gone.", "Warning: a.nii is damaged.", "Listening."]


def test_theFilterHidesWhatNeedsNoAction(ui):
    assert lines(ui) == ALL
    ui.eventsFilterComboBox.currentIndex = 1
    assert lines(ui) == ALL[:2]
    ui.eventsFilterComboBox.currentIndex = 0
    assert lines(ui) == ALL


def test_theListedEventsAreCopiedOldestFirst(slicer, ui):
    ui.eventsFilterComboBox.currentIndex = 1
    ui.copyEventsButton.click()
    copied = slicer.app.clipboard().text().splitlines()
    assert [line.split("  ", 1)[1] for line in copied] == ALL[1::-1]


def test_theListedEventsAreSavedAsATable(ui, module, tmp_path):
    ui.saveEventsButton.click()
    dialog = panelOf(module)._events._dialog[0]
    assert dialog.isVisible()
    dialog.selectFile(str(tmp_path / "events.csv"))
    dialog.accept()
    with open(tmp_path / "events.csv", encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["level"], row["code"], row["text"], row["count"]) for row in rows] == [
        (one.level, one.code, one.text, "1") for one in EVENTS
    ]
    assert not ui.eventsComplaintLabel.text
    ui.saveEventsButton.click()
    dialog = panelOf(module)._events._dialog[0]
    dialog.selectFile(str(tmp_path / "events.csv"))
    (tmp_path / "events.csv").unlink()
    (tmp_path / "events.csv").mkdir()
    panelOf(module)._events._write(str(tmp_path / "events.csv"))
    assert "cannot be written" in ui.eventsComplaintLabel.text.replace("\u200b", "")


def test_eventsOfNamesThatAreNoTextAreSaved(ui, logic, module, tmp_path):
    """On Linux the name of a file may have any bytes."""
    logic._callbacks.report(Event("damaged", "\udcff.nii is damaged.", "warning", "\udcff.nii"))
    panelOf(module)._events._write(str(tmp_path / "events.csv"))
    assert "\\udcff.nii is damaged." in (tmp_path / "events.csv").read_text(encoding="utf-8-sig")


def test_anEmptyListTakesNoRoomAndOffersNothing(ui, logic):
    assert ui.eventsList.maximumHeight > 0
    ui.clearEventsButton.click()
    assert (ui.eventsList.count, ui.eventsList.maximumHeight) == (0, 0)
    assert not any(button.enabled for button in (ui.copyEventsButton, ui.saveEventsButton, ui.clearEventsButton))
    assert len(logic.events()) == 3


def test_aLineHasTheColourOfItsLevelAndTheWholeTextAsItsTip(ui, module, logic):
    """Also when lines move down, and when they come again."""
    import qt
    from RealTimeImagingLib.Panel.Section import warningColour

    box = ui.eventsList
    normal, warning = box.palette.color(qt.QPalette.Text).name(), warningColour(box)

    def shown():
        items = [box.item(row) for row in range(box.count)]
        tips = [item.toolTip().replace("\u200b", "").replace("\n", "") for item in items]
        return [(item.foreground().color().name(), name in tip) for item, tip in zip(items, tips, strict=True)]

    name = "x" * 300
    assert shown() == [(warning, False), (warning, False), (normal, False)]
    logic._callbacks.report(Event("damaged", f"/in/{name}.nii is damaged.", "warning"))
    panelOf(module).refresh()
    assert shown() == [(warning, True), (warning, False), (warning, False), (normal, False)]
    assert [bool(box.item(row).toolTip()) for row in range(4)] == [True, False, False, False]
    logic._callbacks.report(Event("note", "Listening.", "info", "", 2000.0))
    panelOf(module).refresh()
    assert lines(ui)[0].startswith("Listening.")
    assert (shown()[0], shown()[1]) == ((normal, False), (warning, True))


def test_aCollapsedListIsNotFilled(ui, module, logic):
    ui.statusSection.collapsed = True
    logic._callbacks.report(Event("note", "Later."))
    panelOf(module).refresh()
    assert lines(ui) == ALL
    ui.statusSection.collapsed = False
    assert lines(ui) == ["Later.", *ALL]


def test_aChangeDuringARefreshIsShown(ui, module, logic):
    panel = panelOf(module)
    panel.refresh()
    logic._callbacks.report(Event("note", "Before."))
    while lines(ui)[0] != "Before.":
        panel.refreshPart(0)
    logic._callbacks.report(Event("note", "Later."))
    logic.changed.emit()
    until(lambda: lines(ui)[0] == "Later.")


def test_aChangeInTheLastPieceOfARefreshIsShownSoon(module, logic, incoming, tmp_path, noErrors):
    """The panel writes into the status bar at last, and is refreshed each second while a source runs."""
    import qt

    panel, changes = panelOf(module), []
    window = qt.QMainWindow()
    window.setObjectName("qSlicerMainWindow")

    def change(text):
        changes.append(text)
        logic.changed.emit()

    logic.start(FolderSettings(incoming))
    window.statusBar().connect("messageChanged(QString)", change)
    logic.startRecording(tmp_path / "out")
    panel.refresh()
    assert len(changes) == 1
    assert panel._soon
    assert panel._refreshTimer.interval <= 200
    untilStopped(logic)


def test_aFilterThatIsChosenDuringARefreshStays(ui, module, logic):
    for number in range(60):
        logic._callbacks.report(Event("note", f"Note {number}."))
    pieces = panelOf(module)._events.pieces({})
    next(pieces)
    ui.eventsFilterComboBox.currentIndex = 1
    chosen = lines(ui)
    assert 0 < len(chosen) < 60
    assert list(pieces) == []
    assert lines(ui) == chosen


def test_manyEventsCostFewRefreshesAndOnlyTheLinesThatChange(module, logic, ui):
    """1,000 events a second: at most 5 refreshes in each second, and an equal event changes one line."""
    import qt

    panel, refreshes, written, sent = panelOf(module), [], [], []

    def count():
        if not panel._steps:
            refreshes.append(1)

    panel._refreshTimer.connect("timeout()", count)
    nativeObject(ui.eventsList).model().dataChanged.connect(lambda *_cells: written.append(1))

    def lot():
        for _ in range(10):
            sent.append(1)
            logic._callbacks.report(Event("note", "Again.", time=2000.0))
        logic.changed.emit()

    timer = qt.QTimer()
    timer.connect("timeout()", lot)
    began = time.monotonic()
    timer.start(10)
    until(lambda: len(sent) >= 3000, 60)
    timer.stop()
    timer.disconnect("timeout()", lot)
    elapsed = time.monotonic() - began
    assert 2 <= len(refreshes) <= elapsed / 0.2 + 1
    # The text, tool tip and colour of a line; the first refresh shifts the three lines that were there.
    assert len(written) <= 3 * (len(refreshes) + 4)
    panel.refresh()
    assert (
        ui.eventsList.item(0)
        .text()
        .endswith(f"(x {len(sent)}, last {time.strftime('%H:%M:%S', time.localtime(2000))})")
    )
