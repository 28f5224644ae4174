"""Those to whom frames are sent, and what waits for each of them. No socket is touched here.

A message is in memory once, however many wait for it. Who keeps up may be a burst behind; who falls further behind gets
the newest of each stream only, until nothing has waited for it for a while: for the rest it was too slow, and that is
counted.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Sequence

import numpy as np

from ..Frame import Pixels
from ..OpenIGTLink import Message, packBuffers
from ..OpenIGTLink.Checksum import Buffer
from ..OpenIGTLink.Peer import Peer

BURST, BURST_BYTES = 30, 64 << 20
"""Messages of a stream, and bytes of all, that may wait for one who keeps up."""
RECOVERY = 1.0
"""Seconds without anything that waits to be sent after which one who fell behind counts as one who keeps up."""
STALLED = 30.0
"""Seconds after which one who takes nothing is disconnected."""
SPARE = 4
"""Pieces of memory that are kept though nothing lies in them."""

Key = tuple[str, str]
"""Type and device: of two messages with the same key the newer replaces the older."""


class Packet:
    """A message for any number of clients, packed when the first of them takes it.

    :param message: what to send; of an image the pixels are kept.
    :param nbytes: about how much memory it takes.
    :param counted: False for an answer, which nobody misses.
    """

    def __init__(self, message: Message, nbytes: int = 0, counted: bool = True) -> None:
        self.key: Key = (message.message_type, message.device_name)
        self.nbytes, self.counted = nbytes, counted
        self._message = message
        self._buffers: Sequence[Buffer] | None = None

    def buffers(self, version: int) -> Sequence[Buffer]:
        """Its bytes, in pieces.

        :param version: of the header; the same in each call.
        :raises WireError: it has something that OpenIGTLink cannot carry.
        """
        if self._buffers is None:
            self._buffers = packBuffers(self._message, version=version)
        return self._buffers


class Memories:
    """Memory for pixels, used again when the packet that it was lent to is gone."""

    def __init__(self) -> None:
        self._lent: list[tuple[Pixels, weakref.ref[Packet]]] = []

    def take(self, nbytes: int) -> Pixels:
        """So many bytes (uint8) that nobody uses."""
        used = [one for one in self._lent if one[1]() is not None]
        spare = [one for one in self._lent if one[1]() is None]
        place = next((place for place, one in enumerate(spare) if one[0].nbytes == nbytes), None)
        found = np.empty(nbytes, np.uint8) if place is None else spare.pop(place)[0]
        self._lent = used + spare[-SPARE:]
        return found

    def lend(self, memory: Pixels, packet: Packet) -> None:
        """The memory is the packet's until the packet is gone."""
        self._lent.append((memory, weakref.ref(packet)))

    def clear(self) -> None:
        """Keep nothing."""
        self._lent.clear()


class Client:
    """One who is connected.

    :param peer: the connection.
    :param now: monotonic seconds.
    """

    def __init__(self, peer: Peer, now: float) -> None:
        self.peer = peer
        self.sent = self.lost = 0
        """Messages that the system took for it, and those that it was too slow for."""
        self.ignored = 0
        """Messages that came from it."""
        self._waiting: deque[Packet] = deque()
        self._sending: Packet | None = None
        self._behind = False
        self._backlog = 0
        self._moved = self._blocked = now

    def offer(self, packet: Packet) -> None:
        """Let it wait, in place of older ones where it is too much."""
        self._waiting.append(packet)
        same = sum(one.key == packet.key for one in self._waiting)
        tooMuch = same > 1 and sum(one.nbytes for one in self._waiting) > BURST_BYTES
        if same > (1 if self._behind else BURST) or tooMuch:
            self._behind = True
            newest = {one.key: one for one in self._waiting}
            self._lose([one for one in self._waiting if newest[one.key] is not one])
            self._waiting = deque(one for one in self._waiting if newest[one.key] is one)

    def take(self, now: float) -> Packet | None:
        """What is to be sent now, None when there is nothing, or when something is still on its way."""
        self._note(now)
        if self._sending or self._backlog or self.peer.lost or not self._waiting:
            return None
        self._sending = self._waiting.popleft()
        return self._sending

    def refuse(self) -> None:
        """What was taken cannot be sent."""
        if self._sending:
            self._lose([self._sending])
            self._sending = None

    def leave(self, now: float) -> None:
        """It is gone: what it has not taken is lost."""
        self._note(now)
        self.refuse()
        self._lose(list(self._waiting))
        self._waiting.clear()

    @property
    def idle(self) -> bool:
        """True when all is sent, or will never be."""
        return bool(self.peer.lost) or not (self._waiting or self._sending)

    def toJSON(self) -> dict[str, object]:
        """``name``, ``sent``, ``lost``, ``ignored``."""
        return {"name": self.peer.name, "sent": self.sent, "lost": self.lost, "ignored": self.ignored}

    def _note(self, now: float) -> None:
        backlog = self.peer.backlog
        if backlog != self._backlog or not backlog:
            self._backlog, self._moved = backlog, now
        if backlog:
            self._blocked = now
            if now - self._moved > STALLED and not self.peer.lost:
                self.peer.lost = f"it has taken nothing for {STALLED:.0f} s"
            return
        if now - self._blocked > RECOVERY:
            self._behind = False
        # What a connection that broke had not taken has gone with it.
        if self._sending and not self.peer.lost:
            self.sent += self._sending.counted
            self._sending = None

    def _lose(self, packets: list[Packet]) -> None:
        self.lost += sum(one.counted for one in packets)
