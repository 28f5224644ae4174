"""Replay of a recording or file."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ...Model.Packages import Package, packagesFor
from ...Model.Settings import STREAM, SourceSettings, about
from ...Model.Text import textsOf
from ..Source import Source, SourceContext, SourceControls, SourceKind

_ = textsOf(__file__)

PACES = {"recorded": _("Recorded times"), "rate": _("Fixed rate"), "fastest": _("As fast as possible")}
SPEEDS = (0.001, 1000.0)
"""Slowest and fastest replay, as a factor of real time."""
RATES = (0.001, 10_000.0)
"""Lowest and highest rate of a replay, images per second."""


@dataclass(frozen=True)
class ReplaySettings(SourceSettings):
    """A file that is replayed as if its frames came from a scanner."""

    kind: ClassVar[str] = "replay"
    flags: ClassVar[Mapping[str, tuple[str, Any]]] = {"fastest": ("pace", "fastest")}

    file: str = field(
        metadata=about(
            _("File"),
            _(
                "What to replay: a recording (its first .seq.nhdr; all parts follow), a sequence (.seq.nrrd), a 4-D "
                "NIfTI, a multi-frame DICOM file or any other image file. It is only read, and may be missing at Start."
            ),
            path="file",
            missing=_("Choose the file to replay."),
        )
    )
    pace: str = field(
        default="recorded",
        metadata=about(_("Pace"), _("How fast the images are replayed."), choices=PACES),
    )
    speed: float = field(
        default=1.0,
        metadata=about(
            _("Speed"),
            _("For the recorded times: 1 is the speed at which the images were taken, 2 is twice as fast."),
            unit=_("x"),
            limits=SPEEDS,
            decimals=2,
        ),
    )
    rate: float = field(
        default=30.0,
        metadata=about(_("Rate"), _("For the fixed rate."), unit=_("images/s"), limits=RATES),
    )
    loop: bool = field(default=False, metadata=about(_("Loop"), _("Start again after the last image.")))
    paused: bool = field(
        default=False,
        metadata=about(
            _("Paused"),
            _('Wait for the command "resume" or "step" before the first image.'),
            inPanel=False,
            inCommand=False,
        ),
    )
    stream: str = field(default="Live", metadata=STREAM)

    @property
    def extraPackages(self) -> tuple[Package, ...]:
        """Packages for a file of this name."""
        return packagesFor(os.path.basename(self.file))

    @classmethod
    def implied(cls, names: Collection[str]) -> dict[str, Any]:
        """Return the fixed pace when a rate is named."""
        return {"pace": "rate"} if "rate" in names else {}

    @classmethod
    def unused(cls, values: Mapping[str, Any]) -> set[str]:
        """Return speed or rate or both: each belongs to one pace."""
        return {"recorded": {"rate"}, "rate": {"speed"}}.get(values["pace"], {"speed", "rate"})


def _open(settings: ReplaySettings, context: SourceContext) -> Source:
    from .Source import ReplaySource

    return ReplaySource(settings, context.checkpoint, getBuffer=context.getBuffer)


def _controls() -> type[SourceControls]:
    from .Host import ReplayControls

    return ReplayControls


def _dropped(path: str) -> dict[str, Any] | None:
    from ...Formats import IMAGE_SUFFIXES

    return {"file": path} if path.lower().endswith(IMAGE_SUFFIXES) else None


KIND = SourceKind(
    ReplaySettings,
    _("Replay of a recording or file"),
    _open,
    idle=lambda values: _("Choose a recording or file and press Start."),
    sender=lambda settings: os.path.basename(settings.file),
    dropped=_dropped,
    controls=_controls,
    steady=False,
)
