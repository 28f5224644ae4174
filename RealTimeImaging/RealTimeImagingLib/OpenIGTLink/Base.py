"""What all message classes have, and the table that says which class reads which type."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from pyigtl.messages import MessageBase, message_type_to_class_constructor

from ..Errors import WireError
from .Checksum import Buffer

Message: TypeAlias = MessageBase
"""Any message: ``message_type``, ``device_name``, ``timestamp`` (seconds since the epoch, 0.0 when none is given),
``header_version`` (1 or 2), and, for version 2, ``message_id`` and ``metadata`` (text to text)."""

_Made = TypeVar("_Made", bound=Callable[..., Any])

# What codecs that are not of this package raise at bytes or values that they did not expect.
_FAULTS = (
    struct.error,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    NotImplementedError,
    MemoryError,
)

ownCodecs: dict[str, Callable[[], Message]] = {}
"""The classes of this package, by message type."""


class WireMessage(MessageBase):
    """A message with a codec of this package, in pyigtl's style.

    :param timestamp: seconds since the epoch (UTC); None is now, 0.0 is none.
    :param device_name: of more than 20 bytes of UTF-8 the rest is sent with version 2 of the header only.
    """

    TYPE = ""
    BULK = False
    """Whether large contents are arrays; otherwise each few bytes become an object."""

    message_type: str
    device_name: str
    timestamp: float
    header_version: int
    message_id: int
    metadata: dict[str, str]

    def __init__(self, timestamp: float | None = None, device_name: str | None = None) -> None:
        super().__init__(timestamp=timestamp, device_name=device_name)
        self._message_type = self.TYPE
        self._valid_message = True

    def _pack_buffers(self) -> Sequence[Buffer]:
        """The content in pieces, for messages whose pixels are better not copied."""
        return [self._pack_content()]

    def _pack_content(self) -> bytes:
        raise NotImplementedError

    def _unpack_content(self, content: bytes) -> None:
        raise NotImplementedError


def codec(*types: str) -> Callable[[_Made], _Made]:
    """Makes a class read and write messages of these types, here and in pyigtl."""

    def register(made: _Made) -> _Made:
        for name in types:
            ownCodecs[name] = made
            # IMAGE stays pyigtl's there: it is right, and those who use its connections ask for its attributes.
            if name != "IMAGE":
                message_type_to_class_constructor[name] = made
        return made

    return register


SMALL_LIMIT = 1 << 24
"""Most bytes of a message whose content becomes many small objects, which take some ten times as much memory."""


def limitOf(message: Message, limit: int) -> int:
    """Most bytes that are read into this message.

    :param limit: most bytes of any message.
    """
    return limit if getattr(message, "BULK", False) else min(limit, SMALL_LIMIT)


def unpackContent(message: Message, content: bytes) -> None:
    """Read a message's content into it.

    :raises WireError: the content is none of this type; the code is "no-data" where there is none at all.
    """
    if len(content) > limitOf(message, len(content)):
        raise WireError(f"it has {len(content):,} bytes and the limit of its type is {SMALL_LIMIT:,}", "too-large")
    try:
        message._unpack_content(content)
    except _FAULTS as error:
        if not content:
            raise WireError("it is empty: the device has nothing to give", "no-data") from error
        raise error if isinstance(error, WireError) else WireError(str(error)) from error


def packContent(message: Message) -> Sequence[Buffer]:
    """A message's content in pieces.

    :raises WireError: it has something that its type cannot carry.
    """
    try:
        if isinstance(message, WireMessage):
            return message._pack_buffers()
        return [message._pack_content()]
    except _FAULTS as error:
        name = f"{message.message_type} of {message.device_name or 'no name'} cannot be sent"
        raise WireError(f"{name}: {error}") from error
