"""Devices in the panel: there only while OpenIGTLink is in use, with the status of each tool seen and heard."""

from __future__ import annotations

import importlib
import socket
import time
from contextlib import closing

import numpy as np
import pytest
from RealTimeImagingLib import ControlError, OpenIGTLinkSettings
from RealTimeImagingLib.Model.DeviceMessage import DeviceMessage
from RealTimeImagingLib.OpenIGTLink import pack
from unit.clocks import Clock
from unit.openIGTLinkSource import freePort, pose, sendAll
from unit.sweeps import sweepMessages, sweepPose

from .conftest import until, untilStopped
from .test_Panel import panelOf, save

POSE = np.eye(4).tolist()


def tool(device, status="", matrix=POSE):
    return DeviceMessage(
        "transform", device, {"matrix": matrix}, time.time(), None, {"Status": status} if status else {}
    )


@pytest.fixture
def devices(module):
    """The file of the section, which needs `qt`."""
    return importlib.import_module("RealTimeImagingLib.Panel.DevicesSection")


def test_theSectionIsThereWhileOpenIGTLinkIsInUse(module, logic, incoming, noErrors):
    """Not with a folder; with a device from the start of its source, and until the next run without one."""
    panel, ui = panelOf(module), panelOf(module).ui
    assert ui.devicesSection.isHidden()
    ui.folder_folder.currentPath = str(incoming)
    ui.startButton.click()
    save(incoming / "a.nii", 5)
    until(lambda: logic.statistics()["shown"] == 1)
    panel.refresh()
    assert ui.devicesSection.isHidden()
    untilStopped(logic)
    ui.sourceComboBox.currentIndex = 2
    ui.openigtlink_role.currentIndex = 1
    ui.openigtlink_port.value = freePort()
    ui.startButton.click()
    until(lambda: not ui.devicesSection.isHidden())
    until(lambda: "Waiting for a device" in ui.statusLabel.text)
    with closing(socket.create_connection(("127.0.0.1", ui.openigtlink_port.value))) as device:
        sendAll(device, pose(3))
        until(lambda: ui.devicesTable.rowCount == 1)
        assert not ui.devicesTable.isHidden()
    untilStopped(logic)
    panel.refresh()
    assert not ui.devicesSection.isHidden()
    ui.sourceComboBox.currentIndex = 0
    ui.startButton.click()
    until(lambda: ui.devicesSection.isHidden())
    assert ui.devicesTable.isHidden()
    untilStopped(logic)


def test_toolsHaveAStatus(module, logic, devices):
    """As the tracker says, or by a matrix that is no position; other messages have none."""
    nodes, panel = logic.devices.nodes, panelOf(module)
    nothing = np.full((4, 4), np.nan).tolist()
    for message in (
        tool("Plain"),
        tool("Seen", "OK"),
        tool("Button", "SWITCH_IS_ON"),
        tool("Missing", "MISSING"),
        tool("Outside", "out_of_view"),
        tool("Broken", "", nothing),
        tool("Zeros", "OK", np.zeros((4, 4)).tolist()),
        DeviceMessage("status", "Scanner", {"code": 5, "ok": False, "text": "door open"}, time.time()),
        DeviceMessage("text", "Note", {"text": "hello"}, time.time()),
    ):
        nodes.show(message)
    states = {one.device: (one.tool, one.ok) for one in logic.devices.states()}
    assert states == {
        "Plain": ("OK", True),
        "Seen": ("OK", True),
        "Button": ("OK", True),
        "Missing": ("MISSING", False),
        "Outside": ("OUT_OF_VIEW", False),
        "Broken": ("INVALID", False),
        "Zeros": ("INVALID", False),
        "Scanner": ("", False),
        "Note": ("", True),
    }
    panel.refresh()
    table = panel.ui.devicesTable
    shown = {table.item(row, 0).text(): table.item(row, 0) for row in range(table.rowCount)}
    for name, (status, ok) in states.items():
        symbol = {"": "", "OK": devices.SEEN}.get(status, devices.LOST)
        item = shown[symbol + name]
        good = devices.stateColour(table, "receiving")
        expected = devices.warningColour(table) if not ok else good if symbol else None
        if expected:
            assert item.foreground().color().name() == expected, name
        assert item.toolTip() == (f"{name}: {status}" if symbol else name)
    nodes.show(tool("Missing", "OK"))
    panel.refresh()
    assert devices.SEEN + "Missing" in [table.item(row, 0).text() for row in range(table.rowCount)]


def test_lostToolsAreHeard(devices):
    """Once for each loss, at most once in two seconds, and not for tools that are back by then."""
    clock, beeps = Clock(now=100.0), []
    tools = devices.Alarm(clock, lambda: beeps.append(clock.now))
    for seconds, lost in (
        (0, set()),
        (1, {"A"}),
        (1.1, {"A"}),
        (2, {"A", "B"}),
        (2.9, {"A", "B"}),
        (3, {"A", "B"}),
        (9, {"A", "B"}),
        (10, set()),
        (10.5, {"A"}),
        (11, set()),
        (11.5, {"A"}),
        (12, set()),
        (14, set()),
        (15, {"A"}),
    ):
        clock.now = 100 + seconds
        tools.look(lost, True)
    assert beeps == [101, 103, 110.5, 115]


def test_soundIsOnlyWanted(module, logic, devices):
    """Off by default; a tool that is lost while it is on is heard, and the choice is remembered."""
    panel, beeps = panelOf(module), []
    section = next(one for one in panel._sections if isinstance(one, devices.DevicesSection))
    section._tools._beep = lambda: beeps.append(True)
    assert not panel.ui.toolSoundCheckBox.checked
    for wanted in (False, True):
        assert panel.ui.toolSoundCheckBox.checked == wanted
        for status in ("OK", "MISSING"):
            logic.devices.nodes.show(tool("Needle", status))
            panel.refresh()
        assert len(beeps) == wanted
        panel.ui.toolSoundCheckBox.checked = True
    assert str(devices.remembered("ToolSound")).lower() == "true"


def test_theBeepIsQts(module, devices):
    """It makes no sound here, and does not fail."""
    import qt

    tools = devices.Alarm(time.monotonic, qt.QApplication.beep)
    tools.look({"A"}, True)


@pytest.mark.parametrize("window", ["#353535", "#efefef"])
def test_coloursCanBeReadOnAnyPalette(devices, window):
    """Contrast of at least 4.5 to 1 on the table's background."""
    import qt

    table = qt.QTableWidget()
    palette = qt.QPalette()
    for role in (qt.QPalette.Base, qt.QPalette.Window):
        palette.setColor(role, qt.QColor(window))
    table.palette = palette

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    darker, lighter = sorted(luminance(colour) for colour in (window, devices.stateColour(table, "receiving")))
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5


@pytest.mark.parametrize("width", [380, 420])
def test_noColumnIsCutOff(module, logic, width):
    """The columns fit into the table, also with long names."""
    import qt

    panel, ui = panelOf(module), panelOf(module).ui
    for number in range(3):
        logic.devices.nodes.show(tool(f"NeedleToReferenceOfThePatient{number}", "MISSING"))
    column = qt.QScrollArea()
    column.setWidgetResizable(True)
    column.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
    column.setFixedWidth(width)
    column.setWidget(module.widgetRepresentation())
    column.show()
    try:
        panel.refresh()
        ui.devicesSection.collapsed = False
        table = ui.devicesTable
        until(lambda: table.isVisible() and table.columnWidth(1) > 100, 3)
        assert sum(table.columnWidth(one) for one in range(3)) <= table.viewport().width
        header = table.horizontalHeader()
        for one in range(3):
            assert header.sectionSizeHint(one) <= table.columnWidth(one)
        assert column.widget().minimumSizeHint.width() <= 380
    finally:
        column.takeWidget()


@pytest.mark.parametrize("width", [380, 1200])
def test_aWideTableShowsWholeNames(module, logic, width):
    """A narrow one leaves room for the message."""
    import qt

    panel, ui = panelOf(module), panelOf(module).ui
    name = "A tracked probe with a long name"
    logic.devices.nodes.show(tool(name, "OK"))
    column = qt.QScrollArea()
    column.setWidgetResizable(True)
    column.setFixedWidth(width)
    column.setWidget(module.widgetRepresentation())
    column.show()
    try:
        panel.refresh()
        ui.devicesSection.collapsed = False
        table = ui.devicesTable
        until(lambda: table.isVisible() and table.columnWidth(1) > 100, 3)
        logic.devices.nodes.show(tool(name, "MISSING"))
        panel.refresh()
        whole = table.columnWidth(0) > table.fontMetrics().horizontalAdvance(name)
        assert whole == (width == 1200)
    finally:
        column.takeWidget()


def test_theTimeOffsetOfATool(module, logic, devices, monkeypatch):
    """Two clicks: estimate it from a sweep, and start the source again with it."""
    sweep = b"".join(map(pack, sweepMessages()))
    monkeypatch.setattr(devices, "SWEEP", 6.0)
    panel, ui = panelOf(module), panelOf(module).ui
    source = logic.start(OpenIGTLinkSettings(role="server", port=freePort()))
    until(lambda: "Waiting for" in source.status)
    assert ui.useOffsetButton.isHidden()
    with closing(socket.create_connection(("127.0.0.1", source.settings.port))) as device:
        sendAll(device, sweepPose(0, -1.7e9))  # without a time: its clock begins with the sweep
        until(lambda: ui.offsetToolComboBox.currentText == "ProbeToTracker" and ui.estimateOffsetButton.enabled)
        ui.estimateOffsetButton.click()
        until(lambda: "Move ProbeToTracker up and down for 6 s" in ui.offsetLabel.text)
        assert not ui.estimateOffsetButton.enabled
        device.sendall(sweep)
        until(lambda: "The time offset of ProbeToTracker" in ui.offsetLabel.text)
        assert "The time offset of ProbeToTracker is -83 ms" in ui.offsetLabel.text
        assert not ui.useOffsetButton.isHidden()
        assert ui.useOffsetButton.text == "Use -83 ms"
        ui.useOffsetButton.click()
    until(lambda: len([one for one in logic.sources() if not one.ended]) == 1 and logic.sources()[-1] is not source)
    (name,) = logic.sources()[-1].settings.timeOffsets
    assert float(name.removeprefix("ProbeToTracker=")) == pytest.approx(-0.083, abs=0.003)
    panel.refresh()
    assert ui.useOffsetButton.isHidden()
    untilStopped(logic)


def test_aSweepWithoutImagesSaysSo(module, logic, devices, monkeypatch):
    monkeypatch.setattr(devices, "SWEEP", 3.0)
    ui = panelOf(module).ui
    source = logic.start(OpenIGTLinkSettings(role="server", port=freePort()))
    until(lambda: "Waiting for" in source.status)
    with pytest.raises(ControlError, match="No running source has received poses"):
        logic.devices.estimateTimeOffset("ProbeToTracker")
    with closing(socket.create_connection(("127.0.0.1", source.settings.port))) as device:
        sendAll(device, sweepPose(0, -1.7e9))  # without a time: its clock begins with the sweep
        until(lambda: ui.estimateOffsetButton.enabled)
        with pytest.raises(ControlError, match="3 to 60 seconds"):
            logic.devices.estimateTimeOffset("ProbeToTracker", seconds=1)
        ui.estimateOffsetButton.click()
        until(lambda: "No image of the same source arrived" in ui.offsetLabel.text)
        assert ui.useOffsetButton.isHidden()
        until(lambda: ui.estimateOffsetButton.enabled)
    untilStopped(logic)
