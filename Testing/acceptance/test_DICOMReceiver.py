"""User stories with a scanner that sends over DICOM: from the panel to the volume and the recording."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest
import slicerhost
from RealTimeImagingLib import DICOMSettings
from RealTimeImagingLib.Model.Frame import checksum
from RealTimeImagingLib.Simulator.Images import phantom
from RealTimeImagingLib.Simulator.StoringScanner import rightHanded
from unit.openIGTLinkSource import freePort

from .conftest import SIMULATOR, until, untilRunning, untilStopped
from .test_OpenIGTLink import matrixOf
from .test_Panel import panelOf


@pytest.fixture
def send(tmp_path):
    """Start scanners that send the phantom; return the process and a function that reads its log."""
    running = []

    def start(port, frames):
        log = tmp_path / f"sent{len(running)}.jsonl"
        command = [sys.executable, str(SIMULATOR), "--store", str(port), "--frames", str(frames), "--thin", "8"]
        running.append(subprocess.Popen([*command, "--log", str(log), "--fps", "100"]))
        return running[-1], lambda: [json.loads(line)["checksums"][0] for line in log.read_text().splitlines()]

    yield start
    for process in running:
        process.kill()
        process.wait()


def chooseDICOM(ui, folder, port):
    ui.sourceComboBox.currentIndex = ui.sourceComboBox.findText("DICOM from a scanner or archive")
    ui.dicom_folder.currentPath = str(folder)
    ui.dicom_port.value = port


def test_aScannerSendsAndTheVolumeIsLive(slicer, module, views, logic, send, tmp_path, noErrors):
    """Source, folder, Start; the scanner sends; every volume is shown unchanged, and every file is stored."""
    ui, port = panelOf(module).ui, freePort()
    chooseDICOM(ui, tmp_path / "kept", port)
    assert not ui.folder_folder.isVisibleTo(ui.sourceSection)
    assert ui.dicom_folder.isVisibleTo(ui.sourceSection)
    ui.dicom_completeAfter.value = 10  # a busy computer may halt the scanner
    ui.startButton.click()
    until(lambda: f"Waiting for images sent to SLICER on 127.0.0.1, port {port}" in ui.statusLabel.text)
    seen = []
    logic.addFrameCallback(
        lambda frame: seen.append(checksum(slicer.util.arrayFromVolume(logic.liveVolumeNode(frame.stream))))
    )
    scanner, sent = send(port, 3)
    until(lambda: scanner.poll() == 0 and logic.statistics()["received"] == 3)
    until(lambda: logic.statistics()["shown"] + logic.statistics()["skipped"] == 3)
    assert seen[-1] == sent()[-1]
    assert set(seen) <= set(sent())
    node = logic.liveVolumeNode("Simulated 1")
    assert node.GetImageData().GetDimensions() == (112, 96, 7)
    _, expected = rightHanded(next(phantom()), 8)
    np.testing.assert_allclose(slicer.util.arrayFromVTKMatrix(matrixOf(node)), expected, atol=1e-5)
    assert len(list((tmp_path / "kept").rglob("*.dcm"))) == 21
    ui.startButton.click()
    until(lambda: not logic.isRunning())


def test_recorded(slicer, logic, send, tmp_path, noErrors):
    """Two series at the same time in one recording: every volume of both."""
    port = freePort()
    source = logic.start(DICOMSettings(str(tmp_path / "kept"), port=port, completeAfter=10))
    untilRunning(source)
    logic.startRecording(tmp_path / "recordings", name="Scan")
    until(lambda: logic.recording.status()["free"] is not None)
    scanners = [send(port, 3) for _ in range(2)]
    until(lambda: logic.statistics()["received"] == 6, 30)
    until(lambda: all(scanner.poll() == 0 for scanner, _ in scanners))
    logic.stopRecording()
    until(lambda: not logic.recording.building)
    assert logic.statistics()["recorded"] == 6
    assert set(logic.statistics()["streams"]) == {"Simulated 1", "Simulated 1 (2)"}
    untilStopped(logic)


def test_settingsAreRemembered(slicer, module, logic, tmp_path, noErrors):
    ui = panelOf(module).ui
    chooseDICOM(ui, tmp_path / "kept", freePort())
    ui.dicom_aeTitle.text = "ROOM2"
    ui.dicom_growing.checked = True
    ui.dicom_allowed.text = "10.0.0.7; 127.0.0.1"
    ui.dicom_callers.text = "CT1;CT2"
    ui.dicom_checkCalled.checked = True
    ui.dicom_completeAfter.value = 3.5
    ui.dicom_sizeLimit.value = 77
    ui.startButton.click()
    logic.stop()
    until(lambda: not logic.isRunning())
    wanted = panelOf(module).settings()
    assert (wanted.aeTitle, wanted.callers, wanted.sizeLimit) == ("ROOM2", ("CT1", "CT2"), 77 << 20)
    slicerhost.reloadModule("RealTimeImaging")
    assert panelOf(module).settings() == wanted


def test_invalidSettingsAreReported(module, logic, tmp_path, noErrors):
    ui = panelOf(module).ui
    chooseDICOM(ui, "", 11112)
    ui.startButton.click()
    assert "Choose the folder in which received files are stored" in ui.sourceComplaintLabel.text
    chooseDICOM(ui, tmp_path / "kept", 11112)
    ui.dicom_aeTitle.text = "a title that is far too long"
    ui.startButton.click()
    assert "1 to 16" in ui.sourceComplaintLabel.text


def test_aPortThatIsTakenIsReportedAndRetried(module, logic, tmp_path):
    ui = panelOf(module).ui
    port = freePort()
    with closing(socket.create_server(("127.0.0.1", port))):
        chooseDICOM(ui, tmp_path / "kept", port)
        ui.startButton.click()
        until(lambda: f"Port {port} is in use" in ui.statusLabel.text)
    until(lambda: "Waiting for images" in ui.statusLabel.text)
    ui.startButton.click()
    until(lambda: not logic.isRunning())
