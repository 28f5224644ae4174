"""STRING, STATUS, COMMAND with its answer, CAPABILITY, NDARRAY, SENSOR and COLORT: text and numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..Model.Errors import WireError
from ..Model.Text import textsOf
from .Base import (
    SCALAR_TYPES,
    Array,
    Fields,
    WireMessage,
    codec,
    decodeText,
    encodeText,
    fixedField,
    fixedText,
    lengthOf,
    packed,
)
from .Records import RecordsMessage, fieldText, recordForm

_ = textsOf(__file__)


@codec("STRING")
class StringMessage(WireMessage):
    """A text of at most 65,535 bytes; sent as ASCII where possible, else as UTF-8."""

    TYPE = "STRING"

    def __init__(self, string: str = "", timestamp: float | None = None, device_name: str | None = None) -> None:
        super().__init__(timestamp, device_name)
        self.string = string

    def _pack_content(self) -> bytes:
        raw, encoding = encodeText(self.string)
        return packed("HH", encoding, lengthOf(raw, 0xFFFF, _("The text"))) + raw

    def _unpack_content(self, content: bytes) -> None:
        fields = Fields(content)
        _, length = fields.unpack("HH")
        # Bytes after the text are skipped, as in the C++ library: programs in C send a NUL.
        self.string = decodeText(fields.take(length))


@codec("STATUS")
class StatusMessage(WireMessage):
    """Status of a device.

    :param code: 1: OK; 2 to 19: errors of the specification's list.
    :param subCode: code of the device, signed 64 bits.
    :param errorName: name such as "Error" or "OK", at most 20 bytes.
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
        # The C++ library ignores a message without a NUL at its end.
        return packed("Hq20s", self.code, self.subCode, name) + encodeText(self.message)[0] + b"\0"

    def _unpack_content(self, content: bytes) -> None:
        fields = Fields(content)
        self.code, self.subCode = fields.unpack("Hq")
        self.errorName, self.message = fields.text(20), fixedText(fields.rest())


@codec("COMMAND")
class CommandMessage(WireMessage):
    """A command; its answer is RTS_COMMAND with the same number.

    :param commandID: number of 32 bits, unique in the connection.
    :param commandName: name, at most 128 bytes.
    :param command: text, often XML.
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
        _encoding, length = fields.unpack("HI")
        self.command = decodeText(fields.take(length))


@codec("RTS_COMMAND")
class CommandReplyMessage(CommandMessage):
    """Answer to a COMMAND, with the same fields; after an error, ``commandName`` is the error."""

    TYPE = "RTS_COMMAND"


@codec("CAPABILITY")
class CapabilityMessage(RecordsMessage):
    """Message types that a program reads; ``items`` are their names, at most 12 bytes each."""

    TYPE = "CAPABILITY"
    FORM = recordForm("type S12")

    def _record(self, item: str) -> tuple[str]:
        return (item,)

    def _item(self, row: Any) -> str:
        return fieldText(row, "type")


_TYPES = {**SCALAR_TYPES, 13: "c16"}
_MAP_TYPES: dict[int, tuple[str, int]] = {3: ("u1", 1), 5: ("u2", 1), 19: ("u1", 3)}
_INDEX_SIZES = {3: 1 << 8, 5: 1 << 16}


@codec("NDARRAY")
class NDArrayMessage(WireMessage):
    """An array.

    :param array: up to 255 axes of up to 65,535; i1 u1 i2 u2 i4 u4 f4 f8 c16; native byte order after reception.
    """

    TYPE = "NDARRAY"
    BULK = True

    def __init__(
        self, array: Array | None = None, timestamp: float | None = None, device_name: str | None = None
    ) -> None:
        super().__init__(timestamp, device_name)
        self.array: Array = np.zeros(0) if array is None else np.asarray(array)

    def _pack_content(self) -> bytes:
        native = self.array.dtype.newbyteorder("=")
        number = next((number for number, name in _TYPES.items() if np.dtype(name) == native), None)
        if number is None:
            raise WireError(_("OpenIGTLink cannot carry arrays of type {type}").format(type=str(native)))
        head = packed(f"BB{self.array.ndim}H", number, self.array.ndim, *self.array.shape)
        return head + self.array.astype(native.newbyteorder(">")).tobytes()

    def _unpack_content(self, content: bytes) -> None:
        fields = Fields(content)
        number, axes = fields.unpack("BB")
        shape = fields.unpack(f"{axes}H")
        if number not in _TYPES:
            raise WireError(_("its scalar type is {number}; expected 2 to 7, 10, 11 or 13").format(number=number))
        values = fields.array(">" + _TYPES[number], math.prod(shape))
        fields.end()
        self.array = values.reshape(shape)


@codec("SENSOR")
class SensorMessage(WireMessage):
    """Values of a sensor.

    :param values: up to 255 numbers, float64.
    :param unit: 64 bits of the specification's "64-bit UNIT field"; 0 for none.
    :param status: reserved by the specification.
    """

    TYPE = "SENSOR"

    def __init__(
        self,
        values: Sequence[float] | Array = (),
        unit: int = 0,
        status: int = 0,
        timestamp: float | None = None,
        device_name: str | None = None,
    ) -> None:
        super().__init__(timestamp, device_name)
        self.values: Array = np.array(values, np.float64)
        self.unit, self.status = unit, status

    def _pack_content(self) -> bytes:
        return packed(f"BBQ{len(self.values)}d", len(self.values), self.status, self.unit, *self.values)

    def _unpack_content(self, content: bytes) -> None:
        fields = Fields(content)
        count, self.status, self.unit = fields.unpack("BBQ")
        self.values = fields.array(">f8", count)
        fields.end()


@codec("COLORT", "COLORTABLE")
class ColorTableMessage(WireMessage):
    """A colour table.

    :param table: 256 or 65,536 entries: uint8 or uint16, or uint8 (n, 3) for red, green, blue.
    """

    TYPE = "COLORT"

    def __init__(
        self, table: Array | None = None, timestamp: float | None = None, device_name: str | None = None
    ) -> None:
        super().__init__(timestamp, device_name)
        self.table: Array = np.arange(256, dtype=np.uint8) if table is None else np.asarray(table)

    def _pack_content(self) -> bytes:
        components = 1 if self.table.ndim == 1 else self.table.shape[-1]
        for index, size in _INDEX_SIZES.items():
            for kind, (name, width) in _MAP_TYPES.items():
                shape = (size,) if width == 1 else (size, width)
                if self.table.dtype == np.dtype(name) and self.table.shape == shape and components == width:
                    return packed("BB", index, kind) + self.table.astype(">" + name).tobytes()
        raise WireError(
            _("a colour table of shape {shape} and type {type}").format(
                shape=str(self.table.shape), type=str(self.table.dtype)
            )
        )

    def _unpack_content(self, content: bytes) -> None:
        fields = Fields(content)
        index, kind = fields.unpack("BB")
        if index not in _INDEX_SIZES or kind not in _MAP_TYPES:
            raise WireError(
                _("its index type is {index} and its map type {kind}; expected 3 or 5, and 3, 5 or 19").format(
                    index=index, kind=kind
                )
            )
        (name, width), size = _MAP_TYPES[kind], _INDEX_SIZES[index]
        table = fields.array(">" + name, size * width)
        fields.end()
        self.table = table if width == 1 else table.reshape(size, width)
