"""Difference to a reference volume, which is a frame of the stream or a file.

    difference = frame - reference;  in percent: 100 (frame - reference) / reference

A reference with another geometry is interpolated linearly. The difference is 0 outside of the reference, and where the
reference is 0 in percent. NaN in the frame or the reference stays NaN. Results are float32, or float64 for frames of
32-bit integers or float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...Model.Errors import SettingsError
from ...Model.Frame import Frame, Matrix, Pixels
from ...Model.Text import textsOf
from ..Function import Parameters, Result, about
from ..Grid import floatType, gridKey, readVolume, resampled, scalarPixels

_ = textsOf(__file__)

TITLE = _("Difference to a reference")


@dataclass(frozen=True)
class DifferenceParameters(Parameters):
    """Reference, and the unit of the difference."""

    file: str = field(
        default="",
        metadata=about(
            _("Reference file"),
            _("A volume (NRRD, NIfTI, MetaImage). Leave empty to use an image of the stream."),
            path="file",
            nodes="volume",
        ),
    )
    number: int = field(
        default=0,
        metadata=about(
            _("Reference image"),
            _("Number of the reference image, if no file is chosen. If it has passed, the next image is taken."),
            limits=(0, 1_000_000),
        ),
    )
    percent: bool = field(
        default=False,
        metadata=about(_("In percent"), _("Show the difference in percent of the reference.")),
    )

    @classmethod
    def unused(cls, values: Mapping[str, Any]) -> set[str]:
        """Return "number" beside a file."""
        return {"number"} if values.get("file") else set()


class Difference:
    """Frames minus a reference."""

    def __init__(self) -> None:
        self._parameters = DifferenceParameters()
        self._reference: tuple[Pixels, Matrix] | None = None
        self._key: object = None
        self._onGrid: Pixels = np.zeros(0)
        self._inside: Pixels = np.zeros(0, bool)

    def setup(self, parameters: DifferenceParameters, first: Frame) -> None:
        """Take the parameters; the reference stays unless another is chosen.

        :raises SettingsError: the file is no volume with one value a voxel.
        """
        before, self._parameters = self._parameters, parameters
        if (parameters.file, parameters.number) == (before.file, before.number):
            return
        self._reference, self._key = None, None
        if parameters.file:
            volume = readVolume(parameters.file)
            if volume.pixels.ndim != 3:
                raise SettingsError(
                    _("The reference needs one value a voxel; {path} has several.").format(path=parameters.file)
                )
            self._reference = volume.pixels, volume.ijkToRAS

    def process(self, frame: Frame) -> Result | None:
        """Return the difference, its mean and its root mean square over finite voxels; None before the reference."""
        pixels = scalarPixels(frame)
        if self._reference is None:
            if frame.number < self._parameters.number:
                return None
            self._reference = pixels.copy(), frame.ijkToRAS
        dtype = floatType(pixels.dtype)
        if gridKey(frame) != self._key:
            self._key = gridKey(frame)
            self._onGrid, self._inside = onGrid(*self._reference, frame)
        reference = self._onGrid.astype(dtype, copy=False)
        difference = np.where(self._inside, pixels.astype(dtype) - reference, dtype.type(0))
        if self._parameters.percent:
            divisible = reference != 0
            difference = np.where(divisible, 100 * difference / np.where(divisible, reference, 1), dtype.type(0))
        finite = difference[self._inside & np.isfinite(difference)].astype(np.float64)
        values = {
            "Mean difference": float(finite.mean()) if finite.size else np.nan,
            "RMS difference": float(np.sqrt(np.mean(finite**2))) if finite.size else np.nan,
        }
        return Result(difference.astype(dtype, copy=False), values)


def onGrid(reference: Pixels, ijkToRAS: Matrix, frame: Frame) -> tuple[Pixels, Pixels]:
    """Return a reference on the grid of a frame, and which of the frame's voxels lie in it."""
    shape = frame.pixels.shape
    if reference.shape == shape and np.allclose(ijkToRAS, frame.ijkToRAS, rtol=0, atol=1e-4):
        return reference, np.ones(shape, bool)
    everywhere = np.ones(reference.shape, np.uint8)
    values = reference.astype(floatType(reference.dtype))
    return (
        resampled(values, ijkToRAS, shape, frame.ijkToRAS, order=1),
        resampled(everywhere, ijkToRAS, shape, frame.ijkToRAS, order=0).astype(bool),
    )


PARAMETERS = DifferenceParameters
function = Difference()
setup, process = function.setup, function.process
