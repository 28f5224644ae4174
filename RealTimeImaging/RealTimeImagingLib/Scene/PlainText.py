"""Text that came from elsewhere, as the scene and its file can hold it."""

from __future__ import annotations

import re

_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def plain(text: object) -> str:
    """The text with a question mark for each sign that VTK refuses, or that would make a scene file unreadable."""
    return _UNFIT.sub("?", str(text))


def attributeName(name: str, reserved: str) -> str:
    """A name for a node attribute: letters, digits and ``_ . -`` only.

    :param reserved: the beginning of names that mean something else.
    """
    made = re.sub(r"[^A-Za-z0-9_.-]+", "_", name) or "_"
    return f"_{made}" if made.startswith(reserved) else made
