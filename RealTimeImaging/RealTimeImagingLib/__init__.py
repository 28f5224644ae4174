"""RealTimeImaging's library. The path of a frame:

    device, file ──► Sources ──Image──► Worker ──Frame──► WorkerRecording ──► Ring ──line──► Session ──► LiveVolumes
                        ▲            (numbers it)              │                │  Slicer  │     (shows the newest)
                        │                                      ▼                │          └──► frame callbacks
                        │                                  Recording            │
                        └── commands: release, rescan, record, stop ◄───────────┘

    push(), arrays of callbacks ──► PushControl ──► PushSender ──its own ring──► Sources/Push (and on as above)

    Worker ──Publisher──► Sources/Processor (its results go on as above) ◄──► Processing/Runner (its own process)

    Recording (files) ──stop──► RecordingControl ──► RecordedSequences;  ExportControl ──► Export (its own process)

Formats turn a file into images and know when it is complete. Sources yield images and events. The acquisition process
runs them, records frames and passes them on through shared memory. Session gives the newest frame of each stream to
Scene, counts, and reports. Logic is the API of the panel and of Python.
Slicer and the acquisition process import this package, so nothing here needs slicer, vtk or qt.
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
    LinkError,
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
from .Sources.MRD import MRDSettings
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
    "LinkError",
    "MRDSettings",
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
