"""Section of devices: their messages and tools, the scan plane and commands."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ..Host.DeviceControl import FORMS
from ..Model.Event import Event
from ..Scene.DeviceNodes import DeviceState
from .Alarm import Alarm
from .Section import (
    Section,
    hasLargeFont,
    heightOf,
    plainTip,
    remember,
    remembered,
    setRoom,
    show,
    showOrHide,
    stateColour,
    translated,
    warningColour,
)
from .SourceSection import SourceSection

SEEN, LOST = "\u25cf\u00a0", "\u25b2\u00a0"
"""Symbols of tools that the tracker sees, and does not see: a disc and a triangle, before the name."""
WIDEST, PART = 120, 3
"""Pixels of the column of names, or this part of a wide table, above which names are elided."""
ROWS_SHOWN = 5
"""Most rows of the table that are in sight without scrolling."""
PLANE_NODES = ("vtkMRMLSliceNode", "vtkMRMLLinearTransformNode", "vtkMRMLMarkupsPlaneNode")
WORDS = {"startUp": "START_UP", "startScan": "START_SEQUENCE", "stopScan": "STOP_SEQUENCE"}
ANSWERS = ("command-sent", "answered", "no-answer", "no-peer", "not-sent")
"""Codes of events about sent messages."""
OFFSETS = ("offset-sweep", "offset-estimated", "no-offset")
"""Codes of events about time offsets."""
SWEEP, PATIENCE = 10.0, 5.0
"""Seconds of a sweep for a time offset, and further seconds for its result."""


class DevicesSection(Section):
    """Table of devices, scan plane and commands; visible while OpenIGTLink is in use.

    :param sources: starts a source again with another time offset.
    :param clock: monotonic seconds.
    """

    def __init__(
        self,
        ui: Any,
        logic: Any,
        complain: Callable[[str], None],
        sources: SourceSection,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(ui, logic, complain)
        self._sources, self._clock = sources, clock
        self._offset: Event | None = None
        """The last estimated time offset, with the offer to use it."""
        self._sweepEnds = 0.0
        self._tools = Alarm(clock, qt.QApplication.beep)
        headers = [_("Device"), _("Message"), _("Count")]
        ui.devicesTable.setColumnCount(len(headers))
        ui.devicesTable.setHorizontalHeaderLabels(headers)
        ui.devicesTable.verticalHeader().setVisible(False)
        header = ui.devicesTable.horizontalHeader()
        for column, mode in enumerate((qt.QHeaderView.Interactive, qt.QHeaderView.Stretch, qt.QHeaderView.Interactive)):
            header.setSectionResizeMode(column, mode)
        ui.devicesTable.setColumnHidden(len(headers) - 1, hasLargeFont(ui.devicesTable))
        ui.planeComboBox.nodeTypes = PLANE_NODES
        ui.planeComboBox.noneEnabled = True
        ui.planeComboBox.addEnabled = ui.planeComboBox.removeEnabled = False
        ui.planeComboBox.setMRMLScene(slicer.mrmlScene)
        self._inUse: bool | None = None
        self._rows: list[tuple[tuple[str, str, str], str, str]] | None = None
        """Texts, status of the tool, and colour, of each row."""
        ui.toolSoundCheckBox.checked = remembered("ToolSound", False)
        self.connect(ui.toolSoundCheckBox, "toggled(bool)", partial(remember, "ToolSound"))
        for name, word in WORDS.items():
            field, button = getattr(ui, f"{name}LineEdit"), getattr(ui, f"{name}Button")
            field.text = remembered(f"Command/{name}", word)
            field.cursorPosition = 0  # a narrow field shows the beginning
            self.connect(button, "clicked()", partial(self._sendCommand, name, field))
        form = remembered("Command/Form", FORMS[0])
        ui.commandFormComboBox.currentIndex = FORMS.index(form) if form in FORMS else 0
        showOrHide(ui.offsetLabel, "")
        self.connect(ui.estimateOffsetButton, "clicked()", self._estimate)
        self.connect(ui.useOffsetButton, "clicked()", self._useOffset)
        self.connect(ui.sendPlaneCheckBox, "toggled(bool)", self._planeToggled)
        self.connect(ui.planeComboBox, "currentNodeChanged(vtkMRMLNode*)", self._planeChanged)
        self.connect(ui.planeDeviceLineEdit, "editingFinished()", self._planeChanged)
        self.connect(ui.planeRateSpinBox, "valueChanged(double)", self._planeChanged)
        logic.addEventCallback(self._happened)

    def close(self) -> None:
        """Disconnect from all widgets and from the logic."""
        self.logic.removeEventCallback(self._happened)
        super().close()
        self.ui.planeComboBox.setMRMLScene(None)

    def refresh(self, values: dict[str, Any]) -> None:
        """Show the devices, and whether commands can be sent."""
        states = self.logic.devices.states()
        inUse = self.logic.devices.inUse()
        if inUse is not self._inUse:
            self._inUse = inUse
            self.ui.devicesSection.setVisible(inUse)
        self._tools.look(
            {one.device for one in states if one.tool not in ("", "OK")}, self.ui.toolSoundCheckBox.checked
        )
        self._showDevices(states, values["messages"])
        self._showTools([one.device for one in states if one.kind == "transform"])
        followed = self.logic.devices.followed is not None
        if self.ui.sendPlaneCheckBox.checked and not followed:
            # The node was removed.
            self.check(self.ui.sendPlaneCheckBox, False)
        connected = self.logic.devices.canSend()
        for name in WORDS:
            getattr(self.ui, f"{name}Button").enabled = connected

    def _showDevices(self, states: list[DeviceState], counts: dict[str, int]) -> None:
        table = self.ui.devicesTable
        good, bad = stateColour(table, "receiving"), warningColour(table)
        rows = [
            ((one.device, translated(one.words), str(counts.get(one.device, 0))), one.tool, good if one.ok else bad)
            for one in states
        ]
        if rows == self._rows:
            return
        table.setRowCount(len(rows))
        for row, (texts, tool, colour) in enumerate(rows):
            for column, text in enumerate(texts):
                symbol = (SEEN if tool == "OK" else LOST) if tool and column == 0 else ""
                item = qt.QTableWidgetItem(symbol + text)
                tip = f"{text}: {tool}" if symbol else text
                item.setToolTip(plainTip(tip))
                if symbol or (colour == bad and column < 2):
                    item.setForeground(qt.QBrush(qt.QColor(colour)))
                table.setItem(row, column, item)
        table.resizeColumnToContents(0)
        table.setColumnWidth(0, min(max(WIDEST, table.viewport().width // PART), table.columnWidth(0)))
        table.resizeColumnToContents(2)
        table.setVisible(bool(rows))
        setRoom(table, heightOf(table, min(len(rows), ROWS_SHOWN)))
        self._rows = rows

    def _showTools(self, tools: list[str]) -> None:
        box = self.ui.offsetToolComboBox
        for tool in tools:
            if box.findText(tool) < 0:
                box.addItem(tool)
        sweeping = self._clock() < self._sweepEnds
        self.ui.estimateOffsetButton.enabled = bool(tools) and not sweeping
        self.ui.useOffsetButton.visible = self._offset is not None

    # ---- what the user does

    def _estimate(self) -> None:
        tool = self.ui.offsetToolComboBox.currentText
        if self.attempt(lambda: self.logic.devices.estimateTimeOffset(tool, seconds=SWEEP)):
            self._offset, self._sweepEnds = None, self._clock() + SWEEP + PATIENCE
            self.ui.estimateOffsetButton.enabled = False
            self.ui.useOffsetButton.visible = False

    def _useOffset(self) -> None:
        event, self._offset = self._offset, None
        source = next((one for one in self.logic.sources() if event and one.offer == event and not one.ended), None)
        self.ui.useOffsetButton.visible = False
        if event is None or event.remedy is None or source is None:
            self.complain(_("The source of this time offset has ended."))
            return
        self._sources.restart(source, event.remedy)

    def _planeToggled(self, on: bool) -> None:
        if not on:
            self.logic.devices.stopFollowing()
            return
        node = self.ui.planeComboBox.currentNode()
        if node is None:
            self.complain(_("Choose a slice view, transform or plane for the scan plane."))
            self.check(self.ui.sendPlaneCheckBox, False)
        elif not self.attempt(lambda: self._follow(node)):
            self.check(self.ui.sendPlaneCheckBox, False)

    def _follow(self, node: Any) -> None:
        device = self.ui.planeDeviceLineEdit.text.strip() or "PLANE"
        self.logic.devices.followPlane(node, device, self.ui.planeRateSpinBox.value)

    def _planeChanged(self, *_value: Any) -> None:
        if self.ui.sendPlaneCheckBox.checked:
            self._planeToggled(True)

    def _sendCommand(self, name: str, field: Any) -> None:
        text = field.text
        form = FORMS[self.ui.commandFormComboBox.currentIndex]
        remember(f"Command/{name}", text)
        remember("Command/Form", form)
        if not text.strip():
            self.complain(_("Enter the command that the scanner understands."))
            return
        self.attempt(lambda: self.logic.sendCommand(text.strip(), form=form))

    def _happened(self, event: Event) -> None:
        if event.code in ANSWERS:
            show(self.ui.answerLabel, translated(event.text), event.level != "info")
        elif event.code in OFFSETS:
            showOrHide(self.ui.offsetLabel, translated(event.text), event.level != "info")
            self._sweepEnds = self._sweepEnds if event.code == "offset-sweep" else 0.0
            self._offset = event if event.remedy else None
            if event.remedy:
                self.ui.useOffsetButton.text = translated(event.remedy.label)
            self.ui.useOffsetButton.visible = event.remedy is not None
