"""Output files: hidden while they are written and compared, then renamed to the first free name."""

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
from ..Model.Files import UNFINISHED, makePrivateFolder, moveFile, openPrivate, removeFile
from ..Model.Frame import Pixels
from ..Model.Quantities import sizeText
from ..Model.Text import textsOf
from ..Recording.Layout import candidates
from .Frames import Frames
from .Job import PIECE, Cancelled, ExportJob, Work

_ = textsOf(__file__)

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


class OutputFile:
    """A new file.

    :raises FileExistsError: the name is taken.
    """

    def __init__(self, path: str, work: Work) -> None:
        self.path, self._work = path, work
        self._handle = openPrivate(path, _FLAGS)
        self.size = 0
        """Position of the next byte."""

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Write all bytes, in pieces.

        :raises OSError: the bytes cannot be written.
        :raises Cancelled: the export was cancelled.
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
        """Write the pixels as they lie in memory, and count them as progress."""
        flat = bytesOf(pixels)
        for begin in range(0, flat.nbytes, PIECE):
            self._work.step(self.write(flat[begin : begin + PIECE]))

    def tell(self) -> int:
        """Return the position of the next byte."""
        return self.size

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        """Set the position of the next byte, for formats that complete their header at the end; return it."""
        self.size = os.lseek(self._handle, place, whence)
        return self.size

    def flush(self) -> None:
        """Do nothing, because nothing is buffered; gzip calls this."""

    def close(self) -> None:
        """Close the file after all bytes have reached the disk.

        :raises OSError: bytes did not reach the disk.
        """
        handle, self._handle = self._handle, -1
        if handle != -1:
            try:
                # A network share or a full disk may report missing bytes only here.
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
    """Return the bytes of an array, without a copy if it is contiguous."""
    flat: memoryview = pixels.reshape(-1).view("u1").data
    return flat


class Output(ABC):
    """Files of an export.

    :param base: path of the destination without suffix.
    :raises ExportError: the folder is missing.
    """

    def __init__(self, base: str, work: Work) -> None:
        self.base, self.work = base, work
        self.folder = os.path.dirname(base)
        self._gone = False
        self._lock = threading.Lock()
        if not os.path.isdir(self.folder):
            raise ExportError(_("The folder {folder} does not exist.").format(folder=self.folder))
        work.owns(self.discard)

    def needs(self, nbytes: int) -> None:
        """Check the free space of the disk.

        :raises ExportError: there are fewer than ``nbytes`` free bytes.
        """
        free = shutil.disk_usage(self.folder).free
        if nbytes > free:
            raise ExportError(
                _("{folder} has {free} free; {needed} are needed.").format(
                    folder=self.folder, free=sizeText(free), needed=sizeText(nbytes)
                )
            )

    @abstractmethod
    def path(self, name: str) -> str:
        """Return the current path of the file with this suffix or name."""

    @contextmanager
    def create(self, name: str) -> Iterator[OutputFile]:
        """Create the file with this suffix or name."""
        with self._lock:
            if self._gone:
                raise Cancelled
            file = self._open(name)
        with file:
            yield file

    def remove(self, name: str) -> None:
        """Remove a file, to write it again."""
        removeFile(self.path(name))
        self._forget(name)

    @abstractmethod
    def _open(self, name: str) -> OutputFile: ...

    @abstractmethod
    def _forget(self, name: str) -> None: ...

    @abstractmethod
    def finish(self) -> list[str]:
        """Rename the files to their final names.

        :returns: their paths.
        """

    def discard(self) -> None:
        """Remove all files."""
        with self._lock:
            self._gone = True
            self._remove()

    @abstractmethod
    def _remove(self) -> None: ...


class OutputFiles(Output):
    """Files with one name and different suffixes."""

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
                    moveFile(self._paths[suffix], final)
                return list(finals.values())
        raise AssertionError

    def _claimed(self, candidate: str) -> dict[str, str]:
        # Only an existing file reserves a name on all systems and network shares.
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
            removeFile(path)


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
            removeFile(self.path(name))
        if self._made:
            try:
                os.rmdir(self._made)
            except OSError:
                pass


def _hidden(path: str) -> str:
    # Watched folders skip dot files. The suffix stays at the end, because it selects the reader.
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}{UNFINISHED}")


class Writer(ABC):
    """Writer of one format; it also compares the written files. It holds only a few frames in memory.

    :raises ExportError: the format cannot hold the frames.
    """

    output: ClassVar[type[Output]] = OutputFiles
    packs = False
    """Whether the format is compressed, so that its size is unknown beforehand."""

    def __init__(self, frames: Frames, job: ExportJob, work: Work) -> None:
        self.frames, self.job, self.work = frames, job, work
        self.events: list[Event] = []
        """Remarks on files that are otherwise correct."""

    @abstractmethod
    def write(self, output: Output) -> None:
        """Write all files.

        :raises OSError: a file cannot be written.
        :raises Cancelled: the export was cancelled.
        """

    @abstractmethod
    def compare(self, output: Output) -> None:
        """Read all files and compare them with the frames.

        :raises Different: a file differs.
        :raises Cancelled: the export was cancelled.
        """

    def say(self, index: int) -> None:
        """Report the frame that is being written."""
        self.work.step(0, _("Writing frame {index} of {count}").format(index=index + 1, count=len(self.frames)))
