"""Errors that this library raises.

    RealTimeImagingError
    ├── SettingsError            a setting is impossible; raised before the start
    ├── FrameError               pixels or geometry cannot be a frame
    ├── NotAnImageError          a file or message will never become an image
    ├── WireError                a message of OpenIGTLink cannot be read or sent
    ├── RingError                the shared memory cannot be reserved or opened
    ├── LinkError                a line between two processes is no message
    ├── AcquisitionError         the acquisition process cannot start or does not answer
    ├── RecordingError           a recording cannot be written or opened
    │   └── RecordingFolderError a folder cannot hold recordings; also a SettingsError
    ├── PushError                a frame from Python is rejected
    ├── DeviceMessageError       a device message cannot be shown in the scene
    │   └── TooManyDevicesError  more devices than the scene shows
    ├── ControlError             a position or command cannot be sent to a scanner
    ├── RequestError             a request over HTTP is refused
    ├── MissingPackageError      a Python package of a source is not installed
    ├── ConversionError          DICOM files cannot be converted
    └── ExportError              an export fails, or its files differ from the recording

Each message is a sentence for the user: what was expected and what was found.
"""

from __future__ import annotations

from collections.abc import Sequence


class RealTimeImagingError(Exception):
    """Base class of all errors of this library."""


class SettingsError(RealTimeImagingError, ValueError):
    """A setting is impossible; the message names it and its possible values."""


class FrameError(RealTimeImagingError, ValueError):
    """Pixels, geometry or attributes cannot be a frame."""


class NotAnImageError(RealTimeImagingError):
    """A file or message is damaged, unsupported or of no image format, and waiting does not help.

    ``code`` is a short reason for programs ("not-an-image", "damaged", "unsupported", "too-large", "missing-package").
    """

    def __init__(self, message: str, code: str = "not-an-image") -> None:
        super().__init__(message)
        self.code = code


class WireError(RealTimeImagingError, ValueError):
    """A message of OpenIGTLink violates the protocol, or has a value that the protocol cannot carry.

    ``code`` is a short reason for programs ("malformed", "wrong-crc", "too-large", "no-data", ...).
    """

    def __init__(self, message: str, code: str = "malformed") -> None:
        super().__init__(message)
        self.code = code


class RingError(RealTimeImagingError):
    """The shared memory for frames cannot be reserved or opened."""


class LinkError(RealTimeImagingError, ValueError):
    """A line between two processes is no message, or a damaged one."""


class AcquisitionError(RealTimeImagingError):
    """The acquisition process cannot start or does not answer."""


class RecordingError(RealTimeImagingError):
    """A recording cannot be written, or is damaged; the message names the file or the attribute."""


class RecordingFolderError(RecordingError, SettingsError):
    """A folder cannot hold recordings; the message names it and the reason."""


class PushError(RealTimeImagingError):
    """A frame from Python is rejected because too many frames wait; it is neither shown nor counted."""


class DeviceMessageError(RealTimeImagingError):
    """A device message is inconsistent, or there are too many devices for the scene."""


class TooManyDevicesError(DeviceMessageError):
    """More devices sent messages than the scene shows."""


class ControlError(RealTimeImagingError, ValueError):
    """A position or command cannot be sent to a scanner; the message has the reason.

    ``code`` is a short reason for programs ("no-peer": no device is connected, "invalid": it is no plane or command).
    """

    def __init__(self, message: str, code: str = "invalid") -> None:
        super().__init__(message)
        self.code = code


class RequestError(RealTimeImagingError):
    """A request over HTTP is refused. ``status`` and the message are sent as the response."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ExportError(RealTimeImagingError):
    """An export fails, or its files differ from the recording; its files are removed."""


class ConversionError(RealTimeImagingError):
    """DICOM files cannot be converted; the message has the reason. Converted volumes stay."""


class MissingPackageError(RealTimeImagingError):
    """A source needs Python packages that are not installed.

    ``requirements`` are for pip; ``logic.installPackages(error.requirements)`` installs them.
    """

    def __init__(self, message: str, requirements: Sequence[str]) -> None:
        super().__init__(message)
        self.requirements = list(requirements)
