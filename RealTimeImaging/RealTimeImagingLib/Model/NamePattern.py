"""Patterns of file names, such as ``{SeriesNumber:03}_{SeriesDescription}``: fields in braces get values."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .Errors import SettingsError
from .Text import textsOf

_ = textsOf(__file__)

_FIELD = re.compile(r"\{([A-Za-z0-9_.-]+)(?::0?([1-9][0-9]?))?\}")


def fieldsOf(pattern: str) -> list[str]:
    """Return the names of the fields in a pattern, each once.

    :raises SettingsError: the pattern has a brace that belongs to no field.
    """
    rest = _FIELD.sub("", pattern)
    if "{" in rest or "}" in rest:
        text = _('The name "{pattern}" has a brace without a field. Write, for example, {{SeriesNumber:03}}.')
        raise SettingsError(text.format(pattern=pattern))
    return list(dict.fromkeys(match[1] for match in _FIELD.finditer(pattern)))


def filled(pattern: str, values: Mapping[str, str]) -> str:
    """Return the pattern with values; ``:03`` writes whole numbers with at least three digits."""

    def one(match: re.Match[str]) -> str:
        value = values.get(match[1], "")
        return value.zfill(int(match[2])) if match[2] and value.isdigit() else value

    return _FIELD.sub(one, pattern)
