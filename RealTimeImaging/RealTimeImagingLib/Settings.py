"""What a source is told: one frozen dataclass each, checked when it is made, to and from JSON."""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from .Errors import SettingsError

EXISTING = ("ignore", "newest", "all")
ROLES = ("client", "server")
ENGINES = ("own", "connector")
PACES = ("recorded", "rate", "fastest")
SPEEDS = (0.001, 1000.0)
"""Slowest and fastest replay, as a factor of real time."""
RATES = (0.001, 10_000.0)
"""Lowest and highest rate of a replay, frames per second."""
SERIES = "{series}"


@dataclass(frozen=True)
class SourceSettings:
    """Base of all settings. ``kind`` names the source; ``stream`` is the name of its (first) stream."""

    kind: ClassVar[str] = ""

    def toJSON(self) -> dict[str, Any]:
        """A flat object that :func:`settingsFromJSON` takes back."""
        return {"kind": self.kind, **dataclasses.asdict(self)}


@dataclass(frozen=True)
class FolderSettings(SourceSettings):
    """A folder into which image files arrive.

    :param folder: the folder; it may be missing for now, or come and go like a network share.
    :param pattern: file names to take, with * and ?; several are separated by semicolons; upper and lower case are the
        same. Files that cannot be images by their name (.part, .tmp, .json, hidden files) are always passed over.
    :param subfolders: also look in folders below, to any depth.
    :param existing: what to do with the files that are there at start: "ignore", "newest" (show the newest one only) or
        "all" (each, in natural order of the names).
    :param seriesPattern: a file name in which ``{series}`` stands for the part that tells series apart, such as
        ``*_{series}_*``; each series becomes a stream of that name. Empty: all files are one stream.
    :param incompleteAfter: seconds without growth after which a file that is not whole is reported. It is still shown
        when it is completed later.
    :param stream: name of the stream, and of its live volume.
    :raises SettingsError: a value that cannot work.
    """

    kind: ClassVar[str] = "folder"

    folder: str
    pattern: str = "*"
    subfolders: bool = False
    existing: str = "ignore"
    seriesPattern: str = ""
    incompleteAfter: float = 10.0
    stream: str = "Live"

    def __post_init__(self) -> None:
        if not str(self.folder).strip():
            raise SettingsError("Choose the folder into which the images arrive.")
        object.__setattr__(self, "folder", os.path.abspath(os.path.expanduser(os.fspath(self.folder))))
        if not self.pattern.strip(" ;"):
            raise SettingsError('The pattern of file names is empty; "*" takes all images.')
        if self.existing not in EXISTING:
            raise SettingsError(f'"existing" is one of {", ".join(EXISTING)}, not {self.existing!r}.')
        if self.seriesPattern and self.seriesPattern.count(SERIES) != 1:
            raise SettingsError(f"The series pattern has {SERIES} in it once, such as *_{SERIES}_*.")
        if not 0 < self.incompleteAfter < float("inf"):
            raise SettingsError("The time after which an incomplete file is reported is a number of seconds above 0.")
        if not self.stream.strip():
            raise SettingsError("The live volume needs a name.")


@dataclass(frozen=True)
class ReplaySettings(SourceSettings):
    """A file that is replayed as if its frames came from a scanner.

    :param file: a recording (its first ``.seq.nhdr``: all parts follow one another), a ``.seq.nrrd``, a 4-D NIfTI, a
        multi-frame DICOM file, or any other image file; it may be missing for now.
    :param pace: "recorded" (by the file's own times), "rate" (evenly) or "fastest" (as fast as frames can be read).
    :param speed: for the pace "recorded": 1 is real time, 2 twice as fast; 0.001 to 1000.
    :param rate: for the pace "rate": frames per second; 0.001 to 10,000.
    :param loop: begin again after the last frame.
    :param paused: wait for the command "resume" or "step" before the first frame.
    :param stream: name of the stream, and of its live volume.
    :raises SettingsError: a value that cannot work.
    """

    kind: ClassVar[str] = "replay"

    file: str
    pace: str = "recorded"
    speed: float = 1.0
    rate: float = 30.0
    loop: bool = False
    paused: bool = False
    stream: str = "Live"

    def __post_init__(self) -> None:
        if not str(self.file).strip():
            raise SettingsError("Choose the file to replay.")
        object.__setattr__(self, "file", os.path.abspath(os.path.expanduser(os.fspath(self.file))))
        if self.pace not in PACES:
            raise SettingsError(f'"pace" is one of {", ".join(PACES)}, not {self.pace!r}.')
        _checkNumber(self.speed, SPEEDS, "The speed of a replay", "times real time")
        _checkNumber(self.rate, RATES, "The rate of a replay", "frames per second")
        for name in ("loop", "paused"):
            if not isinstance(getattr(self, name), bool):
                raise SettingsError(f'"{name}" is true or false, not {getattr(self, name)!r}.')
        if not self.stream.strip():
            raise SettingsError("The live volume needs a name.")


@dataclass(frozen=True)
class PushSettings(SourceSettings):
    """Frames made in Python inside Slicer. ``logic.push()`` starts this source by itself with the first frame.

    :param stream: name of the first stream; others are named with each frame.
    :raises SettingsError: a value that cannot work.
    """

    kind: ClassVar[str] = "python"

    stream: str = "Live"

    def __post_init__(self) -> None:
        if not isinstance(self.stream, str) or not self.stream.strip():
            raise SettingsError("The live volume needs a name.")


@dataclass(frozen=True)
class OpenIGTLinkSettings(SourceSettings):
    """Scanners, tracking systems and ultrasound machines that speak OpenIGTLink.

    The protocol has neither passwords nor encryption: everybody who reaches the port can send, and read.

    :param role: "client" connects to a device or to PLUS; "server" waits for devices, which bridges of MRI scanners
        expect.
    :param host: of the device; for a server the address to listen on: 127.0.0.1 is this computer only, 0.0.0.0 all.
    :param port: TCP port, 1 to 65535; for a server 0 takes a free one, which the event "listening" names.
    :param stream: name of the live volume of images whose device has no name; others have their device's.
    :param allowed: a server's peers, as addresses (10.0.0.7) or networks (10.0.0.0/24); empty: all.
    :param checkCRC: refuse messages whose checksum is wrong.
    :param sizeLimit: bytes of the largest message that is taken.
    :param silentAfter: seconds without a message after which a peer is reported as silent.
    :param ask: queries sent to each peer when it is connected, such as ("STT_TDATA",); trackers wait for it.
    :param engine: "own" receives every image; "connector" leaves it to the extension SlicerOpenIGTLink where that is
        installed, which knows of ``role``, ``host``, ``port`` and ``checkCRC`` only, and keeps the newest image only.
    :param version: of the header of what is sent: 1 is understood by all, 2 (protocol 3) carries metadata.
    :raises SettingsError: a value that cannot work.
    """

    kind: ClassVar[str] = "openigtlink"

    role: str = "client"
    host: str = "127.0.0.1"
    port: int = 18944
    stream: str = "OpenIGTLink"
    allowed: tuple[str, ...] = ()
    checkCRC: bool = True
    sizeLimit: int = 1 << 30
    silentAfter: float = 4.0
    ask: tuple[str, ...] = ()
    version: int = 1
    engine: str = "own"

    def __post_init__(self) -> None:
        # JSON has lists only.
        for name in ("allowed", "ask"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.role not in ROLES:
            raise SettingsError(f'"role" is one of {", ".join(ROLES)}, not {self.role!r}.')
        if self.engine not in ENGINES:
            raise SettingsError(f'"engine" is one of {", ".join(ENGINES)}, not {self.engine!r}.')
        if not str(self.host).strip():
            raise SettingsError("Name the computer to connect to, such as 192.168.0.10 or localhost.")
        _checkPort(self.port, 0 if self.role == "server" else 1)
        _checkAllowed(self.allowed)
        for query in self.ask:
            if not re.fullmatch(r"(GET|STT|STP)_[A-Z]{1,8}", query):
                raise SettingsError(f"{query!r} is no query such as STT_TDATA or GET_STATUS.")
        _checkNumber(self.sizeLimit, (1 << 10, 1 << 36), "The largest message", "bytes")
        _checkNumber(self.silentAfter, (0.1, 86400), "The time after which a peer is reported as silent", "seconds")
        _checkVersion(self.version)
        if not self.stream.strip():
            raise SettingsError("The live volume needs a name.")


@dataclass(frozen=True)
class BroadcastSettings:
    """To whom live images are sent over OpenIGTLink; there are neither passwords nor encryption.

    :param port: TCP port to listen on, 1 to 65535; 0 takes a free one, which the event "listening" names.
    :param host: address to listen on: 127.0.0.1 is this computer only, 0.0.0.0 all.
    :param version: of the header: 1 is understood by all, 2 (protocol 3) carries the attributes of each image.
    :param allowed: who may connect, as addresses (10.0.0.7) or networks (10.0.0.0/24); empty: all.
    :raises SettingsError: a value that cannot work.
    """

    port: int = 18945
    host: str = "127.0.0.1"
    version: int = 1
    allowed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "allowed", tuple(self.allowed))
        _checkPort(self.port, 0)
        if not str(self.host).strip():
            raise SettingsError("Name the address to listen on, such as 127.0.0.1 or 0.0.0.0.")
        _checkVersion(self.version)
        _checkAllowed(self.allowed)


def checkRecordingFolder(settings: SourceSettings, folder: str) -> None:
    """:raises SettingsError: a recording in this folder (an absolute path) would lie where the source expects
    images."""
    if not isinstance(settings, FolderSettings):
        return
    watched, target = os.path.normcase(settings.folder), os.path.normcase(folder)
    if target == watched or target.startswith(os.path.join(watched, "")):
        raise SettingsError(
            f"Recordings cannot go into {folder}: images are expected in {settings.folder}, where nothing is "
            "changed. Choose another folder."
        )


def _checkPort(port: object, lowest: int) -> None:
    if not isinstance(port, int) or isinstance(port, bool) or not lowest <= port <= 65535:
        raise SettingsError(f"The port is a whole number from {lowest} to 65535, not {port!r}.")


def _checkAllowed(allowed: tuple[str, ...]) -> None:
    for address in allowed:
        try:
            ipaddress.ip_network(address, strict=False)
        except ValueError as error:
            text = f"{address!r} is no address such as 10.0.0.7 and no network such as 10.0.0.0/24."
            raise SettingsError(text) from error


def _checkVersion(version: object) -> None:
    if version not in (1, 2):
        raise SettingsError(f"The version of OpenIGTLink's header is 1 or 2, not {version!r}.")


def _checkNumber(value: object, limits: tuple[float, float], what: str, unit: str) -> None:
    lowest, highest = limits
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not lowest <= value <= highest:  # type: ignore[operator]
        raise SettingsError(f"{what} is a number from {lowest:g} to {highest:,.0f} {unit}, not {value!r}.")


KINDS: dict[str, type[SourceSettings]] = {
    settings.kind: settings for settings in (FolderSettings, ReplaySettings, PushSettings, OpenIGTLinkSettings)
}


def settingsFromJSON(values: Mapping[str, Any]) -> SourceSettings:
    """The settings that :meth:`SourceSettings.toJSON` wrote.

    :raises SettingsError: an unknown kind, an unknown name or a value that cannot work.
    """
    given = dict(values)
    kind = given.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise SettingsError(f"There is no source of the kind {kind!r}; there are {', '.join(KINDS)}.")
    known = {field.name for field in dataclasses.fields(KINDS[kind])}
    unknown = sorted(set(given) - known)
    if unknown:
        raise SettingsError(
            f"The source {kind} has no setting {', '.join(unknown)}; it has {', '.join(sorted(known))}."
        )
    try:
        return KINDS[kind](**given)
    except (TypeError, AttributeError) as error:
        raise SettingsError(f"The settings of the source {kind} do not fit: {error}") from error
