"""Typed part of a DICOM header that decides to which volume a slice belongs, and its reading by pydicom."""

from __future__ import annotations

import io
import logging
import math
import struct
import warnings
from functools import cache
from typing import Any, NamedTuple

from ...Model.Errors import NotAnImageError
from ...Model.Files import reasonOf
from ...Model.Text import textsOf
from ..ImageFile import DEFAULT_LIMIT
from ..Raw import openFile
from .File import LONG_FORM, LONGEST_HEADER, UNDEFINED, Clamped, packedFile
from .Geometry import numbersOf
from .Pixels import get, valueOf

_ = textsOf(__file__)

log = logging.getLogger(__name__)

_POSITION, _ORIENTATION = "ImagePositionPatient", "ImageOrientationPatient"
_FIELDS = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "InstanceNumber"),
    *("Modality", "Rows", "NumberOfFrames", _POSITION, _ORIENTATION),
    *("NumberOfSlices", "ImagesInAcquisition", "NumberOfTemporalPositions", "AcquisitionNumber"),
    *("TemporalPositionIdentifier", "TriggerTime", "AcquisitionDateTime", "AcquisitionDate", "AcquisitionTime"),
    *("EchoTime", "EchoNumbers", "ImageType", "SliceLocation", "SequenceName"),
)
_LOCATIONS = ((0x0021, 0x4F, "GEMS_RELA_01"), (0x2001, 0x18, "Philips Imaging DD 001"))
"""Private elements with the number of slices of a volume: group, element in its block, and creator of the block. GE:
Locations in Acquisition. Philips: Number of Slices MR."""
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
"""Float Pixel Data, Double Float Pixel Data and Pixel Data."""
_BEGINNING = 8
"""Bytes of tag, value representation and length (PS3.5 section 7.1)."""


class SliceHeader(NamedTuple):
    """Values that decide to which volume a slice belongs, and its place in the volume.

    pydicom reads them for arriving files. The conversion reads hundreds of series by its own walker, many times as
    fast; it has all files at once, and therefore leaves the last five values empty.

    :param series: SeriesInstanceUID; in the conversion the folder of files without one.
    :param uid: SOPInstanceUID.
    :param number: InstanceNumber, None when unknown.
    :param frames: NumberOfFrames.
    :param position: middle of the first pixel, LPS millimetres; None when the file has none.
    :param orientation: six cosines, along a row and down a column (LPS); None when the file has none.
    :param location: SliceLocation, millimetres.
    :param echo: EchoTime and EchoNumbers, as text.
    :param kinds: ImageType, values separated by backslashes.
    :param acquisition: AcquisitionNumber. ``temporal``: TemporalPositionIdentifier. ``trigger``: TriggerTime.
    :param time: date and time of the acquisition, as far as known, in the form of a DICOM DT.
    :param sequence: SequenceName.
    :param slices: slices of each volume, None where the header leaves it open.
    :param images: ImagesInAcquisition, which may count several volumes.
    :param seriesNumber: SeriesNumber. ``description``: SeriesDescription.
    """

    series: str
    uid: str
    number: int | None = None
    frames: int = 1
    position: tuple[float, ...] | None = None
    orientation: tuple[float, ...] | None = None
    location: float | None = None
    echo: str = ""
    kinds: str = ""
    acquisition: str = ""
    temporal: str = ""
    trigger: str = ""
    time: str = ""
    sequence: str = ""
    slices: int | None = None
    images: int | None = None
    seriesNumber: int | None = None
    description: str = ""

    @property
    def single(self) -> bool:
        """True for one frame with a place in space, which may be a slice of a volume."""
        return self.position is not None and self.orientation is not None and self.frames == 1

    @property
    def order(self) -> tuple[float, float, int]:
        """Sort key of slices of one time: TriggerTime, TemporalPositionIdentifier, InstanceNumber."""
        return _real(self.trigger), _real(self.temporal), self.number or 0


def timeOf(dateTime: str, date: str, time: str) -> str:
    """Return the time of :class:`SliceHeader` of AcquisitionDateTime, or else AcquisitionDate and AcquisitionTime."""
    return dateTime or date.replace(".", "") + time.replace(":", "")


def readHeader(data: Any, size: int, syntax: Any) -> SliceHeader:
    """Read the header of a data set in memory, which may be damaged in any way.

    :param data: binary file in memory, at the beginning of the data set. ``size``: end of the data set.
    :param syntax: pydicom's UID of the transfer syntax.
    :raises NotAnImageError: code "damaged": the data set is unreadable, or ends too early.
    """
    from pydicom.filereader import read_dataset

    tags = _tags()
    try:
        watched = _Watched(data)
        dataset = read_dataset(
            watched, syntax.is_implicit_VR, syntax.is_little_endian, stop_when=_atPixels, specific_tags=tags
        )
        if watched.short or data.tell() > size:
            raise NotAnImageError(
                _("The data set ends in the middle of an element, after {size:,} bytes.").format(size=size), "damaged"
            )
        _checkPixels(data, size, syntax, "Rows" in dataset)
        return _headerOf(dataset)
    except NotAnImageError:
        raise
    except Exception as error:
        # pydicom does not document its exceptions on damaged bytes.
        log.info("pydicom cannot read a data set: %r", error)
        reason = reasonOf(error)
        raise NotAnImageError(_("The data set cannot be read: {reason}.").format(reason=reason), "damaged") from error


def readFileHeader(path: str) -> SliceHeader:
    """Read the header of a complete DICOM file, with or without the preamble of PS3.10, perhaps packed with gzip.

    :raises NotAnImageError: code "damaged": the header is unreadable, or lacks the UIDs of instance and series.
    :raises OSError: the file cannot be read.
    """
    import pydicom

    try:
        packed = packedFile(path, DEFAULT_LIMIT)
        if packed and (words := packed.missing(lambda: 2 * LONGEST_HEADER)):
            raise NotAnImageError(words, "damaged")
        with packed.open() if packed else openFile(path) as plain, Clamped(plain, plain.seek(0, io.SEEK_END)) as file:
            file.seek(0)
            return _headerOf(pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=_tags()))
    except (NotAnImageError, OSError):
        raise
    except Exception as error:
        # pydicom does not document its exceptions on damaged bytes.
        raise NotAnImageError(_("The DICOM header is damaged."), "damaged") from error


def readSlice(path: str) -> SliceHeader | None:
    """Read the header of a file that may be a slice of a volume; None for any other file."""
    try:
        found = readFileHeader(path)
    except (NotAnImageError, OSError):
        return None
    return found if found.single else None


def sliceOf(dataset: Any) -> SliceHeader | None:
    """Return the header of a data set that may be a slice of a volume; None for any other one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = _headerOf(dataset)
        except Exception:  # noqa: BLE001 - pydicom does not document its exceptions on damaged values
            return None
    return found if found.single else None


@cache
def _tags() -> list[Any]:
    from pydicom.tag import Tag

    tags = [Tag(name) for name in _FIELDS]
    for group, element, _creator in _LOCATIONS:
        tags += [Tag(group, block) for block in range(0x10, 0x20)]
        tags += [Tag(group, block << 8 | element) for block in range(0x10, 0x20)]
    return tags


class _Watched:
    """A file in memory that detects reading beyond its end, about which pydicom only warns.

    ``short`` is set by a read beyond the end, except the one for the next element behind a complete data set.
    """

    def __init__(self, data: Any) -> None:
        self._data = data
        self.tell, self.seek = data.tell, data.seek
        self.short = False

    def read(self, size: int = -1) -> bytes:
        found: bytes = self._data.read(size)
        self.short = self.short or (len(found) < size and not (size == _BEGINNING and not found))
        return found


def _atPixels(tag: Any, _representation: Any, _length: int) -> bool:
    # No data set has a tag of zeros; a gigabyte of zeros would be millions of elements.
    return not tag or tag in _PIXELS


def _checkPixels(data: Any, size: int, syntax: Any, image: bool) -> None:
    start = data.tell()
    head = data.read(12)
    order = "<" if syntax.is_little_endian else ">"
    tag = struct.unpack_from(order + "HH", head) if len(head) >= 8 else (0, 0)
    if tag[0] << 16 | tag[1] not in _PIXELS:
        if image:
            raise NotAnImageError(_("The data set ends before its pixels."), "damaged")
        return
    long = not syntax.is_implicit_VR and head[4:6] in LONG_FORM
    if long and len(head) < 12:
        raise NotAnImageError(_("The data set ends before its pixels."), "damaged")
    if syntax.is_implicit_VR or long:
        length = int(struct.unpack_from(order + "I", head, 8 if long else 4)[0])
    else:
        length = int(struct.unpack_from(order + "H", head, 6)[0])
    there = size - start - (12 if long else 8)
    if length != UNDEFINED and length > there:
        raise NotAnImageError(
            _("The data set declares {length:,} bytes of pixels; {there:,} are present.").format(
                length=length, there=there
            ),
            "damaged",
        )


def _headerOf(dataset: Any) -> SliceHeader:
    series, uid = (str(get(dataset, name) or "") for name in ("SeriesInstanceUID", "SOPInstanceUID"))
    if not series or not uid or not get(dataset, "SOPClassUID"):
        raise NotAnImageError(_("The data set has no SOP class, SOP instance or series UID."), "damaged")
    images, moments = _whole(get(dataset, "ImagesInAcquisition")), _whole(get(dataset, "NumberOfTemporalPositions"))
    # Real series of many slices have the value 1.
    images = None if images == 1 else images
    slices = _whole(get(dataset, "NumberOfSlices")) or _private(dataset)
    if slices is None and images and moments and images % moments == 0:
        slices = images // moments
    # In CT, each rotation may be an acquisition, with some slices of the volume.
    images = None if str(get(dataset, "Modality") or "") == "CT" else images
    position, orientation = numbersOf(dataset, _POSITION, 3), numbersOf(dataset, _ORIENTATION, 6)
    location = numbersOf(dataset, "SliceLocation", 1)

    def element(name: str) -> str:
        value = valueOf(dataset, name)
        several = not isinstance(value, str) and hasattr(value, "__len__")
        return "" if value is None else "\\".join(map(str, value)) if several else str(value).strip()

    return SliceHeader(
        series=series,
        uid=uid,
        number=_number(get(dataset, "InstanceNumber")),
        frames=_whole(get(dataset, "NumberOfFrames")) or 1,
        position=None if position is None else tuple(position),
        orientation=None if orientation is None else tuple(orientation),
        location=None if location is None else location[0],
        echo=" ".join(filter(None, (element("EchoTime"), element("EchoNumbers")))),
        kinds=element("ImageType"),
        acquisition=element("AcquisitionNumber"),
        temporal=element("TemporalPositionIdentifier"),
        trigger=element("TriggerTime"),
        time=timeOf(element("AcquisitionDateTime"), element("AcquisitionDate"), element("AcquisitionTime")),
        sequence=element("SequenceName"),
        slices=slices,
        images=images,
        seriesNumber=_number(get(dataset, "SeriesNumber")),
        description=str(get(dataset, "SeriesDescription") or "").strip(),
    )


def _private(dataset: Any) -> int | None:
    groups = {tag >> 16 for tag in dataset.keys()}  # noqa: SIM118 - a data set iterates over sorted copies
    for group, element, creator in _LOCATIONS:
        if group not in groups:
            continue
        try:
            found = dataset.private_block(group, creator)[element].value
        except KeyError:
            continue
        # Without a value representation in the file, the value is bytes.
        return _whole(int.from_bytes(found, "little") if isinstance(found, bytes) else found)
    return None


def _number(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _real(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return number if math.isfinite(number) else 0.0


def _whole(value: Any) -> int | None:
    found = _number(value)
    return found if found and found > 0 else None
