"""Images that are sent over DICOM's network protocol."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ...Model.Errors import SettingsError
from ...Model.Packages import Package
from ...Model.Settings import EXPECTED, SourceSettings, about, checkAllowed, takeAddress
from ...Model.Text import textsOf
from ..CommonSettings import aboutAllowed, aboutCompleteAfter, aboutPort, aboutSizeLimit
from ..Source import Source, SourceContext, SourceKind

_ = textsOf(__file__)

LONGEST_TITLE = 16
"""Characters of an application entity title (DICOM PS3.5 section 6.2, AE)."""


@dataclass(frozen=True)
class DICOMSettings(SourceSettings):
    """Scanners and archives that send images to this computer over DICOM's network protocol (C-STORE).

    There is neither a password nor encryption: every computer that reaches the port can send.
    """

    kind: ClassVar[str] = "dicom"

    folder: str = field(
        metadata=about(
            _("Store files in"),
            _(
                "Received files are stored in this folder, in a subfolder for each series. Existing files are never "
                "overwritten."
            ),
            path="folder",
            missing=_("Choose the folder in which received files are stored."),
        )
    )
    aeTitle: str = field(
        default="SLICER",
        metadata=about(
            _("AE title"),
            _(
                "Application entity title (AE title) of this computer, 1 to 16 characters. Enter it at the scanner or "
                "archive, with the address and port."
            ),
        ),
    )
    host: str = field(
        default="127.0.0.1",
        metadata=about(
            _("Address"),
            _(
                "Address to listen on. 127.0.0.1: programs on this computer only. 0.0.0.0: every computer in the "
                "network; DICOM has no password."
            ),
            suggested=("127.0.0.1", "0.0.0.0"),
        ),
    )
    port: int = field(
        default=11112,
        metadata=aboutPort(_("Port to listen on. Enter it at the scanner or archive. 0: choose a free port.")),
    )
    allowed: tuple[str, ...] = field(
        default=(),
        metadata=aboutAllowed(
            _(
                "Addresses of the computers that may send, for example 10.0.0.7 or 10.0.1.0/24. Empty: every computer "
                "that reaches the port."
            )
        ),
    )
    callers: tuple[str, ...] = field(
        default=(),
        metadata=about(
            _("Allowed AE titles"),
            _("AE titles of the senders that are accepted. Empty: all."),
            placeholder=_("all"),
            advanced=True,
        ),
    )
    checkCalled: bool = field(
        default=False,
        metadata=about(
            _("Accept only this AE title"),
            _("Reject senders that call this computer by another AE title."),
            advanced=True,
        ),
    )
    growing: bool = field(
        default=False,
        metadata=about(
            _("Show incomplete volumes"),
            _(
                "Show a volume while its slices arrive, at most four times a second. Missing slices are filled with "
                "zeros. Each of these is a frame of its own, counted and recorded."
            ),
            advanced=True,
        ),
    )
    completeAfter: float = field(
        default=2.0,
        metadata=aboutCompleteAfter(
            _(
                "A volume is closed and shown when no slice arrives for this time and nothing else marks its end. "
                "Choose more than the time between two slices."
            )
        ),
    )
    sizeLimit: int = field(
        default=1 << 30,
        metadata=aboutSizeLimit(_("Largest file"), _("Connections that send a larger file are closed and reported.")),
    )
    expectedImages: int = field(default=0, metadata=EXPECTED)
    stream: str = field(
        default="DICOM",
        metadata=about(
            _("Volume name"),
            _("Name of the volume of a series without a description. Others have theirs, and their number."),
            advanced=True,
        ),
    )

    def __post_init__(self) -> None:
        takeAddress(self)
        super().__post_init__()
        for title in (self.aeTitle, *self.callers):
            _checkTitle(title)
        if not self.host:
            raise SettingsError(_("Name the address to listen on, such as 127.0.0.1 or 0.0.0.0."))
        checkAllowed(self.allowed)


def _checkTitle(title: object) -> None:
    # PS3.5 section 6.2: the characters of ASCII but \ and controls, and not only spaces.
    good = isinstance(title, str) and title.isascii() and title.isprintable() and "\\" not in title
    if not good or not 1 <= len(str(title).strip()) <= LONGEST_TITLE:
        raise SettingsError(
            _("An application entity title has 1 to {limit} letters, digits or signs (no \\), not {title}.").format(
                limit=LONGEST_TITLE, title=repr(title)
            )
        )


def _open(settings: DICOMSettings, context: SourceContext) -> Source:
    from .Source import DICOMSource

    return DICOMSource(settings, context.checkpoint, getBuffer=context.getBuffer)


KIND = SourceKind(
    DICOMSettings,
    _("DICOM from a scanner or archive"),
    _open,
    idle=lambda values: _("Choose the folder for received files and press Start."),
    sender=lambda settings: _("DICOM senders"),
    packages=(Package("pynetdicom", "pynetdicom>=3.0.3,<4"),),
)
