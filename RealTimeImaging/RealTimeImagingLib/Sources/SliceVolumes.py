"""Assemble volumes from a watched folder in which each DICOM file is one slice.

    file of one slice ──► SliceOrder ──► Assembly (which slices, and when) ──► stackOf ──► Arrival

The rules are those of the DICOM receiver, see DICOMSeries.py. The names of a volume's files are saved before the volume
is handed on. So the next process reads them again only if this one dies before that.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from ..Errors import NotAnImageError
from ..Event import Event
from ..Frame import Image
from ..Journal import Journal, Stamp
from ..Quantities import counted
from ..Readers import Lend
from .DICOMFiles import Instance
from .DICOMHeader import Header, readFileHeader
from .DICOMSeries import Assembly
from .DICOMShelf import Closed, Slice, Volume
from .DICOMStreams import NAMES, Streams
from .DICOMVolumes import Stack, missingText, stackOf
from .Listing import isAnother, versionOf
from .SliceOrder import SliceOrder
from .Source import Arrival

HELD = 1 << 30
"""Most bytes of waiting slices in memory; further slices wait in their files."""
ANNOUNCED = "slices.json"
"""Name in the journal's folder of the list of files of the volume that is being handed on."""
MANY_WAIT = 10.0
"""Seconds after which slices are released although more files wait to be read."""


log = logging.getLogger(__name__)


class SliceVolumes:
    """The waiting slices of all volumes.

    :param silence: seconds without a slice after which a volume is shown as it is.
    :param stream: name of the first series; others have the name of their series.
    :param streamOf: returns the stream for a file's name; None when the name has no series.
    :param nameOf: returns a path in the form for the user.
    :param lend: gives memory for a volume, or None.
    """

    def __init__(
        self,
        journal: Journal,
        silence: float,
        stream: str,
        streamOf: Callable[[str], str | None],
        nameOf: Callable[[str], str],
        lend: Lend,
    ) -> None:
        self._journal, self._silence, self._stream = journal, silence, stream
        self._streamOf, self._nameOf, self._lend = streamOf, nameOf, lend
        self._assembly = Assembly(silence)
        self._orders: dict[str, SliceOrder] = {}
        self._streams: Streams | None = None
        self._closed: deque[Closed] = deque()
        """Closed volumes that are not shown yet: a source may be stopped between two of them."""
        self._bytes = 0
        self._fed = 0.0
        self._moreSince: float | None = None
        self._told: set[str] = set()
        self._times: dict[object, tuple[Volume | None, float]] = {}
        """The last volume of each series and moment, and its latest time."""
        self.held: dict[str, Stamp] = {}
        """Path to version of the files whose slices wait."""
        self._finishAnnounced()

    @property
    def due(self) -> float:
        """When there is something to do, monotonic seconds."""
        return min([self._assembly.due, *(order.due for order in self._orders.values())])

    @property
    def status(self) -> str:
        """Status of the waiting slices; empty when none waits."""
        if not self.held:
            return ""
        volumes = self._assembly.open
        if len(volumes) != 1 or len(volumes[0].slices) != len(self.held):
            return f"Receiving volumes: {_counted(len(self.held))} so far."
        volume = volumes[0]
        count = len(volume.slices)
        if volume.expected:
            return f"Receiving volume: {count} of {volume.expected} slices so far."
        return f"Receiving volume: {_counted(count)} so far."

    def add(self, path: str, version: Stamp, image: Image, now: float) -> bool:
        """Take the only image of a DICOM file; False when it is no slice of a volume.

        :param version: of the file when it was read.
        :param now: monotonic seconds.
        """
        header = _headerOf(path)
        if header is None or not header.single or image.pixels.shape[0] != 1:
            return False
        slice_ = Slice(Instance(path, version, header, time.time()), image, 0)
        if self._bytes + image.pixels.nbytes > HELD:
            slice_.pixels = None
        else:
            self._bytes += image.pixels.nbytes
        self.held[path] = version
        self._orders.setdefault(header.series, SliceOrder(self._silence)).add(slice_, now)
        return True

    def ready(self, now: float, more: bool) -> Iterator[Arrival | Event]:
        """Yield the complete volumes.

        :param more: True when further files wait to be read.
        """
        if not more:
            self._moreSince = None
        elif self._moreSince is None:
            self._moreSince = now
        # A volume does not end while slices of its series still wait for their turn.
        ending = {
            volume.slices[0].instance.header.series
            for volume in self._assembly.open
            if volume.changed + self._silence <= now
        }
        for series, order in self._orders.items():
            if self._moreSince is not None and now - self._moreSince < MANY_WAIT:
                order.more()
                continue
            for came, slice_ in order.take(now, all_=series in ending):
                yield from self._feed(slice_, came)
        if self._moreSince is not None and now - self._moreSince < MANY_WAIT:
            return
        self._closed.extend(self._assembly.silent(now))
        yield from self._showClosed()

    def rest(self, now: float) -> Iterator[Arrival | Event]:
        """Yield all volumes, also those whose slices may be missing."""
        yield from self._showClosed()
        for order in self._orders.values():
            for came, slice_ in order.take(now, all_=True):
                yield from self._feed(slice_, came)
        self._closed.extend(self._assembly.silent(float("inf")))
        yield from self._showClosed()

    # ---- volumes

    def _feed(self, slice_: Slice, came: float) -> Iterator[Arrival | Event]:
        # Silence counts from the arrival of the slice, not from its release.
        self._fed = max(self._fed, came)
        self._closed.extend(self._assembly.add(slice_, self._fed))
        yield from self._showClosed()

    def _showClosed(self) -> Iterator[Arrival | Event]:
        while self._closed:
            yield from self._show(self._closed.popleft())

    def _show(self, closed: Closed) -> Iterator[Arrival | Event]:
        volume = closed.volume
        stream = self._streamName(volume.slices[0])
        try:
            self._checkFiles(volume)
            stack = stackOf(volume, self._lend)
        except (NotAnImageError, OSError) as error:
            code = error.code if isinstance(error, NotAnImageError) else "unreadable"
            words = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            self._journal.refuse()
            text = f"{stream}: the volume of {_counted(len(volume.slices))} cannot be shown: {words}"
            yield Event(code, text, "warning", stream)
            self._journal.passOver({one.instance.path: one.instance.stamp for one in volume.slices})
        else:
            yield from self._tellProblem(closed, stack, stream)
            yield from self._tellOverlap(volume, stream)
            yield from self._arrive(volume, stack, stream)
        for one in volume.slices:
            self._bytes -= one.pixels.nbytes if one.pixels is not None else 0
            one.pixels = None
            if self.held.get(one.instance.path) == one.instance.stamp:
                del self.held[one.instance.path]

    def _checkFiles(self, volume: Volume) -> None:
        # A slice that did not stay in memory is read again: it must still be the same.
        for one in volume.slices:
            if one.pixels is None:
                version = versionOf(one.instance.path)
                if version is None or isAnother(one.instance.stamp, version):
                    raise NotAnImageError(f"{self._nameOf(one.instance.path)} was replaced or removed.", "damaged")

    def _arrive(self, volume: Volume, stack: Stack, stream: str) -> Iterator[Arrival]:
        received = max(one.instance.stored for one in volume.slices)
        together = len(stack.images) == 1
        slices = list(volume.slices)
        while stack.images:
            # Slices that are no volume are a frame each, in the same order.
            of = slices if together else [slices.pop(0)]
            files = {one.instance.path: one.instance.stamp for one in of}
            first = min(of, key=lambda one: one.instance.header.instanceNumber or 0).instance.path
            image = stack.images.pop(0)
            image = replace(image, attributes={"SourceFile": self._nameOf(first), **image.attributes})
            self._announce(stream, files)
            yield Arrival(stream, image, received)
            del image
            self._journal.passOver(files)

    def _announce(self, stream: str, files: Mapping[str, Stamp]) -> None:
        # Once the frame has its number, these files are done.
        announced = {"stream": stream, "number": self._journal.next(stream), "files": list(files.items())}
        path = os.path.join(self._journal.folder, ANNOUNCED)
        try:
            with open(path + "~", "w", encoding="ascii") as file:
                json.dump(announced, file)
            os.replace(path + "~", path)
        except OSError as error:
            log.warning("The files of a volume could not be written down: %s", error)

    def _finishAnnounced(self) -> None:
        path = os.path.join(self._journal.folder, ANNOUNCED)
        try:
            with open(path, encoding="ascii") as file:
                announced = json.load(file)
        except FileNotFoundError:
            return
        if self._journal.next(announced["stream"]) > announced["number"]:
            self._journal.passOver({name: tuple(version) for name, version in announced["files"]})
        # The next frame of that number may be of other files.
        os.unlink(path)

    def _tellProblem(self, closed: Closed, stack: Stack, stream: str) -> Iterator[Event]:
        if stack.problem:
            if stream not in self._told:
                self._told.add(stream)
                text = f"{stream} is not a volume, because {stack.problem}. Each slice is shown in its own place."
                yield Event("uneven", text, "warning", stream)
            return
        text = missingText(closed, stack, stream)
        if text:
            yield Event("incomplete", text, "warning", stream)

    def _tellOverlap(self, volume: Volume, stream: str) -> Iterator[Event]:
        # Time points follow one another. Files that come out of order can hide which slice is of which.
        times = [one.time for one in volume.slices if one.time is not None]
        key = (volume.slices[0].instance.header.series, volume.moment)
        before, last = self._times.get(key, (None, -math.inf))
        if not times:
            return
        self._times[key] = volume, max(times)
        if before is not volume and len(times) > 1 and min(times) < last and ("overlap" + stream) not in self._told:
            self._told.add("overlap" + stream)
            text = (
                f"{stream}: the acquisition times of two volumes overlap, because their files arrived out of order. "
                "Slices of two time points may be mixed."
            )
            yield Event("times-overlap", text, "warning", stream)

    # ---- names

    def _streamName(self, slice_: Slice) -> str:
        header = slice_.instance.header
        chosen = self._streamOf(os.path.basename(slice_.instance.path))
        if chosen:
            return chosen
        if self._streams is None:
            if NAMES not in self._journal.kept:
                self._journal.keep(**{NAMES: {header.series: self._stream}})
            self._streams = Streams(self._journal, self._stream)
        return self._streams.of(header)


def _headerOf(path: str) -> Header | None:
    try:
        return readFileHeader(path)
    except (NotAnImageError, OSError):
        return None


def _counted(slices: int) -> str:
    return counted(slices, "slice", "slices")
