"""DICOM receiver: instances from scanners and archives are stored as files and become frames."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ...Formats import GetBuffer, openImageFile
from ...Formats.DICOM.SliceGroup import Assembly, Closed, Instance, Slice, Volume
from ...Formats.DICOM.SliceImages import SliceImages, imagesOf, reports
from ...Model.Errors import NotAnImageError
from ...Model.Event import Event
from ...Model.Files import Stamp, reasonOf
from ...Model.Frame import Image
from ...Model.Quantities import counted
from ..Checkpoint import DEATHS, Checkpoint, SeriesNames, Verdict
from ..Source import TURN, Arrival
from . import DICOMSettings
from .Association import Item, Rejected, Released, Stored
from .Files import Files, readInstance
from .StorageSCP import StorageSCP

GROWTH = 0.25
"""Seconds between two frames of an incomplete volume."""
HELD = 1 << 30
"""Bytes of slices kept in memory; further slices are read from their files again."""
STARTED = "dicomStarted"
"""Key of the checkpoint for the start of the session (nanoseconds since the epoch)."""
_NO_ASSOCIATION = 0

log = logging.getLogger(__name__)


class DICOMSource:
    """Source of the images that senders store here.

    :param settings: address, allowed senders and folder.
    :param checkpoint: remembers the instances that are shown already.
    :param clock: monotonic seconds.
    :param getBuffer: returns memory for an image, or None.
    """

    def __init__(
        self,
        settings: DICOMSettings,
        checkpoint: Checkpoint,
        clock: Callable[[], float] = time.monotonic,
        getBuffer: GetBuffer = lambda nbytes: None,
    ) -> None:
        self._settings, self._checkpoint, self._clock, self._getBuffer = settings, checkpoint, clock, getBuffer
        self._files = Files(settings.folder)
        self._scp = StorageSCP(settings, self._files)
        self._assembly = Assembly(settings.completeAfter)
        self._streams = SeriesNames(checkpoint, settings.stream)
        self._stored = self._duplicates = self._held = 0
        self._uneven: set[str] = set()
        self._growthDue = 0.0
        self._problem = ""
        self._known: set[str] = set()
        self._begin()

    @property
    def status(self) -> str:
        """State of the receiver, for people."""
        if self._problem:
            return self._problem
        if not self._scp.isListening:
            return self._scp.status
        counts = f"{counted(self._stored, 'instance', 'instances')} stored"
        counts += f", {self._duplicates} of them duplicates" if self._duplicates else ""
        growing = [f"{self._streams.of(one.slices[0].instance.header)}: {_slices(one)}" for one in self._assembly.open]
        if growing:
            return f"Receiving {', '.join(growing[:3])}{' and more' if growing[3:] else ''}. {counts}."
        senders = self._scp.senders
        if senders:
            return f"Connected with {', '.join(senders[:3])}{' and others' if senders[3:] else ''}. {counts}."
        title, host, port = self._settings.aeTitle, self._settings.host, self._scp.port
        return f"Waiting for images sent to {title} on {host}, port {port}. {counts}."

    def read(self, seconds: float) -> Iterator[Arrival | Event]:
        """Yield images and events since the last call; block at most ``seconds``."""
        now = self._clock()
        turn = now + TURN
        waits = [seconds, self._assembly.due - now]
        if self._settings.growing and any(one.shown < len(one.slices) for one in self._assembly.open):
            waits.append(self._growthDue - now)
        for item in self._scp.items(now, max(0.0, min(waits))):
            yield from self._take(item)
            if self._clock() > turn:
                break
        now = self._clock()
        for closed in self._assembly.silent(now):
            yield from self._show(closed)
        if self._settings.growing and now >= self._growthDue:
            yield from self._grow(now)

    def wake(self) -> None:
        """End the wait in read(), from any thread."""
        self._scp.wake()

    def command(self, name: str, values: Mapping[str, Any]) -> None:
        """Ignore commands; this source has none."""

    def close(self) -> None:
        """End all associations; stored instances stay in the folder."""
        self._scp.close()
        for volume in self._assembly.open:
            stream = self._streams.of(volume.slices[0].instance.header)
            log.info("%s: the source stopped before %s were shown; their files are kept", stream, _slices(volume))

    # ---- instances of an earlier session

    def _begin(self) -> None:
        try:
            self._files.open()
        except OSError as error:
            folder = self._settings.folder
            self._problem = f"The folder {folder} cannot be made ({reasonOf(error)}): no instance can be stored."
            self._scp.put(Event("folder-missing", self._problem, "error", folder))
            return
        if not self._checkpoint.listed:
            self._checkpoint.keep(**{STARTED: time.time_ns()})
            self._checkpoint.skip(self._files.listing())
            return
        started = self._checkpoint.kept.get(STARTED, 0)
        for path, stamp in self._files.listing().items():
            if self._checkpoint.done.get(path) != stamp:
                try:
                    self._scp.put(Stored(readInstance(path, stamp), _NO_ASSOCIATION))
                except (NotAnImageError, OSError, ValueError) as error:
                    self._scp.put(self._unreadable(path, stamp, str(error)))
            elif stamp[1] >= started:
                self._known.add(path)

    def _unreadable(self, path: str, stamp: Stamp, why: str) -> Event:
        self._checkpoint.finish(path, stamp, Verdict.REJECTED)
        return Event("damaged", f"The stored file {path} cannot be read: {why}", "warning", path)

    # ---- instances

    def _take(self, item: Item) -> Iterator[Arrival | Event]:
        if isinstance(item, Event):
            yield item
        elif isinstance(item, Rejected):
            self._checkpoint.refuse()
            yield item.event
        elif isinstance(item, Released):
            for closed in self._assembly.released(item.association, self._clock()):
                yield from self._show(closed)
        else:
            self._problem = ""
            self._stored += 1
            if item.instance.path in self._known:
                self._duplicates += 1
                return
            self._known.add(item.instance.path)
            yield from self._open(item.instance, item.association)

    def _open(self, instance: Instance, association: int) -> Iterator[Arrival | Event]:
        path, stamp = instance.path, instance.stamp
        opened = self._checkpoint.begin(path, stamp)
        if opened.deaths >= DEATHS:
            text = f"{path} crashed the reading process {DEATHS} times and is skipped."
            yield from self._reject(instance, Event("crashed", text, "error", path))
            return
        accepted = opened.accepted
        try:
            reader = openImageFile(path)
            if words := reader.missing():
                raise NotAnImageError(words, "damaged")
            single = instance.header.single and reader.count == 1
            if not single:
                reader.getBuffer = self._getBuffer
            for index, image in enumerate(reader.images()):
                if single and image.pixels.shape[0] == 1:
                    self._checkpoint.leave()
                    yield from self._add(Slice(instance, image, association))
                    return
                if index >= accepted:
                    image = replace(image, attributes={"SourceFile": self._named(path), **image.attributes})
                    yield Arrival(self._streams.of(instance.header), image, instance.stored)
        except NotAnImageError as error:
            event = Event(error.code, f"{self._named(path)} is stored, but cannot be shown: {error}", "warning", path)
            yield from self._reject(instance, event)
            return
        except OSError as error:
            text = f"The stored file {self._named(path)} cannot be read: {reasonOf(error)}."
            yield from self._reject(instance, Event("unreadable", text, "warning", path))
            return
        self._checkpoint.finish(path, stamp)

    def _reject(self, instance: Instance, event: Event) -> Iterator[Event]:
        self._checkpoint.finish(instance.path, instance.stamp, Verdict.REJECTED)
        yield event

    # ---- volumes

    def _add(self, slice_: Slice) -> Iterator[Arrival | Event]:
        size = slice_.pixels.nbytes if slice_.pixels is not None else 0
        if self._held + size > HELD:
            slice_.pixels = None
        else:
            self._held += size
        for closed in self._assembly.add(slice_, self._clock()):
            yield from self._show(closed)

    def _show(self, closed: Closed) -> Iterator[Arrival | Event]:
        volume = closed.volume
        images, problem = self._imagesOf(volume)
        stream = self._streams.of(volume.slices[0].instance.header)
        if problem:
            self._checkpoint.refuse()
            yield Event(problem.code, f"{stream}: {problem.text}", "warning", stream)
        else:
            yield from reports(closed, images, stream, self._uneven)
            yield from self._arrive(volume, images, stream)
        self._checkpoint.skip({one.instance.path: one.instance.stamp for one in volume.slices})
        for one in volume.slices:
            self._held -= one.pixels.nbytes if one.pixels is not None else 0
            one.pixels = None

    def _grow(self, now: float) -> Iterator[Arrival | Event]:
        grown = [one for one in self._assembly.open if one.shown < len(one.slices)]
        if grown:
            self._growthDue = now + GROWTH
        for volume in grown:
            volume.shown = len(volume.slices)
            images, problem = self._imagesOf(volume)
            # Slices that are no volume yet may still become one.
            if not problem and not images.problem:
                yield from self._arrive(volume, images, self._streams.of(volume.slices[0].instance.header))

    def _imagesOf(self, volume: Volume) -> tuple[SliceImages, Event | None]:
        try:
            return imagesOf(volume, self._getBuffer), None
        except NotAnImageError as error:
            return SliceImages([], []), Event(error.code, f"the volume cannot be shown: {error}", "warning")
        except OSError as error:
            text = f"a slice cannot be read again: {reasonOf(error)}"
            return SliceImages([], []), Event("unreadable", text, "warning")

    def _arrive(self, volume: Volume, images: SliceImages, stream: str) -> Iterator[Arrival]:
        received = max(one.instance.stored for one in volume.slices)
        folder = self._named(volume.slices[0].instance.path).split("/")[0]
        # Popped, so that this method keeps no memory of an image that was passed on.
        while images.images:
            image: Image = images.images.pop(0)
            image = replace(image, attributes={"SourceFolder": folder, **image.attributes})
            yield Arrival(stream, image, received)
            del image

    # ---- names

    def _named(self, path: str) -> str:
        return path[len(self._settings.folder) :].replace("\\", "/").lstrip("/")


def _slices(volume: Volume) -> str:
    count = len(volume.slices)
    return (
        f"{count} of {counted(volume.expected, 'slice', 'slices')}"
        if volume.expected
        else counted(count, "slice", "slices")
    )
