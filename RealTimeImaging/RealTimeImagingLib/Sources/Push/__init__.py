"""Frames made in Python."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ...Model.Settings import STREAM, SourceSettings
from ...Model.Text import textsOf
from ..Source import Source, SourceContext, SourceKind

_ = textsOf(__file__)


@dataclass(frozen=True)
class PushSettings(SourceSettings):
    """Frames made in Python inside Slicer. ``logic.push()`` starts this source with the first frame.

    ``stream`` is the name of the first stream; each further frame names its own.
    """

    kind: ClassVar[str] = "python"

    stream: str = field(default="Live", metadata=STREAM)


def _open(settings: PushSettings, context: SourceContext) -> Source:
    from .Source import PushSource

    return PushSource(context.checkpoint, context.receiver, context.getBuffer)


KIND = SourceKind(PushSettings, _("Python"), _open, steady=False, fromSlicer=True, listed=False)
