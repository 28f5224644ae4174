"""Tutorials of the documentation, followed step by step: in the panel as a person does, and block after block.

Each is a generator of its pictures. It ends when the last block has run; tests follow them, too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from RealTimeImagingLib.Simulator.Film import Film

from .Stage import Driver
from .Tutorials import WAIT, blocksOf

SIZE = (1000, 600)
"""Pixels of a picture with views."""
HOME = 'os.path.expanduser("~/RealTimeImaging'


class Tutorial:
    """A tutorial whose blocks are copied into Slicer's console, one after the other.

    :param stage: the panel. ``name``: of the file, without suffix.
    :param ports: ports that the tutorial names.
    :param faster: texts of the blocks, and what replaces them in a test.
    :param changes: other replacements.
    """

    def __init__(
        self,
        stage: Driver,
        name: str,
        ports: tuple[int, ...] = (),
        faster: dict[str, str] | None = None,
        changes: dict[str, str] | None = None,
    ) -> None:
        self.stage = stage
        self.names: dict[str, Any] = {"slicer": stage.slicer, "__name__": "__main__"}
        """Variables of the console."""
        given = {str(port): str(stage.port(port)) for port in ports} | (changes or {})
        self.home = stage.folder("home").replace(os.sep, "/")
        """What ~/RealTimeImaging stands for."""
        if (faster or {}) and stage.hurries:
            given |= faster or {}
        blocks = blocksOf(name, given)
        self._blocks = iter([(language, text.replace(HOME, f'("{self.home}')) for language, text in blocks])

    def paste(self, ready: Callable[[], object] | None = None) -> None:
        """Run the next block of Python.

        :param ready: tells that what the first line of the block waits for has happened.
        """
        language, text = next(self._blocks)
        assert language == "python", text
        wait = WAIT.match(text)
        assert bool(wait) == bool(ready), text
        if ready:
            self.stage.until(ready)
        exec(text, self.names)

    def text(self) -> str:
        """Return the next block, which is no Python of the console."""
        return next(self._blocks)[1]

    def end(self) -> None:
        """Check that no block is left, and wait for the end of all sources."""
        assert next(self._blocks, None) is None
        self.stage.until(lambda: not self.stage.logic.isRunning() and not self.stage.logic.recording.building)


def _press(stage: Driver) -> None:
    """Press Start, and wait until the source runs."""
    stage.ui.startButton.click()
    stage.until(lambda: any(one.state == "running" for one in stage.logic.sources()))


def _stop(stage: Driver) -> None:
    """Press Stop."""
    stage.ui.startButton.click()
    stage.until(lambda: not stage.logic.isRunning())


def _received(stage: Driver, stream: str) -> int:
    return int(stage.logic.statistics()["streams"].get(stream, {}).get("received", 0))


def folder(stage: Driver) -> Iterator[bytes]:
    """Files, slices and MRD."""
    faster = {'"--fps", 2, "--frames", 20': '"--fps", 20, "--frames", 6', '"--fps", 1, "--frames", 5': '"--frames", 2'}
    faster['"--fps", 2, "--frames", 10'] = '"--frames", 2'
    tutorial = Tutorial(stage, "scanner-folder", (9002,), faster)
    stage.makeViews()
    tutorial.paste()
    stage.open("sourceSection", "statusSection")
    stage.watch(tutorial.names["folder"])
    stage.untilStatus("No image has arrived")
    tutorial.paste()
    stage.until(lambda: _received(stage, "Live") >= 6)
    yield stage.withViews(*SIZE)
    if not stage.hurries:
        stage.untilStatus("No image for")
    _stop(stage)
    tutorial.paste()
    stage.watch(tutorial.names["slices"])
    stage.untilStatus("No image has arrived")
    tutorial.paste()
    tutorial.paste(lambda: _received(stage, "Live") >= 2)
    stage.until(lambda: not stage.logic.isRunning())
    stage.choose("mrd")
    stage.ui.mrd_role.currentIndex = 0
    stage.ui.mrd_port.value = stage.port(9002)
    _press(stage)
    tutorial.paste()
    tutorial.paste(lambda: _received(stage, "Simulated") == (2 if stage.hurries else 10))
    tutorial.end()


def plane(stage: Driver) -> Iterator[bytes]:
    """The bridge shows the plane of the Red view."""
    tutorial = Tutorial(stage, "scan-plane", (18944,))
    stage.makeViews()
    _listen(stage)
    path = os.path.join(stage.folder("bridge"), "bridge.py")
    with open(path, "w", encoding="utf-8") as file:
        file.write(tutorial.text())
    assert tutorial.text() == "PythonSlicer bridge.py\n"
    stage.program(path)
    stage.until(lambda: _received(stage, "MR") > 1)
    stage.open("devicesSection")
    red = stage.slicer.mrmlScene.GetNodeByID("vtkMRMLSliceNodeRed")
    stage.ui.planeComboBox.setCurrentNode(red)
    stage.ui.sendPlaneCheckBox.click()
    assert stage.logic.devices.followed is red
    red.SetSliceOffset(20)
    stage.until(lambda: abs(centreOf(stage, "MR")[2] - 20) < 0.01)
    _tilt(red, 35)
    stage.until(lambda: abs(normalOf(stage, "MR")[0]) > 0.5)
    stage.untilStatus("Receiving")
    yield stage.withViews(*SIZE)
    red.SetOrientationToAxial()
    tutorial.paste()
    tutorial.paste(lambda: abs(centreOf(stage, "MR")[2] - 30) < 0.01)
    tutorial.paste(lambda: any(event.code == "answered" for event in stage.logic.events()))
    tutorial.end()


def _listen(stage: Driver) -> None:
    stage.choose("openigtlink")
    stage.ui.openigtlink_role.currentIndex = 1
    stage.ui.openigtlink_port.value = stage.port(18944)
    _press(stage)
    stage.untilStatus("Waiting for a device")


def _tilt(node: Any, degrees: float) -> None:
    """Turn a slice view around the anterior axis."""
    turn = np.radians(degrees)
    matrix = node.GetSliceToRAS()
    axes = np.array([[matrix.GetElement(row, column) for column in range(3)] for row in range(3)])
    rotation = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    for row, values in enumerate(rotation @ axes):
        for column, value in enumerate(values):
            matrix.SetElement(row, column, value)
    node.UpdateMatrices()


def matrixOf(stage: Driver, stream: str) -> Any:
    """Return IJKToRAS of a live volume as 4x4 array."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    stage.logic.liveVolumeNode(stream).GetIJKToRASMatrix(matrix)
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def centreOf(stage: Driver, stream: str) -> Any:
    """Return the centre of a live volume in RAS."""
    size = stage.logic.liveVolumeNode(stream).GetImageData().GetDimensions()
    return matrixOf(stage, stream) @ [*((number - 1) / 2 for number in size), 1]


def normalOf(stage: Driver, stream: str) -> Any:
    """Return the third axis of a live volume in RAS."""
    axis = matrixOf(stage, stream)[:3, 2]
    return axis / np.linalg.norm(axis)


def ultrasound(stage: Driver) -> Iterator[bytes]:
    """Images and poses: delay, recording, replay."""
    tutorial = Tutorial(stage, "tracked-ultrasound", (18944,))
    stage.makeViews()
    tutorial.paste()
    ui = stage.ui
    stage.choose("openigtlink")
    ui.openigtlink_role.currentIndex = 0
    ui.openigtlink_port.value = stage.port(18944)
    ui.openigtlink_tools.text = "ProbeToTracker"
    ui.openigtlink_tools.editingFinished.emit()
    _press(stage)
    stage.until(lambda: _received(stage, "Ultrasound") > 3 and ui.devicesTable.rowCount > 0)
    stage.open("devicesSection")
    yield stage.withViews(*SIZE)
    if not stage.hurries:
        stage.until(lambda: ui.offsetToolComboBox.findText("ProbeToTracker") >= 0)
        ui.offsetToolComboBox.currentText = "ProbeToTracker"
        ui.estimateOffsetButton.click()
        stage.until(lambda: not ui.useOffsetButton.isHidden())
        found = re.search(r"-?\d+", ui.useOffsetButton.text.replace("−", "-"))
        assert found, ui.useOffsetButton.text
        assert abs(int(found[0]) + 83) <= 3, ui.useOffsetButton.text
        before = stage.logic.sources()[-1]
        ui.useOffsetButton.click()
        stage.until(lambda: (last := stage.logic.sources()[-1]) is not before and last.state == "running")
    tutorial.paste()
    stage.until(lambda: stage.logic.recording.status().get("recorded", 0) >= (10 if stage.hurries else 60))
    tutorial.paste(lambda: True)
    tutorial.paste(lambda: not stage.logic.recording.building and not stage.logic.isRunning())
    stage.close_("devicesSection")
    tutorial.paste()
    stage.until(lambda: tutorial.names["replay"].state == "running" and not ui.replaySlider.isHidden())
    stage.until(lambda: ui.replaySlider.value > (3 if stage.hurries else 20))
    if not stage.hurries:
        ui.pauseButton.click()
        stage.wait(0.5)
        yield stage.withViews(*SIZE)
    tutorial.paste(lambda: True)
    tutorial.end()


def camera(stage: Driver) -> Iterator[bytes]:
    """A video, as a camera."""
    path = _film(os.path.join(stage.folder("video"), "gel.mkv")).replace(os.sep, "/")
    tutorial = Tutorial(stage, "camera", changes={"CameraSettings(0)": f'CameraSettings("{path}", loop=True)'})
    stage.makeViews()
    stage.open("sourceSection")
    stage.choose("camera")
    stage.ui.camera_device.text = path
    stage.ui.camera_device.editingFinished.emit()
    _press(stage)
    stage.until(lambda: _received(stage, "Camera") > 20)
    yield stage.withViews(*SIZE)
    _stop(stage)
    tutorial.paste()
    tutorial.paste(lambda: _received(stage, "Camera") > 2)
    stage.until(lambda: tutorial.names["source"].state == "running")
    tutorial.paste()
    tutorial.paste(lambda: stage.logic.recording.status().get("recorded", 0) > 5)
    tutorial.end()


def _film(path: str, count: int = 60) -> str:
    """Write a video without loss: a coloured drop that moves through a gel."""
    rows, columns = np.mgrid[0:240, 0:320]
    film = Film(path, 25.0)
    for number in range(count):
        turn = 2 * np.pi * number / count
        x, y = 160 + 80 * np.cos(turn), 120 + 50 * np.sin(turn)
        drop = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 900)
        lines = 20 * ((columns // 20 + rows // 20) % 2)
        picture = np.stack([190 + lines * 1.0, 170 + lines - 120 * drop, 140 + lines - 100 * drop], -1)
        film.write(picture.clip(0, 255).astype(np.uint8))
    film.close()
    return path


def dicom(stage: Driver) -> Iterator[bytes]:
    """Slices over the network."""
    tutorial = Tutorial(stage, "dicom-push", (11112,), {'"--frames", 5': '"--frames", 2'})
    frames = 2 if stage.hurries else 5
    stage.makeViews()
    stage.open("sourceSection")
    stage.choose("dicom")
    stage.ui.dicom_folder.currentPath = stage.folder("panel")
    stage.ui.dicom_port.value = stage.port(11112)
    _press(stage)
    stage.untilStatus("Waiting for images")
    _stop(stage)
    tutorial.paste()
    tutorial.paste(lambda: "Waiting for images" in tutorial.names["source"].status)
    stage.until(lambda: _received(stage, "Simulated 1") == frames)
    yield stage.withViews(*SIZE)
    tutorial.paste(lambda: "stored" in tutorial.names["source"].status)
    tutorial.end()


def batch(stage: Driver) -> Iterator[bytes]:
    """Two series become two files."""
    tutorial = Tutorial(stage, "batch-dicom")
    ui = stage.ui
    tutorial.paste()
    folder = tutorial.names["folder"]
    counts = {"first": 14, "second": 42}
    stage.until(
        lambda: all(
            os.path.isdir(f"{folder}/{name}")
            and sum(one.endswith(".dcm") for one in os.listdir(f"{folder}/{name}")) == count
            for name, count in counts.items()
        )
    )
    stage.open("convertSection")
    ui.convertInputPathLineEdit.currentPath = folder
    ui.convertOutputPathLineEdit.currentPath = stage.folder("nrrd")
    ui.convertButton.click()
    stage.until(lambda: not stage.logic.conversion.status()["running"] and ui.loadAllConvertedButton.enabled)
    yield stage.section("convertSection")
    tutorial.paste(lambda: True)
    tutorial.paste(lambda: not stage.logic.conversion.status()["running"])
    tutorial.paste()
    tutorial.end()


def console(stage: Driver) -> Iterator[bytes]:
    """Push, callbacks, recording, events."""
    tutorial = Tutorial(stage, "python-console")
    stage.makeViews()
    tutorial.paste()
    tutorial.paste()
    tutorial.paste()
    stage.open("liveSection")
    tutorial.paste()
    stage.until(lambda: _received(stage, "Wave") == 61 and _received(stage, "Wave bright") > 1)
    stage.widget.self().panel.refresh()
    yield stage.withViews(*SIZE)
    tutorial.paste(lambda: stage.logic.recording.status()["recorded"] >= 60)
    tutorial.paste(lambda: not stage.logic.recording.building)
    tutorial.paste()
    tutorial.end()


STEPS: dict[str, Callable[[Driver], Iterator[bytes]]] = {
    one.__name__: one for one in (folder, plane, ultrasound, camera, dicom, batch, console)
}
"""Tutorials by the name of their first picture; the second one is NAME-2."""
