"""The way of a frame.

    folder ──► Sources ──Image──► Worker (numbers it) ──Frame──► Ring ──line──► Session ──► LiveVolume (the newest)
                  ▲       acquisition process (Acquisition)       │  Slicer  │
                  └──────────── commands: release, rescan, stop ◄─┘          └──► frame callbacks

Readers turn a file into images and know when it is whole; Sources give images and events; the acquisition process runs
them and passes frames through memory; Session hands the newest of each stream to Scene, counts, and reports.
This package is imported in Slicer and in the acquisition process, so nothing here needs slicer, vtk or qt.
"""

from .Errors import (
    AcquisitionError,
    FrameError,
    NotAnImageError,
    RealTimeImagingError,
    RecordingError,
    RingError,
    SettingsError,
)
from .Event import Event
from .Frame import Frame, Image
from .Settings import FolderSettings, ReplaySettings

__all__ = [
    "AcquisitionError",
    "Event",
    "FolderSettings",
    "Frame",
    "FrameError",
    "Image",
    "NotAnImageError",
    "RealTimeImagingError",
    "RecordingError",
    "ReplaySettings",
    "RingError",
    "SettingsError",
]
