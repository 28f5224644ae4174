"""Process that searches for cameras. OpenCV has no list: the search tries each number, driver, size, rate and codec.

It reports :class:`CameraFound` for each camera, and :class:`End`. It does not find cameras in use by other programs.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ...Link.Lines import LONGEST_SILENCE, openLines
from ...Link.Messages import CameraFound, End
from .Device import SAME_RATE, backends, codecOf, loadOpenCV

NUMBERS = range(10)
NO_CAMERAS = {"FFMPEG", "CV_IMAGES", "CV_MJPEG"}
"""Drivers that OpenCV lists for cameras, although they open files only or nothing."""
SIZES = (
    (320, 240),
    (640, 360),
    (640, 480),
    (720, 576),
    (800, 600),
    (1024, 768),
    (1280, 720),
    (1280, 1024),
    (1600, 1200),
    (1920, 1080),
    (2560, 1440),
    (3840, 2160),
)
RATES = (5.0, 10.0, 15.0, 20.0, 24.0, 25.0, 30.0, 50.0, 60.0, 90.0, 120.0)
CODECS = ("MJPG", "YUYV", "UYVY", "NV12", "YU12", "H264", "GREY", "Y16 ")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CameraOffer:
    """A camera with the modes that it accepted: sizes in columns and rows, rates in pictures per second.

    ``size``, ``rate`` and ``codec`` are its defaults.
    """

    device: int
    size: tuple[int, int]
    rate: float
    codec: str
    sizes: tuple[tuple[int, int], ...] = ()
    rates: tuple[float, ...] = ()
    codecs: tuple[str, ...] = ()
    backends: tuple[str, ...] = field(default=())

    @classmethod
    def fromJSON(cls, values: dict[str, Any]) -> CameraOffer:
        """Return the offer that a JSON object describes."""
        pairs = {name: tuple(tuple(one) if isinstance(one, list) else one for one in values[name]) for name in LISTS}
        return cls(**{**values, **pairs, "size": tuple(values["size"])})


LISTS = ("sizes", "rates", "codecs", "backends")


def main() -> int:
    """Search for cameras, and report each of them; return the exit code."""
    os.environ.setdefault("OPENCV_AVFOUNDATION_SKIP_AUTH", "0")
    writer, lines = openLines()

    def endWithInput() -> None:
        for _ in lines:
            pass
        os._exit(0)  # a driver may hang

    threading.Thread(target=endWithInput, name="end of input", daemon=True).start()
    last: End | None = End()
    try:
        for offer in probe():
            writer.put(CameraFound(dataclasses.asdict(offer)))
    except Exception:  # the boundary of this process
        log.exception("The search for cameras failed")
        last = None
    writer.close(LONGEST_SILENCE, last)
    return 0 if last else 1


def probe() -> Iterator[CameraOffer]:
    """Yield the cameras that can be opened now, in the order of their numbers."""
    cv2 = loadOpenCV()
    drivers = {name: number for name, number in backends().items() if name not in NO_CAMERAS}
    for number in NUMBERS:
        capture = cv2.VideoCapture(number)
        if not capture.isOpened():
            continue
        try:
            offer = _offer(cv2, capture, number)
        finally:
            capture.release()
        able = tuple(name for name, driver in drivers.items() if _opens(cv2, number, driver))
        yield dataclasses.replace(offer, backends=able)


def _offer(cv2: Any, capture: Any, number: int) -> CameraOffer:
    def size() -> tuple[int, int]:
        return round(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), round(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))

    def ask(width: int, height: int) -> None:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)

    def does(rate: float) -> bool:
        capture.set(cv2.CAP_PROP_FPS, rate)
        return abs(float(capture.get(cv2.CAP_PROP_FPS)) - rate) < SAME_RATE * rate

    def codes(codec: str) -> bool:
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*codec))
        return codecOf(capture.get(cv2.CAP_PROP_FOURCC)) == codec

    own, rate, codec = size(), capture.get(cv2.CAP_PROP_FPS), codecOf(capture.get(cv2.CAP_PROP_FOURCC))
    codecs = tuple(one for one in dict.fromkeys((codec, *CODECS)) if one and codes(one))
    if codec:
        codes(codec)
    sizes = []
    for wanted in dict.fromkeys((own, *SIZES)):
        ask(*wanted)
        if size() == wanted:
            sizes.append(wanted)
    ask(*own)
    rates = tuple(one for one in RATES if does(one))
    return CameraOffer(number, own, max(0.0, rate), codec, tuple(sorted(sizes)), rates, codecs)


def _opens(cv2: Any, number: int, driver: int) -> bool:
    capture = cv2.VideoCapture(number, driver)
    opened = bool(capture.isOpened())
    capture.release()
    return opened
