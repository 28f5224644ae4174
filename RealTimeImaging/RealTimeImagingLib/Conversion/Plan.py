"""Tasks of volumes: names, keys, types, and the division of the work."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from ..Model.NamePattern import filled
from ..Recording.Layout import candidates, fileName
from . import ConversionSettings
from .Report import UNFINISHED, Entry, State, fingerprint
from .Tasks import Outcome, Source, Task
from .Values import Scale, typesFor
from .Volumes import Volume

_REPORT = "conversion"
"""Name of the report's files."""


def safeName(pattern: str, values: Mapping[str, str]) -> str:
    """Return a name without suffix that every file system takes; "series" where the pattern leaves nothing."""
    name = fileName(filled(pattern, values).strip(" _"))
    if not name.strip("_."):
        name = "series"
    return f"_{name}" if name.split(".")[0].lower() == _REPORT else name


class Names:
    """Names of files in one folder.

    :param folder: its other files are never overwritten.
    :param ours: names of files from earlier conversions.
    """

    def __init__(self, folder: str, ours: set[str]) -> None:
        try:
            there = os.listdir(folder)
        except OSError:
            there = []
        # Upper and lower case are equal on Windows and macOS. Earlier volumes keep their names.
        self._taken = {name.lower() for name in (*there, *ours)}

    def take(self, base: str, suffix: str) -> str:
        """Return the first free name: base, base_1, base_2 ... with the suffix."""
        for candidate in candidates(base):
            name = candidate + suffix
            if name.lower() not in self._taken:
                self._taken.add(name.lower())
                return name
        raise AssertionError


PIECE = 16 << 20
"""Approximate bytes of pixels in one job: a fraction of a second, until progress and cancellation are handled."""


@dataclass
class Planned:
    """A planned volume.

    :param entry: known values; its ``file`` is the final name.
    :param done: valid entry of an earlier conversion; then there is no task.
    :param pieces: tasks that write the file together.
    """

    number: int
    volume: Volume
    entry: Entry
    task: Task | None
    done: Entry | None = None
    pieces: list[Task] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """Bytes of the stored pixels, as a measure of the work."""
        return max(1, self.entry.sourceBytes)


def plan(volumes: Iterable[Volume], settings: ConversionSettings, state: State) -> list[Planned]:
    """Plan the work for each volume, in order, and assign names."""
    names = Names(settings.output, {entry.file for entry in state.entries.values()})
    what = json.dumps(["2", sorted(settings.keys), settings.strict, settings.name])
    return [_planned(number, volume, settings, state, names, what) for number, volume in enumerate(volumes)]


def _planned(
    number: int, volume: Volume, settings: ConversionSettings, state: State, names: Names, what: str
) -> Planned:
    tags = dict(volume.common.tags)
    count, (slices, rows, columns) = volume.count, volume.shape
    entry = Entry(
        status="planned",
        file="",
        key=volume.key,
        series=" ".join(filter(None, (tags.get("SeriesNumber"), tags.get("SeriesDescription")))) or volume.uid,
        reason=volume.reason,
        warnings=tuple(volume.warnings),
        size=f"{columns} x {rows}",
        slices=slices,
        volumes=count,
        sourceBytes=_sourceBytes(volume),
        fingerprint=fingerprint(volume.files, settings.input, what),
    )
    if settings.strict and (volume.incomplete or volume.doubled) and not volume.reason:
        entry = entry.replaced(reason=" ".join(volume.warnings))
    if entry.reason:
        return Planned(number, volume, entry, None)
    known = state.entries.get(volume.key)
    done = state.isDone(volume.key, entry.fingerprint)
    suffix = ".seq.nrrd" if count > 1 else ".nrrd"
    if known and known.file.endswith(".seq.nrrd") == suffix.startswith(".seq"):
        # Even with added or changed files, or other keys: the new file replaces the old one.
        name = known.file
        entry = entry.replaced(bytes=known.bytes)
    else:
        name = names.take(safeName(settings.name, tags), suffix)
    entry = entry.replaced(file=name)
    return Planned(number, volume, entry, None if done else _task(number, volume, settings, name), done)


def _task(number: int, volume: Volume, settings: ConversionSettings, name: str) -> Task:
    common = volume.common
    scales: dict[Scale, int] = {}
    places: dict[int, int] = {}
    sources: list[Source | None] = []
    for slices in volume.slices:
        for one in slices:
            if one is None:
                sources.append(None)
                continue
            place = places.get(id(one.common))
            if place is None:
                place = places[id(one.common)] = scales.setdefault(Scale.of(one.common), len(scales))
            sources.append(Source(one.path, one.size, one.modified, one.offset, place, one.frame))
    colour = (3,) if common.samples > 1 or common.photometric == "PALETTE COLOR" else ()
    shape = (len(volume.slices[0]), common.rows, common.columns, *colour)
    count = len(volume.slices)
    return Task(
        number=number,
        path=os.path.join(settings.output, name) + UNFINISHED,
        shape=() if common.many else shape,
        volumes=count if count > 1 else None,
        times=volume.times,
        ijkToLPS=tuple(volume.ijkToLPS.ravel().tolist()),
        types=typesFor(scales) if all(scale.dtype for scale in scales) else [],
        scales=list(scales),
        sources=sources,
        begin=0,
        pairs=_keys(volume, settings.keys),
        strict=settings.strict,
    )


def _sourceBytes(volume: Volume) -> int:
    # A multi-frame file counts with the used frames only.
    wholes = {one.path: one.size for one in volume.files if one.frame < 0}
    frames = sum(one.common.sliceBytes for one in volume.files if one.frame >= 0)
    return sum(wholes.values()) + frames


def _keys(volume: Volume, wanted: Iterable[str]) -> dict[str, str]:
    # Values that differ between files do not describe the volume.
    kinds = {id(one.common): one.common.tags for one in volume.files}
    found = dict(volume.common.tags)
    for tags in kinds.values():
        other = dict(tags)
        found = {name: value for name, value in found.items() if other.get(name) == value}
    keys = {name: found[name] for name in wanted if name in found}
    places = [number + 1 for number, one in enumerate(volume.slices[0]) if one is None]
    if places:
        keys["MissingSlices"] = " ".join(map(str, places))
    return keys


def divided(planned: Planned, workers: int) -> list[Task]:
    """Divide the task into pieces for several processes; one piece when it cannot be divided."""
    task = planned.task
    assert task is not None
    planes = len(task.sources)
    if not task.types or None in task.sources:
        return [task]
    plane = int(np.prod(task.shape[1:])) * max(np.dtype(scale.dtype).itemsize for scale in task.scales)
    each = max(1, PIECE // plane)
    if planes < 2 * each and (planes < 2 * workers or planes * plane < PIECE // 2):
        return [task]
    each = min(each, -(-planes // workers))
    return [task._replace(begin=begin, sources=task.sources[begin : begin + each]) for begin in range(0, planes, each)]


def batches(planned: Iterable[Planned]) -> Iterator[list[Planned]]:
    """Group small volumes, so that a job is worth its transfer."""
    batch: list[Planned] = []
    size = 0
    for one in planned:
        if batch and size + one.bytes > PIECE:
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += one.bytes
    if batch:
        yield batch
