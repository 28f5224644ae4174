"""The names of a recording's files.

    NAME-STREAM.lock          while it is recorded: held by the process that records
    NAME-STREAM.raw           pixels, frame after frame
    NAME-STREAM.jsonl         while it is recorded: one line for the part, then one for each frame of it
    NAME-STREAM.seq.nhdr      the header with which Slicer opens it
    NAME-STREAM.poses.seq.mha how the frames move, where they do
    NAME-STREAM_2.raw ...     its second part, and so on
    NAME-STREAM.json          the manifest, of all parts

    NAME.messages.lock        as above, for what the devices said beside images
    NAME.messages.jsonl       one line for all, then one for each message; it stays
    NAME-DEVICE.seq.mha       the transforms of a device, as Slicer opens them
    NAME.messages.json        the manifest of these

    NAME.streams.lock         while many streams are recorded: held in the place of their locks

The stream is always in the name: a second stream may appear at any time, and then nothing has to be renamed. Nothing
is overwritten: when a name is taken, the recording is called NAME_1, NAME_2 and so on, and a part takes the next free
number. The file of pixels is made exclusively and stays, so that it is what claims a name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

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
UNFINISHED = ".tmp"
"""Added to a name until the file is whole."""

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


def freeName(folder: str, name: str) -> str:
    """``name``, or ``name_1``, ``name_2``...: the first under which the folder holds no recording of any stream.

    Ask once for a recording, and give the answer to the recorders of all its streams. Upper and lower case are one.
    """
    try:
        taken = [entry.lower() for entry in os.listdir(folder)]
    except OSError:
        taken = []
    return next(
        candidate
        for candidate in candidates(fileName(name))
        if not any(entry.startswith((f"{candidate}-".lower(), f"{candidate}.".lower())) for entry in taken)
    )


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
