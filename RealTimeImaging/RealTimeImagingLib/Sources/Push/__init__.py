"""Frames made in Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...Model.Errors import SettingsError
from ...Model.Settings import SourceSettings


@dataclass(frozen=True)
class PushSettings(SourceSettings):
    """Frames made in Python inside Slicer. ``logic.push()`` starts this source by itself with the first frame.

    :param stream: name of the first stream; others are named with each frame.
    :raises SettingsError: a value that cannot work.
    """

    kind: ClassVar[str] = "python"

    stream: str = "Live"

    def __post_init__(self) -> None:
        if not isinstance(self.stream, str) or not self.stream.strip():
            raise SettingsError("The live volume needs a name.")
