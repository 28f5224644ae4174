"""Limits of signals: an event when a value crosses one, and an alarm until the value is back."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from .Errors import SettingsError
from .Event import Event
from .Files import parsedJSON
from .Text import Text, textsOf

_ = textsOf(__file__)

_UNIT = re.compile(r"^(.*\S) \(([^()]+)\)$")

Key = tuple[str, str]
"""Stream and name of a signal."""


@dataclass(frozen=True)
class Limits:
    """Limits of a signal, in its unit.

    :param above: an alarm lasts while the value is larger; None for no upper limit.
    :param below: an alarm lasts while the value is smaller; None for no lower limit.
    """

    above: float | None = None
    below: float | None = None

    def crossed(self, value: float) -> str:
        """Return "above" or "below" when a value is beyond a limit, otherwise an empty text."""
        if self.above is not None and value > self.above:
            return "above"
        return "below" if self.below is not None and value < self.below else ""


class LimitWatch:
    """Limits of all signals, and the alarms that last."""

    def __init__(self) -> None:
        self.limits: dict[Key, Limits] = {}
        """Limits by stream and name of the signal."""
        self._alarms: dict[Key, tuple[str, Text]] = {}

    def set(self, stream: str, name: str, above: float | None, below: float | None) -> None:
        """Replace the limits of a signal; the next value is compared with them.

        :raises SettingsError: a limit that is not finite, or a lower limit that is not below the upper one.
        """
        for limit in (above, below):
            if limit is not None and not math.isfinite(limit):
                raise SettingsError(_("The limit of {name} is a number, not {limit}.").format(name=name, limit=limit))
        if above is not None and below is not None and below >= above:
            text = _("The lower limit of {name}, {below}, is not below the upper limit, {above}.")
            raise SettingsError(text.format(name=name, below=f"{below:g}", above=f"{above:g}"))
        key = stream, name
        self._alarms.pop(key, None)
        self.limits.pop(key, None)
        if above is not None or below is not None:
            self.limits[key] = Limits(above, below)

    def look(self, stream: str, number: int, values: Mapping[str, float]) -> list[Event]:
        """Compare the values of a frame with the limits; return an event for each limit that they cross.

        A value that is not known (NaN) changes nothing.
        """
        events = []
        for name, value in values.items():
            limits = self.limits.get((stream, name))
            if limits is None or math.isnan(value):
                continue
            side = limits.crossed(value)
            before = self._alarms.pop((stream, name), None)
            if not side:
                continue
            text = _alarmText(stream, name, limits, value, side)
            self._alarms[stream, name] = side, text
            if before is None or before[0] != side:
                found = _("{alarm} Image {number}.").format(alarm=text, number=number)
                events.append(Event("limit-crossed", found, "warning", f"{stream}: {name}"))
        return events

    @property
    def alarms(self) -> dict[Key, Text]:
        """A sentence for each signal whose latest value is beyond a limit."""
        return {key: text for key, (_side, text) in self._alarms.items()}

    def clear(self) -> None:
        """End all alarms; the limits stay."""
        self._alarms.clear()

    def toJSON(self) -> str:
        """Return a text that :meth:`fromJSON` reads."""
        return json.dumps([[*key, one.above, one.below] for key, one in self.limits.items()])

    def fromJSON(self, text: str) -> None:
        """Set the limits of a text of :meth:`toJSON`. A damaged text changes nothing.

        :raises SettingsError: the text holds no limits.
        """
        try:
            read = [(str(stream), str(name), above, below) for stream, name, above, below in parsedJSON(text)]
            for stream, name, above, below in read:
                self.set(stream, name, _number(above), _number(below))
        except (ValueError, TypeError) as error:
            raise SettingsError(_("The limits of the signals cannot be read.")) from error


def _number(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(value)
    return float(value)


def _alarmText(stream: str, name: str, limits: Limits, value: float, side: str) -> Text:
    found = _UNIT.match(name)
    title, unit = (found[1], f" {found[2]}") if found else (name, "")
    text = _("{stream}: {name} is {value}{unit}, above {limit}{unit}.")
    limit = limits.above
    if side == "below":
        text = _("{stream}: {name} is {value}{unit}, below {limit}{unit}.")
        limit = limits.below
    return text.format(stream=stream, name=title, value=f"{value:.4g}", unit=unit, limit=f"{limit:g}")
