"""Append log under frames and device messages: claim a name, append entries, note gaps, scan lines, keep a manifest.

A log is one or more files that grow together, for example pixels and their lines. An entry is acknowledged when all its
bytes are written; killing the process afterwards does not lose it.
"""

from __future__ import annotations

import errno
import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from ..Model.Errors import FrameError, RecordingError
from ..Model.Event import Event
from ..Model.Files import openPrivate, openRegular, parsedJSON, reasonOf, replaceFile, writeAll
from ..Model.Text import textsOf
from .Header import checkAttributes
from .Layout import LOCK, MANIFEST, nothingIsNamed
from .Lines import Missed, checkNumbers
from .Lock import Lock

_ = textsOf(__file__)

CHECK_EVERY = 0.1
"""Seconds between two checks that the files still exist: one check costs more than writing the line of a frame."""
_FLAGS = os.O_RDWR | getattr(os, "O_BINARY", 0)

Entry = TypeVar("Entry")


class FilesGone(OSError):
    """The files of a log were removed or replaced while their folder exists."""


class AppendLog:
    """New files that grow together, entry by entry.

    :param folder: folder of the recording.
    :param lock: lock of the recording.
    :param name: name of the files without suffix.
    :param suffixes: suffixes of the files; the last file holds the lines. No file of these names may exist.
    :param first: first line of the last file.
    :raises FileExistsError: a name is taken.
    :raises OSError: the files cannot be made.
    """

    def __init__(self, folder: str, lock: Lock, name: str, suffixes: Sequence[str], first: bytes) -> None:
        self.folder, self.lock, self.name = folder, lock, name
        self.count = 0
        """Acknowledged entries."""
        self.firstNumber = self.lastNumber = -1
        """Numbers of the first and the last acknowledged entry, -1 without one."""
        self.gone = False
        """Whether an append found the files removed or replaced."""
        self._lost = False
        self._paths = [self.path(suffix) for suffix in suffixes]
        self._sizes = [0] * len(self._paths)
        self._handles: list[int] = []
        self._checkAt = 0.0
        try:
            for path in self._paths:
                self._handles.append(openPrivate(path, _FLAGS | os.O_CREAT | os.O_EXCL))
            writeAll(self._handles[-1], first)
        except OSError:
            del self._paths[len(self._handles) :]  # the others are files of another process
            self.discard()
            raise
        self._sizes[-1] = len(first)

    def path(self, suffix: str) -> str:
        """Return the path of the log's file with this suffix."""
        return os.path.join(self.folder, self.name + suffix)

    @property
    def size(self) -> int:
        """Acknowledged bytes of the first file."""
        return self._sizes[0]

    @property
    def whole(self) -> bool:
        """Whether the first file holds all acknowledged bytes; True when the file system cannot answer."""
        try:
            found = os.stat(self._paths[0])
            replaced = not os.path.samestat(os.fstat(self._handles[0]), found) if self._handles else self.taken
            return not self._lost and not replaced and found.st_size >= self.size
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True

    @property
    def taken(self) -> bool:
        """Whether another recorder took the name after the files were removed: its lock or manifest tells."""
        base, path = self.lock.path.removesuffix(LOCK), self.path("")
        if self.lock.taken or (not os.path.lexists(self.lock.path) and os.path.lexists(base + MANIFEST)):
            return True
        # The recording has the files of its parts, but only one lock and one manifest.
        return path != base and any(os.path.lexists(path + suffix) for suffix in (LOCK, MANIFEST))

    def write(self, number: int, *data: bytes | memoryview) -> None:
        """Append one entry; when the call returns, the entry is acknowledged.

        :param number: number of the entry.
        :param data: bytes for each file.
        :raises FilesGone: the files were removed or replaced; noticed within CHECK_EVERY.
        :raises OSError: the entry cannot be written; the files are cut back now or with the next entry.
        """
        try:
            if not self._handles:
                self._reopen()
            elif time.monotonic() >= self._checkAt:
                self._check()
            for handle, part in zip(self._handles, data, strict=True):
                writeAll(handle, part)
        except FileNotFoundError as error:
            if removed := os.path.isdir(self.folder):
                self.gone, self._lost = True, not self.whole
            self.rest()
            if removed:
                raise FilesGone(error.errno, "the files were removed while they grew", self._paths[0]) from error
            raise
        except OSError:
            try:
                self._cut()
            except OSError:
                pass  # the next entry cuts again, and so does a repair
            self.rest()
            raise
        sizes = zip(self._sizes, data, strict=True)
        self._sizes = [size + (len(part) if isinstance(part, bytes) else part.nbytes) for size, part in sizes]
        self.count += 1
        if self.firstNumber < 0:
            self.firstNumber = number
        self.lastNumber = number

    def rest(self) -> None:
        """Close the files until the next entry, which opens them again."""
        for handle in self._handles:
            try:
                os.close(handle)
            except OSError:
                pass  # a network share may report an earlier error here; the next entry counts the bytes
        self._handles = []

    def trim(self) -> None:
        """Remove what follows the acknowledged bytes of the first file.

        :raises FilesGone: the file is another recorder's.
        :raises OSError: the file cannot be cut.
        """
        if self.taken:
            raise FilesGone(errno.ENOENT, "another recorder has taken the name", self._paths[0])
        cutFile(self._paths[0], self.size)

    def discard(self) -> bool:
        """Remove the files, unless they are another recorder's; return False when one cannot be removed now."""
        self.rest()
        if self.taken:
            return True
        removed = True
        # The lines come last: a repair keeps pixels without lines.
        for path in self._paths:
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass
            except OSError:
                removed = False
        return removed

    def _check(self) -> None:
        # Writing to a removed file succeeds, and the bytes are lost.
        for handle, path, size in zip(self._handles, self._paths, self._sizes, strict=True):
            opened = os.fstat(handle)
            if opened.st_size < size or not os.path.samestat(opened, os.stat(path)):
                raise FileNotFoundError(f"{path} was replaced or cut")
        self._checkAt = time.monotonic() + CHECK_EVERY

    def _reopen(self) -> None:
        try:
            for path in self._paths:
                self._handles.append(os.open(path, _FLAGS))
            if self.taken:
                raise FileNotFoundError(f"{self._paths[0]} is another recorder's")
            self._check()
        except OSError:
            self.rest()  # nothing may cut files that are perhaps another recorder's
            raise
        self._cut()

    def _cut(self) -> None:
        for handle, size in zip(self._handles, self._sizes, strict=False):  # none may be open
            os.ftruncate(handle, size)
            os.lseek(handle, size, os.SEEK_SET)


def claimName(folder: str, names: Iterable[str]) -> tuple[Lock, str]:
    """Claim the first of these base names that no recording uses.

    :param names: endless sequence of names.
    :returns: the lock of the name, and the name.
    :raises OSError: the lock cannot be made.
    """
    for name in names:
        if not nothingIsNamed(folder, name):
            continue
        lock = Lock.claim(os.path.join(folder, name + LOCK))
        if lock and nothingIsNamed(folder, name, besides=LOCK):
            return lock, name
        # Another process recorded under this name and finished between the two checks.
        if lock:
            lock.release(remove=True)
    raise AssertionError("the names are endless")


class LogRecorder(ABC, Generic[Entry]):
    """Stores the entries of one log of a recording, counts failures and reports gaps. Called from one thread.

    :param folder: must exist by the first entry, otherwise that entry fails.
    :param subject: words for the entries' owner in events.
    :param attributes: attributes of the recording; names matching ATTRIBUTE_NAME.
    :raises RecordingError: an attribute's name or value cannot be stored.
    """

    noun: ClassVar[str]
    """Word for one entry in events. ``nouns``: for several."""
    nouns: ClassVar[str]

    def __init__(self, folder: str, subject: str, attributes: Mapping[str, str]) -> None:
        checkAttributes(attributes)
        self.folder, self.attributes = folder, dict(attributes)
        self.recorded = 0
        """Stored entries. Entries in files that were removed later count as failed."""
        self.failed = 0
        self.losses: dict[str, int] = {}
        """Number of failed entries by reason."""
        self.gaps: list[Missed] = []
        """Failed entries, without a gap that still grows."""
        self.unfinished = ""
        """Reason why files could not be closed, so that a repair must do it; empty when all are closed."""
        self._subject = subject
        self._gap: Missed | None = None
        self._events: list[Event] = []
        self._results: list[str] | None = None

    def append(self, entry: Entry) -> bool:
        """Store an entry. File system errors never raise.

        :returns: True when the entry is acknowledged; False when it failed and is counted. Later entries are tried
            again.
        :raises RecordingError: the recording is finished.
        """
        if self._results is not None:
            raise RecordingError(_("The recording of {subject} is finished.").format(subject=self._subject))
        number = self._numberOf(entry)
        try:
            try:
                self._store(number, entry)
            except FilesGone:
                self._dropLost()
                self._store(number, entry)
        except (OSError, FrameError) as error:
            self._fail(number, reasonOf(error))
            return False
        self._endGap()
        return True

    def events(self) -> list[Event]:
        """Take the events since the last call: "recording-failed" when storing begins to fail, "recording-gap" when it
        works again or the recording ends, "recording-unfinished" when a repair must finish the files."""
        events, self._events = self._events, []
        return events

    def finish(self) -> list[str]:
        """Close the files. A second call returns the same and does nothing.

        :returns: the paths by which the recording is opened.
        """
        if self._results is None:
            self._dropLost()
            self._endGap()
            self._results = self._close()
        return self._results

    @abstractmethod
    def _numberOf(self, entry: Entry) -> int:
        """Return the number of a new entry."""

    @abstractmethod
    def _store(self, number: int, entry: Entry) -> None:
        """:raises FilesGone, OSError, FrameError: the entry is not stored."""

    @abstractmethod
    def _dropLost(self) -> None:
        """Give up files that were removed or cut, and count their entries with :meth:`_countLost`."""

    @abstractmethod
    def _close(self) -> list[str]:
        """Close the files and return the paths by which the recording is opened."""

    def _countLost(self, log: AppendLog, reason: str) -> None:
        """Count the entries of a lost file as failed."""
        if log.count:
            self.recorded -= log.count
            self.failed += log.count
            self.losses[reason] = self.losses.get(reason, 0) + log.count
            self._reportGap(Missed(log.firstNumber, log.lastNumber, log.count, reason))

    def _fail(self, number: int, reason: str) -> None:
        self.failed += 1
        self.losses[reason] = self.losses.get(reason, 0) + 1
        if self._gap:
            self._gap = Missed(self._gap.first, number, self._gap.count + 1, self._gap.reason)
            return
        self._gap = Missed(number, number, 1, reason)
        text = _("Not stored in {folder}: {subject} from {noun} {number} on: {reason}.").format(
            folder=self.folder, noun=self.noun, number=number, subject=self._subject, reason=reason.rstrip(".")
        )
        self._events.append(Event("recording-failed", text, "error", self.folder))

    def _endGap(self) -> None:
        if self._gap:
            self._reportGap(self._gap)
        self._gap = None

    def _reportGap(self, gap: Missed) -> None:
        self.gaps.append(gap)
        text = _("Not stored in {folder}: {entries} of {subject}: {reason}.").format(
            folder=self.folder,
            entries=gap.words(self.noun, self.nouns),
            subject=self._subject,
            reason=gap.reason.rstrip("."),
        )
        self._events.append(Event("recording-gap", text, "error", self.folder))

    def _reportUnfinished(self, path: str, error: OSError) -> None:
        self.unfinished = reasonOf(error)
        text = _("{path} cannot be written: {reason}. All {nouns} are stored; a repair finishes the recording.")
        text = text.format(path=path, reason=self.unfinished, nouns=self.nouns)
        self._events.append(Event("recording-unfinished", text, "error", path))


@dataclass
class Scan:
    """Extent of the undamaged lines of a file."""

    size: int = 0
    """Bytes of the file."""
    whole: int = 0
    """Bytes of the lines before the first damaged line."""
    damaged: int = 0
    """Number of the first damaged line, from 1; 0 when no line is damaged."""
    between: bool = False
    """Whether an undamaged line follows the damaged line."""


def scanLines(path: str, take: Callable[[int, bytes], None], parse: Callable[[bytes], object]) -> Scan:
    """Read the lines of a file up to the first damaged line; an unfinished last line is ignored.

    :param take: called with the place (from 0) and the text of each line; raises ValueError for a damaged line.
    :param parse: raises ValueError for a damaged line.
    :raises OSError: the file cannot be read.
    """
    found = Scan()
    with openRegular(path) as file:
        for place, text in enumerate(file):
            found.size += len(text)
            if not text.endswith(b"\n"):
                break
            try:
                if found.damaged:
                    parse(text)
                    found.between = True
                    break
                take(place, text)
                found.whole += len(text)
            except ValueError:
                found.damaged = found.damaged or place + 1
    return found


def readManifest(path: str, base: str) -> dict[str, Any] | None:
    """Read the manifest of a recording; None when there is none.

    :param base: base name of the recording's files.
    :raises ValueError: the manifest is damaged or belongs to another recording.
    :raises OSError: the file cannot be read.
    """
    try:
        with openRegular(path) as file:
            manifest = parsedJSON(file.read())
    except FileNotFoundError:
        return None
    if not isinstance(manifest, dict) or manifest.get("recording") != base:
        raise ValueError(_("{name} is not the manifest of {base}").format(name=os.path.basename(path), base=base))
    try:
        for gap in manifest["gaps"]:
            checkNumbers(gap["first"], gap["last"], gap["count"])
            str(gap["reason"])
        checkNumbers(manifest["recorded"], manifest.get("cutBytes", 0))
        if not isinstance(manifest.get("damaged", []), list):
            raise ValueError(_("The damaged lines are not a list."))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(_("{name} is damaged").format(name=os.path.basename(path))) from error
    return manifest


def writeManifest(path: str, manifest: Mapping[str, Any]) -> None:
    """Write a manifest.

    :raises OSError: it cannot be written; an earlier manifest stays.
    """
    replaceFile(path, json.dumps(manifest, indent=2).encode("ascii") + b"\n")


def cutFile(path: str, size: int) -> None:
    """Remove what follows the first ``size`` bytes of a file.

    :raises OSError: the file is missing or cannot be cut, or is a link, which leads to a file of the user.
    """
    if os.path.getsize(path) <= size:
        return
    if os.path.islink(path):
        text = _("{name} is a link to a file with more bytes than the recording, and no such file is cut")
        raise OSError(errno.EINVAL, text.format(name=os.path.basename(path)), path)
    os.truncate(path, size)
