"""OpenIGTLink: settings of the source, and of the rebroadcast."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ...Model.Codecs import CODECS, ENCODERS, LOSSLESS
from ...Model.Errors import SettingsError
from ...Model.Packages import VIDEO_PACKAGES, Package
from ...Model.Settings import EXPECTED, SourceSettings, about, checkAllowed, takeAddress
from ...Model.Text import textsOf
from ..CommonSettings import aboutAllowed, aboutPort, aboutSizeLimit
from ..Source import Source, SourceContext, SourceControls, SourceKind

_ = textsOf(__file__)

ROLES = {"client": _("Client: connect to a device"), "server": _("Server: wait for devices")}
ENGINES = {"own": _("Real-Time Imaging"), "connector": _("SlicerOpenIGTLink")}
PACKAGES = (Package("pyigtl", "pyigtl>=0.3.4,<0.4"), Package("fastcrc", "fastcrc>=0.3,<1", optional=True))
LARGEST_OFFSET = 10.0
"""Largest time offset of a device, seconds."""
DEVICE_SIZE = 20
"""Bytes of a device name in a header of version 1."""


@dataclass(frozen=True)
class OpenIGTLinkSettings(SourceSettings):
    """Scanners, tracking systems and ultrasound machines that speak OpenIGTLink.

    The protocol has neither a password nor encryption: every computer that reaches the port can send and read.
    """

    kind: ClassVar[str] = "openigtlink"

    role: str = field(
        default="client",
        metadata=about(
            _("Connection"),
            _(
                "Client: Slicer connects (usual for PLUS and trackers). Server: the device connects (usual for MRI "
                "bridges)."
            ),
            choices=ROLES,
        ),
    )
    host: str = field(
        default="127.0.0.1",
        metadata=about(
            _("Address"),
            _(
                "Client: address or name of the device, such as 192.168.0.10 or localhost:18944. Server: address to "
                "listen on. 127.0.0.1: this computer only. 0.0.0.0: every computer in the network can send images, as "
                "the protocol has no password."
            ),
            suggested=("127.0.0.1", "0.0.0.0"),
        ),
    )
    port: int = field(
        default=18944,
        metadata=aboutPort(
            _(
                "Port of the device, or port to listen on. 18944 is usual. 0: a server chooses a free port. A port in "
                "the address overrides this one."
            )
        ),
    )
    expectedImages: int = field(default=0, metadata=EXPECTED)
    stream: str = field(
        default="OpenIGTLink",
        metadata=about(
            _("Volume name"),
            _("Name of the volume of a device without a name. Others have their device's."),
            inPanel=False,
        ),
    )
    allowed: tuple[str, ...] = field(
        default=(),
        metadata=aboutAllowed(
            _(
                "Server: addresses of the computers that may connect, for example 10.0.0.7 or 10.0.1.0/24. Empty: "
                "every computer that reaches the port."
            )
        ),
    )
    checkCRC: bool = field(
        default=True,
        metadata=about(
            _("Verify checksums (CRC)"),
            _("Reject messages with a wrong checksum (CRC). Switch this off for a device that sends no checksums."),
            advanced=True,
        ),
    )
    sizeLimit: int = field(
        default=1 << 30,
        metadata=aboutSizeLimit(
            _("Largest message"),
            _(
                "Larger messages are rejected and reported. Unfinished messages of all devices together take no more "
                "memory than this."
            ),
        ),
    )
    silentAfter: float = field(
        default=4.0,
        metadata=about(
            _("Warn when nothing arrives for"),
            _("Report a connected device that sends nothing for this time."),
            unit=_("s"),
            limits=(0.1, 86400),
            advanced=True,
        ),
    )
    ask: tuple[str, ...] = field(
        default=(),
        metadata=about(
            _("Request on connect"),
            _("Queries sent to each device when it connects. Trackers wait for STT_TDATA."),
            placeholder=_("for example STT_TDATA"),
            advanced=True,
        ),
    )
    video: bool = field(
        default=False,
        metadata=about(
            _("Compressed video"),
            _(
                "Compressed video (VIDEO: H.264, H.265, VP9, AV1) is decoded with the Python package PyAV. Tick this "
                "to install PyAV at the start, if it is missing."
            ),
            advanced=True,
        ),
    )
    tools: tuple[str, ...] = field(
        default=(),
        metadata=about(
            _("Poses for images"),
            _(
                "Names of tools, such as ProbeToTracker. Each image gets their poses at its time as attributes, for "
                "processing functions and recordings. It waits for them, at most 0.2 s."
            ),
            placeholder=_("for example ProbeToTracker"),
            advanced=True,
        ),
    )
    timeOffsets: tuple[str, ...] = field(
        default=(),
        metadata=about(
            _("Time offsets"),
            _(
                "Seconds to add to the times of a device, by its name: Probe=-0.083. The section Devices and control "
                "estimates the offset of a tool. Recorded images have the poses of their corrected times."
            ),
            placeholder=_("for example Probe=-0.083"),
            advanced=True,
        ),
    )
    version: int = field(
        default=1,
        metadata=about(
            _("Header version"),
            _(
                "Version of the header of sent messages. Every device understands 1. 2 (protocol 3) carries metadata, "
                "and device names of more than 20 bytes."
            ),
            choices={1: "1", 2: "2"},
            inPanel=False,
        ),
    )
    engine: str = field(
        default="own",
        metadata=about(
            _("Engine"),
            _(
                "Program that receives the images. Real-Time Imaging receives every image. SlicerOpenIGTLink keeps "
                "only the newest image of each device, gives no device time, and misplaces LPS images. As a server it "
                "listens on all addresses. A peer that does not speak OpenIGTLink, such as a web browser, makes Slicer "
                "exit."
            ),
            choices=ENGINES,
            advanced=True,
            inCommand=False,
        ),
    )

    def __post_init__(self) -> None:
        takeAddress(self)
        super().__post_init__()
        if not self.host:
            raise SettingsError(_("Name the computer to connect to, such as 192.168.0.10 or localhost."))
        _checkPort(self.port, 0 if self.role == "server" else 1)
        checkAllowed(self.allowed)
        for query in self.ask:
            if not re.fullmatch(r"(GET|STT|STP)_[A-Z]{1,8}", query):
                raise SettingsError(_("{query} is no query such as STT_TDATA or GET_STATUS.").format(query=repr(query)))

        self.offsets()

    def offsets(self) -> dict[str, float]:
        """Return the time offset of each device in seconds.

        :raises SettingsError: a text is no offset.
        """
        found = {}
        for text in self.timeOffsets:
            name, _equals, value = text.rpartition("=")
            try:
                seconds = float(value)
            except ValueError:
                seconds = math.nan
            if not name.strip() or not abs(seconds) <= LARGEST_OFFSET:
                reason = _("{text} is no time offset such as Probe=-0.083, in seconds from -{limit:g} to {limit:g}.")
                raise SettingsError(reason.format(text=repr(text), limit=LARGEST_OFFSET))
            found[name.strip()] = seconds
        return found

    @property
    def longestDeviceName(self) -> int:
        """Most characters in the device name of a sent message."""
        return DEVICE_SIZE if self.version == 1 else sys.maxsize

    @property
    def extraPackages(self) -> tuple[Package, ...]:
        """PyAV when the user asks for compressed video; an installed PyAV is used in any case."""
        return VIDEO_PACKAGES if self.video else ()

    @property
    def usesConnector(self) -> bool:
        """True when the extension SlicerOpenIGTLink receives the images."""
        return self.engine == "connector"

    @classmethod
    def unused(cls, values: Mapping[str, Any]) -> set[str]:
        """Return what a client, or SlicerOpenIGTLink's connector, does not use."""
        if values["engine"] == "connector":
            return {"allowed", "sizeLimit", "silentAfter", "ask", "video", "tools", "timeOffsets"}
        return set() if values["role"] == "server" else {"allowed"}


def _checkPort(port: object, lowest: int) -> None:
    if not isinstance(port, int) or isinstance(port, bool) or not lowest <= port <= 65535:
        raise SettingsError(
            _("The port is a whole number from {lowest} to 65535, not {port}.").format(lowest=lowest, port=repr(port))
        )


@dataclass(frozen=True)
class BroadcastSettings:
    """Rebroadcast of live images over OpenIGTLink, which has neither a password nor encryption.

    :param port: TCP port to listen on, 1 to 65535. 0: choose a free port, which the event "listening" names.
    :param host: address to listen on. 127.0.0.1: programs on this computer only. 0.0.0.0: every computer in the
        network.
    :param version: version of the header. Every device understands 1; 2 (protocol 3) carries the attributes of each
        image.
    :param allowed: computers that may connect, as addresses (10.0.0.7) or networks (10.0.0.0/24). Empty: all.
    :param codec: "" sends exact images (IMAGE); "h264", "hevc", "vp9" or "av1" sends single slices of 8 bits as
        compressed video (VIDEO), and all others as images.
    :param quality: of the video, from 1 (smallest) to 99 (best); 100: without loss, which AV1 cannot.
    :param keyFrameDistance: most frames from one key frame to the next. A program that connects gets a key frame first.
    :param bitRate: most megabits a second of each video; 0: no limit.
    :raises SettingsError: a value that cannot work.
    """

    port: int = 18945
    host: str = "127.0.0.1"
    version: int = 1
    allowed: tuple[str, ...] = ()
    codec: str = ""
    quality: int = 75
    keyFrameDistance: int = 30
    bitRate: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "allowed", tuple(self.allowed))
        _checkPort(self.port, 0)
        if not str(self.host).strip():
            raise SettingsError(_("Name the address to listen on, such as 127.0.0.1 or 0.0.0.0."))
        if self.version not in (1, 2):
            raise SettingsError(
                _("The version of OpenIGTLink's header is 1 or 2, not {version}.").format(version=repr(self.version))
            )
        checkAllowed(self.allowed)
        if self.codec and self.codec not in ENCODERS:
            text = _("The codec is one of {known}, not {codec}.")
            raise SettingsError(text.format(known=", ".join(ENCODERS), codec=repr(self.codec)))
        if not 1 <= self.quality <= LOSSLESS:
            text = _("The quality is a number from 1 to {most}, not {quality}.")
            raise SettingsError(text.format(most=LOSSLESS, quality=repr(self.quality)))
        if self.codec and self.quality == LOSSLESS and not CODECS[self.codec].lossless:
            text = _("{codec} cannot encode without loss. Choose a quality below {most}, or H.264, H.265 or VP9.")
            raise SettingsError(text.format(codec=ENCODERS[self.codec], most=LOSSLESS))
        if not 1 <= self.keyFrameDistance <= 10_000:
            text = _("The key frame distance is a number of frames from 1 to 10,000, not {distance}.")
            raise SettingsError(text.format(distance=repr(self.keyFrameDistance)))
        if not 0 <= self.bitRate <= 10_000:
            text = _("The bit rate is a number of megabits a second from 0 to 10,000, not {rate}.")
            raise SettingsError(text.format(rate=repr(self.bitRate)))

    @property
    def packages(self) -> tuple[Package, ...]:
        """Packages that the rebroadcast needs."""
        return (*PACKAGES, *(VIDEO_PACKAGES if self.codec else ()))


def _open(settings: OpenIGTLinkSettings, context: SourceContext) -> Source:
    from .Source import OpenIGTLinkSource

    return OpenIGTLinkSource(settings, context.checkpoint, getBuffer=context.getBuffer)


def _controls() -> type[SourceControls]:
    from .Host import OpenIGTLinkControls

    return OpenIGTLinkControls


def _idle(values: Mapping[str, Any]) -> str:
    if values["role"] == "server":
        return _("Press Start to wait for devices to connect.")
    return _("Enter the device's address and port, and press Start.")


KIND = SourceKind(
    OpenIGTLinkSettings, _("OpenIGTLink device"), _open, idle=_idle, packages=PACKAGES, controls=_controls
)
