"""Events: a reason code for programs and a sentence for the user."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Event:
    """One event of a source, a recording or another part.

    :param code: short reason for programs, such as "incomplete", "not-an-image", "folder-gone", "crashed".
    :param text: a sentence that names the file or device, what was expected and what was found.
    :param level: "info": no action needed; "warning": data are lost or missing; "error": an operation stopped.
    :param subject: the file or device alone, empty when there is none.
    :param time: seconds since the epoch, UTC.
    """

    code: str
    text: str
    level: str = "info"
    subject: str = ""
    time: float = field(default_factory=time.time)

    def toJSON(self) -> dict[str, Any]:
        """Return a flat object that :meth:`fromJSON` reads."""
        return {"code": self.code, "text": self.text, "level": self.level, "subject": self.subject, "time": self.time}

    @classmethod
    def fromJSON(cls, values: Mapping[str, Any]) -> Event:
        """Return the event of an object of :meth:`toJSON`."""
        return cls(**values)
