"""The fields of the sources, one file a source."""

from __future__ import annotations

from typing import Any

from .Camera import CameraFields
from .DICOM import DICOMFields
from .Folder import FolderFields
from .HTTP import HTTPFields
from .OpenIGTLink import OpenIGTLinkFields
from .Replay import ReplayFields
from .SourceFields import SourceFields

__all__ = ["FIELDS", "SourceFields"]

FIELDS: tuple[type[SourceFields[Any]], ...] = (
    FolderFields,
    ReplayFields,
    OpenIGTLinkFields,
    HTTPFields,
    CameraFields,
    DICOMFields,
)
"""In the order of the combo box."""
