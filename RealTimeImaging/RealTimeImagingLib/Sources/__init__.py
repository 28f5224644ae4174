"""Where frames come from, one file a source."""

from __future__ import annotations

from ..Journal import Journal
from ..Settings import FolderSettings, SourceSettings
from .Folder import FolderSource
from .Source import Arrival, Source

__all__ = ["Arrival", "Source", "openSource"]


def openSource(settings: SourceSettings, journal: Journal) -> Source:
    """The source that the settings describe; what the journal holds from an earlier process is not done again.

    :raises TypeError: settings of no known source.
    """
    if isinstance(settings, FolderSettings):
        return FolderSource(settings, journal)
    raise TypeError(f"There is no source for {type(settings).__name__}.")
