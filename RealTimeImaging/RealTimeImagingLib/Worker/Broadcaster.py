"""Send frames over OpenIGTLink to all clients, in a thread of its own."""

from __future__ import annotations

import logging
import math
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..Model.DeviceMessage import DeviceMessage
from ..Model.Errors import MissingPackageError, NotAnImageError, WireError
from ..Model.Event import Event
from ..Model.Files import unexpected
from ..Model.Frame import Frame, Pixels
from ..Model.Quantities import counted
from ..Model.Text import joined, textsOf
from ..OpenIGTLink import (
    CapabilityMessage,
    ImageMessage,
    Message,
    Problem,
    QueryMessage,
    Receiver,
    StatusMessage,
    TransformMessage,
    VideoMessage,
    deviceOnWire,
    knownTypes,
    packBuffers,
)
from ..OpenIGTLink.Base import Buffer
from ..OpenIGTLink.Header import FULL_NAME
from ..Sources.Endpoints import Listener
from ..Sources.OpenIGTLink import BroadcastSettings
from ..Sources.OpenIGTLink.Peers import Peer, Peers
from .VideoStreams import VideoStreams

_ = textsOf(__file__)

BURST, BURST_BYTES = 30, 64 << 20
"""Messages of a stream, and bytes of all streams, that may wait for a client that keeps up."""
RECOVERY = 1.0
"""Seconds without a waiting message after which a slow client counts as one that keeps up."""
STALLED = 30.0
"""Seconds after which a client that reads nothing is disconnected."""
KEY_PERIOD = 1.0
"""Least seconds between two key frames that a slow client causes."""
SPARE = 4
"""Unused pieces of memory that are kept."""

Key = tuple[str, str]
"""Type and device. Of two messages with the same key, the newer replaces the older."""


class Packet:
    """A message for any number of clients, packed when the first client takes it.

    :param message: message to send; the pixels of an image are not copied.
    :param nbytes: approximate memory of the message.
    :param counted: False for an answer, which does not count as sent or lost.
    :ivar depends: True for a frame of a video that needs the frames before it.
    """

    def __init__(self, message: Message, nbytes: int = 0, counted: bool = True) -> None:
        self.key: Key = (message.message_type, message.device_name)
        self.nbytes, self.counted = nbytes, counted
        self.depends = isinstance(message, VideoMessage) and not message.key
        self._message = message
        self._buffers: Sequence[Buffer] | None = None

    def buffers(self, version: int) -> Sequence[Buffer]:
        """Return the bytes of the message, in pieces.

        :param version: of the header; the same in each call.
        :raises WireError: OpenIGTLink cannot carry the message.
        """
        if self._buffers is None:
            self._buffers = packBuffers(self._message, version=version)
        return self._buffers


class PixelMemory:
    """Pool of memory for pixels. A piece is used again after its packet is deleted."""

    def __init__(self) -> None:
        self._lent: list[tuple[Pixels, weakref.ref[Packet]]] = []

    def take(self, nbytes: int) -> Pixels:
        """Return an unused buffer of nbytes (uint8)."""
        used = [one for one in self._lent if one[1]() is not None]
        spare = [one for one in self._lent if one[1]() is None]
        place = next((place for place, one in enumerate(spare) if one[0].nbytes == nbytes), None)
        found = np.empty(nbytes, np.uint8) if place is None else spare.pop(place)[0]
        self._lent = used + spare[-SPARE:]
        return found

    def reserve(self, memory: Pixels, packet: Packet) -> None:
        """Reserve memory until its packet is deleted."""
        self._lent.append((memory, weakref.ref(packet)))

    def clear(self) -> None:
        """Free the memory."""
        self._lent.clear()


class Client:
    """A connected client, its waiting messages and its counts.

    :param peer: the connection.
    :param now: monotonic seconds.
    """

    def __init__(self, peer: Peer, now: float) -> None:
        self.peer = peer
        self.sent = self.lost = 0
        """Messages that were sent to it, and messages that were dropped because it was too slow."""
        self.ignored = 0
        """Messages received from it, which are ignored."""
        self._waiting: deque[Packet] = deque()
        self._follows: set[Key] = set()
        """Videos of which it gets all frames since a key frame."""
        self._requested: dict[Key, float] = {}
        """Times at which a key frame of a video was requested last."""
        self._sending: Packet | None = None
        self._behind = False
        self._backlog = 0
        self._moved = self._blocked = now

    def offer(self, packet: Packet) -> None:
        """Queue a message; when too much waits, only the newest message of each key stays.

        A frame of a video whose predecessors were not queued is dropped: nobody could decode it.
        """
        if packet.depends and packet.key not in self._follows:
            self._lose([packet])
            return
        if packet.key[0] == VideoMessage.TYPE:
            self._follows.add(packet.key)
        self._waiting.append(packet)
        same = sum(one.key == packet.key for one in self._waiting)
        tooMuch = same > 1 and sum(one.nbytes for one in self._waiting) > BURST_BYTES
        if same > (1 if self._behind else BURST) or tooMuch:
            self._behind = True
            newest = {one.key: one for one in self._waiting}
            dropped = [one for one in self._waiting if newest[one.key] is not one]
            broken = {one.key for one in dropped if newest[one.key].depends}
            self._follows -= broken
            dropped += [newest[key] for key in broken]
            self._lose(dropped)
            self._waiting = deque(one for one in self._waiting if one not in dropped)

    def requestsKeyFrame(self, key: Key, now: float) -> bool:
        """Return whether it can follow a video from a key frame on, because nothing waits for it any more.

        Key frames are large, so a slow client requests one every KEY_PERIOD at most.
        """
        ready = key not in self._follows and not self._waiting and not self._backlog
        if not ready or now - self._requested.get(key, -math.inf) < KEY_PERIOD:
            return False
        self._requested[key] = now
        return True

    def take(self, now: float) -> Packet | None:
        """Return the next message to send; None when none waits, or the one before is not sent yet."""
        self._note(now)
        if self._sending or self._backlog or self.peer.lost or not self._waiting:
            return None
        self._sending = self._waiting.popleft()
        return self._sending

    def refuse(self) -> None:
        """Count the message taken last as lost: it cannot be sent."""
        if self._sending:
            self._lose([self._sending])
            self._sending = None

    def leave(self, now: float) -> None:
        """Count all waiting messages as lost: the client has disconnected."""
        self._note(now)
        self.refuse()
        self._lose(list(self._waiting))
        self._waiting.clear()

    @property
    def idle(self) -> bool:
        """True when no message waits, or the connection is lost."""
        return bool(self.peer.lost) or not (self._waiting or self._sending)

    def toJSON(self) -> dict[str, object]:
        """Return ``name``, ``sent``, ``lost`` and ``ignored``."""
        return {"name": self.peer.name, "sent": self.sent, "lost": self.lost, "ignored": self.ignored}

    def _note(self, now: float) -> None:
        backlog = self.peer.backlog
        if backlog != self._backlog or not backlog:
            self._backlog, self._moved = backlog, now
        if backlog:
            self._blocked = now
            if now - self._moved > STALLED and not self.peer.lost:
                self.peer.lost = _("it has read nothing for {seconds:.0f} s").format(seconds=STALLED)
            return
        if now - self._blocked > RECOVERY:
            self._behind = False
        # A broken connection has lost what it had not sent.
        if self._sending and not self.peer.lost:
            self.sent += self._sending.counted
            self._sending = None

    def _lose(self, packets: list[Packet]) -> None:
        self.lost += sum(one.counted for one in packets)


CHECK_PERIOD = 1.0
"""Seconds between two checks for clients that read nothing."""
LAST_WORDS = 0.5
"""Seconds at the end to send the waiting messages."""
QUESTION_SIZE = 1 << 16
"""Largest message from a client that is read, in bytes."""
MOST_NAMES = 1000

log = logging.getLogger(__name__)


class Broadcaster:
    """Listener that sends frames and transforms to all connected clients.

    ``send`` copies a frame's pixels only while a client is connected, and never waits. Everything else happens in
    the thread. Messages from clients are ignored, except GET_STATUS and GET_CAPABIL.

    :param settings: address, port and allowed computers.
    :param report: called with each event, from any thread.
    """

    def __init__(self, settings: BroadcastSettings, report: Callable[[Event], None]) -> None:
        self.settings, self._report = settings, report
        self._listener = Listener(settings.host, settings.port, settings.allowed, _("{peers} can see the images."))
        self._peers = Peers(self._listener, _receiver, unread=STALLED + 2 * CHECK_PERIOD)
        self._clients: dict[str, Client] = {}
        self._served = self._sent = self._lost = 0
        """Counts of the clients that have disconnected."""
        self._memories = PixelMemory()
        self._videos = VideoStreams(settings) if settings.codec else None
        self._names: dict[str, str] = {}
        self._unsent: set[str] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="broadcast", daemon=True)
        self._thread.start()

    def send(self, frame: Frame) -> None:
        """Send a frame; call it from one thread only."""
        if not self._clients:
            self._memories.clear()
            return
        if self._videos and self._sendVideo(self._videos, frame):
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
        self._memories.reserve(memory, packet)
        self._offer(packet)

    def _sendVideo(self, videos: VideoStreams, frame: Frame) -> bool:
        """Let the thread encode a frame; return False when a video cannot carry it."""
        name = self._nameOf(frame.stream)
        if not videos.takes(frame):
            if videos.isNew(frame.stream):
                text = _(
                    "Stream {stream} is sent as images: compressed video carries single slices of 8 bits only, grey or "
                    "RGB."
                )
                self._report(Event("not-video", text.format(stream=frame.stream), "warning", frame.stream))
            return False
        dropped = videos.put(frame, name)
        if dropped:
            with self._lock:
                for client in self._clients.values():
                    client.lost += dropped
        self._peers.wake()
        return True

    def sendMessage(self, message: DeviceMessage) -> None:
        """Send a device message; only transforms are sent.

        Version 1 of the header has no room for the status of a tool: the pose of a tool that is not seen is not sent.
        """
        if self._clients and message.kind == "transform" and not (message.lost and self.settings.version == 1):
            matrix = np.array(message.values["matrix"], np.float64)
            name = self._nameOf(message.device)
            transform = TransformMessage(matrix, device_name=name, timestamp=message.time)
            transform.metadata = dict(message.attributes)
            if message.lost and not message.unseen:
                transform.metadata["Status"] = message.lost
            self._addFullName(transform, message.device)
            self._offer(Packet(transform))

    def status(self) -> dict[str, Any]:
        """Return ``host``, ``port``, ``listening``, ``sent`` and ``lost`` (messages of all clients), ``served``
        (clients that have disconnected), and ``clients``: ``name``, ``sent``, ``lost``, ``ignored`` of each."""
        with self._lock:
            clients = list(self._clients.values())
            return {
                "host": self.settings.host,
                "port": self._listener.port,
                "listening": self._listener.socket is not None,
                "sent": self._sent + sum(one.sent for one in clients),
                "lost": self._lost + sum(one.lost for one in clients),
                "served": self._served,
                "clients": [one.toJSON() for one in clients],
            }

    def end(self) -> None:
        """Start to end: send the waiting messages within LAST_WORDS. Return at once."""
        self._stopping.set()
        self._peers.wake()

    @property
    def ended(self) -> bool:
        """True once the thread has ended and the port is free."""
        return not self._thread.is_alive()

    def close(self) -> None:
        """End, and wait for the thread."""
        self.end()
        self._thread.join(2 * LAST_WORDS)

    # ---- the thread

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._turn(CHECK_PERIOD)
            if self._videos:
                self._encode(self._videos)
            end = time.monotonic() + LAST_WORDS
            while time.monotonic() < end and not all(client.idle for client in self._clients.values()):
                self._turn(LAST_WORDS / 10)
        except Exception as error:  # the boundary of this thread: the source and the recording must go on
            log.exception("Rebroadcast failed")
            text = _("Rebroadcast over OpenIGTLink failed: {error}")
            text = text.format(error=unexpected(error))
            self._report(Event("broadcast-failed", text, "error"))
        finally:
            for name in list(self._clients):
                self._leave(name)
            self._peers.close()

    def _turn(self, seconds: float) -> None:
        for item in self._peers.step(seconds):
            if isinstance(item, Event):
                self._report(self._note(item))
            else:
                self._answer(self._clients[item[0].name], item[1])
        if self._videos:
            self._encode(self._videos)
        # Only this thread adds and removes clients.
        for client in self._clients.values():
            self._send(client)

    def _encode(self, videos: VideoStreams) -> None:
        for frame, name in videos.waiting():
            key = VideoMessage.TYPE, name
            with self._lock:
                now = time.monotonic()
                wanted = any(one.requestsKeyFrame(key, now) for one in self._clients.values())
            try:
                message = videos.encode(frame, name, wanted)
            except (NotAnImageError, MissingPackageError) as error:
                with self._lock:
                    for client in self._clients.values():
                        client.lost += 1
                self._reportUnsent(str(error), frame.stream)
                continue
            self._addFullName(message, frame.stream)
            self._offer(Packet(message, len(message.data)))
            for client in self._clients.values():
                self._send(client)

    def _send(self, client: Client) -> None:
        while packet := self._take(client):
            try:
                self._peers.send(packet.buffers(self.settings.version), [client.peer])
            except WireError as error:
                with self._lock:
                    client.refuse()
                self._reportUnsent(str(error), packet.key[1])

    def _reportUnsent(self, text: str, name: str) -> None:
        if text not in self._unsent and len(self._unsent) < MOST_NAMES:
            self._unsent.add(text)
            self._report(Event("not-sent", text, "warning", name))

    def _take(self, client: Client) -> Packet | None:
        with self._lock:
            return client.take(time.monotonic())

    def _note(self, event: Event) -> Event:
        # Remedies are settings of the source, which has another port.
        event = replace(event, remedy=None)
        if event.code == "listening":
            where = _("Rebroadcasting over OpenIGTLink on {host}, port {port}.")
            where = where.format(host=self.settings.host, port=self._listener.port)
            return replace(event, text=joined(where, self._listener.risk))
        if event.code == "connected":
            peer = next(one for one in self._peers.connected if one.name == event.subject)
            with self._lock:
                self._clients[peer.name] = Client(peer, time.monotonic())
        elif event.code == "disconnected" and event.subject in self._clients:
            client = self._leave(event.subject)
            sent = _("{messages} sent, {lost} dropped.") if client.lost else _("{messages} sent.")
            messages = counted(client.sent, _("1 message"), _("{count:,} messages"))
            text = joined(event.text, sent.format(messages=messages, lost=client.lost))
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

    # ---- messages

    def _offer(self, packet: Packet) -> None:
        with self._lock:
            for client in self._clients.values():
                client.offer(packet)
        self._peers.wake()

    def _addFullName(self, message: Message, name: str) -> None:
        if message.device_name != name:
            message.metadata[FULL_NAME] = name  # only version 2 of the header carries it

    def _nameOf(self, stream: str) -> str:
        # Two long names with the same beginning must stay two streams.
        if stream not in self._names and len(self._names) < MOST_NAMES:
            name, number = deviceOnWire(stream), 1
            while name in self._names.values():
                number += 1
                name = deviceOnWire(f"{number} {stream}")
            self._names[stream] = name
            if name != stream and self.settings.version == 1:
                text = _(
                    "Stream {stream} is sent as {name}: version 1 of OpenIGTLink's header has 20 bytes for a name. "
                    "Use version 2 for longer names."
                )
                self._report(Event("renamed", text.format(stream=stream, name=name), "warning", stream))
        return self._names.get(stream, deviceOnWire(stream))


def _receiver() -> Receiver:
    # Longer messages are skipped while they arrive, and never kept in memory.
    return Receiver(sizeLimit=QUESTION_SIZE)
