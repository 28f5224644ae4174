"""Conversion of stored values to final ones, in the smallest type that holds them.

PS3.3 sections C.7.6.3.1 (BitsStored, HighBit) and C.11.1.1 (RescaleSlope, RescaleIntercept).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..Model.Frame import Pixels
from .Headers import Common

_INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32")


class RangeError(Exception):
    """A value does not fit the type; a wider one is needed."""


class Scale(NamedTuple):
    """Conversion of the stored values of one slice.

    :param dtype: stored type, with byte order.
    :param stored: BitsStored; ``high``: HighBit.
    """

    dtype: str
    stored: int
    high: int
    slope: float
    intercept: float

    @classmethod
    def of(cls, common: Common) -> Scale:
        """Return the scale in a header; colour is not rescaled."""
        slope, intercept = (common.slope, common.intercept) if common.samples == 1 else (1.0, 0.0)
        return cls(common.dtype, common.stored, common.high, slope, intercept)

    def plain(self, target: str) -> bool:
        """Return True when the bytes in the file are the final values in this type, little endian."""
        same = (self.slope, self.intercept) == (1.0, 0.0) and self.high == self.stored - 1
        dtype: np.dtype[Any] = np.dtype(self.dtype)
        little = dtype.newbyteorder("<") == dtype
        return same and little and dtype.name == target and self.stored == 8 * dtype.itemsize

    @property
    def whole(self) -> bool:
        """True when slope and intercept are whole numbers."""
        return self.slope.is_integer() and self.intercept.is_integer()

    @property
    def ends(self) -> tuple[int, int]:
        """The smallest and the largest value that BitsStored allows, rescaled by whole numbers."""
        signed = np.dtype(self.dtype).kind == "i"
        low, high = (-(1 << self.stored - 1), (1 << self.stored - 1) - 1) if signed else (0, (1 << self.stored) - 1)
        ends = sorted(int(self.slope) * end + int(self.intercept) for end in (low, high))
        return ends[0], ends[1]


def typesFor(scales: Iterable[Scale]) -> list[str]:
    """Return the types to try for the slices of a volume, smallest first.

    Without rescaling, the stored type. For whole slopes and intercepts, the smallest type for all values that
    BitsStored allows; where that is wider than 16 stored bits, 16 bits are tried before, so that CT does not double its
    size. For other slopes, float32 up to 16 bits, which keeps all stored values distinct, and float64 above.
    """
    kinds = set(scales)
    stored = {np.dtype(one.dtype).newbyteorder("=") for one in kinds}
    bytes_ = max(dtype.itemsize for dtype in stored)
    if len(stored) == 1 and all((one.slope, one.intercept) == (1.0, 0.0) for one in kinds):
        return [next(iter(stored)).name]
    if not all(one.whole for one in kinds):
        return ["float32" if bytes_ <= 2 else "float64"]
    low, high = min(one.ends[0] for one in kinds), max(one.ends[1] for one in kinds)
    wide = [name for name in _INTEGERS if np.iinfo(name).min <= low and high <= np.iinfo(name).max]
    last = wide[0] if wide else "float64"
    narrow = ["int16", "uint16"] if bytes_ == 2 and np.dtype(last).itemsize > 2 else []
    return [*narrow, last]


class Converter:
    """Converter of slices that reuses its memory.

    :param target: name of the final type.
    """

    def __init__(self, target: str) -> None:
        self._target = np.dtype(target)
        self._out: Pixels | None = None
        self.lowest: float | None = None
        """The lowest final value so far, while :attr:`watching`."""
        self.watching = False
        """Note the lowest value, with which missing slices are filled."""

    def convert(self, raw: Pixels, scale: Scale) -> Pixels:
        """Return the final values of a slice, little endian and contiguous, valid until the next call.

        :param raw: uint8, the bytes in the file; the call may change them.
        :raises RangeError: a value does not fit.
        """
        values = _stored(raw.view(scale.dtype), scale)
        if (scale.slope, scale.intercept) != (1.0, 0.0):
            values = self._rescaled(values, scale)
        elif values.dtype != self._target:
            values = self._fitted(values)
        if self.watching:
            least = float(values.min())
            self.lowest = least if self.lowest is None else min(self.lowest, least)
        return _little(values)

    def _rescaled(self, values: Pixels, scale: Scale) -> Pixels:
        if not scale.whole or self._target.kind == "f":
            return np.asarray(values * np.float64(scale.slope) + scale.intercept, self._target)
        slope, intercept = int(scale.slope), int(scale.intercept)
        ends = sorted(slope * int(end) + intercept for end in (values.min(), values.max()))
        self._check(ends)
        if slope == 1 and values.dtype.itemsize == self._target.itemsize:
            # The sum is right even where a term wraps around, as the result fits.
            if self._out is None or self._out.size != values.size:
                self._out = np.empty(values.size, self._target)
            bits = 8 * self._target.itemsize
            unsigned = np.dtype(f"u{self._target.itemsize}")
            np.add(values.view(unsigned), unsigned.type(intercept % (1 << bits)), out=self._out.view(unsigned))
            return self._out
        wide = values.astype(np.int64)
        wide *= slope
        wide += intercept
        return wide.astype(self._target)

    def _fitted(self, values: Pixels) -> Pixels:
        if self._target.kind != "f":
            self._check([int(values.min()), int(values.max())])
        return values.astype(self._target)

    def _check(self, ends: Sequence[int]) -> None:
        limits = np.iinfo(self._target)
        if ends[0] < limits.min or ends[1] > limits.max:
            raise RangeError


def _stored(values: Pixels, scale: Scale) -> Pixels:
    if not values.dtype.isnative:
        values = values.byteswap(inplace=True).view(values.dtype.newbyteorder("="))
    bits = 8 * values.dtype.itemsize
    if scale.stored == bits:
        return values
    low, high = Scale(values.dtype.name, scale.stored, 0, 1.0, 0.0).ends
    # Bits outside of BitsStored may hold old overlays, but rarely do.
    if scale.high != scale.stored - 1 or values.max() > high or values.min() < low:
        values <<= bits - 1 - scale.high
        values >>= bits - scale.stored
    return values


def _little(values: Pixels) -> Pixels:
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))


def common(types: Iterable[np.dtype[Any]]) -> np.dtype[Any]:
    """Return the type that holds the values of all."""
    return np.result_type(*types)
