"""Regions of a patient in space: spheres, boxes and label maps, and the voxels of a grid that lie in them.

A sphere or box is also text, for parameters and the command line, in millimetres of RAS::

    Tumour: sphere 10 -20 30 5                  centre, radius
    Liver: box 10 -20 30 40 20 10               centre, size along R, A, S
    Liver: box 10 -20 30 40 20 10 0 1 0 -1 0 0 0 0 1    ... and the box's three axes, one after the other
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..Model.Errors import SettingsError
from ..Model.Frame import Frame, Matrix, Pixels
from ..Model.Text import textsOf
from .Function import about
from .Grid import gridKey, readVolume, resampled

_ = textsOf(__file__)

Indices = npt.NDArray[np.intp]
Numbers = tuple[float, ...]

GRIDS = 16
"""Grids whose regions are kept, such as those of slices that alternate."""
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

SPHERES_AND_BOXES = about(
    _("Regions"),
    _(
        "Spheres and boxes in millimetres of RAS, such as Tumour: sphere 10 -20 30 5 (centre, radius) or "
        "Liver: box 10 -20 30 40 20 10 (centre, size)."
    ),
    placeholder="Tumour: sphere 10 -20 30 5",
    nodes="regions",
)
"""Metadata of a parameter of type tuple[str, ...] with regions as text."""
LABEL_FILE = about(
    _("Label map"),
    _("A file with a segmentation or label map (NRRD, NIfTI, MetaImage). Each segment or label is a region."),
    path="file",
    nodes="labels",
)
"""Metadata of a parameter of type str with the path of a label map."""


@dataclass(frozen=True)
class Sphere:
    """A sphere. ``centre`` and ``radius`` are millimetres in RAS."""

    name: str
    centre: Numbers
    radius: float

    def __str__(self) -> str:
        """Return the text of which :func:`regionOf` makes an equal sphere."""
        return f"{self.name}: sphere {_listed((*self.centre, self.radius))}"

    def voxels(self, shape: tuple[int, ...], ijkToRAS: Matrix) -> dict[str, Indices]:
        """Return the indices of the voxels, see :meth:`Regions.voxels`."""
        squares = sum(
            (place - middle) ** 2 for place, middle in zip(_places(shape, ijkToRAS), self.centre, strict=True)
        )
        return {self.name: np.flatnonzero(squares <= self.radius**2)}


@dataclass(frozen=True)
class Box:
    """A box. ``centre`` and ``size`` are millimetres in RAS; ``axes`` are its three unit vectors, one after the other.

    The axes of a box are the columns of its object-to-world matrix.
    """

    name: str
    centre: Numbers
    size: Numbers
    axes: Numbers = IDENTITY

    def __str__(self) -> str:
        """Return the text of which :func:`regionOf` makes an equal box."""
        axes = () if self.axes == IDENTITY else self.axes
        return f"{self.name}: box {_listed((*self.centre, *self.size, *axes))}"

    def voxels(self, shape: tuple[int, ...], ijkToRAS: Matrix) -> dict[str, Indices]:
        """Return the indices of the voxels, see :meth:`Regions.voxels`."""
        inBox = np.eye(4)
        inBox[:3, :3] = np.reshape(self.axes, (3, 3))
        inBox[:3, 3] = -inBox[:3, :3] @ self.centre
        inside = np.ones(shape[:3], bool)
        for place, size in zip(_places(shape, inBox @ ijkToRAS), self.size, strict=True):
            inside &= np.abs(place) <= size / 2
        return {self.name: np.flatnonzero(inside)}


@dataclass(frozen=True, eq=False)
class Labels:
    """A label map.

    :param pixels: whole numbers, shape (k, j, i).
    :param ijkToRAS: 4x4 float64, voxel index (i, j, k) to millimetres in RAS.
    :param names: name of the region by label.
    """

    pixels: Pixels
    ijkToRAS: Matrix
    names: Mapping[int, str]

    def voxels(self, shape: tuple[int, ...], ijkToRAS: Matrix) -> dict[str, Indices]:
        """Return the indices of the voxels by region, see :meth:`Regions.voxels`."""
        labels = resampled(self.pixels, self.ijkToRAS, shape, ijkToRAS, order=0)
        return {name: np.flatnonzero(labels == label) for label, name in self.names.items()}


Region = Sphere | Box | Labels


class Regions:
    """Regions and their voxels in the grids of frames; the voxels of each grid are searched once."""

    def __init__(self, regions: Sequence[Region]) -> None:
        self._regions = regions
        self._found: OrderedDict[object, dict[str, Indices]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._regions)

    def voxels(self, frame: Frame) -> dict[str, Indices]:
        """Return the voxels of each region by its name.

        A voxel belongs to a region when its centre does. Indices count the voxels in memory order, without colour
        components. A region outside of the frame has none.
        """
        key = gridKey(frame)
        if key not in self._found:
            found: dict[str, Indices] = {}
            for region in self._regions:
                found.update(region.voxels(frame.pixels.shape[:3], frame.ijkToRAS))
            self._found[key] = found
            if len(self._found) > GRIDS:
                self._found.popitem(last=False)
        return self._found[key]


def regionOf(text: str) -> Sphere | Box:
    """Return the region that a text describes, see the module.

    :raises SettingsError: it describes none.
    """
    name, _colon, description = text.rpartition(":")
    kind, *words = description.split() or [""]
    try:
        numbers = tuple(float(word) for word in words)
    except ValueError:
        numbers = ()
    if name.strip() and np.isfinite(numbers).all():
        if kind == "sphere" and len(numbers) == 4 and numbers[3] > 0:
            return Sphere(name.strip(), numbers[:3], numbers[3])
        if kind == "box" and len(numbers) in (6, 15) and min(numbers[3:6]) > 0:
            return Box(name.strip(), numbers[:3], numbers[3:6], numbers[6:] or IDENTITY)
    raise SettingsError(
        _(
            "A region is written like Tumour: sphere 10 -20 30 5 (centre, radius) or Liver: box 10 -20 30 40 20 10 "
            "(centre, size), not {text}."
        ).format(text=repr(text))
    )


def regionsOf(texts: Sequence[str], labelFile: str = "") -> Regions:
    """Return regions as parameters give them.

    :param texts: spheres and boxes, see :func:`regionOf`.
    :param labelFile: path of a label map; empty for none.
    :raises SettingsError: a text describes no region, the file is no label map, or two regions have one name.
    """
    regions: list[Region] = [regionOf(text) for text in texts]
    names = [region.name for region in regions if not isinstance(region, Labels)]
    if labelFile:
        for labels in readLabels(labelFile):
            regions.append(labels)
            names += labels.names.values()
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise SettingsError(_("Two regions have the name {name}. Give each its own.").format(name=double))
    return Regions(regions)


def readLabels(path: str) -> list[Labels]:
    """Read the label maps of a file, one for each layer of a Slicer segmentation (.seg.nrrd).

    Segments have their names. Labels of other files have the names "Label 1", "Label 2" and so on.

    :raises SettingsError: the file is no label map.
    """
    volume = readVolume(path)
    pixels = volume.pixels if volume.pixels.ndim == 4 else volume.pixels[..., np.newaxis]
    if pixels.dtype.kind not in "iu":
        if not np.array_equal(pixels, np.rint(pixels)):
            raise SettingsError(_("{path} is no label map: its values are no whole numbers.").format(path=path))
        pixels = pixels.astype(np.int32)
    segments = list(_segments(volume.fields))
    maps = []
    for layer in range(pixels.shape[3]):
        labels = np.ascontiguousarray(pixels[..., layer])
        names = {label: name for at, label, name in segments if at == layer}
        if not segments:
            names = {int(label): f"Label {label}" for label in np.unique(labels) if label}
        maps.append(Labels(labels, volume.ijkToRAS, names))
    return maps


def _segments(fields: Mapping[str, str]) -> Iterator[tuple[int, int, str]]:
    """Yield layer, label and name of the segments in the header of a .seg.nrrd file."""
    for key, name in fields.items():
        found = re.fullmatch(r"(Segment\d+)_Name", key)
        if found:
            layer, label = (fields.get(f"{found[1]}_{field}", "") for field in ("Layer", "LabelValue"))
            yield int(layer or 0), int(label or 1), name


def _places(shape: tuple[int, ...], matrix: Matrix) -> Iterator[npt.NDArray[np.float64]]:
    """Yield the first, second and third coordinate of all voxels, each of shape (k, j, i)."""
    k, j, i = np.ogrid[: shape[0], : shape[1], : shape[2]]
    for row in matrix[:3]:
        yield row[0] * i + row[1] * j + row[2] * k + row[3]


def _listed(numbers: Sequence[float]) -> str:
    return " ".join(f"{number:.10g}" for number in numbers)
