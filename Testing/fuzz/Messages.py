"""Parsers of messages: network protocols, lines between processes, settings."""

from __future__ import annotations

import contextlib
import io
import time

import numpy as np
from RealTimeImagingLib.Formats.VideoStream import VideoDecoder
from RealTimeImagingLib.Link.Commands import Start, decodeCommand
from RealTimeImagingLib.Link.Messages import DeviceReport, EventReport, FrameReport, decode, encode, messageIn
from RealTimeImagingLib.Link.Ring import RingReader, RingWriter
from RealTimeImagingLib.Link.Subscription import Offer, Opened, Subscribe
from RealTimeImagingLib.Model.DeviceMessage import DeviceMessage, words
from RealTimeImagingLib.Model.Errors import FrameError, RequestError, SettingsError
from RealTimeImagingLib.Model.Event import Event
from RealTimeImagingLib.Model.Frame import Image
from RealTimeImagingLib.Model.Limits import LimitWatch
from RealTimeImagingLib.OpenIGTLink import BindMessage, ImageMessage, Message, Problem, Receiver, VideoMessage
from RealTimeImagingLib.Processing.Messages import decodeFromFunction, decodeToFunction
from RealTimeImagingLib.Sources.HTTP.Bodies import RawBody
from RealTimeImagingLib.Sources.HTTP.FrameRequest import frameRequestOf
from RealTimeImagingLib.Sources.HTTP.Origins import Origins
from RealTimeImagingLib.Sources.HTTP.Request import Answer, RequestReader
from RealTimeImagingLib.Sources.Kinds import settingsFromJSON
from RealTimeImagingLib.Sources.MRD import MRDSettings
from RealTimeImagingLib.Sources.MRD.Protocol import CloseMessage
from RealTimeImagingLib.Sources.MRD.Receiver import Receiver as MRDReceiver
from RealTimeImagingLib.Sources.MRD.Session import Session
from RealTimeImagingLib.Sources.OpenIGTLink.Translation import imageOf, translate
from RealTimeImagingLib.Sources.OpenIGTLink.Videos import Videos
from RealTimeImagingLib.Sources.Source import Arrival

from .Files import VOXELS, folder, quiet
from .Rules import LIMIT, Find, Target, checkSentence

PIECE = 97
"""Bytes that arrive at once, so that messages are cut at many places."""


def lend(nbytes: int) -> np.ndarray | None:
    """Lend memory for an image, as the ring does."""
    if nbytes > LIMIT:
        raise Find(f"memory of {nbytes:,} bytes is asked for")
    return np.empty(nbytes, np.uint8)


def take(found: object) -> None:
    """Pass on what a source yields."""
    if isinstance(found, Event | Problem):
        checkSentence(found.text)
    if isinstance(found, Event):
        decode(encode(EventReport(found)))
    if isinstance(found, DeviceMessage):
        words(found)
        decode(encode(DeviceReport(found)))
    image = found.image if isinstance(found, Arrival) else found
    if isinstance(image, Image) and image.pixels.nbytes > 4 * LIMIT:
        raise Find(f"an image of {image.pixels.nbytes:,} bytes")


def videoDecoders() -> None:
    """Import the packages that decode video, and start their threads."""
    quiet()
    for name in ("h264", "hevc", "vp9", "av1", "vp8"):
        VideoDecoder(name, LIMIT)


def openIGTLink(data: bytes) -> None:
    """Receive messages of a connection, and translate them; checksums do not stop what is changed."""
    receiver = Receiver(lend, checkCRC=False, sizeLimit=LIMIT)
    videos = Videos(LIMIT, lambda: None, time.monotonic)
    for item in pieces(receiver, data):
        translated(videos, item)
    for problem in (receiver.finish(), *videos.disconnected("peer")):
        take(problem)


def pieces(receiver: Receiver | MRDReceiver, data: bytes):
    """Yield what a receiver makes of bytes that arrive in pieces."""
    left = memoryview(data)
    while len(left):
        space = receiver.space()
        count = min(len(space), PIECE, len(left))
        space[:count] = left[:count]
        left = left[count:]
        yield from receiver.filled(count)


def translated(videos: Videos, item: Message | Problem) -> None:
    """Translate a message as the source does."""
    if isinstance(item, Problem):
        take(item)
        return
    try:
        if isinstance(item, BindMessage):
            for one in item.messages:
                translated(videos, one)
        elif isinstance(item, ImageMessage):
            take(imageOf(item))
        elif isinstance(item, VideoMessage):
            for found in videos.take("peer", "Live", item, 0.0):
                take(found)
        else:
            for message in translate(item, 0.0):
                take(message)
    except FrameError:
        pass  # the reason in a sentence of the source


def mrd(data: bytes) -> None:
    """Receive the messages of an MRD connection, and make images of them."""
    receiver = MRDReceiver(LIMIT)
    session = Session(MRDSettings(sizeLimit=LIMIT), "peer", lend)
    session.name = "Live"
    for number, item in enumerate(pieces(receiver, data)):
        if receiver.held > 4 * LIMIT:
            raise Find(f"{receiver.held:,} bytes are held")
        if isinstance(item, CloseMessage):
            break
        for found in session.take(item, float(number)):
            take(found)
    for found in session.end():
        take(found)


def http(data: bytes) -> None:
    """Read the requests of a connection: heads, parameters, and bodies of raw pixels."""
    reader = RequestReader(io.BytesIO(data))
    try:
        while reader.begins():
            head = reader.head()
            Origins(("http://localhost:3000",), ("content-type",)).check(head)
            wanted = frameRequestOf(head, "Live")
            if wanted.raw is None:
                return
            body = RawBody(wanted, wanted.raw, head.length, LIMIT)
            for _count in reader.receive(head, body):
                pass
            for image in body.images():
                take(image)
    except RequestError as error:
        Answer.refusing(error).toBytes(True)
        raise


def reports(data: bytes) -> None:
    """Take lines of a child process, and look at the frames that they place in the ring."""
    ring = RingWriter([folder()], "fuzz")
    place = ring.put(np.frombuffer(VOXELS[:48], np.uint8).reshape(2, 4, 6))
    assert place is not None
    reader = RingReader([folder()], "fuzz")
    try:
        for line in data.split(b"\n"):
            message = decode(line)
            if isinstance(message, FrameReport):
                header = message.frame
                header.frame(reader.view(message.place, header.shape, np.dtype(header.dtype)))
    finally:
        reader.close()
        ring.close()


def commands(data: bytes) -> None:
    """Take lines of Slicer's side."""
    for line in data.split(b"\n"):
        decodeCommand(line)


def functionLines(data: bytes) -> None:
    """Take lines to and from the process of a function."""
    kind, _end, line = data.partition(b"\n")
    (decodeFromFunction if kind else decodeToFunction)(line)


def subscriptionLines(data: bytes) -> None:
    """Take the lines between a publisher and its subscriber."""
    kind, _end, line = data.partition(b"\n")
    messageIn(line, {b"1": Subscribe, b"2": Opened, b"3": Offer}.get(kind, Start).fromJSON)


def settings(data: bytes) -> None:
    """Take settings and limits of signals from a scene."""
    text = data.decode("utf-8", "replace")
    with contextlib.suppress(SettingsError):
        LimitWatch().fromJSON(text)
    settingsFromJSON(messageIn(data, dict))


TARGETS = [
    Target("openigtlink", openIGTLink, prepare=videoDecoders, inFork=True),
    Target("mrd", mrd, prepare=quiet),
    Target("http", http, (EOFError,), prepare=quiet),
    Target("reports", reports, prepare=quiet),
    Target("commands", commands, prepare=quiet),
    Target("function-lines", functionLines, prepare=quiet),
    Target("subscription-lines", subscriptionLines, prepare=quiet),
    Target("settings", settings, prepare=quiet),
]
