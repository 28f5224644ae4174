"""Functional groups: the place, the moment and the kind of each frame of a multi-frame DICOM file.

Sources: PS3.3 sections C.7.6.16 (functional groups), C.7.6.17 (dimensions).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..Frame import Matrix
from .DICOMGeometry import frameTimes, numbersOf, ownPlane
from .DICOMPixels import functionalGroup, valueOf

_PLACES = {0x00209056, 0x00209057, 0x00200032, 0x00200037, 0x00201041, 0x00209301, 0x00209302, 0x0048021E, 0x0048021F}
"""Dimensions of a frame's place: stack, position, orientation, location. All other dimensions belong to its moment."""


@dataclass(frozen=True)
class FrameInfo:
    """Description of one frame.

    :param plane: IJKToRAS of the frame, 4x4 float64, None without a position.
    :param stack: StackID, or the dimension that replaces it.
    :param dimensions: its DimensionIndexValues, without the dimensions of its place.
    :param temporal: TemporalPositionIndex, None when the frame has none.
    :param measured: echo, kind, weighting and delays, by keyword; as attributes.
    """

    number: int
    plane: Matrix | None
    time: float | None
    stack: str
    dimensions: tuple[int, ...]
    temporal: int | None
    measured: dict[str, str] = field(default_factory=dict)


def hasOwnPlaces(dataset: Any) -> bool:
    """True when functional groups have the positions of the frames."""
    own, shared = dataset.get("PerFrameFunctionalGroupsSequence"), dataset.get("SharedFunctionalGroupsSequence")
    names = ("PlanePositionSequence", "PlanePositionVolumeSequence")
    return bool(own) and any(name in groups for groups in (*own, *(shared or ())) for name in names)


def framesOf(dataset: Any, columns: int, rows: int, count: int) -> list[FrameInfo]:
    """Descriptions of ``count`` frames."""
    times = frameTimes(dataset, count)
    there = _groupsThere(dataset)
    pointers = [
        int(valueOf(item, "DimensionIndexPointer") or 0) for item in dataset.get("DimensionIndexSequence") or ()
    ]
    found = []
    for frame in range(count):
        content = functionalGroup(dataset, frame, "FrameContentSequence")
        values = integersOf(content, "DimensionIndexValues")
        if len(values) != len(pointers):
            values = []
        pairs = list(zip(pointers, values, strict=True)) if values else []
        index = next((str(value) for pointer, value in pairs if pointer == 0x00209056), "")
        stack = None if content is None else valueOf(content, "StackID")
        temporal = integersOf(content, "TemporalPositionIndex")
        found.append(
            FrameInfo(
                frame,
                ownPlane(dataset, frame, columns, rows),
                times[frame],
                index if stack is None else str(stack),
                tuple(value for pointer, value in pairs if pointer not in _PLACES),
                temporal[0] if temporal else None,
                _measured(dataset, frame, there),
            )
        )
    return found


_MEASURED = (
    ("MREchoSequence", "EffectiveEchoTime", "EchoTime"),
    ("MRDiffusionSequence", "DiffusionBValue", "DiffusionBValue"),
    ("MRDiffusionSequence", "DiffusionDirectionality", "DiffusionDirectionality"),
    ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime", "TriggerTime"),
    ("TemporalPositionSequence", "TemporalPositionTimeOffset", "TemporalPositionTimeOffset"),
    ("MRModifierSequence", "InversionTimes", "InversionTime"),
    ("MRTimingAndRelatedParametersSequence", "FlipAngle", "FlipAngle"),
    ("SegmentIdentificationSequence", "ReferencedSegmentNumber", "SegmentNumber"),
)
"""Functional group, keyword in it, and name as an attribute."""
_TYPES = ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence", "XAXRFFrameCharacteristics")


def _groupsThere(dataset: Any) -> set[str]:
    # Keywords of the functional groups that any frame has: asking each frame for each group takes long.
    from pydicom.datadict import keyword_for_tag

    kinds = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
    tags = {tag for kind in kinds for groups in dataset.get(kind) or () for tag in groups.keys()}  # noqa: SIM118
    return {keyword_for_tag(tag) for tag in tags}


def _measured(dataset: Any, frame: int, there: set[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for group, keyword, name in _MEASURED:
        if group not in there:
            continue
        item = functionalGroup(dataset, frame, group)
        value = None if item is None else valueOf(item, keyword)
        if value is not None:
            found[name] = str(value)
    diffusion = functionalGroup(dataset, frame, "MRDiffusionSequence") if "MRDiffusionSequence" in there else None
    direction = (diffusion.get("DiffusionGradientDirectionSequence") or [None])[0] if diffusion is not None else None
    if gradient := numbersOf(direction, "DiffusionGradientOrientation", 3):
        found["DiffusionGradientOrientation"] = "\\".join(f"{value:g}" for value in gradient)
    for name in there.intersection(_TYPES):
        item = functionalGroup(dataset, frame, name)
        if item is not None:
            kinds = valueOf(item, "FrameType")
            if kinds is not None:
                found["ImageType"] = kinds if isinstance(kinds, str) else "\\".join(map(str, kinds))
            component = valueOf(item, "ComplexImageComponent")
            if component is not None:
                found["ComplexImageComponent"] = str(component)
    return found


def integersOf(source: Any | None, name: str) -> list[int]:
    """The integers of an element; empty where it is missing or damaged."""
    value = None if source is None else valueOf(source, name)
    if value is None:
        return []
    several = hasattr(value, "__len__") and not isinstance(value, str)
    try:
        return [int(number) for number in (value if several else [value])]
    except (ValueError, TypeError):
        return []
