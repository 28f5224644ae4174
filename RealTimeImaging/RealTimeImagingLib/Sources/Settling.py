"""Whether a file that was seen is whole, decided by what its format declares and never by a fixed wait."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from ..Errors import NotAnImageError
from ..Journal import Stamp
from ..Readers import ImageFile, openImageFile
from .Listing import naturalOrder, stampOf
from .Writers import beingWritten

QUIET = 0.2
"""Seconds without change after which a file counts as closed where the system cannot tell."""
RECHECK = (0.05, 0.5)
"""Shortest and longest time in seconds until a file that did not change is looked at again."""


@dataclass(frozen=True)
class Whole:
    """The file is whole: here is its reader, and the stamp it was whole with."""

    reader: ImageFile
    stamp: Stamp


@dataclass(frozen=True)
class Waiting:
    """Something is missing; ``why`` says what was expected and what came."""

    why: str


@dataclass(frozen=True)
class Bad:
    """The file will never be an image."""

    why: str
    code: str


@dataclass(frozen=True)
class Gone:
    """The file is not there any more."""


class Candidate:
    """A file on its way to being whole.

    :param path: the file.
    :param now: monotonic time in seconds, as everywhere in this class.
    """

    def __init__(self, path: str, now: float) -> None:
        self.path = path
        self.order = naturalOrder(path)
        self.due = now
        self.why = "it has just been seen"
        self.reported = False
        """True once it was reported as not complete."""
        self._reader: ImageFile | None = None
        self._stamps: tuple[Stamp | None, ...] = ()
        self._changed = now
        self._changes = 0

    @property
    def stamp(self) -> Stamp | None:
        """The file's stamp at the last look."""
        return self._stamps[0] if self._stamps else None

    def quiet(self, now: float) -> float:
        """Seconds since the file, or a file it names, last changed."""
        return now - self._changed

    def changed(self) -> bool:
        """Whether the file, or a file it names, is another than at the last look."""
        return self._stampsNow() != self._stamps

    def look(self, now: float) -> Whole | Waiting | Bad | Gone:
        """Look at the file once."""
        stamp = stampOf(self.path)
        if stamp is None:
            return Gone()
        self._notice(now)
        verdict = self._judge(stamp, now)
        if isinstance(verdict, Waiting):
            self.why = verdict.why
            shortest, longest = RECHECK
            self.due = now + min(longest, max(shortest, self.quiet(now) / 4))
        return verdict

    def _judge(self, stamp: Stamp, now: float) -> Whole | Waiting | Bad:
        kept = self._reader is not None
        try:
            reader = self._reader or openImageFile(self.path)
            self._reader = reader
            missing = reader.missing()
        except NotAnImageError as error:
            self._reader = None
            if kept:
                # What the reader saw before may have been overwritten since: judge the file as it is now.
                return self._judge(stamp, now)
            return Bad(str(error), error.code) if self._written(now) else Waiting(str(error))
        except OSError as error:
            self._reader = None
            return Waiting(f"it cannot be read: {error.strerror or error}")
        if missing is not None:
            return Waiting(missing)
        seen = self._stamps
        closed = reader.sealed or self._written(now)
        if self._stamps[: len(seen)] != seen:
            # What the reader knows is of the file before.
            self._reader = None
            return Waiting("it was overwritten while it was looked at")
        return Whole(reader, self.stamp or stamp) if closed else Waiting("another program has it open for writing")

    def _notice(self, now: float) -> None:
        stamps = self._stampsNow()
        if stamps != self._stamps:
            shrunk = any(old and new and new[0] < old[0] for old, new in zip(self._stamps, stamps, strict=False))
            if shrunk:
                self._reader = None
            # Its header just named more files: they are new to us, but the file did not change.
            if stamps[: len(self._stamps)] != self._stamps or not self._stamps:
                self._changes += 1
            self._stamps, self._changed = stamps, now

    def _stampsNow(self) -> tuple[Stamp | None, ...]:
        return tuple(stampOf(path) for path in self._files())

    def _files(self) -> tuple[str, ...]:
        return self._reader.files if self._reader else (self.path,)

    def _written(self, now: float) -> bool:
        self._notice(now)
        for path in self._files():
            try:
                open_ = beingWritten(path)
            except OSError:
                return False
            renamed = self._changes == 1 and _renamed(path)
            if open_ or (open_ is None and self.quiet(now) < QUIET and not renamed):
                return False
        return True


def _renamed(path: str) -> bool:
    # Writing sets both times, renaming only the change time; on Windows that field is the time of creation.
    if sys.platform == "win32":
        return False
    try:
        status = os.stat(path)
    except OSError:
        return False
    return status.st_ctime_ns > status.st_mtime_ns
