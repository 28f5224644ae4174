"""Base class of all messages: fields and text of the content, types, and checksum (CRC-64, ECMA-182)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
import numpy.typing as npt
from pyigtl.messages import MessageBase, message_type_to_class_constructor

from ..Model.Errors import WireError
from ..Model.Files import decodedText, reasonOf
from ..Model.Text import sentence, textsOf

Buffer = Any
"""Bytes, or a C-contiguous memoryview of bytes."""

_ = textsOf(__file__)

_Sum = Callable[[Buffer, int], int]


def crc64(data: Buffer, before: int = 0) -> int:
    """Return the checksum of ``data``, or of earlier bytes followed by ``data``.

    :param data: bytes, or a C-contiguous memoryview of bytes.
    :param before: checksum of the earlier bytes.
    """
    return _sum()(data, before)


def fastChecksum() -> bool:
    """Return True for a checksum of gigabytes a second (fastcrc), False for Python code of about 20 MB/s."""
    return _fast() is not None


@cache
def _sum() -> _Sum:
    return _fast() or _slow()


@cache
def _fast() -> _Sum | None:
    try:
        from fastcrc.crc64 import ecma_182

        # Old versions accept bytes only, which would copy every image.
        ecma_182(memoryview(b""), 0)
    except (ImportError, TypeError):
        return None
    return cast(_Sum, ecma_182)


def _slow() -> _Sum:
    from crcmod import mkCrcFun

    update = mkCrcFun(0x142F0E1EBA9EA3693, initCrc=0, rev=False, xorOut=0)
    # Its compiled form requires bytes; pieces of this size keep the copies small.
    piece = 1 << 20

    def checksum(data: Buffer, before: int) -> int:
        view = memoryview(data).cast("B") if len(data) else memoryview(b"")
        for start in range(0, len(view), piece):
            before = update(bytes(view[start : start + piece]), before)
        return before

    return checksum


ASCII = 3
UTF8 = 106
LONGEST_NAME = 255
"""Longest name of a device in characters: file systems have no room for more."""


def decodeText(raw: bytes) -> str:
    """Decode bytes as UTF-8 or, where they are not UTF-8, as Latin-1; never fails.

    The announced encoding is ignored: SlicerOpenIGTLink sends UTF-8 under other numbers. NULs at the end, which
    programs in C send, are removed.
    """
    return decodedText(raw.rstrip(b"\0"))


def encodeText(text: str) -> tuple[bytes, int]:
    """Return the bytes and the number of their character set: ASCII where possible, else UTF-8."""
    raw = encoded(text)
    return raw, ASCII if raw.isascii() else UTF8


def encoded(text: str) -> bytes:
    """Encode as UTF-8, with question marks for lone surrogates."""
    return text.encode("utf-8", "replace")


def fixedText(raw: bytes) -> str:
    """Return the text of a field of fixed length: up to the first NUL, decoded as by :func:`decodeText`.

    A character of UTF-8 that the end of the field cuts is dropped.
    """
    text = raw.split(b"\0", 1)[0]
    if len(text) == len(raw):
        for cut in range(1, min(4, len(text))):
            if text[-cut] >= 0xC0:  # the first byte of a character
                whole = text[:-cut] + b"\0"
                if cut < _lengthOfCharacter(text[-cut]) and _isUTF8(whole):
                    return decodeText(whole)
    return decodeText(text)


def _lengthOfCharacter(first: int) -> int:
    return 4 if first >= 0xF0 else 3 if first >= 0xE0 else 2


def _isUTF8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def deviceName(text: str) -> str:
    """Clean a device's name: control characters, such as a line end, become spaces; at most LONGEST_NAME characters."""
    shown = text if text.isprintable() else "".join(sign if sign.isprintable() else " " for sign in text)
    return shown.strip()[:LONGEST_NAME]


def fixedField(text: str, size: int) -> bytes:
    """Return the text for a field of ``size`` bytes, cut between two characters when it is too long; not padded."""
    raw = encoded(text.split("\0", 1)[0])
    return raw if len(raw) <= size else raw[:size].decode("utf-8", "ignore").encode()


def lengthOf(raw: bytes, limit: int, what: str) -> int:
    """Return the length of a text.

    :raises WireError: the text is longer than its length field can hold.
    """
    if len(raw) > limit:
        raise WireError(
            _("{what} has {size:,} bytes; OpenIGTLink can send at most {limit:,}.").format(
                what=what, size=len(raw), limit=limit
            )
        )
    return len(raw)


Array = npt.NDArray[Any]

SCALAR_TYPES: dict[int, str] = {2: "i1", 3: "u1", 4: "i2", 5: "u2", 6: "i4", 7: "u4", 10: "f4", 11: "f8"}
"""OpenIGTLink's numbers of scalar types (igtlutil/igtl_util.h) to numpy's names."""


class Fields:
    """Reader of the fields of a message's content, from the front.

    :param content: the bytes of a message's content.
    """

    def __init__(self, content: bytes) -> None:
        self._content, self._place = content, 0

    @property
    def left(self) -> int:
        """Number of bytes that are not read yet."""
        return len(self._content) - self._place

    def take(self, nbytes: int) -> bytes:
        """Return the next ``nbytes`` bytes.

        :raises WireError: the content has fewer.
        """
        if nbytes > self.left:
            raise WireError(_("it ends {missing:,} bytes too early").format(missing=nbytes - self.left))
        self._place += nbytes
        return self._content[self._place - nbytes : self._place]

    def unpack(self, form: str) -> tuple[Any, ...]:
        """Return values in a form of :mod:`struct`, big-endian.

        :raises WireError: the content has too few bytes.
        """
        return struct.unpack(">" + form, self.take(struct.calcsize(">" + form)))

    def array(self, dtype: str, count: int) -> Array:
        """Return a new array in native byte order.

        :param dtype: type on the wire, such as ">f4".
        :raises WireError: the content has too few bytes.
        """
        wire = np.dtype(dtype)
        raw = self.take(wire.itemsize * count)
        return np.frombuffer(raw, wire).astype(wire.newbyteorder("="))

    def text(self, size: int) -> str:
        """Return the text of a field of fixed length, up to its NUL.

        :raises WireError: the content has too few bytes.
        """
        return fixedText(self.take(size))

    def names(self, count: int) -> list[str]:
        """Return texts that each end with a NUL, followed by a byte when their length is odd.

        :raises WireError: the content has fewer texts.
        """
        parts = self._content[self._place :].split(b"\0", count)
        if len(parts) <= count:
            raise WireError(_("it has {found} of {count} names").format(found=len(parts) - 1, count=count))
        used = sum(map(len, parts[:count])) + count
        self.take(used + used % 2)
        return [part.decode("utf-8", "replace") for part in parts[:count]]

    def rest(self) -> bytes:
        """Return the remaining bytes."""
        return self.take(self.left)

    def end(self) -> None:
        """Check that all bytes are read.

        :raises WireError: bytes are left.
        """
        if self.left:
            raise WireError(_("{left:,} bytes are left over at its end").format(left=self.left))


def packNames(names: Sequence[str]) -> bytes:
    """Pack texts that each end with a NUL, padded to an even length; :meth:`Fields.names` reads them."""
    raw = b"".join(fixedField(name, 1 << 16) + b"\0" for name in names)
    return raw + b"\0" * (len(raw) % 2)


def packed(form: str, *values: Any) -> bytes:
    """Pack values as :func:`struct.pack` does, big-endian.

    :raises WireError: a value does not fit its field.
    """
    try:
        return struct.pack(">" + form, *values)
    except (struct.error, OverflowError, TypeError) as error:
        raise WireError(_("a value does not fit its field")) from error


Message: TypeAlias = MessageBase
"""A message: ``message_type``, ``device_name``, ``timestamp`` (seconds since the epoch, 0.0 for none),
``header_version`` (1 or 2), and, for version 2, ``message_id`` and ``metadata`` (text to text)."""

_Made = TypeVar("_Made", bound=Callable[..., Any])

# Errors that codecs of pyigtl raise for unexpected bytes or values.
_FAULTS = (
    struct.error,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    NotImplementedError,
    MemoryError,
)

ownCodecs: dict[str, Callable[[], Message]] = {}
"""Classes of this package by message type."""


SMALL_LIMIT = 1 << 24
"""Most bytes of a message whose content becomes many small objects, which take about ten times as much memory."""


class WireMessage(MessageBase):
    """Base class of messages with a codec of this package, in the style of pyigtl.

    :param timestamp: seconds since the epoch (UTC); None: now; 0.0: no time.
    :param device_name: name; only version 2 of the header carries more than 20 bytes of UTF-8.
    """

    TYPE = ""
    BULK = False
    """True for content that becomes arrays; False for content that becomes many small objects."""
    LIMIT = SMALL_LIMIT
    """Most bytes of content that becomes many small objects."""

    message_type: str
    device_name: str
    timestamp: float
    header_version: int
    message_id: int
    metadata: dict[str, str]

    def __init__(self, timestamp: float | None = None, device_name: str | None = None) -> None:
        super().__init__(timestamp=timestamp, device_name=device_name)
        self._message_type = self.TYPE
        self._valid_message = True

    def _pack_buffers(self) -> Sequence[Buffer]:
        """Return the content in pieces, so that pixels need not be copied."""
        return [self._pack_content()]

    def _pack_content(self) -> bytes:
        raise NotImplementedError

    def _unpack_content(self, content: bytes) -> None:
        raise NotImplementedError


def codec(*types: str) -> Callable[[_Made], _Made]:
    """Register a class as codec of these message types, here and in pyigtl."""

    def register(made: _Made) -> _Made:
        for name in types:
            ownCodecs[name] = made
            # pyigtl keeps its own IMAGE: it is correct, and users of its connections expect its attributes.
            if name != "IMAGE":
                message_type_to_class_constructor[name] = made
        return made

    return register


def limitOf(message: Message, limit: int) -> int:
    """Return the most bytes that are read into a message.

    :param limit: most bytes of any message.
    """
    return limit if getattr(message, "BULK", False) else min(limit, getattr(message, "LIMIT", SMALL_LIMIT))


def unpackContent(message: Message, content: bytes) -> None:
    """Read content into a message.

    :raises WireError: the content does not fit the type; the code is "no-data" for an empty content.
    """
    limit = limitOf(message, len(content))
    if len(content) > limit:
        raise WireError(
            _("it has {size:,} bytes; the limit of its type is {limit:,}").format(size=len(content), limit=limit),
            "over-limit",
        )
    try:
        message._unpack_content(content)
    except _FAULTS as error:
        if not content:
            raise WireError(_("it is empty: the device has no data"), "no-data") from error
        raise error if isinstance(error, WireError) else WireError(reasonOf(error)) from error


def packContent(message: Message) -> Sequence[Buffer]:
    """Pack a message's content in pieces.

    :raises WireError: the type cannot carry the values of the message.
    """
    try:
        if isinstance(message, WireMessage):
            return message._pack_buffers()
        return [message._pack_content()]
    except _FAULTS as error:
        text = _("{type} of {device} cannot be sent: {reason}")
        device, reason = message.device_name or _("a device without a name"), sentence(reasonOf(error))
        raise WireError(text.format(type=message.message_type, device=device, reason=reason)) from error
