"""README: its Python runs as it stands, also when it is pasted twice; every command and every label exists."""

from __future__ import annotations

import importlib.util
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from RealTimeImagingLib import SettingsError

from .conftest import ROOT, until
from .test_UserPages import BLOCK, save

LIBRARY = ROOT / "RealTimeImaging" / "RealTimeImagingLib"
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
GUIDES = ("README.md", "panel.md", "python.md", "recording.md", "convert-dicom.md")
FOR_USERS = [page for page in PAGES if page.parent.name in ("tutorials", "sources") or page.name in GUIDES]
SLICERS = ("Code > Download ZIP", "Edit > Application Settings > Modules", "View > Python Console", "View > Error Log")
"""Texts that are not of this module: of Slicer, of systems and of the site of the repository."""
SLICERS += (
    "Fit to content",
    "System Settings > Privacy & Security > Camera",
    "Connection refused",
    "Sample Data",
    "MRPhantom",
)
VALUES = ("Use -83 ms", "Existing files: Show all, by name")
"""Texts with values in them."""


def blocksOf(language):
    return [block for name, block in BLOCK.findall(README.read_text(encoding="utf-8")) if name == language]


def test_pythonInTenLines(slicer, views, logic, incoming, tmp_path, noErrors, capsys):
    """A second paste, as after a look elsewhere, names the running source, and nothing is called twice."""
    first, second = (
        block.replace("/data/incoming", incoming.as_posix()).replace("/data/", f"{tmp_path.as_posix()}/")
        for block in blocksOf("python")
    )
    assert len((first + second).split("\n")) <= 14
    console = {"slicer": slicer, "__name__": "__main__"}
    exec(first, console)
    with pytest.raises(SettingsError, match="Live"):
        exec(first, console)
    exec(first[first.index("def mean") : first.index("logic.startRecording")], console)
    until(lambda: logic.recording.status()["free"] is not None)
    save(incoming, "a.nii", np.full((3, 4, 5), 7, np.int16))
    until(lambda: logic.statistics()["shown"] == 1)
    exec(second, console)
    assert capsys.readouterr().out == "Live 0: mean 7.0\n1 images received\n"
    until(lambda: not logic.isRunning() and not logic.recording.building)
    assert logic.statistics()["callbackMs"] == {}
    assert console["browserNode"].GetNumberOfItems() == 1


def test_theReadmeIsShort():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 200


def test_everyCommandExists():
    """Commands of run.py, and their options."""
    spec = importlib.util.spec_from_file_location("run", ROOT / "run.py")
    run = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(run)
    assert blocksOf("bash") == ["python3 run.py demo\npython3 run.py test\n"]
    folders = {"demo": ROOT / "Testing" / "demo", "docs": ROOT / "Testing" / "pictures"}
    folders |= {"acquire": LIBRARY / "Command", "convert": LIBRARY / "Conversion"}
    options = {name: "".join(file.read_text("utf-8") for file in path.glob("*.py")) for name, path in folders.items()}
    options["acquire"] += (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for name, rest in re.findall(r"python3 run\.py ([\w-]+)([^`|]*)", text):
            assert name in (*run.COMMANDS, "check", "--version"), (page, name)
            for option in re.findall(r" --([a-z][\w-]*)", rest) if name in options else ():
                if option == "help":
                    continue
                words = re.sub(r"-(\w)", lambda found: found[1].upper(), option)
                assert f'"--{option}"' in options[name] or f"`{words}`" in options[name], (page, option)


@pytest.fixture(scope="module")
def labels():
    """Texts of the panel: of the forms, and all that pass ``_()``."""
    found = set()
    for file in (ROOT / "RealTimeImaging" / "Resources" / "UI").glob("*.ui"):
        found |= {(one.text or "").strip(" :") for one in ET.parse(file).iter("string")}
    for file in LIBRARY.parent.rglob("*.py"):
        found |= set(re.findall(r'_\(\s*"((?:[^"\\]|\\.)*)"', file.read_text(encoding="utf-8")))
    return found


@pytest.mark.parametrize("page", FOR_USERS, ids=lambda page: page.stem)
def test_everyLabelIsInThePanel(page: Path, labels):
    """What a page for users writes in italics is a text of the panel."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    # Not names of files and patterns, which hold asterisks.
    text = re.sub(r"`[^`]*`", "", text)
    written = {" ".join(one.split()) for one in re.findall(r"(?<![*\w])\*([A-Z][^*]*)\*(?![*\w])", text)}
    known = {*labels, *(label.split(":")[0] for label in labels), *SLICERS, *VALUES}
    assert written - known == set()
