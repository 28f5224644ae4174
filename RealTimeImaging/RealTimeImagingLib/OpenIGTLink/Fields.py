"""The content of one message, read field by field: nothing is sliced before it is known to be there."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..Errors import WireError
from .Text import fixedField, fixedText

Array = npt.NDArray[Any]

SCALAR_TYPES: dict[int, str] = {2: "i1", 3: "u1", 4: "i2", 5: "u2", 6: "i4", 7: "u4", 10: "f4", 11: "f8"}
"""OpenIGTLink's numbers of scalar types (igtlutil/igtl_util.h) to numpy's names of them."""


class Fields:
    """Takes one field after the other from the front.

    :param content: the bytes of a message's content.
    """

    def __init__(self, content: bytes) -> None:
        self._content, self._place = content, 0

    @property
    def left(self) -> int:
        """Bytes that were not taken yet."""
        return len(self._content) - self._place

    def take(self, nbytes: int) -> bytes:
        """:raises WireError: there are fewer."""
        if nbytes > self.left:
            raise WireError(f"it ends {nbytes - self.left:,} bytes too early")
        self._place += nbytes
        return self._content[self._place - nbytes : self._place]

    def unpack(self, form: str) -> tuple[Any, ...]:
        """Values in the form of :mod:`struct`, big-endian.

        :raises WireError: there are fewer bytes.
        """
        return struct.unpack(">" + form, self.take(struct.calcsize(">" + form)))

    def array(self, dtype: str, count: int) -> Array:
        """A new array in native byte order.

        :param dtype: as on the wire, such as ">f4".
        :raises WireError: there are fewer bytes.
        """
        wire = np.dtype(dtype)
        raw = self.take(wire.itemsize * count)
        return np.frombuffer(raw, wire).astype(wire.newbyteorder("="))

    def text(self, size: int) -> str:
        """A field of fixed length, up to its NUL.

        :raises WireError: there are fewer bytes.
        """
        return fixedText(self.take(size))

    def names(self, count: int) -> list[str]:
        """Texts that each end with a NUL, and the byte that makes their length even.

        :raises WireError: there are fewer.
        """
        parts = self._content[self._place :].split(b"\0", count)
        if len(parts) <= count:
            raise WireError(f"it has {len(parts) - 1} of {count} names")
        used = sum(map(len, parts[:count])) + count
        self.take(used + used % 2)
        return [part.decode("utf-8", "replace") for part in parts[:count]]

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(self.left)

    def end(self) -> None:
        """:raises WireError: something is left."""
        if self.left:
            raise WireError(f"{self.left:,} bytes are left over at its end")


def packNames(names: Sequence[str]) -> bytes:
    """Texts that each end with a NUL, of even length all together: what :meth:`Fields.names` reads."""
    raw = b"".join(fixedField(name, 1 << 16) + b"\0" for name in names)
    return raw + b"\0" * (len(raw) % 2)


def rows(content: bytes, dtype: np.dtype[Any]) -> Array:
    """The elements of a message that is a list of records of one form.

    :param dtype: the record, with byte order and without gaps.
    :raises WireError: the content is no whole number of records.
    """
    if len(content) % dtype.itemsize:
        raise WireError(f"its {len(content):,} bytes are no whole number of elements of {dtype.itemsize} bytes")
    return np.frombuffer(content, dtype)


def packRows(dtype: np.dtype[Any], records: Sequence[tuple[Any, ...]]) -> bytes:
    """The bytes of records; text is cut to its field.

    :param records: a value for each field of ``dtype``; text for fields of type S.
    :raises WireError: a value does not fit its field.
    """
    sizes = [dtype[name].itemsize if dtype[name].kind == "S" else 0 for name in dtype.names or ()]
    made = [
        tuple(fixedField(value, size) if size else value for value, size in zip(record, sizes, strict=True))
        for record in records
    ]
    try:
        return np.array(made, dtype).tobytes()
    except (ValueError, OverflowError, TypeError) as error:
        raise WireError(f"a value does not fit its field ({error})") from error


def packed(form: str, *values: Any) -> bytes:
    """As :func:`struct.pack`, big-endian.

    :raises WireError: a value does not fit its field.
    """
    try:
        return struct.pack(">" + form, *values)
    except (struct.error, OverflowError, TypeError) as error:
        raise WireError(f"a value does not fit its field ({error})") from error
