"""NIfTI-1 in one file: .nii and .nii.gz.

The format: nifti1.h of the NIfTI Data Format Working Group (field names below are its names).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..Errors import NotAnImageError
from ..Frame import Matrix
from .ImageFile import DEFAULT_LIMIT, sinceFirst
from .Inflate import Inflated
from .Raw import RawBytes, readStart
from .Streamed import Streamed
from .Volumes import SHEAR, VolumeFile, Volumes, angleError

HEADER = 348

# datatype (nifti1.h, DT_*): numpy type and components. 1 (bits), 32, 1536, 1792, 2048 have no counterpart in Slicer.
_TYPES = {
    2: ("u1", 1),
    4: ("i2", 1),
    8: ("i4", 1),
    16: ("f4", 1),
    64: ("f8", 1),
    128: ("u1", 3),
    256: ("i1", 1),
    512: ("u2", 1),
    768: ("u4", 1),
    1024: ("i8", 1),
    1280: ("u8", 1),
    2304: ("u1", 4),
}
_REFUSED = {1: "single bits", 32: "complex64", 1536: "float128", 1792: "complex128", 2048: "complex256"}

_MILLIMETRES = {1: 1000.0, 2: 1.0, 3: 0.001}
_SECONDS = {8: 1.0, 16: 1e-3, 24: 1e-6}
_COLOUR_INTENTS = (1007, 2003, 2004)
"""NIFTI_INTENT_VECTOR, _RGB_VECTOR, _RGBA_VECTOR."""


class NIfTI(VolumeFile):
    """A NIfTI-1 file; missing() is None once all declared bytes (and, for .gz, the stream's end) are there.

    Geometry, in RAS as the standard has it: the sform when sform_code > 0 (METHOD 3), else the qform when
    qform_code > 0 (METHOD 2), as nibabel does; ITK and so Slicer agree, except that ITK prefers the qform where both
    are set, differ, and sform_code is not 1 ("scanner"). A sheared sform gives way to a qform, as in ITK, and
    is refused without one. With neither code (METHOD 1, which leaves the orientation open) spacing counts,
    the origin is 0 and the axes are those of ITK: i to the left, j to the posterior, k to the superior.

    Values: scl_slope and scl_inter, unless the slope is 0 or not finite or they change nothing. RGB24 and RGBA32, and
    unsigned bytes whose fifth dimension is a vector of 3 or 4, are colour. Attributes: Description (descrip), TR
    (seconds, of a series with a unit of time), VolumeIndex (of a file with several volumes).
    """

    def __init__(self, path: str, limit: int = DEFAULT_LIMIT) -> None:
        super().__init__(path, limit)
        self._inflated: Inflated | Streamed | None = None

    def _declared(self) -> Volumes | str:
        if self._inflated is None and self.path.lower().endswith(".gz"):
            self._inflated = (Streamed if self.streaming else Inflated)(self.path, self.limit)
        data = self._inflated.start(HEADER) if self._inflated else readStart(self.path, HEADER)
        if len(data) < HEADER:
            checkBeginning(data)
            unpacked = " could be unpacked" if self._inflated else " are there"
            return f"A NIfTI header has {HEADER} bytes, {len(data):,}{unpacked}."
        if not any(data):
            return f"The first {HEADER} bytes are still zero; the header is not written yet."
        order = checkBeginning(data)
        header = _Header(order, data)
        offset = header.offset(self.limit)
        if self._inflated:
            self._inflated.skip(offset)
            return header.volumes(self._inflated)
        return header.volumes(RawBytes(self.path, offset))


def checkBeginning(data: bytes) -> str:
    """The byte order of a header, "<" or ">", as far as its first bytes tell.

    :raises NotAnImageError: it is no NIfTI-1 header in the same file as its voxels.
    """
    for order in "<>":
        expected = struct.pack(order + "i", HEADER)
        if data[:4] == expected[: len(data)]:
            break
        if data[:4] == struct.pack(order + "i", 540):
            raise NotAnImageError("This is NIfTI-2; NIfTI-1 is supported.", "unsupported")
    else:
        if len(data) < 4 or not any(data):
            return "<"
        raise NotAnImageError("A NIfTI file begins with the number 348; this one does not.", "not-an-image")
    magic = data[344:348]
    if len(magic) == 4 and magic[:3] != b"n+1":
        if magic[:3] == b"ni1":
            raise NotAnImageError("The voxels are in another file (.hdr/.img); .nii is supported.", "unsupported")
        raise NotAnImageError('The header lacks NIfTI\'s mark "n+1"; Analyze 7.5 is not supported.', "unsupported")
    return order


class _Header:
    """The header's fields, by their names in nifti1.h."""

    def __init__(self, order: str, data: bytes) -> None:
        def at(offset: int, kinds: str) -> tuple[Any, ...]:
            return struct.unpack_from(order + kinds, data, offset)

        self.order = order
        self.dim = at(40, "8h")
        self.intentCode, self.datatype = at(68, "2h")
        self.pixdim = at(76, "8f")
        self.voxOffset, self.slope, self.inter = at(108, "3f")
        self.units = data[123]
        self.descrip = data[148:228]
        self.qformCode, self.sformCode = at(252, "2h")
        self.quatern, self.qoffset, self.srow = at(256, "3f"), at(268, "3f"), at(280, "12f")

    def offset(self, limit: int) -> int:
        """Where the voxels begin; 0 is taken for the smallest possible offset, as other readers do."""
        if not 0 <= self.voxOffset <= limit or 0 < self.voxOffset < HEADER:
            raise NotAnImageError(f"The header puts the voxels at byte {self.voxOffset:g}.", "damaged")
        return int(self.voxOffset) or HEADER + 4

    def volumes(self, stored: Inflated | Streamed | RawBytes) -> Volumes:
        if not 1 <= self.dim[0] <= 7:
            raise NotAnImageError(f"The header declares {self.dim[0]} dimensions; 1 to 7 are possible.", "damaged")
        sizes = self.dim[1 : 1 + self.dim[0]]
        if min(sizes) < 1:
            raise NotAnImageError(f"The header declares the size {sizes}.", "damaged")
        if self.datatype not in _TYPES:
            kind = _REFUSED.get(self.datatype)
            raise NotAnImageError(
                f"The voxels are {kind or 'of the unknown type'} (datatype {self.datatype}), which Slicer cannot show.",
                "unsupported" if kind else "damaged",
            )
        name, components = _TYPES[self.datatype]
        shape, roles = tuple(reversed(sizes)), "tttt kji".replace(" ", "")[-len(sizes) :]
        if components > 1:
            shape, roles = (*shape, components), roles + "c"
        elif len(sizes) == 5 and sizes[4] in (3, 4) and name == "u1" and self.intentCode in _COLOUR_INTENTS:
            roles = "c" + roles[1:]
        return Volumes(
            stored,
            np.dtype(self.order + name),
            shape,
            roles,
            self.matrix(),
            self.attributes(len(sizes) > 3 and sizes[3] > 1),
            scale=self.scale() if components == 1 and "c" not in roles else None,
            times=self.times(sizes),
        )

    def period(self) -> float | None:
        """Seconds from one volume to the next, None when that is not stated."""
        unit = _SECONDS.get(self.units & 0x38)
        known = unit and math.isfinite(self.pixdim[4]) and self.pixdim[4] > 0
        return float(self.pixdim[4]) * unit if unit and known else None

    def times(self, sizes: Sequence[int]) -> list[float] | None:
        """As :attr:`ImageFile.times`: for volumes that only time tells apart."""
        period = self.period()
        if period is None or len(sizes) < 4 or math.prod(sizes[4:]) > 1:
            return None
        return sinceFirst(number * period for number in range(sizes[3]))

    def scale(self) -> tuple[float, float] | None:
        """nifti1.h, "DATA SCALING": a slope of 0 is none; so is, as in nibabel, one that is no number."""
        if self.slope == 0 or not math.isfinite(self.slope):
            return None
        if not math.isfinite(self.inter):
            raise NotAnImageError("The header's scl_inter is no number.", "damaged")
        return None if (self.slope, self.inter) == (1, 0) else (self.slope, self.inter)

    def attributes(self, series: bool) -> dict[str, str]:
        found = {}
        if text := self.descrip.split(b"\0")[0].decode("utf-8", "replace").strip():
            found["Description"] = text
        if series and (period := self.period()):
            found["TR"] = f"{period:.6g}"
        return found

    def matrix(self) -> Matrix:
        """IJKToRAS in millimetres; for a unit of length that is not stated, the numbers are millimetres."""
        if self.sformCode > 0:
            matrix = np.array([*self.srow, 0.0, 0.0, 0.0, 1.0]).reshape(4, 4)
            if self.qformCode > 0 and angleError(matrix) > SHEAR:
                matrix = self._qform()
        elif self.qformCode > 0:
            matrix = self._qform()
        else:
            spacing = self._spacing()
            matrix = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
        unit = _MILLIMETRES.get(self.units & 0x07, 1.0)
        if unit != 1.0:
            matrix[:3] *= unit
        return matrix

    def _spacing(self) -> list[float]:
        # An axis of one voxel often has no spacing.
        return [abs(value) if value and math.isfinite(value) else 1.0 for value in self.pixdim[1:4]]

    def _qform(self) -> Matrix:
        # nifti1.h, "QUATERNION REPRESENTATION OF ROTATION MATRIX"; a shall be >= 0, qfac is the sign of k.
        b, c, d = (float(value) for value in self.quatern)
        square = 1.0 - (b * b + c * c + d * d)
        if square < 1e-7:
            # Rounding may leave b, c, d slightly too long: a half turn, with the length put right (as nifti1_io does).
            length = math.sqrt(b * b + c * c + d * d)
            a, b, c, d = 0.0, b / length, c / length, d / length
        else:
            a = math.sqrt(square)
        rotation = np.array(
            [
                [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
                [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
                [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
            ]
        )
        spacing = self._spacing()
        spacing[2] *= -1.0 if self.pixdim[0] < 0 else 1.0
        matrix = np.eye(4)
        matrix[:3, :3] = rotation * spacing
        matrix[:3, 3] = self.qoffset
        return matrix
