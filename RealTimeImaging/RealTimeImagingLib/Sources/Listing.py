"""Which files a folder holds, and which of them belong to which stream."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Container, Iterator

from ..Journal import Stamp
from ..Settings import SERIES


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


def newFiles(
    folder: str, subfolders: bool, wanted: Callable[[str], bool], known: Container[str] | None
) -> dict[str, Stamp]:
    """Path to stamp of the files below a folder.

    :param known: paths not to ask the system about; None asks about all, which also finds what was overwritten.
    :raises OSError: as :func:`listFiles`.
    """
    found: dict[str, Stamp] = {}
    for entry in listFiles(folder, subfolders, wanted):
        if known is not None and entry.path in known:
            continue
        stamp = stampOf(entry.path)
        if stamp is not None:
            found[entry.path] = stamp
    return found


def stampOf(path: str) -> Stamp | None:
    """Size and modification time of a file, None when it is gone.

    Asked of the file and not of the folder's entry, which on Windows lags behind while a file grows.
    """
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
