"""A report for people who read it in a terminal or in the panel."""

from __future__ import annotations

from collections.abc import Iterator

from .Report import Entry, Report


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
