"""What every source is: it gives images and events until it is closed, and never blocks longer than it is told to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from ..Model.DeviceMessage import DeviceMessage
from ..Model.Event import Event
from ..Model.Frame import Image


@dataclass(frozen=True)
class Arrival:
    """An image that came for a stream. It becomes a frame before the source is asked for more.

    :param receiveTime: seconds since the epoch (UTC) at which all of it was here.
    :param accepted: called once it is a frame, with its number, and whether a recording has it (None while nothing is
        recorded).
    """

    stream: str
    image: Image
    receiveTime: float
    accepted: Callable[[int, bool | None], None] | None = None


class Source(Protocol):
    """Where frames come from. One bad file or message is one event, never the end."""

    @property
    def status(self) -> str:
        """One sentence for the panel: what the source waits for."""

    def read(self, seconds: float) -> Iterator[Arrival | Event | DeviceMessage]:
        """What came since the last call; waits for so many seconds at most when nothing is there."""

    def wake(self) -> None:
        """End the waiting in read(); the only method that another thread may call."""

    def command(self, name: str, values: Mapping[str, Any]) -> None:
        """Do what Slicer's side asks, such as "rescan"; unknown commands are ignored."""

    def close(self) -> None:
        """Let go of everything; nothing is read after it."""


@runtime_checkable
class Buffered(Protocol):
    """A source in which more may wait than it gave when it is told to stop."""

    def rest(self) -> Iterator[Arrival | Event]:
        """What came before the stop and still waits; afterwards it is only closed."""


@runtime_checkable
class Detailed(Protocol):
    """A source that has more to tell than its status says."""

    @property
    def details(self) -> Mapping[str, Any]:
        """What Slicer's side has to know of it, as JSON has it; told whenever it changes."""
