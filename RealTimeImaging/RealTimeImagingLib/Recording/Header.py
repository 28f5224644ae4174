"""Detached header by which Slicer opens a part: ``NAME.seq.nhdr``.

vtkMRMLVolumeSequenceStorageNode (Slicer, Libs/MRML/Core) and vtkITKImageSequenceReader (Libs/vtkITK) read the file
through ITK's NrrdImageIO. The fields are those of "Definition of NRRD File Format" (teem).

- Axes, fastest first: components, i, j, k, frames. The kind of the frames is "list". The kind of 8-bit components is
  "RGB-color" or "RGBA-color"; the reader rejects these for other types, which have "vector". There is no measurement
  frame, because Slicer would rotate vectors by it.
- Keys contain "axis 3" even where components come first and the frames are axis 4.
- Slicer merges frames whose index differs by 0.001 or less, whatever the unit, and rounds the index of a transform
  sequence to 0.001 (Poses.py). Therefore the index is in milliseconds when two frames of a part are closer than 2.5 ms,
  otherwise in seconds.
- Each frame has one attribute ("Frame", JSON), because reading slows with the number of attributes.
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
"""Names with another meaning for the reader, in lower case."""

TYPES = {
    **{"u1": "uint8", "i1": "int8", "u2": "uint16", "i2": "int16", "u4": "uint32", "i4": "int32"},
    **{"f4": "float", "f8": "double"},
}
"""NRRD's names of the types, by numpy's names without byte order."""
_CLOSE = 0.0025
"""Seconds; frames farther apart stay farther apart than Slicer's tolerance when they are rounded to milliseconds."""
SECONDS = {"s": 1.0, "ms": 0.001}
"""Units of an index in seconds."""


def checkAttributes(attributes: Mapping[str, str]) -> None:
    """Check the attributes of a recording.

    :raises RecordingError: a name or value cannot be stored.
    """
    for name, value in attributes.items():
        if not ATTRIBUTE_NAME.fullmatch(name):
            raise RecordingError(f"The attribute name {name!r} has characters other than letters, digits and _ . -")
        if name.lower() in _RESERVED or name.startswith("NRRD_"):
            raise RecordingError(f"The attribute name {name!r} is reserved. Choose another name.")
        if not isinstance(value, str):
            raise RecordingError(f"The value of the attribute {name!r} must be text, not {type(value).__name__}.")


def composeHeader(part: PartLine, name: str, times: Sequence[float], lines: Sequence[bytes]) -> bytes:
    """Compose the header of a part.

    :param name: name of the part's files without suffix.
    :param times: index of each frame, seconds.
    :param lines: line of each frame, with or without line end.
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
    """Choose the unit of a part's index.

    :param times: index of each frame, seconds.
    :returns: the unit, a key of SECONDS, and the text of each index.
    """
    if any(b - a < _CLOSE for a, b in pairwise(times)):
        return "ms", [f"{1000 * time:.3f}" for time in times]
    return "s", [f"{time:.6f}" for time in times]


def isoTime(seconds: float) -> str:
    """Format seconds since the epoch as ISO 8601 in UTC, or as a number when the calendar has no such day."""
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="microseconds")
    except (ValueError, OverflowError, OSError):
        return repr(seconds)


def unescaped(text: str) -> str:
    """Read a value that :func:`escaped` wrote."""
    return text.replace("\\\\", "\0").replace("\\n", "\n").replace("\0", "\\")


def _componentKind(part: PartLine) -> str:
    if len(part.shape) == 4 and part.type == np.uint8:
        return "RGB-color" if part.shape[3] == 3 else "RGBA-color"
    return "vector"


def _quoted(last: str, components: Sequence[int]) -> list[str]:
    return ['""'] * (3 + len(components)) + [f'"{last}"']


def vector(values: Matrix) -> str:
    """Write three numbers as a vector of NRRD. Reading it returns every float64 exactly."""
    # Adding 0.0 avoids "-0.0".
    return f"({','.join(repr(value + 0.0) for value in values.tolist())})"


def escaped(value: str) -> str:
    """Write a value in one line (section "Key/value pairs" of the definition)."""
    # Any line end ends a value in NRRD, and NUL in C. The attribute "Recording" keeps the exact value.
    value = value.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\N{REPLACEMENT CHARACTER}")
    return value.replace("\\", "\\\\").replace("\n", "\\n")


def _escapedLine(line: bytes) -> bytes:
    return line.rstrip(b"\n").replace(b"\\", b"\\\\")
