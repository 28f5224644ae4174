"""What the logic does for those who want the live images elsewhere."""

from __future__ import annotations

from typing import Any

from .Broadcasting import Broadcasting
from .Packages import checkPackages
from .Settings import BroadcastSettings, OpenIGTLinkSettings


class BroadcastLogic:
    """One part of :class:`RealTimeImagingLogic`, which makes what it needs."""

    broadcasting: Broadcasting

    def startBroadcast(self, port: int = 18945, host: str = "127.0.0.1", version: int = 1) -> None:
        """Send every live image over OpenIGTLink to all who connect, from now on and whatever source is started.

        A client that is too slow loses images, which is counted; nothing waits for it. The first source takes ``port``,
        each further one that runs at the same time the next; the event "listening" names it.

        :param port: TCP port to listen on; 0 takes free ones.
        :param host: address to listen on: 127.0.0.1 is this computer only, 0.0.0.0 all. There is no password.
        :param version: of the header: 1 is understood by all, 2 (protocol 3) carries the attributes of each image.
        :raises SettingsError: a value that cannot work.
        :raises MissingPackageError: a Python package that it needs is not installed.
        """
        settings = BroadcastSettings(port, host, version)
        checkPackages(OpenIGTLinkSettings.kind)
        self.broadcasting.start(settings)

    def stopBroadcast(self) -> None:
        """Send no more images to others."""
        self.broadcasting.stop()

    def broadcastStatus(self) -> str:
        """Who gets the images, in words; empty while they are not sent."""
        return self.broadcasting.words()

    def broadcastCounts(self) -> dict[str, Any]:
        """``active``, ``sent``, ``lost``, ``sources``: see :meth:`Broadcasting.counts`."""
        return self.broadcasting.counts()
