"""One open camera, video file or stream (OpenCV): images of its pictures, and their times."""

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
from ...Model.Event import Remedy
from ...Model.Frame import SCALAR_TYPES, Image, Matrix, Pixels, pictureToRAS
from ...Model.Text import joined, textsOf
from . import CameraSettings
from .Obstacles import CannotOpenError, whyNotOpen

_ = textsOf(__file__)

SAME_CLOCK = 2.0
"""Most seconds between the time of a driver and the clock of this computer that the driver uses."""
LEAST_INTERVALS = 5
"""Intervals that are necessary to know the usual interval."""
MOST_INTERVALS = 9
"""Latest intervals that count."""
LONG = 1.5
"""Factor above the usual interval that makes an interval long: a picture is missing."""


class DriverTimes:
    """Conversion of the times of a driver to seconds since the epoch (UTC), with one offset from the first time.

    Drivers count from the start of the computer (V4L2), from the epoch, or from the first picture (streams, MSMF). In
    the last case, the first time equals the arrival of its picture.
    """

    def __init__(self) -> None:
        self._offset: float | None = None
        self._last = 0.0
        self._toEpoch = time.time() - time.monotonic()

    def at(self, seconds: float, arrival: float) -> float | None:
        """Return the time of a picture in seconds since the epoch (UTC); None without a time, or with a repeated time.

        :param seconds: time by the driver.
        :param arrival: seconds since the epoch (UTC).
        """
        if not math.isfinite(seconds) or seconds <= self._last:
            return None
        self._last = seconds
        if self._offset is None:
            clocks = (one for one in (self._toEpoch, 0.0) if abs(seconds + one - arrival) < SAME_CLOCK)
            self._offset = next(clocks, arrival - seconds)
        return seconds + self._offset


class Gaps:
    """Counter of missing pictures, by the times of the driver.

    In a single long interval pictures are missing. When the next interval is also long, the camera has another rate:
    many cameras take fewer pictures in the dark.
    """

    def __init__(self) -> None:
        self._intervals: deque[float] = deque(maxlen=MOST_INTERVALS)
        self._last: float | None = None
        self._suspected = 0.0

    def missing(self, seconds: float | None) -> int:
        """Return the number of pictures that are now known to be missing before the previous picture.

        :param seconds: time of this picture; None when unknown.
        """
        last, self._last = self._last, seconds
        if seconds is None or last is None or seconds <= last:
            self._suspected = 0.0
            return 0
        interval = seconds - last
        usual = median(self._intervals) if len(self._intervals) >= LEAST_INTERVALS else math.inf
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
    """Convert a picture to an image.

    :param picture: as OpenCV returns it: (rows, columns), or (rows, columns, 3 or 4) with blue first.
    :param deviceTime: seconds since the epoch (UTC), or None.
    :param getBuffer: returns memory to write the pixels into, or None.
    :raises FrameError: cropping leaves no pixel, or the pixels have a type that cannot be shown.
    """
    rows, columns = picture.shape[:2]
    left, top, right, bottom = settings.crop
    if isCroppedAway(picture, settings):
        text = _("Cropping leaves nothing of a picture of {columns} x {rows} pixels. Crop less.")
        raise FrameError(text.format(columns=columns, rows=rows))
    pixels = _shaped(picture[top : rows - bottom, left : columns - right], settings, getBuffer)
    return Image(pixels[None], ijkToRAS(columns, rows, settings), deviceTime, attributes)


def isCroppedAway(picture: Pixels, settings: CameraSettings) -> bool:
    """Return True when cropping leaves no pixel."""
    left, top, right, bottom = settings.crop
    return bool(left + right >= picture.shape[1] or top + bottom >= picture.shape[0])


def ijkToRAS(columns: int, rows: int, settings: CameraSettings) -> Matrix:
    """Return IJKToRAS (4x4, millimetres) of the image of a picture.

    The centre of the whole picture is the origin. Cropping does not move the remaining pixels.

    :param columns: of the whole picture, like ``rows``.
    """
    margins, spacing = settings.crop, settings.spacing
    for _turn in range(settings.rotate // 90):
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
        raise FrameError(
            _("Pictures of {components} components of the type {type} cannot be shown.").format(
                components=components, type=str(picture.dtype)
            )
        )
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
        # The last step writes into the target, without a copy.
        if not steps:
            np.copyto(target, picture)
        elif (made := steps[-1][0](picture, steps[-1][1], dst=target)) is not target:
            np.copyto(target, made)
    except cv2.error as error:
        text = _("OpenCV cannot convert a picture of the shape {shape} and the type {dtype}.")
        raise FrameError(text.format(shape=picture.shape, dtype=picture.dtype)) from error
    return target


def _steps(cv2: Any, components: int, settings: CameraSettings) -> list[tuple[Callable[..., Pixels], int]]:
    # Functions of OpenCV in order, each with its code.
    steps: list[tuple[Callable[..., Pixels], int]] = []
    if components > 1:
        colours = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}
        greys = {3: cv2.COLOR_BGR2GRAY, 4: cv2.COLOR_BGRA2GRAY}
        steps.append((cv2.cvtColor, (colours if settings.colour else greys)[components]))
    if settings.rotate:
        rotations = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
        steps.append((cv2.rotate, rotations[settings.rotate]))
    if settings.flip != "none":
        steps.append((cv2.flip, {"vertical": 0, "horizontal": 1, "both": -1}[settings.flip]))
    return steps


PATIENCE = 4
"""Seconds without a connection or picture after which a stream or camera counts as gone."""
SAME_RATE = 0.05
"""Relative difference to the requested rate that is tolerated."""
NUMBERED = {80: "D16 ", 81: "L16 "}
"""Formats of 16 bits that Media Foundation names by the numbers of Direct3D: depth and grey."""
DEEP_GREY = ("Y16", "Y12", "Y10", "Z16", *(name.strip() for name in NUMBERED.values()))
"""Codecs of cameras with one grey value of 16 bits per pixel (fourcc of Video4Linux and UVC, without space)."""
BIG_ENDIAN = 1 << 31
"""Mark in a codec of Video4Linux (v4l2_fourcc_be): the first byte of each value is the most significant one."""
DEEP_TAG = b"Y1\0\x10"
"""FFmpeg's tag of grey pixels of 16 bits, little-endian; OpenCV converts all other pixels above 8 bits."""
QUIET = {
    "OPENCV_FFMPEG_LOGLEVEL": "-8",
    "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT": str(PATIENCE),
    # Without it Windows takes half a minute to open a camera.
    "OPENCV_VIDEOIO_MSMF_ENABLE_HW_TRANSFORMS": "0",
    # macOS can ask the user for permission only in the main thread of a process; the search for cameras does so.
    "OPENCV_AVFOUNDATION_SKIP_AUTH": "1",
}


def loadOpenCV() -> Any:
    """Import and return cv2, without its messages: events report a missing camera."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2


class CameraDevice:
    """An open camera, video file or stream. Use it from one thread; each call may take PATIENCE seconds or longer.

    :param settings: the device and the requested mode.
    :raises CannotOpenError: the device is missing or is no video.
    """

    def __init__(self, settings: CameraSettings) -> None:
        self._cv2 = loadOpenCV()
        self._settings = settings
        if settings.isFile and not os.path.exists(str(settings.device)):
            text = _("The file {path} does not exist. Waiting for it. Check its name.")
            raise CannotOpenError(text.format(path=str(settings.device)), "file-missing")
        if str(settings.device).encode("utf-8", "ignore").decode() != str(settings.device):
            # OpenCV would end the process.
            text = _("The name of {name} is not UTF-8, and OpenCV cannot open it. Rename the file.")
            raise CannotOpenError(text.format(name=settings.name), "not-a-video")
        self._capture = self._open()
        if not self._capture.isOpened():
            self._capture.release()
            raise whyNotOpen(settings)
        if not settings.isFile and not settings.isStream:
            self._request()
        get, cv2 = self._capture.get, self._cv2
        self.width, self.height = round(get(cv2.CAP_PROP_FRAME_WIDTH)), round(get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.rate = max(0.0, get(cv2.CAP_PROP_FPS))
        """Pictures per second; 0 when unknown."""
        self.backend = self._capture.getBackendName()
        number = self._formatNumber()
        self.codec = codecOf(number)
        self._order = ">" if int(number) & BIG_ENDIAN else "<"
        tag = _tagOf(get(cv2.CAP_PROP_CODEC_PIXEL_FORMAT))
        deep = self.codec.strip() in DEEP_GREY
        self._deep = (deep or tag == DEEP_TAG) and bool(self._capture.set(cv2.CAP_PROP_CONVERT_RGB, 0))
        self.bits = 16 if deep else bitsOf(tag)
        """Bits of each value before OpenCV converts it; 8 when unknown."""
        self.announced = max(0, round(get(cv2.CAP_PROP_FRAME_COUNT))) if settings.isFile else 0
        """Number of pictures that a file declares; 0 when unknown."""

    @property
    def words(self) -> str:
        """Size, rate, codec, 16 bits if the pictures have them, and driver."""
        size = _("{width} x {height} at {rate:g} images/s") if self.rate else _("{width} x {height}")
        size = size.format(width=self.width, height=self.height, rate=self.rate)
        bits, driver = _("16 bits") if self._deep else "", _("driver {name}").format(name=self.backend)
        return joined(size, self.codec.strip(), bits, driver, separator=", ")

    @property
    def differences(self) -> list[str]:
        """Requested properties that the device does not offer."""
        asked = self._settings
        found: list[str] = []
        if asked.width and (asked.width, asked.height) != (self.width, self.height):
            found.append(_("pictures of {width} x {height}").format(width=asked.width, height=asked.height))
        if asked.rate and abs(asked.rate - self.rate) > SAME_RATE * asked.rate:
            found.append(_("{rate:g} images/s").format(rate=asked.rate))
        if asked.codec and asked.codec.upper() != self.codec.upper():
            found.append(_("the codec {codec}").format(codec=asked.codec))
        return found

    @property
    def cutsDepth(self) -> bool:
        """True when OpenCV reduces the values to 8 bits."""
        return self.bits > 8 and not self._deep

    def grab(self) -> bool:
        """Wait for the next picture; return False when there is none."""
        return bool(self._capture.grab())

    def seconds(self) -> float:
        """Return the time of the grabbed picture by the driver or file, in seconds; at most 0 when unknown."""
        return float(self._capture.get(self._cv2.CAP_PROP_POS_MSEC)) / 1000

    def picture(self) -> Pixels | None:
        """Return the grabbed picture: (rows, columns), or (rows, columns, components) with blue first.

        The type is uint8, or uint16 for grey values of 16 bits. None: the picture cannot be decoded.
        """
        found, picture = self._capture.retrieve()
        if not found:
            return None
        return self._grey(picture) if self._deep else picture

    def close(self) -> None:
        """Close the device."""
        self._capture.release()

    def _grey(self, picture: Pixels) -> Pixels | None:
        # Drivers return rows of uint16, or all bytes in one row, or two bytes for each pixel.
        if 1 in picture.shape[:2] or picture.shape[2:] == (2,):
            content = np.ascontiguousarray(picture).reshape(-1).view(np.uint8)
            length, rest = divmod(content.size, self.height)
            if rest or length < 2 * self.width:
                return None
            # Each row may end with unused bytes.
            picture = np.ascontiguousarray(content.reshape(self.height, length)[:, : 2 * self.width]).view(np.uint16)
        return picture if picture.dtype == np.uint8 else picture.view(f"{self._order}u2").astype(np.uint16, copy=False)

    def _formatNumber(self) -> float:
        # The fourcc of the camera, video or stream. While Media Foundation converts, it names the result instead.
        number: float = self._capture.get(self._cv2.CAP_PROP_FOURCC)
        camera = not self._settings.isFile and not self._settings.isStream
        if camera and self.backend == "MSMF" and self._capture.set(self._cv2.CAP_PROP_CONVERT_RGB, 0):
            number = self._capture.get(self._cv2.CAP_PROP_FOURCC)
            self._capture.set(self._cv2.CAP_PROP_CONVERT_RGB, 1)
        return number

    def _open(self) -> Any:
        cv2, settings = self._cv2, self._settings
        backend = backendOf(settings.backend)
        if settings.isStream and backend in (cv2.CAP_ANY, cv2.CAP_FFMPEG) and "FFMPEG" in backends(streams=True):
            timeouts = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, cv2.CAP_PROP_READ_TIMEOUT_MSEC)
            options = [value for name in timeouts for value in (name, 1000 * PATIENCE)]
            return cv2.VideoCapture(settings.device, cv2.CAP_FFMPEG, options)
        return cv2.VideoCapture(settings.device, backend)

    def _request(self) -> None:
        cv2, asked = self._cv2, self._settings
        # The codec first: sizes and rates depend on it.
        if asked.codec:
            self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*asked.codec))
        if asked.width:
            self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, asked.width)
            self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, asked.height)
        if asked.rate:
            self._capture.set(cv2.CAP_PROP_FPS, asked.rate)
        # DirectShow sets a new size or rate with its default codec.
        if asked.codec and codecOf(self._capture.get(cv2.CAP_PROP_FOURCC)) != asked.codec:
            self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*asked.codec))


def backends(streams: bool = False) -> dict[str, int]:
    """Return the drivers of OpenCV for cameras, or for streams, on this computer: name to number."""
    registry = loadOpenCV().videoio_registry
    numbers = registry.getStreamBackends() if streams else registry.getCameraBackends()
    return {registry.getBackendName(number): number for number in numbers if registry.hasBackend(number)}


def backendOf(name: str) -> int:
    """Return OpenCV's number of a driver; the number of "any" for an empty name.

    :raises CannotOpenError: this computer has no such driver.
    """
    if not name:
        return int(loadOpenCV().CAP_ANY)
    known = backends() | backends(streams=True)
    if name.upper() not in known:
        text = _("This computer has no driver {name}. It has {others}.").format(name=name, others=", ".join(known))
        raise CannotOpenError(text, "no-backend", Remedy(_("Choose automatically"), {"backend": ""}))
    return known[name.upper()]


def bitsOf(tag: bytes) -> int:
    """Return the bits of each value in the pixel format of a tag of FFmpeg; 8 when the tag has no such number.

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
    """Return the four characters of a codec, without the mark of its order of bytes; empty for a number of no codec."""
    text = NUMBERED.get(int(number)) or _tagOf(int(number) & ~BIG_ENDIAN).decode("latin-1")
    return text if text.isascii() and text.isprintable() and text.strip() else ""


def _tagOf(number: float) -> bytes:
    return (int(number) & 0xFFFFFFFF).to_bytes(4, "little")
