"""Stacks of slices with what to report about them: gaps, uneven distances, tilt, and parts of another distance.

Sources: PS3.3 section C.7.6.2.1.1 (image position and orientation). All coordinates are LPS millimetres.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from ..Formats.DICOM.Geometry import PROJECTIONS
from ..Formats.DICOM.Stacking import ARRIVING, CONVERTED, EVEN, TILT, Stack, normalOf, stacked, stackMatrix
from ..Model.Frame import Matrix
from ..Model.Text import textsOf
from .Headers import Slice

_ = textsOf(__file__)

PICTURES = (*PROJECTIONS, "CR", "DX", "MG", "IO", "PX")
"""Modalities whose files without positions are pictures, and no slices of a volume."""
_MOST_RUNS = 4
"""Most parts into which a change of the slice distance divides a series."""


class UnevenError(Exception):
    """The slices make no volume. The message has the reason."""


@dataclass(frozen=True)
class Part:
    """Stack of a series, mostly the only one, with what to report about it.

    :param places: index of the slice at each place of the stack, None for a missing slice.
    :param ijkToLPS: 4x4 float64; a tilt is kept.
    :param warnings: sentences.
    """

    places: list[int | None]
    ijkToLPS: Matrix
    warnings: list[str] = field(default_factory=list)


def planeOf(one: Slice) -> Matrix:
    """Return the 4x4 matrix (LPS) of a slice at the origin; the third column has the direction of the normal."""
    assert one.header.orientation is not None
    return _plane(one.header.orientation, one.common.spacing or (1.0, 1.0))


@lru_cache
def _plane(orientation: tuple[float, ...], spacing: tuple[float, float]) -> Matrix:
    # Direction cosines have the length 1, but for rounding: other lengths would scale the image.
    along, down = (np.array(axis) / (np.linalg.norm(axis) or 1.0) for axis in (orientation[:3], orientation[3:]))
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1], matrix[:3, 2] = along * spacing[0], down * spacing[1], np.cross(along, down)
    matrix.flags.writeable = False
    return matrix


def partsOf(slices: Sequence[Slice]) -> list[Part]:
    """Return the stacks that slices make, in order along the normal.

    Evenly spaced slices make one stack, even with gaps. They make several where the distance changes.

    :param slices: sorted along the normal, each in another place, with position and orientation.
    :raises UnevenError: the slices make no volume.
    """
    positions = np.array([one.header.position for one in slices])
    plane = planeOf(slices[0])
    whole = stacked(positions, plane, CONVERTED) if len(slices) > 1 else None
    if whole is not None and not _changesForGood(whole.numbers):
        return [_whole(whole)]
    single = normalOf(plane) * (slices[0].common.step or 1.0)
    if len(slices) == 1:
        matrix = plane.copy()
        matrix[:3, 2], matrix[:3, 3] = single, positions[0]
        return [Part([0], matrix)]
    runs = _runs(positions, plane)
    if len(runs) <= _MOST_RUNS:
        return [_part(positions, plane, runs, number, single) for number in range(len(runs))]
    # What was one volume when it arrived is one here.
    whole = stacked(positions, plane, replace(CONVERTED, missing=ARRIVING.missing, few=ARRIVING.few))
    if whole is not None:
        return [_whole(whole)]
    gaps = np.diff(positions @ normalOf(plane))
    common_, count = Counter(np.round(gaps, 3).tolist()).most_common(1)[0]
    raise UnevenError(
        _(
            "{count} slices are unevenly spaced, {min:.3g} to {max:.3g} mm apart ({often} of {gaps} gaps "
            "are {step:.3g} mm): they make no volume."
        ).format(count=len(slices), min=gaps.min(), max=gaps.max(), often=count, gaps=len(gaps), step=common_)
    )


def _whole(stack: Stack) -> Part:
    places: list[int | None] = [None] * (stack.numbers[-1] + 1)
    for number, place in enumerate(stack.numbers):
        places[place] = number
    absent = [str(place + 1) for place, number in enumerate(places) if number is None]
    words = []
    if absent:
        names = ", ".join(absent[:10]) + (" ..." if len(absent) > 10 else "")
        words.append(
            _("{count} of {places} slices are missing (number {names}); they are filled with the lowest value.").format(
                count=len(absent), places=len(places), names=names
            )
        )
    elif stack.deviation > EVEN * float(np.linalg.norm(stack.matrix[:3, 2])):
        off = _("slices are up to {deviation:.3g} mm off their even places.").format(deviation=stack.deviation)
        words.append(_("The slice distance is uneven: {off}").format(off=off))
    return Part(places, stack.matrix, [*words, *_tiltWords(stack.tilt)])


def _changesForGood(numbers: list[int]) -> bool:
    # Three equal gaps in a row mean another slice distance, not missing slices.
    gaps = np.diff(numbers).tolist()
    return any(gaps[at] > 1 and gaps[at] == gaps[at + 1] == gaps[at + 2] for at in range(len(gaps) - 2))


def _runs(positions: Matrix, plane: Matrix) -> list[list[int]]:
    # The longest even parts, beginning with the first slice.
    runs: list[list[int]] = [[0]]
    for number in range(1, len(positions)):
        run = [*runs[-1], number]
        if len(run) > 2:
            at = positions[run]
            step = at[1] - at[0]
            expected = at[0] + np.arange(len(run))[:, np.newaxis] * step
            if not CONVERTED.allows(at[-2:] - expected[-2:], step / 2, plane):
                runs.append([number])
                continue
        runs[-1] = run
    return runs


def _part(positions: Matrix, plane: Matrix, runs: list[list[int]], number: int, single: Matrix) -> Part:
    at = positions[runs[number]]
    step = (at[-1] - at[0]) / (len(at) - 1) if len(at) > 1 else single
    matrix, tilt = stackMatrix(plane, at[0], step, True)
    words = _("The distance of the slices changes; this is part {number} of {count}.").format(
        number=number + 1, count=len(runs)
    )
    return Part(list(runs[number]), matrix, [words, *_tiltWords(tilt)])


def _tiltWords(tilt: float) -> list[str]:
    if tilt <= TILT:
        return []
    angle = np.degrees(np.arcsin(min(1.0, tilt)))
    return [
        _(
            "The stack is tilted by {angle:.1f} degrees (gantry tilt): the axes of the file are not at right angles."
        ).format(angle=angle)
    ]


def unplaced(slices: Sequence[Slice]) -> Part:
    """Stack slices without positions in the given order: axial, beginning at the origin.

    The distance comes from SliceLocation, or else from SpacingBetweenSlices or SliceThickness.
    """
    common = slices[0].common
    step = common.step or 1.0
    words: list[str] = []
    if len(slices) > 1:
        source = _("that of SpacingBetweenSlices or SliceThickness") if common.step else _("assumed as 1 mm")
        locations = [one.header.location for one in slices]
        if all(location is not None for location in locations):
            gaps = np.abs(np.diff(np.array(locations, dtype=float)))
            if gaps.min() > 0 and gaps.max() - gaps.min() <= CONVERTED.along * gaps.mean():
                step, source = float(gaps.mean()), _("that of SliceLocation")
        order = _("The files have no positions: the order of the slices is that of InstanceNumber")
        words.append(_("{order}, their distance is {source}.").format(order=order, source=source))
    matrix = np.eye(4)
    across, down = common.spacing or (1.0, 1.0)
    matrix[:3, :3] = np.diag([across, down, step])
    return Part(list(range(len(slices))), matrix, words)
