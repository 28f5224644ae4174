"""STRING, STATUS, COMMAND with its answer, and CAPABILITY.

OpenIGTLink v3, "String Message", "Status Message", "Command Message", "Capability Message".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .Base import WireMessage, codec
from .Fields import Fields, packed, packRows, rows
from .Text import decodeText, encodeText, fixedField, fixedText, lengthOf

_TYPE_NAME = np.dtype([("type", "S12")])


@codec("STRING")
class StringMessage(WireMessage):
    """A text of at most 65,535 bytes; sent as ASCII where that is enough, else as UTF-8."""

    TYPE = "STRING"

    def __init__(self, string: str = "", timestamp: float | None = None, device_name: str | None = None) -> None:
        super().__init__(timestamp, device_name)
        self.string = string

    def _pack_content(self) -> bytes:
        raw, encoding = encodeText(self.string)
        return packed("HH", encoding, lengthOf(raw, 0xFFFF, "the text")) + raw

    def _unpack_content(self, content: bytes) -> None:
        fields = Fields(content)
        _, length = fields.unpack("HH")
        # Bytes after the text are passed over, as the C++ library does: programs in C send their NULs along.
        self.string = decodeText(fields.take(length))


@codec("STATUS")
class StatusMessage(WireMessage):
    """How a device is.

    :param code: 1 is well; 2 to 19 are errors, by the specification's list.
    :param subCode: of the device's own, signed 64 bits.
    :param errorName: at most 20 bytes, such as "Error" or "OK"; for people.
    :param message: a sentence.
    """

    TYPE = "STATUS"
    OK = 1

    def __init__(
        self,
        code: int = OK,
        subCode: int = 0,
        errorName: str = "",
        message: str = "",
        timestamp: float | None = None,
        device_name: str | None = None,
    ) -> None:
        super().__init__(timestamp, device_name)
        self.code, self.subCode, self.errorName, self.message = code, subCode, errorName, message

    def _pack_content(self) -> bytes:
        name = fixedField(self.errorName, 20)
        # The C++ library leaves out a message without a NUL at its end.
        return packed("Hq20s", self.code, self.subCode, name) + encodeText(self.message)[0] + b"\0"

    def _unpack_content(self, content: bytes) -> None:
        fields = Fields(content)
        self.code, self.subCode = fields.unpack("Hq")
        self.errorName, self.message = fields.text(20), fixedText(fields.rest())


@codec("COMMAND")
class CommandMessage(WireMessage):
    """A command, whose answer is RTS_COMMAND with the same number.

    :param commandID: 32 bits, unique in the connection.
    :param commandName: at most 128 bytes.
    :param command: its text, often XML.
    """

    TYPE = "COMMAND"

    def __init__(
        self,
        commandID: int = 0,
        commandName: str = "",
        command: str = "",
        timestamp: float | None = None,
        device_name: str | None = None,
    ) -> None:
        super().__init__(timestamp, device_name)
        self.commandID, self.commandName, self.command = commandID, commandName, command

    def _pack_content(self) -> bytes:
        raw, encoding = encodeText(self.command)
        return packed("I128sHI", self.commandID, fixedField(self.commandName, 128), encoding, len(raw)) + raw

    def _unpack_content(self, content: bytes) -> None:
        fields = Fields(content)
        (self.commandID,) = fields.unpack("I")
        self.commandName = fields.text(128)
        _, length = fields.unpack("HI")
        self.command = decodeText(fields.take(length))


@codec("RTS_COMMAND")
class CommandReplyMessage(CommandMessage):
    """The answer to a COMMAND: fields as there, ``commandName`` being what went wrong where something did."""

    TYPE = "RTS_COMMAND"


@codec("CAPABILITY")
class CapabilityMessage(WireMessage):
    """The message types that a program understands, at most 12 bytes each."""

    TYPE = "CAPABILITY"

    def __init__(
        self, types: Sequence[str] = (), timestamp: float | None = None, device_name: str | None = None
    ) -> None:
        super().__init__(timestamp, device_name)
        self.types = list(types)

    def _pack_content(self) -> bytes:
        return packRows(_TYPE_NAME, [(name,) for name in self.types])

    def _unpack_content(self, content: bytes) -> None:
        self.types = [fixedText(bytes(row["type"])) for row in rows(content, _TYPE_NAME)]
