"""One opened camera, video file or stream through OpenCV: its pictures as images, and their times."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import numpy as np

from ...Formats import GetBuffer
from ...Model.Errors import FrameError
from ...Model.Frame import SCALAR_TYPES, Image, Matrix, Pixels, pictureToRAS
from . import CameraSettings

SAME_CLOCK = 2.0
"""Seconds by which a driver's time may differ from that of a clock of this computer that it is taken from."""
KNOWN = 5
"""Intervals from which the usual one is known."""
REMEMBERED = 9
LONG = 1.5
"""Usual intervals from which one is long: a picture is missing in it."""


class DriverTimes:
    """Turns a driver's times into seconds since the epoch (UTC), with one offset from the first of them.

    Drivers count from the start of the computer (V4L2), from the epoch, or from the first picture (streams, MSMF);
    those of the last kind are set equal to the arrival of the first picture that has one.
    """

    def __init__(self) -> None:
        self._offset: float | None = None
        self._last = 0.0
        self._toEpoch = time.time() - time.monotonic()

    def at(self, seconds: float, arrival: float) -> float | None:
        """When a picture was taken; None when the driver does not say, or says the same as before.

        :param seconds: what the driver says of it.
        :param arrival: when it was here, seconds since the epoch (UTC).
        """
        if not math.isfinite(seconds) or seconds <= self._last:
            return None
        self._last = seconds
        if self._offset is None:
            clocks = (one for one in (self._toEpoch, 0.0) if abs(seconds + one - arrival) < SAME_CLOCK)
            self._offset = next(clocks, arrival - seconds)
        return seconds + self._offset


class Gaps:
    """Counts the pictures that are missing between those that came, by the driver's times.

    A single long interval between usual ones has missing pictures in it. When the next is long too, the camera has
    another rate: many take fewer pictures in the dark.
    """

    def __init__(self) -> None:
        self._intervals: deque[float] = deque(maxlen=REMEMBERED)
        self._last: float | None = None
        self._suspected = 0.0

    def missing(self, seconds: float | None) -> int:
        """How many are now known to be missing before the picture before this one.

        :param seconds: when it was taken; None: not known.
        """
        last, self._last = self._last, seconds
        if seconds is None or last is None or seconds <= last:
            self._suspected = 0.0
            return 0
        interval = seconds - last
        usual = median(self._intervals) if len(self._intervals) >= KNOWN else math.inf
        suspected, self._suspected = self._suspected, 0.0
        if interval <= LONG * usual:
            self._intervals.append(interval)
            return round(suspected / usual) - 1 if suspected else 0
        if suspected:
            self._intervals.clear()
            self._intervals.extend((suspected, interval))
        else:
            self._suspected = interval
        return 0


def imageOf(
    picture: Pixels,
    settings: CameraSettings,
    deviceTime: float | None,
    attributes: Mapping[str, str],
    getBuffer: GetBuffer,
) -> Image:
    """The image of a picture.

    :param picture: as OpenCV gives it: (rows, columns), or with 3 or 4 components behind, blue first.
    :param deviceTime: seconds since the epoch (UTC), or None.
    :param getBuffer: gives memory to write the pixels into, or None.
    :raises FrameError: nothing is left of it after cropping, or its pixels are of a type that cannot be shown.
    """
    rows, columns = picture.shape[:2]
    left, top, right, bottom = settings.crop
    if left + right >= columns or top + bottom >= rows:
        raise FrameError(f"Nothing is left of a picture of {columns} x {rows} pixels when so much is cut off.")
    pixels = _shaped(picture[top : rows - bottom, left : columns - right], settings, getBuffer)
    return Image(pixels[None], ijkToRAS(columns, rows, settings), deviceTime, attributes)


def ijkToRAS(columns: int, rows: int, settings: CameraSettings) -> Matrix:
    """IJKToRAS (4x4, millimetres) of the image of a picture of so many pixels.

    The centre of the whole picture is the origin, whatever is cut off: each thing that is still seen stays at its
    place.
    """
    margins, spacing = settings.crop, settings.spacing
    for _ in range(settings.rotate // 90):
        left, top, right, bottom = margins
        margins = (bottom, left, top, right)
        columns, rows, spacing = rows, columns, spacing[::-1]
    left, top, right, bottom = margins
    if settings.flip in ("horizontal", "both"):
        left = right
    if settings.flip in ("vertical", "both"):
        top = bottom
    matrix = pictureToRAS(columns, rows, spacing)
    matrix[:, 3] = matrix @ (left, top, 0, 1)
    return matrix


def _shaped(picture: Pixels, settings: CameraSettings, getBuffer: GetBuffer) -> Pixels:
    cv2 = loadOpenCV()
    components = 1 if picture.ndim == 2 else picture.shape[2]
    if picture.dtype not in SCALAR_TYPES or components not in (1, 3, 4):
        raise FrameError(f"Pictures of {components} components of the type {picture.dtype} cannot be shown.")
    if components == 1:
        picture = picture.reshape(picture.shape[:2])
    steps = _steps(cv2, components, settings)
    shape = picture.shape[:2] if settings.rotate in (0, 180) else picture.shape[1::-1]
    if components > 1 and settings.colour:
        shape = (*shape, components)
    memory = getBuffer(math.prod(shape) * picture.itemsize)
    target: Pixels = np.empty(shape, picture.dtype) if memory is None else memory.view(picture.dtype).reshape(shape)
    try:
        for function, code in steps[:-1]:
            picture = function(picture, code)
        # The last writes where Slicer reads it, without a copy.
        if not steps:
            np.copyto(target, picture)
        elif (made := steps[-1][0](picture, steps[-1][1], dst=target)) is not target:
            np.copyto(target, made)
    except cv2.error as error:
        raise FrameError(f"OpenCV cannot convert the picture: {error}") from error
    return target


def _steps(cv2: Any, components: int, settings: CameraSettings) -> list[tuple[Callable[..., Pixels], int]]:
    """Functions of OpenCV that make the image of a picture, in order, each with its code."""
    steps: list[tuple[Callable[..., Pixels], int]] = []
    if components > 1:
        colours = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}
        greys = {3: cv2.COLOR_BGR2GRAY, 4: cv2.COLOR_BGRA2GRAY}
        steps.append((cv2.cvtColor, (colours if settings.colour else greys)[components]))
    if settings.rotate:
        turns = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
        steps.append((cv2.rotate, turns[settings.rotate]))
    if settings.flip != "none":
        steps.append((cv2.flip, {"vertical": 0, "horizontal": 1, "both": -1}[settings.flip]))
    return steps


PATIENCE = 4
"""Seconds to wait for a stream or a picture before it counts as gone."""
SAME_RATE = 0.05
"""Part by which a rate may differ from what was asked for."""
DEEP_GREY = ("Y16", "Y12", "Y10", "Z16")
"""Codecs of cameras with one grey value of 16 bits a pixel (fourcc of Video4Linux and UVC, trailing space removed)."""
DEEP_TAG = b"Y1\0\x10"
"""FFmpeg's tag of grey pixels of 16 bits, little-endian, the only deep pixels that OpenCV hands out unconverted."""
QUIET = {
    "OPENCV_FFMPEG_LOGLEVEL": "-8",
    "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT": str(PATIENCE),
    # Without it Windows takes half a minute to open a camera.
    "OPENCV_VIDEOIO_MSMF_ENABLE_HW_TRANSFORMS": "0",
    # macOS can ask the user for leave only in the main thread of a process, which the search for cameras does.
    "OPENCV_AVFOUNDATION_SKIP_AUTH": "1",
}


class CannotOpenError(Exception):
    """It cannot be opened now.

    :param code: short reason for programs.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def loadOpenCV() -> Any:
    """The module cv2. It is silent: what it would write each second while a camera is missing is told as an event."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2


class CameraDevice:
    """What is opened; all calls from one thread, each may wait for PATIENCE seconds or what the driver takes.

    :param settings: what to open, and what to ask it for.
    :raises CannotOpenError: it is not there, or is no video.
    """

    def __init__(self, settings: CameraSettings) -> None:
        self._cv2 = loadOpenCV()
        self._settings = settings
        if settings.isFile and not os.path.exists(str(settings.device)):
            raise CannotOpenError("file-missing", f"{settings.device} is not there; waiting for it.")
        self._capture = self._open()
        if not self._capture.isOpened():
            self._capture.release()
            raise self._whyNot()
        if not settings.isFile and not settings.isStream:
            self._ask()
        get, cv2 = self._capture.get, self._cv2
        self.width, self.height = round(get(cv2.CAP_PROP_FRAME_WIDTH)), round(get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.rate = max(0.0, get(cv2.CAP_PROP_FPS))
        """Pictures each second, 0 when it does not say."""
        self.codec = codecOf(get(cv2.CAP_PROP_FOURCC))
        self.backend = self._capture.getBackendName()
        tag = _tagOf(get(cv2.CAP_PROP_CODEC_PIXEL_FORMAT))
        self._deep = self.codec.strip() in DEEP_GREY or tag == DEEP_TAG
        if self._deep:
            self._deep = bool(self._capture.set(cv2.CAP_PROP_CONVERT_RGB, 0))
        self.bits = 16 if self.codec.strip() in DEEP_GREY else bitsOf(tag)
        """Bits of each value before OpenCV converts it; 8 when the format does not say."""
        self.announced = max(0, round(get(cv2.CAP_PROP_FRAME_COUNT))) if settings.isFile else 0
        """How many pictures a file says it has; 0 when it does not say."""

    @property
    def words(self) -> str:
        """Size, rate, codec and back end."""
        rate = f" at {self.rate:g} pictures a second" if self.rate else ""
        codec = f", {self.codec}" if self.codec else ""
        return f"{self.width} x {self.height}{rate}{codec}, through {self.backend}"

    @property
    def differences(self) -> list[str]:
        """What it was asked for and does not do, in words."""
        asked, found = self._settings, []
        if asked.width and (asked.width, asked.height) != (self.width, self.height):
            found.append(f"pictures of {asked.width} x {asked.height}")
        if asked.rate and abs(asked.rate - self.rate) > SAME_RATE * asked.rate:
            found.append(f"{asked.rate:g} pictures a second")
        if asked.codec and asked.codec.upper() != self.codec.upper():
            found.append(f"the codec {asked.codec}")
        return found

    @property
    def cutsDepth(self) -> bool:
        """Whether OpenCV reduces the values to 8 bits."""
        return self.bits > 8 and not self._deep

    def grab(self) -> bool:
        """Wait for the next picture; False when there is none."""
        return bool(self._capture.grab())

    def seconds(self) -> float:
        """What the driver, or the file, says of the time of the picture that was grabbed; 0 or below when nothing."""
        return float(self._capture.get(self._cv2.CAP_PROP_POS_MSEC)) / 1000

    def picture(self) -> Pixels | None:
        """The picture that was grabbed: (rows, columns), or with components behind, blue first; uint8, or uint16 of a
        format with grey values of 16 bits; None when it cannot be decoded."""
        found, picture = self._capture.retrieve()
        if found and self._deep and picture.dtype == np.uint8 and picture.nbytes == 2 * self.width * self.height:
            # Some drivers hand out the bytes as they came.
            picture = picture.reshape(-1).view("<u2").reshape(self.height, self.width)
        return picture if found else None

    def close(self) -> None:
        """Let go of it."""
        self._capture.release()

    def _open(self) -> Any:
        cv2, settings = self._cv2, self._settings
        backend = backendOf(settings.backend)
        if settings.isStream and backend in (cv2.CAP_ANY, cv2.CAP_FFMPEG) and "FFMPEG" in backends(streams=True):
            waits = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, cv2.CAP_PROP_READ_TIMEOUT_MSEC)
            given = [value for name in waits for value in (name, 1000 * PATIENCE)]
            return cv2.VideoCapture(settings.device, cv2.CAP_FFMPEG, given)
        return cv2.VideoCapture(settings.device, backend)

    def _ask(self) -> None:
        cv2, asked = self._cv2, self._settings
        # The codec first: which sizes and rates there are depends on it.
        if asked.codec:
            self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*asked.codec))
        if asked.width:
            self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, asked.width)
            self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, asked.height)
        if asked.rate:
            self._capture.set(cv2.CAP_PROP_FPS, asked.rate)

    def _whyNot(self) -> CannotOpenError:
        name = self._settings.name
        if self._settings.isFile:
            return CannotOpenError("not-a-video", f"{name} is no video that can be played, or is not complete.")
        if self._settings.isStream:
            return CannotOpenError("stream-missing", f"{name} does not answer, or sends no video; it is tried again.")
        why = "it is not connected, another program uses it, or this program may not use cameras"
        return CannotOpenError("camera-missing", f"{name} cannot be opened: {why}. It is tried again each second.")


def backends(streams: bool = False) -> dict[str, int]:
    """How OpenCV can speak to cameras, or to streams, on this computer: names, and its numbers for them."""
    registry = loadOpenCV().videoio_registry
    numbers = registry.getStreamBackends() if streams else registry.getCameraBackends()
    return {registry.getBackendName(number): number for number in numbers if registry.hasBackend(number)}


def backendOf(name: str) -> int:
    """OpenCV's number of a back end; that of "any" for none.

    :raises CannotOpenError: this computer has none of this name.
    """
    if not name:
        return int(loadOpenCV().CAP_ANY)
    known = backends() | backends(streams=True)
    if name.upper() not in known:
        text = f"This computer has no back end {name}; it has {', '.join(known)}."
        raise CannotOpenError("no-backend", text)
    return known[name.upper()]


def bitsOf(tag: bytes) -> int:
    """Bits of each value in the pixel format of this tag of FFmpeg; 8 when the tag does not say.

    :param tag: 4 bytes as in FFmpeg's libavcodec/raw.c: letters, then the number of bits (little-endian formats), or
        in the opposite order (big-endian). Packed colour counts the bits of a whole pixel.
    """
    for letters, bits in ((tag[:3], tag[3]), (tag[:0:-1], tag[0])):
        if letters[:2] in (b"Y1", b"Y2", b"Y3", b"Y4", b"G3", b"G4") and 8 < bits <= 16:
            return bits
    packed = {(3, 48): 16, (3, 36): 12, (4, 64): 16}
    for letters, bits in ((tag[:3], tag[3]), (tag[1:], tag[0])):
        if letters in (b"RGB", b"BGR", b"XYZ", b"RBA", b"BRA"):
            return packed.get((4 if b"A" in letters else 3, bits), 8)
    return 8


def codecOf(number: float) -> str:
    """The four signs of a codec, empty when the number is none."""
    text = _tagOf(number).decode("latin-1")
    return text if text.isascii() and text.isprintable() and text.strip() else ""


def _tagOf(number: float) -> bytes:
    return (int(number) & 0xFFFFFFFF).to_bytes(4, "little")
