"""Repair: finishes the recordings of processes that died, from the lines that they wrote.

Every step can be interrupted and repeated. Poses and headers are replaced first, then the manifest is written. After
it, files are only cut to the sizes in the manifest, and lines of frames and the lock are removed.

A process that is killed leaves the pixels of one frame at most without their line. A power failure can lose the lines
of many frames, whose pixels then stay in the file.
"""

from __future__ import annotations

import logging
import math
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..Model.Errors import RecordingError
from ..Model.Event import Event
from ..Model.Files import UNFINISHED, openRegular, reasonOf
from ..Model.Text import Text, joined, textsOf
from .AppendLog import Scan, cutFile, readManifest, scanLines, writeManifest
from .Layout import (
    EVENTS,
    HEADER,
    LINES,
    LOCK,
    MANIFEST,
    MESSAGES,
    POSES,
    RAW,
    STREAMS,
    fileName,
    isPartOf,
    recordingName,
)
from .Lines import FrameLine, MessageLine, MessagesLine, Missed, PartLine, checkNumbers, storable
from .Lock import Lock, isLock
from .MessageRecorder import PoseFiles, Tally
from .Reading import linesOf, openRecording
from .RecordedEvents import RecordedEvents
from .Recorder import composeManifest, partEntry, writeFinished
from .ValuesFile import valuesIn, valuesOf

_ = textsOf(__file__)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Repair:
    """Result of the repair of a recording.

    :param event: "recording-repaired" (a warning when something is lost) or "recording-unrepaired" (the files stay).
    :param recording: base name of the files.
    :param headers: paths of the headers that Slicer opens.
    :param messages: path of the manifest, for device messages.
    :param name: name of the whole recording, without the stream; empty when unknown.
    :param values: paths of the files of values that may belong to its images.
    """

    event: Event
    recording: str
    headers: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    name: str = ""
    values: list[str] = field(default_factory=list)

    def toJSON(self) -> dict[str, Any]:
        """Return the line ``repaired`` of a process."""
        return {
            "recording": self.recording,
            "name": self.name,
            "paths": self.headers,
            "messages": self.messages,
            "values": self.values,
        }


def repair(folder: str, name: str = "", events: Sequence[Event] = ()) -> list[Repair]:
    """Finish unfinished recordings, in the order of their names.

    Recordings of living processes are not touched. A recording that cannot be finished does not stop the others. File
    system errors are part of the results and never raise.

    :param name: name of a recording whose manifests get events.
    :param events: such as the one that its process was killed.
    """
    repairs, named = [], re.compile(rf"{re.escape(fileName(name))}(_\d+)?-.*")
    for base in _locked(folder):
        if _isHolder(folder, base):
            continue
        try:
            lock = Lock.takeOver(os.path.join(folder, base + LOCK))
            if lock is None:
                continue
            done = False
            try:
                more = events if named.fullmatch(base) else ()
                left = _Messages(folder, base) if _areMessages(folder, base) else _Frames(folder, base, more)
                found = left.finish()
                done = found.event.code == "recording-repaired"
            finally:
                lock.release(remove=done)
        except OSError as error:
            found = _unrepaired(folder, base, reasonOf(error))
        except Exception:  # boundary: one recording with strange files must not stop the repair of the others
            log.exception("%s cannot be repaired", os.path.join(folder, base))
            found = _unrepaired(folder, base, _("its files have content that this module does not write"))
        repairs.append(found)
    _removeHolders(folder)
    return repairs


def _removeHolders(folder: str) -> None:
    """Remove the locks that dead processes held for all their streams."""
    for base in _locked(folder):
        try:
            lock = Lock.takeOver(os.path.join(folder, base + LOCK)) if _isHolder(folder, base) else None
        except OSError:
            continue
        if lock:
            lock.release(remove=True)


def _unrepaired(folder: str, base: str, reason: str, name: str = "") -> Repair:
    path = os.path.join(folder, base)
    text = _("The recording {path} cannot be finished: {reason}. Its files are unchanged.")
    text = text.format(path=path, reason=reason)
    return Repair(Event("recording-unrepaired", text, "error", path), base, name=name)


def _locked(folder: str) -> list[str]:
    """Return the base names of the recordings with a lock."""
    try:
        bases = sorted(name[: -len(LOCK)] for name in os.listdir(folder) if name.endswith(LOCK))
    except OSError:
        return []
    return [base for base in bases if _isOurs(os.path.join(folder, base))]


def _isHolder(folder: str, base: str) -> bool:
    return base.endswith(STREAMS) and not _hasFiles(os.path.join(folder, base))


def _isOurs(path: str) -> bool:
    """Whether a lock belongs to a recording: other programs also make files with this suffix."""
    if _hasFiles(path) or isLock(path + LOCK):
        return True
    # A process may have died between making the file and writing into it: check its name and access rights.
    try:
        found, name = os.stat(path + LOCK), os.path.basename(path)
    except OSError:
        return False
    private = os.name != "posix" or not found.st_mode & 0o137
    return found.st_size == 0 and private and ("-" in name or name.endswith((MESSAGES, STREAMS)))


def _hasFiles(path: str) -> bool:
    return any(os.path.lexists(path + suffix) for suffix in (LINES, RAW, MANIFEST))


def _areMessages(folder: str, base: str) -> bool:
    """Whether the lock with this base name belongs to messages; a stream of images may have such a name, too.

    :raises OSError: the lines cannot be read.
    """
    path = os.path.join(folder, base)
    if not base.endswith(MESSAGES) or os.path.lexists(path + RAW):
        return False
    try:
        with openRegular(path + LINES) as file:
            PartLine.fromText(file.readline())
    except (FileNotFoundError, ValueError):
        return True
    return False


class _Left(ABC):
    """Files that a dead process left under one base name; the caller holds the lock."""

    noun: ClassVar[str]
    nouns: ClassVar[str]

    def __init__(self, folder: str, base: str) -> None:
        self._folder, self._base, self._name = folder, base, ""
        self._problems: list[str] = []
        """Reasons why the recording cannot be finished."""
        self._damagedManifest = ""

    def finish(self) -> Repair:
        """:raises OSError: a file cannot be read or written."""
        manifest = self._manifest()
        if manifest is None:
            manifest = self._fromLines()
        if self._problems:
            return _unrepaired(self._folder, self._base, joined(*self._problems, separator="; "), self._name)
        return self._cleanUp(manifest)

    @abstractmethod
    def _check(self, manifest: Mapping[str, Any]) -> None:
        """:raises ValueError, KeyError, TypeError, AttributeError: the manifest contradicts the files or itself."""

    @abstractmethod
    def _fromLines(self) -> dict[str, Any]:
        """Finish the files from the lines, unless there are problems; the manifest, written when an entry is stored."""

    @abstractmethod
    def _cleanUp(self, manifest: Mapping[str, Any]) -> Repair:
        """Cut the files to what the manifest names, and remove the others."""

    def _path(self, name: str, suffix: str) -> str:
        return os.path.join(self._folder, name + suffix)

    def _manifest(self) -> dict[str, Any] | None:
        """Return the manifest when the process, or an interrupted repair, wrote it: all before it is done then."""
        try:
            manifest = readManifest(self._path(self._base, MANIFEST), self._base)
            if manifest is not None:
                self._check(manifest)
            return manifest
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._damagedManifest = str(error) if isinstance(str(error), Text) else _("its manifest is damaged")
            return None

    def _event(self, manifest: Mapping[str, Any], last: int | None) -> Event:
        path = self._path(self._base, "")
        ended = _("The process that recorded {path} ended early. The recording is finished now: {stored}.")
        if last is None:
            stored = _("no {noun} was stored").format(noun=self.noun)
        else:
            count = manifest["recorded"]
            stored = _("{count} {noun}, the last is number {last}").format(
                count=count, noun=self.noun if count == 1 else self.nouns, last=last
            )
        text = [ended.format(path=path, stored=stored)]
        gaps = [Missed(gap["first"], gap["last"], gap["count"], gap["reason"]) for gap in manifest["gaps"]]
        for gap in gaps:
            entries, reason = gap.words(self.noun, self.nouns), str(gap.reason).rstrip(".")
            text.append(_("Not stored: {entries}: {reason}.").format(entries=entries, reason=reason))
        if manifest.get("cutBytes"):
            cut = _("Cut off: {count:,} bytes of an unfinished {noun}.")
            text.append(cut.format(count=manifest["cutBytes"], noun=self.noun))
        for name, count in manifest.get("keptBytes", {}).items():
            kept = _("Kept in {name}: {count:,} bytes of pixels whose lines were lost.")
            text.append(kept.format(name=name, count=count))
        for line in manifest.get("damaged", []):
            text.append(_("Left out, because it is damaged: {line}.").format(line=line))
        return Event("recording-repaired", joined(*text), "info" if len(text) == 1 else "warning", path)


@dataclass
class _Part:
    """Lines of a part, and its pixels as far as they exist."""

    name: str
    line: PartLine | None = None
    texts: list[bytes] = field(default_factory=list)
    frames: list[FrameLine] = field(default_factory=list)
    missing: Sequence[FrameLine] = ()
    """Acknowledged frames without pixels, for example after a power failure."""
    rest: int = 0
    """Bytes of pixels behind the last frame that has a line."""
    isKept: bool = False
    """True for a rest of several frames, whose lines were lost."""
    damaged: int = 0
    """Number of a damaged last line, from 1; 0 when no line is damaged."""

    def take(self, place: int, text: bytes) -> None:
        """:raises ValueError: the line is damaged."""
        if place == 0:
            self.line = PartLine.fromText(text)
            return
        frame = FrameLine.fromText(text)
        if self.frames and frame.time <= self.frames[-1].time:
            raise ValueError(_("The times of the frames do not increase."))
        self.frames.append(frame)
        self.texts.append(text)


class _Frames(_Left):
    """Files of a stream of images."""

    noun, nouns = _("frame"), _("frames")

    def __init__(self, folder: str, base: str, events: Sequence[Event] = ()) -> None:
        super().__init__(folder, base)
        self._events = events
        self._undescribed: dict[str, int] = {}
        """Bytes of pixels of parts that lost their first line, or all lines, by name."""

    def _names(self, suffix: str) -> list[str]:
        """Names of the parts with a file of this suffix, without recordings whose names look like parts."""
        names = [entry[: -len(suffix)] for entry in sorted(os.listdir(self._folder)) if entry.endswith(suffix)]
        return [
            name
            for name in names
            if isPartOf(self._base, name)
            and (name == self._base or not any(os.path.lexists(self._path(name, one)) for one in (LOCK, MANIFEST)))
        ]

    def _check(self, manifest: Mapping[str, Any]) -> None:
        # The manifest names files that may be cut.
        checkNumbers(*manifest.get("keptBytes", {}).values())
        for entry in manifest["parts"]:
            checkNumbers(entry["bytes"], entry["lastNumber"], entry["frames"])
            size = np.dtype(entry["dtype"]).itemsize if storable(entry["dtype"]) else 0
            if not size or entry["bytes"] != entry["frames"] * math.prod(entry["shape"]) * size:
                raise ValueError(_("its manifest contradicts itself"))
            for suffix, name in ((RAW, entry["raw"]), (HEADER, entry["header"])):
                if not (name.endswith(suffix) and isPartOf(self._base, name.removesuffix(suffix))):
                    raise ValueError(_("its manifest names {name!r}").format(name=name))

    def _fromLines(self) -> dict[str, Any]:
        names = self._names(LINES)
        names += [name for name in self._names(RAW) if name not in names and not self._isOther(name)]
        parts = [part for part in map(self._read, names) if part]
        if not parts and self._damagedManifest:
            self._problems = self._problems or [self._damagedManifest]
        if not any(part.frames for part, _line in parts) and not self._problems:
            text = _("{name} does not describe the pixels")
            self._problems = [text.format(name=name + LINES) for name in self._undescribed]
        if self._problems:
            return {}
        return self._write(sorted(parts, key=lambda part: part[1].part))

    def _read(self, name: str) -> tuple[_Part, PartLine] | None:
        part, size = _Part(name), _size(self._path(name, RAW))
        try:
            found = scanLines(self._path(name, LINES), part.take, FrameLine.fromText)
        except FileNotFoundError:
            found = Scan()
        if part.line is None or size >= (len(part.frames) + 1) * part.line.frameBytes:
            closed = self._fromHeader(name)
            if len(closed.frames) > len(part.frames):
                part, found = closed, Scan()
        line = part.line
        if line is None:
            if size > 0:
                self._undescribed[name] = size
            return None
        if line.recording != self._base:
            return None
        if found.between:
            self._problems.append(
                _("line {number} of {name} is damaged").format(number=found.damaged, name=name + LINES)
            )
        part.damaged = found.damaged
        count = min(len(part.frames), max(0, size) // line.frameBytes)
        part.missing, part.frames, part.texts = part.frames[count:], part.frames[:count], part.texts[:count]
        part.rest = max(0, size - count * line.frameBytes)
        part.isKept = part.rest >= 2 * line.frameBytes
        return part, line

    def _fromHeader(self, name: str) -> _Part:
        """Return a part that was closed before its lines were lost; an empty part without such a header."""
        part = _Part(name)
        try:
            for place, text in enumerate(linesOf(self._path(name, HEADER))):
                part.take(place, text)
        except (RecordingError, ValueError):
            return _Part(name)
        return part if part.line and part.line.recording == self._base else _Part(name)

    def _write(self, parts: Sequence[tuple[_Part, PartLine]]) -> dict[str, Any]:
        whole = [(part, line) for part, line in parts if part.frames]
        entries = []
        for part, line in whole:
            times, matrices = [one.time for one in part.frames], [one.ijkToRAS for one in part.frames]
            writeFinished(self._folder, part.name, line, times, matrices, part.texts)
            numbers = part.frames[0].number, part.frames[-1].number
            moves = any(matrix is not None for matrix in matrices)
            entries.append(partEntry(line, part.name, len(times), numbers, (times[0], times[-1]), moves))
        gaps = [one.missed for part, _line in parts for one in [*part.frames, *part.missing] if one.missed]
        for part, _line in parts:
            if part.missing:
                first, last = part.missing[0].number, part.missing[-1].number
                gaps.append(Missed(first, last, len(part.missing), _("the pixels are not in the file")))
        cut = sum(part.rest for part, _line in parts if not part.isKept)
        kept = {part.name + RAW: part.rest for part, _line in parts if part.isKept}
        kept |= {name + RAW: size for name, size in self._undescribed.items()}
        damaged = [f"{part.name}{LINES}, line {part.damaged}" for part, _line in parts if part.damaged]
        if not whole:
            lost = [asdict(gap) for gap in gaps]
            return {"gaps": lost, "cutBytes": cut, "keptBytes": kept, "damaged": damaged, "parts": []}
        failed = sum(gap.count for gap in gaps)
        manifest = composeManifest(whole[0][1], entries, failed, gaps, "repair")
        manifest |= {"cutBytes": cut, "keptBytes": kept, "damaged": damaged}
        events = RecordedEvents.fromFile(self._path(self._base, EVENTS))
        for event in self._events:
            events.add(event)
        manifest |= events.toManifest()
        writeManifest(self._path(self._base, MANIFEST), manifest)
        return manifest

    def _cleanUp(self, manifest: Mapping[str, Any]) -> Repair:
        parts = manifest["parts"]
        raws = {entry["raw"] for entry in parts}
        lines = [name for name in self._names(LINES) if self._isMine(name, raws)]
        kept = manifest.get("keptBytes", {})
        for entry in parts:
            if entry["raw"] not in kept:
                cutFile(os.path.join(self._folder, entry["raw"]), entry["bytes"])
        for suffix in (HEADER, POSES, MANIFEST):
            for name in self._names(suffix + UNFINISHED):
                _remove(self._path(name, suffix + UNFINISHED))
        for name in self._names(RAW):
            described = os.path.lexists(self._path(name, HEADER))
            if name + RAW not in {*raws, *kept} and not described and self._isMine(name):
                _remove(self._path(name, RAW))
        for name in lines:
            # Without a header, the lines alone say what the pixels are.
            if name + RAW in raws or name + RAW not in kept:
                _remove(self._path(name, LINES))
        _remove(self._path(self._base, EVENTS))
        headers = [os.path.join(self._folder, entry["header"]) for entry in parts]
        name = recordingName(self._base, str(manifest.get("stream", "")))
        event = self._event(manifest, parts[-1]["lastNumber"] if parts else None)
        values = valuesOf(name, valuesIn(self._folder, os.listdir(self._folder)))
        return Repair(event, self._base, headers, [], name, values)

    def _isOther(self, name: str) -> bool:
        """Whether the header of this name describes another recording."""
        try:
            return openRecording(self._path(name, HEADER)).recording != self._base
        except RecordingError:
            return False

    def _isMine(self, name: str, raws: Set[str] = frozenset()) -> bool:
        """Whether the lines of this name describe a part of this recording, or nothing.

        :param raws: pixels that a header describes.
        """
        try:
            with openRegular(self._path(name, LINES)) as file:
                return PartLine.fromText(file.readline()).recording == self._base
        except (FileNotFoundError, ValueError):
            return _size(self._path(name, RAW)) <= 0 or name + RAW in raws


class _Messages(_Left):
    """Files of device messages."""

    noun, nouns = _("message"), _("messages")

    def __init__(self, folder: str, base: str) -> None:
        super().__init__(folder, base)
        self._name = base.removesuffix(MESSAGES)
        self._head: MessagesLine | None = None
        self._tally = Tally()
        self._lines = self._path(base, LINES)

    def _check(self, manifest: Mapping[str, Any]) -> None:
        # What follows these bytes of the file may be cut.
        if not manifest["recorded"]:
            return
        checkNumbers(manifest["bytes"], manifest["lastNumber"])
        lines, left, last = 0, manifest["bytes"], b""
        with openRegular(self._lines) as file:
            while left > 0 and (data := file.read(min(left, 1 << 20))):
                lines, left, last = lines + data.count(b"\n"), left - len(data), data[-1:]
        if left or last != b"\n" or lines != manifest["recorded"] + 1:
            raise ValueError(_("its manifest is not that of the messages"))

    def _take(self, place: int, text: bytes) -> None:
        if place:
            self._tally.add(MessageLine.fromText(text))
            return
        head = MessagesLine.fromText(text)
        if head.recording != self._base:
            raise ValueError(_("The messages belong to another recording."))
        self._head = head

    def _fromLines(self) -> dict[str, Any]:
        try:
            found = scanLines(self._lines, self._take, MessageLine.fromText)
        except FileNotFoundError:
            found = Scan()
        name = os.path.basename(self._lines)
        if found.damaged == 1:
            text = _("the first line of {name} does not describe the messages")
            self._problems.append(text.format(name=name))
        elif found.between:
            self._problems.append(_("line {number} of {name} is damaged").format(number=found.damaged, name=name))
        if self._problems:
            return {}
        cut, gaps = found.size - found.whole, self._tally.gaps
        if self._head is None or not self._tally.count:
            _remove(self._lines)
            return {"recorded": 0, "gaps": [asdict(gap) for gap in gaps], "cutBytes": cut if self._head else 0}
        poses = PoseFiles.fromMessages(self._folder, self._head)
        failed = sum(gap.count for gap in gaps)
        manifest = self._tally.manifest(self._head, poses, failed, gaps, "repair")
        manifest |= {"bytes": found.whole, "cutBytes": cut}
        writeManifest(self._path(self._base, MANIFEST), manifest)
        return manifest

    def _cleanUp(self, manifest: Mapping[str, Any]) -> Repair:
        path = self._path(self._base, MANIFEST)
        _remove(path + UNFINISHED)
        stored = manifest["recorded"] > 0
        if stored:
            cutFile(self._lines, manifest["bytes"])
        event = self._event(manifest, manifest["lastNumber"] if stored else None)
        return Repair(event, self._base, [], [path] if stored else [], self._name)


def _size(path: str) -> int:
    """Bytes of a file, -1 without a file.

    :raises OSError: the size is unknown.
    """
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return -1


def _remove(path: str) -> None:
    """Remove a file if it exists.

    :raises OSError: the file cannot be removed.
    """
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
