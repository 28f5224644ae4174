"""DICOM receiver: instances from scanners and archives are stored as files and become frames."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...Formats import GetBuffer, openImageFile
from ...Formats.DICOM.SliceGroup import Assembly, Closed, Instance, Slice, Volume
from ...Formats.DICOM.SliceImages import SliceImages, imagesOf, reports
from ...Model.Errors import NotAnImageError
from ...Model.Event import Event, Remedy
from ...Model.Files import Stamp, longAccess, reasonOf
from ...Model.Frame import Image
from ...Model.Quantities import counted
from ...Model.Text import Text, joined, sentence, textsOf
from ..Checkpoint import DEATHS, Checkpoint, SeriesNames, Verdict
from ..Endpoints import RETRY, hostOf
from ..Repetitions import Repetitions
from ..Silence import ListeningTime
from ..Source import TURN, Arrival
from . import DICOMSettings
from .Association import Item, Rejected, Released, Stored
from .Files import Files, readInstance
from .StorageSCP import StorageSCP

_ = textsOf(__file__)

GROWTH = 0.25
"""Seconds between two frames of an incomplete volume."""
HELD = 1 << 30
"""Bytes of slices kept in memory; further slices are read from their files again."""
STARTED = "dicomStarted"
"""Key of the checkpoint for the start of the session (nanoseconds since the epoch)."""
OWN_CODES = (
    "listening",
    "port-taken",
    "port-refused",
    "address-refused",
    "not-listening",
    "folder-missing",
    "folder-there",
)
"""Codes of events that no sender causes."""
QUIET_CODES = ("duplicate", "sender-gone", "damaged")
"""Codes of events that do not explain missing images."""
_NO_ASSOCIATION = 0


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
        self._listening = ListeningTime(settings.completeAfter, clock)
        self._streams = SeriesNames(checkpoint, settings.stream)
        self._stored = self._duplicates = self._held = 0
        self._uneven: set[str] = set()
        self._growthDue = 0.0
        self._folderDue = math.inf
        """Time to try to open the folder again; infinite while it is open."""
        self._problem: tuple[str, Remedy | None] = "", None
        """Why the last images did not come, and settings that help; empty once an instance is stored."""
        self._repetitions = Repetitions(clock)
        self._arrived = False
        """True once an image has arrived: then other instances that cannot be shown explain nothing."""
        self._known: set[str] = set()
        self._begin()

    @property
    def status(self) -> str:
        """State of the receiver, for people."""
        problem = self._problem[0]
        if self._scp.waitsForFolder:
            return longAccess(self._settings.folder)
        if not self._scp.isListening:
            return joined(problem, self._scp.status)
        counts = counted(self._stored, _("1 instance stored."), _("{count:,} instances stored."))
        if self._duplicates:
            text = _("{count:,} instances stored, {duplicates:,} of them duplicates.")
            counts = text.format(count=self._stored, duplicates=self._duplicates)
        growing = [self._growing(one) for one in self._assembly.open]
        senders = self._scp.senders
        if growing:
            return joined(problem, _listed(_("Receiving {names}."), _("Receiving {names} and more."), growing), counts)
        if senders:
            text = _listed(_("Connected with {names}."), _("Connected with {names} and others."), senders)
            return joined(
                problem, text, counts if self._stored else _("No image was sent yet: send a series from there.")
            )
        text = _("Waiting for images sent to {title} on {host}, port {port}.")
        text = text.format(title=self._settings.aeTitle, host=self._settings.host, port=self._scp.port)
        return joined(problem, text, counts if self._stored else "" if problem else self._scp.reach)

    @property
    def remedy(self) -> Remedy | None:
        """Other settings with which images could arrive, None when there are none."""
        if self._problem[0]:
            return self._problem[1]
        return None if self._stored or self._scp.senders else self._scp.remedy

    def _growing(self, volume: Volume) -> str:
        stream = self._streams.of(volume.slices[0].instance.header)
        return _("{stream}: {slices}").format(stream=stream, slices=_slices(volume))

    def read(self, seconds: float) -> Iterator[Arrival | Event]:
        """Yield images and events since the last call; block at most ``seconds``."""
        now, listened = self._clock(), self._listening.count()
        turn = now + TURN
        waits = [seconds, self._listening.wait(self._assembly.due)]
        if self._settings.growing and any(one.shown < len(one.slices) for one in self._assembly.open):
            waits.append(self._growthDue - now)
        if now >= self._folderDue:
            self._begin()
        for item in self._scp.items(now, max(0.0, min(waits))):
            yield from self._take(item)
            self._listening.count()
            if self._clock() > turn:
                break
        else:
            for closed in self._assembly.silent(listened):
                yield from self._show(closed)
        yield from self._repetitions.due()
        now = self._clock()
        if self._settings.growing and now >= self._growthDue:
            yield from self._grow(now)

    def wake(self) -> None:
        """End the wait in read(), from any thread."""
        self._scp.wake()

    def command(self, name: str, values: Mapping[str, Any]) -> None:
        """Ignore commands; this source has none."""

    def rest(self) -> Iterator[Arrival | Event]:
        """End all associations; yield what they have stored, the volumes that are still open, and counted events."""
        self._scp.close()
        for item in self._scp.rest():
            yield from self._take(item)
        for closed in self._assembly.silent(math.inf):
            yield from self._show(closed)
        yield from self._repetitions.rest()

    def close(self) -> None:
        """End all associations; stored instances stay in the folder."""
        self._scp.close()

    # ---- instances of an earlier session

    def _begin(self) -> None:
        try:
            self._files.open()
        except OSError as error:
            folder = self._settings.folder
            text = _(
                "The folder {folder} cannot be written ({reason}): no instance can be stored. Choose another folder, "
                "or allow writing there."
            )
            isFile = isinstance(error, (FileExistsError, NotADirectoryError))
            reason = _("a file has that name") if isFile else reasonOf(error)
            text = text.format(folder=folder, reason=reason)
            if text != self._problem[0]:
                self._problem = text, None
                self._scp.put(Event("folder-missing", text, "error", folder))
            self._folderDue = self._clock() + RETRY
            return
        if self._folderDue < math.inf:
            self._folderDue, self._problem = math.inf, ("", None)
            text = _("The folder {folder} can be written again.").format(folder=self._settings.folder)
            self._scp.put(Event("folder-there", text, subject=self._settings.folder))
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
                    self._scp.put(self._unreadable(path, stamp, sentence(reasonOf(error))))
            elif stamp[1] >= started:
                self._known.add(path)

    def _unreadable(self, path: str, stamp: Stamp, why: str) -> Event:
        self._checkpoint.finish(path, stamp, Verdict.REJECTED)
        return Event(
            "damaged",
            _("The stored file {path} cannot be read: {reason}").format(path=path, reason=why),
            "warning",
            path,
        )

    # ---- instances

    def _report(self, event: Event) -> Iterator[Event]:
        # A sender may send the same fault for each of hundreds of instances.
        if event.code in OWN_CODES:
            yield event
            return
        if event.code not in QUIET_CODES:
            self._problem = event.text, event.remedy
        yield from self._repetitions.report(event, hostOf(event.subject))

    def _take(self, item: Item) -> Iterator[Arrival | Event]:
        if isinstance(item, Event):
            yield from self._report(item)
        elif isinstance(item, Rejected):
            self._checkpoint.refuse()
            yield from self._report(item.event)
        elif isinstance(item, Released):
            for closed in self._assembly.released(item.association, self._listening.count()):
                yield from self._show(closed)
        else:
            self._problem = "", None
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
            text = _("{path} crashed the reading process {count} times and is skipped.").format(path=path, count=DEATHS)
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
                self._arrived = True
                if index >= accepted:
                    image = replace(image, attributes={"SourceFile": self._named(path), **image.attributes})
                    yield Arrival(self._streams.of(instance.header), image, instance.stored)
        except NotAnImageError as error:
            text = _("{name} is stored, but cannot be shown: {reason}").format(
                name=self._named(path), reason=str(error)
            )
            event = Event(error.code, text, "warning", path)
            yield from self._reject(instance, event)
            return
        except OSError as error:
            text = _("The stored file {name} cannot be read: {reason}.").format(
                name=self._named(path), reason=reasonOf(error)
            )
            yield from self._reject(instance, Event("unreadable", text, "warning", path))
            return
        self._checkpoint.finish(path, stamp)

    def _reject(self, instance: Instance, event: Event) -> Iterator[Event]:
        self._checkpoint.finish(instance.path, instance.stamp, Verdict.REJECTED)
        self._explain(event)
        yield event

    def _explain(self, event: Event) -> None:
        if not self._arrived:
            self._problem = event.text, event.remedy

    # ---- volumes

    def _add(self, slice_: Slice) -> Iterator[Arrival | Event]:
        size = slice_.pixels.nbytes if slice_.pixels is not None else 0
        if self._held + size > HELD:
            slice_.pixels = None
        else:
            self._held += size
        for closed in self._assembly.add(slice_, self._listening.count()):
            yield from self._show(closed)

    def _show(self, closed: Closed) -> Iterator[Arrival | Event]:
        volume = closed.volume
        images, problem = self._imagesOf(volume)
        stream = self._streams.of(volume.slices[0].instance.header)
        if problem:
            self._checkpoint.refuse()
            text = _("{stream}: {problem}").format(stream=stream, problem=problem.text)
            event = Event(problem.code, text, "warning", stream)
            self._explain(event)
            yield event
            self._checkpoint.skip(_filesOf(volume.slices))
        else:
            yield from reports(closed, images, stream, self._uneven)
            slices, together = list(volume.slices), len(images.images) == 1
            for arrival in self._arrivals(volume, images, stream):
                # Slices that form no volume become one frame each, in the same order.
                with self._checkpoint.together(stream, _filesOf(slices if together else [slices.pop(0)])):
                    yield arrival
                    del arrival
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
                yield from self._arrivals(volume, images, self._streams.of(volume.slices[0].instance.header))

    def _imagesOf(self, volume: Volume) -> tuple[SliceImages, Event | None]:
        try:
            return imagesOf(volume, self._getBuffer), None
        except NotAnImageError as error:
            text = _("the volume cannot be shown: {reason}").format(reason=error)
            return SliceImages([], []), Event(error.code, text, "warning")
        except OSError as error:
            text = _("a slice cannot be read again: {reason}").format(reason=reasonOf(error))
            return SliceImages([], []), Event("unreadable", text, "warning")

    def _arrivals(self, volume: Volume, images: SliceImages, stream: str) -> Iterator[Arrival]:
        self._arrived = True
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


def _filesOf(slices: Sequence[Slice]) -> dict[str, Stamp]:
    return {one.instance.path: one.instance.stamp for one in slices}


def _slices(volume: Volume) -> str:
    count = len(volume.slices)
    if volume.expected:
        return _("{count:,} of {expected:,} slices").format(count=count, expected=volume.expected)
    return counted(count, _("1 slice"), _("{count:,} slices"))


def _listed(text: Text, more: Text, names: Sequence[str]) -> Text:
    """Return a sentence with at most three names; ``more`` when there are further names."""
    return (more if names[3:] else text).format(names=joined(*names[:3], separator=", "))
