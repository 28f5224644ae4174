"""A Python package is missing: Slicer asks once, and the panel explains how to install it by hand."""

from __future__ import annotations

import subprocess
import sys
import types

import pytest
from RealTimeImagingLib import FolderSettings
from RealTimeImagingLib.Model.Errors import MissingPackageError
from unit.conftest import Kept
from unit.functions import functionFile

from .test_Panel import panelOf
from .test_Processing import until

OPENCV = '"opencv-python-headless>=4.8,<6"'
DOWNLOAD = "run pip download --only-binary=:all: --python-version {0.major}.{0.minor} --dest FOLDER " + OPENCV
OFFLINE = f'slicer.util.pip_install(["--no-index", "--find-links", r"FOLDER", {OPENCV}])'


@pytest.fixture
def withoutOpenCV(monkeypatch):
    """OpenCV cannot be found."""
    monkeypatch.setattr(sys, "meta_path", [Kept(sys.meta_path, ("cv2",))])
    monkeypatch.delitem(sys.modules, "cv2", raising=False)


@pytest.fixture
def installer(monkeypatch):
    """A stand-in for Slicer's installer, which the host lacks: notes its arguments, and raises the given failures."""
    asked: list[tuple[list[str], str]] = []
    failures: list[Exception] = []

    def ensure(requirements, requester=None):
        asked.append((list(map(str, requirements)), requester))
        if failures:
            raise failures.pop(0)

    module = types.ModuleType("slicer.packaging")
    module.pip_ensure = ensure
    monkeypatch.setitem(sys.modules, "slicer.packaging", module)
    return asked, failures


def startCamera(module):
    ui = panelOf(module).ui
    ui.sourceComboBox.currentIndex = 4
    ui.startButton.click()
    return copied(ui.sourceComplaintLabel)


def copied(label):
    """Return what "Copy" of a label's context menu copies: the command is pasted into the console as it is."""
    import slicer

    (action,) = label.actions()
    action.trigger()
    return slicer.app.clipboard().text()


def test_afterARefusalThePanelSaysWhatToDo(module, withoutOpenCV, monkeypatch):
    """An older Slicer asks with this module's dialog; questions in tests are answered with no."""
    for newer in ("slicer.packaging", "slicer.pydeps"):
        monkeypatch.setitem(sys.modules, newer, None)
    words = startCamera(module)
    assert words.startswith("OpenCV was not installed, because you declined. Install offline: ")
    assert DOWNLOAD.format(sys.version_info) in words
    assert words.endswith(OFFLINE)


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (subprocess.CalledProcessError(1, ["pip", "install"]), "could not be installed (no internet or proxy?)"),
        (KeyError("wheel"), "could not be installed (no internet or proxy?)"),
        (SystemExit(1), "could not be installed (no internet or proxy?)"),
        (RuntimeError("User declined package installation"), "was not installed, because you declined"),
    ],
)
def test_failuresOfTheInstallerAreExplained(module, withoutOpenCV, installer, failure, reason):
    asked, failures = installer
    failures += [failure, failure]
    words = startCamera(module)
    assert words.startswith(f"OpenCV {reason}. Install offline: ")
    assert "exit status" not in words
    assert "wheel'" not in words
    names = [(sorted(one.split("<")[0].split(">")[0] for one in group), who) for group, who in asked]
    assert set(map(str, names)) == {str((["opencv-python-headless"], "Real-Time Imaging"))}


def test_theButtonBesideTheStatusInstallsAndStarts(module, logic, withoutOpenCV, installer):
    """After a refusal the offer stays until the next action."""
    asked, failures = installer
    failures.append(RuntimeError("User declined package installation"))
    startCamera(module)
    ui = panelOf(module).ui
    panelOf(module).refresh()
    assert ui.statusLabel.text == "OpenCV is not installed."
    assert ui.remedyButton.text == "Install OpenCV"
    before = len(asked)
    ui.remedyButton.click()
    assert len(asked) > before
    ui.sourceComboBox.currentIndex = 0
    panelOf(module).refresh()
    assert "OpenCV" not in ui.statusLabel.text
    assert not ui.remedyButton.isVisibleTo(ui.remedyButton.parent())


def test_aFunctionFileThatRequiresPackagesOffersToInstallThem(module, installer, tmp_path):
    """Also when it imports them first; a refusal says what to do, and the next press asks again."""
    asked, failures = installer
    panel = panelOf(module)
    ui = panel.ui
    path = functionFile(tmp_path, "REQUIREMENTS = ['not-a-package>=1']\nimport notAPackage\ndef process(frame): pass")
    panel._take(path)
    words = lambda: copied(ui.processingComplaintLabel)  # noqa: E731
    until(lambda: words().startswith("made needs not-a-package"))
    assert words().endswith("(not-a-package>=1). To install it, press Start function.")
    panel.refresh()
    assert ui.processButton.enabled
    failures.append(RuntimeError("User declined package installation"))
    ui.processButton.click()
    assert words().startswith("not-a-package was not installed, because you declined.")
    functionFile(tmp_path, "TITLE = 'made'\ndef process(frame): pass")
    ui.processButton.click()
    until(lambda: words() == "")
    assert asked == [(["not-a-package>=1"], "Real-Time Imaging")] * 2
    until(lambda: not ui.processButton.enabled)  # there is no source


def test_allPackagesAreRequestedOnceAndOptionalOnesMayFail(logic, installer):
    asked, failures = installer
    wanted = ["pyigtl>=0.3.4,<0.4", "fastcrc>=0.3,<1"]
    logic.installPackages(wanted)
    assert [len(group) for group, _ in asked] == [2]
    failures.append(OSError("no wheel for this computer"))
    logic.installPackages(wanted)
    assert [len(group) for group, _ in asked] == [2, 2, 1]
    failures += [OSError("x"), OSError("x")]
    with pytest.raises(MissingPackageError, match="pyigtl could not be installed") as caught:
        logic.installPackages(wanted)
    assert caught.value.requirements == wanted[:1]


def test_aSourceContinuesWhenItsRestartLacksAPackage(logic, monkeypatch, tmp_path):
    source = logic.start(FolderSettings(str(tmp_path)))
    monkeypatch.setattr(sys, "meta_path", [Kept(sys.meta_path, ("nibabel",))])
    monkeypatch.delitem(sys.modules, "nibabel", raising=False)
    with pytest.raises(MissingPackageError, match="nibabel"):
        logic.restart(source, pattern="*; *.par")
    assert [one.state for one in logic.sources()] == [source.state]
    assert source.state in ("starting", "running")
    monkeypatch.undo()
    assert logic.restart(source, pattern="*; *.par").settings.pattern == "*; *.par"
