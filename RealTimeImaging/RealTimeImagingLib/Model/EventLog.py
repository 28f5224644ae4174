"""The events of a run, with equal ones folded into one line."""

from __future__ import annotations

import csv
import io
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from .Event import Event

KEPT = 1000
"""Most different events; the ones that came last longest ago are forgotten."""


@dataclass
class EqualEvents:
    """Events with the same level and text.

    :param count: number of events from ``first`` to ``last``.
    """

    first: Event
    last: Event
    count: int = 1


class EventLog:
    """Events of a run in the order in which they last came. Adding one takes the same time, however many there are."""

    def __init__(self) -> None:
        self._found: OrderedDict[tuple[str, str], EqualEvents] = OrderedDict()
        self.version = 0
        """Number that changes with every change."""

    def add(self, event: Event) -> None:
        """Add an event."""
        self.version += 1
        key = event.level, str.__str__(event.text)
        equal = self._found.get(key)
        if equal is None:
            self._found[key] = EqualEvents(event, event)
            if len(self._found) > KEPT:
                self._found.popitem(last=False)
        else:
            equal.last, equal.count = event, equal.count + 1
            self._found.move_to_end(key)

    def clear(self) -> None:
        """Forget all events."""
        self._found.clear()
        self.version += 1

    def newest(self, most: int = KEPT, warnings: bool = False) -> list[EqualEvents]:
        """Return the newest events, the last one first.

        :param warnings: True for warnings and errors only.
        """
        return list(islice(self._chosen(warnings), most))

    def _chosen(self, warnings: bool) -> Iterator[EqualEvents]:
        return (one for one in reversed(self._found.values()) if not warnings or one.last.level != "info")

    def toCSV(self, warnings: bool = False, words: Callable[[str], str] = str) -> str:
        """Return a table with the columns first, last, count, level, code, subject and text, the oldest first.

        Times are local, as in 2026-05-04 16:30:00.

        :param warnings: True for warnings and errors only.
        :param words: returns a text in the user's language.
        """
        written = io.StringIO()
        table = csv.writer(written, lineterminator="\n")
        table.writerow(["first", "last", "count", "level", "code", "subject", "text"])
        for one in reversed(self.newest(warnings=warnings)):
            times = [time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time)) for event in (one.first, one.last)]
            table.writerow([*times, one.count, one.last.level, one.last.code, one.last.subject, words(one.last.text)])
        return written.getvalue()
