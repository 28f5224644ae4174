"""Header, extended header and metadata around the content of every message, and messages packed to bytes."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from ..Model.Errors import WireError
from ..Model.Text import textsOf
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

_ = textsOf(__file__)

HEADER_SIZE = 58
EXTENDED_HEADER_SIZE = 12
TYPE_SIZE = 12
DEVICE_SIZE = 20
FULL_NAME = "IGTL_DEVICE_NAME"
"""Metadata key for a device name that is too long for the header (IGTL_DEVICE_NAME_METADATA_KEY of the C++ library)."""

OTHER_PROTOCOLS = {
    **dict.fromkeys((b"GE", b"PO", b"HE", b"OP", b"PU"), _("A web browser connected; this port speaks OpenIGTLink.")),
    b"\x16\x03": _(
        "A program connected with TLS; this port speaks OpenIGTLink without encryption. Switch TLS off there."
    ),
    b"HT": _("A web server answered, not an OpenIGTLink server. Check the port."),
    b"SS": _("An SSH program connected; this port speaks OpenIGTLink. Check the port."),
    b"\x01\x00": _("A DICOM program connected; this port speaks OpenIGTLink. Check the port."),
}
"""Sentences about peers with another protocol, by their first two bytes."""

_HEADER = struct.Struct(f">H{TYPE_SIZE}s{DEVICE_SIZE}sQQQ")
_EXTENDED = struct.Struct(">HHII")
_PRINTABLE = frozenset(range(0x20, 0x7F))
_MOST_METADATA = (0xFFFF - 2) // 8


def checkVersion(raw: bytes) -> None:
    """Check the first two bytes. Version 3 passes: a future header begins like this one, so that it can be skipped.

    :raises WireError: no OpenIGTLink message begins with these bytes.
    """
    version = int.from_bytes(raw[:2], "big")
    if not 1 <= version <= 3:
        raise WireError(_("its header has the version {version}").format(version=version))


class Header(NamedTuple):
    """Header of a message: the 58 bytes before its body.

    :param version: version of the header: 1 (protocols 1 and 2) or 2 (protocol 3, with extended header and metadata).
    :param messageType: type such as IMAGE, at most 12 printable ASCII characters.
    :param device: name of the device, at most 20 bytes of UTF-8.
    :param timestamp: seconds since the epoch (UTC), 0.0 for none.
    :param bodySize: bytes of the body.
    :param checksum: CRC-64 of the body.
    """

    version: int
    messageType: str
    device: str
    timestamp: float
    bodySize: int
    checksum: int

    @classmethod
    def unpack(cls, raw: bytes) -> Header:
        """Read a header.

        :raises WireError: the 58 bytes are not a header of OpenIGTLink.
        """
        checkVersion(raw)
        version, rawType, rawDevice, stamp, bodySize, checksum = _HEADER.unpack(raw)
        return cls(version, _typeIn(rawType), _deviceIn(rawDevice), seconds(stamp), bodySize, checksum)

    def pack(self) -> bytes:
        """Pack the header.

        :raises WireError: the name of the type is too long, or OpenIGTLink cannot carry the time.
        """
        rawType = encoded(self.messageType)
        lengthOf(rawType, TYPE_SIZE, _("The message type {messageType}").format(messageType=self.messageType))
        rawDevice = fixedField(self.device, DEVICE_SIZE)
        stamp = wireTime(self.timestamp)
        return _HEADER.pack(self.version, rawType, rawDevice, stamp, self.bodySize, self.checksum)


@lru_cache(maxsize=256)
def _typeIn(raw: bytes) -> str:
    name = raw.split(b"\0", 1)[0]
    if not name.strip() or not _PRINTABLE.issuperset(name):
        raise WireError(_("its message type is {name}").format(name=repr(name.decode("latin-1"))))
    return name.decode("ascii").rstrip()


@lru_cache(maxsize=256)
def _deviceIn(raw: bytes) -> str:
    return deviceName(fixedText(raw))


def takeFullName(device: str, metadata: dict[str, str]) -> str:
    """Return the device's name: from the metadata, where it is removed, otherwise from the header.

    :param device: name in the header, at most 20 bytes.
    """
    return deviceName(metadata.pop(FULL_NAME, "")) or device


def deviceOnWire(name: str) -> str:
    """Return the name that the peer receives: at most 20 bytes of UTF-8, cut between two characters."""
    return fixedField(name, DEVICE_SIZE).decode()


def seconds(stamp: int) -> float:
    """Return seconds since the epoch of a 64-bit timestamp; its upper half is seconds (OpenIGTLink v3, "Time Stamp").

    The result is the nearest float64: exact to 0.25 us for dates of this century.
    """
    return stamp / 2**32


def wireTime(time: float) -> int:
    """Return the 64-bit timestamp; ``seconds(wireTime(time))`` is ``time`` for every time of this century.

    :raises WireError: the time is not between 1970 and 2106.
    """
    stamp = round(time * 2**32) if math.isfinite(time) else -1
    if not 0 <= stamp < 2**64:
        raise WireError(
            _("OpenIGTLink carries times from 1970 to 2106 only, not {time} seconds since 1970.").format(time=time)
        )
    return stamp


@dataclass(frozen=True)
class ExtendedHeader:
    """Extended header: the beginning of the body for version 2 of the header.

    :param size: bytes up to the content; 12, or more in future versions.
    :param metadataHeaderSize: bytes of the metadata's table, after the content.
    :param metadataSize: bytes of the metadata's texts, after the table.
    :param messageID: number from the sender, 0 for none.
    """

    size: int
    metadataHeaderSize: int
    metadataSize: int
    messageID: int

    @classmethod
    def unpack(cls, raw: bytes, header: Header) -> ExtendedHeader:
        """Read the extended header; all zeros for version 1 and for an empty body.

        :param raw: first 12 bytes of the body.
        :raises WireError: fewer bytes, or sizes that exceed the body.
        """
        if header.version < 2 or not header.bodySize:
            return NO_EXTENDED_HEADER
        if len(raw) < EXTENDED_HEADER_SIZE:
            raise WireError(
                _("its body of {bodySize} bytes has no room for the extended header of version 2").format(
                    bodySize=header.bodySize
                )
            )
        made = cls(*_EXTENDED.unpack(raw[:EXTENDED_HEADER_SIZE]))
        if made.size < EXTENDED_HEADER_SIZE:
            raise WireError(
                _("its extended header declares {size} bytes; at least 12 are required").format(size=made.size)
            )
        if made.size + made.trailer > header.bodySize:
            raise WireError(
                _("its extended header and metadata declare {size:,} bytes, its body only {bodySize:,}").format(
                    size=made.size + made.trailer, bodySize=header.bodySize
                )
            )
        return made

    @property
    def trailer(self) -> int:
        """Bytes of the metadata, after the content."""
        return self.metadataHeaderSize + self.metadataSize

    def pack(self) -> bytes:
        """Pack the 12 bytes."""
        return packed("HHII", self.size, self.metadataHeaderSize, self.metadataSize, self.messageID)

    def metadata(self, raw: bytes) -> dict[str, str]:
        """Return the texts of the metadata by key.

        :param raw: bytes after the content.
        :raises WireError: the table contradicts the sizes.
        """
        if not raw:
            return {}
        try:
            table = Fields(raw[: self.metadataHeaderSize])
            entries = [table.unpack("HHI") for _ in range(table.unpack("H")[0])]
            texts = Fields(raw[self.metadataHeaderSize :])
            return {
                decodeText(texts.take(keySize)): decodeText(texts.take(valueSize))
                for keySize, _encoding, valueSize in entries
            }
        except WireError as error:
            raise WireError(_("its metadata cannot be read: {error}").format(error=str(error))) from error


NO_EXTENDED_HEADER = ExtendedHeader(0, 0, 0, 0)


def packMetadata(metadata: Mapping[str, str]) -> tuple[bytes, bytes]:
    """Pack the table and the texts of metadata, in the mapping's order.

    :raises WireError: too many entries, or a key that is too long.
    """
    if len(metadata) > _MOST_METADATA:
        raise WireError(
            _("A message carries at most {limit:,} metadata entries, not {count:,}.").format(
                limit=_MOST_METADATA, count=len(metadata)
            )
        )
    table, texts = [packed("H", len(metadata))], []
    for key, value in metadata.items():
        rawKey, (rawValue, encoding) = encoded(key), encodeText(value)
        length = lengthOf(rawKey, 0xFFFF, _("A metadata key"))
        table.append(packed("HHI", length, encoding, len(rawValue)))
        texts += [rawKey, rawValue]
    return b"".join(table), b"".join(texts)


def packBuffers(message: Message, *, version: int | None = None) -> list[Buffer]:
    """Pack a message in pieces to be sent in order; the pixels of an image are not copied.

    :param message: message of this package or of pyigtl.
    :param version: version of the header; None: the message's own. All programs read version 1. Only version 2
        (protocol 3) carries ``metadata``, ``message_id`` and device names of more than 20 bytes.
    :raises WireError: OpenIGTLink cannot carry the message; the text says why.
    """
    version = message.header_version if version is None else version
    if version not in (1, 2):
        raise WireError(_("OpenIGTLink has header versions 1 and 2, not {version}.").format(version=version))
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
    """Pack a message in one piece."""
    return b"".join(packBuffers(message, version=version))
