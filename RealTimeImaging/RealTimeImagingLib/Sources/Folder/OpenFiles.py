"""Ask the system whether another program has a file open for writing."""

from __future__ import annotations

import ctypes
import functools
import os
import struct
import sys
import tempfile
from typing import Any

from ...Model.SharedFiles import SHARE_DELETE, SHARE_READ, openOnWindows

_ALL_PROCESSES = 1  # PROC_ALL_PIDS
_NO_EVENT_ONLY = 2  # PROC_LISTPIDSPATH_EXCLUDE_EVTONLY
_LIST_DESCRIPTORS, _VNODE_INFO = 1, 1  # PROC_PIDLISTFDS, PROC_PIDFDVNODEINFO
_VNODE = 1  # PROX_FDTYPE_VNODE
_WRITE = 2  # FWRITE, in fi_openflags
_DESCRIPTOR = struct.Struct("=iI")  # struct proc_fdinfo: number, type
_FILE_INFO = struct.Struct("=I20xIHHQ")  # struct vnode_fdinfo: fi_openflags ... vst_dev, vst_mode, vst_nlink, vst_ino
_FILE_INFO_SIZE = 176
_STATFS_SIZE, _STATFS_FLAGS, _LOCAL = 2168, 64, 0x1000  # struct statfs, f_flags, MNT_LOCAL
_ROOM = 1 << 16


def isOpenOnMacOS(path: str) -> bool | None:
    """Return True when a program of this computer has a file open for writing; None when that is unknown.

    It is unknown for files on network shares, which other computers may write. It is also unknown for files of other
    users, whose programs the system does not show.

    :raises OSError: the file is gone.
    """
    library = _library()
    if library is None:
        return None
    status = os.stat(path)
    if not isLocal(library, path):
        return None
    if hasWriter(library, path, status):
        return True
    return False if sys.platform != "win32" and status.st_uid == os.getuid() else None


@functools.cache
def _library() -> Any:
    # None where libproc is missing, or fails to find a file that this process has open for writing.
    try:
        library = ctypes.CDLL("/usr/lib/libproc.dylib", use_errno=True)
        with tempfile.NamedTemporaryFile() as file:
            status = os.stat(file.name)
            return library if isLocal(library, file.name) and hasWriter(library, file.name, status) else None
    except (OSError, AttributeError):
        return None


def isLocal(library: Any, path: str) -> bool:
    """Return True when a file is on a disk of this computer.

    :param library: the functions of libproc.
    """
    # On Intel processors the name without a suffix stands for an older structure.
    function = getattr(library, "statfs$INODE64", None) or library.statfs
    buffer = ctypes.create_string_buffer(_STATFS_SIZE)
    if function(os.fsencode(path), buffer):
        return False
    return bool(struct.unpack_from("=I", buffer, _STATFS_FLAGS)[0] & _LOCAL)


def hasWriter(library: Any, path: str, status: os.stat_result) -> bool:
    """Return True when a process that the system shows has a file open for writing.

    :param library: the functions of libproc.
    :param status: of the file.
    """
    buffer = ctypes.create_string_buffer(_ROOM)
    size = library.proc_listpidspath(_ALL_PROCESSES, 0, os.fsencode(path), _NO_EVENT_ONLY, buffer, _ROOM)
    processes = struct.unpack_from(f"={max(0, size) // 4}i", buffer)
    return any(_writes(library, process, status) for process in processes if process)


def _writes(library: Any, process: int, status: os.stat_result) -> bool:
    room = _ROOM
    while True:
        descriptors = ctypes.create_string_buffer(room)
        size = library.proc_pidinfo(process, _LIST_DESCRIPTORS, ctypes.c_uint64(0), descriptors, room)
        if size < room:
            break
        room *= 2
    info = ctypes.create_string_buffer(_FILE_INFO_SIZE)
    for place in range(0, max(0, size) // _DESCRIPTOR.size * _DESCRIPTOR.size, _DESCRIPTOR.size):
        number, kind = _DESCRIPTOR.unpack_from(descriptors, place)
        if kind != _VNODE:
            continue
        got = library.proc_pidfdinfo(process, number, _VNODE_INFO, info, _FILE_INFO_SIZE)
        if got < _FILE_INFO.size:
            continue
        flags, device, _mode, _links, inode = _FILE_INFO.unpack_from(info)
        if flags & _WRITE and (device, inode) == (status.st_dev & 0xFFFFFFFF, status.st_ino):
            return True
    return False


def isOpenForWriting(path: str) -> bool | None:
    """Return True or False where the system knows, None elsewhere (most network shares, files of other users).

    Linux refuses a read lease while a program has the file open for writing (fcntl(2), F_SETLEASE).
    Windows refuses to open it without sharing for writing (CreateFileW, ERROR_SHARING_VIOLATION). A program that opens
    the file for writing in that moment is refused; renaming and deleting are not.
    macOS lists the open files of programs (libproc).

    :raises OSError: the file is gone.
    """
    if sys.platform == "linux":
        return _leaseRefused(path)
    if sys.platform == "win32":
        return _sharingRefused(path)
    if sys.platform == "darwin":
        return isOpenOnMacOS(path)
    return None


if sys.platform == "linux":
    import errno
    import fcntl
    import signal

    def _leaseRefused(path: str) -> bool | None:
        # O_NONBLOCK: wait neither for the other end of a named pipe nor for the lease of a file server.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            # When a writer opens the file during the lease, the system sends a signal. The default, SIGIO, would end
            # this process; SIGURG is ignored by default.
            fcntl.fcntl(handle, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except OSError as error:
            return True if error.errno in (errno.EAGAIN, errno.EBUSY) else None
        finally:
            os.close(handle)
        return False


if sys.platform == "win32":
    _SHARING_VIOLATION = 32

    def _sharingRefused(path: str) -> bool | None:
        try:
            os.close(openOnWindows(path, SHARE_READ | SHARE_DELETE))
        except FileNotFoundError:
            raise
        except OSError as error:
            return True if error.winerror == _SHARING_VIOLATION else None
        return False
