"""NRRD: one volume, and Slicer's sequence in one file; raw encoding, attached header.

The format: "Definition of NRRD File Format" (teem). Slicer's vtkMRMLNRRDStorageNode gives the key/value pairs of a
volume back as node attributes, vtkMRMLVolumeSequenceStorageNode those of a sequence; see Recording/Header for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np

from ..Formats.NRRD import NRRD
from ..Model.Errors import ExportError
from ..Model.Event import Event
from ..Model.Frame import LPS_TO_RAS, Matrix
from ..Recording.Header import FRAME, SECONDS, composeHeader, unescaped
from .Comparison import compareFrames, compareTimes, compareWords
from .Frames import Frames
from .Job import ExportJob, Work
from .Output import Output, Writer

PRECISION = 1e-12
"""Of numbers written so that every float64 comes back, multiplied once."""
_TYPES = {"u1": "uint8", "i1": "int8", "u2": "uint16", "i2": "int16", "u4": "uint32", "i4": "int32"}
_TYPES |= {"f4": "float", "f8": "double"}
_LONGEST_HEADER = 1 << 28


class VolumeFile(Writer):
    """``.nrrd`` of one frame. Attributes: those of the recording or snapshot, and "Frame" (JSON, as in a recording)."""

    suffix = ".nrrd"

    def __init__(self, frames: Frames, job: ExportJob, work: Work) -> None:
        super().__init__(frames, job, work)
        if len(frames) != 1:
            raise ExportError(f"A NRRD volume is one frame, not {len(frames)}; .seq.nrrd holds several.")
        self._attributes = {**frames.attributes, FRAME: _text(frames.line(0).toBytes())}
        altered = [name for name, value in self._attributes.items() if plain(value) != value]
        if altered:
            text = f"NRRD has no carriage return and no NUL; they are replaced in {', '.join(altered)}."
            self.events.append(Event("export-altered", text, "warning", job.destination))

    def write(self, output: Output) -> None:
        frames, matrix = self.frames, LPS_TO_RAS @ self.frames.matrix(0)
        components = list(frames.shape[3:])
        colour = {3: "RGB-color", 4: "RGBA-color"} if frames.dtype == np.uint8 else {}
        none, kinds = (["none"], [colour.get(frames.components, "vector")]) if components else ([], [])
        fields = [
            "NRRD0005",
            f"type: {_TYPES[frames.dtype.str[1:]]}",
            f"dimension: {3 + len(components)}",
            "space: left-posterior-superior",
            f"sizes: {' '.join(map(str, [*components, *reversed(frames.shape[:3])]))}",
            f"space directions: {' '.join([*none, *(_vector(matrix[:3, axis]) for axis in range(3))])}",
            f"kinds: {' '.join([*kinds, 'domain', 'domain', 'domain'])}",
            "endian: little",
            "encoding: raw",
            f"space origin: {_vector(matrix[:3, 3])}",
            *(f"{name}:={escaped(value)}" for name, value in self._attributes.items()),
        ]
        with output.create(self.suffix) as file:
            file.write("\n".join(fields).encode("utf-8", "replace") + b"\n\n")
            self.say(0)
            pixels = frames.pixels(0)
            file.writePixels(pixels.astype(pixels.dtype.newbyteorder("<"), copy=False))

    def compare(self, output: Output) -> None:
        path = output.path(self.suffix)
        compareFrames(NRRD(path), self.frames, PRECISION, self.work, "The file")
        expected = {name: plain(value) for name, value in self._attributes.items()}
        compareWords(readPairs(path), expected, "The file")


class SequenceFile(Writer):
    """``.seq.nrrd``: index, unit and the attributes of each frame as in the header of a recording."""

    suffix = ".seq.nrrd"

    def __init__(self, frames: Frames, job: ExportJob, work: Work) -> None:
        super().__init__(frames, job, work)
        frames.fixedMatrix(".seq.nrrd")
        self._lines = [frames.line(index).toBytes() for index in range(len(frames))]

    def write(self, output: Output) -> None:
        frames = self.frames
        header = composeHeader(frames.partLine(), "pixels", frames.times, self._lines)
        # The header of a recording has its pixels beside it; here they follow.
        before, _, after = header.partition(b"\ndata file: ")
        with output.create(self.suffix) as file:
            file.write(before + b"\n" + after.partition(b"\n")[2])
            for index in range(len(frames)):
                self.say(index)
                file.writePixels(frames.pixels(index))

    def compare(self, output: Output) -> None:
        path = output.path(self.suffix)
        compareFrames(NRRD(path), self.frames, PRECISION, self.work, "The file")
        pairs = readPairs(path)
        axis = "axis 3"
        lines = {f"{axis} item {index:04d} {FRAME}": _text(line) for index, line in enumerate(self._lines)}
        attributes = {name: plain(value) for name, value in self.frames.attributes.items()}
        compareWords(pairs, {**lines, **attributes}, "The file")
        compareWords(json.loads(pairs["Recording"])["attributes"], self.frames.attributes, "The file")
        scale = SECONDS[readFields(path)["units"].split()[-1].strip('"')]
        values = [float(word) * scale for word in pairs[f"{axis} index values"].split()]
        compareTimes(values, self.frames.times, 1e-6, "the file")


def readPairs(path: str) -> dict[str, str]:
    """The key/value pairs of an attached NRRD header, unescaped."""
    found = (line.partition(":=") for line in _headerLines(path))
    return {key: unescaped(value) for key, sign, value in found if sign and ": " not in key}


def readFields(path: str) -> dict[str, str]:
    """The fields of an attached NRRD header, by name."""
    found = (line.partition(": ") for line in _headerLines(path))
    return {key: value for key, sign, value in found if sign and ":=" not in key}


def _headerLines(path: str) -> Iterator[str]:
    with open(path, "rb") as file:
        while (line := file.readline(_LONGEST_HEADER)) not in (b"\n", b""):
            yield line.decode("utf-8", "replace").rstrip("\n")


def escaped(value: str) -> str:
    """A value in one line ("Key/value pairs" of the definition)."""
    return plain(value).replace("\\", "\\\\").replace("\n", "\\n")


def plain(value: str) -> str:
    """The value as NRRD and C can hold it: line ends are LF, a NUL and half a UTF-16 pair are replaced."""
    value = value.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\N{REPLACEMENT CHARACTER}")
    return value.encode("utf-8", "replace").decode()


def _text(line: bytes) -> str:
    return line.decode("ascii").rstrip("\n")


def _vector(values: Matrix) -> str:
    # repr: every float64 comes back as it was. Plus 0.0: no "-0.0".
    return f"({','.join(repr(value + 0.0) for value in values.tolist())})"
