"""Paths as people type and paste them."""

from __future__ import annotations

import os

from ..Errors import SettingsError

_UNSEEN = "\ufeff\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Characters without width that are copied along, as in the properties of a file on Windows."""
_QUOTES = ('""', "''", "\u201c\u201d", "\u2018\u2019")


def typedPath(given: object) -> str:
    """Convert a typed or pasted path to an absolute path; empty when nothing is left of it.

    Blanks, characters without width and quotes (Windows: "Copy as path") around the path are removed. ``~`` is the home
    folder, and a ``file://`` address becomes a path. The file system is not accessed: a share that hangs would block
    the caller.

    :param given: text, or a path object.
    :raises SettingsError: the path contains a NUL character.
    :raises TypeError: neither text nor a path object.
    """
    path = os.fspath(given)  # type: ignore[call-overload]
    if not isinstance(path, str):
        raise TypeError(f"A path is text, not {given!r}.")
    if "\0" in path:
        raise SettingsError(f"The path {path!r} contains a NUL character, which no file name can contain.")
    before = None
    # Again until nothing changes, so that the result converts to itself.
    while path != before:
        before = path
        path = _unquoted(path)
        if path.lower().startswith("file:"):
            path = _fromAddress(path)
        path = os.path.abspath(os.path.expanduser(path)) if path else ""
    return path


def _unquoted(path: str) -> str:
    path = path.strip().strip(_UNSEEN).strip()
    while len(path) > 1 and path[0] + path[-1] in _QUOTES:
        path = path[1:-1].strip().strip(_UNSEEN).strip()
    return path


def _fromAddress(address: str) -> str:
    # RFC 8089: file:///folder, file://localhost/folder, file:/folder; another host is a share.
    from urllib.request import url2pathname  # all of http with it, which every process would wait for

    rest = address[len("file:") :]
    host = ""
    if rest.startswith("//"):
        host, slash, rest = rest[2:].partition("/")
        rest = slash + rest
    share = f"//{host}" if host and host.lower() != "localhost" else ""
    return url2pathname(share + rest)
