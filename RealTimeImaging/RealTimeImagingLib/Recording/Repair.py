"""Finishes the recordings of processes that died, from the lines they wrote.

Every step can be killed and done again: poses and header are replaced at once, then the manifest says what the
recording holds, and after it are only files to be cut to what it says, and lines and lock to be removed.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ..Model.Event import Event
from .Layout import (
    HEADER,
    LINES,
    LOCK,
    MANIFEST,
    MESSAGES,
    POSES,
    RAW,
    STREAMS,
    UNFINISHED,
    fileName,
    isPartOf,
    reasonOf,
)
from .Lines import FrameLine, Missed, PartLine, checkNumbers, storable
from .Lock import Lock, isLock
from .Manifest import composeManifest, partEntry, readManifest, writeManifest
from .MessageRepair import areMessages, repairMessages
from .Part import writeFinished

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Repair:
    """What became of a recording.

    :param event: "recording-repaired" (a warning when something is lost) or "recording-unrepaired" (it stays as it is).
    :param recording: base name of its files.
    :param headers: paths of the headers that Slicer opens.
    :param messages: path of the manifest, when it is what devices said.
    :param name: of the whole recording, without the stream's; empty when that is not known.
    """

    event: Event
    recording: str
    headers: list[str]
    messages: list[str] = field(default_factory=list)
    name: str = ""


def unfinished(folder: str) -> list[str]:
    """Base names of the recordings in the folder whose process is dead. Nothing is changed."""
    found = []
    for base in _locked(folder):
        if _isHolder(folder, base):
            continue
        try:
            lock = Lock.takeOver(os.path.join(folder, base + LOCK))
        except OSError:
            continue
        if lock:
            lock.release(remove=False)
            found.append(base)
    return found


def repair(folder: str) -> list[Repair]:
    """Finish unfinished recordings, in the order of their names.

    A recording whose process lives is not touched. A recording that cannot be finished does not stop the others. File
    system errors are reported in the results and never raised.
    """
    repairs = []
    for base in _locked(folder):
        path = os.path.join(folder, base)
        if _isHolder(folder, base):
            continue
        try:
            lock = Lock.takeOver(path + LOCK)
            if lock is None:
                continue
            done = False
            try:
                if areMessages(folder, base):
                    event, manifests = repairMessages(folder, base)
                    found = Repair(event, base, [], manifests, base.removesuffix(MESSAGES))
                else:
                    found = _Found(folder, base).finish()
                done = found.event.code == "recording-repaired"
            finally:
                lock.release(remove=done)
        except OSError as error:
            found = _unrepaired(folder, base, reasonOf(error))
        except Exception:  # the boundary: one recording with strange files must not stop the repair of the others
            log.exception("%s cannot be repaired", path)
            found = _unrepaired(folder, base, "its files have content that this module does not write")
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


def _unrepaired(folder: str, base: str, reason: str) -> Repair:
    path = os.path.join(folder, base)
    text = f"The recording {path} cannot be finished: {reason}. It stays as it is."
    return Repair(Event("recording-unrepaired", text, "error", path), base, [])


def _locked(folder: str) -> list[str]:
    try:
        bases = sorted(name[: -len(LOCK)] for name in os.listdir(folder) if name.endswith(LOCK))
    except OSError:
        return []
    return [base for base in bases if _isOurs(os.path.join(folder, base))]


def _isHolder(folder: str, base: str) -> bool:
    path = os.path.join(folder, base)
    return base.endswith(STREAMS) and not any(os.path.lexists(path + suffix) for suffix in (LINES, RAW, MANIFEST))


def _isOurs(path: str) -> bool:
    """Whether a lock belongs to a recording: other programs have files of that name, too."""
    if any(os.path.lexists(path + suffix) for suffix in (LINES, RAW, MANIFEST)) or isLock(path + LOCK):
        return True
    # A process may have been killed between making the file and writing into it: name and rights are those of ours.
    try:
        found, name = os.stat(path + LOCK), os.path.basename(path)
    except OSError:
        return False
    private = os.name != "posix" or not found.st_mode & 0o137
    return found.st_size == 0 and private and ("-" in name or name.endswith((MESSAGES, STREAMS)))


@dataclass
class _Part:
    """What is left of a part."""

    name: str
    line: PartLine
    texts: list[bytes] = field(default_factory=list)
    frames: list[FrameLine] = field(default_factory=list)
    missing: list[FrameLine] = field(default_factory=list)
    """Acknowledged frames without pixels: a power cut, or somebody's doing."""
    rest: int = 0
    """Bytes of pixels behind the last frame that has a line."""
    damaged: int = 0
    """Number of a damaged last line, from 1; 0 when no line is damaged."""


class _Found:
    """A recording of a dead process; the caller holds its lock."""

    def __init__(self, folder: str, base: str) -> None:
        self._folder, self._base = folder, base
        self._strange: list[str] = []
        self._damagedManifest = ""

    def finish(self) -> Repair:
        """:raises OSError: a file cannot be read or written."""
        manifest = self._manifest()
        if manifest is None:
            parts = sorted(filter(None, map(self._read, self._names(LINES))), key=lambda part: part.line.part)
            if self._strange:
                return _unrepaired(self._folder, self._base, "; ".join(self._strange))
            if self._damagedManifest and not parts:
                return _unrepaired(self._folder, self._base, self._damagedManifest)
            manifest = self._write(parts)
        for entry in manifest["parts"]:
            raw = os.path.join(self._folder, entry["raw"])
            if os.path.getsize(raw) > entry["bytes"]:
                os.truncate(raw, entry["bytes"])
        self._removeRest({entry["raw"] for entry in manifest["parts"]})
        headers = [os.path.join(self._folder, entry["header"]) for entry in manifest["parts"]]
        name = self._base.removesuffix(f"-{fileName(str(manifest.get('stream', '')))}")
        return Repair(self._event(manifest), self._base, headers, [], name)

    def _path(self, name: str, suffix: str) -> str:
        return os.path.join(self._folder, name + suffix)

    def _names(self, suffix: str) -> list[str]:
        """Names of the parts that have a file with this suffix; not those of a recording that looks like a part."""
        names = [entry[: -len(suffix)] for entry in sorted(os.listdir(self._folder)) if entry.endswith(suffix)]
        return [
            name
            for name in names
            if isPartOf(self._base, name)
            and (name == self._base or not os.path.lexists(self._path(name, LOCK)))
            and (name == self._base or not os.path.lexists(self._path(name, MANIFEST)))
        ]

    def _manifest(self) -> dict[str, Any] | None:
        """The manifest, when all before it was done: by the process that died, or by a repair that was killed."""
        try:
            manifest = readManifest(self._path(self._base, MANIFEST), self._base)
            if manifest is not None:
                self._checkParts(manifest)
            return manifest
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._damagedManifest = str(error) if isinstance(error, ValueError) else "its manifest is damaged"
            return None

    def _checkParts(self, manifest: Mapping[str, Any]) -> None:
        """:raises ValueError: a part is none of this recording: what the manifest names may be cut."""
        for entry in manifest["parts"]:
            checkNumbers(entry["bytes"], entry["lastNumber"], entry["frames"])
            size = np.dtype(entry["dtype"]).itemsize if storable(entry["dtype"]) else 0
            if not size or entry["bytes"] != entry["frames"] * math.prod(entry["shape"]) * size:
                raise ValueError("its manifest contradicts itself")
            for suffix, name in ((RAW, entry["raw"]), (HEADER, entry["header"])):
                if not (name.endswith(suffix) and isPartOf(self._base, name.removesuffix(suffix))):
                    raise ValueError(f"its manifest names {name!r}")

    def _read(self, name: str) -> _Part | None:
        with open(self._path(name, LINES), "rb") as file:
            texts = file.read().split(b"\n")[:-1]  # what has no line end was being written
        size = _size(self._path(name, RAW))
        try:
            line = PartLine.fromText(texts[0] if texts else b"")
        except ValueError:
            if size > 0:
                self._strange.append(f"{name}{LINES} does not say what the pixels are")
            return None
        if line.recording != self._base:
            return None
        part = _Part(name, line)
        for place, text in enumerate(texts[1:]):
            try:
                frame = FrameLine.fromText(text)
                if part.frames and frame.time <= part.frames[-1].time:
                    raise ValueError("The times of the frames do not increase.")
            except ValueError:
                if any(map(_isFrame, texts[place + 2 :])):
                    self._strange.append(f"line {place + 2} of {name}{LINES} is damaged")
                part.damaged = place + 2
                break
            if size >= (place + 1) * line.frameBytes:
                part.frames.append(frame)
                part.texts.append(text)
            else:
                part.missing.append(frame)
        part.rest = max(0, size - len(part.frames) * line.frameBytes)
        return part

    def _write(self, parts: list[_Part]) -> dict[str, Any]:
        """Headers and manifest; without a frame there is nothing to write."""
        whole = [part for part in parts if part.frames]
        for part in whole:
            matrices = [frame.ijkToRAS for frame in part.frames]
            writeFinished(
                self._folder, part.name, part.line, [frame.time for frame in part.frames], matrices, part.texts
            )
        entries = [
            partEntry(
                part.line,
                part.name,
                [frame.number for frame in part.frames],
                [frame.time for frame in part.frames],
                any(frame.ijkToRAS is not None for frame in part.frames),
            )
            for part in whole
        ]
        gaps = [frame.missed for part in parts for frame in [*part.frames, *part.missing] if frame.missed]
        for part in parts:
            if part.missing:
                first, last = part.missing[0].number, part.missing[-1].number
                gaps.append(Missed(first, last, len(part.missing), "the pixels are not in the file"))
        cut = sum(part.rest for part in parts)
        damaged = [f"{part.name}{LINES}, line {part.damaged}" for part in parts if part.damaged]
        if not whole:
            return {"gaps": [asdict(gap) for gap in gaps], "cutBytes": cut, "damaged": damaged, "parts": []}
        failed = sum(gap.count for gap in gaps)
        manifest = composeManifest(whole[0].line, entries, failed, gaps, "repair")
        manifest |= {"cutBytes": cut, "damaged": damaged}
        writeManifest(self._path(self._base, MANIFEST), manifest)
        return manifest

    def _removeRest(self, kept: set[str]) -> None:
        """Lines, files that were not yet renamed, and files of pixels without a frame."""
        for suffix in (HEADER, POSES, MANIFEST):
            for name in self._names(suffix + UNFINISHED):
                _remove(self._path(name, suffix + UNFINISHED))
        for name in self._names(RAW):
            described = os.path.lexists(self._path(name, HEADER))
            if name + RAW not in kept and not described and self._isMine(name):
                _remove(self._path(name, RAW))
        for name in self._names(LINES):
            if self._isMine(name):
                _remove(self._path(name, LINES))

    def _isMine(self, name: str) -> bool:
        """Whether what the lines of this name describe is a part of this recording, or nothing."""
        try:
            with open(self._path(name, LINES), "rb") as file:
                return PartLine.fromText(file.readline()).recording == self._base
        except (FileNotFoundError, ValueError):
            return _size(self._path(name, RAW)) <= 0

    def _event(self, manifest: Mapping[str, Any]) -> Event:
        path = self._path(self._base, "")
        if manifest["parts"]:
            last = manifest["parts"][-1]["lastNumber"]
            words = f"{manifest['recorded']} frames, the last is number {last}"
        else:
            words = "no frame was stored"
        text = [f"The recording {path} was left by a process that ended; it is finished: {words}."]
        text += [_lost(gap) for gap in manifest["gaps"]]
        if manifest.get("cutBytes"):
            text.append(f"Cut off: {manifest['cutBytes']:,} bytes of pixels without a description.")
        text += [f"Left out, because it is damaged: {line}." for line in manifest.get("damaged", [])]
        return Event("recording-repaired", " ".join(text), "info" if len(text) == 1 else "warning", path)


def _lost(gap: Mapping[str, Any]) -> str:
    which = f"frame {gap['first']}" if gap["count"] == 1 else f"frames {gap['first']} to {gap['last']} ({gap['count']})"
    return f"Not stored: {which}: {gap['reason']}."


def _isFrame(text: bytes) -> bool:
    try:
        FrameLine.fromText(text)
    except ValueError:
        return False
    return True


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return -1


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def repairedLine(repair: Repair) -> dict[str, Any]:
    """The line ``repaired`` about one recording."""
    return {
        "recording": repair.recording,
        "name": repair.name,
        "paths": repair.headers,
        "messages": repair.messages,
    }
