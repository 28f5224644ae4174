"""What every writer of a format is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from ..Event import Event
from .Frames import Frames
from .Job import ExportJob
from .Output import Output, OutputFiles
from .Work import Work


class Writer(ABC):
    """Writes frames in one format and compares what was written. It holds a few frames in memory at most.

    :raises ExportError: the format cannot hold them, in words.
    """

    output: ClassVar[type[Output]] = OutputFiles
    packs = False
    """True: how many bytes it takes is not known before."""

    def __init__(self, frames: Frames, job: ExportJob, work: Work) -> None:
        self.frames, self.job, self.work = frames, job, work
        self.events: list[Event] = []
        """What somebody should know of a file that is otherwise right."""

    @abstractmethod
    def write(self, output: Output) -> None:
        """Write all.

        :raises OSError: it cannot be written.
        :raises Cancelled: it is not wanted any more.
        """

    @abstractmethod
    def compare(self, output: Output) -> None:
        """Read all back.

        :raises Different: it is not what was to be written.
        :raises Cancelled: it is not wanted any more.
        """

    def say(self, index: int) -> None:
        """Which frame is being written."""
        self.work.step(0, f"Writing frame {index + 1} of {len(self.frames)}")
