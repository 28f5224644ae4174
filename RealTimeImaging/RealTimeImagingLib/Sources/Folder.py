"""Images that arrive as files in a folder. Reads only; nothing in the folder is changed.

Slicer's side hints "look again" (QFileSystemWatcher); this side also looks by itself, as often as looking is cheap:
watchers miss files on network shares, and do not tell of growth.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ..Errors import NotAnImageError
from ..Event import Event
from ..Journal import Journal, Stamp, Verdict
from ..Readers import ignoredName
from ..Settings import FolderSettings
from .Listing import matcher, naturalOrder, newFiles, seriesOf, stampOf
from .Settling import Bad, Candidate, Gone, Whole
from .Source import Arrival

FASTEST, IDLE, SLOWEST = 0.005, 0.025, 2.0
"""Seconds between two looks: while files arrive, when none did for AWAKE seconds, when looking itself takes long."""
AWAKE = 10.0
SHARE = 10
"""Looking may take one part in so many of the time."""
TURN = 0.1
"""Seconds after which read() returns even if more files wait, so that commands are heard."""
DEATHS = 2
"""Processes that may die over a file before it is given up."""

log = logging.getLogger(__name__)


class FolderSource:
    """The files of one folder as frames.

    :param settings: which files, and what belongs to which stream.
    :param journal: what earlier processes of this session have done.
    :param clock: monotonic time in seconds.
    """

    def __init__(self, settings: FolderSettings, journal: Journal, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._journal, self._clock = settings, journal, clock
        self._matches, self._series = matcher(settings.pattern), seriesOf(settings.seriesPattern)
        self._pending: dict[str, Candidate] = {}
        self._wake = threading.Event()
        self._lookDue = self._fullDue = self._lastNew = clock()
        self._there: bool | None = None
        self._others = 0
        self._earliestLook = clock()
        if not journal.listed:
            self._passOverExisting()

    @property
    def status(self) -> str:
        """What the source waits for."""
        folder = self._settings.folder
        if self._there is False:
            return f"The folder {folder} is not there; waiting for it."
        if self._pending:
            first = next(iter(self._pending.values()))
            more = f" (and {len(self._pending) - 1} more)" if len(self._pending) > 1 else ""
            return f"Waiting until {self._name(first.path)}{more} is whole: {first.why.rstrip('.')}."
        if self._journal.numbers:
            return f"Waiting for the next image in {folder}."
        others = f"; {self._others} other files are there" if self._others else ""
        return f"No image that fits {self._settings.pattern} has come to {folder} yet{others}."

    def read(self, seconds: float) -> Iterator[Arrival | Event]:
        """Look at the folder and at the files that were not whole, when it is time; then wait."""
        now = self._clock()
        if now >= self._lookDue:
            yield from self._look()
        turn = self._clock() + TURN
        due = [candidate for candidate in self._pending.values() if candidate.due <= self._clock()]
        for candidate in sorted(due, key=self._order):
            if self._clock() > turn:
                return
            yield from self._try(candidate)
        next_ = min([self._lookDue, *(candidate.due for candidate in self._pending.values())])
        self._wake.wait(max(0.0, min(seconds, next_ - self._clock())))
        self._wake.clear()

    def wake(self) -> None:
        """End the waiting in read()."""
        self._wake.set()

    def command(self, name: str, values: Mapping[str, Any]) -> None:
        """Knows "rescan": look at the folder now."""
        if name == "rescan":
            self._lookDue = min(self._lookDue, max(self._clock(), self._earliestLook))

    def close(self) -> None:
        """Forget the files that are not whole."""
        self._pending.clear()

    def _passOverExisting(self) -> None:
        try:
            files = self._list(None)
        except OSError:
            # What comes into a folder that was not there at start has come after the start.
            files = {}
        if self._settings.existing == "all":
            files = {}
        elif self._settings.existing == "newest" and files:
            newest = max(files, key=lambda path: (files[path][1], naturalOrder(path)))
            del files[newest]
        self._journal.passOver(files)

    def _list(self, known: Mapping[str, Stamp] | None) -> dict[str, Stamp]:
        self._others = 0
        return newFiles(self._settings.folder, self._settings.subfolders, self._wanted, known)

    def _wanted(self, name: str) -> bool:
        if ignoredName(name):
            return False
        fits = self._matches(name)
        self._others += not fits
        return fits

    def _look(self) -> Iterator[Event]:
        started = self._clock()
        done = self._journal.done
        full = started >= self._fullDue
        try:
            found = self._list(None if full else done)
        except OSError as error:
            self._lookDue = started + 0.5
            if self._there is not False:
                yield self._goneEvent(error)
            self._there = False
            return
        if self._there is False:
            text = f"The folder {self._settings.folder} is there again; new images in it are shown."
            yield Event("folder-back", text, subject=self._settings.folder)
        self._there = True
        for path, stamp in found.items():
            candidate = self._pending.get(path)
            if candidate is not None:
                if candidate.stamp != stamp:
                    candidate.due = started
            elif done.get(path) != stamp:
                self._pending[path] = Candidate(path, started)
                self._lastNew = started
        ended = self._clock()
        cost = ended - started
        self._earliestLook = ended + cost
        usual = FASTEST if ended - self._lastNew < AWAKE else IDLE
        self._lookDue = ended + min(SLOWEST, max(usual, SHARE * cost))
        if full:
            self._fullDue = ended + min(SLOWEST, 2 * SHARE * cost)

    def _goneEvent(self, error: OSError) -> Event:
        folder = self._settings.folder
        why = error.strerror or str(error)
        if self._there is None:
            text = f"The folder {folder} cannot be listed ({why}); images are shown as soon as it can."
            return Event("folder-missing", text, "warning", folder)
        text = f"The folder {folder} is gone ({why}); it goes on when the folder is there again."
        return Event("folder-gone", text, "warning", folder)

    def _order(self, candidate: Candidate) -> tuple[bool, list[tuple[int, int, str]]]:
        # A file of which some images are shown already comes before the others.
        return candidate.path not in self._journal.unfinished, candidate.order

    def _try(self, candidate: Candidate) -> Iterator[Arrival | Event]:
        path, now = candidate.path, self._clock()
        stamp = stampOf(path)
        if stamp is not None and self._journal.begin(path, stamp).deaths >= DEATHS:
            text = f"{self._name(path)} ended the reading process {DEATHS} times and is passed over."
            yield self._reject(path, stamp, Event("crashed", text, "error", path))
            return
        verdict = candidate.look(now, self._settings.incompleteAfter)
        name = self._name(path)
        if isinstance(verdict, Whole):
            yield from self._deliver(candidate, verdict)
            return
        if isinstance(verdict, Gone) or stamp is None:
            self._journal.leave()
            del self._pending[path]
            if os.path.isdir(self._settings.folder):
                yield Event(
                    "vanished", f"{name} went away before it was whole: {candidate.why.rstrip('.')}.", subject=path
                )
        elif isinstance(verdict, Bad):
            yield self._reject(path, stamp, Event(verdict.code, f"{name}: {verdict.why}", "warning", path))
        elif candidate.quiet(now) >= self._settings.incompleteAfter:
            why, quiet = verdict.why.rstrip("."), candidate.quiet(now)
            text = f"{name} is not complete: {why}. It has not changed for {quiet:.0f} s."
            yield self._reject(path, stamp, Event("incomplete", text, "warning", path), Verdict.INCOMPLETE)
        else:
            self._journal.leave()

    def _reject(self, path: str, stamp: Stamp, event: Event, verdict: Verdict = Verdict.REJECTED) -> Event:
        self._journal.finish(path, stamp, verdict)
        self._pending.pop(path, None)
        return event

    def _deliver(self, candidate: Candidate, whole: Whole) -> Iterator[Arrival | Event]:
        path, stamp = candidate.path, whole.stamp
        accepted = self._journal.begin(path, stamp).accepted
        stream = self._series(os.path.basename(path)) or self._settings.stream
        try:
            for index, image in enumerate(whole.reader.images()):
                if stampOf(path) != stamp:
                    # Not what was judged to be whole: judge it again.
                    self._journal.leave()
                    return
                if index >= accepted:
                    attributes = {"SourceFile": self._name(path), **image.attributes}
                    yield Arrival(stream, replace(image, attributes=attributes), time.time())
        except NotAnImageError as error:
            text = f"{self._name(path)}: {error}"
            yield self._reject(path, stamp, Event(error.code, text, "warning", path))
            return
        except OSError as error:
            log.warning("%s could not be read: %s", path, error)
            self._journal.leave()
            candidate.due = self._clock() + 0.5
            return
        self._journal.finish(path, stamp)
        del self._pending[path]

    def _name(self, path: str) -> str:
        return os.path.relpath(path, self._settings.folder)
