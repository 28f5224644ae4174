"""Names of files from patterns: safe on every system, different from one another, the same in every run."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..Recording.Layout import candidates, fileName
from .Tags import filled

_RESERVED = {"con", "prn", "aux", "nul", "conversion"} | {f"{port}{n}" for port in ("com", "lpt") for n in range(10)}
"""Windows takes these for devices, whatever the suffix; and the name of our own files."""


def safeName(pattern: str, values: Mapping[str, str]) -> str:
    """A name without suffix; what the pattern leaves empty is not filled, but for a name of nothing: "series"."""
    name = fileName(filled(pattern, values).strip(" _"))
    if not name.strip("_."):
        name = "series"
    return f"_{name}" if name.split(".")[0].lower() in _RESERVED else name


class Names:
    """The names in one folder.

    :param folder: what lies there and is not ours is never overwritten.
    :param ours: names that are ours, as of volumes of former conversions.
    """

    def __init__(self, folder: str, ours: set[str]) -> None:
        try:
            there = os.listdir(folder)
        except OSError:
            there = []
        # Upper and lower case are one on Windows and macOS. Names of former volumes stay theirs.
        self._taken = {name.lower() for name in (*there, *ours)}

    def take(self, base: str, suffix: str) -> str:
        """A name that nobody has: base, base_1, base_2 ... and the suffix."""
        for candidate in candidates(base):
            name = candidate + suffix
            if name.lower() not in self._taken:
                self._taken.add(name.lower())
                return name
        raise AssertionError
