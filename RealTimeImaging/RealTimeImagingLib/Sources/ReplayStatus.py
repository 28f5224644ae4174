"""A replay in words."""

from __future__ import annotations

from ..Settings import ReplaySettings
from .ReplayPlayhead import DEFAULT_RATE, Playhead


def statusOf(name: str, playhead: Playhead, settings: ReplaySettings) -> str:
    """One sentence: what is replayed, where it is, and how fast.

    :param name: of the file.
    """
    if playhead.ended:
        return f"The replay of {name} has ended: {playhead.count} frames."
    place = f"frame {playhead.next} of {playhead.count}"
    if settings.pace == "recorded" and playhead.timed:
        passed = playhead.times[max(playhead.next - 1, 0)]
        place += f" ({_number(passed)} s of {_number(playhead.duration)} s)"
    if playhead.paused:
        return f"{name} is paused at {place}."
    behind = f", {_number(playhead.behind)} s behind" if playhead.behind >= 0.05 else ""
    return f"Replaying {name}: {place}, {_paceOf(settings, playhead.timed)}{behind}."


def _paceOf(settings: ReplaySettings, timed: bool) -> str:
    if settings.pace == "fastest":
        return "as fast as possible"
    if settings.pace == "rate":
        return f"{settings.rate:g} frames per second"
    if not timed:
        return f"{settings.speed * DEFAULT_RATE:g} frames per second"
    return "real time" if settings.speed == 1 else f"{settings.speed:g} times real time"


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
