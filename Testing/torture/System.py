"""What a torture does to the computer: a small disk, a read-only disk, the clock; and what it finds left behind.

Mounting needs rights. A torture asks for a mount namespace of its own, in which nothing outlives it; where the system
refuses, a limit for the size of files stands for the full disk, and no disk becomes read-only.
"""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
import sys
import time
from typing import Any

CLOCK = "TORTURE_CLOCK"
"""Environment variable: path of a file with the seconds by which clocks are wrong; see hook/sitecustomize.py."""
FAULT = "TORTURE_FAULT"
"""Environment variable: name of a deliberate fault of the child processes; see Faults.py."""
HOOK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "hook")
"""Folder of sitecustomize.py, which every Python below this process runs first."""
SIZE = 48 << 20
"""Bytes of the small disks."""
_NEW_USER, _NEW_MOUNTS = 0x10000000, 0x00020000


def mayMount() -> bool:
    """Give this process mounts of its own; return False where the system refuses. Call it before any thread starts."""
    if not sys.platform.startswith("linux"):
        return False
    user, group = os.getuid(), os.getgid()
    unshare = ctypes.CDLL(None, use_errno=True).unshare
    if unshare(_NEW_MOUNTS | (0 if user == 0 else _NEW_USER)):
        return False
    if user:
        maps = (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1"))
        for name, text in maps:
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
    return _run("mount", "--make-rprivate", "/")


def _run(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


class Disk:
    """A folder that can become full and read-only.

    :param folder: it is made.
    :param mounts: whether this process may mount.
    """

    def __init__(self, folder: str, mounts: bool) -> None:
        self.folder, self._real = folder, folder + "-real"
        for path in (folder, self._real):
            os.makedirs(path, exist_ok=True)
        self._mounted = mounts and _run("mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=700", "none", self._real)
        self._mounted = self._mounted and _run("mount", "--bind", self._real, folder)
        self._filler = os.path.join(self._real, ".filler")
        self._readOnly = False

    @property
    def real(self) -> bool:
        """True when it can become full and read-only."""
        return self._mounted

    def fill(self, left: int) -> bool:
        """Leave so many bytes free; return False where that is not possible."""
        if not self._mounted or os.path.exists(self._filler):
            return False
        with open(self._filler, "wb") as file:
            # The processes write meanwhile: a little less may be free already.
            for margin in (0, 1 << 16, 1 << 20, 1 << 22):
                found = os.statvfs(self._real)
                try:
                    os.posix_fallocate(file.fileno(), 0, max(1, found.f_bavail * found.f_bsize - left - margin))
                    break
                except OSError:
                    pass
        return True

    def empty(self) -> None:
        """Free the space again."""
        if os.path.exists(self._filler):
            os.unlink(self._filler)

    def setReadOnly(self) -> bool:
        """Let nobody make or write files; open files can still be written. Return False where that is not possible."""
        # A further mount over the first: one with open files cannot be made read-only itself.
        if self._readOnly or not (self._mounted and _run("mount", "--bind", self._real, self.folder)):
            return False
        self._readOnly = True
        return _run("mount", "-o", "remount,bind,ro", self.folder)

    def setWritable(self) -> None:
        """Undo :meth:`setReadOnly`."""
        if self._readOnly:
            self._readOnly = not _run("umount", "-l", self.folder)

    def close(self) -> None:
        """Give the disk back."""
        self.setWritable()
        self.empty()
        if self._mounted:
            for path in (self.folder, self._real):
                _run("umount", "-l", path)


def limitFiles(pid: int, size: int | None) -> None:
    """Let no file of a process grow beyond so many bytes (EFBIG); None lifts the limit."""
    import resource

    try:
        hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if size is None else size, hard))
    except (ProcessLookupError, PermissionError):
        pass


class WrongClock:
    """The clock of this process and its children, as :func:`time.time` tells it.

    :param path: file with the error; it is made.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.set(0.0)

    def set(self, seconds: float) -> None:
        """Let the clock be wrong by so many seconds."""
        with open(self._path, "r+b" if os.path.exists(self._path) else "wb") as file:
            file.write(struct.pack("<d", seconds))


def environment(clock: str, fault: str = "") -> dict[str, str]:
    """Return the variables with which child processes run the hook."""
    paths = [HOOK, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)), CLOCK: clock, FAULT: fault}


def descriptors() -> dict[str, str]:
    """Return what this process has open, by number; Linux only."""
    found = {}
    for name in os.listdir("/proc/self/fd") if sys.platform.startswith("linux") else ():
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            pass  # the listing itself
    return found


def memory(pid: int | str = "self") -> int:
    """Return the bytes of memory that a process has asked for; 0 when it has ended or the system does not tell.

    Files in memory are left out: whether pages of a library count depends on the other processes that have opened it.
    """
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            lines: dict[str, Any] = dict(line.split(":", 1) for line in file.read().splitlines()[1:] if ":" in line)
        return sum(1024 * int(lines[name].split()[0]) for name in ("Anonymous", "Swap"))
    except (OSError, KeyError, ValueError):
        return 0


def processorTime(pid: int) -> float:
    """Return the seconds of processor time of a process; 0 when it has ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return 0.0


def hasEnded(pid: int, seconds: float = 10.0) -> bool:
    """Wait for the end of a process, at most so many seconds; return whether it has ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                if file.read().rpartition(")")[2].split()[0] in "ZX":
                    return True
        except OSError:
            return True
        time.sleep(0.001)
    return False


def openFiles(pid: int) -> int:
    """Return the number of descriptors of a process; 0 when it has ended."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0
