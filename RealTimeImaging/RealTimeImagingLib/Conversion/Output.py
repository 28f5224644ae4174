"""A file that is being written."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from functools import cache
from typing import Any

_FLAGS = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0)
_KEEP_SIZE = 1
"""FALLOC_FL_KEEP_SIZE of linux/falloc.h: the file's size goes on telling how much was written."""


class Output:
    """A file under a name that is not its last; several processes may write pieces of it.

    :param truncate: begin it anew.
    """

    def __init__(self, path: str, truncate: bool) -> None:
        self._path = path
        self._handle = os.open(path, _FLAGS | (os.O_TRUNC if truncate else 0), 0o666)
        self.position = 0

    def reserve(self, begin: int, nbytes: int) -> None:
        """Take space for so many bytes where the system can: they are written faster, and a full disk is known first.

        :raises OSError: the disk has no room for them.
        """
        function = _fallocate()
        if function is None or not nbytes or function(self._handle, _KEEP_SIZE, begin, nbytes) == 0:
            return
        number = ctypes.get_errno()
        # What a file system cannot do is of no importance.
        if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise OSError(number, os.strerror(number), self._path)

    def seek(self, position: int) -> None:
        """Write there next."""
        self.position = os.lseek(self._handle, position, os.SEEK_SET)

    def write(self, data: memoryview) -> None:
        """Write all of it.

        :param data: of bytes.
        :raises OSError: it cannot be written.
        """
        while len(data):
            try:
                written = os.write(self._handle, data)
            except OSError as error:
                raise OSError(error.errno, error.strerror, self._path) from error
            self.position += written
            data = data[written:]

    def __enter__(self) -> Output:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)


@cache
def _fallocate() -> Any:
    # os.posix_fallocate() would change the file's size, and where it is not supported write all of it.
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None, use_errno=True)
    function = getattr(library, "fallocate64", None) or getattr(library, "fallocate", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return function
