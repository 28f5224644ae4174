"""Time offset between images and the poses of a tool, from a sweep in which both move.

The motion in the images is correlated with the motion of the tool along its principal axis, as in the temporal
calibration of PLUS (vtkPlusTemporalCalibrationAlgo; Tuong et al., Insight Journal 2011). The offset is the one with the
greatest correlation. The motion in an image is the shift of the mean of its rows and of its columns: it serves for the
bottom of a water tank and for any phantom.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .Errors import ControlError
from .Frame import Pixels
from .Text import textsOf

_ = textsOf(__file__)

LARGEST_OFFSET = 0.5
"""Largest offset that is found, seconds."""
LEAST_IMAGES, LEAST_TIME, LEAST_MOTION = 30, 3.0, 3.0
"""Least images, seconds and millimetres of a sweep."""
LONGEST_PAUSE, MOST_PERIODS = 0.2, 4
"""Seconds between two poses, and times their median distance, beyond which the tool was not seen."""
LEAST_CORRELATION = 0.7
"""Least correlation of the two motions."""
_STEP = 0.005
"""Seconds between two offsets that are tried first."""
_FAR = 8
"""A profile that has moved by more than this part of its length is the reference of the next ones."""

Signal = np.ndarray[Any, np.dtype[np.float64]]


class OffsetEstimate(NamedTuple):
    """Result of a sweep.

    :param seconds: to be added to the times of the tool, so that each image has the pose of its moment.
    :param correlation: of the two motions, 0 to 1.
    :param motion: range of the tool along its principal axis, millimetres.
    """

    seconds: float
    correlation: float
    motion: float


class ImageMotion:
    """Shift of images along rows and columns, in pixels, relative to the first image."""

    def __init__(self) -> None:
        self._axes = (_ProfileMotion(), _ProfileMotion())

    def add(self, pixels: Pixels) -> tuple[float, float]:
        """Return the shift of the next image, down and to the right.

        :param pixels: (k, j, i) or (k, j, i, 3 or 4); of a volume, the middle slice counts.
        """
        middle = pixels[pixels.shape[0] // 2]
        if middle.ndim == 3:
            middle = middle[..., 1]
        down, right = (
            one.add(middle.mean(axis, dtype=np.float64)) for one, axis in zip(self._axes, (1, 0), strict=True)
        )
        return down, right


class _ProfileMotion:
    def __init__(self) -> None:
        self._reference: np.ndarray[Any, np.dtype[np.complex128]] | None = None
        self._start = self._last = 0.0

    def add(self, profile: Signal) -> float:
        profile = profile - profile.mean()
        size = len(profile)
        spectrum = np.fft.rfft(profile, 2 * size)
        if self._reference is None or len(self._reference) != len(spectrum):
            self._reference, self._start = spectrum, self._last
            return self._last
        matches = np.fft.irfft(spectrum * np.conj(self._reference), 2 * size)
        most = size // 2
        near = np.concatenate((matches[-most:], matches[: most + 1]))
        best = int(np.argmax(near))
        shift = best - most + _vertex(near, best)
        self._last = self._start + shift
        if abs(shift) > size / _FAR:
            self._reference, self._start = spectrum, self._last
        return self._last


def _vertex(values: Signal, best: int) -> float:
    """Return the place of the greatest value between the samples, relative to ``best``: that of a parabola."""
    if not 0 < best < len(values) - 1:
        return 0.0
    before, at, after = values[best - 1 : best + 2]
    bend = before - 2 * at + after
    return float(0.5 * (before - after) / bend) if bend < 0 else 0.0


def estimateOffset(imageTimes: Signal, shifts: Signal, poseTimes: Signal, positions: Signal) -> OffsetEstimate:
    """Estimate the offset of the times of a tool from a sweep.

    :param imageTimes: (n,), seconds, increasing.
    :param shifts: (n, 2), of :class:`ImageMotion`.
    :param poseTimes: (m,), seconds on the same axis, increasing.
    :param positions: (m, 3), of the tool, millimetres.
    :raises ControlError: the sweep is too short, or the motions do not match.
    """
    lasted = float(imageTimes[-1] - imageTimes[0]) if len(imageTimes) else 0.0
    if len(imageTimes) < LEAST_IMAGES or len(poseTimes) < LEAST_IMAGES or lasted < LEAST_TIME:
        text = _("{images} images and {poses} poses in {seconds:.1f} s are too few; {least} of each are needed.")
        text = text.format(images=len(imageTimes), poses=len(poseTimes), seconds=lasted, least=LEAST_IMAGES)
        raise ControlError(text)
    centred = positions - positions.mean(0)
    along = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
    motion = float(np.ptp(along))
    if motion < LEAST_MOTION:
        text = _("The tool moved by {motion:.1f} mm only. Move it up and down by some centimetres.")
        raise ControlError(text.format(motion=motion))
    # Only images with poses around them at every offset: nobody knows how the tool moved while it was not seen.
    inside = (imageTimes >= poseTimes[0] + LARGEST_OFFSET) & (imageTimes <= poseTimes[-1] - LARGEST_OFFSET)
    pauses = np.diff(poseTimes)
    for place in np.flatnonzero(pauses > max(LONGEST_PAUSE, MOST_PERIODS * float(np.median(pauses)))):
        begin, end = poseTimes[place] - LARGEST_OFFSET, poseTimes[place + 1] + LARGEST_OFFSET
        inside &= (imageTimes <= begin) | (imageTimes >= end)
    if inside.sum() < LEAST_IMAGES:
        text = _("The images and the poses overlap in time for {count} images only; {least} are needed.")
        raise ControlError(text.format(count=int(inside.sum()), least=LEAST_IMAGES))
    times = imageTimes[inside]
    candidates = [_best(times, shifts[inside, axis], poseTimes, along) for axis in range(shifts.shape[1])]
    offset, correlation = max(candidates, key=lambda one: one[1])
    if correlation < LEAST_CORRELATION:
        text = _(
            "The motion in the images does not match that of the tool (correlation {value:.2f}). "
            "Move the probe up and down over the bottom of a water tank, or over a phantom."
        )
        raise ControlError(text.format(value=correlation))
    return OffsetEstimate(offset, correlation, motion)


def _best(times: Signal, shift: Signal, poseTimes: Signal, along: Signal) -> tuple[float, float]:
    """Return the offset with the greatest correlation, whatever its sign, and that correlation."""
    wanted = _levelled(times, shift)

    def match(offset: float) -> float:
        moved = _levelled(times, np.interp(times - offset, poseTimes, along))
        size = float(np.linalg.norm(moved) * np.linalg.norm(wanted))
        return abs(float(moved @ wanted)) / size if size > 0 else 0.0

    offsets = np.arange(-LARGEST_OFFSET, LARGEST_OFFSET + _STEP / 2, _STEP)
    matches = np.array([match(offset) for offset in offsets])
    # Of a periodic motion, half a period later is as good: the smallest offset counts.
    peaks = [
        place
        for place in range(1, len(offsets) - 1)
        if matches[place] >= max(matches[place - 1], matches[place + 1], 0.98 * float(matches.max()))
    ]
    if not peaks:
        return 0.0, 0.0
    best = min(peaks, key=lambda place: abs(offsets[place]))
    offset = float(offsets[best] + _STEP * _vertex(matches, best))
    return offset, match(offset)


def _levelled(times: Signal, values: Signal) -> Signal:
    """Return the values without mean and trend: the shift of images drifts."""
    base = np.stack((np.ones_like(times), times - times.mean()), 1)
    left: Signal = values - base @ np.linalg.lstsq(base, values, rcond=None)[0]
    return left
