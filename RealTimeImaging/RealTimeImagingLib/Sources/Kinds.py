"""Registry of the kinds of sources."""

from __future__ import annotations

from ..Formats import GetBuffer
from ..Model.Settings import SourceSettings
from .Camera import CameraSettings
from .Checkpoint import Checkpoint
from .DICOM import DICOMSettings
from .Folder import FolderSettings
from .Folder.Source import FolderSource
from .HTTP import HTTPSettings
from .OpenIGTLink import OpenIGTLinkSettings
from .Push import PushSettings
from .Push.Source import PushReceiver, PushSource
from .Replay import ReplaySettings
from .Replay.Source import ReplaySource
from .Source import Arrival, Buffered, Detailed, Source

__all__ = ["Arrival", "Buffered", "Detailed", "PushReceiver", "Source", "openSource"]


def openSource(
    settings: SourceSettings,
    checkpoint: Checkpoint,
    getBuffer: GetBuffer = lambda nbytes: None,
    inlet: PushReceiver | None = None,
) -> Source:
    """The source that the settings describe; what the journal holds from an earlier process is not done again.

    :param getBuffer: gives memory (uint8) to decode an image into, or None when there is none to spare.
    :param inlet: the memory through which pixels come from Slicer; only frames made in Python need it.
    :raises TypeError: settings of no known source.
    """
    if isinstance(settings, FolderSettings):
        return FolderSource(settings, checkpoint, getBuffer=getBuffer)
    if isinstance(settings, ReplaySettings):
        return ReplaySource(settings, checkpoint, getBuffer=getBuffer)
    if isinstance(settings, PushSettings) and inlet:
        return PushSource(checkpoint, inlet, getBuffer)
    if isinstance(settings, HTTPSettings):
        from .HTTP.Source import HTTPSource

        return HTTPSource(settings, checkpoint, getBuffer=getBuffer)
    if isinstance(settings, OpenIGTLinkSettings):
        # What it needs comes with pyigtl, which the other sources do without.
        from .OpenIGTLink.Source import OpenIGTLinkSource

        return OpenIGTLinkSource(settings, checkpoint, getBuffer=getBuffer)
    if isinstance(settings, CameraSettings):
        from .Camera.Source import CameraSource

        return CameraSource(settings, checkpoint, getBuffer=getBuffer)
    if isinstance(settings, DICOMSettings):
        # What it needs comes with pynetdicom.
        from .DICOM.Source import DICOMSource

        return DICOMSource(settings, checkpoint, getBuffer=getBuffer)
    raise TypeError(f"There is no source for {type(settings).__name__}.")
