"""Lock file of a recording that is being made; the operating system releases it when the process dies.

The lock is the system's (flock, on Windows a locked byte), because another process may have reused a process number.
The number in the file is for people. Where a file system does not support locks, host and number decide. The token in
the file tells it from a later file of the same name, also when the lock is closed.

The number of open files of a process is limited (macOS: 256). Therefore one lock, the holder, can replace many locks of
a process. A replaced lock is closed, its file names the holder's file, and it counts as held while the holder is held.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import secrets
import sys
import time

from ..Model.Files import openPrivate, openRegular, parsedJSON, removeFile, writeAll

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_FLAGS = os.O_RDWR | getattr(os, "O_BINARY", 0)
_FAR = 1 << 30
"""Windows: place of the locked byte, behind the text, so that other processes can read the text."""
_YOUNG = 1.0
"""Seconds."""
_NO_LOCKS = {getattr(errno, name) for name in ("ENOTSUP", "EOPNOTSUPP", "ENOLCK", "ENOSYS") if hasattr(errno, name)}


class Lock:
    """Lock file, held from :meth:`claim` or :meth:`takeOver` until :meth:`release`."""

    def __init__(self, path: str, handle: int, token: str = "") -> None:
        self.path = path
        self._handle, self._token = handle, token
        self._replaced: os.stat_result | None = None

    @classmethod
    def claim(cls, path: str) -> Lock | None:
        """Make the file and hold it; None when the file exists.

        :raises OSError: the file cannot be made.
        """
        try:
            handle = openPrivate(path, _FLAGS | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            return None
        token = secrets.token_hex(8)
        try:
            # When this process was halted since, a repair may have taken the file for a dead process's and removed it.
            if _locked(handle) is not False and os.path.samestat(os.fstat(handle), os.stat(path)):
                writeAll(handle, _text(token))
                return cls(path, handle, token)
        except FileNotFoundError:
            pass
        except OSError:
            os.close(handle)
            removeFile(path)
            raise
        os.close(handle)
        return None

    @classmethod
    def takeOver(cls, path: str) -> Lock | None:
        """Hold the file of a dead process; None while that process lives, or without a file.

        A file that was just made counts as a living process's as long as it is empty.

        :raises OSError: the file cannot be opened.
        """
        try:
            handle = os.open(path, _FLAGS)
        except FileNotFoundError:
            return None
        made = os.fstat(handle)
        if not made.st_size and _isYoung(made):
            os.close(handle)
            return None
        locked, lock = _locked(handle), cls(path, handle)
        free = locked or (locked is None and not _mayLive(handle))
        # Last: its process, or another repair, may have finished and removed the file, and then the holder's.
        if free and not _holderLives(path, handle) and lock.there:
            return lock
        os.close(handle)
        return None

    @property
    def there(self) -> bool:
        """Whether the file still exists."""
        try:
            if self._replaced is None:
                return os.path.samestat(os.fstat(self._handle), os.stat(self.path))
            # A later file may have the number of the closed one.
            return os.path.samestat(self._replaced, os.stat(self.path)) and not self.taken
        except OSError:
            return False

    @property
    def taken(self) -> bool:
        """Whether the file is that of another lock; False when it is missing or cannot be read."""
        try:
            with openRegular(self.path) as file:
                return self._token.encode() not in file.read(1000)
        except OSError:
            return False

    def replaceBy(self, holder: str) -> None:
        """Close the file; the lock now counts as held while the holder is held. The lock stays open when that fails.

        :param holder: name of the holder's file, in the same folder.
        """
        if self._replaced is not None or not self.there:
            return
        text = _text(self._token, holder)
        try:
            os.lseek(self._handle, 0, os.SEEK_SET)
            writeAll(self._handle, text)
            os.ftruncate(self._handle, len(text))
            self._replaced = os.fstat(self._handle)
        except OSError:
            return
        os.close(self._handle)

    def release(self, remove: bool) -> None:
        """Release the lock.

        :param remove: whether to remove the file; False lets a repair find the unfinished recording.
        """
        mine = self.there
        if remove and mine and os.name == "posix":
            removeFile(self.path)  # before the release: no process can lock a removed file
        if self._replaced is None:
            os.close(self._handle)
        if remove and mine and os.name != "posix":
            removeFile(self.path)  # Windows cannot remove an open file


def isHeld(path: str) -> bool:
    """Return whether a living process holds the file; True in doubt, False without a file."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        if _isYoung(os.fstat(handle)):
            return True
        locked = _locked(handle, shared=True)
        return _mayLive(handle) if locked is None else not locked or _holderLives(path, handle)
    finally:
        os.close(handle)


def isLock(path: str) -> bool:
    """Return whether a file has the text of :meth:`Lock.claim`, or its beginning from a process that died."""
    try:
        with openRegular(path) as file:
            text = file.read(1000)
        holder = parsedJSON(text)
    except OSError:
        return False
    except ValueError:
        return text.startswith(b'{"pid": ')
    return isinstance(holder, dict) and {"pid", "host"} <= holder.keys()


def _isYoung(file: os.stat_result) -> bool:
    """Return whether a process may have just made the file: a test of its lock would keep that process from it."""
    return abs(time.time() - file.st_mtime) < _YOUNG


def _text(token: str, holder: str = "") -> bytes:
    values: dict[str, object] = {"pid": os.getpid(), "host": platform.node(), "token": token}
    return json.dumps(values | ({"holder": holder} if holder else {})).encode()


def _holderLives(path: str, handle: int) -> bool:
    """Whether the file names a holder that is held."""
    try:
        os.lseek(handle, 0, os.SEEK_SET)
        holder = parsedJSON(os.read(handle, 1000))["holder"]
        other = os.open(os.path.join(os.path.dirname(path), os.path.basename(holder)), _FLAGS)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    try:
        locked = _locked(other, shared=True)
        return _mayLive(other) if locked is None else not locked
    finally:
        os.close(other)


def _locked(handle: int, shared: bool = False) -> bool | None:
    """Lock an open file. True: locked; False: another process holds it; None: the file system has no locks.

    :param shared: only test the lock; other processes may test it at the same time.
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
    """Whether the process named in the file may live; True in doubt."""
    try:
        holder = parsedJSON(os.read(handle, 1000))
        if os.name != "posix" or holder["host"] != platform.node():
            return True
        os.kill(int(holder["pid"]), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return True
    return True
