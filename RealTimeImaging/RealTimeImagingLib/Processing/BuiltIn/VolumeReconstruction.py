"""Volume of tracked ultrasound images, which grows with each image.

Each pixel goes to the nearest voxel, or, with linear distribution, to the eight voxels around it with the weights of
linear interpolation. A voxel is the weighted mean of its pixels, or their maximum. These are the pixel-based methods in
Solberg et al., Ultrasound Med Biol 33 (2007) 991-1009. With linear distribution, pixels that are smaller than voxels
are averaged in blocks first.

The place of a pixel (i, j) is pose * image-to-tool * (i, j, 0, 1). The pose of the tool Probe is in the attributes
ProbeTransform and ProbeTransformStatus, as the OpenIGTLink source adds them with "Poses for images". Without a tool, it
is the geometry of the image. An image whose tool was not seen is left out and counted.

Voxels without a pixel are 0. Results have the type of the images; the mean of whole numbers is rounded.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...Model.Errors import FrameError, SettingsError
from ...Model.Frame import Frame, Matrix, Pixels
from ...Model.Text import textsOf
from ..Function import Parameters, Result, about
from ..Grid import scalarPixels, spacingOf

_ = textsOf(__file__)

TITLE = _("Volume of tracked ultrasound")
DISTRIBUTIONS = {"nearest": _("Nearest voxel"), "linear": _("Linear")}
COMPOUNDING = {"mean": _("Mean"), "maximum": _("Maximum")}
MOST_VOXELS = 400**3
MOST_HOLES = 5
"""Most voxels between a hole and the voxels that fill it."""
TILE = 32
"""Voxels of a tile along each axis."""
PATCH = 64
"""Pixels along each axis of the parts of an image whose tiles are sought."""
LIVE = "interval", "holes"
"""Parameters that take effect without a new volume."""

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ReconstructionParameters(Parameters):
    """Where the images are, and the volume."""

    tool: str = field(
        default="",
        metadata=about(
            _("Tool"),
            _(
                "Name of the tracked probe, as in the setting Poses for images of the source. Empty: each image has "
                "its own place."
            ),
            placeholder=_("for example ProbeToTracker"),
        ),
    )
    calibration: str = field(
        default="",
        metadata=about(
            _("Image to tool"),
            _(
                "Sixteen numbers, row by row: from pixels (i, j) to the tool in millimetres. Empty: the geometry of "
                "the image."
            ),
        ),
    )
    spacing: float = field(
        default=0.5,
        metadata=about(_("Voxel size"), _("Edge length of a voxel."), unit=_("mm"), limits=(0.01, 100), decimals=2),
    )
    extent: str = field(
        default="",
        metadata=about(
            _("Extent"),
            _(
                "Six numbers in RAS: least and greatest R, A and S of the volume in millimetres. Empty: the first "
                "images decide."
            ),
            placeholder=_("for example -40 40 -30 30 0 80"),
        ),
    )
    sweep: int = field(
        default=100,
        metadata=about(_("Images of the sweep"), _("Number of first images that decide the extent."), limits=(1, 1000)),
    )
    distribution: str = field(
        default="nearest",
        metadata=about(_("Distribution"), _("Voxels to which a pixel goes."), choices=DISTRIBUTIONS),
    )
    compounding: str = field(
        default="mean",
        metadata=about(_("Compounding"), _("Value of a voxel with several pixels."), choices=COMPOUNDING),
    )
    least: float = field(
        default=0.0,
        metadata=about(
            _("Least value"),
            _("Darker pixels are left out, such as the black around the fan of the image."),
            limits=(-1e6, 1e6),
        ),
    )
    holes: int = field(
        default=0,
        metadata=about(
            _("Fill holes"),
            _("Empty voxels get the mean of the voxels at most so many voxels away. 0: not filled."),
            unit=_("voxels"),
            limits=(0, MOST_HOLES),
        ),
    )
    interval: int = field(
        default=10,
        metadata=about(
            _("Show every"),
            _("Number of images after which the volume is shown. It is also shown after a pause and at the end."),
            unit=_("images"),
            limits=(1, 1000),
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.imageToTool()
        self.bounds()

    @classmethod
    def unused(cls, values: Mapping[str, Any]) -> set[str]:
        """Return "sweep" beside an extent."""
        return {"sweep"} if values.get("extent") else set()

    def imageToTool(self) -> Matrix | None:
        """Return the matrix from (i, j, k, 1) to the tool; None for the geometry of the image.

        :raises SettingsError: the text is no matrix.
        """
        numbers = _numbers(self.calibration, 16, _("Image to tool has sixteen numbers, not {text}."))
        return None if numbers is None else numbers.reshape(4, 4)

    def bounds(self) -> Numbers | None:
        """Return the extent, shape (3, 2): least and greatest R, A and S; None when the first images decide.

        :raises SettingsError: the text is no extent.
        """
        text = _("The extent has six numbers, the least before the greatest along each axis, not {text}.")
        numbers = _numbers(self.extent, 6, text)
        if numbers is None:
            return None
        bounds = numbers.reshape(3, 2)
        if not (bounds[:, 1] > bounds[:, 0]).all():
            raise SettingsError(text.format(text=self.extent))
        return bounds


def _numbers(text: str, count: int, refusal: str) -> Numbers | None:
    if not text.strip():
        return None
    try:
        numbers = np.array(text.replace(",", " ").split(), float)
    except ValueError:
        numbers = np.zeros(0)
    if numbers.size != count or not np.isfinite(numbers).all():
        raise SettingsError(refusal.format(text=text))
    return numbers


class Grid:
    """Voxels that collect pixels.

    The voxels are shown in tiles: only tiles with new pixels are computed again.

    :param bounds: least and greatest R, A and S in millimetres, shape (3, 2).
    :param parameters: size of the voxels, and how they collect.
    :param dtype: type of the pixels.
    :raises FrameError: there would be too many voxels.
    """

    def __init__(self, bounds: Numbers, parameters: ReconstructionParameters, dtype: np.dtype[Any]) -> None:
        self._parameters = parameters
        count = np.maximum(np.ceil((bounds[:, 1] - bounds[:, 0]) / parameters.spacing - 1e-9), 1)
        if count.prod() > MOST_VOXELS:
            text = _(
                "The volume would have {count:,.0f} voxels, more than {most:,}. Choose larger voxels or an extent."
            )
            raise FrameError(text.format(count=count.prod(), most=MOST_VOXELS))
        self._count = count.astype(int)
        self.ijkToRAS = np.diag([parameters.spacing] * 3 + [1.0])
        self.ijkToRAS[:3, 3] = bounds[:, 0] + parameters.spacing / 2
        shape = tuple(int(one) for one in self._count[::-1])
        self._mean = parameters.compounding == "mean"
        self._sum = np.zeros(shape, np.float32 if dtype.itemsize < 4 else np.float64)
        if not self._mean:
            self._sum[:] = -np.inf
        self._weight = np.zeros(shape, np.float32)
        self._shown = np.zeros(shape, dtype)
        self._holes = 0
        """Distance to which holes are filled in the shown volume."""
        tiles = tuple(-(-size // TILE) for size in shape)
        self._touched, self._changed = np.zeros(tiles, np.bool_), np.zeros(tiles, np.bool_)
        """Tiles that pixels can change, since the start and since the last call of :meth:`volume`; shape (k, j, i)."""
        self._filled = np.zeros(tiles, np.int64)
        """Voxels with pixels in each tile of the shown volume."""

    def add(self, pixels: Pixels, imageToRAS: Matrix) -> None:
        """Add the pixels of an image, shape (k, j, i)."""
        values = pixels.astype(self._sum.dtype, copy=False)
        linear = self._parameters.distribution == "linear"
        if linear:
            values, imageToRAS = _averaged(values, imageToRAS, self._parameters.spacing)
        toVoxel = np.linalg.inv(self.ijkToRAS) @ imageToRAS
        self._touch(toVoxel, values.shape)
        k, j, i = (np.arange(size, dtype=float) for size in values.shape)
        places = [(row[3] + row[2] * k)[:, None, None] + (row[1] * j)[:, None] + row[0] * i for row in toVoxel[:3]]
        used = np.isfinite(values) & (values >= self._parameters.least)
        if not linear:
            self._put([np.floor(place + 0.5).astype(np.int32) for place in places], values, used, None)
            return
        lower = [np.floor(place) for place in places]
        beyond = [(place - floor).astype(np.float32) for place, floor in zip(places, lower, strict=True)]
        corner = [floor.astype(np.int32) for floor in lower]
        for step in itertools.product((0, 1), repeat=3):
            weight = np.float32(1)
            for one, part in zip(step, beyond, strict=True):
                weight = weight * (part if one else 1 - part)
            near = [floor + one if one else floor for floor, one in zip(corner, step, strict=True)]
            self._put(near, values, used & (weight > 0), weight)

    def _touch(self, toVoxel: Matrix, shape: tuple[int, ...]) -> None:
        """Note the tiles that an image of shape (k, j, i) can change, also by filled holes; patch after patch."""
        edges = [np.append(np.arange(0, size - 1, PATCH), size - 1) for size in shape[::-1]]
        first = np.stack(np.meshgrid(*(edge[:-1] if len(edge) > 1 else edge for edge in edges)), -1).reshape(-1, 3)
        last = np.stack(np.meshgrid(*(edge[1:] if len(edge) > 1 else edge for edge in edges)), -1).reshape(-1, 3)
        ends = np.stack([first[:, None, :] * toVoxel[:3, :3], last[:, None, :] * toVoxel[:3, :3]])
        low = np.floor(ends.min(axis=0).sum(axis=-1) + toVoxel[:3, 3]) - MOST_HOLES
        high = np.floor(ends.max(axis=0).sum(axis=-1) + toVoxel[:3, 3]) + 1 + MOST_HOLES
        inside = ((high >= 0) & (low < self._count)).all(axis=1)
        begin = np.maximum(low[inside], 0).astype(int) // TILE
        end = np.minimum(high[inside], self._count - 1).astype(int) // TILE + 1
        for (i, j, k), (iEnd, jEnd, kEnd) in zip(begin.tolist(), end.tolist(), strict=True):
            self._changed[k:kEnd, j:jEnd, i:iEnd] = True

    def _put(
        self, index: list[npt.NDArray[np.int32]], values: Pixels, used: npt.NDArray[np.bool_], weight: Any
    ) -> None:
        for axis, count in zip(index, self._count, strict=True):
            used = used & (axis >= 0) & (axis < count)
        i, j, k = index
        voxels = ((k * self._count[1] + j) * self._count[0] + i)[used]
        given = values[used]
        total, weights = self._sum.reshape(-1), self._weight.reshape(-1)
        if not self._mean:
            np.maximum.at(total, voxels, given)
            weights[voxels] = 1
        elif weight is None:
            np.add.at(total, voxels, given)
            np.add.at(weights, voxels, np.float32(1))
        else:
            parts = weight[used]
            np.add.at(total, voxels, given * parts)
            np.add.at(weights, voxels, parts)

    @property
    def filled(self) -> float:
        """Share of the voxels with a pixel in the last volume, in percent."""
        return 100 * float(self._filled.sum()) / self._weight.size

    def volume(self, holes: int) -> Pixels:
        """Return the voxels, shape (k, j, i), with holes filled from voxels at most so many voxels away."""
        self._touched |= self._changed
        for tile in np.argwhere(self._changed if holes == self._holes else self._touched):
            self._show(tile, holes)
        self._changed[:] = False
        self._holes = holes
        volume: Pixels = self._shown.copy()
        return volume

    def _show(self, tile: npt.NDArray[np.intp], holes: int) -> None:
        """Compute the shown voxels of a tile (k, j, i)."""
        begin = tile * TILE
        end = np.minimum(begin + TILE, self._weight.shape)
        near = np.maximum(begin - holes, 0)
        around = tuple(map(slice, near, np.minimum(end + holes, self._weight.shape)))
        inner = tuple(map(slice, begin - near, end - near))
        total, weight = self._sum[around], self._weight[around]
        full = weight > 0
        values = np.zeros_like(total)
        if self._mean:
            np.divide(total, weight, out=values, where=full)
        else:
            np.copyto(values, total, where=full)
        self._filled[tuple(tile)] = np.count_nonzero(full[inner])
        if holes and not full[inner].all() and full.any():
            _fill(values, full, holes)
        shown = values[inner]
        if self._shown.dtype.kind in "iu":
            np.rint(shown, out=shown)
        self._shown[tuple(map(slice, begin, end))] = shown


def _averaged(values: Pixels, imageToRAS: Matrix, spacing: float) -> tuple[Pixels, Matrix]:
    """Average pixels in blocks that are no larger than a voxel; incomplete blocks at the end are left out."""
    sizes = np.maximum(np.floor(spacing / spacingOf(imageToRAS) + 1e-6), 1).astype(int)
    sizes = np.minimum(sizes, values.shape[::-1])
    if (sizes == 1).all():
        return values, imageToRAS
    i, j, k = (int(size) for size in sizes)
    blocks = [count // size for count, size in zip(values.shape, (k, j, i), strict=True)]
    kept = values[: blocks[0] * k, : blocks[1] * j, : blocks[2] * i]
    means = kept.reshape(blocks[0], k, blocks[1], j, blocks[2], i).mean(axis=(1, 3, 5), dtype=values.dtype)
    toPixel = np.diag([i, j, k, 1.0])
    toPixel[:3, 3] = (sizes - 1) / 2
    return means, imageToRAS @ toPixel


def _fill(values: Pixels, full: npt.NDArray[np.bool_], distance: int) -> None:
    """Give empty voxels the mean of the full ones in the cube around them."""
    from scipy import ndimage

    size = 2 * distance + 1
    share = ndimage.uniform_filter(full.astype(np.float32), size, mode="constant")
    sums = ndimage.uniform_filter(values, size, mode="constant")
    near = ~full & (share > 0.5 / size**3)
    values[near] = sums[near] / share[near]


class VolumeReconstruction:
    """Volume of the images since the start, or since the last change of a parameter that concerns its voxels."""

    def __init__(self) -> None:
        self._parameters = ReconstructionParameters()
        self._clear()

    def _clear(self) -> None:
        self._grid: Grid | None = None
        self._sweep: list[tuple[Pixels, Matrix]] = []
        self._added = self._without = self._shown = 0

    def setup(self, parameters: ReconstructionParameters, first: Frame) -> None:
        """Take the parameters; another place, size or way of the voxels starts a new volume."""
        same = {name: getattr(self._parameters, name) for name in LIVE}
        if replace(parameters, **same) != self._parameters:
            self._clear()
        self._parameters = parameters

    def process(self, frame: Frame) -> Result:
        """Return the volume after each "interval" images; values: images in it, images without a pose, filled voxels.

        :raises FrameError: the images are in colour, or the volume would have too many voxels.
        """
        pixels, parameters = scalarPixels(frame), self._parameters
        imageToRAS = self._place(frame)
        if imageToRAS is None:
            self._without += 1
            return Result(values=self._values())
        if self._grid is None:
            self._sweep.append((pixels.copy(), imageToRAS))
            if parameters.extent or len(self._sweep) >= parameters.sweep:
                try:
                    self._grid, self._sweep = self._gridOfSweep(), []
                except FrameError:
                    self._sweep.pop()  # each further image fails, and takes no memory
                    raise
        else:
            self._grid.add(pixels, imageToRAS)
        self._added += 1
        if self._grid is None or self._added % parameters.interval:
            return Result(values=self._values())
        return self._volume(self._grid)

    def pause(self) -> Result | None:
        """Return the volume when images were added since the last one; before the extent is known, that so far."""
        if self._shown == self._added:
            return None
        return self._volume(self._grid or self._gridOfSweep())

    def _volume(self, grid: Grid) -> Result:
        pixels = grid.volume(self._parameters.holes)
        self._shown = self._added
        return Result(pixels, {**self._values(), _("Filled (%)"): grid.filled}, ijkToRAS=grid.ijkToRAS)

    def _values(self) -> dict[str, float]:
        return {_("Images in the volume"): self._added, _("Images without a pose"): self._without}

    def _place(self, frame: Frame) -> Matrix | None:
        parameters = self._parameters
        calibration = parameters.imageToTool()
        imageToTool = frame.ijkToRAS if calibration is None else calibration
        if not parameters.tool:
            return imageToTool
        name = f"{parameters.tool}Transform"
        if frame.attributes.get(f"{name}Status") != "OK":
            return None
        pose: Matrix = np.array(frame.attributes.get(name, "").split(), float)
        return pose.reshape(4, 4) @ imageToTool

    def _gridOfSweep(self) -> Grid:
        """Return a grid with the images of the sweep; they decide its extent, unless it is a parameter."""
        bounds = self._parameters.bounds()
        if bounds is None:
            corners = np.concatenate([_corners(pixels.shape, matrix) for pixels, matrix in self._sweep])
            half = self._parameters.spacing / 2
            bounds = np.stack([corners.min(axis=0) - half, corners.max(axis=0) + half], axis=1)
        grid = Grid(bounds, self._parameters, self._sweep[0][0].dtype)
        for pixels, imageToRAS in self._sweep:
            grid.add(pixels, imageToRAS)
        return grid


def _corners(shape: tuple[int, ...], imageToRAS: Matrix) -> Numbers:
    """Return the centres of the corner pixels of an image of shape (k, j, i) in RAS, shape (8, 3)."""
    indices = np.array(list(itertools.product(*((0, size - 1) for size in shape[::-1]))), float)
    corners: Numbers = indices @ imageToRAS[:3, :3].T + imageToRAS[:3, 3]
    return corners


PARAMETERS = ReconstructionParameters
function = VolumeReconstruction()
setup, process, pause = function.setup, function.process, function.pause
