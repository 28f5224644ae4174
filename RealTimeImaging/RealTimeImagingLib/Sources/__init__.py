"""Sources of images, one folder a kind."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ..Model.Errors import SettingsError
from ..Model.Settings import SourceSettings
from .Camera import FLIPS, ROTATIONS, CameraSettings
from .DICOM import DICOMSettings
from .Folder import EXISTING, SERIES, FolderSettings, checkRecordingFolder
from .HTTP import HTTPSettings
from .OpenIGTLink import ENGINES, ROLES, BroadcastSettings, OpenIGTLinkSettings
from .Push import PushSettings
from .Replay import PACES, RATES, SPEEDS, ReplaySettings

__all__ = [
    "ENGINES",
    "EXISTING",
    "FLIPS",
    "KINDS",
    "PACES",
    "RATES",
    "ROLES",
    "ROTATIONS",
    "SERIES",
    "SPEEDS",
    "BroadcastSettings",
    "CameraSettings",
    "DICOMSettings",
    "FolderSettings",
    "HTTPSettings",
    "OpenIGTLinkSettings",
    "PushSettings",
    "ReplaySettings",
    "SourceSettings",
    "checkRecordingFolder",
    "settingsFromJSON",
]

KINDS: dict[str, type[SourceSettings]] = {
    settings.kind: settings
    for settings in (
        FolderSettings,
        ReplaySettings,
        PushSettings,
        OpenIGTLinkSettings,
        HTTPSettings,
        CameraSettings,
        DICOMSettings,
    )
}


def settingsFromJSON(values: Mapping[str, Any]) -> SourceSettings:
    """The settings that :meth:`SourceSettings.toJSON` wrote.

    :raises SettingsError: an unknown kind, an unknown name or a value that cannot work.
    """
    given = dict(values)
    kind = given.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise SettingsError(f"There is no source of the kind {kind!r}; there are {', '.join(KINDS)}.")
    known = {field.name for field in dataclasses.fields(KINDS[kind])}
    unknown = sorted(set(given) - known)
    if unknown:
        raise SettingsError(
            f"The source {kind} has no setting {', '.join(unknown)}; it has {', '.join(sorted(known))}."
        )
    try:
        return KINDS[kind](**given)
    except (TypeError, AttributeError) as error:
        raise SettingsError(f"The settings of the source {kind} do not fit: {error}") from error
