"""A recording in the scene whose pixels stay in its file."""

import os

import numpy as np
import pytest
from unit.recordings import frame, record


def test_aMappedRecordingKeepsNoFileOpen(module, slicer, tmp_path):
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("open files are counted in /proc")
    from RealTimeImagingLib.Recording import openRecording
    from RealTimeImagingLib.Scene.MappedSequence import MappedSequence
    from RealTimeImagingLib.Scene.Nodes import arrayOf

    frames = [frame(number) for number in range(3)]
    (path,) = record(tmp_path, frames)
    before = os.listdir("/proc/self/fd")
    sequence = MappedSequence(openRecording(path))
    assert sequence.step(float("inf"))
    array = arrayOf(sequence.node.GetNthDataNode(2))
    assert np.array_equal(array, frames[2].pixels)
    array[:] = 7
    assert np.array_equal(openRecording(path).pixels(2), frames[2].pixels)
    assert len(os.listdir("/proc/self/fd")) == len(before)
