"""Pairs of files with one name: a header, and its voxels."""

from __future__ import annotations

import os

from ..Model.SharedFiles import longPath

_VOXELS = {
    ".hdr": (".img", ".img.gz"),
    ".hdr.gz": (".img.gz", ".img"),
    ".par": (".rec",),
    ".head": (".brik", ".brik.gz"),
}
"""Endings of headers, and those of their voxels, in lower case."""

PAIRED = tuple(_VOXELS)

HEADERS = {".img": ".hdr", ".rec": ".par", ".brik": ".head", ".raw": ".mhd", ".zraw": ".mhd"}
"""Endings of voxels that need a header of the same name, and that of the header."""


def voxelsOf(header: str) -> str:
    """Return the path of a header's voxels: the first existing file; with none, the most likely name."""
    suffix = next(one for one in PAIRED if header.lower().endswith(one))
    stem, own = header[: -len(suffix)], header[-len(suffix) :]
    names = []
    for ending in _VOXELS[suffix]:
        upper = ending.upper()
        packed = upper.replace(".GZ", ".gz")
        names += [upper, packed, ending] if own[1].isupper() else [ending, packed, upper]
    return next((stem + name for name in names if os.path.exists(longPath(stem + name))), stem + names[0])
