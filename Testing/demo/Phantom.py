"""The volume that a demo reconstructs, compared with the phantom that the simulated probe has scanned."""

from __future__ import annotations

from typing import Any

import numpy as np
from RealTimeImagingLib.Simulator.Scan import ELLIPSOIDS, phantomValues

MARGIN = 1.5
"""Millimetres from the surface of a body within which a voxel may have pixels of both sides: half the diagonal of a
voxel to its pixels, and one more to the voxels that fill a hole."""
LEAST = 0.8
"""Share of the voxels beyond the margin that must have a value."""


def comparedWithPhantom(voxels: Any, ijkToRAS: Any) -> tuple[bool, int]:
    """Compare each voxel with a value, beyond the margin, with the phantom at its place.

    :param voxels: shape (k, j, i); 0 without a value. ``ijkToRAS``: 4x4, millimetres.
    :returns: whether all are equal, and enough have a value in each body; and how many were compared.
    """
    k, j, i = np.indices(voxels.shape)
    points = np.stack([i, j, k, np.ones_like(i)], -1) @ np.asarray(ijkToRAS).T
    points = points[..., :3]
    bodies = [one.contains(points, -MARGIN) for one in ELLIPSOIDS]
    outside = ~np.any([one.contains(points, MARGIN) for one in ELLIPSOIDS], axis=0)
    known = voxels > 0
    compared = known & (outside | np.any(bodies, axis=0))
    equal = bool((voxels == phantomValues(points))[compared].all())
    enough = all(part.any() and known[part].mean() >= LEAST for part in (outside, *bodies))
    return equal and enough, int(compared.sum())
