"""Simulated camera: a video file without loss (FFV1), which the camera source plays as if a camera took it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import IO, Any

import numpy as np

from ..Model.Frame import Image, Pixels, checksum
from .Images import images
from .Scanners import logSent

DEPTH = 16
"""Bits of each value of the phantom."""
SECONDS = 10
"""Length of a film of images without end."""
_VALUES = 1 << 10
"""Values of the phantom. Each becomes a range of 64, in which a ramp moves: the pictures use all bits."""
_FILMED = ("uint8", ()), ("uint16", ()), ("uint8", (3,))
"""Types of values, and colours, that a video holds without loss."""


def phantomPictures() -> Iterator[Pixels]:
    """Yield grey pictures of the beating phantom without end, (rows, columns), uint16; no two of 320 are equal."""
    for number, image in enumerate(images(None, True)):
        middle = image.pixels[len(image.pixels) // 2, ::-1].clip(0, _VALUES - 1).astype(np.uint16)
        scale = (1 << DEPTH) // _VALUES
        ramp = (number + np.arange(middle.shape[1], dtype=np.uint16)) % scale
        yield (middle * scale + ramp).repeat(4, 0).repeat(4, 1)


def pictureOf(image: Image) -> Pixels:
    """Return the middle slice of an image as a picture.

    :raises ValueError: a video without loss cannot hold its values.
    """
    middle: Pixels = image.pixels[len(image.pixels) // 2]
    if middle.dtype == np.int16 and middle.min() >= 0:
        middle = middle.view(np.uint16)
    if (middle.dtype.name, middle.shape[2:]) not in _FILMED:
        raise ValueError(
            f"A video holds grey values from 0 to 65,535, and RGB of uint8, but not {middle.dtype} of the shape "
            f"{middle.shape}{' with values below 0' if middle.dtype == np.int16 else ''}."
        )
    return middle


class Film:
    """Video file that grows by picture, without loss.

    :param path: ends with .mkv or .avi.
    :param rate: pictures a second at which it is played.
    :raises OSError: the file cannot be written.
    """

    def __init__(self, path: str, rate: float) -> None:
        self._path, self._rate = path, rate
        self._writer: Any = None

    def write(self, picture: Pixels) -> None:
        """Add a picture: (rows, columns) of uint8 or uint16, or (rows, columns, 3) of uint8, red first."""
        import cv2

        if self._writer is None:
            deep = cv2.CV_16U if picture.dtype == np.uint16 else cv2.CV_8U
            kind = [cv2.VIDEOWRITER_PROP_DEPTH, deep, cv2.VIDEOWRITER_PROP_IS_COLOR, int(picture.ndim == 3)]
            codec = cv2.VideoWriter.fourcc(*"FFV1")
            self._writer = cv2.VideoWriter(self._path, cv2.CAP_FFMPEG, codec, self._rate, picture.shape[1::-1], kind)
            if not self._writer.isOpened():
                raise OSError(f"OpenCV cannot write the video {self._path}.")
        self._writer.write(np.ascontiguousarray(picture[..., ::-1] if picture.ndim == 3 else picture))

    def close(self) -> None:
        """Complete the file."""
        if self._writer is not None:
            self._writer.release()


class FilmingScanner:
    """Simulated scanner that writes the middle slice of each image into a film, as fast as possible.

    :param log: receives one JSON line for each picture: its number, checksum and time.
    """

    def __init__(self, path: str, fps: float, log: IO[str] | None = None) -> None:
        self._film, self._log = Film(path, fps), log

    def send(self, pictures: Iterator[Pixels], stopped: Callable[[], bool]) -> int:
        """Write all pictures, or until stopped; return their number."""
        count = 0
        for picture in pictures:
            if stopped():
                break
            self._film.write(picture)
            logSent(self._log, str(count), [checksum(picture[None])], time.time())
            count += 1
        return count

    def close(self) -> None:
        """Complete the file."""
        self._film.close()
