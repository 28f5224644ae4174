"""Recording: record, stop, scrub; the files contain the sent pixels."""

from __future__ import annotations

import gc
import importlib
import json
import os
import shutil
import signal
import threading

import nibabel
import numpy as np
import pytest
import slicerhost
from RealTimeImagingLib import FolderSettings
from RealTimeImagingLib.Model.Frame import checksum
from RealTimeImagingLib.Recording import openRecording
from unit.recordings import frame

from .conftest import until, untilRecording, untilStopped

DETAILS = {"Strain": "BKS.Cg-Dock7m +/+ Leprdb/J", "Operator": "Zoë\nÅngström", "SpecimenID": "UF-12345"}


def save(path, value, shape=(8, 9, 10), affine=None):
    """One small image, renamed into place."""
    array = np.full(shape, value, np.int16)
    array[6:] = 0
    hidden = path.with_name("." + path.name)
    nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine).to_filename(hidden)
    hidden.rename(path)


def errors():
    """The error classes of the loaded module: a reload makes new classes."""
    return importlib.import_module("RealTimeImagingLib.Model.Errors")


def parts(folder):
    """The recorded parts in a folder, by stream and number."""
    found = [openRecording(str(path)) for path in folder.glob("*.seq.nhdr")]
    return sorted(found, key=lambda part: (part.stream, part.recording, part.part))


def sumsOf(folder):
    return [checksum(part.pixels(index)) for part in parts(folder) for index in range(part.count)]


def running(logic, source):
    until(lambda: source.state == "running")
    return source


def recording(logic, folder, **values):
    """Start a recording, and wait until every source records."""
    logic.startRecording(folder, **values)
    untilRecording(logic)


def untilRepaired(folder):
    """Wait until the files of processes that died are finished, too."""
    until(lambda: not list(folder.glob("*.lock")))


def built(logic):
    until(lambda: not logic.recording.building)


def sentBy(log):
    return [value for line in log.read_text().splitlines() for value in json.loads(line)["checksums"]]


def sequenceOf(browser):
    return browser.GetMasterSequenceNode()


def test_everyFrameIsStoredAndScrubs(slicer, logic, scanner, incoming, tmp_path, noErrors):
    """Counts, files, the sequence in the scene and its metadata are right; the live node stays."""
    source = running(logic, logic.start(FolderSettings(incoming)))
    recording(logic, tmp_path / "recordings", attributes=DETAILS, name="Beating")
    process, log = scanner("--frames", "30", "--fps", "60")
    until(lambda: logic.statistics()["received"] == 30 and process.poll() is not None)
    live = logic.liveVolumeNode()
    image = live.GetImageData()
    browser = logic.stopRecording()
    built(logic)
    counts = logic.statistics()
    assert counts["recorded"] == counts["received"] == 30
    assert counts["failed"] == 0
    sent = sentBy(log)
    assert sumsOf(tmp_path / "recordings") == sent
    sequence = sequenceOf(browser)
    assert sequence.GetNumberOfDataNodes() == 30
    assert [checksum(slicer.util.arrayFromVolume(sequence.GetNthDataNode(i))) for i in range(30)] == sent
    times = [float(sequence.GetNthIndexValue(index)) for index in range(30)]
    assert times[0] == 0
    assert times == sorted(set(times))
    assert sequence.GetIndexUnit() == "s"
    assert {name: sequence.GetAttribute(name) for name in DETAILS} == DETAILS
    item = sequence.GetNthDataNode(7)
    assert item.GetAttribute("FrameNumber") == "7"
    assert item.GetAttribute("SourceFile").endswith(".nii")
    assert float(item.GetAttribute("ReceiveTime")) > 1.7e9
    proxy = browser.GetProxyNode(sequence)
    assert proxy is not live
    assert proxy.GetDisplayNode().GetWindow() == pytest.approx(live.GetDisplayNode().GetWindow(), rel=0.5)
    assert slicer.modules.sequences.toolBar().activeBrowserNode() is browser
    assert [event.code for event in logic.events()].count("recorded") == 1
    assert live.GetImageData() is image
    for index in (3, 29, 0):
        browser.SetSelectedItemNumber(index)
        assert checksum(slicer.util.arrayFromVolume(proxy)) == sent[index]
    assert live.GetImageData() is image
    assert not sequence.GetModifiedSinceRead()
    assert source.state == "running"


def test_scrubbedFramesAreSafe(slicer, logic, scanner, incoming, tmp_path, noErrors):
    """Writing into a frame changes no file; frames outlive their sequence; a saved copy is complete."""
    running(logic, logic.start(FolderSettings(incoming)))
    recording(logic, tmp_path / "recordings")
    process, log = scanner("--frames", "5", "--fps", "50")
    until(lambda: logic.statistics()["received"] == 5 and process.poll() is not None)
    browser = logic.stopRecording()
    built(logic)
    sent = sentBy(log)
    sequence = sequenceOf(browser)
    proxy = browser.GetProxyNode(sequence)
    storage = slicer.vtkMRMLVolumeSequenceStorageNode()
    storage.SetScene(slicer.mrmlScene)
    storage.SetFileName(str(tmp_path / "copy.seq.nrrd"))
    assert storage.WriteData(sequence) == 1
    again = slicer.vtkMRMLSequenceNode()
    assert storage.ReadData(again) == 1
    assert again.GetNumberOfDataNodes() == 5
    assert again.GetNthDataNode(2).GetAttribute("FrameNumber") == "2"
    slicer.util.arrayFromVolume(proxy)[:] = 77
    assert sumsOf(tmp_path / "recordings") == sent
    slicer.mrmlScene.RemoveNode(browser)
    slicer.mrmlScene.RemoveNode(sequence)
    del sequence, browser
    gc.collect()
    assert (slicer.util.arrayFromVolume(proxy) == 77).all()


def test_fromTheFirstFrame(logic, incoming, tmp_path, noErrors):
    """A recording that begins before the source misses no image, in two streams, under one name."""
    logic.startRecording(tmp_path / "recordings", name="Both")
    source = logic.start(FolderSettings(incoming, seriesPattern="{series}_*", existing="all"))
    for number in range(6):
        save(incoming / f"{'AB'[number % 2]}_{number}.nii", number)
    until(lambda: logic.statistics()["received"] == 6)
    browser = logic.stopRecording()
    built(logic)
    assert logic.statistics()["recorded"] == 6
    assert {part.stream: part.count for part in parts(tmp_path / "recordings")} == {"A": 3, "B": 3}
    assert browser.GetNumberOfSynchronizedSequenceNodes(True) == 2
    assert sorted(logic.recording.inScene()) == ["Both-A", "Both-B"]
    assert source.state == "running"


def test_stopOfTheSourceEndsTheRecording(logic, incoming, tmp_path, noErrors):
    source = running(logic, logic.start(FolderSettings(incoming)))
    recording(logic, tmp_path / "recordings")
    save(incoming / "a.nii", 1)
    until(lambda: logic.statistics()["received"] == 1)
    logic.stop(source)
    until(lambda: source.ended and not logic.recording.active)
    built(logic)
    assert [part.count for part in parts(tmp_path / "recordings")] == [1]
    assert len(logic.recording.inScene()) == 1
    assert logic.statistics()["recorded"] == 1


def test_nothingRecordedLeavesNothing(slicer, logic, incoming, tmp_path, noErrors):
    running(logic, logic.start(FolderSettings(incoming)))
    recording(logic, tmp_path / "recordings")
    assert logic.stopRecording() is not None
    built(logic)
    until(lambda: slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode") == 0)
    assert "nothing-recorded" in [event.code for event in logic.events()]
    assert os.listdir(tmp_path / "recordings") == []
    assert logic.stopRecording() is None


def test_killInMidRecording(logic, scanner, incoming, tmp_path):
    """The process is killed: a new one continues, the stored part is repaired, and the scene has both."""
    source = running(logic, logic.start(FolderSettings(incoming)))
    recording(logic, tmp_path / "recordings", name="Cut")
    process, log = scanner("--frames", "60", "--fps", "30")
    until(lambda: logic.statistics()["received"] >= 20)
    os.kill(source.pid, signal.SIGKILL)
    until(lambda: process.poll() is not None)
    until(lambda: "restarted" in {event.code for event in logic.events()} and source.state == "running")
    # On a busy computer all others may be in the first part.
    shutil.copy(min(incoming.glob("*.nii")), incoming / ".last")
    (incoming / ".last").rename(incoming / "last.nii")
    until(lambda: logic.statistics()["received"] == 61)
    logic.stopRecording()
    built(logic)
    untilRepaired(tmp_path / "recordings")
    until(lambda: "Cut-Live" in logic.recording.inScene())
    sent = sentBy(log)
    found = parts(tmp_path / "recordings")
    assert [part.recording for part in found] == ["Cut-Live", "Cut_1-Live"]
    stored = {entry["number"]: index for part in found for index, entry in enumerate(part.frames)}
    assert sorted(stored) == list(range(61))
    # A frame that was stored and not yet counted when the process died is stored by both, with one number.
    byNumber = {
        entry["number"]: checksum(part.pixels(index)) for part in found for index, entry in enumerate(part.frames)
    }
    assert [byNumber[number] for number in range(61)] == [*sent, sent[0]]
    assert {event.code for event in logic.events()} >= {"restarted", "recording-repaired"}
    assert sorted(logic.recording.inScene()) == ["Cut-Live", "Cut_1-Live"]
    assert logic.statistics()["recorded"] == logic.statistics()["received"] == 61


@pytest.mark.parametrize("next_", [False, True], ids=["alone", "before the next one"])
def test_theProcessDiesAsTheRecordingStops(slicer, logic, scanner, incoming, tmp_path, next_):
    """Slicer stops the recording before it notices the death: the next process finishes it, with all counts."""
    source = running(logic, logic.start(FolderSettings(incoming)))
    recording(logic, tmp_path / "recordings", name="Cut")
    process, log = scanner("--frames", "30", "--fps", "30")
    until(lambda: process.poll() is not None and logic.statistics()["recorded"] == 30)
    os.kill(source.pid, signal.SIGKILL)
    browser = logic.stopRecording()
    if next_:
        logic.startRecording(tmp_path / "recordings", name="Next")
    built(logic)
    assert sumsOf(tmp_path / "recordings") == sentBy(log)
    assert sorted(logic.recording.inScene()) == ["Cut-Live"]
    assert browser.GetScene() is slicer.mrmlScene
    assert sequenceOf(browser).GetNumberOfDataNodes() == 30
    texts = [event.text for event in logic.events()]
    assert any(text.startswith("Recording Cut finished: 30 images") for text in texts)
    if next_:
        untilRecording(logic)
        save(incoming / "next.nii", 7)
        until(lambda: logic.statistics()["recorded"] == 31)
        logic.stopRecording()
        built(logic)
        assert sorted(logic.recording.inScene()) == ["Cut-Live", "Next-Live"]
    untilStopped(logic)


def test_blockedWindow(logic, scanner, incoming, tmp_path, noErrors):
    """A dialog blocks Slicer: all arriving images are stored."""
    running(logic, logic.start(FolderSettings(incoming)))
    recording(logic, tmp_path / "recordings")
    process, log = scanner("--frames", "100", "--fps", "50")
    until(lambda: logic.statistics()["received"] > 2)
    process.wait(20)  # nothing of Slicer's event loop runs here
    until(lambda: logic.statistics()["received"] == 100)
    logic.stopRecording()
    built(logic)
    counts = logic.statistics()
    assert counts["recorded"] == 100 == counts["shown"] + counts["skipped"]
    assert counts["skipped"] > 50
    assert sumsOf(tmp_path / "recordings") == sentBy(log)


def test_theLastSeconds(logic, incoming, tmp_path, noErrors):
    """The frames in memory are saved once, up to the limit."""
    logic.recording.keepLast(60, 40_000)
    running(logic, logic.start(FolderSettings(incoming)))
    for number in range(10):
        save(incoming / f"{number}.nii", number, (16, 16, 16))
    until(lambda: logic.statistics()["received"] == 10)
    until(lambda: (logic.recording.status()["kept"] or {}).get("frames") == 4)
    assert logic.statistics()["recorded"] == 0
    logic.recording.saveLast(tmp_path / "recordings", name="Just")
    built(logic)
    (part,) = parts(tmp_path / "recordings")
    assert [entry["number"] for entry in part.frames] == list(range(6, 10))
    assert logic.statistics()["recorded"] == 4
    with pytest.raises(errors().SettingsError):
        logic.recording.keepLast(-1)


def test_invalidArguments(module, logic, incoming, tmp_path, noErrors):
    """Invalid arguments are rejected before anything starts."""
    with pytest.raises(errors().SettingsError, match="folder"):
        logic.startRecording(" ")
    with pytest.raises(errors().RecordingError, match="Bad: name"):
        logic.startRecording(tmp_path / "recordings", attributes={"Bad: name": "x"})
    running(logic, logic.start(FolderSettings(incoming)))
    for folder in (incoming, incoming / "below"):
        with pytest.raises(errors().SettingsError, match="Choose another folder"):
            logic.startRecording(folder)
    (tmp_path / "file").write_text("x")
    ui = module.widgetRepresentation().self().panel.ui
    for folder in (tmp_path / "file", tmp_path / "file" / "below", incoming):
        with pytest.raises(errors().RecordingError, match="Choose another folder"):
            logic.startRecording(folder)
        ui.recordingFolderPathLineEdit.currentPath = str(folder)
        ui.recordButton.click()
        assert (logic.recording.active, ui.recordButton.text) == (False, "Record")
    assert os.listdir(incoming) == []
    logic.startRecording(tmp_path / "recordings")
    with pytest.raises(errors().SettingsError, match="Choose another folder"):
        logic.start(FolderSettings(tmp_path, stream="Other"))


def lastWords(logic):
    """Code, level and text of the events at the ends of recordings."""
    codes = ("recorded", "nothing-recorded", "recording-unfinished")
    return [(event.code, event.level, event.text) for event in logic.events() if event.code in codes]


def test_countsBelongToThisRecording(logic, incoming, tmp_path, noErrors):
    source, folder = running(logic, logic.start(FolderSettings(incoming))), tmp_path / "recordings"
    for name, numbers in (("A", range(3)), ("B", range(3, 5))):
        recording(logic, folder, name=name)
        for number in numbers:
            save(incoming / f"{number}.nii", number)
        until(lambda last=numbers[-1]: source.recorded == last + 1)
        until(lambda numbers=numbers: logic.recording.status()["recorded"] == len(numbers))
        logic.stopRecording()
        built(logic)
        status, counts = logic.recording.status(), (len(numbers), 0, len(numbers) * 1440)
        assert (status["recorded"], status["failed"], status["bytes"]) == counts
    logic.recording.keepLast(60)
    until(lambda: logic.recording.status()["kept"])
    save(incoming / "5.nii", 5)
    until(lambda: (logic.recording.status()["kept"] or {}).get("frames") == 1)
    logic.recording.saveLast(folder, name="C")
    built(logic)
    assert (logic.recording.status()["recorded"], logic.recording.status()["bytes"]) == (1, 1440)
    assert lastWords(logic) == [
        (
            "recorded",
            "info",
            f"Recording {name} finished: {count}. First file: {folder}/{name}-Live.seq.nhdr.",
        )
        for name, count in (("A", "3 images, 4.3 kB"), ("B", "2 images, 2.9 kB"), ("C", "1 image, 1.4 kB"))
    ]


def test_lossesAreInTheLastEvent(logic, incoming, tmp_path):
    """The folder of the recording disappears, like an unplugged drive."""
    source, folder = running(logic, logic.start(FolderSettings(incoming))), tmp_path / "recordings"
    recording(logic, folder, name="Lost")
    shutil.rmtree(folder)
    for number in range(3):
        save(incoming / f"{number}.nii", number)
    until(lambda: source.failed == 3)
    logic.stopRecording()
    built(logic)
    folder.mkdir()
    recording(logic, folder, name="Half")
    save(incoming / "3.nii", 3)
    until(lambda: source.recorded == 1)
    folder.rename(tmp_path / "away")
    sent = 4
    while source.failed == 3:  # a folder that is gone is noticed a tenth of a second later
        save(incoming / f"{sent}.nii", sent)
        sent += 1
        until(lambda: logic.statistics()["received"] == sent)  # noqa: B023
    (tmp_path / "away").rename(folder)
    logic.stopRecording()
    built(logic)
    gone = "the folder or a file in it is gone"
    begins = f"First file: {folder}/Half-Live.seq.nhdr."
    assert lastWords(logic) == [
        ("nothing-recorded", "error", f"Recording Lost finished: 3 of 3 images lost: {gone}."),
        ("recorded", "warning", f"Recording Half finished: 1 of {sent - 3} images lost: {gone}. {begins}"),
    ]


def test_theFilesOfAHangingProcessAreFinished(slicer, logic, incoming, tmp_path, monkeypatch):
    """A process without progress is killed after a time; another process finishes the files."""
    monkeypatch.setattr(importlib.import_module("RealTimeImagingLib.Host.AcquisitionProcess"), "WRITE_TIME", 2500)
    source, folder = running(logic, logic.start(FolderSettings(incoming))), tmp_path / "recordings"
    recording(logic, folder, name="Hung")
    for number in range(2):
        save(incoming / f"{number}.nii", number)
    until(lambda: source.recorded == 2)
    os.kill(source.pid, signal.SIGSTOP)
    logic.stop()
    assert not source.ended
    until(lambda: logic.recording.status()["writing"] is not None)
    until(lambda: source.ended and not logic.recording.building)
    assert [part.count for part in parts(folder)] == [2]
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSequenceNode") == 1
    codes = [event.code for event in logic.events()]
    assert codes[-3:] == ["hung", "recording-repaired", "recorded"]
    assert "2 images" in lastWords(logic)[0][2]
    assert recordedCodes(folder).count("hung") == 1


def test_aHaltOfTheComputerIsNoHangingProcess(logic, incoming, tmp_path, monkeypatch):
    """Slicer continues a moment earlier than the process that still has to close its files."""
    monkeypatch.setattr(importlib.import_module("RealTimeImagingLib.Host.AcquisitionProcess"), "WRITE_TIME", 4500)
    source, folder = running(logic, logic.start(FolderSettings(incoming))), tmp_path / "recordings"
    recording(logic, folder, name="Halted")
    save(incoming / "0.nii", 0)
    until(lambda: source.recorded == 1)
    os.kill(source.pid, signal.SIGSTOP)
    logic.stop()
    threading.Event().wait(3)
    late = threading.Timer(0.3, os.kill, (source.pid, signal.SIGCONT))
    late.start()
    until(lambda: source.ended and not logic.recording.building)
    late.join()
    assert [part.count for part in parts(folder)] == [1]
    assert [event.code for event in logic.events()][-1:] == ["recorded"]
    assert "hung" not in [event.code for event in logic.events()]


def recordedCodes(folder):
    """Codes of the events in all manifests of a recording."""
    manifests = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    return [event["code"] for manifest in manifests for event in manifest.get("events", [])]


def test_theManifestSaysThatTheProcessWasRestarted(slicer, logic, incoming, tmp_path):
    """The replacement records it: its predecessor is dead."""
    source, folder = running(logic, logic.start(FolderSettings(incoming))), tmp_path / "recordings"
    recording(logic, folder, name="Restarted")
    save(incoming / "0.nii", 0)
    until(lambda: source.recorded == 1)
    os.kill(source.pid, signal.SIGKILL)
    until(lambda: source.state == "running" and any(event.code == "restarted" for event in logic.events()))
    save(incoming / "1.nii", 1)
    until(lambda: source.recorded == 2)
    logic.stopRecording()
    built(logic)
    assert recordedCodes(folder).count("restarted") == 1


def test_recordingsOfACrashEnterTheScene(slicer, logic, incoming, tmp_path, noErrors):
    """At the next start of a source, also during another recording."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    left = importlib.import_module("RealTimeImagingLib.Recording").Recorder(str(folder), "Crashed", "Scan", {})
    for number in range(2):
        assert left.append(frame(number))
    left._lock.release(remove=False)
    logic.startRecording(folder, name="New")
    running(logic, logic.start(FolderSettings(incoming)))
    save(incoming / "a.nii", 1)
    until(lambda: logic.statistics()["recorded"] == 1)
    until(lambda: "Crashed-Scan" in logic.recording.inScene())
    logic.stopRecording()
    built(logic)
    assert sorted(logic.recording.inScene()) == ["Crashed-Scan", "New-Live"]
    assert [event.code for event in logic.events() if event.code.startswith("record")] == [
        "recording-repaired",
        "recorded",
    ]
    assert logic.recording.status()["recorded"] == 1


def test_movingSlicesMoveInTheScene(slicer, logic, incoming, tmp_path, noErrors):
    """Each item of tracked slices has its own position, and the proxy follows."""
    running(logic, logic.start(FolderSettings(incoming)))
    recording(logic, tmp_path / "recordings")
    for number in range(4):
        save(incoming / f"{number}.nii", number, affine=np.diag([2.0, 3, 4, 1]) + number * np.eye(4, k=3))
        until(lambda number=number: logic.statistics()["received"] == number + 1)
    browser = logic.stopRecording()
    built(logic)
    proxy = browser.GetProxyNode(sequenceOf(browser))
    for number in (3, 0, 2):
        browser.SetSelectedItemNumber(number)
        assert proxy.GetOrigin()[0] == pytest.approx(number, abs=1e-6)


def test_panelRecordsAndSaves(slicer, module, logic, tmp_path, noErrors):
    """By clicks: template, metadata, record, stop, snapshot, export."""
    ui = module.widgetRepresentation().self().panel.ui
    ui.recordingFolderPathLineEdit.currentPath = str(tmp_path / "out")
    ui.templateComboBox.setCurrentText("Specimen")
    index = ui.templateComboBox.findText("Specimen")
    ui.templateComboBox.setCurrentIndex(index)
    module.widgetRepresentation().self().panel._metadata._useTemplate(index)
    rows = {ui.metadataTable.item(row, 0).text(): row for row in range(ui.metadataTable.rowCount)}
    assert list(rows) == ["Genus", "Species", "Strain", "SpecimenID", "CollectionID"]
    ui.metadataTable.item(rows["Strain"], 1).setText(DETAILS["Strain"])
    assert logic.metadata.get()["Strain"] == DETAILS["Strain"]
    ui.tryButton.click()
    until(lambda: logic.statistics()["shown"] > 0)
    ui.recordButton.click()
    assert logic.recording.active
    until(lambda: logic.statistics()["recorded"] >= 5)
    until(lambda: "stored" in ui.recordingLabel.text)
    ui.recordButton.click()
    built(logic)
    ui.snapshotButton.click()
    until(lambda: logic.events()[-1].code == "saved")
    ui.recordingsSection.collapsed = False
    until(lambda: ui.exportButton.enabled and ui.recordingsList.count == 1)
    ui.exportLastSpinBox.value = 3
    ui.exportButton.click()
    until(lambda: sum(event.code == "saved" for event in logic.events()) == 2)
    until(lambda: "Saved" in ui.exportLabel.text)
    names = {path.name.split("_")[0] for path in (tmp_path / "out").iterdir()}
    assert {"Live"} <= names
    (copy,) = (tmp_path / "out").glob("*_export.seq.nrrd")
    sequence = slicer.vtkMRMLSequenceNode()
    storage = slicer.vtkMRMLVolumeSequenceStorageNode()
    storage.SetScene(slicer.mrmlScene)
    storage.SetFileName(str(copy))
    assert storage.ReadData(sequence) == 1
    assert sequence.GetNumberOfDataNodes() == 3
    (snapshot,) = (tmp_path / "out").glob("Live_*.nrrd")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    reader = slicer.vtkMRMLNRRDStorageNode()
    reader.SetFileName(str(snapshot))
    assert reader.ReadData(node) == 1
    assert node.GetAttribute("Strain") == DETAILS["Strain"]
    assert node.GetAttribute("FrameNumber")
    (manifest,) = (tmp_path / "out").glob("*.json")
    until(lambda: json.loads(manifest.read_text())["parts"][0]["sha256"])
    logic.stop()


def test_liveVolumeKeepsItsAttributes(slicer, logic, incoming, tmp_path, noErrors):
    """The live volume keeps its attributes when Slicer saves and loads it in the default format."""
    running(logic, logic.start(FolderSettings(incoming)))
    save(incoming / "a.nii", 1)
    until(lambda: logic.statistics()["shown"] == 1)
    node = logic.liveVolumeNode()
    assert node.GetAttribute("SourceFile") == "a.nii"
    path = str(tmp_path / "saved.nrrd")
    node.GetStorageNode().SetFileName(path)
    assert node.GetStorageNode().WriteData(node) == 1
    reader = slicer.vtkMRMLNRRDStorageNode()
    again = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    reader.SetFileName(path)
    assert reader.ReadData(again) == 1
    assert again.GetAttribute("SourceFile") == "a.nii"
    assert again.GetAttribute("FrameNumber") == "0"


def test_sceneCloseInMidRecording(slicer, logic, incoming, tmp_path, noErrors):
    """The files are closed and complete, the scene is empty."""
    running(logic, logic.start(FolderSettings(incoming)))
    recording(logic, tmp_path / "recordings")
    save(incoming / "a.nii", 1)
    until(lambda: logic.statistics()["received"] == 1)
    slicerhost.closeScene()
    assert not logic.recording.active
    until(lambda: lastWords(logic))
    assert [part.count for part in parts(tmp_path / "recordings")] == [1]
    assert [(code, level) for code, level, _ in lastWords(logic)] == [("recorded", "info")]
    assert "finished: 1 image, " in lastWords(logic)[0][2]
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSequenceNode") == 0
