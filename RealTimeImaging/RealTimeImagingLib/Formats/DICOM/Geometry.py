"""Place of DICOM frames in RAS, times, and attributes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any

import numpy as np

from ...Model.Files import decodedText
from ...Model.Frame import LPS_TO_RAS, NO_PLACE, Matrix, pictureToRAS
from ...Model.Text import textsOf
from ..ImageFile import angleError, sinceFirst
from .Pixels import functionalGroup, itemsOf, valueOf
from .Stacking import EVEN

_ = textsOf(__file__)

ATTRIBUTES = (
    *(
        "Modality",
        "SeriesDescription",
        "SeriesInstanceUID",
        "SeriesNumber",
        "SOPInstanceUID",
        "SOPClassUID",
        "ImageType",
    ),
    *("InstanceNumber", "AcquisitionNumber", "TemporalPositionIdentifier", "TriggerTime", "EchoTime", "EchoNumbers"),
    *("RepetitionTime", "InversionTime", "FlipAngle", "SequenceName", "PhotometricInterpretation"),
    *("WindowCenter", "WindowWidth", "SliceThickness", "FrameOfReferenceUID"),
)
"""Keywords of the elements that become attributes: the acquisition, but no person, place or institution."""

PROJECTIONS = ("US", "IVUS", "XA", "RF", "ES", "XC", "GM", "SM", "OP")
"""Modalities whose images are pictures or moments, and slices of a volume only where each has a position."""
_MOMENTS = (*PROJECTIONS, "OT")
"""Modalities whose frames without positions are moments."""
_LONGEST_VALUE = 60
"""Characters that are kept of an unusable position."""
_SHORTEST = 1e-3
"""Length of a vector of direction cosines below which it has no direction."""
_CENTIMETRES = 3
"""PhysicalUnitsXDirection, PS3.3 section C.8.5.5.1.1."""


MISSING = -1
"""A slice without a frame."""


@dataclass(frozen=True)
class Placed:
    """Frames that make one image, its matrix and its time.

    :param frames: frame numbers from 0, in the order of the slices; :data:`MISSING` for a slice that the file lacks.
    :param ijkToRAS: 4x4 float64, millimetres.
    :param time: seconds since the epoch (UTC), None when the file has none.
    :param attributes: attributes of this image alone.
    """

    frames: list[int]
    ijkToRAS: Matrix
    time: float | None
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def first(self) -> int:
        """The first frame that is not missing."""
        return next(frame for frame in self.frames if frame != MISSING)


def planeOf(dataset: Any, frame: int, columns: int, rows: int) -> Matrix:
    """Return IJKToRAS of one frame by its position, or that of a picture without a position."""
    matrix = ownPlane(dataset, frame)
    return pictureToRAS(columns, rows, spacingOf(dataset, frame)) if matrix is None else matrix


def earliest(times: Sequence[float | None], frames: Sequence[int]) -> float | None:
    """Return the first time of these frames, None when none is known."""
    known = [time for frame in frames if (time := times[frame]) is not None]
    return min(known, default=None)


def ownPlane(dataset: Any, frame: int) -> Matrix | None:
    """Return IJKToRAS of one frame by its functional groups or the data set; None when they have no position.

    :raises NotAnImageError: as :func:`angleError`.
    """
    # PS3.3 sections C.7.6.2.1.1 and, for ultrasound volumes, C.8.24.6.
    detector = next(iter(itemsOf(dataset, "DetectorInformationSequence")), None)
    position = numbersOf(functionalGroup(dataset, frame, "PlanePositionSequence"), "ImagePositionPatient", 3)
    orientation = numbersOf(functionalGroup(dataset, frame, "PlaneOrientationSequence"), "ImageOrientationPatient", 6)
    if position is None:
        group = functionalGroup(dataset, frame, "PlanePositionVolumeSequence")
        position = numbersOf(group, "ImagePositionVolume", 3)
    if orientation is None:
        group = functionalGroup(dataset, frame, "PlaneOrientationVolumeSequence")
        orientation = numbersOf(group, "ImageOrientationVolume", 6)
    for source in (dataset, detector):
        position = position or numbersOf(source, "ImagePositionPatient", 3)
        orientation = orientation or numbersOf(source, "ImageOrientationPatient", 6)
    if position is None or orientation is None:
        return None
    axes = _axesOf(tuple(orientation))
    if axes is None:
        return None
    spacing = spacingOf(dataset, frame)
    measures = functionalGroup(dataset, frame, "PixelMeasuresSequence")
    thickness = next(
        (
            abs(found[0])
            for source in (measures, dataset)
            for name in ("SliceThickness", "SpacingBetweenSlices")
            if (found := numbersOf(source, name, 1)) and found[0]
        ),
        1.0,
    )
    matrix = np.eye(4)
    matrix[:3, :3] = axes * (*spacing, thickness)
    matrix[:3, 3] = position
    inRAS: Matrix = LPS_TO_RAS @ matrix
    angleError(inRAS)
    return inRAS


@lru_cache(maxsize=64)
def _axesOf(orientation: tuple[float, ...]) -> Matrix | None:
    # Directions along a row, down a column and through the slices, as columns, which a series shares; None without any.
    along, down = np.reshape(orientation, (2, 3))
    lengths = np.linalg.norm(along), np.linalg.norm(down)
    if min(lengths) < _SHORTEST:
        return None
    # Direction cosines have the length 1, but for rounding: other lengths would scale the image.
    along, down = along / lengths[0], down / lengths[1]
    normal = np.cross(along, down)
    length = np.linalg.norm(normal)
    return None if length < 0.5 else np.column_stack([along, down, normal / length])


def noPlaceOf(dataset: Any, frame: int, count: int) -> dict[str, str]:
    """Return the attribute NO_PLACE when the position or orientation of a frame is given and unusable; else nothing.

    Zeros can be a position. For the only frame of a file they count as unusable: many senders write them for unknown.
    """
    for name, group, size in (
        ("ImagePositionPatient", "PlanePositionSequence", 3),
        ("ImageOrientationPatient", "PlaneOrientationSequence", 6),
    ):
        for source in (functionalGroup(dataset, frame, group), dataset):
            given = givenText(source, name)
            if not given:
                continue
            found = numbersOf(source, name, size)
            isPlace = found is not None and (any(found) or count > 1) if size == 3 else _hasAxes(found)
            if not isPlace:
                return {NO_PLACE: f"{name} {given}"}
            break
    return {}


def givenText(source: Any | None, name: str) -> str:
    """Return the value of an element as the file has it; empty where it is absent or empty."""
    element = None if source is None else source.get_item(name)
    if element is None or element.value in (None, b"", ""):
        return ""
    value = element.value
    text = decodedText(value).strip() if isinstance(value, bytes) else "\\".join(map(str, listOf(value)))
    return text[:_LONGEST_VALUE]


def _hasAxes(orientation: list[float] | None) -> bool:
    return orientation is not None and _axesOf(tuple(orientation)) is not None


def spacingOf(dataset: Any, frame: int) -> tuple[float, float]:
    """Return the millimetres between columns and between rows; 1 where the file has no spacing."""
    # The file has them in the opposite order (PS3.3 section 10.7.1.3).
    measures = functionalGroup(dataset, frame, "PixelMeasuresSequence")
    for source, name in (
        (measures, "PixelSpacing"),
        (dataset, "PixelSpacing"),
        (dataset, "NominalScannedPixelSpacing"),
        (dataset, "ImagerPixelSpacing"),
    ):
        if (found := numbersOf(source, name, 2)) and min(found) > 0:
            return found[1], found[0]
    regions = _ultrasoundRegions(dataset)
    return regions[0] if regions else (1.0, 1.0)


def spacingNote(dataset: Any) -> str:
    """Return a sentence when the pixel spacing is assumed, or differs within the picture; else ""."""
    regions = _ultrasoundRegions(dataset)
    sides = [side for region in regions for side in region]
    if sides and max(sides) > 1.01 * min(sides) and len(set(regions)) > 1:
        return _(
            "The picture has ultrasound regions of different scale, {smallest:.3g} to {largest:.3g} mm a pixel. "
            "One scale is used for all of it."
        ).format(smallest=min(sides), largest=max(sides))
    if spacingOf(dataset, 0) == (1.0, 1.0) and not regions and not _saysSpacing(dataset):
        measures = functionalGroup(dataset, 0, "PixelMeasuresSequence")
        if given := givenText(measures, "PixelSpacing") or givenText(dataset, "PixelSpacing"):
            return _("PixelSpacing is {given}, not two numbers above 0: 1 mm is assumed.").format(given=given)
        return _("PixelSpacing is missing: 1 mm is assumed.")
    return ""


def rescaleNote(dataset: Any) -> str:
    """Return a sentence when the file has a RescaleSlope or RescaleIntercept that is not usable; else ""."""
    group = functionalGroup(dataset, 0, "PixelValueTransformationSequence") or dataset
    for name in ("RescaleSlope", "RescaleIntercept"):
        given, found = givenText(group, name), numbersOf(group, name, 1)
        if given and (found is None or (name == "RescaleSlope" and not found[0])):
            text = _("{name} is {given}, which is not usable: the image has the stored values.")
            return text.format(name=name, given=given)
    return ""


def _saysSpacing(dataset: Any) -> bool:
    measures = functionalGroup(dataset, 0, "PixelMeasuresSequence")
    names = ("PixelSpacing", "NominalScannedPixelSpacing", "ImagerPixelSpacing")
    return any((found := numbersOf(one, name, 2)) and min(found) > 0 for one in (measures, dataset) for name in names)


def _ultrasoundRegions(dataset: Any) -> list[tuple[float, float]]:
    # Millimetres between columns and rows of each region in centimetres; tissue first, then the largest.
    found = []
    for region in itemsOf(dataset, "SequenceOfUltrasoundRegions"):
        if region.get("PhysicalUnitsXDirection") == region.get("PhysicalUnitsYDirection") == _CENTIMETRES:
            across, down = numbersOf(region, "PhysicalDeltaX", 1), numbersOf(region, "PhysicalDeltaY", 1)
            if across and down and across[0] and down[0]:
                corners = [
                    float((numbersOf(region, f"RegionLocation{name}", 1) or [0])[0])
                    for name in ("MinX0", "MaxX1", "MinY0", "MaxY1")
                ]
                area = abs((corners[1] - corners[0]) * (corners[3] - corners[2]))
                found.append((region.get("RegionDataType") == 1, area, (abs(across[0]) * 10, abs(down[0]) * 10)))
    return [spacing for *_, spacing in sorted(found, key=lambda one: one[:2], reverse=True)]


def frameStep(dataset: Any, count: int) -> float | None:
    """Return the signed distance (mm) of the frames along their normal, for a file with one position.

    None when the frames make no volume.
    """
    if count < 2:
        return None
    offsets = numbersOf(dataset, "GridFrameOffsetVector", count)
    if offsets:
        step = (offsets[-1] - offsets[0]) / (count - 1)
        even = all(abs(value - offsets[0] - number * step) <= EVEN * abs(step) for number, value in enumerate(offsets))
        return step if step and even else None
    if str(dataset.get("Modality", "")) in _MOMENTS:
        return None
    measures = functionalGroup(dataset, 0, "PixelMeasuresSequence")
    found = numbersOf(measures, "SpacingBetweenSlices", 1) or numbersOf(dataset, "SpacingBetweenSlices", 1)
    return found[0] if found and found[0] else None


def numbersOf(source: Any | None, name: str, count: int) -> list[float] | None:
    """Return the ``count`` finite numbers of an element, None when it has another number of them."""
    if source is None or (value := valueOf(source, name)) is None:
        return None
    try:
        found = [float(number) for number in listOf(value)]
    except (ValueError, TypeError, OverflowError):
        return None
    return found if len(found) == count and all(map(math.isfinite, found)) else None


def listOf(value: Any) -> list[Any]:
    """Return the values of an element, of which there may be one."""
    return list(value) if hasattr(value, "__len__") and not isinstance(value, str) else [value]


def frameTimes(dataset: Any, count: int) -> list[float | None]:
    """Return the time of each frame in seconds since the epoch (UTC), None where unknown."""
    offset = str(valueOf(dataset, "TimezoneOffsetFromUTC") or "")
    start = seconds(str(valueOf(dataset, "AcquisitionDateTime") or ""), offset)
    for kind in ("Acquisition", "Content"):
        if start is None and (day := str(valueOf(dataset, f"{kind}Date") or "").replace(".", "")):
            start = seconds(day + str(valueOf(dataset, f"{kind}Time") or "x").replace(":", ""), offset)
    passed = _passed(dataset, count) or [0.0] * count
    own = itemsOf(dataset, "PerFrameFunctionalGroupsSequence")
    found: list[float | None] = []
    for frame in range(count):
        content = functionalGroup(dataset, frame, "FrameContentSequence") if own else None
        time = None
        for name in ("FrameAcquisitionDateTime", "FrameReferenceDateTime"):
            if time is None and content is not None:
                time = seconds(str(valueOf(content, name) or ""), offset)
        found.append(time if time is not None else None if start is None else start + passed[frame])
    return found


def _passed(dataset: Any, count: int) -> list[float] | None:
    # Seconds of each frame since the first, by the steps between them (PS3.3 section C.7.6.5, Cine).
    if steps := numbersOf(dataset, "FrameTimeVector", count):
        return [float(passed) / 1000 for passed in np.cumsum(steps)]
    step = numbersOf(dataset, "FrameTime", 1)
    return [number * step[0] / 1000 for number in range(count)] if step else None


def timesSinceFirst(dataset: Any, images: Sequence[Placed], count: int) -> list[float] | None:
    """Return the times (:attr:`ImageFile.times`) of images made of ``count`` frames.

    The sources, in this order: times of the frames, steps between them, and the display rate
    (RecommendedDisplayFrameRate, CineRate).
    """
    own = [image.time for image in images if image.time is not None]
    if len(own) == len(images) and (found := sinceFirst(own)):
        return found
    if (passed := _passed(dataset, count)) and (found := sinceFirst(passed[image.first] for image in images)):
        return found
    for name in ("RecommendedDisplayFrameRate", "CineRate"):
        if (rate := numbersOf(dataset, name, 1)) and rate[0] > 0 and len(images) == count:
            return sinceFirst(number / rate[0] for number in range(count))
    return None


def seconds(text: str, offset: str = "") -> float | None:
    """Convert a DICOM date and time (PS3.5 section 6.2, DT) to seconds since the epoch; None without a valid time.

    :param offset: of the time zone, as in TimezoneOffsetFromUTC, when ``text`` has none. Without both, times are local.
    """
    match = re.fullmatch(r"(\d{8})(\d\d)(\d\d)?(\d\d)?(?:\.(\d{1,6}))?\s*([+-]\d{4})?", text.strip(), re.ASCII)
    if match is None:
        return None
    day, hours, minutes, secs, fraction, zone = match.groups()
    try:
        # A leap second (60) becomes the first second of the next minute.
        moment = datetime.strptime(day + hours + (minutes or "00"), "%Y%m%d%H%M")
        moment += timedelta(seconds=int(secs or 0), microseconds=int((fraction or "0").ljust(6, "0")))
        zone = zone or (offset.strip() if re.fullmatch(r"[+-]\d{4}", offset.strip(), re.ASCII) else "")
        if zone:
            delta = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:]))
            moment = moment.replace(tzinfo=timezone(delta if zone[0] == "+" else -delta))
        return moment.timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def attributesOf(dataset: Any) -> dict[str, str]:
    """Return the elements of :data:`ATTRIBUTES` in the file as text, several values separated by backslashes."""
    found = {}
    for name in ATTRIBUTES:
        value = valueOf(dataset, name)
        if value is not None:
            several = not isinstance(value, str) and hasattr(value, "__len__")
            found[name] = "\\".join(str(one) for one in value) if several else str(value)
    return found
