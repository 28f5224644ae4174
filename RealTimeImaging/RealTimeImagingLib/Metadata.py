"""Templates for the details that travel with the images: names, and values where they are always the same.

A template is a JSON file ``{"name": "Specimen", "fields": {"Genus": "", "Species": ""}}``. Those of the module lie in
its resources; a lab adds its own beside Slicer's settings, and one of the same name takes the place of the module's.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence

from .Errors import RecordingError, SettingsError
from .Recording import checkAttributes

TEMPLATES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "Resources", "Templates")
"""The folder of the module's own templates."""

log = logging.getLogger(__name__)


def loadTemplates(folders: Sequence[str]) -> dict[str, dict[str, str]]:
    """Name of each template to its fields; a file that is no template is named in the log and passed over.

    :param folders: looked through in this order; later ones replace earlier ones of the same name.
    """
    found: dict[str, dict[str, str]] = {}
    for folder in folders:
        for path in sorted(_files(folder)):
            try:
                with open(path, encoding="utf-8") as file:
                    values = json.load(file)
                fields = {str(name): str(value) for name, value in values["fields"].items()}
                checkAttributes(fields)
                found[str(values["name"])] = fields
            except (OSError, ValueError, KeyError, TypeError, AttributeError, RecordingError) as error:
                log.warning("The template %s cannot be used: %s", path, error)
    return found


def saveTemplate(folder: str, name: str, fields: Mapping[str, str]) -> str:
    """Write a template, in place of one of the same name in this folder; returns the file's path.

    :raises SettingsError: an empty name, a field that no file can keep, or a folder that cannot be written.
    """
    name = name.strip()
    safe = "".join(letter if letter.isalnum() or letter in " _-" else "_" for letter in name)
    if not name:
        raise SettingsError("Type a name for the template.")
    try:
        checkAttributes(fields)
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, f"{safe}.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"name": name, "fields": dict(fields)}, file, indent=1, ensure_ascii=False)
    except RecordingError as error:
        raise SettingsError(str(error)) from error
    except OSError as error:
        raise SettingsError(f"The template cannot be saved in {folder}: {error.strerror}.") from error
    return path


def _files(folder: str) -> list[str]:
    try:
        return [os.path.join(folder, name) for name in os.listdir(folder) if name.lower().endswith(".json")]
    except OSError:
        return []
