"""What every source is: it gives images and events until it is closed, and never blocks longer than it is told to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..DeviceMessage import DeviceMessage
from ..Event import Event
from ..Frame import Image


@dataclass(frozen=True)
class Arrival:
    """An image that came for a stream. It becomes a frame before the source is asked for more.

    :param receiveTime: seconds since the epoch (UTC) at which all of it was here.
    """

    stream: str
    image: Image
    receiveTime: float


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
