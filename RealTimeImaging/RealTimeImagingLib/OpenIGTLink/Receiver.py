"""Receiver of one connection: bytes in, messages out. No socket."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from ..Model.Errors import WireError
from ..Model.Frame import GetBuffer
from ..Model.Text import textsOf
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
from .ReceiveBuffer import BUFFER_SIZE, Budgets, Memory, ReceiveBuffer, Steps
from .Report import Counts, Problem

_ = textsOf(__file__)

DEFAULT_SIZE_LIMIT = 1 << 30
"""Largest message in bytes that is received."""

SKIP_LIMIT = 1 << 36
"""Largest message in bytes that is skipped: 64 GiB, a minute of the fastest network. A header that declares more is
invalid."""

_IMAGE_BEGIN = HEADER_SIZE + EXTENDED_HEADER_SIZE + IMAGE_HEADER_SIZE
"""Bytes before the pixels of an image. After a large image another one is likely: only these bytes are received before
its memory is known."""

METADATA_LIMIT = 1 << 20
"""Most bytes of metadata in a message: they become many small objects."""


class Receiver:
    """Receiver of the messages of one connection::

        nbytes = sock.recv_into(receiver.space())
        for item in receiver.filled(nbytes): ...

    Call :meth:`finish` when the connection is closed, for whatever reason.

    An IMAGE is received straight into lent memory, with its first pixel in the first byte; big-endian pixels are
    swapped in place. :meth:`giveBack` ends this for a slow image. One message at a time is in memory, none above
    ``sizeLimit``; own memory grows with the received bytes. The checksum covers extended header, content and metadata,
    and is computed while the bytes arrive. A checksum of 0 is verified like any other, as the C++ library does; an
    empty or skipped body has none.

    A fault of one message is one Problem, and the next message is received: wrong checksum, inconsistent content, a
    size above the limit (skipped), version 3 of the header (a future protocol), a type without a codec.

    An unreadable header is a fatal Problem, because the begin of the next message is unknown: version 0 or above 3, an
    empty type or one that is not printable ASCII, a body above :data:`SKIP_LIMIT`. After that, and after
    :meth:`finish`, ``space()`` still returns memory, and ``filled()`` drops the bytes.

    A part of an IMAGE is copied into the device's image, which is kept here. The receiver yields a copy of the whole
    image in lent memory, with zeros for missing parts (see :class:`PartialImages` for whole images before the parts,
    and for large images).

    :param getBuffer: returns memory for exactly the bytes of an image's pixels, or None for own memory. It is called
        for an image after the caller has received the one before.
    :param checkCRC: False skips the checksum.
    :param sizeLimit: most bytes of one message (16 MiB for messages without arrays, 1 MiB for TDATA and QTDATA).
    :param budgets: memory shared with other connections; None: own budgets of ``sizeLimit`` each.
    :ivar broken: True after a fatal Problem; close the connection.
    :ivar counts: counts of received messages.
    """

    def __init__(
        self,
        getBuffer: GetBuffer = lambda nbytes: None,
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
        self._buffer = ReceiveBuffer()
        self._memory = Memory(self._buffer, self._account)
        self._current: Header | None = None
        self._finished = False
        self._ready: deque[Message | Problem] = deque()
        self._reading = self._read()

    @property
    def pending(self) -> bool:
        """True while a message is incomplete."""
        return self._current is not None or self._buffer.waiting > 0

    @property
    def ready(self) -> bool:
        """True when ``filled(0)`` yields an item: another connection made this one give up its message."""
        return bool(self._ready)

    @property
    def borrows(self) -> bool:
        """True while an image is received into lent memory."""
        return self._memory.borrows

    @property
    def borrowed(self) -> int:
        """Number of times that memory was lent."""
        return self._memory.borrowed

    @property
    def received(self) -> int:
        """Bytes of the current image in lent memory."""
        return self._memory.received

    def giveBack(self) -> None:
        """Return lent memory, and receive the rest of the image into own memory."""
        try:
            self._memory.giveBack()
        except (WireError, MemoryError) as error:
            self._throw(error)

    def space(self) -> memoryview:
        """Return memory for the next bytes, never empty; valid until :meth:`filled`.

        :raises RuntimeError: the iterator of the last ``filled()`` is not exhausted.
        """
        space = self._buffer.space()
        if not space:
            raise RuntimeError("Exhaust the iterator of filled() before more bytes are received.")
        return space

    def filled(self, nbytes: int) -> Iterator[Message | Problem]:
        """Note that ``nbytes`` bytes of ``space()`` were filled.

        :returns: iterator of the messages and problems that are complete now. Exhaust it before receiving more bytes.
        """
        self._buffer.filled(nbytes)
        self.counts.bytes += nbytes
        if self.broken or self._finished:
            self._buffer.clear()
        else:
            try:
                self._memory.charge()
            except WireError as error:
                self._throw(error)
        return self._answers()

    def finish(self) -> Problem | None:
        """Note the end of the connection, and return lent memory.

        :returns: problem with the message that the end cut off; None when it ended between two messages.
        """
        problem = None
        if self.pending and not self.broken:
            text, device = self._cut()
            problem = Problem("cut", text, device=device)
        self._finished = True
        self._reading.close()
        self._ready.clear()
        self._buffer.clear()
        self._current = None
        self._memory.free()
        self._parts.clear()
        self._budgets.receiving.close(self._account)
        self._budgets.parts.close(self._partsAccount)
        return problem

    def _answers(self) -> Iterator[Message | Problem]:
        # No yielded item may stay in a variable here: it would hold lent memory.
        while len(self._ready) or next(self._reading, False):
            yield self._ready.popleft()

    def _read(self) -> Steps[None]:
        while not self.broken:
            try:
                yield from self._readMessage()
            except (WireError, MemoryError) as error:
                self._tell(error)
            self._memory.free()
            if self.broken:
                self._buffer.clear()
            elif self._buffer.left:
                self._buffer.summing = False
                if self._ready:
                    yield True
                yield from self._buffer.skip(self._buffer.left)
            self._current = None
            if self._ready:
                yield True

    def _readMessage(self) -> Steps[None]:
        header = yield from self._readHeader()
        self._current = header
        self._buffer.most = BUFFER_SIZE
        self._buffer.begin(header.bodySize, self._checkCRC and header.bodySize > 0)
        if header.bodySize > max(SKIP_LIMIT, self._sizeLimit):
            self.broken = True
            raise WireError(
                _("it declares {bodySize:,} bytes, more than any message has").format(bodySize=header.bodySize),
                "over-limit",
            )
        if header.version > 2:
            raise WireError(
                _("its header has version {version}; expected 1 or 2").format(version=header.version),
                "unsupported-version",
            )
        message = create(header.messageType)
        if message is None:
            first = self.counts.countUnknown(header.messageType)
            if first:
                raise WireError(_("its type is unknown; all messages of this type are skipped"), "unknown-type")
            return
        limit = limitOf(message, self._sizeLimit)
        _checkSize(header.bodySize, limit, "too-large" if limit == self._sizeLimit else "over-limit")
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
            while self._buffer.waiting < 2:
                yield False
            if self._buffer.waiting < HEADER_SIZE:
                # The first bytes identify another protocol; such a peer may never send a whole header.
                checkVersion(self._buffer.glimpse(2))
            header = Header.unpack((yield from self._buffer.peek(HEADER_SIZE)))
        except WireError as error:
            self.broken = True
            begin = self._buffer.glimpse(8)
            text = OTHER_PROTOCOLS.get(begin[:2]) or _(
                "Not an OpenIGTLink message: {reason}. It begins with {begin}."
            ).format(reason=str(error), begin=repr(begin.decode("latin-1")))
            raise WireError(text, "not-openigtlink") from error
        self._buffer.drop(HEADER_SIZE)
        self.counts.begun += 1
        return header

    def _readImage(self, message: ImageMessage, header: Header) -> Steps[None]:
        extended = NO_EXTENDED_HEADER
        if header.version == 2:
            raw = yield from self._buffer.take(min(EXTENDED_HEADER_SIZE, header.bodySize))
            extended = ExtendedHeader.unpack(raw, header)
            yield from self._buffer.skip(extended.size - len(raw))
        contentSize = self._buffer.left - extended.trailer
        if contentSize < IMAGE_HEADER_SIZE:
            unpackContent(message, bytes(contentSize))  # raises, in its words
        image = ImageHeader.unpack((yield from self._buffer.take(IMAGE_HEADER_SIZE)))
        image.check(contentSize - IMAGE_HEADER_SIZE)
        _checkSize(image.nbytes, self._sizeLimit)
        _checkMetadata(extended)
        yield from self._memory.fill(image.partBytes, self._getBuffer(image.nbytes) if image.whole else None)
        # The peer may pause here, too: return lent memory until all bytes are there.
        trailer = b""
        while len(trailer) < extended.trailer:
            trailer += yield from self._buffer.take(min(extended.trailer - len(trailer), BUFFER_SIZE))
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
            self._buffer.most = _IMAGE_BEGIN
        self._deliver(message, header, extended, metadata)

    def _giveWay(self) -> None:
        text = _(
            "its connection used most of the memory that all connections share, and another connection needed memory"
        )
        self._throw(WireError(text, "too-large"))

    def _throw(self, error: WireError | MemoryError) -> None:
        """End the current message with an error, which waits for the next ``filled()``."""
        self._reading.throw(error)

    # ---- results

    def _verify(self, header: Header) -> None:
        if self._buffer.summing and self._buffer.checksum != header.checksum:
            raise WireError(_("its checksum (CRC) is wrong"), "wrong-crc")

    def _deliver(self, message: Message, header: Header, extended: ExtendedHeader, metadata: dict[str, str]) -> None:
        message.header_version = header.version
        message.device_name = takeFullName(header.device, metadata)
        message.timestamp, message._message_type = header.timestamp, header.messageType
        message.message_id, message.metadata = extended.messageID, metadata
        self.counts.messages += 1
        self._ready.append(message)

    def _tell(self, error: WireError | MemoryError) -> None:
        code, text = (
            (error.code, str(error))
            if isinstance(error, WireError)
            else ("too-large", _("the computer has no memory for it"))
        )
        header = self._current
        if header is None:
            self._ready.append(Problem(code, text, self.broken))
        else:
            text = _("{messageType} from {device} was rejected: {text}.").format(
                messageType=header.messageType, device=header.device or _("a device without a name"), text=text
            )
            self._ready.append(Problem(code, text, self.broken, header.device))

    def _tellParts(self, device: str, image: ImageHeader) -> None:
        if device in self._toldParts or len(self._toldParts) >= MOST_DEVICES:
            return
        self._toldParts.add(device)
        name = device or _("A device without a name")
        text = _(
            "{name} sends an image of {nbytes:,} bytes in small parts. The image is updated whenever "
            "a quarter of its bytes has arrived."
        ).format(name=name, nbytes=image.nbytes)
        self._ready.append(Problem("image-in-parts", text, device=device))

    def _cut(self) -> tuple[str, str]:
        header, waiting = self._current, self._buffer.waiting
        if header is None:
            return _("The connection ended inside a header, after {received} of {size} bytes.").format(
                received=waiting, size=HEADER_SIZE
            ), ""
        received = header.bodySize - self._buffer.left + waiting
        name = _("{messageType} from {device}").format(
            messageType=header.messageType, device=header.device or _("a device without a name")
        )
        return _("The connection ended inside {name}, after {received:,} of {bodySize:,} bytes.").format(
            name=name, received=received, bodySize=header.bodySize
        ), header.device


def _checkSize(nbytes: int, limit: int, code: str = "too-large") -> None:
    if nbytes > limit:
        raise WireError(_("it has {size:,} bytes; the limit is {limit:,}").format(size=nbytes, limit=limit), code)


def _checkMetadata(extended: ExtendedHeader) -> None:
    if extended.trailer > METADATA_LIMIT:
        raise WireError(
            _("its metadata has {size:,} bytes; the limit is {limit:,}").format(
                size=extended.trailer, limit=METADATA_LIMIT
            ),
            "over-limit",
        )
