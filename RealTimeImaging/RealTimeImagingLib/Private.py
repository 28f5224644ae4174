"""Access rights of the files that the module writes: only the user may read images of people and animals.

Folders get the mode 0700 and files 0600. With GROUP_VARIABLE set to 1 in the environment, which child processes
inherit, the user's group may read: 0750 and 0640. On Windows no rights are set: files inherit those of the parent
folder. Below the user's profile these keep other users out.
"""

from __future__ import annotations

import os
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
