"""The tutorials run as they stand: in the panel, and block after block in Slicer's console and a terminal."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys

import nibabel
import numpy as np
import pytest
from pictures.Stage import Driver
from pictures.Steps import STEPS
from pictures.Tutorials import areDone, areReady, blocksOf, hasParameter, runInConsole, runInTerminal
from unit.openIGTLinkSource import freePort

from . import conftest
from .conftest import ROOT, SHARED, untilStopped

REAL = SHARED / "rtcloud_10vol.nii.gz"


def until(predicate):
    conftest.until(predicate, 60)


def receivedOf(logic, stream):
    """Return the number of received images, 0 before the first one."""
    streams = logic.statistics()["streams"]
    return streams[stream]["received"] if stream in streams else 0


def madeRun(path, count=12):
    """A head of 4 mm voxels with noise, which moves by 1 mm along R in the middle of the run."""
    k, j, i = np.mgrid[0:20, 0:32, 0:32].astype(np.float64)
    rng, volumes = np.random.default_rng(1), []
    for number in range(count):
        x = i - 15.5 - (0.25 if number >= count // 2 else 0)
        radius = np.sqrt((x / 11) ** 2 + ((j - 15.5) / 13) ** 2 + ((k - 9.5) / 9) ** 2)
        head = 800 / (1 + np.exp(12 * (radius - 1))) * (1 + 0.2 * np.sin(x / 2) * np.cos(j / 3))
        volumes.append((head + rng.normal(0, 5, head.shape)).T)
    nibabel.Nifti1Image(np.stack(volumes, -1).astype(np.float32), np.diag([4.0, 4, 4, 1])).to_filename(path)
    return count


@pytest.mark.parametrize("isReal", [False, True], ids=["made", "real"])
def test_motionAndTSNR(slicer, views, logic, tmp_path, noErrors, capsys, isReal):
    """Every volume is processed; then the same function on another computer sends its results here."""
    if isReal and not REAL.exists():
        pytest.skip(f"{REAL.name} is not beside the project")
    path = REAL if isReal else tmp_path / "run.nii.gz"
    count = nibabel.load(path).shape[3] if isReal else madeRun(path)
    port = str(freePort())
    changes = {"/data/run.nii.gz": path.as_posix(), "18944": port}
    blocks = blocksOf("watch-motion-and-tsnr", changes)
    assert [language for language, _block in blocks] == ["python"] * 6 + ["bash", "python", "python"]
    console = {"slicer": slicer}

    def wait(words):
        if words == "the functions start":
            until(lambda: areReady(logic))
        elif words == "images come":
            until(lambda: all(areDone(logic, console[name], count) for name in ("motion", "tsnr")))
            until(lambda: receivedOf(logic, "Live TemporalSNR") == count - 1)
        else:
            assert words == "results come"
            until(lambda: {"Live", "Live RigidMotion"} <= set(console["remote"].counts))

    for _language, block in blocks[:6]:
        runInConsole(block, console, wait)
    for name in ("motion", "tsnr"):
        figures = console[name].statistics()
        assert (figures["received"], figures["processed"]) == (count, count)
    moved = console["moved"]
    assert len(moved) == count
    if not isReal:
        assert np.flatnonzero(moved > 0.5).tolist() == [count // 2]
        assert abs(moved[count // 2] - 1) < 0.2
        assert "1 of 12 volumes moved by more than 0.5 mm" in capsys.readouterr().out
    assert logic.volumes.layer("Live TemporalSNR") == ("foreground", 0.5)
    assert len(slicer.util.arrayFromTableColumn(console["table"], "Frame")) == count
    untilStopped(logic)
    command = shlex.split(blocks[6][1])
    assert command[:3] == ["python3", "run.py", "acquire"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "RealTimeImaging")}
    command = [sys.executable, "-m", "RealTimeImagingLib.Command", *command[3:]]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as other:
        try:
            for _language, block in blocks[7:]:
                runInConsole(block, console, wait)
            assert "Live RigidMotion" in capsys.readouterr().out
        finally:
            other.send_signal(signal.SIGINT) if os.name == "posix" else other.terminate()
    until(lambda: not logic.isRunning())


def test_temperature(slicer, views, logic, noErrors, capsys):
    blocks = blocksOf("live-temperature-map", {})
    console = {"slicer": slicer}

    def wait(words):
        if words == "the functions start":
            until(lambda: areReady(logic))
            return
        if words == "the function has the parameter":
            until(lambda: hasParameter(console["temperature"], "show", "temperature"))
            return
        assert words == "images come"
        console["count"] = console.get("count", 10) + 1
        until(lambda: areDone(logic, console["temperature"], console["count"]))
        until(lambda: receivedOf(logic, "Phase PRFThermometry") == console["count"])

    for language, block in blocks:
        assert language == "python"
        runInConsole(block, console, wait)
    expected = 20 * console["spot"].max()
    assert abs(console["warmest"] - expected) < 0.1
    assert f"has gained {expected:.1f} degrees" in capsys.readouterr().out
    assert logic.volumes.layer("Phase PRFThermometry") == ("foreground", 0.6)
    # The last image shows the temperature itself.
    shown = logic.liveVolumeNode("Phase PRFThermometry")
    until(lambda: abs(slicer.util.arrayFromVolume(shown).max() - 20 - expected) < 0.1)
    until(lambda: not logic.isRunning())


@pytest.mark.skipif(os.name != "posix", reason="the commands are those of a POSIX terminal")
def test_network(slicer, views, logic, tmp_path, noErrors, capsys):
    """The environment is made from the package index, as the tutorial says."""
    pytest.importorskip("onnxruntime", reason="there is no onnxruntime for this Python")
    made = tmp_path / "made.nii"
    array = np.zeros((24, 24, 5), np.int16)
    array[8:16, 8:16, 2] = 1000
    nibabel.Nifti1Image(array, np.eye(4)).to_filename(made)
    changes = {'os.path.expanduser("~")': repr(tmp_path.as_posix()), "python3 -m": f"{sys.executable} -m"}
    changes['"--fps", 5'] = f'"--input", {made.as_posix()!r}, "--frames", 1'
    blocks = blocksOf("run-a-neural-network", changes)
    assert [language for language, _block in blocks] == ["bash", "python", "bash", "python", "python", "python"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PIP_NO_COMPILE"] = "1"  # most of what is installed is never imported
    runInTerminal(blocks[0][1], env=environment, cwd=tmp_path)
    (tmp_path / "model.py").write_text(blocks[1][1], encoding="utf-8")
    runInTerminal(blocks[2][1], env=environment, cwd=tmp_path)
    console = {"slicer": slicer}

    def wait(words):
        if words == "the functions start":
            until(lambda: areReady(logic))
            return
        assert words == "images come"
        until(lambda: areDone(logic, console["network"], 1))
        until(lambda: logic.statistics()["streams"].get("Live ONNXSegmentation", {}).get("shown") == 1)

    for _language, block in blocks[3:]:
        runInConsole(block, console, wait)
    labels = slicer.util.arrayFromVolume(logic.liveVolumeNode("Live ONNXSegmentation"))
    # A mean of 3 x 3 voxels is above 300 where at least three of them are bright.
    assert labels[2].sum() == labels.sum() == 64 + 4 * 6
    assert logic.volumes.layer("Live ONNXSegmentation") == ("foreground", 0.5)
    assert "'processed': 1" in capsys.readouterr().out
    until(lambda: not logic.isRunning())


class Rehearsal(Driver):
    """Panel in which a tutorial is followed without pictures."""

    hurries = True

    def __init__(self, slicer, widget, logic, folder):
        super().__init__(str(folder))
        self.slicer, self.widget, self.logic, self.ui = slicer, widget, logic, widget.self().panel.ui
        self._ports = {}

    def until(self, predicate):
        until(predicate)

    def port(self, number):
        return self._ports.setdefault(number, freePort())


@pytest.fixture
def rehearsal(slicer, module, views, logic, tmp_path, noErrors):
    made = Rehearsal(slicer, module.widgetRepresentation(), logic, tmp_path)
    yield made
    made.endPrograms()


def follow(name, rehearsal):
    """Follow a tutorial to its end."""
    assert list(STEPS[name](rehearsal))


def test_scannerFolder(rehearsal, logic):
    follow("folder", rehearsal)
    assert [event.text for event in logic.events() if event.level == "error"] == []
    assert logic.statistics()["rejected"] == 0


def test_scanPlane(rehearsal, logic):
    follow("plane", rehearsal)
    answers = [event.text for event in logic.events() if event.code == "answered"]
    assert len(answers) == 1
    assert "stopped" in answers[0]


def test_trackedUltrasound(rehearsal, capsys):
    follow("ultrasound", rehearsal)
    # The probe is 115 to 141 mm high, and for one second in twelve the tracker does not see it.
    assert re.search(r"^0 1[1-4]\d\.\d mm (OK|MISSING)$", capsys.readouterr().out, re.MULTILINE)


def test_cameraTutorial(rehearsal, capsys):
    follow("camera", rehearsal)
    assert " pictures stored\n" in capsys.readouterr().out


def test_dicomPush(rehearsal, capsys):
    follow("dicom", rehearsal)
    assert "['Simulated 1']" in capsys.readouterr().out


def test_batchDICOM(rehearsal, slicer, capsys):
    follow("batch", rehearsal)
    assert capsys.readouterr().out.count("done ") == 2
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 2


def test_pythonConsole(rehearsal, capsys):
    follow("console", rehearsal)
    assert "60 images, " in capsys.readouterr().out
