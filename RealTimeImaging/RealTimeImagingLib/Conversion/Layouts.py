"""Runs of elements that headers have in common: what was walked once is compared at once the next time.

The slices of a series have the same elements, most of them of the same length. A run is some of them in a row; where
all their beginnings (tag, value representation, length) are the same bytes as before, it needs not be walked again.
A run ends before the first element whose length was seen to change.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence, Set
from itertools import pairwise
from typing import NamedTuple

LONGEST = 32
"""Elements in a run."""
MOST = 4096
"""Runs that are remembered."""


class Element(NamedTuple):
    """Where an element was.

    :param start: of its beginning; ``value``: of its value; ``end``: of what follows.
    """

    tag: int
    start: int
    value: int
    end: int


class Run:
    """Elements in a row, as they were in one header."""

    def __init__(self, data: bytes, elements: Sequence[Element], wanted: Set[int]) -> None:
        start = elements[0].start
        self._elements = [
            one._replace(start=one.start - start, value=one.value - start, end=one.end - start) for one in elements
        ]
        self._wanted, self.first = wanted, elements[0].tag
        self._compile(data, start)

    def _compile(self, data: bytes, position: int) -> None:
        elements = self._elements
        self._beginnings = struct.Struct("".join(f"{one.value - one.start}s{one.end - one.value}x" for one in elements))
        self._expected = self._beginnings.unpack_from(data, position)
        kept = [one for one in elements if one.tag in self._wanted]
        places = [0, *(place for one in kept for place in (one.value, one.end))]
        pieces = (
            f"{after - before}{'s' if number % 2 else 'x'}" for number, (before, after) in enumerate(pairwise(places))
        )
        self._values = struct.Struct("".join(pieces))
        self._tags = [one.tag for one in kept]
        self.last, self.size = elements[-1].tag, elements[-1].end

    def take(self, data: bytes, position: int, values: dict[int, bytes]) -> tuple[int, int]:
        """How many bytes there are as expected, and the tag of the last such element; 0 and 0 when none is.

        :param values: gets the wanted values.
        """
        try:
            found = self._beginnings.unpack_from(data, position)
        except struct.error:
            return 0, 0
        if found != self._expected:
            pairs = zip(found, self._expected, strict=True)
            same = next(number for number, (here, before) in enumerate(pairs) if here != before)
            if not same:
                return 0, 0
            del self._elements[same:]
            self._compile(data, position)
        values.update(zip(self._tags, self._values.unpack_from(data, position), strict=True))
        return self.size, self.last


class Layouts:
    """The runs that are known, for one set of wanted tags and one encoding of elements."""

    def __init__(self, wanted: Set[int]) -> None:
        self._wanted = wanted
        self._runs: dict[bytes, Run] = {}

    def at(self, data: bytes, position: int) -> Run | None:
        """A run that may begin here."""
        return self._runs.get(data[position : position + 8])

    def learn(self, data: bytes, elements: Sequence[Element]) -> None:
        """Remember the runs that begin with each of these elements, which lie without gaps where ends meet starts."""
        if len(self._runs) > MOST:
            self._runs.clear()
        for number, element in enumerate(elements):
            last = number + 1
            while last < min(len(elements), number + LONGEST) and elements[last].start == elements[last - 1].end:
                last += 1
            self._runs[data[element.start : element.start + 8]] = Run(data, elements[number:last], self._wanted)
