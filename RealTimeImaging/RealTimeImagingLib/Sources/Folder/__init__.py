"""A folder of images."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from ...Model.Errors import RecordingFolderError, SettingsError
from ...Model.Packages import Package, packagesFor
from ...Model.Settings import EXPECTED, STREAM, SourceSettings, about
from ...Model.Text import textsOf
from ..CommonSettings import aboutCompleteAfter
from ..Source import HostPart, Source, SourceContext, SourceKind

_ = textsOf(__file__)

EXISTING = {"ignore": _("Skip"), "newest": _("Show newest"), "all": _("Show all, by name")}
SERIES = "{series}"


@dataclass(frozen=True)
class FolderSettings(SourceSettings):
    """A folder into which image files arrive."""

    kind: ClassVar[str] = "folder"

    folder: str = field(
        metadata=about(
            _("Folder"),
            _(
                "The folder into which the scanner or another program writes image files. It is only read; nothing in "
                "it is changed. It may be missing at Start, or come and go like a network share. Images are NIfTI, "
                "Analyze, NRRD, MetaImage, DICOM, PAR/REC, AFNI, MGH, NumPy, TIFF, PNG, JPEG and BMP files."
            ),
            path="folder",
            missing=_("Choose the folder into which the images arrive."),
        )
    )
    pattern: str = field(
        default="*",
        metadata=about(
            _("File names"),
            _(
                "Names of the files to show. * stands for any text, ? for one character; upper and lower case are the "
                "same. Separate patterns by semicolons or commas, for example *.nii; *.nii.gz. For a pair of files, "
                "give the name of the header: .hdr, .par or .head."
            ),
            advanced=True,
        ),
    )
    subfolders: bool = field(
        default=False,
        metadata=about(_("Look in subfolders"), _("Also take images from the folders below."), advanced=True),
    )
    existing: str = field(
        default="newest",
        metadata=about(
            _("Existing files"),
            _("What to do with images that are in the folder at Start."),
            choices=EXISTING,
            advanced=True,
        ),
    )
    seriesPattern: str = field(
        default="",
        metadata=about(
            _("Series name pattern"),
            _(
                "If one folder receives several series: a file name in which {series} stands for the part that names "
                "the series. Each series gets a volume of its own. Leave empty for one series."
            ),
            placeholder="*_{series}_*",
            advanced=True,
        ),
    )
    incompleteAfter: float = field(
        default=10.0,
        metadata=about(
            _("Report incomplete after"),
            _(
                "An incomplete file that has not grown for this time is reported. It is still shown when it is "
                "completed later."
            ),
            unit=_("s"),
            limits=(0.001, 1e6),
            advanced=True,
        ),
    )
    completeAfter: float = field(
        default=2.0,
        metadata=aboutCompleteAfter(
            _(
                "A volume of DICOM files with one slice each is closed and shown when no slice arrives for this time "
                "and nothing else marks its end. Choose more than the time between two slices."
            )
        ),
    )
    expectedImages: int = field(default=0, metadata=EXPECTED)
    stream: str = field(default="Live", metadata=STREAM)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.pattern.strip(" ;,"):
            raise SettingsError(_('The pattern of file names is empty; "*" takes all images.'))
        if self.seriesPattern and self.seriesPattern.count(SERIES) != 1:
            text = _("The series pattern has {name} in it once, such as *_{name}_*.").format(name=SERIES)
            raise SettingsError(text)

    @property
    def extraPackages(self) -> tuple[Package, ...]:
        """Packages for the files that the pattern names, such as *.tif."""
        return packagesFor(self.pattern)

    def checkRecordingFolder(self, folder: str) -> None:
        """:raises RecordingFolderError: the folder is the watched folder, or lies in it."""
        if _isBelow(folder, self.folder):
            text = _(
                "Recordings cannot go into {folder}: images are expected in {watched}, where nothing is changed. "
                "Choose another folder."
            )
            raise RecordingFolderError(text.format(folder=folder, watched=self.folder))


def _open(settings: FolderSettings, context: SourceContext) -> Source:
    from .Source import FolderSource

    return FolderSource(settings, context.checkpoint, getBuffer=context.getBuffer)


def _host(settings: FolderSettings, send: Callable[[str], None]) -> HostPart:
    from .Host import FolderHints

    return FolderHints(settings.folder, lambda: send("rescan"))


KIND = SourceKind(
    FolderSettings,
    _("Folder of images"),
    _open,
    idle=lambda values: _("Choose a folder and press Start, or try with a simulated scanner."),
    sender=lambda settings: settings.folder,
    dropped=lambda path: {"folder": path},
    host=_host,
)


def _isBelow(path: str, folder: str) -> bool:
    # Also True for a folder under another name (a link, or upper and lower case).
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
