"""Counts, sizes and durations in words, and names with numbers."""

from __future__ import annotations

import itertools
from collections.abc import Collection

from .Text import textsOf

_ = textsOf(__file__)


def counted(count: int, one: str, several: str) -> str:
    """Return the text that fits a count, with the count in it, such as "1 slice" or "1,200 slices".

    :param one: text for a count of 1, such as "1 slice".
    :param several: text for any other count, such as "{count:,} slices".
    """
    return (one if count == 1 else several).format(count=count)


def sizeText(count: float) -> str:
    """Return a number of bytes in a suitable unit, such as "36.0 MB" or "77.1 GB".

    :param count: bytes.
    """
    if count < 999.5:
        return _("{count:.0f} bytes").format(count=count)
    units = ["kB", "MB", "GB", "TB"]
    count /= 1000
    while count >= 999.95 and len(units) > 1:
        count /= 1000
        del units[0]
    return f"{count:.1f} {units[0]}"


def freeName(wanted: str, taken: Collection[str], form: str = "{name} {number}") -> str:
    """Return the name when it is free, or else the first free one of "name 2", "name 3" and so on.

    :param form: of a name with a number, such as "{name} ({number})".
    """
    if wanted not in taken:
        return wanted
    numbered = (form.format(name=wanted, number=number) for number in itertools.count(2))
    return next(name for name in numbered if name not in taken)


def rateText(rate: float) -> str:
    """Return a rate without its unit: one decimal, or two digits when it is below 1, such as "10.0" or "0.033".

    :param rate: per second.
    """
    return f"{rate:.1f}" if rate >= 0.95 or not rate else f"{rate:.2g}"


def durationText(seconds: float) -> str:
    """Return a duration in a suitable unit, such as "40 s", "3 min" or "2.5 h".

    :param seconds: seconds.
    """
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    if seconds < 3600:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
