"""The header of a measurement and the meta attributes of an image, both XML; and the scanner's clock.

Sources: schema ismrmrd.xsd, and the MRD documentation, pages "MRD Header" and "Image Data" (MetaAttributes).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

from ...Model.Errors import WireError
from ...Model.Files import reasonOf
from ...Model.Text import textsOf

_ = textsOf(__file__)

META_LIMIT, HEADER_LIMIT = 1 << 20, 4 << 20
"""Most bytes of meta attributes, and most characters of a header, that are read: they become many small objects."""
DAY = 86400.0
MOST_SLICES = 1 << 16
KNOWN_DAYS = date(1971, 1, 1), date(2999, 12, 31)
"""First and last day whose times every system computes. Anonymised headers have the year 1 or 1900."""
WAVEFORMS = {0: "ECG", 1: "Pulse oximetry", 2: "Respiratory", 3: "External waveform 1", 4: "External waveform 2"}
"""Names of the standard waveforms by ``waveform_id``."""


@dataclass(frozen=True)
class MeasurementHeader:
    """What the header of a measurement says about its images.

    :param name: of the protocol; empty without one.
    :param slices: number of slices of a volume, 0 when the header does not tell.
    :param day: on which the study took place, None when the header does not tell, or names none of KNOWN_DAYS.
    :param waveforms: names of the waveforms by ``waveform_id``.
    """

    name: str = ""
    slices: int = 0
    day: date | None = None
    waveforms: Mapping[int, str] = field(default_factory=lambda: WAVEFORMS)


def parseHeader(text: str) -> MeasurementHeader:
    """Return what a header says.

    :raises WireError: the text is no MRD header. Some clients send any text.
    """
    _checkSize(len(text), HEADER_LIMIT)
    root = _root(text)
    if root.tag != "ismrmrdHeader":
        raise WireError(_("it is no MRD header, but {tag}").format(tag=root.tag[:40]))
    name = _valueOf(root, "measurementInformation/protocolName")
    day = None
    try:
        named = date.fromisoformat(_valueOf(root, "studyInformation/studyDate")[:10])
        day = named if KNOWN_DAYS[0] <= named <= KNOWN_DAYS[1] else None
    except ValueError:
        pass  # no date, or none in the form of the schema
    names = dict(WAVEFORMS)
    for one in root.findall("waveformInformation"):
        number = _number(one, "waveformId")
        if number is not None and (known := _valueOf(one, "waveformName")):
            names[number] = known
    return MeasurementHeader(name, _count(root, "encoding/encodingLimits/slice"), day, names)


def parseMeta(data: bytes) -> dict[str, list[str]]:
    """Return the values of each meta attribute.

    :raises WireError: it is no MetaContainer.
    """
    text = data.split(b"\0", 1)[0]
    if not text.strip():
        return {}
    _checkSize(len(text), META_LIMIT)
    root = _root(text.decode("utf-8", "replace"))
    found: dict[str, list[str]] = {}
    for meta in root.iter("meta"):
        name = (meta.findtext("name") or "").strip()
        if name:
            found.setdefault(name, []).extend(value.text or "" for value in meta.findall("value"))
    return found


def metaXML(values: Mapping[str, Sequence[str]]) -> str:
    """Return meta attributes as a MetaContainer; empty without attributes."""
    if not values:
        return ""
    root = ElementTree.Element("ismrmrdMeta")
    for name, several in values.items():
        meta = ElementTree.SubElement(root, "meta")
        for tag, text in (("name", name), *(("value", one) for one in several)):
            ElementTree.SubElement(meta, tag).text = _printable(text)
    return _written(root)


def headerXML(name: str, shape: Sequence[int], fieldOfView: Sequence[float], slices: int = 0) -> str:
    """Return the header of a measurement of images.

    :param shape: x, y, z of an image.
    :param fieldOfView: millimetres.
    :param slices: of a volume. 0: unknown, the limit is left out.
    """
    space = {
        "matrixSize": dict(zip("xyz", map(str, shape), strict=True)),
        "fieldOfView_mm": dict(zip("xyz", (f"{length:.9g}" for length in fieldOfView), strict=True)),
    }
    limit = {"minimum": "0", "maximum": str(slices - 1), "center": "0"}
    root = ElementTree.Element("ismrmrdHeader", xmlns="http://www.ismrm.org/ISMRMRD")
    _fill(
        root,
        {
            # The schema requires a position of the patient and a frequency. Images in the patient's coordinates need
            # neither.
            "measurementInformation": {"patientPosition": "HFS", "protocolName": _printable(name)},
            "acquisitionSystemInformation": {"systemVendor": "Unknown"},
            "experimentalConditions": {"H1resonanceFrequency_Hz": "128000000"},
            "encoding": {
                "encodedSpace": space,
                "reconSpace": space,
                "encodingLimits": {"slice": limit} if slices else {},
                "trajectory": "cartesian",
            },
        },
    )
    return _written(root)


def _written(root: ElementTree.Element) -> str:
    data: bytes = ElementTree.tostring(root, "utf-8", xml_declaration=True)
    return data.decode()


def _fill(element: ElementTree.Element, content: Mapping[str, Any]) -> None:
    for tag, inner in content.items():
        child = ElementTree.SubElement(element, tag)
        if isinstance(inner, str):
            child.text = inner
        else:
            _fill(child, inner)


def _printable(text: str) -> str:
    # XML 1.0, section 2.2: no control characters but tab and the ends of lines.
    return re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)


def _checkSize(size: int, limit: int) -> None:
    if size > limit:
        raise WireError(_("it has {size:,} bytes, and the limit is {limit:,}").format(size=size, limit=limit))


def _root(text: str) -> ElementTree.Element:
    # An entity could grow to any size, and MRD has none.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise WireError(_("it contains a document type definition"))
    # A declared encoding does not count: the text is decoded already.
    body = re.sub(r"^\s*<\?xml[^>]*\?>", "", text.lstrip("\ufeff"))
    try:
        root = ElementTree.fromstring(body)
    except (ElementTree.ParseError, ValueError) as error:
        raise WireError(_("it is no XML ({reason})").format(reason=reasonOf(error))) from error
    for element in root.iter():
        element.tag = str(element.tag).rpartition("}")[2]
    return root


def _valueOf(root: ElementTree.Element, path: str) -> str:
    return " ".join((root.findtext(path) or "").split())


def _number(root: ElementTree.Element, path: str) -> int | None:
    text = _valueOf(root, path)
    return int(text) if re.fullmatch(r"\d{1,6}", text) else None


def _count(root: ElementTree.Element, path: str) -> int:
    counts = [0]
    for limit in root.findall(path):
        first, last = _number(limit, "minimum"), _number(limit, "maximum")
        if first is not None and last is not None and 0 <= last - first < MOST_SLICES:
            counts.append(last - first + 1)
    return max(counts)


# ---- clock


def deviceTimeOf(stamp: int, tick: float, arrival: float, day: date | None) -> float | None:
    """Return the time of a time stamp in seconds since the epoch (UTC), None when the stamp has none.

    The standard leaves the unit of a time stamp open ("e.g. milliseconds since midnight"). Siemens counts ticks of
    2.5 ms since midnight, in the scanner's local time. The day is that of the study, or else the one that brings the
    time closest to the arrival: the stamp does not contain it.

    :param stamp: ticks since midnight; 0: none.
    :param tick: milliseconds; 0: ignore time stamps.
    :param arrival: seconds since the epoch (UTC).
    :param day: of the study, in the same time zone as this computer.
    """
    seconds = stamp * tick / 1000.0
    if not 0 < seconds <= DAY:
        return None
    arrived = datetime.fromtimestamp(arrival)
    # A study may last beyond midnight, so its day counts only for images of the past.
    if day and abs((arrived.date() - day).days) > 1:
        return (datetime(day.year, day.month, day.day) + timedelta(seconds=seconds)).timestamp()
    midnight = datetime(arrived.year, arrived.month, arrived.day)
    candidates = [(midnight + timedelta(days=days, seconds=seconds)).timestamp() for days in (-1, 0, 1)]
    return min(candidates, key=lambda one: abs(one - arrival))


def stampOf(time: float, tick: float) -> int:
    """Return the time stamp of a time (seconds since the epoch, UTC); the reverse of :func:`deviceTimeOf`."""
    moment = datetime.fromtimestamp(time)
    seconds = (moment - datetime(moment.year, moment.month, moment.day)).total_seconds()
    return round(1000.0 * seconds / tick)
