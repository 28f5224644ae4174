"""Gaps in the numbers of files, such as a missing vol_0008.nii between vol_0007.nii and vol_0009.nii."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ...Model.Event import Event
from ...Model.Files import naturalOrder
from ...Model.Text import textsOf

_ = textsOf(__file__)

CONFIRMED = 3
"""Steps of 1 after which a number in the names counts as the number of the series."""
LONGEST_GAP = 100
"""Most numbers that count as missing; a larger step begins another run."""
PATIENCE = 2.0
"""Seconds, and at least three times the time between two files, after which a number that was left out is missing."""
MOST_SERIES = 1000
"""Most series that are followed, and most names of missing files, so that no folder can fill the memory."""
TIME_DIGITS, TIME_FROM = 6, 10_000
"""A number of so many digits, from this value on, is a time (HHMMSS), a date or an identifier, and counts nothing."""

_NUMBER = re.compile(r"\d+")


@dataclass
class _Series:
    """Names that differ in one number."""

    before: str
    after: str
    last: int
    width: int
    changed: float
    steps: int = 0
    periods: deque[float] = field(default_factory=lambda: deque(maxlen=5))
    missing: dict[int, float] = field(default_factory=dict)
    """Numbers that were left out, with the time of the file behind them; none is reported yet."""

    def name(self, number: int) -> str:
        return f"{self.before}{number:0{self.width}d}{self.after}"


class NumberedSeries:
    """Watch over the numbers in file names.

    A number counts as that of a series once it has grown by one CONFIRMED times. From then on a file that was left out
    is named when it does not arrive in time, and again when it arrives later.
    """

    def __init__(self) -> None:
        self._series: dict[tuple[str, str], _Series] = {}
        self._missing: dict[str, None] = {}
        """Names that were reported as missing, in the order of the reports."""

    @property
    def due(self) -> float:
        """Monotonic time at which :meth:`overdue` has to look again; infinity when nothing is left out."""
        return min((self._due(one) for one in self._series.values() if one.missing), default=float("inf"))

    def add(self, names: Iterable[str], now: float) -> Iterator[Event]:
        """Take the names of new files; yield an event for each file that arrives late.

        :param now: monotonic seconds.
        """
        for name in sorted(names, key=naturalOrder):
            if name in self._missing:
                del self._missing[name]
                yield Event("file-late", _("{name} arrived late.").format(name=name), "warning", name)
                continue
            for match in _NUMBER.finditer(name):
                if len(match[0]) < TIME_DIGITS or int(match[0]) < TIME_FROM:
                    self._step(name, match, now)

    def overdue(self, now: float) -> Iterator[Event]:
        """Yield an event for each run of numbers that is missing.

        :param now: monotonic seconds.
        """
        for one in self._series.values():
            if one.missing and self._due(one) <= now:
                numbers = [number for number in sorted(one.missing) if one.name(number) not in self._missing]
                one.missing.clear()
                yield from self._report(one, numbers)

    def _report(self, one: _Series, numbers: list[int]) -> Iterator[Event]:
        if not numbers:
            return  # the names have two numbers, and the other one has reported them
        self._missing |= dict.fromkeys(map(one.name, numbers))
        while len(self._missing) > MOST_SERIES:
            del self._missing[next(iter(self._missing))]
        first = one.name(numbers[0])
        if len(numbers) == 1:
            then = one.name(numbers[0] + 1)
            text = _("{name} is missing: {then} has already arrived.").format(name=first, then=then)
        else:
            values = {"count": len(numbers), "first": first, "last": one.name(numbers[-1])}
            text = _("{count} files are missing, from {first} to {last}.").format(**values)
        yield Event("file-missing", text, "warning", first)

    def _step(self, name: str, match: re.Match[str], now: float) -> None:
        key = name[: match.start()], name[match.end() :]
        number, width = int(match[0]), len(match[0])
        one = self._series.get(key)
        if one is None:
            if len(self._series) >= MOST_SERIES:
                del self._series[next(iter(self._series))]
            self._series[key] = _Series(*key, number, width, now)
            return
        # A date in the names begins a series with each file: the ones that go on must outlive those.
        self._series[key] = self._series.pop(key)
        if number in one.missing:
            del one.missing[number]
            return
        if number == one.last + 1:
            one.steps += 1
        elif one.steps >= CONFIRMED and 1 < number - one.last <= LONGEST_GAP:
            one.missing |= dict.fromkeys(range(one.last + 1, number), now)
        else:
            # Another run with the same names, or a number that counts nothing.
            one.steps, one.missing = 0, {}
        one.periods.append(now - one.changed)
        one.last, one.width, one.changed = number, width, now

    def _due(self, one: _Series) -> float:
        period = sorted(one.periods)[len(one.periods) // 2] if one.periods else 0.0
        return max(one.missing.values()) + max(PATIENCE, 3 * period)
