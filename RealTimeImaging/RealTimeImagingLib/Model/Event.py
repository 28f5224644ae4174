"""What happened beside the frames: a reason code for programs, a sentence for the person at the panel."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LEVELS = ("info", "warning", "error")


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    :param code: short reason for programs, such as "incomplete", "not-an-image", "folder-gone", "crashed".
    :param text: a sentence that names the file or device, what was expected and what came.
    :param level: "info" needs nothing, "warning" lost something, "error" stopped something.
    :param subject: the file or device alone, empty when there is none.
    :param time: seconds since the epoch, UTC.
    """

    code: str
    text: str
    level: str = "info"
    subject: str = ""
    time: float = field(default_factory=time.time)

    def toJSON(self) -> dict[str, Any]:
        """A flat object that :meth:`fromJSON` takes back."""
        return {"code": self.code, "text": self.text, "level": self.level, "subject": self.subject, "time": self.time}

    @classmethod
    def fromJSON(cls, values: Mapping[str, Any]) -> Event:
        """The event that :meth:`toJSON` wrote."""
        return cls(**values)
