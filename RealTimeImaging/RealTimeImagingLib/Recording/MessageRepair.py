"""Finishes the messages of devices that a dead process left: poses and manifest are made from the lines it wrote.

Every step can be killed and done again: poses are written anew, then the manifest says what there is, and after it is
only the file of messages to be cut to what it says.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ..Model.Event import Event
from .Layout import LINES, MANIFEST, MESSAGES, RAW, UNFINISHED
from .Lines import PartLine, checkNumbers
from .Manifest import readManifest, writeManifest
from .MessageLines import MessageLine, MessagesLine
from .MessageRecorder import Tally, writePoses


def areMessages(folder: str, base: str) -> bool:
    """Whether a lock of this base name is that of messages; a stream of images may have such a name, too.

    :raises OSError: the lines cannot be read.
    """
    path = os.path.join(folder, base)
    if not base.endswith(MESSAGES) or os.path.lexists(path + RAW):
        return False
    try:
        with open(path + LINES, "rb") as file:
            PartLine.fromText(file.readline())
    except (FileNotFoundError, ValueError):
        return True
    return False


def repairMessages(folder: str, base: str) -> tuple[Event, list[str]]:
    """Finish them; the caller holds the lock. What happened ("recording-repaired", or "recording-unrepaired" when they
    stay as they are), and the path of the manifest, if there is a message.

    :raises OSError: a file cannot be read or written.
    """
    path = os.path.join(folder, base)
    manifest = _manifest(path, base)
    if manifest is None:
        found = _Found(path + LINES, base)
        if found.strange:
            text = f"The messages {path}{LINES} cannot be finished: {found.strange}. They stay as they are."
            return Event("recording-unrepaired", text, "error", path), []
        manifest = found.finish(folder, path)
    _remove(path + MANIFEST + UNFINISHED)
    if manifest["recorded"] and os.path.getsize(path + LINES) > manifest["bytes"]:
        os.truncate(path + LINES, manifest["bytes"])
    return _event(path, manifest), [path + MANIFEST] if manifest["recorded"] else []


class _Found:
    """What is in a file of messages.

    :raises OSError: it cannot be read.
    """

    def __init__(self, path: str, base: str) -> None:
        self.tally = Tally()
        self.head: MessagesLine | None = None
        self.strange = ""
        self._path, self._base = path, base
        self._whole = self._size = 0
        damaged, goesOn = 0, False
        try:
            with open(path, "rb") as file:
                for place, text in enumerate(file):
                    self._size += len(text)
                    if not text.endswith(b"\n"):
                        break  # it was being written
                    try:
                        self._take(place, text)
                    except ValueError:
                        damaged = damaged or place + 1
                        continue
                    goesOn = damaged > 0
                    if goesOn:
                        break
                    self._whole += len(text)
        except FileNotFoundError:
            return
        if damaged == 1:
            self.strange = "the first line does not say what they are"
        elif goesOn:
            self.strange = f"line {damaged} is damaged"

    def _take(self, place: int, text: bytes) -> None:
        if place == 0:
            head = MessagesLine.fromText(text)
            if head.recording != self._base:
                raise ValueError("These are the messages of another recording.")
            self.head = head
        else:
            line = MessageLine.fromText(text)
            if self.head:
                self.tally.add(line)

    def finish(self, folder: str, path: str) -> dict[str, Any]:
        """The manifest, which is written when there is a message.

        :raises OSError: a file cannot be written.
        """
        cut = self._size - self._whole
        gaps = self.tally.gaps
        if self.head is None or not self.tally.count:
            _remove(self._path)
            return {"recorded": 0, "gaps": [asdict(gap) for gap in gaps], "cutBytes": cut if self.head else 0}
        poses = writePoses(folder, self.head)
        failed = sum(gap.count for gap in gaps)
        manifest = self.tally.manifest(self.head, poses, failed, gaps, "repair")
        manifest |= {"bytes": self._whole, "cutBytes": cut}
        writeManifest(path + MANIFEST, manifest)
        return manifest


def _manifest(path: str, base: str) -> dict[str, Any] | None:
    """The manifest, when all before it was done: by the process that died, or by a repair that was killed."""
    try:
        manifest = readManifest(path + MANIFEST, base)
        if manifest is not None and manifest["recorded"]:
            checkNumbers(manifest["bytes"], manifest["lastNumber"])
            _checkLines(path + LINES, manifest["bytes"], manifest["recorded"])
        return manifest
    except (ValueError, KeyError):
        return None


def _checkLines(path: str, size: int, messages: int) -> None:
    """:raises ValueError: so many bytes of the file are not so many messages: what is behind them will be cut off."""
    lines, left, last = 0, size, b""
    with open(path, "rb") as file:
        while left > 0 and (data := file.read(min(left, 1 << 20))):
            lines, left, last = lines + data.count(b"\n"), left - len(data), data[-1:]
    if left or last != b"\n" or lines != messages + 1:
        raise ValueError("The manifest is not that of the messages.")


def _event(path: str, manifest: Mapping[str, Any]) -> Event:
    count = manifest["recorded"]
    words = f"{count} messages, the last is number {manifest['lastNumber']}" if count else "no message was stored"
    text = [f"The messages of devices {path}{LINES} were left by a process that ended; they are finished: {words}."]
    for gap in manifest["gaps"]:
        which = f"message {gap['first']}"
        if gap["count"] > 1:
            which = f"messages {gap['first']} to {gap['last']} ({gap['count']})"
        text.append(f"Not stored: {which}: {gap['reason']}.")
    if manifest.get("cutBytes"):
        text.append(f"Cut off: {manifest['cutBytes']:,} bytes of a message that was being written.")
    return Event("recording-repaired", " ".join(text), "info" if len(text) == 1 else "warning", path)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
