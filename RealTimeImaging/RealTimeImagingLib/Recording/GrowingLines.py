"""A file that grows by whole lines, and that others may cut, replace or remove meanwhile."""

from __future__ import annotations

import os
import time

from ..Private import openPrivate
from .Part import LOOK_EVERY, PartGone, writeAll

_FLAGS = os.O_RDWR | getattr(os, "O_BINARY", 0)


class GrowingLines:
    """A line is acknowledged when it was written; then a kill cannot take it back.

    :param path: must not exist.
    :param first: the first line.
    :raises FileExistsError: the name is taken.
    :raises OSError: the file cannot be made.
    """

    def __init__(self, path: str, first: bytes) -> None:
        self.path = path
        self.bytes = 0
        """Of the acknowledged lines."""
        self._lookAt = 0.0
        self._handle = openPrivate(path, _FLAGS | os.O_CREAT | os.O_EXCL)
        try:
            writeAll(self._handle, first)
        except OSError:
            self.close()
            os.unlink(path)
            raise
        self.bytes = len(first)

    def append(self, line: bytes) -> None:
        """Write one line; when it returns the line is acknowledged.

        :raises PartGone: the file was removed; it is noticed within LOOK_EVERY.
        :raises OSError: it cannot be written; the file is, or will be with the next line, as it was before.
        """
        try:
            if self._handle == -1:
                self._handle = os.open(self.path, _FLAGS)
                self._look()
                self._cut()
            elif time.monotonic() >= self._lookAt:
                self._look()
            writeAll(self._handle, line)
        except FileNotFoundError as error:
            self.close()
            if os.path.isdir(os.path.dirname(self.path)):
                raise PartGone(error.errno, "the file was removed while it grew", self.path) from error
            raise
        except OSError:
            try:
                self._cut()
            except OSError:
                pass  # again when it is opened again; a repair also cuts
            self.close()
            raise
        self.bytes += len(line)

    @property
    def whole(self) -> bool:
        """Whether all acknowledged lines are there, as far as can be known."""
        try:
            return os.path.getsize(self.path) >= self.bytes
        except FileNotFoundError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        """Let go of the file; the next line opens it again."""
        if self._handle != -1:
            try:
                os.close(self._handle)
            except OSError:
                pass  # a network share may say so late; the next line opens and counts the bytes
        self._handle = -1

    def trim(self) -> None:
        """Cut off what a failed write left behind the last line.

        :raises OSError: it cannot be cut.
        """
        if os.path.getsize(self.path) > self.bytes:
            os.truncate(self.path, self.bytes)

    def _look(self) -> None:
        # A removed file takes all that is written to it.
        opened = os.fstat(self._handle)
        if opened.st_size < self.bytes or not os.path.samestat(opened, os.stat(self.path)):
            raise FileNotFoundError(f"{self.path} was replaced or cut")
        self._lookAt = time.monotonic() + LOOK_EVERY

    def _cut(self) -> None:
        os.ftruncate(self._handle, self.bytes)
        os.lseek(self._handle, self.bytes, os.SEEK_SET)
