"""Names of the files of a recording, and the check of its folder."""

from __future__ import annotations

import os
import re
import threading
import unicodedata
from collections.abc import Iterator
from itertools import count

from ..Model.Errors import RecordingFolderError
from ..Model.Files import UNFINISHED, makePrivateFolder, openPrivate, reasonOf, writeAll
from ..Model.Text import textsOf

_ = textsOf(__file__)

HEADER = ".seq.nhdr"
RAW = ".raw"
LINES = ".jsonl"
LOCK = ".lock"
MANIFEST = ".json"
POSES = ".poses.seq.mha"
EVENTS = ".events"
MESSAGES = ".messages"
"""Added to the name of a recording: base name of the lines, lock and manifest of its messages."""
STREAMS = ".streams"
"""Added to the name of a recording: lock that replaces those of its many streams (see Lock.py)."""
_LONGEST = 80
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
"""Names of devices in Windows, with any suffix."""


def fileName(text: str) -> str:
    """Turn a text into a part of a file name that every file system and the NRRD field "data file" accept.

    Letters and digits of any script and ``_ . -`` stay; other characters become ``_``. The name does not begin with a
    dot (hidden file) or with "LIST" (in NRRD a list of files), and is no device of Windows.
    """
    # A letter and its mark are one character: macOS and Linux may write them as two.
    name = re.sub(r"[^\w.-]", "_", unicodedata.normalize("NFC", text)).lstrip(".")[:_LONGEST].rstrip(".")
    while len(name.encode()) > 2 * _LONGEST:
        name = name[:-1]
    if name.startswith("LIST") or _DEVICES.fullmatch(name):
        name = f"_{name}"
    return name or "_"


def baseName(name: str, stream: str) -> str:
    """Return the base name of the files of one stream of a recording.

    :param name: of :func:`fileName` or :func:`candidates`: a longer text would lose the number at its end.
    """
    return f"{name}-{fileName(stream)}"


def recordingName(base: str, stream: str) -> str:
    """Return the name of a recording, by the base name of the files of one of its streams."""
    return base.removesuffix(f"-{fileName(stream)}")


def candidates(name: str) -> Iterator[str]:
    """Yield name, name_1, name_2 and so on without end."""
    yield name
    for number in count(1):
        yield f"{name}_{number}"


def partName(base: str, part: int) -> str:
    """Return the base name of the files of a part.

    :param part: number of the part, from 1.
    """
    return base if part == 1 else f"{base}_{part}"


def isFileName(name: object) -> bool:
    """Return whether a value from a file names a file of the same folder."""
    return isinstance(name, str) and name not in ("", ".", "..") and "\0" not in name and os.path.basename(name) == name


def isPartOf(base: str, name: str) -> bool:
    """Return whether a name without suffix can belong to a part of the recording."""
    return re.fullmatch(rf"{re.escape(base)}(_[1-9][0-9]*)?", name) is not None


def nothingIsNamed(folder: str, name: str, besides: str = "") -> bool:
    """Return whether a base name is free.

    :param besides: suffix of a file that may exist.
    """
    suffixes = (HEADER, POSES, RAW, LINES, LOCK, MANIFEST, EVENTS)
    return not any(os.path.lexists(os.path.join(folder, name + suffix)) for suffix in suffixes if suffix != besides)


_TEST_BYTES = 1 << 16
"""Bytes of the test file: as many as the first lines of a recording."""


def prepareFolder(folder: str) -> None:
    """Make a folder if it is missing, and test it: make, write, rename and remove a file.

    :param folder: absolute path.
    :raises RecordingFolderError: the folder cannot be used.
    """
    try:
        makePrivateFolder(folder)
        _write(os.path.join(folder, f".RealTimeImaging-{os.getpid()}-{threading.get_ident()}"))
        return
    except ValueError:
        reason: str = _("the name contains forbidden characters")
    except OSError as error:
        reason = _("it is a file") if os.path.isfile(folder) else reasonOf(error)
    text = _("Recordings cannot be stored in {folder}: {reason}. Choose another folder.")
    raise RecordingFolderError(text.format(folder=folder, reason=reason))


def _write(path: str) -> None:
    handle = openPrivate(path + UNFINISHED, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    name = path + UNFINISHED
    try:
        try:
            writeAll(handle, bytes(_TEST_BYTES))
        finally:
            os.close(handle)  # a full network drive may report the error only here
        os.replace(name, path)
        name = path
    finally:
        os.unlink(name)
