"""The simulated camera: its videos, decoded by PyAV."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from types import SimpleNamespace

import av
import numpy as np
import pytest
from demo.Feeds import SIMULATOR, CameraFeed
from RealTimeImagingLib.Model.Frame import Image, checksum
from RealTimeImagingLib.Simulator.Film import Film, pictureOf


def decoded(path, pixelFormat):
    with av.open(str(path)) as file:
        return [frame.to_ndarray(format=pixelFormat) for frame in file.decode(video=0)]


def test_the_program_writes_a_phantom_with_all_of_16_bits(tmp_path):
    path, log = tmp_path / "a.mkv", tmp_path / "log.jsonl"
    command = [sys.executable, SIMULATOR, "--film", str(path), "--frames", "3", "--fps", "7", "--log", str(log)]
    subprocess.run(command, check=True, timeout=60)
    found = decoded(path, "gray16le")
    assert [json.loads(line)["checksums"] for line in log.open()] == [[checksum(one[None])] for one in found]
    assert len({one.tobytes() for one in found}) == len(found) == 3
    for bit in range(16):
        assert len(np.unique(np.stack(found) >> bit & 1)) == 2
    with av.open(str(path)) as file:
        assert (file.streams.video[0].average_rate, file.streams.video[0].format.name) == (7, "gray16le")


def test_the_demo_plays_and_compares_such_a_film(tmp_path):
    feed = CameraFeed(SimpleNamespace(depth=16, fps=5.0, process=""), str(tmp_path), 3)
    ui = SimpleNamespace(sourceComboBox=SimpleNamespace(), camera_device=SimpleNamespace())
    feed.choose(ui)
    found = decoded(ui.camera_device.text, "gray16le")
    assert [one["checksums"] for one in feed.sent()] == [[checksum(one[None])] for one in found]
    assert len(found) == 3


@pytest.mark.parametrize(("shape", "dtype", "pixelFormat"), [((8, 12), "u1", "gray"), ((8, 12, 3), "u1", "rgb24")])
def test_pictures_of_8_bits(tmp_path, shape, dtype, pixelFormat):
    pictures = [np.random.default_rng(number).integers(0, 256, shape).astype(dtype) for number in range(2)]
    with closing(Film(str(tmp_path / "a.mkv"), 25)) as film:
        for one in pictures:
            film.write(one)
    assert np.array_equal(decoded(tmp_path / "a.mkv", pixelFormat), pictures)


def test_only_the_middle_slice_of_values_that_fit_is_filmed():
    volume = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5)
    assert np.array_equal(pictureOf(Image(volume, np.eye(4))), volume[1])
    deep, transparent = np.zeros((1, 4, 5, 3), np.uint16), np.zeros((1, 4, 5, 4), np.uint8)
    for pixels in (volume - 30, volume.astype(np.float32), deep, transparent):
        with pytest.raises(ValueError, match="A video holds grey values from 0 to 65,535, and RGB of uint8, but not"):
            pictureOf(Image(pixels, np.eye(4)))


def test_a_film_that_cannot_be_written_is_reported(tmp_path):
    with pytest.raises(OSError, match="cannot write the video"):
        Film(str(tmp_path / "missing" / "a.mkv"), 25).write(np.zeros((4, 4), np.uint8))
