"""Rebroadcast of live images over OpenIGTLink: ``logic.broadcast``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from ..Link.Commands import Command, StartBroadcast, StopBroadcast
from ..Link.Messages import broadcastWords
from ..Model.Packages import checkPackages
from ..Model.Text import joined, textsOf
from ..Sources.OpenIGTLink import BroadcastSettings
from .RunningSource import RunningSource
from .Session import Session

_ = textsOf(__file__)


class BroadcastControl:
    """Sends the images of all sources that run, and of sources that are started later.

    :param session: the sources.
    :param onChange: called when a state may have changed.
    """

    def __init__(self, session: Session, onChange: Callable[[], None]) -> None:
        self._session, self._onChange = session, onChange
        self._settings: BroadcastSettings | None = None
        self._ports: dict[RunningSource, int] = {}
        session.startupProviders.append(self._startupCommands)

    def start(
        self,
        port: int = 18945,
        host: str = "127.0.0.1",
        version: int = 1,
        *,
        codec: str = "",
        quality: int = 75,
        keyFrameDistance: int = 30,
        bitRate: float = 0.0,
    ) -> None:
        """Send every live image over OpenIGTLink to all clients, from now on and from every source.

        A client that is too slow loses images, which are counted; nothing waits for it. The first source takes
        ``port``, each further one that runs at the same time the next; the event "listening" names it. A further call
        replaces the settings.

        :param port: TCP port to listen on; 0 chooses free ports.
        :param host: address to listen on: 127.0.0.1 is this computer only, 0.0.0.0 all. There is no password.
        :param version: of the header: all clients understand 1; 2 (protocol 3) carries the attributes of each image.
        :param codec: "": exact images (IMAGE). "h264", "hevc", "vp9", "av1": single slices of 8 bits become compressed
            video (VIDEO), others stay images.
        :param quality: of the video, 1 (smallest) to 99 (best); 100: without loss.
        :param keyFrameDistance: most frames from one key frame to the next.
        :param bitRate: most megabits a second of each video; 0: no limit.
        :raises SettingsError: a value that cannot work.
        :raises MissingPackageError: a required Python package is not installed.
        """
        settings = BroadcastSettings(
            port,
            host,
            version,
            codec=codec,
            quality=quality,
            keyFrameDistance=keyFrameDistance,
            bitRate=bitRate,
        )
        checkPackages(settings.packages, _("This rebroadcast"))
        self._settings = settings
        self._ports.clear()
        for source in self._session.active():
            source.sendCommand(self._commandFor(source, settings))
        self._onChange()

    def stop(self) -> None:
        """Send no more images; do nothing when none are sent."""
        if self._settings:
            self._settings = None
            self._session.broadcast(StopBroadcast())
            self._onChange()

    def counts(self) -> dict[str, Any]:
        """Return ``active``, ``sent``, ``lost`` (messages to all clients) and ``sources``.

        Each source that sends has ``streams``, ``host``, ``port``, ``listening``, ``sent``, ``lost``, ``served``
        (clients that have disconnected) and ``clients`` (``name``, ``sent``, ``lost``, ``ignored``).
        """
        sources = [
            {"streams": list(source.streams.values()), **source.broadcast}
            for source in self._session.sources
            if source.broadcast
        ]
        return {
            "active": self._settings is not None,
            "sent": sum(one["sent"] for one in sources),
            "lost": sum(one["lost"] for one in sources),
            "sources": sources,
        }

    def words(self) -> str:
        """Return the clients and counts as text; empty while no images are sent."""
        if self._settings is None:
            return ""
        reported = [source.broadcast for source in self._session.active() if source.broadcast]
        return joined(*map(broadcastWords, reported)) or _("Images will be sent when a source is started.")

    def _startupCommands(self, source: RunningSource) -> list[Command]:
        return [self._commandFor(source, self._settings)] if self._settings else []

    def _commandFor(self, source: RunningSource, settings: BroadcastSettings) -> StartBroadcast:
        # A source that is restarted keeps its port, so that its clients find it again.
        if source not in self._ports:
            active = self._session.active()
            self._ports = {one: port for one, port in self._ports.items() if one in active}
            self._ports[source] = _freePort(settings.port, set(self._ports.values()))
        return StartBroadcast({**dataclasses.asdict(settings), "port": self._ports[source]})


def _freePort(first: int, taken: set[int]) -> int:
    # 0 lets the system choose another port for each source.
    port = first
    while first and port in taken:
        port += 1
    return port if port <= 65535 else 0
