"""The list of recordings in the panel: read, open, replay, export, show files; names from a pattern; exact words."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from contextlib import suppress

import numpy as np
import pytest
import slicerhost
from RealTimeImagingLib import FolderSettings
from unit.recordings import deviceMessage, frame, record, recorder, recordMessages

from .conftest import snapshot, until, untilRecording, untilStopped
from .test_Panel import panelOf, save


@pytest.fixture
def recordings(tmp_path):
    """A folder with two recordings, one damaged and one abandoned."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    record(folder, [frame(number, stream="Live") for number in range(5)], name="Old")
    record(folder, [frame(number + 9000, stream="Live") for number in range(3)], name="New")
    record(folder, [frame(1, stream="Live")], name="Cut")
    os.truncate(folder / "Cut-Live.raw", 10)
    left = recorder(folder, stream="Live")
    assert left.append(frame(2, stream="Live"))
    left._growing.rest()
    left._lock.release(remove=False)
    past = time.time() - 60
    os.utime(folder / "Test-Live.lock", (past, past))
    os.utime(folder / "Test-Live.raw", (1.6e9, 1.6e9))
    return folder


def listOf(module, folder):
    """Open the section with this folder; return the widgets."""
    module.widgetRepresentation().show()
    ui = panelOf(module).ui
    ui.recordingFolderPathLineEdit.currentPath = str(folder)
    ui.recordingsSection.collapsed = False
    return ui


def lines(ui):
    return [
        ui.recordingsList.item(row).text().replace("\u200b", "").split("\n") for row in range(ui.recordingsList.count)
    ]


def select(ui, name):
    row = [line[0].split()[0] for line in lines(ui)].index(name)
    ui.recordingsList.setCurrentRow(row)


def test_theListNamesWhatIsThere(module, logic, recordings, noErrors):
    """Length, images, losses and size; damaged and unfinished ones say so. The folder is only read."""
    before = snapshot(recordings)
    ui = listOf(module, recordings)
    until(lambda: ui.recordingsList.count == 4 and ui.recordingsLabel.text == "4 recordings.")
    assert snapshot(recordings) == before
    names, figures = zip(*lines(ui), strict=True)
    assert names == ("New  Live", "Cut  Live", "Old  Live", "Test  Live")
    assert figures[0].endswith(", 0.1 s, 3 images, 0 lost, 144 bytes")
    assert re.match(r"2023-11-1\d, ", figures[0])
    assert figures[1].endswith("damaged")
    assert figures[3].endswith("not finished: its process has died")
    assert "Cut-Live.raw has 10 bytes instead of 48." in ui.recordingsList.item(1).toolTip().replace("\u200b", "")
    assert ui.recordingsLabel.width > 2 * ui.refreshRecordingsButton.width
    assert (ui.exportFirstSpinBox.value, ui.exportLastSpinBox.value, ui.exportLastSpinBox.maximum) == (1, 3, 3)
    select(ui, "Cut")
    assert not any(one.enabled for one in (ui.openRecordingButton, ui.replayRecordingButton, ui.exportButton))
    assert ui.showFilesButton.enabled
    record(recordings, [frame(20_000, stream="Live")], name="Newest")
    ui.refreshRecordingsButton.click()
    until(lambda: ui.recordingsList.count == 5)
    assert lines(ui)[ui.recordingsList.currentRow][0] == "Cut  Live"


def test_anEmptyListTakesNoRoom(module, tmp_path, noErrors):
    (tmp_path / "empty").mkdir()
    ui = listOf(module, tmp_path / "empty")
    until(lambda: ui.recordingsLabel.text == "No recording is in this folder.")
    assert not ui.recordingsList.visible
    ui.recordingFolderPathLineEdit.currentPath = str(tmp_path / "none")
    until(lambda: logic_read(module) == str(tmp_path / "none") and ui.recordingsLabel.text.startswith("No recording"))
    (tmp_path / "file").write_text("x")
    ui.recordingFolderPathLineEdit.currentPath = str(tmp_path / "file")
    until(lambda: "cannot be listed: the folder is a file" in ui.recordingsLabel.text)
    assert "color" in ui.recordingsLabel.styleSheet


def logic_read(module):
    return module.widgetRepresentation().self().logic.recording.list.folder


def test_aRecordingWithImagesAndDeviceMessagesHasOneRow(module, tmp_path, noErrors):
    """The tooltip counts the messages. Where they are damaged, or alone, they have a row, which is not selected."""
    record(tmp_path, [frame(number, stream="Live") for number in range(3)])
    path = recordMessages(tmp_path, [deviceMessage(number) for number in range(4)])
    os.utime(path, (time.time() + 60,) * 2)
    ui = listOf(module, tmp_path)
    until(lambda: ui.recordingsList.count == 1)
    until(lambda: ui.replayRecordingButton.enabled and ui.exportButton.enabled)
    assert "4 device messages open with it (0 lost)." in ui.recordingsList.item(0).toolTip()
    assert ui.recordingsLabel.text == "1 recording."
    recordMessages(tmp_path, [deviceMessage(number) for number in range(2)], name="Alone")
    (damaged,) = tmp_path.glob("Test*.jsonl")
    with damaged.open("ab") as file:
        file.write(b"more")
    ui.refreshRecordingsButton.click()
    until(lambda: ui.recordingsList.count == 3)
    names, figures = zip(*lines(ui), strict=True)
    assert sorted(names) == ["Alone  (device messages)", "Test  (device messages)", "Test  Live"]
    assert figures[names.index("Test  (device messages)")].endswith("damaged")
    assert "2 messages, 0 lost" in figures[names.index("Alone  (device messages)")]
    assert names[ui.recordingsList.currentRow] == "Test  Live"
    assert "device messages" not in ui.recordingsList.item(names.index("Test  Live")).toolTip()
    usual = ui.replayRecordingButton.toolTip
    ui.recordingsList.setCurrentRow(names.index("Alone  (device messages)"))
    assert ui.openRecordingButton.enabled
    for button in (ui.replayRecordingButton, ui.exportButton):
        assert not button.enabled
        assert "Device messages have no images. Open shows them." in button.toolTip
    ui.recordingsList.setCurrentRow(names.index("Test  Live"))
    assert ui.replayRecordingButton.enabled
    assert ui.replayRecordingButton.toolTip == usual


def test_openAddsTheRecordingToTheScene(slicer, module, views, logic, recordings, noErrors):
    """With all streams and poses; a second click shows it again. No file changes, not even a checksum."""
    record(recordings, [frame(number, stream="Probe") for number in range(5)], name="Old")
    recordMessages(recordings, [deviceMessage(number) for number in range(4)])
    before = snapshot(recordings)
    ui = listOf(module, recordings)
    until(lambda: ui.recordingsList.count == 6)
    select(ui, "Old")
    ui.openRecordingButton.click()
    until(lambda: not logic.recording.building and len(logic.recording.inScene()) == 2)
    assert sorted(logic.recording.inScene()) == ["Old-Live", "Old-Probe"]
    (browser,) = slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode")
    assert browser.GetNumberOfSynchronizedSequenceNodes(True) == 2
    assert logic.recording.last is browser
    proxy = browser.GetProxyNode(browser.GetMasterSequenceNode())
    until(lambda: views.sliceWidget("Red").mrmlSliceCompositeNode().GetBackgroundVolumeID() == proxy.GetID())
    ui.openRecordingButton.click()
    slicerhost.processEvents()
    assert len(slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode")) == 1
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSequenceNode") == 2
    assert snapshot(recordings) == before
    assert [event.code for event in logic.events()] == []


def test_replayFillsAndStartsTheSource(slicer, module, logic, recordings, noErrors):
    ui = listOf(module, recordings)
    until(lambda: ui.recordingsList.count == 4)
    select(ui, "New")
    ui.replayRecordingButton.click()
    assert ui.sourceComboBox.currentIndex == 1
    assert ui.replay_file.currentPath == str(recordings / "New-Live.seq.nhdr")
    until(lambda: logic.statistics()["received"] == 3)
    select(ui, "Old")
    ui.replayRecordingButton.click()
    until(lambda: logic.statistics()["received"] == 5)
    assert [one.settings.file for one in logic.sources() if not one.ended] == [str(recordings / "Old-Live.seq.nhdr")]
    untilStopped(logic)


def test_exportOfTheSelectedRecording(slicer, module, logic, recordings, noErrors):
    """A range, beside the files of the recording, which need not be in the scene."""
    ui = listOf(module, recordings)
    until(lambda: ui.recordingsList.count == 4)
    select(ui, "Old")
    ui.exportFirstSpinBox.value = 2
    ui.exportLastSpinBox.value = 4
    ui.exportFormatComboBox.currentIndex = 1
    ui.exportButton.click()
    until(lambda: "Saved and compared" in ui.exportLabel.text)
    import nibabel

    assert nibabel.load(recordings / "Old-Live_export.nii").shape == (4, 3, 2, 3)
    assert logic.recording.inScene() == {}
    until(lambda: ui.recordingsList.count == 4)


class FileManager:
    """Takes the folders that Qt would show in the file manager."""

    def __init__(self):
        from PySide6 import QtCore, QtGui

        class Handler(QtCore.QObject):
            def __init__(self):
                super().__init__()
                self.opened = []

            @QtCore.Slot("QUrl")
            def show(self, url):
                self.opened.append(url.toLocalFile())

        self.handler = Handler()
        self.opened = self.handler.opened
        QtGui.QDesktopServices.setUrlHandler("file", self.handler, "show")
        self.close = lambda: QtGui.QDesktopServices.unsetUrlHandler("file")


def test_showFilesOpensTheFolder(module, recordings, noErrors):
    folder = recordings / "sub-01"
    folder.mkdir()
    record(folder, [frame(90_000, stream="Live")], name="Below")
    manager = FileManager()
    try:
        ui = listOf(module, recordings)
        until(lambda: ui.recordingsList.count == 5)
        select(ui, "Below")
        ui.showFilesButton.click()
        select(ui, "Old")
        ui.showFilesButton.click()
        assert manager.opened == [str(folder), str(recordings)]
    finally:
        manager.close()


def test_aFolderThatHangsDoesNotBlockSlicer(logic, recordings, monkeypatch, noErrors):
    """The process that reads is stopped, as on a network drive that does not answer; then the folder can be read."""
    module = importlib.import_module("RealTimeImagingLib.Host.RecordingList")
    monkeypatch.setattr(module, "LONGEST", 600)
    started = time.monotonic()
    for _attempt in range(20):  # the process may be faster than the signal
        logic.recording.list.read(str(recordings))
        assert time.monotonic() - started < 1
        process = logic.recording.list._current
        until(lambda: process._child.pid or process.ended)  # noqa: B023 - it is awaited here
        pid = process._child.pid
        with suppress(ProcessLookupError):
            if pid:
                os.kill(pid, signal.SIGSTOP)
        until(lambda: process.ended)  # noqa: B023 - it is awaited here
        if logic.recording.list.status()["failed"]:
            break
        started = time.monotonic()
    assert "does not respond" in logic.recording.list.status()["words"]
    monkeypatch.setattr(module, "LONGEST", 20_000)
    logic.recording.list.read(str(recordings))
    until(lambda: len(logic.recording.list.entries) == 4)
    assert not logic.recording.list.status()["failed"]


def test_recordWaitsForNoFolderThatHangs(module, logic, tmp_path, monkeypatch, noErrors):
    """On a drive that does not respond, Record complains; once it responds, the next click records."""
    released, opened, folder = threading.Event(), os.open, tmp_path / "share"

    def waits(path, *values, **named):
        assert not str(path).startswith(str(folder)) or released.wait(60)
        return opened(path, *values, **named)

    ui = panelOf(module).ui
    ui.recordingFolderPathLineEdit.currentPath = str(folder)
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", waits)
        try:
            for _click in range(2):
                ui.recordButton.click()
                assert not logic.recording.active
                assert ui.recordComplaintLabel.text.replace("\u200b", "") == (
                    f"The folder {folder} does not respond. Check that its drive is connected, then try again."
                )
        finally:
            released.set()
        until(lambda: logic.recording.active or ui.recordButton.click())
    assert ui.recordComplaintLabel.text == ""
    ui.recordButton.click()
    until(lambda: not logic.recording.building)


def test_namesFromTheMetadata(module, logic, incoming, tmp_path, noErrors):
    """Missing values are named before anything starts; the run counts up; the pattern is remembered."""
    from RealTimeImagingLib.Recording.Names import BIDS_NAME

    out = tmp_path / "out"
    ui = panelOf(module).ui
    ui.recordingFolderPathLineEdit.currentPath = str(out)
    assert ui.recordingNameComboBox.currentText == "Recording_{date}_{time}"
    ui.recordingNameComboBox.currentIndex = 1
    assert ui.recordingNameComboBox.currentText == BIDS_NAME
    assert ui.recordingNameLabel.text == "Missing under Metadata: participant, session"
    ui.recordButton.click()
    assert not logic.recording.active
    assert "needs a value for participant, session" in ui.recordComplaintLabel.text
    assert not out.exists()
    logic.metadata.set({"Participant": "01", "Session": "a/b"})
    panelOf(module).refresh()
    assert ui.recordingNameLabel.text == ""
    source = logic.start(FolderSettings(incoming))
    until(lambda: source.state == "running")
    for number in range(2):
        ui.recordButton.click()
        assert not ui.recordComplaintLabel.text
        untilRecording(logic)
        save(incoming / f"{number}.nii", number + 1)
        until(lambda number=number: logic.recording.status()["recorded"] == 1 and source.recorded == number + 1)
        ui.recordButton.click()
        until(lambda: not logic.recording.building)
    folder = out / "sub-01" / "ses-a_b"
    names = sorted(path.name for path in folder.glob("*.seq.nhdr"))
    assert names == [f"sub-01_ses-a_b_run-0{run}-Live.seq.nhdr" for run in (1, 2)]
    logic.startRecording(out, name="my_{Session}_{run}")
    untilRecording(logic)
    save(incoming / "z.nii", 9)
    until(lambda: logic.recording.status()["recorded"] == 1)
    logic.stopRecording()
    until(lambda: not logic.recording.building)
    assert (out / "my_a_b_1-Live.seq.nhdr").exists()
    untilStopped(logic)
    slicerhost.reloadModule("RealTimeImaging")
    assert panelOf(module).ui.recordingNameComboBox.currentText == BIDS_NAME
    assert panelOf(module).ui.recordingFolderPathLineEdit.currentPath == str(out)


def test_aBelowAWatchedFolderIsRefused(module, logic, tmp_path, noErrors):
    """Also when only the pattern of the name leads there."""
    (tmp_path / "sub-01").mkdir()
    source = logic.start(FolderSettings(tmp_path / "sub-01"))
    until(lambda: source.state == "running")
    ui = panelOf(module).ui
    ui.recordingFolderPathLineEdit.currentPath = str(tmp_path)
    ui.recordingNameComboBox.setEditText("sub-01/x/{date}")
    ui.recordButton.click()
    assert not logic.recording.active
    assert "Choose another folder" in ui.recordComplaintLabel.text
    assert os.listdir(tmp_path / "sub-01") == []
    untilStopped(logic)


def test_wordsOfARecording(module, logic, incoming, tmp_path, noErrors):
    """Before the first image, during and after; a recording without images says so."""
    ui = panelOf(module).ui
    ui.recordingFolderPathLineEdit.currentPath = str(tmp_path / "out")
    ui.recordingNameComboBox.setEditText("Words{run}")
    ui.recordButton.click()
    until(lambda: ui.recordingLabel.text == "Waiting for the first image to store.")
    source = logic.start(FolderSettings(incoming))
    until(lambda: source.state == "running")
    assert ui.recordingLabel.text == "Waiting for the first image to store."
    save(incoming / "a.nii", 1)
    until(lambda: "1 image stored, 1.4 kB" in ui.recordingLabel.text)
    assert " free" in ui.recordingLabel.text
    ui.recordButton.click()
    until(lambda: "Recording Words1 finished: 1 image, 1.4 kB." in ui.recordingLabel.text.replace("\u200b", ""))
    assert not ui.recordingLabel.styleSheet
    ui.recordButton.click()
    until(lambda: ui.recordButton.text == "Stop recording")
    ui.recordButton.click()
    until(lambda: "No image and no pose arrived during recording Words2." in ui.recordingLabel.text)
    assert "color" in ui.recordingLabel.styleSheet
    untilStopped(logic)


def test_theSceneIsClosedInMidRecording(module, logic, incoming, tmp_path, noErrors):
    """The panel announces the finished recording."""
    ui = panelOf(module).ui
    source = logic.start(FolderSettings(incoming))
    until(lambda: source.state == "running")
    logic.startRecording(tmp_path / "out", name="Closed")
    untilRecording(logic)
    save(incoming / "a.nii", 1)
    until(lambda: logic.recording.status()["recorded"] == 1)
    slicerhost.closeScene()
    until(lambda: "Recording Closed finished: 1 image" in ui.recordingLabel.text)


def test_aDiskThatIsNearlyFull(module, logic, incoming, tmp_path):
    """The panel says how long it lasts at this rate, and afterwards how many images are lost and why."""
    out = tmp_path / "out"
    out.mkdir()
    if os.name != "posix" or os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounting needs the rights of root")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", out], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        ui = panelOf(module).ui
        source = logic.start(FolderSettings(incoming))
        until(lambda: source.state == "running")
        logic.startRecording(out, name="Full")
        untilRecording(logic)
        sent = 0
        while "left at this rate" not in ui.recordingLabel.text:
            save(incoming / f"{sent}.nii", sent + 1)
            sent += 1
            until(lambda: logic.statistics()["received"] == sent)  # noqa: B023
            assert sent < 500
        assert "color" in ui.recordingLabel.styleSheet
        (out / "ballast").write_bytes(bytes(shutil.disk_usage(out).free - 1000))
        before = source.recorded
        while source.failed < 5:
            save(incoming / f"{sent}.nii", sent + 1)
            sent += 1
            until(lambda: source.recorded + source.failed == sent)  # noqa: B023
        until(lambda: "NOT stored" in ui.recordingLabel.text)
        (out / "ballast").unlink()
        logic.stopRecording()
        until(lambda: not logic.recording.building)
        text = logic.recording.status()["result"].text
        assert f"Recording Full finished: {source.failed} of {sent} images lost: disk full." in text
        assert source.recorded >= before
        manifest = json.loads((out / "Full-Live.json").read_text())
        assert manifest["failed"] == source.failed
        assert {"recording-failed"} <= {one["code"] for one in manifest["events"]}
        untilStopped(logic)
        slicerhost.closeScene()
    finally:
        subprocess.run(["umount", "-l", out], check=True)


def test_eventsOfTheRunAreInTheManifest(logic, incoming, tmp_path):
    """Also of a process that is killed in the middle."""
    source = logic.start(FolderSettings(incoming))
    until(lambda: source.state == "running")
    until(lambda: any(event.code == "folder-there" for event in logic.events()))
    logic.startRecording(tmp_path / "out", name="Run")
    untilRecording(logic)
    save(incoming / "a.nii", 1)
    until(lambda: logic.recording.status()["recorded"] == 1)
    (incoming / "broken.nii").write_bytes(b"no image at all" * 99)
    until(lambda: logic.statistics()["rejected"] == 1)
    until(lambda: "broken.nii" in (tmp_path / "out" / "Run-Live.events").read_text())
    os.kill(source.pid, signal.SIGKILL)
    until(lambda: any(event.code == "recording-repaired" for event in logic.events()))
    logic.stopRecording()
    until(lambda: not logic.recording.building)
    manifest = json.loads((tmp_path / "out" / "Run-Live.json").read_text())
    (event,) = manifest["events"]
    assert (event["level"], event["count"]) == ("warning", 1)
    assert "broken.nii" in event["text"]
    assert abs(event["time"] - time.time()) < 60
    assert not (tmp_path / "out" / "Run-Live.events").exists()
    assert np.isfinite(manifest["lastTime"])
    untilStopped(logic)


def test_eventsOfSlicersSideAreInTheManifest(logic, incoming, tmp_path):
    """A callback that fails, and no event twice."""

    def fails(frame):
        raise ValueError("no signal")

    source = logic.start(FolderSettings(incoming))
    until(lambda: source.state == "running")
    until(lambda: any(event.code == "folder-there" for event in logic.events()))
    logic.startRecording(tmp_path / "out", name="Run")
    untilRecording(logic)
    logic.addFrameCallback(fails)
    save(incoming / "a.nii", 1)
    until(lambda: any(event.code == "callback-failed" for event in logic.events()))
    (incoming / "broken.nii").write_bytes(b"no image at all" * 99)
    until(lambda: logic.statistics()["rejected"] == 1)
    logic.stopRecording()
    until(lambda: not logic.recording.building)
    logic.removeFrameCallback(fails)
    manifest = json.loads((tmp_path / "out" / "Run-Live.json").read_text())
    assert [(event["level"], event["count"]) for event in manifest["events"]] == [("error", 1), ("warning", 1)]
    assert "no signal" in manifest["events"][0]["text"]
    untilStopped(logic)


def test_aSourceThatStartsLaterStoresLaterEventsOnly(logic, incoming, tmp_path):
    """Also a replacement of its process."""
    from RealTimeImagingLib.Model.Event import Event

    def report(code):
        logic._callbacks.report(Event(code, f"This is {code}.", "warning"))

    first = logic.start(FolderSettings(incoming))
    until(lambda: first.state == "running")
    logic.startRecording(tmp_path / "out", name="Run")
    untilRecording(logic)
    save(incoming / "a.nii", 1)
    report("early")
    (tmp_path / "other").mkdir()
    second = logic.start(FolderSettings(tmp_path / "other", stream="Second"))
    until(lambda: second.state == "running")
    report("late")
    os.kill(second.pid, signal.SIGKILL)
    until(lambda: second.state == "running" and any(event.code == "restarted" for event in logic.events()))
    save(tmp_path / "other" / "b.nii", 2)
    until(lambda: logic.recording.status()["recorded"] == 2)
    logic.stopRecording()
    until(lambda: not logic.recording.building)
    codes = {}
    for stream in ("Live", "Second"):
        manifest = json.loads((tmp_path / "out" / f"Run-{stream}.json").read_text())
        codes[stream] = [event["code"] for event in manifest["events"] if event["code"] in ("early", "late")]
    assert codes == {"Live": ["early", "late"], "Second": ["late"]}
    untilStopped(logic)


def test_anEmptyMetadataTableTakesNoRoom(module, logic, noErrors):
    module.widgetRepresentation().show()
    ui = panelOf(module).ui
    ui.metadataSection.collapsed = False
    assert not ui.metadataTable.visible
    ui.addRowButton.click()
    assert ui.metadataTable.visible
    ui.metadataSection.collapsed = True
    ui.metadataSection.collapsed = False
    assert ui.metadataTable.visible
    ui.metadataTable.setCurrentCell(0, 0)
    ui.removeRowButton.click()
    assert not ui.metadataTable.visible
    assert logic.metadata.get() == {}
