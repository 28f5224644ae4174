"""Text on the wire: fixed fields ended by a NUL, and strings with the number of their character set.

OpenIGTLink v3, "Message Header" and "String Message"; the numbers are IANA's MIBenum.
"""

from __future__ import annotations

from ..Errors import WireError

ASCII = 3
UTF8 = 106
LONGEST_NAME = 255
"""Characters of a device's name; file systems have no room for more."""


def decodeText(raw: bytes) -> str:
    """Decode bytes as UTF-8 or, where they are not UTF-8, as Latin-1; never fails.

    The encoding that the sender announces does not count: SlicerOpenIGTLink sends UTF-8 under other numbers. NULs at
    the end, which programs in C send along, are removed.
    """
    raw = raw.rstrip(b"\0")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def encodeText(text: str) -> tuple[bytes, int]:
    """The bytes and the number of their character set: ASCII where that is enough, else UTF-8."""
    raw = encoded(text)
    return raw, ASCII if raw.isascii() else UTF8


def encoded(text: str) -> bytes:
    """UTF-8, with question marks for the halves of characters that Python's strings may hold."""
    return text.encode("utf-8", "replace")


def fixedText(raw: bytes) -> str:
    """The text of a field of fixed length: up to the first NUL, decoded as by :func:`decodeText`.

    A sender that cuts a text at the field's end may cut a character of UTF-8: the rest of that character is dropped.
    """
    text = raw.split(b"\0", 1)[0]
    if len(text) == len(raw):
        for cut in range(1, min(4, len(text))):
            if text[-cut] >= 0xC0:  # the first byte of a character
                whole = text[:-cut] + b"\0"
                if cut < _lengthOfCharacter(text[-cut]) and _isUTF8(whole):
                    return decodeText(whole)
    return decodeText(text)


def _lengthOfCharacter(first: int) -> int:
    return 4 if first >= 0xF0 else 3 if first >= 0xE0 else 2


def _isUTF8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def deviceName(text: str) -> str:
    """Clean a device's name: control characters, such as a line end, become spaces; at most LONGEST_NAME characters."""
    shown = text if text.isprintable() else "".join(sign if sign.isprintable() else " " for sign in text)
    return shown.strip()[:LONGEST_NAME]


def fixedField(text: str, size: int) -> bytes:
    """The text for a field of ``size`` bytes, cut between two characters where it is too long; not padded."""
    raw = encoded(text.split("\0", 1)[0])
    return raw if len(raw) <= size else raw[:size].decode("utf-8", "ignore").encode()


def lengthOf(raw: bytes, limit: int, what: str) -> int:
    """:raises WireError: the text is longer than its length field can say."""
    if len(raw) > limit:
        raise WireError(f"{what} has {len(raw):,} bytes; OpenIGTLink can send {limit:,} at most.")
    return len(raw)
