"""BIND: several messages in one, and the queries for it.

OpenIGTLink v3, "Bind Message"; igtlutil/igtl_bind.h and igtl_bind.c, which STT_BIND follows where the text differs.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..Errors import WireError
from .Base import Message, WireMessage, codec, packContent, unpackContent
from .Fields import Fields, packed, packNames
from .Header import TYPE_SIZE, deviceOnWire
from .Queries import QueryMessage, create, withBody
from .Text import deviceName, encoded, lengthOf

Child = tuple[str, str]
"""Type and device name of a message asked for."""


class RawMessage(WireMessage):
    """A message within a BIND that is not read: of unknown type, or a BIND itself.

    :param content: as it is on the wire.
    """

    BULK = True

    def __init__(
        self,
        messageType: str = "",
        content: bytes = b"",
        timestamp: float | None = None,
        device_name: str | None = None,
    ) -> None:
        super().__init__(timestamp, device_name)
        self._message_type = messageType
        self.content = content

    def _pack_content(self) -> bytes:
        return self.content

    def _unpack_content(self, content: bytes) -> None:
        self.content = content


@codec("BIND")
class BindMessage(WireMessage):
    """Several messages of one moment.

    :param messages: with their device names; the time is that of the whole.
    """

    TYPE = "BIND"
    BULK = True

    def __init__(
        self, messages: Sequence[Message] = (), timestamp: float | None = None, device_name: str | None = None
    ) -> None:
        super().__init__(timestamp, device_name)
        self.messages: list[Message] = list(messages)

    def _pack_content(self) -> bytes:
        contents = [b"".join(packContent(message)) for message in self.messages]
        head = [packed("H", len(contents))]
        for message, content in zip(self.messages, contents, strict=True):
            head.append(_typeField(message.message_type) + packed("Q", len(content)))
        names = packNames([deviceOnWire(message.device_name) for message in self.messages])
        lengthOf(names, 0xFFFF, "the table of its names")
        padded = [content + b"\0" * (len(content) % 2) for content in contents]
        return b"".join((*head, packed("H", len(names)), names, *padded))

    def _unpack_content(self, content: bytes) -> None:
        fields = Fields(content)
        (count,) = fields.unpack("H")
        heads = [(fields.text(TYPE_SIZE), fields.unpack("Q")[0]) for _ in range(count)]
        names = _names(fields, count)
        self.messages = []
        for (messageType, size), name in zip(heads, names, strict=True):
            raw = fields.take(size)
            fields.take(min(size % 2, fields.left))
            # A BIND within a BIND within a BIND ... would be read as deep as a peer likes.
            message = create(messageType) if messageType != self.TYPE else None
            if message is None:
                message = RawMessage(messageType)
            unpackContent(message, raw)
            message.device_name, message.timestamp = deviceName(name), 0.0
            self.messages.append(message)
        fields.end()


class BindQueryMessage(QueryMessage):
    """GET_BIND and STT_BIND.

    :param children: type and device name of what is asked for; none asks for all that there is.
    :param resolution: nanoseconds between two messages at least; STT_BIND only.
    """

    def __init__(
        self,
        messageType: str = "GET_BIND",
        children: Sequence[Child] = (),
        resolution: int = 0,
        timestamp: float | None = None,
        device_name: str | None = None,
    ) -> None:
        super().__init__(messageType, b"", timestamp, device_name)
        self.children, self.resolution = list(children), resolution

    def _pack_content(self) -> bytes:
        head = packed("Q", self.resolution) if self.action == "STT_" else b""
        if not self.children:
            return head
        names = packNames([deviceOnWire(name) for _, name in self.children])
        lengthOf(names, 0xFFFF, "the table of its names")
        types = b"".join(_typeField(messageType) for messageType, _ in self.children)
        return head + packed("H", len(self.children)) + types + packed("H", len(names)) + names

    def _unpack_content(self, content: bytes) -> None:
        fields = Fields(content)
        self.resolution = fields.unpack("Q")[0] if content and self.action == "STT_" else 0
        self.children = []
        if fields.left:
            (count,) = fields.unpack("H")
            types = [fields.text(TYPE_SIZE) for _ in range(count)]
            self.children = list(zip(types, _names(fields, count), strict=True))
        fields.end()


def _typeField(messageType: str) -> bytes:
    raw = encoded(messageType)
    lengthOf(raw, TYPE_SIZE, f"the name of the type {messageType}")
    return raw.ljust(TYPE_SIZE, b"\0")


def _names(fields: Fields, count: int) -> list[str]:
    (size,) = fields.unpack("H")
    if not size:
        return [""] * count
    table = Fields(fields.take(size))
    names = table.names(count)
    if table.left:
        raise WireError(f"the table of its names has {table.left} bytes too many")
    return names


for _type in ("GET_BIND", "STT_BIND"):
    withBody[_type] = BindQueryMessage
