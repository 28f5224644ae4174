"""Images that arrive as files in a folder. Reads only; nothing in the folder is changed.

Slicer's side hints "look again" (QFileSystemWatcher); this side also looks by itself, as often as looking is cheap:
watchers miss files on network shares, and do not tell of growth.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ..Errors import NotAnImageError
from ..Event import Event
from ..Journal import Journal, Verdict
from ..Readers import Lend, ignoredName
from ..Settings import FolderSettings
from .Listing import Looks, matcher, naturalOrder, seriesOf, stampOf
from .Settling import Bad, Candidate, Gone, Whole
from .Source import Arrival

TURN = 0.1
"""Seconds after which read() returns even if more files wait, so that commands are heard."""
REPORTED_RECHECK = 1.0
"""Seconds between two looks at a file that was reported as not complete."""
GONE_RECHECK = 0.5
DEATHS = 2
"""Processes that may die over a file before it is given up."""
CLOCK_SKEW = 2.0
"""Seconds by which the clock of a file server may differ from ours."""

log = logging.getLogger(__name__)


class FolderSource:
    """The files of one folder as frames.

    :param settings: which files, and what belongs to which stream.
    :param journal: what earlier processes of this session have done.
    :param clock: monotonic time in seconds.
    :param lend: gives memory to decode an image into, or None.
    """

    def __init__(
        self,
        settings: FolderSettings,
        journal: Journal,
        clock: Callable[[], float] = time.monotonic,
        lend: Lend = lambda nbytes: None,
    ) -> None:
        self._settings, self._journal, self._clock, self._lend = settings, journal, clock, lend
        self._matches, self._series = matcher(settings.pattern), seriesOf(settings.seriesPattern)
        self._looks = Looks(settings.folder, settings.subfolders, self._wanted, clock)
        self._pending: dict[str, Candidate] = {}
        self._untried: deque[Candidate] = deque()
        self._told: set[str] = set()
        self._tried: dict[str, Candidate] = {}
        self._firstLook: list[Candidate] | None = []
        self._wake = threading.Event()
        self._there: bool | None = None
        self._others = 0
        self._started = time.time()
        if not journal.listed:
            self._passOverExisting()

    @property
    def status(self) -> str:
        """What the source waits for."""
        folder = self._settings.folder
        if self._there is False:
            return f"The folder {folder} is not there; waiting for it."
        if self._untried:
            return f"{len(self._untried)} more files wait to be read."
        growing = [candidate for candidate in self._tried.values() if not candidate.reported]
        if growing:
            more = f" (and {len(growing) - 1} more)" if len(growing) > 1 else ""
            return f"Waiting until {self._name(growing[0].path)}{more} is whole: {growing[0].why.rstrip('.')}."
        if self._journal.numbers:
            return f"Waiting for the next image in {folder}."
        others = f"; {self._others} other files are there" if self._others else ""
        return f"No image that fits {self._settings.pattern} has come to {folder} yet{others}."

    def read(self, seconds: float) -> Iterator[Arrival | Event]:
        """Look at the folder and at the files that were not whole, when it is time; then wait."""
        turn = self._clock() + TURN
        yield from self._look(turn)
        while self._untried:
            yield from self._try(self._untried.popleft())
            if self._clock() > turn:
                return
        now = self._clock()
        for candidate in sorted((one for one in self._tried.values() if one.due <= now), key=self._order):
            yield from self._try(candidate)
            if self._clock() > turn:
                return
        next_ = min([self._looks.due, *(candidate.due for candidate in self._tried.values())])
        self._wake.wait(max(0.0, min(seconds, next_ - self._clock())))
        self._wake.clear()

    def wake(self) -> None:
        """End the waiting in read()."""
        self._wake.set()

    def command(self, name: str, values: Mapping[str, Any]) -> None:
        """Knows "rescan": look at the folder now."""
        if name == "rescan":
            self._looks.hurry()

    def close(self) -> None:
        """Forget the files that are not whole."""
        self._pending.clear()
        self._untried.clear()
        self._tried.clear()
        self._firstLook = None

    # ---- the folder

    def _passOverExisting(self) -> None:
        try:
            files = self._looks.all()
        except OSError:
            return  # passed over when the folder is there
        if self._settings.existing == "all":
            files = {}
        elif self._settings.existing == "newest" and files:
            newest = max(files, key=lambda path: (files[path][1], naturalOrder(path)))
            del files[newest]
        elif self._there is False:
            # The folder was not there at start: what is older than the start was there nevertheless.
            files = {path: stamp for path, stamp in files.items() if _cameBefore(path, self._started - CLOCK_SKEW)}
        self._journal.passOver(files)

    def _wanted(self, name: str) -> bool:
        if ignoredName(name):
            return False
        fits = self._matches(name)
        self._others += not fits
        return fits

    def _look(self, turn: float) -> Iterator[Event]:
        if not self._looks.isDue():
            return
        if self._looks.begins:
            self._others = 0
        try:
            if not self._journal.listed:
                self._passOverExisting()
            found = self._looks.go(self._journal.done, turn)
        except OSError as error:
            self._looks.postpone(GONE_RECHECK)
            if self._there is not False:
                yield self._goneEvent(error)
            self._there, self._firstLook = False, []
            return
        if not self._there:
            yield self._thereEvent()
        self._there = True
        new = []
        for path, stamp in found.items():
            candidate = self._pending.get(path)
            if candidate is None:
                if self._isNew(path, stamp):
                    new.append(Candidate(path, self._clock()))
            elif candidate.stamp not in (None, stamp):
                candidate.due = self._clock()
        self._pending.update((candidate.path, candidate) for candidate in new)
        if new:
            self._looks.awake()
        if self._firstLook is not None:
            # All that is there comes in one order, however many pieces the look has.
            new = self._firstLook = [*self._firstLook, *new]
            if not self._looks.begins:
                return
            self._firstLook = None
        self._untried.extend(sorted(new, key=self._order))

    def _isNew(self, path: str, stamp: tuple[int, int]) -> bool:
        return self._journal.done.get(path) != stamp or path in self._journal.incomplete

    def _goneEvent(self, error: OSError) -> Event:
        folder = self._settings.folder
        why = error.strerror or str(error)
        if self._there is None:
            text = f"The folder {folder} cannot be listed ({why}); images are shown as soon as it can."
            return Event("folder-missing", text, "warning", folder)
        text = f"The folder {folder} is gone ({why}); it goes on when the folder is there again."
        return Event("folder-gone", text, "warning", folder)

    def _thereEvent(self) -> Event:
        folder = self._settings.folder
        if self._there is None:
            return Event("folder-there", f"Watching {folder}.", subject=folder)
        return Event("folder-back", f"The folder {folder} is there again; new images in it are shown.", subject=folder)

    # ---- the files

    def _order(self, candidate: Candidate) -> tuple[bool, list[tuple[int, int, str]]]:
        # A file of which some images are shown already comes before the others.
        return candidate.path not in self._journal.unfinished, candidate.order

    def _try(self, candidate: Candidate) -> Iterator[Arrival | Event]:
        path, now = candidate.path, self._clock()
        name, stamp = self._name(path), stampOf(path)
        self._tried[path] = candidate
        if stamp is not None and self._journal.begin(path, stamp).deaths >= DEATHS:
            text = f"{name} ended the reading process {DEATHS} times and is passed over."
            yield self._reject(path, stamp, Event("crashed", text, "error", path))
            return
        verdict = candidate.look(now)
        if isinstance(verdict, Whole):
            yield from self._deliver(candidate, verdict)
            return
        self._journal.leave()
        if isinstance(verdict, Gone) or stamp is None:
            self._forget(path)
            if os.path.isdir(self._settings.folder):
                text = f"{name} went away before it was whole: {candidate.why.rstrip('.')}."
                yield Event("vanished", text, subject=path)
        elif isinstance(verdict, Bad):
            yield self._reject(path, stamp, Event(verdict.code, f"{name}: {verdict.why}", "warning", path))
        elif candidate.quiet(now) < self._settings.incompleteAfter:
            candidate.reported = False
        else:
            candidate.due = now + REPORTED_RECHECK
            if not candidate.reported:
                candidate.reported = True
                self._journal.finish(path, stamp, Verdict.INCOMPLETE)
                why, quiet = verdict.why.rstrip("."), candidate.quiet(now)
                text = f"{name} is not complete: {why}. It has not changed for {quiet:.0f} s."
                yield Event("incomplete", text, "warning", path)

    def _deliver(self, candidate: Candidate, whole: Whole) -> Iterator[Arrival | Event]:
        path, stamp, name = candidate.path, whole.stamp, self._name(candidate.path)
        accepted = self._journal.begin(path, stamp).accepted
        whole.reader.lend = self._lend
        stream = self._series(os.path.basename(path)) or self._settings.stream
        for note in set(whole.reader.notes) - self._told:
            # Once: all files of a series mostly have the same to tell.
            self._told.add(note)
            yield Event("image-note", f"{name}: {note}", "warning", path)
        try:
            for index, image in enumerate(whole.reader.images()):
                if candidate.changed():
                    # Not what was judged to be whole: judge it again.
                    self._journal.leave()
                    return
                if index >= accepted:
                    image = replace(image, attributes={"SourceFile": name, **image.attributes})
                    yield Arrival(stream, image, time.time())
        except NotAnImageError as error:
            if candidate.changed():
                self._journal.leave()
                return
            yield self._reject(path, stamp, Event(error.code, f"{name}: {error}", "warning", path))
            return
        except OSError as error:
            log.warning("%s could not be read: %s", name, error)
            self._journal.leave()
            candidate.due = self._clock() + GONE_RECHECK
            return
        self._journal.finish(path, stamp)
        self._forget(path)

    def _reject(self, path: str, stamp: tuple[int, int], event: Event) -> Event:
        self._journal.finish(path, stamp, Verdict.REJECTED)
        self._forget(path)
        return event

    def _forget(self, path: str) -> None:
        self._pending.pop(path, None)
        self._tried.pop(path, None)

    def _name(self, path: str) -> str:
        # A name that is no UTF-8 could be neither shown nor sent.
        return os.fsencode(os.path.relpath(path, self._settings.folder)).decode("utf-8", "replace")


def _cameBefore(path: str, seconds: float) -> bool:
    # The change time (Windows: the time of creation) is set where the file is, also when its modification time is kept.
    try:
        status = os.stat(path)
    except OSError:
        return False
    return max(status.st_mtime, status.st_ctime) < seconds
