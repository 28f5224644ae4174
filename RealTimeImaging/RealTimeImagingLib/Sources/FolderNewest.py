"""Find the files of the newest image in a folder at start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..Errors import NotAnImageError
from ..Journal import Stamp
from ..Readers import isDICOM, openImageFile
from .DICOMHeader import readElements
from .Listing import naturalOrder

_TRIED = 20
"""Most files that are tried, the newest first, until one is an image."""
_SLICES = 1000
"""Newest files among which the other slices of a volume are looked for."""
_FIELDS = (
    *("SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "EchoNumbers", "ImageType"),
    *("AcquisitionDate", "AcquisitionTime", "TriggerTime", "TemporalPositionIdentifier", "InstanceNumber"),
    "NumberOfFrames",
)


def newestImage(files: Mapping[str, Stamp]) -> set[str]:
    """The paths of the newest image: one file, or the DICOM files of the newest volume, one slice each.

    :param files: path to version.
    """
    order = sorted(files, key=lambda path: (files[path][1], naturalOrder(path)), reverse=True)
    for place, path in enumerate(order[:_TRIED]):
        try:
            reader = openImageFile(path)
            whole = reader.missing() is None
        except NotAnImageError:
            continue
        except OSError:
            return {path}  # the reader reports it
        if whole and isDICOM(reader):
            return _volumeOf(path, order[place : place + _SLICES])
        return {path}
    return set(order[:1])


def _volumeOf(newest: str, paths: list[str]) -> set[str]:
    first = _fields(newest)
    if first is None:
        return {newest}
    places: dict[object, list[tuple[tuple[str | float, ...], str]]] = {}
    for path in paths:
        one = _fields(path)
        if one is not None and one["SeriesInstanceUID"] == first["SeriesInstanceUID"]:
            place = tuple(str(one[name]) for name in _FIELDS[1:5])
            moment: tuple[str | float, ...] = (
                *(str(one[name] or "") for name in _FIELDS[5:7]),
                *(_number(one[name]) for name in _FIELDS[7:10]),
            )
            places.setdefault(place, []).append((moment, path))
    # From the last complete time point on; a newer one may have begun.
    whole = min(map(len, places.values()))
    return {path for found in places.values() for _, path in sorted(found)[whole - 1 :]}


def _fields(path: str) -> dict[str, Any] | None:
    # None when the file is not a slice with a position.
    try:
        found = readElements(path, _FIELDS)
    except (NotAnImageError, OSError):
        return None
    placed = found["SeriesInstanceUID"] and found["ImagePositionPatient"] and _number(found["NumberOfFrames"] or 1) == 1
    return found if placed else None


def _number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return 0.0
