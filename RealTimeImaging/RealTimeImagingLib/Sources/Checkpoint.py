"""State that survives the death of the acquisition process: frame numbers, finished files and stream names.

The session's working folder holds four small files. ``files.jsonl`` grows by one line for each finished file, and is
written anew when most of these files are gone. Two state files are overwritten in turn, with one short write for each
frame. ``numbers`` has a line for each stream; its number is overwritten after the state. So a frame takes the same time
with any number of streams.

A killed process loses nothing: after a write returns, its data are in the system's page cache. A kill may divide a
write (Linux writes page by page). Then the line has no end or a wrong checksum, and the previous state is valid. A
frame that consists of several files is announced in a file of its own, ``slices.json``.

When the disk is full, the checkpoint stays in memory and ``problem`` is set. Everything is written when there is room.
A process that ends meanwhile must not be replaced: its replacement would not know the finished files and frames.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import time
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..Model.Files import Stamp, reasonOf, replaceFile
from ..Model.Quantities import freeName

if TYPE_CHECKING:
    from ..Formats.DICOM.Header import SliceHeader

STATE_NAMES = ("state0.json", "state1.json")
FILES_NAME = "files.jsonl"
NUMBERS_NAME = "numbers"
ANNOUNCED_NAME = "slices.json"
RETRY = 0.5
"""Seconds between two attempts to write to a full disk."""
DEATHS = 2
"""Processes that one file may crash before it is skipped."""
SPARE_LINES = 1000
"""Lines of files beyond twice the known files, above which the lines are written anew."""
_DIGITS = 20
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)

log = logging.getLogger(__name__)


class Verdict(str, Enum):
    """Result of a file: all images became frames or are not wanted, none can become one, or more data may arrive."""

    DONE = "done"
    REJECTED = "rejected"
    INCOMPLETE = "incomplete"


@dataclass
class OpenFile:
    """A file that a process reads, or was reading when it ended.

    :param accepted: images of the file that became frames.
    :param deaths: processes that ended while they read the file, since its last accepted image.
    """

    stamp: Stamp
    accepted: int = 0
    deaths: int = 0


class Checkpoint:
    """Stored state of a session: the acquisition process writes it, and its replacement reads it.

    :param folder: the working folder, which Slicer's process creates and removes.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        """Folder for temporary files of the source."""
        self.numbers: dict[str, int] = {}
        """Next frame number of each stream."""
        self.recorded = self.failed = 0
        """Frames that were stored in a recording, and frames that could not be stored."""
        self.recording: dict[str, Any] = {}
        """Counts before the current recording, and its own counts so far: see WorkerRecording.py."""
        self.problem = ""
        """Reason why writing fails now; empty while it works."""
        self.kept: dict[str, Any] = {}
        """JSON values that a source needs after a restart, see :meth:`keep`."""
        self.listed = False
        """True when the files that existed at the start are known."""
        self.done: dict[str, Stamp] = {}
        """Path to stamp of the finished and skipped files."""
        self.unfinished: dict[str, OpenFile] = {}
        """By path: the file that is being read, and files that are read in part or crashed a process."""
        self._rejected = self._refused = 0
        self.incomplete: set[str] = set()
        """Paths of the files that were reported as incomplete and still are."""
        self._openPath: str | None = None
        self._serial = 0
        self._stateLengths = [0, 0]
        self._last: dict[str, int] = {}
        """Number of the stream of the last frame."""
        self._offsets: dict[str, int] = {}
        """Offset of each stream's number in the file."""
        self._filesSize = self._numbersSize = self._lines = 0
        self._retryAt = 0.0
        self._states = [os.open(os.path.join(folder, name), _FLAGS, 0o600) for name in STATE_NAMES]
        self._files = os.open(os.path.join(folder, FILES_NAME), _FLAGS | os.O_APPEND, 0o600)
        self._numbers = os.open(os.path.join(folder, NUMBERS_NAME), _FLAGS, 0o600)
        self._waiting = b""
        """Lines of finished files that are not written yet."""
        self._loadFiles()
        self._loadNumbers()
        self._loadState()
        for stream in self._last:  # a kill may have divided its number
            self._attempt(self._saveNumber, stream)
        self._finishAnnounced()

    @property
    def rejected(self) -> int:
        """Number of files and messages that became no frame and were reported, without files completed later."""
        return self._rejected + self._refused + len(self.incomplete)

    def skip(self, files: Mapping[str, Stamp]) -> None:
        """Mark files as done, such as unwanted files at the start; from now on all other files are new."""
        self._append(files, Verdict.DONE)
        self.listed = True
        self._save()

    def begin(self, path: str, stamp: Stamp) -> OpenFile:
        """Mark a file as being read, and return the progress of earlier attempts."""
        earlier = self.unfinished.get(path)
        opened = earlier if earlier and earlier.stamp == stamp else OpenFile(stamp)
        self.unfinished[path] = opened
        self._openPath = path
        self._save()
        return opened

    def leave(self) -> None:
        """Mark the current file as closed: it is not the reason for a later crash."""
        opened = self.unfinished.get(self._openPath or "")
        if self._openPath and opened and not opened.accepted and not opened.deaths:
            del self.unfinished[self._openPath]
        self._openPath = None
        self._save()

    def next(self, stream: str) -> int:
        """Return the number of the next frame of a stream."""
        return self.numbers.get(stream, 0)

    def accept(self, stream: str, stored: bool | None = None) -> int:
        """Count a frame of a stream as received, and return its number.

        :param stored: True when it was stored in a recording; None while nothing is recorded.
        """
        number = self.next(stream)
        self.numbers[stream] = number + 1
        self._last = {stream: number + 1}
        if stored is not None:
            self._count(stored)
        if self._openPath:
            opened = self.unfinished[self._openPath]
            opened.accepted, opened.deaths = opened.accepted + 1, 0
        self._save()
        if not self.problem:
            self._attempt(self._saveNumber, stream)
        return number

    @contextlib.contextmanager
    def together(self, stream: str, files: Mapping[str, Stamp]) -> Iterator[None]:
        """Accept the next frame of a stream, which consists of several files: they are done once it has its number."""
        announced = {"stream": stream, "number": self.next(stream), "files": list(files.items())}
        try:
            replaceFile(os.path.join(self.folder, ANNOUNCED_NAME), json.dumps(announced).encode())
        except OSError as error:
            log.warning("The list of the files of a volume could not be written: %s", error)
        yield
        self.skip(files)

    def refuse(self) -> None:
        """Count a rejected input, such as a message with a wrong checksum."""
        self._refused += 1
        self._save()

    def store(self, stored: bool) -> None:
        """Count the attempt to store a frame that was received before."""
        self._count(stored)
        self._save()

    def keep(self, **values: Any) -> None:
        """Store values that a source needs after a restart; they replace values with the same names."""
        self.kept.update(values)
        self._save()

    def keepRecording(self, values: dict[str, Any]) -> None:
        """Store the counts of a recording; later changes in ``values`` are saved with the next frame."""
        self.recording = values
        self._save()

    def correctStored(self, recorded: int, failed: int) -> None:
        """Replace the counts of stored frames after files of the recording were removed."""
        if (recorded, failed) != (self.recorded, self.failed):
            self.recorded, self.failed = recorded, failed
            self._save()

    def finish(self, path: str, stamp: Stamp, verdict: Verdict = Verdict.DONE) -> None:
        """Mark a file as finished until its stamp changes."""
        self._append({path: stamp}, verdict)
        opened = self.unfinished.get(path)
        # More data may arrive: keep the number of accepted images.
        if verdict is not Verdict.INCOMPLETE or (opened and not opened.accepted):
            self.unfinished.pop(path, None)
        self._openPath = None
        self._save()

    def forget(self, paths: Collection[str]) -> None:
        """Forget finished files that were removed; their counts stay."""
        self._append(dict.fromkeys(paths, ()), None)
        for path in paths:
            self.unfinished.pop(path, None)
        if self._lines > 2 * len(self.done) + SPARE_LINES and not self._waiting:
            self._rewriteFiles()
        self._save()

    def close(self) -> None:
        """Close all files."""
        for handle in (*self._states, self._files, self._numbers):
            os.close(handle)

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _finishAnnounced(self) -> None:
        path = os.path.join(self.folder, ANNOUNCED_NAME)
        try:
            with open(path, encoding="ascii") as file:
                announced = json.load(file)
        except FileNotFoundError:
            return
        if self.next(announced["stream"]) > announced["number"]:
            self.skip({name: tuple(version) for name, version in announced["files"]})
        # The next frame with that number may consist of other files.
        os.unlink(path)

    def _count(self, stored: bool) -> None:
        self.recorded += stored
        self.failed += not stored

    # ---- the files

    def _loadFiles(self) -> None:
        with open(self._files, "rb", closefd=False) as lines:
            whole = 0
            for line in lines:
                if not line.endswith(b"\n"):
                    # Otherwise the next line would be appended to this one.
                    os.ftruncate(self._files, whole)
                    break
                whole += len(line)
                self._lines += 1
                values = json.loads(line)
                if isinstance(values, int):
                    self._rejected = values
                    continue
                path, *stamp, verdict = values
                self._note(path, tuple(stamp), verdict and Verdict(verdict))
            self._filesSize = whole

    def _append(self, files: Mapping[str, Stamp], verdict: Verdict | None) -> None:
        # Without a verdict the files are forgotten.
        self._waiting += b"".join(_lineOf(path, stamp, verdict) for path, stamp in files.items())
        self._lines += len(files)
        if not self.problem:
            self._attempt(self._saveFiles)
        for path, stamp in files.items():
            self._note(path, stamp, verdict)

    def _note(self, path: str, stamp: Stamp, verdict: Verdict | None) -> None:
        if verdict:
            self.done[path] = stamp
        else:
            self.done.pop(path, None)
            self._rejected += path in self.incomplete  # it is never completed
        self._rejected += verdict is Verdict.REJECTED
        if verdict is Verdict.INCOMPLETE:
            self.incomplete.add(path)
        else:
            self.incomplete.discard(path)

    def _saveFiles(self) -> None:
        if not self._waiting:
            return
        try:
            _writeAll(self._files, self._waiting)
        except OSError:
            os.ftruncate(self._files, self._filesSize)
            raise
        self._filesSize += len(self._waiting)
        self._waiting = b""

    def _rewriteFiles(self) -> None:
        # The first line is the number of the rejected files.
        lines = [b"%d\n" % self._rejected]
        for path, stamp in self.done.items():
            lines.append(_lineOf(path, stamp, Verdict.INCOMPLETE if path in self.incomplete else Verdict.DONE))
        path, self._lines = os.path.join(self.folder, FILES_NAME), len(lines)
        made = -1
        try:
            made = os.open(path + "~", _FLAGS | os.O_APPEND | os.O_TRUNC, 0o600)
            _writeAll(made, b"".join(lines))
            os.replace(path + "~", path)
        except OSError:
            # The old lines are as good: the disk is full, or this is Windows, which replaces no open file.
            if made >= 0:
                os.close(made)
            return
        os.close(self._files)
        self._files, self._filesSize = made, sum(map(len, lines))

    def _attempt(self, write: Callable[..., None], *values: str) -> None:
        try:
            write(*values)
        except OSError as error:
            self.problem = reasonOf(error)
            self._retryAt = time.monotonic() + RETRY

    def _saveAll(self) -> None:
        # Write everything that could not be written before.
        self._saveFiles()
        self._saveState()
        for stream in self.numbers:
            self._saveNumber(stream)
        self.problem = ""

    # ---- the numbers

    def _loadNumbers(self) -> None:
        for line in _readAll(self._numbers).splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            stream = json.loads(line[_DIGITS:])
            self._offsets[stream], self._numbersSize = self._numbersSize, self._numbersSize + len(line)
            if line[:_DIGITS].isdigit():  # otherwise a kill divided the number; the state has it
                self.numbers[stream] = int(line[:_DIGITS])

    def _saveNumber(self, stream: str) -> None:
        text = f"{self.numbers[stream]:0{_DIGITS}d}".encode()
        if stream in self._offsets:
            os.lseek(self._numbers, self._offsets[stream], os.SEEK_SET)
            _writeAll(self._numbers, text)
            return
        line = text + json.dumps(stream).encode() + b"\n"
        os.lseek(self._numbers, self._numbersSize, os.SEEK_SET)
        _writeAll(self._numbers, line)
        self._offsets[stream], self._numbersSize = self._numbersSize, self._numbersSize + len(line)

    # ---- the state

    def _loadState(self) -> None:
        states = []
        for index, handle in enumerate(self._states):
            text = _readAll(handle)
            self._stateLengths[index] = len(text)
            state = _parseState(text)
            if state is not None:
                states.append(state)
        if not states:
            return
        state = max(states, key=lambda one: int(one["serial"]))
        self._serial, self._last, self.listed = state["serial"], state["last"], state["listed"]
        self.numbers.update(self._last)
        self.recording = state["recording"]
        self.recorded, self.failed = state["stored"]
        self.kept, self._refused = state["kept"], state["refused"]
        for path, *stamp, accepted, deaths in state["unfinished"]:
            opened = OpenFile(tuple(stamp), accepted, deaths + (path == state["open"]))
            if self.done.get(path) != opened.stamp:
                self.unfinished[path] = opened
            elif path in self.incomplete and accepted:
                self.unfinished[path] = OpenFile(opened.stamp, accepted)

    def _save(self) -> None:
        if not self.problem:
            self._attempt(self._saveState)
        elif time.monotonic() >= self._retryAt:
            self._attempt(self._saveAll)

    def _saveState(self) -> None:
        self._serial += 1
        state = {
            "serial": self._serial,
            "last": self._last,
            "recording": self.recording,
            "listed": self.listed,
            "stored": [self.recorded, self.failed],
            "open": self._openPath,
            "kept": self.kept,
            "refused": self._refused,
            "unfinished": [
                [path, *opened.stamp, opened.accepted, opened.deaths] for path, opened in self.unfinished.items()
            ],
        }
        text = json.dumps(state).encode()
        text = b"%08x" % zlib.crc32(text) + text
        index = self._serial % 2
        # Pad to the longest state so far: a shorter text must replace all of a longer one.
        self._stateLengths[index] = max(self._stateLengths[index], len(text))
        os.lseek(self._states[index], 0, os.SEEK_SET)
        _writeAll(self._states[index], text.ljust(self._stateLengths[index]))


def _lineOf(path: str, stamp: Stamp, verdict: Verdict | None) -> bytes:
    return json.dumps([path, *stamp, verdict and verdict.value]).encode() + b"\n"


def _writeAll(handle: int, data: bytes) -> None:
    # OSError: not all could be written.
    if os.write(handle, data) < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _readAll(handle: int) -> bytes:
    with open(handle, "rb", closefd=False) as file:
        return file.read()


def _parseState(text: bytes) -> dict[str, Any] | None:
    body = text[8:].rstrip(b" ")
    if text[:8] != b"%08x" % zlib.crc32(body) or not body:
        return None
    state: dict[str, Any] = json.loads(body)
    return state


SERIES_NAMES = "dicomStreams"
"""Key of the stream names in the checkpoint."""
_MOST_SERIES = 1000
"""Series that are remembered; names of older series may be used again."""
_LONGEST_NAME = 60


class SeriesNames:
    """Stream names of DICOM series: unique, and the same after a restart.

    :param checkpoint: stores the names.
    :param default: name of a series without a description.
    """

    def __init__(self, checkpoint: Checkpoint, default: str) -> None:
        self._checkpoint, self._default = checkpoint, default
        self._names: dict[str, str] = checkpoint.kept.get(SERIES_NAMES, {})

    def of(self, header: SliceHeader) -> str:
        """Return the description and the number of a series, with a suffix when another series has that name."""
        name = self._names.get(header.series)
        if name is None:
            description = " ".join(header.description.replace("\0", " ").split())[:_LONGEST_NAME] or self._default
            base = description if header.seriesNumber is None else f"{description} {header.seriesNumber}"
            name = freeName(base, set(self._names.values()), "{name} ({number})")
            if len(self._names) >= _MOST_SERIES:
                del self._names[next(iter(self._names))]
            self._names[header.series] = name
            self._checkpoint.keep(**{SERIES_NAMES: self._names})
        return name
