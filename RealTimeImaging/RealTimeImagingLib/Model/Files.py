"""Files: their access rights, their stamps, and the natural order of their names."""

from __future__ import annotations

import os
import re
import stat

GROUP_VARIABLE = "REALTIMEIMAGING_GROUP_READ"


def groupMayRead() -> bool:
    """True when the user's group may read files that are written from now on."""
    return os.environ.get(GROUP_VARIABLE) == "1"


def setGroupMayRead(allowed: bool) -> None:
    """Let the user's group read the files that this process, and processes that it starts later, write from now on."""
    os.environ[GROUP_VARIABLE] = "1" if allowed else "0"


def openPrivate(path: str, flags: int) -> int:
    """Open a file as os.open does, and make a new file private. Also an ``opener`` for :func:`open`.

    :raises OSError: it cannot be opened.
    """
    if not groupMayRead():
        return os.open(path, flags, 0o600)
    made = bool(flags & os.O_CREAT) and not os.path.lexists(path)
    handle = os.open(path, flags, 0o640)
    if made:
        _allow(path, 0o640)
    return handle


def makePrivateFolder(path: str, new: bool = False) -> None:
    """Make a private folder, and private folders above it that are missing. Existing folders stay as they are.

    :param new: the folder must not be there yet.
    :raises OSError: it cannot be made, or something else has the name.
    """
    parent = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(parent):
        makePrivateFolder(parent)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if new or not os.path.isdir(path):
            raise
        return
    if groupMayRead():
        _allow(path, 0o750)


def _allow(path: str, mode: int) -> None:
    # The umask may have removed the group's rights. A folder keeps its set-group-ID bit.
    if os.name != "posix":
        return
    try:
        os.chmod(path, stat.S_IMODE(os.stat(path).st_mode) & stat.S_ISGID | mode)
    except OSError:
        pass  # a file system without such rights


Stamp = tuple[int, ...]
"""(size in bytes, mtime_ns), and further values of Listing.versionOf."""


def naturalOrder(path: str) -> list[tuple[int, int, str]]:
    """Sort key in which image9 comes before image10, folder by folder; no two paths have the same."""
    parts = re.split(r"(\d+)", path.replace(os.sep, "\0").casefold())
    return [*((1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts if part), (-1, 0, path)]


def writeAll(handle: int, data: bytes | memoryview) -> None:
    """:raises OSError: not all could be written."""
    # The system takes at most 2 GiB at once, and less when the disk is nearly full.
    written = os.write(handle, data)
    if written < (len(data) if isinstance(data, bytes) else data.nbytes):
        left = memoryview(data).cast("B")[written:]
        while left:
            left = left[os.write(handle, left) :]
