"""DICOM files: position and completeness of the pixels, and the images that the frames make.

The format: the DICOM standard, PS3.5 (encoding), PS3.10 (files), PS3.3 (attributes).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np

from ...Model.Errors import NotAnImageError
from ...Model.Frame import Image, Pixels, asShown
from ...Model.Text import textsOf
from ..ImageFile import DEFAULT_LIMIT, ImageFile, checkRightAngles, makeImage
from ..Raw import allocate, openFile, readExactly, statOf
from .File import LONG_FORM, LONGEST_HEADER, UNDEFINED, Clamped, Fragments, Packed, guarded, packedFile
from .Frames import FrameInfo, framesOf, hasOwnPlaces, imagesOf, placed
from .Geometry import MISSING, Placed, attributesOf, rescaleNote, spacingNote, timesSinceFirst
from .Header import SliceHeader, sliceOf
from .Mosaic import Mosaic
from .Pixels import Layout, decoded, rescaled

_ = textsOf(__file__)

_NO_IMAGES = {
    "1.2.840.10008.1.3.10": _("a DICOMDIR"),
    "1.2.840.10008.5.1.4.1.1.88.": _("a structured report"),
    "1.2.840.10008.5.1.4.1.1.9.": _("a waveform"),
    "1.2.840.10008.5.1.4.1.1.91.": _("annotations"),
    "1.2.840.10008.5.1.4.1.1.11.": _("a presentation state"),
    "1.2.840.10008.5.1.4.1.1.66": _("raw data, a registration or a surface"),
    "1.2.840.10008.5.1.4.1.1.104.": _("an encapsulated document"),
    "1.2.840.10008.5.1.4.1.1.481.3": _("a structure set"),
    "1.2.840.10008.5.1.4.1.1.481.": _("a radiotherapy plan or record"),
}
_IMAGES = ("1.2.840.10008.5.1.4.1.1.481.1", "1.2.840.10008.5.1.4.1.1.481.2", "1.2.840.10008.5.1.4.1.1.66.4")
"""Beginnings of SOP classes without pixels (PS3.4 annex B), and those below them that have some (RT Image, RT Dose,
Segmentation)."""


_OVERHEAD = 1 << 20
"""Bytes of headers and tables that a compressed frame may have beside its pixels."""


def looksLikeDICOM(head: bytes) -> bool:
    """Return True for the mark of PS3.10 behind the preamble, or a first element of group 0002 or 0008."""
    if head[128:132] == b"DICM":
        return True
    group, element = head[:2], head[2:4]
    little = group in (b"\x02\x00", b"\x08\x00") and element[1:] == b"\0"
    big = group == b"\x00\x08" and element[:1] == b"\0"
    return len(head) >= 8 and (little or big)


@dataclass(frozen=True)
class FileHeader:
    """Header of a DICOM file with its pixels and images; see SliceHeader for the part that a stack of files needs.

    :param dataset: data set without pixels.
    :param offset: offset of the first byte of the pixels. ``length``: bytes of all pixels, UNDEFINED when encapsulated.
    :param frames: the images that the frames make.
    :param infos: description of each frame; empty when the functional groups have no positions.
    :param mosaic: division of the picture into slices, or the reason why there is none.
    """

    dataset: Any
    layout: Layout
    offset: int
    length: int
    frames: list[Placed]
    infos: list[FrameInfo]
    mosaic: Mosaic | str | None


class DICOM(ImageFile):
    """Reader of DICOM files with one or many frames.

    Each frame of a cine is an image of one slice. Frames of a volume are one image, sorted along their normal, with the
    distance of their positions. Such frames have positions of their own (Enhanced MR, CT, PET ...), or a
    GridFrameOffsetVector (RT Dose), or, other than ultrasound and fluoroscopy, one position for all and
    SpacingBetweenSlices (NM, Secondary Capture). Where several frames share a position, :func:`momentsOf` assigns them
    to volumes. A slice that a volume lacks gets the lowest value, and the attribute MissingSlices names it. Unevenly
    spaced frames stay slices, each in its own place. A mosaic becomes the volume of its tiles; without a known division
    it stays a picture, with the reason in the attribute Mosaic.

    Values: stored values in a rescaled type (see :func:`rescaled`). MONOCHROME1 is not inverted, but named in the
    attribute PhotometricInterpretation; YBR and PALETTE COLOR become RGB. Times without an offset are local times.
    Attributes describe the acquisition and identify no patient.

    Transfer syntaxes: all that pydicom's decoders or SimpleITK decode (see :func:`decoded`), big-endian and deflated;
    others are rejected by name. The whole file may be packed with gzip.
    """

    title = "DICOM"

    def __init__(self, path: str, limit: int = DEFAULT_LIMIT) -> None:
        super().__init__(path, limit)
        self._restart()

    def _restart(self) -> None:
        self._header: FileHeader | None = None
        self._seen = 0
        self._packed: Packed | None = None
        self._fragments: Fragments | None = None
        self.sealed = False

    def _open(self) -> BinaryIO:
        return self._packed.open() if self._packed else openFile(self.path)

    @property
    def header(self) -> FileHeader | None:
        """The header; None until missing() finds it complete."""
        return self._header

    @property
    def slice(self) -> SliceHeader | None:
        """Header of a file that may be a slice of a volume, None for any other file; valid as :attr:`header`."""
        assert self._header is not None
        return sliceOf(self._header.dataset)

    def frame(self, number: int) -> Pixels:
        """Return the final values of one frame, (rows, columns[, 3]); call it after missing() returned None.

        :raises NotAnImageError: as :meth:`images`.
        """
        assert self._header is not None
        with guarded(self.path):
            return asShown(self._frame(self._header, number))

    def _missing(self) -> str | None:
        size = statOf(self.path).st_size
        if size < self._seen:
            self._restart()
        self._seen = size
        if self._header is None:
            self._packed = self._packed or packedFile(self.path, self.limit)
            if self._packed and (words := self._packed.missing(self._mostUnpacked)):
                return words
            with guarded(self.path):
                found = self._readHeader()
            if isinstance(found, str):
                return found
            self._header = found
        header = self._header
        with self._open() as file:
            size = file.seek(0, io.SEEK_END)
            if header.length == UNDEFINED:
                self._fragments = self._fragments or Fragments(header.offset)
                words = self._fragments.missing(file, size)
                self.sealed = words is None and (self._packed is None or self._packed.sealed)
                return words
        there = max(0, size - header.offset)
        if there >= header.length:
            self.sealed = self._packed is not None and self._packed.sealed
            return None
        return _("The header declares {length:,} bytes of pixels; {there:,} are present.").format(
            length=header.length, there=there
        )

    def _mostUnpacked(self) -> int:
        # Bytes that the header of a packed file allows.
        with guarded(self.path):
            header = self._readHeader()
        if isinstance(header, str):
            text = _("The file unpacks to more than {size:,} bytes, in which its DICOM header does not end.")
            raise NotAnImageError(text.format(size=LONGEST_HEADER), "too-large")
        # Compressed pixels take a little more than others in the worst case.
        declared = 2 * header.layout.bytes if header.length == UNDEFINED else header.length
        return header.offset + declared + LONGEST_HEADER

    def _readDataset(self) -> tuple[Any, bytes, int, int] | str:
        """Return the dataset, the start of the element of the pixels, and the offset and length of the pixels.

        Return a sentence instead while the header is not complete.
        """
        import pydicom

        with self._open() as plain, Clamped(plain, plain.seek(0, io.SEEK_END)) as file:
            file.seek(0)
            head = file.read(140)
            if not any(head):
                return _("The first {count:,} bytes are zero: the DICOM header is not written yet.").format(
                    count=len(head)
                )
            if not looksLikeDICOM(head):
                if len(head) < 132:
                    return _("The file has {count:,} bytes, too few for a DICOM header.").format(count=len(head))
                raise NotAnImageError(_('A DICOM file has "DICM" at byte 128; this file does not.'), "not-an-image")
            file.seek(0)
            file.short = False
            try:
                dataset = pydicom.dcmread(file, stop_before_pixels=True, force=True)
            except Exception:
                # What looks damaged may be the end of the bytes written so far.
                if file.short:
                    return _("The DICOM header is not complete; the file has {size:,} bytes.").format(size=file.size)
                raise
            start = file.tell()
            raw = file.read(12)
            if (element := _pixelElement(raw)) is not None:
                size, length = element
                return dataset, raw, start + size, length
            media = dataset.file_meta.get("MediaStorageSOPClassUID", "")
            uid = str(dataset.get("SOPClassUID", "")) or str(media)
            for beginning, kind in _NO_IMAGES.items():
                if uid.startswith(beginning) and not uid.startswith(_IMAGES):
                    raise NotAnImageError(_("The file holds {kind}, no pixels.").format(kind=kind), "unsupported")
            return _("The DICOM header has no pixels yet; the file has {size:,} bytes.").format(size=file.size)

    def _readHeader(self) -> FileHeader | str:
        found = self._readDataset()
        if isinstance(found, str):
            return found
        dataset, raw, offset, length = found
        layout = Layout.of(dataset, raw)
        declared = layout.frames
        if length != UNDEFINED and layout.bits > 1 and layout.frameBytes <= length < layout.bytes:
            # An aborted scan: the header has the planned number of frames.
            layout = replace(layout, frames=length // layout.frameBytes)
        if length != UNDEFINED and length < layout.bytes:
            raise NotAnImageError(
                _("PixelData has {length:,} bytes; {frames:,} frames of {columns} x {rows} need {bytes:,}.").format(
                    length=length, frames=layout.frames, columns=layout.columns, rows=layout.rows, bytes=layout.bytes
                ),
                "damaged",
            )
        extent = (layout.columns, layout.rows, layout.frames)
        infos = framesOf(dataset, layout.frames) if hasOwnPlaces(dataset) else []
        frames = imagesOf(infos, dataset, layout.columns, layout.rows) if infos else placed(dataset, *extent)
        mosaic = Mosaic.of(dataset, layout)
        if isinstance(mosaic, Mosaic):
            time = frames[0].time if mosaic.time is None else mosaic.time
            frames = [Placed([0], mosaic.ijkToRAS, time, frames[0].attributes)]
        largest = max(len(image.frames) for image in frames) * layout.shownBytes
        if largest > self.limit:
            raise NotAnImageError(
                _("The header declares an image of {largest:,} bytes, more than the limit of {limit:,}.").format(
                    largest=largest, limit=self.limit
                ),
                "too-large",
            )
        for image in frames:
            checkRightAngles(image.ijkToRAS)
        self.count, self.times = len(frames), timesSinceFirst(dataset, frames, layout.frames)
        self.notes = _notes(dataset, frames, mosaic)
        if layout.frames < declared:
            text = _("The header declares {all:,} frames; {count:,} are there.")
            self.notes = (text.format(all=declared, count=layout.frames), *self.notes)
        return FileHeader(dataset, layout, offset, length, frames, infos, mosaic)

    def _images(self, first: int) -> Iterator[Image]:
        if self._header is None and (words := self.missing()):
            raise NotAnImageError(words, "damaged")
        assert self._header is not None
        header = self._header
        whole = len(header.frames) == 1
        for number, image in enumerate(header.frames[first:], first):
            with guarded(self.path):
                slices = [self._frame(header, frame) for frame in image.frames if frame != MISSING]
                if len(slices) < len(image.frames):
                    slices = _filled(slices, image.frames)
                attributes = {**attributesOf(header.dataset), **image.attributes}
                if not whole:
                    attributes["FrameNumber"] = str(number + 1)
                pixels = slices[0][np.newaxis] if len(slices) == 1 else np.stack(slices)
                if isinstance(header.mosaic, Mosaic):
                    pixels = header.mosaic.split(slices[0])
                elif header.mosaic:
                    attributes["Mosaic"] = header.mosaic
                if self.notes:
                    attributes["Note"] = " ".join(self.notes)
                made = makeImage(pixels, image.ijkToRAS, image.time, attributes)
            yield made

    def _frame(self, header: FileHeader, number: int) -> Any:
        # Final values of one frame: (rows, columns[, components]).
        layout = header.layout
        if header.length == UNDEFINED:
            assert self._fragments is not None
            with self._open() as file:
                data = self._fragments.frame(file, layout.frames, number, 2 * layout.frameBytes + _OVERHEAD)
            values = decoded(header.dataset, layout, data)
        elif layout.bits == 1:
            first, last = number * layout.pixels, (number + 1) * layout.pixels
            packed = self._bytes(header.offset + first // 8, (last + 7) // 8 - first // 8)
            bits = np.unpackbits(packed, bitorder="little")[first % 8 :][: layout.pixels]
            values = bits.reshape(layout.rows, layout.columns)
        else:
            begin = number * layout.frameBytes
            if layout.swapped:
                even = begin & ~1
                words = self._bytes(header.offset + even, (begin + layout.frameBytes + 1 & ~1) - even)
                values = words.reshape(-1, 2)[:, ::-1].ravel()[begin - even :][: layout.frameBytes]
            else:
                values = self._bytes(header.offset + begin, layout.frameBytes)
            values = layout.arranged(values, header.dataset)
        return rescaled(values, header.dataset, layout, number)

    def _bytes(self, offset: int, size: int) -> Any:
        target = allocate(size, self.limit, _("A frame"))
        with self._open() as file:
            file.seek(offset)
            readExactly(file, target, self.path)
        return target


def _notes(dataset: Any, images: Sequence[Placed], mosaic: Mosaic | str | None) -> tuple[str, ...]:
    found = [spacingNote(dataset), rescaleNote(dataset)]
    if isinstance(mosaic, str):
        found.append(_("The mosaic is {mosaic}. It is shown as one picture.").format(mosaic=mosaic))
    for number, image in enumerate(images, 1):
        if absent := image.attributes.get("MissingSlices"):
            count, several = (
                len(absent.split()),
                _(" of image {number}").format(number=number) if len(images) > 1 else "",
            )
            names = ", ".join(absent.split()[:10]) + (" ..." if count > 10 else "")
            found.append(
                _("Missing: {count} of {slices} slices{several}, number {names}.").format(
                    count=count, slices=len(image.frames), several=several, names=names
                )
            )
    return tuple(filter(None, found))


def _filled(slices: list[Pixels], frames: Sequence[int]) -> list[Pixels]:
    # Missing slices get the lowest value of the others.
    blank = np.full_like(slices[0], min(plane.min() for plane in slices))
    there = iter(slices)
    return [blank if frame == MISSING else next(there) for frame in frames]


def _pixelElement(raw: bytes) -> tuple[int, int] | None:
    # Length of the element's beginning and of its value; None for an element other than (Float, Double) Pixel Data.
    if len(raw) < 12:
        return None
    for order in "<>":
        group, element = struct.unpack_from(order + "HH", raw)
        if group == 0x7FE0 and element in (0x0008, 0x0009, 0x0010):
            if raw[4:6] in LONG_FORM:
                return 12, int(struct.unpack_from(order + "I", raw, 8)[0])
            return 8, int(struct.unpack_from(order + "I", raw, 4)[0])
    return None
