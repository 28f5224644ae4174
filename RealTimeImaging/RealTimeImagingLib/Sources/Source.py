"""Interface of a source, and the declaration of a kind of source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ..Model.DeviceMessage import DeviceMessage
from ..Model.Event import Event, Remedy
from ..Model.Frame import Image
from ..Model.Packages import Package
from ..Model.Settings import SourceSettings
from ..Model.Text import textsOf

if TYPE_CHECKING:
    from ..Formats import GetBuffer
    from .Checkpoint import Checkpoint

_ = textsOf(__file__)

TURN = 0.1
"""Seconds after which read() of a source returns even if more items wait, so that the worker obeys commands."""
STREAMS = 100
"""Most streams of a source whose senders name them: each is a volume in Slicer, and files of a recording."""


def hasRoom(stream: str, numbers: Mapping[str, int]) -> bool:
    """Return True when images of a stream may be received, False for one more than STREAMS.

    :param numbers: the streams so far, :attr:`Checkpoint.numbers`.
    """
    return stream in numbers or len(numbers) < STREAMS


@dataclass(frozen=True)
class Arrival:
    """An image that arrived on a stream. It becomes a frame before the source continues.

    :param receiveTime: time at which the image was complete, seconds since the epoch (UTC).
    :param stages: times of the stages before it that the source knows: "seen", and "complete" when that was before
        ``receiveTime`` (:data:`Model.Statistics.STAGES`).
    :param sender: connection that sent it, and ``timeOffset``: seconds to add to its times, as in
        :class:`DeviceMessage`.
    :param accepted: called with the frame's number, and with whether a recording has it (None without a recording).
    """

    stream: str
    image: Image
    receiveTime: float
    accepted: Callable[[int, bool | None], None] | None = None
    stages: Mapping[str, float] = field(default_factory=dict)
    sender: str = ""
    timeOffset: float = 0.0


@dataclass(frozen=True)
class Values:
    """Values that a processing function computed from a frame.

    :param name: of the function.
    :param stream: of the frame.
    :param number: of the frame.
    :param time: of the frame, seconds since the epoch (UTC).
    :param values: numbers by name; NaN for a value that is not known.
    :param lost: number of frames since the last values that the function skipped or that failed.
    """

    name: str
    stream: str
    number: int
    time: float
    values: Mapping[str, float]
    lost: int = 0


class Source(Protocol):
    """Origin of frames. A bad file or message is one event, never the end."""

    @property
    def status(self) -> str:
        """One sentence for the panel: what the source waits for."""

    def read(self, seconds: float) -> Iterator[Arrival | Event | DeviceMessage | Values]:
        """Yield what arrived since the last call; block at most ``seconds`` when there is nothing."""

    def wake(self) -> None:
        """End the waiting in read(); the only method that another thread may call."""

    def command(self, name: str, values: Mapping[str, Any]) -> None:
        """Obey a command of Slicer's side, such as "rescan"; ignore unknown commands."""

    def close(self) -> None:
        """Release everything; nothing is read afterwards."""


@runtime_checkable
class Buffered(Protocol):
    """A source that may still hold images at a stop."""

    def rest(self) -> Iterator[Arrival | Event | Values]:
        """Yield what arrived before the stop, after the read() that it interrupted has ended; only close() follows.

        While nothing is recorded, the worker may stop both after a second, which an event reports.
        """


@runtime_checkable
class Mendable(Protocol):
    """A source that may wait in vain, and knows the settings that would help."""

    @property
    def remedy(self) -> Remedy | None:
        """Other settings with which the waiting would end, None when there are none."""


@runtime_checkable
class Detailed(Protocol):
    """A source with more to report than its status."""

    @property
    def details(self) -> Mapping[str, Any]:
        """Values for Slicer's side, as JSON; reported whenever they change."""


@dataclass(frozen=True)
class SourceContext:
    """What the worker offers to a source that it opens.

    :param checkpoint: state that survives a restart of the worker.
    :param getBuffer: returns memory (uint8) for an image, or None when none is free.
    :param receiver: memory with the pixels that Slicer sends; None outside Slicer.
    :param folders: for memory that this source shares with its own processes, best first; empty outside Slicer.
    """

    checkpoint: Checkpoint
    getBuffer: GetBuffer = lambda nbytes: None
    receiver: Any = None
    folders: Sequence[str] = ()


class HostPart(Protocol):
    """Slicer's side of a running source, on the main thread, beside its worker."""

    def heard(self, event: Event) -> None:
        """Take an event of the source."""

    def close(self) -> None:
        """End; the source is stopping."""


class SourceControls:
    """Controls of a kind in the panel beside the rows of its settings. The base class has none.

    :param form: the kind's :class:`SourceForm`; ``addRow`` adds a row.
    :param section: the panel's section, with ``logic``, ``connect``, ``attempt`` and ``complain``.
    """

    def __init__(self, form: Any, section: Any) -> None:
        self.form, self.section = form, section

    def unavailable(self) -> set[str]:
        """Return the names of rows that this Slicer cannot use now."""
        return set()

    def refresh(self, running: Any) -> None:
        """Show the state.

        :param running: the :class:`RunningSource` of this kind that the panel shows, or None.
        """

    def close(self) -> None:
        """Release everything but the rows."""


@dataclass(frozen=True)
class SourceKind:
    """Declaration of a kind of source: everything that the rest of the program needs to know.

    :param settings: settings class; its ``kind`` is the name.
    :param title: entry in the panel's list of sources.
    :param open: opens the source in the worker. Import everything heavy in it, not above it.
    :param idle: returns an instruction for the user while the source does not run: takes the values of the form.
    :param sender: returns the sender of the images in words: takes the settings. Empty for the
        connected peers, or without peers the title.
    :param dropped: returns values of settings for a path that the user dropped on the panel, None when another kind may
        take it: takes the path. It does not access the path, which may be on a share that hangs.
    :param packages: Python packages to install before the first start.
    :param preferredView: slice view for its images as long as the user chooses no other; empty for all views.
    :param host: starts the host part of a running source: takes the settings and the function that sends a command.
    :param controls: returns the class of the controls in the panel beside the settings.
    :param steady: True when a pause of regular images is worth an alarm.
    :param fromSlicer: True when Python in Slicer makes the images.
    :param listed: True when the panel and the command list the kind.
    """

    settings: type[SourceSettings]
    title: str
    open: Callable[[Any, SourceContext], Source]
    idle: Callable[[Mapping[str, Any]], str] = lambda values: _("Press Start.")
    sender: Callable[[Any], str] = lambda settings: ""
    dropped: Callable[[str], Mapping[str, Any] | None] = lambda path: None
    packages: tuple[Package, ...] = ()
    preferredView: str = ""
    host: Callable[[Any, Callable[[str], None]], HostPart] | None = None
    controls: Callable[[], type[SourceControls]] = lambda: SourceControls
    steady: bool = True
    fromSlicer: bool = False
    listed: bool = True

    @property
    def name(self) -> str:
        """Name in JSON and in the command."""
        return self.settings.kind
