"""List the files of a folder, match their names, and detect new and replaced files."""

from __future__ import annotations

import fnmatch
import math
import os
import re
import stat
import sys
import unicodedata
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from itertools import islice

from ...Formats import companionOf
from ...Model.Files import Stamp
from ...Model.SharedFiles import longPath
from . import SERIES

FASTEST, IDLE, SLOWEST = 0.005, 0.025, 0.5
"""Seconds between two polls: while files arrive, after ACTIVE seconds without a new file, when a poll takes long."""
ACTIVE = 10.0
SHARE = 10
"""Polling takes at most one part in SHARE of the time."""
LEAST_CHECKED = 1000
"""Least number of known files that a poll checks for changes."""
ROUND = 0.4
"""Seconds in which every known file is checked, so that changes are noticed within a second."""
MOST_CHECKED = 50_000
"""Most known files to check in a second. In larger folders a round takes longer."""
MOST_GONE = 1000
"""Most removed files that stay known: a file that comes back soon is not new."""


def matcher(pattern: str) -> Callable[[str], bool]:
    """Return a test of file names for the pattern of :class:`FolderSettings`.

    Upper and lower case are equal. So are composed and decomposed letters, because some systems store "ü" as "u" and
    two dots. A pattern with commas is also tried undivided, because a name may contain a comma.
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
    """Return a function from a file name to its series; None for a name that does not fit the pattern.

    ``{series}`` matches as few characters as possible: in ``*_{series}_*`` it ends at the next underscore.
    """
    if not pattern:
        return lambda name: None
    words = {SERIES: "(?P<series>.+?)", "*": ".*?", "?": "."}
    parts = re.split(r"(\{series\}|\*|\?)", unicodedata.normalize("NFC", pattern))
    expression = re.compile("".join(words.get(part, re.escape(part)) for part in parts), re.IGNORECASE | re.DOTALL)

    def series(name: str) -> str | None:
        found = expression.fullmatch(unicodedata.normalize("NFC", name))
        if found and not found["series"].strip():
            return None  # no volume has a blank name
        # Bytes that are not UTF-8 can be neither shown nor sent. Written as \xf6 they still distinguish two series.
        return os.fsencode(found["series"]).decode("utf-8", "backslashreplace") if found else None

    return series


Listed = tuple[str, os.DirEntry[str]]
"""Path of a file, and its entry in the folder. The path begins with the listed folder as given."""


def listFiles(folder: str, subfolders: bool, wanted: Callable[[str], bool]) -> Iterator[Listed]:
    """Yield the files below a folder that have a wanted name, in no order.

    :raises OSError: the folder itself cannot be listed. A subfolder that cannot be listed is skipped until the
        next poll.
    """
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        try:
            with os.scandir(longPath(current)) as listing:
                entries = list(listing)
        except OSError:
            if current == folder:
                raise
            continue
        asGiven = longPath(current) == current
        for entry in entries:
            path = entry.path if asGiven else os.path.join(current, entry.name)
            # Test the name first, it costs nothing. Links to folders could lead in circles.
            if isFolder(entry, False):
                # Junctions are links to folders on Windows; Python detects them since 3.12.
                junction = getattr(entry, "is_junction", bool)()
                if subfolders and not entry.name.startswith(".") and not junction:
                    waiting.append(path)
            elif wanted(entry.name) and not (entry.is_symlink() and isFolder(entry, True)):
                yield path, entry


def isFolder(entry: os.DirEntry[str], follow: bool) -> bool:
    """Return True for a folder.

    :param follow: True also for a link to a folder.
    """
    try:
        return entry.is_dir(follow_symlinks=follow)
    except OSError:  # a circular link, or a link to a folder without permission
        return False


class FolderPoller:
    """Poller of a folder: as often as polling is cheap, and in pieces where it is not.

    Each poll lists all names. It checks new files, and files with another file number than in the last listing. Of the
    other known files it checks some in turn, so that it need not check 50,000 files each time.

    :param folder: absolute path.
    :param subfolders: True to include the folders below.
    :param wanted: test of file names.
    :param clock: monotonic time in seconds.
    """

    def __init__(
        self, folder: str, subfolders: bool, wanted: Callable[[str], bool], clock: Callable[[], float]
    ) -> None:
        self._folder, self._subfolders, self._wanted, self._clock = folder, subfolders, wanted, clock
        self.due = clock()
        """Time of the next poll."""
        self._entries: Iterator[Listed] | None = None
        self._known: list[str] = []
        self._toCheck: deque[str] = deque()
        self._numbers: dict[str, int] = {}
        """File numbers of the last listing, by path."""
        self._numbersNow: dict[str, int] = {}
        self._cost, self._checkFrom = 0.0, 0
        self._unlisted = MOST_GONE
        """Known files that a listing may lack before they are looked for."""
        self._beganAt = self._earliest = self._lastNew = self.due

    def all(self) -> dict[str, Stamp]:
        """Return path to stamp of all wanted files, at once.

        :raises OSError: the folder cannot be listed.
        """
        paths = [path for path, _entry in listFiles(self._folder, self._subfolders, self._wanted)]
        return {path: stamp for path in paths if (stamp := versionOf(path)) is not None}

    def isDue(self) -> bool:
        """Return True when a poll has to begin or continue."""
        return not self.begins or self._clock() >= self.due

    @property
    def begins(self) -> bool:
        """True when the next piece is the first of a poll."""
        return self._entries is None and not self._toCheck

    def poll(self, done: Mapping[str, Stamp], until: float) -> dict[str, Stamp]:
        """Perform one piece of a poll: path to stamp of the new files, and of the known files that were checked.

        :param done: the known files.
        :param until: time to stop at; the next piece continues.
        :raises OSError: the folder cannot be listed.
        """
        found: dict[str, Stamp] = {}
        if self.begins:
            self._cost, self._known, self._numbersNow = 0.0, [], {}
            self._entries = listFiles(self._folder, self._subfolders, self._wanted)
        if self._entries is not None:
            started = self._clock()
            try:
                for path, entry in self._entries:
                    if not self._isListed(path, entry, done):
                        _put(found, path)
                    if self._clock() > until:
                        self._cost += self._clock() - started
                        return found
            except OSError:
                self._entries = None
                raise
            self._cost += self._clock() - started
            self._entries, self._numbers = None, self._numbersNow
            self._chooseFiles()
        while self._toCheck:
            _put(found, self._toCheck.popleft())
            if self._clock() > until and self._toCheck:
                return found
        self._finish()
        return found

    def gone(self, done: Mapping[str, Stamp]) -> list[str]:
        """Return known files to forget: the oldest of those that were removed, once these are more than MOST_GONE.

        :param done: the known files, the oldest first.
        """
        missing = len(done) - len(self._numbers)
        # A folder without any known file may be the empty mount point of a share that comes back.
        if missing <= self._unlisted or not self._numbers:
            return []
        count = min(missing - MOST_GONE // 2, MOST_GONE)
        oldest = list(islice((path for path in done if path not in self._numbers), count))
        found = [path for path in oldest if _isGone(path)]
        # The others are in a subfolder that cannot be listed now, or came after the listing.
        self._unlisted = MOST_GONE if len(found) == len(oldest) else missing - len(found) + MOST_GONE // 2
        return found

    def hurry(self) -> None:
        """Poll as soon as the cost of the last poll allows: a file may have arrived."""
        self.due = min(self.due, max(self._clock(), self._earliest))

    def noteNew(self) -> None:
        """Poll often for a while: a file has arrived."""
        self._lastNew = self._clock()
        self.due = min(self.due, self._lastNew + max(FASTEST, SHARE * self._cost))

    def postpone(self, seconds: float) -> None:
        """Delay the next poll by so many seconds."""
        self.due = self._clock() + seconds

    def _isListed(self, path: str, entry: os.DirEntry[str], done: Mapping[str, Stamp]) -> bool:
        # True when the file is known and has the same number as in the last listing.
        if path not in done:
            return False
        # On Windows the number costs as much as the stamp.
        number = entry.inode() if sys.platform != "win32" else 0
        self._numbersNow[path] = number
        if self._numbers.get(path, number) != number:
            return False
        self._known.append(path)
        return True

    def _chooseFiles(self) -> None:
        began, count = self._beganAt, len(self._known)
        self._beganAt = self._clock()
        passed = self._beganAt - began
        wanted = max(LEAST_CHECKED, min(math.ceil(count * passed / ROUND), int(MOST_CHECKED * passed)))
        if self._checkFrom >= count:
            self._checkFrom = 0
        self._toCheck.extend(self._known[self._checkFrom : self._checkFrom + wanted])
        self._checkFrom += wanted

    def _finish(self) -> None:
        now = self._clock()
        self._earliest = now + self._cost
        usual = FASTEST if now - self._lastNew < ACTIVE else IDLE
        self.due = now + min(SLOWEST, max(usual, SHARE * self._cost))


def _isGone(path: str) -> bool:
    try:
        os.stat(longPath(path))
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        pass
    return False


def _put(found: dict[str, Stamp], path: str) -> None:
    version = versionOf(path)
    if version is not None:
        found[path] = version


def versionOf(path: str) -> Stamp | None:
    """Return the version of a file; None when it is gone. :func:`isAnother` compares versions.

    A version has the values of :func:`stampOf`, the change time (ns; Windows: the time of creation), the number of the
    file in the file system, and its rights, links and owner in one number. A link that leads to no file has its own
    version, see :func:`isBroken`.
    """
    version = _versionBy(os.stat, path)
    if version is None:
        link = _versionBy(os.lstat, path)
        return link if link and isBroken(link) else None
    companion = companionOf(path)
    other = _versionBy(os.stat, companion) if companion else None
    if other is None:
        return version
    (size, *times), (otherSize, *otherTimes) = (version[:3], other[:3])
    return size + otherSize, *map(max, times, otherTimes), version[3] ^ other[3], version[4] ^ other[4]


def _versionBy(function: Callable[[str], os.stat_result], path: str) -> Stamp | None:
    try:
        status = function(longPath(path))
    except (OSError, ValueError):
        return None
    access = status.st_mode | status.st_nlink << 32 | status.st_uid << 64 | status.st_gid << 96
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, access


def isBroken(version: Stamp) -> bool:
    """Return True for the version of a link that leads to no file."""
    return stat.S_ISLNK(version[-1] & 0xFFFF)


def isAnother(before: Stamp | None, now: Stamp) -> bool:
    """Return True when a path has another file, or other content, than in the version ``before``.

    A copy that preserves times has the same size and modification time. Then the change time decides, which no program
    can set. A change of rights, owner or links alone makes no new file. A change of the file number alone
    counts on Windows only: some other file systems change it after a while.
    """
    if before is None or before[:2] != now[:2] or len(before) != len(now):
        return True
    if sys.platform == "win32":
        return before[2:4] != now[2:4]
    return before[2] != now[2] and (before[3] != now[3] or before[4] == now[4])


def cameBefore(path: str, seconds: float) -> bool:
    """Return True for a file that existed before a time (seconds since the epoch); False when it is gone."""
    # A copy may preserve the modification time, but never the change time (Windows: the time of creation).
    try:
        status = os.stat(longPath(path))
    except OSError:
        return False
    return max(status.st_mtime, status.st_ctime) < seconds
