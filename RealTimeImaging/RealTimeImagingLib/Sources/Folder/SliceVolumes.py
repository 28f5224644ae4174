"""Volumes from a folder in which each DICOM file is one slice. The files may arrive in any order."""

from __future__ import annotations

import logging
import math
import os
import time
import weakref
import zlib
from collections import deque
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from ...Formats import GetBuffer
from ...Formats.DICOM.Header import SliceHeader
from ...Formats.DICOM.SliceGroup import Assembly, Closed, Instance, Slice, Volume
from ...Formats.DICOM.SliceImages import SliceImages, imagesOf, reports
from ...Model.Errors import NotAnImageError
from ...Model.Event import Event
from ...Model.Files import Stamp, naturalOrder, reasonOf
from ...Model.Frame import Image
from ...Model.Quantities import counted
from ...Model.Text import sentence, textsOf
from ..Checkpoint import SERIES_NAMES, Checkpoint, SeriesNames
from ..Source import Arrival
from .Listing import isAnother, versionOf

_ = textsOf(__file__)

LONGEST, SHORTEST = 10.0, 0.25
"""Most seconds that a slice waits for others in a series without pauses: at first, and with permanent gaps."""
FAR = 1 / 8
"""Part of the waiting slices by which a slice is from its place in time, on average, above which they are mixed."""
JOINED = 3
"""Slices in order after which a series counts as ordered, although its first slices are missing."""

Key = tuple[float, float, float, int, list[tuple[int, int, str]]]


def timeOrder(slice_: Slice) -> Key:
    """Return a sort key: time, time point and number, so that time points follow one another."""
    return slice_.time or 0.0, *slice_.instance.header.order, naturalOrder(slice_.instance.path)


class SliceOrder:
    """The waiting slices of one series.

    The slice after the last one is released at once. Any other slice waits for the slices before it, until no slice has
    arrived for ``patience`` seconds. Where the numbers do not define the order, or many slices arrive together, all
    slices wait for that pause, and are released in the order of their times. A series with permanent gaps waits less
    each time.

    :param patience: seconds; 0 or more.
    """

    def __init__(self, patience: float) -> None:
        self._patience, self._longest = patience, LONGEST
        self._waiting: list[tuple[float, Slice]] = []
        self._last: int | None = None
        """The highest InstanceNumber that was released."""
        self._many = self._mixed = False
        self._judged = 0
        """Number of waiting slices at the last judgement of :attr:`mixed`."""

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, slice_: Slice, now: float) -> None:
        """Add a slice.

        :param now: monotonic seconds.
        """
        self._waiting.append((now, slice_))

    def more(self) -> None:
        """Note that further files wait to be read: release the waiting slices together with theirs."""
        self._many = self._many or bool(self._waiting)

    @property
    def mixed(self) -> bool:
        """True when the waiting slices arrived far from the order of their times, as files with random names do."""
        count = len(self._waiting)
        if not self._judged <= count < 1.2 * self._judged + 2:
            self._judged = count
            keys = [timeOrder(slice_) for _added, slice_ in self._waiting]
            places = sorted(range(count), key=keys.__getitem__)
            distance = sum(abs(place - found) for place, found in enumerate(places))
            # In random order it is a third of the slices on average.
            self._mixed = distance > FAR * count * count
        return self._mixed

    @property
    def due(self) -> float:
        """Latest time at which the next slices are released, monotonic seconds; infinite when none waits."""
        if not self._waiting:
            return math.inf
        return min(self._waiting[-1][0] + self._patience, self._waiting[0][0] + self._longest)

    def release(self, now: float, all_: bool = False) -> Iterator[tuple[float, Slice]]:
        """Release slices; yield them with their arrival times."""
        if not self._waiting:
            return
        expired = now >= self.due
        if expired and not all_ and now < self._waiting[-1][0] + self._patience:
            self._longest = max(SHORTEST, self._longest / 4)
        if all_ or expired or self._many:
            self._many = False
            self._waiting.sort(key=lambda pair: timeOrder(pair[1]))
            while self._waiting:
                yield self._release(0)
            return
        while follow := self._following():
            yield self._release(min(follow, key=lambda place: timeOrder(self._waiting[place][1])))

    def _release(self, place: int) -> tuple[float, Slice]:
        pair = self._waiting.pop(place)
        self._last = max(self._last or 0, pair[1].instance.header.number or 0)
        return pair

    def _following(self) -> list[int]:
        # Indices of the waiting slices that can be released.
        numbers = [one.instance.header.number for _added, one in self._waiting]
        if self._timesDecide(numbers):
            return []
        # The first slices of the series are missing: it is ordered when a few slices are.
        ordered = self._last is None and len(numbers) >= JOINED and None not in numbers
        if ordered and all(after == before + 1 for before, after in pairwise(numbers)):  # type: ignore[operator]
            return [0]
        last = self._last or 0
        return [place for place, number in enumerate(numbers) if number is None or number <= last + 1]

    def _timesDecide(self, numbers: Sequence[int | None]) -> bool:
        # True when numbers restart with each time point, or count all times of one position before the next position.
        known: dict[tuple[object, int], tuple[float, ...]] = {}
        places = set()
        for number, (_added, one) in zip(numbers, self._waiting, strict=True):
            place = tuple(round(float(value), 3) for value in one.matrix[:3].ravel())
            places.add(place)
            if number is not None:
                if (one.moment, number) in known:
                    return True
                known[one.moment, number] = place
        return len(places) > 1 and any(
            known.get((moment, number + 1)) == place for (moment, number), place in known.items()
        )


HELD = 1 << 30
"""Most bytes of waiting slices in memory; further slices wait in their files."""
MANY_WAIT = 10.0
"""Seconds after which slices are released although more files wait to be read. Mixed slices wait while the number of
these files falls."""


MOST_MOMENTS = 1000
"""Most moments of all series whose latest times are compared."""

log = logging.getLogger(__name__)


class SliceVolumes:
    """The waiting slices of all volumes.

    :param silence: seconds without a slice after which a volume is shown as it is.
    :param stream: name of the first series; others have the name of their series.
    :param streamOf: returns the stream for a file's name; None when the name has no series.
    :param nameOf: returns a path in the form for the user.
    :param getBuffer: returns memory for a volume, or None.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        silence: float,
        stream: str,
        streamOf: Callable[[str], str | None],
        nameOf: Callable[[str], str],
        getBuffer: GetBuffer,
    ) -> None:
        self._checkpoint, self._silence, self._stream = checkpoint, silence, stream
        self._streamOf, self._nameOf, self._getBuffer = streamOf, nameOf, getBuffer
        self._assembly = Assembly(silence)
        self._orders: dict[str, SliceOrder] = {}
        self._names: SeriesNames | None = None
        self._closed: deque[Closed] = deque()
        """Closed volumes that are not shown yet: the source may stop between two of them."""
        self._bytes = 0
        self._latest = 0.0
        self._moreSince: float | None = None
        self._fewest, self._fewestAt = 0, 0.0
        """The smallest number of files that waited to be read since then, and when; monotonic seconds."""
        self._reported: set[str] = set()
        self._times: dict[tuple[str, object], tuple[weakref.ref[Volume], float]] = {}
        """The last volume of each series and moment, and its latest time. Weak: a volume keeps all its headers."""
        self._instances: dict[int, str] = {}
        """First file of each instance, by a hash of its header and pixels."""
        self._copies: set[str] = set()
        """Series of which a copy is reported."""
        self.held: dict[str, Stamp] = {}
        """Path to version of the files whose slices wait."""

    @property
    def due(self) -> float:
        """Time at which :meth:`ready` has to be called, monotonic seconds."""
        return min([self._assembly.due, *(order.due for order in self._orders.values())])

    @property
    def status(self) -> str:
        """Status of the waiting slices; empty when none waits."""
        if not self.held:
            return ""
        volumes = self._assembly.open
        if len(volumes) != 1 or len(volumes[0].slices) != len(self.held):
            return _("Receiving volumes: {slices} so far.").format(slices=_counted(len(self.held)))
        volume = volumes[0]
        count = len(volume.slices)
        if volume.expected:
            text = _("Receiving volume: {count} of {expected} slices so far.")
            return text.format(count=count, expected=volume.expected)
        return _("Receiving volume: {slices} so far.").format(slices=_counted(count))

    def add(self, path: str, version: Stamp, header: SliceHeader, image: Image, now: float) -> Event | bool:
        """Add the only image of a DICOM file; return False when it is a volume of its own.

        A copy of a known instance in another file belongs to no volume. The event that reports the first copy in a
        series is returned; True for further ones.

        :param version: of the file when it was read.
        :param now: monotonic seconds.
        """
        if image.pixels.shape[0] != 1:
            return False
        known = self._instances.setdefault(hash((header, zlib.crc32(image.pixels.data))), path)
        if known != path:
            self._checkpoint.skip({path: version})
            return self._copied(path, known, header)
        if path in self._checkpoint.done:
            # The series is written once more, with the same times.
            self._times = {key: value for key, value in self._times.items() if key[0] != header.series}
        slice_ = Slice(Instance(path, version, header, time.time()), image, 0)
        if self._bytes + image.pixels.nbytes > HELD:
            slice_.pixels = None
        else:
            self._bytes += image.pixels.nbytes
        self.held[path] = version
        self._orders.setdefault(header.series, SliceOrder(self._silence)).add(slice_, now)
        return True

    def _copied(self, path: str, known: str, header: SliceHeader) -> Event | bool:
        if header.series in self._copies:
            return True
        self._copies.add(header.series)
        text = _(
            "{name} is a copy of {known} and is not shown again. Further copies of this series are not reported."
        ).format(name=self._nameOf(path), known=self._nameOf(known))
        return Event("duplicate", text, subject=path)

    def forget(self, paths: Container[str]) -> None:
        """Forget the instances of files that were removed."""
        self._instances = {key: path for key, path in self._instances.items() if path not in paths}

    def ready(self, now: float, more: int) -> Iterator[Arrival | Event]:
        """Yield the complete volumes.

        :param more: number of further files that wait to be read.
        """
        if not more:
            self._moreSince = None
        elif self._moreSince is None:
            self._moreSince, self._fewest, self._fewestAt = now, more, now
        elif more < self._fewest:
            self._fewest, self._fewestAt = more, now
        # A volume does not end while slices of its series wait for release.
        ending = {
            volume.slices[0].instance.header.series
            for volume in self._assembly.open
            if volume.changed + self._silence <= now
        }
        many = self._moreSince is not None and now - self._moreSince < MANY_WAIT
        falls = self._moreSince is not None and now - self._fewestAt < MANY_WAIT
        for series, order in self._orders.items():
            if many or (falls and order.mixed):
                order.more()
                continue
            for arrival, slice_ in order.release(now, all_=series in ending):
                yield from self._feed(slice_, arrival)
        if many:
            return
        self._closed.extend(self._assembly.silent(now))
        yield from self._showClosed()

    def rest(self, now: float) -> Iterator[Arrival | Event]:
        """Yield all volumes, also those whose slices may be missing."""
        yield from self._showClosed()
        for order in self._orders.values():
            for arrival, slice_ in order.release(now, all_=True):
                yield from self._feed(slice_, arrival)
        self._closed.extend(self._assembly.silent(float("inf")))
        yield from self._showClosed()

    # ---- volumes

    def _feed(self, slice_: Slice, arrival: float) -> Iterator[Arrival | Event]:
        # Silence starts at the arrival of the slice, not at its release.
        self._latest = max(self._latest, arrival)
        self._closed.extend(self._assembly.add(slice_, self._latest))
        yield from self._showClosed()

    def _showClosed(self) -> Iterator[Arrival | Event]:
        while self._closed:
            yield from self._show(self._closed.popleft())

    def _show(self, closed: Closed) -> Iterator[Arrival | Event]:
        volume = closed.volume
        stream = self._streamName(volume.slices[0])
        try:
            self._checkFiles(volume)
            images = imagesOf(volume, self._getBuffer)
        except (NotAnImageError, OSError) as error:
            code = error.code if isinstance(error, NotAnImageError) else "unreadable"
            self._checkpoint.refuse()
            text = _("{stream}: the volume of {slices} cannot be shown: {why}")
            text = text.format(stream=stream, slices=_counted(len(volume.slices)), why=sentence(reasonOf(error)))
            yield Event(code, text, "warning", stream)
            self._checkpoint.skip({one.instance.path: one.instance.stamp for one in volume.slices})
        else:
            yield from reports(closed, images, stream, self._reported)
            yield from self._reportOverlap(volume, stream)
            yield from self._arrive(volume, images, stream)
        for one in volume.slices:
            self._bytes -= one.pixels.nbytes if one.pixels is not None else 0
            one.pixels = None
            if self.held.get(one.instance.path) == one.instance.stamp:
                del self.held[one.instance.path]

    def _checkFiles(self, volume: Volume) -> None:
        # A slice that is not in memory is read again: its file must be the same.
        for one in volume.slices:
            if one.pixels is None:
                version = versionOf(one.instance.path)
                if version is None or isAnother(one.instance.stamp, version):
                    text = _("{name} was replaced or removed.").format(name=self._nameOf(one.instance.path))
                    raise NotAnImageError(text, "damaged")

    def _arrive(self, volume: Volume, images: SliceImages, stream: str) -> Iterator[Arrival]:
        received = max(one.instance.stored for one in volume.slices)
        together = len(images.images) == 1
        slices = list(volume.slices)
        while images.images:
            # Slices that form no volume become one frame each, in the same order.
            of = slices if together else [slices.pop(0)]
            files = {one.instance.path: one.instance.stamp for one in of}
            first = min(of, key=lambda one: one.instance.header.number or 0).instance.path
            image = images.images.pop(0)
            image = replace(image, attributes={"SourceFile": self._nameOf(first), **image.attributes})
            with self._checkpoint.together(stream, files):
                yield Arrival(stream, image, received)
                del image

    def _reportOverlap(self, volume: Volume, stream: str) -> Iterator[Event]:
        # Time points follow one another. When files arrive out of order, a slice may be added to the wrong one.
        times = [one.time for one in volume.slices if one.time is not None]
        key = (volume.slices[0].instance.header.series, volume.moment)
        if not times:
            return
        before, last = self._times.pop(key, (lambda: None, -math.inf))
        self._times[key] = weakref.ref(volume), max(times)
        if len(self._times) > MOST_MOMENTS:
            del self._times[next(iter(self._times))]
        if (
            before() is not volume
            and len(times) > 1
            and min(times) < last
            and ("overlap" + stream) not in self._reported
        ):
            self._reported.add("overlap" + stream)
            text = _(
                "{stream}: the acquisition times of two volumes overlap, because their files arrived out of order. "
                "Slices of two time points may be mixed."
            )
            yield Event("times-overlap", text.format(stream=stream), "warning", stream)

    # ---- names

    def _streamName(self, slice_: Slice) -> str:
        header = slice_.instance.header
        chosen = self._streamOf(os.path.basename(slice_.instance.path))
        if chosen:
            return chosen
        if self._names is None:
            if SERIES_NAMES not in self._checkpoint.kept:
                self._checkpoint.keep(**{SERIES_NAMES: {header.series: self._stream}})
            self._names = SeriesNames(self._checkpoint, self._stream)
        return self._names.of(header)


def _counted(slices: int) -> str:
    return counted(slices, _("1 slice"), _("{count:,} slices"))
