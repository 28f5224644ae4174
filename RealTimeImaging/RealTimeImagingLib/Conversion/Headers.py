"""Headers of files and frames: the shared values of a series, and the values of each slice."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..Formats.DICOM.File import UNDEFINED
from ..Formats.DICOM.Frames import FrameInfo, framePlaces, momentsOf, stacksOf
from ..Formats.DICOM.Geometry import spacingNote, spacingOf
from ..Formats.DICOM.Header import SliceHeader
from ..Formats.DICOM.Mosaic import Mosaic
from ..Formats.DICOM.Pixels import rescaleOf
from ..Formats.DICOM.Reader import DICOM, FileHeader
from ..Model.Errors import NotAnImageError
from ..Model.Frame import LPS_TO_RAS

TAGS = {
    "charset": 0x00080005,
    "imageType": 0x00080008,
    "class": 0x00080016,
    "instanceUID": 0x00080018,
    "acquisitionDate": 0x00080022,
    "acquisitionDateTime": 0x0008002A,
    "acquisitionTime": 0x00080032,
    "modality": 0x00080060,
    "thickness": 0x00180050,
    "echoTime": 0x00180081,
    "echo": 0x00180086,
    "between": 0x00180088,
    "trigger": 0x00181060,
    "imagerSpacing": 0x00181164,
    "nominalSpacing": 0x00182010,
    "bValue": 0x00189087,
    "gradient": 0x00189089,
    "study": 0x0020000D,
    "series": 0x0020000E,
    "acquisition": 0x00200012,
    "instance": 0x00200013,
    "position": 0x00200032,
    "orientation": 0x00200037,
    "temporal": 0x00200100,
    "location": 0x00201041,
    "samples": 0x00280002,
    "photometric": 0x00280004,
    "planar": 0x00280006,
    "frames": 0x00280008,
    "rows": 0x00280010,
    "columns": 0x00280011,
    "spacing": 0x00280030,
    "bits": 0x00280100,
    "stored": 0x00280101,
    "high": 0x00280102,
    "signed": 0x00280103,
    "slope": 0x00281053,
    "intercept": 0x00281052,
}
"""Elements that decide which files make a volume, where it is, and how its values are stored."""

SHARED = (
    *("charset", "imageType", "class", "modality", "thickness", "echoTime", "echo", "between", "imagerSpacing"),
    *("nominalSpacing", "study", "series", "orientation", "samples", "photometric", "planar", "frames", "rows"),
    *("columns", "spacing", "bits", "stored", "high", "signed", "slope", "intercept"),
)
"""Elements that are mostly equal for the slices of a volume."""

Numbers = tuple[float, ...]


class Common(NamedTuple):
    """Values that the slices of a volume mostly share: the layout of their pixels, and what names their file.

    :param spacing: millimetres between columns and between rows, None when unknown.
    :param step: SpacingBetweenSlices or SliceThickness in millimetres, None when unknown.
    :param kind: M, P, R or I (magnitude, phase, real, imaginary), from ImageType; empty when unknown.
    :param many: the file alone is one or several volumes: it has several frames without places, or is a mosaic.
    :param samples: values of a pixel, 1 or 3.
    :param stored: BitsStored. ``high``: HighBit.
    :param dtype: type of the stored values, with its byte order; empty when the pixels have to be decoded.
    :param tags: keyword and text of each tag that becomes a key or part of a name.
    """

    study: str
    modality: str
    spacing: tuple[float, float] | None
    step: float | None
    kind: str
    syntax: str
    photometric: str
    rows: int
    columns: int
    frames: int
    many: bool
    samples: int
    bits: int
    stored: int
    high: int
    signed: bool
    dtype: str
    slope: float
    intercept: float
    tags: tuple[tuple[str, str], ...]

    @property
    def sliceBytes(self) -> int:
        """Bytes of one frame as stored."""
        return self.rows * self.columns * self.samples * max(1, self.bits // 8)


class Slice(NamedTuple):
    """A file with pixels, or one frame that has a place of its own.

    :param size: bytes of the file. ``modified``: nanoseconds. A change of either means another file.
    :param header: its place, and what decides to which volume it belongs. Of a frame: those of the frame.
    :param offset: offset of the pixels; -1 when they have to be decoded.
    :param cut: sentence when the file ends before its pixels; else empty.
    :param images: number of volumes in the file, see Common.many.
    :param frame: frame number in the file, from 0; -1: the whole file.
    :param shape: (k, j, i[, 3]) of each volume in the file. ``place``: their IJKToRAS, row by row.
    :param notes: sentences for the user.
    :param weighting: diffusion b-value and gradient direction, as text.
    """

    path: str
    size: int
    modified: int
    common: Common
    header: SliceHeader
    offset: int
    cut: str
    images: int = 1
    frame: int = -1
    shape: tuple[int, ...] = ()
    place: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()
    weighting: str = ""


class Refused(NamedTuple):
    """A file or folder that belongs to no volume.

    :param code: "not-an-image", "no-pixels", "damaged", "incomplete", "unsupported", "unreadable" or "duplicate".
    :param reason: sentence.
    :param series: SeriesInstanceUID, empty where unknown.
    """

    path: str
    code: str
    reason: str
    series: str = ""


def numbersOf(text: bytes | None, count: int) -> Numbers | None:
    """Read ``count`` finite decimal numbers (DS); None for any other text."""
    if not text:
        return None
    try:
        # PS3.5 section 6.2: padded with spaces; some writers pad with NUL.
        found = tuple(map(float, text.rstrip(b"\0 ").split(b"\\")))
    except ValueError:
        return None
    return found if len(found) == count and all(map(math.isfinite, found)) else None


def wholeOf(text: bytes | None) -> int | None:
    """Read a whole number (IS); None for any other text."""
    try:
        return int(text.rstrip(b"\0 ")) if text else None
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def wordOf(text: bytes | None) -> str:
    """Decode a short text without its padding. The texts of a series are mostly equal, hence the cache."""
    return text.decode("latin-1").strip("\0 ") if text else ""


KINDS = {"M": "M", "P": "P", "R": "R", "I": "I", "MAGNITUDE": "M", "PHASE": "P", "REAL": "R", "IMAGINARY": "I"}
"""Kind of image, by values of ImageType and ComplexImageComponent."""
ENHANCED = (
    *("1.2.840.10008.5.1.4.1.1.2.", "1.2.840.10008.5.1.4.1.1.4.", "1.2.840.10008.5.1.4.1.1.6.2"),
    *("1.2.840.10008.5.1.4.1.1.12.", "1.2.840.10008.5.1.4.1.1.13.", "1.2.840.10008.5.1.4.1.1.30"),
    *("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.7.", "1.2.840.10008.5.1.4.1.1.77."),
    *("1.2.840.10008.5.1.4.1.1.128.1", "1.2.840.10008.5.1.4.1.1.130"),
)
"""Beginnings of SOP classes whose places are in functional groups (PS3.4 annex B)."""
_ULTRASOUND = ("US", "IVUS")


def needsReader(one: Slice) -> bool:
    """Return True when the top-level header is not enough to describe the file."""
    common = one.common
    return common.many or (common.spacing is None and common.modality in _ULTRASOUND)


def expanded(one: Slice, commons: dict[Common, Common]) -> list[Slice | Refused]:
    """Return the slices of a file: one for each frame with a place of its own, else one for the whole file.

    :param commons: known shared values: equal ones stay one object.
    :raises OSError: the file cannot be read.
    """
    reader = DICOM(one.path)
    try:
        words = reader.missing() or ""
    except NotAnImageError as error:
        return [Refused(one.path, error.code, str(error), one.header.series)]
    header = reader.header
    if header is None:
        return [Refused(one.path, "incomplete", words, one.header.series)]
    if header.infos and header.mosaic is None:
        return list(_frames(one, header, words, commons))
    notes = reader.notes
    if not one.common.many:
        spacing = spacingOf(header.dataset, 0)
        common = _kept(commons, one.common._replace(spacing=spacing))
        return [one._replace(common=common, notes=notes, cut=one.cut or words)]
    if header.layout.frames == 1 and header.mosaic is None:
        common = _kept(commons, one.common._replace(many=False, dtype=""))
        return [one._replace(common=common, notes=notes, cut=one.cut or words)]
    image, layout = header.frames[0], header.layout
    shape: tuple[int, ...] = (len(image.frames), layout.rows, layout.columns)
    if isinstance(header.mosaic, Mosaic) and not words:
        mosaic = header.mosaic
        count = mosaic.count if mosaic.sure else len(next(iter(reader.images())).pixels)
        shape = (count, mosaic.rows, mosaic.columns)
    if layout.samples > 1 or layout.photometric == "PALETTE COLOR":
        shape += (3,)
    place = tuple(np.round(image.ijkToRAS, 6).ravel().tolist())
    time = "" if image.time is None else _text(image.time)
    own = one.header._replace(time=time or one.header.time)
    cut = one.cut or words
    return [one._replace(header=own, images=reader.count, shape=shape, place=place, notes=notes, cut=cut)]


def _frames(one: Slice, header: FileHeader, words: str, commons: dict[Common, Common]) -> list[Slice]:
    layout, infos = header.layout, header.infos
    direct = bool(one.common.dtype) and header.length != UNDEFINED
    note = spacingNote(header.dataset)
    times = [info.time for info in infos if info.time is not None]
    start = f"{min(times, default=0.0):.6f} {one.header.number or 0}"
    ranks = _ranks(infos)
    several = len({info.stack for info in infos}) > 1
    found = []
    for info in infos:
        offset = header.offset + info.number * layout.frameBytes if direct else -1
        there = not words or (direct and offset + layout.frameBytes <= one.size)
        found.append(
            one._replace(
                common=_kept(commons, _common(one.common, header, info, several)),
                header=_ownHeader(one.header, info)._replace(temporal=f"{start} {ranks[info.number]}"),
                offset=offset,
                cut="" if there else words,
                frame=info.number,
                notes=(note,) if note else (),
            )
        )
    return found


def _ranks(infos: list[FrameInfo]) -> dict[int, int]:
    # Rank of the moment of each frame, by frame number.
    ranks: dict[int, int] = {}
    for stack in stacksOf(infos):
        if stack[0].plane is None:
            ranks.update((info.number, number) for number, info in enumerate(stack))
            continue
        moments = momentsOf(framePlaces(stack))
        order = {key: number for number, key in enumerate(sorted(set(moments.values()), key=tuple))}
        ranks.update((number, order[key]) for number, key in moments.items())
    return ranks


def _common(common: Common, header: FileHeader, info: FrameInfo, several: bool) -> Common:
    slope, intercept = rescaleOf(header.dataset, info.number)
    measured = info.measured
    kinds = [measured.get("ImageType", ""), KINDS.get(measured.get("ComplexImageComponent", ""), common.kind)]
    kinds += [f"segment {measured['SegmentNumber']}"] if "SegmentNumber" in measured else []
    kinds += [f"stack {info.stack}"] if several else []
    echo = measured.get("EchoTime", "")
    changed = common._replace(
        kind=" ".join(filter(None, kinds)),
        slope=slope,
        intercept=intercept,
        frames=1,
        many=False,
    )
    if echo and all(name != "EchoTime" for name, _ in common.tags):
        changed = changed._replace(tags=(*common.tags, ("EchoTime", echo)))
    if info.plane is None:
        return changed
    lengths = [round(float(length), 9) for length in np.linalg.norm(info.plane[:3, :3], axis=0)]
    return changed._replace(spacing=(lengths[0], lengths[1]), step=lengths[2])


def _ownHeader(header: SliceHeader, info: FrameInfo) -> SliceHeader:
    position: tuple[float, ...] | None = None
    orientation: tuple[float, ...] | None = None
    if info.plane is not None:
        matrix = LPS_TO_RAS @ info.plane
        axes = np.round(matrix[:3, :2] / np.linalg.norm(matrix[:3, :2], axis=0), 9)
        position, orientation = tuple(matrix[:3, 3].tolist()), tuple(axes.T.ravel().tolist())
    return header._replace(
        frames=1,
        position=position,
        orientation=orientation,
        echo=info.measured.get("EchoTime") or header.echo,
        trigger=info.measured.get("TriggerTime", ""),
        time="" if info.time is None else _text(info.time),
    )


def _kept(commons: dict[Common, Common], common: Common) -> Common:
    return commons.setdefault(common, common)


def _text(time: float) -> str:
    # As in DICOM (PS3.5 section 6.2, DT); empty where no calendar has such a day.
    try:
        return datetime.fromtimestamp(time, timezone.utc).strftime("%Y%m%d%H%M%S.%f+0000")
    except (ValueError, OverflowError, OSError):
        return ""
