"""Result of a conversion: every volume, and every file that is in none; as JSON and as a table."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

DONE, SKIPPED, FAILED, CANCELLED = "done", "skipped", "failed", "cancelled"
COLUMNS = ("status", "file", "slices", "volumes", "size", "seconds", "bytes", "series", "reason", "warnings")


@dataclass(frozen=True)
class Entry:
    """A volume.

    :param status: "done", "skipped" (it was done before, and nothing has changed), "failed" or "cancelled".
    :param file: its name in the output folder; empty when there is none.
    :param key: SeriesInstanceUID, and what tells it from other volumes of the series.
    :param series: SeriesNumber and SeriesDescription.
    :param reason: why it failed, in words.
    :param warnings: what somebody should know: missing slices, uneven distances, tilt.
    :param size: columns x rows of a slice. ``slices``: of one volume. ``volumes``: more than 1 in a sequence.
    :param bytes: of its file. ``sourceBytes``: of the DICOM files.
    :param seconds: that the work on it took.
    :param fingerprint: of the source files (path, size, time) and of the settings that change what is written.
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
        """The same with other values."""
        return dataclasses.replace(self, **values)

    def toJSON(self) -> dict[str, Any]:
        """An object that :meth:`fromJSON` takes back."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def fromJSON(cls, values: dict[str, Any]) -> Entry:
        """The entry that :meth:`toJSON` wrote.

        :raises TypeError: it is no such object.
        """
        return cls(**{**values, "warnings": tuple(values.get("warnings", ()))})


@dataclass
class Report:
    """All of a conversion.

    :param files: path (below the input folder), code and reason of each file that is in no volume.
    :param seconds: from its start to its end.
    """

    input: str
    output: str
    entries: list[Entry] = field(default_factory=list)
    files: list[dict[str, str]] = field(default_factory=list)
    seconds: float = 0.0

    def count(self, status: str) -> int:
        """How many volumes have this status."""
        return sum(entry.status == status for entry in self.entries)

    @property
    def words(self) -> str:
        """One sentence."""
        counts = [f"{count} {status}" for status in (DONE, SKIPPED, FAILED, CANCELLED) if (count := self.count(status))]
        files = "1 file is" if len(self.files) == 1 else f"{len(self.files)} files are"
        others = f"; {files} in no volume" if self.files else ""
        volumes = "1 volume" if len(self.entries) == 1 else f"{len(self.entries)} volumes"
        return f"{volumes}: {', '.join(counts) or 'none'}{others}; {self.seconds:.1f} s."

    def toJSON(self) -> dict[str, Any]:
        """A flat description and the lists ``series`` and ``files``."""
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
        """Lines of values separated by commas, with a heading: volumes, then files that are in none."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for entry in self.entries:
            values = {**entry.toJSON(), "warnings": " ".join(entry.warnings), "seconds": f"{entry.seconds:.3f}"}
            writer.writerow(values[name] for name in COLUMNS)
        for one in self.files:
            writer.writerow([one["code"], one["path"], *[""] * 6, one["reason"], ""])
        return text.getvalue()


def lasting(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    if seconds < 3600:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def rows(report: Report) -> Iterator[str]:
    """A line for each volume, and one for each file that is in none."""
    for entry in report.entries:
        yield line(entry)
    for one in report.files:
        yield f"{one['code']:12} {one['path']}: {one['reason']}"


def line(entry: Entry) -> str:
    """One volume."""
    several = f" x {entry.volumes}" if entry.volumes > 1 else ""
    what = f"{entry.size} x {entry.slices}{several}, {entry.bytes / 1e6:,.1f} MB, {entry.seconds:.2f} s"
    words = f"{entry.status:12} {entry.file or entry.series}: {entry.reason or what}"
    return " ".join([words, *(f"({warning})" for warning in entry.warnings)])
