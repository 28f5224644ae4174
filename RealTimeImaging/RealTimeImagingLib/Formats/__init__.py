"""Image files: the reader for a file, and the files that are no images of their own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from ..Model.Files import Stamp
from ..Model.Frame import GetBuffer, Image
from ..Model.SharedFiles import longPath
from ..Model.Text import textsOf
from .BMP import BMP
from .DICOM.Reader import DICOM, looksLikeDICOM
from .ImageFile import DEFAULT_LIMIT, ImageFile, translateErrors
from .Inflate import isPacked, unpackedStart
from .MetaImage import MetaImage
from .Nibabel import AFNI, MGH, PARREC, NibabelFile
from .NIfTI import NIfTI, NIfTIPair
from .NRRD import NRRD
from .NumPy import NUMPY_MARK, NumPy
from .Others import isOther, notSupported
from .Pairs import HEADERS, PAIRED, voxelsOf
from .Picture import JPEG, PNG, PNG_SIGNATURE
from .Raw import readStart
from .TIFF import TIFF, TIFF_MARKS

_ = textsOf(__file__)

__all__ = [
    "DEFAULT_LIMIT",
    "HEADERS",
    "IMAGE_SUFFIXES",
    "PAIRED",
    "GetBuffer",
    "ImageFile",
    "companionOf",
    "dicomOf",
    "ignoredName",
    "knownSuffix",
    "openImageFile",
    "prepareToRead",
]

_READERS: dict[str, type[ImageFile]] = {
    **dict.fromkeys((".nii", ".nii.gz"), NIfTI),
    **dict.fromkeys((".hdr", ".hdr.gz"), NIfTIPair),
    **dict.fromkeys((".nrrd", ".nhdr"), NRRD),
    **dict.fromkeys((".mha", ".mhd"), MetaImage),
    ".npy": NumPy,
    ".par": PARREC,
    ".head": AFNI,
    **dict.fromkeys((".mgz", ".mgh", ".mgh.gz"), MGH),
    ".png": PNG,
    **dict.fromkeys((".bmp", ".dib"), BMP),
    **dict.fromkeys((".jpg", ".jpeg", ".jpe"), JPEG),
    **dict.fromkeys((".tif", ".tiff", ".btf"), TIFF),
    **dict.fromkeys((".dcm", ".dicom", ".dcm.gz", ".dicom.gz"), DICOM),
}

IMAGE_SUFFIXES = tuple(_READERS)
"""Endings of the names of image files, in lower case. DICOM files need none."""

_WITH_NIBABEL = tuple(suffix for suffix, reader in _READERS.items() if issubclass(reader, NibabelFile))
_WITHOUT_PYDICOM = tuple(suffix for suffix, reader in _READERS.items() if reader is not DICOM)

_UNFINISHED = (".part", ".partial", ".tmp", ".temp", ".crdownload", ".download", ".filepart", ".swp", ".lock", "~")
_COMPANIONS = (
    *(".raw", ".zraw", ".img", ".img.gz", ".bin", ".raw.gz"),  # voxels that belong to a detached header
    *(".rec", ".brik", ".brik.gz"),
    *(".json", ".txt", ".log", ".xml", ".csv", ".tsv", ".bval", ".bvec", ".md", ".html", ".pdf", ".ini", ".cfg"),
)
_NAMES = ("dicomdir", "thumbs.db", "desktop.ini")


def ignoredName(name: str) -> bool:
    """Return True for a file that is no image of its own: hidden, under a temporary name, or a companion of another."""
    name = os.path.basename(name).lower()
    return name.startswith(".") or name in _NAMES or name.endswith(_UNFINISHED + _COMPANIONS)


def companionOf(path: str) -> str | None:
    """Return the voxel file of a header of the same name, whose change makes the header new; else None."""
    return voxelsOf(path) if path.lower().endswith(PAIRED) else None


_ENOUGH = 352
"""Bytes from which the format is known."""
_BMP_HEADERS = [size.to_bytes(4, "little") for size in (12, 16, 40, 52, 56, 64, 108, 124)]
_DICOM_MARK = 132
"""Bytes that tell DICOM from TIFF: the first 128 bytes of a DICOM file may be those of a TIFF file."""


def openImageFile(path: str, limit: int = DEFAULT_LIMIT) -> ImageFile:
    """Return the reader for a file, by its name, or by its content where the name is not enough (DICOM, ``.ima``).

    :param limit: most bytes of one image.
    :raises NotAnImageError: name or content belong to no supported format.
    :raises OSError: the file cannot be read.
    """
    name = os.path.basename(path).lower()
    for suffix, reader in _READERS.items():
        if name.endswith(suffix):
            return reader(path, limit)
    if isOther(name) or ignoredName(name):
        raise notSupported(path)
    found = Unknown(path, limit)
    with translateErrors(path, found.title):
        return found.reader() or found


def knownSuffix(name: str) -> str:
    """Return the ending of a file's name in lower case, such as ".nii.gz"; empty when no format has it."""
    lower = name.lower()
    return max((one for one in IMAGE_SUFFIXES if lower.endswith(one)), key=len, default="")


def prepareToRead(path: str) -> None:
    """Import the packages that the reader of a file may need.

    The first import takes long. A kill of the process meanwhile is not the fault of the file.
    """
    if path.lower().endswith(_WITH_NIBABEL):
        with contextlib.suppress(ImportError):
            import nibabel  # noqa: F401
    elif not path.lower().endswith(_WITHOUT_PYDICOM):
        import pydicom  # noqa: F401


def dicomOf(reader: ImageFile) -> DICOM | None:
    """Return the reader of a DICOM file, None for any other file; valid after missing() returned None."""
    found = reader.reader() if isinstance(reader, Unknown) else reader
    return found if isinstance(found, DICOM) else None


class Unknown(ImageFile):
    """A file whose name does not name its format. The content does, as soon as enough of it exists."""

    def __init__(self, path: str, limit: int = DEFAULT_LIMIT) -> None:
        super().__init__(path, limit)
        self._reader: ImageFile | None = None

    def reader(self) -> ImageFile | None:
        """Return the reader for the content, None while the content is too short.

        :raises NotAnImageError: the content is in no supported format.
        """
        if self._reader is None:
            head = unpackedStart(self.path, _ENOUGH)
            kind = _kindOf(head)
            if kind not in (DICOM, NIfTI) and isPacked(self.path, ()):
                kind = None
            if kind is None and len(head) >= _ENOUGH and any(head):
                raise notSupported(self.path)
            self._reader = kind(self.path, self.limit) if kind else None
        return self._reader

    @property
    def files(self) -> tuple[str, ...]:
        return self._reader.files if self._reader else (self.path,)

    def _missing(self) -> str | None:
        reader = self.reader()
        if reader is None:
            size = len(readStart(self.path, _ENOUGH))
            return _("The file has {size:,} bytes so far, too few or too many zeros to know its format.").format(
                size=size
            )
        reader.streaming = self.streaming
        words = reader.missing()
        self.sealed, self.count, self.times, self.notes = reader.sealed, reader.count, reader.times, reader.notes
        return words

    def _images(self, first: int) -> Iterator[Image]:
        reader = self.reader()
        if reader is None:
            raise notSupported(self.path)
        reader.getBuffer = self.getBuffer
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
    if head.startswith(NUMPY_MARK):
        return NumPy
    if head.lstrip().startswith((b"ObjectType =", b"NDims =")):
        return MetaImage
    if head[344:347] == b"n+1" or head[4:7] == b"n+2":
        return NIfTI
    return None


def stampOf(path: str) -> Stamp | None:
    """Return size and modification time of a file, None when the file does not exist.

    The header of a pair has the size of both files and the later time: a change of either makes the pair new.
    The stamp comes from the file, not from the folder's entry, which on Windows lags behind while a file grows.
    """
    try:
        status = os.stat(longPath(path))
    except OSError:
        return None
    stamp = status.st_size, status.st_mtime_ns
    companion = companionOf(path)
    other = stampOf(companion) if companion else None
    return (stamp[0] + other[0], max(stamp[1], other[1])) if other else stamp
