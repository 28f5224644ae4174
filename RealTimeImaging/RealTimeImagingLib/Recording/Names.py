"""Names of recordings, from a pattern with fields for the metadata, the date, the time and the number of the run."""

from __future__ import annotations

import os
import re
import time
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from itertools import count

from ..Model.Errors import SettingsError
from ..Model.NamePattern import fieldsOf, filled
from ..Model.Text import textsOf
from .Layout import fileName

_ = textsOf(__file__)

DATE_NAME = "Recording_{date}_{time}"
"""Pattern of names unless the user chooses another."""
BIDS_NAME = "sub-{participant}/ses-{session}/sub-{participant}_ses-{session}_run-{run:02}"
"""Pattern of names in the style of BIDS, with a folder for each participant and session."""
RUN = "run"
"""Field with the first number, from 1, that no recording of this name has."""
DATES = {"date": "%Y-%m-%d", "time": "%H-%M-%S"}
"""Fields with the start of the recording, and their formats."""

Place = tuple[str, str]
"""Folder and name of a recording."""


def missingFields(pattern: str, values: Mapping[str, str]) -> list[str]:
    """Return the fields of a pattern that have no value.

    :param values: by name; upper and lower case are equal.
    :raises SettingsError: the pattern has a brace that belongs to no field.
    """
    known = {name.lower() for name, value in values.items() if value.strip()} | {RUN, *DATES}
    return [name for name in fieldsOf(pattern) if name.lower() not in known]


def namedPlace(folder: str, pattern: str, values: Mapping[str, str], given: Collection[Place] = ()) -> Place:
    """Return the folder and the name of a new recording.

    Slashes in the pattern, not in the values, make folders below ``folder``. Characters that a file system may refuse
    become ``_``. Only a pattern with the number of the run needs a look at the disk.

    :param folder: absolute path, which may be missing.
    :param values: by name, such as the metadata; upper and lower case are equal.
    :param given: recordings that may have no files yet.
    :raises SettingsError: a field has no value, or the pattern has a brace that belongs to no field.
    """
    missing = missingFields(pattern, values)
    if missing:
        text = _("The file name needs a value for {names}. Enter it under Metadata, or choose another file name.")
        raise SettingsError(text.format(names=", ".join(missing)))
    now = time.localtime()
    known = {name.lower(): value for name, value in values.items()}
    known = {name: time.strftime(form, now) for name, form in DATES.items()} | {RUN: ""} | known
    fields = {name: known[name.lower()] for name in fieldsOf(pattern)}
    runs = [name for name in fields if name.lower() == RUN]
    if not runs or fields[runs[0]]:
        return _place(folder, pattern, fields)
    places = (_place(folder, pattern, fields | dict.fromkeys(runs, str(number))) for number in count(1))
    return _firstFree(places, given)


def _place(folder: str, pattern: str, fields: Mapping[str, str]) -> Place:
    pieces = [fileName(filled(piece, fields)) for piece in re.split(r"[/\\]", pattern) if piece.strip()]
    return os.path.join(folder, *pieces[:-1]), pieces[-1] if pieces else "_"


def _firstFree(places: Iterator[Place], given: Collection[Place]) -> Place:
    contents: dict[str, set[str]] = {}
    earlier: Place = "", ""
    for folder, name in places:
        if (folder, name) == earlier:
            return earlier  # cut off before the number
        earlier = folder, name
        if folder not in contents:
            contents[folder] = _contentOf(folder)
        if (folder, name) not in given and name.lower() not in contents[folder]:
            break
    return earlier


def _contentOf(folder: str) -> set[str]:
    """Return what the names of the files in a folder begin with, up to each dash, dot or number, in lower case.

    A folder may have thousands of recordings: the number of a run is not searched in all names again.
    """
    found: set[str] = set()
    try:
        for name in os.listdir(folder):
            lower = unicodedata.normalize("NFC", name).lower()
            ends = [match.start() for match in re.finditer(r"(_[1-9][0-9]*)?[-.]", lower)]
            ends += [match.start() for match in re.finditer(r"[-.]", lower)]
            found.update(lower[:end] for end in ends)
    except OSError:
        pass  # the check of the folder reports it
    return found
