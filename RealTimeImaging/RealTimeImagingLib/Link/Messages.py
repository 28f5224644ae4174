"""Messages between Slicer's side and its child processes: a frozen dataclass each, written as one line of JSON.

This file has the reports, which come from a child process; :mod:`Link.Commands` has the commands, which go to it. The
first key of a line names the report: ``{"status": "Waiting", "counts": {...}}`` is a :class:`StatusReport`. To add a
report, declare its dataclass and name it in :data:`REPORTS`.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from ..Model.DeviceMessage import DeviceMessage
from ..Model.Errors import LinkError
from ..Model.Event import Event, Remedy
from ..Model.Files import openPrivate, parsedJSON
from ..Model.Frame import SCALAR_TYPES, Frame, Pixels
from ..Model.Quantities import counted
from ..Model.Text import textFromJSON, textsOf
from .Ring import Place

if TYPE_CHECKING:
    from typing_extensions import Self

_ = textsOf(__file__)

TRACE = "REALTIMEIMAGING_TRACE"
"""Environment variable: path of the file to which Slicer's side appends all messages."""

_TOKEN = re.compile(r'"token": "([^"\\]{8,})"')

log = logging.getLogger(__name__)
_toText = json.JSONEncoder(separators=(",", ":")).encode


Parts = Mapping[str, Callable[[Any], Any]]


class Message:
    """Base of all messages."""

    parts: ClassVar[Parts] = {}
    """Functions that make the fields that are no plain JSON."""

    def toJSON(self) -> dict[str, Any]:
        """Return an object that :meth:`fromJSON` takes back; fields that are None are left out."""
        return {
            name: value.toJSON() if hasattr(value, "toJSON") else value
            for name, value in vars(self).items()
            if value is not None
        }

    @classmethod
    def fromJSON(cls, values: dict[str, Any]) -> Self:
        """Return the message that :meth:`toJSON` wrote.

        :raises TypeError: a field is missing or unknown.
        """
        return cls(**{name: cls.parts[name](value) if name in cls.parts else value for name, value in values.items()})


def encode(message: Any) -> bytes:
    """Return the line of a message, or of a job that has ``toJSON``."""
    return _toText(message.toJSON()).encode() + b"\n"


def trace(process: str, direction: str, message: Any) -> None:
    """Append a message to the file that REALTIMEIMAGING_TRACE names; do nothing without it.

    :param process: such as "acquisition process 4711".
    :param direction: "sent" or "received", as seen from Slicer's side.
    """
    path = os.environ.get(TRACE)
    if not path:
        return
    values = {"time": time.time(), "process": process, "direction": direction, "message": message.toJSON()}
    try:
        with open(path, "a", encoding="utf-8", opener=openPrivate) as file:
            file.write(withoutTokens(json.dumps(values)) + "\n")
    except OSError as error:
        log.warning("Messages are not traced any more: %s cannot be written: %s", path, error)
        del os.environ[TRACE]


def withoutTokens(line: str) -> str:
    """Return the JSON of a message with dots in place of its tokens, also inside its sentences."""
    for token in set(_TOKEN.findall(line)):
        line = line.replace(token, "...")
    return line


class Receivers:
    """Receivers of messages by type, called in the order of connection; receivers of a base class come first."""

    def __init__(self) -> None:
        self._receivers: dict[type[Message], list[Callable[..., object]]] = {}

    def connect(self, kind: type[Message], receiver: Callable[..., object]) -> None:
        """Call a receiver with each message of a type; it takes the context that comes with the message first."""
        self._receivers.setdefault(kind, []).append(receiver)

    def deliver(self, message: Message, *context: object) -> bool:
        """Hand a message to its receivers; return False when it has none.

        :param context: passed to each receiver before the message, such as the source that sent it.
        """
        delivered = False
        for kind in reversed(type(message).__mro__):
            for receiver in self._receivers.get(kind, ()):
                receiver(*context, message)
                delivered = True
        return delivered


# ---- parts of messages


@dataclass(frozen=True)
class Counts:
    """Cumulative counts of a source.

    :param received: frames by stream; only the streams that changed since the message before.
    :param rejected: files and messages that are no frame.
    :param recorded: frames that are in a recording.
    :param failed: frames that should be in a recording and are not.
    """

    received: dict[str, int] = field(default_factory=dict)
    rejected: int = 0
    recorded: int = 0
    failed: int = 0

    def toJSON(self) -> dict[str, Any]:
        """Return an object with all fields."""
        return dict(vars(self))

    @classmethod
    def fromJSON(cls, values: dict[str, Any]) -> Counts:
        """Return the counts that :meth:`toJSON` wrote."""
        return cls(**values)


_TYPES = frozenset(one.str for type_ in SCALAR_TYPES for one in (type_.newbyteorder("<"), type_.newbyteorder(">")))


@dataclass(frozen=True)
class FrameHeader:
    """All of a frame but its pixels.

    :param dtype: of the pixels, with byte order, such as ``<i2``.
    :param ijkToRAS: 4x4, row by row.
    """

    stream: str
    number: int
    shape: tuple[int, ...]
    dtype: str
    ijkToRAS: list[list[float]]
    deviceTime: float | None
    receiveTime: float
    attributes: dict[str, str]
    stages: dict[str, float]

    @classmethod
    def of(cls, frame: Frame) -> FrameHeader:
        """Return the header of a frame."""
        return cls(
            frame.stream,
            frame.number,
            frame.pixels.shape,
            frame.pixels.dtype.str,
            frame.ijkToRAS.tolist(),
            frame.deviceTime,
            frame.receiveTime,
            dict(frame.attributes),
            dict(frame.stages),
        )

    def frame(self, pixels: Pixels) -> Frame:
        """Return the frame with these pixels."""
        return Frame(
            pixels,
            np.array(self.ijkToRAS, np.float64),
            self.stream,
            self.number,
            self.receiveTime,
            self.deviceTime,
            MappingProxyType(self.attributes),
            MappingProxyType(self.stages),
        )

    def toJSON(self) -> dict[str, Any]:
        """Return an object with all fields; a device time that is not known is null."""
        return dict(vars(self))

    @classmethod
    def fromJSON(cls, values: dict[str, Any]) -> FrameHeader:
        """Return the header that :meth:`toJSON` wrote.

        :raises ValueError: the pixels have a type that no frame has, or the matrix is not 4x4.
        """
        if values["dtype"] not in _TYPES:
            raise ValueError(f"no frame has pixels of the type {values['dtype']!r}")
        if np.array(values["ijkToRAS"], np.float64).shape != (4, 4):
            raise ValueError("ijkToRAS has not 4 rows of 4 numbers")
        return cls(**{**values, "shape": tuple(values["shape"])})


# ---- reports, from a child process


class Counted(Message):
    """Base of the reports that carry the source's counts; None before the first counts."""

    counts: Counts | None
    parts: ClassVar[Parts] = {"counts": Counts.fromJSON}


@dataclass(frozen=True)
class ProcessID(Message):
    """The number of the process, its first report: the process may run behind a launcher with another number."""

    pid: int


@dataclass(frozen=True)
class LogReport(Message):
    """A record for the log. ``level`` as in :mod:`logging`."""

    log: str
    level: int
    logger: str


@dataclass(frozen=True)
class EventReport(Counted):
    """An event."""

    parts: ClassVar[Parts] = {**Counted.parts, "event": Event.fromJSON}
    event: Event
    counts: Counts | None = None


@dataclass(frozen=True)
class Ready(Counted):
    """The source is open, and commands are taken."""

    ready: bool = True
    counts: Counts | None = None


@dataclass(frozen=True)
class End(Counted):
    """All work is done; the process ends."""

    end: bool = True
    counts: Counts | None = None


@dataclass(frozen=True)
class FrameReport(Counted):
    """A frame lies in the ring."""

    parts: ClassVar[Parts] = {**Counted.parts, "frame": FrameHeader.fromJSON, "place": Place.fromJSON}
    frame: FrameHeader
    place: Place
    counts: Counts | None = None


@dataclass(frozen=True)
class DeviceReport(Message):
    """A device sent something other than an image."""

    parts: ClassVar[Parts] = {"message": DeviceMessage.fromJSON}
    message: DeviceMessage


@dataclass(frozen=True)
class StatusReport(Counted):
    """What the source waits for, in words, and the settings that would end the waiting, when there are any.

    :param hangs: True when an access to a folder or file hangs, which the words say; otherwise None.
    """

    parts: ClassVar[Parts] = {**Counted.parts, "status": textFromJSON, "remedy": Remedy.fromJSON}
    status: str
    counts: Counts | None = None
    remedy: Remedy | None = None
    hangs: bool | None = None


@dataclass(frozen=True)
class DetailsReport(Message):
    """What the source reports besides its status."""

    details: dict[str, Any]


@dataclass(frozen=True)
class StorageReport(Counted):
    """State of recording and pre-trigger buffer.

    :param storage: ``kept`` (``seconds``, ``frames``, ``bytes`` in the pre-trigger buffer, or None). While recording
        also ``free`` (bytes, None when not known), ``stored`` (see :class:`RecordedReport`) and ``writing`` (``done``
        of ``total``, ``unit`` "bytes" or "streams", while buffered frames are written or files are closed; else None).
    """

    storage: dict[str, Any]
    counts: Counts | None = None


@dataclass(frozen=True)
class RecordedReport(Counted):
    """The files of a recording are closed.

    :param recorded: paths of the headers.
    :param messages: paths of the manifests of device messages.
    :param stored: counts of the recording over all processes of its source: ``id``, ``recorded``, ``failed``,
        ``bytes``, ``losses`` (by reason), ``values`` (paths of the files of values). Its ``messages`` (recorded,
        failed) count this process only.
    :param unfinished: why some files could not be closed; empty when all are closed.
    :param storage: as in :class:`StorageReport`.
    """

    parts: ClassVar[Parts] = {**Counted.parts, "unfinished": textFromJSON}
    recorded: list[str]
    messages: list[str]
    stored: dict[str, Any]
    unfinished: str
    storage: dict[str, Any]
    counts: Counts | None = None


@dataclass(frozen=True)
class RepairedReport(Message):
    """A recording of a dead process is finished: ``recording``, ``name``, ``paths``, ``messages``, ``values``."""

    repaired: dict[str, Any]


@dataclass(frozen=True)
class BroadcastReport(Message):
    """State of the broadcast: :meth:`Broadcaster.status`; empty when it has ended."""

    broadcast: dict[str, Any]


@dataclass(frozen=True)
class PublishedReport(Message):
    """Where processes on this computer can subscribe to the frames.

    :param published: port on the loopback address; 0 when none could be opened.
    :param token: that a subscriber sends.
    :param problem: why there is no port; else empty.
    """

    published: int
    token: str
    problem: str = ""


@dataclass(frozen=True)
class ValuesReport(Message):
    """Values that a function computed from a frame.

    :param values: numbers by name; NaN for a value that is not known.
    :param stream: of the frame, as its source names it.
    :param number: of the frame.
    :param time: of the frame, seconds since the epoch (UTC).
    :param lost: number of frames since the last values that the function skipped or that failed.
    """

    values: dict[str, float]
    stream: str
    number: int
    time: float
    lost: int = 0


@dataclass(frozen=True)
class CheckpointReport(Message):
    """Why the checkpoint cannot be written; empty when it can."""

    checkpoint: str


@dataclass(frozen=True)
class Taken(Message):
    """All pushed frames up to this number are taken. ``problem``: why this one could not be used; else empty."""

    parts: ClassVar[Parts] = {"problem": textFromJSON}
    taken: int
    problem: str = ""


@dataclass(frozen=True)
class Progress(Message):
    """Progress of a job, 0 to 1, in words, and the seconds that are left when they are known."""

    parts: ClassVar[Parts] = {"words": textFromJSON}
    progress: float
    words: str
    left: float | None = None


class Outcome(Message):
    """Base of the last report of a job."""


@dataclass(frozen=True)
class Done(Outcome):
    """A job is done: paths of the files, or one object for each repaired recording."""

    done: list[Any]


@dataclass(frozen=True)
class Failed(Outcome):
    """A job failed, with the reason in words."""

    parts: ClassVar[Parts] = {"failed": textFromJSON}
    failed: str


@dataclass(frozen=True)
class Cancelled(Outcome):
    """A job was cancelled."""

    cancelled: bool = True


@dataclass(frozen=True)
class Converted(Outcome):
    """A conversion has ended, with its report as an object."""

    report: dict[str, Any]


@dataclass(frozen=True)
class CameraFound(Message):
    """The search found a camera: CameraOffer as an object."""

    camera: dict[str, Any]


REPORTS: dict[str, type[Message]] = {
    fields(kind)[0].name: kind
    for kind in (
        ProcessID,
        LogReport,
        EventReport,
        Ready,
        End,
        FrameReport,
        DeviceReport,
        StatusReport,
        DetailsReport,
        StorageReport,
        RecordedReport,
        RepairedReport,
        BroadcastReport,
        PublishedReport,
        ValuesReport,
        CheckpointReport,
        Taken,
        Progress,
        Done,
        Failed,
        Cancelled,
        Converted,
        CameraFound,
    )
}
"""Reports by the first key of their line."""


Made = TypeVar("Made")


def messageIn(line: bytes, make: Callable[[dict[str, Any]], Made]) -> Made:
    """Return the message that a line carries.

    :param make: makes the message of the JSON object in the line, such as ``Ready.fromJSON``.
    :raises LinkError: the line is no JSON object, or one from which the message cannot be made.
    """
    try:
        values = parsedJSON(line)
        if not isinstance(values, dict):
            raise TypeError("a message is a JSON object")
        return make(values)
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        text = _("A line between two processes is no message: {error}.")
        raise LinkError(text.format(error=str(error))) from error


def decode(line: bytes) -> Message:
    """Return the report that a line of a child process carries.

    :raises LinkError: the line is no report.
    """
    return messageIn(line, lambda values: REPORTS[next(iter(values), "")].fromJSON(values))


def broadcastWords(status: Mapping[str, Any]) -> str:
    """Return a sentence for what :meth:`Broadcaster.status` returns."""
    if not status["listening"]:
        return _("Port {port} is not open yet.").format(port=status["port"])
    count = len(status["clients"])
    clients = counted(count, _("1 client"), _("{count:,} clients")) if count else _("no clients")
    text = _("Port {port}: {clients}, {sent} sent, {lost} dropped.")
    if not status["lost"]:
        text = _("Port {port}: {clients}, {sent} sent.")
    sent = counted(status["sent"], _("1 message"), _("{count:,} messages"))
    return text.format(port=status["port"], clients=clients, sent=sent, lost=status["lost"])
