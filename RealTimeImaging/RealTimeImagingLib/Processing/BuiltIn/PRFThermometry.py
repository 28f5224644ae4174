"""Temperature from the phase of gradient echo images (proton resonance frequency shift), and thermal dose.

    dT = (phase - baseline phase) / (2 pi gamma alpha B0 TE)

gamma = 42.577478518e6 Hz/T (proton, CODATA 2018), alpha in 1/degC (-0.01 ppm/degC is -0.01e-6), B0 in T, TE in s, phase
in radians, dT in degC. Sources: Ishihara et al., Magn Reson Med 34:814-823 (1995); De Poorter et al., Magn Reson Med
33:74-81 (1995); Rieke and Butts Pauly, J Magn Reson Imaging 27:376-390 (2008).

The phase is unwrapped over time: from one image to the next, each voxel changes by less than half a turn. Drift of the
field is a constant or a plane, fitted to the phase change in regions that stay at their temperature.

The thermal dose is cumulative equivalent minutes at 43 degC: Sapareto and Dewey, Int J Radiat Oncol Biol Phys
10:787-800 (1984)::

    CEM43 = sum of R^(43 - T) dt,  R = 0.5 at 43 degC and above, 0.25 below

T is the mean of the temperatures at the two ends of dt, which is the time between two images in minutes.

Images: phase only, or pairs in one stream (magnitude and phase, or real and imaginary). The DICOM attributes
ComplexImageComponent or ImageType tell the parts of a pair apart; without them, even frame numbers are the first parts.
A pair of which a frame is missing has no result. With magnitudes, voxels without signal show no change and do not
count. A phase that is no finite number is NaN in that image only. Results are float32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ...Model.Errors import FrameError, SettingsError
from ...Model.Frame import Frame
from ...Model.Text import textsOf
from ..Function import Parameters, Result, about
from ..Grid import gridKey, scalarPixels
from ..Regions import Regions, regionsOf

_ = textsOf(__file__)

Map = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

TITLE = _("Temperature (PRF)")
GAMMA = 42.577478518e6
"""Gyromagnetic ratio of the proton divided by 2 pi, in Hz/T."""
IMAGES = {
    "phase": _("Phase"),
    "magnitude-phase": _("Magnitude, then phase"),
    "real-imaginary": _("Real, then imaginary"),
}
UNITS = {
    "radians": _("Radians (-pi to pi)"),
    "milliradians": _("Milliradians (-3142 to 3142)"),
    "degrees": _("Degrees (-180 to 180)"),
    "4096": _("Scanner units 0 to 4095"),
    "8192": _("Scanner units -4096 to 4095"),
}
CYCLES = {"radians": 2 * math.pi, "milliradians": 2000 * math.pi, "degrees": 360.0, "4096": 4096.0, "8192": 8192.0}
"""Difference of values that is one turn of the phase, by unit."""
MAPS = {"change": _("Temperature change"), "temperature": _("Temperature"), "dose": _("Thermal dose (CEM43)")}
DRIFTS = {"none": _("None"), "mean": _("Constant"), "plane": _("Plane")}
FIRST, SECOND = ("M", "MAGNITUDE", "R", "REAL"), ("P", "PHASE", "I", "IMAGINARY")
"""Words of DICOM for the first and second image of a pair."""
WHOLE = "Image"


@dataclass(frozen=True)
class ThermometryParameters(Parameters):
    """Images, sequence, correction and result."""

    show: str = field(
        default="change", metadata=about(_("Show"), _("The map that becomes the new volume."), choices=MAPS)
    )
    images: str = field(default="phase", metadata=about(_("Images"), _("Images of the stream."), choices=IMAGES))
    unit: str = field(
        default="radians",
        metadata=about(_("Phase values"), _("Range of the phase images: one turn of the phase."), choices=UNITS),
    )
    fieldStrength: float = field(
        default=3.0,
        metadata=about(_("Field strength"), _("B0 of the scanner."), unit=_("T"), limits=(0.01, 20), decimals=4),
    )
    echoTime: float = field(
        default=10.0,
        metadata=about(_("Echo time"), _("TE of the sequence."), unit=_("ms"), limits=(0.1, 200), decimals=3),
    )
    coefficient: float = field(
        default=-0.01,
        metadata=about(
            _("PRF coefficient"),
            _("Change of the proton resonance frequency with temperature; -0.01 in aqueous tissue."),
            unit=_("ppm/°C"),
            limits=(-0.1, -0.001),
            decimals=5,
            advanced=True,
        ),
    )
    inverted: bool = field(
        default=False,
        metadata=about(
            _("Invert phase"),
            _("Choose this when heating shows as cooling: scanners differ in the sign of the phase."),
            advanced=True,
        ),
    )
    startTemperature: float = field(
        default=37.0,
        metadata=about(_("Start temperature"), _("Temperature at the start."), unit=_("°C"), limits=(-20, 100)),
    )
    baseline: int = field(
        default=1,
        metadata=about(
            _("Baseline images"),
            _("Number of images before heating. Their mean is the reference, which lowers noise."),
            limits=(1, 100),
        ),
    )
    drift: str = field(
        default="none",
        metadata=about(
            _("Drift correction"), _("Correct the drift of the field by the reference regions."), choices=DRIFTS
        ),
    )
    reference: tuple[str, ...] = field(
        default=(),
        metadata=about(
            _("Reference regions"),
            _("Regions that keep their temperature, such as Ref: sphere 10 -20 30 5 (RAS, centre and radius in mm)."),
            placeholder="Ref: sphere 10 -20 30 5",
            nodes="regions",
        ),
    )
    referenceLabels: str = field(
        default="",
        metadata=about(
            _("Reference label map"),
            _("A file with a label map (NRRD, NIfTI, MetaImage) of regions that keep their temperature."),
            path="file",
            nodes="labels",
        ),
    )
    targets: tuple[str, ...] = field(
        default=(),
        metadata=about(
            _("Target regions"),
            _("Regions whose temperature and dose are plotted, such as Focus: sphere 10 -20 30 5 (RAS, mm)."),
            placeholder="Focus: sphere 10 -20 30 5",
            nodes="regions",
        ),
    )
    signal: float = field(
        default=10.0,
        metadata=about(
            _("Signal above"),
            _("Voxels with less than this part of the magnitude's 98th percentile show no change."),
            unit=_("%"),
            limits=(0, 100),
            advanced=True,
        ),
    )

    @classmethod
    def unused(cls, values: Mapping[str, Any]) -> set[str]:
        """Return the parameters of images and corrections that are not chosen."""
        names = set()
        if values.get("drift") == "none":
            names |= {"reference", "referenceLabels"}
        if values.get("images") == "phase":
            names |= {"signal"}
        if values.get("images") == "real-imaginary":
            names |= {"unit"}
        return names

    @property
    def radiansPerDegree(self) -> float:
        """Change of the phase for a temperature rise of 1 degC, in radians."""
        change = 2 * math.pi * GAMMA * self.coefficient * 1e-6 * self.fieldStrength * self.echoTime * 1e-3
        return -change if self.inverted else change


class PRFThermometry:
    """Temperature and dose of each voxel since the first image."""

    def __init__(self) -> None:
        self._parameters = ThermometryParameters()
        self._reference, self._targets = Regions(()), Regions(())
        self._first: Frame | None = None
        self._clear()

    def _clear(self) -> None:
        self._key: object = None
        self._phase: Map = np.zeros(0)
        self._change: Map = np.zeros(0)
        self._baseline: Map = np.zeros(0)
        self._counts: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._images = 0
        self._temperature: Map | None = None
        self._time = 0.0
        self._dose: Map = np.zeros(0)

    def setup(self, parameters: ThermometryParameters, first: Frame) -> None:
        """Take the parameters; other images, units or baselines start anew.

        :raises SettingsError: a region is impossible, or drift has no reference region.
        """
        reference = regionsOf(parameters.reference, parameters.referenceLabels)
        if parameters.drift != "none" and not reference:
            raise SettingsError(_("Drift correction needs a reference region. Add one, or choose None."))
        self._reference, self._targets = reference, regionsOf(parameters.targets)
        before, self._parameters = self._parameters, parameters
        if (before.images, before.unit, before.baseline) != (parameters.images, parameters.unit, parameters.baseline):
            self._clear()
            self._first = None

    def process(self, frame: Frame) -> Result | None:
        """Return the map, temperature and dose of the targets, and the drift; None for the first image of a pair.

        :raises FrameError: the frame is in colour, or the reference region has no voxel.
        """
        pixels = scalarPixels(frame)
        magnitude: Map | None = None
        if self._parameters.images == "phase":
            phase = pixels * (2 * math.pi / CYCLES[self._parameters.unit])
        else:
            if isFirstOfPair(frame):
                # The pixels are valid during the call only.
                self._first = Frame(pixels.copy(), frame.ijkToRAS, frame.stream, frame.number, frame.receiveTime)
                return None
            first, self._first = self._first, None
            if first is None or first.number != frame.number - 1 or gridKey(first) != gridKey(frame):
                return None
            if self._parameters.images == "magnitude-phase":
                phase = pixels * (2 * math.pi / CYCLES[self._parameters.unit])
                magnitude = first.pixels.astype(np.float64)
            else:
                real, imaginary = first.pixels.astype(np.float64), pixels.astype(np.float64)
                phase, magnitude = np.arctan2(imaginary, real), np.hypot(real, imaginary)
        return self._result(frame, np.asarray(phase, np.float64), magnitude)

    def _result(self, frame: Frame, phase: Map, magnitude: Map | None) -> Result:
        signal = self._signal(phase, magnitude)
        change = self._unwrapped(frame, phase)
        change, drift = self._corrected(frame, change, signal)
        degrees = change / self._parameters.radiansPerDegree
        degrees[~signal & np.isfinite(degrees)] = 0
        temperature = self._parameters.startTemperature + degrees
        self._addDose(temperature, frame.time)
        shown = {"change": degrees, "temperature": temperature, "dose": self._dose}[self._parameters.show]
        values = self._values(frame, temperature, signal)
        if self._parameters.drift != "none":
            values["Drift"] = drift / self._parameters.radiansPerDegree
        return Result(shown.astype(np.float32), values)

    def _signal(self, phase: Map, magnitude: Map | None) -> Mask:
        finite = np.isfinite(phase)
        if magnitude is None or not np.isfinite(magnitude).any():
            return finite
        highest = np.percentile(magnitude[np.isfinite(magnitude)], 98)
        return finite & (magnitude >= self._parameters.signal / 100 * highest)

    def _unwrapped(self, frame: Frame, phase: Map) -> Map:
        """Return the phase change from the baseline to an image, in radians."""
        finite = np.isfinite(phase)
        if gridKey(frame) != self._key:
            self._clear()
            self._key = gridKey(frame)
            self._phase = np.where(finite, phase, np.nan)
            self._change, self._baseline = np.zeros(phase.shape), np.zeros(phase.shape)
            self._counts, self._dose = np.zeros(phase.shape, np.int64), np.zeros(phase.shape)
        # A voxel without a phase so far starts with this one.
        step = np.where(finite & np.isfinite(self._phase), wrapped(phase - self._phase), 0.0)
        self._change += step
        self._phase = np.where(finite, phase, self._phase)
        if self._images < self._parameters.baseline:
            self._images += 1
            self._counts += finite
            self._baseline += np.where(finite, (self._change - self._baseline) / np.maximum(self._counts, 1), 0.0)
        return np.where(finite, self._change - self._baseline, np.nan)

    def _corrected(self, frame: Frame, change: Map, signal: Mask) -> tuple[Map, float]:
        """Return the phase change without drift, and the mean drift in the reference regions (radians)."""
        if self._parameters.drift == "none":
            return change, 0.0
        voxels = np.unique(np.concatenate(list(self._reference.voxels(frame).values())))
        voxels = voxels[signal.reshape(-1)[voxels]]
        if not voxels.size:
            raise FrameError(_("The reference regions have no voxel with signal in this image. Move them."))
        known = change.reshape(-1)[voxels]
        mean = float(known.mean())
        if self._parameters.drift == "mean":
            return change - mean, mean
        axes = np.ogrid[tuple(slice(-1, 1, length * 1j) if length > 1 else slice(1) for length in change.shape)]
        places = np.unravel_index(voxels, change.shape)
        columns = [axis.reshape(-1)[place] for axis, place in zip(axes, places, strict=True)]
        # An axis along which the regions have one voxel only has the slope 0: the solution of smallest norm.
        centre = [float(column.mean()) for column in columns]
        design = np.stack([column - middle for column, middle in zip(columns, centre, strict=True)], axis=1)
        slopes = np.linalg.lstsq(design, known - mean, rcond=None)[0]
        plane = mean + sum(slope * (axis - middle) for slope, axis, middle in zip(slopes, axes, centre, strict=True))
        return change - plane, mean

    def _addDose(self, temperature: Map, time: float) -> None:
        if self._temperature is not None and time > self._time:
            mean = (self._temperature + temperature) / 2
            self._dose += np.where(np.isfinite(mean), equivalentMinutes(mean, (time - self._time) / 60), 0.0)
        self._temperature, self._time = temperature, time

    def _values(self, frame: Frame, temperature: Map, signal: Mask) -> dict[str, float]:
        values: dict[str, float] = {}
        everywhere = {WHOLE: np.arange(temperature.size)}
        for name, voxels in (self._targets.voxels(frame) if self._targets else everywhere).items():
            voxels = voxels[signal.reshape(-1)[voxels]]
            inside, dose = temperature.reshape(-1)[voxels], self._dose.reshape(-1)[voxels]
            values[f"{name} temperature mean"] = float(inside.mean()) if voxels.size else np.nan
            values[f"{name} temperature max"] = float(inside.max()) if voxels.size else np.nan
            values[f"{name} CEM43 max"] = float(dose.max()) if voxels.size else np.nan
        return values


def wrapped(phase: Map) -> Map:
    """Return phases in radians as the equal phases from -pi to pi."""
    turns: Map = phase - 2 * math.pi * np.rint(phase / (2 * math.pi))
    return turns


def equivalentMinutes(temperature: Map, minutes: float) -> Map:
    """Return cumulative equivalent minutes at 43 degC for a time at temperatures in degC."""
    # Beyond 100 degC, water boils and the phase has no meaning: the exponent stays within numbers.
    excess = 43 - np.clip(temperature, -100, 100)
    dose: Map = minutes * np.where(excess <= 0, 0.5, 0.25) ** excess
    return dose


def isFirstOfPair(frame: Frame) -> bool:
    """Return whether a frame is a magnitude or real image, by its DICOM attributes or else its number."""
    for attribute in ("ComplexImageComponent", "ImageType"):
        for word in frame.attributes.get(attribute, "").upper().split("\\")[-3:]:
            if word.strip() in FIRST:
                return True
            if word.strip() in SECOND:
                return False
    return frame.number % 2 == 0


PARAMETERS = ThermometryParameters
function = PRFThermometry()
setup, process = function.setup, function.process
