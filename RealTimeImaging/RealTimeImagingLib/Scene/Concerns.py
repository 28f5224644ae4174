"""Reasons why a live image is received and not seen: hidden, outside the slices, window and level, one value."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..Model.Frame import Matrix, Pixels, componentsOf
from ..Model.Text import textsOf
from .Nodes import arrayOf, ijkToWorld, matrixOf
from .Rendering import isRendered
from .Views import ALIGNED, Views
from .WindowLevel import Window, stride

if TYPE_CHECKING:
    from .LiveVolumes import LiveVolumes

_ = textsOf(__file__)

PAUSE = 1.0
"""Seconds between two examinations of a stream."""
WHOLE = 1 << 20
"""Values up to which an image is examined whole (about 1 ms)."""
POINTS = 1 << 16
"""Most points of all views together at which a larger image is examined, besides a sample of the whole (5 ms)."""
PART = 0.05
"""Least part of a view that the cut through a single tilted slice covers when the image can be seen."""
STEPS = 255.0
"""Steps of brightness on the screen."""


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Concern:
    """Reason why an image is not seen.

    :param text: a sentence.
    :param label: two to four words for a button that calls ``act``; empty when nothing can be done.
    :param act: shows the image.
    """

    text: str
    label: str = ""
    act: Callable[[], None] = _nothing


class Concerns:
    """Reasons why the images of streams are not seen in the views of the present layout.

    :param volumes: the live volumes.
    :param views: the slice views.
    :param clock: returns monotonic seconds.
    """

    def __init__(self, volumes: LiveVolumes, views: Views, clock: Callable[[], float] = time.monotonic) -> None:
        self._volumes, self._views, self._clock = volumes, views, clock
        self._found: dict[str, tuple[float, Concern | None]] = {}

    def of(self, stream: str) -> Concern | None:
        """Return the reason why the current image of a stream is not seen; None when it is seen, or not expected to be.

        A stream is not expected to be seen before its first image, without Slicer's main window, and after the user
        took it out of all views. Images of up to WHOLE values are examined whole. Of larger images, a sample of
        WindowLevel.SAMPLES values decides, and at most POINTS values of the shown slices confirm. The result is kept
        for PAUSE seconds.
        """
        now = self._clock()
        before = self._found.get(stream)
        if before is None or now - before[0] >= PAUSE:
            self._found[stream] = before = (now, self._examine(stream))
        return before[1]

    def _examine(self, stream: str) -> Concern | None:
        node = self._volumes.volume(stream).node
        pixels = None if node is None else arrayOf(node)
        if pixels is None or pixels.size == 0 or not self._views.widgets():
            return None
        logics = self._views.inSight(node)
        if not logics:
            if isRendered(node) or self._volumes.hiddenByUser(stream):
                return None
            text = _("No view shows {stream}.").format(stream=stream)
            return self._offer(stream, text, _("Show it"), lambda: self._volumes.bringIntoSight(stream))
        cuts = [cut for cut in (_cutOf(logic.GetSliceNode(), node) for logic in logics) if cut is not None]
        if not cuts:
            text = _("The image of {stream} is outside the slices that the views show.").format(stream=stream)
            return self._offer(stream, text, _("Go to the image"), lambda: self._views.goTo(node))
        return self._examineValues(stream, node, pixels, cuts)

    def _examineValues(self, stream: str, node: Any, pixels: Pixels, cuts: list[_Cut]) -> Concern | None:
        display = node.GetDisplayNode()
        window = (display.GetWindow(), display.GetLevel()) if display else None
        values = _colours(pixels)
        whole = values.size <= WHOLE
        sample = values if whole else _sample(pixels)
        found = _rangeOf(sample)
        if found is not None and not whole and _isUnseen(found, window):
            # The sample may have missed a small object; what is on the screen counts.
            parts = [sample.reshape(-1), *(_shownValues(cut, values, POINTS // len(cuts)).reshape(-1) for cut in cuts)]
            sample = np.concatenate(parts)
            found = _rangeOf(sample)
        if found is None:
            return Concern(_("No pixel of {stream} has a finite value.").format(stream=stream))
        low, high = found
        if low == high:
            sampled = _("All {count:,} sampled pixels of {stream} have the value {value:g}.")
            text = _("All pixels of {stream} have the value {value:g}.") if whole else sampled
            return Concern(text.format(stream=stream, value=low, count=sample.size))
        if not _isUnseen(found, window) or window is None:
            return None
        text = _(
            "Window and level hide {stream}: its values are {low:g} to {high:g}, the window is {bottom:g} to {top:g}."
        )
        bottom, top = _ends(window)
        text = text.format(stream=stream, low=low, high=high, bottom=bottom, top=top)
        return self._offer(stream, text, _("Set window/level"), lambda: self._volumes.setWindow(stream))

    def _offer(self, stream: str, text: str, label: str, act: Callable[[], None]) -> Concern:
        def actAndForget() -> None:
            act()
            self._found.pop(stream, None)

        return Concern(text, label, actAndForget)


# ---- the cut of a view through an image


@dataclass(frozen=True)
class _Cut:
    """Part of a view in which an image lies.

    :param corners: convex polygon, (n, 2), pixels of the view.
    :param xyToIJK: 4x4, pixels of the view to voxel indices.
    """

    corners: Matrix
    xyToIJK: Matrix


def _cutOf(sliceNode: Any, node: Any) -> _Cut | None:
    """Return the cut of a view's slice through an image; None when the view does not show the image.

    Below a nonlinear or singular transform, and in slabs, the whole view counts as cut.
    """
    columns, rows = sliceNode.GetDimensions()[:2]
    xyToRAS = matrixOf(sliceNode.GetXYToRAS())
    view = np.array([(0, 0), (columns, 0), (columns, rows), (0, rows)], dtype=float)
    ijkToRAS = ijkToWorld(node)
    # Slicer accepts a transform that flattens the image.
    invertible = ijkToRAS is not None and np.linalg.matrix_rank(ijkToRAS) == 4
    if ijkToRAS is None or not invertible or sliceNode.GetSlabReconstructionEnabled():
        return _Cut(view, np.full((4, 4), np.nan))
    xyToIJK = np.linalg.inv(ijkToRAS) @ xyToRAS
    corners = np.column_stack([view, (view @ xyToIJK[:3, :2].T) + xyToIJK[:3, 3]])
    size = node.GetImageData().GetDimensions()
    for axis in range(3):
        corners = _clip(corners, 2 + axis, -0.5, 1.0)
        corners = _clip(corners, 2 + axis, size[axis] - 0.5, -1.0)
    area = _areaOf(corners)
    if area <= 0:
        return None
    if size[2] == 1:
        # A view across a single slice shows a line.
        normals = ijkToRAS[:3, 2], xyToRAS[:3, 2]
        cosine = abs(normals[0] @ normals[1]) / (np.linalg.norm(normals[0]) * np.linalg.norm(normals[1]))
        if cosine < ALIGNED and area < PART * columns * rows:
            return None
    return _Cut(corners[:, :2], xyToIJK)


def _clip(corners: Matrix, axis: int, limit: float, sign: float) -> Matrix:
    """Cut off the part of a convex polygon beyond a limit of one of its coordinates (Sutherland and Hodgman)."""
    kept = []
    inside = sign * (corners[:, axis] - limit)
    for here in range(len(corners)):
        there = (here + 1) % len(corners)
        if inside[here] >= 0:
            kept.append(corners[here])
        if (inside[here] >= 0) != (inside[there] >= 0):
            part = inside[here] / (inside[here] - inside[there])
            kept.append(corners[here] + part * (corners[there] - corners[here]))
    return np.array(kept).reshape(-1, corners.shape[1])


def _areaOf(corners: Matrix) -> float:
    if len(corners) < 3:
        return 0.0
    x, y = corners[:, 0], corners[:, 1]
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


# ---- values


def _colours(pixels: Pixels) -> Pixels:
    """Return the values without opacity."""
    return pixels[..., :3] if pixels.ndim == 4 else pixels


def _sample(pixels: Pixels) -> Pixels:
    """Return the colours of about WindowLevel.SAMPLES voxels."""
    voxels = pixels.reshape(-1, componentsOf(pixels.shape))
    return voxels[:: stride(len(voxels)), :3]


def _shownValues(cut: _Cut, values: Pixels, count: int) -> Pixels:
    """Return the values at a grid of about so many points of a cut, nearest neighbours."""
    if not np.isfinite(cut.xyToIJK).all():
        return values.reshape(-1)[:0]
    side = max(2, int(count**0.5))
    low, high = cut.corners.min(axis=0), cut.corners.max(axis=0)
    x = np.linspace(low[0], high[0], side + 2)[1:-1]
    y = np.linspace(low[1], high[1], side + 2)[1:-1]
    matrix = cut.xyToIJK
    indices = []
    inside = np.ones((side, side), bool)
    for axis in range(3):
        index = np.rint(matrix[axis, 0] * x[None, :] + matrix[axis, 1] * y[:, None] + matrix[axis, 3]).astype(np.int64)
        inside &= (index >= 0) & (index < values.shape[2 - axis])
        indices.append(index)
    i, j, k = (index[inside] for index in indices)
    found: Pixels = values[k, j, i]
    return found


def _rangeOf(values: Pixels) -> tuple[float, float] | None:
    """Return the smallest and the largest finite value; None without any."""
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if values.size else None


def _isUnseen(found: tuple[float, float], window: Window | None) -> bool:
    """Return True when all values have one brightness at an end of the window, or are equal."""
    low, high = found
    if low == high or window is None:
        return low == high
    bottom, top = _ends(window)
    step = abs(window[0]) / STEPS
    return high < bottom + step or low > top - step


def _ends(window: Window) -> tuple[float, float]:
    half = abs(window[0]) / 2
    return window[1] - half, window[1] + half
