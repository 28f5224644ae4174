"""The way of a frame.

    folder, file ──► Sources ──Image──► Worker ──Frame──► Store ──► Ring ──line──► Session ──► LiveVolume (the newest)
                        ▲               (numbers it)        │        │  Slicer  │
                        │                                   ▼        │          └──► frame callbacks
                        │                               Recording    │
                        └── commands: release, rescan, record, stop ◄┘

    push(), arrays of callbacks ──► Pushing ──► Feed ──a ring of its own──► Sources/Push (and on as above)

    Recording (files) ──stop──► Recordings ──► Scene/MappedSequence;  Exports ──► Export (a process of its own)

Readers turn a file into images and know when it is whole; Sources give images and events; the acquisition process runs
them, stores frames and passes them through memory; Session hands the newest of each stream to Scene, counts, and
reports. Logic is what the panel and Python talk to.
This package is imported in Slicer and in the acquisition process, so nothing here needs slicer, vtk or qt.
"""

from __future__ import annotations

from .Model.DeviceMessage import DeviceMessage
from .Model.Errors import (
    AcquisitionError,
    ControlError,
    ConversionError,
    DeviceMessageError,
    ExportError,
    FrameError,
    MissingPackageError,
    NotAnImageError,
    PushError,
    RealTimeImagingError,
    RecordingError,
    RequestError,
    RingError,
    SettingsError,
    WireError,
)
from .Model.Event import Event
from .Model.Frame import Frame, Image
from .Sources.Camera import CameraSettings
from .Sources.DICOM import DICOMSettings
from .Sources.Folder import FolderSettings
from .Sources.HTTP import HTTPSettings
from .Sources.OpenIGTLink import OpenIGTLinkSettings
from .Sources.Push import PushSettings
from .Sources.Replay import ReplaySettings

__all__ = [
    "AcquisitionError",
    "CameraSettings",
    "ControlError",
    "ConversionError",
    "DICOMSettings",
    "DeviceMessage",
    "DeviceMessageError",
    "Event",
    "ExportError",
    "FolderSettings",
    "Frame",
    "FrameError",
    "HTTPSettings",
    "Image",
    "MissingPackageError",
    "NotAnImageError",
    "OpenIGTLinkSettings",
    "PushError",
    "PushSettings",
    "RealTimeImagingError",
    "RecordingError",
    "ReplaySettings",
    "RequestError",
    "RingError",
    "SettingsError",
    "WireError",
]
