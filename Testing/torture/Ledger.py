"""The ledger of a round: what was sent against what was received, stored, shown and reported.

Each method returns sentences; an empty list is a balance.
"""

from __future__ import annotations

import glob
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from RealTimeImagingLib.Model.Errors import RealTimeImagingError
from RealTimeImagingLib.Model.Event import Event
from RealTimeImagingLib.Recording import openRecording, repair
from RealTimeImagingLib.Recording.Layout import LINES, MESSAGES, RAW
from RealTimeImagingLib.Recording.Lines import PartLine
from RealTimeImagingLib.Recording.Reading import RecordedPart

from .Images import identify

OVERLAP = 5.0
"""Seconds from the beginning of a restart in which the old process may still take slices."""


@dataclass
class Account:
    """What the senders of one source noted.

    :param least: by serial number, how often the image must arrive. ``most``: how often it may.
    :param sinceRestart: number of images that must arrive after the last restart.
    :param wild: images that may arrive and are none that was sent.
    """

    least: Counter[int] = field(default_factory=Counter)
    most: Counter[int] = field(default_factory=Counter)
    steps: dict[int, str] = field(default_factory=dict)
    partial: set[int] = field(default_factory=set)
    reports: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    wild: int = 0
    sinceRestart: int = 0
    done: bool = False

    @classmethod
    def read(cls, path: str, restarts: Sequence[float] = (), confirmed: bool = True, lossy: bool = False) -> Account:
        """Read the log of a sender.

        :param restarts: times of restarts.
        :param lossy: whether an image that is sent during a restart may be divided.
        :param confirmed: False when no image of the log has to be there.
        """
        found = cls()
        try:
            with open(path, encoding="utf-8") as file:
                # The sender may be writing: its last line may not be complete yet.
                lines = [json.loads(line) for line in file.read().split("\n")[:-1]]
        except FileNotFoundError:
            lines = []
        for line in lines:
            # The two halves of an image that is sent during a restart go to two processes.
            began = line.get("began", line["time"])
            soft = lossy and any(began - OVERLAP <= one <= line["time"] for one in restarts)
            found.wild += soft
            found._take(line, soft or not confirmed)
            if began > max(restarts, default=0.0) and confirmed:
                found.sinceRestart += line.get("least", 0)
        return found

    def _take(self, line: dict[str, Any], soft: bool) -> None:
        self.done = self.done or bool(line.get("done"))
        self.wild += line.get("wild", 0)
        if "fault" in line:
            self.problems.append(f"A sender failed: {line['fault']}.")
        if line.get("unanswered"):
            self.problems.append(f"Image {line['serial']} ({line['why']}) has no answer.")
        if "serial" not in line:
            return
        serial = int(line["serial"])
        self.least[serial] += 0 if soft else line["least"]
        self.most[serial] += line["most"]
        self.steps[serial] = line["why"]
        if line.get("partial") or soft:
            self.partial.add(serial)
        if line["report"] and not soft:
            self.reports.append(line)

    @property
    def expected(self) -> int:
        """Number of images that must arrive."""
        return self.least.total()


@dataclass
class Stored:
    """Frames of one source in the files of its recordings.

    :param copies: number of frames by serial number.
    """

    copies: Counter[int] = field(default_factory=Counter)
    unknown: int = 0
    partial: list[int] = field(default_factory=list)
    frames: int = 0


def readRecordings(folder: str) -> tuple[dict[str, Stored], list[str]]:
    """Read all finished recordings below a folder.

    :returns: what is stored of each stream, and sentences about files that break a promise.
    """
    found: dict[str, Stored] = {}
    problems = []
    recordings: dict[str, list[RecordedPart]] = {}
    for path in sorted(glob.glob(os.path.join(folder, "**", "*.seq.nhdr"), recursive=True)):
        try:
            part = openRecording(path)
        except RealTimeImagingError as error:
            problems.append(f"A recording cannot be opened: {error}")
            continue
        recordings.setdefault(part.recording, []).append(part)
    for name, parts in recordings.items():
        parts.sort(key=lambda part: part.part)
        problems += _increasing(name, parts)
        stored = found.setdefault(parts[0].stream, Stored())
        for part in parts:
            for index in range(part.count):
                problems += _note(stored, part, index)
    return found, problems


def _increasing(name: str, parts: Sequence[RecordedPart]) -> Iterator[str]:
    numbers = [frame["number"] for part in parts for frame in part.frames]
    times = [time for part in parts for time in part.times]
    for what, values in (("numbers", numbers), ("times", times)):
        for before, after in pairwise(values):
            if after <= before:
                yield f"The {what} of {name} do not increase: {after} follows {before}; an index is there twice."
                break


def _note(stored: Stored, part: RecordedPart, index: int) -> Iterator[str]:
    stored.frames += 1
    try:
        known = identify(part.pixels(index))
    except RealTimeImagingError as error:
        yield f"A recorded image cannot be read: {error}"
        return
    if known is None:
        stored.unknown += 1
        return
    stored.copies[known.serial] += 1
    if not known.whole:
        stored.partial.append(known.serial)


def unfinished(folder: str) -> list[str]:
    """Return the names of files that a finished recording does not have."""
    endings = (".lock", ".jsonl", ".events", ".tmp", ".streams")
    return sorted(
        name
        for _path, _folders, names in os.walk(folder)
        for name in names
        if (name.endswith(endings) and not name.endswith(MESSAGES + LINES)) or name.startswith(".RealTimeImaging")
    )


def repairAll(folder: str) -> list[str]:
    """Finish what dead processes left; return sentences about what cannot be finished."""
    problems = []
    for path, _folders, _names in list(os.walk(folder)):
        for one in repair(path):
            if one.event.code != "recording-repaired":
                problems.append(f"A recording cannot be repaired: {one.event.text}")
    return problems


def photograph(folder: str) -> list[str]:
    """Look at recordings that grow: no index line may be there before its pixels, whenever the process dies."""
    problems = []
    for path in glob.glob(os.path.join(folder, "**", "*" + LINES), recursive=True):
        try:
            with open(path, "rb") as file:
                lines = file.read().split(b"\n")[:-1]
            if len(lines) < 2:
                continue
            # Afterwards: pixels that come meanwhile do no harm.
            size = os.stat(path.removesuffix(LINES) + RAW).st_size
            frames = len(lines) - 1
            if size < frames * PartLine.fromText(lines[0]).frameBytes:
                problems.append(f"{os.path.basename(path)} has {frames} index lines before their pixels.")
        except (OSError, ValueError, KeyError):
            pass  # it was just finished; a reader tells later whether it is damaged
    return problems


@dataclass
class Books:
    """Figures of one source at the end of its round.

    :param kills: deaths that the torture caused. ``sessions``: starts, one without a restart.
    :param dropped: images whose loss the source has counted or reported.
    :param abrupt: whether the source was stopped while its sender sent: only confirmed images must be there.
    """

    name: str
    account: Account
    stored: Stored
    received: int
    recorded: int
    failed: int
    rejected: int
    kills: int = 0
    sessions: int = 1
    diskFailed: bool = False
    alwaysRecorded: bool = True
    abrupt: bool = False
    dropped: int = 0
    events: Sequence[Event] = ()

    def problems(self) -> list[str]:
        """Return what does not balance."""
        found = [f"{self.name}: {one}" for one in self.account.problems]
        others = () if self.abrupt else (*self._counts(), *self._reports())
        return [*found, *(f"{self.name}: {one}" for one in (*others, *self._images()))]

    def _counts(self) -> Iterator[str]:
        received, recorded, failed, frames = self.received, self.recorded, self.failed, self.stored.frames
        if self.alwaysRecorded and received != recorded + failed:
            yield f"{received} images were received, {recorded} recorded and {failed} failed."
        if self.account.expected > received + self.dropped:
            yield f"{self.account.expected} images had to arrive, {received} were received: one is lost."
        if failed and not self.diskFailed:
            yield f"{failed} images were not stored, and the disk had no fault."
        # A death between storing and counting stores one image twice, with the same number.
        if not recorded <= frames <= recorded + self.kills:
            yield f"{recorded} images count as recorded, the files have {frames}."

    def _images(self) -> Iterator[str]:
        account, stored, missing = self.account, self.stored, []
        extra = self.kills
        for serial, least in account.least.items():
            count = stored.copies[serial]
            missing += [serial] * max(0, least - count)
            most = account.most[serial] * self.sessions
            if count > most:
                extra -= count - most
                if extra < 0 or not most:
                    yield f"Image {serial} ({account.steps[serial]}) is stored {count} times instead of {most}."
        for serial in stored.copies.keys() - account.least.keys():
            yield f"Image {serial} is stored and was never sent."
        for serial in stored.partial:
            if serial not in account.partial:
                yield f"Image {serial} ({account.steps.get(serial)}) lacks slices."
        unrecorded = 0 if self.alwaysRecorded else max(0, self.received - self.recorded - self.failed)
        unstored = self.failed + self.dropped + unrecorded
        if len(missing) > unstored:
            words = ", ".join(f"{one} ({account.steps[one]})" for one in missing[:5])
            yield (
                f"{len(missing)} images were sent, and {unstored} of them are accounted for: "
                f"image {words} is neither stored nor counted as failed."
            )
        if stored.unknown > account.wild:
            yield f"{stored.unknown} of the stored images are not as they were sent."

    def _reports(self) -> Iterator[str]:
        reports = self.account.reports
        warnings = [event for event in self.events if event.level != "info"]
        for one in reports:
            subject = one.get("subject")
            if subject and not any(event.subject == subject for event in warnings):
                yield f"Image {one['serial']} ({one['why']}) did not arrive, and no event names {subject}."
        counted = sum(one["report"] == "count" for one in reports)
        # A process that dies may not have counted the last one yet.
        if self.rejected < counted - self.kills - self.sessions + 1:
            yield f"{counted} messages could not be used, {self.rejected} count as rejected."
        silent = [
            one for one in reports if one["report"] in ("event", "lost") and not self.stored.copies[one["serial"]]
        ]
        if silent and not warnings:
            yield f"Image {silent[0]['serial']} ({silent[0]['why']}) did not arrive, and no event tells of anything."
