"""Receiver of one MRD connection: bytes in, messages out. No socket."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Generator, Iterator
from typing import TypeVar

import numpy as np

from ...Model.Frame import Pixels
from ...Model.Text import Text, textsOf
from . import Protocol
from .Protocol import (
    ACQUISITION,
    ACQUISITION_HEADER_BYTES,
    CLOSE,
    CONFIG_FILE,
    CONFIG_FILE_BYTES,
    CONFIG_TEXT,
    HEADER,
    IMAGE,
    IMAGE_HEADER_BYTES,
    NAMES,
    NDARRAY,
    NDARRAY_HEADER,
    TEXT,
    WAVEFORM,
    WAVEFORM_HEADER_BYTES,
    AcquisitionMessage,
    CloseMessage,
    ImageHeader,
    ImageMessage,
    Message,
    Problem,
    TextMessage,
    WaveformMessage,
)

_ = textsOf(__file__)

FIRST = 16 << 20
"""Most bytes of the first memory for a message. It doubles as bytes arrive: it depends on the received bytes, not on
the declared size."""
SKIPPED = 1 << 16
"""Bytes of the memory that receives what is skipped."""
SKIP_LIMIT = 1 << 36
"""Largest message in bytes that is skipped: 64 GiB. A header that declares more is invalid."""
TEXT_LIMIT = 16 << 20
"""Most bytes of a configuration, header or text."""
WAVEFORM_LIMIT = 4 << 20
"""Most bytes of a waveform: its samples become numbers of Python, which take ten times the memory."""
MOST_DIMENSIONS = 16
OTHER_PROTOCOLS = {
    b"GE": _("A web browser connected"),
    b"PO": _("A web browser connected"),
    b"\x16\x03": _("The sender uses encryption (TLS)"),
}
_PADDED_INT = _(
    "After an image of 32-bit integers the next message is not readable. The Python package ismrmrd (1.15 and earlier) "
    "sends these with 64 bits. Send floats or 16 bits."
)

Made = TypeVar("Made")
Steps = Generator[memoryview, None, Made]
"""Yields the memory to receive into; continues when it is full."""


class Receiver:
    """Receiver of the messages of one connection::

        nbytes = sock.recv_into(receiver.space())
        for message in receiver.filled(nbytes): ...

    One message at a time is in memory, none above ``sizeLimit``; larger ones are skipped. An unknown type of message,
    or of voxels, is a fatal Problem: nothing tells where the next message begins.

    :param sizeLimit: most bytes of an image with its meta attributes.
    :ivar broken: True after a fatal Problem; close the connection.
    """

    def __init__(self, sizeLimit: int) -> None:
        self._sizeLimit = sizeLimit
        self.broken = False
        self.pending = False
        """True while a message is incomplete."""
        self.kind = 0
        """Type of the message that arrives."""
        self._lastType = 0
        self._held = 0
        self._skipMemory = memoryview(bytearray(SKIPPED))
        self._ready: deque[Message] = deque()
        self._reading = self._read()
        self._target = next(self._reading)

    @property
    def held(self) -> int:
        """Bytes of memory that hold the incomplete message."""
        return self._held

    def space(self) -> memoryview:
        """Return the memory for the next bytes, at least one."""
        return self._target

    def filled(self, nbytes: int) -> Iterator[Message]:
        """Note that ``nbytes`` bytes of space() were filled, and yield the messages that are complete."""
        self.pending = True
        self._target = self._target[nbytes:]
        while not len(self._target):
            self._target = next(self._reading)
        while self._ready:
            yield self._ready.popleft()

    def finish(self) -> Problem | None:
        """Return a problem when the end of the connection cuts off a message."""
        if not self.pending or self.broken:
            return None
        name = NAMES.get(self.kind, _("a message"))
        text = _("The connection ended in the middle of {name}.").format(name=name)
        return Problem("cut", text, lost=int(self.kind == IMAGE))

    # ---- bytes

    def _take(self, nbytes: int) -> Steps[bytes]:
        memory = bytearray(nbytes)
        if nbytes:
            yield memoryview(memory)
        return bytes(memory)

    def _fill(self, nbytes: int) -> Steps[Pixels]:
        """Receive bytes into memory that grows with them."""
        memory = np.empty(min(nbytes, FIRST), np.uint8)
        done = 0
        while done < nbytes:
            self._held = memory.nbytes
            yield memory.data[done:]
            done = memory.nbytes
            if done < nbytes:
                larger = np.empty(min(nbytes, 2 * done), np.uint8)
                larger[:done] = memory
                memory = larger
        self._held = 0
        return memory

    def _skip(self, nbytes: int) -> Steps[None]:
        while nbytes:
            here = min(nbytes, SKIPPED)
            yield self._skipMemory[:here]
            nbytes -= here

    # ---- messages

    def _read(self) -> Steps[None]:
        while True:
            self.kind = 0
            raw = yield from self._take(2)
            self.kind = int.from_bytes(raw, "little")
            if self.kind in (CONFIG_TEXT, HEADER, TEXT):
                yield from self._readText()
            elif self.kind == CONFIG_FILE:
                name = yield from self._take(CONFIG_FILE_BYTES)
                self._ready.append(TextMessage(self.kind, _decoded(name)))
            elif self.kind == CLOSE:
                self._ready.append(CloseMessage())
            elif self.kind == IMAGE:
                yield from self._readImage()
            elif self.kind == WAVEFORM:
                yield from self._readWaveform()
            elif self.kind == ACQUISITION:
                head = yield from self._take(ACQUISITION_HEADER_BYTES)
                yield from self._skip(Protocol.acquisitionBytes(head))
                self._ready.append(AcquisitionMessage())
            elif self.kind == NDARRAY:
                yield from self._readArray()
            else:
                self._fail("unknown-type", self._unknown(raw))
            if self.broken:
                while True:
                    yield self._skipMemory
            self.pending = False

    def _readText(self) -> Steps[None]:
        length = int.from_bytes((yield from self._take(4)), "little")
        if length > TEXT_LIMIT:
            text = _("{name} declares {size:,} bytes of text; at most {limit:,} are read.")
            self._refuse("too-large", text.format(name=NAMES[self.kind], size=length, limit=TEXT_LIMIT))
            yield from self._skip(length)
            return
        data = yield from self._fill(length)
        self._ready.append(TextMessage(self.kind, _decoded(data.tobytes())))

    def _readImage(self) -> Steps[None]:
        fixed = yield from self._take(IMAGE_HEADER_BYTES + 8)
        head, metaBytes = fixed[:IMAGE_HEADER_BYTES], int.from_bytes(fixed[IMAGE_HEADER_BYTES:], "little")
        header = ImageHeader.unpack(head)
        dtype = header.dtype
        if dtype is None:
            text = _("An image has the data type {type}; MRD defines 1 to 8.").format(type=header.data_type)
            self._fail("unknown-data-type", text, lost=1)
            return
        channels, z, y, x = header.shape
        nbytes = channels * z * y * x * dtype.itemsize
        if metaBytes + nbytes > SKIP_LIMIT:
            text = _("An image declares {size:,} bytes, which no scanner sends: its header is damaged.")
            self._fail("damaged-header", text.format(size=metaBytes + nbytes), lost=1)
            return
        if metaBytes + nbytes > self._sizeLimit:
            text = _("An image of {size:,} bytes is larger than the limit of {limit:,} bytes.")
            self._refuse("too-large", text.format(size=metaBytes + nbytes, limit=self._sizeLimit), lost=1)
            yield from self._skip(metaBytes + nbytes)
            return
        meta = (yield from self._fill(metaBytes)).tobytes() if metaBytes else b""
        pixels = (yield from self._fill(nbytes)).view(dtype).reshape(header.shape)
        self._lastType = header.data_type
        self._ready.append(ImageMessage(head, header, meta, pixels))

    def _readWaveform(self) -> Steps[None]:
        values, channels, count = Protocol.unpackWaveformHeader((yield from self._take(WAVEFORM_HEADER_BYTES)))
        nbytes = 4 * channels * count
        limit = min(self._sizeLimit, WAVEFORM_LIMIT)
        if nbytes > limit:
            text = _("A waveform of {size:,} bytes is larger than the limit of {limit:,} bytes.")
            self._refuse("too-large", text.format(size=nbytes, limit=limit))
            yield from self._skip(nbytes)
            return
        samples = (yield from self._fill(nbytes)).view("<u4").reshape(channels, count)
        self._ready.append(WaveformMessage(samples=samples, **values))

    def _readArray(self) -> Steps[None]:
        dataType, _version, number = NDARRAY_HEADER.unpack((yield from self._take(NDARRAY_HEADER.size)))
        if number > MOST_DIMENSIONS:
            text = _("An array declares {count} dimensions; at most {limit} are possible.")
            self._fail("damaged-header", text.format(count=number, limit=MOST_DIMENSIONS))
            return
        sizes = struct.unpack(f"<{number}Q", (yield from self._take(8 * number)))
        nbytes = Protocol.ndarrayBytes(dataType, sizes)
        if nbytes is None or nbytes > SKIP_LIMIT:
            self._fail("damaged-header", _("An array has an unknown type, or an impossible size."))
            return
        yield from self._skip(nbytes)
        self._refuse("array", _("An array without a place in space arrived; it is not shown."))

    # ---- problems

    def _refuse(self, code: str, text: Text, lost: int = 0) -> None:
        self._ready.append(Problem(code, text, lost=lost))

    def _fail(self, code: str, text: Text, lost: int = 0) -> None:
        self.broken = True
        self._ready.append(Problem(code, text, fatal=True, lost=lost))

    def _unknown(self, raw: bytes) -> Text:
        if other := OTHER_PROTOCOLS.get(raw):
            return _("{other}; this port speaks MRD (ISMRMRD).").format(other=other)
        if self._lastType == 4:
            return _PADDED_INT
        text = _("A message has the type {type}, which MRD does not define or no longer uses.")
        return text.format(type=self.kind)


def _decoded(data: bytes) -> str:
    """Return text without the zero at its end, and without what follows."""
    return data.split(b"\0", 1)[0].decode("utf-8", "replace")
