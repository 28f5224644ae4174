"""Images that are posted over HTTP."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import ClassVar

from ...Model.Errors import SettingsError
from ...Model.Settings import EXPECTED, STREAM, SourceSettings, about, checkAllowed, takeAddress
from ...Model.Text import textsOf
from ..CommonSettings import aboutAllowed, aboutPort, aboutSizeLimit
from ..Source import Source, SourceContext, SourceControls, SourceKind
from .Origins import originOf

_ = textsOf(__file__)

TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{16,200}=*")
"""RFC 6750, section 2.1 (b64token), with a length that cannot be guessed."""


@dataclass(frozen=True)
class HTTPSettings(SourceSettings):
    """Programs that post images over HTTP (``POST /frame``).

    Each needs the token. Nothing is encrypted, so every computer on the way can read it.
    """

    kind: ClassVar[str] = "http"

    host: str = field(
        default="127.0.0.1",
        metadata=about(
            _("Address"),
            _(
                "Address to listen on. 127.0.0.1: programs on this computer only. 0.0.0.0: every computer in the "
                "network that knows the token, which is sent unencrypted."
            ),
            suggested=("127.0.0.1", "0.0.0.0"),
        ),
    )
    port: int = field(
        default=18980,
        metadata=aboutPort(_("Port to listen on. 0: choose a free port.")),
    )
    expectedImages: int = field(default=0, metadata=EXPECTED)
    stream: str = field(default="Live", metadata=STREAM)
    token: str = field(
        default="",
        repr=False,
        metadata=about(
            _("Token"),
            _(
                "Programs send this token with their images: 16 to 200 letters, digits and . _ ~ + / -. Empty: each "
                "start makes a new one."
            ),
            secret=True,
            inPanel=False,
        ),
    )
    allowed: tuple[str, ...] = field(
        default=(),
        metadata=aboutAllowed(
            _(
                "Addresses of the computers that may send images, for example 10.0.0.7 or 10.0.1.0/24. Empty: every "
                "computer that knows the token."
            )
        ),
    )
    origins: tuple[str, ...] = field(
        default=(),
        metadata=about(
            _("Allowed web pages"),
            _(
                "Origins of the web pages that may send images, for example http://localhost:3000 or "
                "https://lab.example.org. They need the token, too. Empty: no web page."
            ),
            placeholder=_("none"),
            advanced=True,
        ),
    )
    sizeLimit: int = field(
        default=1 << 30,
        metadata=aboutSizeLimit(
            _("Largest image"),
            _(
                "Larger images are rejected, and their sender gets the reason. Images that arrive at the same time "
                "share twice as much memory."
            ),
        ),
    )

    def __post_init__(self) -> None:
        takeAddress(self)
        super().__post_init__()
        if not self.host:
            raise SettingsError(_("Name the address to listen on, such as 127.0.0.1 or 0.0.0.0."))
        checkAllowed(self.allowed)
        object.__setattr__(self, "origins", tuple(map(originOf, self.origins)))
        if self.token and not TOKEN.fullmatch(self.token):
            raise SettingsError(_("A token has 16 to 200 letters, digits and . _ ~ + / - in it."))


def _open(settings: HTTPSettings, context: SourceContext) -> Source:
    from .Source import HTTPSource

    return HTTPSource(settings, context.checkpoint, getBuffer=context.getBuffer)


def _controls() -> type[SourceControls]:
    from .Host import HTTPControls

    return HTTPControls


KIND = SourceKind(
    HTTPSettings,
    _("Images posted over HTTP"),
    _open,
    idle=lambda values: _("Press Start to listen for images that programs send over HTTP."),
    sender=lambda settings: _("programs over HTTP"),
    controls=_controls,
)
