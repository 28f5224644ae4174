"""Settings of a camera: impossible values are rejected before the start."""

from __future__ import annotations

import os

import pytest
from RealTimeImagingLib.Model.Errors import SettingsError
from RealTimeImagingLib.Sources import settingsFromJSON
from RealTimeImagingLib.Sources.Camera import CameraSettings


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"device": ""}, "Name the camera"),
        ({"device": -1}, "from 0 to 99, not -1"),
        ({"device": "100"}, "from 0 to 99"),
        ({"device": True}, "a number, a file or an address"),
        ({"device": None}, "a number, a file or an address"),
        ({"width": 640}, "both the width and the height"),
        ({"width": -640, "height": 480}, '"width" is a whole number from 0 to 32768'),
        ({"width": 640, "height": 480.5}, '"height" is a whole number'),
        ({"rate": -1}, '"rate" is a number from 0 to 100,000 images/s'),
        ({"rate": float("nan")}, '"rate" is a number from 0 to 100,000 images/s'),
        ({"rate": True}, '"rate" is a number from 0 to 100,000 images/s'),
        ({"codec": "MJPEG"}, "four letters or digits"),
        ({"codec": 5}, '"codec" is text'),
        ({"backend": 200}, '"backend" is text'),
        ({"crop": (1, 2, 3)}, '"crop" is 4 numbers'),
        ({"crop": "1234"}, '"crop" is a list'),
        ({"crop": (0, 0, -1, 0)}, '"crop" is a whole number from 0 to 32768 pixels'),
        ({"rotate": 45}, '"rotate" is one of 0, 90, 180, 270, not 45'),
        ({"flip": "sideways"}, '"flip" is one of none, horizontal'),
        ({"spacing": 0}, '"spacing" is a number from 1e-06 to 1,000,000 mm'),
        ({"spacing": (1, 2, 3)}, '"spacing" is 2 numbers'),
        ({"spacing": (1, float("inf"))}, '"spacing" is a number from 1e-06 to 1,000,000 mm'),
        ({"colour": "yes"}, '"colour" is true or false'),
        ({"realTime": 1}, '"realTime" is true or false'),
        ({"stream": " "}, "needs a name"),
    ],
)
def test_impossible_values_are_rejected_with_a_sentence(values, words):
    for make in (lambda: CameraSettings(**values), lambda: settingsFromJSON({"kind": "camera", **values})):
        with pytest.raises(SettingsError) as caught:
            make()
        assert words in str(caught.value)


def test_a_camera_a_file_or_a_stream(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert CameraSettings("2").device == 2
    assert (CameraSettings(2).name, CameraSettings(2).isFile, CameraSettings(2).isStream) == ("Camera 2", False, False)
    video = CameraSettings("a.mp4")
    assert video.device == os.path.join(tmp_path, "a.mp4")
    assert (video.name, video.isFile, video.isStream) == ("a.mp4", True, False)
    stream = CameraSettings("rtsp://user:pass@word@10.0.0.7/live?token=5")
    assert (stream.name, stream.isFile, stream.isStream) == ("rtsp://10.0.0.7/live", False, True)
    assert stream.withoutSecrets().device == "rtsp://10.0.0.7/live?token=5"
    assert CameraSettings(2).withoutSecrets() == CameraSettings(2)


def test_one_spacing_is_horizontal_and_vertical():
    assert CameraSettings(spacing=0.5).spacing == (0.5, 0.5)


def test_the_address_of_a_dropped_file_is_a_file(tmp_path):
    path = tmp_path / "a video.mp4"
    assert CameraSettings(path.as_uri()) == CameraSettings(path)
    assert CameraSettings(path.as_uri()).isFile
