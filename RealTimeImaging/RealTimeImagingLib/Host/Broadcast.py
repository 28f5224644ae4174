"""Rebroadcast of live images over OpenIGTLink: public API."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from ..Link.Messages import broadcastWords
from ..Model.Packages import checkPackages
from ..Sources.OpenIGTLink import BroadcastSettings, OpenIGTLinkSettings
from .RunningSource import RunningSource
from .Session import Session


class Broadcasting:
    """Of all sources that run, and of those that are started later.

    :param session: whose sources.
    :param onChange: called when something of it may have changed.
    """

    def __init__(self, session: Session, onChange: Callable[[], None]) -> None:
        self._session, self._onChange = session, onChange
        self._settings: BroadcastSettings | None = None
        self._ports: dict[RunningSource, int] = {}
        session.orderGivers.append(self._orders)

    def start(self, settings: BroadcastSettings) -> None:
        """Send from now on, in place of what was asked for before."""
        self._settings = settings
        self._ports.clear()
        for handle in self._session.active():
            handle.send("broadcast", **self._of(handle, settings))
        self._onChange()

    def stop(self) -> None:
        """Send no more; a no-op when nothing is sent."""
        if self._settings:
            self._settings = None
            self._session.broadcast("stopBroadcast")
            self._onChange()

    def counts(self) -> dict[str, Any]:
        """``active``; ``sent`` and ``lost``, messages to all clients of the sources that count; ``sources``: of each
        that sends, ``streams``, ``host``, ``port``, ``listening``, ``sent``, ``lost``, ``served`` (clients that have
        left) and ``clients`` (``name``, ``sent``, ``lost``, ``ignored``)."""
        sources = [
            {"streams": list(handle.streams.values()), **handle.broadcast}
            for handle in self._session.handles
            if handle.broadcast
        ]
        return {
            "active": self._settings is not None,
            "sent": sum(one["sent"] for one in sources),
            "lost": sum(one["lost"] for one in sources),
            "sources": sources,
        }

    def words(self) -> str:
        """The same for people; empty while nothing is sent."""
        if self._settings is None:
            return ""
        told = [handle.broadcast for handle in self._session.active() if handle.broadcast]
        return " ".join(broadcastWords(one) for one in told) or "Images will be sent when a source is started."

    def _orders(self, handle: RunningSource) -> list[dict[str, Any]]:
        return [{"command": "broadcast", **self._of(handle, self._settings)}] if self._settings else []

    def _of(self, handle: RunningSource, settings: BroadcastSettings) -> dict[str, Any]:
        # A source that is started again keeps its port, so that those who were connected find it.
        if handle not in self._ports:
            active = self._session.active()
            self._ports = {one: port for one, port in self._ports.items() if one in active}
            self._ports[handle] = _free(settings.port, set(self._ports.values()))
        return {**dataclasses.asdict(settings), "port": self._ports[handle]}


def _free(first: int, taken: set[int]) -> int:
    # 0 lets the system choose, for each source another one.
    port = first
    while first and port in taken:
        port += 1
    return port if port <= 65535 else 0


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
