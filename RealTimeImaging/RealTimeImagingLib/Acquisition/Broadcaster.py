"""Sends frames over OpenIGTLink to all who connect, in a thread of its own: nobody else ever waits for a slow one."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..DeviceMessage import DeviceMessage
from ..Doors import Listener
from ..Errors import WireError
from ..Event import Event
from ..Frame import Frame
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
)
from ..OpenIGTLink.Header import FULL_NAME
from ..OpenIGTLink.Peers import Peers
from ..Settings import BroadcastSettings
from .Audience import STALLED, Client, Memories, Packet

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
        self._clients: dict[str, Client] = {}
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
        self._memories.lend(memory, packet)
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

    def _send(self, client: Client) -> None:
        while packet := self._take(client):
            try:
                self._peers.send(packet.buffers(self.settings.version), [client.peer])
            except WireError as error:
                with self._lock:
                    client.refuse()
                if str(error) not in self._unsent and len(self._unsent) < MOST_NAMES:
                    self._unsent.add(str(error))
                    self._tell(Event("not-sent", str(error), "warning", packet.key[1]))

    def _take(self, client: Client) -> Packet | None:
        with self._lock:
            return client.take(time.monotonic())

    def _note(self, event: Event) -> Event:
        if event.code == "listening":
            return replace(event, text=event.text.replace("Listening on", "Images are sent to all who connect to"))
        if event.code == "connected":
            peer = next(one for one in self._peers.connected if one.name == event.subject)
            with self._lock:
                self._clients[peer.name] = Client(peer, time.monotonic())
        elif event.code == "disconnected" and event.subject in self._clients:
            client = self._leave(event.subject)
            lost = f", and {client.lost} did not reach it" if client.lost else ""
            text = f"{event.text.rstrip('.')}; {client.sent} messages were sent to it{lost}."
            return replace(event, text=text, level="warning" if client.lost else "info")
        return event

    def _leave(self, name: str) -> Client:
        with self._lock:
            client = self._clients.pop(name)
            client.leave(time.monotonic())
            self._served, self._sent = self._served + 1, self._sent + client.sent
            self._lost += client.lost
        return client

    def _answer(self, client: Client, item: Message | Problem) -> None:
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
