"""From a file to its images: which reader a file needs, and which files are no images of their own."""

from __future__ import annotations

import os

from ..Errors import NotAnImageError
from .ImageFile import DEFAULT_LIMIT, ImageFile
from .NIfTI import NIfTI

__all__ = ["DEFAULT_LIMIT", "IMAGE_SUFFIXES", "ImageFile", "ignoredName", "openImageFile"]

_READERS: dict[str, type[ImageFile]] = {".nii": NIfTI, ".nii.gz": NIfTI}

IMAGE_SUFFIXES = tuple(_READERS)
"""Endings of the names that are taken for images, in lower case; DICOM files need none."""

_UNFINISHED = (".part", ".partial", ".tmp", ".temp", ".crdownload", ".download", ".filepart", ".swp", ".lock", "~")
_COMPANIONS = (
    *(".raw", ".zraw", ".img", ".bin", ".raw.gz"),  # voxels that belong to a detached header
    *(".json", ".txt", ".log", ".xml", ".csv", ".tsv", ".bval", ".bvec", ".md", ".html", ".pdf", ".ini", ".cfg"),
)
_NAMES = ("dicomdir", "thumbs.db", "desktop.ini")


def ignoredName(name: str) -> bool:
    """True for a file that is no image of its own: hidden, still under its temporary name, or a companion."""
    name = os.path.basename(name).lower()
    return name.startswith(".") or name in _NAMES or name.endswith(_UNFINISHED + _COMPANIONS)


def openImageFile(path: str, limit: int = DEFAULT_LIMIT) -> ImageFile:
    """The reader for a file, chosen by its name."""
    name = path.lower()
    for suffix, reader in _READERS.items():
        if name.endswith(suffix):
            return reader(path, limit)
    raise NotAnImageError(f"{os.path.basename(path)} has none of the endings {', '.join(IMAGE_SUFFIXES)}.")
