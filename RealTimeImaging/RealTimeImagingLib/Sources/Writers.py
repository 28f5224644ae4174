"""Whether another program still has a file open for writing, asked of the system itself.

The size that a header declares can be there before the data is: programs preallocate. A closed file has its data.
"""

from __future__ import annotations

import os
import sys


def beingWritten(path: str) -> bool | None:
    """True or False where the system tells, None where it does not (most network shares, files of others).

    Linux: a read lease is refused while anyone has the file open for writing (fcntl(2), F_SETLEASE).
    Windows: opening without sharing for writing is refused likewise (CreateFileW, ERROR_SHARING_VIOLATION).
    macOS: libproc lists what programs have open.

    :raises OSError: the file is gone.
    """
    if sys.platform == "linux":
        return _leaseRefused(path)
    if sys.platform == "win32":
        return _sharingRefused(path)
    if sys.platform == "darwin":
        from .OpenFilesMacOS import isOpenForWriting

        return isOpenForWriting(path)
    return None


if sys.platform == "linux":
    import errno
    import fcntl
    import signal

    def _leaseRefused(path: str) -> bool | None:
        # Without waiting: for the other end of a named pipe, or for the lease of a file server.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            # A writer that comes in the microseconds of the lease makes the system send a signal, whose default,
            # SIGIO, would end this process; SIGURG is ignored by default.
            fcntl.fcntl(handle, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except OSError as error:
            return True if error.errno in (errno.EAGAIN, errno.EBUSY) else None
        finally:
            os.close(handle)
        return False


if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    _GENERIC_READ, _FILE_SHARE_READ, _OPEN_EXISTING, _SHARING_VIOLATION = 0x80000000, 1, 3, 32

    def _sharingRefused(path: str) -> bool | None:
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.CreateFileW.restype = wintypes.HANDLE
        handle = kernel.CreateFileW(path, _GENERIC_READ, _FILE_SHARE_READ, None, _OPEN_EXISTING, 0, None)
        if handle == wintypes.HANDLE(-1).value:
            code = ctypes.get_last_error()
            if code in (2, 3):
                raise FileNotFoundError(path)
            return True if code == _SHARING_VIOLATION else None
        kernel.CloseHandle(handle)
        return False
