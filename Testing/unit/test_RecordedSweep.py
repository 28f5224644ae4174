"""Time offset of a tool from images and poses that two processes have recorded."""

import numpy as np
import pytest
from RealTimeImagingLib.Model.DeviceMessage import DeviceMessage
from RealTimeImagingLib.Model.Errors import ControlError
from RealTimeImagingLib.Model.Frame import Frame, pictureToRAS
from RealTimeImagingLib.Recording import estimateRecordedOffset
from unit.recordings import record, recordMessages
from unit.sweeps import SHAPE, depth, waterTank

START = 1.7e9


def images(folder, seconds=8, fps=30):
    """Images of a camera, which has no clock of its own."""
    random = np.random.default_rng(1)
    matrix = pictureToRAS(SHAPE[1], SHAPE[0])
    frames = [
        Frame(waterTank(depth(number / fps), random), matrix, "Camera", number, START + number / fps)
        for number in range(seconds * fps)
    ]
    (path,) = record(folder, frames, name="Sweep")
    return path


def poses(folder, late, seconds=8, rate=50, clock=3600.0, lost=()):
    """Poses of a tracker in a process of its own, which begins half a second later; its clock is an hour ahead."""
    messages = []
    for number in range(rate // 2, seconds * rate):
        moment = number / rate
        seen = number not in lost
        matrix = np.eye(4)
        matrix[:2, 3] = (100, 0.3 * depth(moment)) if seen else 0
        arrival = START + moment + late
        values = {"type": "TRANSFORM", "matrix": matrix.tolist()}
        status = {"Status": "OK" if seen else "MISSING"}
        messages.append(DeviceMessage("transform", "Probe", values, arrival, arrival + clock, status))
    return recordMessages(folder, messages, name="Sweep")


@pytest.mark.parametrize("late", [0.083, 0.0, -0.12])
def test_theOffsetOfTwoSourcesIsFoundWithin3Ms(tmp_path, late):
    found = estimateRecordedOffset(images(tmp_path), poses(tmp_path, late, lost=range(200, 215)), "Probe")
    assert found.seconds == pytest.approx(-late, abs=0.003)
    assert found.correlation > 0.95


def test_aToolWithoutPosesIsNamed(tmp_path):
    with pytest.raises(ControlError, match=r"No pose of Stylus is in .*Sweep"):
        estimateRecordedOffset(images(tmp_path, 1), poses(tmp_path, 0.0, 1), "Stylus")
