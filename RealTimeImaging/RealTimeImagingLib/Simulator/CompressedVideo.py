"""Images of the simulated scanner as compressed video."""

from __future__ import annotations

import numpy as np

from ..Formats.VideoStream import Quality, VideoDecoder, VideoEncoder
from ..Model.Codecs import CODECS
from ..Model.Frame import Image, Pixels
from ..OpenIGTLink import VideoMessage

PERCENTILES = (0.1, 99.9)
"""Percentiles of the values of the first image that become black and white."""
LIMIT = 1 << 30
"""Most bytes of a picture."""


class CompressedVideo:
    """Encoder of the images, and a decoder that tells what every receiver shows.

    A volume is sent as its middle slice, and values of more than 8 bits as brightness.

    :param codec: a key of ENCODERS.
    :raises MissingPackageError: PyAV is not installed.
    """

    def __init__(self, codec: str) -> None:
        self._codec = codec
        self._encoder, self._decoder = VideoEncoder(codec, Quality()), VideoDecoder(codec, LIMIT)
        self._range: tuple[float, float] | None = None
        self._count = 0

    def encode(self, image: Image) -> tuple[VideoMessage, Pixels]:
        """Return the message of an image, without device and time, and the pixels that a receiver gets."""
        picture, matrix = self._pictureOf(image)
        rows, columns = picture.shape[:2]
        data, key = self._encoder.encode(picture)
        grey = picture.ndim == 2
        message = VideoMessage(data, CODECS[self._codec].fourccs[0], (columns, rows, 1), matrix, key=key, grey=grey)
        ((_number, shown),) = self._decoder.decode(data, self._count, grey, (columns, rows))
        self._count += 1
        message.message_id = self._count
        return message, np.ascontiguousarray(shown[:rows, :columns])[None]

    def _pictureOf(self, image: Image) -> tuple[Pixels, Pixels]:
        """Return the picture of 8 bits, grey or RGB, and its IJKToRAS."""
        middle = image.pixels.shape[0] // 2
        matrix = image.ijkToRAS.copy()
        matrix[:3, 3] += middle * matrix[:3, 2]
        picture = image.pixels[middle]
        if picture.dtype != np.uint8:
            if self._range is None:
                low, high = np.percentile(picture, PERCENTILES)
                self._range = float(low), float(high if high > low else low + 1)
            low, high = self._range
            picture = ((picture - low) * (255 / (high - low))).clip(0, 255).round().astype(np.uint8)
        return (picture[..., :3] if picture.ndim == 3 else picture), matrix
