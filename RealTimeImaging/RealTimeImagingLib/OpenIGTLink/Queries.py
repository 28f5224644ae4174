"""Queries: GET_ asks for one message, STT_ for a stream of them, STP_ ends it, RTS_ answers the last two.

OpenIGTLink v3, "Query Message"; the bodies stand with each type. COMMAND's answer and BIND's queries have classes of
their own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pyigtl.messages import message_type_to_class_constructor

from .Base import Message, WireMessage, codec, ownCodecs
from .Fields import Fields, packed
from .Text import fixedField

GET, START, STOP, REPLY = "GET_", "STT_", "STP_", "RTS_"
_PREFIXES = (GET, START, STOP, REPLY)

_NAMES = (
    "IMAGE TRANS TRANSFOR TRANSFORM POSITION QTRANS TDATA QTDATA STATUS CAPABIL CAPABILITY IMGMETA LBMETA POINT TRAJ "
    "NDARRAY SENSOR STRING POLYDATA COLORT COLORTABLE VIDEO VMETA BIND"
)
"""The data types as the specification and the C++ library write them behind the prefix, cut to 8 signs or not."""


class QueryMessage(WireMessage):
    """A query or an answer of any type.

    :param messageType: such as GET_IMAGE.
    :param body: its content as it is on the wire; most have none.
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
        """GET_, STT_, STP_ or RTS_."""
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

    :param status: 0 for success, anything else for an error; None where the answer has no body.
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

    :param resolution: milliseconds between two messages at least, 0 for as fast as possible.
    :param coordinateName: the system of coordinates asked for, at most 32 bytes; empty for the usual one.
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
        # Both are optional: the name by the specification, the number in programs that send the bare query.
        self.resolution = fields.unpack("i")[0] if content else 0
        self.coordinateName = fields.text(32) if fields.left else ""
        fields.end()


def create(messageType: str) -> Message | None:
    """An empty message to read the content of this type into, None for unknown types."""
    made = ownCodecs.get(messageType) or message_type_to_class_constructor.get(messageType)
    if made is not None:
        return made()
    return query(messageType) if messageType.startswith(_PREFIXES) else None


def query(messageType: str) -> QueryMessage:
    """A query or answer of this type, such as GET_IMAGE, with the body that it has without choosing anything."""
    made = withBody.get(messageType) or (ReplyMessage if messageType.startswith(REPLY) else QueryMessage)
    return made(messageType)


def knownTypes() -> list[str]:
    """The types that are read, queries left out; as CAPABILITY lists them."""
    return sorted({"TRANSFORM", *(name for name in ownCodecs if not name.startswith(_PREFIXES))})


withBody: dict[str, Callable[[str], QueryMessage]] = {
    "STT_TDATA": StartTrackingMessage,
    "STT_QTDATA": StartTrackingMessage,
}
"""The queries whose bodies are read; others keep theirs as bytes."""


def _register() -> None:
    for prefix in _PREFIXES:
        for name in _NAMES.split():
            messageType = prefix + name
            if len(messageType) <= 12:
                codec(messageType)(partial(query, messageType))


_register()
