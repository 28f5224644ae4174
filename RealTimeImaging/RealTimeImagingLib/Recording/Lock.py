"""A file that says that a process records here, and that the operating system releases when it dies.

The lock is the system's (flock, on Windows a locked byte), so no process number has to be believed, which another
process may have by now; the number in the file is for people. Where a file system knows no locks, host and number
decide.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import sys

from ..Private import openPrivate

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_FLAGS = os.O_RDWR | getattr(os, "O_BINARY", 0)
_FAR = 1 << 30
"""Windows: the locked byte lies beyond the text, which others may read."""
_NO_LOCKS = {getattr(errno, name) for name in ("ENOTSUP", "EOPNOTSUPP", "ENOLCK", "ENOSYS") if hasattr(errno, name)}


class Lock:
    """Held from :meth:`claim` or :meth:`takeOver` until :meth:`release`."""

    def __init__(self, path: str, handle: int) -> None:
        self.path = path
        self._handle = handle

    @classmethod
    def claim(cls, path: str) -> Lock | None:
        """Make the file and hold it; None when it is there already.

        :raises OSError: it cannot be made.
        """
        try:
            handle = openPrivate(path, _FLAGS | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            return None
        try:
            # A repair may have taken the new file for that of a dead process, and removed it.
            if _locked(handle) is not False and os.path.samestat(os.fstat(handle), os.stat(path)):
                os.write(handle, json.dumps({"pid": os.getpid(), "host": platform.node()}).encode())
                return cls(path, handle)
        except FileNotFoundError:
            pass
        except OSError:
            os.close(handle)
            _remove(path)
            raise
        os.close(handle)
        return None

    @classmethod
    def takeOver(cls, path: str) -> Lock | None:
        """Hold the file that another process made; None while that one lives, or when there is none.

        :raises OSError: it cannot be opened.
        """
        try:
            handle = os.open(path, _FLAGS)
        except FileNotFoundError:
            return None
        locked, lock = _locked(handle), cls(path, handle)
        # Another repair may have finished, and removed it, since it was opened.
        if (locked or (locked is None and not _mayLive(handle))) and lock.there:
            return lock
        os.close(handle)
        return None

    @property
    def there(self) -> bool:
        """False when somebody removed the file."""
        try:
            return os.path.samestat(os.fstat(self._handle), os.stat(self.path))
        except OSError:
            return False

    def release(self, remove: bool) -> None:
        """:param remove: False when the recording could not be finished, and a repair shall find it."""
        mine = self.there
        if remove and mine and os.name == "posix":
            _remove(self.path)  # before it is released: nobody can hold what is removed
        os.close(self._handle)
        if remove and mine and os.name != "posix":
            _remove(self.path)  # Windows removes no open file


def isLock(path: str) -> bool:
    """Whether a file has the text that :meth:`Lock.claim` writes, as far as it can be read."""
    try:
        with open(path, "rb") as file:
            holder = json.loads(file.read(1000))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(holder, dict) and {"pid", "host"} <= holder.keys()


def _locked(handle: int) -> bool | None:
    """True when it is ours now, False when another's, None when the file system knows no locks."""
    try:
        if sys.platform == "win32":
            os.lseek(handle, _FAR, os.SEEK_SET)
            try:
                msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
            finally:
                os.lseek(handle, 0, os.SEEK_SET)
        else:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return None if error.errno in _NO_LOCKS else False
    return True


def _mayLive(handle: int) -> bool:
    try:
        holder = json.loads(os.read(handle, 1000))
        if os.name != "posix" or holder["host"] != platform.node():
            return True
        os.kill(int(holder["pid"]), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return True
    return True


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
