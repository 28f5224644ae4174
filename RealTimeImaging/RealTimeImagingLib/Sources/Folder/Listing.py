"""Which files a folder holds, and which of them belong to which stream."""

from __future__ import annotations

import fnmatch
import math
import os
import re
import sys
import unicodedata
from collections import deque
from collections.abc import Callable, Iterator, Mapping

from ...Formats import companionOf
from ...Model.Files import Stamp
from . import SERIES

FASTEST, IDLE, SLOWEST = 0.005, 0.025, 0.5
"""Seconds between two looks: while files arrive, when none did for AWAKE seconds, when looking itself takes long."""
AWAKE = 10.0
SHARE = 10
"""Looking may take one part in so many of the time."""
ASKED = 1000
"""Known files about which a look asks the system at least."""
ROUND = 0.4
"""Seconds in which the system is asked about every known file, so that changes are noticed within a second."""
MOST_ASKED = 50_000
"""Known files about which the system is asked in a second at most. In larger folders a round takes longer."""


def matcher(pattern: str) -> Callable[[str], bool]:
    """A test of file names for the pattern of :class:`FolderSettings`.

    Upper and lower case are the same, and so are composed and decomposed letters: some systems store "ü" as "u" with
    two dots behind. A pattern with commas is tried as it stands, too, as a name may contain a comma.
    """
    whole = pattern.split(";")
    parts = {_comparable(part.strip()) for one in whole for part in (one, *one.split(",")) if part.strip(" ,")}
    single = [re.compile(fnmatch.translate(part.replace("[", "[[]"))) for part in sorted(parts)]

    def matches(name: str) -> bool:
        name = _comparable(name)
        return any(one.match(name) for one in single)

    return matches


def _comparable(text: str) -> str:
    return unicodedata.normalize("NFC", text.casefold())


def seriesOf(pattern: str) -> Callable[[str], str | None]:
    """A function from a file name to its series, None where the name does not fit the pattern.

    ``{series}`` takes as little as it can, so that in ``*_{series}_*`` it ends at the next underscore.
    """
    if not pattern:
        return lambda name: None
    words = {SERIES: "(?P<series>.+?)", "*": ".*?", "?": "."}
    parts = re.split(r"(\{series\}|\*|\?)", unicodedata.normalize("NFC", pattern))
    expression = re.compile("".join(words.get(part, re.escape(part)) for part in parts), re.IGNORECASE | re.DOTALL)

    def series(name: str) -> str | None:
        found = expression.fullmatch(unicodedata.normalize("NFC", name))
        # Bytes that are no UTF-8 can be neither shown nor sent; as \xf6 they still tell two series apart.
        return os.fsencode(found["series"]).decode("utf-8", "backslashreplace") if found else None

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
            if _isFolder(entry, False):
                # Junctions are Windows' links to folders; Python tells them since 3.12.
                junction = getattr(entry, "is_junction", bool)()
                if subfolders and not entry.name.startswith(".") and not junction:
                    waiting.append(entry.path)
            elif wanted(entry.name) and not (entry.is_symlink() and _isFolder(entry, True)):
                yield entry


def _isFolder(entry: os.DirEntry[str], follow: bool) -> bool:
    try:
        return entry.is_dir(follow_symlinks=follow)
    except OSError:  # a link in a circle, or to where we may not look
        return False


class FolderPoller:
    """Looking at a folder again and again, as often as that is cheap, and in pieces where it is not.

    Each look lists all names. It asks the system about new files and about files whose number in the listing changed.
    It asks about the other known files by turns, so that changes are found without asking about 50,000 files each time.

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
        self._known: list[str] = []
        self._toAsk: deque[str] = deque()
        self._numbers: dict[str, int] = {}
        """The file numbers that the last look listed, by path."""
        self._numbersNow: dict[str, int] = {}
        self._cost, self._askFrom = 0.0, 0
        self._began = self._earliest = self._lastNew = self.due

    def all(self) -> dict[str, Stamp]:
        """Path to stamp of all wanted files, at once.

        :raises OSError: the folder cannot be listed.
        """
        paths = [entry.path for entry in listFiles(self._folder, self._subfolders, self._wanted)]
        return {path: stamp for path in paths if (stamp := versionOf(path)) is not None}

    def isDue(self) -> bool:
        """Whether a look is to begin, or to go on."""
        return not self.begins or self._clock() >= self.due

    @property
    def begins(self) -> bool:
        """Whether the next piece is the first of a look."""
        return self._entries is None and not self._toAsk

    def go(self, done: Mapping[str, Stamp], until: float) -> dict[str, Stamp]:
        """One piece of a look: path to stamp of the new files, and of those known that were asked about.

        :param done: the known files.
        :param until: when to stop; the rest comes with the next piece.
        :raises OSError: the folder cannot be listed.
        """
        found: dict[str, Stamp] = {}
        if self.begins:
            self._cost, self._known, self._numbersNow = 0.0, [], {}
            self._entries = listFiles(self._folder, self._subfolders, self._wanted)
        if self._entries is not None:
            started = self._clock()
            try:
                for entry in self._entries:
                    if not self._isListed(entry, done):
                        _put(found, entry.path)
                    if self._clock() > until:
                        self._cost += self._clock() - started
                        return found
            except OSError:
                self._entries = None
                raise
            self._cost += self._clock() - started
            self._entries, self._numbers = None, self._numbersNow
            self._chooseWhatToAsk()
        while self._toAsk:
            _put(found, self._toAsk.popleft())
            if self._clock() > until and self._toAsk:
                return found
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

    def _isListed(self, entry: os.DirEntry[str], done: Mapping[str, Stamp]) -> bool:
        # Whether the file is known, and has the same number as in the last listing.
        if entry.path not in done:
            return False
        if sys.platform != "win32":  # on Windows the number costs as much as the stamp
            number = entry.inode()
            self._numbersNow[entry.path] = number
            if self._numbers.get(entry.path, number) != number:
                return False
        self._known.append(entry.path)
        return True

    def _chooseWhatToAsk(self) -> None:
        began, count = self._began, len(self._known)
        self._began = self._clock()
        passed = self._began - began
        wanted = max(ASKED, min(math.ceil(count * passed / ROUND), int(MOST_ASKED * passed)))
        if self._askFrom >= count:
            self._askFrom = 0
        self._toAsk.extend(self._known[self._askFrom : self._askFrom + wanted])
        self._askFrom += wanted

    def _finish(self) -> None:
        now = self._clock()
        self._earliest = now + self._cost
        usual = FASTEST if now - self._lastNew < AWAKE else IDLE
        self.due = now + min(SLOWEST, max(usual, SHARE * self._cost))


def _put(found: dict[str, Stamp], path: str) -> None:
    version = versionOf(path)
    if version is not None:
        found[path] = version


def versionOf(path: str) -> Stamp | None:
    """Version of a file; None when it is gone. :func:`isAnother` compares versions.

    It has the values of :func:`stampOf`, the change time (ns; on Windows the time of creation), the file's number in
    the file system, and its rights, links and owner in one number.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    access = status.st_mode | status.st_nlink << 32 | status.st_uid << 64 | status.st_gid << 96
    version = status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, access
    companion = companionOf(path)
    other = versionOf(companion) if companion else None
    if other is None:
        return version
    (size, *times), (otherSize, *otherTimes) = (version[:3], other[:3])
    return size + otherSize, *map(max, times, otherTimes), version[3] ^ other[3], version[4] ^ other[4]


def isAnother(before: Stamp | None, now: Stamp) -> bool:
    """True when a path has another file, or other content, than in the version ``before``.

    A copy that keeps times has the same size and modification time. Then the change time counts, which no program can
    set. A change of rights, owner or links alone is no new file. The file's number alone counts on Windows only: some
    other file systems change it after a while.
    """
    if before is None or before[:2] != now[:2] or len(before) != len(now):
        return True
    if sys.platform == "win32":
        return before[2:4] != now[2:4]
    return before[2] != now[2] and (before[3] != now[3] or before[4] == now[4])


def cameBefore(path: str, seconds: float) -> bool:
    """True for a file that was there before a time (seconds since the epoch); False when it is gone."""
    # A copy may keep the modification time, but never the change time (Windows: the time of creation).
    try:
        status = os.stat(path)
    except OSError:
        return False
    return max(status.st_mtime, status.st_ctime) < seconds
