"""A file that is replayed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...Model.Errors import SettingsError
from ...Model.Settings import SourceSettings, checkNumber, typedPath

PACES = ("recorded", "rate", "fastest")
SPEEDS = (0.001, 1000.0)
"""Slowest and fastest replay, as a factor of real time."""
RATES = (0.001, 10_000.0)
"""Lowest and highest rate of a replay, frames per second."""


@dataclass(frozen=True)
class ReplaySettings(SourceSettings):
    """A file that is replayed as if its frames came from a scanner.

    :param file: a recording (its first ``.seq.nhdr``: all parts follow one another), a ``.seq.nrrd``, a 4-D NIfTI, a
        multi-frame DICOM file, or any other image file; it may be missing for now.
    :param pace: "recorded" (by the file's own times), "rate" (evenly) or "fastest" (as fast as frames can be read).
    :param speed: for the pace "recorded": 1 is real time, 2 twice as fast; 0.001 to 1000.
    :param rate: for the pace "rate": frames per second; 0.001 to 10,000.
    :param loop: begin again after the last frame.
    :param paused: wait for the command "resume" or "step" before the first frame.
    :param stream: name of the stream, and of its live volume.
    :raises SettingsError: a value that cannot work.
    """

    kind: ClassVar[str] = "replay"

    file: str
    pace: str = "recorded"
    speed: float = 1.0
    rate: float = 30.0
    loop: bool = False
    paused: bool = False
    stream: str = "Live"

    def __post_init__(self) -> None:
        object.__setattr__(self, "file", typedPath(self.file))
        if not self.file:
            raise SettingsError("Choose the file to replay.")
        if self.pace not in PACES:
            raise SettingsError(f'"pace" is one of {", ".join(PACES)}, not {self.pace!r}.')
        checkNumber(self.speed, SPEEDS, "The speed of a replay", "times real time")
        checkNumber(self.rate, RATES, "The rate of a replay", "frames per second")
        for name in ("loop", "paused"):
            if not isinstance(getattr(self, name), bool):
                raise SettingsError(f'"{name}" is true or false, not {getattr(self, name)!r}.')
        if not self.stream.strip():
            raise SettingsError("The live volume needs a name.")
