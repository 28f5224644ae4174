"""Section of devices: their messages, the scan plane and commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ..Model.Event import Event
from .Section import Section, plainTip, remember, remembered, show

COLUMNS = ("Device", "Newest message", "Messages")
FORMS = ("STRING", "COMMAND")
"""Message types, in the order of the list."""
PLANE_NODES = ("vtkMRMLSliceNode", "vtkMRMLLinearTransformNode", "vtkMRMLMarkupsPlaneNode")
WORDS = {"startUp": "START_UP", "startScan": "START_SEQUENCE", "stopScan": "STOP_SEQUENCE"}
ANSWERS = ("command-sent", "answered", "no-answer", "no-peer", "not-sent")
"""Codes of events about sent messages."""


class DevicesSection(Section):
    """Table of devices, scan plane, commands, and the view that follows the image."""

    def __init__(self, ui: Any, logic: Any, complain: Callable[[str], None]) -> None:
        super().__init__(ui, logic, complain)
        ui.devicesTable.setColumnCount(len(COLUMNS))
        ui.devicesTable.setHorizontalHeaderLabels([_(name) for name in COLUMNS])
        ui.devicesTable.verticalHeader().setVisible(False)
        header = ui.devicesTable.horizontalHeader()
        for column, mode in enumerate((qt.QHeaderView.Interactive, qt.QHeaderView.Stretch, qt.QHeaderView.Interactive)):
            header.setSectionResizeMode(column, mode)
        ui.planeComboBox.nodeTypes = PLANE_NODES
        ui.planeComboBox.noneEnabled = True
        ui.planeComboBox.addEnabled = ui.planeComboBox.removeEnabled = False
        ui.planeComboBox.setMRMLScene(slicer.mrmlScene)
        self._rows: list[tuple[str, str, str]] = []
        self._views: list[str] = []
        self._asked: str | None = None
        """View that the user chose before the first image, "" for none; None once the logic has it."""
        for name, word in WORDS.items():
            field, button = getattr(ui, f"{name}LineEdit"), getattr(ui, f"{name}Button")
            field.text = remembered(f"Command/{name}", word)
            self.connect(button, "clicked()", partial(self._sendCommand, name, field))
        ui.commandFormComboBox.currentIndex = FORMS.index(remembered("Command/Form", FORMS[0]))
        self.connect(ui.sendPlaneCheckBox, "toggled(bool)", self._planeToggled)
        self.connect(ui.planeComboBox, "currentNodeChanged(vtkMRMLNode*)", self._planeChanged)
        self.connect(ui.planeDeviceLineEdit, "editingFinished()", self._planeChanged)
        self.connect(ui.planeRateSpinBox, "valueChanged(double)", self._planeChanged)
        self.connect(ui.followComboBox, "currentIndexChanged(int)", self._followChanged)
        logic.addEventCallback(self._happened)

    def close(self) -> None:
        """Disconnect from all widgets and from the logic."""
        self.logic.removeEventCallback(self._happened)
        super().close()
        self.ui.planeComboBox.setMRMLScene(None)

    def refresh(self, values: dict[str, Any]) -> None:
        """Show the devices, and the view that follows the image."""
        self._showDevices(values["messages"])
        self._showViews()
        self._showFollowing(values["streams"])
        followed = self.logic.devices.followed is not None
        if self.ui.sendPlaneCheckBox.checked and not followed:
            # The node was removed.
            self.check(self.ui.sendPlaneCheckBox, False)
        connected = self.logic.devices.canSend()
        for name in WORDS:
            getattr(self.ui, f"{name}Button").enabled = connected

    def _showDevices(self, counts: dict[str, int]) -> None:
        rows = [(one.device, one.words, str(counts.get(one.device, 0))) for one in self.logic.devices.states()]
        if rows == self._rows:
            return
        table = self.ui.devicesTable
        table.setRowCount(len(rows))
        for row, texts in enumerate(rows):
            for column, text in enumerate(texts):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(plainTip(text))
                table.setItem(row, column, item)
        table.resizeColumnToContents(0)
        table.resizeColumnToContents(2)
        self._rows = rows

    def _showViews(self) -> None:
        views = self.logic.views.names()
        if views == self._views:
            return
        self._views = views
        combo = self.ui.followComboBox
        blocked = combo.blockSignals(True)
        chosen = combo.currentText
        combo.clear()
        combo.addItems([_("None"), *views])
        combo.currentIndex = 1 + views.index(chosen) if chosen in views else 0
        combo.blockSignals(blocked)

    def _showFollowing(self, streams: Iterable[str]) -> None:
        # One view follows one stream: the first.
        stream = next(iter(streams), None)
        if stream is None:
            return
        if self._asked is not None:
            # The user chose a view before the first image.
            view, self._asked = self._asked or None, None
            self.attempt(partial(self.logic.volumes.setFollowing, stream, view))
        view = self.logic.volumes.following(stream)
        combo = self.ui.followComboBox
        blocked = combo.blockSignals(True)
        combo.currentIndex = 1 + self._views.index(view) if view in self._views else 0
        combo.blockSignals(blocked)

    # ---- what the user does

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

    def _followChanged(self, index: int) -> None:
        self._asked = self._views[index - 1] if index > 0 else ""
        self._showFollowing(self.logic.statistics()["streams"])

    def _happened(self, event: Event) -> None:
        if event.code in ANSWERS:
            show(self.ui.answerLabel, event.text, event.level != "info")
