"""Every error this library raises on purpose.

    RealTimeImagingError
    ├── SettingsError            a setting that cannot work, said before anything starts
    ├── FrameError               pixels or geometry that cannot be a frame
    ├── NotAnImageError          a file or message that will never become an image
    ├── WireError                a message of OpenIGTLink that cannot be read, or cannot be sent as it is
    ├── RingError                the memory shared by the two processes cannot be had
    ├── AcquisitionError         the acquisition process cannot be started or does not answer
    ├── RecordingError           a recording that cannot be written as asked, or opened
    │   └── RecordingFolderError a folder in which nothing can be recorded; also a SettingsError
    ├── PushError                a frame made in Python that is not taken
    ├── DeviceMessageError       what a device says cannot be put into the scene
    │   └── TooManyDevicesError  more devices than the scene takes
    ├── ControlError             what is to be sent to a scanner cannot be sent
    ├── RequestError             a request over HTTP that is refused
    ├── MissingPackageError      a Python package that a source needs is not installed
    ├── ConversionError          a conversion of DICOM files that cannot be done as asked
    └── ExportError              an export that cannot be done as asked, or differs from what was to be written

The message of each is a sentence for the person at the panel: what was expected and what came.
"""

from __future__ import annotations

from collections.abc import Sequence


class RealTimeImagingError(Exception):
    """Base of all errors of this library."""


class SettingsError(RealTimeImagingError, ValueError):
    """A setting cannot work; the message names the setting and what it needs."""


class FrameError(RealTimeImagingError, ValueError):
    """Pixels, geometry or attributes cannot be a frame; the message says what was expected and what came."""


class NotAnImageError(RealTimeImagingError):
    """A file or message is damaged, of an unsupported kind or of no image format, and waiting will not help.

    ``code`` is a short reason for programs ("not-an-image", "damaged", "unsupported", "too-large", "missing-package").
    """

    def __init__(self, message: str, code: str = "not-an-image") -> None:
        super().__init__(message)
        self.code = code


class WireError(RealTimeImagingError, ValueError):
    """A message of OpenIGTLink contradicts itself or the protocol, or has something that the protocol cannot carry.

    ``code`` is a short reason for programs ("malformed", "wrong-crc", "too-large", "no-data", ...).
    """

    def __init__(self, message: str, code: str = "malformed") -> None:
        super().__init__(message)
        self.code = code


class RingError(RealTimeImagingError):
    """The memory through which frames pass cannot be reserved or opened."""


class AcquisitionError(RealTimeImagingError):
    """The acquisition process cannot be started or does not answer."""


class RecordingError(RealTimeImagingError):
    """A recording cannot be written as asked, or is damaged; the message names the file or the attribute."""


class RecordingFolderError(RecordingError, SettingsError):
    """Nothing can be recorded in a folder; the message names it and says why."""


class PushError(RealTimeImagingError):
    """A frame made in Python is not taken, as too many wait already; it is neither shown nor counted."""


class DeviceMessageError(RealTimeImagingError):
    """A message of a device contradicts itself, or there are more devices than the scene is to hold."""


class TooManyDevicesError(DeviceMessageError):
    """More devices sent something than the scene takes."""


class ControlError(RealTimeImagingError, ValueError):
    """A position or command cannot be sent to a scanner; the message says what is wrong with it.

    ``code`` is a short reason for programs ("no-peer": nobody is connected, "invalid": it is no plane or command).
    """

    def __init__(self, message: str, code: str = "invalid") -> None:
        super().__init__(message)
        self.code = code


class RequestError(RealTimeImagingError):
    """A request over HTTP is refused; the message is what its sender is told. ``status`` is the code of the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ExportError(RealTimeImagingError):
    """An export cannot be done as asked, or what was written is not what was to be; nothing is left of it."""


class ConversionError(RealTimeImagingError):
    """A conversion of DICOM files cannot be done as asked; the message says why. Volumes that are done stay."""


class MissingPackageError(RealTimeImagingError):
    """A source needs Python packages that are not installed.

    ``requirements`` are what pip is to be asked for, as ``logic.installPackages(error.requirements)`` does.
    """

    def __init__(self, message: str, requirements: Sequence[str]) -> None:
        super().__init__(message)
        self.requirements = list(requirements)
