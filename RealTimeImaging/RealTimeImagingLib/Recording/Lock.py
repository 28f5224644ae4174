"""A file that says that a process records here, and that the operating system releases when it dies.

The lock is the system's (flock, on Windows a locked byte), so no process number has to be believed, which another
process may have by now; the number in the file is for people. Where a file system knows no locks, host and number
decide.

A process may have only a limited number of open files (macOS: 256). Many locks of one process can therefore be
replaced by one, the holder. A replaced lock is closed; its file names the holder's file, and it counts as held while
the holder is held.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import sys

from ..Model.Files import openPrivate

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
        self._lent: os.stat_result | None = None

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
                os.write(handle, _text())
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
        free = locked or (locked is None and not _mayLive(handle))
        if free and lock.there and not _holderLives(path, handle):
            return lock
        os.close(handle)
        return None

    @property
    def there(self) -> bool:
        """False when somebody removed the file."""
        try:
            opened = os.fstat(self._handle) if self._lent is None else self._lent
            return os.path.samestat(opened, os.stat(self.path))
        except OSError:
            return False

    def getBuffer(self, holder: str) -> None:
        """Close the file; the lock now counts as held while the holder is held.

        :param holder: name of the holder's file, in the same folder.
        """
        if self._lent is not None or not self.there:
            return
        try:
            os.lseek(self._handle, 0, os.SEEK_SET)
            _writeText(self._handle, _text(holder))
            self._lent = os.fstat(self._handle)
        except OSError:
            return  # it stays open, and is held as it was
        os.close(self._handle)

    def release(self, remove: bool) -> None:
        """:param remove: False when the recording could not be finished, and a repair shall find it."""
        mine = self.there
        if remove and mine and os.name == "posix":
            _remove(self.path)  # before it is released: nobody can hold what is removed
        if self._lent is None:
            os.close(self._handle)
        if remove and mine and os.name != "posix":
            _remove(self.path)  # Windows removes no open file


def isLock(path: str) -> bool:
    """True for a file with the text of :meth:`Lock.claim`, or its beginning when a process was killed in the write."""
    try:
        with open(path, "rb") as file:
            text = file.read(1000)
        holder = json.loads(text)
    except (OSError, RecursionError):
        return False
    except ValueError:
        return text.startswith(b'{"pid": ')
    return isinstance(holder, dict) and {"pid", "host"} <= holder.keys()


def _text(holder: str = "") -> bytes:
    values: dict[str, object] = {"pid": os.getpid(), "host": platform.node()}
    return json.dumps(values | ({"holder": holder} if holder else {})).encode()


def _writeText(handle: int, text: bytes) -> None:
    """Replace the content of a file.

    :raises OSError: not all could be written.
    """
    if os.write(handle, text) < len(text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.ftruncate(handle, len(text))


def _holderLives(path: str, handle: int) -> bool:
    try:
        os.lseek(handle, 0, os.SEEK_SET)
        holder = json.loads(os.read(handle, 1000))["holder"]
        other = os.open(os.path.join(os.path.dirname(path), os.path.basename(holder)), _FLAGS)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False  # there is none, or it is gone
    try:
        locked = _locked(other, shared=True)
        return _mayLive(other) if locked is None else not locked
    finally:
        os.close(other)


def _locked(handle: int, shared: bool = False) -> bool | None:
    """True when it is ours now, False when another's, None when the file system knows no locks.

    :param shared: True only tests the lock; others may test it at the same time.
    """
    try:
        if sys.platform == "win32":
            os.lseek(handle, _FAR, os.SEEK_SET)
            try:
                msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
            finally:
                os.lseek(handle, 0, os.SEEK_SET)
        else:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
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
