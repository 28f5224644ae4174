"""OpenIGTLink as a source: images become frames of a stream for each device, all else messages of that device.

Commands: ``send`` {"type", "device", "values"} sends a message to all peers, see
:func:`OpenIGTLinkTranslation.messageOf`.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ...Formats import GetBuffer
from ...Model.DeviceMessage import DeviceMessage
from ...Model.Errors import FrameError, WireError
from ...Model.Event import Event
from ...Model.Frame import Pixels
from ...OpenIGTLink import (
    BindMessage,
    CapabilityMessage,
    CommandMessage,
    CommandReplyMessage,
    ImageMessage,
    Message,
    Problem,
    QueryMessage,
    Receiver,
    StatusMessage,
    fastChecksum,
    knownTypes,
    packBuffers,
)
from ...OpenIGTLink.ReceiveBuffer import Budgets
from ...OpenIGTLink.Report import Repetitions
from ..Checkpoint import Checkpoint
from ..Endpoints import Connector, Endpoint, Listener
from ..Source import Arrival
from . import OpenIGTLinkSettings
from .Peers import Peer, Peers
from .Translation import imageOf, messageOf, translate

LAST_WORDS = 0.5
"""Seconds at the end for what is still to be sent, such as a stop of the scanner."""
LARGE = 1 << 18
"""Bytes of an image above which a slow checksum is told of."""
NODES = ("transform", "points", "polydata")
"""Kinds of messages of which each device has a node."""
NOT_REJECTED = ("unknown-type", "no-data", "image-in-parts")
"""Codes of problems in which no usable data is lost."""
ADVICE = {
    "wrong-crc": " If all messages of this device fail, it sends no checksums: untick Verify checksums (CRC).",
}
"""Advice for the user, by the code of a problem."""
BACKLOG = 4 << 20
"""Bytes that may wait for a peer that does not read; more is not sent."""


class OpenIGTLinkSource:
    """A client or server of OpenIGTLink.

    :param settings: whom to connect to, or where to listen.
    :param checkpoint: counts messages that came and could not be used.
    :param clock: monotonic seconds.
    :param getBuffer: gives memory to receive an image into, or None.
    """

    def __init__(
        self,
        settings: OpenIGTLinkSettings,
        checkpoint: Checkpoint,
        clock: Callable[[], float] = time.monotonic,
        getBuffer: GetBuffer = lambda nbytes: None,
    ) -> None:
        self._settings, self._checkpoint, self._getBuffer = settings, checkpoint, getBuffer
        self._budgets = Budgets.of(settings.sizeLimit)
        door: Endpoint = (
            Listener(settings.host, settings.port, settings.allowed)
            if settings.role == "server"
            else Connector(settings.host, settings.port)
        )
        self._peers = Peers(
            door,
            lambda: Receiver(
                self._lendOne, checkCRC=settings.checkCRC, sizeLimit=settings.sizeLimit, budgets=self._budgets
            ),
            settings.silentAfter,
            clock,
        )
        self._streams: dict[str, tuple[weakref.ref[Peer], str]] = {}
        """By the stream's name: whose it is, and the device's name. The buffers of a peer that has left go with it."""
        self._devices: dict[str, tuple[weakref.ref[Peer], str]] = {}
        """The same for the names of transforms, points and surfaces."""
        self._repetitions, self._clock = Repetitions(), clock
        self._sent: list[Event] = []
        self._warned = False

    @property
    def status(self) -> str:
        """Who is connected, or what is waited for."""
        return self._peers.status

    def read(self, seconds: float) -> Iterator[Arrival | Event | DeviceMessage]:
        """What the peers sent."""
        sent, self._sent = self._sent, []
        yield from sent
        for item in self._peers.step(0.0 if sent else seconds):
            if isinstance(item, Event):
                if item.code == "disconnected":
                    host = _hostOf(item.subject)
                    if all(_hostOf(peer.name) != host for peer in self._peers.connected):
                        yield from self._folded(host)
                yield item
                if item.code == "connected":
                    self._greet(item.subject)
            else:
                yield from self._take(*item)
            del item  # it keeps the memory into which an image was received
        yield from self._folded()

    def wake(self) -> None:
        """End the waiting in read()."""
        self._peers.wake()

    def command(self, name: str, values: Mapping[str, Any]) -> None:
        """Knows ``send``."""
        if name != "send":
            return
        try:
            message = messageOf(values["type"], values.get("device", ""), values.get("values", {}))
            if not self._send(message):
                text = f"{_named(message)} was not sent: nobody is connected."
                self._sent.append(Event("no-peer", text, "warning"))
        except WireError as error:
            self._sent.append(Event("not-sent", str(error), "warning"))

    def close(self) -> None:
        """Send what waits, and end all connections."""
        self._peers.flush(LAST_WORDS)
        self._peers.close()

    # ---- out

    def _send(self, message: Message, to: Peer | None = None) -> int:
        buffers = packBuffers(message, version=self._settings.version)
        reached = 0
        for peer in [to] if to else list(self._peers.connected):
            if peer.backlog > BACKLOG:
                text = f"{_named(message)} was not sent to {peer.name}, which does not read what it is sent."
                self._sent.append(Event("peer-slow", text, "warning", peer.name))
            else:
                reached += self._peers.send(buffers, [peer])
        return reached

    def _greet(self, name: str) -> None:
        for peer in self._peers.connected:
            if peer.name == name:
                for question in self._settings.ask:
                    self._send(messageOf(question, "", {}), peer)

    def _answer(self, peer: Peer, message: Message) -> None:
        """Questions about ourselves are answered; nothing else that comes makes us do anything."""
        device = message.device_name
        if isinstance(message, CommandMessage) and not isinstance(message, CommandReplyMessage):
            text = "Commands from the network are shown and not obeyed."
            self._send(CommandReplyMessage(message.commandID, "not obeyed", text, device_name=device), peer)
        elif isinstance(message, QueryMessage) and message.message_type == "GET_STATUS":
            self._send(StatusMessage(device_name=device), peer)
        elif isinstance(message, QueryMessage) and message.message_type.startswith("GET_CAPABIL"):
            self._send(CapabilityMessage(knownTypes(), device_name=device), peer)

    # ---- in

    def _lendOne(self, nbytes: int) -> Pixels | None:
        # Slow peers must not hold all the shared memory in the middle of their images.
        return None if any(peer.receiver.borrows for peer in self._peers.connected) else self._getBuffer(nbytes)

    def _take(self, peer: Peer, item: Message | Problem) -> Iterator[Arrival | Event | DeviceMessage]:
        now = time.time()
        if isinstance(item, Problem):
            yield from self._problem(peer, item)
            return
        if isinstance(item, BindMessage):
            for one in item.messages:
                one.timestamp = one.timestamp or item.timestamp
                yield from self._take(peer, one)
            return
        try:
            if isinstance(item, ImageMessage):
                yield from self._warnOfSlowness(item)
                stream = self._nameOf(self._streams, peer, item.device_name, self._settings.stream)
                yield Arrival(stream, imageOf(item), now)
                return
            self._answer(peer, item)
            for message in translate(item, now):
                if message.kind in NODES:
                    device = self._nameOf(self._devices, peer, message.device)
                    message = message if device == message.device else replace(message, device=device)
                yield message
        except FrameError as error:
            name = f"{item.message_type} of {item.device_name or 'a device without a name'}"
            problem = Problem("not-usable", f"{name} cannot be used: {error}", device=item.device_name)
            yield from self._problem(peer, problem)

    def _problem(self, peer: Peer, problem: Problem) -> Iterator[Event]:
        if problem.code not in NOT_REJECTED:
            self._checkpoint.refuse()
        # By computer, not by connection: a peer may connect anew for each message.
        host = _hostOf(peer.name)
        text = f"{problem.text}{ADVICE.get(problem.code, '')}"
        if self._repetitions.isNew((host, problem.code, problem.device), text, self._clock()):
            level = "info" if problem.code == "image-in-parts" else "warning"
            yield Event(problem.code, f"{peer.name}: {text}", level, problem.device or peer.name)

    def _folded(self, host: str = "") -> Iterator[Event]:
        for (name, code, device), count, text in self._repetitions.folded(self._clock(), host):
            words = f"{count} more like it" if count > 1 else "Once more"
            yield Event(code, f"{name}: {words}: {text}", "warning", device or name)

    def _warnOfSlowness(self, image: ImageMessage) -> Iterator[Event]:
        if self._settings.checkCRC and not self._warned and image.pixels.nbytes > LARGE and not fastChecksum():
            self._warned = True
            text = "Checking the data of large images is slow: install the Python package fastcrc, or switch it off."
            yield Event("slow-checksum", text, "warning")

    def _nameOf(
        self, table: dict[str, tuple[weakref.ref[Peer], str]], peer: Peer, device: str, unnamed: str = ""
    ) -> str:
        # Two peers may use one name; each keeps the stream that it had while it is connected.
        wanted = device or unnamed
        number = 1
        while True:
            name = wanted if number == 1 else f"{wanted} {number}"
            reference, known = table.get(name, (None, ""))
            owner = reference() if reference else None
            if owner is peer and known == device:
                return name
            if owner is None or owner not in self._peers.connected:
                table[name] = (weakref.ref(peer), device)
                return name
            number += 1


def _hostOf(name: str) -> str:
    """The computer of a peer, without its port."""
    return name.rpartition(":")[0]


def _named(message: Message) -> str:
    return f"{message.message_type} {message.device_name}".strip()
