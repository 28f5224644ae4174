"""Stream names of DICOM series: unique, and the same after a restart."""

from __future__ import annotations

from ..Formats.DICOM.Header import Header
from .Checkpoint import Checkpoint

NAMES = "dicomStreams"
"""Key of the checkpoint for the names."""
_MOST = 1000
"""Series that are remembered; names of older series may be used again."""
_LONGEST = 60


class Streams:
    """Stream names by series.

    :param checkpoint: keeps the names over a restart.
    :param default: name of a series without a description.
    """

    def __init__(self, checkpoint: Checkpoint, default: str) -> None:
        self._checkpoint, self._default = checkpoint, default
        self._names: dict[str, str] = checkpoint.kept.get(NAMES, {})

    def of(self, header: Header) -> str:
        """Return the description and the number of a series, with a suffix when another series has that name."""
        name = self._names.get(header.series)
        if name is None:
            words = " ".join(header.description.split())[:_LONGEST] or self._default
            wanted = words if header.number is None else f"{words} {header.number}"
            taken, number, name = set(self._names.values()), 2, wanted
            while name in taken:
                name, number = f"{wanted} ({number})", number + 1
            if len(self._names) >= _MOST:
                del self._names[next(iter(self._names))]
            self._names[header.series] = name
            self._checkpoint.keep(**{NAMES: self._names})
        return name
