"""What is known of each file after its header was read: what it shares with others of its series, and what is its own.

Named tuples, as thousands of them pass between processes.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

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
"""The elements that decide which files make a volume, where it lies and how its values are stored."""

SHARED = (
    *("charset", "imageType", "class", "modality", "thickness", "echoTime", "echo", "between", "imagerSpacing"),
    *("nominalSpacing", "study", "series", "orientation", "samples", "photometric", "planar", "frames", "rows"),
    *("columns", "spacing", "bits", "stored", "high", "signed", "slope", "intercept"),
)
"""Those of which the slices of a volume mostly have the same."""

Numbers = tuple[float, ...]


class Common(NamedTuple):
    """What the slices of a volume mostly share.

    :param orientation: six cosines, along a row and down a column (LPS), None when the file has none.
    :param spacing: millimetres between columns and between rows, None when unknown.
    :param step: SpacingBetweenSlices or SliceThickness in millimetres, None when unknown.
    :param echo: EchoTime and EchoNumbers, as text.
    :param kind: M, P, R or I (magnitude, phase, real, imaginary), from ImageType; empty when it says none.
    :param dtype: of the stored values, with its byte order; empty when the pixels have to be decoded.
    :param many: the file is one or several volumes by itself: it has several frames without places, or is a mosaic.
    :param samples: values in a pixel, 1 or 3.
    :param stored: BitsStored. ``high``: HighBit.
    :param tags: keyword and text of each tag that the user chose or that names need.
    """

    series: str
    study: str
    modality: str
    orientation: Numbers | None
    spacing: tuple[float, float] | None
    step: float | None
    echo: str
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
        """Of one frame as stored."""
        return self.rows * self.columns * self.samples * max(1, self.bits // 8)


class Slice(NamedTuple):
    """A file with pixels, or one frame of it that has a place of its own.

    :param size: of the file, bytes; ``modified``: nanoseconds. They tell whether it is the file that was scanned.
    :param offset: of the pixels; -1 when they have to be decoded.
    :param position: of the middle of the first pixel, LPS millimetres; None when the file has none.
    :param cut: words, when the file ends before its pixels do; else empty.
    :param images: how many volumes the file is by itself.
    :param frame: its number in the file, from 0; -1: the file as a whole.
    :param shape: (k, j, i[, 3]) of each of the volumes that a file is by itself. ``place``: their IJKToRAS, row by row.
    :param weighting: diffusion b-value and gradient direction, as text.
    :param notes: sentences for the user.
    """

    path: str
    size: int
    modified: int
    common: Common
    offset: int
    position: tuple[float, float, float] | None
    location: float | None
    instance: int | None
    acquisition: str
    temporal: str
    trigger: str
    time: str
    uid: str
    cut: str
    images: int = 1
    frame: int = -1
    shape: tuple[int, ...] = ()
    place: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()
    weighting: str = ""


class Refused(NamedTuple):
    """A file, or folder, that is no part of any volume.

    :param code: "not-an-image", "no-pixels", "damaged", "incomplete", "unsupported", "unreadable" or "duplicate".
    :param series: SeriesInstanceUID where it is known, else empty.
    """

    path: str
    code: str
    reason: str
    series: str = ""


def numbersOf(text: bytes | None, count: int) -> Numbers | None:
    """So many decimal numbers (DS), None when they are not there or not finite."""
    if not text:
        return None
    try:
        # PS3.5 section 6.2: padded with spaces; some writers pad with NUL.
        found = tuple(map(float, text.rstrip(b"\0 ").split(b"\\")))
    except ValueError:
        return None
    return found if len(found) == count and all(map(math.isfinite, found)) else None


def wholeOf(text: bytes | None) -> int | None:
    """A whole number (IS), None when there is none."""
    try:
        return int(text.rstrip(b"\0 ")) if text else None
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def wordOf(text: bytes | None) -> str:
    """A short text without its padding; those of a series are mostly the same."""
    return text.decode("latin-1").strip("\0 ") if text else ""
