"""The module's panel in a column of its own, simulated scanners, and pictures of both."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import slicerhost
from PySide6 import QtCore, QtGui, QtWidgets
from slicerhost.PythonQt import nativeObject

HERE = os.path.dirname(os.path.abspath(__file__))
MODULE = os.path.join(HERE, "..", "..", "RealTimeImaging", "RealTimeImaging.py")
SIMULATOR = os.path.join(os.path.dirname(MODULE), "RealTimeImagingLib", "Simulator", "__main__.py")
PATIENCE = 30.0
"""Seconds within which each state comes about."""
WIDTH = 420
"""Pixels of the panel in Slicer."""
DARK = {"Window": "#353535", "WindowText": "#ffffff", "Base": "#191919", "AlternateBase": "#353535"}
DARK |= {"Text": "#ffffff", "Button": "#353535", "ButtonText": "#ffffff", "Highlight": "#2a82da"}
"""Colours of Slicer's dark style."""


class Driver:
    """Panel that is used as a person uses it.

    :param folder: empty folder for images and recordings.
    """

    hurries = False
    """True for a test, which waits for fewer images."""

    slicer: Any
    widget: Any
    logic: Any
    ui: Any

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._scanners: list[subprocess.Popen[bytes]] = []
        self._programs: list[subprocess.Popen[bytes]] = []

    # ---- what the user does

    def open(self, *names: str) -> None:
        """Open sections, by the names of their widgets."""
        for name in names:
            getattr(self.ui, name).collapsed = False

    def close_(self, *names: str) -> None:
        """Close sections."""
        for name in names:
            getattr(self.ui, name).collapsed = True

    def choose(self, name: str) -> None:
        """Choose a kind of source."""
        from RealTimeImagingLib.Sources import KINDS

        names = [kind.name for kind in KINDS.values() if kind.listed]
        self.ui.sourceComboBox.currentIndex = names.index(name)

    def watch(self, path: str) -> None:
        """Start a folder source."""
        self.choose("folder")
        self.ui.folder_folder.currentPath = path
        self.ui.startButton.click()
        self.until(lambda: self.logic.sources()[0].state == "running")

    def folder(self, *names: str) -> str:
        """Make a folder below the given one, and return its path."""
        path = os.path.join(self._folder, *names)
        os.makedirs(path, exist_ok=True)
        return path

    def scanner(self, *options: str) -> subprocess.Popen[bytes]:
        """Start a simulated scanner, which ends with the picture."""
        command = [sys.executable, SIMULATOR, *options, "--until-input-ends"]
        self._scanners.append(subprocess.Popen(command, stdin=subprocess.PIPE))
        return self._scanners[-1]

    def program(self, path: str) -> None:
        """Start a Python program, which ends with the picture."""
        self._programs.append(subprocess.Popen([sys.executable, path]))

    def endPrograms(self) -> None:
        """End scanners and programs."""
        for scanner in self._scanners:
            assert scanner.stdin
            scanner.stdin.close()
            scanner.wait()
        for program in self._programs:
            program.terminate()
            program.wait()
        self._scanners, self._programs = [], []

    def port(self, number: int) -> int:
        """Return the port that stands for a port of a tutorial."""
        return number

    # ---- what happens

    def until(self, predicate: Callable[[], object]) -> None:
        """Run the event loop until the predicate holds.

        :raises TimeoutError: it does not hold in time.
        """
        if not slicerhost.runUntil(predicate, PATIENCE):
            raise TimeoutError(f"The state did not come about. The panel shows: {self.ui.statusLabel.text}")

    def untilStatus(self, words: str) -> None:
        """Wait until the status line has these words."""
        self.until(lambda: words in self.ui.statusLabel.text.replace("\u200b", ""))

    def wait(self, seconds: float) -> None:
        """Let the state settle."""
        slicerhost.runUntil(lambda: False, seconds)

    # ---- pictures

    def makeViews(self) -> None:
        """Make the four views; pictures before this one have none."""

    def withViews(self, width: int, height: int) -> bytes:
        """Return a picture of the panel beside the views.

        :param width: of the picture, in pixels. :param height: the same.
        """
        return b""

    def section(self, name: str) -> bytes:
        """Return a picture of a section."""
        return b""


class Stage(Driver):
    """Test host in which each picture has a panel and a scene of its own.

    :param folder: empty folder for images and recordings.
    :param width: pixels of the panel.
    :param font: size of the font in percent of the usual one.
    :param dark: True uses the colours of Slicer's dark style.
    """

    def __init__(self, folder: str, width: int = WIDTH, font: int = 100, dark: bool = False) -> None:
        super().__init__(folder)
        self.slicer = slicerhost.boot()
        self._width, self._dark = width, dark
        letters = QtWidgets.QApplication.font()
        letters.setPointSizeF(letters.pointSizeF() * font / 100)
        QtWidgets.QApplication.setFont(letters)
        self._palette = QtWidgets.QApplication.palette()
        self.views: Any = None
        """Widget with four views, from the first picture with views on."""
        self.layout: Any = None

    def close(self) -> None:
        """End the host."""
        slicerhost.quit()

    @contextmanager
    def panel(self) -> Iterator[None]:
        """Load the module; afterwards stop everything, and forget settings, scene and files."""
        import qt

        module = slicerhost.loadModule(MODULE)
        self.widget = module.widgetRepresentation()
        self.logic = self.widget.self().logic
        self.ui = self.widget.self().panel.ui
        self.column = qt.QScrollArea()
        self.column.setWidgetResizable(True)
        self.column.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        self.column.setVerticalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        self.column.setFrameShape(qt.QFrame.NoFrame)
        self.column.setWidget(self.widget)
        self.resize(self._width)
        if self._dark:
            self.useDarkColours()
        self.close_(*(name for name, one in vars(self.ui).items() if one.inherits("ctkCollapsibleButton")))
        self.widget.enter()
        try:
            yield
        finally:
            self.endPrograms()
            self.logic.stop()
            slicerhost.runUntil(lambda: not self.logic.isRunning() and not self.logic.recording.building, PATIENCE)
            self.column.takeWidget()
            slicerhost.unloadModule("RealTimeImaging")
            slicerhost.closeScene()
            self.slicer.app.userSettings().clear()
            QtWidgets.QApplication.setPalette(self._palette)
            for name in os.listdir(self._folder):
                shutil.rmtree(os.path.join(self._folder, name))

    # ---- pictures

    def resize(self, width: int) -> None:
        """Give the column a width in pixels."""
        self.column.setFixedWidth(width)
        self.column.show()
        slicerhost.processEvents()

    def useDarkColours(self) -> None:
        """Give the panel the colours of Slicer's dark style."""
        palette = QtGui.QPalette()
        for name, colour in DARK.items():
            palette.setColor(QtGui.QPalette.ColorRole[name], QtGui.QColor(colour))
        for name in ("WindowText", "Text", "ButtonText"):
            role = QtGui.QPalette.ColorRole[name]
            palette.setColor(QtGui.QPalette.ColorGroup.Disabled, role, QtGui.QColor("#808080"))
        QtWidgets.QApplication.setPalette(palette)
        slicerhost.processEvents()

    def whole(self) -> bytes:
        """Return a picture of the panel, from its top to the last section."""
        self.widget.self().panel.refresh()
        for _turn in range(2):
            slicerhost.processEvents()
            # Sentences that wrap need more than the size hint.
            height = self.widget.layout().totalHeightForWidth(self.column.width)
            self.column.setFixedHeight(max(height, self.widget.sizeHint.height()))
        self.wait(0.2)
        return _png(self.column)

    def top(self) -> bytes:
        """Return a picture of the panel down to the end of the sources."""
        return self.upTo("optionsSection")

    def upTo(self, name: str, below: bool = False) -> bytes:
        """Return a picture of the panel from its top to the end of a section.

        :param below: False ends above the section.
        """
        import qt

        self.whole()
        section = getattr(self.ui, name)
        bottom = section.mapTo(self.column.widget(), qt.QPoint(0, section.height if below else 0)).y()
        self.column.setFixedHeight(bottom + (6 if below else 0))
        slicerhost.processEvents()
        return _png(self.column)

    def section(self, name: str) -> bytes:
        """Return a picture of a section."""
        self.whole()
        return _png(getattr(self.ui, name))

    def withViews(self, width: int, height: int) -> bytes:
        """Return a picture of the panel beside the views.

        :param width: of the picture, in pixels. :param height: the same.
        """
        import qt

        for name in self.layout.sliceViewNames():
            self.layout.sliceWidget(name).mrmlSliceNode().SetSliceVisible(True)
        view = self.layout.threeDWidget(0)
        # A gradient would take most of the colours of the file.
        view.mrmlViewNode().SetBackgroundColor(0, 0, 0)
        view.mrmlViewNode().SetBackgroundColor2(0, 0, 0)
        window = qt.QSplitter()
        window.addWidget(self.column)
        window.addWidget(self.views)
        window.resize(width, height)
        window.show()
        self.wait(1.0)
        for name in self.layout.sliceViewNames():
            self.layout.sliceWidget(name).sliceLogic().FitSliceToAll()
        view.threeDView().resetFocalPoint()
        self.wait(1.0)
        png = _png(window)
        self.column.setParent(None)
        self.views.setParent(None)
        return png

    def makeViews(self) -> None:
        """Make the four views, turned as Slicer has them at start; pictures before this one have none."""
        if self.views is None:
            self.views, self.layout = slicerhost.makeImageWidget()
        slicerhost.turnViews(self.layout)


def _png(widget: Any) -> bytes:
    data = QtCore.QByteArray()
    buffer = QtCore.QBuffer(data)
    buffer.open(QtCore.QIODevice.OpenModeFlag.WriteOnly)
    QtWidgets.QWidget.grab(nativeObject(widget)).save(buffer, "PNG")
    return bytes(data.data())
