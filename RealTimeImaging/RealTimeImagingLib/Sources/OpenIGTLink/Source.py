"""OpenIGTLink source: images become frames, one stream a device; other messages become device messages.

Commands: ``send`` {"type", "device", "values"} sends a message to all peers, see
:func:`Translation.messageOf`. ``estimateOffset`` {"device", "stream", "seconds"} estimates the time offset
of a tool from the images and poses of the next seconds.
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
from ...Model.Event import Event, Remedy
from ...Model.Frame import Pixels
from ...Model.Text import joined, textsOf
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
    VideoMessage,
    fastChecksum,
    knownTypes,
    packBuffers,
)
from ...OpenIGTLink.ReceiveBuffer import Budgets
from ..Checkpoint import Checkpoint
from ..Endpoints import Connector, Endpoint, Listener, hostOf
from ..Repetitions import Repetitions
from ..Source import STREAMS, Arrival, hasRoom
from . import OpenIGTLinkSettings
from .Diagnosis import ADVICE, REMEDIES, SKIP_CHECKSUMS, Diagnosis, Why, failureOf
from .Peers import Peer, Peers
from .Tracking import Clocks, Sweep, TrackedImages
from .Translation import imageOf, messageOf, translate
from .Videos import KEY_FRAME, VideoImage, Videos
from .Videos import NOT_REJECTED as SAID_OF_VIDEO

_ = textsOf(__file__)

LAST_WORDS = 0.5
"""Seconds at the end to send the waiting messages, such as a stop of the scanner."""
LARGE = 1 << 18
"""Bytes of an image above which a slow checksum is reported."""
NODES = ("transform", "points", "polydata")
"""Kinds of messages for which each device has a node."""
NOT_REJECTED = ("unknown-type", "no-data", "image-in-parts", *SAID_OF_VIDEO)
"""Codes of problems in which no usable data is lost, or which count lost data themselves."""
REMARKS = ("image-in-parts", KEY_FRAME, "no-geometry")
"""Codes of problems that are none."""
OFFSET_ATTRIBUTE = "TimeOffset"
"""Attribute of images and messages with a time offset: seconds that the index of a recording includes."""
MOST_NAMES = 10 * STREAMS
"""Most names of streams, and of devices, that are told apart by their connection."""
BACKLOG = 4 << 20
"""Bytes that may wait for a peer that does not read; further messages are not sent."""


class OpenIGTLinkSource:
    """Client or server of OpenIGTLink.

    :param settings: peer to connect to, or address to listen on.
    :param checkpoint: counts rejected messages.
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
        endpoint: Endpoint = (
            Listener(settings.host, settings.port, settings.allowed)
            if settings.role == "server"
            else Connector(settings.host, settings.port)
        )
        self._peers = Peers(
            endpoint,
            lambda: Receiver(
                self._bufferForOne, checkCRC=settings.checkCRC, sizeLimit=settings.sizeLimit, budgets=self._budgets
            ),
            settings.silentAfter,
            clock,
        )
        self._streams: dict[str, tuple[weakref.ref[Peer], str]] = {}
        """Peer and device of each stream, by the stream's name. Weak: buffers of a disconnected peer must not stay."""
        self._devices: dict[str, tuple[weakref.ref[Peer], str]] = {}
        """The same for the names of transforms, points and surfaces."""
        self._videos = Videos(settings.sizeLimit, checkpoint.refuse, clock)
        self._repetitions = Repetitions(clock)
        self._diagnosis = Diagnosis(settings, clock)
        self._lastEnd: Why = "", None
        """Why the last connection ended or was refused; empty once a message arrives."""
        self._sent: list[Event] = []
        self._warned = False
        self._offsets = settings.offsets()
        self._clocks, self._tracked = Clocks(), TrackedImages(settings.tools)
        self._sweep: Sweep | None = None

    @property
    def status(self) -> str:
        """Connected peers and why no image arrives, or the state of the connection, in words."""
        if self._peers.connected:
            return joined(self._peers.status, self._why()[0])
        end = self._lastEnd[0]
        if end and self._peers.listening:
            return joined(end, _("Waiting for the next connection."))
        return joined(end, self._peers.status)

    @property
    def remedy(self) -> Remedy | None:
        """Other settings with which images could arrive, None when there are none."""
        if self._peers.connected:
            return self._why()[1]
        return self._lastEnd[1] if self._lastEnd[0] else self._peers.remedy

    def read(self, seconds: float) -> Iterator[Arrival | Event | DeviceMessage]:
        """Yield what the peers sent; block at most ``seconds``."""
        sent, self._sent = self._sent, []
        yield from sent
        for item in self._peers.step(0.0 if sent else min(seconds, self._tracked.wait(time.time()))):
            if isinstance(item, Event):
                yield from self._takeEvent(item)
            else:
                yield from self._take(*item)
            del item  # it holds the memory of a received image
        yield from self._tracked.due(time.time())
        yield from self._repetitions.due()
        if self._sweep and time.time() >= self._sweep.until:
            sweep, self._sweep = self._sweep, None
            yield sweep.event(self._offsets, self._settings.timeOffsets)

    def rest(self) -> Iterator[Arrival | Event]:
        """Yield the pictures that decoders hold back, the frames without a picture, and the images that wait for poses.

        The source stops: the events that were counted follow.
        """
        for peer in self._peers.connected:
            yield from self._takeVideo(peer.name, self._videos.disconnected(peer.name))
        yield from self._tracked.due(time.time(), all_=True)
        yield from self._repetitions.rest()

    def wake(self) -> None:
        """Make read() return, from any thread."""
        self._peers.wake()

    def command(self, name: str, values: Mapping[str, Any]) -> None:
        """Execute a command; ignore unknown ones."""
        if name == "estimateOffset":
            tool, seconds = str(values["device"]), float(values["seconds"])
            self._sweep = Sweep(tool, str(values.get("stream", "")), time.time() + seconds)
            text = _("Move {tool} up and down for {seconds:.0f} s, unevenly, so that the image moves.")
            self._sent.append(Event("offset-sweep", text.format(tool=tool, seconds=seconds), subject=tool))
        if name != "send":
            return
        try:
            message = messageOf(values["type"], values.get("device", ""), values.get("values", {}))
            if not self._send(message):
                text = _("{message} was not sent: no peer is connected.").format(message=_named(message))
                self._sent.append(Event("no-peer", text, "warning"))
        except WireError as error:
            self._sent.append(Event("not-sent", str(error), "warning"))

    def close(self) -> None:
        """Send the waiting messages, and close all connections."""
        self._peers.flush(LAST_WORDS)
        self._peers.close()

    # ---- sending

    def _send(self, message: Message, to: Peer | None = None) -> int:
        buffers = packBuffers(message, version=self._settings.version)
        reached = 0
        for peer in [to] if to else list(self._peers.connected):
            if peer.backlog > BACKLOG:
                text = _("{message} was not sent to {peer}: it does not read.")
                text = text.format(message=_named(message), peer=peer.name)
                self._sent.append(Event("peer-slow", text, "warning", peer.name))
            else:
                reached += self._peers.send(buffers, [peer])
        return reached

    def _sendQueries(self, name: str) -> None:
        for peer in self._peers.connected:
            if peer.name == name:
                for query in self._settings.ask:
                    self._send(messageOf(query, "", {}), peer)

    def _answer(self, peer: Peer, message: Message) -> None:
        """Answer queries about this program. No other message has an effect."""
        device = message.device_name
        if isinstance(message, CommandMessage) and not isinstance(message, CommandReplyMessage):
            text = "Commands from the network are shown, not executed."
            self._send(CommandReplyMessage(message.commandID, "not executed", text, device_name=device), peer)
        elif isinstance(message, QueryMessage) and message.message_type == "GET_STATUS":
            self._send(StatusMessage(device_name=device), peer)
        elif isinstance(message, QueryMessage) and message.message_type.startswith("GET_CAPABIL"):
            self._send(CapabilityMessage(knownTypes(), device_name=device), peer)

    # ---- receiving

    def _bufferForOne(self, nbytes: int) -> Pixels | None:
        # A slow peer must not hold all shared memory in the middle of an image.
        # Neither must images that wait for poses.
        lends = not self._tracked.active and not any(peer.receiver.borrows for peer in self._peers.connected)
        return self._getBuffer(nbytes) if lends else None

    def _why(self) -> Why:
        silent = {peer.name for peer in self._peers.connected if peer.silent}
        return self._diagnosis.why({peer.name: peer.receiver.counts.unknown for peer in self._peers.connected}, silent)

    def _takeEvent(self, event: Event) -> Iterator[Arrival | Event]:
        if event.code == "peer-refused":
            self._lastEnd = event.text, event.remedy
            yield from self._repetitions.report(event, hostOf(event.subject))
            return
        if event.code == "disconnected":
            yield from self._takeVideo(event.subject, self._videos.disconnected(event.subject))
            self._diagnosis.disconnected(event.subject)
            self._clocks.forget(event.subject)
            if not self._lastEnd[0]:
                self._lastEnd = event.text, None
            host = hostOf(event.subject)
            if all(hostOf(peer.name) != host for peer in self._peers.connected):
                yield from self._repetitions.due(host)
        if event.code == "connected":
            self._diagnosis.connected(event.subject)
        yield event
        if event.code == "connected":
            self._sendQueries(event.subject)

    def _take(self, peer: Peer, item: Message | Problem) -> Iterator[Arrival | Event | DeviceMessage]:
        now = time.time()
        if isinstance(item, Problem):
            yield from self._problem(peer.name, item)
            if item.code not in NOT_REJECTED:
                yield from self._takeVideo(peer.name, self._videos.lost(peer.name, item.device))
            return
        self._lastEnd = "", None
        if isinstance(item, BindMessage):
            for one in item.messages:
                one.timestamp = one.timestamp or item.timestamp
                yield from self._take(peer, one)
            return
        try:
            if isinstance(item, ImageMessage):
                yield from self._warnOfSlowness(item)
                stream = self._nameOf(self._streams, peer, item.device_name, self._settings.stream)
                self._videos.note(peer.name, item)
                self._checkRoom(stream)
                yield from self._placed(Arrival(stream, imageOf(item), now, sender=peer.name))
                self._diagnosis.image(peer.name)
                return
            if isinstance(item, VideoMessage):
                stream = self._nameOf(self._streams, peer, item.device_name, self._settings.stream)
                self._checkRoom(stream)
                yield from self._takeVideo(peer.name, self._videos.take(peer.name, stream, item, now))
                return
            self._videos.note(peer.name, item)
            self._diagnosis.message(peer.name, item)
            self._answer(peer, item)
            if isinstance(item, StatusMessage) and item.code != StatusMessage.OK:
                event = Event("device-error", failureOf(item), "warning", item.device_name)
                yield from self._repetitions.report(event, hostOf(peer.name), item.device_name)
            for message in translate(item, now):
                if message.kind in NODES:
                    device = self._nameOf(self._devices, peer, message.device)
                    message = self._timed(replace(message, device=device, sender=peer.name))
                yield message
        except FrameError as error:
            device = item.device_name or _("a device without a name")
            text = _("{type} of {device} cannot be used: {reason}")
            text = text.format(type=item.message_type, device=device, reason=str(error))
            yield from self._problem(peer.name, Problem("not-usable", text, device=item.device_name))

    def _placed(self, arrival: Arrival) -> Iterator[Arrival]:
        """Yield an image with its time offset, unless it waits for poses."""
        if offset := self._offsets.get(arrival.stream, 0.0):
            attributes = {**arrival.image.attributes, OFFSET_ATTRIBUTE: f"{offset:g}"}
            arrival = replace(arrival, image=replace(arrival.image, attributes=attributes), timeOffset=offset)
        image = arrival.image
        moment = self._clocks.moment(arrival.sender, f"image {arrival.stream}", arrival.receiveTime, image.deviceTime)
        moment = moment._replace(seconds=moment.seconds + offset)
        if self._sweep:
            self._sweep.addImage(arrival, moment)
        if self._tracked.active:
            self._tracked.addImage(arrival, moment)
            yield from self._tracked.due(time.time())
        else:
            yield arrival

    def _timed(self, message: DeviceMessage) -> DeviceMessage:
        """Return a message with its time offset, after noting the pose of a transform."""
        if offset := self._offsets.get(message.device, 0.0):
            attributes = {**message.attributes, OFFSET_ATTRIBUTE: f"{offset:g}"}
            message = replace(message, attributes=attributes, timeOffset=offset)
        if message.kind == "transform":
            key = f"transform {message.device}"
            moment = self._clocks.moment(message.sender, key, message.receiveTime, message.deviceTime)
            moment = moment._replace(seconds=moment.seconds + offset)
            self._tracked.addPose(message, moment)
            if self._sweep:
                self._sweep.addPose(message, moment)
        return message

    def _takeVideo(self, peer: str, found: Iterator[VideoImage | Problem]) -> Iterator[Arrival | Event]:
        for item in found:
            if isinstance(item, Problem):
                yield from self._problem(peer, item)
            else:
                yield from self._placed(Arrival(item.stream, item.image, item.receiveTime, sender=peer))
                self._diagnosis.image(peer)

    def _problem(self, peer: str, problem: Problem) -> Iterator[Event]:
        if problem.code not in NOT_REJECTED:
            self._checkpoint.refuse()
        if problem.fatal:
            self._lastEnd = problem.text, None
        level = "info"
        if problem.code not in REMARKS:
            self._diagnosis.problem(peer, problem)
            level = "warning"
        text = _("{peer}: {problem}").format(peer=peer, problem=problem.text)
        event = Event(
            problem.code,
            joined(text, ADVICE.get(problem.code, "")),
            level,
            problem.device or peer,
            remedy=REMEDIES.get(problem.code),
        )
        # Count by computer: a peer may open a connection for each message.
        yield from self._repetitions.report(event, hostOf(peer), problem.device)

    def _warnOfSlowness(self, image: ImageMessage) -> Iterator[Event]:
        if self._settings.checkCRC and not self._warned and image.pixels.nbytes > LARGE and not fastChecksum():
            self._warned = True
            text = _(
                "Verifying large images is slow: install the Python package fastcrc, or untick Verify checksums (CRC)."
            )
            yield Event("slow-checksum", text, "warning", remedy=SKIP_CHECKSUMS)

    def _checkRoom(self, stream: str) -> None:
        if not hasRoom(stream, self._checkpoint.numbers):
            text = _("there are {count} streams already. Let the device use fewer names, or start the source again")
            raise FrameError(text.format(count=STREAMS))

    def _nameOf(
        self, table: dict[str, tuple[weakref.ref[Peer], str]], peer: Peer, device: str, unnamed: str = ""
    ) -> str:
        # Two peers may use one name. Each keeps its stream while it is connected.
        wanted = device or unnamed
        number = 1
        while True:
            name = wanted if number == 1 else f"{wanted} {number}"
            reference, known = table.get(name, (None, ""))
            owner = reference() if reference else None
            if owner is peer and known == device:
                return name
            if owner is None or owner not in self._peers.connected:
                if name in table or len(table) < MOST_NAMES:
                    table[name] = (weakref.ref(peer), device)
                return name
            number += 1


def _named(message: Message) -> str:
    return f"{message.message_type} {message.device_name}".strip()
