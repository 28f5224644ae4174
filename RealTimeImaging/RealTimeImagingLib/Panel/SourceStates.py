"""State of each running source: one word, one sentence, and the offer that would mend it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from slicer.i18n import tr as _

from ..Host.RunningSource import RunningSource
from ..Model.Event import Event, Remedy
from ..Model.Quantities import durationText, rateText
from ..Model.Text import sameWords
from .Section import translated

QUIET = 1.0
"""Seconds without an image after which a source is no longer "receiving", unless its images are further apart."""
LONG_AGO = 3.0
"""Seconds after which the age of the last image is shown."""
SAME_CAUSE = 1.0
"""Seconds after an event in which a new status still has the cause of the event."""
NEWS = 0.5
"""Seconds that a new status must last before it replaces "Receiving". Other numbers in it are no news."""

URGENCY = ("idle", "receiving", "waiting", "slow", "alarm", "stalled", "error")
"""All states, the most urgent last."""


def stateWords(name: str) -> str:
    """Return a state in words, for tool tips and screen readers."""
    words = {
        "idle": _("Idle"),
        "receiving": _("Receiving"),
        "waiting": _("Waiting"),
        "slow": _("Images are late"),
        "alarm": _("A value is beyond its limit"),
        "stalled": _("Images have stopped"),
        "error": _("Error"),
    }
    return str(words[name])


@dataclass(frozen=True)
class SourceState:
    """State of a source for the user.

    :param name: one of URGENCY.
    :param text: a sentence.
    :param rate: received images per second; 0 when none has come for three periods, and for QUIET seconds at least.
    :param age: seconds since the last image, None before the first.
    :param lost: images and files that were rejected or not stored; ``lostWords`` says how many of each, and how many
        were skipped: a newer image was shown instead, and a recording has them.
    :param remedy: an offer that would mend the state, None when there is none.
    """

    name: str
    text: str
    rate: float = 0.0
    age: float | None = None
    lost: int = 0
    lostWords: str = ""
    remedy: Remedy | None = None


class SourceStates:
    """States of all running and failed sources, as of the last update.

    :param logic: a RealTimeImagingLogic.
    :param origin: returns the sender of a source's images in words.
    :param clock: monotonic seconds.
    """

    def __init__(
        self, logic: Any, origin: Callable[[RunningSource], str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._logic, self._origin, self._clock = logic, origin, clock
        self._flows: dict[RunningSource, _Flow] = {}
        self.of: dict[RunningSource, SourceState] = {}
        """States of the sources that run, and of those that failed while no other source has their stream."""
        self.running: dict[RunningSource, SourceState] = {}
        """States of the sources that run."""

    def update(self) -> None:
        """Look at all sources."""
        sources, now = self._logic.sources(), self._clock()
        taken = {name for one in sources if not one.ended for name in one.streams.values()}
        self._flows = {one: self._flows.get(one) or _Flow() for one in sources}
        self.of = {
            one: self._stateOf(one, now)
            for one in sources
            if not one.ended or (one.state == "failed" and not taken & set(one.streams.values()))
        }
        self.running = {one: state for one, state in self.of.items() if not one.ended}

    def _stateOf(self, source: RunningSource, now: float) -> SourceState:
        flow, counts = self._flows[source], source.counts.values()
        flow.look(sum(one.received for one in counts), source.status, source.offer, now)
        age = flow.age(now)
        rate = sum(one.framesPerSecond(time.time()) for one in counts)
        if age is None or not rate or age >= max(QUIET, 3 / rate):
            rate = 0.0
        skipped = sum(one.skipped for one in counts)
        lost = _("{rejected} rejected, {failed} not stored. {skipped} skipped: a newer image was shown instead.")
        lostWords = lost.format(skipped=skipped, rejected=source.rejected, failed=source.failed)
        name, text, remedy = self._words(source, flow, rate, now)
        return SourceState(
            name,
            translated(text),
            rate,
            age,
            source.rejected + source.failed,
            lostWords,
            remedy,
        )

    def _words(self, source: RunningSource, flow: _Flow, rate: float, now: float) -> tuple[str, str, Remedy | None]:
        if source.state == "failed":
            event = source.failure
            offer = flow.offer or event
            return "error", event.text if event else _("Stopped."), offer.remedy if offer else None
        if source.state == "stopping":
            words = _("Stopping.")
            if source.hangs:
                words = _("Stopping. {status}").format(status=translated(source.status))
            return "waiting", words, None
        age = flow.age(now)
        if flow.offer and (age is None or age >= QUIET):
            level = "error" if flow.offer.level == "error" else "waiting"
            return level, flow.offer.text, flow.offer.remedy
        stalls = [stall for stream, stall in self._logic.stalls().items() if stream in source.counts]
        if not stalls and rate and not flow.hasNews(now):
            words = _("Receiving {rate} images/s from {origin}.")
            words = words.format(rate=rateText(rate), origin=self._origin(source))
            return "receiving", words, source.remedy
        simulated = self._logic.simulator.isSimulated(source)
        status = _("Waiting for the simulated scanner.") if simulated else translated(source.status)
        stalled = [one for one in stalls if one.stalled]
        if stalled and age is not None:
            words = _("No image for {age}. Before, {rate} images/s arrived. {status}").format(
                age=durationText(age), rate=rateText(1 / max(stalled[0].period, 1e-3)), status=status
            )
        elif stalls:
            words = _("The next image is late. {status}").format(status=status)
        elif age is None or age < LONG_AGO:
            words = status
        else:
            words = _("{status} Last image {age} ago.").format(status=status, age=durationText(age))
        name = "stalled" if stalled else "slow" if stalls else "waiting"
        return name, words, source.remedy


class _Flow:
    """Times of a source's last image and of its last change of status."""

    def __init__(self) -> None:
        self.offer: Event | None = None
        """The event with a remedy after which no image came and the status did not move on."""
        self._seenOffer: Event | None = None
        self._received = 0
        self._status = ""
        self._came = self._changed = self._offered = 0.0

    def look(self, received: int, status: str, offer: Event | None, now: float) -> None:
        """Note a new image, status or offer."""
        if received != self._received:
            self._received, self._came, self.offer = received, now, None
        if status != self._status:
            if now - self._offered > SAME_CAUSE:
                self.offer = None
            if not sameWords(status, self._status):
                self._changed = now
            self._status = status
        if offer is not self._seenOffer:
            self._seenOffer = self.offer = offer
            self._offered = now

    def age(self, now: float) -> float | None:
        """Return the seconds since the last image; None before the first."""
        return now - self._came if self._received else None

    def hasNews(self, now: float) -> bool:
        """Return True when the status is newer than the last image, and has lasted for NEWS seconds."""
        return self._changed > self._came and now - self._changed >= NEWS
