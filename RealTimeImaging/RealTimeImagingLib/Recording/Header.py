"""The detached header with which Slicer opens a part: ``NAME.seq.nhdr``.

The format is that of vtkMRMLVolumeSequenceStorageNode (Slicer, Libs/MRML/Core) and vtkITKImageSequenceReader
(Libs/vtkITK), which read it through ITK's NrrdImageIO; fields are those of "Definition of NRRD File Format" (teem).

- Axes, fastest first: components, i, j, k, frames. The frames' kind is "list". Components: "RGB-color" and "RGBA-color"
  for 8 bits; of other types these are refused, so "vector". No measurement frame: with one Slicer would turn vectors.
- The keys say "axis 3" also where components come first and the frames are axis 4.
- Slicer merges frames whose index differs by no more than 0.001, whatever the unit, and rounds that of a transform
  sequence to 0.001 (Poses.py). When two frames of a part are closer than 2.5 ms its index is in milliseconds, otherwise
  in seconds.
- One attribute a frame ("Frame", JSON): reading slows with their number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from itertools import pairwise

import numpy as np

from ..Model.Errors import RecordingError
from ..Model.Frame import ATTRIBUTE_NAME, LPS_TO_RAS, Matrix
from .Layout import RAW
from .Lines import PartLine

RECORDING = "Recording"
FRAME = "Frame"
_OURS = (RECORDING, "RecordingStream", "RecordingPart", "RecordingStart", "RecordingStartClock")
_RESERVED = {name.lower() for name in (*_OURS, "space", "DataNodeClassName", "ITK_InputFilterName")} | {
    "rangeaxislabel",
    "rangeaxisunit",
}
"""Names that mean something else to the reader, in lower case."""

TYPES = {
    **{"u1": "uint8", "i1": "int8", "u2": "uint16", "i2": "int16", "u4": "uint32", "i4": "int32"},
    **{"f4": "float", "f8": "double"},
}
"""Names of the types, by numpy's without byte order."""
_CLOSE = 0.0025
"""Seconds; rounded to milliseconds they are still farther apart than Slicer's tolerance."""
SECONDS = {"s": 1.0, "ms": 0.001}
"""Units of an index in seconds."""


def checkAttributes(attributes: Mapping[str, str]) -> None:
    """:raises RecordingError: a name would make the file unreadable or be lost."""
    for name, value in attributes.items():
        if not ATTRIBUTE_NAME.fullmatch(name):
            raise RecordingError(f"An attribute name has only letters, digits and _ . - in it, not {name!r}.")
        if name.lower() in _RESERVED or name.startswith("NRRD_"):
            raise RecordingError(f"The attribute name {name!r} has a meaning of its own in the file; take another.")
        if not isinstance(value, str):
            raise RecordingError(f"The value of the attribute {name!r} is text, not {type(value).__name__}.")


def composeHeader(part: PartLine, name: str, times: Sequence[float], lines: Sequence[bytes]) -> bytes:
    """The text of a part's header.

    :param name: of the part's files, without suffix.
    :param times: index of each frame, seconds.
    :param lines: of each frame, with or without line end.
    """
    components = list(part.shape[3:])
    scalar = part.type
    matrix: Matrix = LPS_TO_RAS @ np.array(part.ijkToRAS).reshape(4, 4)
    directions = [vector(matrix[:3, axis]) for axis in range(3)]
    none, kinds = (["none"], [_componentKind(part)]) if components else ([], [])
    unit, values = indexValues(times)
    fields = [
        "NRRD0005",
        f"type: {TYPES[scalar.str[1:]]}",
        f"dimension: {4 + len(components)}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, [*components, *reversed(part.shape[:3]), len(times)]))}",
        f"space directions: {' '.join([*none, *directions, 'none'])}",
        f"kinds: {' '.join([*kinds, 'domain', 'domain', 'domain', 'list'])}",
        f"labels: {' '.join(_quoted('time', components))}",
        f"units: {' '.join(_quoted(unit, components))}",
    ]
    if scalar.itemsize > 1:
        fields.append(f"endian: {'little' if scalar.str[0] == '<' else 'big'}")
    fields += [
        "encoding: raw",
        f"space origin: {vector(matrix[:3, 3])}",
        f"data file: {name}{RAW}",
    ]
    pairs = {
        "DataNodeClassName": "vtkMRMLVectorVolumeNode" if components else "vtkMRMLScalarVolumeNode",
        "axis 3 index type": "numeric",
        "axis 3 index values": " ".join(values),
        "RecordingStream": part.stream,
        "RecordingPart": str(part.part),
        "RecordingStart": isoTime(part.start),
        "RecordingStartClock": part.startClock,
        **part.attributes,
    }
    text = "\n".join([*fields, *(f"{key}:={escaped(value)}" for key, value in pairs.items())])
    out = [text.encode("utf-8", "replace"), b"Recording:=" + _escapedLine(part.toBytes())]
    out += [b"axis 3 item %04d Frame:=" % number + _escapedLine(line) for number, line in enumerate(lines)]
    return b"\n".join(out) + b"\n\n"


def indexValues(times: Sequence[float]) -> tuple[str, list[str]]:
    """The unit, a key of SECONDS, and the text of a part's index.

    :param times: of each frame, seconds.
    """
    if any(b - a < _CLOSE for a, b in pairwise(times)):
        return "ms", [f"{1000 * time:.3f}" for time in times]
    return "s", [f"{time:.6f}" for time in times]


def isoTime(seconds: float) -> str:
    """Seconds since the epoch as ISO 8601 in UTC, or as they are where no calendar has such a day."""
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="microseconds")
    except (ValueError, OverflowError, OSError):
        return repr(seconds)


def unescaped(text: str) -> str:
    """The value that :func:`composeHeader` wrote."""
    return text.replace("\\\\", "\0").replace("\\n", "\n").replace("\0", "\\")


def _componentKind(part: PartLine) -> str:
    if len(part.shape) == 4 and part.type == np.uint8:
        return "RGB-color" if part.shape[3] == 3 else "RGBA-color"
    return "vector"


def _quoted(last: str, components: Sequence[int]) -> list[str]:
    return ['""'] * (3 + len(components)) + [f'"{last}"']


def vector(values: Matrix) -> str:
    """Three numbers as a vector of NRRD."""
    # repr: every float64 comes back as it was. Plus 0.0: no "-0.0".
    return f"({','.join(repr(value + 0.0) for value in values.tolist())})"


def escaped(value: str) -> str:
    """A value in one line ("Key/value pairs" of the definition)."""
    # NRRD ends a value at a line end of any kind, C at a NUL; the exact value is in the attribute "Recording".
    value = value.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\N{REPLACEMENT CHARACTER}")
    return value.replace("\\", "\\\\").replace("\n", "\\n")


def _escapedLine(line: bytes) -> bytes:
    return line.rstrip(b"\n").replace(b"\\", b"\\\\")
