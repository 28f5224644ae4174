"""A message to bytes: header, extended header, content, metadata and the checksum over all but the first."""

from __future__ import annotations

from ..Errors import WireError
from .Base import Message, packContent
from .Checksum import Buffer, crc64
from .Header import EXTENDED_HEADER_SIZE, FULL_NAME, ExtendedHeader, Header, deviceOnWire, packMetadata


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
