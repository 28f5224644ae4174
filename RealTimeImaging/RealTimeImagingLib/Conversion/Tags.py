"""Tags that become keys of a file or parts of its name, and their bytes as text.

``SAFE`` tags are written unless the user chooses others. PS3.15 table E.1-1 (the basic application level
confidentiality profile) removes, replaces or empties none of them: no name, date, UID, place, device serial number, and
no free text such as SeriesDescription.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from ..Model.Errors import SettingsError
from ..Model.Frame import ATTRIBUTE_NAME
from ..Model.Text import textsOf

_ = textsOf(__file__)

SAFE: Mapping[str, int] = {
    "Modality": 0x00080060,
    "Manufacturer": 0x00080070,
    "ManufacturerModelName": 0x00081090,
    "BodyPartExamined": 0x00180015,
    "ScanningSequence": 0x00180020,
    "SequenceVariant": 0x00180021,
    "MRAcquisitionType": 0x00180023,
    "SequenceName": 0x00180024,
    "SliceThickness": 0x00180050,
    "KVP": 0x00180060,
    "RepetitionTime": 0x00180080,
    "EchoTime": 0x00180081,
    "InversionTime": 0x00180082,
    "NumberOfAverages": 0x00180083,
    "ImagingFrequency": 0x00180084,
    "EchoNumbers": 0x00180086,
    "MagneticFieldStrength": 0x00180087,
    "SpacingBetweenSlices": 0x00180088,
    "PixelBandwidth": 0x00180095,
    "ReconstructionDiameter": 0x00181100,
    "GantryDetectorTilt": 0x00181120,
    "ExposureTime": 0x00181150,
    "XRayTubeCurrent": 0x00181151,
    "Exposure": 0x00181152,
    "FilterType": 0x00181160,
    "ConvolutionKernel": 0x00181210,
    "FlipAngle": 0x00181314,
    "PatientPosition": 0x00185100,
    "SpiralPitchFactor": 0x00189311,
    "SeriesNumber": 0x00200011,
    "PhotometricInterpretation": 0x00280004,
    "WindowCenter": 0x00281050,
    "WindowWidth": 0x00281051,
    "RescaleType": 0x00281054,
    "LossyImageCompression": 0x00282110,
}
"""Keyword (PS3.6) to tag."""

KNOWN: Mapping[str, int] = {
    **SAFE,
    "ImageType": 0x00080008,
    "StudyDate": 0x00080020,
    "SeriesDate": 0x00080021,
    "AccessionNumber": 0x00080050,
    "StudyDescription": 0x00081030,
    "SeriesDescription": 0x0008103E,
    "PatientName": 0x00100010,
    "PatientID": 0x00100020,
    "ProtocolName": 0x00181030,
    "StudyInstanceUID": 0x0020000D,
    "SeriesInstanceUID": 0x0020000E,
    "StudyID": 0x00200010,
    "AcquisitionNumber": 0x00200012,
    "FrameOfReferenceUID": 0x00200052,
    "ContainerIdentifier": 0x00400512,
}
"""Tags that need no dictionary; pydicom knows all other keywords of PS3.6."""

_NUMBERS = {"US": ("H", 2), "SS": ("h", 2), "UL": ("I", 4), "SL": ("i", 4), "FL": ("f", 4), "FD": ("d", 8)}
_CODECS = {
    "": "latin-1",
    "ISO_IR 6": "latin-1",
    "ISO 2022 IR 6": "latin-1",
    "ISO_IR 100": "latin-1",
    "ISO_IR 101": "iso8859_2",
    "ISO_IR 109": "iso8859_3",
    "ISO_IR 110": "iso8859_4",
    "ISO_IR 144": "iso8859_5",
    "ISO_IR 127": "iso8859_6",
    "ISO_IR 126": "iso8859_7",
    "ISO_IR 138": "iso8859_8",
    "ISO_IR 148": "iso8859_9",
    "ISO_IR 13": "shift_jis",
    "ISO_IR 166": "tis_620",
    "ISO_IR 192": "utf-8",
    "GB18030": "gb18030",
    "GBK": "gbk",
}
"""Python's codecs by SpecificCharacterSet (PS3.3 section C.12.1.1.2). Files without a name and with letters beyond
ASCII mostly use Latin 1."""


def tagOf(keyword: str) -> int:
    """Return the tag of a DICOM keyword.

    :raises SettingsError: the keyword is unknown.
    """
    found = KNOWN.get(keyword)
    if found is None and ATTRIBUTE_NAME.fullmatch(keyword):
        from pydicom.datadict import tag_for_keyword

        found = tag_for_keyword(keyword)
    if found is None:
        raise SettingsError(
            _("{keyword} is not a DICOM keyword such as SeriesDescription.").format(keyword=repr(keyword))
        )
    return int(found)


def tagsOf(keywords: Iterable[str]) -> dict[str, int]:
    """Return the tags of keywords, see :func:`tagOf`."""
    return {keyword: tagOf(keyword) for keyword in keywords}


@lru_cache(maxsize=4096)
def textOf(value: bytes, tag: int, charset: bytes, order: str) -> str:
    """Decode an element's value to text, several values separated by backslashes.

    :param charset: value of SpecificCharacterSet.
    :param order: byte order of numbers, "<" or ">".
    """
    kind = _kindOf(tag)
    if kind in _NUMBERS:
        import numpy as np

        letter, size = _NUMBERS[kind]
        array = np.frombuffer(value[: len(value) // size * size], f"{order}{letter}")
        return "\\".join(str(number) for number in array.tolist())
    return " ".join(decoded(value, charset).replace("\0", "").strip().split())


def decoded(value: bytes, charset: bytes) -> str:
    """Decode text of any character set; undecodable bytes are replaced."""
    names = [name.strip() for name in charset.decode("ascii", "replace").replace("\0", "").split("\\")]
    if value.isascii() and b"\x1b" not in value:
        return value.decode("ascii")
    if len(names) > 1 or names[0] not in _CODECS:
        from pydicom.charset import convert_encodings, decode_bytes

        try:
            return str(decode_bytes(value, convert_encodings(names), set("\\^=\r\n\t\f")))
        except (LookupError, UnicodeError, ValueError):
            return value.decode("latin-1")
    return value.decode(_CODECS[names[0]], "replace")


@lru_cache(maxsize=256)
def _kindOf(tag: int) -> str:
    if tag in _TEXTS:
        return "LO"
    from pydicom.datadict import dictionary_VR

    try:
        return str(dictionary_VR(tag))
    except KeyError:
        return "LO"


_TEXTS = frozenset(KNOWN.values()) - {0x00189311}
"""Known tags with text, for which pydicom is not needed: all but SpiralPitchFactor (FD)."""
