"""Header, extended header and metadata around the content of every message, and messages packed to bytes."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from ..Model.Errors import WireError
from .Base import (
    Buffer,
    Fields,
    Message,
    crc64,
    decodeText,
    deviceName,
    encoded,
    encodeText,
    fixedField,
    fixedText,
    lengthOf,
    packContent,
    packed,
)

HEADER_SIZE = 58
EXTENDED_HEADER_SIZE = 12
TYPE_SIZE = 12
DEVICE_SIZE = 20
FULL_NAME = "IGTL_DEVICE_NAME"
"""Key of the metadata with a device name that is longer than the header's field (IGTL_DEVICE_NAME_METADATA_KEY of the
C++ library)."""

OTHER_PROTOCOLS = {
    **dict.fromkeys((b"GE", b"PO", b"HE", b"OP", b"PU"), "a web browser or another HTTP client connected"),
    b"\x16\x03": "an encrypted connection (TLS) was tried",
    b"HT": "a web server answered",
    b"SS": "it is an SSH connection",
}
"""The protocol that a peer speaks instead of OpenIGTLink, by its first two bytes."""

_HEADER = struct.Struct(f">H{TYPE_SIZE}s{DEVICE_SIZE}sQQQ")
_EXTENDED = struct.Struct(">HHII")
_PRINTABLE = frozenset(range(0x20, 0x7F))
_MOST_METADATA = (0xFFFF - 2) // 8


def checkVersion(raw: bytes) -> None:
    """:raises WireError: no message of OpenIGTLink begins with these two bytes. 3 is let through: headers of protocols
    to come begin as those of today, so that they can be passed over."""
    version = int.from_bytes(raw[:2], "big")
    if not 1 <= version <= 3:
        raise WireError(f"its header has the version {version}")


class Header(NamedTuple):
    """The 58 bytes before a message's body.

    :param version: of the header: 1 (protocols 1 and 2) or 2 (protocol 3, with extended header and metadata).
    :param messageType: such as IMAGE, at most 12 printable ASCII signs.
    :param device: the device's name, at most 20 bytes of UTF-8.
    :param timestamp: seconds since the epoch (UTC), 0.0 when none is given.
    :param bodySize: bytes that follow the header.
    :param checksum: CRC-64 over them.
    """

    version: int
    messageType: str
    device: str
    timestamp: float
    bodySize: int
    checksum: int

    @classmethod
    def unpack(cls, raw: bytes) -> Header:
        """:raises WireError: these 58 bytes are no header of OpenIGTLink; the message says why."""
        checkVersion(raw)
        version, rawType, rawDevice, stamp, bodySize, checksum = _HEADER.unpack(raw)
        return cls(version, _typeIn(rawType), _deviceIn(rawDevice), seconds(stamp), bodySize, checksum)

    def pack(self) -> bytes:
        """:raises WireError: the type's name is too long, or the time is none that OpenIGTLink can say."""
        rawType = encoded(self.messageType)
        lengthOf(rawType, TYPE_SIZE, f"The name of the type {self.messageType}")
        rawDevice = fixedField(self.device, DEVICE_SIZE)
        stamp = wireTime(self.timestamp)
        return _HEADER.pack(self.version, rawType, rawDevice, stamp, self.bodySize, self.checksum)


@lru_cache(maxsize=256)
def _typeIn(raw: bytes) -> str:
    name = raw.split(b"\0", 1)[0]
    if not name.strip() or not _PRINTABLE.issuperset(name):
        raise WireError(f"the name of its type is {name!r}")
    return name.decode("ascii").rstrip()


@lru_cache(maxsize=256)
def _deviceIn(raw: bytes) -> str:
    return deviceName(fixedText(raw))


def takeFullName(device: str, metadata: dict[str, str]) -> str:
    """The device's name: from the metadata, which lose it, otherwise from the header.

    :param device: the header's name, at most 20 bytes.
    """
    return deviceName(metadata.pop(FULL_NAME, "")) or device


def deviceOnWire(name: str) -> str:
    """The name as the other side will have it: at most 20 bytes of UTF-8, cut between two characters."""
    return fixedField(name, DEVICE_SIZE).decode()


def seconds(stamp: int) -> float:
    """Seconds since the epoch of a 64-bit timestamp, whose upper half are seconds (OpenIGTLink v3, "Time Stamp").

    The nearest float64: a quarter of a microsecond for dates of this century.
    """
    return stamp / 2**32


def wireTime(time: float) -> int:
    """The 64-bit timestamp; ``seconds(wireTime(time))`` is ``time`` for every time of this century.

    :raises WireError: not a time between 1970 and 2106.
    """
    stamp = round(time * 2**32) if math.isfinite(time) else -1
    if not 0 <= stamp < 2**64:
        raise WireError(f"OpenIGTLink knows times from 1970 to 2106 only, not {time} seconds since 1970.")
    return stamp


@dataclass(frozen=True)
class ExtendedHeader:
    """The beginning of the body where the header's version is 2.

    :param size: bytes up to the content; 12, or more in versions to come.
    :param metadataHeaderSize: bytes of the metadata's table, behind the content.
    :param metadataSize: bytes of the metadata's texts, behind the table.
    :param messageID: number that the sender gave the message, 0 when none.
    """

    size: int
    metadataHeaderSize: int
    metadataSize: int
    messageID: int

    @classmethod
    def unpack(cls, raw: bytes, header: Header) -> ExtendedHeader:
        """All zeros for version 1 and for an empty body, which have none.

        :param raw: the body's first 12 bytes.
        :raises WireError: they are fewer, or the sizes in them do not go into the body.
        """
        if header.version < 2 or not header.bodySize:
            return NO_EXTENDED_HEADER
        if len(raw) < EXTENDED_HEADER_SIZE:
            raise WireError(f"its body of {header.bodySize} bytes has no room for the extended header of version 2")
        made = cls(*_EXTENDED.unpack(raw[:EXTENDED_HEADER_SIZE]))
        if made.size < EXTENDED_HEADER_SIZE:
            raise WireError(f"its extended header is said to have {made.size} bytes; it has 12 or more")
        if made.size + made.trailer > header.bodySize:
            raise WireError(
                f"its extended header and metadata are said to have {made.size + made.trailer:,} bytes, "
                f"and its whole body {header.bodySize:,}"
            )
        return made

    @property
    def trailer(self) -> int:
        """Bytes of the metadata, behind the content."""
        return self.metadataHeaderSize + self.metadataSize

    def pack(self) -> bytes:
        """The 12 bytes."""
        return packed("HHII", self.size, self.metadataHeaderSize, self.metadataSize, self.messageID)

    def metadata(self, raw: bytes) -> dict[str, str]:
        """The texts of the metadata.

        :param raw: the bytes behind the content.
        :raises WireError: the table does not agree with the sizes.
        """
        if not raw:
            return {}
        try:
            table = Fields(raw[: self.metadataHeaderSize])
            entries = [table.unpack("HHI") for _ in range(table.unpack("H")[0])]
            texts = Fields(raw[self.metadataHeaderSize :])
            return {
                decodeText(texts.take(keySize)): decodeText(texts.take(valueSize)) for keySize, _, valueSize in entries
            }
        except WireError as error:
            raise WireError(f"its metadata cannot be read: {error}") from error


NO_EXTENDED_HEADER = ExtendedHeader(0, 0, 0, 0)


def packMetadata(metadata: Mapping[str, str]) -> tuple[bytes, bytes]:
    """The metadata's table and its texts, in the mapping's order.

    :raises WireError: too many entries, or a key that is too long.
    """
    if len(metadata) > _MOST_METADATA:
        raise WireError(f"A message carries {_MOST_METADATA:,} metadata at most, not {len(metadata):,}.")
    table, texts = [packed("H", len(metadata))], []
    for key, value in metadata.items():
        rawKey, (rawValue, encoding) = encoded(key), encodeText(value)
        length = lengthOf(rawKey, 0xFFFF, "A key of the metadata")
        table.append(packed("HHI", length, encoding, len(rawValue)))
        texts += [rawKey, rawValue]
    return b"".join(table), b"".join(texts)


def packBuffers(message: Message, *, version: int | None = None) -> list[Buffer]:
    """A message in pieces to be sent one after the other, the pixels of an image being those of the image itself.

    :param message: any of this package or of pyigtl.
    :param version: of the header, None for the message's own. 1 is understood by everybody; 2 (protocol 3) carries
        ``metadata``, ``message_id`` and device names of more than 20 bytes, which are left out of 1.
    :raises WireError: the message has something that OpenIGTLink cannot carry; the text says what.
    """
    version = message.header_version if version is None else version
    if version not in (1, 2):
        raise WireError(f"There is no version {version} of OpenIGTLink's header; there are 1 and 2.")
    content = packContent(message)
    before, after = b"", b""
    if version == 2:
        metadata = dict(message.metadata)
        if deviceOnWire(message.device_name) != message.device_name:
            metadata.setdefault(FULL_NAME, message.device_name)
        table, texts = packMetadata(metadata)
        before = ExtendedHeader(EXTENDED_HEADER_SIZE, len(table), len(texts), message.message_id).pack()
        after = table + texts
    bodySize, checksum = 0, 0
    for part in (before, *content, after):
        bodySize += len(part)
        checksum = crc64(part, checksum)
    header = Header(version, message.message_type, message.device_name, message.timestamp, bodySize, checksum).pack()
    first = header + before
    if len(content) > 1:
        return [first + bytes(content[0]), *content[1:], *([after] if after else [])]
    return [b"".join((first, *content, after))]


def pack(message: Message, *, version: int | None = None) -> bytes:
    """As :func:`packBuffers`, in one piece."""
    return b"".join(packBuffers(message, version=version))
