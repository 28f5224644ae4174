"""States of the panel: each function brings one about with real sources, and returns its picture."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator

import numpy as np
from RealTimeImagingLib.Processing import BuiltIn

from .Stage import Stage
from .Steps import STEPS
from .Tutorials import TUTORIALS

PORT = 18944

FAST = ("--fps", "10")


def _idle(name: str) -> Callable[[Stage], bytes]:
    def picture(stage: Stage) -> bytes:
        stage.choose(name)
        stage.open("sourceSection")
        return stage.top()

    return picture


def waiting(stage: Stage) -> bytes:
    """Images are in a subfolder: a button looks there."""
    stage.open("sourceSection")
    incoming = stage.folder("incoming")
    stage.scanner(stage.folder("incoming", "session1"), "--frames", "3", *FAST).wait()
    stage.watch(incoming)
    stage.until(lambda: stage.ui.remedyButton.visible)
    return stage.top()


def _live(stage: Stage, *options: str) -> None:
    stage.watch(stage.folder("incoming"))
    stage.scanner(stage.folder("incoming"), *FAST, *options)


def receiving(stage: Stage) -> bytes:
    """A source runs; all sections are closed, below the status line."""
    stage.open("sourceSection")
    _live(stage)
    stage.untilStatus("Receiving")
    stage.until(lambda: stage.logic.statistics()["received"] > 40)
    return stage.whole()


def slow(stage: Stage) -> bytes:
    """The next image is late."""
    stage.open("sourceSection")
    _live(stage, "--frames", "25")
    stage.until(lambda: stage.widget.self().panel._status.line.state == "slow")
    return stage.top()


def stalled(stage: Stage) -> bytes:
    """A regular stream has stopped."""
    stage.open("sourceSection")
    _live(stage, "--frames", "25")
    stage.untilStatus("No image for 4")
    return stage.top()


def error(stage: Stage) -> bytes:
    """Another program has the port."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", PORT))
        taken.listen()
        stage.open("sourceSection")
        stage.choose("openigtlink")
        stage.ui.openigtlink_role.currentIndex = 1
        stage.ui.openigtlink_port.value = PORT
        stage.ui.startButton.click()
        stage.untilStatus("in use")
        return stage.top()


def complaint(stage: Stage) -> bytes:
    """Record needs values for the file names."""
    stage.open("recordSection")
    stage.ui.recordingFolderPathLineEdit.currentPath = stage.folder("recordings")
    stage.ui.recordingNameComboBox.currentIndex = 1
    stage.ui.recordButton.click()
    stage.close_("recordSection")
    stage.ui.sourceSection.collapsed = True
    return stage.upTo("sourceSection")


def two(stage: Stage) -> bytes:
    """A folder and a program that posts over HTTP."""
    stage.open("sourceSection")
    _live(stage)
    stage.untilStatus("Receiving")
    _post(stage)
    stage.untilStatus("from 2 sources")
    stage.until(lambda: stage.logic.statistics()["received"] > 60)
    stage.choose("folder")
    return stage.top()


def _post(stage: Stage) -> None:
    stage.choose("http")
    stage.ui.http_stream.text = "Map"
    stage.ui.addButton.click()
    stage.until(lambda: stage.ui.http_token.text and stage.ui.http_curl.text)
    url = stage.ui.http_curl.text.split('"')[-2].split("?")[0]
    stage.scanner("--post", url, f"--token={stage.ui.http_token.text}", "--fps", "5")


def recording(stage: Stage) -> bytes:
    """A recording grows."""
    stage.open("sourceSection", "recordSection")
    _live(stage)
    stage.untilStatus("Receiving")
    _record(stage)
    stage.until(lambda: stage.logic.recording.status()["recorded"] > 50)
    stage.close_("sourceSection")
    return stage.upTo("sourceSection")


def _record(stage: Stage) -> None:
    stage.ui.recordingFolderPathLineEdit.currentPath = stage.folder("recordings")
    stage.ui.recordButton.click()


def _recorded(stage: Stage, *names: str) -> None:
    """Record some images under each name."""
    _live(stage)
    stage.untilStatus("Receiving")
    for number, name in enumerate(names):
        stage.ui.recordingNameComboBox.setEditText(name)
        _record(stage)
        stage.until(lambda number=number: stage.logic.recording.status()["recorded"] >= 20 + 12 * number)
        stage.ui.recordButton.click()
        stage.until(lambda: not stage.logic.recording.building)
    stage.ui.startButton.click()
    stage.until(lambda: not stage.logic.isRunning())


def recordings(stage: Stage) -> bytes:
    """The list of the folder."""
    stage.open("recordingsSection")
    _recorded(stage, "sub-01_task-rest", "sub-01_task-motor", "sub-02_task-rest")
    stage.ui.refreshRecordingsButton.click()
    stage.until(lambda: stage.ui.recordingsLabel.text == "3 recordings.")
    return stage.section("recordingsSection")


def replay(stage: Stage) -> bytes:
    """A recording plays, with a slider for the position."""
    stage.open("recordingsSection")
    _recorded(stage, "sub-01_task-rest")
    stage.ui.refreshRecordingsButton.click()
    stage.until(lambda: stage.ui.recordingsList.count == 1 and stage.ui.replayRecordingButton.enabled)
    stage.ui.replayRecordingButton.click()
    stage.until(lambda: stage.ui.replaySlider.visible and stage.ui.replaySlider.value >= 8)
    stage.ui.pauseButton.click()
    stage.wait(0.5)
    stage.ui.recordingsSection.collapsed = True
    stage.open("sourceSection")
    return stage.top()


def live(stage: Stage) -> bytes:
    """A map in colour over anatomy, and its settings."""
    stage.makeViews()
    stage.open("liveSection")
    _live(stage)
    stage.until(lambda: stage.logic.statistics()["shown"] > 5)

    def activation(frame: object) -> object:
        pixels = frame.pixels  # type: ignore[attr-defined]
        return np.where(pixels > 320, pixels - 320, 0).astype(np.int16)

    stage.logic.addFrameCallback(activation, stream="Live")
    stage.until(lambda: len(stage.logic.statistics()["streams"]) == 2)
    # As with Threshold in the module Volumes: voxels without activation are transparent.
    display = stage.logic.liveVolumeNode("Live activation").GetDisplayNode()
    display.SetThreshold(1, 2000)
    display.SetApplyThreshold(True)
    stage.widget.self().panel.refresh()
    stage.ui.streamsTable.setCurrentCell(1, 0)
    stage.ui.layerComboBox.currentIndex = 1
    stage.ui.opacitySpinBox.value = 50
    stage.ui.coloursComboBox.currentText = "Iron"
    stage.ui.windowModeComboBox.currentIndex = 1
    stage.wait(1.0)
    return stage.withViews(1000, 640)


def tried(stage: Stage) -> bytes:
    """The simulated scanner, after one click."""
    stage.makeViews()
    stage.ui.tryButton.click()
    stage.until(lambda: stage.logic.statistics()["received"] > 30)
    return stage.withViews(900, 400)


def scrub(stage: Stage) -> bytes:
    """A recording replays, paused, beside the views."""
    stage.makeViews()
    stage.open("recordingsSection")
    _recorded(stage, "sub-01_task-rest")
    stage.ui.refreshRecordingsButton.click()
    stage.until(lambda: stage.ui.recordingsList.count == 1 and stage.ui.replayRecordingButton.enabled)
    stage.ui.replayRecordingButton.click()
    stage.until(lambda: stage.ui.replaySlider.visible and stage.ui.replaySlider.value >= 8)
    stage.ui.pauseButton.click()
    stage.wait(0.5)
    return stage.withViews(900, 400)


def Demo(stage: Stage) -> bytes:
    """The panel and the views, while images are recorded."""
    stage.makeViews()
    stage.open("sourceSection", "statusSection")
    _live(stage)
    stage.untilStatus("Receiving")
    _record(stage)
    stage.until(lambda: stage.logic.recording.status()["recorded"] > 50)
    return stage.withViews(1100, 660)


def devices(stage: Stage) -> bytes:
    """Tools of a tracker: one is seen, one is not."""
    from RealTimeImagingLib.OpenIGTLink import TransformMessage, pack

    stage.choose("openigtlink")
    stage.ui.openigtlink_role.currentIndex = 1
    stage.ui.openigtlink_port.value = PORT
    stage.ui.startButton.click()
    stage.untilStatus("Waiting for a device")
    with socket.create_connection(("127.0.0.1", PORT)) as tracker:
        for name, status in (("ProbeToTracker", "OK"), ("NeedleToTracker", "MISSING")):
            matrix = np.eye(4)
            matrix[:3, 3] = 12.5, -40.0, 7.25
            message = TransformMessage(matrix, device_name=name)
            message.header_version, message.metadata = 2, {"Status": status}
            tracker.sendall(pack(message, version=2))
        stage.until(lambda: stage.ui.devicesTable.rowCount == 2)
        stage.open("devicesSection")
        return stage.section("devicesSection")


def signals(stage: Stage) -> bytes:
    """Latency of each image in the plot of the panel, with a limit."""
    _live(stage)
    stage.open("signalsSection")
    stage.until(lambda: stage.ui.signalsList.count == 2)
    stage.ui.signalsList.item(0).setCheckState(2)
    stage.ui.limitAboveEdit.text = "20"
    stage.ui.limitAboveEdit.editingFinished.emit()
    stage.until(lambda: stage.logic.statistics()["received"] > 60)
    return stage.section("signalsSection")


def processing(stage: Stage) -> bytes:
    """Two functions run beside a stream; the parameters of one are in the form."""
    _live(stage)
    ui = stage.ui
    stage.open("processingSection")
    stage.until(lambda: stage.logic.statistics()["received"] > 5)
    for name in ("RegionStatistics", "SpatialFilter"):
        stage.until(lambda: ui.processButton.enabled)
        ui.functionComboBox.currentIndex = BuiltIn.NAMES.index(name)
        if name == "RegionStatistics":
            ui.function_RegionStatistics_regions.text = "Heart: sphere 0 0 0 20; Muscle: box 30 0 0 20 20 20"
        ui.processButton.click()
    stage.until(lambda: all(one.statistics().get("processed", 0) > 60 for one in stage.logic.processing.list()))
    stage.until(lambda: "processed" in ui.processorStatusLabel.text)
    return stage.section("processingSection")


def events(stage: Stage) -> bytes:
    """Figures, and the events of the run."""
    incoming = stage.folder("incoming")
    _live(stage)
    stage.open("statusSection")
    for name in ("broken.nii", "notes.nii"):
        with open(os.path.join(incoming, name), "wb") as file:
            file.write(b"no image at all" * 99)
    stage.until(lambda: stage.ui.eventsList.count >= 2)
    stage.until(lambda: stage.logic.statistics()["received"] > 60)
    return stage.section("statusSection")


def dark(stage: Stage) -> bytes:
    """A stalled stream in dark colours."""
    stage.useDarkColours()
    return stalled(stage)


def narrow(stage: Stage) -> bytes:
    """380 pixels, with all sections open."""
    stage.resize(380)
    _live(stage)
    stage.untilStatus("Receiving")
    stage.open(*(name for name, one in vars(stage.ui).items() if one.inherits("ctkCollapsibleButton")))
    stage.until(lambda: stage.logic.statistics()["received"] > 20)
    return stage.whole()


def wide(stage: Stage) -> bytes:
    """420 pixels, with all sections open."""
    stage.open(*(name for name, one in vars(stage.ui).items() if one.inherits("ctkCollapsibleButton")))
    return stage.whole()


KINDS = ("folder", "replay", "openigtlink", "http", "camera", "dicom", "mrd")
STATES: dict[str, Callable[[Stage], bytes | Iterator[bytes]]] = {f"idle-{name}": _idle(name) for name in KINDS}
STATES |= {
    one.__name__: one
    for one in (
        waiting,
        receiving,
        slow,
        stalled,
        error,
        complaint,
        two,
        recording,
        recordings,
        replay,
        devices,
        signals,
        processing,
        events,
        dark,
        narrow,
        wide,
        live,  # from here on there are views
        scrub,
        Demo,
    )
}
STATES["try"] = tried
STATES |= STEPS | TUTORIALS
USED = ("idle-folder", "waiting", "receiving", "stalled", "two", "recording", "recordings", "replay", "devices")
USED += ("processing", "signals", "events", "live", "try", "scrub", "Demo", *STEPS, *TUTORIALS)
"""Pictures of the documentation."""
