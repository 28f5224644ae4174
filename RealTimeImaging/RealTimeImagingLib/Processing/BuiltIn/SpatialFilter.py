"""Gaussian or median filter with a size in millimetres.

Gaussian: standard deviation sigma, cut off at 4 sigma; sigma 0 changes nothing. Median: a block with an odd number of
voxels along each axis, as near to the size as possible. Values at the border continue outside. Images of one slice are
filtered in their plane. Results of the Gaussian filter are float32, or float64 for images of 32-bit integers or
float64; the median keeps the type. Images in colour keep their type, each component filtered on its own.

A voxel that is no finite number is NaN in the result, and does not count for its neighbours (normalised convolution:
Knutsson and Westin, CVPR 1993; median of the others).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...Model.Frame import Frame, Pixels
from ...Model.Text import textsOf
from ..Function import Parameters, Result, about
from ..Grid import floatType, spacingOf

_ = textsOf(__file__)

TITLE = _("Spatial filter")
FILTERS = {"gaussian": _("Gaussian"), "median": _("Median")}


@dataclass(frozen=True)
class FilterParameters(Parameters):
    """Kind and size of the filter."""

    filter: str = field(default="gaussian", metadata=about(_("Filter"), _("Kind of filter."), choices=FILTERS))
    sigma: float = field(
        default=2.0,
        metadata=about(
            _("Sigma"), _("Standard deviation of the Gaussian filter."), unit=_("mm"), limits=(0, 50), decimals=2
        ),
    )
    size: float = field(
        default=6.0,
        metadata=about(
            _("Block size"), _("Edge length of the median filter's block."), unit=_("mm"), limits=(0, 50), decimals=2
        ),
    )

    @classmethod
    def unused(cls, values: Mapping[str, Any]) -> set[str]:
        """Return the size of the other filter."""
        return {"size"} if values.get("filter") == "gaussian" else {"sigma"}


class SpatialFilter:
    """Filter of each image on its own."""

    def __init__(self) -> None:
        self._parameters = FilterParameters()

    def setup(self, parameters: FilterParameters, first: Frame) -> None:
        """Take the parameters."""
        self._parameters = parameters

    def process(self, frame: Frame) -> Result:
        """Return the filtered image."""
        pixels = frame.pixels
        spacing = spacingOf(frame.ijkToRAS)[::-1]
        if frame.components == 1:
            return Result(self._filtered(pixels, spacing))
        parts = [self._filtered(pixels[..., component], spacing) for component in range(frame.components)]
        filtered = np.stack(parts, axis=-1)
        return Result(np.rint(filtered).astype(pixels.dtype) if pixels.dtype.kind in "iu" else filtered)

    def _filtered(self, pixels: Pixels, spacing: Pixels) -> Pixels:
        if self._parameters.filter == "median":
            return median(pixels, blockOf(self._parameters.size, spacing, pixels.shape))
        sigma = self._parameters.sigma / spacing * (np.array(pixels.shape) > 1)
        return gaussian(pixels, sigma)


def blockOf(size: float, spacing: Pixels, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the voxels along each axis of a block: odd numbers, 1 along an axis of one voxel.

    :param size: edge length, and ``spacing``: distances of the voxels along the axes, both in millimetres.
    """
    odd = 2 * np.rint((size / spacing - 1) / 2).clip(0) + 1
    return tuple(int(count) if length > 1 else 1 for count, length in zip(odd, shape, strict=True))


def gaussian(pixels: Pixels, sigma: Pixels) -> Pixels:
    """Return an image with a Gaussian filter; ``sigma`` is the standard deviation along each axis in voxels."""
    from scipy import ndimage

    values = pixels.astype(floatType(pixels.dtype))
    finite = np.isfinite(values)
    if finite.all():
        smooth: Pixels = ndimage.gaussian_filter(values, sigma, mode="nearest")
        return smooth
    weight = ndimage.gaussian_filter(finite.astype(values.dtype), sigma, mode="nearest")
    values[~finite] = 0
    smooth = ndimage.gaussian_filter(values, sigma, mode="nearest")
    return np.where(finite, smooth / np.where(finite, weight, 1), values.dtype.type(np.nan))


def median(pixels: Pixels, block: tuple[int, ...]) -> Pixels:
    """Return an image with a median filter; ``block`` is the number of voxels along each axis."""
    from scipy import ndimage

    filtered: Pixels = ndimage.median_filter(pixels, size=block, mode="nearest")
    if pixels.dtype.kind != "f" or np.isfinite(pixels).all():
        return filtered
    values = np.where(np.isfinite(pixels), pixels, np.nan)
    padded = np.pad(values, [(count // 2, count // 2) for count in block], mode="edge")
    # Only blocks with a voxel that does not count are computed again.
    touched = np.argwhere(ndimage.maximum_filter(np.isnan(values), size=block, mode="nearest") & np.isfinite(pixels))
    blocks = np.lib.stride_tricks.sliding_window_view(padded, block)
    filtered[tuple(touched.T)] = np.nanmedian(blocks[tuple(touched.T)], axis=(1, 2, 3))
    filtered[np.isnan(values)] = np.nan
    return filtered


PARAMETERS = FilterParameters
function = SpatialFilter()
setup, process = function.setup, function.process
