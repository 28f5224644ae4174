"""DICOM's network protocol as a source: instances are stored as files, and become frames."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ...Formats import GetBuffer, openImageFile
from ...Formats.DICOM.SliceGroup import Assembly, Closed, Instance, Slice, Volume
from ...Formats.DICOM.Stacking import Stack, missingText, stackOf
from ...Model.Errors import NotAnImageError
from ...Model.Event import Event
from ...Model.Files import Stamp
from ...Model.Frame import Image
from ..Checkpoint import Checkpoint, Verdict
from ..SeriesNames import Streams
from ..Source import Arrival
from . import DICOMSettings
from .Association import Item, Rejected, Released, Stored
from .Files import Files, readInstance
from .StorageSCP import StorageSCP

TURN = 0.1
"""Seconds after which read() returns even if more waits, so that commands are heard."""
GROWTH = 0.25
"""Seconds between two frames of a volume that grows."""
HELD = 1 << 30
"""Bytes of slices that wait in memory; the others wait in their files."""
DEATHS = 2
"""Processes that may die over a file before it is given up."""
STARTED = "dicomStarted"
"""Under which the journal keeps when the session began (nanoseconds since the epoch)."""
_NO_ASSOCIATION = 0

log = logging.getLogger(__name__)


class DICOMSource:
    """What senders store here.

    :param settings: who may send, and where files are kept.
    :param checkpoint: knows what is shown already.
    :param clock: monotonic seconds.
    :param getBuffer: gives memory for an image, or None.
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
        self._streams = Streams(checkpoint, settings.stream)
        self._stored = self._again = self._held = 0
        self._told: set[tuple[str, str]] = set()
        self._growthDue = 0.0
        self._problem = ""
        self._known: set[str] = set()
        self._begin()

    @property
    def status(self) -> str:
        """What is waited for."""
        if self._problem:
            return self._problem
        if not self._scp.isListening:
            return self._scp.status
        counts = f"{self._stored} instances are stored" + (f", {self._again} came again" if self._again else "")
        growing = [f"{self._streams.of(one.slices[0].instance.header)}: {_slices(one)}" for one in self._assembly.open]
        if growing:
            return f"Receives {', '.join(growing[:3])}{' and more' if growing[3:] else ''}. {counts}."
        senders = self._scp.senders
        if senders:
            return f"Connected with {', '.join(senders[:3])}{' and others' if senders[3:] else ''}. {counts}."
        title, host, port = self._settings.aeTitle, self._settings.host, self._scp.port
        return f"Waits for images that are sent to {title} on {host}, port {port}. {counts}."

    def read(self, seconds: float) -> Iterator[Arrival | Event]:
        """What came since the last call."""
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
        """End the waiting in read()."""
        self._scp.wake()

    def command(self, name: str, values: Mapping[str, Any]) -> None:
        """Knows none."""

    def close(self) -> None:
        """End all associations; what is stored stays in the folder."""
        self._scp.close()
        for volume in self._assembly.open:
            stream = self._streams.of(volume.slices[0].instance.header)
            log.info("%s: %s stay in the folder, not shown, as the source was stopped", stream, _slices(volume))

    # ---- what was there before

    def _begin(self) -> None:
        try:
            self._files.open()
        except OSError as error:
            folder = self._settings.folder
            self._problem = f"The folder {folder} cannot be made ({error.strerror}): nothing can be kept."
            self._scp.put(Event("folder-missing", self._problem, "error", folder))
            return
        if not self._checkpoint.listed:
            self._checkpoint.keep(**{STARTED: time.time_ns()})
            self._checkpoint.passOver(self._files.listing())
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
        return Event("damaged", f"{path} was stored and cannot be read: {why}", "warning", path)

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
                self._again += 1
                return
            self._known.add(item.instance.path)
            yield from self._open(item.instance, item.association)

    def _open(self, instance: Instance, association: int) -> Iterator[Arrival | Event]:
        path, stamp = instance.path, instance.stamp
        opened = self._checkpoint.begin(path, stamp)
        if opened.deaths >= DEATHS:
            text = f"{path} ended the reading process {DEATHS} times and is passed over."
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
            event = Event(error.code, f"{self._named(path)} is stored and cannot be shown: {error}", "warning", path)
            yield from self._reject(instance, event)
            return
        except OSError as error:
            text = f"{self._named(path)} was stored and cannot be read: {error.strerror or error}."
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
        stack, problem = self._stack(volume)
        stream = self._streams.of(volume.slices[0].instance.header)
        if problem:
            self._checkpoint.refuse()
            yield Event(problem.code, f"{stream}: {problem.text}", "warning", stream)
        else:
            yield from self._tellProblem(closed, stack, stream)
            yield from self._arrive(volume, stack, stream)
        self._checkpoint.passOver({one.instance.path: one.instance.stamp for one in volume.slices})
        for one in volume.slices:
            self._held -= one.pixels.nbytes if one.pixels is not None else 0
            one.pixels = None

    def _grow(self, now: float) -> Iterator[Arrival | Event]:
        grown = [one for one in self._assembly.open if one.shown < len(one.slices)]
        if grown:
            self._growthDue = now + GROWTH
        for volume in grown:
            volume.shown = len(volume.slices)
            stack, problem = self._stack(volume)
            # One that is no volume yet may still become one.
            if not problem and not stack.problem:
                yield from self._arrive(volume, stack, self._streams.of(volume.slices[0].instance.header))

    def _stack(self, volume: Volume) -> tuple[Stack, Event | None]:
        try:
            return stackOf(volume, self._getBuffer), None
        except NotAnImageError as error:
            return Stack([], []), Event(error.code, f"the volume cannot be shown: {error}", "warning")
        except OSError as error:
            text = f"a slice cannot be read again: {error.strerror or error}"
            return Stack([], []), Event("unreadable", text, "warning")

    def _arrive(self, volume: Volume, stack: Stack, stream: str) -> Iterator[Arrival]:
        received = max(one.instance.stored for one in volume.slices)
        folder = self._named(volume.slices[0].instance.path).split("/")[0]
        # Popped, so that nothing here keeps the memory of an image that is on its way.
        while stack.images:
            image: Image = stack.images.pop(0)
            image = replace(image, attributes={"SourceFolder": folder, **image.attributes})
            yield Arrival(stream, image, received)
            del image

    def _tellProblem(self, closed: Closed, stack: Stack, stream: str) -> Iterator[Event]:
        if stack.problem:
            if ("uneven", stream) not in self._told:
                self._told.add(("uneven", stream))
                text = f"{stream} is not a volume, because {stack.problem}. Each slice is shown in its own place."
                yield Event("uneven", text, "warning", stream)
            return
        text = missingText(closed, stack, stream)
        if text:
            yield Event("incomplete", text, "warning", stream)

    # ---- names

    def _named(self, path: str) -> str:
        return path[len(self._settings.folder) :].replace("\\", "/").lstrip("/")


def _slices(volume: Volume) -> str:
    of = f" of {volume.expected}" if volume.expected else ""
    return f"{len(volume.slices)}{of} slices"
