"""Files: access rights, writing and removing, reasons of errors, stamps, order of names, text from outside."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import struct
import sys
import time
import zlib
from collections.abc import Iterable
from io import BufferedReader
from typing import Any
from xml.etree import ElementTree

from .Errors import RealTimeImagingError
from .SharedFiles import LONGEST
from .Text import Text, sentence, textsOf

_ = textsOf(__file__)

GROUP_VARIABLE = "REALTIMEIMAGING_GROUP_READ"
UNFINISHED = ".tmp"
"""Added to a name until the file is complete."""
_BUFFER = 1 << 16
"""Bytes of a file that are written at once."""
LONGEST_MOVE = 0.3
"""Seconds for which a file of Windows may be in use before it cannot be renamed."""
LONGEST_ACCESS = 3
"""Seconds that an access to a file takes before the user is told."""
LONGEST_NAME = 60
"""Characters that are shown of a missing name."""
_REASONS = {
    "ENOSPC": _("disk full"),
    "EDQUOT": _("disk quota used up"),
    "EROFS": _("the disk is read-only"),
    "EACCES": _("permission denied"),
    "EPERM": _("permission denied"),
    "ENOENT": _("the folder or a file in it is gone"),
    "ENOTDIR": _("the folder is a file"),
    "EEXIST": _("a file has the name of a folder"),
    "EIO": _("the disk reports an error"),
    "ENODEV": _("the disk is gone"),
    "ENXIO": _("the disk is gone"),
    "EMFILE": _("too many files are open in this process"),
    "ENFILE": _("too many files are open on this computer"),
    "EFBIG": _("the file is too large for the disk or for the limit of this process"),
    "ENAMETOOLONG": _("the name is too long"),
    "ETIMEDOUT": _("no answer in time"),
    "EHOSTUNREACH": _("no route to that computer"),
    "EHOSTDOWN": _("that computer is off"),
    "ENETUNREACH": _("no route to that network"),
    "ENETDOWN": _("the network is down"),
    "ECONNREFUSED": _("connection refused"),
    "ECONNRESET": _("the other side reset the connection"),
    "ECONNABORTED": _("this computer broke the connection"),
    "ESTALE": _("the network drive was reconnected"),
}


def groupMayRead() -> bool:
    """Return True when the user's group may read files that are written from now on."""
    return os.environ.get(GROUP_VARIABLE) == "1"


def setGroupMayRead(allowed: bool) -> None:
    """Let the user's group read the files that this process, and processes that it starts later, write from now on."""
    os.environ[GROUP_VARIABLE] = "1" if allowed else "0"


def openPrivate(path: str, flags: int) -> int:
    """Open a file as os.open does; a new file is private. Also an ``opener`` for :func:`open`.

    :raises OSError: the file cannot be opened.
    """
    if not groupMayRead():
        return os.open(path, flags, 0o600)
    made = bool(flags & os.O_CREAT) and not os.path.lexists(path)
    handle = os.open(path, flags, 0o640)
    if made:
        _allow(path, 0o640)
    return handle


def openRegular(path: str) -> BufferedReader:
    """Open a regular file for reading. Reading a pipe or a device may never end.

    :raises OSError: the file cannot be opened, or is something else.
    """
    return open(path, "rb", opener=_openRegular)


def _openRegular(path: str, flags: int) -> int:
    handle = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return handle
    os.close(handle)
    raise OSError(errno.EINVAL, _("it is a folder, pipe or device, not a file"), path)


def makePrivateFolder(path: str, new: bool = False) -> None:
    """Make a private folder and its missing parents. Existing folders keep their rights.

    :param new: the folder must not exist yet.
    :raises OSError: the folder cannot be made, or a file has its name.
    """
    parent = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(parent):
        makePrivateFolder(parent)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if new or not os.path.isdir(path):
            raise
        return
    if groupMayRead():
        _allow(path, 0o750)


def _allow(path: str, mode: int) -> None:
    # The umask may have removed the group's rights. A folder keeps its set-group-ID bit.
    if os.name != "posix":
        return
    try:
        os.chmod(path, stat.S_IMODE(os.stat(path).st_mode) & stat.S_ISGID | mode)
    except OSError:
        pass  # a file system without such rights


Stamp = tuple[int, ...]
"""(size in bytes, mtime_ns); Listing.versionOf appends further values."""


def naturalOrder(path: str) -> list[tuple[int, int, str]]:
    """Sort key that puts image9 before image10, folder by folder. Different paths have different keys."""
    parts = re.split(r"(\d+)", path.replace(os.sep, "\0").casefold())
    return [*((1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts if part), (-1, 0, path)]


def decodedText(data: bytes) -> str:
    """Decode text as UTF-8, or as Latin-1 where the bytes are not UTF-8; never fails."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def parsedJSON(text: str | bytes) -> Any:
    """Parse a JSON text from a file, a line or a scene.

    :raises ValueError: the text is something else, or nests too deeply for Python.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError(_("The text nests too deeply.")) from error


def writeAll(handle: int, data: bytes | memoryview) -> None:
    """Write all bytes to an open file.

    :raises OSError: the file cannot take all of them.
    """
    # The system writes at most 2 GiB at once, and less when the disk is nearly full.
    written = os.write(handle, data)
    if written < (len(data) if isinstance(data, bytes) else data.nbytes):
        left = memoryview(data).cast("B")[written:]
        while left:
            left = left[os.write(handle, left) :]


def replaceFile(path: str, data: bytes | Iterable[bytes], private: bool = True) -> None:
    """Write under another name, then rename: the file stays as it was or is complete.

    :param data: the content, whole or in pieces.
    :param private: False gives a new file the rights that the user's umask says.
    :raises OSError: the file cannot be written.
    """
    unfinished = path + UNFINISHED
    # What a dead process left, or a link that somebody put there to have its target overwritten.
    removeFile(unfinished)
    try:
        with open(unfinished, "xb", _BUFFER, opener=openPrivate if private else None) as file:
            file.writelines([data] if isinstance(data, bytes) else data)
        moveFile(unfinished, path)
    except OSError:
        removeFile(unfinished)
        raise


def moveFile(path: str, target: str) -> None:
    """Rename a file; a file with the new name is replaced.

    On Windows, a program that has just opened one of them, such as a virus scanner, delays this by at most LONGEST_MOVE
    seconds.

    :raises OSError: the file cannot be renamed.
    """
    end = time.monotonic() + LONGEST_MOVE
    while True:
        try:
            os.replace(path, target)
            return
        except PermissionError:
            if sys.platform != "win32" or time.monotonic() >= end:
                raise
        time.sleep(0.01)


def removeFile(path: str) -> None:
    """Remove a file if that is possible."""
    try:
        os.unlink(path)
    except OSError:
        pass


_WORDS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], Text], ...] = (
    (UnicodeError, _("it has bytes that are no text")),
    (MemoryError, _("there is not enough memory")),
    (RecursionError, _("its parts nest too deeply")),
    (struct.error, _("its length does not fit its format")),
    (EOFError, _("it ends too early")),
    (zlib.error, _("its compressed bytes are damaged")),
    (LookupError, _("a part of it is missing")),
    (ArithmeticError, _("a number in it is too large, or impossible")),
    ((TypeError, AttributeError), _("a value in it is missing, or of another kind than expected")),
    (ValueError, _("a value in it is impossible")),
)


def reasonOf(error: BaseException) -> str:
    """Return the reason of an error in plain words, a clause without a full stop, or the sentence of a library's error.

    Words of Python about its own errors tell a user nothing: they are for the log.
    """
    text = str(error)
    if isinstance(error, RealTimeImagingError) or isinstance(text, Text):
        return text
    if isinstance(error, OSError):
        # Windows has names of its own for the errors of sockets: WSAECONNRESET.
        name = errno.errorcode.get(error.errno or 0, "").removeprefix("WSA")
        if name == "ENOENT" and sys.platform == "win32" and len(str(error.filename)) > LONGEST:
            return _("the path is too long for Windows; choose a shorter folder")
        if isinstance(error, TimeoutError):
            name = "ETIMEDOUT"  # that of a socket has no number
        return _REASONS.get(name) or error.strerror or text
    if isinstance(error, ImportError):
        return _("the Python package {name} is missing, or does not fit this computer").format(name=error.name)
    if isinstance(error, KeyError) and error.args and isinstance(error.args[0], str):
        return _('"{name}" is missing').format(name=error.args[0][:LONGEST_NAME])
    line = getattr(error, "lineno", None)  # of JSON
    if isinstance(error, ElementTree.ParseError):
        line = error.position[0]
    if line is not None:
        return _("there is a mistake in line {line}").format(line=line)
    words = next((words for kinds, words in _WORDS if isinstance(error, kinds)), _("it is damaged"))
    # FFmpeg has words of its own for each of its codes.
    return getattr(error, "strerror", None) or words


def longAccess(place: str, seconds: float = LONGEST_ACCESS) -> Text:
    """Return a sentence about an access that takes unusually long.

    :param place: the folder or file.
    """
    text = _(
        "Access to {place} takes more than {seconds} s. A file is large, or the drive or network share does not "
        "respond. If this lasts, check that it is connected."
    )
    return text.format(place=place, seconds=seconds)


def unexpected(error: BaseException) -> str:
    """Return a sentence with the class and the text of an error that nothing foresees: it is a fault to report."""
    return sentence(f"{type(error).__name__}: {error}")
