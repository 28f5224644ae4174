"""Base class of the settings of sources, their checks, and paths as people type and paste them."""

from __future__ import annotations

import dataclasses
import ipaddress
import os
from dataclasses import dataclass
from typing import Any, ClassVar

from .Errors import SettingsError

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


@dataclass(frozen=True)
class SourceSettings:
    """Base of all settings. ``kind`` names the source; ``stream`` is the name of its (first) stream."""

    kind: ClassVar[str] = ""

    @property
    def packages(self) -> str:
        """Key in ``Packages.NEEDED`` of the packages that the source needs before it starts."""
        return self.kind

    def toJSON(self) -> dict[str, Any]:
        """A flat object that :func:`settingsFromJSON` takes back."""
        return {"kind": self.kind, **dataclasses.asdict(self)}

    def withoutSecrets(self) -> SourceSettings:
        """The same, less what must not be kept in a scene or in Slicer's settings."""
        return self


def checkPort(port: object, lowest: int) -> None:
    if not isinstance(port, int) or isinstance(port, bool) or not lowest <= port <= 65535:
        raise SettingsError(f"The port is a whole number from {lowest} to 65535, not {port!r}.")


def checkAllowed(allowed: tuple[str, ...]) -> None:
    for address in allowed:
        try:
            ipaddress.ip_network(address, strict=False)
        except ValueError as error:
            text = f"{address!r} is no address such as 10.0.0.7 and no network such as 10.0.0.0/24."
            raise SettingsError(text) from error


def checkVersion(version: object) -> None:
    if version not in (1, 2):
        raise SettingsError(f"The version of OpenIGTLink's header is 1 or 2, not {version!r}.")


def checkNumber(value: object, limits: tuple[float, float], what: str, unit: str) -> None:
    lowest, highest = limits
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not lowest <= value <= highest:  # type: ignore[operator]
        raise SettingsError(f"{what} is a number from {lowest:g} to {highest:,.0f} {unit}, not {value!r}.")
