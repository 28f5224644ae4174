"""A camera, chosen in the panel: shown upright in Red, rotated, flipped, measured, recorded."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from RealTimeImagingLib.Simulator.Film import Film

from .conftest import until, untilRunning, untilStopped
from .test_Panel import panelOf


@pytest.fixture
def video(tmp_path):
    """Writes a video of one picture, rows x columns, red first, again and again."""

    def write(picture, name="video.mkv", count=20, rate=50):
        path = str(tmp_path / name)
        film = Film(path, rate)
        for _ in range(count):
            film.write(picture)
        film.close()
        return path

    return write


def quarters(rows=60, columns=100):
    """Red at the top left, green at the top right, blue at the bottom left, black at the bottom right."""
    picture = np.zeros((rows, columns, 3), np.uint8)
    half = rows // 2, columns // 2
    picture[: half[0], : half[1], 0] = picture[: half[0], half[1] :, 1] = picture[half[0] :, : half[1], 2] = 255
    return picture


def corners(view):
    """Return the colour of each quarter of a view, from the top left."""
    pixels = view.pixels()[..., :3].astype(int)
    rows, columns = pixels.shape[:2]
    names = {(1, 0, 0): "red", (0, 1, 0): "green", (0, 0, 1): "blue", (0, 0, 0): "black"}
    places = [(rows * y // 20, columns * x // 20) for y in (8, 12) for x in (8, 12)]
    return [names.get(tuple(pixels[place] > 128), "?") for place in places]


def test_aVideoIsChosenAndSeenUprightInRed(slicer, module, views, logic, video, noErrors):
    """File, Start: Red alone shows the picture upright, with its colours."""
    ui = panelOf(module).ui
    ui.sourceComboBox.currentIndex = 4
    ui.camera_device.text = video(quarters())
    ui.startButton.click()
    until(lambda: "has ended" in ui.statusLabel.text)
    node = logic.liveVolumeNode("Camera")
    assert node.IsA("vtkMRMLVectorVolumeNode")
    shown = [views.sliceWidget(name).mrmlSliceCompositeNode().GetBackgroundVolumeID() for name in ("Red", "Yellow")]
    assert shown == [node.GetID(), None]
    until(lambda: corners(views.sliceWidget("Red").sliceView()) == ["red", "green", "blue", "black"])
    # A busy computer passes over pictures, of which another event tells.
    until(lambda: any("video.mkv has ended: 20 pictures" in event.text for event in logic.events()))
    until(lambda: logic.events()[-1].text in ui.lastEventLabel.text.replace("\u200b", ""))
    untilStopped(logic)


@pytest.mark.parametrize(
    ("fields", "seen"),
    [
        ({"camera_rotate": 1}, ["blue", "red", "black", "green"]),
        ({"camera_rotate": 2}, ["black", "blue", "green", "red"]),
        ({"camera_rotate": 3}, ["green", "black", "red", "blue"]),
        ({"camera_flip": 1}, ["green", "red", "black", "blue"]),
        ({"camera_flip": 2}, ["blue", "black", "red", "green"]),
    ],
)
def test_turnedAndMirrored(slicer, module, views, logic, video, noErrors, fields, seen):
    """A camera that does not stand upright: a quarter to the right is one."""
    ui = panelOf(module).ui
    ui.sourceComboBox.currentIndex = 4
    ui.camera_device.text = video(quarters())
    for name, index in fields.items():
        getattr(ui, name).currentIndex = index
    ui.startButton.click()
    until(lambda: "has ended" in ui.statusLabel.text)
    until(lambda: corners(views.sliceWidget("Red").sliceView()) == seen)
    untilStopped(logic)


def test_measurementsAreRight(slicer, module, logic, video, noErrors):
    """A line of Slicer's from one landmark to another is as long as the thing is, also when the picture is cropped."""
    import vtk
    from RealTimeImagingLib import CameraSettings

    picture = np.zeros((60, 100, 3), np.uint8)
    picture[20, 30] = picture[50, 70] = 255
    path = video(picture)
    expected = np.hypot(40 * 0.5, 30 * 0.25)
    for crop, rotate in (((0, 0, 0, 0), 0), ((10, 5, 20, 3), 90)):
        source = logic.start(CameraSettings(path, spacing=(0.5, 0.25), crop=crop, rotate=rotate))
        until(lambda source=source: "has ended" in source.status)
        node = logic.liveVolumeNode("Camera")
        marks = np.argwhere(slicer.util.arrayFromVolume(node)[..., 0] > 128)
        assert len(marks) == 2
        toRAS = vtk.vtkMatrix4x4()
        node.GetIJKToRASMatrix(toRAS)
        points = [np.array(toRAS.MultiplyPoint((*map(float, mark[::-1]), 1)))[:3] for mark in marks]
        assert np.isclose(np.linalg.norm(points[0] - points[1]), expected)
        untilStopped(logic)


def test_anotherViewIsTheUsersChoiceAndStays(slicer, module, views, logic, video, noErrors):
    """Red is a suggestion; it is none for the next folder of the same name."""
    from RealTimeImagingLib import CameraSettings

    path = video(quarters())
    assert logic.showIn("Camera") == "all"
    source = logic.start(CameraSettings(path))
    untilRunning(source)
    assert logic.showIn("Camera") == "Red"
    logic.setShowIn("Green", "Camera")
    untilStopped(logic)
    untilRunning(logic.start(CameraSettings(path)))
    assert logic.showIn("Camera") == "Green"
    untilStopped(logic)


def test_everyPictureIsRecorded(slicer, module, logic, video, tmp_path, noErrors):
    """From the first picture to the last, though the window is blocked meanwhile."""
    from RealTimeImagingLib import CameraSettings

    logic.startRecording(str(tmp_path / "out"))
    source = logic.start(CameraSettings(video(quarters(), count=60, rate=60)))
    untilRunning(source)
    time.sleep(0.6)  # nothing of Slicer runs
    until(lambda: "has ended" in source.status)
    until(lambda: [logic.statistics()[name] for name in ("received", "recorded")] == [60, 60])
    assert logic.stopRecording() is not None
    assert logic.statistics()["failed"] == logic.statistics()["rejected"] == 0
    assert source.details["passedOver"] == source.details["lost"] == 0


def test_lookingForCamerasWhereThereAreNone(slicer, module, logic):
    """The button shows that the search runs, and then its result."""
    ui = panelOf(module).ui
    ui.sourceComboBox.currentIndex = 4
    ui.camera_search.click()
    assert not ui.camera_search.enabled
    until(lambda: ui.camera_search.enabled, 60)
    if ui.camera_found.count == 0:
        assert "No camera was found" in ui.sourceComplaintLabel.text


def test_theListsHaveTheValuesThatACameraOffers(slicer, module, logic):
    """The lists change with the camera; the choice is stored in the settings and shown again."""
    from RealTimeImagingLib import CameraSettings
    from RealTimeImagingLib.Sources import KINDS
    from RealTimeImagingLib.Sources.Camera.Search import CameraOffer

    ui, panel = panelOf(module).ui, panelOf(module)
    ui.sourceComboBox.currentIndex = 4
    controls = panel._source.formOf(KINDS["camera"]).controls
    first = CameraOffer(
        0, (640, 480), 30.0, "YUYV", ((320, 240), (640, 480)), (15.0, 30.0), ("YUYV", "MJPG"), ("V4L2",)
    )
    second = CameraOffer(2, (1280, 720), 30.0, "MJPG", ((1280, 720),), (30.0,), ("MJPG",), ("V4L2",))
    for camera in (first, second):
        controls.addCamera(CameraOffer.fromJSON(json.loads(json.dumps(vars(camera)))))
    assert [ui.camera_found.itemText(index) for index in range(2)] == [
        "Camera 0: 640 x 480",
        "Camera 2: 1280 x 720",
    ]
    assert ui.camera_device.text == "0"
    assert [ui.camera_width.itemText(index) for index in range(1, 3)] == ["320 x 240", "640 x 480"]
    ui.camera_width.currentIndex = 1
    ui.camera_rate.currentIndex = 1
    ui.camera_codec.currentIndex = 2
    ui.camera_backend.currentIndex = 1
    ui.camera_crop1.value = 7
    ui.camera_colour.checked = False
    asked = CameraSettings(
        0, 320, 240, 15.0, "MJPG", "V4L2", colour=False, crop=(0, 7, 0, 0), stream=ui.camera_stream.text
    )
    assert panel.settings() == asked
    ui.camera_found.currentIndex = 1
    assert ui.camera_device.text == "2"
    assert panel.settings().codec == "MJPG"
    assert panel.settings().width == 0
    panel._source.showSettings(asked)
    assert panel.settings() == asked
    ui.camera_device.text = "/videos/a.mp4"
    assert (panel.settings().width, panel.settings().codec) == (0, "")
