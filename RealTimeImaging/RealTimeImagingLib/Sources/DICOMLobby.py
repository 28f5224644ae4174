"""Those who connect: let in when the first byte they send is one of DICOM; all others never reach the protocol."""

from __future__ import annotations

import math
import selectors
import socket
import time
from collections.abc import Callable, Iterator

from ..Doors import Connected, Listener
from ..Event import Event

MOST = 64
"""Connections that may stand in the lobby; more are refused."""
SPEECHLESS = 10.0
"""Seconds after which one who says nothing is sent away."""
_ASSOCIATE = 1
"""The first byte of an A-ASSOCIATE-RQ (PS3.8 section 9.3.2), which everybody begins with."""
_LONGEST = 1 << 20
"""Bytes of an A-ASSOCIATE-RQ that is believed: 128 contexts with 30 transfer syntaxes each take 256 KiB."""
_OTHERS = {b"\x16": "TLS, which is not understood here", b"G": "HTTP", b"P": "HTTP", b"H": "HTTP"}


class Lobby:
    """Waits for those who connect, for their first words, and for :meth:`wake`.

    :param door: where they come in.
    :param clock: monotonic seconds.
    """

    def __init__(self, door: Listener, clock: Callable[[], float] = time.monotonic) -> None:
        self._door, self._clock = door, clock
        self._waiting: dict[socket.socket, tuple[str, float]] = {}
        self._selector = selectors.DefaultSelector()
        self._heard, self._waking = socket.socketpair()
        for end in (self._heard, self._waking):
            end.setblocking(False)
        self._selector.register(self._heard, selectors.EVENT_READ)
        self._doorSocket: socket.socket | None = None

    @property
    def listening(self) -> bool:
        """Whether somebody can connect."""
        return self._door.socket is not None

    def step(self, seconds: float) -> Iterator[Connected | Event]:
        """Who speaks DICOM, and what happened; waits for so many seconds at most."""
        now = self._clock()
        if now >= self._door.due:
            yield from self._door.open(now)
            self._watchDoor()
        soonest = min((since + SPEECHLESS for _, since in self._waiting.values()), default=math.inf)
        seconds = max(0.0, min(seconds, self._door.due - now, soonest - now))
        for key, _mask in self._selector.select(seconds):
            if key.fileobj is self._heard:
                self._drain()
            elif key.data is None:
                yield from self._welcome()
            else:
                yield from self._listenTo(key.data)
        now = self._clock()
        for connection, (name, since) in list(self._waiting.items()):
            if now - since > SPEECHLESS:
                self._sendAway(connection)
                text = f"{name} connected and said nothing for {SPEECHLESS:.0f} s: the connection is closed."
                yield Event("peer-silent", text, "warning", name)

    def wake(self) -> None:
        """End the waiting of step(), from any thread."""
        try:
            self._waking.send(b"w")
        except OSError:
            pass  # it will wake of what is there already, or is closed

    def close(self) -> None:
        """Close the door and all that stand in the lobby."""
        for connection in list(self._waiting):
            self._sendAway(connection)
        self._door.close()
        self._selector.close()
        self._heard.close()
        self._waking.close()

    def _watchDoor(self) -> None:
        # A closed socket leaves the selector by itself on some systems only.
        if self._doorSocket is not None and self._door.socket is not self._doorSocket:
            try:
                self._selector.unregister(self._doorSocket)
            except (KeyError, ValueError):
                pass
            self._doorSocket = None
        if self._door.socket is not None and self._doorSocket is None:
            self._doorSocket = self._door.socket
            self._selector.register(self._doorSocket, selectors.EVENT_READ)

    def _welcome(self) -> Iterator[Event]:
        for one in self._door.take(self._clock()):
            if isinstance(one, Event):
                yield one
                continue
            connection, name = one
            if len(self._waiting) >= MOST:
                connection.close()
                yield Event("peer-refused", f"{name} wanted to connect, and {MOST} others wait already.", "warning")
                continue
            connection.setblocking(False)
            self._waiting[connection] = (name, self._clock())
            self._selector.register(connection, selectors.EVENT_READ, connection)
        self._watchDoor()

    def _listenTo(self, connection: socket.socket) -> Iterator[Connected | Event]:
        name, _since = self._waiting[connection]
        try:
            words = connection.recv(6, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            words = b""
        if not words:
            # Whoever only wants to know whether the port is open hangs up at once.
            self._sendAway(connection)
        elif words[0] != _ASSOCIATE or int.from_bytes(words[2:], "big") > _LONGEST:
            self._sendAway(connection)
            kind = _OTHERS.get(words[:1], "something else")
            yield Event(
                "not-dicom", f"{name} does not speak DICOM but {kind}: the connection is closed.", "warning", name
            )
        else:
            self._selector.unregister(connection)
            del self._waiting[connection]
            yield connection, name

    def _sendAway(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        del self._waiting[connection]
        connection.close()

    def _drain(self) -> None:
        try:
            while self._heard.recv(4096):
                pass
        except BlockingIOError:
            pass
