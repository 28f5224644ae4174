"""Text on the wire: fixed fields ended by a NUL, and strings with the number of their character set.

OpenIGTLink v3, "Message Header" and "String Message"; the numbers are IANA's MIBenum.
"""

from __future__ import annotations

from ..Errors import WireError

ASCII = 3
UTF8 = 106


def decodeText(raw: bytes, encoding: int) -> str:
    """A string of any character set; never fails.

    :param encoding: 3 (ASCII) and 106 (UTF-8) are read as UTF-8, with replacement signs for what is none; all others
        as Latin-1. NULs at the end, which programs in C send along, are no part of the text.
    """
    text = raw.decode("utf-8", "replace") if encoding in (ASCII, UTF8) else raw.decode("latin-1")
    return text.rstrip("\0")


def encodeText(text: str) -> tuple[bytes, int]:
    """The bytes and the number of their character set: ASCII where that is enough, else UTF-8."""
    raw = encoded(text)
    return raw, ASCII if raw.isascii() else UTF8


def encoded(text: str) -> bytes:
    """UTF-8, with question marks for the halves of characters that Python's strings may hold."""
    return text.encode("utf-8", "replace")


def fixedText(raw: bytes) -> str:
    """The text of a field of fixed length: up to the first NUL, UTF-8, with replacement signs for what is none."""
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace")


def fixedField(text: str, size: int) -> bytes:
    """The text for a field of ``size`` bytes, cut between two characters where it is too long; not padded."""
    raw = encoded(text.split("\0", 1)[0])
    return raw if len(raw) <= size else raw[:size].decode("utf-8", "ignore").encode()


def lengthOf(raw: bytes, limit: int, what: str) -> int:
    """:raises WireError: the text is longer than its length field can say."""
    if len(raw) > limit:
        raise WireError(f"{what} has {len(raw):,} bytes; OpenIGTLink can send {limit:,} at most.")
    return len(raw)
