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

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from itertools import pairwise

import numpy as np

from ..Formats.NRRD import composeFields, escaped
from ..Model.Errors import RecordingError
from ..Model.Frame import ATTRIBUTE_NAME, LPS_TO_RAS, Matrix
from ..Model.Text import textsOf
from .Layout import RAW
from .Lines import PartLine

_ = textsOf(__file__)

RECORDING = "Recording"
FRAME = "Frame"
_OURS = (RECORDING, "RecordingStream", "RecordingPart", "RecordingStart", "RecordingStartClock")
_RESERVED = {name.lower() for name in (*_OURS, "space", "DataNodeClassName", "ITK_InputFilterName")} | {
    "rangeaxislabel",
    "rangeaxisunit",
}
"""Names with another meaning for the reader, in lower case."""

_CLOSE = 0.0025
"""Seconds; frames farther apart stay farther apart than Slicer's tolerance when they are rounded to milliseconds."""


def checkAttributes(attributes: Mapping[str, str]) -> None:
    """Check the attributes of a recording.

    :raises RecordingError: a name or value cannot be stored.
    """
    for name, value in attributes.items():
        if not ATTRIBUTE_NAME.fullmatch(name):
            raise RecordingError(
                _("The attribute name {name!r} has characters other than letters, digits and _ . -").format(name=name)
            )
        if name.lower() in _RESERVED or name.startswith("NRRD_"):
            raise RecordingError(_("The attribute name {name!r} is reserved. Choose another name.").format(name=name))
        if not isinstance(value, str):
            raise RecordingError(
                _("The value of the attribute {name!r} must be text, not {type}.").format(
                    name=name, type=type(value).__name__
                )
            )


def composeHeader(part: PartLine, name: str, times: Sequence[float], lines: Iterable[bytes]) -> bytes:
    """Compose the header of a part, see :func:`headerPieces`."""
    return b"".join(headerPieces(part, name, times, lines))


def headerPieces(part: PartLine, name: str, times: Sequence[float], lines: Iterable[bytes]) -> Iterator[bytes]:
    """Compose the header of a part; yield it in pieces, which need less memory than the whole.

    :param name: name of the part's files without suffix.
    :param times: index of each frame, seconds.
    :param lines: line of each frame, with or without line end.
    """
    matrix: Matrix = LPS_TO_RAS @ np.array(part.ijkToRAS).reshape(4, 4)
    unit, values = indexValues(times)
    fields = [*composeFields(part.type, part.shape, matrix, len(times), ("time", unit)), f"data file: {name}{RAW}"]
    pairs = {
        "DataNodeClassName": "vtkMRMLVectorVolumeNode" if part.shape[3:] else "vtkMRMLScalarVolumeNode",
        "axis 3 index type": "numeric",
        "axis 3 index values": " ".join(values),
        "RecordingStream": part.stream,
        "RecordingPart": str(part.part),
        "RecordingStart": isoTime(part.start),
        "RecordingStartClock": part.startClock,
        **part.attributes,
    }
    text = "\n".join([*fields, *(f"{key}:={escaped(value)}" for key, value in pairs.items())])
    yield text.encode("utf-8", "replace")
    yield b"\nRecording:=" + _escapedLine(part.toBytes())
    for number, line in enumerate(lines):
        yield b"\naxis 3 item %04d Frame:=" % number + _escapedLine(line)
    yield b"\n\n"


def indexValues(times: Sequence[float]) -> tuple[str, list[str]]:
    """Choose the unit of a part's index.

    :param times: index of each frame, seconds.
    :returns: the unit, "s" or "ms", and the text of each index.
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


def _escapedLine(line: bytes) -> bytes:
    return line.rstrip(b"\n").replace(b"\\", b"\\\\")
