"""A camera, a video file or a video stream."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import ClassVar

from ...Model.Errors import SettingsError
from ...Model.Settings import SourceSettings, checkNumber, typedPath

FLIPS = ("none", "horizontal", "vertical", "both")
ROTATIONS = (0, 90, 180, 270)
WITH_PASSWORD = re.compile(r"(?<=:)//[^/]*@")
LONGEST_SIDE = 1 << 15
"""Pixels of the longest side that can be asked for."""


@dataclass(frozen=True)
class CameraSettings(SourceSettings):
    """A camera, through OpenCV; or a video, which is played as if it were one.

    The picture is first cropped, then rotated, then flipped. What is cropped leaves the rest where it was in space:
    the centre of the whole picture is the origin.

    :param device: the camera's number, from 0; a device such as /dev/video2; a video file, which may be missing for
        now; or the address of a stream such as rtsp://192.168.0.20/live. Scenes keep it without a password.
    :param width: columns of the picture that the camera is asked for; 0 leaves it to the camera.
    :param height: rows, as ``width``.
    :param rate: pictures each second that the camera is asked for; 0 leaves it to the camera.
    :param codec: how the camera is asked to code them, four signs such as "MJPG" or "YUYV"; empty leaves it to it.
    :param backend: how OpenCV speaks to the camera, such as "V4L2", "DSHOW", "MSMF", "AVFOUNDATION"; empty: the first
        that can.
    :param colour: False makes the picture grey (ITU-R BT.601: 0.299 red + 0.587 green + 0.114 blue).
    :param crop: pixels of the camera's picture that are cut off: left, top, right, bottom.
    :param rotate: degrees clockwise: 0, 90, 180 or 270.
    :param flip: "horizontal" exchanges left and right, "vertical" top and bottom, "both" does both, or "none".
    :param spacing: millimetres from pixel to pixel in the camera's picture, across and down; one number for both.
    :param loop: begin a file again after its last picture.
    :param realTime: play a file at its own pace; False: as fast as it can be read and stored, and every picture of it.
    :param stream: name of the stream, and of its live volume.
    :raises SettingsError: a value that cannot work.
    """

    kind: ClassVar[str] = "camera"

    device: int | str = 0
    width: int = 0
    height: int = 0
    rate: float = 0.0
    codec: str = ""
    backend: str = ""
    colour: bool = True
    crop: tuple[int, int, int, int] = (0, 0, 0, 0)
    rotate: int = 0
    flip: str = "none"
    spacing: tuple[float, float] = (1.0, 1.0)
    loop: bool = False
    realTime: bool = True
    stream: str = "Camera"

    def __post_init__(self) -> None:
        object.__setattr__(self, "device", _device(self.device))
        for name in ("width", "height"):
            _checkWhole(getattr(self, name), f"The {name} of the picture", LONGEST_SIDE)
        if bool(self.width) != bool(self.height):
            raise SettingsError("Give both the width and the height of the picture, or neither.")
        checkNumber(self.rate, (0, 100_000), "The rate of a camera", "pictures each second")
        if not isinstance(self.codec, str) or not re.fullmatch(r"[\x21-\x7e][\x20-\x7e]{3}|", self.codec):
            raise SettingsError(f"A codec is named by four letters or digits such as MJPG, not {self.codec!r}.")
        if not isinstance(self.backend, str):
            raise SettingsError(f"A back end is named by a word such as V4L2, not {self.backend!r}.")
        self._checkShape()
        for name in ("colour", "loop", "realTime"):
            if not isinstance(getattr(self, name), bool):
                raise SettingsError(f'"{name}" is true or false, not {getattr(self, name)!r}.')
        if not isinstance(self.stream, str) or not self.stream.strip():
            raise SettingsError("The live volume needs a name.")

    @property
    def name(self) -> str:
        """The camera, file or stream in words, without a password."""
        if isinstance(self.device, int):
            return f"Camera {self.device}"
        if self.isStream:
            return WITH_PASSWORD.sub("//", self.device).split("?")[0]
        # A name that is no UTF-8 could be neither shown nor sent.
        return os.fsencode(os.path.basename(self.device)).decode("utf-8", "replace")

    def withoutSecrets(self) -> CameraSettings:
        """The same, less the password in the address of a stream."""
        return replace(self, device=WITH_PASSWORD.sub("//", self.device)) if isinstance(self.device, str) else self

    @property
    def isStream(self) -> bool:
        """Whether it is the address of a stream."""
        return isinstance(self.device, str) and "://" in self.device

    @property
    def isFile(self) -> bool:
        """Whether it is a file, which may be missing; a device such as /dev/video2 is none."""
        if isinstance(self.device, int) or self.isStream:
            return False
        return os.path.isfile(self.device) or not os.path.exists(self.device)

    def _checkShape(self) -> None:
        if isinstance(self.spacing, (int, float)):
            object.__setattr__(self, "spacing", (self.spacing, self.spacing))
        # JSON has lists only.
        for name, count in (("crop", 4), ("spacing", 2)):
            values = getattr(self, name)
            if not isinstance(values, (list, tuple)) or len(values) != count:
                raise SettingsError(f'"{name}" is {count} numbers, not {values!r}.')
            object.__setattr__(self, name, tuple(values))
        for pixels in self.crop:
            _checkWhole(pixels, "What is cut off", LONGEST_SIDE)
        for millimetres in self.spacing:
            checkNumber(millimetres, (1e-6, 1e6), "The distance of pixels", "millimetres")
        if self.rotate not in ROTATIONS:
            raise SettingsError(f'"rotate" is one of {", ".join(map(str, ROTATIONS))}, not {self.rotate!r}.')
        if self.flip not in FLIPS:
            raise SettingsError(f'"flip" is one of {", ".join(FLIPS)}, not {self.flip!r}.')


def _device(device: object) -> int | str:
    if isinstance(device, bool) or not isinstance(device, (int, str, os.PathLike)):
        raise SettingsError(f"A camera is a number, a file or an address, not {device!r}.")
    text = str(device).strip().strip("\"'").strip()
    if not text:
        raise SettingsError("Name the camera: its number, from 0, a video file or the address of a stream.")
    if re.fullmatch(r"-?[0-9]{1,9}", text):
        _checkWhole(int(text), "The number of a camera", 99)
        return int(text)
    return text if "://" in text and not text.lower().startswith("file:") else typedPath(text)


def _checkWhole(value: object, what: str, highest: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= highest:
        raise SettingsError(f"{what} is a whole number from 0 to {highest}, not {value!r}.")
