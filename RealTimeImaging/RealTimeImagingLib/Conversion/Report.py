"""Report of a conversion: every volume, and every file that is in none. The next conversion reads it.

Files in the output folder:

    conversion.json     the report of the last conversion
    conversion.csv      the same as a table
    conversion.jsonl    while a conversion runs: one line for each planned volume, and one for each finished volume
    conversion.lock     while a conversion runs

A line is written before a file gets its name, so that the file is known after any crash.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..Model.Errors import ConversionError
from ..Model.Files import parsedJSON, reasonOf, replaceFile, writeAll
from ..Model.Quantities import counted
from ..Model.Text import textsOf
from ..Recording.Lock import Lock
from .Headers import Slice

_ = textsOf(__file__)

DONE, SKIPPED, FAILED, CANCELLED = "done", "skipped", "failed", "cancelled"
COLUMNS = ("status", "file", "slices", "volumes", "size", "seconds", "bytes", "series", "reason", "warnings")


@dataclass(frozen=True)
class Entry:
    """A volume in the report.

    :param status: "done", "skipped" (done before and unchanged), "failed" or "cancelled".
    :param file: name in the output folder; empty when there is no file.
    :param key: SeriesInstanceUID, and the part that distinguishes volumes of one series.
    :param series: SeriesNumber and SeriesDescription.
    :param reason: reason of the failure, a sentence.
    :param warnings: sentences about missing slices, uneven distances, tilt.
    :param size: columns x rows of a slice. ``slices``: slices of one volume. ``volumes``: more than 1 in a sequence.
    :param bytes: size of the file. ``sourceBytes``: size of the DICOM files.
    :param seconds: working time.
    :param fingerprint: digest of the source files (path, size, time) and of the settings that change the file.
    """

    status: str
    file: str
    key: str
    series: str = ""
    reason: str = ""
    warnings: tuple[str, ...] = ()
    size: str = ""
    slices: int = 0
    volumes: int = 1
    bytes: int = 0
    sourceBytes: int = 0
    seconds: float = 0.0
    fingerprint: str = ""

    def replaced(self, **values: Any) -> Entry:
        """Return a copy with other values."""
        return dataclasses.replace(self, **values)

    def toJSON(self) -> dict[str, Any]:
        """Return an object that :meth:`fromJSON` reads."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def fromJSON(cls, values: dict[str, Any]) -> Entry:
        """Make the entry of an object by :meth:`toJSON`.

        :raises TypeError: the object is another one.
        """
        return cls(**{**values, "warnings": tuple(values.get("warnings", ()))})


@dataclass
class Report:
    """Report of a conversion.

    :param files: path (below the input folder), code and reason of each file that is in no volume.
    :param seconds: duration of the conversion.
    """

    input: str
    output: str
    entries: list[Entry] = field(default_factory=list)
    files: list[dict[str, str]] = field(default_factory=list)
    seconds: float = 0.0

    def count(self, status: str) -> int:
        """Return the number of volumes with this status."""
        return sum(entry.status == status for entry in self.entries)

    @property
    def words(self) -> str:
        """The result in one sentence."""
        counts = [f"{count} {status}" for status in (DONE, SKIPPED, FAILED, CANCELLED) if (count := self.count(status))]
        others = ""
        if self.files:
            others = counted(len(self.files), _("; 1 file is in no volume"), _("; {count:,} files are in no volume"))
        volumes = counted(len(self.entries), _("1 volume"), _("{count:,} volumes"))
        text = _("{volumes}: {counts}{others}; {seconds:.1f} s.")
        return text.format(volumes=volumes, counts=", ".join(counts) or _("none"), others=others, seconds=self.seconds)

    def toJSON(self) -> dict[str, Any]:
        """Return a flat description and the lists ``series`` and ``files``."""
        return {
            "version": 1,
            "input": self.input,
            "output": self.output,
            **{status: self.count(status) for status in (DONE, SKIPPED, FAILED, CANCELLED)},
            "bytes": sum(entry.bytes for entry in self.entries),
            "seconds": round(self.seconds, 3),
            "series": [entry.toJSON() for entry in self.entries],
            "files": self.files,
        }

    def table(self) -> str:
        """Return the report as CSV with a heading: volumes, then files that are in none."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for entry in self.entries:
            values = {**entry.toJSON(), "warnings": " ".join(entry.warnings), "seconds": f"{entry.seconds:.3f}"}
            writer.writerow(values[name] for name in COLUMNS)
        for one in self.files:
            writer.writerow([one["code"], one["path"], *[""] * 6, one["reason"], ""])
        return text.getvalue()


def rows(report: Report) -> Iterator[str]:
    """Yield a line for each volume, and one for each file that is in none."""
    for entry in report.entries:
        yield line(entry)
    for one in report.files:
        yield f"{one['code']:12} {one['path']}: {one['reason']}"


def line(entry: Entry) -> str:
    """Return a line about one volume."""
    several = f" x {entry.volumes}" if entry.volumes > 1 else ""
    what = f"{entry.size} x {entry.slices}{several}, {entry.bytes / 1e6:,.1f} MB, {entry.seconds:.2f} s"
    words = f"{entry.status:12} {entry.file or entry.series}: {entry.reason or what}"
    return " ".join([words, *(f"({warning})" for warning in entry.warnings)])


REPORT, TABLE, LINES, LOCK = (f"conversion{suffix}" for suffix in (".json", ".csv", ".jsonl", ".lock"))
UNFINISHED = ".part"


class State:
    """State of an output folder, locked from construction to :meth:`close`.

    :raises ConversionError: another conversion writes there, or the folder is not writable.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        try:
            os.makedirs(folder, exist_ok=True)
            lock = Lock.claim(self._path(LOCK)) or Lock.takeOver(self._path(LOCK))
        except OSError as error:
            raise ConversionError(
                _("{folder} cannot be written: {reason}.").format(folder=folder, reason=reasonOf(error))
            ) from error
        if lock is None:
            raise ConversionError(_("Another conversion writes into {folder}.").format(folder=folder))
        self._lock = lock
        self.entries: dict[str, Entry] = {}
        """Entries of this and of earlier conversions, by key: existing and planned files."""
        self._handle = -1
        try:
            self._load()
            self._sweep()
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
            self._handle = os.open(self._path(LINES), flags, 0o666)
        except OSError as error:
            self._lock.release(remove=True)
            raise ConversionError(
                _("{folder} cannot be written: {reason}.").format(folder=folder, reason=reasonOf(error))
            ) from error

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
        # Remove the unfinished files of a killed conversion.
        for entry in self.entries.values():
            try:
                os.unlink(self._path(entry.file) + UNFINISHED)
            except FileNotFoundError:
                pass

    def isDone(self, key: str, fingerprint: str) -> Entry | None:
        """Return the entry of a volume whose file is complete and comes from the same sources and settings."""
        entry = self.entries.get(key)
        if entry is None or entry.status not in (DONE, SKIPPED) or entry.fingerprint != fingerprint:
            return None
        try:
            size = os.path.getsize(self._path(entry.file))
        except OSError:
            return None
        return entry if size == entry.bytes else None

    def note(self, entries: Iterable[Entry]) -> None:
        """Store entries at once.

        :raises OSError: they cannot be written.
        """
        lines = []
        for entry in entries:
            if entry.file:
                self.entries[entry.key] = entry
                lines.append(json.dumps(entry.toJSON(), separators=(",", ":")) + "\n")
        writeAll(self._handle, "".join(lines).encode())

    def finish(self, report: Report) -> None:
        """Write the report and the table; volumes that are no longer in the input stay stored.

        :raises OSError: they cannot be written; stored entries stay.
        """
        values = report.toJSON()
        current = {entry.key for entry in report.entries if entry.file}
        values["former"] = len(self.entries.keys() - current)
        text = json.dumps(values, indent=1, ensure_ascii=False)
        replaceFile(self._path(REPORT), text.encode("utf-8", "replace"), private=False)
        # The byte order mark tells spreadsheets the encoding.
        replaceFile(self._path(TABLE), report.table().encode("utf-8-sig", "replace"), private=False)
        os.close(self._handle)
        self._handle = -1
        former = [entry for key, entry in self.entries.items() if key not in current]
        if former:
            lines = "".join(json.dumps(entry.toJSON(), separators=(",", ":")) + "\n" for entry in former)
            replaceFile(self._path(LINES), lines.encode(), private=False)
        else:
            os.unlink(self._path(LINES))

    def close(self) -> None:
        """Unlock the folder."""
        if self._handle != -1:
            os.close(self._handle)
            self._handle = -1
        self._lock.release(remove=True)


def _parsed(line: str) -> Any:
    # The last line of a killed process may be incomplete.
    try:
        return parsedJSON(line)
    except ValueError:
        return None


def fingerprint(slices: Iterable[Slice], folder: str, settings: str) -> str:
    """Return a digest of source files, with their paths below the folder, and of settings."""
    digest = hashlib.sha256(settings.encode())
    start = len(folder) + 1
    for one in sorted(slices, key=lambda one: one.path):
        digest.update(f"{one.path[start:]}\0{one.size}\0{one.modified}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
