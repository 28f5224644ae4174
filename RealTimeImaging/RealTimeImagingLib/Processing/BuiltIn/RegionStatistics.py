"""Mean, standard deviation, minimum and maximum in regions, several at once.

Without a region, the values are those of the whole image. A region outside of the image has the value NaN. Voxels that
are no finite numbers do not count. The standard deviation divides by n - 1, as Slicer's Segment Statistics does; a
region of one voxel has none. Images in colour have values for each component.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...Model.Frame import Frame, Pixels
from ...Model.Text import textsOf
from ..Function import Parameters, Result
from ..Regions import LABEL_FILE, SPHERES_AND_BOXES, Regions, regionsOf

_ = textsOf(__file__)

TITLE = _("Statistics in regions")
WHOLE = "Image"
"""Name of the region that is the whole image."""
COMPONENTS = ("red", "green", "blue", "alpha")


@dataclass(frozen=True)
class RegionParameters(Parameters):
    """Regions whose statistics are computed."""

    regions: tuple[str, ...] = field(default=(), metadata=SPHERES_AND_BOXES)
    labels: str = field(default="", metadata=LABEL_FILE)


class RegionStatistics:
    """Statistics of each frame in regions that stay in space."""

    def __init__(self) -> None:
        self._regions = Regions(())

    def setup(self, parameters: RegionParameters, first: Frame) -> None:
        """Take the regions.

        :raises SettingsError: one is impossible.
        """
        self._regions = regionsOf(parameters.regions, parameters.labels)

    def process(self, frame: Frame) -> Result:
        """Return the values "<region> mean", "SD", "min" and "max" of each region."""
        pixels = frame.pixels.reshape(-1, frame.components)
        names = COMPONENTS if frame.components > 1 else ("",)
        values: dict[str, float] = {}
        for region, voxels in self._regions.voxels(frame).items() if self._regions else [(WHOLE, slice(None))]:
            for component, name in enumerate(names[: frame.components]):
                label = f"{region} {name}".strip()
                found = statisticsOf(pixels[voxels, component])
                values.update({f"{label} {statistic}": value for statistic, value in found.items()})
        return Result(values=values)


def statisticsOf(values: Pixels) -> dict[str, float]:
    """Return mean, SD (n - 1), min and max of the finite values; NaN where there are too few."""
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    count = values.size
    if not count:
        return dict.fromkeys(("mean", "SD", "min", "max"), np.nan)
    return {
        "mean": float(values.mean(dtype=np.float64)),
        "SD": float(values.std(ddof=1, dtype=np.float64)) if count > 1 else np.nan,
        "min": float(values.min()),
        "max": float(values.max()),
    }


PARAMETERS = RegionParameters
function = RegionStatistics()
setup, process = function.setup, function.process
