"""The how-to "Add a source" runs as it stands: the new kind is in the panel and in the command, starts and records."""

from __future__ import annotations

import importlib
import logging
import re
import shlex
import subprocess
import sys
from dataclasses import field, make_dataclass

import pytest
from RealTimeImagingLib import SettingsError
from RealTimeImagingLib.Recording import openRecording
from RealTimeImagingLib.Sources import KINDS, SourceKind, SourceSettings, about, register

from .conftest import ROOT, until, untilStopped
from .test_Panel import panelOf

PAGE = (ROOT / "docs" / "how-to" / "add-a-source.md").read_text(encoding="utf-8")
COMMAND = ROOT / "RealTimeImaging" / "RealTimeImagingLib" / "Command" / "__main__.py"


def blocks(language):
    """Code blocks of the page."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the package of the page; afterwards its kind is forgotten."""
    (tmp_path / "RandomImages").mkdir()
    (tmp_path / "RandomImages" / "__init__.py").write_text(blocks("python")[0], encoding="utf-8")
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    KINDS.pop("random", None)
    sys.modules.pop("RandomImages", None)


def run(block, folder, **names):
    """Execute a block of the page in the folder; returns its names."""
    exec(compile(block.replace("/path/to", folder.as_posix()), "add-a-source.md", "exec"), names)
    return names


def test_theSourceHasFewerThan60Lines():
    lines = [line for line in blocks("python")[0].splitlines() if line.strip()]
    assert len(lines) < 60


def test_theSourceStartsShowsAndRecords(slicer, module, logic, folder, noErrors):
    """In a real worker process, which finds the package by itself."""
    names = run(blocks("python")[1], folder, slicer=slicer)
    source, settings = names["source"], names["RandomSettings"](rate=20)
    assert source.settings == settings
    until(lambda: logic.statistics()["shown"] > 3)
    pixels = slicer.util.arrayFromVolume(logic.liveVolumeNode("Random"))
    assert pixels.shape == (1, 128, 128)
    assert pixels.std() > 50
    logic.startRecording(str(folder / "recordings"), name="Noise")
    until(lambda: source.recorded > 5)
    logic.stopRecording()
    until(lambda: not logic.recording.building)
    untilStopped(logic)
    counts = logic.statistics()
    assert counts["failed"] == counts["rejected"] == 0
    assert counts["received"] == counts["shown"] + counts["skipped"]
    (header,) = (folder / "recordings").glob("*.seq.nhdr")
    assert len(openRecording(str(header)).frames) == counts["recorded"]


def test_theKindIsInThePanel(slicer, module, logic, folder, noErrors):
    """The form has its rows, whether the package was imported before the panel was made or after."""
    panel = panelOf(module)
    sys.path.append(str(folder))
    from RandomImages import RandomSettings

    panel.refresh()
    ui = panel.ui
    ui.sourceComboBox.currentIndex = ui.sourceComboBox.findText("Random images")
    assert ui.random_rate.isVisibleTo(ui.sourceSection)
    assert not ui.folder_folder.isVisibleTo(ui.sourceSection)
    ui.random_rate.value = 50
    ui.random_size.value = 16
    assert panel.settings() == RandomSettings(50, 16)
    ui.startButton.click()
    until(lambda: logic.statistics()["shown"] > 3)
    assert slicer.util.arrayFromVolume(logic.liveVolumeNode("Random")).shape == (1, 16, 16)
    ui.startButton.click()
    until(lambda: not logic.isRunning())


def test_theSourceWithARemedyRuns(module, folder):
    """The block checks itself; the label of the remedy keeps its template."""
    names = run(blocks("python")[3], folder, __file__=str(folder / "RandomImages" / "__init__.py"))
    assert names["event"].remedy.settings == {"rate": 10.0}
    assert names["event"].remedy.label.context == "RandomImages.__init__"


def breakSource(folder, statement):
    """Put a statement at the start of the source's read(); returns the settings class."""
    page = folder / "RandomImages" / "__init__.py"
    start = "        # Never wait longer than the worker allows.\n"
    code = page.read_text(encoding="utf-8")
    assert start in code
    page.write_text(code.replace(start, f"        {statement}\n"), encoding="utf-8")
    sys.path.append(str(folder))
    return importlib.import_module("RandomImages").RandomSettings


def test_thePanelNamesTheSourceWithoutASender(slicer, module, logic, folder, noErrors):
    sys.path.append(str(folder))
    from RandomImages import RandomSettings

    panel = panelOf(module)
    logic.start(RandomSettings(rate=50))
    until(lambda: re.fullmatch(r"Receiving [\d.]+ images/s from Random images\.", panel.ui.statusLabel.text))


def test_thePanelSaysWhyASourceThatRaisesIsNotRestarted(slicer, module, logic, folder):
    settings = breakSource(folder, 'raise ValueError("wrong header")')
    panel = panelOf(module)
    logic.start(settings())
    until(lambda: logic.sources()[0].state == "failed", 60)
    until(lambda: "ValueError: wrong header" in panel.ui.statusLabel.text)
    assert "cannot be kept running" in logic.events()[-1].text


def test_aSourceThatRaisesAfterEachFrameIsNotRestartedWithoutEnd(slicer, logic, folder, monkeypatch):
    process = importlib.import_module("RealTimeImagingLib.Host.AcquisitionProcess")
    monkeypatch.setattr(process, "MOST_DEATHS", 4)
    settings = breakSource(
        folder,
        """if self._due != vars(self).setdefault("_begin", self._due):
            raise ValueError("wrong header")""",
    )
    source = logic.start(settings(rate=50))
    until(lambda: source.state == "failed", 30)
    texts = [event.text for event in logic.events()]
    assert logic.statistics()["received"] == 4
    assert len([text for text in texts if text.endswith("is restarted.")]) == 3
    assert [text for text in texts if "cannot be kept running" in text] == [
        "Random images: the acquisition process cannot be kept running: it ended 4 times within 5 minutes "
        "(exit code 1). Press Start to try again. The acquisition process failed: ValueError: wrong header."
    ]


def test_theLogNamesASourceThatBlocksAtTheStop(slicer, module, logic, folder, caplog):
    blocked = folder / "blocked"
    settings = breakSource(folder, f"open({str(blocked)!r}, 'w').close() or time.sleep(100)")
    logic.start(settings())
    until(blocked.exists)
    with caplog.at_level(logging.WARNING):
        untilStopped(logic)
    assert "is killed: its source did not end" in caplog.text


def test_theKindIsThereAfterReload(slicer, module, folder):
    sys.path.append(str(folder))
    import RandomImages  # noqa: F401

    widget = module.widgetRepresentation().self()
    widget.onReload()
    combo = module.widgetRepresentation().self().panel.ui.sourceComboBox
    assert combo.findText("Random images") == combo.count - 1


def test_theSettingsOfThePageAreAForm(slicer, module, folder):
    """A path, a choice, a number with its unit, and a checkbox."""
    (folder / "ArrayImages.py").write_text(blocks("python")[2], encoding="utf-8")
    sys.path.append(str(folder))
    settings = importlib.import_module("ArrayImages").ArraySettings
    try:
        register(SourceKind(settings, "Array", None))
        panel = panelOf(module)
        panel.refresh()
        ui = panel.ui
        ui.sourceComboBox.currentIndex = ui.sourceComboBox.findText("Array")
        with pytest.raises(SettingsError, match="Choose the file"):
            panel.settings()
        ui.array_file.currentPath = "/data/frames.npy"
        ui.array_order.currentIndex = 1
        assert ui.array_interval.suffix == " ms"
        ui.array_loop.checked = True
        assert panel.settings() == settings("/data/frames.npy", "down", 40.0, True)
    finally:
        KINDS.pop("array", None)
        sys.modules.pop("ArrayImages", None)


def test_aKindThatIsRegisteredAgainHasItsNewSettings(slicer, module, noErrors):
    """Its developer changed its module, and loaded it again. The values in the form stay."""

    def registered(title, *names):
        values = [(name, int, field(default=1, metadata=about(name.title(), "Number."))) for name in names]
        values.append(("stream", str, field(default="Numbers", metadata=about("Volume name", "Name."))))
        settings = make_dataclass(
            "NumberSettings", values, bases=(SourceSettings,), frozen=True, namespace={"kind": "numbers"}
        )
        register(SourceKind(settings, title, None))
        panel.refresh()
        return settings

    panel = panelOf(module)
    ui = panel.ui
    try:
        registered("Numbers", "first")
        second = registered("More numbers", "first", "second")
        ui.sourceComboBox.currentIndex = ui.sourceComboBox.findText("More numbers")
        assert panel.settings() == second()
        ui.numbers_first.value = 7
        before = ui.numbers_second
        third = registered("Numbers", "first", "third")
        assert panel.settings() == third(first=7)
        assert ui.sourceComboBox.currentText == "Numbers"
        assert ui.numbers_third.isVisibleTo(ui.sourceForm)
        assert not before.isVisibleTo(ui.sourceForm)
    finally:
        KINDS.pop("numbers", None)


def test_theFormShowsNegativeAndLargeNumbers(slicer, module):
    """A value from Python that exceeds the field is shown as the nearest one."""
    values = [
        ("shift", int, field(default=-5, metadata=about("Shift", "Pixels.", limits=(-10, 10)))),
        ("count", int, field(default=0, metadata=about("Count", "Number."))),
        ("stream", str, field(default="Numbers", metadata=about("Volume name", "Name."))),
    ]
    settings = make_dataclass(
        "NumberSettings", values, bases=(SourceSettings,), frozen=True, namespace={"kind": "numbers"}
    )
    try:
        register(SourceKind(settings, "Numbers", None))
        panel = panelOf(module)
        panel.refresh()
        panel.ui.sourceComboBox.currentIndex = panel.ui.sourceComboBox.findText("Numbers")
        assert panel.settings() == settings()
        panel._source.showSettings(settings(-10, 1 << 40))
        assert panel.settings() == settings(-10, (1 << 31) - 1)
    finally:
        KINDS.pop("numbers", None)


def test_theKindIsInTheCommand(folder):
    """As typed in a terminal: the recording is complete when the command is stopped."""
    (line,) = blocks("sh")
    arguments = shlex.split(line.replace("/path/to", folder.as_posix()))[3:]
    process = subprocess.Popen(
        [sys.executable, str(COMMAND), *arguments], cwd=folder, stdout=subprocess.PIPE, text=True
    )
    words = process.stdout.readline() + process.stdout.readline()
    process.terminate()
    words += process.communicate(timeout=20)[0]
    assert process.returncode == 0
    received = int(re.search(r"The end: (\d+) received, \1 recorded, 0 failed, 0 rejected", words)[1])
    (header,) = (folder / "recordings").glob("*.seq.nhdr")
    assert len(openRecording(str(header)).frames) == received > 0


def test_aKindHasOneOwner(folder):
    """A second package cannot take the name of a kind."""
    from RealTimeImagingLib.Sources.Folder import KIND

    class Settings(KIND.settings):
        kind = "http"

    with pytest.raises(SettingsError, match="registers a source of the kind http already"):
        register(type(KIND)(Settings, "HTTP", KIND.open))
