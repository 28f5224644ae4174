"""Contents that are lists of records of one form: tools, trajectories, points, names of types, lists of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ..Model.Errors import WireError
from ..Model.Text import textsOf
from .Base import Array, WireMessage, fixedField, fixedText
from .Header import seconds, wireTime

_ = textsOf(__file__)

RESERVED = "reserved"
"""Name of the fields that are sent as 0 and not read."""


def recordForm(fields: str) -> np.dtype[Any]:
    """Return the type of a record: ``recordForm("name S20, type u1, reserved u1, matrix (4,3)>f4")``.

    :param fields: name and NumPy type of each field, in their order on the wire, without gaps.
    """
    return np.dtype([tuple(field.split()) for field in fields.split(", ")])


def rows(content: bytes, form: np.dtype[Any]) -> Array:
    """Return the records of a content.

    :param form: type of a record, with byte order and without gaps.
    :raises WireError: the content is not a whole number of records.
    """
    if len(content) % form.itemsize:
        raise WireError(
            _("its {count:,} bytes are not a whole number of elements of {itemsize} bytes").format(
                count=len(content), itemsize=form.itemsize
            )
        )
    return np.frombuffer(content, form)


def packRows(form: np.dtype[Any], records: Sequence[tuple[Any, ...]]) -> bytes:
    """Pack records; text is cut to its field.

    :param records: for each record, a value for each field of ``form``; text for fields of type S.
    :raises WireError: a value does not fit its field.
    """
    sizes = [form[name].itemsize if form[name].kind == "S" else 0 for name in form.names or ()]
    made = [
        tuple(fixedField(value, size) if size else value for value, size in zip(record, sizes, strict=True))
        for record in records
    ]
    try:
        with np.errstate(over="raise"):
            return np.array(made, form).tobytes()
    except (ValueError, ArithmeticError, TypeError) as error:
        raise WireError(_("a value does not fit its field")) from error


def fieldText(row: Any, name: str) -> str:
    """Return the text in a field of a record.

    NumPy drops the NULs at the end of the field. They tell a whole text from one that the field has cut.

    :param row: record of :func:`rows`.
    """
    return fixedText(bytes(row[name]).ljust(row.dtype[name].itemsize, b"\0"))


class RecordsMessage(WireMessage):
    """Base class of messages that are a list.

    A subclass names the type of a record in FORM, and in ITEM a dataclass with the same fields, except those that are
    reserved. Fields named "time" are seconds since the epoch (UTC) in the item.

    :param items: elements of the list.
    """

    FORM: ClassVar[np.dtype[Any]]
    ITEM: ClassVar[type[Any]]

    def __init__(
        self, items: Sequence[Any] = (), timestamp: float | None = None, device_name: str | None = None
    ) -> None:
        super().__init__(timestamp, device_name)
        self.items = list(items)

    def _pack_content(self) -> bytes:
        return packRows(self.FORM, [self._record(item) for item in self.items])

    def _unpack_content(self, content: bytes) -> None:
        self.items = [self._item(row) for row in rows(content, self.FORM)]

    def _record(self, item: Any) -> tuple[Any, ...]:
        return tuple(0 if name == RESERVED else _sent(name, getattr(item, name)) for name in self.FORM.names or ())

    def _item(self, row: Any) -> Any:
        return self.ITEM(**{name: _received(row, name) for name in self.FORM.names or () if name != RESERVED})


def _sent(name: str, value: Any) -> Any:
    return wireTime(value) if name == "time" else value


def _received(row: Any, name: str) -> Any:
    if row.dtype[name].kind == "S":
        return fieldText(row, name)
    plain = row[name].tolist()
    if name == "time":
        return seconds(plain)
    return tuple(plain) if isinstance(plain, list) else plain
