"""Controls of a replay in the panel: the position, while it plays, is paused and has ended."""

from __future__ import annotations

import numpy as np
import pytest
import slicerhost
from PySide6 import QtCore, QtTest
from RealTimeImagingLib.Link.Messages import DetailsReport
from RealTimeImagingLib.Model.Frame import Frame
from RealTimeImagingLib.Recording import Recorder
from RealTimeImagingLib.Sources.Replay import ReplaySettings

from .conftest import until, untilStopped
from .test_Panel import panelOf


@pytest.fixture
def recorded(tmp_path):
    """A recording of 40 images; the pixels of each are its number."""

    def make(rate: float) -> str:
        recorder = Recorder(str(tmp_path), "Old", "Live", {})
        for number in range(40):
            pixels = np.full((2, 3, 4), number, np.int16)
            assert recorder.append(Frame(pixels, np.eye(4), "Live", number, 1.7e9 + number / rate))
        return recorder.finish()[0]

    return make


def replay(module, path):
    ui = panelOf(module).ui
    ui.sourceComboBox.currentIndex = 1
    ui.replay_file.currentPath = path
    ui.startButton.click()
    return ui


def shownImage(slicer, logic):
    node = logic.liveVolumeNode()
    return None if node is None else int(slicer.util.arrayFromVolume(node)[0, 0, 0])


def test_seekWhileItPlaysAndWhileItIsPaused(slicer, module, logic, recorded, noErrors):
    """The slider is there only during the replay. Its value is the image in the view."""
    module.widgetRepresentation().show()
    ui = panelOf(module).ui
    assert not ui.replaySlider.visible
    replay(module, recorded(0.1))  # ten seconds from image to image
    until(lambda: ui.replaySlider.visible and ui.replaySlider.maximum == 39)
    assert ui.replayPositionLabel.text == "Image 1 of 40, 0:00.0 of 6:30.0"
    ui.replaySlider.value = 25
    until(lambda: shownImage(slicer, logic) == 25)
    until(lambda: ui.replayPositionLabel.text == "Image 26 of 40, 4:10.0 of 6:30.0")
    assert ui.pauseButton.text == "Pause"
    ui.pauseButton.click()
    assert ui.pauseButton.text == "Resume"
    ui.replaySlider.value = 7
    until(lambda: shownImage(slicer, logic) == 7)
    until(lambda: ui.replayPositionLabel.text.startswith("Image 8 of 40"))
    ui.stepButton.click()
    until(lambda: shownImage(slicer, logic) == 8 and ui.replaySlider.value == 8)
    ui.stepBackButton.click()
    until(lambda: shownImage(slicer, logic) == 7 and ui.replaySlider.value == 7)
    assert ui.pauseButton.text == "Resume"
    ui.replaySlider.setSliderDown(True)  # the mouse holds the handle
    ui.replaySlider.value = 30
    panelOf(module).refresh()
    assert ui.replaySlider.value == 30
    ui.replaySlider.setSliderDown(False)
    until(lambda: shownImage(slicer, logic) == 30)
    untilStopped(logic)
    until(lambda: not ui.replaySlider.visible and not ui.replayPositionLabel.visible)


def test_playAgainAtTheEnd(slicer, module, logic, recorded, noErrors):
    module.widgetRepresentation().show()
    ui = replay(module, recorded(200))
    until(lambda: logic.statistics()["received"] == 40 and ui.pauseButton.text == "Play again")
    until(lambda: ui.replaySlider.value == 39)
    ui.pauseButton.click()
    until(lambda: logic.statistics()["received"] == 80 and ui.pauseButton.text == "Play again")
    ui.replaySlider.value = 38
    until(lambda: logic.statistics()["received"] == 82 and ui.pauseButton.text == "Play again")
    assert shownImage(slicer, logic) == 39
    untilStopped(logic)


def key(widget, name):
    from slicerhost.PythonQt import nativeObject

    QtTest.QTest.keyClick(nativeObject(widget), getattr(QtCore.Qt.Key, f"Key_{name}"))


def test_aStepAtTheEndPausesTheReplay(slicer, module, logic, recorded, noErrors):
    """The button says what a click does: resume, pause, and play again from the first image."""
    module.widgetRepresentation().show()
    ui = replay(module, recorded(200))
    until(lambda: ui.pauseButton.text == "Play again")
    ui.stepBackButton.click()
    assert ui.pauseButton.text == "Resume"
    until(lambda: shownImage(slicer, logic) == 38 and ui.replaySlider.value == 38)
    panelOf(module).refresh()
    assert ui.pauseButton.text == "Resume"
    ui.pauseButton.click()
    until(lambda: shownImage(slicer, logic) == 39 and ui.pauseButton.text == "Play again")
    ui.stepButton.click()
    until(lambda: ui.pauseButton.text == "Play again")
    ui.pauseButton.click()
    until(lambda: logic.statistics()["received"] == 82 and ui.pauseButton.text == "Play again")
    untilStopped(logic)


def test_aReplayAfterAPausedOneIsNotPaused(module, logic, recorded, noErrors):
    """Also while the first one is still stopping."""
    module.widgetRepresentation().show()
    path = recorded(0.1)
    ui = replay(module, path)
    until(lambda: ui.replaySlider.visible)
    ui.pauseButton.click()
    until(lambda: logic.sources()[0].details.get("paused"))
    logic.stop()
    logic.start(ReplaySettings(path))
    until(lambda: len(logic.sources()) == 1 and logic.sources()[0].details.get("paused") is False)
    until(lambda: ui.pauseButton.text == "Pause")
    untilStopped(logic)


def test_aReplayThatPythonStartsHasItsControls(module, logic, recorded, noErrors):
    """The panel shows the form of another kind, and never showed that of a replay."""
    module.widgetRepresentation().show()
    ui = panelOf(module).ui
    assert not hasattr(ui, "replay_file")
    logic.start(ReplaySettings(recorded(0.1)))
    until(lambda: ui.replaySlider.visible and ui.pauseButton.visible)
    ui.pauseButton.click()
    until(lambda: logic.sources()[0].details.get("paused"))
    assert ui.sourceComboBox.currentIndex == 0
    assert not ui.replay_file.visible
    untilStopped(logic)


def test_keysAndADragMoveAFastReplay(slicer, module, logic, recorded, noErrors):
    """As fast as possible, in a loop: the slider stays where the user holds it, and follows again afterwards."""
    module.widgetRepresentation().show()
    ui = panelOf(module).ui
    ui.sourceComboBox.currentIndex = 1
    ui.replay_pace.currentIndex = ui.replay_pace.findText("As fast as possible")
    ui.replay_loop.checked = True
    replay(module, recorded(200))
    until(lambda: logic.statistics()["received"] > 80)
    until(lambda: ui.replaySlider.visible and ui.replaySlider.maximum == 39)
    ui.replaySlider.sliderDown = True
    for place in (3, 17, 30):
        ui.replaySlider.sliderPosition = place
        panelOf(module).refresh()
        assert ui.replaySlider.value == place
    source = logic.sources()[0]
    for _look in range(5):
        known = source.details
        until(lambda known=known: source.details["frame"] not in (known["frame"], 30))
        panelOf(module).refresh()
        assert ui.replaySlider.value == 30
    ui.replaySlider.sliderDown = False
    ui.pauseButton.click()
    until(lambda: logic.sources()[0].details.get("paused"))
    until(lambda: ui.replaySlider.value == logic.sources()[0].details["frame"] == shownImage(slicer, logic))
    for name, place in (("Home", 0), ("Right", 1), ("PageUp", 5), ("End", 39), ("Left", 38)):
        key(ui.replaySlider, name)
        assert ui.replaySlider.value == place
        until(lambda place=place: shownImage(slicer, logic) == place == source.details["frame"])
        until(lambda place=place: ui.replaySlider.value == place)
    assert ui.pauseButton.text == "Resume"
    untilStopped(logic)


def test_aPositionFromBeforeTheCommandIsNotShown(module, logic, recorded, noErrors):
    """The report was on its way when the user moved the slider."""
    module.widgetRepresentation().show()
    ui = replay(module, recorded(0.1))
    until(lambda: ui.replaySlider.visible and ui.replaySlider.maximum == 39)
    source = logic.sources()[0]
    before = DetailsReport({**source.details, "frame": 2})
    ui.replaySlider.value = 25
    logic._session.reports.deliver(before, source)
    panelOf(module).refresh()
    assert ui.replaySlider.value == 25
    until(lambda: source.details["frame"] == 25 and ui.replayPositionLabel.text.startswith("Image 26"))
    untilStopped(logic)


def test_aSliderThatIsHeldWhenTheReplayEndsFollowsTheNextOne(module, logic, recorded, noErrors):
    """Qt does not report the release of the mouse on a hidden slider."""
    module.widgetRepresentation().show()
    path = recorded(0.1)
    ui = replay(module, path)
    until(lambda: ui.replaySlider.visible and ui.replaySlider.maximum == 39)
    ui.replaySlider.sliderDown = True
    ui.replaySlider.sliderPosition = 30
    untilStopped(logic)
    until(lambda: not ui.replaySlider.visible)
    slicerhost.processEvents()
    ui.startButton.click()
    until(lambda: ui.replaySlider.visible and ui.replaySlider.value == 0)
    untilStopped(logic)
