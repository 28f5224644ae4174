"""Compressed video: pictures to the bytes of a stream, and back, with PyAV (FFmpeg).

A key frame is decoded by itself, every other frame only after all frames since the last key frame. The bytes are those
of a live stream: each picture that is encoded makes its bytes at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from ..Model.Codecs import CODECS, LOSSLESS
from ..Model.Errors import NotAnImageError
from ..Model.Files import reasonOf
from ..Model.Frame import Pixels
from ..Model.Packages import VIDEO_PACKAGES, checkPackages
from ..Model.Text import textsOf

if TYPE_CHECKING:
    import av

_ = textsOf(__file__)

MOST_WAITING = 64
"""Pictures that a decoder may hold back, because they are shown after later ones: more than any codec does."""
FULL_RANGE = 2
"""FFmpeg's number of brightness from 0 to 255 instead of 16 to 235 (AVCOL_RANGE_JPEG)."""
RATE = 30
"""Pictures a second for the encoder's control of bits; they may come at any other rate."""


def _load() -> Any:
    """Return PyAV.

    :raises MissingPackageError: it is not installed.
    :raises NotAnImageError: it cannot be loaded.
    """
    checkPackages(VIDEO_PACKAGES, _("Compressed video"))
    try:
        import av
    except ImportError as error:
        text = _("PyAV cannot be loaded: {reason}.").format(reason=reasonOf(error))
        raise NotAnImageError(text, "unsupported") from error
    av.logging.set_level(av.logging.PANIC)  # its exceptions say the same
    return av


class VideoDecoder:
    """Decoder of one stream. It yields nothing before the first key frame.

    :param codec: name in :data:`CODECS`.
    :param limit: most bytes of a decoded picture.
    :raises MissingPackageError: PyAV is not installed.
    :raises NotAnImageError: PyAV cannot be loaded, or has no such decoder.
    :ivar waiting: True until a key frame was decoded, from the beginning or the last :meth:`restart` on.
    """

    def __init__(self, codec: str, limit: int) -> None:
        av = _load()
        self.codec, self._limit, self.waiting = codec, limit, True
        self._greys: dict[int, bool] = {}
        """Whether the pictures that are not decoded yet are grey, by number."""
        try:
            self._decoder: Any = av.CodecContext.create(CODECS[codec].decoder, "r")
        except ValueError as error:
            text = _("PyAV has no decoder for {codec} on this computer.").format(codec=CODECS[codec].title)
            raise NotAnImageError(text, "unsupported") from error
        options = {"max_pixels": str(max(1, limit))}
        if codec == "av1":
            options["max_frame_delay"] = "1"
        else:
            self._decoder.thread_type = "SLICE"  # threads by frame would hold pictures back
        self._decoder.options = options

    def decode(self, data: bytes, number: int, grey: bool, size: tuple[int, int]) -> list[tuple[int, Pixels]]:
        """Decode the bytes of one picture.

        :param number: number of the picture, greater than all before.
        :param grey: return the brightness alone.
        :param size: declared columns and rows.
        :returns: the pictures that are complete now, each with its number: (rows, columns, 3), or (rows, columns) when
            grey; uint8. Empty before the first key frame.
        :raises NotAnImageError: the bytes cannot be decoded, or the picture is too large; :meth:`restart` the decoder.
        """
        import av

        if self.codec == "i420":
            return [(number, self._pixelsOf(_fromI420(data, size), grey))]
        self._greys[number] = grey
        if len(self._greys) > MOST_WAITING:
            del self._greys[next(iter(self._greys))]
        packet = av.Packet(data)
        packet.pts = number
        try:
            return list(self._take(self._decoder.decode(packet)))
        except (av.error.FFmpegError, MemoryError, ValueError, OverflowError) as error:
            if self.waiting:
                return []  # without a key frame, every decoder complains
            text = _("its {codec} video cannot be decoded ({reason})")
            text = text.format(codec=CODECS[self.codec].title, reason=reasonOf(error))
            raise NotAnImageError(text, "damaged") from error

    def finish(self) -> list[tuple[int, Pixels]]:
        """Return the pictures that were held back, at the end of the stream."""
        import av

        try:
            return [] if self.codec == "i420" else list(self._take(self._decoder.decode(None)))
        except (av.error.FFmpegError, NotAnImageError, MemoryError, ValueError):
            return []

    def restart(self) -> None:
        """Wait for the next key frame, because frames are lost."""
        if self.codec != "i420":
            self._decoder.flush_buffers()
            self._greys.clear()
            self.waiting = True

    def _take(self, frames: list[av.VideoFrame]) -> Iterator[tuple[int, Pixels]]:
        for frame in frames:
            if self.waiting and not frame.key_frame:
                continue
            self.waiting = False
            if frame.is_corrupt:
                text = _("its {codec} video is damaged").format(codec=CODECS[self.codec].title)
                raise NotAnImageError(text, "damaged")
            number = frame.pts
            grey = self._greys.pop(number, None) if number is not None else None
            if number is not None and grey is not None:
                yield number, self._pixelsOf(frame, grey)

    def _pixelsOf(self, frame: av.VideoFrame, grey: bool) -> Pixels:
        grey = grey or frame.format.name == "gray"
        nbytes = frame.width * frame.height * (1 if grey else 3)
        if nbytes > self._limit:
            raise NotAnImageError(
                _("its picture of {columns:,} x {rows:,} pixels has {nbytes:,} bytes; the limit is {limit:,}").format(
                    columns=frame.width, rows=frame.height, nbytes=nbytes, limit=self._limit
                ),
                "too-large",
            )
        if grey and frame.color_range == FULL_RANGE and frame.format.name.startswith("yuv"):
            # Not every version of PyAV knows that the values are brightness as they are.
            plane = frame.planes[0]
            lines = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
            return np.ascontiguousarray(lines[:, : plane.width])
        pixels: Pixels = frame.to_ndarray(format="gray" if grey else "rgb24")
        return pixels


def _fromI420(data: bytes, size: tuple[int, int]) -> av.VideoFrame:
    import av

    columns, rows = size
    if columns % 2 or rows % 2 or len(data) != columns * rows * 3 // 2:
        raise NotAnImageError(
            _("its I420 picture of {columns:,} x {rows:,} pixels has {nbytes:,} bytes").format(
                columns=columns, rows=rows, nbytes=len(data)
            ),
            "damaged",
        )
    array = np.frombuffer(data, np.uint8).reshape(rows * 3 // 2, columns)
    return av.VideoFrame.from_ndarray(array, format="yuv420p")


@dataclass(frozen=True)
class Quality:
    """Quality of an encoder.

    :param quality: 1 (smallest) to 99 (best), or LOSSLESS.
    :param keyFrameDistance: most pictures from one key frame to the next.
    :param bitRate: most megabits a second, 0 for no limit.
    """

    quality: int = 75
    keyFrameDistance: int = 30
    bitRate: float = 0.0


def encodable(pixels: Pixels) -> bool:
    """Return whether a video can carry an image: one slice of 8 bits, grey or RGB.

    :param pixels: (k, j, i) or (k, j, i, components).
    """
    colour = pixels.ndim == 4
    return pixels.dtype == np.uint8 and pixels.shape[0] == 1 and (not colour or pixels.shape[3] == 3)


class VideoEncoder:
    """Encoder of one live stream. A picture of another size, or grey after colour, begins with a key frame.

    Grey pictures keep their values, and say so in the stream. Colour loses resolution, unless nothing may be lost. A
    picture with an odd number of columns or rows gets one more, a copy of the last, which receivers cut off.

    :param codec: name in :data:`ENCODERS`.
    :raises MissingPackageError: PyAV is not installed.
    :raises NotAnImageError: PyAV cannot be loaded.
    """

    def __init__(self, codec: str, quality: Quality) -> None:
        _load()
        self.codec, self._quality = codec, quality
        self._encoder: Any = None
        self._shape: tuple[int, ...] = ()
        self._count = 0

    def encode(self, picture: Pixels, key: bool = False) -> tuple[bytes, bool]:
        """Return the bytes of a picture, and whether it is a key frame.

        :param picture: (rows, columns) or (rows, columns, 3), uint8.
        :param key: make it a key frame.
        :raises NotAnImageError: the encoder cannot take pictures of this size.
        """
        import av

        even = evenPicture(picture)
        try:
            if even.shape != self._shape:
                self._encoder = self._open(even.shape)
                self._shape = even.shape
            frame = videoFrame(even, self._encoder.pix_fmt)
            frame.pts = self._count
            if key:
                frame.pict_type = av.video.frame.PictureType.I
            packets = self._encoder.encode(frame)
        except (av.error.FFmpegError, ValueError, MemoryError) as error:
            self._shape = ()
            rows, columns = picture.shape[:2]
            text = _("{codec} cannot encode pictures of {columns:,} x {rows:,} pixels ({reason}).")
            text = text.format(codec=CODECS[self.codec].title, columns=columns, rows=rows, reason=reasonOf(error))
            raise NotAnImageError(text, "unsupported") from error
        self._count += 1
        return b"".join(map(bytes, packets)), any(packet.is_keyframe for packet in packets)

    def _open(self, shape: tuple[int, ...]) -> Any:
        import av

        codec, quality = CODECS[self.codec], self._quality
        lossless, colour = quality.quality >= LOSSLESS, len(shape) == 3
        name = "libx264rgb" if lossless and colour and codec.encoder == "libx264" else codec.encoder
        options = dict(codec.options)
        if lossless:
            options |= dict(codec.lossless)
        else:
            options["crf"] = str(max(1, round(codec.worst * (LOSSLESS - quality.quality) / LOSSLESS)))
        made: Any = av.CodecContext.create(name, "w")
        made.height, made.width = shape[:2]
        made.pix_fmt = "yuv420p" if not (lossless and colour) else "rgb24" if name == "libx264rgb" else "gbrp"
        made.time_base, made.framerate = Fraction(1, RATE), Fraction(RATE)
        made.gop_size, made.max_b_frames = quality.keyFrameDistance, 0
        if not colour:
            made.color_range = FULL_RANGE
        limit = 0 if lossless else round(quality.bitRate * 1e6)
        if codec.encoder == "libvpx-vp9":
            made.bit_rate = limit  # with the rate factor: constrained quality; 0: constant quality
        elif limit:
            options |= {"maxrate": str(limit), "bufsize": str(limit // 2)}
        if codec.encoder == "libx265":
            options["x265-params"] = ":".join(filter(None, (options.get("x265-params"), _X265)))
        if codec.encoder == "libsvtav1":
            os.environ.setdefault("SVT_LOG", "0")  # it complains of streams that end
            options["svtav1-params"] = _SVT
        made.options = options
        made.open()
        return made


_X265 = "log-level=none:repeat-headers=1:scenecut=0"
_SVT = "pred-struct=1:lp=2"
"""Low delay, and few threads beside those of the source."""


def evenPicture(picture: Pixels) -> Pixels:
    """Return the picture with an even number of rows and columns: the last ones are repeated when needed."""
    odd = picture.shape[0] % 2, picture.shape[1] % 2
    if not any(odd):
        return picture
    return np.pad(picture, [(0, odd[0]), (0, odd[1]), (0, 0)][: picture.ndim], mode="edge")


def videoFrame(picture: Pixels, pixelFormat: str) -> av.VideoFrame:
    """Return a frame to encode.

    :param picture: (rows, columns), whose values become the brightness in its full range, or (rows, columns, 3); uint8,
        even rows and columns.
    :param pixelFormat: of the encoder.
    """
    import av

    if picture.ndim == 3:
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        return frame if pixelFormat == "rgb24" else frame.reformat(format=pixelFormat)
    rows, columns = picture.shape
    planes = np.full((rows * 3 // 2, columns), 128, np.uint8)
    planes[:rows] = picture
    frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
    frame.color_range = FULL_RANGE
    return frame
