"""DICOM files whose top-level header is not enough: frames with places of their own, volumes, ultrasound.

The live reader reads them. Frames with places become slices like those of single-frame files.
"""

from __future__ import annotations

from datetime import datetime, timezone

import numpy as np

from ..Errors import NotAnImageError
from ..Frame import LPS_TO_RAS
from ..Readers.DICOM import DICOM, UNDEFINED, Header
from ..Readers.DICOMFrames import momentsOf, placesOf, stacksOf
from ..Readers.DICOMFunctionalGroups import FrameInfo
from ..Readers.DICOMGeometry import spacingNote, spacingOf
from ..Readers.DICOMMosaic import Mosaic
from ..Readers.DICOMPixels import rescaleOf
from .Headers import Common, Refused, Slice

KINDS = {"M": "M", "P": "P", "R": "R", "I": "I", "MAGNITUDE": "M", "PHASE": "P", "REAL": "R", "IMAGINARY": "I"}
"""Values of ImageType and ComplexImageComponent, and the kind of image that they mean."""
ENHANCED = (
    *("1.2.840.10008.5.1.4.1.1.2.", "1.2.840.10008.5.1.4.1.1.4.", "1.2.840.10008.5.1.4.1.1.6.2"),
    *("1.2.840.10008.5.1.4.1.1.12.", "1.2.840.10008.5.1.4.1.1.13.", "1.2.840.10008.5.1.4.1.1.30"),
    *("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.7.", "1.2.840.10008.5.1.4.1.1.77."),
    *("1.2.840.10008.5.1.4.1.1.128.1", "1.2.840.10008.5.1.4.1.1.130"),
)
"""Beginnings of SOP classes whose places are in functional groups (PS3.4 annex B)."""
_ULTRASOUND = ("US", "IVUS")


def needsReader(one: Slice) -> bool:
    """Whether the top-level header is not enough to describe the file."""
    common = one.common
    return common.many or (common.spacing is None and common.modality in _ULTRASOUND)


def expanded(one: Slice, commons: dict[tuple[object, ...], Common]) -> list[Slice | Refused]:
    """The slices of a file: one for each frame with a place of its own, else one for the whole file.

    :param commons: known descriptions, so that equal ones stay one object.
    :raises OSError: it cannot be read.
    """
    reader = DICOM(one.path)
    try:
        words = reader.missing() or ""
    except NotAnImageError as error:
        return [Refused(one.path, error.code, str(error), one.common.series)]
    header = reader.header
    if header is None:
        return [Refused(one.path, "incomplete", words, one.common.series)]
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
    time = one.time if image.time is None else _text(image.time)
    return [
        one._replace(
            images=reader.count, shape=shape, place=place, time=time or one.time, notes=notes, cut=one.cut or words
        )
    ]


def _frames(one: Slice, header: Header, words: str, commons: dict[tuple[object, ...], Common]) -> list[Slice]:
    layout, infos = header.layout, header.infos
    direct = bool(one.common.dtype) and header.length != UNDEFINED
    note = spacingNote(header.dataset)
    times = [info.time for info in infos if info.time is not None]
    start = f"{min(times, default=0.0):.6f} {one.instance or 0}"
    ranks = _ranks(infos)
    several = len({info.stack for info in infos}) > 1
    found = []
    for info in infos:
        offset = header.offset + info.number * layout.frameBytes if direct else -1
        there = not words or (direct and offset + layout.frameBytes <= one.size)
        found.append(
            one._replace(
                common=_kept(commons, _common(one.common, header, info, several)),
                offset=offset,
                position=_position(info),
                temporal=f"{start} {ranks[info.number]}",
                trigger=info.measured.get("TriggerTime", ""),
                time="" if info.time is None else _text(info.time),
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
        moments = momentsOf(placesOf(stack))
        order = {key: number for number, key in enumerate(sorted(set(moments.values()), key=tuple))}
        ranks.update((number, order[key]) for number, key in moments.items())
    return ranks


def _common(common: Common, header: Header, info: FrameInfo, several: bool) -> Common:
    slope, intercept = rescaleOf(header.dataset, info.number)
    measured = info.measured
    kinds = [measured.get("ImageType", ""), KINDS.get(measured.get("ComplexImageComponent", ""), common.kind)]
    kinds += [f"segment {measured['SegmentNumber']}"] if "SegmentNumber" in measured else []
    kinds += [f"stack {info.stack}"] if several else []
    echo = measured.get("EchoTime", "")
    changed = common._replace(
        orientation=None,
        echo=echo or common.echo,
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
    matrix = LPS_TO_RAS @ info.plane
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    axes = np.round(matrix[:3, :2] / lengths[:2], 9)
    return changed._replace(
        orientation=(*axes[:, 0].tolist(), *axes[:, 1].tolist()),
        spacing=(round(float(lengths[0]), 9), round(float(lengths[1]), 9)),
        step=round(float(lengths[2]), 9),
    )


def _position(info: FrameInfo) -> tuple[float, float, float] | None:
    if info.plane is None:
        return None
    x, y, z = (LPS_TO_RAS @ info.plane)[:3, 3].tolist()
    return x, y, z


def _kept(commons: dict[tuple[object, ...], Common], common: Common) -> Common:
    return commons.setdefault(tuple(common), common)


def _text(time: float) -> str:
    # As in DICOM (PS3.5 section 6.2, DT); empty where no calendar has such a day.
    try:
        return datetime.fromtimestamp(time, timezone.utc).strftime("%Y%m%d%H%M%S.%f+0000")
    except (ValueError, OverflowError, OSError):
        return ""
