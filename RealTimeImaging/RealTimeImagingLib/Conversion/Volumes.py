"""Volumes of a set of headers: the files of each, their order and their times."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..Formats.DICOM.Stacking import SAME_AXES, areMoments, nearOf, normalOf, placesOf
from ..Model.Files import naturalOrder
from ..Model.Frame import Matrix
from ..Model.Quantities import counted
from ..Model.Text import textsOf
from .Geometry import PICTURES, Part, UnevenError, partsOf, planeOf, unplaced
from .Headers import Common, Refused, Slice

_ = textsOf(__file__)

Key = Callable[[Slice], str]

TIMES: tuple[tuple[str, Key], ...] = (
    ("TemporalPositionIdentifier", lambda one: one.header.temporal),
    ("AcquisitionNumber", lambda one: one.header.acquisition),
    (_("the acquisition time"), lambda one: one.header.time),
    ("TriggerTime", lambda one: one.header.trigger),
)
"""Values that distinguish the volumes of a 4-D series; the first that does so is used."""


@dataclass
class Group:
    """Volumes of a series with the same places.

    :param volumes: [time][place].
    :param words: warnings about all volumes.
    :param doubled: as in Volume.
    """

    volumes: list[list[Slice]]
    words: list[str] = field(default_factory=list)
    doubled: bool = False


def slicePlaces(slices: list[Slice]) -> list[list[Slice]]:
    """Group slices by place, in order along the normal. All slices have a position."""
    plane = planeOf(slices[0])
    ordered = sorted(slices, key=byInstance)
    heights = np.array([one.header.position for one in ordered]) @ normalOf(plane)
    near = nearOf(plane, ordered[0].common.step or 1.0)
    return [[ordered[number] for number in place] for place in placesOf(heights, near)]


def groupsOf(places: list[list[Slice]]) -> list[Group]:
    """Return the volumes that the slices of these places make."""
    most = max(map(len, places))
    if most == 1:
        return [Group([[place[0] for place in places]])]
    for name, key in TIMES:
        if found := _split(places, key):
            return [Group(group, _unequal(name, group, found)) for group in found]
    if len(places) == 1:
        return [Group([[one] for one in sorted(places[0], key=byMoment)])]
    ranked = [sorted(place, key=byMoment) for place in places]
    if all(len(place) == most for place in places):
        volumes = [[place[number] for place in ranked] for number in range(most)]
        if all(len({one.weighting for one in volume}) == 1 for volume in volumes):
            return [Group(volumes)]
    if found := _split(places, lambda one: one.weighting):
        return [Group(group, _unequal("DiffusionBValue", group, found)) for group in found]
    if all(len(place) == most for place in places):
        return [Group(volumes)]
    twice = [place for place in places if len(place) > 1]
    names = ", ".join(one.path for place in twice[:3] for one in place[1:])
    names += " ..." if len(twice) > 3 else ""
    words = _("{count} of {places} places have several slices; the first of each is used, not {names}.").format(
        count=len(twice), places=len(places), names=names
    )
    return [Group([[place[0] for place in places]], [words], doubled=True)]


def _split(places: list[list[Slice]], key: Key) -> list[list[list[Slice]]]:
    # Split by the key; volumes of the same places together.
    if not areMoments([[key(one) for one in place] for place in places]):
        return []
    byValue: dict[str, dict[int, Slice]] = defaultdict(dict)
    for number, place in enumerate(places):
        for one in place:
            byValue[key(one)][number] = one
    alike: dict[tuple[int, ...], list[list[Slice]]] = defaultdict(list)
    for value in sorted(byValue, key=valueOrder):
        volume = byValue[value]
        alike[tuple(sorted(volume))].append([volume[number] for number in sorted(volume)])
    return list(alike.values())


def _unequal(name: str, group: list[list[Slice]], found: list[list[list[Slice]]]) -> list[str]:
    most = max(len(one[0]) for one in found)
    if len(found) == 1 or len(group[0]) == most:
        return []
    slices = counted(len(group[0]), _("1 slice"), _("{count:,} slices"))
    return [
        _("According to {name}, this volume has {slices}; other volumes of the series have {most}.").format(
            name=name, slices=slices, most=most
        )
    ]


def timesOf(slices: Sequence[Slice]) -> list[float] | None:
    """Return the seconds since the first, strictly increasing, or None."""
    from ..Formats.DICOM.Geometry import seconds
    from ..Formats.ImageFile import sinceFirst

    moments = [seconds(one.header.time) for one in slices]
    known = [moment for moment in moments if moment is not None]
    if len(known) == len(moments) and (found := sinceFirst(known)):
        return found
    try:
        return sinceFirst(float(one.header.trigger) / 1000 for one in slices)
    except ValueError:
        return None


def byInstance(one: Slice) -> tuple[object, ...]:
    """Sort key of slices by number."""
    number = one.header.number
    order = naturalOrder(one.path) if number is None else []
    return (number is None, number or 0, one.header.location or 0.0, order, one.path)


def byMoment(one: Slice) -> tuple[object, ...]:
    """Sort key of slices of one place by time."""
    return (*map(valueOrder, (one.header.temporal, one.header.time, one.header.trigger)), *byInstance(one))


def valueOrder(text: str) -> tuple[tuple[int, float, str], ...]:
    """Sort key of values with decimal numbers, such as times and b-values; see naturalOrder() for names of files."""
    parts = re.findall(r"\d+(?:\.\d+)?|\D+", text)
    return tuple((0, float(part), "") if part[0].isdigit() else (1, 0.0, part) for part in parts)


_SAME_MATRIX = 1e-3
"""Largest difference of the matrices of files that are whole volumes, in each number."""


@dataclass
class Volume:
    """Slices that become one file.

    :param uid: SeriesInstanceUID, or the folder of files without one.
    :param part: distinguishes the volumes of a series; empty for a single volume.
    :param slices: [time][place]; None for a missing slice. Files that are whole volumes (``common.many``): one place
        a file.
    :param ijkToLPS: 4x4 float64, millimetres.
    :param times: seconds of each volume since the first; None for one volume, or unknown times.
    :param warnings: sentences for the user.
    :param reason: reason why the slices make no file, a sentence; else empty.
    :param doubled: different slices are in one place, and nothing distinguishes them.
    """

    uid: str
    part: str
    slices: list[list[Slice | None]]
    ijkToLPS: Matrix
    times: list[float] | None = None
    warnings: list[str] = field(default_factory=list)
    reason: str = ""
    doubled: bool = False

    @property
    def incomplete(self) -> bool:
        """True when a slice is missing."""
        return any(one is None for places in self.slices for one in places)

    @property
    def count(self) -> int:
        """Number of volumes in the file."""
        return sum(one.images for one in self.files) if self.common.many else len(self.slices)

    @property
    def shape(self) -> tuple[int, ...]:
        """Slices, rows and columns of one volume."""
        if self.common.many and self.first.shape:
            return self.first.shape[:3]
        return len(self.slices[0]), self.common.rows, self.common.columns

    @property
    def first(self) -> Slice:
        """The first slice."""
        return next(one for places in self.slices for one in places if one is not None)

    @property
    def common(self) -> Common:
        """Values that the slices share."""
        return self.first.common

    @property
    def files(self) -> list[Slice]:
        """All slices that are not missing."""
        return [one for places in self.slices for one in places if one is not None]

    @property
    def key(self) -> str:
        """Key of the volume, equal in every run over the same files."""
        return f"{self.uid} {self.part}".strip()


def volumesOf(found: Iterable[Slice | Refused]) -> tuple[list[Volume], list[Refused]]:
    """Return the volumes, in the order of their first files, and the files that belong to none."""
    series: dict[str, list[Slice]] = defaultdict(list)
    refused: list[Refused] = []
    for one in found:
        if isinstance(one, Refused):
            refused.append(one)
        else:
            series[one.header.series].append(one)
    volumes = []
    for uid, slices in series.items():
        slices, copies = _withoutCopies(slices)
        refused += copies
        made = [volume for group in _alike(slices) for volume in _volumes(uid, group)]
        _distinguish(made)
        volumes += made
    return volumes, refused


def _withoutCopies(slices: list[Slice]) -> tuple[list[Slice], list[Refused]]:
    # Of files with the same SOPInstanceUID, use the first complete one. Frames of one file share its UID.
    byUID: dict[str, list[str]] = defaultdict(list)
    cut: dict[str, bool] = {}
    for one in slices:
        if one.header.uid and one.path not in cut:
            byUID[one.header.uid].append(one.path)
        cut[one.path] = cut.get(one.path, False) or bool(one.cut)
    first: dict[str, str] = {}
    for paths in byUID.values():
        if len(paths) > 1:
            kept = next((path for path in paths if not cut[path]), paths[0])
            first.update((path, kept) for path in paths if path != kept)
    if not first:
        return slices, []
    series = slices[0].header.series
    return [one for one in slices if one.path not in first], [
        Refused(path, "duplicate", _("The file is another copy of {kept}.").format(kept=kept), series)
        for path, kept in first.items()
    ]


def _alike(slices: list[Slice]) -> list[list[Slice]]:
    # Groups of slices that fit in one array. Differences in the last digits of cosines and distances do not count.
    orientations = _merged([one.header.orientation for one in slices], SAME_AXES, 0.0)
    places = _merged([one.place for one in slices if one.place], _SAME_MATRIX, 0.0) | {(): -1}
    spacings = _merged([one.common.spacing for one in slices], 0.0, SAME_AXES)
    # Equal values are mostly one object; comparing all values would take longer than all else here.
    keys: dict[tuple[object, ...], tuple[object, ...]] = {}
    groups: dict[tuple[object, ...], list[Slice]] = defaultdict(list)
    for one in slices:
        common, header = one.common, one.header
        same = id(common), id(header.orientation), header.echo
        key = keys.get(same)
        if key is None:
            key = keys[same] = (
                *(common.rows, common.columns, common.samples, common.bits, common.signed, _coloursOf(common)),
                *(header.echo, common.kind, common.many),
                *(orientations[header.orientation], spacings[common.spacing]),
            )
        if not common.many:
            groups[(*key, one.header.position is None)].append(one)
        elif common.frames > 1 and (not one.shape or one.shape[0] == 1):
            groups[(*key, one.path)].append(one)
        else:
            # One time point a file.
            groups[(*key, one.shape, places[one.place])].append(one)
    return list(groups.values())


def _coloursOf(common: Common) -> str:
    # Compressed and plain files of a series name their colours differently; decoded, they are equal.
    return "colour" if common.samples > 1 else common.photometric


def _merged(
    values: Iterable[tuple[float, ...] | None], absolute: float, relative: float
) -> dict[tuple[float, ...] | None, int]:
    places: dict[tuple[float, ...] | None, int] = {None: -1}
    kinds: list[tuple[float, ...]] = []
    for value in values:
        if value is None or value in places:
            continue
        for number, kind in enumerate(kinds):
            if all(abs(a - b) <= absolute + relative * abs(b) for a, b in zip(value, kind, strict=True)):
                places[value] = number
                break
        else:
            places[value] = len(kinds)
            kinds.append(value)
    return places


def _volumes(uid: str, slices: list[Slice]) -> list[Volume]:
    common = slices[0].common
    if common.many:
        slices = sorted(slices, key=byMoment)
        whole = [one for one in slices if not one.cut]
        words = [f"{one.path}: {one.cut}" for one in slices if one.cut]
        if not whole:
            return [Volume(uid, "", [[one] for one in slices], np.eye(4), reason=" ".join(words[:3]))]
        words += _notesOf(whole)
        return [Volume(uid, "", [[one] for one in whole], np.eye(4), timesOf(whole), words)]
    if slices[0].header.orientation is None or slices[0].header.position is None:
        if len(slices) > 1 and common.modality in PICTURES:
            slices = sorted(slices, key=byMoment)
            return [made for one in slices for made in _finished(uid, [[one]], [unplaced([one])])]
        return _finished(uid, [sorted(slices, key=byInstance)], [unplaced(sorted(slices, key=byInstance))])
    made = [volume for group in groupsOf(slicePlaces(slices)) for volume in _sameplaces(uid, group)]
    moments: dict[str, list[Slice]] = defaultdict(list)
    for one in slices:
        moments[one.header.temporal].append(one)
    if slices[0].frame >= 0 and len(moments) > 1 and any(volume.reason for volume in made):
        # Each moment has its own places, as after a motion correction: group the slices by moment first.
        groups = [group for key in sorted(moments, key=valueOrder) for group in groupsOf(slicePlaces(moments[key]))]
        made = [volume for group in groups for volume in _sameplaces(uid, group)]
    return made


def _sameplaces(uid: str, group: Group) -> list[Volume]:
    # Volumes whose slices are in the same places: several make a sequence.
    try:
        made = _finished(uid, group.volumes, partsOf(group.volumes[0]))
    except UnevenError as error:
        made = [Volume(uid, "", [list(places) for places in group.volumes], np.eye(4), reason=str(error))]
    for volume in made:
        volume.warnings += group.words
        volume.doubled = group.doubled
    return made


def _finished(uid: str, group: list[list[Slice]], parts: list[Part]) -> list[Volume]:
    volumes = []
    for part in parts:
        slices = [[None if place is None else places[place] for place in part.places] for places in group]
        times = timesOf([places[0] for places in group]) if len(group) > 1 else None
        notes = _notesOf([one for places in slices for one in places if one is not None])
        volume = Volume(uid, "", slices, part.ijkToLPS, times, [*part.warnings, *notes])
        _leaveOutCut(volume)
        volumes.append(volume)
    return volumes


def _leaveOutCut(volume: Volume) -> None:
    # A truncated file has a place, but no pixels.
    cut = [one for one in volume.files if one.cut]
    if not cut:
        return
    counts = Counter(f"{one.path}: {one.cut}" for one in cut)
    if len(cut) == len(volume.files):
        volume.reason = " ".join(list(counts)[:3])
        return
    volume.slices = [[None if one is not None and one.cut else one for one in places] for places in volume.slices]
    for words, count in counts.items():
        filled = _("The slice is") if count == 1 else _("{count} slices are").format(count=count)
        volume.warnings.append(_("{words} {filled} filled with the lowest value.").format(words=words, filled=filled))


def _notesOf(slices: Iterable[Slice]) -> list[str]:
    return list(dict.fromkeys(note for one in slices for note in one.notes))


def _distinguish(volumes: list[Volume]) -> None:
    # Names of the parts of a series, equal in every conversion of the series.
    if len(volumes) < 2:
        return
    for number, volume in enumerate(sorted(volumes, key=lambda one: naturalOrder(one.first.path)), 1):
        first, common = volume.first, volume.common
        volume.part = (
            f"{number} {common.rows}x{common.columns} {first.header.echo} {common.kind} {first.header.uid}".strip()
        )
