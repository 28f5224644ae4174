"""Files while they are written: under another name until they are compared, then under the first free one."""

from __future__ import annotations

import os
import shutil
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import ClassVar

from ..Model.Errors import ExportError
from ..Model.Event import Event
from ..Model.Files import UNFINISHED, makePrivateFolder, openPrivate
from ..Model.Frame import Pixels
from ..Recording.Layout import candidates
from .Frames import Frames
from .Job import Cancelled, ExportJob, Work

PIECE = 4 << 20
"""Bytes written between two looks whether the export is still wanted."""
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


class OutputFile:
    """A new file.

    :raises FileExistsError: the name is taken.
    """

    def __init__(self, path: str, work: Work) -> None:
        self.path, self._work = path, work
        self._handle = openPrivate(path, _FLAGS)
        self.size = 0

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Write all, in pieces.

        :raises OSError: it cannot be written.
        :raises Cancelled: it is not wanted any more.
        """
        left = memoryview(data).cast("B")
        size = left.nbytes
        while left:
            written = os.write(self._handle, left[:PIECE])
            left = left[written:]
            self.size += written
            self._work.step()
        return size

    def writePixels(self, pixels: Pixels) -> None:
        """Write the values as they lie in memory, and count them as done."""
        flat = bytesOf(pixels)
        for begin in range(0, flat.nbytes, PIECE):
            self._work.step(self.write(flat[begin : begin + PIECE]))

    def tell(self) -> int:
        """Where the next byte goes."""
        return self.size

    def flush(self) -> None:
        """Nothing waits here; gzip asks for it."""

    def close(self) -> None:
        """:raises OSError: what was written does not reach the disk."""
        handle, self._handle = self._handle, -1
        if handle != -1:
            try:
                # A network share or a full disk may say only here that it took less than it was given.
                os.fsync(handle)
            finally:
                os.close(handle)

    def __enter__(self) -> OutputFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif self._handle != -1:
            os.close(self._handle)
            self._handle = -1


def bytesOf(pixels: Pixels) -> memoryview:
    """The bytes of an array, without a copy where it is contiguous."""
    flat: memoryview = pixels.reshape(-1).view("u1").data
    return flat


class Output(ABC):
    """What an export makes.

    :param base: path and name, without suffix.
    """

    def __init__(self, base: str, work: Work) -> None:
        self.base, self.work = base, work
        self.folder = os.path.dirname(base)
        self._gone = False
        self._lock = threading.Lock()
        if not os.path.isdir(self.folder):
            raise ExportError(f"The folder {self.folder} is not there.")
        work.owns(self.discard)

    def needs(self, nbytes: int) -> None:
        """:raises ExportError: the disk has no room for so many bytes."""
        free = shutil.disk_usage(self.folder).free
        if nbytes > free:
            raise ExportError(f"{self.folder} has {free / 1e6:,.0f} MB free; {nbytes / 1e6:,.0f} MB are needed.")

    @abstractmethod
    def path(self, name: str) -> str:
        """Where the file of this suffix or name is for now."""

    @contextmanager
    def create(self, name: str) -> Iterator[OutputFile]:
        """A new file of this suffix or name."""
        with self._lock:
            if self._gone:
                raise Cancelled
            file = self._open(name)
        with file:
            yield file

    def remove(self, name: str) -> None:
        """Take a file back, to write it in another way."""
        _unlink(self.path(name))
        self._forget(name)

    @abstractmethod
    def _open(self, name: str) -> OutputFile: ...

    @abstractmethod
    def _forget(self, name: str) -> None: ...

    @abstractmethod
    def finish(self) -> list[str]:
        """Give the files their names; their paths."""

    def discard(self) -> None:
        """Remove all that is there."""
        with self._lock:
            self._gone = True
            self._remove()

    @abstractmethod
    def _remove(self) -> None: ...


class OutputFiles(Output):
    """Files that have their name in common and differ in their suffix."""

    def __init__(self, base: str, work: Work) -> None:
        super().__init__(base, work)
        self._paths: dict[str, str] = {}

    def path(self, name: str) -> str:
        return self._paths[name]

    def _forget(self, name: str) -> None:
        del self._paths[name]

    def _open(self, name: str) -> OutputFile:
        for candidate in candidates(self.base):
            path = _hidden(candidate) + name
            try:
                file = OutputFile(path, self.work)
            except FileExistsError:
                continue
            self._paths[name] = path
            return file
        raise AssertionError

    def finish(self) -> list[str]:
        for candidate in candidates(self.base):
            if finals := self._claimed(candidate):
                for suffix, final in finals.items():
                    os.replace(self._paths[suffix], final)
                return list(finals.values())
        raise AssertionError

    def _claimed(self, candidate: str) -> dict[str, str]:
        # An empty file of that name is the only claim that all systems and network shares honour.
        finals: dict[str, str] = {}
        for suffix in self._paths:
            try:
                os.close(openPrivate(candidate + suffix, _FLAGS))
            except FileExistsError:
                for final in finals.values():
                    os.unlink(final)
                return {}
            finals[suffix] = candidate + suffix
        return finals

    def _remove(self) -> None:
        for path in self._paths.values():
            _unlink(path)


class OutputFolder(Output):
    """A folder of files."""

    def __init__(self, base: str, work: Work) -> None:
        super().__init__(base, work)
        self._names: list[str] = []
        self._made = ""

    def path(self, name: str) -> str:
        return os.path.join(self._made, name)

    def _forget(self, name: str) -> None:
        self._names.remove(name)

    def _open(self, name: str) -> OutputFile:
        if not self._made:
            self._made = self._make()
        file = OutputFile(self.path(name), self.work)
        self._names.append(name)
        return file

    def _make(self) -> str:
        for candidate in candidates(self.base):
            try:
                makePrivateFolder(_hidden(candidate), new=True)
            except FileExistsError:
                continue
            return _hidden(candidate)
        raise AssertionError

    def finish(self) -> list[str]:
        for candidate in candidates(self.base):
            if os.path.lexists(candidate):
                continue
            try:
                os.rename(self._made, candidate)
            except OSError:
                if os.path.lexists(candidate):
                    continue
                raise
            return [os.path.join(candidate, name) for name in self._names]
        raise AssertionError

    def _remove(self) -> None:
        for name in self._names:
            _unlink(self.path(name))
        if self._made:
            try:
                os.rmdir(self._made)
            except OSError:
                pass


def _hidden(path: str) -> str:
    # Watched folders pass over dot files; the suffix stays the last, by which readers choose.
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}{UNFINISHED}")


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass


class Writer(ABC):
    """Writes frames in one format and compares what was written. It holds a few frames in memory at most.

    :raises ExportError: the format cannot hold them, in words.
    """

    output: ClassVar[type[Output]] = OutputFiles
    packs = False
    """True: how many bytes it takes is not known before."""

    def __init__(self, frames: Frames, job: ExportJob, work: Work) -> None:
        self.frames, self.job, self.work = frames, job, work
        self.events: list[Event] = []
        """What somebody should know of a file that is otherwise right."""

    @abstractmethod
    def write(self, output: Output) -> None:
        """Write all.

        :raises OSError: it cannot be written.
        :raises Cancelled: it is not wanted any more.
        """

    @abstractmethod
    def compare(self, output: Output) -> None:
        """Read all back.

        :raises Different: it is not what was to be written.
        :raises Cancelled: it is not wanted any more.
        """

    def say(self, index: int) -> None:
        """Which frame is being written."""
        self.work.step(0, f"Writing frame {index + 1} of {len(self.frames)}")
