"""What a device says, in a few words for the panel."""

from __future__ import annotations

import math
from typing import Any

from .DeviceMessage import DeviceMessage
from .Quantities import counted

LONGEST = 200
"""Characters of a text; the rest is left out."""
MOST_VALUES = 8


def words(message: DeviceMessage) -> str:
    """One phrase, such as "at 12.3, -4.0, 77.1 mm", "5 points" or "Error 5: out of reach"; positions are in RAS.

    What is missing in a message is left out; nothing raises.
    """
    try:
        if message.unseen:
            return shortened(f"not seen ({message.unseen})")
        return shortened(_PHRASES.get(message.kind, _other)(message.values)) or "nothing"
    except (TypeError, ValueError, KeyError, IndexError, AttributeError):
        return "something that cannot be read"


def shortened(text: object) -> str:
    """The text on one line, cut after LONGEST characters."""
    line = " ".join(str(text).split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def _transform(values: Any) -> str:
    place = [float(row[3]) for row in values["matrix"][:3]]
    if not all(math.isfinite(number) for number in place):
        return "no valid position"
    # Adding 0 turns -0.0, which is nowhere else than 0.0, into it.
    return "at " + ", ".join(f"{round(number, 1) + 0.0:.1f}" for number in place) + " mm"


def _points(values: Any) -> str:
    points = values["points"]
    ways = sum("entry" in point for point in points)
    phrases = [counted(len(points) - ways, "point", "points")] if len(points) > ways or not ways else []
    return " and ".join(phrases + ([counted(ways, "trajectory", "trajectories")] if ways else []))


def _polyData(values: Any) -> str:
    encoded = values["points"]
    # Three bytes for four characters, twelve bytes for a point.
    count = (len(encoded) * 3 // 4 - encoded.count("=", -2)) // 12
    return f"a surface of {counted(count, 'point', 'points')}" if count else "an empty surface"


def _text(values: Any) -> str:
    return str(values["text"])


def _status(values: Any) -> str:
    text = values.get("text") or values.get("name") or ""
    head = "OK" if values.get("ok") else f"Error {values.get('code', '')}".strip()
    return head if not text or text == head else f"{head}: {text}"


def _sensor(values: Any) -> str:
    numbers = [str(float(f"{number:.6g}")) for number in values["values"][:MOST_VALUES]]
    more = len(values["values"]) - len(numbers)
    unit = values.get("unit")
    tail = f" and {more} more" if more else ""
    return ", ".join(numbers) + tail + (f" {unit}" if isinstance(unit, str) and unit else "")


def _command(values: Any) -> str:
    return f"asks: {values.get('text') or values.get('name') or 'nothing'}"


def _reply(values: Any) -> str:
    text = values.get("text") or values.get("name") or "OK"
    return f"answers: {text}" if values.get("ok", True) else f"answers with an error: {text}"


def _other(values: Any) -> str:
    return str(values.get("text") or values.get("type") or "")


_PHRASES = {
    "transform": _transform,
    "points": _points,
    "polydata": _polyData,
    "text": _text,
    "status": _status,
    "sensor": _sensor,
    "command": _command,
    "reply": _reply,
}
