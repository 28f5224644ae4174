"""Queries (GET_, STT_, STP_) with their answers (RTS_), and BIND, which holds several messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from pyigtl.messages import message_type_to_class_constructor

from ..Model.Errors import WireError
from ..Model.Text import textsOf
from .Base import (
    SMALL_LIMIT,
    Fields,
    Message,
    WireMessage,
    codec,
    deviceName,
    encoded,
    fixedField,
    lengthOf,
    limitOf,
    ownCodecs,
    packContent,
    packed,
    packNames,
    unpackContent,
)
from .Header import TYPE_SIZE, deviceOnWire

_ = textsOf(__file__)

GET, START, STOP, REPLY = "GET_", "STT_", "STP_", "RTS_"
_PREFIXES = (GET, START, STOP, REPLY)

_NAMES = (
    "IMAGE TRANS TRANSFOR TRANSFORM POSITION QTRANS TDATA QTDATA STATUS CAPABIL CAPABILITY IMGMETA LBMETA POINT TRAJ "
    "NDARRAY SENSOR STRING POLYDATA COLORT COLORTABLE VIDEO VMETA BIND"
)
"""Data types as the specification and the C++ library write them after the prefix, cut to 8 characters or not."""


class QueryMessage(WireMessage):
    """A query or an answer of any type.

    :param messageType: type such as GET_IMAGE.
    :param body: content as on the wire; most queries have none.
    """

    def __init__(
        self,
        messageType: str = "GET_STATUS",
        body: bytes = b"",
        timestamp: float | None = None,
        device_name: str | None = None,
    ) -> None:
        super().__init__(timestamp, device_name)
        self._message_type = messageType
        self.body = body

    @property
    def action(self) -> str:
        """Prefix: GET_, STT_, STP_ or RTS_."""
        return str(self._message_type[:4])

    @property
    def dataType(self) -> str:
        """What is asked for, as it was written: TRANSFORM may be TRANS or TRANSFOR here."""
        return str(self._message_type[4:])

    def _pack_content(self) -> bytes:
        return self.body

    def _unpack_content(self, content: bytes) -> None:
        self.body = content


class ReplyMessage(QueryMessage):
    """RTS_: the answer to STT_ and STP_.

    :param status: 0 for success, other numbers for an error; None when the answer has no body.
    """

    def __init__(
        self,
        messageType: str = "RTS_TDATA",
        status: int | None = 0,
        timestamp: float | None = None,
        device_name: str | None = None,
    ) -> None:
        super().__init__(messageType, b"", timestamp, device_name)
        self.status = status

    def _pack_content(self) -> bytes:
        return b"" if self.status is None else packed("B", self.status)

    def _unpack_content(self, content: bytes) -> None:
        fields = Fields(content)
        self.status = fields.unpack("B")[0] if content else None
        fields.end()


class StartTrackingMessage(QueryMessage):
    """STT_TDATA and STT_QTDATA: begin to send the positions of tracked tools (igtlutil/igtl_tdata.h, igtl_stt_tdata).

    :param resolution: least milliseconds between two messages; 0: as fast as possible.
    :param coordinateName: requested coordinate system, at most 32 bytes; empty: the default.
    """

    def __init__(
        self,
        messageType: str = "STT_TDATA",
        resolution: int = 0,
        coordinateName: str = "",
        timestamp: float | None = None,
        device_name: str | None = None,
    ) -> None:
        super().__init__(messageType, b"", timestamp, device_name)
        self.resolution, self.coordinateName = resolution, coordinateName

    def _pack_content(self) -> bytes:
        return packed("i32s", self.resolution, fixedField(self.coordinateName, 32))

    def _unpack_content(self, content: bytes) -> None:
        fields = Fields(content)
        # Both are optional: the name by the specification, the number in programs that send the query only.
        self.resolution = fields.unpack("i")[0] if content else 0
        self.coordinateName = fields.text(32) if fields.left else ""
        fields.end()


def create(messageType: str) -> Message | None:
    """Return an empty message of this type to read content into; None for unknown types."""
    made = ownCodecs.get(messageType) or message_type_to_class_constructor.get(messageType)
    if made is not None:
        return made()
    return query(messageType) if messageType.startswith(_PREFIXES) else None


def query(messageType: str) -> QueryMessage:
    """Return a query or answer of this type, such as GET_IMAGE, with default values."""
    made = withBody.get(messageType) or (ReplyMessage if messageType.startswith(REPLY) else QueryMessage)
    return made(messageType)


def knownTypes() -> list[str]:
    """Return the message types that are read, without queries; CAPABILITY lists them."""
    return sorted({"TRANSFORM", *(name for name in ownCodecs if not name.startswith(_PREFIXES))})


withBody: dict[str, Callable[[str], QueryMessage]] = {
    "STT_TDATA": StartTrackingMessage,
    "STT_QTDATA": StartTrackingMessage,
}
"""Queries whose bodies are read; the bodies of others stay bytes."""


def _register() -> None:
    for prefix in _PREFIXES:
        for name in _NAMES.split():
            messageType = prefix + name
            if len(messageType) <= 12:
                codec(messageType)(partial(query, messageType))


_register()

Child = tuple[str, str]
"""Type and device name of a message asked for."""


class RawMessage(WireMessage):
    """An unread message inside a BIND: of unknown type, or itself a BIND.

    :param content: content as on the wire.
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

    :param messages: messages with their device names; the BIND has the time.
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
        lengthOf(names, 0xFFFF, _("The table of its names"))
        padded = [content + b"\0" * (len(content) % 2) for content in contents]
        return b"".join((*head, packed("H", len(names)), names, *padded))

    def _unpack_content(self, content: bytes) -> None:
        fields = Fields(content)
        (count,) = fields.unpack("H")
        heads = [(fields.text(TYPE_SIZE), fields.unpack("Q")[0]) for _ in range(count)]
        names = _names(fields, count)
        self.messages = []
        share = 0.0
        for (messageType, size), name in zip(heads, names, strict=True):
            raw = fields.take(size)
            fields.take(min(size % 2, fields.left))
            # Nested BINDs stay unread: a peer could nest them without limit.
            message = create(messageType) if messageType != self.TYPE else None
            if message is None:
                message = RawMessage(messageType)
            # All together: a message could have thousands of lists, each below its own limit.
            share += 0.0 if getattr(message, "BULK", False) else size / limitOf(message, SMALL_LIMIT)
            if share > 1:
                text = _("its lists and texts together have more bytes than one list or text may have")
                raise WireError(text, "over-limit")
            unpackContent(message, raw)
            message.device_name, message.timestamp = deviceName(name), 0.0
            self.messages.append(message)
        fields.end()


class BindQueryMessage(QueryMessage):
    """GET_BIND and STT_BIND.

    :param children: type and device name of each requested message; none requests all.
    :param resolution: least nanoseconds between two messages; STT_BIND only.
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
        lengthOf(names, 0xFFFF, _("The table of its names"))
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
    lengthOf(raw, TYPE_SIZE, _("The message type {messageType}").format(messageType=messageType))
    return raw.ljust(TYPE_SIZE, b"\0")


def _names(fields: Fields, count: int) -> list[str]:
    (size,) = fields.unpack("H")
    if not size:
        return [""] * count
    table = Fields(fields.take(size))
    names = table.names(count)
    if table.left:
        raise WireError(_("the table of its names has {count} bytes too many").format(count=table.left))
    return names


for _type in ("GET_BIND", "STT_BIND"):
    withBody[_type] = BindQueryMessage
