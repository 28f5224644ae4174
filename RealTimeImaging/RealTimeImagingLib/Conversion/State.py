"""What the output folder remembers: which file is of which volume, from which sources, and how large it is.

    conversion.json     the report of the last conversion, which is the memory for the next
    conversion.csv      the same as a table
    conversion.jsonl    while a conversion runs: a line for each volume that is planned, and one for each that is done
    conversion.lock     while a conversion runs

A line is written before a file gets its name, so that a name that is there is known after any crash.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from typing import Any

from ..Model.Errors import ConversionError
from ..Recording.Header import replaceFile
from ..Recording.Lock import Lock
from .Headers import Slice
from .Report import DONE, SKIPPED, Entry, Report

REPORT, TABLE, LINES, LOCK = (f"conversion{suffix}" for suffix in (".json", ".csv", ".jsonl", ".lock"))
UNFINISHED = ".part"


class State:
    """The memory of one output folder, held from construction to :meth:`close`.

    :raises ConversionError: another conversion writes there, or the folder cannot be written.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        try:
            os.makedirs(folder, exist_ok=True)
            lock = Lock.claim(self._path(LOCK)) or Lock.takeOver(self._path(LOCK))
        except OSError as error:
            raise ConversionError(f"{folder} cannot be written: {error.strerror or error}.") from error
        if lock is None:
            raise ConversionError(f"Another conversion writes into {folder}.")
        self._lock = lock
        self.entries: dict[str, Entry] = {}
        """By key, of this and of former conversions: what is in the folder, or was planned to be."""
        self._handle = -1
        try:
            self._load()
            self._sweep()
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
            self._handle = os.open(self._path(LINES), flags, 0o666)
        except OSError as error:
            self._lock.release(remove=True)
            raise ConversionError(f"{folder} cannot be written: {error.strerror or error}.") from error

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name)

    def _load(self) -> None:
        try:
            with open(self._path(REPORT), encoding="utf-8") as file:
                known = json.load(file)["series"]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            known = []
        try:
            with open(self._path(LINES), encoding="utf-8", errors="replace") as file:
                known += [_parsed(line) for line in file]
        except FileNotFoundError:
            pass
        for values in known:
            try:
                entry = Entry.fromJSON(values)
            except (TypeError, AttributeError):
                continue
            if entry.file and os.path.basename(entry.file) == entry.file:
                self.entries[entry.key] = entry

    def _sweep(self) -> None:
        # What a conversion that was killed was writing.
        for entry in self.entries.values():
            try:
                os.unlink(self._path(entry.file) + UNFINISHED)
            except FileNotFoundError:
                pass

    def isDone(self, key: str, fingerprint: str) -> Entry | None:
        """The entry of a volume whose file is there, whole, and made of the same sources with the same settings."""
        entry = self.entries.get(key)
        if entry is None or entry.status not in (DONE, SKIPPED) or entry.fingerprint != fingerprint:
            return None
        try:
            size = os.path.getsize(self._path(entry.file))
        except OSError:
            return None
        return entry if size == entry.bytes else None

    def note(self, entries: Iterable[Entry]) -> None:
        """Remember, before anything else happens.

        :raises OSError: it cannot be written.
        """
        lines = []
        for entry in entries:
            if entry.file:
                self.entries[entry.key] = entry
                lines.append(json.dumps(entry.toJSON(), separators=(",", ":")) + "\n")
        data = "".join(lines).encode()
        while data:
            data = data[os.write(self._handle, data) :]

    def finish(self, report: Report) -> None:
        """Write the report and the table; volumes that are not in the input any more stay remembered.

        :raises OSError: they cannot be written; what was noted stays.
        """
        values = report.toJSON()
        current = {entry.key for entry in report.entries if entry.file}
        values["former"] = len(self.entries.keys() - current)
        text = json.dumps(values, indent=1, ensure_ascii=False)
        replaceFile(self._path(REPORT), text.encode("utf-8", "replace"))
        # With a mark by which spreadsheets know the encoding.
        replaceFile(self._path(TABLE), report.table().encode("utf-8-sig", "replace"))
        os.close(self._handle)
        self._handle = -1
        former = [entry for key, entry in self.entries.items() if key not in current]
        if former:
            lines = "".join(json.dumps(entry.toJSON(), separators=(",", ":")) + "\n" for entry in former)
            replaceFile(self._path(LINES), lines.encode())
        else:
            os.unlink(self._path(LINES))

    def close(self) -> None:
        """Let go of the folder."""
        if self._handle != -1:
            os.close(self._handle)
            self._handle = -1
        self._lock.release(remove=True)


def _parsed(line: str) -> Any:
    # The last line of a process that was killed may be half.
    try:
        return json.loads(line)
    except ValueError:
        return None


def fingerprint(slices: Iterable[Slice], folder: str, settings: str) -> str:
    """Of source files, whose paths are taken below the folder, and of settings."""
    digest = hashlib.sha256(settings.encode())
    start = len(folder) + 1
    for one in sorted(slices, key=lambda one: one.path):
        digest.update(f"{one.path[start:]}\0{one.size}\0{one.modified}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
