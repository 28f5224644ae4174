"""Decide whether a file is complete.

It is complete when everything that its format declares is there, and when one of these holds:

1. The content marks its own end: gzip, PNG, JPEG, compressed DICOM.
2. The system says that no program has the file open for writing: Linux, Windows, macOS (see Writers.py).
3. The system does not know (network shares, files of other users), and the file was renamed into place on a local disk
   of Linux, is DICOM, or did not change for QUIET seconds.

In case 3 a file whose last bytes are all zero may be preallocated: it counts as complete after QUIET seconds (DICOM) or
QUIET_ZEROS seconds without change.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from dataclasses import dataclass

from ...Formats import ImageFile, isDICOM, openImageFile
from ...Model.Errors import NotAnImageError
from ...Model.Files import Stamp, naturalOrder
from .Listing import versionOf
from .OpenFiles import isOpenForWriting

QUIET = 2.0
"""Seconds without change after which a file counts as closed where the system cannot tell."""
QUIET_ZEROS = 10.0
"""The same for a file that ends with zeros, as the rest of a preallocated file does."""
TAIL = 64
"""Last bytes of a file that are looked at for zeros."""
UNREADABLE_AFTER = 0.5
"""Seconds after which a file that cannot be read is reported: its writer may still set its permissions."""
_WINDOWS_LOCKED = (32, 33)
"""ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION."""
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
class Unreadable:
    """A file that the system does not let us read now; ``why`` is its reason.

    :param exhausted: True when too many files are open; the file itself may be fine.
    """

    why: str
    exhausted: bool


@dataclass(frozen=True)
class Bad:
    """The file will never be an image."""

    why: str
    code: str


@dataclass(frozen=True)
class Gone:
    """The file is not there any more."""


class PendingFile:
    """A file on its way to being whole.

    :param path: the file.
    :param now: monotonic time in seconds, as everywhere in this class.
    """

    def __init__(self, path: str, now: float) -> None:
        self.path = path
        self.order = naturalOrder(path)
        self.due = now
        self.why = "it has just been seen"
        self.reported = ""
        """The code of the event that reported it; empty before."""
        self.unreadable = False
        """True when the system did not let us read it at the last look."""
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

    def words(self, name: str) -> str:
        """The problem found at the last look, with the file's name; without a full stop."""
        why = self.why.rstrip(".")
        return f"{name} is not readable ({why})" if self.unreadable else f"{name} is not complete: {why}"

    def changed(self) -> bool:
        """Whether the file, or a file it names, is another than at the last look."""
        return self._stampsNow() != self._stamps

    def look(self, now: float) -> Whole | Waiting | Unreadable | Bad | Gone:
        """Look at the file once."""
        stamp = versionOf(self.path)
        if stamp is None:
            return Gone()
        self._notice(now)
        verdict = self._judge(stamp, now)
        self.unreadable = isinstance(verdict, Unreadable)
        if isinstance(verdict, Waiting | Unreadable):
            self._wait(verdict.why, now)
        return verdict

    def unreadableNow(self, error: OSError, now: float) -> Unreadable:
        """The verdict when the images of a complete file cannot be read."""
        verdict = _unreadable(error)
        self.unreadable = True
        self._wait(verdict.why, now)
        return verdict

    def _wait(self, why: str, now: float) -> None:
        self.why = why
        shortest, longest = RECHECK
        wait = min(longest, max(shortest, self.quiet(now) / 4))
        rest = [end - self.quiet(now) for end in (QUIET, QUIET_ZEROS) if end > self.quiet(now)]
        self.due = now + min([wait, *rest])

    def _judge(self, stamp: Stamp, now: float) -> Whole | Waiting | Unreadable | Bad:
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
            return Waiting(str(error)) if self._mayBeWritten(now, None) else Bad(str(error), error.code)
        except FileNotFoundError:
            return Waiting("it has just been removed")
        except OSError as error:
            self._reader = None
            if getattr(error, "winerror", None) in _WINDOWS_LOCKED:
                return Waiting("another program has it open for writing")
            return _unreadable(error)
        if missing is not None:
            return Waiting(missing)
        seen = self._stamps
        writing = None if reader.sealed else self._mayBeWritten(now, reader)
        if self._stamps[: len(seen)] != seen:
            # What the reader knows is of the file before.
            self._reader = None
            return Waiting("it was overwritten while it was looked at")
        return Waiting(writing) if writing else Whole(reader, self.stamp or stamp)

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
        return tuple(versionOf(path) for path in self._files())

    def _files(self) -> tuple[str, ...]:
        return self._reader.files if self._reader else (self.path,)

    def _mayBeWritten(self, now: float, reader: ImageFile | None) -> str | None:
        """Reason why a program may still write the file, or a data file that it names; None when no program does.

        :param reader: None when the content is not an image so far.
        """
        self._notice(now)
        for path in self._files():
            try:
                if not stat.S_ISREG(os.stat(path).st_mode):
                    continue  # a pipe or device, which will never be an image
                writing = isOpenForWriting(path)
                if writing:
                    return "another program has it open for writing"
                wait = 0.0 if writing is False else self._quietNeeded(path, reader)
            except OSError as error:
                return f"it is unknown whether a program still writes it ({error.strerror or error})"
            if self.quiet(now) < wait:
                return f"a program may still write it: it counts as whole after {wait:.0f} s without change"
        return None

    def _quietNeeded(self, path: str, reader: ImageFile | None) -> float:
        # Seconds without change where the system cannot tell of a writer.
        if reader is None:
            return QUIET
        # The header of voxels in another file may end with zeros.
        zeros = (path != self.path or len(self._files()) == 1) and _endsWithZeros(path)
        if isDICOM(reader):
            return QUIET if zeros else 0.0
        if zeros:
            return QUIET_ZEROS
        return 0.0 if self._changes == 1 and _renamed(path) else QUIET


def _unreadable(error: OSError) -> Unreadable:
    return Unreadable(error.strerror or str(error), error.errno in (errno.EMFILE, errno.ENFILE))


def _endsWithZeros(path: str) -> bool:
    # Opening the file makes the client of a share ask the server for its size.
    with open(path, "rb", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL))
        return not any(file.read(TAIL))


def _renamed(path: str) -> bool:
    # Writing sets both times, renaming only the change time. Some servers update the modification time late, so this
    # counts on local disks only, which have a device number of their own.
    if sys.platform != "linux":
        return False
    try:
        status = os.stat(path)
    except OSError:
        return False
    return status.st_ctime_ns > status.st_mtime_ns and os.major(status.st_dev) > 0
