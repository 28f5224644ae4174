"""Files of a recording: their names, the check of their folder, and the reasons why they cannot be stored."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator

from ..Model.Errors import RecordingFolderError
from ..Model.Files import UNFINISHED, makePrivateFolder, openPrivate, reasonOf, writeAll

HEADER = ".seq.nhdr"
RAW = ".raw"
LINES = ".jsonl"
LOCK = ".lock"
MANIFEST = ".json"
POSES = ".poses.seq.mha"
MESSAGES = ".messages"
"""Added to the name of a recording: what the names of lines, lock and manifest of its messages begin with."""
STREAMS = ".streams"
"""Added to the name of a recording of many streams: the lock that stands for those of the streams (see Lock.py)."""
_LONGEST = 80


def fileName(words: str) -> str:
    """The words as a part of a file name that every file system and the NRRD field "data file" take.

    Letters and digits of any script and ``_ . -`` stay, all else becomes ``_``. No leading dot (hidden), and no leading
    "LIST" (to NRRD a list of files).
    """
    name = re.sub(r"[^\w.-]", "_", words).lstrip(".")[:_LONGEST].rstrip(".")
    while len(name.encode()) > 2 * _LONGEST:
        name = name[:-1]
    if name.startswith("LIST"):
        name = f"_{name}"
    return name or "_"


def baseName(name: str, stream: str) -> str:
    """What the names of all files of one stream of a recording begin with."""
    return f"{fileName(name)}-{fileName(stream)}"


def candidates(name: str) -> Iterator[str]:
    """name, name_1, name_2..."""
    yield name
    number = 1
    while True:
        yield f"{name}_{number}"
        number += 1


def partName(base: str, part: int) -> str:
    """:param part: from 1."""
    return base if part == 1 else f"{base}_{part}"


def isFileName(name: object) -> bool:
    """Whether a text from a file can name a file of the same folder."""
    return isinstance(name, str) and name not in ("", ".", "..") and "\0" not in name and os.path.basename(name) == name


def isPartOf(base: str, name: str) -> bool:
    """Whether ``name``, without its suffix, can be the name of a part of the recording."""
    return re.fullmatch(rf"{re.escape(base)}(_[1-9][0-9]*)?", name) is not None


def nothingIsNamed(folder: str, name: str, besides: str = "") -> bool:
    """True when none of a part's files is there, except perhaps the one with the suffix ``besides``."""
    suffixes = (HEADER, POSES, RAW, LINES, LOCK, MANIFEST)
    return not any(os.path.lexists(os.path.join(folder, name + suffix)) for suffix in suffixes if suffix != besides)


LONGEST = 5.0
"""Most seconds for a folder to respond."""
_SOME = 1 << 16
"""Bytes that are written as a test: as many as the first lines of a recording."""


def prepareFolder(folder: str) -> None:
    """Make a folder when it is missing, and make, write, rename and remove a file in it.

    :param folder: absolute path.
    :raises RecordingFolderError: that is not possible, or takes longer than LONGEST.
    """
    errors: list[Exception] = []

    def attempt() -> None:
        try:
            makePrivateFolder(folder)
            _write(os.path.join(folder, f".RealTimeImaging-{os.getpid()}-{threading.get_ident()}"))
        except (OSError, ValueError) as error:  # ValueError: characters that no file name can have
            errors.append(error)

    # A disconnected network drive may respond after minutes, and would block Slicer meanwhile.
    thread = threading.Thread(target=attempt, name="recording folder", daemon=True)
    thread.start()
    thread.join(LONGEST)
    if thread.is_alive():
        text = f"The folder {folder} does not answer. Is the network drive connected? Choose another folder."
        raise RecordingFolderError(text)
    if errors:
        reason = (
            "it is a file"
            if os.path.isfile(folder)
            else reasonOf(errors[0])
            if isinstance(errors[0], OSError)
            else "no file can have this name"
        )
        raise RecordingFolderError(f"Nothing can be recorded in {folder}: {reason}. Choose another folder.")


def _write(path: str) -> None:
    handle = openPrivate(path + UNFINISHED, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    name = path + UNFINISHED
    try:
        try:
            writeAll(handle, bytes(_SOME))
        finally:
            os.close(handle)  # a full network drive may report its error only here
        os.replace(name, path)
        name = path
    finally:
        os.unlink(name)
