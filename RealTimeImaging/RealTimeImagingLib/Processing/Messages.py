"""Messages between the process of a function and the acquisition process that feeds it: one line of JSON each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..Link.Commands import Command, Release
from ..Link.Messages import Failed, FrameHeader, LogReport, Message, Parts, ProcessID, messageIn
from ..Link.Ring import Place, Target
from ..Model.Text import textFromJSON


@dataclass(frozen=True)
class Load(Command):
    """First line: load a function.

    :param function: path of its file, or name of a built-in function.
    :param values: of parameters, by name.
    :param folders: that hold the ring of the results, best first.
    :param ring: common start of its file names.
    :param seconds: after which a call of the function counts as hung.
    :param reloaded: True for a file that may have been edited: values of parameters that it no longer has are ignored.
    """

    key = "load"
    function: str
    values: dict[str, Any]
    folders: list[str]
    ring: str
    seconds: float
    reloaded: bool = False


@dataclass(frozen=True)
class Process(Command):
    """Process a frame; an answer follows before the next frame.

    :param frame: header of the frame.
    :param place: of its pixels.
    :param folders: that hold its ring, best first.
    :param ring: common start of the ring's file names.
    :param target: memory for the pixels of the result, when they fit; None: they go into the ring of the results.
    """

    key = "process"
    parts: ClassVar[Parts] = {"frame": FrameHeader.fromJSON, "place": Place.fromJSON, "target": Target.fromJSON}
    frame: FrameHeader
    place: Place
    folders: list[str]
    ring: str
    target: Target | None = None


@dataclass(frozen=True)
class SetParameters(Command):
    """Change parameters, from the next frame on."""

    key = "setParameters"
    values: dict[str, Any]


@dataclass(frozen=True)
class Pause(Command):
    """Call pause() of the function; an answer for the last frame follows before the next frame."""

    key = "pause"


TO_FUNCTION: dict[str, type[Command]] = {kind.key: kind for kind in (Load, Process, Pause, SetParameters, Release)}


@dataclass(frozen=True)
class Loaded(Message):
    """The function is loaded.

    :param loaded: title of the function.
    :param parameters: the values of all parameters.
    :param pauses: True when it has pause().
    """

    loaded: str
    parameters: dict[str, Any] = field(default_factory=dict)
    pauses: bool = False


@dataclass(frozen=True)
class Prepared(Message):
    """setup() has returned, and process() gets the frame.

    :param prepared: number of the frame.
    """

    prepared: int


@dataclass(frozen=True)
class Computed(Message):
    """The result of a frame.

    :param computed: number of the frame.
    :param image: header of the image; its stream, number and times are those of the frame. None without an image.
    :param place: of the image's pixels in the ring of the results; None when they are in the target of the frame.
    :param values: numbers by name.
    """

    parts: ClassVar[Parts] = {"image": FrameHeader.fromJSON, "place": Place.fromJSON}
    computed: int
    image: FrameHeader | None = None
    place: Place | None = None
    values: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Raised(Message):
    """The function raised an error.

    :param raised: the last line of the traceback and its place in the file, or the sentence of an error of the library.
    :param number: of the frame.
    """

    parts: ClassVar[Parts] = {"raised": textFromJSON}
    raised: str
    number: int


@dataclass(frozen=True)
class Refused(Message):
    """New parameters are refused; those before stay.

    :param refused: the reason in words.
    :param parameters: the values that stay.
    """

    parts: ClassVar[Parts] = {"refused": textFromJSON}
    refused: str
    parameters: dict[str, Any] = field(default_factory=dict)


_FROM_FUNCTION: dict[str, type[Message]] = {
    "pid": ProcessID,
    "log": LogReport,
    "loaded": Loaded,
    "prepared": Prepared,
    "computed": Computed,
    "raised": Raised,
    "refused": Refused,
    "failed": Failed,
}


def decodeToFunction(line: bytes) -> Command:
    """Return the command that a line to the process of a function carries.

    :raises LinkError: the line is no command.
    """
    return messageIn(line, lambda values: TO_FUNCTION[values.pop("command", "")].fromJSON(values))


def decodeFromFunction(line: bytes) -> Message:
    """Return the report that a line of the process of a function carries.

    :raises LinkError: the line is no report.
    """
    return messageIn(line, lambda values: _FROM_FUNCTION[next(iter(values), "")].fromJSON(values))
