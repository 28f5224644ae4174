"""Where frames come from, one file a source."""

from __future__ import annotations

from ..Journal import Journal
from ..Readers import Lend
from ..Settings import (
    CameraSettings,
    DICOMSettings,
    FolderSettings,
    HTTPSettings,
    OpenIGTLinkSettings,
    PushSettings,
    ReplaySettings,
    SourceSettings,
)
from .Folder import FolderSource
from .Push import Inlet, PushSource
from .Replay import ReplaySource
from .Source import Arrival, Buffered, Detailed, Source

__all__ = ["Arrival", "Buffered", "Detailed", "Inlet", "Source", "openSource"]


def openSource(
    settings: SourceSettings, journal: Journal, lend: Lend = lambda nbytes: None, inlet: Inlet | None = None
) -> Source:
    """The source that the settings describe; what the journal holds from an earlier process is not done again.

    :param lend: gives memory (uint8) to decode an image into, or None when there is none to spare.
    :param inlet: the memory through which pixels come from Slicer; only frames made in Python need it.
    :raises TypeError: settings of no known source.
    """
    if isinstance(settings, FolderSettings):
        return FolderSource(settings, journal, lend=lend)
    if isinstance(settings, ReplaySettings):
        return ReplaySource(settings, journal, lend=lend)
    if isinstance(settings, PushSettings) and inlet:
        return PushSource(journal, inlet, lend)
    if isinstance(settings, HTTPSettings):
        from .HTTP import HTTPSource

        return HTTPSource(settings, journal, lend=lend)
    if isinstance(settings, OpenIGTLinkSettings):
        # What it needs comes with pyigtl, which the other sources do without.
        from .OpenIGTLink import OpenIGTLinkSource

        return OpenIGTLinkSource(settings, journal, lend=lend)
    if isinstance(settings, CameraSettings):
        from .Camera import CameraSource

        return CameraSource(settings, journal, lend=lend)
    if isinstance(settings, DICOMSettings):
        # What it needs comes with pynetdicom.
        from .DICOM import DICOMSource

        return DICOMSource(settings, journal, lend=lend)
    raise TypeError(f"There is no source for {type(settings).__name__}.")
