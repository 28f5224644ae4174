"""Running mean, standard deviation and temporal signal-to-noise ratio of each voxel.

tSNR is the mean over time divided by the standard deviation over time (Parrish et al., Magn Reson Med 44:925-932,
2000). One pass with the update of Welford, "Note on a method for calculating corrected sums of squares and products",
Technometrics 4:419-420 (1962)::

    n += 1;  d = x - mean;  mean += d / n;  M2 += d (x - mean);  SD = sqrt(M2 / (n - 1))

Nothing is detrended. A voxel without variation has the tSNR 0. A voxel that was no finite number once is NaN in all
maps from then on. A change of the geometry starts anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ...Model.Frame import Frame
from ...Model.Text import textsOf
from ..Function import Parameters, Result, about
from ..Grid import floatType, gridKey, scalarPixels

_ = textsOf(__file__)

TITLE = _("Temporal SNR")
MAPS = {"tsnr": _("Temporal SNR"), "mean": _("Mean"), "sd": _("Standard deviation")}

Map = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TemporalSNRParameters(Parameters):
    """Map to show, volumes to skip, and the mask of the brain."""

    map: str = field(default="tsnr", metadata=about(_("Show"), _("The map that becomes the new volume."), choices=MAPS))
    skip: int = field(
        default=0,
        metadata=about(
            _("Skip first volumes"),
            _("Number of volumes before the magnetisation is in its steady state."),
            limits=(0, 1000),
        ),
    )
    mask: float = field(
        default=25.0,
        metadata=about(
            _("Brain above"),
            _("The median is that of voxels whose mean is above this part of the 98th percentile of all means."),
            unit=_("%"),
            limits=(0, 100),
            advanced=True,
        ),
    )


class TemporalSNR:
    """Mean and sum of squares of each voxel, updated with each volume."""

    def __init__(self) -> None:
        self._parameters = TemporalSNRParameters()
        self._start: int | None = None
        self._clear()

    def _clear(self) -> None:
        self._key: object = None
        self.count = 0
        """Volumes in the maps."""
        self._mean: Map = np.zeros(0)
        self._squares: Map = np.zeros(0)

    def setup(self, parameters: TemporalSNRParameters, first: Frame) -> None:
        """Take the parameters; the maps start anew only when another number of volumes is skipped."""
        if parameters.skip != self._parameters.skip:
            self._clear()
        self._parameters = parameters
        if self._start is None:
            self._start = first.number

    def process(self, frame: Frame) -> Result | None:
        """Add a volume, and return the map and the median tSNR in the brain.

        None for a skipped volume, and where one volume has no map yet.
        """
        pixels = scalarPixels(frame)
        if self._start is None:
            self._start = frame.number
        if frame.number - self._start < self._parameters.skip:
            return None
        if gridKey(frame) != self._key:
            self._clear()
            self._key = gridKey(frame)
            self._mean, self._squares = np.zeros(pixels.shape), np.zeros(pixels.shape)
        self._add(pixels.astype(np.float64))
        if self.count < 2 and self._parameters.map != "mean":
            return None
        shown, values = self._mean, {}
        if self.count > 1:
            deviation = np.sqrt(self._squares / (self.count - 1))
            ratio = self._mean / np.where(deviation > 0, deviation, np.inf)
            ratio[np.isnan(self._squares)] = np.nan
            shown = {"tsnr": ratio, "mean": self._mean, "sd": deviation}[self._parameters.map]
            brain = brainMask(self._mean, self._parameters.mask)
            values["Median tSNR"] = float(np.median(ratio[brain])) if brain.any() else np.nan
        return Result(shown.astype(floatType(pixels.dtype)), values, {"Volumes": str(self.count)})

    def _add(self, volume: Map) -> None:
        self.count += 1
        volume[~np.isfinite(volume)] = np.nan
        difference = volume - self._mean
        self._mean += difference / self.count
        volume -= self._mean
        volume *= difference
        self._squares += volume


def brainMask(mean: Map, percent: float) -> npt.NDArray[np.bool_]:
    """Return the voxels above a part of the 98th percentile of the finite values."""
    finite = np.isfinite(mean)
    if not finite.any():
        return finite
    mask: npt.NDArray[np.bool_] = finite & (mean > percent / 100 * np.percentile(mean[finite], 98))
    return mask


PARAMETERS = TemporalSNRParameters
function = TemporalSNR()
setup, process = function.setup, function.process
