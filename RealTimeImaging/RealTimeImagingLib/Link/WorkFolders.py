"""Processes, and their working folders with ring and checkpoint; leftovers of dead processes are removed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import tempfile
import time

from ..Model.Files import openPrivate
from ..Model.Text import textsOf

_ = textsOf(__file__)

PREFIX = "RealTimeImaging"
HOLDER = "process"
TRIES, PAUSE = 5, 0.02
"""Attempts to remove a folder, and seconds between them."""
_HOLDER_LENGTH = 64
"""Bytes of the holder's name: a text of constant length can be overwritten on a full disk."""
_NAME = re.compile(rf"{PREFIX}-(\d+)-.+")


def roots() -> list[str]:
    """Return the parents of working folders, best first: memory, then the disk for temporary files."""
    shared = ["/dev/shm"] if os.path.isdir("/dev/shm") and os.access("/dev/shm", os.W_OK) else []
    return [*shared, tempfile.gettempdir()]


def makeWorkFolders() -> list[str]:
    """Create folders of this process, one below each root that has room; only the user may read them.

    :raises OSError: none can be created.
    """
    folders, problem = [], OSError(_("There is no folder for temporary files."))
    for root in roots():
        try:
            folders.append(_make(root))
            writeHolder(folders[-1], "")
        except OSError as error:
            if folders and os.path.dirname(folders[-1]) == root:
                removeWorkFolders([folders.pop()])
            problem = OSError(error.errno, error.strerror, root)
    if not folders:
        raise problem
    return folders


def makeWorkFolder() -> str:
    """Create a folder of this process on the disk for temporary files.

    :raises OSError: it cannot be created.
    """
    return _make(roots()[-1])


def _make(root: str) -> str:
    return tempfile.mkdtemp(prefix=f"{PREFIX}-{os.getpid()}-", dir=root)


def removeWorkFolders(folders: list[str]) -> None:
    """Remove working folders with their content."""
    for folder in folders:
        # On Windows a file of a process that has just ended stays in use for a moment.
        for _attempt in range(TRIES):
            shutil.rmtree(folder, ignore_errors=True)
            if not os.path.exists(folder):
                break
            time.sleep(PAUSE)


def sweep() -> list[str]:
    """Remove this user's working folders of dead processes; return their paths."""
    swept = []
    for root in roots():
        for name in os.listdir(root):
            path = os.path.join(root, name)
            found = _NAME.fullmatch(name)
            if found and not alive(int(found[1])) and _isOwn(path):
                swept.append(path)
    removeWorkFolders(swept)
    return swept


def _isOwn(path: str) -> bool:
    # Several users share /dev/shm, and cannot remove each other's folders.
    if sys.platform == "win32":
        return True
    try:
        return os.lstat(path).st_uid == os.getuid()
    except OSError:
        return False


def writeHolder(folder: str, name: str) -> None:
    """Write down which acquisition process works in a folder from now on.

    :raises OSError: it cannot be written.
    """
    path = os.path.join(folder, HOLDER)
    try:
        handle = openPrivate(path, os.O_WRONLY | os.O_CREAT)
        try:
            os.write(handle, name.ljust(_HOLDER_LENGTH).encode())
        finally:
            os.close(handle)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error


def readHolder(folder: str) -> str:
    """Return the name of the process that works in a folder; empty when there is none."""
    try:
        with open(os.path.join(folder, HOLDER), encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


def kill(pid: int) -> None:
    """End a process by force; do nothing when it has ended."""
    try:
        if sys.platform == "win32":
            os.kill(pid, signal.SIGTERM)
        else:
            os.kill(pid, signal.SIGKILL)
    except OSError:
        pass


def alive(pid: int) -> bool:
    """Return whether a process of this number runs."""
    if not 0 < pid < 1 << 31:
        return False
    if sys.platform == "win32":
        import ctypes

        kernel = ctypes.WinDLL("kernel32")
        kernel.OpenProcess.restype = ctypes.c_void_p
        handle = kernel.OpenProcess(0x00100000, False, pid)  # SYNCHRONIZE
        if not handle:
            return False
        running = kernel.WaitForSingleObject(ctypes.c_void_p(handle), 0) != 0
        kernel.CloseHandle(ctypes.c_void_p(handle))
        return bool(running)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
