"""Sources of images, one folder a kind. Each folder's __init__ holds the settings class and the KIND.

Nothing heavy is imported before a source is opened. :mod:`Kinds` has the registry.
"""

from __future__ import annotations

from ..Model.Settings import SourceSettings, about
from .Kinds import KINDS, kindOf, openSource, register, settingsFromJSON
from .Source import Arrival, HostPart, Mendable, Source, SourceContext, SourceControls, SourceKind

__all__ = [
    "KINDS",
    "Arrival",
    "HostPart",
    "Mendable",
    "Source",
    "SourceContext",
    "SourceControls",
    "SourceKind",
    "SourceSettings",
    "about",
    "kindOf",
    "openSource",
    "register",
    "settingsFromJSON",
]
