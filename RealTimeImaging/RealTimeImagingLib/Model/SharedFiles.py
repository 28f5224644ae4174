"""Files of other programs: opened so that their writers may go on, and found at paths of any length.

Windows refuses to rename, replace or delete an open file unless its reader agreed to that (CreateFileW, dwShareMode),
which Python's open() never does. It also refuses paths of 260 and more characters unless they begin with ``\\\\?\\``.
Other systems have neither limit.
"""

from __future__ import annotations

import ctypes
import ntpath
import os
import sys
from typing import Any, BinaryIO

SHARE_READ, SHARE_WRITE, SHARE_DELETE = 1, 2, 4
LONGEST = 247
"""Most characters of a folder's path on Windows; a file's path may have 12 more."""
_READ, _EXISTING = 0x80000000, 3  # GENERIC_READ, OPEN_EXISTING
_FAILED = ctypes.c_void_p(-1).value
_EXTENDED = "\\\\?\\"


def openShared(path: str, buffering: int = -1) -> BinaryIO:
    """Open a file for reading; other programs may write, rename, replace and delete it meanwhile.

    :param buffering: as of :func:`open`.
    :raises OSError: the file cannot be opened.
    """
    return open(path, "rb", buffering, opener=openSharedHandle)


def openSharedHandle(path: str, flags: int) -> int:
    """Open a file as :func:`os.open` does, as an ``opener`` for :func:`open`. On Windows it is open for reading only.

    :returns: file descriptor.
    :raises OSError: the file cannot be opened.
    """
    if sys.platform != "win32":
        return os.open(path, flags)
    return openOnWindows(path, SHARE_READ | SHARE_WRITE | SHARE_DELETE)


def openOnWindows(path: str, share: int) -> int:
    """Open a file for reading by CreateFileW.

    :param share: what other programs may do meanwhile: the sum of SHARE_READ, SHARE_WRITE and SHARE_DELETE.
    :returns: file descriptor.
    :raises OSError: the file cannot be opened; ``winerror`` has the code of Windows.
    """
    windows: Any = ctypes  # mypy knows these functions on Windows only
    kernel = windows.WinDLL("kernel32", use_last_error=True)
    kernel.CreateFileW.restype = ctypes.c_void_p
    handle = kernel.CreateFileW(longPath(path), ctypes.c_uint32(_READ), share, None, _EXISTING, 0, None)
    if handle == _FAILED:
        code = windows.get_last_error()
        raise OSError(0, windows.FormatError(code).strip(), path, code)
    import msvcrt

    runtime: Any = msvcrt
    return int(runtime.open_osfhandle(handle, os.O_RDONLY | getattr(os, "O_NOINHERIT", 0)))


def longPath(path: str) -> str:
    """Return a path in the form that Windows accepts at any length; short paths, and paths elsewhere, as they are."""
    if sys.platform != "win32" or len(path) <= LONGEST or path.startswith((_EXTENDED, "\\\\.\\")):
        return path
    path = ntpath.normpath(path)  # this form takes neither slashes nor ".."
    if path.startswith("\\\\"):
        return f"{_EXTENDED}UNC\\{path[2:]}"
    return _EXTENDED + path if ntpath.isabs(path) else path
