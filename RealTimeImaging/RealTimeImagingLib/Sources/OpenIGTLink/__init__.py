"""OpenIGTLink: as a source, and for others."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from ...Model.Errors import SettingsError
from ...Model.Settings import SourceSettings, checkAllowed, checkNumber, checkPort, checkVersion

ROLES = ("client", "server")
ENGINES = ("own", "connector")


@dataclass(frozen=True)
class OpenIGTLinkSettings(SourceSettings):
    """Scanners, tracking systems and ultrasound machines that speak OpenIGTLink.

    The protocol has neither passwords nor encryption: everybody who reaches the port can send, and read.

    :param role: "client" connects to a device (usual for PLUS and trackers); "server" waits for devices to connect
        (usual for bridges of MRI scanners).
    :param host: of the device; for a server the address to listen on: 127.0.0.1 is this computer only, 0.0.0.0 all.
        "localhost:18944" names the port, too.
    :param port: TCP port, 1 to 65535; for a server 0 takes a free one, which the event "listening" names. A port in
        ``host`` counts instead.
    :param stream: name of the live volume of images whose device has no name; others have their device's.
    :param allowed: a server's peers, as addresses (10.0.0.7) or networks (10.0.0.0/24); empty: all.
    :param checkCRC: refuse messages whose checksum is wrong.
    :param sizeLimit: bytes of the largest message that is received, and most bytes of the unfinished messages of all
        peers together.
    :param silentAfter: seconds without a message after which a peer is reported as silent.
    :param ask: queries sent to each peer when it is connected, such as ("STT_TDATA",); trackers wait for it.
    :param engine: "own" receives every image; "connector" leaves it to the extension SlicerOpenIGTLink where that is
        installed. It knows of ``role``, ``host``, ``port`` and ``checkCRC`` only, keeps the newest image only, gives no
        device time, misplaces LPS images, and as a server listens on all addresses (``host="0.0.0.0"``).
    :param version: of the header of what is sent: 1 is understood by all, 2 (protocol 3) carries metadata and device
        names of more than 20 bytes.
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
        host, port = splitAddress(str(self.host))
        object.__setattr__(self, "host", host)
        if port is not None:
            object.__setattr__(self, "port", port)
        if not host:
            raise SettingsError("Name the computer to connect to, such as 192.168.0.10 or localhost.")
        checkPort(self.port, 0 if self.role == "server" else 1)
        checkAllowed(self.allowed)
        for query in self.ask:
            if not re.fullmatch(r"(GET|STT|STP)_[A-Z]{1,8}", query):
                raise SettingsError(f"{query!r} is no query such as STT_TDATA or GET_STATUS.")
        checkNumber(self.sizeLimit, (1 << 10, 1 << 36), "The largest message", "bytes")
        checkNumber(self.silentAfter, (0.1, 86400), "The time after which a peer is reported as silent", "seconds")
        checkVersion(self.version)
        if not self.stream.strip():
            raise SettingsError("The live volume needs a name.")


def splitAddress(text: str) -> tuple[str, int | None]:
    """Host and port of an address as people type it: "localhost:18944", "[::1]:18944", "igtl://10.0.0.7:18944".

    :returns: the host, and the port or None when the address has none.
    """
    text = re.sub(r"^[a-z]+://", "", text.strip(), flags=re.IGNORECASE).rstrip("/").strip()
    found = re.fullmatch(r"(?:\[([^\]]*)\]|([^:\s]*))(?:\s*:\s*(\d{1,9}))?", text)
    if found is None:
        return text, None  # an IPv6 address without brackets, or nonsense that connecting reports
    host = (found[1] or found[2] or "").strip()
    return host, None if found[3] is None else int(found[3])


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
        checkPort(self.port, 0)
        if not str(self.host).strip():
            raise SettingsError("Name the address to listen on, such as 127.0.0.1 or 0.0.0.0.")
        checkVersion(self.version)
        checkAllowed(self.allowed)
