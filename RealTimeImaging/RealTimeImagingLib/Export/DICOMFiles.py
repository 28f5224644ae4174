"""DICOM export: a folder with the files of one series (PS3.10), explicit VR little endian or lossless JPEG-LS.

DICOMImages describes the content of the files. Pixels are written last, frame by frame (PS3.5 annex A): as an element
of known length, or as fragments, one for each frame.
"""

from __future__ import annotations

import copy
import struct
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from math import nan
from typing import Any, ClassVar

import numpy as np

from ..Formats.DICOM.Reader import DICOM
from ..Model.Errors import ExportError
from ..Model.Event import Event
from ..Model.Frame import Matrix, Pixels
from ..Model.Text import textsOf
from .Comparison import VOXEL, Different, compareImage, compareTimes, distance, readImages
from .DICOMImages import (
    TICK,
    addCine,
    addInstance,
    addVolume,
    dateTime,
    newUID,
    rightAngled,
    rightHanded,
    seriesDataset,
)
from .Frames import Frames
from .Job import ExportJob, Work
from .Output import Output, OutputFile, OutputFolder, Writer

_ = textsOf(__file__)

LARGEST_ELEMENT = 2**32 - 2
"""Most bytes of an element (PS3.5 section 7.1.1): the length is even, and 2^32 - 1 means "unknown"."""
LONGEST_CINE = 3000
"""Most frames of a cine: FrameTimeVector has a 16-bit length, and up to 17 bytes for each frame."""
PRECISION = 1e-7
"""Relative precision of geometry, which is stored in decimal numbers with ten digits."""
_LARGEST = 65535
_EXPLICIT, _JPEG_LS = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.80"

Encoder = Callable[[Pixels], bytes]


class _Incompressible(Exception):
    """A compressed slice would not be smaller."""


@dataclass(frozen=True)
class _Instance:
    """A file: several frames of the export, or several slices of one frame, in the order in which they are written."""

    name: str
    places: range
    slices: range
    uid: str


class DICOMFolder(Writer):
    """Series of DICOM files. 2-D frames of uint8 with one geometry make a cine (Ultrasound Multi-frame). Other frames
    make Secondary Capture images, one instance for each frame of the recording."""

    output: ClassVar[type[Output]] = OutputFolder

    def __init__(self, frames: Frames, job: ExportJob, work: Work) -> None:
        super().__init__(frames, job, work)
        self._check(frames)
        flat = frames.shape[0] == 1 and frames.dtype == np.uint8
        self._cine = flat and frames.firstElsewhere() is None
        if flat and not self._cine:
            text = _("The frames have different geometries; each frame has a DICOM file of its own.")
            self._report("export-single", text, "info")
        self._reportStraightened()
        self._instances = self._plan(LARGEST_ELEMENT)
        self._dimensions = newUID()
        self._encode = self._encoder() if job.compress else None
        self.packs = self._encode is not None

    def _check(self, frames: Frames) -> None:
        frames.checkRightAngles("DICOM")
        if frames.dtype.str[1:] not in ("u1", "u2", "i2"):
            raise ExportError(
                _(
                    "All programs read DICOM images of uint8, uint16 and int16 only. Pixels of {dtype} "
                    "would change. Choose NIfTI or .seq.nrrd."
                ).format(dtype=str(frames.dtype))
            )
        if frames.components == 4:
            raise ExportError(_("DICOM cannot hold transparency. Choose .seq.nrrd."))
        if frames.components == 3 and frames.dtype != np.uint8:
            text = _("DICOM cannot hold colour of {dtype}. Choose .seq.nrrd.")
            raise ExportError(text.format(dtype=str(frames.dtype)))
        if max(frames.shape[1:3]) > _LARGEST:
            raise ExportError(
                _("DICOM holds at most {largest:,} rows and columns, not {rows} x {columns}.").format(
                    largest=_LARGEST, rows=frames.shape[1], columns=frames.shape[2]
                )
            )

    def _reportStraightened(self) -> None:
        matrix, shape = self.frames.matrix(0), self.frames.shape
        off = distance(self._matrix(0), matrix, shape)
        if off > VOXEL * float(np.linalg.norm(matrix[:3, :3], axis=0).min()):
            text = _("DICOM allows only right angles: voxels at the edges are displaced by up to {off:.2g} mm.")
            text = text.format(off=float(off))
            self._report("export-straightened", text, "warning")

    def _plan(self, largest: int) -> list[_Instance]:
        frames, (slices, *_plane) = self.frames, self.frames.shape
        plane = frames.frameBytes // slices
        if plane > largest:
            raise ExportError(
                _("A slice has {plane:,} bytes; DICOM holds at most {largest:,}.").format(plane=plane, largest=largest)
            )
        if self._cine:
            step = min(LONGEST_CINE, largest // plane)
            found = [(range(begin, min(begin + step, len(frames))), range(1)) for begin in range(0, len(frames), step)]
        else:
            step = largest // plane
            found = [
                (range(place, place + 1), range(begin, min(begin + step, slices)))
                for place in range(len(frames))
                for begin in range(0, slices, step)
            ]
        digits = max(4, len(str(len(found))))
        return [_Instance(f"{number:0{digits}d}.dcm", *each, newUID()) for number, each in enumerate(found, 1)]

    def write(self, output: Output) -> None:
        self._series, events = seriesDataset(self.frames)
        self.events += events
        for number, instance in enumerate(self._instances):
            self.say(instance.places[0])
            dataset = self._dataset(number)
            try:
                self._writeInstance(output, dataset, instance, self._encode)
            except _Incompressible:
                output.remove(instance.name)
                self._writeInstance(output, dataset, instance, None)
                text = _("JPEG-LS would enlarge some files; they are not compressed.")
                self._reportOnce("export-not-compressed", text)

    def _writeInstance(self, output: Output, dataset: Any, instance: _Instance, encode: Encoder | None) -> None:
        with output.create(instance.name) as file:
            _writeHeader(file, dataset, _JPEG_LS if encode else _EXPLICIT)
            self._writePixels(file, instance, encode)

    def _dataset(self, number: int) -> Any:
        # Composed again for the comparison: the data sets of all instances would need too much memory.
        instance = self._instances[number]
        dataset = copy.deepcopy(self._series)
        addInstance(dataset, self.frames, instance.places, number + 1, instance.uid)
        matrix, _ = self._rightHanded(instance)
        if self._cine:
            addCine(dataset, self.frames, matrix, instance.places)
        else:
            addVolume(dataset, self.frames, matrix, len(instance.slices), self._dimensions)
        return dataset

    def _matrix(self, place: int) -> Matrix:
        # The geometry in the file.
        return rightAngled(self.frames.matrix(place), self.frames.shape)

    def _rightHanded(self, instance: _Instance) -> tuple[Matrix, bool]:
        matrix, flipped = rightHanded(self._matrix(instance.places[0]), self.frames.shape[0])
        matrix = matrix.copy()
        matrix[:3, 3] += instance.slices[0] * matrix[:3, 2]
        return matrix, flipped

    def _writePixels(self, file: OutputFile, instance: _Instance, encode: Encoder | None) -> None:
        frames = self.frames
        nbytes = len(instance.places) * len(instance.slices) * (frames.frameBytes // frames.shape[0])
        word = b"OW" if frames.dtype.itemsize == 2 else b"OB"
        if encode:
            file.write(struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF) + _item(b""))
        else:
            file.write(struct.pack("<HH2sHI", 0x7FE0, 0x0010, word, 0, nbytes + nbytes % 2))
        for place in instance.places:
            self.say(place)
            for plane in stored(self._slices(instance, place)):
                if encode:
                    file.write(_item(encode(plane)))
                    self.work.step(plane.nbytes)
                else:
                    file.writePixels(plane.astype(plane.dtype.newbyteorder("<"), copy=False))
        file.write(struct.pack("<HHI", 0xFFFE, 0xE0DD, 0) if encode else b"\0" * (nbytes % 2))

    def _slices(self, instance: _Instance, place: int) -> Pixels:
        pixels = self.frames.pixels(place)
        if self._rightHanded(instance)[1]:
            pixels = pixels[::-1]
        return pixels[instance.slices.start : instance.slices.stop]

    def compare(self, output: Output) -> None:
        import pydicom

        for number, instance in enumerate(self._instances):
            what = _("The file {name}").format(name=instance.name)
            self._compareImages(DICOM(output.path(instance.name)), instance, what)
            found = pydicom.dcmread(output.path(instance.name), stop_before_pixels=True)
            for element in self._dataset(number):
                if element.tag not in found or found[element.tag].value != element.value:
                    raise Different(
                        _("{what} has another {name} than was written.").format(what=what, name=element.name)
                    )

    def _compareImages(self, reader: DICOM, instance: _Instance, what: str) -> None:
        frames, times = self.frames, []
        for image, place in zip_longest(readImages(reader, what), instance.places):
            if image is None or place is None:
                raise Different(
                    _("{what} does not have the {count} frames that were written.").format(
                        what=what, count=len(instance.places)
                    )
                )
            self.work.step(0, _("Comparing frame {number} of {count}").format(number=place + 1, count=len(frames)))
            pixels, matrix = self._original(instance, place)
            compareImage(
                image, pixels, matrix, PRECISION, _("Frame {number} in {name}").format(number=place, name=instance.name)
            )
            times.append(image.deviceTime)
            self.work.step(pixels.nbytes)
        expected = [frames.start + frames.times[place] for place in instance.places]
        if dateTime(expected[0])[0]:
            compareTimes([nan if time is None else time for time in times], expected, 2.5 * TICK, what)

    def _original(self, instance: _Instance, place: int) -> tuple[Pixels, Matrix]:
        # The slices of a file in the order of the recording, even if the file has them reversed.
        pixels, matrix = self.frames.pixels(place), self._matrix(place).copy()
        first = instance.slices.start
        if np.linalg.det(matrix[:3, :3]) < 0:
            first = len(pixels) - instance.slices.stop
        matrix[:3, 3] += first * matrix[:3, 2]
        return pixels[first : first + len(instance.slices)], matrix

    def _encoder(self) -> Encoder | None:
        try:
            import jpeg_ls
        except ImportError:
            text = _("The files are not compressed, because no JPEG-LS encoder (pyjpegls) is installed.")
            self._report("export-not-compressed", text, "warning")
            return None
        rows, columns = self.frames.shape[1:3]
        components, bits = self.frames.components, 8 * self.frames.dtype.itemsize

        def encode(plane: Pixels) -> bytes:
            data = plane.astype(plane.dtype.newbyteorder("<"), copy=False).tobytes()
            try:
                # Interleave mode 2: colour by pixel, as in memory.
                return bytes(
                    jpeg_ls.encode_buffer(data, rows, columns, components, bits, 0, 2 if components > 1 else None)
                )
            except RuntimeError as error:
                # The encoder's buffer is as large as the pixels.
                raise _Incompressible from error

        return encode

    def _report(self, code: str, text: str, level: str) -> None:
        self.events.append(Event(code, text, level, self.job.destination))

    def _reportOnce(self, code: str, text: str) -> None:
        if all(event.code != code for event in self.events):
            self._report(code, text, "info")


def stored(pixels: Pixels) -> Pixels:
    """Make pixels unsigned: int16 plus half its range, which RescaleIntercept subtracts again."""
    if pixels.dtype.kind == "u":
        return pixels
    shifted: Pixels = pixels.view(np.uint16) ^ np.uint16(0x8000)
    return shifted


def _item(data: bytes) -> bytes:
    # PS3.5 section A.4: the length of a fragment is even.
    padded = data + b"\0" * (len(data) % 2)
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(padded)) + padded


def _writeHeader(file: OutputFile, dataset: Any, syntax: str) -> None:
    import pydicom

    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    dataset.file_meta = meta
    buffer = pydicom.filebase.DicomBytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    file.write(buffer.getvalue())
