"""Events: a reason code for programs, a sentence for the user, and the offer to mend it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .Text import textFromJSON, textToJSON


@dataclass(frozen=True)
class Remedy:
    """Offer to start the source again with other settings; the panel shows it as a button.

    :param label: two to four words, such as "Show newest".
    :param settings: new values of settings, by name.
    :param other: a second offer beside this one, such as "Show all"; None for none.
    """

    label: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    other: Remedy | None = None

    def toJSON(self) -> dict[str, Any]:
        """Return an object that :meth:`fromJSON` reads; a second offer that is None is left out."""
        values = {"label": textToJSON(self.label), "settings": dict(self.settings)}
        return {**values, "other": self.other.toJSON()} if self.other else values

    @classmethod
    def fromJSON(cls, values: Mapping[str, Any]) -> Remedy:
        """Return the remedy of an object of :meth:`toJSON`."""
        other = cls.fromJSON(values["other"]) if values.get("other") else None
        return cls(textFromJSON(values["label"]), values["settings"], other)


@dataclass(frozen=True)
class Event:
    """One event of a source, a recording or another part.

    :param code: short reason for programs, such as "incomplete", "not-an-image", "folder-gone", "crashed".
    :param text: a sentence that names the file or device, what was expected and what was found.
    :param level: "info": no action needed; "warning": data are lost or missing; "error": an operation stopped.
    :param subject: the file or device alone, empty when there is none.
    :param time: seconds since the epoch, UTC.
    :param remedy: other settings with which it would not happen, None when there are none.
    """

    code: str
    text: str
    level: str = "info"
    subject: str = ""
    time: float = field(default_factory=time.time)
    remedy: Remedy | None = None

    def toJSON(self) -> dict[str, Any]:
        """Return an object that :meth:`fromJSON` reads; a remedy that is None is left out."""
        values = {"code": self.code, "text": textToJSON(self.text), "level": self.level}
        values |= {"subject": self.subject, "time": self.time}
        return values if self.remedy is None else {**values, "remedy": self.remedy.toJSON()}

    @classmethod
    def fromJSON(cls, values: Mapping[str, Any]) -> Event:
        """Return the event of an object of :meth:`toJSON`."""
        remedy = Remedy.fromJSON(values["remedy"]) if values.get("remedy") else None
        return cls(**{**values, "text": textFromJSON(values["text"]), "remedy": remedy})
