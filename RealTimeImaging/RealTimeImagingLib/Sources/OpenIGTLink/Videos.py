"""Compressed videos of the peers: VIDEO messages to images, and what is said about frames that cannot be decoded."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ...Formats.VideoStream import MOST_WAITING, VideoDecoder
from ...Model.Codecs import CODECS, codecOf
from ...Model.Errors import MissingPackageError, NotAnImageError
from ...Model.Frame import Image, Pixels, pictureToRAS
from ...Model.Quantities import counted
from ...Model.Text import joined, textsOf
from ...OpenIGTLink import Message, Problem, VideoMessage
from .Translation import attributesOf, deviceTimeOf

_ = textsOf(__file__)

MOST_DECODERS = 32
"""Videos that are decoded at the same time; the one that was silent longest is given up."""
MOST_PIXELS = 1 << 26
"""Most pixels of a picture, 8192 x 8192: a few bytes can declare any size."""
LABELLED = 4
"""Frames that a decoder may hold back after a frame that is labelled as a key frame, before it counts as none."""
GAPS, GAP_TIME = 4, 60.0
"""Gaps in the message numbers within so many seconds that show that a sender counts something else than frames."""
REORDERING, LATEST = ("h264", "hevc"), 16
"""Codecs whose frames all have a picture, and frames after a shown one that a picture before it comes later at most.
Decoders pass over some damaged frames without an error. VP9 also has frames for reference only."""
FEW = 3
"""Missing messages that are named by their numbers."""

KEY_FRAME = "key-frame"
"""Code of the remark that a key frame ends the wait."""
NOT_REJECTED = (
    *(KEY_FRAME, "no-key-frame", "frames-lost", "no-picture", "size-differs", "no-geometry", "irregular-numbers"),
)
"""Codes of problems that reject no message themselves: frames that cannot be decoded are counted one by one."""
NEXT_KEY = _("Its images continue with the next key frame.")


class VideoImage(NamedTuple):
    """A decoded picture.

    :param stream: name of the stream.
    :param receiveTime: time at which its message was complete, seconds since the epoch (UTC).
    """

    stream: str
    image: Image
    receiveTime: float


@dataclass(eq=False)
class _Stream:
    """State of one video.

    :param name: name of the stream.
    :param pending: messages that have no picture yet, with the times at which they were complete, by number.
    :param newest: number of the newest message with a picture.
    :param told: the user knows that a key frame is awaited.
    :param undecoded: frames since then that cannot be decoded.
    :param lastID: number of the last message, None when it is unknown.
    :param step: the smallest difference of two message numbers.
    :param gaps: times of the last gaps; None when the message numbers do not count frames.
    :param said: codes of the remarks that were made about it.
    """

    name: str
    codec: str
    decoder: VideoDecoder
    pending: dict[int, tuple[VideoMessage, float]] = field(default_factory=dict)
    count: int = 0
    newest: int = -1
    told: bool = False
    undecoded: int = 0
    lastID: int | None = None
    step: int | None = None
    gaps: deque[float] | None = field(default_factory=lambda: deque(maxlen=GAPS))
    said: set[str] = field(default_factory=set)


class Videos:
    """Decoders of all videos.

    :param limit: most bytes of a picture.
    :param refuse: called for each frame that cannot be decoded.
    :param clock: monotonic seconds.
    """

    def __init__(self, limit: int, refuse: Callable[[], None], clock: Callable[[], float]) -> None:
        self._limit, self._refuse, self._clock = limit, refuse, clock
        self._streams: dict[tuple[str, str], _Stream] = {}
        """Videos by peer and device; the last one was used last."""
        self._lastIDs: dict[str, int] = {}
        """Number of the last message of each peer."""
        self._missing: MissingPackageError | None = None

    def note(self, peer: str, message: Message) -> None:
        """Note the number of a message that is no video: some senders number all messages together."""
        if message.message_id and self._streams:
            self._lastIDs[peer] = message.message_id

    def take(self, peer: str, name: str, message: VideoMessage, now: float) -> Iterator[VideoImage | Problem]:
        """Decode a message; yield the pictures that are complete, and problems.

        :param peer: name of the connection.
        :param name: name of the stream.
        :param now: time at which the message was complete, seconds since the epoch (UTC).
        """
        device = message.device_name
        if not message.data:  # the encoder has skipped a picture
            known = self._streams.get((peer, device))
            if known:
                yield from self._gap(peer, known, message)
            return
        try:
            self._check(message)
            stream = self._streamOf(peer, name, message)
        except (MissingPackageError, NotAnImageError) as error:
            code = "compressed-video" if isinstance(error, MissingPackageError) else error.code
            yield Problem(code, _rejected(message, error), device=device)
            return
        yield from self._gap(peer, stream, message)
        number = stream.count
        stream.count += 1
        stream.pending[number] = message, now
        columns, rows, slices = message.size
        try:
            found = stream.decoder.decode(message.data, number, message.grey, (columns, rows * slices))
        except NotAnImageError as error:
            del stream.pending[number]
            self._restart(stream)
            stream.told = True
            yield Problem(error.code, joined(_rejected(message, error), NEXT_KEY), device=device)
            return
        yield from self._found(stream, found)
        yield from self._withoutPicture(stream, message)
        yield from self._waits(stream, message)

    def lost(self, peer: str, device: str) -> Iterator[Problem]:
        """Note that a message of a device was rejected: if it was video, frames that follow depend on it.

        :param device: name in the header, at most 20 bytes.
        """
        for (owner, full), stream in self._streams.items():
            if owner == peer and device and full.encode().startswith(device.encode()):
                self._restart(stream)
                stream.lastID, stream.told = None, True
                text = _("A frame of the video of {device} is lost. {next}").format(device=full, next=NEXT_KEY)
                yield Problem("frames-lost", text, device=full)

    def disconnected(self, peer: str) -> Iterator[VideoImage | Problem]:
        """Yield the pictures that were held back, and forget the videos of a peer."""
        self._lastIDs.pop(peer, None)
        for key in [key for key in self._streams if key[0] == peer]:
            stream = self._streams.pop(key)
            yield from self._found(stream, stream.decoder.finish())
            self._giveUp(stream, list(stream.pending))
            if stream.undecoded:
                text = _("The video of {device} ended; {count} at its end gave no picture.")
                if stream.told:
                    text = _("The video of {device} ended before a key frame; {count} could not be decoded.")
                count = counted(stream.undecoded, _("1 frame"), _("{count:,} frames"))
                text = text.format(device=key[1] or _("a device without a name"), count=count)
                yield Problem(KEY_FRAME, text, device=key[1])

    # ---- one message

    def _check(self, message: VideoMessage) -> None:
        columns, rows, slices = message.size
        nbytes = columns * rows * slices * (1 if message.grey else 3)
        if nbytes > self._limit or columns * rows * slices > MOST_PIXELS:
            raise NotAnImageError(
                _("it declares {columns:,} x {rows:,} x {slices:,} pixels, more than the limit").format(
                    columns=columns, rows=rows, slices=slices
                ),
                "too-large",
            )
        if self._missing:
            raise self._missing

    def _streamOf(self, peer: str, name: str, message: VideoMessage) -> _Stream:
        codec = codecOf(message.fourcc, message.data)
        if codec is None:
            raise NotAnImageError(
                _("its codec {fourcc} is unknown; supported are {known}").format(
                    fourcc=repr(message.fourcc), known=", ".join(one.title for one in CODECS.values())
                ),
                "unknown-codec",
            )
        key = peer, message.device_name
        stream = self._streams.pop(key, None)
        if stream is None or stream.codec != codec:
            if stream is not None:
                self._giveUp(stream, list(stream.pending))
            try:
                decoder = VideoDecoder(codec, min(self._limit, 3 * MOST_PIXELS))
            except MissingPackageError as error:
                self._missing = error  # an installation takes effect after a restart
                raise
            stream = _Stream(name, codec, decoder)
        stream.name = name
        self._streams[key] = stream
        if len(self._streams) > MOST_DECODERS:
            oldest = self._streams.pop(next(iter(self._streams)))
            self._giveUp(oldest, list(oldest.pending))
        return stream

    def _found(self, stream: _Stream, found: list[tuple[int, Pixels]]) -> Iterator[VideoImage | Problem]:
        for number, pixels in found:
            message, now = stream.pending.pop(number)
            stream.newest = max(stream.newest, number)
            if stream.told:
                yield from self._resumes(stream, number, message)
            yield from self._remarks(stream, message, pixels)
            yield VideoImage(stream.name, _imageOf(message, pixels, CODECS[stream.codec].title), now)

    def _resumes(self, stream: _Stream, number: int, message: VideoMessage) -> Iterator[Problem]:
        self._giveUp(stream, [one for one in stream.pending if one < number])
        if stream.undecoded:
            text = _("The video of {device} continues with a key frame; {count} before it could not be decoded.")
            count = counted(stream.undecoded, _("1 frame"), _("{count:,} frames"))
            yield Problem(KEY_FRAME, text.format(device=_named(message), count=count), device=message.device_name)
        stream.told, stream.undecoded = False, 0

    def _waits(self, stream: _Stream, message: VideoMessage) -> Iterator[Problem]:
        """Say that a key frame is awaited, and count the frames that are lost for good."""
        waiting = stream.decoder.waiting and stream.codec != "i420"
        labelled = any(one.key for one, _time in stream.pending.values())
        if waiting and not stream.told and len(stream.pending) >= (LABELLED if labelled else 1):
            stream.told = True
            text = _("The video of {device} begins between two key frames. Its images begin with the next key frame.")
            yield Problem("no-key-frame", text.format(device=_named(message)), device=message.device_name)
        oldest = list(stream.pending)[:-MOST_WAITING]
        if waiting:
            self._giveUp(stream, oldest)
        for number in oldest:
            stream.pending.pop(number, None)  # a frame without a picture, such as one for reference only

    def _withoutPicture(self, stream: _Stream, message: VideoMessage) -> Iterator[Problem]:
        """Name damaged frames that the decoder has passed over."""
        late = [number for number in stream.pending if number <= stream.newest - LATEST]
        if stream.codec not in REORDERING or stream.decoder.waiting or not late:
            return
        for number in late:
            del stream.pending[number]
            self._refuse()
        text = _("{count} of the video of {device} gave no picture: damaged, or lost before.")
        count = counted(len(late), _("1 frame"), _("{count:,} frames"))
        yield Problem("no-picture", text.format(device=_named(message), count=count), device=message.device_name)

    def _restart(self, stream: _Stream) -> None:
        stream.decoder.restart()
        self._giveUp(stream, list(stream.pending))

    def _giveUp(self, stream: _Stream, numbers: list[int]) -> None:
        """Count frames that will never be decoded."""
        for number in numbers:
            del stream.pending[number]
            self._refuse()
        stream.undecoded += len(numbers)

    # ---- lost frames

    def _gap(self, peer: str, stream: _Stream, message: VideoMessage) -> Iterator[Problem]:
        missing = self._missingBefore(peer, stream, message.message_id)
        if not missing or stream.gaps is None:
            return
        device, now = message.device_name, self._clock()
        stream.gaps.append(now)
        if len(stream.gaps) == GAPS and now - stream.gaps[0] < GAP_TIME:
            stream.gaps = None
            text = _(
                "The message numbers of {device} have gaps again and again. Missing frames are no longer recognized by "
                "them: if the images are distorted, set a shorter key frame distance at the sender."
            )
            yield Problem("irregular-numbers", text.format(device=_named(message)), device=device)
            return
        self._restart(stream)
        stream.told = True
        last = message.message_id - 1
        count = counted(missing, _("1 frame"), _("{count:,} frames"))
        text = _("{count} of the video of {device} did not arrive, before message {number}. {next}")
        if missing <= FEW and stream.step == 1:
            text = _("{count} of the video of {device} did not arrive: message {messages}. {next}")
        messages = ", ".join(str(number) for number in range(last - min(missing, FEW) + 1, last + 1))
        text = text.format(
            count=count, device=_named(message), messages=messages, number=message.message_id, next=NEXT_KEY
        )
        yield Problem("frames-lost", text, device=device)

    def _missingBefore(self, peer: str, stream: _Stream, number: int) -> int:
        """Return how many frames are missing before a message, by the message numbers.

        Senders count the frames of each device, or all messages; some count in larger steps.
        """
        ofPeer, ofStream = self._lastIDs.get(peer), stream.lastID
        if not number:  # header version 1, and PLUS, have no numbers
            return 0
        self._lastIDs[peer] = stream.lastID = number
        if ofStream is None:
            return 0
        step = (number - ofStream) % (1 << 32)
        if ofPeer is not None and number == ofPeer + 1:
            stream.step = 1
            return 0
        if not step or step > 1 << 31:
            return 0  # a repetition, or the sender counts from the beginning
        stream.step = min(stream.step or step, step)
        between = number - ofPeer - 1 if ofPeer is not None and number > ofPeer else step
        return max(0, min(math.ceil(step / stream.step) - 1, between))

    # ---- remarks

    def _remarks(self, stream: _Stream, message: VideoMessage, pixels: Pixels) -> Iterator[Problem]:
        columns, rows, slices = message.size
        found = pixels.shape[1], pixels.shape[0]
        if not _fits(found, (columns, rows * slices)) and "size-differs" not in stream.said:
            stream.said.add("size-differs")
            text = _(
                "{device} declares {declared} pixels, but its video has {found}. The images have the video's size."
            )
            text = text.format(
                device=_named(message), declared=f"{columns} x {rows} x {slices}", found=f"{found[0]} x {found[1]}"
            )
            yield Problem("size-differs", text, device=message.device_name)
        if message.ijkToRAS is None and "no-geometry" not in stream.said:
            stream.said.add("no-geometry")
            text = _("{device} sends no position and spacing with its video. Its pixels are shown 1 mm apart.")
            yield Problem("no-geometry", text.format(device=_named(message)), device=message.device_name)


def _fits(found: tuple[int, int], declared: tuple[int, int]) -> bool:
    # Most encoders need even numbers, and add a row or a column.
    return all(0 <= one - other <= other % 2 for one, other in zip(found, declared, strict=True))


def _imageOf(message: VideoMessage, pixels: Pixels, codec: str) -> Image:
    columns, rows, slices = message.size
    if _fits((pixels.shape[1], pixels.shape[0]), (columns, rows * slices)):
        pixels = pixels[: rows * slices, :columns]
        pixels = pixels.reshape(slices, rows, *pixels.shape[1:])
    else:
        pixels = pixels[None]
    matrix = message.ijkToRAS
    if matrix is None:
        matrix = pictureToRAS(pixels.shape[2], pixels.shape[1])
    attributes = {**attributesOf(message), "Device": message.device_name, "VideoCodec": codec}
    return Image(np.ascontiguousarray(pixels), matrix, deviceTimeOf(message), attributes)


def _named(message: VideoMessage) -> str:
    return message.device_name or _("a device without a name")


def _rejected(message: VideoMessage, error: Exception) -> str:
    if isinstance(error, MissingPackageError):
        return str(error)
    return _("VIDEO from {device} was rejected: {error}.").format(device=_named(message), error=str(error))
