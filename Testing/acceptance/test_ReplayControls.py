"""Controls of a replay in the panel: the position, while it plays, is paused and has ended."""

from __future__ import annotations

import numpy as np
import pytest
from RealTimeImagingLib.Model.Frame import Frame
from RealTimeImagingLib.Recording import Recorder

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
    until(lambda: ui.pauseButton.text == "Play again")
    assert logic.statistics()["received"] == 40
    assert ui.replaySlider.value == 39
    ui.pauseButton.click()
    until(lambda: logic.statistics()["received"] == 80 and ui.pauseButton.text == "Play again")
    ui.replaySlider.value = 38
    until(lambda: logic.statistics()["received"] == 82 and ui.pauseButton.text == "Play again")
    assert shownImage(slicer, logic) == 39
    untilStopped(logic)
