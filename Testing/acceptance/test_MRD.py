"""User stories with a scanner that streams over MRD: from the panel to the volume, the recording and the replay."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import slicerhost
from RealTimeImagingLib import MRDSettings, ReplaySettings
from RealTimeImagingLib.Model.Frame import checksum
from RealTimeImagingLib.Recording.Reading import readMessages
from RealTimeImagingLib.Simulator.Images import phantomToRAS
from unit.openIGTLinkSource import freePort

from .conftest import SIMULATOR, until, untilRunning, untilStopped
from .test_OpenIGTLink import matrixOf
from .test_Panel import panelOf


@pytest.fixture
def send(tmp_path):
    """Start a scanner that sends the phantom; return the process and a function that reads its log."""
    running = []

    def start(port, frames):
        log = tmp_path / f"sent{len(running)}.jsonl"
        command = [sys.executable, str(SIMULATOR), "--mrd", str(port), "--frames", str(frames), "--fps", "20"]
        running.append(subprocess.Popen([*command, "--log", str(log)], stderr=subprocess.PIPE, text=True))
        return running[-1], lambda: [json.loads(line)["checksums"][0] for line in log.read_text().splitlines()]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def chooseMRD(ui, port):
    ui.sourceComboBox.currentIndex = ui.sourceComboBox.findText("MRD (ISMRMRD) scanner")
    ui.mrd_port.value = port


def test_aScannerStreamsAndTheVolumeIsLive(slicer, module, views, logic, send, noErrors):
    """Source, Start; the scanner streams, and gets its images back; every volume is shown unchanged in its place."""
    ui, port = panelOf(module).ui, freePort()
    chooseMRD(ui, port)
    assert ui.mrd_sendBack.isVisibleTo(ui.sourceSection)
    assert not ui.mrd_file.isVisibleTo(ui.sourceSection)
    ui.startButton.click()
    until(lambda: f"Waiting for a device to connect to 127.0.0.1:{port}" in ui.statusLabel.text)
    assert ui.remedyButton.text == "Allow the network"
    seen = []
    logic.addFrameCallback(
        lambda frame: seen.append(checksum(slicer.util.arrayFromVolume(logic.liveVolumeNode(frame.stream))))
    )
    scanner, sent = send(port, 5)
    until(lambda: scanner.poll() is not None and logic.statistics()["received"] == 5, 30)
    assert scanner.poll() == 0, scanner.stderr.read()
    until(lambda: logic.statistics()["shown"] + logic.statistics()["skipped"] == 5)
    assert seen[-1] == sent()[-1]
    assert set(seen) <= set(sent())
    np.testing.assert_allclose(
        slicer.util.arrayFromVTKMatrix(matrixOf(logic.liveVolumeNode("Simulated"))), phantomToRAS(), atol=1e-4
    )
    until(lambda: "Waiting for the next measurement" in ui.statusLabel.text)
    assert "280 images received, 5 waveforms, 280 sent back" in logic.statistics()["lastEvent"]
    ui.startButton.click()
    until(lambda: not logic.isRunning())


def test_recordedAndReplayed(slicer, logic, send, tmp_path, noErrors):
    """Every volume, with the scanner's time; the breathing curve; and the recording replays the same."""
    port = freePort()
    source = logic.start(MRDSettings(port=port))
    untilRunning(source)
    logic.startRecording(tmp_path / "recordings", name="Scan")
    until(lambda: logic.recording.status()["free"] is not None)
    scanner, sent = send(port, 5)
    until(lambda: scanner.poll() == 0 and logic.statistics()["recorded"] == 5, 30)
    logic.stopRecording()
    until(lambda: not logic.recording.building)
    untilStopped(logic)
    (header,) = (tmp_path / "recordings").glob("*.seq.nhdr")
    manifest = json.loads(header.with_name(header.name.replace(".seq.nhdr", ".json")).read_text())
    assert manifest["recorded"] == 5
    (lines,) = (tmp_path / "recordings").glob("*.messages.jsonl")
    messages = [line.message for line in readMessages(str(lines))]
    breath = [one for one in messages if one.device == "Respiratory"]
    assert len(breath) == 5
    assert all(len(one.values["values"]) == 5 and one.deviceTime for one in breath)
    assert any(one.device == "MRD header" for one in messages)
    replayed = []

    def keep(frame):
        replayed.append((checksum(frame.pixels), frame.deviceTime is not None))

    logic.addFrameCallback(keep, every=True)
    logic.start(ReplaySettings(str(header), pace="rate", rate=5.0))
    until(lambda: len(replayed) == 5, 30)
    assert replayed == [(one, True) for one in sent()]
    untilStopped(logic)


def test_settingsAreRemembered(module, logic, tmp_path, noErrors):
    ui = panelOf(module).ui
    chooseMRD(ui, freePort())
    ui.mrd_role.currentIndex = 1
    assert ui.mrd_file.isVisibleTo(ui.sourceSection)
    assert not ui.mrd_sendBack.isVisibleTo(ui.sourceSection)
    ui.startButton.click()
    assert "Choose the file or folder whose images are sent" in ui.sourceComplaintLabel.text
    ui.mrd_file.currentPath = str(tmp_path)
    ui.mrd_config.currentText = "invertcontrast"
    ui.mrd_complexAs.currentIndex = 2
    ui.mrd_tick.value = 1
    ui.startButton.click()
    logic.stop()
    until(lambda: not logic.isRunning())
    wanted = panelOf(module).settings()
    assert (wanted.role, wanted.config, wanted.complexAs, wanted.tick) == ("client", "invertcontrast", "both", 1.0)
    slicerhost.reloadModule("RealTimeImaging")
    assert panelOf(module).settings() == wanted
