"""The streams of DICOM series: each has a name of its own, which it keeps."""

from __future__ import annotations

from ..Formats.DICOM.Header import Header
from .Checkpoint import Checkpoint

NAMES = "dicomStreams"
"""Under which the journal keeps them."""
_MOST = 1000
"""Series that are remembered; the name of an older one may be given again."""
_LONGEST = 60


class Streams:
    """Names of streams by series.

    :param checkpoint: keeps them over a restart.
    :param otherwise: the name of a series without a description.
    """

    def __init__(self, checkpoint: Checkpoint, otherwise: str) -> None:
        self._checkpoint, self._otherwise = checkpoint, otherwise
        self._names: dict[str, str] = checkpoint.kept.get(NAMES, {})

    def of(self, header: Header) -> str:
        """Description and number of the series; with a number behind when another series has that name."""
        name = self._names.get(header.series)
        if name is None:
            words = " ".join(header.description.split())[:_LONGEST] or self._otherwise
            wanted = words if header.number is None else f"{words} {header.number}"
            taken, number, name = set(self._names.values()), 2, wanted
            while name in taken:
                name, number = f"{wanted} ({number})", number + 1
            if len(self._names) >= _MOST:
                del self._names[next(iter(self._names))]
            self._names[header.series] = name
            self._checkpoint.keep(**{NAMES: self._names})
        return name
