"""Window and level from a sample of the values: Slicer's own takes 23 times as long as copying the image."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import numpy as np

from ..Model.Frame import Pixels, componentsOf

SAMPLES = 32_000
LOW, HIGH = 0.1, 99.9
"""Percentiles that the window spans, as in Slicer's automatic window/level."""
LARGEST = 1e300
REFINED = 1.0
"""Seconds from the first image in which window, level and views follow the images. The second image always sets the
window."""
JUDGED = 8
"""Number of newest images whose windows are used."""

KEEP, ONCE, ALWAYS = "keep", "once", "always"
"""Images that set window and level: none once they are set, the first ones of a run, or every image."""

Window = tuple[float, float]
"""(window, level)."""


def displayWindow(pixels: Pixels) -> Window | None:
    """Return (window, level) to display an image; None for a uniform image.

    :param pixels: shape (k, j, i) or (k, j, i, 3|4); colour of 8 bits is displayed unchanged.
    """
    if componentsOf(pixels.shape) > 1 and pixels.dtype == np.uint8:
        return 255.0, 127.5
    return windowLevel(pixels)


def windowLevel(pixels: Pixels) -> Window | None:
    """Return (window, level) that span nearly all values; None for a uniform image.

    :param pixels: shape (k, j, i), any real dtype; values that are not finite are ignored.
    """
    values = pixels.reshape(-1)
    sample = values[:: stride(values.size)]
    # Limits, so that the difference of two values is finite.
    sample = np.clip(sample[np.isfinite(sample)].astype(np.float64), -LARGEST, LARGEST)
    if sample.size == 0:
        return None
    low, high = np.percentile(sample, (LOW, HIGH))
    if high <= low:
        low, high = float(sample.min()), float(sample.max())
    if high <= low:
        return None
    return float(high - low), float((high + low) / 2)


def stride(count: int) -> int:
    """Return the step at which about SAMPLES of so many values are sampled."""
    # A step without a common divisor with the size samples all columns, not only a few.
    step = max(1, count // SAMPLES)
    while step > 1 and math.gcd(step, count) > 1:
        step += 1
    return step


def commonWindow(windows: list[Window]) -> Window:
    """Return the window that fits most images: a single nearly black or overexposed image has little effect.

    :param windows: windows of the images, at least one. Of two windows the result spans both.
    """
    lows = sorted(level - window / 2 for window, level in windows)
    highs = sorted(level + window / 2 for window, level in windows)
    # Quartiles; the upper end is rather too high than too low, as a white view shows nothing.
    low, high = lows[(len(lows) - 1) // 4], highs[3 * len(highs) // 4]
    return high - low, (high + low) / 2


class FirstImages:
    """First images of a stream, which set its window.

    The first image alone may be nearly black. The window therefore follows the images for REFINED seconds, and then
    stays. A change by the user ends this at once.

    :param clock: returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._windows: deque[Window] = deque(maxlen=JUDGED)
        self._until: float | None = None
        self._set: Window | None = None
        self._ended = False

    def restart(self) -> None:
        """Treat the next image as the first."""
        self._windows.clear()
        self._until, self._set, self._ended = None, None, False

    def end(self) -> None:
        """Follow no more images."""
        self._ended = True

    def wanted(self, current: Window | None) -> bool:
        """Return True when the next image sets the window.

        :param current: window of the view; None when Slicer's automatic window/level is on.
        """
        if self._set is not None and current != self._set:
            self._ended = True
        late = self._until is not None and self._clock() > self._until and len(self._windows) > 1
        self._ended = self._ended or late
        return not self._ended

    def add(self, window: Window) -> Window:
        """Add an image's window; return the window to set."""
        if self._until is None:
            self._until = self._clock() + REFINED
        self._windows.append(window)
        return commonWindow(list(self._windows))

    def isSet(self, current: Window | None) -> None:
        """Note the window of the view: a later difference is the user's change."""
        self._set = current
