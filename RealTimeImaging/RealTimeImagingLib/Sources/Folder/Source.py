"""Images that arrive as files in a folder. The source only reads; it changes nothing in the folder.

A file of one or several images is shown when it is complete (Completeness.py). DICOM files of one slice each become
volumes (SliceVolumes.py).

Slicer's side sends hints that the folder has changed (QFileSystemWatcher). The source also polls the folder as often as
that is cheap: watchers miss files on network shares, and do not report growth.
"""

from __future__ import annotations

import os
import threading
import time
import unicodedata
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

from ...Formats import GetBuffer, dicomOf, prepareToRead
from ...Model.Errors import NotAnImageError
from ...Model.Event import Event, Remedy
from ...Model.Files import Stamp
from ...Model.Frame import Image
from ...Model.Packages import missingPackages, packagesFor, titlesOf
from ...Model.Quantities import counted
from ...Model.Text import joined, sentence, textsOf
from ..Checkpoint import DEATHS, Checkpoint, Verdict
from ..Repetitions import Repetitions
from ..Silence import ListeningTime
from ..Source import TURN, Arrival
from . import FolderSettings
from .Completeness import UNREADABLE_AFTER, Bad, Complete, Gone, PendingFile, Unreadable
from .Content import FolderContent, FolderProblem, newestImage, problemOf, suffixOf
from .Listing import FolderPoller, cameBefore, isAnother, isBroken, seriesOf, versionOf
from .NumberedSeries import NumberedSeries
from .SliceVolumes import SliceVolumes

_ = textsOf(__file__)
REPORTED_RECHECK = 1.0
"""Seconds between two checks of a file that was reported as incomplete."""
GONE_RECHECK = 0.5
"""Seconds between two attempts to list a folder that cannot be listed."""
CLOCK_SKEW = 2.0
"""Seconds by which the clock of a file server may differ from ours."""
OVERDUE = 1.0
"""Seconds without an image after which the status says why, in a stream with shorter periods."""
PERIODS = 1.5
"""The same in periods of a slower stream."""


class FolderSource:
    """Source of frames from the files of one folder.

    :param settings: folder, file names and series.
    :param checkpoint: files and frames that earlier processes of this session have finished.
    :param clock: monotonic time in seconds.
    :param getBuffer: returns memory to decode an image into, or None.
    """

    def __init__(
        self,
        settings: FolderSettings,
        checkpoint: Checkpoint,
        clock: Callable[[], float] = time.monotonic,
        getBuffer: GetBuffer = lambda nbytes: None,
    ) -> None:
        self._settings, self._checkpoint, self._clock, self._getBuffer = settings, checkpoint, clock, getBuffer
        self._series = seriesOf(settings.seriesPattern)
        self._content = FolderContent(settings.folder, settings.pattern, settings.subfolders)
        self._poller = FolderPoller(settings.folder, settings.subfolders, self._content.wanted, clock)
        self._volumes = SliceVolumes(
            checkpoint, settings.completeAfter, settings.stream, self._series, self._name, self._getBuffer
        )
        self._listening = ListeningTime(settings.completeAfter, clock)
        self._pending: dict[str, PendingFile] = {}
        self._untried: deque[PendingFile] = deque()
        self._reportedNotes: set[str] = set()
        self._tried: dict[str, PendingFile] = {}
        self._firstPoll: list[PendingFile] | None = []
        self._wake = threading.Event()
        self._present: bool | None = None
        self._seen = False
        self._problem: FolderProblem | None = None
        self._reportedProblems: set[str] = set()
        self._repetitions = Repetitions(clock)
        self._exhausted = False
        self._sizes: dict[str, str] = {}
        self._resized: set[str] = set()
        self._numbers = NumberedSeries()
        self._rejected: tuple[str, str] | None = None
        """Path and sentence of the last file that is no image, until an image comes or the file is removed."""
        self._arrivals: deque[float] = deque(maxlen=9)
        """Times of the last images, on the clock."""
        self._started = time.time()
        if not checkpoint.listed:
            self._skipExisting()

    @property
    def status(self) -> str:
        """Status for the user: why the source waits. It stays the same while images come regularly."""
        if self._problem:
            return joined(self._problem.text, _("Images are shown as soon as it can be listed."))
        files = sorted(self._tried.values(), key=self._order)
        stuck = joined(*(one.words(self._name(one.path)) for one in files[:3] if one.reported))
        folder = self._settings.folder
        if self._regular:
            return joined(_("Waiting for the next image in {folder}.").format(folder=folder), stuck)
        if self._untried:
            several = _("{count:,} files are waiting to be read.")
            return counted(len(self._untried), _("1 file is waiting to be read."), several)
        growing = [one for one in files if not one.reported]
        if growing:
            return joined(self._growingText(growing), stuck)
        if self._volumes.status:
            return joined(self._volumes.status, stuck)
        rejected = self._rejected[1] if self._rejected else ""
        if self._checkpoint.numbers:
            return joined(_("Waiting for the next image in {folder}.").format(folder=folder), rejected, stuck)
        pattern = self._settings.pattern
        text = _("No image that fits {pattern} has arrived in {folder} yet.")
        if pattern.strip() == "*":
            text = _("No image has arrived in {folder} yet.")
        return joined(text.format(folder=folder, pattern=pattern), rejected, stuck, self._content.text)

    @property
    def remedy(self) -> Remedy | None:
        """Settings with which an image would be shown, None while images come or none are known."""
        if self._problem:
            return self._problem.remedy
        reading = self._untried or any(not one.reported for one in self._tried.values())
        return None if self._checkpoint.numbers or reading else self._content.remedy

    def _growingText(self, growing: list[PendingFile]) -> str:
        first = growing[0]
        name, why = self._name(first.path), sentence(first.why)
        if first.unreadable:
            return first.words(name)
        if len(growing) == 1:
            return _("Waiting until {name} is complete: {why}").format(name=name, why=why)
        text = _("Waiting until {name} (and {count:,} more) is complete: {why}")
        return text.format(name=name, count=len(growing) - 1, why=why)

    @property
    def _regular(self) -> bool:
        # True while the next image is not overdue. A file is always incomplete for a moment before it is an image.
        if not self._arrivals:
            return False
        times = list(self._arrivals)
        periods = sorted(after - before for before, after in pairwise(times)) or [0.0]
        return self._clock() - times[-1] < max(OVERDUE, PERIODS * periods[len(periods) // 2])

    def read(self, seconds: float) -> Iterator[Arrival | Event]:
        """Poll the folder and check the incomplete files, when it is time; then wait."""
        turn = self._clock() + TURN
        yield from self._poll(turn)
        while self._untried:
            yield from self._try(self._untried.popleft())
            if self._clock() > turn:
                yield from self._show(self._volumes.ready(self._listening.count(), len(self._untried)))
                return
        now = self._clock()
        for file in sorted((one for one in self._tried.values() if one.due <= now), key=self._order):
            yield from self._try(file)
            if self._clock() > turn:
                return
        yield from self._show(self._volumes.ready(self._listening.count(), 0))
        yield from self._numbers.overdue(self._clock())
        yield from self._repetitions.due()
        next_ = min([self._poller.due, self._numbers.due, *(file.due for file in self._tried.values())])
        self._wake.wait(max(0.0, min(seconds, next_ - self._clock(), self._listening.wait(self._volumes.due))))
        self._wake.clear()

    def wake(self) -> None:
        """End the waiting in read()."""
        self._wake.set()

    def command(self, name: str, values: Mapping[str, Any]) -> None:
        """Obey "rescan": poll the folder now."""
        if name == "rescan":
            self._poller.hurry()

    def rest(self) -> Iterator[Arrival | Event]:
        """Yield the volumes that are not closed yet, as they are, and the events that were counted."""
        yield from self._show(self._volumes.rest(self._listening.count()))
        yield from self._repetitions.rest()

    def close(self) -> None:
        """Forget the incomplete files."""
        self._pending.clear()
        self._untried.clear()
        self._tried.clear()
        self._firstPoll = None

    # ---- the folder

    def _skipExisting(self) -> None:
        try:
            files = self._poller.all()
        except OSError:
            return  # skipped when the folder can be listed
        if self._present is False:
            # The folder was missing at the start, but files older than the start existed.
            files = {path: stamp for path, stamp in files.items() if cameBefore(path, self._started - CLOCK_SKEW)}
        existing, shown = self._settings.existing, set(files)
        if existing != "all":
            readable = {path: stamp for path, stamp in files.items() if not isBroken(stamp)}
            shown = newestImage(readable) if existing == "newest" else set()
        self._content.existing, self._content.shown = len(files), len(shown)
        self._checkpoint.skip({path: stamp for path, stamp in files.items() if path not in shown})

    def _poll(self, turn: float) -> Iterator[Event]:
        if not self._poller.isDue():
            return
        if self._poller.begins:
            self._content.begin()
        try:
            if not self._checkpoint.listed:
                self._skipExisting()
            found = self._poller.poll(self._checkpoint.done, turn)
        except OSError as error:
            self._poller.postpone(GONE_RECHECK)
            yield from self._cannotList(error)
            return
        if self._poller.begins and (gone := self._poller.gone(self._checkpoint.done)):
            self._checkpoint.forget(gone)
            self._volumes.forget(set(gone))
        if not self._present or self._problem:
            yield self._presentEvent()
        self._present, self._seen, self._problem = True, True, None
        self._reportedProblems.clear()
        if not self._checkpoint.numbers and self._poller.begins:
            self._content.search(self._clock())
        if self._rejected and versionOf(self._rejected[0]) is None:
            self._rejected = None
        new = self._newFiles(found)
        if new:
            self._poller.noteNew()
            yield from self._numbers.add((self._name(file.path) for file in new), self._clock())
        if self._firstPoll is not None:
            # Show all files of the first poll in one order, even if it has several pieces.
            new = self._firstPoll = [*self._firstPoll, *new]
            if not self._poller.begins:
                return
            self._firstPoll = None
        self._untried.extend(sorted(new, key=self._order))

    def _newFiles(self, found: dict[str, Stamp]) -> list[PendingFile]:
        """Return the files that are new, which are pending now; those that changed are checked again at once."""
        new = []
        for path, stamp in found.items():
            held, file = self._volumes.held.get(path), self._pending.get(path)
            if held is not None and not isAnother(held, stamp):
                continue
            if file is None and self._isNew(path, stamp):
                new.append(PendingFile(path, self._clock()))
            elif file is not None and file.stamp not in (None, stamp):
                file.due = self._clock()
        self._pending.update((file.path, file) for file in new)
        return new

    def _isNew(self, path: str, stamp: Stamp) -> bool:
        if path in self._checkpoint.incomplete:
            return True
        before = self._checkpoint.done.get(path)
        # A known file behind a link may be on a share that comes back.
        return isAnother(before, stamp) and (before is None or not isBroken(stamp))

    def _cannotList(self, error: OSError) -> Iterator[Event]:
        folder = self._settings.folder
        self._problem = problem = problemOf(folder, error, self._seen)
        if problem.text not in self._reportedProblems:
            self._reportedProblems.add(problem.text)
            text = joined(problem.text, _("Images are shown as soon as it can be listed."))
            yield Event(problem.code, text, "warning", folder, remedy=problem.remedy)
        if problem.code != "too-many-open-files":
            self._present, self._firstPoll = False, []

    def _presentEvent(self) -> Event:
        folder = self._settings.folder
        if self._present is None and not self._problem:
            text = joined(_("Watching {folder}.").format(folder=folder), self._content.existingText)
            return Event("folder-there", text, subject=folder)
        text = _("The folder {folder} is back; new images in it are shown.").format(folder=folder)
        return Event("folder-back", text, subject=folder)

    # ---- the files

    def _order(self, file: PendingFile) -> tuple[bool, list[tuple[int, int, str]]]:
        # A file with images that are already shown is first.
        return file.path not in self._checkpoint.unfinished, file.order

    def _try(self, file: PendingFile) -> Iterator[Arrival | Event]:
        path, now = file.path, self._clock()
        name, stamp = self._name(path), versionOf(path)
        self._tried[path] = file
        prepareToRead(path)
        if stamp is not None and self._checkpoint.begin(path, stamp).deaths >= DEATHS:
            text = _("{name} crashed the reading process {count} times and is skipped.")
            yield self._reject(path, stamp, Event("crashed", text.format(name=name, count=DEATHS), "error", path))
            return
        verdict = file.check(now)
        if isinstance(verdict, Complete):
            yield from self._show(self._deliver(file, verdict))
            return
        self._checkpoint.leave()
        if isinstance(verdict, Gone) or stamp is None:
            self._forget(path)
            if os.path.isdir(self._settings.folder):
                text = _("{name} was removed before it was complete: {why}")
                yield Event("vanished", text.format(name=name, why=sentence(file.why)), subject=path)
        elif isinstance(verdict, Bad):
            remedy = self._installing(path) if verdict.code == "missing-package" else None
            yield self._reject(path, stamp, Event(verdict.code, _of(name, verdict.why), "warning", path, remedy=remedy))
        elif isinstance(verdict, Unreadable):
            yield from self._reportUnreadable(file, verdict, stamp)
        else:
            yield from self._reportIncomplete(file, "incomplete", self._settings.incompleteAfter, stamp)

    def _installing(self, path: str) -> Remedy | None:
        # With the ending in the pattern, the start of the source asks whether to install the packages.
        ending, pattern = suffixOf(path), self._settings.pattern
        missing = [package.requirement for package in missingPackages(packagesFor(ending))]
        if not missing or missing == [one.requirement for one in missingPackages(packagesFor(pattern))]:
            return None
        label = _("Install {names}").format(names=titlesOf(missing))
        return Remedy(label, {"pattern": f"{pattern}; *{ending}"})

    def _reportUnreadable(self, file: PendingFile, verdict: Unreadable, stamp: Stamp) -> Iterator[Event]:
        if not verdict.exhausted:
            patience = min(UNREADABLE_AFTER, self._settings.incompleteAfter)
            yield from self._reportIncomplete(file, "unreadable", patience, stamp)
        elif not self._exhausted:
            self._exhausted = True
            name = self._name(file.path)
            text = _("{name} cannot be read now: {reason}. The module tries again.")
            text = text.format(name=name, reason=verdict.why)
            yield Event("too-many-open-files", text, "warning", self._settings.folder)

    def _reportIncomplete(self, file: PendingFile, code: str, patience: float, stamp: Stamp) -> Iterator[Event]:
        now = self._clock()
        quiet = file.quiet(now)
        if quiet < patience:
            file.reported = ""
            return
        file.due = now + REPORTED_RECHECK
        if file.reported == code:
            return
        file.reported = code
        self._checkpoint.finish(file.path, stamp, Verdict.INCOMPLETE)
        then = _("It is shown as soon as it can be read.")
        if not file.unreadable:
            then = _("It has not changed for {seconds:.0f} s. It is shown as soon as it is complete.")
        text = joined(file.words(self._name(file.path)), then.format(seconds=quiet))
        event = Event(code, text, "warning", file.path)
        if code == "unreadable":
            # A share that goes away makes all links to its files unreadable.
            yield from self._repetitions.report(event, self._settings.folder)
        else:
            yield event

    def _deliver(self, file: PendingFile, complete: Complete) -> Iterator[Arrival | Event]:
        path, stamp, name = file.path, complete.stamp, self._name(file.path)
        accepted = self._checkpoint.begin(path, stamp).accepted
        dicom = dicomOf(complete.reader)
        header = dicom.slice if dicom and dicom.count == 1 else None
        if header is None:
            # A slice that waits for others must not hold the memory.
            complete.reader.getBuffer = self._getBuffer
        self._exhausted = False
        stream = self._series(os.path.basename(path)) or self._settings.stream
        stages = {"seen": file.seen, "complete": time.time()}
        for note in set(complete.reader.notes) - self._reportedNotes:
            # Report a note once: most files of a series have the same notes.
            self._reportedNotes.add(note)
            yield Event("image-note", _of(name, note), "warning", path)
        try:
            for index, image in enumerate(complete.reader.images()):
                if file.changed():
                    # The file changed after it was complete: check it again.
                    self._checkpoint.leave()
                    return
                if header and (added := self._volumes.add(path, stamp, header, image, self._listening.count())):
                    self._checkpoint.leave()
                    self._forget(path)
                    if isinstance(added, Event):
                        yield added
                    return
                if index >= accepted:
                    image = replace(image, attributes={"SourceFile": name, **image.attributes})
                    yield Arrival(stream, image, time.time(), stages=stages)
        except NotAnImageError as error:
            if file.changed():
                self._checkpoint.leave()
                return
            yield self._reject(path, stamp, Event(error.code, _of(name, str(error)), "warning", path))
            return
        except OSError as error:
            self._checkpoint.leave()
            yield from self._reportUnreadable(file, file.unreadableNow(error, self._clock()), stamp)
            return
        self._checkpoint.finish(path, stamp)
        self._forget(path)

    def _show(self, items: Iterator[Arrival | Event]) -> Iterator[Arrival | Event]:
        for item in items:
            if isinstance(item, Arrival):
                self._arrivals.append(self._clock())
                self._rejected = None
                yield from self._reportSize(item.stream, item.image)
            yield item
            # A variable would hold the memory of the image.
            del item

    def _reportSize(self, stream: str, image: Image) -> Iterator[Event]:
        shape = " x ".join(map(str, reversed(image.pixels.shape[:3])))
        text = _("{shape} {dtype} colour") if image.pixels.ndim > 3 else _("{shape} {dtype}")
        size = text.format(shape=shape, dtype=str(image.pixels.dtype))
        before, self._sizes[stream] = self._sizes.get(stream, size), size
        if before != size and stream not in self._resized:
            self._resized.add(stream)
            name = image.attributes.get("SourceFile", "")
            text = _("{stream}: the image size changed from {before} to {size} with {name}.")
            text = text.format(stream=stream, before=before, size=size, name=name)
            yield Event("size-changed", joined(text, _("Later changes are not reported.")), subject=stream)

    def _reject(self, path: str, stamp: Stamp, event: Event) -> Event:
        self._checkpoint.finish(path, stamp, Verdict.REJECTED)
        self._rejected = path, event.text
        self._forget(path)
        return event

    def _forget(self, path: str) -> None:
        self._pending.pop(path, None)
        self._tried.pop(path, None)

    def _name(self, path: str) -> str:
        # Neither bytes that are not UTF-8 nor control characters, such as a line end, can be shown or sent.
        name = os.fsencode(os.path.relpath(path, self._settings.folder)).decode("utf-8", "replace")
        return "".join("\ufffd" if unicodedata.category(sign) == "Cc" else sign for sign in name)


def _of(name: str, why: str) -> str:
    """Return a sentence about a file, with its name once."""
    return sentence(why) if why.startswith(name) else _("{name}: {why}").format(name=name, why=sentence(why))
