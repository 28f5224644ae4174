"""MRD (ISMRMRD): images that MRI scanners and reconstruction programs stream."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ...Model.Errors import SettingsError
from ...Model.Packages import Package
from ...Model.Settings import EXPECTED, SourceSettings, about, checkAllowed, takeAddress
from ...Model.Text import textsOf
from ..CommonSettings import aboutAllowed, aboutCompleteAfter, aboutPort, aboutSizeLimit
from ..Source import Source, SourceContext, SourceKind

_ = textsOf(__file__)

ROLES = {"server": _("Server: wait for a scanner"), "client": _("Client: send images")}
COMPLEX = {
    "magnitude": _("Magnitude"),
    "phase": _("Phase"),
    "both": _("Magnitude and phase"),
    "parts": _("Real and imaginary"),
}
HDF5_SUFFIXES = (".h5", ".hdf5", ".mrd")
"""Endings of the names of MRD files."""
HDF5_PACKAGES = (Package("h5py", "h5py>=3.11,<4"),)
"""Packages for these files."""
CONFIG_BYTES = 1023
"""Most bytes of the name of a configuration."""


@dataclass(frozen=True)
class MRDSettings(SourceSettings):
    """MRI scanners and reconstruction programs that stream images in the MRD format (ISMRMRD).

    There is neither a password nor encryption: every computer that reaches the port can send.
    """

    kind: ClassVar[str] = "mrd"

    role: str = field(
        default="server",
        metadata=about(
            _("Connection"),
            _(
                "Server: the scanner connects and sends its images (Siemens FIRE and Open Recon, Gadgetron). Client: "
                "the images of a file or folder are sent to a server, and what comes back is shown."
            ),
            choices=ROLES,
        ),
    )
    file: str = field(
        default="",
        metadata=about(
            _("Images to send"),
            _(
                "Client: an MRD file (.h5), another image file, or a folder of images. Slices are sent one by one, as "
                "scanners do."
            ),
            path="file",
        ),
    )
    host: str = field(
        default="127.0.0.1",
        metadata=about(
            _("Address"),
            _(
                "Server: address to listen on. 127.0.0.1: programs on this computer only. 0.0.0.0: every computer in "
                "the network; MRD has no password. Client: address or name of the server."
            ),
            suggested=("127.0.0.1", "0.0.0.0"),
        ),
    )
    port: int = field(
        default=9002,
        metadata=aboutPort(
            _(
                "Port to listen on, or port of the server. 9002 is usual. 0: a server chooses a free port. A port in "
                "the address overrides this one."
            )
        ),
    )
    config: str = field(
        default="null",
        metadata=about(
            _("Configuration"),
            _("Client: name of the program or configuration with which the server processes the images."),
            suggested=("null", "invertcontrast", "passthrough"),
        ),
    )
    sendBack: bool = field(
        default=True,
        metadata=about(
            _("Send images back"),
            _(
                "Server: send each image back unchanged, so that the scanner continues with it. Off: only the end of "
                "the measurement is confirmed."
            ),
        ),
    )
    complexAs: str = field(
        default="magnitude",
        metadata=about(
            _("Complex images"),
            _("How complex images are shown and recorded. Real and imaginary parts together lose nothing."),
            choices=COMPLEX,
        ),
    )
    tick: float = field(
        default=2.5,
        metadata=about(
            _("Clock tick"),
            _(
                "Unit of the scanner's time stamps, which count from midnight. Siemens: 2.5 ms. The standard leaves it "
                "open. 0: ignore the time stamps, and use the time of arrival."
            ),
            unit=_("ms"),
            limits=(0, 1000),
            decimals=3,
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
    allowed: tuple[str, ...] = field(
        default=(),
        metadata=aboutAllowed(
            _(
                "Server: addresses of the computers that may connect, for example 10.0.0.7 or 10.0.1.0/24. Empty: "
                "every computer that reaches the port."
            )
        ),
    )
    sizeLimit: int = field(
        default=1 << 30,
        metadata=aboutSizeLimit(
            _("Largest image"),
            _(
                "Larger images are rejected, reported and not sent back. The incomplete volumes of a scanner take no "
                "more memory than this."
            ),
        ),
    )
    expectedImages: int = field(default=0, metadata=EXPECTED)
    stream: str = field(
        default="MRD",
        metadata=about(
            _("Volume name"),
            _("Name of the volume of a measurement without a protocol name. Others have theirs."),
            advanced=True,
        ),
    )

    def __post_init__(self) -> None:
        takeAddress(self)
        super().__post_init__()
        if not self.host:
            raise SettingsError(_("Name the address, such as 127.0.0.1 or 192.168.0.10."))
        checkAllowed(self.allowed)
        if self.role == "server":
            return
        if not self.file:
            raise SettingsError(_("Choose the file or folder whose images are sent."))
        if self.port == 0:
            raise SettingsError(_("Enter the port of the server, such as 9002."))
        if not self.config.strip() or len(self.config.encode()) > CONFIG_BYTES:
            raise SettingsError(
                _("The name of a configuration has 1 to {limit} bytes, such as null.").format(limit=CONFIG_BYTES)
            )

    @property
    def extraPackages(self) -> tuple[Package, ...]:
        """The package for MRD files, when one is sent."""
        return HDF5_PACKAGES if self.role == "client" and self.file.lower().endswith(HDF5_SUFFIXES) else ()

    @classmethod
    def unused(cls, values: Mapping[str, Any]) -> set[str]:
        """Return what the other role uses."""
        return {"file", "config"} if values["role"] == "server" else {"sendBack", "allowed"}


def _open(settings: MRDSettings, context: SourceContext) -> Source:
    if settings.role == "client":
        from .Client import MRDClient

        return MRDClient(settings, context.checkpoint, getBuffer=context.getBuffer)
    from .Source import MRDServer

    return MRDServer(settings, context.checkpoint, getBuffer=context.getBuffer)


def _idle(values: Mapping[str, Any]) -> str:
    if values["role"] == "server":
        return _("Press Start to wait for a scanner. Enter this computer's address and the port there.")
    return _("Choose the images to send, enter the server's address, and press Start.")


def _sender(settings: MRDSettings) -> str:
    return os.path.basename(settings.file) if settings.role == "client" else ""


def _dropped(path: str) -> Mapping[str, Any] | None:
    return {"role": "client", "file": path} if path.lower().endswith(HDF5_SUFFIXES) else None


KIND = SourceKind(
    MRDSettings,
    _("MRD (ISMRMRD) scanner"),
    _open,
    idle=_idle,
    sender=_sender,
    dropped=_dropped,
    steady=False,
)
