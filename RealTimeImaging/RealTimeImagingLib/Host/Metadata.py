"""Metadata that every recording and saved image carries, and templates for it: ``logic.metadata``."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import slicer

from ..Model.Errors import RecordingError, SettingsError
from ..Model.Files import parsedJSON, reasonOf
from ..Model.Text import textsOf
from ..Recording import checkAttributes

_ = textsOf(__file__)

MODULE_TEMPLATES = os.fspath(Path(__file__).parents[2] / "Resources" / "Templates")
"""Folder of the module's own templates."""

log = logging.getLogger(__name__)


class Metadata:
    """Names and values, kept with the scene.

    :param read: returns the stored text; empty when there is none.
    :param write: stores a text in the scene.
    """

    def __init__(self, read: Callable[[], str], write: Callable[[str], object]) -> None:
        self._read, self._write = read, write

    def get(self) -> dict[str, str]:
        """Return the names and values; none where those of a scene are damaged."""
        text = self._read()
        try:
            found = {str(name): str(value) for name, value in parsedJSON(text).items()} if text else {}
            checkAttributes(found)
        except (ValueError, AttributeError, RecordingError):
            return {}
        return found

    def set(self, metadata: Mapping[str, str]) -> None:
        """Replace all names and values.

        :raises RecordingError: a file cannot keep a name or value.
        """
        checkAttributes(metadata)
        self._write(json.dumps(dict(metadata)))

    def templates(self) -> dict[str, dict[str, str]]:
        """Return the names and values of each template, the module's and the user's own, by the template's name.

        A file that is no template is named in the log and ignored.
        """
        found: dict[str, dict[str, str]] = {}
        for path in [*_jsonFiles(MODULE_TEMPLATES), *_jsonFiles(_userTemplates())]:
            try:
                with open(path, encoding="utf-8") as file:
                    values = parsedJSON(file.read())
                fields = {str(name): str(value) for name, value in values["fields"].items()}
                checkAttributes(fields)
                found[str(values["name"])] = fields
            except (OSError, ValueError, KeyError, TypeError, AttributeError, RecordingError) as error:
                log.warning("The template %s cannot be used: %s", path, error)
        return found

    def saveTemplate(self, name: str) -> str:
        """Save the metadata as a template of the user, replacing one of the same name; return the file's path.

        :raises SettingsError: the name is empty, a file cannot keep a value, or the file cannot be written.
        """
        name, fields, folder = name.strip(), self.get(), _userTemplates()
        if not name:
            raise SettingsError(_("Type a name for the template."))
        safe = "".join(letter if letter.isalnum() or letter in " _-" else "_" for letter in name)
        path = os.path.join(folder, f"{safe}.json")
        try:
            checkAttributes(fields)
            os.makedirs(folder, exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                json.dump({"name": name, "fields": fields}, file, indent=1, ensure_ascii=False)
        except RecordingError as error:
            raise SettingsError(str(error)) from error
        except OSError as error:
            raise SettingsError(
                _("The template cannot be saved in {folder}: {reason}.").format(folder=folder, reason=reasonOf(error))
            ) from error
        return path


def _userTemplates() -> str:
    settings: Any = slicer.app.userSettings().fileName()
    return os.path.join(os.path.dirname(settings), "RealTimeImaging", "Templates")


def _jsonFiles(folder: str) -> list[str]:
    try:
        return sorted(os.path.join(folder, name) for name in os.listdir(folder) if name.lower().endswith(".json"))
    except OSError:
        return []
