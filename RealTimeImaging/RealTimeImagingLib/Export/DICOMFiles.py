"""DICOM: a folder of files of one series (PS3.10), explicit VR little endian or lossless JPEG-LS.

What is in each: see DICOMImages. Pixels are written after the rest, frame by frame (PS3.5 annex A): an element of a
known length, or fragments, one a frame.
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

LARGEST_ELEMENT = 2**32 - 2
"""Bytes of an element (PS3.5 section 7.1.1): 2^32 - 1 means "not known", and the number is even."""
LONGEST_CINE = 3000
"""Frames of one: FrameTimeVector has a length of 16 bits, and as many values of at most 17 bytes."""
PRECISION = 1e-7
"""Of decimal numbers with ten digits."""
_LARGEST = 65535
_EXPLICIT, _JPEG_LS = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.80"

Encoder = Callable[[Pixels], bytes]


class _Incompressible(Exception):
    """A slice would not become smaller."""


@dataclass(frozen=True)
class _Instance:
    """A file: these frames of the export, or of one frame these slices, counted as they are written."""

    name: str
    places: range
    slices: range
    uid: str


class DICOMFolder(Writer):
    """A series. 2-D frames of uint8 that lie at one place are a cine (Ultrasound Multi-frame), all others are Secondary
    Capture, one instance a frame of the recording."""

    output: ClassVar[type[Output]] = OutputFolder

    def __init__(self, frames: Frames, job: ExportJob, work: Work) -> None:
        super().__init__(frames, job, work)
        self._check(frames)
        flat = frames.shape[0] == 1 and frames.dtype == np.uint8
        self._cine = flat and frames.firstElsewhere() is None
        if flat and not self._cine:
            self._tell("export-single", "The frames lie at different places: each is a DICOM file of its own.", "info")
        self._tellStraightened()
        self._instances = self._plan(LARGEST_ELEMENT)
        self._dimensions = newUID()
        self._encode = self._encoder() if job.compress else None
        self.packs = self._encode is not None

    def _check(self, frames: Frames) -> None:
        frames.checkRightAngles("DICOM")
        if frames.dtype.str[1:] not in ("u1", "u2", "i2"):
            raise ExportError(
                f"DICOM has images of uint8, uint16 and int16 that all programs read; pixels of {frames.dtype} would "
                "not stay as they are. NIfTI and .seq.nrrd hold them."
            )
        if frames.components == 4 or (frames.components == 3 and frames.dtype != np.uint8):
            kind = "transparency" if frames.components == 4 else f"colour of {frames.dtype}"
            raise ExportError(f"DICOM has no {kind}; .seq.nrrd holds it.")
        if max(frames.shape[1:3]) > _LARGEST:
            raise ExportError(
                f"DICOM has at most {_LARGEST:,} rows and columns, not {frames.shape[1]} x {frames.shape[2]}."
            )

    def _tellStraightened(self) -> None:
        matrix, shape = self.frames.matrix(0), self.frames.shape
        off = distance(self._matrix(0), matrix, shape)
        if off > VOXEL * float(np.linalg.norm(matrix[:3, :3], axis=0).min()):
            text = f"DICOM allows only right angles: voxels at the edges are displaced by up to {off:.2g} mm."
            self._tell("export-straightened", text, "warning")

    def _plan(self, largest: int) -> list[_Instance]:
        frames, (slices, *_) = self.frames, self.frames.shape
        plane = frames.frameBytes // slices
        if plane > largest:
            raise ExportError(f"A slice has {plane:,} bytes; DICOM has room for {largest:,}.")
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
                self._tellOnce(
                    "export-not-compressed", "JPEG-LS makes some of the files larger; they are not compressed."
                )

    def _writeInstance(self, output: Output, dataset: Any, instance: _Instance, encode: Encoder | None) -> None:
        with output.create(instance.name) as file:
            _writeHeader(file, dataset, _JPEG_LS if encode else _EXPLICIT)
            self._writePixels(file, instance, encode)

    def _dataset(self, number: int) -> Any:
        # Made again for the comparison: those of all instances would not fit into memory.
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
        # As the file has it.
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
            what = f"The file {instance.name}"
            self._compareImages(DICOM(output.path(instance.name)), instance, what)
            found = pydicom.dcmread(output.path(instance.name), stop_before_pixels=True)
            for element in self._dataset(number):
                if element.tag not in found or found[element.tag].value != element.value:
                    raise Different(f"{what} has another {element.name} than was written.")

    def _compareImages(self, reader: DICOM, instance: _Instance, what: str) -> None:
        frames, times = self.frames, []
        for image, place in zip_longest(readImages(reader, what), instance.places):
            if image is None or place is None:
                raise Different(f"{what} has not the {len(instance.places)} frames that were written.")
            self.work.step(0, f"Comparing frame {place + 1} of {len(frames)}")
            pixels, matrix = self._original(instance, place)
            compareImage(image, pixels, matrix, PRECISION, f"Frame {place} in {instance.name}")
            times.append(image.deviceTime)
            self.work.step(pixels.nbytes)
        expected = [frames.start + frames.times[place] for place in instance.places]
        if dateTime(expected[0])[0]:
            compareTimes([nan if time is None else time for time in times], expected, 2.5 * TICK, what)

    def _original(self, instance: _Instance, place: int) -> tuple[Pixels, Matrix]:
        # The slices of a file as they lie in the recording, whatever was turned round for it.
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
            text = "There is no encoder for JPEG-LS here (pyjpegls); the files are not compressed."
            self._tell("export-not-compressed", text, "warning")
            return None
        rows, columns = self.frames.shape[1:3]
        components, bits = self.frames.components, 8 * self.frames.dtype.itemsize

        def encode(plane: Pixels) -> bytes:
            data = plane.astype(plane.dtype.newbyteorder("<"), copy=False).tobytes()
            try:
                # 2: colour by pixel, as it lies in memory.
                return bytes(
                    jpeg_ls.encode_buffer(data, rows, columns, components, bits, 0, 2 if components > 1 else None)
                )
            except RuntimeError as error:
                # The encoder has no more room than the pixels take.
                raise _Incompressible from error

        return encode

    def _tell(self, code: str, text: str, level: str) -> None:
        self.events.append(Event(code, text, level, self.job.destination))

    def _tellOnce(self, code: str, text: str) -> None:
        if all(event.code != code for event in self.events):
            self._tell(code, text, "info")


def stored(pixels: Pixels) -> Pixels:
    """Values without sign: int16 plus half its range, which RescaleIntercept takes away again."""
    if pixels.dtype.kind == "u":
        return pixels
    shifted: Pixels = pixels.view(np.uint16) ^ np.uint16(0x8000)
    return shifted


def _item(data: bytes) -> bytes:
    # PS3.5 section A.4: a fragment of even length.
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
