"""Grey values of 16 bits in each form in which OpenCV's drivers return them; cv2.VideoCapture stands for a camera."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from RealTimeImagingLib.Sources.Camera import CameraSettings
from RealTimeImagingLib.Sources.Camera.Device import CameraDevice

ROWS, COLUMNS = 6, 10
SCENE = np.arange(ROWS * COLUMNS, dtype=np.uint16).reshape(ROWS, COLUMNS) * 1009
Y16, YUY2 = (cv2.VideoWriter.fourcc(*one) for one in ("Y16 ", "YUY2"))
Y16_BE = Y16 | 1 << 31
L16, RGB24 = 81, 20
"""Numbers of Media Foundation."""
DSHOW_RGB24 = 0xE436EB7D
"""First number of MEDIASUBTYPE_RGB24."""


class Capture:
    """A capture of OpenCV with one picture.

    :param native: number of the camera's format. ``converted``: the number that a driver names while it converts.
    """

    def __init__(self, picture, native=Y16, driver="V4L2", converted=None, converts=True):
        self.picture, self.native, self.driver = picture, native, driver
        self.named = native if converted is None else converted
        self.converting, self.mayStop = True, converts

    def isOpened(self):
        return True

    def getBackendName(self):
        return self.driver

    def get(self, name):
        number = self.named if self.converting else self.native
        known = {cv2.CAP_PROP_FOURCC: number, cv2.CAP_PROP_FRAME_WIDTH: COLUMNS, cv2.CAP_PROP_FRAME_HEIGHT: ROWS}
        return float(known.get(name, 0))

    def set(self, name, value):
        if self.driver == "DSHOW" and name in (cv2.CAP_PROP_FOURCC, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS):
            self.named = self.native = int(value) if name == cv2.CAP_PROP_FOURCC else DSHOW_RGB24
            return True
        if name != cv2.CAP_PROP_CONVERT_RGB or not self.mayStop:
            return False
        self.converting = bool(value)
        return True

    def retrieve(self):
        return True, np.zeros((ROWS, COLUMNS, 3), np.uint8) if self.converting else self.picture

    def release(self):
        pass


@pytest.fixture
def opened(monkeypatch):
    """Open a device with such a capture."""

    def open_(*values, asked=CameraSettings(0), **named):  # noqa: B008 - it is frozen
        capture = Capture(*values, **named)
        monkeypatch.setattr(cv2, "VideoCapture", lambda *_: capture)
        return CameraDevice(asked)

    return open_


def padded(scene, unused):
    """The bytes of each row, and unused ones behind them."""
    content = scene.view(np.uint8).reshape(ROWS, -1)
    return np.hstack([content, np.full((ROWS, unused), 7, np.uint8)])


FORMS = {
    "rows of uint16": SCENE,
    "with an axis of one component": SCENE[..., None],
    "all bytes in one row": padded(SCENE, 0).reshape(1, -1),
    "all bytes in one column": padded(SCENE, 0).reshape(-1, 1),
    "all values in one row": SCENE.reshape(1, -1),
    "two bytes for each pixel": SCENE.view(np.uint8).reshape(ROWS, COLUMNS, 2),
    "rows that end with unused bytes": padded(SCENE, 12).reshape(1, -1),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("native", [Y16, Y16_BE], ids=["little-endian", "big-endian"])
def test_each_form_becomes_rows_of_16_bits(opened, form, native):
    device = opened(FORMS[form], native)
    found = device.picture()
    assert found.dtype == np.uint16
    assert found.dtype.isnative
    assert np.array_equal(found.reshape(ROWS, COLUMNS), SCENE if native == Y16 else SCENE.byteswap())
    assert (device.codec, device.bits, device.cutsDepth) == ("Y16 ", 16, False)
    assert device.words.endswith(", Y16, 16 bits, driver V4L2")


@pytest.mark.parametrize("nbytes", [1, ROWS, 2 * SCENE.size - ROWS, 2 * SCENE.size - 1, 2 * SCENE.size + 1])
def test_another_number_of_bytes_is_no_picture(opened, nbytes):
    assert opened(np.zeros((1, nbytes), np.uint8)).picture() is None


def test_colour_that_a_driver_converts_nevertheless_stays_as_it_is(opened):
    colour = np.zeros((ROWS, COLUMNS, 3), np.uint8)
    assert opened(colour).picture() is colour


def test_media_foundation_names_the_camera_only_without_conversion(opened):
    content = padded(SCENE, 0).reshape(1, -1)
    for native, codec in ((Y16, "Y16 "), (L16, "L16 ")):
        device = opened(content, native, "MSMF", converted=RGB24)
        assert device.codec == codec
        assert np.array_equal(device.picture(), SCENE)
    device = opened(content, YUY2, "MSMF", converted=RGB24)
    assert (device.codec, device.bits) == ("YUY2", 8)
    assert device.picture().shape == (ROWS, COLUMNS, 3)


def test_media_foundation_converts_a_stream(opened):
    device = opened(SCENE, Y16, "MSMF", converted=RGB24, asked=CameraSettings("rtsp://camera/1"))
    assert (device.codec, device.bits) == ("", 8)
    assert device.picture().shape == (ROWS, COLUMNS, 3)


@pytest.mark.parametrize(
    "values", [{}, {"width": COLUMNS, "height": ROWS}, {"rate": 30.0}], ids=["codec", "size", "rate"]
)
def test_direct_show_keeps_the_requested_codec(opened, values):
    device = opened(SCENE, DSHOW_RGB24, "DSHOW", asked=CameraSettings(0, codec="Y16", **values))
    assert device.codec == "Y16 "
    assert np.array_equal(device.picture(), SCENE)


def test_a_driver_that_always_converts_is_reported(opened):
    device = opened(SCENE, Y16, "AVFOUNDATION", converts=False)
    assert device.cutsDepth
    assert device.picture().dtype == np.uint8


@pytest.mark.parametrize(("typed", "codec"), [("Y16", "Y16 "), ("Y16 ", "Y16 "), ("MJPG", "MJPG"), ("", "")])
def test_the_space_of_a_codec_need_not_be_typed(typed, codec):
    assert CameraSettings(0, codec=typed).codec == codec
