"""Images that are posted over HTTP."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import ClassVar

from ...Model.Errors import SettingsError
from ...Model.Settings import SourceSettings, checkAllowed, checkNumber, checkPort

TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{16,200}=*")
"""RFC 6750, section 2.1 (b64token), and long enough that nobody guesses it."""


@dataclass(frozen=True)
class HTTPSettings(SourceSettings):
    """Programs that post images over HTTP: ``POST /frame``, see the README.

    Each needs a token; nothing is encrypted, so that outside this computer everybody on the way can read it.

    :param host: address to listen on: 127.0.0.1 is this computer only, 0.0.0.0 all.
    :param port: TCP port, 1 to 65535; 0 takes a free one, which the event "listening" names.
    :param stream: name of the stream of images for which the sender names none.
    :param token: what senders have to know, 16 to 200 letters, digits and . _ ~ + / -; empty: one is made at start,
        which the panel shows and the handle's ``details`` have. It is not kept in scenes and settings.
    :param allowed: who may connect, as addresses (10.0.0.7) or networks (10.0.0.0/24); empty: all.
    :param sizeLimit: bytes of the largest request, and of the largest image in it. All that come at the same time may
        have twice as many together.
    :raises SettingsError: a value that cannot work.
    """

    kind: ClassVar[str] = "http"

    host: str = "127.0.0.1"
    port: int = 18980
    stream: str = "Live"
    token: str = field(default="", repr=False)
    allowed: tuple[str, ...] = ()
    sizeLimit: int = 1 << 30

    def __post_init__(self) -> None:
        object.__setattr__(self, "allowed", tuple(self.allowed))
        if not str(self.host).strip():
            raise SettingsError("Name the address to listen on, such as 127.0.0.1 or 0.0.0.0.")
        checkPort(self.port, 0)
        checkAllowed(self.allowed)
        if not isinstance(self.token, str) or (self.token and not TOKEN.fullmatch(self.token)):
            raise SettingsError("A token has 16 to 200 letters, digits and . _ ~ + / - in it.")
        checkNumber(self.sizeLimit, (1 << 10, 1 << 36), "The largest request", "bytes")
        if not self.stream.strip():
            raise SettingsError("The live volume needs a name.")

    def withoutSecrets(self) -> SourceSettings:
        """The same without the token."""
        return dataclasses.replace(self, token="")
