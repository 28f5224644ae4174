"""Mosaics: the slices of a volume as tiles of one picture, described by private headers.

Siemens (ImageType MOSAIC) and United Imaging (VFRAME). The formats are not published. Sources: dcm2niix (nii_dicom.cpp,
nii_dicom_batch.cpp), SPM (spm_dicom_headers.m), nibabel ("DICOM mosaics" and "Siemens CSA" in its documentation). The
tests compare with dcm2niix and nibabel.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...Model.Frame import LPS_TO_RAS, Matrix, Pixels
from ...Model.Text import textsOf
from .Geometry import earliest, listOf, numbersOf, planeOf, seconds
from .Pixels import Layout, valueOf
from .Stacking import normalOf

_ = textsOf(__file__)

_MOST_TAGS = 1000
_MOST_SLICES = 1 << 14
_SIEMENS, _CSA, _UIH = "SIEMENS MR HEADER", "SIEMENS CSA HEADER", "Image Private Header"
"""Creators of private elements."""


@dataclass(frozen=True)
class Mosaic:
    """Division of a picture into slices.

    :param count: number of slices; the tiles behind them are empty.
    :param sure: an image header has the count. Otherwise it is a minimum: later tiles that are not empty are slices,
        too.
    :param across: tiles in a row. ``down``: rows of tiles.
    :param rows: rows of a tile. ``columns``: columns of a tile.
    :param ijkToRAS: IJKToRAS of the volume, 4x4 float64.
    :param time: time of the earliest slice, seconds since the epoch (UTC); None when the private header has none.
    """

    count: int
    across: int
    down: int
    rows: int
    columns: int
    ijkToRAS: Matrix
    time: float | None = None
    sure: bool = True

    @classmethod
    def of(cls, dataset: Any, layout: Layout) -> Mosaic | str | None:
        """Return the mosaic in a file, or the reason why it stays one picture; None for any other picture."""
        kinds = _words(valueOf(dataset, "ImageType"))
        if layout.frames > 1 or layout.samples > 1:
            return None
        if "VFRAME" in kinds:
            return _unitedImaging(dataset, layout)
        return _siemens(dataset, layout) if "MOSAIC" in kinds else None

    def counted(self, picture: Pixels) -> int:
        """Return the number of slices."""
        if self.sure:
            return self.count
        full = [number for number, tile in enumerate(self._tiles(picture), 1) if tile.min() != tile.max()]
        return max([self.count, *full[-1:]])

    def split(self, picture: Pixels) -> Pixels:
        """Divide a picture (rows, columns) into (slices, rows, columns)."""
        return np.ascontiguousarray(self._tiles(picture)[: self.counted(picture)])

    def _tiles(self, picture: Pixels) -> Pixels:
        tiles = picture.reshape(self.down, self.rows, self.across, self.columns).swapaxes(1, 2)
        flat: Pixels = tiles.reshape(-1, self.rows, self.columns)
        return flat


def _siemens(dataset: Any, layout: Layout) -> Mosaic | str:
    private, protocol = _csaHeader(dataset, 0x10), _protocol(dataset)
    count = _count(dataset, private)
    sure = count > 0
    across = math.ceil(math.sqrt(count)) if 0 < count <= _MOST_SLICES else 0
    if not count:
        across, count = _guessed(dataset, layout, protocol)
        if not across:
            return _("not split: the private header with the number of slices is missing, and no other element has it")
    if across < 1 or layout.rows % across or layout.columns % across:
        return _("not split: {columns} x {rows} cannot have {count} slices").format(
            columns=layout.columns, rows=layout.rows, count=count
        )
    rows, columns = layout.rows // across, layout.columns // across
    matrix = _siemensMatrix(dataset, layout, rows, columns, private, protocol)
    return Mosaic(count, across, across, rows, columns, matrix, sure=sure)


def _siemensMatrix(
    dataset: Any, layout: Layout, rows: int, columns: int, private: dict[str, list[str]], protocol: dict[str, float]
) -> Matrix:
    # ImagePositionPatient is the corner of a slice as large as the mosaic, with the middle of the real slice
    # (nii_dicom.cpp, headerDcm2NiiSForm; nibabel's "Dealing with the mosaic").
    matrix = planeOf(dataset, 0, columns, rows)
    matrix[:3, 3] += matrix[:3, 0] * (layout.columns - columns) / 2 + matrix[:3, 1] * (layout.rows - rows) / 2
    axis = normalOf(matrix)
    protocolStep = _protocolStep(protocol)
    step = numbersOf(dataset, "SpacingBetweenSlices", 1) or [float(np.linalg.norm(protocolStep))]
    step = step if step[0] else numbersOf(dataset, "SliceThickness", 1) or [1.0]
    try:
        normal = LPS_TO_RAS[:3, :3] @ np.array([float(word) for word in private.get("SliceNormalVector", [])[:3]])
        upward = float(normal @ axis) >= 0
    except ValueError:
        upward = float(protocolStep @ axis) >= 0
    matrix[:3, 2] = axis * (abs(step[0]) or 1.0) * (1 if upward else -1)
    return matrix


def _count(dataset: Any, private: dict[str, list[str]]) -> int:
    # 0 when no image header has it.
    value = privateValue(dataset, 0x0019, _SIEMENS, 0x0A)
    if isinstance(value, bytes):
        value = int.from_bytes(value[:2], "little") if len(value) >= 2 else None
    for found in (value, next(iter(private.get("NumberOfImagesInMosaic", [])), None)):
        try:
            if found is not None and found != "" and int(found) != 0:
                return int(found)
        except (TypeError, ValueError, OverflowError):
            continue
    return 0


def _guessed(dataset: Any, layout: Layout, protocol: dict[str, float]) -> tuple[int, int]:
    # Tiles in a row, and the minimum number of slices; zeros when unknown.
    count = int(protocol.get("sSliceArray.lSize", 0))
    across = math.ceil(math.sqrt(count)) if 1 < count <= _MOST_SLICES else 0
    if across and not (layout.rows % across or layout.columns % across):
        return across, count
    across = _acrossByTiles(dataset, layout)
    # With fewer slices, the square would be smaller.
    return across, (across - 1) ** 2 + 1


def _acrossByTiles(dataset: Any, layout: Layout) -> int:
    # Tiles in a row, from the acquisition matrix, which is as large as one tile; 0 when unknown.
    for height, width in _tileSizes(dataset):
        for rows, columns in ((height, width), (width, height), (max(height, width),) * 2):
            across = layout.columns // columns
            if across > 1 and (across * columns, across * rows) == (layout.columns, layout.rows):
                return across
        # Fewer phase encoding steps than rows: the longer side is that of the readout.
        longer, readout = max(layout.rows, layout.columns), max(height, width)
        across = longer // readout
        if across > 1 and across * readout == longer and not (layout.rows % across or layout.columns % across):
            return across
    return 0


def _tileSizes(dataset: Any) -> Iterator[tuple[int, int]]:
    # "80*80", "128p*128", "64*64s"; the software XA has the text in another group.
    for group, creator, element in (
        (0x0051, _SIEMENS, 0x0B),
        (0x0021, "SIEMENS MR SDI 02", 0x58),
        (0x0021, "SIEMENS MR SDI 01", 0x58),
    ):
        value = privateValue(dataset, group, creator, element)
        text = value.decode("latin-1") if isinstance(value, bytes) else str(value or "")
        if match := re.match(r"\s*(\d{1,5})\D{0,3}\*\s*(\d{1,5})", text):
            yield max(1, int(match[1])), max(1, int(match[2]))
    matrix = valueOf(dataset, "AcquisitionMatrix")
    sides = [int(side) for side in matrix if int(side) > 0] if matrix is not None and hasattr(matrix, "__len__") else []
    if len(sides) == 2:
        yield sides[0], sides[1]
    steps = numbersOf(dataset, "NumberOfPhaseEncodingSteps", 1)
    if steps and steps[0] >= 1:
        yield int(steps[0]), int(steps[0])


def _protocol(dataset: Any) -> dict[str, float]:
    # Slices of the measurement protocol in the series header: lines "sSliceArray.asSlice[0].sPosition.dTra = 12.5".
    data = _csaBytes(dataset, 0x20)
    found: dict[str, float] = {}
    for name, value in re.findall(rb"(sSliceArray\.[\w.\[\]]{1,60})\s*=\s*([-+.\deE]{1,40})", data):
        try:
            found.setdefault(name.decode("ascii", "replace"), float(value))
        except ValueError:
            continue
    return found


def _protocolStep(protocol: dict[str, float]) -> Matrix:
    # RAS millimetres from slice to slice; zero when unknown. The protocol leaves out components that are zero.
    count = int(protocol.get("sSliceArray.lSize", 0))
    if count < 2 or not any(name.startswith("sSliceArray.asSlice[1].sPosition") for name in protocol):
        return np.zeros(3)
    ends = [
        [protocol.get(f"sSliceArray.asSlice[{number}].sPosition.{part}", 0.0) for part in ("dSag", "dCor", "dTra")]
        for number in (0, count - 1)
    ]
    step: Matrix = LPS_TO_RAS[:3, :3] @ (np.array(ends[1]) - np.array(ends[0])) / (count - 1)
    return step


def _unitedImaging(dataset: Any, layout: Layout) -> Mosaic | str:
    # (0065,1050) counts the slices, (0065,1051) has an item for each, with its position and time.
    items = privateValue(dataset, 0x0065, _UIH, 0x51)
    items = list(items) if items is not None and not isinstance(items, bytes | str) else []
    number = privateValue(dataset, 0x0065, _UIH, 0x50)
    try:
        count = int(float(number)) if number is not None else len(items)
    except (TypeError, ValueError, OverflowError):
        count = len(items)
    across = math.ceil(math.sqrt(count)) if 0 < count <= _MOST_SLICES else 0
    if not across:
        return _("not split: the private header with the number of slices is missing")
    down = math.ceil(count / across)
    if layout.rows % down or layout.columns % across:
        return _("not split: {columns} x {rows} cannot have {count} slices").format(
            columns=layout.columns, rows=layout.rows, count=count
        )
    rows, columns = layout.rows // down, layout.columns // across
    positions = [found for item in items if (found := numbersOf(item, "ImagePositionPatient", 3))]
    matrix = planeOf(dataset, 0, columns, rows)
    step = numbersOf(dataset, "SpacingBetweenSlices", 1) or numbersOf(dataset, "SliceThickness", 1) or [1.0]
    if len(positions) == count:
        single = _withPosition(dataset, positions[0])
        matrix = planeOf(single, 0, columns, rows)
        axis = normalOf(matrix)
        stepInRAS = LPS_TO_RAS[:3, :3] @ (np.array(positions[-1]) - np.array(positions[0])) / max(1, count - 1)
        along = float(stepInRAS @ axis)
        step = [along] if along else step
    matrix[:3, 2] *= (step[0] or 1.0) / np.linalg.norm(matrix[:3, 2])
    offset = str(valueOf(dataset, "TimezoneOffsetFromUTC") or "")
    times = [seconds(str(valueOf(item, "AcquisitionDateTime") or ""), offset) for item in items]
    return Mosaic(count, across, down, rows, columns, matrix, earliest(times, range(len(times))))


def _withPosition(dataset: Any, position: list[float]) -> Any:
    import pydicom

    names = ("ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices")
    single = pydicom.Dataset()
    for name in names:
        if name in dataset:
            single[name] = dataset[name]
    single.ImagePositionPatient = position
    return single


def privateValue(dataset: Any, group: int, creator: str, element: int) -> Any | None:
    """Return the value of a private element, even where anonymisation removed the element with its creator."""
    try:
        return dataset.private_block(group, creator)[element].value
    except KeyError:
        pass
    # Without any creator, take the first block: manufacturers use that one.
    if any((group, element) in dataset for element in range(0x10, 0x100)):
        return None
    found = dataset.get((group, 0x1000 | element))
    return None if found is None else found.value


def _csaBytes(dataset: Any, element: int) -> bytes:
    data = privateValue(dataset, 0x0029, _CSA, element)
    return data if isinstance(data, bytes) else b""


def _csaHeader(dataset: Any, element: int) -> dict[str, list[str]]:
    data = _csaBytes(dataset, element)
    return readCSA(data) if data else {}


def readCSA(data: bytes) -> dict[str, list[str]]:
    """Read the fields of a Siemens CSA header, version 1 or 2, without empty ones, up to the first damaged one."""
    found: dict[str, list[str]] = {}
    second = data[:4] == b"SV10"
    position = 8 if second else 0
    try:
        count, _ = struct.unpack_from("<2I", data, position)
        position += 8
        first = 0
        for number in range(min(count, _MOST_TAGS)):
            name, _, _, _, items, _ = struct.unpack_from("<64si4s3i", data, position)
            position += 84
            first = items if number == 0 else first
            values = []
            for _ in range(items if 0 <= items <= _MOST_TAGS else 0):
                lengths = struct.unpack_from("<4i", data, position)
                position += 16
                # "This bit is just weird": spm_dicom_headers.m on version 1.
                length = lengths[1] if second else lengths[0] - first
                if not 0 <= length <= len(data) - position:
                    return found
                values.append(_text(data[position : position + length]))
                position += (length + 3) // 4 * 4
            if any(values):
                found[_text(name)] = [value for value in values if value]
    except struct.error:
        pass  # the header ends early
    return found


def _text(data: bytes) -> str:
    return data.split(b"\0")[0].decode("latin-1").strip()


def _words(value: Any) -> list[str]:
    return [] if value is None else [str(word) for word in listOf(value)]
