"""A series in places and times: which slices lie where, and which of those in one place belong to which volume."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from .Geometry import normalOf
from .Headers import Slice

Key = Callable[[Slice], str]

TIMES: tuple[tuple[str, Key], ...] = (
    ("TemporalPositionIdentifier", lambda one: one.temporal),
    ("AcquisitionNumber", lambda one: one.acquisition),
    ("the acquisition time", lambda one: one.time),
    ("TriggerTime", lambda one: one.trigger),
)
"""What tells the volumes of a 4-D series apart; the first that does is taken."""


@dataclass
class Group:
    """Volumes of a series with the same places.

    :param volumes: [time][place].
    :param words: warnings of all of them.
    :param doubled: as that of Volume.
    """

    volumes: list[list[Slice]]
    words: list[str] = field(default_factory=list)
    doubled: bool = False


def placesOf(slices: list[Slice]) -> list[list[Slice]]:
    """The slices of each place along the normal, in its direction; they all have a position."""
    common = slices[0].common
    heights = np.array([one.position for one in slices]) @ normalOf(common)
    order = sorted(range(len(slices)), key=lambda number: (heights[number], byInstance(slices[number])))
    near = 0.01 * min(common.spacing or (1.0, 1.0))
    places: list[list[Slice]] = []
    base = -np.inf
    for number in order:
        if heights[number] - base > near:
            places.append([])
            base = heights[number]
        places[-1].append(slices[number])
    return places


def groupsOf(places: list[list[Slice]]) -> list[Group]:
    """The volumes that the slices of these places make."""
    most = max(map(len, places))
    if most == 1:
        return [Group([[place[0] for place in places]])]
    for name, key in TIMES:
        if found := _split(places, most, key):
            return [Group(group, _unequal(name, group, found)) for group in found]
    if len(places) == 1:
        return [Group([[one] for one in sorted(places[0], key=byMoment)])]
    ranked = [sorted(place, key=byMoment) for place in places]
    if all(len(place) == most for place in places):
        volumes = [[place[number] for place in ranked] for number in range(most)]
        if all(len({one.weighting for one in volume}) == 1 for volume in volumes):
            return [Group(volumes)]
    if found := _split(places, most, lambda one: one.weighting):
        return [Group(group, _unequal("DiffusionBValue", group, found)) for group in found]
    if all(len(place) == most for place in places):
        return [Group(volumes)]
    twice = [place for place in places if len(place) > 1]
    names = ", ".join(one.path for place in twice[:3] for one in place[1:])
    words = f"In {len(twice)} of {len(places)} places lie several slices; the first of each is used, not {names}"
    words += " ..." if len(twice) > 3 else "."
    return [Group([[place[0] for place in places]], [words], doubled=True)]


def _split(places: list[list[Slice]], most: int, key: Key) -> list[list[list[Slice]]]:
    # By the key, when no place has two slices of the same value; volumes of the same places together.
    byValue: dict[str, dict[int, Slice]] = defaultdict(dict)
    count = 0
    for number, place in enumerate(places):
        for one in place:
            volume = byValue[key(one)]
            if number in volume:
                return []
            volume[number] = one
            count += 1
    if len(byValue) < most or len(byValue) > 2 * most or (len(places) > 1 and 2 * len(byValue) > count):
        return []
    alike: dict[tuple[int, ...], list[list[Slice]]] = defaultdict(list)
    for value in sorted(byValue, key=natural):
        volume = byValue[value]
        alike[tuple(sorted(volume))].append([volume[number] for number in sorted(volume)])
    return list(alike.values())


def _unequal(name: str, group: list[list[Slice]], found: list[list[list[Slice]]]) -> list[str]:
    most = max(len(one[0]) for one in found)
    if len(found) == 1 or len(group[0]) == most:
        return []
    slices = "1 slice" if len(group[0]) == 1 else f"{len(group[0])} slices"
    return [f"By {name} this volume has {slices} where others of the series have {most}."]


def timesOf(slices: Sequence[Slice]) -> list[float] | None:
    """Seconds since the first, strictly increasing, or None."""
    from ..Readers.DICOMGeometry import seconds
    from ..Readers.ImageFile import sinceFirst

    moments = [seconds(one.time) for one in slices]
    known = [moment for moment in moments if moment is not None]
    if len(known) == len(moments) and (found := sinceFirst(known)):
        return found
    try:
        return sinceFirst(float(one.trigger) / 1000 for one in slices)
    except ValueError:
        return None


def byInstance(one: Slice) -> tuple[object, ...]:
    """By this, slices are sorted as they are numbered."""
    number = one.instance
    return (number is None, number or 0, one.location or 0.0, natural(one.path) if number is None else (), one.path)


def byMoment(one: Slice) -> tuple[object, ...]:
    """By this, slices of one place are sorted as they were taken."""
    return (natural(one.temporal), natural(one.time), natural(one.trigger), *byInstance(one))


def natural(text: str) -> tuple[tuple[int, float, str], ...]:
    """By this, texts are sorted with the numbers in them as numbers."""
    parts = re.findall(r"\d+(?:\.\d+)?|\D+", text)
    return tuple((0, float(part), "") if part[0].isdigit() else (1, 0.0, part) for part in parts)
