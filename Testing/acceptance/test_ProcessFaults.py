"""Why is there no image? Faults of the acquisition process itself, each with its sentence."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace

import pytest
from RealTimeImagingLib import AcquisitionError, FolderSettings, ReplaySettings
from RealTimeImagingLib.Model.Text import Text
from unit.conftest import arrive, niftiFile

from .conftest import until, untilRunning

posix = pytest.mark.skipif(os.name != "posix", reason="programs and signals are others there")


def test_aCrashNamesTheSourceAndItIsRestarted(logic, incoming):
    source = logic.start(FolderSettings(incoming))
    untilRunning(source)
    until(lambda: source.pid and "folder-there" in [event.code for event in logic.events()])
    said = []
    logic.addEventCallback(lambda event: said.append((event.code, event.text)))
    os.kill(source.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    until(lambda: said)
    code, text = said[0]
    assert code == "restarted"
    assert text.startswith("Folder of images: the acquisition process ended unexpectedly (exit code ")
    assert text.endswith("It is restarted.")
    assert isinstance(text, Text)
    arrive(incoming / "a.nii", niftiFile(1))
    until(lambda: logic.statistics()["received"] == 1)
    until(lambda: source.status == f"Waiting for the next image in {incoming}.")


@posix
def test_aProcessThatCannotStartIsNamedWithTheReason(logic, incoming, tmp_path, monkeypatch):
    """The interpreter of Slicer's Python is gone."""
    python = tmp_path / "PythonSlicer"
    python.write_text("#!/no/such/interpreter\n")
    python.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    source = logic.start(FolderSettings(incoming))
    until(lambda: source.state == "failed")
    text = logic.events()[-1].text
    assert text.startswith("Folder of images: the acquisition process cannot be kept running (exit code -1). ")
    assert "No such file or directory" in text
    python.unlink()
    arrive(incoming / "a.nii", niftiFile(1))
    source = logic.start(FolderSettings(incoming, existing="all"))
    until(lambda: logic.statistics()["received"] == 1)


def test_withoutAnyPythonTheStartIsRefused(logic, incoming, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(AcquisitionError) as caught:
        logic.start(FolderSettings(incoming))
    assert str(caught.value) == (
        "The acquisition process cannot be started: Slicer's Python (PythonSlicer) is not on the path. Install Slicer "
        "again."
    )
    assert isinstance(str(caught.value), Text)
    assert not logic.isRunning()


def test_theOfferOfAStatusReachesSlicersSide(logic, incoming):
    """What the panel's button uses: the settings of the offer, in place of those that the source was started with."""
    for number in range(3):
        arrive(incoming / f"{number}.nii", niftiFile(number))
    source = logic.start(FolderSettings(incoming, existing="ignore"))
    until(lambda: "3 images were already there" in source.status)
    assert source.remedy.label == "Show newest"
    settings = replace(source.chosenSettings, **source.remedy.settings)
    logic.stop(source)
    until(lambda: not logic.isRunning())
    source = logic.start(settings)
    until(lambda: logic.statistics()["received"] == 1)
    until(lambda: source.remedy is None)


def test_theOfferToPlayAgainIsAStartWithTheSameSettings(logic, incoming):
    arrive(incoming / "a.nii", niftiFile(1))
    source = logic.start(ReplaySettings(incoming / "a.nii"))
    until(lambda: source.remedy)
    assert (source.remedy.label, source.remedy.settings) == ("Play again", {})
    assert source.status == "The replay of a.nii has ended: 1 frame."
