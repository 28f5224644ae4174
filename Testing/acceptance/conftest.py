"""Stories run in the host, with the module as Slicer loads it. Anything left behind fails the test."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import slicerhost
from pyigtl.messages import message_type_to_class_constructor

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "RealTimeImaging" / "RealTimeImaging.py"
SIMULATOR = ROOT / "RealTimeImaging" / "RealTimeImagingLib" / "Simulator" / "__main__.py"
OWN_SETTINGS = ("RealTimeImaging/", "ctkPathLineEdit/")
"""Beginnings of the names of what the module keeps in Slicer's settings."""
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def slicer():
    return slicerhost.boot()


@pytest.fixture(autouse=True)
def clearedScene(slicer):
    """A test leaves no nodes to the next one."""
    before = slicer.mrmlScene.GetNumberOfNodes()
    yield
    if slicer.mrmlScene.GetNumberOfNodes() != before:
        slicerhost.closeScene()


def _library():
    return {name: one for name, one in sys.modules.items() if name.split(".")[0] == "RealTimeImagingLib"}


@pytest.fixture
def module(slicer, caplog):
    """The module, loaded; afterwards unloaded, with nothing left and nothing in the error log."""
    for messages in (slicerhost.slotErrors, slicerhost.vtkMessages, slicerhost.qtMessages):
        messages.clear()
    settings = slicer.app.userSettings()
    # Slicer keeps the settings of all its runs in one file: a test has its own, and gives the user's back.
    kept = {key: settings.value(key) for key in settings.allKeys() if key.startswith(OWN_SETTINGS)}
    for key in kept:
        settings.remove(key)
    with caplog.at_level(logging.ERROR):
        library, codecs = _library(), dict(message_type_to_class_constructor)
        yield slicerhost.loadModule(MODULE)
        slicerhost.unloadModule("RealTimeImaging")
        slicerhost.closeScene()
        if any(sys.modules.get(name) is not one for name, one in library.items()):
            # A reload made new modules: the tests know the classes of those that they imported.
            for name in _library():
                del sys.modules[name]
            sys.modules.update(library)
            # pyigtl's table is of the whole process, and the new modules put their classes into it.
            message_type_to_class_constructor.update(codecs)
    for key in [key for key in settings.allKeys() if key.startswith(OWN_SETTINGS)]:
        settings.remove(key)
    for key, value in kept.items():
        settings.setValue(key, value)
    left = slicerhost.leftovers()
    assert left == [], left
    assert not slicerhost.slotErrors, slicerhost.slotErrors[0].text
    assert not slicerhost.vtkMessages, slicerhost.vtkMessages
    folders = workFolders()
    assert folders == [], folders


@pytest.fixture
def noErrors(caplog):
    """Fail the test when an error is logged."""
    yield
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.fixture
def logic(module, slicer):
    """The logic, as the Python console returns it."""
    return slicer.util.getModuleLogic("RealTimeImaging")


@pytest.fixture
def views(module):
    """Four views, drawn off screen as fast as they can, turned as Slicer has them at start; they stay to the end."""
    made = slicerhost.makeOffscreenViews(160)
    slicerhost.turnViews(made)
    yield made
    for view in made.views():
        view.extraRenderSeconds = 0


@pytest.fixture
def column(module):
    """Shows the panel in a column, as Slicer does; the column is emptied at the end."""
    import qt

    made = []

    def show(width=420, height=600):
        area = qt.QScrollArea()
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        area.resize(width, height)
        area.setWidget(module.widgetRepresentation())
        area.show()
        made.append(area)
        slicerhost.processEvents()
        return area

    yield show
    for area in made:
        area.takeWidget()


@pytest.fixture
def incoming(tmp_path):
    """An empty folder for images."""
    folder = tmp_path / "incoming"
    folder.mkdir()
    return folder


@pytest.fixture
def scanner(incoming, tmp_path):
    """Starts the simulated scanner on the folder; returns the process and the path of its log."""
    running = []

    def start(*options: str) -> tuple[subprocess.Popen[bytes], Path]:
        log = tmp_path / f"sent{len(running)}.jsonl"
        command = [sys.executable, str(SIMULATOR), str(incoming), "--log", str(log), *options]
        running.append(subprocess.Popen(command))
        return running[-1], log

    yield start
    for process in running:
        process.kill()
        process.wait()


def until(predicate, seconds: float = 15.0) -> None:
    """Run the event loop until the predicate holds, and no part of the panel is behind; fail after ``seconds``."""
    assert slicerhost.runUntil(lambda: predicate() and not _isRefreshing(), timeout=seconds), (
        f"it did not come to be in time; {_whatThePanelShows()}"
    )


def _panel():
    return getattr(getattr(slicerhost.boot().modules, "RealTimeImagingWidget", None), "panel", None)


def _isRefreshing() -> bool:
    panel = _panel()
    return panel is not None and panel.refreshing


def _whatThePanelShows() -> str:
    panel = _panel()
    if panel is None:
        return "there is no panel"
    events = [event.text for event in panel._logic.events()[-3:]]
    return f"status {panel.ui.statusLabel.text!r}, refreshing {panel.refreshing}, last events {events}"


def untilRunning(source) -> None:
    """Wait until a source is ready."""
    until(lambda: source.state == "running")


def untilRecording(logic) -> None:
    """Wait until every source records."""
    until(lambda: all(source.storage.get("free") is not None for source in logic.sources() if not source.ended))


def untilStopped(logic) -> None:
    """Stop all and wait for the end; functions finish the images that wait."""
    logic.stop()
    until(lambda: not logic.isRunning(), 60)


def workFolders() -> list[str]:
    """Working folders of this process that are still there."""
    from RealTimeImagingLib.Link.WorkFolders import roots

    mark = f"RealTimeImaging-{os.getpid()}-"
    return [os.path.join(root, name) for root in roots() for name in os.listdir(root) if name.startswith(mark)]


def snapshot(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Names, sizes, times and bytes below a folder."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def now() -> float:
    """Monotonic seconds."""
    return time.monotonic()
