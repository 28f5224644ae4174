"""List of the recordings in a folder, from manifests and headers; nothing is changed, and no pixels are read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from math import isfinite
from typing import Any

from ..Model.Errors import RecordingError
from ..Model.Files import reasonOf
from ..Model.Text import Text, textFromJSON, textsOf, textToJSON
from .AppendLog import readManifest
from .Layout import HEADER, LINES, LOCK, MANIFEST, MESSAGES, RAW, isFileName, recordingName
from .Lock import isHeld
from .Reading import isRecording, openRecording
from .RecordedEvents import eventsOf
from .ValuesFile import valuesIn, valuesOf

_ = textsOf(__file__)

DEPTH = 3
"""Levels of folders below the given one: a name may make a folder for each participant and session."""
MOST_FOLDERS = 1000
LARGEST_MANIFEST = 64 << 20
"""Bytes; a larger file is no manifest."""
FIRST_START = datetime(2000, 1, 1).timestamp()
"""Seconds since the epoch; some devices count from their start instead of the epoch."""


@dataclass(frozen=True)
class RecordingEntry:
    """Images of one stream of a recording, or its device messages.

    :param folder: folder of the files.
    :param name: name of the recording, without the stream.
    :param stream: name of the stream; empty for device messages.
    :param path: path of the header of the first part, or of the manifest of the messages.
    :param state: "finished", "recording" (a process writes it now), "unfinished" (its process has died; the next start
        of a source finishes it) or "damaged".
    :param problem: why it is damaged; else empty.
    :param headers: paths of the headers of all parts.
    :param frames: stored frames or messages, and ``lost``: those that were received and are not stored.
    :param bytes: bytes of the pixels or messages.
    :param seconds: time from the first frame to the last.
    :param time: start, seconds since the epoch (UTC); the time of the file when the start is unknown.
    :param warnings: texts of its events of level warning and error.
    :param values: paths of the files of values that may belong to its images.
    """

    folder: str
    name: str
    stream: str
    path: str
    state: str = "finished"
    problem: str = ""
    headers: list[str] = field(default_factory=list)
    frames: int = 0
    lost: int = 0
    bytes: int = 0
    seconds: float = 0.0
    time: float = 0.0
    warnings: list[str] = field(default_factory=list)
    values: list[str] = field(default_factory=list)

    @property
    def usable(self) -> bool:
        """Whether it can be opened."""
        return self.state == "finished"

    def toJSON(self) -> dict[str, Any]:
        """Return an object that :meth:`fromJSON` reads."""
        return {**asdict(self), "problem": textToJSON(self.problem)}

    @classmethod
    def fromJSON(cls, values: Mapping[str, Any]) -> RecordingEntry:
        """Return the entry that :meth:`toJSON` wrote."""
        return cls(**{**values, "problem": textFromJSON(values["problem"])})


def listRecordings(folder: str) -> tuple[list[RecordingEntry], bool]:
    """List the recordings in a folder and in the folders below it, the newest first.

    :returns: the entries, and whether there are more folders than MOST_FOLDERS, which are not searched.
    :raises OSError: the folder cannot be read.
    """
    found: list[RecordingEntry] = []
    waiting: list[tuple[str, int]] = [(folder, 0)]
    searched: set[str] = set()
    while waiting and len(searched) < MOST_FOLDERS:
        path, depth = waiting.pop(0)
        place = os.path.realpath(path)
        if place in searched:
            continue  # a link to a folder that is listed already, such as to the folder above
        searched.add(place)
        try:
            with os.scandir(path) as entries:
                names, folders = _split(entries)
        except OSError:
            if path == folder:
                raise
            continue
        values = valuesIn(path, names)
        found += [replace(entry, values=valuesOf(entry.name, values)) for entry in _entriesOf(path, names)]
        if depth < DEPTH:
            waiting += [(os.path.join(path, name), depth + 1) for name in sorted(folders)]
    return sorted(found, key=lambda entry: (-entry.time, entry.path)), bool(waiting)


def _split(entries: Iterator[os.DirEntry[str]]) -> tuple[set[str], list[str]]:
    """Return the names of the files, and those of the folders that are not hidden.

    Pipes and devices are neither: reading one may never end.
    """
    names, folders = set(), []
    for entry in entries:
        try:
            isFolder, isFile = entry.is_dir(), entry.is_file()
        except OSError:
            continue
        if isFile:
            names.add(entry.name)
        elif isFolder and not entry.name.startswith("."):
            folders.append(entry.name)
    return names, folders


def _entriesOf(folder: str, names: set[str]) -> Iterator[RecordingEntry]:
    def bases(suffix: str) -> list[str]:
        return sorted(name.removesuffix(suffix) for name in names if name.endswith(suffix))

    known = set()
    for base in bases(LOCK):
        if base + RAW in names or base + LINES in names:
            known.add(base)
            yield _locked(folder, base)
    for base in bases(MANIFEST):
        if base in known:
            continue
        entry = _described(folder, base, base + HEADER in names or base + RAW in names)
        if entry:
            known.add(base)
            known.update(os.path.basename(path).removesuffix(HEADER) for path in entry.headers)
            yield entry
    # A recording without its manifest, such as a copy of some of the files.
    rest: dict[str, list[str]] = {}
    for base in bases(HEADER):
        first = base.rpartition("_")[0]
        if base not in known and first not in known:
            rest.setdefault(first if first in rest else base, []).append(os.path.join(folder, base + HEADER))
    for paths in rest.values():
        yield from _withoutManifest(folder, paths)


def _locked(folder: str, base: str) -> RecordingEntry:
    path = os.path.join(folder, base)
    held, messages = isHeld(path + LOCK), base.endswith(MESSAGES)
    name, stream = (base.removesuffix(MESSAGES), "") if messages else _nameOf(base)
    size, time = _stat(path + (LINES if messages else RAW))
    return RecordingEntry(
        folder,
        name,
        stream,
        path + (MANIFEST if messages else HEADER),
        "recording" if held else "unfinished",
        bytes=max(0, size),
        time=time,
    )


def _nameOf(base: str) -> tuple[str, str]:
    name, _dash, stream = base.rpartition("-")
    return name or base, stream


def _described(folder: str, base: str, hasImages: bool) -> RecordingEntry | None:
    """Return the entry of a manifest; None when the file is something else."""
    path = os.path.join(folder, base + MANIFEST)
    size, time = _stat(path)
    try:
        manifest = readManifest(path, base) if size <= LARGEST_MANIFEST else None
        if manifest is not None:
            return _messages(folder, path, manifest) if "messages" in manifest else _images(folder, base, manifest)
        reason: str = _("its manifest is too large") if size > LARGEST_MANIFEST else _("its manifest is gone")
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError):
        reason = _("its manifest is damaged")
    except OSError as error:
        reason = reasonOf(error)
    if not hasImages:
        return None
    name, stream = _nameOf(base)
    problem = _("{name} cannot be read: {reason}.").format(name=base, reason=reason)
    return RecordingEntry(folder, name, stream, os.path.join(folder, base + HEADER), "damaged", problem, time=time)


def _images(folder: str, base: str, manifest: Mapping[str, Any]) -> RecordingEntry:
    parts, stream = manifest["parts"], str(manifest["stream"])
    problem: str = ""
    for part in parts:
        if not (isFileName(part["header"]) and isFileName(part["raw"])):
            raise ValueError("The manifest names files of other folders.")
        for name, expected in ((part["header"], None), (part["raw"], part["bytes"])):
            # A repair keeps pixels behind the frames whose lines were lost.
            problem = problem or _problemOf(os.path.join(folder, name), expected, mayBeLonger=True)
    headers = [os.path.join(folder, part["header"]) for part in parts]
    size = sum(int(part["bytes"]) for part in parts)
    return RecordingEntry(
        folder,
        recordingName(base, stream),
        stream,
        headers[0],
        "damaged" if problem else "finished",
        problem,
        headers,
        *_counts(manifest, size),
        size,
        _seconds(manifest),
        _start(manifest, headers[0]),
        _warnings(manifest),
    )


def _messages(folder: str, path: str, manifest: Mapping[str, Any]) -> RecordingEntry:
    if not isFileName(manifest["messages"]):
        raise ValueError("The manifest names a file of another folder.")
    problem = _problemOf(os.path.join(folder, manifest["messages"]), manifest["bytes"])
    size = int(manifest["bytes"])
    return RecordingEntry(
        folder,
        str(manifest["recording"]).removesuffix(MESSAGES),
        "",
        path,
        "damaged" if problem else "finished",
        problem,
        [],
        *_counts(manifest, size),
        size,
        _seconds(manifest),
        _start(manifest, path),
        _warnings(manifest),
    )


def _withoutManifest(folder: str, paths: list[str]) -> Iterator[RecordingEntry]:
    parts, problem = [], ""
    for path in paths:
        try:
            if isRecording(path):
                parts.append(openRecording(path))
        except (RecordingError, OSError) as error:
            problem = reasonOf(error)
    if problem and not parts:
        base = os.path.basename(paths[0]).removesuffix(HEADER)
        yield RecordingEntry(folder, *_nameOf(base), paths[0], "damaged", problem, time=_stat(paths[0])[1])
    elif parts:
        parts.sort(key=lambda part: part.part)
        first, last = parts[0], parts[-1]
        yield RecordingEntry(
            folder,
            recordingName(first.recording, first.stream),
            first.stream,
            first.path,
            "damaged" if problem else "finished",
            problem,
            [part.path for part in parts],
            sum(part.count for part in parts),
            0,
            sum(part.count * part.frameBytes for part in parts),
            last.times[-1] - first.times[0],
            first.start if first.start >= FIRST_START else _stat(first.path)[1],
        )


def _problemOf(path: str, expected: int | None, mayBeLonger: bool = False) -> Text | str:
    """Return why a file cannot be the one that the manifest names; empty when it can."""
    size, name = _stat(path)[0], os.path.basename(path)
    if size < 0:
        return _("{name} is missing.").format(name=name)
    if expected is not None and (size < expected or (size > expected and not mayBeLonger)):
        text = _("{name} has {size:,} bytes instead of {expected:,}.")
        return text.format(name=name, size=size, expected=expected)
    return ""


def _stat(path: str) -> tuple[int, float]:
    """Return size and time of a file; -1 and 0 without one."""
    try:
        found = os.stat(path)
    except OSError:
        return -1, 0.0
    return found.st_size, found.st_mtime


def _start(manifest: Mapping[str, Any], path: str) -> float:
    try:
        start = datetime.fromisoformat(manifest["start"]).timestamp()
    except ValueError:
        start = 0.0
    return start if start >= FIRST_START else _stat(path)[1]


def _counts(manifest: Mapping[str, Any], size: int) -> tuple[int, int]:
    """Return the numbers of stored and of lost frames or messages.

    :param size: bytes of all that is stored; each frame has one at least.
    :raises ValueError: numbers that no recording has.
    """
    recorded, failed = int(manifest["recorded"]), int(manifest["failed"])
    if not 0 <= recorded <= size or failed < 0:
        raise ValueError(f"The manifest counts {recorded} frames in {size} bytes, and {failed} lost ones.")
    return recorded, failed


def _seconds(manifest: Mapping[str, Any]) -> float:
    seconds = float(manifest["lastTime"]) - float(manifest["firstTime"])
    if not isfinite(seconds):
        raise ValueError("The manifest has times that are no numbers.")
    return seconds


def _warnings(manifest: Mapping[str, Any]) -> list[str]:
    return [event.text for event in eventsOf(manifest) if event.level != "info"]
