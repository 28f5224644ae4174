"""NIfTI export: one NIfTI-1 file with a BIDS-style JSON sidecar.

The format is nifti1.h of the NIfTI Data Format Working Group, whose field names are used below. RepetitionTime and
VolumeTiming in the sidecar: Brain Imaging Data Structure, "Task (including resting state) imaging data".
"""

from __future__ import annotations

import gzip
import json
import math
import struct
from itertools import pairwise
from typing import IO, Any, ClassVar, cast

import numpy as np

from ..Formats.NIfTI import NIfTI
from ..Model.Errors import ExportError
from ..Model.Frame import Matrix
from ..Model.Text import textsOf
from ..Recording.Header import isoTime
from .Comparison import VOXEL, Different, compareFrames, compareWords, tolerance
from .Frames import Frames
from .Job import PIECE, ExportJob, Work
from .Output import Output, OutputFile, Writer, bytesOf

_ = textsOf(__file__)

HEADER = 352
LARGEST = 32767
"""Largest dimension: dim is a signed 16-bit number."""
PRECISION = 5e-7
"""Relative precision of geometry, which is stored in float32, after some sums."""
REGULAR = 0.01
"""Most relative deviation of an interval from the mean for a constant repetition time."""
_CODES = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "f8": 64, "i1": 256, "u2": 512, "u4": 768}
_COLOUR_CODES = {3: 128, 4: 2304}


class NIfTIFile(Writer):
    """``.nii`` and ``.json``. One frame makes a 3-D file, several make a 4-D file."""

    suffix: ClassVar[str] = ".nii"
    sidecar: ClassVar[str] = ".json"

    def __init__(self, frames: Frames, job: ExportJob, work: Work) -> None:
        super().__init__(frames, job, work)
        self._matrix = frames.fixedMatrix("NIfTI")
        frames.checkRightAngles("NIfTI")
        if frames.components > 1 and frames.dtype != np.uint8:
            raise ExportError(
                _("NIfTI holds colour of uint8 only, not {dtype}. Choose .seq.nrrd.").format(dtype=str(frames.dtype))
            )
        names = (_("frames"), _("slices"), _("rows"), _("columns"))
        for name, size in zip(names, (len(frames), *frames.shape[:3]), strict=True):
            if size > LARGEST:
                raise ExportError(
                    _("NIfTI-1 holds at most {largest:,} {name}, not {size:,}. Choose .seq.nrrd.").format(
                        largest=LARGEST, name=name, size=size
                    )
                )
        rounded = self._matrix.astype(np.float32).astype(np.float64)
        off = float(np.abs((rounded - self._matrix) @ (*(size - 1.0 for size in frames.shape[2::-1]), 1.0)).max())
        if off > tolerance(self._matrix, frames.shape, PRECISION):
            raise ExportError(
                _(
                    "NIfTI stores positions as 32-bit numbers, which would displace voxels by {off:.2g} "
                    "mm, more than {part:g} of a voxel. Choose .seq.nrrd."
                ).format(off=off, part=VOXEL)
            )
        self._words = sidecar(frames)

    def write(self, output: Output) -> None:
        with output.create(self.sidecar) as file:
            file.write(json.dumps(self._words, indent=1, ensure_ascii=True).encode())
        with output.create(self.suffix) as file:
            self._writeImage(file)

    def _writeImage(self, file: OutputFile) -> None:
        file.write(header(self.frames, self._matrix))
        for index in range(len(self.frames)):
            self.say(index)
            pixels = self.frames.pixels(index)
            file.writePixels(pixels.astype(pixels.dtype.newbyteorder("<"), copy=False))

    def compare(self, output: Output) -> None:
        path = output.path(self.suffix)
        reader = NIfTI(path)
        compareFrames(reader, self.frames, PRECISION, self.work, _("The file"))
        with open(output.path(self.sidecar), encoding="utf-8") as text:
            found = json.load(text)
        compareWords(found, self._words, _("The JSON file"))
        if len(self.frames) > 1 and abs(_period(self.frames.times) / (reader.times or [0, 0])[1] - 1) > 1e-6:
            raise Different(_("The file has a different time from frame to frame than was written."))


class PackedNIfTIFile(NIfTIFile):
    """``.nii.gz`` and ``.json``."""

    suffix = ".nii.gz"
    packs = True

    def _writeImage(self, file: OutputFile) -> None:
        # The fastest level: higher levels compress noise little better and take several times as long.
        with gzip.GzipFile("", "wb", 1, cast("IO[bytes]", file), 0) as packed:
            packed.write(header(self.frames, self._matrix))
            for index in range(len(self.frames)):
                self.say(index)
                pixels = self.frames.pixels(index)
                flat = bytesOf(pixels.astype(pixels.dtype.newbyteorder("<"), copy=False))
                for begin in range(0, flat.nbytes, PIECE):
                    self.work.step(packed.write(flat[begin : begin + PIECE]))


def header(frames: Frames, matrix: Matrix) -> bytes:
    """Compose the 352 bytes of the header, little-endian; sform and qform are the same, both "scanner"."""
    slices, rows, columns = frames.shape[:3]
    count = len(frames)
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    factor, quaternion = _quaternion(matrix)
    code = _COLOUR_CODES[frames.components] if frames.components > 1 else _CODES[frames.dtype.str[1:]]
    out = bytearray(HEADER)
    struct.pack_into("<i", out, 0, 348)
    struct.pack_into("<8h", out, 40, 4 if count > 1 else 3, columns, rows, slices, count, 1, 1, 1)
    struct.pack_into("<2h", out, 70, code, 8 * frames.dtype.itemsize * frames.components)
    struct.pack_into("<5f", out, 76, factor, *spacing, _period(frames.times))
    struct.pack_into("<3f", out, 108, HEADER, 1.0, 0.0)
    out[123] = 2 | 8  # NIFTI_UNITS_MM, NIFTI_UNITS_SEC
    struct.pack_into("<2h", out, 252, 1, 1)
    struct.pack_into("<6f", out, 256, *quaternion, *matrix[:3, 3])
    struct.pack_into("<12f", out, 280, *matrix[:3].ravel())
    struct.pack_into("<4s", out, 344, b"n+1\0")
    return bytes(out)


def sidecar(frames: Frames) -> dict[str, Any]:
    """Compose the JSON beside the image. Times are seconds since the first frame in the file; times in "Frames" are
    those of the recording."""
    times = frames.times
    words: dict[str, Any] = {}
    if len(times) > 1:
        mean = _period(times)
        if all(abs(after - before - mean) <= REGULAR * mean for before, after in pairwise(times)):
            words["RepetitionTime"] = mean
        else:
            words["VolumeTiming"] = [time - times[0] for time in times]
    entries = [frames.entry(index) for index in range(len(frames))]
    words |= {
        "ConversionSoftware": "RealTimeImaging",
        "AcquisitionDateTime": isoTime(frames.start + times[0]),
        "Recording": frames.recording,
        "Stream": frames.stream,
        "RecordingStart": frames.start,
        "RecordingStartClock": frames.startClock,
        "Attributes": dict(frames.attributes),
        "Frames": [
            {name: value for name, value in entry.items() if name != "ijkToRAS"}  # the file has one for all frames
            for entry in entries
        ],
    }
    return words


def _period(times: list[float]) -> float:
    return (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else 0.0


def _quaternion(matrix: Matrix) -> tuple[float, tuple[float, float, float]]:
    """Compute qfac and quatern_b, c, d (nifti1.h, "QUATERNION REPRESENTATION OF ROTATION MATRIX")."""
    axes = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    factor = 1.0 if np.linalg.det(axes) > 0 else -1.0
    axes = axes * (1.0, 1.0, factor)
    # Take the nearest rotation, because rounding leaves the axes not exactly at right angles.
    left, _, right = np.linalg.svd(axes)
    r = left @ right
    # Compute the largest of the four first, because the others are divided by it.
    squares = [
        1 + r[0, 0] + r[1, 1] + r[2, 2],
        1 + r[0, 0] - r[1, 1] - r[2, 2],
        1 - r[0, 0] + r[1, 1] - r[2, 2],
        1 - r[0, 0] - r[1, 1] + r[2, 2],
    ]
    largest = int(np.argmax(squares))
    root = 2 * math.sqrt(squares[largest])
    cross = (r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1])
    ab, ac, bc = r[1, 0] + r[0, 1], r[2, 0] + r[0, 2], r[2, 1] + r[1, 2]
    a, b, c, d = {
        0: (root / 4, cross[0] / root, cross[1] / root, cross[2] / root),
        1: (cross[0] / root, root / 4, ab / root, ac / root),
        2: (cross[1] / root, ab / root, root / 4, bc / root),
        3: (cross[2] / root, ac / root, bc / root, root / 4),
    }[largest]
    sign = -1.0 if a < 0 else 1.0
    return factor, (sign * b, sign * c, sign * d)
