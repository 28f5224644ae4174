"""Decide whether a file is complete.

It is complete when it holds everything that its format declares, and when one of these is true:

1. The content marks its own end: gzip, PNG, JPEG, compressed DICOM.
2. The system says that no program has the file open for writing: Linux, Windows, macOS (see OpenFiles.py).
3. The system cannot tell (network shares, files of other users), and the file was renamed into place on a local disk
   of Linux, is DICOM, or did not change for QUIET seconds.

In case 3 a file whose last bytes are all zero may be preallocated: it counts as complete after QUIET seconds (DICOM) or
QUIET_ZEROS seconds without change.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from dataclasses import dataclass
from typing import TypeAlias

from ...Formats import ImageFile, dicomOf, openImageFile
from ...Model.Errors import NotAnImageError
from ...Model.Files import Stamp, naturalOrder, reasonOf
from ...Model.SharedFiles import longPath, openShared
from ...Model.Text import sentence, textsOf
from .Listing import isBroken, versionOf
from .OpenFiles import isOpenForWriting

_ = textsOf(__file__)

QUIET = 2.0
"""Seconds without change after which a file counts as closed where the system cannot tell."""
QUIET_ZEROS = 10.0
"""The same for a file that ends with zeros, as the rest of a preallocated file does."""
TAIL = 64
"""Number of last bytes that are tested for zeros."""
UNREADABLE_AFTER = 0.5
"""Seconds after which a file that cannot be read is reported: its writer may still set its permissions."""
_WINDOWS_LOCKED = (32, 33)
"""ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION."""
RECHECK = (0.05, 0.5)
"""Shortest and longest time in seconds until the next check of a file that did not change."""


@dataclass(frozen=True)
class Complete:
    """A complete file.

    :param stamp: of the complete file.
    """

    reader: ImageFile
    stamp: Stamp


@dataclass(frozen=True)
class Waiting:
    """A file that is not complete yet; ``why`` says what was expected and what is there."""

    why: str


@dataclass(frozen=True)
class Unreadable:
    """A file that cannot be read now; ``why`` is the reason of the system.

    :param exhausted: True when too many files are open; the file itself may be fine.
    """

    why: str
    exhausted: bool


@dataclass(frozen=True)
class Bad:
    """A file that will never be an image."""

    why: str
    code: str


@dataclass(frozen=True)
class Gone:
    """A file that was removed."""


_Verdict: TypeAlias = Complete | Waiting | Unreadable | Bad


class PendingFile:
    """A file that is not complete yet.

    :param path: the file.
    :param now: monotonic time in seconds, as everywhere in this class.
    """

    def __init__(self, path: str, now: float) -> None:
        self.path = path
        self.seen = time.time()
        """Seconds since the epoch (UTC) at which the file was found."""
        self.order = naturalOrder(path)
        self.due = now
        self.since = now
        """Time at which the file was seen first."""
        self.why: str = _("it has just arrived")
        self.reported = ""
        """Code of the event that reported the file; empty when none did."""
        self.unreadable = False
        """True when the last check could not read the file."""
        self._reader: ImageFile | None = None
        self._stamps: tuple[Stamp | None, ...] = ()
        self._changed = now
        self._changes = 0

    @property
    def stamp(self) -> Stamp | None:
        """Stamp of the file at the last check."""
        return self._stamps[0] if self._stamps else None

    def quiet(self, now: float) -> float:
        """Return the seconds since the file, or a file that it names, last changed."""
        return now - self._changed

    def words(self, name: str) -> str:
        """Return a sentence with the file's name and the problem of the last check."""
        if self.unreadable:
            text = _("{name} cannot be read ({why}). Check its permissions and its disk.")
            return text.format(name=name, why=self.why)
        return _("{name} is not complete: {why}").format(name=name, why=sentence(self.why))

    def changed(self) -> bool:
        """Return True when the file, or a file that it names, was replaced or changed since the last check."""
        return self._stampsNow() != self._stamps

    def check(self, now: float) -> _Verdict | Gone:
        """Check the file once."""
        stamp = versionOf(self.path)
        if stamp is None:
            return Gone()
        self._notice(now)
        if isBroken(stamp):
            verdict: _Verdict = Unreadable(_("it is a link that leads to no file"), False)
        else:
            verdict = self._judge(stamp, now)
        self.unreadable = isinstance(verdict, Unreadable)
        if isinstance(verdict, Waiting | Unreadable):
            self._wait(verdict.why, now)
        return verdict

    def unreadableNow(self, error: OSError, now: float) -> Unreadable:
        """Return the verdict on a complete file with images that cannot be read."""
        verdict = _unreadable(error)
        self.unreadable = True
        self._wait(verdict.why, now)
        return verdict

    def _wait(self, why: str, now: float) -> None:
        self.why = why
        shortest, longest = RECHECK
        wait = min(longest, max(shortest, self.quiet(now) / 4))
        remaining = [end - self.quiet(now) for end in (QUIET, QUIET_ZEROS) if end > self.quiet(now)]
        self.due = now + min([wait, *remaining])

    def _judge(self, stamp: Stamp, now: float) -> _Verdict:
        cached = self._reader is not None
        try:
            reader = self._reader or openImageFile(self.path)
            self._reader = reader
            missing = reader.missing()
        except NotAnImageError as error:
            self._reader = None
            if cached:
                # The file may have been overwritten after the reader read its header: read it again.
                return self._judge(stamp, now)
            return Waiting(str(error)) if self._mayBeWritten(now, None) else Bad(str(error), error.code)
        except FileNotFoundError:
            return Waiting(_("it has just been removed"))
        except OSError as error:
            self._reader = None
            if getattr(error, "winerror", None) in _WINDOWS_LOCKED:
                return Waiting(_("another program has it open for writing"))
            return _unreadable(error)
        if missing is not None:
            return Waiting(missing)
        seen = self._stamps
        writing = None if reader.sealed else self._mayBeWritten(now, reader)
        if self._stamps[: len(seen)] != seen:
            # The reader has read the previous file.
            self._reader = None
            return Waiting(_("it was overwritten while it was checked"))
        return Waiting(writing) if writing else Complete(reader, self.stamp or stamp)

    def _notice(self, now: float) -> None:
        stamps = self._stampsNow()
        if stamps != self._stamps:
            shrunk = any(old and new and new[0] < old[0] for old, new in zip(self._stamps, stamps, strict=False))
            if shrunk:
                self._reader = None
            # A header that names more files is no change of the file.
            if stamps[: len(self._stamps)] != self._stamps or not self._stamps:
                self._changes += 1
            self._stamps, self._changed = stamps, now

    def _stampsNow(self) -> tuple[Stamp | None, ...]:
        return tuple(versionOf(path) for path in self._files())

    def _files(self) -> tuple[str, ...]:
        return self._reader.files if self._reader else (self.path,)

    def _mayBeWritten(self, now: float, reader: ImageFile | None) -> str | None:
        """Return why a program may still write the file, or a data file that it names; None when no program does.

        :param reader: None when the content is not an image so far.
        """
        self._notice(now)
        for path in self._files():
            try:
                if not stat.S_ISREG(os.stat(longPath(path)).st_mode):
                    continue  # a pipe or device, which will never be an image
                writing = isOpenForWriting(path)
                if writing:
                    return _("another program has it open for writing")
                wait = 0.0 if writing is False else self._quietNeeded(path, reader)
            except OSError as error:
                text = _("it is unknown whether a program still writes it ({reason})")
                return text.format(reason=reasonOf(error))
            if self.quiet(now) < wait:
                text = _("a program may still write it: it counts as complete after {seconds:.0f} s without change")
                return text.format(seconds=wait)
        return None

    def _quietNeeded(self, path: str, reader: ImageFile | None) -> float:
        # Seconds without change where the system does not report writers.
        if reader is None:
            return QUIET
        # The header of voxels in another file may end with zeros.
        zeros = (path != self.path or len(self._files()) == 1) and _endsWithZeros(path)
        if dicomOf(reader):
            return QUIET if zeros else 0.0
        if zeros:
            return QUIET_ZEROS
        return 0.0 if self._changes == 1 and _renamed(path) else QUIET


def _unreadable(error: OSError) -> Unreadable:
    return Unreadable(reasonOf(error), error.errno in (errno.EMFILE, errno.ENFILE))


def _endsWithZeros(path: str) -> bool:
    # Opening the file makes the client of a share ask the server for its size.
    with openShared(path, buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL))
        return not any(file.read(TAIL))


def _renamed(path: str) -> bool:
    # Writing sets both times, renaming only the change time. Some servers update the modification time late. So this
    # works on local disks only, which have a device number of their own.
    if sys.platform != "linux":
        return False
    try:
        status = os.stat(path)
    except OSError:
        return False
    return status.st_ctime_ns > status.st_mtime_ns and os.major(status.st_dev) > 0
