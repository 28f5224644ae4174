"""Images that are sent over DICOM's network protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...Model.Errors import SettingsError
from ...Model.Settings import SourceSettings, checkAllowed, checkNumber, checkPort, typedPath

LONGEST_TITLE = 16
"""Characters of an application entity's title (DICOM PS3.5 section 6.2, AE)."""


@dataclass(frozen=True)
class DICOMSettings(SourceSettings):
    """Scanners and archives that send images to this computer over DICOM's network protocol (C-STORE).

    There are neither passwords nor encryption: everybody who reaches the port can send.

    :param folder: where every file that comes is kept, in a folder for each series; made when it is missing.
    :param aeTitle: the application entity title under which this computer is called, 1 to 16 characters.
    :param host: the address to listen on: 127.0.0.1 is this computer only, 0.0.0.0 all.
    :param port: TCP port, 1 to 65535; 0 takes a free one, which the event "listening" names.
    :param allowed: who may connect, as addresses (10.0.0.7) or networks (10.0.0.0/24); empty: all.
    :param callers: titles of the application entities that may send; empty: all.
    :param checkCalled: refuse those who call another title than ``aeTitle``.
    :param growing: show a volume while its slices come, four times a second at most, with zeros where they are
        missing. Each of these is a frame of its own, which is counted and recorded like all others.
    :param completeAfter: seconds without a new slice after which a volume is shown as it is.
    :param sizeLimit: bytes of the largest instance that is taken; it is in memory until it is on disk.
    :param stream: name of the live volume of a series that has no description; others have theirs, and their number.
    :raises SettingsError: a value that cannot work.
    """

    kind: ClassVar[str] = "dicom"

    folder: str
    aeTitle: str = "SLICER"
    host: str = "127.0.0.1"
    port: int = 11112
    allowed: tuple[str, ...] = ()
    callers: tuple[str, ...] = ()
    checkCalled: bool = False
    growing: bool = False
    completeAfter: float = 2.0
    sizeLimit: int = 1 << 30
    stream: str = "DICOM"

    def __post_init__(self) -> None:
        # JSON has lists only.
        for name in ("allowed", "callers"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "folder", typedPath(self.folder))
        if not self.folder:
            raise SettingsError("Choose the folder in which the files that come are kept.")
        for title in (self.aeTitle, *self.callers):
            _checkTitle(title)
        if not str(self.host).strip():
            raise SettingsError("Name the address to listen on, such as 127.0.0.1 or 0.0.0.0.")
        checkPort(self.port, 0)
        checkAllowed(self.allowed)
        for name in ("checkCalled", "growing"):
            if not isinstance(getattr(self, name), bool):
                raise SettingsError(f'"{name}" is true or false, not {getattr(self, name)!r}.')
        checkNumber(self.completeAfter, (0.1, 86400), "The time after which a volume is shown as it is", "seconds")
        checkNumber(self.sizeLimit, (1 << 10, 1 << 36), "The largest instance", "bytes")
        if not self.stream.strip():
            raise SettingsError("The live volume needs a name.")


def _checkTitle(title: object) -> None:
    # PS3.5 section 6.2: the characters of ASCII but \ and controls, and not only spaces.
    good = isinstance(title, str) and title.isascii() and title.isprintable() and "\\" not in title
    if not good or not 1 <= len(str(title).strip()) <= LONGEST_TITLE:
        raise SettingsError(
            f"An application entity title has 1 to {LONGEST_TITLE} letters, digits or signs (no \\), not {title!r}."
        )
