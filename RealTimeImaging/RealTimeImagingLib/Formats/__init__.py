"""From a file to its images: which reader a file needs, and which files are no images of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ..Model.Errors import NotAnImageError
from ..Model.Files import Stamp
from ..Model.Frame import GetBuffer, Image
from .BMP import BMP
from .DICOM.Reader import DICOM, looksLikeDICOM
from .ImageFile import DEFAULT_LIMIT, ImageFile, translateErrors
from .MetaImage import MetaImage
from .NIfTI import NIfTI, NIfTIPair, imageOfPair
from .NRRD import NRRD
from .Picture import JPEG, PNG, PNG_SIGNATURE
from .Raw import readStart
from .TIFF import TIFF, TIFF_MARKS

__all__ = [
    "DEFAULT_LIMIT",
    "IMAGE_SUFFIXES",
    "GetBuffer",
    "ImageFile",
    "companionOf",
    "ignoredName",
    "isDICOM",
    "openImageFile",
    "prepareToRead",
]

_READERS: dict[str, type[ImageFile]] = {
    **dict.fromkeys((".nii", ".nii.gz"), NIfTI),
    **dict.fromkeys((".hdr", ".hdr.gz"), NIfTIPair),
    **dict.fromkeys((".nrrd", ".nhdr"), NRRD),
    **dict.fromkeys((".mha", ".mhd"), MetaImage),
    ".png": PNG,
    **dict.fromkeys((".bmp", ".dib"), BMP),
    **dict.fromkeys((".jpg", ".jpeg", ".jpe"), JPEG),
    **dict.fromkeys((".tif", ".tiff", ".btf"), TIFF),
    **dict.fromkeys((".dcm", ".dicom"), DICOM),
}

IMAGE_SUFFIXES = tuple(_READERS)
"""Endings of the names that are taken for images, in lower case; DICOM files need none."""

_WITHOUT_PYDICOM = tuple(suffix for suffix, reader in _READERS.items() if reader is not DICOM)

_UNFINISHED = (".part", ".partial", ".tmp", ".temp", ".crdownload", ".download", ".filepart", ".swp", ".lock", "~")
_COMPANIONS = (
    *(".raw", ".zraw", ".img", ".img.gz", ".bin", ".raw.gz"),  # voxels that belong to a detached header
    *(".json", ".txt", ".log", ".xml", ".csv", ".tsv", ".bval", ".bvec", ".md", ".html", ".pdf", ".ini", ".cfg"),
)
_NAMES = ("dicomdir", "thumbs.db", "desktop.ini")


def ignoredName(name: str) -> bool:
    """True for a file that is no image of its own: hidden, still under its temporary name, or a companion."""
    name = os.path.basename(name).lower()
    return name.startswith(".") or name in _NAMES or name.endswith(_UNFINISHED + _COMPANIONS)


def companionOf(path: str) -> str | None:
    """The file whose change makes this one new: the voxels of a header that has the same name, None for other files."""
    return imageOfPair(path) if path.lower().endswith((".hdr", ".hdr.gz")) else None


_OTHERS = (
    ".gif",
    ".webp",
    ".mgz",
    ".mnc",
    ".vtk",
    ".vti",
    ".mp4",
    ".avi",
    ".zip",
    ".gz",
)
"""Endings that say that no reader here is meant, so that the content need not be asked."""

_ENOUGH = 352
_BMP_HEADERS = [size.to_bytes(4, "little") for size in (12, 16, 40, 52, 56, 64, 108, 124)]
_DICOM_MARK = 132
"""Bytes after which a file that begins as TIFF is none but DICOM, whose first 128 bytes may be those of a TIFF file."""


def openImageFile(path: str, limit: int = DEFAULT_LIMIT) -> ImageFile:
    """The reader for a file, chosen by its name, or by its content when the name says nothing (DICOM, ``.ima``).

    :param limit: most bytes one image may have.
    :raises NotAnImageError: the name or the content are surely of no format that is read here.
    :raises OSError: the file cannot be read.
    """
    name = os.path.basename(path).lower()
    for suffix, reader in _READERS.items():
        if name.endswith(suffix):
            return reader(path, limit)
    if name.endswith(_OTHERS) or ignoredName(name):
        raise _unknown(path)
    found = Unknown(path, limit)
    with translateErrors(path, found.title):
        return found.reader() or found


def _unknown(path: str) -> NotAnImageError:
    return NotAnImageError(
        f"{os.path.basename(path)} is no image that can be read: {', '.join(IMAGE_SUFFIXES)} and DICOM can."
    )


def prepareToRead(path: str) -> None:
    """Import the packages that the reader of a file may need.

    The first import takes long. A process that is killed meanwhile did not crash because of the file.
    """
    if not path.lower().endswith(_WITHOUT_PYDICOM):
        import pydicom  # noqa: F401


def isDICOM(reader: ImageFile) -> bool:
    """True for a DICOM file; valid after missing() returned None."""
    return isinstance(reader.reader() if isinstance(reader, Unknown) else reader, DICOM)


class Unknown(ImageFile):
    """A file whose name says nothing, until there is enough of it to tell what it is."""

    def __init__(self, path: str, limit: int = DEFAULT_LIMIT) -> None:
        super().__init__(path, limit)
        self._reader: ImageFile | None = None

    def reader(self) -> ImageFile | None:
        """The reader that the content asks for, None while it is too short to tell.

        :raises NotAnImageError: the content is of no known format.
        """
        if self._reader is None:
            head = readStart(self.path, _ENOUGH)
            kind = _kindOf(head)
            if kind is None and len(head) >= _ENOUGH and any(head):
                raise _unknown(self.path)
            self._reader = kind(self.path, self.limit) if kind else None
        return self._reader

    @property
    def files(self) -> tuple[str, ...]:
        return self._reader.files if self._reader else (self.path,)

    def _missing(self) -> str | None:
        reader = self.reader()
        if reader is None:
            size = len(readStart(self.path, _ENOUGH))
            return f"{size:,} bytes are there, too few or too empty to tell what the file is."
        words = reader.missing()
        self.sealed, self.count, self.times, self.notes = reader.sealed, reader.count, reader.times, reader.notes
        return words

    def _images(self, first: int) -> Iterator[Image]:
        reader = self.reader()
        if reader is None:
            raise _unknown(self.path)
        return reader.images(first)


def _kindOf(head: bytes) -> type[ImageFile] | None:
    if looksLikeDICOM(head):
        return DICOM
    if head.startswith(PNG_SIGNATURE):
        return PNG
    if head.startswith(b"\xff\xd8\xff"):
        return JPEG
    if head.startswith(TIFF_MARKS) and len(head) >= _DICOM_MARK:
        return TIFF
    if head.startswith(b"BM") and head[6:10] == bytes(4) and head[14:18] in _BMP_HEADERS:
        return BMP
    if head.startswith(b"NRRD000"):
        return NRRD
    if head.lstrip().startswith((b"ObjectType =", b"NDims =")):
        return MetaImage
    if head[344:347] == b"n+1" or head[4:7] == b"n+2":
        return NIfTI
    return None


def stampOf(path: str) -> Stamp | None:
    """Size and modification time of a file, None when it is gone. Of the header of a pair (.hdr) it is the size of both
    files and the later time: a pair is new when either is.

    Asked of the file and not of the folder's entry, which on Windows lags behind while a file grows.
    """
    try:
        status = os.stat(path)
    except OSError:
        return None
    stamp = status.st_size, status.st_mtime_ns
    companion = companionOf(path)
    other = stampOf(companion) if companion else None
    return (stamp[0] + other[0], max(stamp[1], other[1])) if other else stamp
