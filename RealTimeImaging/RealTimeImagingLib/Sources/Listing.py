"""Which files a folder holds, and which of them belong to which stream."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Iterator, Mapping

from ..Journal import Stamp
from ..Readers import companionOf
from ..Settings import SERIES

FASTEST, IDLE, SLOWEST = 0.005, 0.025, 1.0
"""Seconds between two looks: while files arrive, when none did for AWAKE seconds, when looking itself takes long."""
AWAKE = 10.0
SHARE = 10
"""Looking may take one part in so many of the time."""
ASKED = 1000
"""Known files about which a look asks the system."""


def naturalOrder(path: str) -> list[tuple[int, int, str]]:
    """Sort key in which image9 comes before image10, folder by folder; no two paths have the same."""
    parts = re.split(r"(\d+)", path.replace(os.sep, "\0").casefold())
    return [*((1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts if part), (-1, 0, path)]


def matcher(pattern: str) -> Callable[[str], bool]:
    """A test of file names for the pattern of :class:`FolderSettings`; upper and lower case are the same."""
    parts = [part.strip().casefold().replace("[", "[[]") for part in pattern.split(";") if part.strip()]
    single = [re.compile(fnmatch.translate(part)) for part in parts]
    return lambda name: any(one.match(name.casefold()) for one in single)


def seriesOf(pattern: str) -> Callable[[str], str | None]:
    """A function from a file name to its series, None where the name does not fit the pattern.

    ``{series}`` takes as little as it can, so that in ``*_{series}_*`` it ends at the next underscore.
    """
    if not pattern:
        return lambda name: None
    words = {SERIES: "(?P<series>.+?)", "*": ".*?", "?": "."}
    parts = re.split(r"(\{series\}|\*|\?)", pattern)
    expression = re.compile("".join(words.get(part, re.escape(part)) for part in parts), re.IGNORECASE | re.DOTALL)

    def series(name: str) -> str | None:
        found = expression.fullmatch(name)
        return found["series"] if found else None

    return series


def listFiles(folder: str, subfolders: bool, wanted: Callable[[str], bool]) -> Iterator[os.DirEntry[str]]:
    """The files below a folder whose names are wanted, in no order.

    :raises OSError: the folder itself cannot be listed. A subfolder that vanishes or is closed to us is passed over: it
        is listed again at the next look.
    """
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        try:
            with os.scandir(current) as listing:
                entries = list(listing)
        except OSError:
            if current == folder:
                raise
            continue
        for entry in entries:
            # A name decides before the system is asked; links to folders could lead in circles.
            if wanted(entry.name):
                if not _isFolder(entry):
                    yield entry
                elif subfolders and not entry.is_symlink():
                    waiting.append(entry.path)
            elif subfolders and not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)


def _isFolder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle, or to where we may not look
        return False


class Looks:
    """Looking at a folder again and again, as often as that is cheap, and in pieces where it is not.

    Each look lists all names, asks the system about the new ones, and about some of the known ones by turns: so that
    what was overwritten is found without asking about 50,000 files each time.

    :param folder: the folder; ``subfolders``: also those below; ``wanted``: which names.
    :param clock: monotonic time in seconds.
    """

    def __init__(
        self, folder: str, subfolders: bool, wanted: Callable[[str], bool], clock: Callable[[], float]
    ) -> None:
        self._folder, self._subfolders, self._wanted, self._clock = folder, subfolders, wanted, clock
        self.due = clock()
        """When to look next."""
        self._entries: Iterator[os.DirEntry[str]] | None = None
        self._cost, self._known, self._askFrom = 0.0, 0, 0
        self._earliest = self._lastNew = self.due

    def all(self) -> dict[str, Stamp]:
        """Path to stamp of all wanted files, at once.

        :raises OSError: the folder cannot be listed.
        """
        paths = [entry.path for entry in listFiles(self._folder, self._subfolders, self._wanted)]
        return {path: stamp for path in paths if (stamp := stampOf(path)) is not None}

    def isDue(self) -> bool:
        """Whether a look is to begin, or to go on."""
        return self._entries is not None or self._clock() >= self.due

    @property
    def begins(self) -> bool:
        """Whether the next piece is the first of a look."""
        return self._entries is None

    def go(self, done: Mapping[str, Stamp], until: float) -> dict[str, Stamp]:
        """One piece of a look: path to stamp of the new files, and of those known that were asked about.

        :param done: the known files.
        :param until: when to stop; the rest comes with the next piece.
        :raises OSError: the folder cannot be listed.
        """
        started = self._clock()
        if self._entries is None:
            self._cost, self._known = 0.0, 0
            self._entries = listFiles(self._folder, self._subfolders, self._wanted)
        found: dict[str, Stamp] = {}
        try:
            for entry in self._entries:
                if self._ask(entry.path in done):
                    stamp = stampOf(entry.path)
                    if stamp is not None:
                        found[entry.path] = stamp
                if self._clock() > until:
                    self._cost += self._clock() - started
                    return found
        except OSError:
            self._entries = None
            raise
        self._cost += self._clock() - started
        self._finish()
        return found

    def hurry(self) -> None:
        """Something may have come: look now, if the last look was not just now or took long."""
        self.due = min(self.due, max(self._clock(), self._earliest))

    def awake(self) -> None:
        """Something has come: look often for a while."""
        self._lastNew = self._clock()
        self.due = min(self.due, self._lastNew + max(FASTEST, SHARE * self._cost))

    def postpone(self, seconds: float) -> None:
        """Look again after so many seconds."""
        self.due = self._clock() + seconds

    def _ask(self, known: bool) -> bool:
        if not known:
            return True
        place = self._known
        self._known += 1
        return 0 <= place - self._askFrom < ASKED

    def _finish(self) -> None:
        self._entries = None
        self._askFrom = self._askFrom + ASKED if self._askFrom + ASKED < self._known else 0
        now = self._clock()
        self._earliest = now + self._cost
        usual = FASTEST if now - self._lastNew < AWAKE else IDLE
        self.due = now + min(SLOWEST, max(usual, SHARE * self._cost))


def stampOf(path: str) -> Stamp | None:
    """Size and modification time of a file, None when it is gone. Of the header of a pair (.hdr) it is the size of both
    files and the later time: a pair is new when either is.

    Asked of the file and not of the folder's entry, which on Windows lags behind while a file grows.
    """
    try:
        status = os.stat(path)
    except OSError:
        return None
    stamp = status.st_size, status.st_mtime_ns
    companion = companionOf(path)
    other = stampOf(companion) if companion else None
    return (stamp[0] + other[0], max(stamp[1], other[1])) if other else stamp
