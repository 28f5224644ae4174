"""Frames of the rebroadcast as compressed video: they wait for the thread, which encodes each of them once."""

from __future__ import annotations

import dataclasses
import threading
from collections import deque
from collections.abc import Iterator

import numpy as np

from ..Formats.VideoStream import Quality, VideoEncoder, encodable
from ..Model.Codecs import CODECS
from ..Model.Frame import Frame
from ..OpenIGTLink import VideoMessage
from ..Sources.OpenIGTLink import BroadcastSettings

MOST_WAITING = 8
"""Frames that may wait for the encoder. Older ones are dropped before they are encoded, which harms no other frame."""
MOST_STREAMS = 64


class VideoStreams:
    """Encoders of all streams.

    :param settings: codec and quality.
    """

    def __init__(self, settings: BroadcastSettings) -> None:
        self._codec = settings.codec
        self._quality = Quality(settings.quality, settings.keyFrameDistance, settings.bitRate)
        self._waiting: deque[tuple[Frame, str]] = deque()
        self._lock = threading.Lock()
        self._encoders: dict[str, VideoEncoder] = {}
        self._numbers: dict[str, int] = {}
        self._images: set[str] = set()

    def takes(self, frame: Frame) -> bool:
        """Return whether a video can carry a frame."""
        return encodable(frame.pixels)

    def isNew(self, stream: str) -> bool:
        """Return True once for a stream that is no video."""
        if stream in self._images or len(self._images) >= MOST_STREAMS:
            return False
        self._images.add(stream)
        return True

    def put(self, frame: Frame, name: str) -> int:
        """Copy a frame for the thread; return the number of older frames that were dropped.

        :param name: device name of its messages.
        """
        copied = dataclasses.replace(frame, pixels=np.array(frame.pixels))
        with self._lock:
            self._waiting.append((copied, name))
            if len(self._waiting) <= MOST_WAITING:
                return 0
            self._waiting.popleft()
            return 1

    def waiting(self) -> Iterator[tuple[Frame, str]]:
        """Yield the frames that wait, and their names. Call it, and :meth:`encode`, from the thread."""
        while True:
            with self._lock:
                if not self._waiting:
                    return
                item = self._waiting.popleft()
            yield item

    def encode(self, frame: Frame, name: str, key: bool) -> VideoMessage:
        """Encode a frame.

        :param key: make it a key frame.
        :raises NotAnImageError: the encoder cannot take frames of this size.
        :raises MissingPackageError: PyAV is not installed.
        """
        if name not in self._encoders:
            if len(self._encoders) >= MOST_STREAMS:
                del self._encoders[next(iter(self._encoders))]
            self._encoders[name] = VideoEncoder(self._codec, self._quality)
        picture = frame.pixels[0]
        data, isKey = self._encoders[name].encode(picture, key)
        rows, columns = picture.shape[:2]
        message = VideoMessage(
            data,
            CODECS[self._codec].fourccs[0],
            (columns, rows, 1),
            frame.ijkToRAS,
            key=isKey,
            grey=picture.ndim == 2,
            timestamp=frame.time,
            device_name=name,
        )
        # Receivers find missing frames by these numbers: a frame that was never encoded is not missing in the video.
        self._numbers[name] = message.message_id = self._numbers.get(name, 0) + 1
        message.metadata = dict(frame.attributes)
        return message
