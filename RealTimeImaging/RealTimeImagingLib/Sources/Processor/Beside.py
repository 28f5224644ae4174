"""A source with a function beside it, in one acquisition process: the command line without Slicer uses it.

Every image is an image of the stream as before. The function reads it, and its results are further streams.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ...Link.Messages import FrameHeader
from ...Link.Ring import PUSH_BYTES, PUSH_SLOTS, Place, Quota, RingWriter
from ...Model.DeviceMessage import DeviceMessage
from ...Model.Errors import RingError
from ...Model.Event import Event
from ...Model.Frame import Frame, Image, Pixels
from ...Model.Text import joined
from ..Source import Arrival, Buffered, Detailed, Source, Values
from . import ProcessorSettings
from .Processor import RING as RESULTS
from .Processor import Processor

RING = "source"
DETAILS_PERIOD = 1.0
"""Seconds between two reports of the counts."""


class SharedImages:
    """Memory of the images of all streams: the source decodes into it, and the functions read them there.

    :param folders: for the memory, best first.
    """

    def __init__(self, folders: list[str]) -> None:
        self.folders, self.ring = folders, RING
        self._writer, self._lock = RingWriter(folders, RING), threading.Lock()

    def getBuffer(self, nbytes: int) -> Pixels | None:
        """Return memory to decode an image into, which then needs no copy; None when there is none to spare."""
        with self._lock:
            return self._writer.getBuffer(nbytes)

    def addFunction(self) -> Quota:
        """Let a further function hold images."""
        with self._lock:
            return self._writer.addQuota(PUSH_SLOTS, PUSH_BYTES)

    def share(self, quota: Quota, image: Image) -> Place | None:
        """Return a place of an image for a function; None when it holds as many as it may."""
        with self._lock:
            try:
                return self._writer.share(quota, image.pixels)
            except RingError:
                return None

    def takeBack(self, quota: Quota, place: Place) -> None:
        """Take a slot back from a function."""
        with self._lock:
            self._writer.takeBack(quota, *place.key)

    def close(self) -> None:
        """Release the memory."""
        with self._lock:
            self._writer.close()


class _Feed:
    """Images of one stream for its function."""

    def __init__(self, images: SharedImages) -> None:
        self.folders, self.ring = images.folders, images.ring
        self._images, self._quota = images, images.addFunction()

    def put(self, image: Image) -> Place | None:
        """Return a place of an image; None when too many wait."""
        return self._images.share(self._quota, image)

    def release(self, place: Place) -> None:
        """Take a slot back."""
        self._images.takeBack(self._quota, place)


class SourceWithFunction:
    """A source, and a function that processes the images of each of its streams.

    Each stream has a process of the function, from its first image on.

    :param inner: the source.
    :param settings: the function; ``stream`` is added to the name of each stream.
    :param images: memory into which the source decodes.
    """

    def __init__(self, inner: Source, settings: ProcessorSettings, images: SharedImages) -> None:
        self._inner, self._settings, self._images = inner, settings, images
        self._processors: dict[str, tuple[Processor, _Feed]] = {}
        self._figures: dict[str, Any] = {}
        self._figuresDue = 0.0
        self.finishing = False
        """True while functions process the images that wait at the end."""

    @property
    def status(self) -> str:
        """Sentences of the source and of the function."""
        words = (processor.statusWords() for _stream, (processor, _feed) in self._items())
        return joined(self._inner.status, *words)

    @property
    def details(self) -> Mapping[str, Any]:
        """Details of the source, and ``processing``: the counts of the function by stream."""
        inner = self._inner.details if isinstance(self._inner, Detailed) else {}
        now = time.monotonic()
        if now >= self._figuresDue:
            self._figuresDue = now + DETAILS_PERIOD
            self._figures = {stream: processor.figures() for stream, (processor, _feed) in self._items()}
        return {**inner, "processing": self._figures}

    def read(self, seconds: float) -> Iterator[Arrival | Event | DeviceMessage | Values]:
        """Yield what the source and the function yield."""
        for item in self._inner.read(seconds):
            yield self._watched(item) if isinstance(item, Arrival) else item
            yield from self._results()
        for _stream, (processor, _feed) in self._items():
            processor.watch()
        yield from self._results()

    def rest(self) -> Iterator[Arrival | Event | Values]:
        """Yield what arrived before the stop, and its results."""
        if isinstance(self._inner, Buffered):
            for item in self._inner.rest():
                yield self._watched(item) if isinstance(item, Arrival) else item
        self.finishing = True
        for _stream, (processor, _feed) in self._items():
            # A function ends by itself: by its limit, or by its deaths.
            while not (processor.idle or processor.problem or processor.stalled):
                yield from processor.take()
                processor.watch()
                time.sleep(0.002)
            processor.close()
            yield from processor.take()
        self.finishing = False
        self._figuresDue = 0.0

    def wake(self) -> None:
        """Let read() return."""
        self._inner.wake()

    def command(self, name: str, values: Mapping[str, Any]) -> None:
        """Pass a command to the source."""
        self._inner.command(name, values)

    def close(self) -> None:
        """Close the source and the function."""
        self._inner.close()
        for _stream, (processor, _feed) in self._items():
            processor.close()
        self._images.close()

    def _items(self) -> list[tuple[str, tuple[Processor, _Feed]]]:
        return list(self._processors.items())

    def _results(self) -> Iterator[Arrival | Event | Values]:
        for _stream, (processor, _feed) in self._items():
            yield from processor.take()

    def _watched(self, arrival: Arrival) -> Arrival:
        def accepted(number: int, stored: bool | None) -> None:
            if arrival.accepted:
                arrival.accepted(number, stored)
            self._offer(arrival, number)

        return dataclasses.replace(arrival, accepted=accepted)

    def _offer(self, arrival: Arrival, number: int) -> None:
        processor, feed = self._processorOf(arrival.stream)
        image = arrival.image
        frame = Frame(
            image.pixels,
            image.ijkToRAS,
            arrival.stream,
            number,
            arrival.receiveTime,
            image.deviceTime,
            image.attributes,
            arrival.stages,
        )
        processor.offer(FrameHeader.of(frame), feed.put(image), feed)

    def _processorOf(self, stream: str) -> tuple[Processor, _Feed]:
        found = self._processors.get(stream)
        if found is None:
            count = len(self._processors)
            settings = dataclasses.replace(self._settings, source=stream, stream=f"{stream} {self._settings.stream}")
            processor = Processor(settings, self._images.folders, self.wake, ring=f"{RESULTS}{count}")
            found = self._processors[stream] = processor, _Feed(self._images)
        return found
