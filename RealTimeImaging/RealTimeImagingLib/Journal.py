"""What must survive the death of the acquisition process: frame numbers, and which files are done.

Two small files in the session's working folder. ``state.json`` is overwritten in place with one short write for each
frame; ``files.jsonl`` grows by one line for each finished file. A killed process loses nothing of either: a write that
returned is in the system's page cache, and one write of this size is not divided by a kill.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from types import TracebackType

Stamp = tuple[int, int]
"""(size in bytes, mtime_ns): with the path it names a file's content; overwritten is another stamp."""

STATE_NAME = "state.json"
FILES_NAME = "files.jsonl"


@dataclass
class OpenFile:
    """The file that is being read. ``accepted``: its images that became frames; ``deaths``: how many processes ended
    while they read it."""

    path: str
    stamp: Stamp
    accepted: int = 0
    deaths: int = 0


class Journal:
    """The session's memory, written by the acquisition process and read by the one that follows it.

    :param folder: the working folder; made by Slicer's side, which also removes it.
    """

    def __init__(self, folder: str) -> None:
        self.numbers: dict[str, int] = {}
        """Next frame number of each stream."""
        self.rejected = 0
        self.listed = False
        """True once the files that were there at start are known."""
        self.done: dict[str, Stamp] = {}
        """Path to the stamp with which a file was finished or passed over."""
        self.interrupted: OpenFile | None = None
        """The file that an earlier process was reading when it ended."""
        self._open: OpenFile | None = None
        self._stateLength = 0
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
        self._state = os.open(os.path.join(folder, STATE_NAME), flags, 0o600)
        self._files = os.open(os.path.join(folder, FILES_NAME), flags | os.O_APPEND, 0o600)
        self._load(os.path.join(folder, FILES_NAME))

    def _load(self, filesPath: str) -> None:
        text = os.read(self._state, 1 << 20)
        self._stateLength = len(text)
        if text.strip():
            state = json.loads(text)
            self.numbers, self.rejected, self.listed = state["numbers"], state["rejected"], state["listed"]
            if state["open"]:
                path, size, mtime, accepted, deaths = state["open"]
                self.interrupted = OpenFile(path, (size, mtime), accepted, deaths + 1)
        with open(filesPath, "rb") as lines:
            for line in lines:
                if line.endswith(b"\n"):
                    path, size, mtime = json.loads(line)
                    self.done[path] = (size, mtime)
        if self.interrupted and self.done.get(self.interrupted.path) == self.interrupted.stamp:
            self.interrupted = None

    def passOver(self, files: dict[str, Stamp]) -> None:
        """Note the files that are there at start and are not wanted; from now on every other file is new."""
        self.done.update(files)
        self._append(files)
        self.listed = True
        self._save()

    def begin(self, path: str, stamp: Stamp) -> OpenFile:
        """Note that a file is about to be read; tells what earlier processes made of it."""
        before = self.interrupted
        if before and (before.path, before.stamp) == (path, stamp):
            self._open = before
        else:
            self._open = OpenFile(path, stamp)
        self._save()
        return self._open

    def leave(self) -> None:
        """Note that the file is put aside, and that a death from now on is none of its doing."""
        self._open = None
        self._save()

    def accept(self, stream: str) -> int:
        """The number of the next frame of a stream, which from now on counts as received."""
        number = self.numbers.get(stream, 0)
        self.numbers[stream] = number + 1
        if self._open:
            self._open.accepted += 1
        self._save()
        return number

    def finish(self, path: str, stamp: Stamp, rejected: bool = False) -> None:
        """Note that nothing more is wanted of a file until its stamp changes."""
        self.done[path] = stamp
        self.rejected += rejected
        self._append({path: stamp})
        self._open = None
        self._save()

    def close(self) -> None:
        """Close both files."""
        os.close(self._state)
        os.close(self._files)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, files: dict[str, Stamp]) -> None:
        os.write(self._files, "".join(json.dumps([path, *stamp]) + "\n" for path, stamp in files.items()).encode())

    def _save(self) -> None:
        # Padded to the longest state so far: a shorter text must leave nothing of a longer one behind it.
        opened = self._open
        state = {
            "numbers": self.numbers,
            "rejected": self.rejected,
            "listed": self.listed,
            "open": opened and [opened.path, *opened.stamp, opened.accepted, opened.deaths],
        }
        text = json.dumps(state).encode()
        self._stateLength = max(self._stateLength, len(text))
        os.lseek(self._state, 0, os.SEEK_SET)
        os.write(self._state, text.ljust(self._stateLength))
