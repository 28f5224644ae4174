"""Motion of the head between volumes: three shifts, three rotations, and the framewise displacement.

The values describe the motion of the head from the reference volume to each volume: a point of the head that was at p
is at ``centre + R (p - centre) + t``.

- Axes are RAS. ``Motion R``, ``A``, ``S`` are t in millimetres, positive to the right, front and top.
- The rotation centre is the middle of the reference volume.
- ``Rotation R``, ``A``, ``S`` are degrees about these axes: R = R_S R_A R_R, first about R, then A, then S. Positive is
  right-handed: about R the nose goes up, about A the top goes to the right, about S the nose goes to the left.

``Framewise displacement`` is that of Power et al., NeuroImage 59:2142-2154 (2012): the sum of the absolute changes of
the six parameters since the volume before, rotations as the arc at 50 mm. It is 0 for the reference. The method is that
of :mod:`Processing.Registration`. Voxels that are no finite numbers count as 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ...Model.Frame import Frame, Matrix
from ...Model.Text import textsOf
from ..Function import Parameters, Result, about
from ..Grid import floatType, resampled, scalarPixels
from ..Registration import RADIUS, RigidRegistration, anglesOf

_ = textsOf(__file__)

TITLE = _("Head motion")
AXES = "RAS"
BRIGHTNESS = {"same": _("Stays the same"), "changes": _("Changes")}


@dataclass(frozen=True)
class MotionParameters(Parameters):
    """Reference, comparison, and what the result shows."""

    skip: int = field(
        default=0,
        metadata=about(
            _("Skip first volumes"),
            _("Number of volumes before the reference volume. Choose 2 to 10 when the first volumes are brighter."),
            limits=(0, 1000),
        ),
    )
    aligned: bool = field(
        default=False,
        metadata=about(_("Show aligned"), _("Make each volume a new volume in which the head does not move.")),
    )
    smoothing: float = field(
        default=5.0,
        metadata=about(
            _("Smoothing"),
            _("Full width at half maximum of the smoothing before volumes are compared. 0: none."),
            unit=_("mm"),
            limits=(0, 20),
            advanced=True,
        ),
    )
    brightness: str = field(
        default="same",
        metadata=about(
            _("Brightness"),
            _("Choose Changes when the brightness of the volumes changes with time, such as by a contrast agent."),
            choices=BRIGHTNESS,
            advanced=True,
        ),
    )


class RigidMotion:
    """Motion of each volume from the reference volume."""

    def __init__(self) -> None:
        self._parameters = MotionParameters()
        self._start: int | None = None
        self._clear()

    def _clear(self) -> None:
        self._registration: RigidRegistration | None = None
        self._grid: tuple[tuple[int, ...], Matrix] = ((), np.eye(4))
        self._motion: Matrix = np.eye(4)
        self._before: npt.NDArray[np.float64] = np.zeros(6)

    def setup(self, parameters: MotionParameters, first: Frame) -> None:
        """Take the parameters; another comparison or start makes the next volume the reference."""
        before, self._parameters = self._parameters, parameters
        if (before.skip, before.smoothing, before.brightness) != (
            parameters.skip,
            parameters.smoothing,
            parameters.brightness,
        ):
            self._clear()
        if self._start is None:
            self._start = first.number

    def process(self, frame: Frame) -> Result | None:
        """Return the motion of a volume, and the aligned volume if chosen; None for a skipped volume.

        :raises FrameError: the frame is in colour, has too few slices, shows nothing, or something else than before.
        """
        pixels = scalarPixels(frame)
        if self._start is None:
            self._start = frame.number
        if frame.number - self._start < self._parameters.skip:
            return None
        if self._registration is None:
            changes = self._parameters.brightness == "changes"
            self._registration = RigidRegistration(pixels, frame.ijkToRAS, self._parameters.smoothing, changes)
            self._grid, self._motion = (pixels.shape, frame.ijkToRAS.copy()), np.eye(4)
        else:
            self._motion = self._registration.register(pixels, frame.ijkToRAS, self._motion)
        shifts = self._motion[:3, 3]
        angles = anglesOf(self._motion)
        position = np.array([*shifts, *(RADIUS * np.radians(angles))])
        displacement = float(np.abs(position - self._before).sum())
        self._before = position
        values = {f"Motion {axis}": float(shift) for axis, shift in zip(AXES, shifts, strict=True)}
        values |= {f"Rotation {axis}": angle for axis, angle in zip(AXES, angles, strict=True)}
        values["Framewise displacement"] = displacement
        if not self._parameters.aligned:
            return Result(values=values)
        return Result(self._aligned(frame), values, ijkToRAS=self._grid[1])

    def _aligned(self, frame: Frame) -> npt.NDArray[np.floating]:
        # The voxel of the reference at p shows what the volume has at the place to which p moved.
        assert self._registration is not None
        shape, ijkToRAS = self._grid
        toCentre = np.eye(4)
        toCentre[:3, 3] = self._registration.centre
        place = toCentre @ self._motion @ np.linalg.inv(toCentre) @ ijkToRAS
        volume = np.nan_to_num(frame.pixels.astype(floatType(frame.pixels.dtype)), nan=0, posinf=0, neginf=0)
        return resampled(volume, frame.ijkToRAS, shape, place, order=3)


PARAMETERS = MotionParameters
function = RigidMotion()
setup, process = function.setup, function.process
