"""Bytes in, messages out, for one connection; there is no socket in it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from ..Model.Errors import WireError
from .Base import Message, limitOf, unpackContent
from .Header import (
    EXTENDED_HEADER_SIZE,
    HEADER_SIZE,
    NO_EXTENDED_HEADER,
    OTHER_PROTOCOLS,
    ExtendedHeader,
    Header,
    checkVersion,
    takeFullName,
)
from .ImageMessage import IMAGE_HEADER_SIZE, MOST_DEVICES, ImageHeader, ImageMessage, PartialImages
from .Queries import create
from .ReceiveBuffer import BUFFER_SIZE, Budgets, Lend, Memory, ReceiveBuffer, Steps
from .Report import Counts, Problem

DEFAULT_SIZE_LIMIT = 1 << 30
"""Largest message in bytes that is received."""

SKIP_LIMIT = 1 << 36
"""Largest message in bytes that is skipped: 64 GiB, a minute of the fastest network. A header that announces more is
not believed."""

_IMAGE_BEGIN = HEADER_SIZE + EXTENDED_HEADER_SIZE + IMAGE_HEADER_SIZE
"""Bytes before the pixels. After a large image the next is likely: no more than these are received before its memory is
known."""

METADATA_LIMIT = 1 << 20
"""Most bytes of a message's metadata, which become many small objects."""


class Receiver:
    """Takes the bytes of one connection and gives its messages::

        nbytes = sock.recv_into(receiver.space())
        for item in receiver.filled(nbytes): ...

    Call :meth:`finish` when the connection is closed, however it was.

    An IMAGE is received straight into lent memory, where its first pixel is the memory's first byte; big-endian pixels
    are swapped there. :meth:`giveBack` ends that for an image that comes slowly. One message at a time is in memory,
    none above ``sizeLimit``; memory that is not lent grows with the bytes that come. The checksum is taken as the bytes
    come, over extended header, content and metadata; one of 0 is compared as any other, as the C++ library does, and
    none is where the body is empty or skipped.

    What is wrong with one message is one Problem, and the next message is received: wrong checksum, content that
    contradicts itself, a size above the limit (skipped, not kept), version 3 of the header (of protocols to come), a
    type without a codec, such as VIDEO.

    An unreadable header is a fatal Problem, because nobody knows where the next message begins: version 0 or above 3,
    an empty type or one that is not printable ASCII, a body above :data:`SKIP_LIMIT`. Then, and after
    :meth:`finish`, ``space()`` still gives room, and ``filled()`` drops the bytes and gives nothing.

    An IMAGE with a part of its voxels is laid into the device's image, which is kept here, and the whole is given, a
    copy in lent memory: zeros where nothing came yet (see Parts for what a whole image before the parts does, and for
    how many bytes have to come before a large one is given).

    :param getBuffer: gives memory of exactly the bytes of an image's pixels; own memory is made where it gives None. It
        is asked for the next image after the caller was given the one before.
    :param checkCRC: False leaves the checksum out.
    :param sizeLimit: most bytes of one message (of those without arrays 16 MiB).
    :param budgets: memory that this connection shares with others; None: its own, each budget of ``sizeLimit``.
    :ivar broken: True after a fatal Problem: the connection has to be closed.
    :ivar counts: what came so far.
    """

    def __init__(
        self,
        getBuffer: Lend = lambda nbytes: None,
        *,
        checkCRC: bool = True,
        sizeLimit: int = DEFAULT_SIZE_LIMIT,
        budgets: Budgets | None = None,
    ) -> None:
        self.broken = False
        self.counts = Counts()
        self._getBuffer, self._checkCRC, self._sizeLimit = getBuffer, checkCRC, sizeLimit
        self._budgets = budgets or Budgets.of(sizeLimit)
        self._account = self._budgets.receiving.open(self._giveWay)
        self._partsAccount = self._budgets.parts.open(lambda: self._parts.clear())
        self._parts = PartialImages(self._partsAccount)
        self._toldParts: set[str] = set()
        self._intake = ReceiveBuffer()
        self._memory = Memory(self._intake, self._account)
        self._current: Header | None = None
        self._finished = False
        self._ready: deque[Message | Problem] = deque()
        self._reading = self._read()

    @property
    def pending(self) -> bool:
        """True in the middle of a message."""
        return self._current is not None or self._intake.waiting > 0

    @property
    def ready(self) -> bool:
        """True when ``filled(0)`` yields something: another connection made this one give up its message."""
        return bool(self._ready)

    @property
    def borrows(self) -> bool:
        """True while an image is received into lent memory."""
        return self._memory.borrows

    @property
    def borrowed(self) -> int:
        """How often memory was lent."""
        return self._memory.borrowed

    @property
    def received(self) -> int:
        """Bytes of the current image in lent memory."""
        return self._memory.received

    def giveBack(self) -> None:
        """Let lent memory go and receive the rest of the image into own memory."""
        try:
            self._memory.giveBack()
        except (WireError, MemoryError) as error:
            self._throw(error)

    def space(self) -> memoryview:
        """Where the next bytes go, never empty; good until :meth:`filled`.

        :raises RuntimeError: not all that the last ``filled()`` gives was taken, and so there is no room.
        """
        space = self._intake.space()
        if not space:
            raise RuntimeError("Take all that filled() gives before more bytes are received.")
        return space

    def filled(self, nbytes: int) -> Iterator[Message | Problem]:
        """Say that so many bytes of ``space()`` were filled.

        :returns: every message and problem that is complete now. Take them all before more bytes are received.
        """
        self._intake.filled(nbytes)
        self.counts.bytes += nbytes
        if self.broken or self._finished:
            self._intake.clear()
        else:
            try:
                self._memory.charge()
            except WireError as error:
                self._throw(error)
        return self._answers()

    def finish(self) -> Problem | None:
        """The connection was closed; lent memory is let go.

        :returns: what was cut off by it, None when it ended between two messages.
        """
        problem = None
        if self.pending and not self.broken:
            text, device = self._cut()
            problem = Problem("cut", text, device=device)
        self._finished = True
        self._reading.close()
        self._ready.clear()
        self._intake.clear()
        self._current = None
        self._memory.letGo()
        self._parts.clear()
        self._budgets.receiving.close(self._account)
        self._budgets.parts.close(self._partsAccount)
        return problem

    def _answers(self) -> Iterator[Message | Problem]:
        # Nothing of what is given away may stay in a variable here: it would keep the memory that was lent.
        while len(self._ready) or next(self._reading, False):
            yield self._ready.popleft()

    def _read(self) -> Steps[None]:
        while not self.broken:
            try:
                yield from self._readMessage()
            except (WireError, MemoryError) as error:
                self._tell(error)
            self._memory.letGo()
            if self.broken:
                self._intake.clear()
            elif self._intake.left:
                self._intake.summing = False
                if self._ready:
                    yield True
                yield from self._intake.skip(self._intake.left)
            self._current = None
            if self._ready:
                yield True

    def _readMessage(self) -> Steps[None]:
        header = yield from self._readHeader()
        self._current = header
        self._intake.most = BUFFER_SIZE
        self._intake.begin(header.bodySize, self._checkCRC and header.bodySize > 0)
        if header.bodySize > max(SKIP_LIMIT, self._sizeLimit):
            self.broken = True
            raise WireError(f"it announces {header.bodySize:,} bytes, more than any message has", "too-large")
        if header.version > 2:
            raise WireError(f"its header has the version {header.version}; 1 and 2 are known", "unsupported-version")
        message = create(header.messageType)
        if message is None:
            first = self.counts.countUnknown(header.messageType)
            if header.messageType == "VIDEO":
                text = "compressed video (VIDEO) cannot be shown: set the sender to IMAGE"
                raise WireError(text, "compressed-video")
            if first:
                raise WireError("its type is unknown, and all of this type are passed over", "unknown-type")
            return
        _checkSize(header.bodySize, limitOf(message, self._sizeLimit))
        if isinstance(message, ImageMessage):
            yield from self._readImage(message, header)
        else:
            body = yield from self._memory.takeAll(header.bodySize)
            self._verify(header)
            extended = ExtendedHeader.unpack(body[:EXTENDED_HEADER_SIZE], header)
            _checkMetadata(extended)
            end = header.bodySize - extended.trailer
            metadata = extended.metadata(body[end:])
            unpackContent(message, body[extended.size : end])
            self._deliver(message, header, extended, metadata)

    def _readHeader(self) -> Steps[Header]:
        try:
            while self._intake.waiting < 2:
                yield False
            if self._intake.waiting < HEADER_SIZE:
                # A peer of another kind is known by the first bytes: it may never send as many as a header has.
                checkVersion(self._intake.glimpse(2))
            header = Header.unpack((yield from self._intake.peek(HEADER_SIZE)))
        except WireError as error:
            self.broken = True
            begin = self._intake.glimpse(8)
            other = OTHER_PROTOCOLS.get(begin[:2])
            reason = f"{other}; this port speaks OpenIGTLink" if other else f"{error}. It begins with {begin!r}"
            text = f"Not an OpenIGTLink message: {reason}."
            raise WireError(text, "not-openigtlink") from error
        self._intake.drop(HEADER_SIZE)
        self.counts.begun += 1
        return header

    def _readImage(self, message: ImageMessage, header: Header) -> Steps[None]:
        extended = NO_EXTENDED_HEADER
        if header.version == 2:
            raw = yield from self._intake.take(min(EXTENDED_HEADER_SIZE, header.bodySize))
            extended = ExtendedHeader.unpack(raw, header)
            yield from self._intake.skip(extended.size - len(raw))
        contentSize = self._intake.left - extended.trailer
        if contentSize < IMAGE_HEADER_SIZE:
            unpackContent(message, bytes(contentSize))  # raises, in its words
        image = ImageHeader.unpack((yield from self._intake.take(IMAGE_HEADER_SIZE)))
        image.check(contentSize - IMAGE_HEADER_SIZE)
        _checkSize(image.nbytes, self._sizeLimit)
        _checkMetadata(extended)
        yield from self._memory.fill(image.partBytes, self._getBuffer(image.nbytes) if image.whole else None)
        # The peer may pause here, too: memory that is lent is given back until all is there.
        trailer = b""
        while len(trailer) < extended.trailer:
            trailer += yield from self._intake.take(min(extended.trailer - len(trailer), BUFFER_SIZE))
        self._verify(header)
        metadata = extended.metadata(trailer)
        device = takeFullName(header.device, dict(metadata))
        pixels = image.pixels(self._memory.taken())
        if image.whole:
            self._parts.whole(device, pixels)
        else:
            whole = self._parts.put(device, image, pixels)
            if whole is None:
                self._tellParts(device, image)
                return
            lent = self._getBuffer(image.nbytes)
            memory = np.empty(image.nbytes, np.uint8) if lent is None else lent
            pixels = memory[: image.nbytes].view(image.dtype).reshape(image.shape)
            np.copyto(pixels, whole)
        message.take(image, pixels)
        if image.partBytes > BUFFER_SIZE:
            self._intake.most = _IMAGE_BEGIN
        self._deliver(message, header, extended, metadata)

    def _giveWay(self) -> None:
        text = "its connection used most of the memory that all connections share, and another one needed memory"
        self._throw(WireError(text, "too-large"))

    def _throw(self, error: WireError | MemoryError) -> None:
        """End the current message with an error, which waits for the next ``filled()``."""
        self._reading.throw(error)

    # ---- what is given

    def _verify(self, header: Header) -> None:
        if self._intake.summing and self._intake.checksum != header.checksum:
            raise WireError("its checksum is wrong, so its bytes are not those that were sent", "wrong-crc")

    def _deliver(self, message: Message, header: Header, extended: ExtendedHeader, metadata: dict[str, str]) -> None:
        message.header_version = header.version
        message.device_name = takeFullName(header.device, metadata)
        message.timestamp, message._message_type = header.timestamp, header.messageType
        message.message_id, message.metadata = extended.messageID, metadata
        self.counts.messages += 1
        self._ready.append(message)

    def _tell(self, error: WireError | MemoryError) -> None:
        code, text = (
            (error.code, str(error)) if isinstance(error, WireError) else ("too-large", "there is no memory for it")
        )
        self.counts.countProblem(code)
        header = self._current
        if header is None:
            self._ready.append(Problem(code, text, self.broken))
        else:
            text = f"{header.messageType} from {header.device or 'a device without a name'} was left out: {text}."
            self._ready.append(Problem(code, text, self.broken, header.device))

    def _tellParts(self, device: str, image: ImageHeader) -> None:
        if device in self._toldParts or len(self._toldParts) >= MOST_DEVICES:
            return
        self._toldParts.add(device)
        name = device or "A device without a name"
        text = (
            f"{name} sends an image of {image.nbytes:,} bytes in small parts. The image is updated each time that "
            "parts with a quarter of its bytes have arrived."
        )
        self._ready.append(Problem("image-in-parts", text, device=device))

    def _cut(self) -> tuple[str, str]:
        header, waiting = self._current, self._intake.waiting
        if header is None:
            return f"The connection ended in a message's header, after {waiting} of its {HEADER_SIZE} bytes.", ""
        came = header.bodySize - self._intake.left + waiting
        name = f"{header.messageType} from {header.device or 'a device without a name'}"
        return f"The connection ended in {name}, after {came:,} of its {header.bodySize:,} bytes.", header.device


def _checkSize(nbytes: int, limit: int) -> None:
    if nbytes > limit:
        raise WireError(f"it has {nbytes:,} bytes and the limit is {limit:,}", "too-large")


def _checkMetadata(extended: ExtendedHeader) -> None:
    if extended.trailer > METADATA_LIMIT:
        raise WireError(f"its metadata has {extended.trailer:,} bytes and the limit is {METADATA_LIMIT:,}", "too-large")
