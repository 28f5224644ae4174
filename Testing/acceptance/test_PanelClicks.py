"""Clicks from the opened module to the first live image.

A press on a button is one click, a choice in a list is one (press on the list, release on the entry), a field that is
typed into is one, and a file dialog is two: choose and OK.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest
import slicerhost
from PySide6 import QtCore, QtTest, QtWidgets
from RealTimeImagingLib.Model.Frame import Frame
from RealTimeImagingLib.Recording import Recorder
from RealTimeImagingLib.Simulator.Film import Film
from slicerhost.CtkPaths import fileDialogAnswers
from slicerhost.PythonQt import nativeObject
from unit.openIGTLinkSource import freePort, image, sendAll

from .conftest import SIMULATOR, until, untilRunning, untilStopped
from .test_Panel import panelOf, save


class User:
    """Clicks on the visible panel, and counts the clicks."""

    def __init__(self, area):
        self.area, self.clicks = area, 0

    def click(self, widget):
        """Click on the middle of a visible, enabled widget."""
        import qt

        self.area.ensureWidgetVisible(widget)
        slicerhost.processEvents()
        assert widget.isVisible()
        assert widget.enabled
        native = nativeObject(widget)
        place = QtCore.QPoint(widget.width // 2, widget.height // 2)
        top = self.area.widget()
        inTop = widget.mapTo(top, qt.QPoint(place.x(), place.y()))
        hit = top.childAt(inTop)
        assert hit is not None
        QtTest.QTest.mouseClick(native, QtCore.Qt.MouseButton.LeftButton, pos=place)
        self.clicks += 1

    def choose(self, combo, text):
        """Open a list, and click on an entry: press on the list, release on the entry."""
        self.click(combo)
        entry = combo.findText(text)
        assert entry >= 0
        view = nativeObject(combo).view()
        until(lambda: view.isVisible())
        slicerhost.processEvents()
        place = view.visualRect(view.model().index(entry, 0)).center()
        QtTest.QTest.mouseClick(nativeObject(view.viewport()), QtCore.Qt.MouseButton.LeftButton, pos=place)
        until(lambda: combo.currentText == text)

    def type(self, field, text):
        """Click into a field and replace its text."""
        self.click(field)
        native = nativeObject(field)
        QtTest.QTest.keyClick(native, QtCore.Qt.Key.Key_A, QtCore.Qt.KeyboardModifier.ControlModifier)
        QtTest.QTest.keyClicks(native, str(text))

    def dialog(self, path):
        """Answer the file dialog that the next click opens."""
        fileDialogAnswers.append(str(path))
        self.clicks += 2


@pytest.fixture
def user(module):
    """A user in front of the opened module, as on a small screen."""
    import qt

    area = qt.QScrollArea()
    area.setWidgetResizable(True)
    area.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
    area.resize(420, 600)
    area.setWidget(module.widgetRepresentation())
    area.show()
    slicerhost.processEvents()
    # A list takes no second click within a double click.
    interval = QtWidgets.QApplication.doubleClickInterval()
    QtWidgets.QApplication.setDoubleClickInterval(0)
    yield User(area)
    QtWidgets.QApplication.setDoubleClickInterval(interval)
    assert fileDialogAnswers == []
    area.takeWidget()


def shown(logic):
    until(lambda: logic.statistics()["shown"] > 0, 30)
    untilStopped(logic)


def test_simulatedScanner(module, logic, user, noErrors):
    user.click(panelOf(module).ui.tryButton)
    shown(logic)
    assert user.clicks == 1


def test_folder(module, logic, user, incoming, noErrors):
    """Start asks for the folder that is missing."""
    user.dialog(incoming)
    user.click(panelOf(module).ui.startButton)
    untilRunning(logic.sources()[0])
    save(incoming / "a.nii", 5)
    shown(logic)
    assert user.clicks == 3


def test_replay(module, logic, user, tmp_path, noErrors):
    recorder = Recorder(str(tmp_path), "Old", "Live", {})
    for number in range(3):
        assert recorder.append(Frame(np.full((2, 3, 4), number, np.int16), np.eye(4), "Live", number, 1.7e9 + number))
    (recorded,) = recorder.finish()
    ui = panelOf(module).ui
    user.choose(ui.sourceComboBox, "Replay of a recording or file")
    user.dialog(recorded)
    user.click(ui.startButton)
    shown(logic)
    assert user.clicks == 4


def test_aCancelledDialogSaysWhatIsMissing(module, logic, user, noErrors):
    ui = panelOf(module).ui
    user.click(ui.startButton)
    assert "Choose the folder" in ui.sourceComplaintLabel.text
    assert not logic.isRunning()


def test_OpenIGTLink(module, logic, user, noErrors):
    """The device connects to Slicer."""
    ui, port = panelOf(module).ui, freePort()
    user.choose(ui.sourceComboBox, "OpenIGTLink device")
    user.choose(ui.openigtlink_role, "Server: wait for devices")
    user.type(ui.openigtlink_port, port)
    user.click(ui.startButton)
    until(lambda: "Waiting for a device" in ui.statusLabel.text)
    with closing(socket.create_connection(("127.0.0.1", port))) as device:
        sendAll(device, image(1))
        shown(logic)
    assert user.clicks == 4


def test_HTTP(slicer, module, logic, user, tmp_path, noErrors):
    """Start, and copy the token for the sender."""
    ui = panelOf(module).ui
    user.choose(ui.sourceComboBox, "Images posted over HTTP")
    user.type(ui.http_port, freePort())
    user.click(ui.startButton)
    until(lambda: ui.http_token.text and ui.http_tokenCopy.enabled)
    user.click(ui.http_tokenCopy)
    token = slicer.app.clipboard().text()
    url = logic.sources()[0].details["curl"].split('"')[-2].split("?")[0]
    sender = subprocess.Popen(
        [
            sys.executable,
            str(SIMULATOR),
            "--frames",
            "1",
            "--post",
            url,
            f"--token={token}",
            "--log",
            str(tmp_path / "log"),
        ]
    )
    shown(logic)
    sender.wait(20)
    assert user.clicks == 4


def test_camera(module, logic, user, tmp_path, noErrors):
    """A video takes the place of the camera."""
    path = str(tmp_path / "video.mkv")
    film = Film(path, 10)
    for _ in range(5):
        film.write(np.zeros((24, 32, 3), np.uint8))
    film.close()
    ui = panelOf(module).ui
    user.choose(ui.sourceComboBox, "Camera or video")
    user.type(ui.camera_device, path)
    user.click(ui.startButton)
    shown(logic)
    assert user.clicks == 3


def test_DICOM(module, logic, user, tmp_path, noErrors):
    """A device on this computer sends; Start asks for the folder."""
    ui, port = panelOf(module).ui, freePort()
    user.choose(ui.sourceComboBox, "DICOM from a scanner or archive")
    user.type(ui.dicom_port, port)
    user.dialog(tmp_path / "received")
    (tmp_path / "received").mkdir()
    user.click(ui.startButton)
    until(lambda: "Waiting for images" in ui.statusLabel.text, 30)
    sender = subprocess.Popen(
        [
            sys.executable,
            str(SIMULATOR),
            "--frames",
            "1",
            "--store",
            str(port),
            "--log",
            str(tmp_path / "log"),
        ]
    )
    shown(logic)
    sender.wait(20)
    assert user.clicks == 5
