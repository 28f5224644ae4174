"""Send frames over OpenIGTLink to all subscribers, in a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..Model.DeviceMessage import DeviceMessage
from ..Model.Errors import WireError
from ..Model.Event import Event
from ..Model.Frame import Frame, Pixels
from ..OpenIGTLink import (
    CapabilityMessage,
    ImageMessage,
    Message,
    Problem,
    QueryMessage,
    Receiver,
    StatusMessage,
    TransformMessage,
    deviceOnWire,
    knownTypes,
    packBuffers,
)
from ..OpenIGTLink.Base import Buffer
from ..OpenIGTLink.Header import FULL_NAME
from ..Sources.Endpoints import Listener
from ..Sources.OpenIGTLink import BroadcastSettings
from ..Sources.OpenIGTLink.Peers import Peer, Peers

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

    def getBuffer(self, memory: Pixels, packet: Packet) -> None:
        """The memory is the packet's until the packet is gone."""
        self._lent.append((memory, weakref.ref(packet)))

    def clear(self) -> None:
        """Keep nothing."""
        self._lent.clear()


class Subscriber:
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


PATIENCE = 1.0
"""Seconds between two looks for clients that take nothing."""
LAST_WORDS = 0.5
"""Seconds at the end for what is still to be sent."""
QUESTION_SIZE = 1 << 16
"""Bytes of the largest message from a client that is looked at."""
MOST_NAMES = 1000

log = logging.getLogger(__name__)


class Broadcaster:
    """Listens, and sends what it is given to those who are connected at that moment.

    ``give`` copies a frame's pixels, and nothing when nobody is connected; it never waits. All else happens in the
    thread. What clients send is ignored, but for GET_STATUS and GET_CAPABIL.

    :param settings: where to listen.
    :param tell: called with each event, from any thread.
    """

    def __init__(self, settings: BroadcastSettings, tell: Callable[[Event], None]) -> None:
        self.settings, self._tell = settings, tell
        self._door = Listener(settings.host, settings.port, settings.allowed, "see the images")
        self._peers = Peers(self._door, _receiver, unread=STALLED + 2 * PATIENCE)
        self._clients: dict[str, Subscriber] = {}
        self._served = self._sent = self._lost = 0
        """Of those who have left."""
        self._memories = Memories()
        self._names: dict[str, str] = {}
        self._unsent: set[str] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="broadcast", daemon=True)
        self._thread.start()

    def give(self, frame: Frame) -> None:
        """Send a frame; from one thread only."""
        if not self._clients:
            self._memories.clear()
            return
        try:
            memory = self._memories.take(frame.pixels.nbytes)
        except MemoryError:
            with self._lock:
                for client in self._clients.values():
                    client.lost += 1
            return
        pixels = memory.view(frame.pixels.dtype).reshape(frame.pixels.shape)
        np.copyto(pixels, frame.pixels)
        name = self._nameOf(frame.stream)
        message = ImageMessage(pixels, frame.ijkToRAS, timestamp=frame.time, device_name=name)
        message.metadata, message.message_id = dict(frame.attributes), frame.number & 0xFFFFFFFF
        self._addFullName(message, frame.stream)
        packet = Packet(message, memory.nbytes)
        self._memories.getBuffer(memory, packet)
        self._offer(packet)

    def giveMessage(self, message: DeviceMessage) -> None:
        """Send what a device said; of all kinds only transforms."""
        if self._clients and message.kind == "transform":
            matrix = np.array(message.values["matrix"], np.float64)
            name = self._nameOf(message.device)
            transform = TransformMessage(matrix, device_name=name, timestamp=message.time)
            transform.metadata = dict(message.attributes)
            self._addFullName(transform, message.device)
            self._offer(Packet(transform))

    def status(self) -> dict[str, Any]:
        """``host``, ``port``, ``listening``, ``sent``, ``lost`` (messages, of all clients so far), ``served`` (how many
        clients have left), and ``clients``: ``name``, ``sent``, ``lost``, ``ignored`` of each."""
        with self._lock:
            clients = list(self._clients.values())
            return {
                "host": self.settings.host,
                "port": self._door.port,
                "listening": self._door.socket is not None,
                "sent": self._sent + sum(one.sent for one in clients),
                "lost": self._lost + sum(one.lost for one in clients),
                "served": self._served,
                "clients": [one.toJSON() for one in clients],
            }

    def end(self) -> None:
        """Send what waits, for LAST_WORDS at most, and end; returns at once."""
        self._stopping.set()
        self._peers.wake()

    @property
    def ended(self) -> bool:
        """True once nothing more is sent, and the port is free."""
        return not self._thread.is_alive()

    def close(self) -> None:
        """End, and wait for it."""
        self.end()
        self._thread.join(2 * LAST_WORDS)

    # ---- the thread

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._turn(PATIENCE)
            end = time.monotonic() + LAST_WORDS
            while time.monotonic() < end and not all(client.idle for client in self._clients.values()):
                self._turn(LAST_WORDS / 10)
        except Exception as error:  # the boundary of this thread: the source and the recording must go on
            log.exception("Images cannot be sent to others any more")
            text = f"Images cannot be sent to others any more: {type(error).__name__}: {error}"
            self._tell(Event("broadcast-failed", text, "error"))
        finally:
            for name in list(self._clients):
                self._leave(name)
            self._peers.close()

    def _turn(self, seconds: float) -> None:
        for item in self._peers.step(seconds):
            if isinstance(item, Event):
                self._tell(self._note(item))
            else:
                self._answer(self._clients[item[0].name], item[1])
        # Clients come and go in this thread only.
        for client in self._clients.values():
            self._send(client)

    def _send(self, client: Subscriber) -> None:
        while packet := self._take(client):
            try:
                self._peers.send(packet.buffers(self.settings.version), [client.peer])
            except WireError as error:
                with self._lock:
                    client.refuse()
                if str(error) not in self._unsent and len(self._unsent) < MOST_NAMES:
                    self._unsent.add(str(error))
                    self._tell(Event("not-sent", str(error), "warning", packet.key[1]))

    def _take(self, client: Subscriber) -> Packet | None:
        with self._lock:
            return client.take(time.monotonic())

    def _note(self, event: Event) -> Event:
        if event.code == "listening":
            return replace(event, text=event.text.replace("Listening on", "Images are sent to all who connect to"))
        if event.code == "connected":
            peer = next(one for one in self._peers.connected if one.name == event.subject)
            with self._lock:
                self._clients[peer.name] = Subscriber(peer, time.monotonic())
        elif event.code == "disconnected" and event.subject in self._clients:
            client = self._leave(event.subject)
            lost = f", and {client.lost} did not reach it" if client.lost else ""
            text = f"{event.text.rstrip('.')}; {client.sent} messages were sent to it{lost}."
            return replace(event, text=text, level="warning" if client.lost else "info")
        return event

    def _leave(self, name: str) -> Subscriber:
        with self._lock:
            client = self._clients.pop(name)
            client.leave(time.monotonic())
            self._served, self._sent = self._served + 1, self._sent + client.sent
            self._lost += client.lost
        return client

    def _answer(self, client: Subscriber, item: Message | Problem) -> None:
        answer: Message
        if isinstance(item, QueryMessage) and item.message_type == "GET_STATUS":
            answer = StatusMessage(device_name=item.device_name)
        elif isinstance(item, QueryMessage) and item.message_type.startswith("GET_CAPABIL"):
            answer = CapabilityMessage(knownTypes(), device_name=item.device_name)
        else:
            client.ignored += 1
            return
        with self._lock:
            client.offer(Packet(answer, counted=False))

    # ---- what is sent

    def _offer(self, packet: Packet) -> None:
        with self._lock:
            for client in self._clients.values():
                client.offer(packet)
        self._peers.wake()

    def _addFullName(self, message: Message, name: str) -> None:
        if message.device_name != name:
            message.metadata[FULL_NAME] = name  # version 2 of the header sends it

    def _nameOf(self, stream: str) -> str:
        # Two long names that begin alike must not become one stream.
        if stream not in self._names and len(self._names) < MOST_NAMES:
            name, number = deviceOnWire(stream), 1
            while name in self._names.values():
                number += 1
                name = deviceOnWire(f"{number} {stream}")
            self._names[stream] = name
            if name != stream and self.settings.version == 1:
                text = (
                    f"{stream} is sent under the name {name}: version 1 of OpenIGTLink's header has room for 20 bytes, "
                    "version 2 for more."
                )
                self._tell(Event("renamed", text, "warning", stream))
        return self._names.get(stream, deviceOnWire(stream))


def _receiver() -> Receiver:
    # What is no short question is passed over as it comes, and never in memory.
    return Receiver(sizeLimit=QUESTION_SIZE)
