"""Average of the latest images: the mean of the last N, or an exponential average.

    exponential: average += (image - average) / N      (N = 1: no average)

The mean has fewer images at the start. Results are float32, or float64 for images of 32-bit integers or float64;
images in colour keep their type, rounded. A voxel is NaN while it is no finite number in any averaged image; the
exponential average passes over such values. A change of the geometry starts anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ...Model.Frame import Frame, Pixels
from ...Model.Text import textsOf
from ..Function import Parameters, Result, about
from ..Grid import floatType, gridKey

_ = textsOf(__file__)

TITLE = _("Average of images")
METHODS = {"mean": _("Mean of the last images"), "exponential": _("Exponential")}


@dataclass(frozen=True)
class AveragingParameters(Parameters):
    """Method, and number of images."""

    method: str = field(default="mean", metadata=about(_("Method"), _("Kind of average."), choices=METHODS))
    count: int = field(
        default=4,
        metadata=about(
            _("Images"),
            _("Number of images of the mean. In the exponential average, a new image has the weight 1 / number."),
            limits=(1, 100),
        ),
    )


class Averaging:
    """Average of the latest images, which it keeps in their own type."""

    def __init__(self) -> None:
        self._parameters = AveragingParameters()
        self._clear()

    def _clear(self) -> None:
        self._key: object = None
        self._kept: list[Pixels] = []
        self._average: npt.NDArray[np.float64] | None = None

    def setup(self, parameters: AveragingParameters, first: Frame) -> None:
        """Take the parameters; another method starts anew."""
        if parameters.method != self._parameters.method:
            self._clear()
        self._parameters = parameters

    def process(self, frame: Frame) -> Result:
        """Return the average, with the attribute Averages: the number of images in the mean."""
        if gridKey(frame) != self._key:
            self._clear()
            self._key = gridKey(frame)
        pixels = frame.pixels
        mean = self._mean(pixels) if self._parameters.method == "mean" else self._exponential(pixels)
        attributes = {"Averages": str(len(self._kept))} if self._kept else {}
        if frame.components > 1 and pixels.dtype.kind in "iu":
            return Result(np.rint(mean).astype(pixels.dtype), attributes=attributes)
        return Result(mean.astype(floatType(pixels.dtype)), attributes=attributes)

    def _mean(self, pixels: Pixels) -> npt.NDArray[np.float64]:
        # Summed anew each time: a NaN or a rounding error does not outlive its image.
        self._kept = [*self._kept, pixels.copy()][-self._parameters.count :]
        total = np.zeros(pixels.shape)
        for one in self._kept:
            total += one
        total[~np.isfinite(total)] = np.nan
        total /= len(self._kept)
        return total

    def _exponential(self, pixels: Pixels) -> npt.NDArray[np.float64]:
        image = pixels.astype(np.float64)
        image[~np.isfinite(image)] = np.nan
        if self._average is None:
            self._average = image
        else:
            step = (image - self._average) / self._parameters.count
            new = np.isnan(self._average)
            self._average += np.nan_to_num(step, nan=0)
            self._average[new] = image[new]
        return self._average


PARAMETERS = AveragingParameters
function = Averaging()
setup, process = function.setup, function.process
