"""The header of Analyze 7.5: dbh.h of the Mayo Clinic, and what SPM made of it (spm_hread.m, nibabel's spm2analyze)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ..Frame import Matrix
from .NIfTIHeader import TYPES, NIfTIHeader


class AnalyzeHeader(NIfTIHeader):
    """Analyze 7.5 as SPM99 and SPM2 wrote it, and nibabel reads it.

    It has no orientation that programs agree on: i runs to the left, j to the anterior, k to the superior (SPM's
    "radiological" default), with SPM's origin (a voxel, counted from 1) or else the middle of the image at 0. Units are
    millimetres.
    """

    fields: Mapping[str, tuple[int, str]] = {
        **{name: NIfTIHeader.fields[name] for name in ("dim", "datatype", "pixdim", "vox_offset", "descrip")},
        **{name: NIfTIHeader.fields[name] for name in ("scl_slope", "scl_inter")},
        "cal_max": (124, "f"),
        "cal_min": (128, "f"),
        "glmax": (140, "i"),
        "glmin": (144, "i"),
        "origin": (253, "3h"),
    }
    types: Mapping[int, tuple[str, int]] = {
        **{code: TYPES[code] for code in (2, 4, 8, 16, 64, 128)},
        130: ("i1", 1),
        132: ("u2", 1),
        136: ("u4", 1),
    }

    def scale(self) -> tuple[float, float] | None:
        """SPM's factor, or the range of stored values (glmin, glmax) that stands for the one of cal_min, cal_max."""
        slope, inter = float(self.one("scl_slope")), float(self.one("scl_inter"))
        if math.isfinite(slope) and slope:
            inter = inter if math.isfinite(inter) else 0.0
        else:
            stored = self.one("glmax") - self.one("glmin")
            meant = float(self.one("cal_max")) - float(self.one("cal_min"))
            if not stored or not meant or not math.isfinite(meant):
                return None
            slope = meant / stored
            inter = float(self.one("cal_min")) - slope * self.one("glmin")
        return None if (slope, inter) == (1, 0) else (slope, inter)

    def matrix(self) -> Matrix:
        """IJKToRAS in millimetres."""
        sizes = [max(1, size) for size in self.several("dim")[1:4]]
        origin = self.several("origin")
        sensible = any(origin) and all(-size < at < 2 * size for at, size in zip(origin, sizes, strict=True))
        zero = [at - 1.0 for at in origin] if sensible else [(size - 1) / 2 for size in sizes]
        spacing = self.spacing()
        matrix = np.diag([-spacing[0], spacing[1], spacing[2], 1.0])
        matrix[:3, 3] = -np.diag(matrix)[:3] * zero
        return matrix
