"""Siemens mosaics: the slices of a volume as tiles of one picture, and what the private header says of them.

The format is not published. Sources: dcm2niix (nii_dicom.cpp, nii_dicom_batch.cpp), SPM (spm_dicom_headers.m), nibabel
("DICOM mosaics" and "Siemens CSA" in its documentation); the tests hold this to the first and the last.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..Frame import LPS_TO_RAS, Matrix, Pixels
from .DICOMGeometry import numbersOf, planeOf
from .DICOMPixels import Layout

_MOST_TAGS = 1000
_MOST_SLICES = 1 << 14


@dataclass(frozen=True)
class Mosaic:
    """How a picture is cut into slices.

    :param count: of the slices; the tiles behind them are empty.
    :param across: tiles in a row, and rows of tiles: the smallest square that holds them.
    :param rows: of a tile, and ``columns``.
    :param ijkToRAS: of the volume, 4x4 float64.
    """

    count: int
    across: int
    rows: int
    columns: int
    ijkToRAS: Matrix

    @classmethod
    def of(cls, dataset: Any, layout: Layout) -> Mosaic | str | None:
        """The mosaic that a file says it is; words why it stays one picture; None for another picture."""
        if "MOSAIC" not in _words(dataset.get("ImageType")) or layout.frames > 1 or layout.samples > 1:
            return None
        private = _csaHeader(dataset)
        count = _count(dataset, private)
        if count is None:
            return "not split: the private header that says of how many slices is gone"
        across = math.ceil(math.sqrt(count)) if 0 < count <= _MOST_SLICES else 0
        if across < 1 or layout.rows % across or layout.columns % across:
            return f"not split: {layout.columns} x {layout.rows} cannot have {count} slices"
        rows, columns = layout.rows // across, layout.columns // across
        return cls(count, across, rows, columns, _matrix(dataset, layout, rows, columns, private))

    def split(self, picture: Pixels) -> Pixels:
        """(slices, rows, columns) of a (rows, columns) picture."""
        tiles = picture.reshape(self.across, self.rows, self.across, self.columns).swapaxes(1, 2)
        return np.ascontiguousarray(tiles.reshape(-1, self.rows, self.columns)[: self.count])


def _matrix(dataset: Any, layout: Layout, rows: int, columns: int, private: dict[str, list[str]]) -> Matrix:
    # ImagePositionPatient is the corner of a slice as large as the mosaic whose middle is that of the slice
    # (nii_dicom.cpp, headerDcm2NiiSForm; nibabel's "Dealing with the mosaic").
    matrix = planeOf(dataset, 0, columns, rows)
    matrix[:3, 3] += matrix[:3, 0] * (layout.columns - columns) / 2 + matrix[:3, 1] * (layout.rows - rows) / 2
    step = numbersOf(dataset, "SpacingBetweenSlices", 1) or numbersOf(dataset, "SliceThickness", 1) or [1.0]
    axis = matrix[:3, 2] / np.linalg.norm(matrix[:3, 2])
    try:
        normal = LPS_TO_RAS[:3, :3] @ np.array([float(word) for word in private.get("SliceNormalVector", [])[:3]])
        upward = float(normal @ axis) >= 0
    except ValueError:
        upward = True
    matrix[:3, 2] = axis * (abs(step[0]) or 1.0) * (1 if upward else -1)
    return matrix


def _count(dataset: Any, private: dict[str, list[str]]) -> int | None:
    value = _privateValue(dataset, 0x0019, "SIEMENS MR HEADER", 0x0A)
    if isinstance(value, bytes):
        value = int.from_bytes(value[:2], "little") if len(value) >= 2 else None
    if value is None:
        value = next(iter(private.get("NumberOfImagesInMosaic", [])), None)
    try:
        return None if value is None or value == "" else int(value)
    except (TypeError, ValueError):
        return None


def _privateValue(dataset: Any, group: int, creator: str, element: int) -> Any | None:
    try:
        return dataset.private_block(group, creator)[element].value
    except KeyError:
        return None


def _csaHeader(dataset: Any) -> dict[str, list[str]]:
    data = _privateValue(dataset, 0x0029, "SIEMENS CSA HEADER", 0x10)
    return readCSA(data) if isinstance(data, bytes) else {}


def readCSA(data: bytes) -> dict[str, list[str]]:
    """The fields of a Siemens CSA header, version 1 or 2, without those that are empty; as many as can be read."""
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
        pass  # it ends early
    return found


def _text(data: bytes) -> str:
    return data.split(b"\0")[0].decode("latin-1").strip()


def _words(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(word) for word in value or ()]
