"""Commands to the acquisition process: ``{"command": "release", "slots": [[0, 3]]}`` is a :class:`Release`.

To add a command that the worker executes, declare its dataclass and name it in :data:`COMMANDS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from ..Model.Event import Event
from .Messages import FrameHeader, Message, Parts, messageIn
from .Ring import Place

if TYPE_CHECKING:
    from typing_extensions import Self


class Command(Message):
    """Base of all commands. ``key`` is the command's name in its line."""

    key: str

    def parameters(self) -> dict[str, Any]:
        """Return the fields by name, as sources take them."""
        return vars(self)

    def toJSON(self) -> dict[str, Any]:
        """Return an object that :func:`decodeCommand` takes back."""
        return {"command": self.key, **super().toJSON()}


@dataclass(frozen=True)
class Release(Command):
    """Give slots of the ring back: [generation, slot] each."""

    key = "release"
    slots: list[tuple[int, int]]


@dataclass(frozen=True)
class Stop(Command):
    """End the process after its last frames."""

    key = "stop"


@dataclass(frozen=True)
class Record(Command):
    """Record from now on.

    :param kept: True begins with the frames in the pre-trigger buffer.
    :param id: the recording's number, which a process that replaces this one is given again.
    """

    key = "record"
    folder: str
    name: str
    attributes: dict[str, str]
    kept: bool | None = None
    id: int = 0


@dataclass(frozen=True)
class StopRecording(Command):
    """Close the files of the recording."""

    key = "stopRecording"


@dataclass(frozen=True)
class Keep(Command):
    """Keep the last frames in memory: at most so many seconds and bytes. 0 seconds end it."""

    key = "keep"
    seconds: float
    bytes: int


@dataclass(frozen=True)
class Repair(Command):
    """Finish the recordings of dead processes in a folder."""

    key = "repair"
    folder: str


@dataclass(frozen=True)
class RecordEvent(Command):
    """Store an event of Slicer's side in the recording; ignored while nothing is recorded."""

    key = "recordEvent"
    parts: ClassVar[Parts] = {"event": Event.fromJSON}
    event: Event


@dataclass(frozen=True)
class StartBroadcast(Command):
    """Send frames to other programs: the fields of BroadcastSettings."""

    key = "broadcast"
    settings: dict[str, Any]

    def toJSON(self) -> dict[str, Any]:
        """Return an object that :func:`decodeCommand` takes back."""
        return {"command": self.key, **self.settings}

    @classmethod
    def fromJSON(cls, values: dict[str, Any]) -> Self:
        """Return the command that :meth:`toJSON` wrote."""
        return cls(values)


@dataclass(frozen=True)
class StopBroadcast(Command):
    """Send frames to other programs no longer."""

    key = "stopBroadcast"


@dataclass(frozen=True)
class Publish(Command):
    """Let other processes on this computer subscribe to the frames; a :class:`PublishedReport` says how."""

    key = "publish"


@dataclass(frozen=True)
class Push(Command):
    """A frame that Python made lies in the ring that Slicer writes."""

    key = "push"
    parts: ClassVar[Parts] = {"frame": FrameHeader.fromJSON, "place": Place.fromJSON}
    frame: FrameHeader
    place: Place


@dataclass(frozen=True)
class SourceCommand(Command):
    """A command that only the source understands, such as "rescan"."""

    key: str
    values: dict[str, Any] = field(default_factory=dict)

    def parameters(self) -> dict[str, Any]:
        """Return the values."""
        return self.values

    def toJSON(self) -> dict[str, Any]:
        """Return an object that :func:`decodeCommand` takes back."""
        return {"command": self.key, **self.values}


COMMANDS: dict[str, type[Command]] = {
    kind.key: kind
    for kind in (
        Release,
        Stop,
        Record,
        StopRecording,
        Keep,
        Repair,
        RecordEvent,
        StartBroadcast,
        StopBroadcast,
        Publish,
        Push,
    )
}
"""Commands by their name; all others are a :class:`SourceCommand`."""


def commandOf(name: str, values: Mapping[str, Any]) -> Command:
    """Return the command of a name.

    :raises TypeError: a field is missing or unknown.
    """
    kind = COMMANDS.get(name)
    return kind.fromJSON(dict(values)) if kind else SourceCommand(name, dict(values))


def decodeCommand(line: bytes) -> Command:
    """Return the command that a line to the acquisition process carries.

    :raises LinkError: the line is no command.
    """
    return messageIn(line, lambda values: commandOf(values.pop("command", ""), values))


@dataclass(frozen=True)
class Start(Message):
    """The first line to the acquisition process.

    :param settings: the source's settings as JSON.
    :param folders: the working folders. Slicer's side makes them, and the side that ends last removes them. The ring's
        files lie in the first that has room, the checkpoint in the last.
    :param ringName: common start of the ring's file names, unique to this process.
    :param commands: executed before the source is opened, so that the first frame is recorded too.
    """

    settings: dict[str, Any]
    folders: list[str]
    ringName: str
    commands: list[Command] = field(default_factory=list)

    def toJSON(self) -> dict[str, Any]:
        """Return an object that :meth:`fromJSON` takes back."""
        return {**vars(self), "commands": [command.toJSON() for command in self.commands]}

    @classmethod
    def fromJSON(cls, values: dict[str, Any]) -> Self:
        """Return the start that :meth:`toJSON` wrote."""
        commands = [dict(one) for one in values.pop("commands", [])]
        return cls(**values, commands=[commandOf(one.pop("command"), one) for one in commands])
