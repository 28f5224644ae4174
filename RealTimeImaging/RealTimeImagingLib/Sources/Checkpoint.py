"""What must survive the death of the acquisition process: frame numbers, and which files are done.

Four small files in the session's working folder. ``files.jsonl`` grows by one line for each finished file. Two state
files are overwritten by turns, with one short write for each frame. ``numbers`` has a line for each stream; its number
is overwritten after the state. So a frame costs the same however many streams there are.

A killed process loses nothing. A write that returned is in the system's page cache. A kill may divide a write (Linux
writes page by page): then the line has no end or a wrong checksum, and the state before it counts.

When the disk is full, the journal goes on in memory, sets ``problem``, and writes everything again when there is room.
A process that ends meanwhile must not be replaced: the next one would not know which files and frames are done.
"""

from __future__ import annotations

import errno
import json
import os
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Any

from ..Model.Files import Stamp

STATE_NAMES = ("state0.json", "state1.json")
FILES_NAME = "files.jsonl"
NUMBERS_NAME = "numbers"
AGAIN = 0.5
"""Seconds between two attempts to write on a full disk."""
_DIGITS = 20


class Verdict(str, Enum):
    """How a file ended: all of it became frames (or is not wanted), none will, or it may still be completed."""

    DONE = "done"
    REJECTED = "rejected"
    INCOMPLETE = "incomplete"


@dataclass
class OpenFile:
    """A file that is being read, or was when a process ended. ``accepted``: its images that became frames; ``deaths``:
    how many processes ended while they read it, since its last image."""

    stamp: Stamp
    accepted: int = 0
    deaths: int = 0


class Checkpoint:
    """The session's memory, written by the acquisition process and read by the one that follows it.

    :param folder: the working folder; made by Slicer's side, which also removes it.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        """Where a source may keep what it works on; it is removed with all that is in it."""
        self.numbers: dict[str, int] = {}
        """Next frame number of each stream."""
        self.recorded = self.failed = 0
        """Frames that a recording has, and that one should have and has not."""
        self.recording: dict[str, Any] = {}
        """Counts before the current recording, and its own so far: see Store.py."""
        self.problem = ""
        """Why nothing can be written now; empty while writing works."""
        self.kept: dict[str, Any] = {}
        """What a source wants to know again after a restart, as JSON has it; see :meth:`keep`."""
        self.listed = False
        """True once the files that were there at start are known."""
        self.done: dict[str, Stamp] = {}
        """Path to the stamp with which a file was finished or passed over."""
        self.unfinished: dict[str, OpenFile] = {}
        """By path: the file that is being read, and those that gave some of their images or ended a process."""
        self._rejected = self._refused = 0
        self.incomplete: set[str] = set()
        """Paths of the files that were reported as not complete and have not been completed."""
        self._openPath: str | None = None
        self._serial = 0
        self._stateLengths = [0, 0]
        self._last: dict[str, int] = {}
        """Number of the stream of the last frame."""
        self._places: dict[str, int] = {}
        """Where the number of each stream stands in its file."""
        self._filesSize = self._numbersSize = 0
        self._again = 0.0
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
        self._states = [os.open(os.path.join(folder, name), flags, 0o600) for name in STATE_NAMES]
        self._files = os.open(os.path.join(folder, FILES_NAME), flags | os.O_APPEND, 0o600)
        self._numbers = os.open(os.path.join(folder, NUMBERS_NAME), flags, 0o600)
        self._waiting = b""
        """Lines of finished files that could not be written yet."""
        self._loadFiles()
        self._loadNumbers()
        self._loadState()
        for stream in self._last:  # a kill may have divided its number
            self._attempt(self._saveNumber, stream)

    @property
    def rejected(self) -> int:
        """Files and messages that gave no frame and were reported; a file that was not complete counts until it is
        completed."""
        return self._rejected + self._refused + len(self.incomplete)

    def passOver(self, files: Mapping[str, Stamp]) -> None:
        """Note the files that are there at start and are not wanted; from now on every other file is new."""
        self._append(files, Verdict.DONE)
        self.listed = True
        self._save()

    def begin(self, path: str, stamp: Stamp) -> OpenFile:
        """Note that a file is about to be read; tells what earlier tries made of it."""
        before = self.unfinished.get(path)
        opened = before if before and before.stamp == stamp else OpenFile(stamp)
        self.unfinished[path] = opened
        self._openPath = path
        self._save()
        return opened

    def leave(self) -> None:
        """Note that the file is put aside, and that a death from now on is none of its doing."""
        opened = self.unfinished.get(self._openPath or "")
        if self._openPath and opened and not opened.accepted and not opened.deaths:
            del self.unfinished[self._openPath]
        self._openPath = None
        self._save()

    def next(self, stream: str) -> int:
        """The number of the next frame of a stream."""
        return self.numbers.get(stream, 0)

    def accept(self, stream: str, stored: bool | None = None) -> int:
        """The number of the next frame of a stream, which from now on counts as received.

        :param stored: whether a recording has it; None while nothing is recorded.
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

    def refuse(self) -> None:
        """Note that something came that is no frame and should have been one, such as a message with a wrong
        checksum."""
        self._refused += 1
        self._save()

    def store(self, stored: bool) -> None:
        """Note whether a frame that was received before is now in a recording."""
        self._count(stored)
        self._save()

    def keep(self, **values: Any) -> None:
        """Note what a source wants to know again after a restart, in place of what had the same names."""
        self.kept.update(values)
        self._save()

    def keepRecording(self, values: dict[str, Any]) -> None:
        """Note the counts at the begin of a recording; later changes in ``values`` are saved with the next frame."""
        self.recording = values
        self._save()

    def correctStored(self, recorded: int, failed: int) -> None:
        """Set the counts of stored frames: files that were there are gone."""
        if (recorded, failed) != (self.recorded, self.failed):
            self.recorded, self.failed = recorded, failed
            self._save()

    def finish(self, path: str, stamp: Stamp, verdict: Verdict = Verdict.DONE) -> None:
        """Note that nothing more is wanted of a file until its stamp changes."""
        self._append({path: stamp}, verdict)
        opened = self.unfinished.get(path)
        # A file that may still be completed keeps the count of its images that became frames.
        if verdict is not Verdict.INCOMPLETE or (opened and not opened.accepted):
            self.unfinished.pop(path, None)
        self._openPath = None
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

    def _count(self, stored: bool) -> None:
        self.recorded += stored
        self.failed += not stored

    # ---- the files

    def _loadFiles(self) -> None:
        with open(self._files, "rb", closefd=False) as lines:
            whole = 0
            for line in lines:
                if not line.endswith(b"\n"):
                    # The next line must not be joined to this one.
                    os.ftruncate(self._files, whole)
                    break
                whole += len(line)
                path, *stamp, verdict = json.loads(line)
                self._note(path, tuple(stamp), Verdict(verdict))
            self._filesSize = whole

    def _append(self, files: Mapping[str, Stamp], verdict: Verdict) -> None:
        lines = "".join(json.dumps([path, *stamp, verdict.value]) + "\n" for path, stamp in files.items())
        self._waiting += lines.encode()
        if not self.problem:
            self._attempt(self._saveFiles)
        for path, stamp in files.items():
            self._note(path, stamp, verdict)

    def _note(self, path: str, stamp: Stamp, verdict: Verdict) -> None:
        self.done[path] = stamp
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

    def _attempt(self, write: Callable[..., None], *values: str) -> None:
        try:
            write(*values)
        except OSError as error:
            self.problem = error.strerror or str(error)
            self._again = time.monotonic() + AGAIN

    def _saveAll(self) -> None:
        """Write everything that could not be written before."""
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
            self._places[stream], self._numbersSize = self._numbersSize, self._numbersSize + len(line)
            if line[:_DIGITS].isdigit():  # otherwise a kill divided the number, and the state has it
                self.numbers[stream] = int(line[:_DIGITS])

    def _saveNumber(self, stream: str) -> None:
        text = f"{self.numbers[stream]:0{_DIGITS}d}".encode()
        if stream in self._places:
            os.lseek(self._numbers, self._places[stream], os.SEEK_SET)
            _writeAll(self._numbers, text)
            return
        line = text + json.dumps(stream).encode() + b"\n"
        os.lseek(self._numbers, self._numbersSize, os.SEEK_SET)
        _writeAll(self._numbers, line)
        self._places[stream], self._numbersSize = self._numbersSize, self._numbersSize + len(line)

    # ---- the state

    def _loadState(self) -> None:
        states = []
        for turn, handle in enumerate(self._states):
            text = _readAll(handle)
            self._stateLengths[turn] = len(text)
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
        elif time.monotonic() >= self._again:
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
        turn = self._serial % 2
        # Padded to the longest state so far: a shorter text must leave nothing of a longer one behind it.
        self._stateLengths[turn] = max(self._stateLengths[turn], len(text))
        os.lseek(self._states[turn], 0, os.SEEK_SET)
        _writeAll(self._states[turn], text.ljust(self._stateLengths[turn]))


def _writeAll(handle: int, data: bytes) -> None:
    """:raises OSError: not all could be written."""
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
