"""A folder of images."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import ClassVar

from ...Model.Errors import RecordingFolderError, SettingsError
from ...Model.Settings import SourceSettings, checkNumber, typedPath

EXISTING = ("ignore", "newest", "all")
SERIES = "{series}"


@dataclass(frozen=True)
class FolderSettings(SourceSettings):
    """A folder into which image files arrive.

    :param folder: the folder, as typed or pasted (see :func:`typedPath`); it may be missing for now, or come and go
        like a network share.
    :param pattern: file names to take, with * and ?; several are separated by semicolons or commas; upper and lower
        case are the same. Files that cannot be images by their name (.part, .tmp, .json, hidden files) are always
        passed over; of a pair (.hdr and .img) the name of the .hdr counts.
    :param subfolders: also look in folders below, to any depth.
    :param existing: what to do with the files that are there at start: "newest" (show the newest image only), "ignore"
        or "all" (each, in natural order of the names).
    :param seriesPattern: a file name in which ``{series}`` stands for the part that tells series apart, such as
        ``*_{series}_*``; each series becomes a stream of that name. Empty: all files are one stream.
    :param incompleteAfter: seconds without growth after which a file that is not whole is reported. It is still shown
        when it is completed later.
    :param completeAfter: seconds without a new slice after which a volume from DICOM files with one slice each is
        closed and shown.
    :param stream: name of the stream, and of its live volume.
    :raises SettingsError: a value that cannot work.
    """

    kind: ClassVar[str] = "folder"

    folder: str
    pattern: str = "*"
    subfolders: bool = False
    existing: str = "newest"
    seriesPattern: str = ""
    incompleteAfter: float = 10.0
    completeAfter: float = 2.0
    stream: str = "Live"

    @property
    def packages(self) -> str:
        """Packages for TIFF files when the pattern asks for TIFF files; other patterns may still match some."""
        return "tiff" if ".tif" in self.pattern.lower() else self.kind

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", typedPath(self.folder))
        if not self.folder:
            raise SettingsError("Choose the folder into which the images arrive.")
        if not self.pattern.strip(" ;,"):
            raise SettingsError('The pattern of file names is empty; "*" takes all images.')
        if self.existing not in EXISTING:
            raise SettingsError(f'"existing" is one of {", ".join(EXISTING)}, not {self.existing!r}.')
        if self.seriesPattern and self.seriesPattern.count(SERIES) != 1:
            raise SettingsError(f"The series pattern has {SERIES} in it once, such as *_{SERIES}_*.")
        if not 0 < self.incompleteAfter < float("inf"):
            raise SettingsError("The time after which an incomplete file is reported is a number of seconds above 0.")
        checkNumber(self.completeAfter, (0.1, 86400), "The time after which a volume is shown as it is", "seconds")
        if not self.stream.strip():
            raise SettingsError("The live volume needs a name.")


def checkRecordingFolder(settings: SourceSettings, folder: str) -> None:
    """:raises RecordingFolderError: a recording in this folder (an absolute path) would lie where the source expects
    images."""
    if not isinstance(settings, FolderSettings):
        return
    if _isBelow(folder, settings.folder):
        raise RecordingFolderError(
            f"Recordings cannot go into {folder}: images are expected in {settings.folder}, where nothing is "
            "changed. Choose another folder."
        )


def _isBelow(path: str, folder: str) -> bool:
    """True when a path is the folder or lies in it, also under another name (a link, or upper and lower case)."""
    path, above = os.path.realpath(path), os.path.normcase(os.path.realpath(folder))
    while True:
        if os.path.normcase(path) == above or _same(path, folder):
            return True
        parent = os.path.dirname(path)
        if parent == path:
            return False
        path = parent


def _same(path: str, other: str) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False
