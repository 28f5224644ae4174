"""NRRD export: one volume, or Slicer's sequence in one file; raw encoding, attached header.

The format is "Definition of NRRD File Format" (teem). Slicer restores the key/value pairs of a volume as attributes of
its node (vtkMRMLNRRDStorageNode), and reads a sequence as Recording/Header.py describes.
"""

from __future__ import annotations

import json

from ..Formats.NRRD import END, NRRD, Header, composeFields, escaped, plain
from ..Formats.TextHeader import SECONDS, readHeader
from ..Model.Errors import ExportError
from ..Model.Event import Event
from ..Model.Files import decodedText
from ..Model.Frame import LPS_TO_RAS
from ..Model.Text import textsOf
from ..Recording.Header import FRAME, composeHeader
from .Comparison import compareFrames, compareTimes, compareWords
from .Frames import Frames
from .Job import ExportJob, Work
from .Output import Output, Writer

_ = textsOf(__file__)

PRECISION = 1e-12
"""Relative precision of geometry: every float64 is written exactly and multiplied once."""
_LONGEST_HEADER = 1 << 28
"""Bytes."""


class VolumeFile(Writer):
    """``.nrrd`` of one frame. Attributes: those of the recording or snapshot, and "Frame" (JSON, as in a recording)."""

    suffix = ".nrrd"

    def __init__(self, frames: Frames, job: ExportJob, work: Work) -> None:
        super().__init__(frames, job, work)
        if len(frames) != 1:
            raise ExportError(
                _("An NRRD volume holds one frame, not {count}. Choose .seq.nrrd.").format(count=len(frames))
            )
        self._attributes = {**frames.attributes, FRAME: _text(frames.line(0).toBytes())}
        altered = [name for name, value in self._attributes.items() if plain(value) != value]
        if altered:
            text = _("NRRD cannot hold carriage returns and NUL characters; they are replaced in {names}.")
            text = text.format(names=", ".join(altered))
            self.events.append(Event("export-altered", text, "warning", job.destination))

    def write(self, output: Output) -> None:
        frames = self.frames
        fields = composeFields(frames.dtype.newbyteorder("<"), frames.shape, LPS_TO_RAS @ frames.matrix(0))
        fields += [f"{name}:={escaped(value)}" for name, value in self._attributes.items()]
        with output.create(self.suffix) as file:
            file.write("\n".join(fields).encode("utf-8", "replace") + b"\n\n")
            self.say(0)
            pixels = frames.pixels(0)
            file.writePixels(pixels.astype(pixels.dtype.newbyteorder("<"), copy=False))

    def compare(self, output: Output) -> None:
        path = output.path(self.suffix)
        compareFrames(NRRD(path), self.frames, PRECISION, self.work, _("The file"))
        expected = {name: plain(value) for name, value in self._attributes.items()}
        compareWords(_header(path).pairs, expected, _("The file"))


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
        # A recording has its pixels in another file; here they follow the header.
        before, _, after = header.partition(b"\ndata file: ")
        with output.create(self.suffix) as file:
            file.write(before + b"\n" + after.partition(b"\n")[2])
            for index in range(len(frames)):
                self.say(index)
                file.writePixels(frames.pixels(index))

    def compare(self, output: Output) -> None:
        path = output.path(self.suffix)
        compareFrames(NRRD(path), self.frames, PRECISION, self.work, _("The file"))
        header = _header(path)
        axis = "axis 3"
        lines = {f"{axis} item {index:04d} {FRAME}": _text(line) for index, line in enumerate(self._lines)}
        attributes = {name: plain(value) for name, value in self.frames.attributes.items()}
        compareWords(header.pairs, {**lines, **attributes}, _("The file"))
        compareWords(json.loads(header.pairs["Recording"])["attributes"], self.frames.attributes, _("The file"))
        scale = SECONDS[header.field("units").split()[-1].strip('"')]
        values = [float(word) * scale for word in header.pairs[f"{axis} index values"].split()]
        compareTimes(values, self.frames.times, 1e-6, _("the file"))


def _header(path: str) -> Header:
    data, _, _ = readHeader(path, END, _LONGEST_HEADER)
    return Header(decodedText(data))


def _text(line: bytes) -> str:
    return line.decode("ascii").rstrip("\n")
